//! Records of the journal as the commands that they are.

use bytes::Bytes;

use super::*;
use crate::varint::{put, take, unzigzag};

impl Command {
    /// Reads a journal record back: the stream it concerns, and the change.
    ///
    /// # Errors
    /// [`Damaged`](crate::Kind::Damaged) if it is not a command of ours.
    pub fn decode(time: NanoTime, head: &Bytes, body: &Bytes) -> Result<(StreamId, Self)> {
        Self::parse(time, head, body)
            .ok_or_else(|| Error::damaged(format!("a journal record of kind {:?} makes no sense", head.first())))
    }

    fn parse(time: NanoTime, head: &Bytes, body: &Bytes) -> Option<(StreamId, Self)> {
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
            PUBLISH_ASIDE => {
                let mut behind = &body[..];
                let len = take(&mut behind)?;
                Self::PublishAside {
                    seq: take(&mut rest)?,
                    time,
                    head: head.slice_ref(rest),
                    block: body.slice_ref(behind),
                    len,
                }
            }
            ASIDE => Self::Aside {
                last: take(&mut rest)?,
                synced: take(&mut rest)?,
            },
            VOID => Self::Void {
                from: take(&mut rest)?,
                through: take(&mut rest)?,
            },
            PUBLISH_AGAIN => Self::PublishAgain {
                seq: take(&mut rest)?,
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
            UPDATE_STREAM => Self::UpdateStream {
                time,
                json: body.clone(),
            },
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
        Some((StreamId(u64::from_le_bytes(stream)), command))
    }
}

impl Command {
    /// Up to which record the log of a stream was synced, where a journal record says so, by its head.
    pub(in crate::shard) fn synced_by(head: &[u8]) -> Option<(StreamId, Seq)> {
        let mut rest = head.get(9..).filter(|_| Self::is_aside(head))?;
        if head[0] & MOVED != 0 {
            take(&mut rest)?;
        }
        take(&mut rest)?;
        Some((stream_of(head)?, take(&mut rest)?))
    }

    /// Whether a journal record makes its stream, by its head.
    pub(in crate::shard) fn is_creation(head: &[u8]) -> bool {
        head.first().is_some_and(|kind| kind & !MOVED == CREATE_STREAM)
    }

    /// Whether a journal record says that its stream was deleted, by its head.
    pub(in crate::shard) fn is_deletion(head: &[u8]) -> bool {
        head.first().is_some_and(|kind| kind & !MOVED == DELETE_STREAM)
    }

    /// Whether a journal record changes what is said before it, by its head.
    pub(in crate::shard) fn looks_back(head: &[u8]) -> bool {
        head.first()
            .is_some_and(|kind| matches!(kind & !MOVED, VOID | PUBLISH_AGAIN))
    }

    /// Whether a turn begins with a journal record that leaves something to logs, by its head.
    pub(crate) fn is_aside(head: &[u8]) -> bool {
        head.first().is_some_and(|kind| kind & !MOVED == ASIDE)
    }
}

/// The stream that a journal record is about, by its head.
pub(in crate::shard) fn stream_of(head: &[u8]) -> Option<StreamId> {
    let stream: [u8; 8] = head.get(1..9)?.try_into().ok()?;
    Some(StreamId(u64::from_le_bytes(stream)))
}

/// The head of a journal record that is written once more, if it had that number before.
pub(in crate::shard) fn moved_head(head: &[u8], position: Seq) -> Vec<u8> {
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
