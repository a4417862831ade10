//! What a store holds after its server ended, by SIGTERM or by `kill -9`:
//! everything that was acknowledged, on each backend that persists.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{DiscardPolicy, RetentionPolicy};
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use weir_tests::seed::Seed;
use weir_tests::server::with_server_for;
use weir_tests::{Backend, PATIENCE, Server};

const LIMIT: Duration = Duration::from_secs(180);

/// How a server ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It is asked to, and has its time.
    Stopped,
    /// `kill -9`.
    Killed,
}

impl End {
    /// Ends `server` this way, and starts it again on its store.
    async fn then_start_again(self, server: &mut Server) -> Result<()> {
        match self {
            End::Stopped => server.stop().await?,
            End::Killed => server.kill()?,
        }
        server.start_again().await
    }
}

/// Four tests of each named function: two backends, two ends.
macro_rules! after_each_end {
    ($($name:ident),+ $(,)?) => {
        after_each_end!(@ segment_killed, Segment, Killed, $($name),+);
        after_each_end!(@ segment_stopped, Segment, Stopped, $($name),+);
        after_each_end!(@ rocksdb_killed, Rocksdb, Killed, $($name),+);
        after_each_end!(@ rocksdb_stopped, Rocksdb, Stopped, $($name),+);
    };
    (@ $module:ident, $backend:ident, $end:ident, $($name:ident),+) => {
        mod $module {
            use super::{End, LIMIT, with_server_for};
            $(
                #[test]
                fn $name() {
                    with_server_for(LIMIT, async |server| {
                        super::$name(server, weir_tests::Backend::$backend, End::$end).await
                    });
                }
            )+
        }
    };
}

after_each_end!(
    a_stream_keeps_its_configuration_messages_and_deletions,
    a_durable_consumer_goes_on_where_its_confirmed_acks_were,
    a_work_queue_does_not_hand_out_finished_work_again,
    a_bucket_keeps_its_values_revisions_and_deletions,
    an_object_keeps_its_bytes,
    a_message_id_stays_known,
    digests_are_those_of_before,
    a_deleted_stream_stays_deleted,
);

fn durable_pull(name: &str) -> pull::Config {
    pull::Config {
        durable_name: Some(name.to_owned()),
        ..pull::Config::default()
    }
}

async fn messages(consumer: &PullConsumer, count: usize) -> Result<Vec<Message>> {
    let mut batch = consumer
        .batch()
        .max_messages(count)
        .expires(PATIENCE)
        .messages()
        .await?;
    let mut messages = Vec::new();
    while let Some(message) = batch.next().await {
        messages.push(message.map_err(anyhow::Error::from_boxed)?);
    }
    ensure!(messages.len() == count, "{} of {count} messages came", messages.len());
    Ok(messages)
}

fn sequence_of(message: &Message) -> Result<u64> {
    Ok(message.info().map_err(anyhow::Error::from_boxed)?.stream_sequence)
}

async fn double_ack(message: &Message) -> Result<()> {
    message.double_ack().await.map_err(anyhow::Error::from_boxed)
}

async fn a_stream_keeps_its_configuration_messages_and_deletions(
    server: &mut Server,
    backend: Backend,
    end: End,
) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let mut config = backend.stream("KEEP", &["keep.>"]);
    config.description = Some("to be kept".into());
    config.max_messages_per_subject = 40;
    let mut stream = jetstream.create_stream(config).await?;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Colour", "blue");
    for n in 1..=100u32 {
        let message = PublishMessage::build()
            .payload(n.to_string().into())
            .headers(headers.clone());
        jetstream
            .send_publish(format!("keep.{}", n % 2), message)
            .await?
            .await?;
    }
    stream.delete_message(50).await?;
    stream.purge().filter("keep.1").await?;
    jetstream.publish("keep.1", "after the purge".into()).await?.await?;
    let before = stream.info().await?.clone();

    end.then_start_again(server).await?;
    let jetstream = server.jetstream().await?;
    let mut stream = jetstream.get_stream("KEEP").await?;
    let after = stream.info().await?.clone();
    assert_eq!(after.config, before.config);
    assert_eq!(after.state.messages, before.state.messages);
    assert_eq!(after.state.bytes, before.state.bytes);
    assert_eq!(
        (
            after.state.first_sequence,
            after.state.last_sequence,
            after.state.subjects_count
        ),
        (
            before.state.first_sequence,
            before.state.last_sequence,
            before.state.subjects_count
        )
    );
    assert_eq!(after.state.last_timestamp, before.state.last_timestamp);
    assert!(stream.get_raw_message(50).await.is_err(), "a deleted message came back");
    assert!(stream.get_raw_message(99).await.is_err(), "a purged message came back");
    let kept = stream.get_raw_message(52).await?;
    assert_eq!((kept.subject.as_str(), &kept.payload[..]), ("keep.0", &b"52"[..]));
    assert_eq!(kept.headers.get("Colour").map(|value| value.as_str()), Some("blue"));
    let next = jetstream.publish("keep.1", "and on".into()).await?.await?;
    assert_eq!(next.sequence, 102, "the sequence goes on");
    Ok(())
}

async fn a_durable_consumer_goes_on_where_its_confirmed_acks_were(
    server: &mut Server,
    backend: Backend,
    end: End,
) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let stream = jetstream.create_stream(backend.stream("READ", &["read"])).await?;
    for n in 1..=60u32 {
        jetstream.publish("read", n.to_string().into()).await?.await?;
    }
    let config = pull::Config {
        durable_name: Some("reader".into()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(2),
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await?;
    for message in messages(&consumer, 30).await? {
        if sequence_of(&message)? != 7 {
            double_ack(&message).await?;
        }
    }

    end.then_start_again(server).await?;
    let jetstream = server.jetstream().await?;
    let consumer: PullConsumer = jetstream.get_consumer_from_stream("reader", "READ").await?;
    let info = consumer.cached_info();
    assert_eq!(info.ack_floor.stream_sequence, 6);
    // Whether 7 counts as delivered or as still to be is the server's choice.
    assert_eq!(info.num_ack_pending as u64 + info.num_pending, 31);
    let mut rest = Vec::new();
    for message in messages(&consumer, 31).await? {
        rest.push(sequence_of(&message)?);
        double_ack(&message).await?;
    }
    rest.sort_unstable();
    assert_eq!(rest, std::iter::once(7).chain(31..=60).collect::<Vec<_>>());
    Ok(())
}

async fn a_work_queue_does_not_hand_out_finished_work_again(
    server: &mut Server,
    backend: Backend,
    end: End,
) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let mut config = backend.stream("WORK", &["work"]);
    config.retention = RetentionPolicy::WorkQueue;
    let stream = jetstream.create_stream(config).await?;
    for n in 1..=20u32 {
        jetstream.publish("work", n.to_string().into()).await?.await?;
    }
    let config = pull::Config {
        durable_name: Some("worker".into()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(3600),
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await?;
    for message in messages(&consumer, 20).await? {
        if sequence_of(&message)? % 5 == 0 {
            message
                .ack_with(AckKind::Nak(None))
                .await
                .map_err(anyhow::Error::from_boxed)?;
        } else {
            double_ack(&message).await?;
        }
    }

    end.then_start_again(server).await?;
    let jetstream = server.jetstream().await?;
    let mut stream = jetstream.get_stream("WORK").await?;
    assert_eq!(stream.info().await?.state.messages, 4, "finished work came back");
    jetstream.publish("work", "21".into()).await?.await?;
    let consumer: PullConsumer = jetstream.get_consumer_from_stream("worker", "WORK").await?;
    // The last of them is the new one; whether those that were refused just
    // before the end come at once or after the ack wait is not promised.
    let message = messages(&consumer, 1).await?.remove(0);
    let sequence = sequence_of(&message)?;
    assert!([5, 10, 15, 20, 21].contains(&sequence), "sequence {sequence} was done");
    Ok(())
}

async fn a_bucket_keeps_its_values_revisions_and_deletions(
    server: &mut Server,
    backend: Backend,
    end: End,
) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let mut config = backend.stream("KV_box", &["$KV.box.>"]);
    config.max_messages_per_subject = 3;
    config.discard = DiscardPolicy::New;
    config.allow_rollup = true;
    config.deny_delete = true;
    config.allow_direct = true;
    jetstream.create_stream(config).await?;
    let bucket = jetstream.get_key_value("box").await?;
    for n in 1..=5u32 {
        bucket.put("often", n.to_string().into()).await?;
        bucket.put(format!("key.{n}"), n.to_string().into()).await?;
    }
    bucket.delete("key.1").await?;
    bucket.purge("key.2").await?;

    end.then_start_again(server).await?;
    let bucket = server.jetstream().await?.get_key_value("box").await?;
    let often = bucket.entry("often").await?.context("no entry")?;
    assert_eq!((&often.value[..], often.revision), (&b"5"[..], 9));
    assert_eq!(bucket.get("key.1").await?, None);
    assert_eq!(bucket.get("key.2").await?, None);
    let history = bucket.history("often").await?.count().await;
    assert_eq!(history, 3);
    assert!(
        bucket.update("often", "6".into(), 7).await.is_err(),
        "a stale revision was taken"
    );
    assert_eq!(bucket.update("often", "6".into(), 9).await?, 13);
    assert_eq!(bucket.create("key.1", "again".into()).await?, 14);
    Ok(())
}

async fn an_object_keeps_its_bytes(server: &mut Server, backend: Backend, end: End) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let mut config = backend.stream("OBJ_attic", &["$O.attic.C.>", "$O.attic.M.>"]);
    config.discard = DiscardPolicy::New;
    config.allow_rollup = true;
    config.allow_direct = true;
    jetstream.create_stream(config).await?;
    let bytes = Seed::of(&[3]).bytes(3_000_000);
    jetstream
        .get_object_store("attic")
        .await?
        .put("film", &mut bytes.as_slice())
        .await?;

    end.then_start_again(server).await?;
    let store = server.jetstream().await?.get_object_store("attic").await?;
    let mut back = Vec::new();
    store.get("film").await?.read_to_end(&mut back).await?;
    ensure!(back == bytes, "other bytes came back");
    Ok(())
}

async fn a_message_id_stays_known(server: &mut Server, backend: Backend, end: End) -> Result<()> {
    let publish = async |server: &Server| {
        let message = PublishMessage::build().payload("pay".into()).message_id("payment-1");
        let ack = server.jetstream().await?.send_publish("once", message).await?.await?;
        anyhow::Ok((ack.sequence, ack.duplicate))
    };
    server
        .jetstream()
        .await?
        .create_stream(backend.stream("ONCE", &["once"]))
        .await?;
    assert_eq!(publish(server).await?, (1, false));
    end.then_start_again(server).await?;
    assert_eq!(publish(server).await?, (1, true));
    Ok(())
}

async fn digests_are_those_of_before(server: &mut Server, backend: Backend, end: End) -> Result<()> {
    let told = async |server: &Server| -> Result<Vec<String>> {
        let client = server.connect().await?;
        let mut all = Vec::new();
        for subject in ["STREAM.INFO.S", "CONSUMER.INFO.S.c"] {
            let answer = client.request(format!("$JS.API.{subject}"), "".into()).await?;
            let info: serde_json::Value = serde_json::from_slice(&answer.payload)?;
            let digest = info["weir"]["digest"].as_str().with_context(|| info.to_string())?;
            ensure!(digest.len() == 16, "{digest}");
            all.push(digest.to_owned());
        }
        Ok(all)
    };
    let jetstream = server.jetstream().await?;
    let stream = jetstream.create_stream(backend.stream("S", &["s.>"])).await?;
    let consumer = stream.create_consumer(durable_pull("c")).await?;
    let empty = told(server).await?;
    ensure!(empty[0] == "0000000000000000", "{empty:?}");
    for n in 0..20 {
        jetstream.publish(format!("s.{}", n % 3), "x".into()).await?.await?;
    }
    stream.delete_message(7).await?;
    let sent = messages(&consumer, 5).await?;
    let all_sent = told(server).await?;
    double_ack(&sent[0]).await?;
    let acknowledged = told(server).await?;
    ensure!(acknowledged[0] == all_sent[0] && acknowledged[0] != empty[0]);
    ensure!(acknowledged[1] != all_sent[1] && all_sent[1] != empty[1]);
    end.then_start_again(server).await?;
    ensure!(told(server).await? == acknowledged);
    Ok(())
}

async fn a_deleted_stream_stays_deleted(server: &mut Server, backend: Backend, end: End) -> Result<()> {
    let jetstream = server.jetstream().await?;
    for name in ["GONE", "HERE"] {
        jetstream.create_stream(backend.stream(name, &[name])).await?;
        jetstream.publish(name, name.into()).await?.await?;
    }
    jetstream.delete_stream("GONE").await?;
    end.then_start_again(server).await?;
    let jetstream = server.jetstream().await?;
    assert!(
        jetstream.get_stream("GONE").await.is_err(),
        "a deleted stream came back"
    );
    let mut stream = jetstream.create_stream(backend.stream("GONE", &["GONE"])).await?;
    assert_eq!(
        stream.info().await?.state.last_sequence,
        0,
        "its messages came back with its name"
    );
    assert_eq!(
        jetstream.get_stream("HERE").await?.get_raw_message(1).await?.payload,
        "HERE"
    );
    Ok(())
}

#[test]
fn streams_on_all_three_backends_share_a_store_that_comes_back() {
    with_server_for(LIMIT, async |server| {
        let backends = [Backend::Segment, Backend::Rocksdb, Backend::Memory];
        let jetstream = server.jetstream().await?;
        for backend in backends {
            let name = backend.name();
            jetstream
                .create_stream(backend.stream(name, &[&format!("{name}.*")]))
                .await?;
        }
        for n in 1..=200u64 {
            for backend in backends {
                let subject = format!("{}.{}", backend.name(), n % 7);
                let ack = jetstream.publish(subject, n.to_string().into()).await?.await?;
                assert_eq!(ack.sequence, n);
            }
        }
        for restart in 0..3u64 {
            End::Killed.then_start_again(server).await?;
            let jetstream = server.jetstream().await?;
            for backend in [Backend::Segment, Backend::Rocksdb] {
                let mut stream = jetstream.get_stream(backend.name()).await?;
                assert_eq!(stream.info().await?.state.messages, 200 + restart);
                for sequence in [1, 100, 200] {
                    let message = stream.get_raw_message(sequence).await?;
                    assert_eq!(message.payload, sequence.to_string());
                }
                let subject = format!("{}.again", backend.name());
                let ack = jetstream.publish(subject, "again".into()).await?.await?;
                assert_eq!(ack.sequence, 201 + restart);
            }
            // Nothing in memory outlives the server, and its name is free or
            // its stream is empty.
            let memory = Backend::Memory.stream("memory", &["memory.*"]);
            let mut stream = jetstream.get_or_create_stream(memory).await?;
            assert_eq!(stream.info().await?.state.messages, 0);
        }
        Ok(())
    });
}

/// Who waits for messages while the server shuts down is told so, with what it was short of.
#[test]
fn a_pull_request_is_ended_by_a_shutdown() {
    with_server_for(LIMIT, async |server| {
        let jetstream = server.jetstream().await?;
        let stream = jetstream.create_stream(Backend::Segment.stream("S", &["s"])).await?;
        let mut consumer = stream.create_consumer(durable_pull("c")).await?;
        let client = server.connect().await?;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await?;
        let request = r#"{"batch":7,"max_bytes":1000,"expires":3600000000000}"#;
        client
            .publish_with_reply("$JS.API.CONSUMER.MSG.NEXT.S.c", inbox, request.into())
            .await?;
        // `flush` only writes to the socket: the signal could overtake what the server has not read yet.
        while consumer.info().await?.num_waiting == 0 {}
        server.stop().await?;
        let status = timeout(PATIENCE, answers.next()).await?.context("an answer")?;
        ensure!(status.description.as_deref() == Some("Server Shutdown"), "{status:?}");
        let headers = status.headers.context("headers")?;
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        ensure!(header("Nats-Pending-Messages").as_deref() == Some("7"), "{headers:?}");
        ensure!(header("Nats-Pending-Bytes").as_deref() == Some("1000"), "{headers:?}");
        Ok(())
    });
}

/// A consumer in memory is gone after a restart, whatever its stream is on; others of the stream are not.
#[test]
fn a_consumer_in_memory_is_gone_after_a_restart() {
    with_server_for(LIMIT, async |server| {
        for (round, end) in [End::Stopped, End::Killed].into_iter().enumerate() {
            let jetstream = server.jetstream().await?;
            let name = format!("S{round}");
            let stream = jetstream
                .create_stream(Backend::Segment.stream(&name, &[&name]))
                .await?;
            stream.create_consumer(durable_pull("kept")).await?;
            let lost = pull::Config {
                memory_storage: true,
                ..durable_pull("lost")
            };
            stream.create_consumer(lost).await?;
            end.then_start_again(server).await?;
            let jetstream = server.jetstream().await?;
            let mut names = jetstream.get_stream(&name).await?.consumer_names();
            let mut found = Vec::new();
            while let Some(name) = names.next().await {
                found.push(name?);
            }
            ensure!(found == ["kept"], "{end:?}: {found:?}");
        }
        Ok(())
    });
}
