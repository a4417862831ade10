//! The client protocol on a real socket. What is expected here is what nats-server 2.15.1 sends for the same bytes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::{HELLO, PATIENCE, Raw, TestServer};
use weir_broker::conf::options::User;

fn plain() -> TestServer {
    TestServer::start(|_| {})
}

#[test]
fn without_connect_a_client_is_verbose() {
    let server = plain();
    let mut client = server.connect();
    client.send("SUB foo 1\r\nPUB foo 2\r\nhi\r\n");
    client.expect("+OK\r\n+OK\r\nMSG foo 1 2\r\nhi\r\n");
    // No second INFO for a client that has not said CONNECT.
    client.exchange("", "");
    client.exchange("", "");
}

#[test]
fn all_addresses_are_those_of_ipv6_too() {
    let server = TestServer::start(|options| options.host = "0.0.0.0".into());
    let address = server.server.client_address().unwrap();
    assert_eq!(address.ip(), Ipv4Addr::UNSPECIFIED);
    let mut info = String::new();
    for (ip, shown) in [
        (IpAddr::from(Ipv4Addr::LOCALHOST), "127.0.0.1"),
        (Ipv6Addr::LOCALHOST.into(), "::1"),
    ] {
        // Without IPv6 on this host, there is nothing to see.
        if TcpListener::bind((ip, 0)).is_err() {
            continue;
        }
        let stream = TcpStream::connect((ip, address.port())).unwrap();
        info.clear();
        BufReader::new(stream).read_line(&mut info).unwrap();
        assert!(info.contains(&format!("\"client_ip\":\"{shown}\"")), "{info}");
    }
}

#[test]
fn info_follows_the_first_pong_only_for_protocol_1() {
    let server = plain();
    server.client().exchange("", "");
    let mut old = server.connect();
    old.send("CONNECT {\"verbose\":false,\"protocol\":0}\r\nPING\r\nPING\r\n");
    old.expect("PONG\r\nPONG\r\n");
}

#[test]
fn connect_is_refused_for_what_does_not_exist() {
    let server = plain();
    for (connect, answer) in [
        (
            "CONNECT {\"verbose\":false,\"protocol\":2}\r\n",
            "-ERR 'invalid client protocol'\r\n",
        ),
        (
            "CONNECT {\"verbose\":false,\"no_responders\":true}\r\n",
            "-ERR 'no responders requires headers support'\r\n",
        ),
        (
            "CONNECT {\"verbose\":false,\"account\":\"A\"}\r\n",
            "-ERR 'Authorization Violation'\r\n",
        ),
        ("CONNECT {abc}\r\n", ""),
        ("CONNECT\r\n", ""),
    ] {
        let mut client = server.connect();
        client.send(connect);
        client.expect_end(answer);
    }
}

#[test]
fn a_second_connect_drops_the_subscriptions() {
    let server = plain();
    let mut client = server.client();
    client.exchange("SUB foo 1\r\n", "");
    client.exchange(HELLO, "");
    client.exchange("PUB foo 2\r\nhi\r\n", "");
}

#[test]
fn what_is_not_the_protocol_ends_the_connection() {
    let server = plain();
    let long = format!("SUB {} 1\r\n", "a".repeat(5000));
    for (bytes, answer) in [
        ("FOO bar\r\n", "-ERR 'Unknown Protocol Operation'\r\n"),
        ("PUB foo 2\r\nhixx\r\n", "-ERR 'Unknown Protocol Operation'\r\n"),
        ("MSG foo 1 2\r\nhi\r\n", "-ERR 'Unknown Protocol Operation'\r\n"),
        ("PUB foo 2000000\r\n", "-ERR 'Maximum Payload Violation'\r\n"),
        (long.as_str(), "-ERR 'maximum control line exceeded'\r\n"),
        ("PUB foo\r\n", ""),
        ("PUB a b c 3\r\n", ""),
        ("PUB foo -3\r\n", ""),
        ("HPUB foo 20 10\r\n", ""),
        ("SUB foo\r\n", ""),
        ("UNSUB 1 2 3\r\n", ""),
        ("-ERR 'abc'\r\n", ""),
    ] {
        let mut client = server.client();
        client.send(bytes);
        client.expect_end(answer);
    }
}

#[test]
fn verbs_in_any_case_and_lines_without_cr() {
    let server = plain();
    let mut client = server.client();
    client.exchange(
        "sub\tfoo\t1\nPub  foo   2\nhi\r\nunsub 1\r\npub foo 1\r\nx\r\n",
        "MSG foo 1 2\r\nhi\r\n",
    );
}

/// As with nats-server 2.15.1, seen on the wire.
#[test]
fn what_is_no_blank_is_a_part_of_a_subject() {
    let server = plain();
    let mut client = server.client();
    client.exchange(
        "SUB a\x0cb 1\r\nPUB a\x0cb 1\r\nx\r\nSUB > 2\r\nPUB c\r r\rr 1\r\ny\r\nPUB \nd 1\r\nz\r\n",
        "MSG a\x0cb 1 1\r\nx\r\nMSG c\r 2 r\rr 1\r\ny\r\nMSG \nd 2 1\r\nz\r\n",
    );
    let mut pedantic = server.connect();
    pedantic.send("CONNECT {\"verbose\":false,\"pedantic\":true}\r\n");
    pedantic.exchange("PUB p\x0cb 1\r\nx\r\n", "");
    client.expect("MSG p\x0cb 2 1\r\nx\r\n");
    client.send("PUB a 2\r\r\nhi\r\n");
    client.expect_end("");
}

#[test]
fn an_operation_may_come_byte_by_byte() {
    let server = plain();
    let mut client = server.client();
    for byte in b"SUB foo.* 1\r\nPUB foo.x in.y 3\r\nabc\r\n" {
        client.stream.write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    client.expect("MSG foo.x 1 in.y 3\r\nabc\r\n");
}

#[test]
fn messages_of_every_size_arrive_whole() {
    let server = plain();
    let mut receiver = server.client();
    receiver.exchange("SUB big 1\r\n", "");
    let mut sender = server.client();
    for size in [0, 1, 1000, 1023, 1024, 1025, 65_535, 65_536, 300_000, 1_048_576, 5] {
        let body: String = (0..size).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
        sender.send(format!("PUB big {size}\r\n{body}\r\n"));
        receiver.expect(&format!("MSG big 1 {size}\r\n{body}\r\n"));
    }
}

#[test]
fn headers_reach_those_who_know_them() {
    let server = plain();
    let mut old = server.connect();
    old.send("CONNECT {\"verbose\":false}\r\n");
    old.exchange("SUB foo 1\r\n", "");
    let mut new = server.client();
    new.exchange(
        "SUB foo 1\r\nHPUB foo in.x 22 24\r\nNATS/1.0\r\nA: bcdef\r\n\r\nhi\r\n",
        "HMSG foo 1 in.x 22 24\r\nNATS/1.0\r\nA: bcdef\r\n\r\nhi\r\n",
    );
    old.expect("MSG foo 1 in.x 2\r\nhi\r\n");
    // And who has not said that it knows them must not send them.
    old.send("HPUB foo 22 24\r\nNATS/1.0\r\nA: bcdef\r\n\r\nhi\r\n");
    old.expect_end("");
}

#[test]
fn a_request_without_a_responder_is_told_so() {
    let server = plain();
    let mut client = server.client();
    client.exchange(
        "SUB in.* 7\r\nPUB nobody in.x 2\r\nhi\r\n",
        "HMSG in.x 7 38 38\r\nNATS/1.0 503\r\nNats-Subject: nobody\r\n\r\n\r\n",
    );
    // Not if somebody listens, and not if nobody asked for an answer.
    client.exchange(
        "SUB svc 8\r\nPUB svc in.x 2\r\nab\r\nPUB nobody 1\r\nx\r\n",
        "MSG svc 8 in.x 2\r\nab\r\n",
    );
}

#[test]
fn no_echo_counts_as_no_responder() {
    let server = plain();
    let mut client = server.connect();
    client.send("CONNECT {\"verbose\":false,\"echo\":false,\"headers\":true,\"no_responders\":true}\r\n");
    client.exchange(
        "SUB foo 1\r\nSUB in.x 2\r\nPUB foo in.x 1\r\na\r\n",
        "HMSG in.x 2 35 35\r\nNATS/1.0 503\r\nNats-Subject: foo\r\n\r\n\r\n",
    );
}

#[test]
fn invalid_subjects() {
    let server = plain();
    let mut client = server.client();
    let error = "-ERR 'Invalid Subject'\r\n";
    client.exchange("SUB foo..bar 1\r\nSUB .a 2\r\nSUB a.>.b 3\r\n", &error.repeat(3));
    // Published as they are, they match nothing but a wildcard token by token.
    client.exchange(
        "SUB > 4\r\nPUB foo.* 2\r\nhi\r\nPUB foo..x 2\r\nhi\r\n",
        "MSG foo.* 4 2\r\nhi\r\n",
    );
    let mut pedantic = server.connect();
    pedantic.send("CONNECT {\"verbose\":false,\"pedantic\":true}\r\n");
    pedantic.exchange(
        "SUB a.* 1\r\nPUB a.* 2\r\nhi\r\n",
        "-ERR 'Invalid Publish Subject'\r\nMSG a.* 1 2\r\nhi\r\n",
    );
}

#[test]
fn reserved_subjects_and_replies_are_not_published() {
    let server = plain();
    let mut client = server.client();
    client.exchange(
        "SUB foo 1\r\nPUB $NRG.x 1\r\na\r\n",
        "-ERR 'Permissions Violation for Publish to \"$NRG.x\"'\r\n",
    );
    for reply in ["_R_.x", "_GR_.x.y", "$JS.ACK.a.b.1.2.3.4.5"] {
        let error = format!("-ERR 'Permissions Violation for Publish with Reply of \"{reply}\"'\r\n");
        client.exchange(format!("PUB foo {reply} 1\r\na\r\n"), &error);
    }
}

#[test]
fn auto_unsubscribe_counts_from_the_beginning() {
    let server = plain();
    let own = server.server.global.subscription_counts().0;
    let mut client = server.client();
    client.exchange(
        "SUB foo 1\r\nUNSUB 1 2\r\nPUB foo 1\r\na\r\nPUB foo 1\r\nb\r\nPUB foo 1\r\nc\r\n",
        "MSG foo 1 1\r\na\r\nMSG foo 1 1\r\nb\r\n",
    );
    assert_eq!(server.server.global.subscription_counts().0, own);
    client.exchange(
        "SUB bar 2\r\nPUB bar 1\r\na\r\nUNSUB 2 1\r\nPUB bar 1\r\nb\r\n",
        "MSG bar 2 1\r\na\r\n",
    );
    assert_eq!(server.server.global.subscription_counts().0, own);
}

#[test]
fn the_same_name_again_is_ignored() {
    let server = plain();
    let mut client = server.client();
    client.exchange(
        "SUB foo 1\r\nSUB bar 1\r\nPUB bar 1\r\na\r\nPUB foo 1\r\nb\r\n",
        "MSG foo 1 1\r\nb\r\n",
    );
}

#[test]
fn a_queue_group_shares_and_each_group_gets_one() {
    let server = plain();
    let mut members: Vec<_> = (0..3)
        .map(|_| {
            let mut member = server.client();
            member.exchange("SUB work workers 1\r\n", "");
            member
        })
        .collect();
    let mut other = server.client();
    other.exchange("SUB work audit 1\r\n", "");
    let mut sender = server.client();
    const MESSAGES: usize = 300;
    sender.exchange("PUB work 1\r\nx\r\n".repeat(MESSAGES), "");
    other.expect(&"MSG work 1 1\r\nx\r\n".repeat(MESSAGES));
    let counts: Vec<usize> = members
        .iter_mut()
        .map(|member| {
            member.send("PING\r\n");
            std::iter::from_fn(|| Some(member.line()))
                .take_while(|line| line != "PONG")
                .count()
                / 2
        })
        .collect();
    assert_eq!(counts.iter().sum::<usize>(), MESSAGES);
    // A fair die leaves one of three below 50 of 300 once in 10^10 times.
    assert!(counts.iter().all(|&count| count > 50), "{counts:?}");
}

#[test]
fn a_member_that_leaves_gets_no_more() {
    let server = plain();
    let mut stays = server.client();
    stays.exchange("SUB work q 1\r\n", "");
    let mut leaves = server.client();
    leaves.exchange("SUB work q 1\r\n", "");
    drop(leaves);
    let end = Instant::now() + PATIENCE;
    while server.server.client_count() > 1 {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    let mut sender = server.client();
    sender.exchange("PUB work 1\r\nx\r\n".repeat(50), "");
    stays.expect(&"MSG work 1 1\r\nx\r\n".repeat(50));
}

#[test]
fn users_and_tokens() {
    let users = TestServer::start(|options| {
        options.auth.users = vec![User {
            name: "a".into(),
            password: "b".into(),
            ..User::default()
        }];
    });
    let mut early = users.connect();
    early.send("PING\r\n");
    early.expect_end("-ERR 'Authorization Violation'\r\n");
    let mut wrong = users.connect();
    wrong.send("CONNECT {\"user\":\"a\",\"pass\":\"x\"}\r\n");
    wrong.expect_end("-ERR 'Authorization Violation'\r\n");
    let mut right = users.connect();
    right.send("CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"b\"}\r\n");
    right.exchange("", "");
    let token = TestServer::start(|options| options.auth.token = Some("secret".into()));
    let mut wrong = token.connect();
    wrong.send("CONNECT {\"auth_token\":\"secre\"}\r\n");
    wrong.expect_end("-ERR 'Authorization Violation'\r\n");
    let mut right = token.connect();
    right.send("CONNECT {\"verbose\":false,\"auth_token\":\"secret\"}\r\n");
    right.exchange("", "");
}

#[test]
fn authentication_has_its_time() {
    let server = TestServer::start(|options| {
        options.auth.token = Some("secret".into());
        options.auth.timeout = Duration::from_millis(200);
    });
    server.connect().expect_end("-ERR 'Authentication Timeout'\r\n");
}

#[test]
fn a_client_that_does_not_answer_pings_is_stale() {
    let server = TestServer::start(|options| {
        options.ping_interval = Duration::from_millis(200);
        options.ping_max = 1;
    });
    // From the beginning: the first PING may come before the client has said anything.
    let mut client = Raw::new(TcpStream::connect(server.server.client_address().unwrap()).unwrap());
    client.shows_pings = true;
    assert!(client.line().starts_with("INFO {"));
    client.send(HELLO);
    let told = client.until_end();
    let pings = told.strip_suffix("-ERR 'Stale Connection'\r\n").unwrap();
    assert!(!pings.is_empty() && pings.replace("PING\r\n", "").is_empty(), "{told}");
}

#[test]
fn limits_of_connections_and_subscriptions() {
    let server = TestServer::start(|options| {
        options.max_connections = Some(1);
        options.max_subscriptions = Some(2);
    });
    let mut client = server.client();
    client.exchange(
        "SUB a 1\r\nSUB b 2\r\nSUB c 3\r\n",
        "-ERR 'maximum subscriptions exceeded'\r\n",
    );
    server.connect().expect_end("-ERR 'maximum connections exceeded'\r\n");
    client.exchange("UNSUB 1\r\nSUB c 3\r\n", "");
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_nobody_else() {
    let server = TestServer::start(|options| {
        options.max_payload = 100_000;
        options.max_pending = 1_000_000;
        options.http = Some(weir_broker::conf::options::Listen {
            host: "127.0.0.1".into(),
            port: 0,
        });
    });
    let mut stuck = server.client();
    stuck.exchange("SUB big 1\r\n", "");
    let mut reader = server.client();
    reader.exchange("SUB small 1\r\n", "");
    let mut sender = server.client();
    let message = format!("PUB big 100000\r\n{}\r\n", "x".repeat(100_000));
    let end = Instant::now() + PATIENCE;
    while server.server.client_count() == 3 {
        assert!(Instant::now() < end, "the slow consumer is still there");
        sender.exchange(&message, "");
    }
    sender.exchange("PUB small 2\r\nok\r\n", "");
    reader.expect("MSG small 1 2\r\nok\r\n");
    let (_, varz) = server.get("/varz");
    let varz: serde_json::Value = serde_json::from_str(&varz).unwrap();
    assert_eq!(varz["slow_consumers"], 1);
    let (_, closed) = server.get("/connz?state=closed");
    assert!(closed.contains("Slow Consumer (Pending Bytes)"), "{closed}");
}

#[test]
fn lame_duck_waits_for_clients_only_and_ends_with_the_server() {
    const HOUR: Duration = Duration::from_secs(3600);
    async fn soon<T>(work: impl Future<Output = T>) -> T {
        tokio::time::timeout(PATIENCE, work).await.unwrap()
    }
    // Nobody is there.
    let server = TestServer::start(|options| {
        options.lame_duck_duration = HOUR;
        options.lame_duck_grace_period = HOUR;
    });
    server.run(async { soon(server.server.lame_duck()).await });
    // The last client is not waited for behind its end.
    let server = TestServer::start(|options| {
        options.lame_duck_duration = HOUR;
        options.lame_duck_grace_period = Duration::from_millis(10);
    });
    let mut client = server.client();
    server.run(async { soon(server.server.lame_duck()).await });
    assert!(client.line().contains("\"ldm\":true"));
    client.expect_end("");
    // INT ends it.
    let server = TestServer::start(|options| {
        options.http = Some(weir_broker::conf::options::Listen {
            host: "127.0.0.1".into(),
            port: 0,
        });
        options.lame_duck_grace_period = HOUR;
    });
    let mut client = server.client();
    let own = Arc::clone(&server.server);
    let duck = server.spawn(async move { own.lame_duck().await });
    assert!(client.line().contains("\"ldm\":true"));
    assert_eq!(
        server.get("/healthz"),
        (
            "HTTP/1.1 500 Internal Server Error".into(),
            "{\"status\":\"error\",\"error\":\"failed to be ready for connections after 1ms: server\"}".into()
        )
    );
    server.run(server.server.shutdown());
    server.run(async { soon(duck).await.unwrap() });
}

#[test]
fn connect_is_read_as_go_reads_it() {
    let server = TestServer::start(|options| {
        options.http = Some(weir_broker::conf::options::Listen {
            host: "127.0.0.1".into(),
            port: 0,
        })
    });
    let mut client = server.connect();
    client.send(b"CONNECT {\"verbose\":false,\"name\":\"a\\ud800b\\\\ud800\\ud83d\\ude00\xff\"}\r\n");
    client.exchange("", "");
    let (_, connz) = server.get("/connz");
    let connz: serde_json::Value = serde_json::from_str(&connz).unwrap();
    assert_eq!(connz["connections"][0]["name"], "a\u{fffd}b\\ud800\u{1f600}\u{fffd}");
}

#[test]
fn lame_duck_tells_clients_and_ends() {
    let server = TestServer::start(|options| {
        // Nobody else, in this process or another, gets a port here when the server has left it.
        options.host = "127.84.73.1".into();
        options.lame_duck_duration = Duration::from_millis(300);
        options.lame_duck_grace_period = Duration::from_millis(100);
    });
    let mut client = server.client();
    let address = server.server.client_address().unwrap();
    server.run(server.server.lame_duck());
    assert!(client.line().contains("\"ldm\":true"));
    client.expect_end("");
    assert!(std::net::TcpStream::connect(address).is_err());
}
