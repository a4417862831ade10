//! Accounts: subjects that others do not see, limits, and streams of each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use support::{Raw, TestServer};
use weir_broker::conf::Options;

const ACCOUNTS: &str = r"accounts {
  A { users: [{user: a, password: p}], limits: {max_conn: 2, max_subs: 2, max_payload: 4}
    jetstream: {max_streams: 1, max_file: 1000, max_consumers: 1} }
  B { users: [{user: b, password: p}], jetstream: enabled }
  C { users: [{user: c, password: p}] }
  SYS { users: [{user: s, password: p}] }
}
system_account: SYS
";

struct Fixture {
    server: TestServer,
    _folder: tempfile::TempDir,
}

fn fixture(text: &str) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let read = Options::parse(text, "test.conf", &|_| None).unwrap();
    let server = TestServer::start(|options| {
        options.jetstream.enabled = true;
        options.jetstream.store_dir = Some(folder.path().into());
        options.auth = read.auth;
        options.accounts = read.accounts;
        options.system_account = read.system_account;
    });
    Fixture {
        server,
        _folder: folder,
    }
}

impl Fixture {
    fn client(&self, user: &str) -> Raw {
        let mut raw = self.connect(user);
        raw.exchange("", "");
        raw
    }

    fn connect(&self, user: &str) -> Raw {
        let mut raw = self.server.connect();
        raw.send(format!(
            "CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"p\"}}\r\n"
        ));
        raw
    }
}

/// Asks, and gets the answer's body.
fn ask(client: &mut Raw, subject: &str, payload: &str) -> String {
    client.send(format!("PUB {subject} r {}\r\n{payload}\r\n", payload.len()));
    assert!(client.line().starts_with("MSG r "));
    client.line()
}

#[test]
fn subjects_are_the_accounts_own() {
    let fixture = fixture(ACCOUNTS);
    let (mut a, mut b, mut s) = (fixture.client("a"), fixture.client("b"), fixture.client("s"));
    for client in [&mut a, &mut b, &mut s] {
        client.exchange("SUB x 1\r\n", "");
    }
    for client in [&mut a, &mut b, &mut s] {
        client.exchange("PUB x 1\r\n1\r\n", "MSG x 1 1\r\n1\r\n");
    }
    for client in [&mut a, &mut b, &mut s] {
        client.exchange("", "");
    }
}

#[test]
fn a_place_in_an_account_is_free_again_when_its_client_goes() {
    let fixture = fixture(ACCOUNTS);
    let (first, second) = (fixture.client("a"), fixture.client("a"));
    fixture
        .connect("a")
        .expect_end("-ERR 'maximum account active connections exceeded'\r\n");
    drop(first);
    // The server sees the end when it does.
    while fixture.server.server.client_count() > 1 {
        std::thread::yield_now();
    }
    let mut again = fixture.client("a");
    // A second CONNECT takes no second place.
    again.send("CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"p\"}\r\n");
    again.exchange("", "");
    fixture.client("b");
    drop(second);
}

#[test]
fn what_a_client_of_an_account_may_use() {
    let fixture = fixture(ACCOUNTS);
    let mut a = fixture.client("a");
    a.exchange(
        "SUB a 1\r\nSUB b 2\r\nSUB c 3\r\n",
        "-ERR 'maximum subscriptions exceeded'\r\n",
    );
    a.send("PUB x 5\r\n12345\r\n");
    a.expect_end("-ERR 'Maximum Payload Violation'\r\n");
}

#[test]
fn streams_of_accounts_do_not_meet() {
    let text = ACCOUNTS.replace("limits: {max_conn: 2, max_subs: 2, max_payload: 4}", "");
    let fixture = fixture(&text);
    let (mut a, mut b, mut c) = (fixture.client("a"), fixture.client("b"), fixture.client("c"));
    let stream = "{\"name\":\"S\",\"subjects\":[\"s\"],\"storage\":\"file\"}";
    for client in [&mut a, &mut b, &mut c] {
        client.exchange("SUB r 1\r\n", "");
    }
    assert!(ask(&mut a, "$JS.API.STREAM.CREATE.S", stream).contains("\"did_create\":true"));
    assert!(ask(&mut b, "$JS.API.STREAM.NAMES", "").contains("\"streams\":null"));
    assert!(ask(&mut b, "$JS.API.STREAM.CREATE.S", stream).contains("\"did_create\":true"));
    assert!(ask(&mut a, "s", "one").contains("\"seq\":1"));
    assert!(ask(&mut b, "s", "two").contains("\"seq\":1"));
    assert!(ask(&mut c, "$JS.API.STREAM.NAMES", "").contains("\"err_code\":10039"));
    let other = "{\"name\":\"T\",\"subjects\":[\"t\"]}";
    assert!(ask(&mut a, "$JS.API.STREAM.CREATE.T", other).contains("\"err_code\":10027"));
    assert!(ask(&mut b, "$JS.API.STREAM.CREATE.T", other).contains("\"did_create\":true"));
    let consumer = |name: &str| {
        format!("{{\"stream_name\":\"S\",\"config\":{{\"durable_name\":\"{name}\",\"ack_policy\":\"explicit\"}}}}")
    };
    assert!(ask(&mut a, "$JS.API.CONSUMER.DURABLE.CREATE.S.c1", &consumer("c1")).contains("\"name\":\"c1\""));
    assert!(ask(&mut a, "$JS.API.CONSUMER.DURABLE.CREATE.S.c2", &consumer("c2")).contains("\"err_code\":10026"));
    // What is beyond the account's bytes is refused, in that account alone.
    let large = "x".repeat(600);
    let refused = (0..10).find(|_| ask(&mut a, "s", &large).contains("\"err_code\":10002"));
    assert!(refused.is_some_and(|after| after >= 1), "{refused:?}");
    for _ in 0..5 {
        assert!(ask(&mut b, "s", &large).contains("\"seq\""));
    }
    // The system account has no JetStream, and is told so, as by nats-server.
    let mut s = fixture.client("s");
    s.send("SUB r 1\r\n");
    assert!(ask(&mut s, "$JS.API.INFO", "").contains("\"err_code\":10039"));
}

#[test]
fn without_credentials_beside_the_system_account() {
    let fixture = fixture("accounts { SYS { users: [{user: s, password: p}] } }\nsystem_account: SYS");
    let mut anybody = fixture.server.connect();
    anybody.send("CONNECT {\"verbose\":false}\r\n");
    anybody.exchange("SUB x 1\r\nPUB x 0\r\n\r\n", "MSG x 1 0\r\n\r\n");
    anybody.exchange("SUB r 2\r\n", "");
    anybody.send("PUB $JS.API.INFO r 0\r\n\r\n");
    assert!(anybody.line().starts_with("MSG r 2 "));
    let mut wrong = fixture.connect("x");
    wrong.expect_end("-ERR 'Authorization Violation'\r\n");
}

/// What an account holds is counted where a publish can look it up; a stream that goes over to another place or is opened anew does not
/// count twice, and one that is deleted no more.
#[test]
fn what_an_account_holds_is_what_its_streams_do() {
    let fixture = fixture(
        "accounts { A { users: [{user: a, password: p}], jetstream: {max_mem: 1000} }, B { users: [{user: b, password: p}], jetstream: enabled } }",
    );
    let (mut a, mut b) = (fixture.client("a"), fixture.client("b"));
    for client in [&mut a, &mut b] {
        client.exchange("SUB r 1\r\n", "");
    }
    let large = "x".repeat(300);
    let stream = |name: &str| format!("{{\"name\":\"{name}\",\"subjects\":[\"{name}\"],\"storage\":\"memory\"}}");
    for client in [&mut a, &mut b] {
        for name in ["s", "t"] {
            assert!(ask(client, &format!("$JS.API.STREAM.CREATE.{name}"), &stream(name)).contains("did_create"));
        }
    }
    let refused = |client: &mut Raw, subject: &str| ask(client, subject, &large).contains("\"err_code\":10002");
    // Both streams count, and those of others do not.
    for _ in 0..10 {
        assert!(!refused(&mut b, "s"));
    }
    assert!(!refused(&mut a, "s") && !refused(&mut a, "t") && !refused(&mut a, "s"));
    assert!((0..4).any(|_| refused(&mut a, "t")));
    assert!(ask(&mut a, "$JS.API.STREAM.DELETE.s", "").contains("success"));
    assert!(!refused(&mut a, "t"));
    assert!((0..4).any(|_| refused(&mut a, "t")));
    assert!(ask(&mut a, "$JS.API.STREAM.PURGE.t", "").contains("success"));
    assert!(!refused(&mut a, "t"));
}
