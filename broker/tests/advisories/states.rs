//! No verb has an effect before its time (S3), and no byte before CONNECT costs more than its connection (S1).

use crate::start;

const USERS: &str = "authorization { users: [ {user: a, password: p} ] }";

/// Everything that any kind of connection may say, and what it would do if it were taken.
const VERBS: &[&str] = &[
    "PUB s 1\r\nx\r\n",
    "HPUB s 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
    "SUB > 9\r\n",
    "SUB > q 9\r\n",
    "UNSUB 9\r\n",
    "MSG s 9 1\r\nx\r\n",
    "HMSG s 9 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
    "RMSG $G s 1\r\nx\r\n",
    "LMSG s 1\r\nx\r\n",
    "RS+ $G >\r\n",
    "RS- $G >\r\n",
    "LS+ >\r\n",
    "LS- >\r\n",
    "A+ $G\r\n",
    "A- $G\r\n",
    "INFO {\"server_id\":\"X\",\"cluster\":\"c\"}\r\n",
    "PING\r\n",
    "PONG\r\n",
    "+OK\r\n",
    "-ERR 'x'\r\n",
    "\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
    "\x16\x03\x01\x00\x05hello",
];

#[test]
fn before_connect_no_verb_does_anything() {
    let fixture = start(USERS);
    let mut watcher = fixture.connect("a");
    watcher.exchange("SUB > 1\r\n", "");
    for verb in VERBS {
        let mut stranger = fixture.server.connect();
        stranger.send(verb);
        // What comes behind is not taken either.
        stranger.send("PUB s 1\r\nx\r\n");
        let told = stranger.until_end();
        assert!(told.is_empty() || told.starts_with("-ERR '"), "{verb:?}: {told}");
        watcher.exchange("", "");
    }
}

#[test]
fn after_a_connect_that_was_refused_no_verb_does_anything() {
    let fixture = start(USERS);
    let mut watcher = fixture.connect("a");
    watcher.exchange("SUB > 1\r\n", "");
    for verb in VERBS {
        let mut stranger = fixture.server.connect();
        stranger.send(format!("CONNECT {{\"user\":\"a\",\"pass\":\"no\"}}\r\n{verb}"));
        assert_eq!(stranger.until_end(), "-ERR 'Authorization Violation'\r\n");
        watcher.exchange("", "");
    }
}

#[test]
fn what_only_servers_say_ends_a_client() {
    let fixture = start(USERS);
    let mut watcher = fixture.connect("a");
    watcher.exchange("SUB > 1\r\n", "");
    for verb in VERBS {
        let servers_word = [
            "MSG", "HMSG", "RMSG", "LMSG", "RS", "LS", "A+", "A-", "GET", "PROXY", "\x16",
        ];
        if !servers_word.iter().any(|word| verb.starts_with(word)) {
            continue;
        }
        let mut client = fixture.connect("a");
        client.send(verb);
        let told = client.until_end();
        assert!(told.is_empty() || told.starts_with("-ERR '"), "{verb:?}: {told}");
        watcher.exchange("", "");
    }
}

/// A conversation, cut or changed at every byte: the server serves the next one, and nobody was let in.
#[test]
fn no_byte_before_connect_costs_more_than_its_connection() {
    let fixture = start(USERS);
    let mut watcher = fixture.connect("a");
    watcher.exchange("SUB > 1\r\n", "");
    let hello =
        "CONNECT {\"user\":\"a\",\"pass\":\"n\",\"lang\":\"\\u00e4\"}\r\nSUB > 9\r\nPUB s 1\r\nx\r\n".as_bytes();
    for at in 0..hello.len() {
        for byte in [0, b'\r', b'\n', b' ', b'"', b'\\', b'{', 0x80, 0xff] {
            let mut changed = hello.to_vec();
            changed[at] = byte;
            let stranger = fixture.server.connect();
            // The server may have closed already.
            let _ = std::io::Write::write_all(&mut &stranger.stream, &changed);
            let _ = stranger.stream.shutdown(std::net::Shutdown::Write);
        }
    }
    watcher.exchange("", "");
    let mut stranger = fixture.server.connect();
    stranger.send(hello);
    assert_eq!(stranger.until_end(), "-ERR 'Authorization Violation'\r\n");
    watcher.exchange("PUB s 0\r\n\r\n", "MSG s 1 0\r\n\r\n");
}
