//! Streams and consumers that many clients make, change and delete at once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};
use support::{JetStreamServer, Raw};
use weir_broker::conf::options::Backend;

const CLIENTS: usize = 12;

/// A client that hears its answers on a subject of its own.
struct Client {
    raw: Raw,
    inbox: String,
}

impl Client {
    fn new(fixture: &JetStreamServer, number: usize) -> Self {
        let mut raw = fixture.server.client();
        let inbox = format!("inbox.{number}");
        raw.send(format!("SUB {inbox} 1\r\n"));
        Self { raw, inbox }
    }

    fn request(&mut self, subject: &str, body: &str) {
        let inbox = &self.inbox;
        self.raw
            .send(format!("PUB {subject} {inbox} {}\r\n{body}\r\n", body.len()));
    }

    fn ask(&mut self, call: &str, body: &Value) -> Value {
        self.request(&format!("$JS.API.{call}"), &body.to_string());
        assert!(self.raw.line().starts_with("MSG "));
        serde_json::from_str(&self.raw.line()).unwrap()
    }

    /// The error's code, 0 for none.
    fn code(&mut self, call: &str, body: &Value) -> u64 {
        self.ask(call, body)["error"]["err_code"].as_u64().unwrap_or(0)
    }

    fn create(&mut self, name: &str, subjects: &[&str]) -> u64 {
        let config = json!({"name": name, "subjects": subjects});
        self.code(&format!("STREAM.CREATE.{name}"), &config)
    }

    /// The status that a request is answered with which gets no message.
    fn status(&mut self, subject: &str, body: &str) -> String {
        self.request(subject, body);
        let head = self.raw.line();
        assert!(head.starts_with("HMSG "), "{head}");
        let status = self.raw.line();
        while !self.raw.line().is_empty() {}
        self.raw.expect("\r\n");
        status
    }

    /// Whether somebody keeps what is published there.
    fn is_heard(&mut self, subject: &str) -> bool {
        self.request(subject, "x");
        let head = self.raw.line();
        if head.starts_with("MSG ") {
            return self.raw.line().contains("\"seq\":");
        }
        while !self.raw.line().is_empty() {}
        self.raw.expect("\r\n");
        false
    }
}

/// What each of some clients is answered, all of them at once.
fn at_once<T: Send>(clients: &mut [Client], ask: impl Fn(usize, &mut Client) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(clients.len());
    thread::scope(|scope| {
        let all: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(number, client)| {
                let (barrier, ask) = (&barrier, &ask);
                scope.spawn(move || {
                    barrier.wait();
                    ask(number, client)
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

fn count(codes: &[u64], code: u64) -> usize {
    codes.iter().filter(|other| **other == code).count()
}

#[test]
fn of_streams_that_many_clients_make_at_once_those_are_made_that_can_be_together() {
    let fixture = JetStreamServer::start(Backend::Memory, |options| options.jetstream.shards = Some(4));
    let mut clients: Vec<_> = (0..CLIENTS).map(|number| Client::new(&fixture, number)).collect();
    for round in 0..10 {
        // Of many that have a subject in common one is made, and that one hears it.
        let (one, all) = (format!("r{round}.a"), format!("r{round}.>"));
        let codes = at_once(&mut clients, |number, client| {
            let subjects = [one.as_str(), all.as_str()];
            let code = client.create(&format!("R{round}-{number}"), &subjects[number % 2..=number % 2]);
            assert!(code != 0 || client.is_heard(&one));
            code
        });
        assert_eq!((count(&codes, 0), count(&codes, 10065)), (1, CLIENTS - 1), "{codes:?}");

        // All may make the very same one, and none is told so before it hears its subjects.
        let (name, subject) = (format!("S{round}"), format!("s{round}"));
        let heard = at_once(&mut clients, |_, client| {
            client.create(&name, &[&subject]) == 0 && client.is_heard(&subject)
        });
        assert_eq!(heard, [true; CLIENTS]);

        // Of several of one name one is made.
        let name = format!("T{round}");
        let codes = at_once(&mut clients, |number, client| {
            client.create(&name, &[&format!("t{round}.{number}")])
        });
        assert_eq!((count(&codes, 0), count(&codes, 10058)), (1, CLIENTS - 1), "{codes:?}");

        // Streams that exchange their subjects with ones that are made: whoever comes first has them.
        let codes = at_once(&mut clients, |number, client| {
            let subjects = [format!("u{round}.{}", number / 2), format!("v{round}.{number}")];
            match number % 2 {
                0 => client.create(&format!("U{round}-{number}"), &[&subjects[0]]),
                _ => {
                    let name = format!("U{round}-{number}");
                    assert_eq!(client.create(&name, &[&subjects[1]]), 0);
                    let config = json!({"name": name, "subjects": subjects});
                    client.code(&format!("STREAM.UPDATE.{name}"), &config)
                }
            }
        });
        for pair in codes.chunks(2) {
            assert!(matches!(pair, [0, 10065] | [10065, 0]), "{codes:?}");
        }
    }
    // What was refused can be had once the other is gone.
    let client = &mut clients[0];
    let names: Vec<Value> = client.ask("STREAM.NAMES", &json!({}))["streams"]
        .as_array()
        .unwrap()
        .clone();
    for name in names {
        let call = format!("STREAM.DELETE.{}", name.as_str().unwrap());
        assert_eq!(client.code(&call, &json!({})), 0);
    }
    assert_eq!(client.create("ALL", &["r0.>", "s0", "t0.>", "u0.>", "v0.>"]), 0);
}

#[test]
fn a_promise_of_room_is_given_once_whoever_asks_at_once() {
    let fixture = JetStreamServer::start(Backend::Memory, |options| {
        options.jetstream.shards = Some(4);
        options.jetstream.max_file = Some(5 << 20);
    });
    let mut clients: Vec<_> = (0..CLIENTS).map(|number| Client::new(&fixture, number)).collect();
    for round in 0..5 {
        let codes = at_once(&mut clients, |number, client| {
            let name = format!("S{number}");
            let config = json!({"name": name, "subjects": [format!("s{round}.{number}")], "max_bytes": 1 << 20});
            client.code(&format!("STREAM.CREATE.{name}"), &config)
        });
        assert_eq!((count(&codes, 0), count(&codes, 10047)), (5, CLIENTS - 5), "{codes:?}");
        let codes = at_once(&mut clients, |number, client| {
            client.code(&format!("STREAM.DELETE.S{number}"), &json!({}))
        });
        assert_eq!((count(&codes, 0), count(&codes, 10059)), (5, CLIENTS - 5), "{codes:?}");
    }
}

#[test]
fn a_consumer_hears_its_requests_as_long_as_it_is_there_and_no_longer() {
    let fixture = JetStreamServer::start(Backend::Memory, |options| options.jetstream.shards = Some(4));
    let mut clients: Vec<_> = (0..CLIENTS).map(|number| Client::new(&fixture, number)).collect();
    let consumer = json!({"stream_name": "S", "config": {"durable_name": "C", "ack_policy": "explicit"}});
    let next = "$JS.API.CONSUMER.MSG.NEXT.S.C";
    for _ in 0..10 {
        // Made while its stream is: it is refused, or hears.
        let codes = at_once(&mut clients, |number, client| match number {
            0 => client.create("S", &["s"]),
            _ => client.code("CONSUMER.DURABLE.CREATE.S.C", &consumer),
        });
        assert!(
            codes.iter().all(|code| [0, 10059].contains(code)) && codes[0] == 0,
            "{codes:?}"
        );
        if count(&codes, 0) > 1 {
            assert!(clients[0].status(next, "{\"no_wait\":true}").contains(" 404 "));
        }
        // Made and deleted by all of them.
        at_once(&mut clients, |number, client| {
            for round in 0..20 {
                let code = match (number + round) % 3 {
                    0 => client.code("CONSUMER.DELETE.S.C", &json!({})),
                    _ => client.code("CONSUMER.DURABLE.CREATE.S.C", &consumer),
                };
                assert!([0, 10014].contains(&code), "{code}");
            }
        });
        let client = &mut clients[0];
        assert_eq!(client.code("CONSUMER.DURABLE.CREATE.S.C", &consumer), 0);
        assert!(client.status(next, "{\"no_wait\":true}").contains(" 404 "));
        assert_eq!(client.code("CONSUMER.DELETE.S.C", &json!({})), 0);
        assert!(client.status(next, "{\"no_wait\":true}").contains(" 503"));
        assert_eq!(client.code("STREAM.DELETE.S", &json!({})), 0);
    }
}
