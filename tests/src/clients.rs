//! What the clients of the crash tests do: publish numbered messages, and read a stream back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::context::{Context, PublishAckFuture};
use futures_util::TryStreamExt;

use crate::ledger::{Id, Ledger};

/// The number that an environment variable holds.
///
/// # Panics
/// When it holds something else.
pub fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {text}"))
    })
}

/// The sequence that a publish was acknowledged with.
pub async fn acknowledged(id: Id, ack: PublishAckFuture) -> (Id, Result<u64>) {
    (id, ack.await.map(|ack| ack.sequence).map_err(anyhow::Error::from))
}

/// Everything a stream holds from sequence `from` on, up to what is its last one now.
///
/// # Errors
/// When the server does not answer.
pub async fn read(jetstream: &Context, stream: &str, from: u64) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut stream = jetstream.get_stream(stream).await?;
    let last = stream.info().await?.state.last_sequence;
    let mut stored = Vec::new();
    if last < from {
        return Ok(stored);
    }
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
        ..Default::default()
    };
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    while let Some(message) = messages.try_next().await? {
        let sequence = sequence_of(&message)?;
        stored.push((sequence, message.payload.to_vec()));
        if sequence >= last {
            break;
        }
    }
    Ok(stored)
}

/// The sequence of a delivered message in its stream.
///
/// # Errors
/// When its reply subject says none.
pub fn sequence_of(message: &Message) -> Result<u64> {
    Ok(message.info().map_err(anyhow::Error::from_boxed)?.stream_sequence)
}

/// The ledger, whatever became of the clients that wrote to it.
pub fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
