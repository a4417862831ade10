//! A block more in the configuration lets nobody in who was not let in before (S8), and what is turned off is not there (S15).

use std::io::{Read as _, Write as _};

use weir_broker::conf::Options;

use crate::start;
use crate::support::HELLO;

/// Blocks and words that a file may have beside its users. None of them says who may come in.
const BESIDE: &[&str] = &[
    "",
    "jetstream: enabled",
    "jetstream { store_dir: \"unused\" }",
    "mqtt {}",
    "leafnodes {}",
    "cluster {}",
    "gateway {}",
    "websocket { port: -1, host: \"127.0.0.1\", no_tls: true }",
    "system_account: SYS",
    "accounts { SYS { users: [{user: s, password: p}] } }, system_account: SYS",
    "accounts { SYS {} }, system_account: SYS",
    "accounts { OTHER {} }",
    "accounts { OTHER { jetstream: enabled } }",
    "no_header_support: false",
    "lame_duck_duration: 30s",
    "http: \"127.0.0.1:-1\"",
    "max_connections: 100",
    "default_permissions: {}",
    "ping_interval: 10s",
];

#[test]
fn a_block_more_lets_nobody_in() {
    for with in [
        "authorization { users: [{user: a, password: p}] }",
        "authorization { user: a, password: p }",
        "authorization { token: t }",
        "accounts { A { users: [{user: a, password: p}] } }",
    ] {
        let mut starts = 0;
        for beside in BESIDE {
            // Of a word that is there twice the last one counts, as in nats-server.
            if with.starts_with("accounts") && beside.starts_with("accounts") {
                continue;
            }
            let text = format!("{with}\n{beside}\n");
            // Some do not go together, and are refused: by the reader, or by the check of a start.
            let Ok(options) = Options::parse(&text, "test.conf", &|_| None) else {
                continue;
            };
            if weir_broker::Server::check(&options).is_err() {
                continue;
            }
            starts += 1;
            let fixture = start(&text);
            for connect in [
                HELLO,
                "CONNECT {\"user\":\"\",\"pass\":\"\"}\r\n",
                "CONNECT {\"auth_token\":\"\"}\r\n",
                "SUB a 1\r\n",
            ] {
                let mut stranger = fixture.server.connect();
                stranger.send(connect);
                stranger.send("PING\r\n");
                let told = stranger.until_end();
                assert!(told.contains("-ERR 'Authorization"), "{text}: {told:?}");
                assert!(!told.contains("PONG"), "{text}: {told:?}");
            }
        }
        assert!(starts > 10, "{with}: {starts} of {} are files that start", BESIDE.len());
    }
}

#[test]
fn pages_that_are_turned_off_are_not_there() {
    let fixture = start("http: \"127.0.0.1:-1\"\n");
    let ask = |path: &str| {
        let mut stream = std::net::TcpStream::connect(fixture.server.server.monitor_address().unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    for path in [
        "/debug/pprof/",
        "/debug/pprof/heap",
        "/debug/pprof/goroutine?debug=2",
        "/../../etc/passwd",
        "/%2e%2e/etc/passwd",
        "/jsz/../varz/x",
        "/nothing",
    ] {
        let mut text = ask(path);
        // A detour is redirected, as by nats-server, to a place that is not there.
        if text.starts_with("HTTP/1.1 307 ") {
            let to = text.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
            text = ask(to);
        }
        assert!(text.starts_with("HTTP/1.1 404 "), "{path}: {text}");
    }
}
