//! Accounts that import of each other in a circle, and subjects that are mapped onto each other, end (S14): a message goes everywhere once.

use nkeys::KeyPair;
use serde_json::{Value, json};
use weir_broker::conf::Options;
use weir_jwt::{AccountClaims, OperatorClaims, UserClaims, encode};

use crate::kinds::{Client, Hall, Kind};
use crate::{answer, start};

/// Accounts of the configuration, each of which imports what the next one exports; the last that of the first.
fn ring(size: usize, what: &str) -> String {
    let account = |at: usize| {
        let next = (at + 1) % size;
        format!(
            "A{at} {{ users: [{{user: u{at}, password: p}}], exports: [{{{what}: \"x.>\"}}], imports: [{{{what}: {{account: A{next}, subject: \"x.>\"}}}}] }}"
        )
    };
    format!(
        "accounts {{ {} }}",
        (0..size).map(account).collect::<Vec<_>>().join("\n")
    )
}

#[test]
fn a_ring_of_accounts_is_refused() {
    for size in 2..6 {
        for what in ["stream", "service"] {
            let read = Options::parse(&ring(size, what), "test.conf", &|_| None);
            assert!(read.is_err(), "{size} {what}");
        }
    }
}

/// One that imports of itself is no ring: what it hears by that it hears once more.
#[test]
fn an_account_that_imports_of_itself_hears_itself_once_more() {
    for (what, heard) in [
        ("stream", "MSG x.y 1 1\r\nz\r\nMSG x.y 1 1\r\nz\r\n"),
        ("service", "MSG x.y 1 1\r\nz\r\n"),
    ] {
        let fixture = start(&ring(1, what));
        let mut client = fixture.connect("u0");
        client.send("SUB x.> 1\r\nPUB x.y 1\r\nz\r\n");
        client.expect(heard);
        if what == "service" {
            let line = client.line();
            assert!(line.starts_with("HMSG x.y 1 "), "{line}");
            client.take(line.rsplit(' ').next().unwrap().parse::<usize>().unwrap() + 2);
        }
        client.exchange("", "");
    }
}

/// By their tokens accounts come one after the other, and what they claim together is known only then.
#[test]
fn a_ring_of_tokens_hands_a_message_on_once() {
    for what in ["stream", "service"] {
        let operator = KeyPair::new_operator();
        let keys: Vec<KeyPair> = (0..3).map(|_| KeyPair::new_account()).collect();
        let claims = |at: usize| {
            let mut claims = AccountClaims::new(&keys[at].public_key());
            let next = keys[(at + 1) % keys.len()].public_key();
            claims.nats.exports = serde_json::from_value(json!([{"subject": "x.>", "type": what}])).unwrap();
            claims.nats.imports =
                serde_json::from_value(json!([{"subject": "x.>", "account": next, "type": what}])).unwrap();
            encode(claims, &operator, 1).unwrap()
        };
        let preload: String = (0..3)
            .map(|at| format!("{}: {}\n", keys[at].public_key(), claims(at)))
            .collect();
        let root = encode(OperatorClaims::new(&operator.public_key()), &operator, 1).unwrap();
        let hall = Hall::new(
            Kind::Plain,
            &format!("operator: {root}\nresolver: MEMORY\nresolver_preload {{ {preload} }}"),
        );
        let connect = |at: usize| -> Client {
            let mut claims = UserClaims::new(&KeyPair::new_user().public_key());
            claims.nats.rights.bearer_token = true;
            let (mut client, _) = hall.arrive();
            let token = encode(claims, &keys[at], 1).unwrap();
            client.send(format!(
                "CONNECT {}\r\n",
                json!({"verbose": false, "headers": true, "jwt": token})
            ));
            client.exchange("SUB x.> 1\r\n", "");
            client
        };
        let mut clients: Vec<Client> = (0..3).map(connect).collect();
        for at in 0..3 {
            clients[at].send("PUB x.y r 1\r\nz\r\n");
            clients[at].send("PING\r\n");
            let mut heard = vec![0; 3];
            // Its own PONG first: behind that everybody has been given the message.
            for by in (0..3).map(|step| (at + step) % 3) {
                let client = &mut clients[by];
                if by != at {
                    client.send("PING\r\n");
                }
                loop {
                    let line = client.line();
                    if line == "PONG" {
                        break;
                    }
                    let length: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
                    client.take(length + 2);
                    heard[by] += 1;
                }
            }
            assert!(
                heard[at] >= 1 && heard.iter().all(|&times| times <= 1),
                "{what} {at}: {heard:?}"
            );
        }
    }
}

#[test]
fn subjects_that_are_mapped_onto_each_other_are_mapped_once() {
    let fixture = start("mappings { a: b, b: a, c: c, \"d.*\": \"d.d.$1\", \"d.d.*\": \"d.$1\" }");
    let mut client = fixture.connect("");
    client.exchange("SUB > 1\r\n", "");
    for (said, becomes) in [("a", "b"), ("b", "a"), ("c", "c"), ("d.x", "d.d.x"), ("d.d.x", "d.x")] {
        client.exchange(format!("PUB {said} 0\r\n\r\n"), &format!("MSG {becomes} 1 0\r\n\r\n"));
    }
}

/// Streams that copy of each other, or send to each other, are refused, or copy each message once.
#[test]
fn streams_that_copy_of_each_other_come_to_an_end() {
    let fixture = start("");
    let mut client = fixture.client("");
    let mut ask = |subject: &str, body: &Value| -> Value {
        let body = body.to_string();
        client.send(format!("PUB $JS.API.{subject} r {}\r\n{body}\r\n", body.len()));
        serde_json::from_str(&answer(&mut client)).unwrap()
    };
    for (name, config) in [
        ("M", json!({"name": "M", "mirror": {"name": "M"}})),
        (
            "R",
            json!({"name": "R", "subjects": ["r1"], "republish": {"src": "r1", "dest": "r1"}}),
        ),
        (
            "R",
            json!({"name": "R", "subjects": ["r.>"], "republish": {"src": "r.a", "dest": "r.b"}}),
        ),
        (
            "R",
            json!({"name": "R", "subjects": ["r.>"], "republish": {"src": ">", "dest": ">"}}),
        ),
    ] {
        let made = ask(&format!("STREAM.CREATE.{name}"), &config);
        assert!(made["error"]["err_code"].is_number(), "{config}: {made}");
    }
    assert_eq!(
        ask("STREAM.CREATE.S", &json!({"name": "S", "subjects": ["s.>"]}))["did_create"],
        true
    );
    let consumer = json!({"stream_name": "S", "config": {"durable_name": "C", "deliver_subject": "s.again", "ack_policy": "none"}});
    let made = ask("CONSUMER.CREATE.S.C", &consumer);
    assert!(made["error"]["err_code"].is_number(), "{made}");
}
