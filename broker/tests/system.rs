//! The system account: what it is told, and what it may ask.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};
use support::{JetStreamServer, PATIENCE, TestServer};
use weir_broker::Courier;
use weir_broker::conf::options::Backend;
use weir_broker::interest::{Inbound, Service, Work};

/// Hands on what it hears: the subject and the JSON.
struct Ear(Sender<(String, Value)>);

impl Service for Ear {
    fn message(&self, message: &Inbound<'_>, _: &mut Work) {
        let subject = String::from_utf8(message.subject.to_vec()).unwrap();
        let value = match message.payload {
            [] => Value::Null,
            text => serde_json::from_slice(text).unwrap(),
        };
        // The test may be over.
        let _ = self.0.send((subject, value));
    }

    fn only_hears(&self) -> bool {
        true
    }
}

/// What comes on a subject of the system account from now on.
fn hear(server: &TestServer, filter: &str) -> Receiver<(String, Value)> {
    let (sender, heard) = channel();
    let system = &server.server.accounts.system;
    system.serve(filter.as_bytes(), Arc::new(Ear(sender))).unwrap();
    heard
}

fn next(heard: &Receiver<(String, Value)>) -> (String, Value) {
    heard.recv_timeout(PATIENCE).unwrap()
}

/// The answer to a request of the system account.
fn ask(server: &TestServer, subject: &str, request: &str) -> Value {
    let reply = format!("answer.{:x}", number_of(subject, request));
    let heard = hear(server, &reply);
    let system = Arc::clone(&server.server.accounts.system);
    let bytes = subject.as_bytes();
    Courier::new(system).send(bytes, bytes, reply.as_bytes(), b"", request.as_bytes());
    next(&heard).1
}

/// A number that follows from what is asked: each request has a subject of its own for its answer.
fn number_of(subject: &str, request: &str) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one((subject, request))
}

#[test]
fn it_is_told_who_comes_and_goes() {
    let server = TestServer::start(|options| options.server_name = Some("here".into()));
    let (came, went) = (
        hear(&server, "$SYS.ACCOUNT.*.CONNECT"),
        hear(&server, "$SYS.ACCOUNT.*.DISCONNECT"),
    );
    let (new, old) = (
        hear(&server, "$SYS.ACCOUNT.*.SERVER.CONNS"),
        hear(&server, "$SYS.SERVER.ACCOUNT.*.CONNS"),
    );
    let mut client = server.connect();
    client.send("CONNECT {\"verbose\":false,\"name\":\"bob\",\"lang\":\"raw\",\"version\":\"1\"}\r\n");
    client.exchange("SUB a 1\r\nPUB a 2\r\nhi\r\n", "MSG a 1 2\r\nhi\r\n");
    let (subject, event) = next(&came);
    assert_eq!(subject, "$SYS.ACCOUNT.$G.CONNECT");
    assert_eq!(event["type"], "io.nats.server.advisory.v1.client_connect");
    assert_eq!(event["server"]["name"], "here");
    let who = &event["client"];
    assert_eq!(
        (&who["name"], &who["acc"], &who["id"]),
        (&json!("bob"), &json!("$G"), &json!(1))
    );
    assert_eq!((&who["server"], &who["name_tag"]), (&Value::Null, &json!("$G")));
    for heard in [&new, &old] {
        let event = next(heard).1;
        assert_eq!(event["type"], "io.nats.server.advisory.v1.account_connections");
        assert_eq!((&event["acc"], &event["conns"]), (&json!("$G"), &json!(1)));
    }
    client.send("-ERR 'bye'\r\n");
    client.expect_end("");
    let (subject, event) = next(&went);
    assert_eq!(subject, "$SYS.ACCOUNT.$G.DISCONNECT");
    assert_eq!(event["reason"], "Parse Error");
    assert_eq!(
        (&event["sent"], &event["received"]),
        (&json!({"msgs": 1, "bytes": 2}), &json!({"msgs": 1, "bytes": 2}))
    );
    assert!(event["client"]["stop"].is_string());
    assert_eq!(next(&new).1["conns"], 0);
}

#[test]
fn it_is_told_who_was_not_let_in() {
    let server = TestServer::start(|options| options.auth.token = Some("s3cret".into()));
    let refused = hear(&server, "$SYS.SERVER.*.CLIENT.AUTH.ERR");
    let mut client = server.connect();
    client.send("CONNECT {\"auth_token\":\"wrong\",\"name\":\"eve\"}\r\n");
    client.expect("-ERR 'Authorization Violation'\r\n");
    let (subject, event) = next(&refused);
    let id = &server.server.context.identity.id;
    assert_eq!(subject, format!("$SYS.SERVER.{id}.CLIENT.AUTH.ERR"));
    assert_eq!(event["reason"], "Authentication Failure");
    assert!(!event.to_string().contains("wrong"), "{event}");
}

#[test]
fn it_is_told_how_the_server_is_and_that_it_goes() {
    let server = TestServer::start(|_| {});
    let statsz = hear(&server, "$SYS.SERVER.*.STATSZ");
    let leaving = hear(&server, "$SYS.SERVER.*.SHUTDOWN");
    let lame = hear(&server, "$SYS.SERVER.*.LAMEDUCK");
    let (_, event) = next(&statsz);
    assert_eq!(event["statsz"]["active_servers"], 1);
    let id = server.server.context.identity.id.clone();
    server.run(server.server.lame_duck());
    assert_eq!(next(&lame).1["id"], json!(id));
    assert_eq!(next(&leaving), (format!("$SYS.SERVER.{id}.SHUTDOWN"), Value::Null));
}

#[test]
fn every_report_is_answered_by_ping_and_by_id() {
    let js = JetStreamServer::start(Backend::Memory, |_| {});
    let server = &js.server;
    let _client = js.client();
    let id = server.server.context.identity.id.clone();
    for (name, pointer, value) in [
        ("STATSZ", "/statsz/connections", json!(1)),
        ("VARZ", "/data/server_id", json!(id)),
        ("SUBSZ", "/data/offset", json!(0)),
        ("CONNZ", "/data/num_connections", json!(1)),
        ("ROUTEZ", "/data/num_routes", json!(0)),
        ("GATEWAYZ", "/data/inbound_gateways", json!({})),
        ("LEAFZ", "/data/leafnodes", json!(0)),
        ("ACCOUNTZ", "/data/system_account", json!("$SYS")),
        ("JSZ", "/data/streams", json!(0)),
        ("HEALTHZ", "/data", json!({"status": "ok", "status_code": 200})),
        ("PROFILEZ", "/data/profile", Value::Null),
        ("RAFTZ", "/data", json!({})),
        ("IPQUEUESZ", "/data", json!({})),
        ("IDZ", "/id", json!(id)),
    ] {
        for subject in [
            format!("$SYS.REQ.SERVER.PING.{name}"),
            format!("$SYS.REQ.SERVER.{id}.{name}"),
        ] {
            let answer = ask(server, &subject, "");
            assert_eq!(answer.pointer(pointer), Some(&value), "{subject}: {answer}");
            assert!(
                name == "IDZ" || answer["server"]["id"] == json!(id),
                "{subject}: {answer}"
            );
        }
    }
    assert!(ask(server, "$SYS.REQ.SERVER.PING", "")["statsz"].is_object());
    assert!(ask(server, "$SYS.REQ.SERVER.PING.EXPVARZ", "")["data"]["memstats"].is_object());
}

#[test]
fn requests_have_options_and_errors() {
    let server = TestServer::start(|options| options.server_name = Some("here".into()));
    let mut client = server.client();
    client.exchange("SUB foo.* 1\r\n", "");
    let connz = |request: &str| ask(&server, "$SYS.REQ.SERVER.PING.CONNZ", request);
    let found = connz("{\"auth\":true,\"subscriptions\":true,\"server_name\":\"he\"}");
    assert_eq!(found["data"]["connections"][0]["subscriptions_list"], json!(["foo.*"]));
    assert_eq!(
        connz("{\"acc\":\"$G\",\"filter_subject\":\"foo.1\"}")["data"]["num_connections"],
        1
    );
    assert_eq!(
        connz("{\"acc\":\"$G\",\"filter_subject\":\"bar\"}")["data"]["num_connections"],
        0
    );
    assert_eq!(
        connz("{\"filter_subject\":\"foo.1\"}")["error"],
        json!({"code": 500, "description": "filter by subject only valid with account filtering"})
    );
    assert_eq!(connz("{\"limit\":\"x\"}")["error"]["code"], 400);
    let account = |name: &str, what: &str| ask(&server, &format!("$SYS.REQ.ACCOUNT.{name}.{what}"), "");
    assert_eq!(account("$G", "CONNZ")["data"]["num_connections"], 1);
    assert_eq!(account("$G", "SUBSZ")["data"]["subscriptions_list"][0]["account"], "$G");
    assert_eq!(account("$G", "INFO")["data"]["client_connections"], 1);
    assert_eq!(account("$G", "STATZ")["data"]["account_statz"][0]["conns"], 1);
    assert_eq!(account("$G", "CONNS")["acc"], "$G");
    assert_eq!(
        account("NONE", "INFO")["error"],
        json!({"code": 500, "description": "Account NONE does not exist"})
    );
    assert_eq!(account("PING", "STATZ")["data"]["account_statz"][0]["acc"], "$G");
}

#[test]
fn a_client_may_be_sent_away() {
    let server = TestServer::start(|_| {});
    let id = server.server.context.identity.id.clone();
    let went = hear(&server, "$SYS.ACCOUNT.*.DISCONNECT");
    let mut client = server.client();
    let to = |what: &str, cid: u64| {
        ask(
            &server,
            &format!("$SYS.REQ.SERVER.{id}.{what}"),
            &format!("{{\"cid\":{cid}}}"),
        )
    };
    assert_eq!(
        to("KICK", 99)["error"],
        json!({"code": 500, "description": "no such client or leafnode id"})
    );
    assert_eq!(to("LDM", 1).get("error"), None);
    assert!(client.line().contains("\"ldm\":true"));
    assert_eq!(to("KICK", 1).get("error"), None);
    assert_eq!(next(&went).1["reason"], "Kicked");
}

/// An account that is not the system account may ask of itself, and of nothing else.
#[test]
fn other_accounts_ask_only_of_themselves() {
    let server = TestServer::start(|_| {});
    let mut client = server.client();
    client.send("SUB r 1\r\n");
    let mut ask = |subject: &str| {
        client.send(format!("PUB {subject} r 0\r\n\r\n"));
        let head = client.line();
        let answer = client.line();
        (head, answer)
    };
    for subject in ["$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.SERVER.PING.CONNZ"] {
        let (_, answer) = ask(subject);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["data"]["num_connections"], 1, "{subject}");
    }
    let (_, answer) = ask("$SYS.REQ.ACCOUNT.PING.STATZ");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let names: Vec<_> = answer["data"]["account_statz"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stat| &stat["acc"])
        .collect();
    assert_eq!(names, ["$G"]);
    for subject in [
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.SERVER.PING.VARZ",
        "$SYS.REQ.ACCOUNT.$SYS.CONNZ",
    ] {
        let mut client = server.client();
        client.send(format!("SUB r 1\r\nPUB {subject} r 0\r\n\r\n"));
        let head = client.line();
        assert!(head.starts_with("HMSG r 1 "), "{subject}: {head}");
        assert_eq!(client.line(), "NATS/1.0 503");
    }
}

#[test]
fn the_configuration_is_read_again() {
    let server = TestServer::start(|_| {});
    let id = server.server.context.identity.id.clone();
    let reload = || ask(&server, &format!("$SYS.REQ.SERVER.{id}.RELOAD"), "");
    // Nobody is there who could.
    assert_eq!(reload()["error"]["code"], 500);
    let mut wishes = server.server.context.reloads.take().unwrap();
    server.spawn(async move {
        let outcomes = [Err("s.conf:3: an unknown key".to_owned()), Ok(())];
        for outcome in outcomes {
            wishes.recv().await.unwrap().send(outcome).unwrap();
        }
    });
    assert_eq!(
        reload()["error"],
        json!({"code": 500, "description": "s.conf:3: an unknown key"})
    );
    let answer = reload();
    assert_eq!((answer.get("error"), answer.get("data")), (None, None));
    assert_eq!(answer["server"]["id"], json!(id));
}

/// The fields of a document, those in objects by their paths.
fn fields(value: &Value) -> std::collections::BTreeSet<String> {
    fn walk(value: &Value, path: &str, found: &mut std::collections::BTreeSet<String>) {
        match value.as_object().filter(|object| !object.is_empty()) {
            Some(object) => object
                .iter()
                .for_each(|(name, value)| walk(value, &format!("{path}/{name}"), found)),
            None => _ = found.insert(path.to_owned()),
        }
    }
    let mut found = std::collections::BTreeSet::new();
    walk(value, "", &mut found);
    found
}

/// What nats-server 2.15.1 says of itself in every event, of every client, and of every account's messages.
const SERVER: &str = "name host id ver feature_flags/js_ack_fc_v2 feature_flags/js_api_reply_v2 feature_flags/js_raft_delete_range \
     feature_flags/js_snapshot_sources jetstream flags seq time";
const CLIENT: &str = "start host id acc name lang ver name_tag kind client_type";
const EVENT: &str = "type id timestamp";
const ACCOUNT: &str = "acc name conns leafnodes total_conns num_subscriptions slow_consumers";
const FLOW: &str = "msgs bytes gateways/msgs gateways/bytes routes/msgs routes/bytes leafs/msgs leafs/bytes";

/// As recorded of nats-server 2.15.1: there is no client in the system account yet, who could ask both.
#[test]
fn events_have_the_fields_of_nats_server() {
    let js = JetStreamServer::start(Backend::Memory, |_| {});
    let server = &js.server;
    let (came, went) = (
        hear(server, "$SYS.ACCOUNT.*.CONNECT"),
        hear(server, "$SYS.ACCOUNT.*.DISCONNECT"),
    );
    let connections = hear(server, "$SYS.ACCOUNT.*.SERVER.CONNS");
    let mut client = server.connect();
    client.send("CONNECT {\"verbose\":false,\"name\":\"bob\",\"lang\":\"raw\",\"version\":\"1\"}\r\n");
    client.exchange("", "");
    client.send("-ERR 'bye'\r\n");
    client.expect_end("");
    let expect = |heard: &Receiver<(String, Value)>, parts: &[(&str, &str)], optional: &[&str]| {
        let (subject, event) = next(heard);
        let wanted: std::collections::BTreeSet<String> = parts
            .iter()
            .flat_map(|(under, names)| names.split_whitespace().map(move |name| format!("{under}/{name}")))
            .collect();
        let mut found = fields(&event);
        found.retain(|field| !optional.contains(&field.as_str()));
        assert_eq!(found, wanted, "{subject}");
    };
    // A round trip that was not measured is left out, there as here.
    let rtt = &["/client/rtt"];
    expect(&came, &[("", EVENT), ("/server", SERVER), ("/client", CLIENT)], rtt);
    let gone = [
        ("", EVENT),
        ("/server", SERVER),
        ("/client", CLIENT),
        (
            "",
            "client/stop sent/msgs sent/bytes received/msgs received/bytes reason",
        ),
    ];
    expect(&went, &gone, rtt);
    let parts = [
        ("", EVENT),
        ("/server", SERVER),
        ("", ACCOUNT),
        ("/sent", FLOW),
        ("/received", FLOW),
    ];
    expect(&connections, &parts, &[]);
    let statsz = ask(server, "$SYS.REQ.SERVER.PING", "")["statsz"].clone();
    let names: Vec<&str> = statsz.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "active_accounts",
            "active_servers",
            "connections",
            "cores",
            "cpu",
            "gomaxprocs",
            "jetstream",
            "mem",
            "received",
            "received_from_clients",
            "sent",
            "sent_to_clients",
            "slow_consumers",
            "start",
            "subscriptions",
            "total_connections",
        ]
    );
}

#[test]
fn it_counts_who_subscribes() {
    let server = TestServer::start(|_| {});
    let mut client = server.client();
    client.exchange("SUB foo 1\r\nSUB foo.* 2\r\nSUB foo q 3\r\nPING\r\n", "PONG\r\n");
    for (asked, count) in [
        (r#"{"acc":"$G","subject":"foo"}"#, 2),
        (r#"{"acc":"$G","subject":"foo","queue":"cQ=="}"#, 1),
        (r#"{"acc":"$G","subject":"foo.a"}"#, 1),
        (r#"{"acc":"$G","subject":"foo.*"}"#, 1),
        (r#"{"acc":"$G","subject":"foo.>"}"#, 1),
        (r#"{"acc":"$G","subject":">"}"#, 3),
        (r#"{"acc":"$G","subject":"*"}"#, 2),
        (r#"{"acc":"$G","subject":"bar"}"#, 0),
    ] {
        assert_eq!(ask(&server, "$SYS.REQ.ACCOUNT.NSUBS", asked), json!(count), "{asked}");
    }
    // Its own subscriptions are those of parts of the server.
    assert_eq!(ask(&server, "$SYS.DEBUG.SUBSCRIBERS", ">"), 0);
    assert_eq!(
        ask(&server, "$SYS.REQ.USER.$G.INFO", "")["data"],
        json!({"user": "", "account": ""})
    );
    let profile = |asked: &str| ask(&server, "$SYS.REQ.SERVER.PING.PROFILEZ", asked)["data"]["error"].clone();
    assert_eq!(profile(""), "Profile name not specified");
    assert_eq!(profile(r#"{"name":"heap"}"#), "Profile \"heap\" not found");
}

#[test]
fn it_purges_accounts_and_nobody_else_does() {
    let fixture = JetStreamServer::start(Backend::Memory, |_| {});
    let mut client = fixture.client();
    let create = r#"{"name":"S","subjects":["s"]}"#;
    client.send(format!(
        "PUB $JS.API.STREAM.CREATE.S r {}\r\n{create}\r\n",
        create.len()
    ));
    while !client.line().contains("stream_create_response") {}
    client.send("PUB $JS.API.ACCOUNT.PURGE.$G r 0\r\n\r\nPUB $JS.API.STREAM.NAMES r 0\r\n\r\n");
    let mut said = String::new();
    while !said.contains("stream_names_response") {
        said = client.line();
        assert!(!said.contains("purge"), "{said}");
    }
    assert!(said.contains("[\"S\"]"), "{said}");
    let server = &fixture.server;
    let purged = ask(server, "$JS.API.ACCOUNT.PURGE.$G", "");
    assert_eq!(
        purged,
        json!({"type": "io.nats.jetstream.api.v1.account_purge_response", "initiated": true})
    );
    assert_eq!(ask(server, "$JS.API.ACCOUNT.PURGE.NONE", "")["initiated"], true);
    client.send("PUB $JS.API.STREAM.NAMES r 0\r\n\r\n");
    while !client.line().contains("\"streams\":null") {}
    // It has no streams of its own.
    for (call, kind) in [
        ("INFO", "account_info"),
        ("STREAM.NAMES", "system"),
        ("STREAM.INFO.S", "system"),
    ] {
        let refused = ask(server, &format!("$JS.API.{call}"), "");
        assert_eq!(refused["type"], format!("io.nats.jetstream.api.v1.{kind}_response"));
        assert_eq!(refused["error"]["err_code"], 10039);
    }
}

#[test]
fn one_can_do_without_it() {
    let server = TestServer::start(|options| {
        options.no_system_account = true;
        options.http = Some(weir_broker::conf::options::Listen {
            host: "127.0.0.1".into(),
            port: 0,
        });
    });
    let mut client = server.connect();
    client.send("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB r 1\r\n");
    client.send("PUB $SYS.REQ.USER.INFO r 0\r\n\r\n");
    while client.line() != "Nats-Subject: $SYS.REQ.USER.INFO" {}
    let page = |path: &str| serde_json::from_str::<Value>(&server.get(path).1).unwrap();
    assert_eq!(page("/varz").get("system_account"), None);
    let accounts = page("/accountz");
    assert_eq!(
        (accounts.get("system_account"), &accounts["accounts"]),
        (None, &json!(["$G"]))
    );
}

#[test]
fn threads_are_watched_where_that_is_wanted() {
    let server = TestServer::start(|options| {
        options.profiling = Some(weir_broker::conf::options::Listen {
            host: "127.0.0.1".into(),
            port: 0,
        });
    });
    let address = server.server.context.status.profiling_address().unwrap();
    let get = |path: &str| {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    };
    assert!(get("/debug/pprof/").contains("profile?seconds=N"));
    assert!(get("/debug/pprof/threads").contains("weir-profiles"));
    let profile = get("/debug/pprof/profile?seconds=0.01");
    assert!(profile.contains("weir-system (") && profile.contains('%'), "{profile}");
    for (wrong, status) in [
        ("/debug/pprof/heap", "404"),
        ("/debug/pprof/profile?seconds=61", "400"),
        ("/varz", "404"),
    ] {
        assert!(get(wrong).starts_with(&format!("HTTP/1.0 {status}")), "{wrong}");
    }
}
