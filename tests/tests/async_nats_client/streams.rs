//! Work queues and replay, on each backend.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull, push};
use async_nats::jetstream::stream::{RetentionPolicy, Stream};
use async_nats::jetstream::{AckKind, Message};
use futures_util::{StreamExt, TryStreamExt};
use weir_tests::{Backend, PATIENCE, Server, on_each_backend, settle, with_server};

on_each_backend!(
    a_work_queue_redelivers_what_was_refused_and_empties_when_all_is_acked,
    a_message_nobody_acks_comes_back_after_the_ack_wait,
    a_stream_replays_from_the_start_a_sequence_and_a_time,
    a_filtered_consumer_sees_only_its_subjects,
    a_duplicate_message_id_is_stored_once,
);

/// One pull of up to `count` messages, as (stream sequence, message).
async fn pull(consumer: &PullConsumer, count: usize) -> Result<Vec<(u64, Message)>> {
    let mut batch = consumer
        .batch()
        .max_messages(count)
        .expires(PATIENCE)
        .messages()
        .await?;
    let mut messages = Vec::new();
    while let Some(message) = batch.next().await {
        let message = message.map_err(anyhow::Error::from_boxed)?;
        let sequence = info(&message)?.stream_sequence;
        messages.push((sequence, message));
    }
    if messages.len() != count {
        bail!("{} of {count} messages came", messages.len());
    }
    Ok(messages)
}

fn info(message: &Message) -> Result<async_nats::jetstream::message::Info<'_>> {
    message.info().map_err(anyhow::Error::from_boxed)
}

async fn a_work_queue_redelivers_what_was_refused_and_empties_when_all_is_acked(
    server: &Server,
    backend: Backend,
) -> Result<()> {
    const JOBS: u64 = 30;
    let jetstream = server.jetstream().await?;
    let mut config = backend.stream("WORK", &["work.>"]);
    config.retention = RetentionPolicy::WorkQueue;
    let mut stream = jetstream.create_stream(config).await?;
    assert_eq!(
        stream
            .cached_info()
            .config
            .metadata
            .get("weir.backend")
            .map(String::as_str),
        Some(backend.name())
    );
    for job in 1..=JOBS {
        let ack = jetstream
            .publish(format!("work.{}", job % 3), job.to_string().into())
            .await?;
        assert_eq!(ack.await?.sequence, job);
    }
    let consumer: PullConsumer = stream
        .create_consumer(pull::Config {
            durable_name: Some("worker".into()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(3600),
            ..Default::default()
        })
        .await?;

    // Every third job is refused the first time.
    let mut expected_again = Vec::new();
    for (sequence, message) in pull(&consumer, JOBS as usize).await? {
        assert_eq!(message.payload, sequence.to_string());
        assert_eq!(info(&message)?.delivered, 1);
        if sequence % 3 == 0 {
            expected_again.push(sequence);
            message
                .ack_with(AckKind::Nak(None))
                .await
                .map_err(anyhow::Error::from_boxed)?;
        } else {
            message.double_ack().await.map_err(anyhow::Error::from_boxed)?;
        }
    }
    let mut again = BTreeMap::new();
    for (sequence, message) in pull(&consumer, expected_again.len()).await? {
        assert_eq!(message.payload, sequence.to_string());
        assert_eq!(info(&message)?.delivered, 2, "sequence {sequence}");
        again.insert(sequence, message);
    }
    assert_eq!(again.keys().copied().collect::<Vec<_>>(), expected_again);

    let state = stream.info().await?.state.clone();
    assert_eq!(
        state.messages,
        expected_again.len() as u64,
        "acked work stays in the stream"
    );
    assert_eq!(state.first_sequence, expected_again[0]);
    let found = stream
        .get_consumer::<pull::Config>("worker")
        .await
        .map_err(anyhow::Error::from_boxed)?;
    assert_eq!(found.cached_info().num_ack_pending, expected_again.len());
    assert_eq!(found.cached_info().num_redelivered, expected_again.len());
    assert_eq!(found.cached_info().num_pending, 0);

    for message in again.values() {
        message.double_ack().await.map_err(anyhow::Error::from_boxed)?;
    }
    let state = stream.info().await?.state.clone();
    assert_eq!((state.messages, state.last_sequence), (0, JOBS));
    let info = stream.consumer_info("worker").await?;
    assert_eq!((info.ack_floor.stream_sequence, info.num_ack_pending), (JOBS, 0));
    Ok(())
}

async fn a_message_nobody_acks_comes_back_after_the_ack_wait(server: &Server, backend: Backend) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let stream = jetstream.create_stream(backend.stream("LATE", &["late"])).await?;
    let consumer: PullConsumer = stream
        .create_consumer(pull::Config {
            durable_name: Some("sleepy".into()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_millis(200),
            ..Default::default()
        })
        .await?;
    jetstream.publish("late", "once".into()).await?.await?;
    let begin = std::time::Instant::now();
    for delivery in 1..=3 {
        let (_, message) = pull(&consumer, 1).await?.remove(0);
        assert_eq!(info(&message)?.delivered, delivery);
    }
    assert!(
        begin.elapsed() >= Duration::from_millis(300),
        "two ack waits, less half for timers"
    );
    Ok(())
}

/// The payloads from where `policy` starts to the end of the stream.
async fn replay(stream: &Stream, policy: DeliverPolicy) -> Result<Vec<String>> {
    let consumer = stream
        .create_consumer(pull::OrderedConfig {
            deliver_policy: policy,
            ..Default::default()
        })
        .await?;
    let mut messages = consumer.messages().await?;
    let mut payloads = Vec::new();
    loop {
        let message = tokio::time::timeout(PATIENCE, messages.try_next())
            .await
            .with_context(|| format!("the replay stops after {payloads:?}"))??
            .context("the replay ended early")?;
        payloads.push(String::from_utf8(message.payload.to_vec())?);
        if info(&message)?.pending == 0 {
            return Ok(payloads);
        }
    }
}

async fn a_stream_replays_from_the_start_a_sequence_and_a_time(server: &Server, backend: Backend) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let stream = jetstream.create_stream(backend.stream("TAPE", &["tape.*"])).await?;
    let all: Vec<String> = (1..=100).map(|n| format!("message {n}")).collect();
    for (at, payload) in all.iter().enumerate() {
        jetstream
            .publish(format!("tape.{}", at % 5), payload.clone().into())
            .await?
            .await?;
    }

    assert_eq!(replay(&stream, DeliverPolicy::All).await?, all);
    let from_41 = DeliverPolicy::ByStartSequence { start_sequence: 41 };
    assert_eq!(replay(&stream, from_41).await?, all[40..]);

    // The time that the server noted for a message is where a replay by time
    // begins; no two of these acknowledged one by one share a nanosecond.
    let start_time = stream.get_raw_message(61).await?.time;
    let from_61 = DeliverPolicy::ByStartTime { start_time };
    assert_eq!(replay(&stream, from_61).await?, all[60..]);
    let just_after = start_time + Duration::from_nanos(1);
    let from_62 = DeliverPolicy::ByStartTime { start_time: just_after };
    assert_eq!(replay(&stream, from_62).await?, all[61..]);
    Ok(())
}

async fn a_filtered_consumer_sees_only_its_subjects(server: &Server, backend: Backend) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let stream = jetstream.create_stream(backend.stream("MIXED", &["mixed.>"])).await?;
    for n in 1..=40u64 {
        let subject = if n % 4 == 0 {
            format!("mixed.odd.{n}")
        } else {
            format!("mixed.{n}")
        };
        jetstream.publish(subject, n.to_string().into()).await?.await?;
    }
    let consumer: PullConsumer = stream
        .create_consumer(pull::Config {
            durable_name: Some("odd".into()),
            filter_subject: "mixed.odd.*".into(),
            ack_policy: AckPolicy::Explicit,
            ..Default::default()
        })
        .await?;
    assert_eq!(consumer.cached_info().num_pending, 10);
    let sequences: Vec<u64> = pull(&consumer, 10).await?.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(sequences, (1..=10).map(|n| 4 * n).collect::<Vec<_>>());
    Ok(())
}

async fn a_duplicate_message_id_is_stored_once(server: &Server, backend: Backend) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let mut stream = jetstream.create_stream(backend.stream("ONCE", &["once"])).await?;
    let publish = || {
        let message = async_nats::jetstream::message::PublishMessage::build()
            .payload("payment".into())
            .message_id("payment-1");
        jetstream.send_publish("once", message)
    };
    let first = publish().await?.await?;
    let second = publish().await?.await?;
    assert_eq!((first.sequence, first.duplicate), (1, false));
    assert_eq!((second.sequence, second.duplicate), (1, true));
    assert_eq!(stream.info().await?.state.messages, 1);
    Ok(())
}

#[test]
fn a_push_consumer_is_bound_as_soon_as_somebody_listens() {
    with_server(async |server| {
        let client = server.connect().await?;
        let jetstream = weir_tests::jetstream(client.clone());
        let stream = jetstream.create_stream(Backend::Memory.stream("S", &["s"])).await?;
        for round in 0..30 {
            let config = push::Config {
                name: Some(format!("c{round}")),
                deliver_subject: format!("to.{round}"),
                ..push::Config::default()
            };
            let mut consumer = stream.create_consumer(config).await?;
            let subscription = client.subscribe(format!("to.{round}")).await?;
            assert!(consumer.info().await?.push_bound, "round {round}");
            drop(subscription);
        }
        Ok(())
    });
}

#[test]
fn a_list_does_not_count_requests_of_who_has_gone() {
    with_server(async |server| {
        let jetstream = server.jetstream().await?;
        let stream = jetstream.create_stream(Backend::Memory.stream("S", &["s"])).await?;
        let config = pull::Config {
            name: Some("c".to_owned()),
            ..pull::Config::default()
        };
        stream.create_consumer(config).await?;
        let waiting = async || -> Result<usize> {
            let first = stream.consumers().try_next().await?;
            Ok(first.context("a consumer")?.num_waiting)
        };
        let other = server.connect().await?;
        let inbox = other.new_inbox();
        let answers = other.subscribe(inbox.clone()).await?;
        let request = r#"{"batch":1,"expires":3600000000000}"#;
        other
            .publish_with_reply("$JS.API.CONSUMER.MSG.NEXT.S.c", inbox, request.into())
            .await?;
        while waiting().await? != 1 {}
        drop(answers);
        settle(&other).await?;
        assert_eq!(waiting().await?, 0);
        Ok(())
    });
}
