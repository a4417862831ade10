//! Traced messages beside the genuine nats-server: the same messages, over the same configuration, have the same told of them, byte for
//! byte but for times, connection numbers, and what the servers say of themselves.
#![allow(clippy::print_stdout, reason = "that nothing was compared must be seen")]

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use async_nats::{Client, ConnectOptions, HeaderMap, Subscriber};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use weir_tests::genuine::genuine;
use weir_tests::{PATIENCE, Server, jetstream, patient, settle};

const CONFIGURATION: &str = r#"
accounts {
  A { users: [{user: a, password: p}
      {user: few, password: p, permissions: {publish: {deny: [secret, no.trace]}, subscribe: {deny: deny.b}}}]
    jetstream: enabled, msg_trace: {dest: all.traces, sampling: "100%"}
    mappings { m.a: m.b }
    exports: [{service: closed}, {service: open, allow_trace: true}, {stream: st.>}, {stream: dark.>}] }
  B { users: [{user: b, password: p}]
    imports: [{service: {account: A, subject: closed}}, {service: {account: A, subject: open}, to: mine}
      {stream: {account: A, subject: st.>}, allow_trace: true}, {stream: {account: A, subject: dark.>}, prefix: x}] }
  SYS { users: [{user: s, password: p}] }
}
system_account: SYS
no_auth_user: a
"#;

/// Who publishes, on which subject, with which headers beside the destination; whether it is only traced, too.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const CASES: &[Case] = &[
    ("a", "one", &[]),
    ("a", "nobody", &[("A", "1"), ("A", "2"), ("B", "x<>&")]),
    ("a", "queue", &[]),
    ("few", "secret", &[]),
    ("a", "deny.b", &[]),
    ("a", "m.a", &[]),
    ("a", "st.x", &[]),
    ("a", "dark.x", &[]),
    ("b", "closed", &[]),
    ("b", "mine", &[]),
    ("a", "js.a", &[("Nats-Msg-Id", "1")]),
    ("a", "js.a", &[("Nats-Msg-Id", "1")]),
    ("a", "js.t.1", &[]),
    ("a", "js.a", &[("Nats-Expected-Last-Sequence", "99")]),
    ("a", "js.a", &[("Nats-Expected-Last-Subject-Sequence", "99")]),
    ("a", "js.a", &[("Nats-Expected-Last-Msg-Id", "zz")]),
    ("a", "js.a", &[("Nats-Expected-Stream", "zz")]),
    ("a", "js.a", &[("Nats-Rollup", "sub")]),
    ("a", "js.a", &[("Nats-TTL", "5s")]),
    ("a", "js.a", &[("Nats-Incr", "5")]),
    ("a", "js.a", &[("Nats-Schedule", "@every 1s")]),
    ("a", "unwanted", &[]),
    ("a", "$JS.API.INFO", &[]),
    ("a", "$SYS.REQ.USER.INFO", &[]),
    ("a", "$JS.API.DIRECT.GET.NONE", &[]),
    ("a", "one", &[("Accept-Encoding", "unheard of")]),
];

/// A server with that configuration, and the name under which clients are in it.
async fn start(program: &Path) -> Result<Server> {
    let mut server = Server::start_program(program).await?;
    server.kill()?;
    server.configure(CONFIGURATION)?;
    server.start_again().await?;
    Ok(server)
}

async fn user(server: &Server, name: &str) -> Result<Client> {
    let options = patient(ConnectOptions::with_user_and_password(name.to_owned(), "p".to_owned()));
    Ok(options.name(name).connect(server.url()).await?)
}

/// The next trace, without what no two servers have in common.
async fn trace(ear: &mut Subscriber) -> Result<String> {
    let message = tokio::time::timeout(PATIENCE, ear.next())
        .await
        .context("no trace")?
        .context("closed")?;
    let mut told: Value = serde_json::from_slice(&message.payload)?;
    told["server"] = Value::Null;
    for event in told["events"].as_array_mut().context("no events")? {
        let event = event.as_object_mut().context("no event")?;
        ensure!(event.remove("ts").is_some_and(|time| time.is_string()), "no time");
        event.remove("cid");
    }
    let events = told["events"].as_array_mut().context("no events")?;
    // Receivers in any order.
    events.sort_by_key(|event| (event["type"] != "in", event.to_string()));
    Ok(format!("{:?} {told}", message.headers))
}

/// What is told of all cases, a line each, and what listeners hear at all.
async fn play(program: &Path) -> Result<Vec<String>> {
    let server = start(program).await?;
    let (a, few, b) = (
        user(&server, "a").await?,
        user(&server, "few").await?,
        user(&server, "b").await?,
    );
    let jetstream = jetstream(a.clone());
    for stream in [
        json!({"name": "S", "subjects": ["js.>"], "storage": "memory",
            "subject_transform": {"src": "js.t.*", "dest": "js.u.{{wildcard(1)}}"}}),
        json!({"name": "I", "subjects": ["unwanted"], "storage": "memory", "retention": "interest"}),
    ] {
        let name = stream["name"].as_str().context("a name")?;
        let subject = format!("STREAM.CREATE.{name}");
        let made: Value = jetstream.request(subject, &stream).await?;
        ensure!(made["error"].is_null(), "{made}");
    }
    let mut heard = Vec::new();
    for (client, filter) in [
        (&a, "one"),
        (&a, "deny.*"),
        (&a, "m.*"),
        (&a, "closed"),
        (&a, "open"),
        (&few, "deny.*"),
        (&few, "one"),
        (&b, "st.x"),
        (&b, "x.dark.x"),
    ] {
        heard.push(client.subscribe(filter).await?);
    }
    heard.push(a.queue_subscribe("queue", "workers".to_owned()).await?);
    let mut ears = (
        a.subscribe("t.o").await?,
        b.subscribe("t.o").await?,
        a.subscribe("all.traces").await?,
    );
    for client in [&a, &few, &b] {
        settle(client).await?;
    }
    let mut told = Vec::new();
    for only in [None, Some("true")] {
        for (who, subject, headers) in CASES {
            let mut map = HeaderMap::new();
            map.insert("Nats-Trace-Dest", "t.o");
            if let Some(only) = only {
                map.insert("Nats-Trace-Only", only);
            }
            for (name, value) in *headers {
                map.append(*name, *value);
            }
            let (client, ear) = match *who {
                "b" => (&b, &mut ears.1),
                "few" => (&few, &mut ears.0),
                _ => (&a, &mut ears.0),
            };
            client.publish_with_headers(*subject, map, "payload".into()).await?;
            told.push(format!("{who} {subject} {only:?}: {}", trace(ear).await?));
        }
    }
    let mut map = HeaderMap::new();
    map.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    a.publish_with_headers("one", map, "payload".into()).await?;
    told.push(trace(&mut ears.2).await?);
    // All that was to be heard is, once this is.
    for client in [&a, &few, &b] {
        settle(client).await?;
    }
    for mut subscriber in heard {
        subscriber.unsubscribe().await?;
        while let Some(message) = subscriber.next().await {
            // Who asks, and on which subject answers to nobody would be, is the servers' own.
            let headers = message.headers.unwrap_or_default();
            let mut shown = HeaderMap::new();
            for (name, values) in headers.iter() {
                if name.to_string() != "Nats-Request-Info"
                    && !values.iter().any(|value| value.as_str().starts_with("_R_."))
                {
                    values
                        .iter()
                        .for_each(|value| shown.append(name.clone(), value.clone()));
                }
            }
            if *message.subject == *"open" {
                shown = HeaderMap::new();
            }
            let mut lines: Vec<String> = shown.iter().map(|header| format!("{header:?}")).collect();
            lines.sort();
            told.push(format!("heard {} {lines:?}", message.subject));
        }
    }
    Ok(told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_is_told_of_messages() -> Result<()> {
    let theirs = match genuine() {
        Ok(path) => path,
        Err(why) => {
            println!("not compared with nats-server: {why}");
            return Ok(());
        }
    };
    let (there, here) = (play(&theirs).await?, play(&weir_tests::server::program()).await?);
    let differ: Vec<String> = there
        .iter()
        .zip(&here)
        .filter(|(there, here)| there != here)
        .map(|(there, here)| format!("there {there}\nhere  {here}"))
        .collect();
    ensure!(
        differ.is_empty() && there.len() == here.len(),
        "\n{}",
        differ.join("\n")
    );
    ensure!(there.len() > 2 * CASES.len() + 10, "little was compared: {there:?}");
    Ok(())
}
