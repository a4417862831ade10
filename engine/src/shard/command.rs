//! What a shard's journal holds: the outcome of every change, in order, so that applying them again after a crash
//! gives the same state.
//!
//! A command is one journal record. Its head begins with the kind (1 byte) and the stream's log id (8 bytes, little
//! endian); numbers after that are LEB128. A publish carries the message's packed head in its head and the message's
//! body in its body; the others have all in the head or, where it may be long, in the body.

use bytes::Bytes;

use crate::consumer::SeqPair;
use crate::error::{Error, Result};
use crate::types::{LogId, NUMBER_MAX, NanoTime, Record, SEQ_LIMIT, Seq};
use crate::varint::{put, take, unzigzag, zigzag};

const PUBLISH: u8 = 1;
const REMOVE: u8 = 2;
const RAISE: u8 = 3;
const CREATE_STREAM: u8 = 4;
const UPDATE_STREAM: u8 = 5;
const DELETE_STREAM: u8 = 6;
const CREATE_CONSUMER: u8 = 7;
const UPDATE_CONSUMER: u8 = 8;
const DELETE_CONSUMER: u8 = 9;
const DELIVERED: u8 = 10;
const ACKED: u8 = 11;
const TOGETHER: u8 = 12;
const COPIED: u8 = 13;
const DEFERRED: u8 = 16;
const GIVEN_UP: u8 = 14;
const RESET_CONSUMER: u8 = 15;
const PLACED: u8 = 17;
const REMOVING: u8 = 18;
/// Added to the kind of a record that was written before: behind the log id stands the number that it had first.
const MOVED: u8 = 0x80;

/// One change, as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A message was stored.
    Publish {
        /// Its sequence.
        seq: Seq,
        /// Its time.
        time: NanoTime,
        /// Its packed head.
        head: Bytes,
        /// Its body.
        body: Bytes,
    },
    /// Messages went away: all below `first`, and those of `seqs`.
    Remove {
        /// The first sequence that may be left.
        first: Seq,
        /// Single ones above it, ascending.
        seqs: Vec<Seq>,
    },
    /// The last sequence is at least this, though nothing is stored under it.
    Raise {
        /// The last sequence.
        last: Seq,
        /// When it was given.
        time: NanoTime,
        /// The message id that it was given for; empty if there was none.
        id: Bytes,
    },
    /// The stream was made; the JSON is a [`StreamSnapshot`](crate::shard::snapshot::StreamSnapshot).
    CreateStream {
        /// Name, configuration and times.
        json: Bytes,
    },
    /// The stream's configuration was changed.
    UpdateStream {
        /// The new configuration.
        json: Bytes,
    },
    /// The stream was deleted.
    DeleteStream,
    /// A consumer was made; the JSON is a [`ConsumerSnapshot`](crate::consumer::ConsumerSnapshot).
    CreateConsumer {
        /// Name, configuration and state.
        json: Bytes,
    },
    /// A consumer's configuration was changed.
    UpdateConsumer {
        /// The consumer's serial number in its stream.
        consumer: u64,
        /// The new configuration.
        json: Bytes,
    },
    /// A consumer was deleted.
    DeleteConsumer {
        /// The consumer's serial number in its stream.
        consumer: u64,
    },
    /// Messages were sent to a consumer, once more or for the first time.
    Delivered {
        /// The consumer's serial number in its stream.
        consumer: u64,
        /// When.
        time: NanoTime,
        /// The consumer sequence of the first.
        first_delivery: u64,
        /// Their stream sequences, in the order they were sent.
        seqs: Vec<Seq>,
    },
    /// The waits for acknowledgements began anew.
    Deferred {
        /// The consumer's serial number in its stream.
        consumer: u64,
        /// Stream sequences, and when they count as sent.
        waits: Vec<(Seq, NanoTime)>,
    },
    /// Messages were sent to a consumer as often as they may be.
    GivenUp {
        /// The consumer's serial number in its stream.
        consumer: u64,
        /// Their stream sequences.
        seqs: Vec<Seq>,
    },
    /// A consumer began anew.
    ResetConsumer {
        /// The consumer's serial number in its stream.
        consumer: u64,
        /// At this stream sequence.
        seq: Seq,
    },
    /// A consumer stands elsewhere after messages were purged.
    Placed {
        /// The consumer's serial number in its stream.
        consumer: u64,
        /// Where it stands.
        place: Place,
        /// What it sent or gave up that is not there any more.
        gone: Vec<Seq>,
    },
    /// Messages are done with for a consumer.
    Acked {
        /// The consumer's serial number in its stream.
        consumer: u64,
        /// Their stream sequences.
        seqs: Vec<Seq>,
    },
    /// The next commands are those of one atomic batch: where a crash cut off any of them, none counts.
    Together {
        /// How many.
        count: u64,
    },
    /// A record that was written before, and is once more so that the journal before can be freed.
    Moved {
        /// The number that it had first.
        position: Seq,
        /// What it says.
        command: Box<Command>,
    },
    /// Removals of many messages are under way, these and no others.
    Removing {
        /// A list of them.
        json: Bytes,
    },
    /// The stream has everything of one of its sources up to a sequence there, or passed over it.
    Copied {
        /// The sequence.
        through: Seq,
        /// Which source.
        key: Bytes,
    },
}

/// Where a consumer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The next stream sequence it has not looked at.
    pub next: Seq,
    /// The last delivery.
    pub delivered: SeqPair,
    /// All up to here is acknowledged.
    pub ack_floor: SeqPair,
}

impl Place {
    fn numbers(&self) -> [u64; 5] {
        let (delivered, floor) = (self.delivered, self.ack_floor);
        [
            self.next,
            delivered.consumer,
            delivered.stream,
            floor.consumer,
            floor.stream,
        ]
    }
}

/// The commands of one turn, on their way to the journal.
#[derive(Debug, Default)]
pub struct Commands {
    heads: Vec<u8>,
    items: Vec<Item>,
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
        self.items.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Forgets all, keeps the memory.
    pub fn clear(&mut self) {
        self.heads.clear();
        self.items.clear();
        // One huge turn must not hold its memory for ever.
        self.heads.shrink_to(1 << 20);
        self.items.shrink_to(1 << 14);
    }

    /// The commands as journal records, numbered from `first`.
    pub fn records(&self, first: Seq) -> Vec<Record<'_>> {
        let mut begin = 0;
        let mut records = Vec::with_capacity(self.items.len());
        for (seq, item) in (first..).zip(&self.items) {
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
    pub fn publish(&mut self, stream: LogId, seq: Seq, time: NanoTime, head: &[u8], body: Bytes) {
        self.begin(PUBLISH, stream);
        put(&mut self.heads, seq);
        self.heads.extend_from_slice(head);
        self.end(time, body);
    }

    /// Messages went away.
    pub fn remove(&mut self, stream: LogId, now: NanoTime, first: Seq, seqs: &[Seq]) {
        let mut body = Vec::with_capacity(8 + seqs.len() * 2);
        let mut sorted = seqs.to_vec();
        sorted.sort_unstable();
        put_deltas(&mut body, &sorted);
        self.begin(REMOVE, stream);
        put(&mut self.heads, first);
        self.end(now, body.into());
    }

    /// The last sequence is at least this.
    pub fn raise(&mut self, stream: LogId, now: NanoTime, last: Seq, id: Bytes) {
        self.begin(RAISE, stream);
        put(&mut self.heads, last);
        self.end(now, id);
    }

    /// The stream was made.
    pub fn create_stream(&mut self, stream: LogId, now: NanoTime, json: Bytes) {
        self.begin(CREATE_STREAM, stream);
        self.end(now, json);
    }

    /// The stream's configuration was changed.
    pub fn update_stream(&mut self, stream: LogId, now: NanoTime, json: Bytes) {
        self.begin(UPDATE_STREAM, stream);
        self.end(now, json);
    }

    /// The stream was deleted.
    pub fn delete_stream(&mut self, stream: LogId, now: NanoTime) {
        self.begin(DELETE_STREAM, stream);
        self.end(now, Bytes::new());
    }

    /// A consumer was made.
    pub fn create_consumer(&mut self, stream: LogId, now: NanoTime, json: Bytes) {
        self.begin(CREATE_CONSUMER, stream);
        self.end(now, json);
    }

    /// A consumer's configuration was changed.
    pub fn update_consumer(&mut self, stream: LogId, now: NanoTime, consumer: u64, json: Bytes) {
        self.begin(UPDATE_CONSUMER, stream);
        put(&mut self.heads, consumer);
        self.end(now, json);
    }

    /// A consumer was deleted.
    pub fn delete_consumer(&mut self, stream: LogId, now: NanoTime, consumer: u64) {
        self.begin(DELETE_CONSUMER, stream);
        put(&mut self.heads, consumer);
        self.end(now, Bytes::new());
    }

    /// Messages were sent to a consumer.
    pub fn delivered(&mut self, stream: LogId, now: NanoTime, consumer: u64, first_delivery: u64, seqs: &[Seq]) {
        let mut body = Vec::with_capacity(8 + seqs.len() * 2);
        put_deltas(&mut body, seqs);
        self.begin(DELIVERED, stream);
        put(&mut self.heads, consumer);
        put(&mut self.heads, first_delivery);
        self.end(now, body.into());
    }

    /// Messages are done with for a consumer.
    pub fn acked(&mut self, stream: LogId, now: NanoTime, consumer: u64, seqs: &[Seq]) {
        let mut body = Vec::with_capacity(8 + seqs.len() * 2);
        put_deltas(&mut body, seqs);
        self.begin(ACKED, stream);
        put(&mut self.heads, consumer);
        self.end(now, body.into());
    }

    /// The next `count` commands count only all together.
    pub fn together(&mut self, stream: LogId, now: NanoTime, count: u64) {
        self.begin(TOGETHER, stream);
        put(&mut self.heads, count);
        self.end(now, Bytes::new());
    }

    /// A source was copied up to a sequence there.
    pub fn copied(&mut self, stream: LogId, now: NanoTime, through: Seq, key: Bytes) {
        self.begin(COPIED, stream);
        put(&mut self.heads, through);
        self.end(now, key);
    }

    /// The waits for acknowledgements began anew.
    pub fn deferred(&mut self, stream: LogId, now: NanoTime, consumer: u64, waits: &[(Seq, NanoTime)]) {
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
    pub fn given_up(&mut self, stream: LogId, now: NanoTime, consumer: u64, seqs: &[Seq]) {
        let mut body = Vec::with_capacity(8 + seqs.len() * 2);
        put_deltas(&mut body, seqs);
        self.begin(GIVEN_UP, stream);
        put(&mut self.heads, consumer);
        self.end(now, body.into());
    }

    /// A consumer began anew.
    pub fn reset_consumer(&mut self, stream: LogId, now: NanoTime, consumer: u64, seq: Seq) {
        self.begin(RESET_CONSUMER, stream);
        put(&mut self.heads, consumer);
        put(&mut self.heads, seq);
        self.end(now, Bytes::new());
    }

    /// A consumer stands elsewhere after messages were purged.
    pub fn placed(&mut self, stream: LogId, now: NanoTime, consumer: u64, place: Place, gone: &[Seq]) {
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
    pub fn removing(&mut self, stream: LogId, now: NanoTime, json: Bytes) {
        self.begin(REMOVING, stream);
        self.end(now, json);
    }

    fn begin(&mut self, kind: u8, stream: LogId) {
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

impl Command {
    /// Reads a journal record back: the stream it concerns, and the change.
    ///
    /// # Errors
    /// [`Damaged`](crate::Kind::Damaged) if it is not a command of ours.
    pub fn decode(time: NanoTime, head: &Bytes, body: &Bytes) -> Result<(LogId, Self)> {
        Self::parse(time, head, body)
            .ok_or_else(|| Error::damaged(format!("a journal record of kind {:?} makes no sense", head.first())))
    }

    /// Refuses sequences and counts that nothing counts up to.
    ///
    /// # Errors
    /// [`Damaged`](crate::Kind::Damaged): it names the number.
    pub fn check(&self) -> Result<()> {
        let (single, many): (&[u64], &[Seq]) = match self {
            // The stream counts on from here.
            Self::Publish { seq: last, .. } | Self::Raise { last, .. } => return check_counted(*last),
            Self::Remove { first, seqs } => {
                check_counted(*first)?;
                (&[], seqs)
            }
            Self::Delivered {
                first_delivery, seqs, ..
            } => (&[*first_delivery], seqs),
            Self::GivenUp { seqs, .. } | Self::Acked { seqs, .. } => (&[], seqs),
            Self::ResetConsumer { seq, .. } => (&[*seq], &[]),
            Self::Copied { through, .. } => (&[*through], &[]),
            Self::Deferred { waits, .. } => return waits.iter().try_for_each(|(seq, _)| check_number(*seq)),
            Self::Placed { place, gone, .. } => {
                place.numbers().into_iter().try_for_each(check_number)?;
                (&[], gone)
            }
            _ => return Ok(()),
        };
        single.iter().chain(many).copied().try_for_each(check_number)
    }

    fn parse(time: NanoTime, head: &Bytes, body: &Bytes) -> Option<(LogId, Self)> {
        let kind = *head.first()?;
        let moved = kind & MOVED != 0;
        let stream: [u8; 8] = head.get(1..9)?.try_into().ok()?;
        let mut rest = &head[9..];
        let position = if moved { take(&mut rest)? } else { 0 };
        let command = match kind & !MOVED {
            PUBLISH => Self::Publish {
                seq: take(&mut rest)?,
                time,
                head: head.slice_ref(rest),
                body: body.clone(),
            },
            REMOVE => Self::Remove {
                first: take(&mut rest)?,
                seqs: take_deltas(body)?,
            },
            RAISE => Self::Raise {
                last: take(&mut rest)?,
                time,
                id: body.clone(),
            },
            CREATE_STREAM => Self::CreateStream { json: body.clone() },
            UPDATE_STREAM => Self::UpdateStream { json: body.clone() },
            DELETE_STREAM => Self::DeleteStream,
            CREATE_CONSUMER => Self::CreateConsumer { json: body.clone() },
            UPDATE_CONSUMER => Self::UpdateConsumer {
                consumer: take(&mut rest)?,
                json: body.clone(),
            },
            DELETE_CONSUMER => Self::DeleteConsumer {
                consumer: take(&mut rest)?,
            },
            DELIVERED => Self::Delivered {
                consumer: take(&mut rest)?,
                time,
                first_delivery: take(&mut rest)?,
                seqs: take_deltas(body)?,
            },
            DEFERRED => Self::Deferred {
                consumer: take(&mut rest)?,
                waits: take_waits(body)?,
            },
            GIVEN_UP => Self::GivenUp {
                consumer: take(&mut rest)?,
                seqs: take_deltas(body)?,
            },
            RESET_CONSUMER => Self::ResetConsumer {
                consumer: take(&mut rest)?,
                seq: take(&mut rest)?,
            },
            PLACED => Self::Placed {
                consumer: take(&mut rest)?,
                place: Place {
                    next: take(&mut rest)?,
                    delivered: SeqPair {
                        consumer: take(&mut rest)?,
                        stream: take(&mut rest)?,
                    },
                    ack_floor: SeqPair {
                        consumer: take(&mut rest)?,
                        stream: take(&mut rest)?,
                    },
                },
                gone: take_deltas(body)?,
            },
            ACKED => Self::Acked {
                consumer: take(&mut rest)?,
                seqs: take_deltas(body)?,
            },
            TOGETHER => Self::Together {
                count: take(&mut rest)?,
            },
            REMOVING => Self::Removing { json: body.clone() },
            COPIED => Self::Copied {
                through: take(&mut rest)?,
                key: body.clone(),
            },
            _ => return None,
        };
        let command = match moved {
            true => Self::Moved {
                position,
                command: Box::new(command),
            },
            false => command,
        };
        Some((LogId(u64::from_le_bytes(stream)), command))
    }

    /// What it says, and the number that it had first; `position` is the one that it has.
    pub fn first_written(self, position: Seq) -> (Seq, Self) {
        match self {
            Self::Moved { position, command } => (position, *command),
            command => (position, command),
        }
    }
}

/// The stream that a journal record is about, by its head.
pub(super) fn stream_of(head: &[u8]) -> Option<LogId> {
    let stream: [u8; 8] = head.get(1..9)?.try_into().ok()?;
    Some(LogId(u64::from_le_bytes(stream)))
}

/// The head of a journal record that is written once more, if it had that number before.
pub(super) fn moved_head(head: &[u8], position: Seq) -> Vec<u8> {
    let mut moved = Vec::with_capacity(head.len() + 10);
    match head.split_at_checked(9) {
        Some((begin, rest)) if begin[0] & MOVED == 0 => {
            moved.extend_from_slice(begin);
            moved[0] |= MOVED;
            put(&mut moved, position);
            moved.extend_from_slice(rest);
        }
        // It says so already.
        _ => moved.extend_from_slice(head),
    }
    moved
}

/// Refuses a sequence that no stream counts up to, and that leaves no room to count on.
fn check_counted(seq: Seq) -> Result<()> {
    match seq > SEQ_LIMIT + SEQ_LIMIT / 2 {
        true => Err(Error::damaged(format!(
            "a sequence makes no sense: {seq} is further than a stream counts"
        ))),
        false => Ok(()),
    }
}

/// Refuses a number that nothing counts up to.
///
/// # Errors
/// [`Damaged`](crate::Kind::Damaged): it names the number.
pub(crate) fn check_number(number: u64) -> Result<()> {
    match number > NUMBER_MAX {
        true => Err(Error::damaged(format!(
            "a number makes no sense: {number} is above {NUMBER_MAX}, which nothing counts up to"
        ))),
        false => Ok(()),
    }
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

/// First all sequences, then all times.
fn take_waits(from: &[u8]) -> Option<Vec<(Seq, NanoTime)>> {
    let count = count_numbers(from) / 2;
    let mut end = from;
    for _ in 0..count {
        take(&mut end)?;
    }
    let seqs = take_deltas(&from[..from.len() - end.len()])?;
    let times = take_deltas(end)?;
    if seqs.len() != times.len() {
        return None;
    }
    Some(seqs.into_iter().zip(times.into_iter().map(u64::cast_signed)).collect())
}

fn count_numbers(from: &[u8]) -> usize {
    from.iter().filter(|byte| **byte < 0x80).count()
}

fn take_deltas(mut from: &[u8]) -> Option<Vec<Seq>> {
    let mut seqs = Vec::new();
    let mut before = 0u64;
    while !from.is_empty() {
        let delta = unzigzag(take(&mut from)?);
        before = before.wrapping_add(delta as u64);
        seqs.push(before);
    }
    Some(seqs)
}

#[cfg(test)]
mod tests;
