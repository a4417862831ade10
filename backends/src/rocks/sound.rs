//! Records that are sound, read by threads that go ahead of whoever is told of them: each has every so many-th stretch of the log.
//!
//! Of what lies behind the first one that is not as it should be nothing is said here: a scan finds out what it is.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rocksdb::Snapshot;
use weir_engine::{Check, Direction, EntryRef, Error, NanoTime, Result, Seq, Want};

use super::keys::{self, Head};
use super::log::State;
use super::reader::Bodies;
use super::store::Blocks;

/// Records that are handed on at a time.
const RECORDS: usize = 1024;
/// Bytes of bodies after which they are handed on, give or take one.
const BYTES: usize = 1 << 20;
/// How often so many wait to be taken: a stretch's worth, so that one that is not the next is read to its end.
const WAITING: usize = 32;
/// Records of a stretch, about, where they are small.
const STRETCH_RECORDS: u64 = WAITING as u64 * RECORDS as u64;
/// Bytes of a stretch, about, where they are large.
const STRETCH_BYTES: u64 = (WAITING * BYTES) as u64;
/// Logs of fewer records are not worth threads.
const FEW: u64 = 4 * RECORDS as u64;
/// Threads, at least and at most: as many as there are cores.
const THREADS: (usize, usize) = (2, 4);

/// A record, without its head's own bytes, and without its body.
struct Brief {
    seq: Seq,
    time: NanoTime,
    head_len: usize,
    body_len: u32,
    is_counted: bool,
    body_crc: u32,
    family: u8,
}

/// Records in order, sound as far as they were looked at.
#[derive(Default)]
struct Batch {
    records: Vec<Brief>,
    heads: Vec<u8>,
    /// Bytes of their bodies.
    bodies: usize,
    /// Whether the stretch ends here.
    is_end: bool,
}

impl Batch {
    /// The records, with what their heads tell.
    fn heads(&self) -> impl Iterator<Item = (&Brief, Head<'_>)> {
        let mut rest = &self.heads[..];
        self.records.iter().map(move |brief| {
            let (head, behind) = rest.split_at(brief.head_len);
            rest = behind;
            let head = Head {
                time: brief.time,
                body_len: brief.body_len,
                is_counted: brief.is_counted,
                family: brief.family,
                body_crc: brief.body_crc,
                head,
            };
            (brief, head)
        })
    }
}

/// Tells of the records from the first on until one is not sound. Answers from where on that may be; `None` if all were told of, or no
/// more are wanted. Where bodies are wanted as well, it tells of none.
///
/// # Errors
/// If no thread can be had.
pub(super) fn check(state: &State, check: &mut dyn Check) -> Result<Option<Seq>> {
    let meta = state.now.read().meta;
    if meta.count < FEW || check.want() == Want::Full {
        return Ok(Some(meta.first));
    }
    let snapshot = state.shared.db.snapshot();
    let snapshot = &snapshot;
    let stretches = &Stretches::of((meta.first, meta.last), meta.count, meta.bytes);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = cores.clamp(THREADS.0, THREADS.1);
    std::thread::scope(|scope| {
        let mut sound = Vec::with_capacity(count);
        for nth in 0..count {
            let (sender, receiver) = sync_channel(WAITING);
            let read = move || {
                let mut mine = stretches.iter().skip(nth).step_by(count);
                let _ = mine.all(|within| read(state, within, snapshot, &sender));
            };
            let thread = std::thread::Builder::new().name("weir-verify".to_owned());
            let failed = |error: io::Error| Error::io("starting a thread to read", error);
            thread.spawn_scoped(scope, read).map_err(failed)?;
            sound.push(receiver);
        }
        Ok(tell(stretches, &sound, check))
    })
}

/// The sequences of a log, in parts.
struct Stretches {
    first: Seq,
    last: Seq,
    /// Sequences of each but the last.
    width: Seq,
}

impl Stretches {
    /// Of a log with so many records of so many bytes.
    fn of((first, last): (Seq, Seq), count: u64, bytes: u64) -> Self {
        let each = (bytes / count.max(1)).max(1);
        let records = (STRETCH_BYTES / each).clamp(1, STRETCH_RECORDS);
        // Where much was removed, fewer sequences have a record.
        let sparse = (last.saturating_sub(first) / count.max(1)).max(1);
        let width = records.saturating_mul(sparse);
        Self { first, last, width }
    }

    fn iter(&self) -> impl Iterator<Item = (Seq, Seq)> + use<> {
        let (last, width) = (self.last, self.width);
        let begin = Some(self.first).filter(|first| *first <= last);
        let next = move |low: &Seq| low.checked_add(width).filter(|low| *low <= last);
        std::iter::successors(begin, next).map(move |low| (low, low.saturating_add(width - 1).min(last)))
    }
}

fn tell(stretches: &Stretches, sound: &[Receiver<Batch>], check: &mut dyn Check) -> Option<Seq> {
    for ((low, _), from) in stretches.iter().zip(sound.iter().cycle()) {
        let mut behind = low;
        loop {
            // Where a thread ends before its stretch does, something is not sound.
            let Ok(batch) = from.recv() else {
                return Some(behind);
            };
            check.read((batch.heads.len() + batch.bodies) as u64);
            for (brief, head) in batch.heads() {
                behind = brief.seq.saturating_add(1);
                let entry = EntryRef {
                    seq: brief.seq,
                    time: head.time,
                    head: head.head,
                    body: &[],
                    body_len: head.body_len,
                    owner: None,
                };
                if check.record(entry).is_break() {
                    return None;
                }
            }
            if batch.is_end {
                break;
            }
        }
    }
    None
}

/// Reads a stretch until a record is not sound; answers whether all are, and somebody wants to know of more.
fn read(state: &State, within: (Seq, Seq), snapshot: &Snapshot<'_>, to: &SyncSender<Batch>) -> bool {
    let Ok(family) = state.shared.heads() else { return false };
    let mut heads = state
        .shared
        .records(family, state.place, within, Some(snapshot), Blocks::Ahead);
    let mut bodies = Bodies::new(state, snapshot, within, Direction::Forward, Blocks::Ahead);
    heads.seek_to_first();
    let mut batch = Batch::default();
    while let Some((key, value)) = heads.item() {
        let sound = match (keys::seq_of(key), Head::decode(key, value)) {
            (Some(seq), Some((head, true))) => Some((seq, head)).filter(|(_, head)| is_sound(key, head, &mut bodies)),
            _ => None,
        };
        let Some((seq, head)) = sound else {
            // Whoever does not take it has what is wanted.
            let _ = to.send(batch);
            return false;
        };
        batch.heads.extend_from_slice(head.head);
        batch.bodies += head.body_len as usize;
        batch.records.push(Brief {
            seq,
            time: head.time,
            head_len: head.head.len(),
            body_len: head.body_len,
            is_counted: head.is_counted,
            body_crc: head.body_crc,
            family: head.family,
        });
        let is_full = batch.records.len() == RECORDS || batch.bodies >= BYTES;
        if is_full && to.send(std::mem::take(&mut batch)).is_err() {
            return false;
        }
        heads.next();
    }
    batch.is_end = heads.status().is_ok();
    let is_sound = batch.is_end;
    to.send(batch).is_ok() && is_sound
}

/// Whether the body that belongs to a head is there, and as it should be.
fn is_sound(key: &[u8], head: &Head<'_>, bodies: &mut Bodies<'_>) -> bool {
    let body = match head.body_len {
        0 => Ok(&[][..]),
        _ => bodies.find(key, head.family),
    };
    body.is_ok_and(|body| head.fits(key, body))
}

#[cfg(test)]
mod tests;
