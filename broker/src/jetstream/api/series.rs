//! What `/metrics` tells of streams and consumers.

use std::collections::VecDeque;
use std::sync::Arc;

use weir_engine::consumer::{ConsumerInfo, Standing};
use weir_engine::shard::InTurn;
use weir_engine::store::StreamEntry;
use weir_engine::{NanoTime, Result, Seq, StreamId};

use super::account::Usage;
use crate::jetstream::{JetStream, now};

/// Consumers that are looked at in one turn of a storage thread.
const PORTION: usize = 32;

/// The store in numbers. Sizes are bytes.
pub struct Numbers {
    /// Streams.
    pub streams: u64,
    /// Their consumers.
    pub consumers: u64,
    /// Their messages.
    pub messages: u64,
    /// What streams in memory hold.
    pub memory: u64,
    /// What those on disk hold.
    pub storage: u64,
}

/// The store in numbers, without a word to a storage thread.
pub fn numbers(js: &JetStream) -> Numbers {
    let all = js.catalogue().all();
    let usage = Usage::of(&all);
    Numbers {
        streams: all.len() as u64,
        consumers: usage.consumers,
        messages: usage.messages,
        memory: usage.memory,
        storage: usage.storage,
    }
}

/// A stream in numbers.
pub struct StreamSeries {
    /// Which one.
    pub entry: Arc<StreamEntry>,
    /// The sequence of its first message, and of the last one that it ever had; `None` if its storage cannot be read.
    pub seqs: Option<(Seq, Seq)>,
    /// Its consumers, as many as were wanted.
    pub consumers: Vec<ConsumerSeries>,
    /// How many more there are.
    pub left_out: usize,
}

/// A consumer in numbers.
pub struct ConsumerSeries {
    /// Its name.
    pub name: Arc<str>,
    /// Messages that it was not sent yet.
    pub num_pending: u64,
    /// Messages that it was sent and that are not acknowledged.
    pub num_ack_pending: u64,
    /// Of those, the ones sent more than once.
    pub num_redelivered: u64,
    /// Pull requests that wait.
    pub num_waiting: u64,
    /// For how long the message that it will be sent next has waited, in seconds; `None` where a disk would have to be read, or long
    /// be searched, to know.
    pub lag_seconds: Option<f64>,
}

/// A stream and at most so many of its consumers. Waits for its storage thread, never long at a time.
pub fn stream_series(js: &JetStream, entry: &Arc<StreamEntry>, most: usize) -> StreamSeries {
    let mut series = StreamSeries {
        entry: Arc::clone(entry),
        seqs: None,
        consumers: Vec::new(),
        left_out: 0,
    };
    if let Err(error) = look(js, most, &mut series) {
        tracing::debug!(stream = %entry.name, "metrics: {error}");
    }
    series
}

fn look(js: &JetStream, most: usize, series: &mut StreamSeries) -> Result<()> {
    let (id, shard) = (series.entry.id, js.shard(series.entry.shard));
    let (seqs, mut names) = shard.call_blocking(move |shard| {
        let stream = shard.stream(id)?;
        let state = stream.state()?;
        Ok((
            (state.first_seq, state.last_seq),
            VecDeque::from(stream.consumer_names()),
        ))
    })?;
    series.seqs = Some(seqs);
    series.left_out = names.len().saturating_sub(most);
    names.truncate(most);
    while !names.is_empty() {
        let portion: Vec<Arc<str>> = names.drain(..names.len().min(PORTION)).collect();
        let some = shard.call_blocking(move |shard| Ok(consumers(shard, id, portion)))?;
        series.consumers.extend(some);
    }
    Ok(())
}

fn consumers(shard: &mut InTurn<'_, '_>, id: StreamId, names: Vec<Arc<str>>) -> Vec<ConsumerSeries> {
    let now = now();
    names
        .into_iter()
        .filter_map(|name| {
            // What this refuses is a consumer that is gone meanwhile.
            let info = shard.consumer_info(id, &name).ok()?;
            let standing = shard.consumer_standing(id, &name).ok();
            Some(ConsumerSeries::of(name, &info, standing, now))
        })
        .collect()
}

impl ConsumerSeries {
    fn of(name: Arc<str>, info: &ConsumerInfo, standing: Option<Standing>, now: NanoTime) -> Self {
        let since = standing.and_then(|standing| standing.since);
        Self {
            name,
            num_pending: info.num_pending,
            num_ack_pending: info.num_ack_pending,
            num_redelivered: info.num_redelivered,
            num_waiting: info.num_waiting,
            lag_seconds: match (info.num_pending, since) {
                (0, _) => Some(0.0),
                (_, Some(since)) => Some(now.saturating_sub(since).max(0) as f64 / 1e9),
                (_, None) => None,
            },
        }
    }
}
