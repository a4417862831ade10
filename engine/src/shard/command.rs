//! What a shard's journal holds: the outcome of every change, in order, so that applying them again after a crash
//! gives the same state.
//!
//! A command is one journal record. Its head begins with the kind (1 byte) and the stream's id (8 bytes, little
//! endian); numbers after that are LEB128. A publish carries the message's packed head in its head and the message's
//! body in its body; the others have all in the head or, where it may be long, in the body. One whose body is in the stream's log alone has
//! in its own the body's length (LEB128) and the header block.

use bytes::Bytes;

use crate::consumer::SeqPair;
use crate::error::{Error, Result};
use crate::types::{NUMBER_MAX, NanoTime, SEQ_LIMIT, Seq, StreamId};

mod decode;
mod encode;

pub(in crate::shard) use decode::{moved_head, stream_of};
pub use encode::Commands;
#[cfg(test)]
use encode::SetAside;

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
const PUBLISH_ASIDE: u8 = 19;
const ASIDE: u8 = 20;
const VOID: u8 = 21;
const PUBLISH_AGAIN: u8 = 22;
/// Added to the kind of a record that was written before: behind the stream's id stands the number that it had first.
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
    /// A message was stored whose body is in the stream's log alone.
    PublishAside {
        /// Its sequence.
        seq: Seq,
        /// Its time.
        time: NanoTime,
        /// Its packed head.
        head: Bytes,
        /// The header block, with which its body begins.
        block: Bytes,
        /// Bytes of the whole body.
        len: u64,
    },
    /// A turn begins that counts only if the stream's log has all messages up to a sequence; or none, and it only says the rest.
    Aside {
        /// The sequence, or 0.
        last: Seq,
        /// The stream's log was synced with all bodies that records up to this one refer to; 0 if that is not new.
        synced: Seq,
    },
    /// What the journal says of the stream from a record on, up to another, does not count: the stream's log does not have what that needs.
    Void {
        /// The first record.
        from: Seq,
        /// The last record.
        through: Seq,
    },
    /// A message whose body was to be in the stream's log alone, which could not take it.
    PublishAgain {
        /// Its sequence.
        seq: Seq,
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
        /// When.
        time: NanoTime,
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

impl Command {
    /// Refuses sequences and counts that nothing counts up to.
    ///
    /// # Errors
    /// [`Damaged`](crate::Kind::Damaged): it names the number.
    pub fn check(&self) -> Result<()> {
        let (single, many): (&[u64], &[Seq]) = match self {
            // The stream counts on from here.
            Self::Publish { seq: last, .. } | Self::PublishAside { seq: last, .. } | Self::Raise { last, .. } => {
                return check_counted(*last);
            }
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

    /// Whether the time of its record is that of the turn that wrote it. Those of messages are not: a mirror's have the times of their
    /// origin.
    pub fn tells_time(&self) -> bool {
        !matches!(
            self,
            Self::Publish { .. } | Self::PublishAside { .. } | Self::Raise { .. } | Self::Moved { .. }
        )
    }

    /// Of the beginning of a turn that leaves something to a log, also where that was moved: the number that it had first, and up to which
    /// sequence.
    pub fn aside(&self, position: Seq) -> Option<(Seq, Seq)> {
        match self {
            Self::Aside { last, .. } => Some((position, *last)),
            Self::Moved { position, command } => command.aside(*position),
            _ => None,
        }
    }

    /// What it says, and the number that it had first; `position` is the one that it has.
    pub fn first_written(self, position: Seq) -> (Seq, Self) {
        match self {
            Self::Moved { position, command } => (position, *command),
            command => (position, command),
        }
    }
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

#[cfg(test)]
mod tests;
