//! Streams that go from a Weir store into a genuine nats-server and back, without a server of ours at either end: the same to
//! the byte, as far as the format of backups carries it.
//!
//! It needs a `nats-server` 2.15, on PATH or named by `NATS_SERVER`, and says so if there is none.
#![allow(clippy::print_stdout, reason = "that nothing was compared must be seen")]

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::{Client, HeaderMap};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use weir_tests::backups::{ask, backup, look, restore_told};
use weir_tests::genuine::genuine;
use weir_tests::server::program;
use weir_tests::tool::well;
use weir_tests::{Backend, Server, with_server_for};

/// Enough for the slowest machine.
const LIMIT: Duration = Duration::from_secs(300);
/// All that is moved.
const STREAMS: [&str; 6] = ["PLAIN", "COUNT", "PLANNED", "QUEUE", "EMPTY", "PURGED"];

/// Makes a stream; its configuration may ask for anything.
async fn make(client: &Client, backend: Backend, mut config: Value) -> Result<()> {
    let name = config["name"].as_str().context("a name")?.to_owned();
    config["metadata"] = json!({"weir.backend": backend.name()});
    let made = ask(client, &format!("STREAM.CREATE.{name}"), &config).await?;
    ensure!(made.get("error").is_none(), "{made}");
    Ok(())
}

/// Publishes with headers; the answer.
async fn put(client: &Client, subject: String, headers: &[(&str, &str)], payload: String) -> Result<Value> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    let answer = client.request_with_headers(subject, map, payload.into()).await?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    ensure!(answer.get("error").is_none(), "{answer}");
    Ok(answer)
}

/// Streams with gaps, headers, TTLs, counters, schedules, and consumers in the middle of their work.
async fn fill(server: &Server, backend: Backend) -> Result<()> {
    let client = server.connect().await?;
    let plain = json!({
        "name": "PLAIN", "subjects": ["plain.>"], "first_seq": 1000, "allow_msg_ttl": true, "allow_direct": true,
        "max_msgs_per_subject": 30, "duplicate_window": 3_600_000_000_000_u64, "description": "all kinds of messages",
    });
    make(&client, backend, plain).await?;
    for number in 0..300_u64 {
        let (id, ttl) = (format!("id-{number}"), if number % 10 == 0 { "never" } else { "90h" });
        let headers = [("Nats-Msg-Id", &*id), ("Nats-TTL", ttl), ("Unusual", "välue")];
        let payload = format!("\u{0}{number} ").repeat(number as usize * 3);
        put(
            &client,
            format!("plain.{}", number % 7),
            &headers[..number as usize % 4],
            payload,
        )
        .await?;
    }
    for gone in [1100, 1207, 1208, 1299] {
        let erased = json!({"seq": gone, "no_erase": gone % 2 == 0});
        ask(&client, "STREAM.MSG.DELETE.PLAIN", &erased).await?;
    }
    make(
        &client,
        backend,
        json!({"name": "COUNT", "subjects": ["count.*"], "allow_msg_counter": true}),
    )
    .await?;
    for number in 0..50 {
        let more = format!("{}", 1_u128 << number);
        put(
            &client,
            format!("count.{}", number % 3),
            &[("Nats-Incr", &more)],
            String::new(),
        )
        .await?;
    }
    let planned =
        json!({"name": "PLANNED", "subjects": ["planned.>"], "allow_msg_schedules": true, "allow_msg_ttl": true});
    make(&client, backend, planned).await?;
    let headers = [
        ("Nats-Schedule", "@at 2099-01-01T00:00:00Z"),
        ("Nats-Schedule-Target", "planned.to"),
    ];
    put(&client, "planned.at".to_owned(), &headers, "later".to_owned()).await?;
    make(
        &client,
        backend,
        json!({"name": "QUEUE", "subjects": ["queue.>"], "retention": "workqueue"}),
    )
    .await?;
    make(
        &client,
        backend,
        json!({"name": "EMPTY", "subjects": ["empty"], "first_seq": 77}),
    )
    .await?;
    make(&client, backend, json!({"name": "PURGED", "subjects": ["purged"]})).await?;
    for number in 0..40 {
        put(&client, format!("queue.{}", number % 2), &[], format!("{number}")).await?;
        put(&client, "purged".to_owned(), &[], String::new()).await?;
    }
    ask(&client, "STREAM.PURGE.PURGED", &Value::Null).await?;
    for (stream, filter) in [("PLAIN", "plain.3"), ("QUEUE", "queue.1")] {
        work(server, stream, filter).await?;
    }
    Ok(())
}

/// A consumer that has some of its messages acknowledged, some sent again, some pending; and one that began nothing.
async fn work(server: &Server, stream: &str, filter: &str) -> Result<()> {
    let client = server.connect().await?;
    let all = json!({"name": "idle", "durable_name": "idle", "ack_policy": "explicit", "filter_subject": format!("{filter}.none")});
    let mut worker = json!({
        "name": "worker", "durable_name": "worker", "ack_policy": "explicit", "ack_wait": 3_600_000_000_000_u64,
        "filter_subject": filter, "max_deliver": 20, "description": "in the middle of its work",
    });
    worker["metadata"] = json!({"of": "a test"});
    for config in [worker, all] {
        let name = config["name"].as_str().context("a name")?;
        let call = format!("CONSUMER.DURABLE.CREATE.{stream}.{name}");
        let made = ask(&client, &call, &json!({"stream_name": stream, "config": config})).await?;
        ensure!(made.get("error").is_none(), "{made}");
    }
    let jetstream = server.jetstream().await?;
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        jetstream.get_consumer_from_stream("worker", stream).await?;
    for round in 0..2 {
        let mut batch = consumer.fetch().max_messages(8).messages().await?;
        let mut taken = 0;
        while let Some(message) = batch.next().await {
            let message = message.map_err(anyhow::Error::from_boxed)?;
            taken += 1;
            match taken % 4 {
                0 if round == 0 => {
                    message
                        .ack_with(async_nats::jetstream::AckKind::Nak(None))
                        .await
                        .map_err(anyhow::Error::from_boxed)?;
                }
                1 => {}
                _ => message.double_ack().await.map_err(anyhow::Error::from_boxed)?,
            }
        }
        ensure!(taken == 8, "{taken} messages");
    }
    Ok(())
}

/// All that can be told of each stream.
async fn look_at_all(client: &Client) -> Result<Vec<(&'static str, Value)>> {
    let mut all = Vec::new();
    for stream in STREAMS {
        all.push((stream, look(client, stream).await?));
    }
    Ok(all)
}

/// What nats-server does not bring back: when the last message came, if that is gone.
fn carried(look: &Value) -> Value {
    let mut look = look.clone();
    let state = &mut look["state"];
    let last = &state["last_seq"];
    let gone = state["deleted"]
        .as_array()
        .is_some_and(|deleted| deleted.contains(last));
    if gone || state["messages"] == json!(0) {
        state["last_ts"] = Value::Null;
    }
    look
}

fn same(step: &str, before: &[(&str, Value)], after: &[(&str, Value)]) -> Result<()> {
    for ((stream, before), (_, after)) in before.iter().zip(after) {
        let (after, before) = (&carried(after), &carried(before));
        for part in ["state", "consumers"] {
            ensure!(
                after[part] == before[part],
                "{step}, {stream}: {}\nis not {}",
                after[part],
                before[part]
            );
        }
        let messages = |look: &Value| look["messages"].as_array().cloned().unwrap_or_default();
        for (after, before) in messages(after).iter().zip(&messages(before)) {
            ensure!(after == before, "{step}, {stream}: {after}\nis not {before}");
        }
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

/// As `nats stream restore` does it.
async fn restore_folder(client: &Client, folder: &Path) -> Result<()> {
    let described: Value = serde_json::from_slice(&std::fs::read(folder.join("backup.json"))?)?;
    let data = std::fs::read(folder.join("stream.tar.s2"))?;
    let restored = restore_told(client, &described["config"], &described["state"], &data).await?;
    ensure!(restored.get("error").is_none(), "{}: {restored}", folder.display());
    Ok(())
}

/// As `nats stream backup` does it.
async fn backup_folder(client: &Client, stream: &str, folder: &Path) -> Result<()> {
    let (answer, data) = backup(client, stream).await?;
    std::fs::create_dir_all(folder)?;
    let described = json!({"config": answer["config"], "state": answer["state"]});
    std::fs::write(folder.join("backup.json"), serde_json::to_vec_pretty(&described)?)?;
    std::fs::write(folder.join("stream.tar.s2"), data)?;
    Ok(())
}

/// The lines of the messages that a store has of a stream.
fn lines(store: &Path, stream: &str) -> Result<Vec<String>> {
    let all = well(&["export", text(store)?, "--stream", stream, "--format", "jsonl", "-"])?;
    Ok(all.lines().skip(1).map(str::to_owned).collect())
}

#[test]
fn from_segment_files_to_nats_server_and_back() {
    there_and_back(Backend::Segment, Backend::Rocksdb);
}

#[test]
fn from_rocksdb_to_nats_server_and_back() {
    there_and_back(Backend::Rocksdb, Backend::Segment);
}

fn there_and_back(from: Backend, to: Backend) {
    let nats_server = match genuine() {
        Ok(path) => path,
        Err(why) => {
            println!("nothing was moved to nats-server and back: {why}");
            return;
        }
    };
    with_server_for(LIMIT, async |server| {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        fill(server, from).await?;
        let before = look_at_all(&server.connect().await?).await?;
        server.stop().await?;
        let store = server.store();
        for stream in STREAMS {
            well(&["export", text(&store)?, "--stream", stream, text(&at(stream))?])?;
        }

        let mut theirs = Server::start_program(&nats_server).await?;
        let client = theirs.connect().await?;
        for stream in STREAMS {
            restore_folder(&client, &at(stream)).await?;
        }
        same("in nats-server", &before, &look_at_all(&client).await?)?;
        for stream in STREAMS {
            backup_folder(&client, stream, &at("theirs").join(stream)).await?;
        }

        // The same from its files.
        theirs.stop().await?;
        let whole = at("whole");
        well(&["import", text(&whole)?, "--from-nats", text(&theirs.store())?])?;
        let back = at("back");
        for stream in STREAMS {
            let source = at("theirs").join(stream);
            well(&["import", text(&back)?, text(&source)?, "--backend", to.name()])?;
        }
        for stream in STREAMS {
            let lines_before = lines(&store, stream)?;
            ensure!(lines(&back, stream)? == lines_before, "{stream}: messages differ");
            ensure!(
                lines(&whole, stream)? == lines_before,
                "{stream}: messages from files differ"
            );
        }
        let ours = Server::start_on(&program(), whole).await?;
        let client = ours.connect().await?;
        same("from nats-server's files", &before, &look_at_all(&client).await?)?;
        let ours = Server::start_on(&program(), back).await?;
        let client = ours.connect().await?;
        same("back in Weir", &before, &look_at_all(&client).await?)?;
        // What is kept beside messages was made from them.
        let counted = put(&client, "count.1".to_owned(), &[("Nats-Incr", "1")], String::new()).await?;
        let total: u128 = (0..50).filter(|number| number % 3 == 1).map(|number| 1 << number).sum();
        ensure!(counted["val"] == json!((total + 1).to_string()), "{counted}");
        let again = put(
            &client,
            "plain.0".to_owned(),
            &[("Nats-Msg-Id", "id-298")],
            String::new(),
        )
        .await?;
        ensure!(again["duplicate"] == json!(true), "{again}");
        Ok(())
    });
}
