//! Streams and consumers that are updated while they are at work: what is sent meanwhile is taken once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use futures_util::StreamExt as _;
use futures_util::future::try_join;
use weir_tests::{Backend, with_server_for};

/// Enough for the slowest machine.
const LIMIT: Duration = Duration::from_secs(300);
const UPDATES: usize = 300;
/// Publishes that wait for their answers at a time.
const PORTION: usize = 200;
/// Messages of a pull request.
const BATCH: usize = 10;

/// Says that it is over, also where it failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The sequences of what was published until it is over.
async fn publish(jetstream: &Context, over: &AtomicBool) -> Result<BTreeSet<u64>> {
    let (mut stored, mut sent) = (BTreeSet::new(), 0);
    while !over.load(Ordering::Acquire) {
        let mut acks = Vec::with_capacity(PORTION);
        for _ in 0..PORTION {
            acks.push(jetstream.publish("s.a", format!("{sent}").into()).await?);
            sent += 1;
        }
        for ack in acks {
            stored.insert(ack.await?.sequence);
        }
    }
    ensure!(stored.len() == sent, "{sent} were sent, to {} places", stored.len());
    Ok(stored)
}

#[test]
fn a_message_is_stored_once_while_its_stream_is_updated() {
    with_server_for(LIMIT, async |server| {
        let (publisher, other) = (server.jetstream().await?, server.jetstream().await?);
        let mut config = Backend::Segment.stream("S", &["s.*"]);
        other.create_stream(config.clone()).await?;
        let over = AtomicBool::new(false);
        let update = async {
            let _over = Over(&over);
            for number in 0..UPDATES {
                config.description = Some(format!("update {number}"));
                config.subjects = match number % 2 {
                    0 => vec!["s.*".into(), "t.*".into()],
                    _ => vec!["s.*".into()],
                };
                other.update_stream(config.clone()).await?;
            }
            Ok(())
        };
        let (stored, ()) = try_join(publish(&publisher, &over), update).await?;
        let state = other.get_stream("S").await?.get_info().await?.state;
        ensure!(
            state.messages == stored.len() as u64,
            "{} were acknowledged: {state:?}",
            stored.len()
        );
        Ok(())
    });
}

#[test]
fn a_pull_request_is_answered_once_while_its_consumer_is_updated() {
    with_server_for(LIMIT, async |server| {
        let (reader, other) = (server.jetstream().await?, server.jetstream().await?);
        other.create_stream(Backend::Segment.stream("S", &["s.*"])).await?;
        let all = publish_some(&other, 20_000).await?;
        let mut config = pull::Config {
            durable_name: Some("C".into()),
            ack_policy: AckPolicy::None,
            ..pull::Config::default()
        };
        let stream = other.get_stream("S").await?;
        let consumer = reader.get_stream("S").await?.create_consumer(config.clone()).await?;
        let over = AtomicBool::new(false);
        let read = async {
            let _over = Over(&over);
            let mut next = 1;
            while next <= all {
                let mut batch = consumer.fetch().max_messages(BATCH).messages().await?;
                let mut got = 0;
                while let Some(message) = batch.next().await {
                    let message = message.map_err(|error| anyhow::anyhow!("{error}"))?;
                    let seq = message
                        .info()
                        .map_err(|error| anyhow::anyhow!("{error}"))?
                        .stream_sequence;
                    ensure!(
                        seq == next,
                        "{seq} came after {}: a request was answered twice",
                        next - 1
                    );
                    (next, got) = (next + 1, got + 1);
                }
                ensure!(got > 0, "nothing came at {next}");
            }
            Ok(())
        };
        let update = async {
            let mut number = 0;
            while !over.load(Ordering::Acquire) {
                number += 1;
                config.description = Some(format!("update {number}"));
                stream.update_consumer(config.clone()).await?;
            }
            Ok(())
        };
        try_join(read, update).await?;
        Ok(())
    });
}

/// Publishes so many messages.
async fn publish_some(jetstream: &Context, count: u64) -> Result<u64> {
    let mut acks = Vec::new();
    for number in 0..count {
        acks.push(jetstream.publish("s.a", format!("{number}").into()).await?);
        if acks.len() == PORTION {
            for ack in acks.drain(..) {
                ack.await?;
            }
        }
    }
    for ack in acks {
        ack.await?;
    }
    Ok(count)
}
