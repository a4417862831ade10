//! What nats-server's security advisories were about cannot happen here: a file for each class of them that one server has.
//! `docs/security.md` lists the classes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod ciphers;
mod cycles;
mod identity;
mod injection;
mod kinds;
mod life;
mod names;
mod permissions;
mod states;
mod targets;
mod tenancy;
mod traps;

use std::path::Path;

use serde_json::Value;
use support::{Raw, TestServer};
use weir_broker::conf::Options;

/// A server with JetStream and this configuration, and the folder in which its store lies alone.
struct Fixture {
    server: TestServer,
    folder: tempfile::TempDir,
}

fn options(text: &str, folder: &Path) -> Options {
    let mut options = Options::parse(text, "test.conf", &|_| None).unwrap();
    options.host = "127.0.0.1".into();
    options.port = 0;
    options.jetstream.enabled = true;
    options.jetstream.store_dir = Some(folder.join("store"));
    options
}

fn start(text: &str) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(|all| *all = options(text, folder.path()));
    Fixture { server, folder }
}

impl Fixture {
    /// Goes on with another configuration.
    fn reload(&self, text: &str) {
        let new = options(text, self.folder.path());
        self.server.reload(new).unwrap();
    }

    /// A client that has said who it is, and whatever the server said to that is still to be read.
    fn connect(&self, user: &str) -> Raw {
        let mut raw = self.server.connect();
        raw.send(format!(
            "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"user\":\"{user}\",\"pass\":\"p\"}}\r\n"
        ));
        raw
    }

    /// A client that was let in, and hears its answers on `r`.
    fn client(&self, user: &str) -> Raw {
        let mut raw = self.connect(user);
        raw.exchange("SUB r 1\r\n", "");
        raw
    }
}

/// Asks, and gets the answer: its headers and its body in one.
fn ask(client: &mut Raw, subject: &str, payload: &str) -> String {
    client.send(format!("PUB {subject} r {}\r\n{payload}\r\n", payload.len()));
    answer(client)
}

/// The next message, with its headers.
fn answer(client: &mut Raw) -> String {
    let line = client.line();
    assert!(line.starts_with("MSG r ") || line.starts_with("HMSG r "), "{line}");
    let length: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
    let body = client.take(length + 2);
    String::from_utf8_lossy(&body[..length]).into_owned()
}

/// The same, as JSON.
fn asked(client: &mut Raw, subject: &str, payload: &Value) -> Value {
    let answer = ask(client, subject, &payload.to_string());
    serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{subject}: {answer}"))
}
