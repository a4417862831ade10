//! Commands of a turn as the records of the journal.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::stream::message::headers_len_of;
use crate::types::Record;
use crate::varint::{put, take, zigzag};

/// Bytes of a header block up to which a message may be left to the log: the journal has the block all the same.
const BLOCK_MAX: usize = 2 << 10;

/// The commands of one turn, on their way to the journal.
#[derive(Debug, Default)]
pub struct Commands {
    heads: Vec<u8>,
    items: Vec<Item>,
    /// What comes before all of them.
    begin: Vec<(Vec<u8>, NanoTime)>,
    /// Bytes of the longest body of a message.
    longest: usize,
}

/// What a turn leaves to the log of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::shard) struct SetAside {
    /// The stream.
    pub id: StreamId,
    /// The last of the messages.
    pub last: Seq,
    /// Bytes of their bodies.
    pub bytes: usize,
}

#[derive(Debug)]
struct Item {
    /// Where the head ends in `heads`; it begins where the one before ends.
    head_end: usize,
    time: NanoTime,
    body: Bytes,
}

impl Commands {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.begin.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len() + self.begin.len()
    }

    /// Forgets all, keeps the memory.
    pub fn clear(&mut self) {
        self.heads.clear();
        self.items.clear();
        self.begin.clear();
        self.longest = 0;
        // One huge turn must not hold its memory for ever.
        self.heads.shrink_to(1 << 20);
        self.items.shrink_to(1 << 14);
    }

    /// The commands as journal records, numbered from `first`.
    pub fn records(&self, first: Seq) -> Vec<Record<'_>> {
        let mut begin = 0;
        let mut records = Vec::with_capacity(self.len());
        for (seq, (head, time)) in (first..).zip(&self.begin) {
            records.push(Record {
                seq,
                time: *time,
                head,
                body: &[],
            });
        }
        for (seq, item) in (first + self.begin.len() as Seq..).zip(&self.items) {
            records.push(Record {
                seq,
                time: item.time,
                head: &self.heads[begin..item.head_end],
                body: &item.body,
            });
            begin = item.head_end;
        }
        records
    }

    /// A message was stored.
    pub fn publish(&mut self, stream: StreamId, seq: Seq, time: NanoTime, head: &[u8], body: Bytes) {
        self.begin(PUBLISH, stream);
        put(&mut self.heads, seq);
        self.heads.extend_from_slice(head);
        self.longest = self.longest.max(body.len());
        self.end(time, body);
    }

    /// Bytes of the longest body of a message.
    pub(in crate::shard) fn longest_body(&self) -> usize {
        self.longest
    }

    /// Where those bodies of a stream that have `body` bytes or more are `least` bytes together, leaves them to the stream's log, if that
    /// may be; in the order of the streams. Messages of an atomic batch stay: all of them are there after a crash or none, whatever the log
    /// has; and so do those of a stream that the same turn makes, which a start does not know where the turn begins.
    pub(in crate::shard) fn set_aside(
        &mut self,
        body: usize,
        least: usize,
        may: &dyn Fn(StreamId) -> bool,
    ) -> Vec<SetAside> {
        let mut found: BTreeMap<StreamId, Option<SetAside>> = BTreeMap::new();
        for (head, bytes) in self.parts() {
            let Some(id) = super::stream_of(head) else { continue };
            match head[0] {
                TOGETHER | CREATE_STREAM => _ = found.insert(id, None),
                PUBLISH => {
                    let Some((seq, _)) = left_to_log(head, bytes, body) else {
                        continue;
                    };
                    let none = SetAside { id, last: 0, bytes: 0 };
                    if let Some(of) = found.entry(id).or_insert(Some(none)) {
                        of.last = seq;
                        of.bytes += bytes.len();
                    }
                }
                _ => {}
            }
        }
        found.retain(|id, of| of.as_ref().is_some_and(|of| of.bytes >= least) && may(*id));
        let mut begin = 0;
        for item in &mut self.items {
            let head = &mut self.heads[begin..item.head_end];
            begin = item.head_end;
            if head[0] != PUBLISH || !super::stream_of(head).is_some_and(|id| found.contains_key(&id)) {
                continue;
            }
            let Some((_, block)) = left_to_log(head, &item.body, body) else {
                continue;
            };
            let mut short = Vec::with_capacity(10 + block);
            put(&mut short, item.body.len() as u64);
            short.extend_from_slice(&item.body[..block]);
            item.body = short.into();
            head[0] = PUBLISH_ASIDE;
        }
        found.into_values().flatten().collect()
    }

    /// The turn counts only if the stream's log has all up to `last`; the log was synced with all that records up to `synced` left to it.
    pub(in crate::shard) fn begin_with_aside(&mut self, stream: StreamId, now: NanoTime, last: Seq, synced: Seq) {
        let mut head = vec![ASIDE];
        head.extend_from_slice(&stream.0.to_le_bytes());
        put(&mut head, last);
        put(&mut head, synced);
        self.begin.push((head, now));
    }

    /// The message is in the journal after all.
    pub(in crate::shard) fn publish_again(&mut self, stream: StreamId, now: NanoTime, seq: Seq, body: Bytes) {
        self.begin(PUBLISH_AGAIN, stream);
        put(&mut self.heads, seq);
        self.end(now, body);
    }

    /// What is said of the stream from one record up to another does not count.
    pub(in crate::shard) fn void(&mut self, stream: StreamId, now: NanoTime, from: Seq, through: Seq) {
        self.begin(VOID, stream);
        put(&mut self.heads, from);
        put(&mut self.heads, through);
        self.end(now, Bytes::new());
    }

    /// Head and body of each.
    fn parts(&self) -> impl Iterator<Item = (&[u8], &Bytes)> {
        let mut begin = 0;
        self.items.iter().map(move |item| {
            let head = &self.heads[begin..item.head_end];
            begin = item.head_end;
            (head, &item.body)
        })
    }

    /// Messages went away.
    pub fn remove(&mut self, stream: StreamId, now: NanoTime, first: Seq, seqs: &[Seq]) {
        let mut body = Vec::with_capacity(8 + seqs.len() * 2);
        let mut sorted = seqs.to_vec();
        sorted.sort_unstable();
        put_deltas(&mut body, &sorted);
        self.begin(REMOVE, stream);
        put(&mut self.heads, first);
        self.end(now, body.into());
    }

    /// The last sequence is at least this.
    pub fn raise(&mut self, stream: StreamId, now: NanoTime, last: Seq, id: Bytes) {
        self.begin(RAISE, stream);
        put(&mut self.heads, last);
        self.end(now, id);
    }

    /// The stream was made.
    pub fn create_stream(&mut self, stream: StreamId, now: NanoTime, json: Bytes) {
        self.begin(CREATE_STREAM, stream);
        self.end(now, json);
    }

    /// The stream's configuration was changed.
    pub fn update_stream(&mut self, stream: StreamId, now: NanoTime, json: Bytes) {
        self.begin(UPDATE_STREAM, stream);
        self.end(now, json);
    }

    /// The stream was deleted.
    pub fn delete_stream(&mut self, stream: StreamId, now: NanoTime) {
        self.begin(DELETE_STREAM, stream);
        self.end(now, Bytes::new());
    }

    /// A consumer was made.
    pub fn create_consumer(&mut self, stream: StreamId, now: NanoTime, json: Bytes) {
        self.begin(CREATE_CONSUMER, stream);
        self.end(now, json);
    }

    /// A consumer's configuration was changed.
    pub fn update_consumer(&mut self, stream: StreamId, now: NanoTime, consumer: u64, json: Bytes) {
        self.begin(UPDATE_CONSUMER, stream);
        put(&mut self.heads, consumer);
        self.end(now, json);
    }

    /// A consumer was deleted.
    pub fn delete_consumer(&mut self, stream: StreamId, now: NanoTime, consumer: u64) {
        self.begin(DELETE_CONSUMER, stream);
        put(&mut self.heads, consumer);
        self.end(now, Bytes::new());
    }

    /// Messages were sent to a consumer.
    pub fn delivered(&mut self, stream: StreamId, now: NanoTime, consumer: u64, first_delivery: u64, seqs: &[Seq]) {
        let mut body = Vec::with_capacity(8 + seqs.len() * 2);
        put_deltas(&mut body, seqs);
        self.begin(DELIVERED, stream);
        put(&mut self.heads, consumer);
        put(&mut self.heads, first_delivery);
        self.end(now, body.into());
    }

    /// Messages are done with for a consumer.
    pub fn acked(&mut self, stream: StreamId, now: NanoTime, consumer: u64, seqs: &[Seq]) {
        let mut body = Vec::with_capacity(8 + seqs.len() * 2);
        put_deltas(&mut body, seqs);
        self.begin(ACKED, stream);
        put(&mut self.heads, consumer);
        self.end(now, body.into());
    }

    /// The next `count` commands count only all together.
    pub fn together(&mut self, stream: StreamId, now: NanoTime, count: u64) {
        self.begin(TOGETHER, stream);
        put(&mut self.heads, count);
        self.end(now, Bytes::new());
    }

    /// A source was copied up to a sequence there.
    pub fn copied(&mut self, stream: StreamId, now: NanoTime, through: Seq, key: Bytes) {
        self.begin(COPIED, stream);
        put(&mut self.heads, through);
        self.end(now, key);
    }

    /// The waits for acknowledgements began anew.
    pub fn deferred(&mut self, stream: StreamId, now: NanoTime, consumer: u64, waits: &[(Seq, NanoTime)]) {
        // First all sequences, then all times.
        let mut body = Vec::with_capacity(waits.len() * 8);
        let seqs: Vec<Seq> = waits.iter().map(|(seq, _)| *seq).collect();
        let times: Vec<u64> = waits.iter().map(|(_, time)| time.cast_unsigned()).collect();
        put_deltas(&mut body, &seqs);
        put_deltas(&mut body, &times);
        self.begin(DEFERRED, stream);
        put(&mut self.heads, consumer);
        self.end(now, body.into());
    }

    /// Messages were sent to a consumer as often as they may be.
    pub fn given_up(&mut self, stream: StreamId, now: NanoTime, consumer: u64, seqs: &[Seq]) {
        let mut body = Vec::with_capacity(8 + seqs.len() * 2);
        put_deltas(&mut body, seqs);
        self.begin(GIVEN_UP, stream);
        put(&mut self.heads, consumer);
        self.end(now, body.into());
    }

    /// A consumer began anew.
    pub fn reset_consumer(&mut self, stream: StreamId, now: NanoTime, consumer: u64, seq: Seq) {
        self.begin(RESET_CONSUMER, stream);
        put(&mut self.heads, consumer);
        put(&mut self.heads, seq);
        self.end(now, Bytes::new());
    }

    /// A consumer stands elsewhere after messages were purged.
    pub fn placed(&mut self, stream: StreamId, now: NanoTime, consumer: u64, place: Place, gone: &[Seq]) {
        let mut body = Vec::with_capacity(8 + gone.len() * 2);
        put_deltas(&mut body, gone);
        self.begin(PLACED, stream);
        let Place {
            next,
            delivered,
            ack_floor,
        } = place;
        for number in [
            consumer,
            next,
            delivered.consumer,
            delivered.stream,
            ack_floor.consumer,
            ack_floor.stream,
        ] {
            put(&mut self.heads, number);
        }
        self.end(now, body.into());
    }

    /// These removals are under way.
    pub fn removing(&mut self, stream: StreamId, now: NanoTime, json: Bytes) {
        self.begin(REMOVING, stream);
        self.end(now, json);
    }

    fn begin(&mut self, kind: u8, stream: StreamId) {
        self.heads.push(kind);
        self.heads.extend_from_slice(&stream.0.to_le_bytes());
    }

    fn end(&mut self, time: NanoTime, body: Bytes) {
        self.items.push(Item {
            head_end: self.heads.len(),
            time,
            body,
        });
    }
}

/// The sequence of a message whose body may be left to the log, for it has at least so many bytes, and how many bytes of that are its header block.
fn left_to_log(head: &[u8], body: &[u8], least: usize) -> Option<(Seq, usize)> {
    let mut rest = head.get(9..).filter(|_| body.len() >= least)?;
    let seq = take(&mut rest)?;
    let block = headers_len_of(rest).unwrap_or(0);
    (block <= BLOCK_MAX.min(body.len())).then_some((seq, block))
}

/// Sequences as their differences, which may be negative: zigzag.
fn put_deltas(out: &mut Vec<u8>, seqs: &[Seq]) {
    let mut before = 0u64;
    for &seq in seqs {
        let delta = seq.wrapping_sub(before) as i64;
        put(out, zigzag(delta));
        before = seq;
    }
}
