//! Messages with a TTL, delete markers and scheduled messages, seen by a client of a real server, also while that server
//! is killed: what was due meanwhile happens once it is back, and only once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::kv::{self, Operation};
use async_nats::jetstream::stream::Stream;
use serde_json::json;
use weir_tests::server::with_server_for;
use weir_tests::{Backend, PATIENCE, Server, on_each_backend};

const LIMIT: Duration = Duration::from_secs(180);

on_each_backend!(keys_live_as_long_as_markers, messages_expire, schedules_send);

#[test]
fn segment_does_once_what_was_due_while_it_was_killed() {
    with_server_for(LIMIT, async |server| due_while_killed(server, Backend::Segment).await);
}

#[test]
fn rocksdb_does_once_what_was_due_while_it_was_killed() {
    with_server_for(LIMIT, async |server| due_while_killed(server, Backend::Rocksdb).await);
}

/// A stream that allows all of it, whose markers live for a minute.
async fn stream(server: &Server, backend: Backend) -> Result<Stream> {
    let storage = match backend {
        Backend::Memory => "memory",
        Backend::Segment | Backend::Rocksdb => "file",
    };
    let config = json!({
        "name": "S",
        "subjects": ["s.>"],
        "storage": storage,
        "allow_msg_schedules": true,
        "subject_delete_marker_ttl": 60_000_000_000_u64,
        "max_msgs_per_subject": 1,
        "metadata": {"weir.backend": backend.name()},
    });
    let client = server.connect().await?;
    let reply = client
        .request("$JS.API.STREAM.CREATE.S", config.to_string().into())
        .await?;
    let reply: serde_json::Value = serde_json::from_slice(&reply.payload)?;
    ensure!(reply["error"].is_null(), "{reply}");
    ensure!(reply["config"]["allow_msg_ttl"] == true, "{reply}");
    ensure!(reply["config"]["allow_rollup_hdrs"] == true, "{reply}");
    Ok(server.jetstream().await?.get_stream("S").await?)
}

async fn publish(
    server: &Server,
    subject: &'static str,
    headers: &[(&str, &str)],
    payload: &'static str,
) -> Result<u64> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    let context = server.jetstream().await?;
    let ack = context.publish_with_headers(subject, map, payload.into()).await?;
    Ok(ack.await?.sequence)
}

/// The subjects, in order, of what the stream holds, once they are as expected; an error after a while.
async fn await_subjects(stream: &Stream, expected: &[&str]) -> Result<()> {
    let started = Instant::now();
    loop {
        let info = stream.get_info().await?;
        let mut subjects = Vec::new();
        for seq in info.state.first_sequence.max(1)..=info.state.last_sequence {
            if let Ok(message) = stream.get_raw_message(seq).await {
                subjects.push(message.subject.to_string());
            }
        }
        if subjects == expected {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "it has {subjects:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn keys_live_as_long_as_markers(server: &Server, backend: Backend) -> Result<()> {
    let bucket = server
        .jetstream()
        .await?
        .create_key_value(kv::Config {
            bucket: "B".to_owned(),
            history: 3,
            storage: backend.storage(),
            limit_markers: Some(Duration::from_secs(60)),
            ..kv::Config::default()
        })
        .await?;
    bucket.put("stays", "1".into()).await?;
    // Markers live for a minute, and so does, at least, what they could replace.
    let info = bucket.stream.get_info().await?;
    ensure!(info.config.subject_delete_marker_ttl == Some(Duration::from_secs(60)));
    bucket
        .create_with_ttl("goes", "2".into(), Duration::from_secs(1))
        .await?;
    let entry = bucket.entry("goes").await?.context("it is there at first")?;
    ensure!(entry.operation == Operation::Put);
    let raw = bucket.stream.get_last_raw_message_by_subject("$KV.B.goes").await?;
    ensure!(
        raw.headers.get("Nats-TTL").is_some_and(|ttl| ttl.as_str() == "60"),
        "{raw:?}"
    );
    Ok(())
}

async fn messages_expire(server: &Server, backend: Backend) -> Result<()> {
    let stream = stream(server, backend).await?;
    let sent = Instant::now();
    publish(server, "s.never", &[("Nats-TTL", "never")], "").await?;
    publish(server, "s.short", &[("Nats-TTL", "2s")], "").await?;
    publish(server, "s.long", &[("Nats-TTL", "1h")], "").await?;
    let there = stream.get_raw_message(2).await;
    ensure!(there.is_ok() || sent.elapsed() >= Duration::from_secs(2), "too early");
    await_subjects(&stream, &["s.never", "s.long", "s.short"]).await?;
    ensure!(sent.elapsed() >= Duration::from_secs(2), "too early");
    let marker = stream.get_raw_message(4).await?;
    let header = |name: &str| marker.headers.get(name).map(|value| value.as_str().to_owned());
    ensure!(header("Nats-Marker-Reason").as_deref() == Some("MaxAge"));
    ensure!(header("Nats-TTL").as_deref() == Some("1m0s"));
    ensure!(header("Nats-Rollup").as_deref() == Some("sub"));
    Ok(())
}

async fn schedules_send(server: &Server, backend: Backend) -> Result<()> {
    let stream = stream(server, backend).await?;
    let context = server.jetstream().await?;
    let client = server.connect().await?;
    let mut sent = client.subscribe("s.target").await?;
    let headers = [("Nats-Schedule", "@every 1s"), ("Nats-Schedule-Target", "s.target")];
    publish(server, "s.schedule", &headers, "tick").await?;
    await_subjects(&stream, &["s.schedule", "s.target"]).await?;
    let first = stream.get_last_raw_message_by_subject("s.target").await?;
    ensure!(first.payload == "tick");
    ensure!(first.headers.get("Nats-Scheduler").map(|value| value.as_str()) == Some("s.schedule"));
    let next = first
        .headers
        .get("Nats-Schedule-Next")
        .context("when it goes on")?
        .as_str()
        .to_owned();
    ensure!(next.ends_with('Z'), "{next}");
    // It goes on, until it is ended.
    while stream.get_last_raw_message_by_subject("s.target").await?.sequence < first.sequence + 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut end = HeaderMap::new();
    end.insert("Nats-Schedule-Next", "purge");
    end.insert("Nats-Scheduler", "s.schedule");
    context.publish_with_headers("s.ended", end, "".into()).await?.await?;
    await_subjects(&stream, &["s.target", "s.ended"]).await?;
    // What a schedule makes is stored; it is not published.
    let heard = tokio::time::timeout(Duration::from_millis(10), futures_util::StreamExt::next(&mut sent)).await;
    ensure!(heard.is_err());
    Ok(())
}

async fn due_while_killed(server: &mut Server, backend: Backend) -> Result<()> {
    stream(server, backend).await?;
    publish(server, "s.short", &[("Nats-TTL", "2s")], "").await?;
    publish(server, "s.long", &[("Nats-TTL", "1h")], "").await?;
    let headers = [
        ("Nats-Schedule", "@every 1s"),
        ("Nats-Schedule-Target", "s.target"),
        ("Nats-Schedule-Rollup", "sub"),
    ];
    publish(server, "s.schedule", &headers, "").await?;
    server.kill()?;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    server.start_again().await?;
    let stream = server.jetstream().await?.get_stream("S").await?;
    let end = [("Nats-Schedule-Next", "purge"), ("Nats-Scheduler", "s.schedule")];
    // Also what was due: the next kill is to find all of it done.
    let begun = Instant::now();
    loop {
        let made = stream.get_last_raw_message_by_subject("s.target").await.is_ok();
        let last = stream.get_last_raw_message_by_subject("s.short").await;
        if made && last.is_ok_and(|marker| marker.headers.get("Nats-Marker-Reason").is_some()) {
            break;
        }
        ensure!(begun.elapsed() < PATIENCE, "what was due was not done");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    publish(server, "s.ended", &end, "").await?;
    // Killed again, it does not do any of it again.
    server.kill()?;
    server.start_again().await?;
    let stream = server.jetstream().await?.get_stream("S").await?;
    let held = |subject: &'static str| stream.get_last_raw_message_by_subject(subject);
    ensure!(held("s.schedule").await.is_err(), "the schedule is over");
    ensure!(held("s.long").await.is_ok());
    ensure!(held("s.target").await.is_ok());
    let marker = held("s.short").await?;
    ensure!(marker.headers.get("Nats-Marker-Reason").is_some());
    Ok(())
}
