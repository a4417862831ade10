//! Backups over the API, as `nats stream backup` and `restore` make them: chunks that are confirmed one by one.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use weir_tests::backups::{ask, backup, begin_backup, look, receive, restore, restore_told};
use weir_tests::{Backend, Server, with_server, with_server_for};

const ALL: [Backend; 3] = [Backend::Segment, Backend::Rocksdb, Backend::Memory];
/// Enough for the slowest machine.
const LIMIT: Duration = Duration::from_secs(180);

/// A stream with gaps, headers, and a consumer in the middle of its work.
async fn fill(server: &Server, backend: Backend, name: &str) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let stream = jetstream
        .create_stream(backend.stream(name, &[&format!("{name}.>")]))
        .await?;
    for number in 0..60 {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Number", number.to_string());
        let payload = vec![b'x'; number * 37];
        let sent = jetstream
            .publish_with_headers(format!("{name}.{}", number % 7), headers, payload.into())
            .await?;
        sent.await?;
    }
    for gone in [1, 30, 60] {
        stream.delete_message(gone).await?;
    }
    let consumer = stream
        .create_consumer(async_nats::jetstream::consumer::pull::Config {
            durable_name: Some("worker".into()),
            filter_subject: format!("{name}.3"),
            ack_wait: Duration::from_secs(600),
            ..Default::default()
        })
        .await?;
    let mut batch = consumer.fetch().max_messages(5).messages().await?;
    let mut taken = 0;
    while let Some(message) = batch.next().await {
        let message = message.map_err(anyhow::Error::from_boxed)?;
        taken += 1;
        if taken != 2 {
            message.double_ack().await.map_err(anyhow::Error::from_boxed)?;
        }
    }
    ensure!(taken == 5, "{taken} messages");
    Ok(())
}

#[test]
fn a_backup_restores_to_the_same_on_every_backend() {
    with_server_for(LIMIT, async |server| {
        let mut client = server.connect().await?;
        for from in ALL {
            fill(server, from, "FROM").await?;
            let before = look(&client, "FROM").await?;
            let (answer, data) = backup(&client, "FROM").await?;
            ask(&client, "STREAM.DELETE.FROM", &Value::Null).await?;
            for to in ALL {
                let mut config = answer["config"].clone();
                config["metadata"]["weir.backend"] = json!(to.name());
                config["storage"] = if to == Backend::Memory {
                    json!("memory")
                } else {
                    json!("file")
                };
                let restored = restore(&client, &config, &data).await?;
                ensure!(restored.get("error").is_none(), "from {from:?} to {to:?}: {restored}");
                let mut before = before.clone();
                let after = look(&client, "FROM").await?;
                if (from == Backend::Memory) != (to == Backend::Memory) {
                    // In memory a message counts with less around it.
                    before["state"]["bytes"] = after["state"]["bytes"].clone();
                }
                ensure!(after == before, "from {from:?} to {to:?}: {after} is not {before}");
                if to != Backend::Memory {
                    // What was answered is on disk.
                    server.kill()?;
                    server.start_again().await?;
                    client = server.connect().await?;
                    ensure!(
                        look(&client, "FROM").await? == before,
                        "killed: from {from:?} to {to:?}"
                    );
                }
                ask(&client, "STREAM.DELETE.FROM", &Value::Null).await?;
            }
        }
        Ok(())
    });
}

#[test]
fn a_backup_of_nats_server_restores() {
    with_server(async |server| {
        let client = server.connect().await?;
        let described: Value = serde_json::from_slice(include_bytes!("../fixtures/orders.json"))?;
        let data = include_bytes!("../fixtures/orders.s2");
        let restored = restore(&client, &described["config"], data).await?;
        ensure!(restored.get("error").is_none(), "{restored}");
        let seen = look(&client, "ORDERS").await?;
        let state = &seen["state"];
        for field in [
            "messages",
            "bytes",
            "first_seq",
            "first_ts",
            "last_seq",
            "last_ts",
            "num_deleted",
        ] {
            ensure!(state[field] == described["state"][field], "{field}: {state}");
        }
        ensure!(state["deleted"] == json!([105, 119]), "{state}");
        let worker = json!([{
            "name": "worker", "delivered": [4, 113], "ack_floor": [1, 108],
            "num_ack_pending": 2, "num_redelivered": 1, "num_pending": 1,
        }]);
        ensure!(seen["consumers"] == worker, "{}", seen["consumers"]);
        Ok(())
    });
}

/// The fixtures are of one stream in nats-server 2.10.26 and 2.14.6: its limits removed the first 40 of 100 messages,
/// others were deleted, erased and purged by their subject, and a consumer is in the middle of its work.
#[test]
fn a_backup_of_an_old_nats_server_restores() {
    with_server(async |server| {
        let client = server.connect().await?;
        let old: [(&[u8], &[u8]); 2] = [
            (
                include_bytes!("../fixtures/old-2.10.json"),
                include_bytes!("../fixtures/old-2.10.s2"),
            ),
            (
                include_bytes!("../fixtures/old-2.14.json"),
                include_bytes!("../fixtures/old-2.14.s2"),
            ),
        ];
        for (described, data) in old {
            let described: Value = serde_json::from_slice(described)?;
            for backend in ALL {
                let mut config = described["config"].clone();
                config["metadata"] = json!({"weir.backend": backend.name()});
                if backend == Backend::Memory {
                    config["storage"] = json!("memory");
                }
                let restored = restore_told(&client, &config, &described["told"], data).await?;
                ensure!(restored.get("error").is_none(), "{restored}");
                let seen = look(&client, "OLD").await?;
                let (mut state, mut wanted) = (seen["state"].clone(), described["state"].clone());
                if backend == Backend::Memory {
                    // Memory and files count the bytes of a message differently, as in nats-server.
                    (state["bytes"], wanted["bytes"]) = (json!(0), json!(0));
                }
                ensure!(state == wanted, "{backend:?}: {state}\n{wanted}");
                let messages = seen["messages"].as_array().context("messages")?;
                let whole = messages.iter().filter(|message| !message.is_null()).count();
                ensure!(json!(whole) == wanted["messages"], "{backend:?}: {whole} can be read");
                let consumer = &described["consumer"];
                let pair = |pair: &Value| json!([pair["consumer_seq"], pair["stream_seq"]]);
                let worker = json!([{
                    "name": "worker", "delivered": pair(&consumer["delivered"]), "ack_floor": pair(&consumer["ack_floor"]),
                    "num_ack_pending": consumer["num_ack_pending"], "num_redelivered": consumer["num_redelivered"],
                    "num_pending": consumer["num_pending"],
                }]);
                ensure!(seen["consumers"] == worker, "{backend:?}: {}", seen["consumers"]);
                ask(&client, "STREAM.DELETE.OLD", &Value::Null).await?;
                // Cut short, it leaves nothing.
                let cut = restore_told(&client, &config, &described["told"], &data[..data.len() / 2]).await?;
                ensure!(cut["error"]["err_code"] == json!(10062), "{cut}");
                let names = ask(&client, "STREAM.NAMES", &Value::Null).await?;
                ensure!(names["total"] == json!(0), "{names}");
            }
        }
        Ok(())
    });
}

/// As the `nats` command line does it: all inboxes are heard through one wildcard, and the backup's own is subscribed to
/// once the answer is there.
#[test]
fn a_receiver_that_comes_after_the_answer_misses_nothing() {
    with_server(async |server| {
        let client = server.connect().await?;
        fill(server, Backend::Segment, "S").await?;
        let _all = client.subscribe("inbox.*").await?;
        for number in 0..5 {
            let to = format!("inbox.{number}");
            let answer = begin_backup(&client, "S", &to).await?;
            let data = receive(&client, client.subscribe(to).await?).await?;
            let mut config = answer["config"].clone();
            config["name"] = json!("T");
            config["subjects"] = json!(["T.>"]);
            let restored = restore(&client, &config, &data).await?;
            ensure!(restored.get("error").is_none(), "{restored}");
            ensure!(restored["state"]["messages"] == json!(57), "{restored}");
            ask(&client, "STREAM.DELETE.T", &Value::Null).await?;
        }
        Ok(())
    });
}

#[test]
fn a_broken_backup_leaves_nothing() {
    with_server_for(LIMIT, async |server| {
        let client = server.connect().await?;
        fill(server, Backend::Segment, "S").await?;
        let (answer, data) = backup(&client, "S").await?;
        let mut config = answer["config"].clone();
        config["name"] = json!("T");
        config["subjects"] = json!(["T.>"]);
        let mut flipped = data.clone();
        flipped[data.len() / 2] ^= 0x55;
        for (what, bad) in [
            ("cut short", &data[..data.len() / 2]),
            ("changed", &flipped[..]),
            ("no backup", b"hello, world, this is not a backup"),
            ("empty", b""),
        ] {
            let refused = restore(&client, &config, bad).await?;
            ensure!(refused["error"]["err_code"] == 10062, "{what}: {refused}");
            let names = ask(&client, "STREAM.NAMES", &Value::Null).await?;
            ensure!(names["streams"] == json!(["S"]), "{what}: {names}");
        }
        let again = restore(&client, &answer["config"], &data).await?;
        ensure!(again["error"]["err_code"] == 10130, "{again}");
        // A crash in the middle of one.
        let begun = ask(&client, "STREAM.RESTORE.T", &json!({"config": config, "state": {}})).await?;
        let to = begun["deliver_subject"].as_str().context("a subject")?.to_owned();
        client.request(to, data[..data.len() / 2].to_vec().into()).await?;
        server.kill()?;
        server.start_again().await?;
        let client = server.connect().await?;
        let names = ask(&client, "STREAM.NAMES", &Value::Null).await?;
        ensure!(names["streams"] == json!(["S"]), "{names}");
        let restored = restore(&client, &config, &data).await?;
        ensure!(restored.get("error").is_none(), "{restored}");
        Ok(())
    });
}

#[test]
fn a_backup_that_nobody_takes_ends() {
    with_server_for(LIMIT, async |server| {
        let client = server.connect().await?;
        fill(server, Backend::Segment, "S").await?;
        // One that does not confirm.
        let mut chunks = client.subscribe("here").await?;
        let request = json!({"deliver_subject": "here", "chunk_size": 1024, "window_size": 1024});
        ask(&client, "STREAM.SNAPSHOT.S", &request).await?;
        let mut last = None;
        while let Some(chunk) = chunks.next().await {
            if chunk.payload.is_empty() {
                last = chunk.status.map(|status| status.as_u16());
                break;
            }
        }
        ensure!(last == Some(408), "{last:?}");
        let bad = ask(&client, "STREAM.SNAPSHOT.S", &json!({"deliver_subject": "a.*"})).await?;
        ensure!(bad["error"]["err_code"] == 10015, "{bad}");
        Ok(())
    });
}

/// A stream `S` with 60 messages, and its backup; the stream is gone.
async fn taken(server: &Server, client: &Client) -> Result<(Value, Vec<u8>)> {
    fill(server, Backend::Segment, "S").await?;
    let (answer, data) = backup(client, "S").await?;
    ask(client, "STREAM.DELETE.S", &Value::Null).await?;
    Ok((answer["config"].clone(), data))
}

#[test]
fn what_a_stream_may_hold_counts_as_it_comes_in() {
    with_server(async |server| {
        let client = server.connect().await?;
        let (config, data) = taken(server, &client).await?;
        let with = |field: &str, value: Value| {
            let mut config = config.clone();
            config[field] = value;
            config
        };
        let few = restore(&client, &with("max_msgs", json!(7)), &data).await?;
        ensure!(few["state"]["messages"] == json!(7), "{few}");
        ensure!(few["state"]["last_seq"] == json!(60), "{few}");
        ask(&client, "STREAM.DELETE.S", &Value::Null).await?;
        let mut full = with("max_bytes", json!(5000));
        full["discard"] = json!("new");
        let mut secret = full.clone();
        secret["metadata"]["weir.backend"] = json!("memory");
        secret["storage"] = json!("memory");
        let large = with("max_msg_size", json!(1000));
        for (config, why) in [
            (full, "maximum bytes exceeded"),
            (secret, "maximum bytes exceeded"),
            (large, "exceeds maximum message size"),
            (config.clone(), ""),
        ] {
            let answer = restore(&client, &config, &data).await?;
            let text = answer["error"]["description"].as_str().unwrap_or_default();
            ensure!(
                text.contains(why) && text.is_empty() == why.is_empty(),
                "{why}: {answer}"
            );
            let names = ask(&client, "STREAM.NAMES", &Value::Null).await?;
            ensure!((names["total"] == json!(0)) != why.is_empty(), "{why}: {names}");
        }
        Ok(())
    });
}

#[test]
fn restores_that_wait_for_their_clients_hold_no_thread() {
    with_server(async |server| {
        let client = server.connect().await?;
        let (config, data) = taken(server, &client).await?;
        let begin = async |name: String| {
            let mut config = config.clone();
            config["name"] = json!(name);
            config["subjects"] = json!([format!("{name}.>")]);
            let body = json!({"config": config, "state": {}});
            ask(&client, &format!("STREAM.RESTORE.{name}"), &body).await
        };
        let mut waiting = Vec::new();
        for number in 0..16 {
            let begun = begin(format!("W{number}")).await?;
            let to = begun["deliver_subject"].as_str().context("a subject")?.to_owned();
            let half = Bytes::copy_from_slice(&data[..data.len() / 2]);
            let taken = client.request(to.clone(), half).await?;
            ensure!(taken.payload.is_empty(), "{taken:?}");
            waiting.push(to);
        }
        let beyond = begin("ONE_TOO_MANY".into()).await?;
        ensure!(beyond["error"]["err_code"] == json!(10023), "{beyond}");
        // Each goes on where it was.
        for to in waiting {
            let rest = Bytes::copy_from_slice(&data[data.len() / 2..]);
            ensure!(client.request(to.clone(), rest).await?.payload.is_empty());
            let done: Value = serde_json::from_slice(&client.request(to, Bytes::new()).await?.payload)?;
            ensure!(done["state"]["messages"] == json!(57), "{done}");
        }
        Ok(())
    });
}

#[test]
fn a_message_whose_life_is_over_comes_back_as_a_gap() {
    with_server(async |server| {
        let client = server.connect().await?;
        let config = json!({
            "name": "T", "subjects": ["T.>"], "allow_msg_ttl": true, "subject_delete_marker_ttl": 1_000_000_000u64,
        });
        let jetstream = server.jetstream().await?;
        let mut life = 1;
        let (answer, data) = loop {
            ask(&client, "STREAM.CREATE.T", &config).await?;
            for (subject, ttl) in [("T.short", format!("{life}s")), ("T.long", "1h".to_owned())] {
                let mut headers = async_nats::HeaderMap::new();
                headers.insert("Nats-TTL", ttl);
                jetstream
                    .publish_with_headers(subject, headers, "x".into())
                    .await?
                    .await?;
            }
            let (answer, data) = backup(&client, "T").await?;
            if answer["state"]["messages"] == json!(2) && answer["state"]["last_seq"] == json!(2) {
                break (answer, data);
            }
            // It was over before, on a machine that is at other things.
            ask(&client, "STREAM.DELETE.T", &Value::Null).await?;
            life *= 2;
        };
        while ask(&client, "STREAM.INFO.T", &Value::Null).await?["state"]["first_seq"] != json!(2) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ask(&client, "STREAM.DELETE.T", &Value::Null).await?;
        let restored = restore(&client, &answer["config"], &data).await?;
        let state = &restored["state"];
        ensure!(
            [&state["messages"], &state["first_seq"], &state["last_seq"]] == [&json!(1), &json!(2), &json!(2)],
            "{restored}"
        );
        Ok(())
    });
}

#[test]
fn a_mirror_that_was_made_independent_restores() {
    with_server(async |server| {
        let client = server.connect().await?;
        ask(
            &client,
            "STREAM.CREATE.O",
            &json!({"name": "O", "subjects": ["o"], "allow_direct": true}),
        )
        .await?;
        let mut config = json!({"name": "M", "mirror": {"name": "O"}, "mirror_direct": true});
        let made = ask(&client, "STREAM.CREATE.M", &config).await?;
        ensure!(made.get("error").is_none(), "{made}");
        config = made["config"].clone();
        config.as_object_mut().context("an object")?.remove("mirror");
        let changed = ask(&client, "STREAM.UPDATE.M", &config).await?;
        ensure!(changed.get("error").is_none(), "{changed}");
        let (answer, data) = backup(&client, "M").await?;
        ask(&client, "STREAM.DELETE.M", &Value::Null).await?;
        let restored = restore(&client, &answer["config"], &data).await?;
        ensure!(restored.get("error").is_none(), "{restored}");
        Ok(())
    });
}
