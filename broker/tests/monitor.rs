//! The monitoring port, with nats-server's names.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use support::{JetStreamServer, TestServer};
use weir_broker::conf::options::{Backend, Listen};

fn server() -> TestServer {
    TestServer::start(|options| {
        options.http = Some(Listen {
            host: "127.0.0.1".into(),
            port: 0,
        })
    })
}

fn page(server: &TestServer, path: &str) -> Value {
    let (status, body) = server.get(path);
    assert_eq!(status, "HTTP/1.1 200 OK", "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// How many subscriptions there are; some are the server's own.
fn subscriptions(server: &TestServer) -> u64 {
    page(server, "/subsz")["num_subscriptions"].as_u64().unwrap()
}

#[test]
fn varz_counts_traffic_of_open_and_closed_connections() {
    let server = server();
    let own = subscriptions(&server);
    let mut client = server.client();
    client.exchange("SUB foo 1\r\nPUB foo 5\r\nhello\r\n", "MSG foo 1 5\r\nhello\r\n");
    for round in 0..2 {
        let varz = page(&server, "/varz");
        assert_eq!(varz["version"], "2.15.1");
        assert_eq!(varz["weir_version"], weir_broker::WEIR_VERSION);
        assert_eq!(varz["port"], server.server.client_address().unwrap().port());
        assert_eq!(
            (&varz["in_msgs"], &varz["in_bytes"]),
            (&1.into(), &5.into()),
            "round {round}"
        );
        assert_eq!(
            (&varz["out_msgs"], &varz["out_bytes"]),
            (&1.into(), &5.into()),
            "round {round}"
        );
        assert_eq!(varz["subscriptions"], own + 1 - round);
        assert_eq!(varz["connections"], 1 - round);
        assert_eq!(varz["total_connections"], 1);
        if round == 0 {
            client.send("-ERR 'bye'\r\n");
            client.expect_end("");
            while server.server.client_count() > 0 {
                std::thread::yield_now();
            }
        }
    }
}

#[test]
fn connz_lists_sorts_and_filters() {
    let server = server();
    let mut one = server.connect();
    one.send("CONNECT {\"verbose\":false,\"name\":\"bob\",\"lang\":\"raw\",\"version\":\"1\"}\r\n");
    one.exchange("SUB foo 1\r\nSUB bar q 2\r\n", "");
    let mut two = server.client();
    two.exchange("PUB x 3\r\nabc\r\n", "");
    let connz = page(&server, "/connz?subs=detail");
    assert_eq!(connz["num_connections"], 2);
    let bob = &connz["connections"][0];
    assert_eq!(
        (&bob["name"], &bob["lang"], &bob["version"]),
        (&"bob".into(), &"raw".into(), &"1".into())
    );
    assert_eq!(bob["subscriptions"], 2);
    let details = bob["subscriptions_list_detail"].as_array().unwrap();
    assert!(
        details
            .iter()
            .any(|detail| detail["subject"] == "bar" && detail["qgroup"] == "q" && detail["sid"] == "2")
    );
    let by_traffic = page(&server, "/connz?sort=msgs_from&limit=1");
    assert_eq!(by_traffic["connections"][0]["in_bytes"], 3);
    assert_eq!(
        (&by_traffic["num_connections"], &by_traffic["total"]),
        (&1.into(), &2.into())
    );
    assert_eq!(
        page(&server, "/connz?offset=2")["connections"],
        Value::Array(Vec::new())
    );
    assert_eq!(
        server.get("/connz?sort=nonsense"),
        (
            "HTTP/1.1 400 Bad Request".into(),
            "invalid sorting option: nonsense".into()
        )
    );
    assert_eq!(server.get("/connz?state=foo").0, "HTTP/1.1 400 Bad Request");
    assert_eq!(server.get("/connz?limit=x").0, "HTTP/1.1 400 Bad Request");
}

#[test]
fn health_and_unknown_pages() {
    let server = server();
    assert_eq!(
        server.get("/healthz"),
        ("HTTP/1.1 200 OK".into(), "{\"status\":\"ok\"}".into())
    );
    // A server that is not meant to have JetStream lacks nothing.
    for query in [
        "js-enabled-only=true",
        "js-enabled=true",
        "js-server-only=true",
        "account=X",
    ] {
        assert_eq!(
            server.get(&format!("/healthz?{query}")),
            ("HTTP/1.1 200 OK".into(), "{\"status\":\"ok\"}".into()),
            "{query}"
        );
    }
    assert_eq!(
        server.get("/healthz?details=zz"),
        (
            "HTTP/1.1 400 Bad Request".into(),
            "Error decoding boolean for 'details': strconv.ParseBool: parsing \"zz\": invalid syntax".into()
        )
    );
    assert_eq!(
        server.get("/nope"),
        ("HTTP/1.1 404 Not Found".into(), "404 page not found\n".into())
    );
    assert_eq!(server.get("/").0, "HTTP/1.1 200 OK");
    assert_eq!(page(&server, "/jsz")["disabled"], true);
}

#[test]
fn connz_totals_and_sorts_of_closed_connections() {
    let server = server();
    let mut one = server.client();
    let two = server.client();
    drop(server.client());
    while server.server.client_count() > 2 {
        std::thread::yield_now();
    }
    for (query, listed, total) in [
        ("limit=1", 1, 2),
        ("offset=5", 0, 2),
        ("cid=1", 1, 2),
        ("cid=99", 0, 2),
        ("user=x", 0, 2),
        ("mqtt_client=x", 0, 2),
        ("acc=$G", 2, 2),
        ("state=closed&sort=stop", 1, 1),
        ("state=closed&sort=reason", 1, 1),
        ("state=all", 3, 3),
        ("state=all&sort=uptime", 3, 3),
    ] {
        let connz = page(&server, &format!("/connz?{query}"));
        assert_eq!(
            (&connz["num_connections"], &connz["total"]),
            (&listed.into(), &total.into()),
            "{query}"
        );
        assert_eq!(connz["connections"].as_array().unwrap().len(), listed, "{query}");
    }
    assert_eq!(page(&server, "/connz?acc=X")["connections"], Value::Null);
    for (query, text) in [
        ("sort=stop", "sort by stop only valid on closed connections"),
        (
            "sort=reason&state=all",
            "sort by reason only valid on closed connections",
        ),
        (
            "limit=x",
            "Error decoding int for 'limit': strconv.Atoi: parsing \"x\": invalid syntax",
        ),
    ] {
        assert_eq!(
            server.get(&format!("/connz?{query}")),
            ("HTTP/1.1 400 Bad Request".into(), text.into())
        );
    }
    one.exchange("", "");
    drop(two);
}

#[test]
fn pings_are_no_activity_and_messages_are() {
    let server = server();
    let mut client = server.client();
    client.exchange("SUB a 1\r\n", "");
    let mut other = server.client();
    // Another millisecond.
    let until_it_moves = |before: &Value, work: &mut dyn FnMut()| {
        loop {
            work();
            let now = page(&server, "/connz?cid=1")["connections"][0]["last_activity"].clone();
            if now != *before {
                return now;
            }
        }
    };
    let before = page(&server, "/connz?cid=1")["connections"][0]["last_activity"].clone();
    let subscribed = until_it_moves(&before, &mut || client.exchange("SUB b 2\r\n", ""));
    let delivered = until_it_moves(&subscribed, &mut || {
        other.exchange("PUB a 1\r\nx\r\n", "");
        client.expect("MSG a 1 1\r\nx\r\n");
    });
    let last = until_it_moves(&delivered, &mut || client.exchange("PUB c 1\r\nx\r\n", ""));
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_millis(5) {
        client.exchange("PONG\r\n", "");
    }
    assert_eq!(page(&server, "/connz?cid=1")["connections"][0]["last_activity"], last);
}

#[test]
fn subsz_pages_go_on_from_account_to_account() {
    let server = server();
    let mut client = server.client();
    client.exchange((0..10).map(|n| format!("SUB a.{n} {n}\r\n")).collect::<String>(), "");
    let total = subscriptions(&server) as usize;
    let mut seen = std::collections::HashSet::new();
    for offset in 0..total {
        let page = page(&server, &format!("/subsz?subs=1&limit=1&offset={offset}"));
        assert_eq!((&page["total"], &page["limit"]), (&total.into(), &1.into()));
        let list = page["subscriptions_list"].as_array().unwrap();
        assert_eq!(list.len(), 1);
        seen.insert(list[0].to_string());
    }
    assert_eq!(seen.len(), total);
    let behind = page(&server, &format!("/subsz?subs=1&offset={total}"));
    assert_eq!(behind["subscriptions_list"], Value::Null);
    assert_eq!(page(&server, "/subsz?subs=1&acc=X")["num_subscriptions"], 0);
    assert_eq!(page(&server, "/subsz?subs=1&test=a.3")["total"], 1);
    assert_eq!(page(&server, "/subsz?subs=1&test=a.3&offset=1")["total"], 1);
    // No page is longer than that, whatever is asked for.
    assert_eq!(page(&server, "/subsz?subs=1&limit=1000000")["limit"], 65_536);
}

#[test]
fn subsz_lists_and_tests() {
    let server = server();
    let own = subscriptions(&server);
    let mut client = server.client();
    client.exchange("SUB a.* 1\r\nSUB b.> 2\r\n", "");
    assert_eq!(subscriptions(&server), own + 2);
    let all = page(&server, "/subsz?subs=1");
    assert_eq!(all["total"], own + 2);
    let matching = page(&server, "/subsz?subs=1&test=b.x.y");
    assert_eq!(matching["total"], 1);
    assert_eq!(matching["subscriptions_list"][0]["subject"], "b.>");
    assert_eq!(server.get("/subsz?test=b.*").0, "HTTP/1.1 400 Bad Request");
}

/// Bytes of nats-server 2.15.1.
#[test]
fn health_of_accounts_streams_and_consumers() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(|options| {
        options.http = Some(Listen {
            host: "127.0.0.1".into(),
            port: 0,
        });
        options.jetstream.enabled = true;
        options.jetstream.store_dir = Some(folder.path().into());
    });
    let mut client = server.client();
    client.send("SUB answer 1\r\n");
    for (call, request) in [
        ("STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}"),
        (
            "CONSUMER.DURABLE.CREATE.S.C",
            "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\"}}",
        ),
    ] {
        client.send(format!("PUB $JS.API.{call} answer {}\r\n{request}\r\n", request.len()));
        assert!(client.line().starts_with("MSG answer 1 "));
        let answer = client.line();
        assert!(!answer.contains("error"), "{answer}");
    }
    for (page, weir) in [("/jsz", "/weir"), ("/varz", "/jetstream/weir")] {
        let page = self::page(&server, page);
        let weir = page.pointer(weir).unwrap();
        for number in ["/streams_offline", "/findings", "/messages_lost", "/scrub/findings"] {
            assert_eq!(weir.pointer(number), Some(&json!(0)), "{number}: {weir}");
        }
    }
    let ok = "{\"status\":\"ok\"}";
    for (query, status, body) in [
        ("", 200, ok),
        ("?js-enabled-only=true&account=X", 200, ok),
        ("?js-server-only=true&account=X", 200, ok),
        ("?account=$G&stream=S&consumer=C&details=true", 200, ok),
        (
            "?account=X",
            404,
            r#"{"status":"unavailable","error":"JetStream account \"X\" not found"}"#,
        ),
        (
            "?account=$SYS&details=1",
            404,
            r#"{"status":"error","errors":[{"type":"ACCOUNT","account":"$SYS","error":"JetStream account \"$SYS\" not found"}]}"#,
        ),
        (
            "?stream=S",
            400,
            r#"{"status":"error","error":"\"account\" must not be empty when checking stream health"}"#,
        ),
        (
            "?account=$G&consumer=C&details=1",
            400,
            r#"{"status":"error","errors":[{"type":"BAD_REQUEST","error":"\"stream\" must not be empty when checking consumer health"}]}"#,
        ),
        (
            "?account=$G&stream=N&consumer=N",
            404,
            r#"{"status":"unavailable","error":"JetStream stream \"N\" not found on account \"$G\""}"#,
        ),
        (
            "?account=$G&stream=S&consumer=N&details=true",
            404,
            r#"{"status":"error","errors":[{"type":"CONSUMER","account":"$G","stream":"S","consumer":"N","error":"JetStream consumer \"N\" not found for stream \"S\" on account \"$G\""}]}"#,
        ),
    ] {
        let (line, answer) = server.get(&format!("/healthz{query}"));
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{query}: {line}");
        assert_eq!(answer, body, "{query}");
    }
}

/// Longer than any probe waits, and shorter than the port's own patience with the quiet (10 seconds).
const PROBE: Duration = Duration::from_secs(8);

#[test]
fn health_is_answered_whoever_else_sits_on_the_port() {
    let server = server();
    let mut client = server.client();
    // A page that no socket's buffer holds.
    let subscriptions: String = (0..40_000)
        .map(|n| format!("SUB some.subject.of.many.{n} {n}\r\n"))
        .collect();
    client.exchange(subscriptions, "");
    let address = server.server.monitor_address().unwrap();
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PROBE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let probe = |others: &str| {
        let mut stream = ask("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        assert!(
            read.is_ok() && answer.starts_with("HTTP/1.1 200 OK"),
            "beside {others}: {read:?} {answer:?}"
        );
    };
    let many = 70;
    let half: Vec<_> = (0..many).map(|_| ask("GET /healthz HTTP/1.1\r\nHost: x\r\n")).collect();
    probe("half-sent heads");
    let idle: Vec<_> = (0..many)
        .map(|_| {
            let mut stream = ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
            let mut answer = [0; 15];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            stream
        })
        .collect();
    probe("idle connections");
    let slow: Vec<_> = (0..many)
        .map(|_| ask("GET /subsz?subs=1&limit=40000 HTTP/1.1\r\nHost: x\r\n\r\n"))
        .collect();
    probe("readers that do not read");
    drop((half, idle, slow));
}

#[test]
fn pages_stand_behind_the_configured_base() {
    let server = TestServer::start(|options| {
        options.http = Some(Listen {
            host: "127.0.0.1".into(),
            port: 0,
        });
        options.http_base_path = "/weir".into();
    });
    assert_eq!(page(&server, "/weir/varz")["http_base_path"], "/weir");
    assert!(server.get("/weir").1.contains("href=\"./weir/connz\""));
    for path in ["/varz", "/", "/weir/", "/weirvarz"] {
        assert_eq!(server.get(path).0, "HTTP/1.1 404 Not Found", "{path}");
    }
}

/// The status lines of all that is answered until the connection ends.
fn statuses(server: &TestServer, requests: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(server.server.monitor_address().unwrap()).unwrap();
    stream.write_all(requests.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let found = text.match_indices("HTTP/1.1 ");
    found.map(|(at, _)| text[at + 9..at + 12].to_owned()).collect()
}

/// curl sends what stands behind the question mark as it was typed.
#[test]
fn what_should_be_escaped_is_taken_as_it_is() {
    let server = server();
    let mut client = server.client();
    client.exchange("SUB orders.> 1\r\n", "");
    let page = page(&server, "/connz?acc=$G&filter_subject=orders.>&subs=1");
    assert_eq!(page["connections"][0]["subscriptions_list"], json!(["orders.>"]));
    let two = "GET /connz?acc=$G&filter_subject=a.> HTTP/1.1\r\nHost: x\r\nX: <>\r\n\r\n\
        \r\nGET /varz#<> HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(statuses(&server, two), ["200", "404"]);
}

/// What a request brings with it is no request.
#[test]
fn a_body_ends_the_connection_and_asks_nothing() {
    let server = server();
    let inner = "GET /varz HTTP/1.1\r\nHost: x\r\n\r\n";
    let requests = format!(
        "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{inner}{inner}",
        inner.len()
    );
    assert_eq!(statuses(&server, &requests), ["200"]);
    for head in ["CONNECT /healthz HTTP/1.1\r\nHost: x", "GET /healthz HTTP/1.1"] {
        let request = format!("{head}\r\nConnection: close\r\n\r\n");
        assert_eq!(statuses(&server, &request), ["400"], "{head}");
    }
}

/// What only servers that know others have is there, and empty.
#[test]
fn what_one_server_does_not_have_is_empty() {
    let server = server();
    let routes = page(&server, "/routez?subs=detail");
    assert_eq!((&routes["num_routes"], &routes["routes"]), (&json!(0), &json!([])));
    let gateways = page(&server, "/gatewayz?accs=1");
    assert_eq!(
        (&gateways["outbound_gateways"], &gateways["inbound_gateways"]),
        (&json!({}), &json!({}))
    );
    let leafs = page(&server, "/leafz?subs=1");
    assert_eq!((&leafs["leafnodes"], &leafs["leafs"]), (&json!(0), &json!([])));
    assert_eq!(
        server.get("/raftz"),
        ("HTTP/1.1 404 Not Found".into(), "No Raft nodes registered".into())
    );
    for wrong in [
        "/routez?subs=x",
        "/gatewayz?accs=x",
        "/leafz?subs=x",
        "/jsz?streams=x",
        "/accstatz?unused=x",
    ] {
        assert_eq!(server.get(wrong).0, "HTTP/1.1 400 Bad Request", "{wrong}");
    }
    let threads = server.get("/stacksz").1;
    let monitor = threads.lines().find(|line| line.contains("weir-monitor"));
    assert!(monitor.is_some_and(|line| line.contains("] cpu 0.")), "{threads}");
    assert!(page(&server, "/debug/vars")["memstats"]["Alloc"].as_u64().unwrap() > 0);
}

#[test]
fn accounts_count_what_is_there_and_what_was() {
    let server = server();
    let mut client = server.client();
    client.exchange("SUB foo 1\r\nPUB foo 5\r\nhello\r\n", "MSG foo 1 5\r\nhello\r\n");
    let stat = |query: &str, account: &str| {
        let page = page(&server, &format!("/accstatz{query}"));
        let all = page["account_statz"].as_array().unwrap().clone();
        all.into_iter().find(|stat| stat["acc"] == account)
    };
    let now = stat("", "$G").unwrap();
    assert_eq!((&now["conns"], &now["total_conns"]), (&json!(1), &json!(1)));
    for flow in ["sent", "received"] {
        assert_eq!(
            (&now[flow]["msgs"], &now[flow]["bytes"]),
            (&json!(1), &json!(5)),
            "{flow}"
        );
        assert_eq!(now[flow]["routes"], json!({"msgs": 0, "bytes": 0}));
    }
    assert_eq!(stat("", "$SYS"), None);
    client.send("-ERR 'bye'\r\n");
    client.expect_end("");
    while server.server.client_count() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(stat("", "$G"), None);
    let gone = stat("?unused=1", "$G").unwrap();
    assert_eq!((&gone["conns"], &gone["received"]["bytes"]), (&json!(0), &json!(5)));
    assert!(stat("?unused=1", "$SYS").is_some());

    let names = page(&server, "/accountz");
    assert_eq!(
        (&names["accounts"], &names["system_account"]),
        (&json!(["$G", "$SYS"]), &json!("$SYS"))
    );
    let global = page(&server, "/accountz?acc=$G")["account_detail"].clone();
    assert_eq!(
        (&global["account_name"], &global["client_connections"]),
        (&json!("$G"), &json!(0))
    );
    assert_eq!(page(&server, "/accountz?acc=$SYS")["account_detail"]["is_system"], true);
    assert_eq!(
        server.get("/accountz?acc=X"),
        ("HTTP/1.1 400 Bad Request".into(), "Account X does not exist".into())
    );
}

/// As nats-server over `$SYS`; over HTTP it takes no notice of the filter.
#[test]
fn connections_are_found_by_what_they_listen_to() {
    let server = server();
    let mut one = server.client();
    one.exchange("SUB foo.* 1\r\n", "");
    let _two = server.client();
    for (filter, found) in [
        ("foo.1", 1),
        ("foo.*", 1),
        ("foo.>", 1),
        (">", 1),
        ("*.1", 1),
        ("foo", 0),
        ("bar.1", 0),
    ] {
        let connz = page(
            &server,
            &format!("/connz?acc=$G&filter_subject={}", filter.replace('>', "%3E")),
        );
        assert_eq!(
            (&connz["num_connections"], &connz["total"]),
            (&json!(found), &json!(2)),
            "{filter}"
        );
    }
    assert_eq!(
        server.get("/connz?filter_subject=foo"),
        (
            "HTTP/1.1 400 Bad Request".into(),
            "filter by subject only valid with account filtering".into()
        )
    );
    let auth = page(&server, "/connz?auth=1&cid=1")["connections"][0].clone();
    assert_eq!((&auth["account"], &auth["name_tag"]), (&Value::Null, &json!("$G")));
}

/// The values of a metric by its labels, in the text format of Prometheus.
fn values(text: &str, metric: &str) -> Vec<(String, f64)> {
    let of = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        (name == metric).then(|| (labels.trim_end_matches('}').to_owned(), value.parse().unwrap()))
    });
    of.collect()
}

#[test]
fn metrics_tell_of_the_server_accounts_streams_and_consumers() {
    let js = JetStreamServer::start(Backend::Segment, |options| {
        options.http = Some(Listen {
            host: "127.0.0.1".into(),
            port: 0,
        });
    });
    let mut client = js.client();
    let mut ask = |subject: &str, request: &str| {
        client.send(format!("PUB {subject} r {}\r\n{request}\r\n", request.len()));
        let head = client.line();
        let answer = client.line();
        assert!(!answer.contains("error"), "{head} {answer}");
    };
    ask("$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s.*\"]}");
    let consumer = "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\",\"filter_subject\":\"s.b\"}}";
    ask("$JS.API.CONSUMER.DURABLE.CREATE.S.C", consumer);
    for subject in ["s.a", "s.b", "s.b"] {
        ask(subject, "x");
    }
    ask("$JS.API.CONSUMER.MSG.NEXT.S.C", "1");
    let (status, text) = js.server.get("/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let account = "account=\"$G\"";
    let stream = "account=\"$G\",stream=\"S\"";
    let consumer = "account=\"$G\",stream=\"S\",consumer=\"C\"";
    for (metric, labels, value) in [
        ("weir_connections", "", 1.0),
        ("weir_in_messages_total", "", 6.0),
        ("weir_slow_consumers_total", "", 0.0),
        ("weir_metrics_left_out", "", 0.0),
        ("weir_account_connections", account, 1.0),
        ("weir_account_in_messages_total", account, 6.0),
        ("weir_stream_messages", stream, 3.0),
        ("weir_stream_first_seq", stream, 1.0),
        ("weir_stream_last_seq", stream, 3.0),
        ("weir_stream_consumers", stream, 1.0),
        ("weir_consumer_lag_messages", consumer, 1.0),
        ("weir_consumer_ack_pending", consumer, 1.0),
        ("weir_consumer_redelivered", consumer, 0.0),
        ("weir_jetstream_streams", "", 1.0),
        ("weir_jetstream_findings", "", 0.0),
        ("weir_jetstream_api_errors_total", "", 0.0),
    ] {
        let found = values(&text, metric);
        assert!(found.contains(&(labels.to_owned(), value)), "{metric}: {found:?}");
    }
    let lag = values(&text, "weir_consumer_lag_seconds");
    assert!(lag.len() == 1 && lag[0].1 > 0.0 && lag[0].1 < 60.0, "{lag:?}");
    let syncs = values(&text, "weir_jetstream_sync_seconds_count")[0].1;
    assert!(syncs >= 3.0, "{syncs}");
    let buckets = values(&text, "weir_jetstream_sync_seconds_bucket");
    assert_eq!(buckets.last().unwrap(), &("le=\"+Inf\"".to_owned(), syncs));
}

/// However many there are: accounts come first, then streams, then consumers.
#[test]
fn metrics_have_a_bound() {
    let js = JetStreamServer::start(Backend::Memory, |_| {});
    let mut client = js.client();
    for stream in 0..8 {
        let mut requests = vec![(
            format!("STREAM.CREATE.S{stream}"),
            format!("{{\"name\":\"S{stream}\",\"subjects\":[\"s{stream}\"],\"storage\":\"memory\"}}"),
        )];
        requests.extend((0..8).map(|consumer| {
            (
                format!("CONSUMER.DURABLE.CREATE.S{stream}.C{consumer}"),
                format!("{{\"stream_name\":\"S{stream}\",\"config\":{{\"durable_name\":\"C{consumer}\"}}}}"),
            )
        }));
        for (call, request) in requests {
            client.send(format!("PUB $JS.API.{call} r {}\r\n{request}\r\n", request.len()));
            client.line();
            let answer = client.line();
            assert!(!answer.contains("error"), "{answer}");
        }
    }
    let reports = &js.server.server.reports;
    let count = |most: usize| {
        let text = reports.metrics(most);
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(series <= most.max(60), "{series} of {most}: {text}");
        let of = |metric: &str| values(&text, metric).len();
        (
            of("weir_account_connections"),
            of("weir_stream_messages"),
            of("weir_consumer_lag_messages"),
            values(&text, "weir_metrics_left_out")[0].1,
        )
    };
    assert_eq!(count(50_000), (2, 8, 64, 0.0));
    // 48 of the server, 7 of an account, 6 of a stream, 5 of a consumer.
    assert_eq!(count(48 + 14 + 8 * 6 + 10 * 5 + 4), (2, 8, 10, 54.0));
    assert_eq!(count(48 + 14 + 3 * 6), (2, 3, 0, 5.0 + 64.0));
    assert_eq!(count(0), (0, 0, 0, 2.0 + 8.0 + 64.0));
}

#[test]
fn it_is_told_why_a_consumer_stands_still() {
    let js = JetStreamServer::start(Backend::Segment, |options| {
        options.http = Some(Listen {
            host: "127.0.0.1".into(),
            port: 0,
        });
    });
    let mut client = js.client();
    let mut ask = |subject: &str, request: &str| {
        client.send(format!("PUB {subject} r {}\r\n{request}\r\n", request.len()));
        let head = client.line();
        let answer = client.line();
        assert!(!answer.contains("error"), "{head} {answer}");
        head
    };
    ask("$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s.*\"]}");
    for (name, more) in [
        ("asked", ""),
        ("full", ",\"max_ack_pending\":1"),
        ("none", ",\"filter_subject\":\"s.none\""),
        ("paused", ",\"pause_until\":\"2100-01-01T00:00:00Z\""),
        ("push", ",\"deliver_subject\":\"nobody\""),
    ] {
        let config = format!("{{\"durable_name\":\"{name}\",\"ack_policy\":\"explicit\"{more}}}");
        let request = format!("{{\"stream_name\":\"S\",\"config\":{config}}}");
        ask(&format!("$JS.API.CONSUMER.DURABLE.CREATE.S.{name}"), &request);
    }
    let why = |name: &str| {
        let page = page(&js.server, &format!("/jsz?acc=$G&stream=S&consumer={name}&why=1"));
        let all = page["account_details"][0]["stream_detail"][0]["consumer_detail"].clone();
        assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
        assert_eq!(all[0]["name"], name);
        all[0]["why"].as_str().unwrap_or("nothing").to_owned()
    };
    assert_eq!(why("asked"), "all messages have been sent");
    ask("s.1", "one");
    ask("s.2", "two");
    assert_eq!(why("asked"), "no interest: no pull request waits");
    assert_eq!(why("none"), "nothing matches its filter");
    assert_eq!(why("paused"), "paused until 2100-01-01T00:00:00Z");
    assert_eq!(why("push"), "no interest: nobody is subscribed to its deliver subject");
    ask("$JS.API.CONSUMER.MSG.NEXT.S.full", "1");
    assert_eq!(
        why("full"),
        "max ack pending reached: 1 messages wait for acknowledgement"
    );
    for _ in 0..2 {
        ask("$JS.API.CONSUMER.MSG.NEXT.S.asked", "1");
    }
    assert!(
        why("asked").starts_with("waiting for redelivery until 20"),
        "{}",
        why("asked")
    );
    // There only if it is asked for: nats-py's newer client takes no answer with a field that it does not know.
    for (asked, why) in [
        ("{\"why\":true}", Some("nothing matches its filter")),
        ("{\"why\":false}", None),
        ("{}", None),
        ("", None),
    ] {
        client.send(format!(
            "PUB $JS.API.CONSUMER.INFO.S.none r {}\r\n{asked}\r\n",
            asked.len()
        ));
        client.line();
        let info: Value = serde_json::from_str(&client.line()).unwrap();
        assert_eq!(
            (&info["name"], info.get("why").and_then(Value::as_str)),
            (&json!("none"), why),
            "{asked}"
        );
    }
    client.send("PUB $JS.API.CONSUMER.INFO.S.none r 9\r\n{\"how\":1}\r\n");
    client.line();
    assert!(client.line().contains("10038"));
    // Those that are not asked about are not told of, and without the question there is no such field.
    let page = page(&js.server, "/jsz?consumers=1");
    assert!(!page.to_string().contains("\"why\""));
}
