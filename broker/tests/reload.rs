//! A server goes on with other options: all of them or none, and who may no longer be there goes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use support::TestServer;
use weir_broker::conf::Options;
use weir_broker::{Error, Result};

fn read(text: &str) -> Options {
    let read = Options::parse(text, "a.conf", &|_| None).unwrap();
    Options {
        host: "127.0.0.1".into(),
        port: 0,
        ..read
    }
}

fn configured(text: &str) -> TestServer {
    TestServer::start(|options| *options = read(text))
}

fn reload(server: &TestServer, text: &str) -> Result<()> {
    server.reload(read(text))
}

fn connect(server: &TestServer, user: &str, password: &str) -> support::Raw {
    let mut client = server.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"{password}\"}}\r\nPING\r\n"
    ));
    client
}

#[test]
fn connections_have_the_new_limits() {
    let server = configured("max_payload: 5\nmax_control_line: 512");
    let mut client = server.client();
    let address = server.server.client_address();
    reload(&server, "max_payload: 10\nmax_control_line: 1024").unwrap();
    client.exchange("PUB a 10\r\n0123456789\r\n", "");
    client.exchange(format!("PUB {} 0\r\n\r\n", "a".repeat(600)), "");
    client.send("PUB a 11\r\n");
    client.expect_end("-ERR 'Maximum Payload Violation'\r\n");
    assert_eq!(server.server.client_address(), address);
    assert_eq!(server.server.options().max_payload, 10);
}

#[test]
fn users_who_are_no_longer_there_go_and_others_stay() {
    let users = |list: &str| format!("authorization {{ users: [ {list} ] }}");
    let server = configured(&users(
        "{user: a, password: p}, {user: b, password: p}, {user: c, password: p}",
    ));
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|user| connect(&server, user, "p"));
    for client in [&mut a, &mut b, &mut c] {
        client.expect("PONG\r\n");
    }
    // Has not said who it is, and may still.
    let mut late = server.connect();
    reload(
        &server,
        &users("{user: a, password: p}, {user: b, password: other}, {user: d, password: p}"),
    )
    .unwrap();
    b.expect_end("-ERR 'Authorization Violation'\r\n");
    // As nats-server: without a word.
    c.expect_end("");
    a.exchange("SUB x 1\r\nPUB x 0\r\n\r\n", "MSG x 1 0\r\n\r\n");
    late.send("CONNECT {\"verbose\":false,\"user\":\"d\",\"pass\":\"p\"}\r\n");
    late.exchange("", "");
    connect(&server, "c", "p").expect_end("-ERR 'Authorization Violation'\r\n");
}

#[test]
fn where_everybody_was_let_in_nobody_stays_without_a_token() {
    let server = configured("debug: false");
    let mut silent = server.connect();
    silent.send("SUB x 1\r\n");
    silent.expect("+OK\r\n");
    let mut introduced = server.client();
    let mut known = server.connect();
    known.send("CONNECT {\"verbose\":false,\"auth_token\":\"t\"}\r\nPING\r\n");
    known.expect("PONG\r\n");
    reload(&server, "authorization { token: t }").unwrap();
    silent.expect_end("-ERR 'Authorization Violation'\r\n");
    introduced.expect_end("-ERR 'Authorization Violation'\r\n");
    known.exchange("PUB x 0\r\n\r\n", "");
}

/// As with nats-server 2.15.1: the connection stays.
#[test]
fn a_client_goes_on_with_other_permissions() {
    let users = |a: &str| {
        format!(
            "authorization {{ users: [ {{user: a, password: p, permissions {{ {a} }} }}, {{user: b, password: p}} ] }}"
        )
    };
    let server = configured(&users("publish: x, subscribe: [\"s.>\", \"t.*\"]"));
    let [mut a, mut b] = ["a", "b"].map(|user| connect(&server, user, "p"));
    a.expect("PONG\r\n");
    b.expect("PONG\r\n");
    a.exchange("SUB s.> 1\r\nSUB t.* 2\r\nPUB x 0\r\n\r\n", "");
    b.exchange("PUB s.one 0\r\n\r\nPUB t.one 0\r\n\r\n", "");
    a.expect("MSG s.one 1 0\r\n\r\nMSG t.one 2 0\r\n\r\n");
    reload(
        &server,
        &users("publish: y, subscribe: { allow: \"s.>\", deny: \"s.one\" }"),
    )
    .unwrap();
    a.expect("-ERR 'Permissions Violation for Subscription to \"t.*\" (sid \"2\")'\r\n");
    b.exchange("PUB s.one 0\r\n\r\nPUB t.one 0\r\n\r\nPUB s.two 0\r\n\r\n", "");
    a.expect("MSG s.two 1 0\r\n\r\n");
    a.exchange(
        "PUB y 0\r\n\r\nPUB x 0\r\n\r\n",
        "-ERR 'Permissions Violation for Publish to \"x\"'\r\n",
    );
    a.exchange(
        "SUB t.* 3\r\n",
        "-ERR 'Permissions Violation for Subscription to \"t.*\"'\r\n",
    );
    reload(
        &server,
        "authorization { users: [ {user: a, password: p}, {user: b, password: p} ] }",
    )
    .unwrap();
    b.exchange("PUB s.one 0\r\n\r\n", "");
    a.expect("MSG s.one 1 0\r\n\r\n");
    a.exchange("PUB x 0\r\n\r\n", "");
}

#[test]
fn the_youngest_of_too_many_connections_go() {
    let server = configured("max_connections: 3");
    let mut clients = [server.client(), server.client(), server.client()];
    reload(&server, "max_connections: 1").unwrap();
    for client in &mut clients[1..] {
        client.expect_end("-ERR 'maximum connections exceeded'\r\n");
    }
    clients[0].exchange("", "");
    reload(&server, "max_connections: 2").unwrap();
    // Their sockets end before their places are free.
    while server.server.client_count() > 1 {
        std::thread::yield_now();
    }
    server.client();
}

#[test]
fn an_account_loses_the_youngest_of_too_many_connections() {
    let account = |limits: &str| {
        format!(
            "accounts {{ A {{ users: [{{user: a, password: p}}] {limits} }}, B {{ users: [{{user: b, password: p}}] }} }}"
        )
    };
    let server = configured(&account(""));
    let mut clients = ["a", "b", "a", "a"].map(|user| {
        let mut client = connect(&server, user, "p");
        client.expect("PONG\r\n");
        client
    });
    reload(&server, &account(", limits { max_connections: 1 }")).unwrap();
    for client in &mut clients[2..] {
        client.expect_end("-ERR 'maximum account active connections exceeded'\r\n");
    }
    for client in &mut clients[..2] {
        client.exchange("", "");
    }
}

#[test]
fn a_callout_does_not_come_by_a_reload() {
    let accounts = "accounts { AUTH { users: [{user: auth, password: p}] } }\n";
    let server = configured(accounts);
    let issuer = "ACI2FCQLOQ4BLE5E3FDJK6JARETK7SFNQLEIHG3WIQ2ZXHV2TJFTU3RM";
    let callout = format!("authorization {{ auth_callout {{ issuer: {issuer}, account: AUTH, auth_users: [auth] }} }}");
    let error = reload(&server, &format!("{accounts}{callout}")).unwrap_err();
    let wanted = "config reload not supported for auth_callout";
    assert!(error.to_string().contains(wanted), "{error}");
}

#[test]
fn what_cannot_be_changed_changes_nothing() {
    let server = configured("max_payload: 5\nmax_pending: 1mb");
    let error = reload(&server, "max_payload: 10\nmax_pending: 2mb").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("config reload not supported for max_pending"),
        "{error}"
    );
    let refused = server.run(server.server.reload(read("max_payload: 10\nmax_pending: 1mb"), |_| {
        Err(Error::Options("the log".into()))
    }));
    assert_eq!(refused.unwrap_err().to_string(), "the log");
    let elsewhere = "max_payload: 10\nmax_pending: 1mb\npid_file: \"/missing/pid\"";
    assert!(reload(&server, elsewhere).is_err());
    assert_eq!(server.server.options().max_payload, 5);
    let mut client = server.client();
    client.send("PUB a 6\r\n");
    client.expect_end("-ERR 'Maximum Payload Violation'\r\n");
}

#[test]
fn files_follow() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let [one, two] = ["one", "two"].map(|name| path(name).display().to_string());
    let server = configured(&format!("pid_file: {one:?}"));
    std::fs::create_dir(path("ports")).unwrap();
    let ports = path("ports").display().to_string();
    reload(&server, &format!("pid_file: {two:?}\nports_file_dir: {ports:?}")).unwrap();
    assert!(!path("one").exists() && path("two").exists());
    assert_eq!(std::fs::read_dir(path("ports")).unwrap().count(), 1);
    reload(&server, "debug: false").unwrap();
    assert!(!path("two").exists());
    assert_eq!(std::fs::read_dir(path("ports")).unwrap().count(), 0);
}

#[test]
fn jetstream_is_turned_on_off_and_on_again() {
    let folder = tempfile::tempdir().unwrap();
    let on = format!("jetstream {{ store_dir: {:?} }}", folder.path().display().to_string());
    let server = configured("debug: false");
    reload(&server, &on).unwrap();
    let mut client = server.connect();
    client.send("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB r 1\r\nSUB p 2\r\n");
    let create = r#"{"name":"S","subjects":["s"]}"#;
    client.send(format!(
        "PUB $JS.API.STREAM.CREATE.S r {}\r\n{create}\r\n",
        create.len()
    ));
    while !client.line().contains("stream_create_response") {}
    client.send("PUB s r 1\r\nx\r\n");
    while !client.line().contains("\"seq\":1") {}
    let consumer = r#"{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit"}}"#;
    client.send(format!(
        "PUB $JS.API.CONSUMER.CREATE.S.C r {}\r\n{consumer}\r\n",
        consumer.len()
    ));
    while !client.line().contains("consumer_create_response") {}
    let pull = r#"{"batch":2,"expires":90000000000}"#;
    client.send(format!(
        "PUB $JS.API.CONSUMER.MSG.NEXT.S.C p {}\r\n{pull}\r\n",
        pull.len()
    ));
    while !client.line().starts_with("MSG s 2") {}
    // Who waits for messages is told, as when the server goes.
    reload(&server, "debug: false").unwrap();
    while !client.line().contains("409 Server Shutdown") {}
    assert!(server.server.jetstream.get().is_none());
    // Nobody is there to answer.
    for subject in ["s", "$JS.API.INFO"] {
        client.send(format!("PUB {subject} r 0\r\n\r\n"));
        while client.line() != format!("Nats-Subject: {subject}") {}
    }
    reload(&server, &on).unwrap();
    client.send("PUB s r 1\r\ny\r\n");
    while !client.line().contains("\"seq\":2") {}
    // It was delivered and not acknowledged; the next one comes.
    client.send("PUB $JS.API.CONSUMER.MSG.NEXT.S.C p 1\r\n1\r\n");
    while !client.line().starts_with("MSG s 2 $JS.ACK.S.C.1.2.2.") {}
}

/// As with nats-server 2.15.1: clients of accounts that stay go on, and hear what is shared now.
#[test]
fn accounts_come_go_and_share_otherwise() {
    let server = configured(
        "accounts {
            A { users: [{user: a}, {user: m}, {user: u}], exports: [{stream: s}, {service: q}] }
            B { users: [{user: b}], imports: [{stream: {account: A, subject: s}, prefix: x}] }
            D { users: [{user: d}] } }",
    );
    let [mut a, mut b, mut d, mut m, mut u] = ["a", "b", "d", "m", "u"].map(|user| connect(&server, user, ""));
    for client in [&mut a, &mut b, &mut d, &mut m, &mut u] {
        client.expect("PONG\r\n");
    }
    b.exchange("SUB x.s 1\r\nSUB y.s 2\r\nSUB r 3\r\n", "");
    a.exchange("SUB q 1\r\nPUB s 1\r\n1\r\n", "");
    b.expect("MSG x.s 1 1\r\n1\r\n");
    reload(
        &server,
        "accounts {
            A { users: [{user: a}, {user: u}], exports: [{stream: s}, {service: q}] }
            B { users: [{user: b}, {user: m}], limits: {max_subs: 3}, imports: [
                {stream: {account: A, subject: s}, prefix: y}, {service: {account: A, subject: q}}] }
            C { users: [{user: c}], mappings: {e: f} } }",
    )
    .unwrap();
    // Their account is gone, and another one.
    d.expect_end("");
    m.expect_end("");
    u.exchange("", "");
    a.exchange("PUB s 1\r\n2\r\n", "");
    b.expect("MSG y.s 2 1\r\n2\r\n");
    b.exchange("PUB q r 1\r\n3\r\n", "");
    assert!(a.line().starts_with("MSG q 1 _R_."));
    assert_eq!(a.line(), "3");
    b.exchange("SUB z 4\r\n", "-ERR 'maximum subscriptions exceeded'\r\n");
    let mut c = connect(&server, "c", "");
    c.expect("PONG\r\n");
    c.exchange("SUB > 1\r\nPUB e 1\r\n4\r\n", "MSG f 1 1\r\n4\r\n");
    // What does not go together changes nothing.
    let wrong = Options::parse(
        "accounts { A { users: [{user: a}] }, B { users: [{user: b}], imports: [{stream: {account: A, subject: s}}] } }",
        "a.conf",
        &|_| None,
    );
    assert!(wrong.unwrap_err().to_string().ends_with("stream import not authorized"));
    b.exchange("", "");
    reload(
        &server,
        "accounts { A { users: [{user: a}] }, B { users: [{user: b}] } }",
    )
    .unwrap();
    c.expect_end("");
    let mut again = server.connect();
    again.send("CONNECT {\"verbose\":false,\"no_responders\":true,\"headers\":true,\"user\":\"b\"}\r\n");
    again.exchange(
        "SUB r 1\r\nPUB q r 0\r\n\r\n",
        "HMSG r 1 33 33\r\nNATS/1.0 503\r\nNats-Subject: q\r\n\r\n\r\n",
    );
}

#[test]
fn what_accounts_may_store_is_reloaded() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().display();
    let text = |a: &str, rest: &str| {
        format!("jetstream {{ store_dir: \"{store}\" }}\naccounts {{ A {{ users: [{{user: a}}], {a} }}, {rest} }}")
    };
    let server = configured(&text("jetstream: {max_streams: 1}", ""));
    let mut a = connect(&server, "a", "");
    a.expect("PONG\r\n");
    a.exchange("SUB r 1\r\n", "");
    let ask = |client: &mut support::Raw, call: &str, payload: &str| {
        client.send(format!("PUB $JS.API.{call} r {}\r\n{payload}\r\n", payload.len()));
        assert!(client.line().starts_with("MSG r 1 "));
        client.line()
    };
    let make = |name: &str| format!("{{\"name\":\"{name}\",\"subjects\":[\"{name}\"]}}");
    assert!(ask(&mut a, "STREAM.CREATE.S", &make("S")).contains("\"did_create\":true"));
    assert!(ask(&mut a, "STREAM.CREATE.T", &make("T")).contains("10027"));
    reload(
        &server,
        &text(
            "jetstream: {max_streams: 2}",
            "B { users: [{user: b}], jetstream: enabled }",
        ),
    )
    .unwrap();
    assert!(ask(&mut a, "STREAM.CREATE.T", &make("T")).contains("\"did_create\":true"));
    let mut b = connect(&server, "b", "");
    b.expect("PONG\r\n");
    b.exchange("SUB r 1\r\n", "");
    assert!(ask(&mut b, "STREAM.CREATE.S", &make("S")).contains("\"did_create\":true"));
    // Without JetStream for a while.
    reload(&server, &text("", "B { users: [{user: b}], jetstream: enabled }")).unwrap();
    assert!(ask(&mut a, "STREAM.INFO.S", "").contains("10039"));
    a.exchange("PUB S r 1\r\n1\r\n", "");
    reload(&server, &text("jetstream: enabled", "")).unwrap();
    b.expect_end("");
    a.send("PUB S r 1\r\n1\r\n");
    assert!(a.line().starts_with("MSG r 1 "));
    assert_eq!(a.line(), "{\"stream\":\"S\",\"seq\":1}");
    assert!(ask(&mut a, "STREAM.NAMES", "").contains("\"total\":2"));
}

/// Users, limits, accounts, what these share and how subjects are mapped change fifty times, while clients publish and hear. None is lost
/// that may stay, and every message comes.
#[test]
fn clients_go_on_while_everything_else_changes() {
    let with = |at: u32| {
        let permissions = if at.is_multiple_of(2) {
            ""
        } else {
            ", permissions: {publish: {deny: [\"secret\"]}}"
        };
        let limits = if at.is_multiple_of(3) {
            ", limits { max_subscriptions: 100 }"
        } else {
            ""
        };
        format!(
            "max_payload: {}\naccounts {{
               A {{ users: [{{user: a, password: p{permissions}}}], exports: [{{stream: \"p.>\"}}, {{service: \"s.{}\"}}], mappings {{ \"m.{}\": \"p.m\" }} }}
               B {{ users: [{{user: b, password: p}}], imports: [{{stream: {{account: A, subject: \"p.>\"}}}}] {limits} }}
               C{at} {{ users: [{{user: c{at}, password: p}}] }}
             }}",
            1000 + at,
            at % 4,
            at % 5
        )
    };
    let server = configured(&with(0));
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..32 {
            let (server, over) = (&server, &over);
            scope.spawn(move || {
                let (mut from, mut to) = (connect(server, "a", "p"), connect(server, "b", "p"));
                from.expect("PONG\r\n");
                to.expect("PONG\r\n");
                to.exchange(format!("SUB p.{number} 1\r\n"), "");
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    from.exchange(format!("PUB p.{number} 1\r\nx\r\nPUB m.1 1\r\nx\r\n"), "");
                    to.expect(&format!("MSG p.{number} 1 1\r\nx\r\n"));
                }
                to.exchange("", "");
            });
        }
        for at in 1..=50 {
            reload(&server, &with(at)).unwrap();
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
