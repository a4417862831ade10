//! Records that are sound, read by two threads that go ahead of whoever is told of them: one reads heads, the other their bodies.
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
/// How often so many wait to be taken.
const WAITING: usize = 8;
/// Logs of fewer records are not worth two threads.
const FEW: u64 = 4 * RECORDS as u64;

/// A record, without its head's own bytes, and without its body.
struct Brief {
    seq: Seq,
    time: NanoTime,
    head_len: usize,
    body_len: u32,
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
    /// Whether the log ends here.
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
    let within = (meta.first, meta.last);
    let snapshot = state.shared.db.snapshot();
    let snapshot = &snapshot;
    std::thread::scope(|scope| {
        let (of_heads, heads) = sync_channel(WAITING);
        let (of_bodies, sound) = sync_channel(WAITING);
        let failed = |error: io::Error| Error::io("starting a thread to read", error);
        let thread = || std::thread::Builder::new().name("weir-verify".to_owned());
        thread()
            .spawn_scoped(scope, move || read_heads(state, within, snapshot, &of_heads))
            .map_err(failed)?;
        thread()
            .spawn_scoped(scope, move || read_bodies(state, within, snapshot, &heads, &of_bodies))
            .map_err(failed)?;
        Ok(tell(meta.first, &sound, check))
    })
}

fn tell(first: Seq, sound: &Receiver<Batch>, check: &mut dyn Check) -> Option<Seq> {
    let mut behind = first;
    // Where the threads end before the log does, something is not sound.
    while let Ok(batch) = sound.recv() {
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
            return None;
        }
    }
    Some(behind)
}

/// Reads heads until one is not sound.
fn read_heads(state: &State, within: (Seq, Seq), snapshot: &Snapshot<'_>, to: &SyncSender<Batch>) {
    let Ok(family) = state.shared.heads() else { return };
    let mut heads = state
        .shared
        .records(family, state.place, within, Some(snapshot), Blocks::Ahead);
    heads.seek_to_first();
    let mut batch = Batch::default();
    while let Some((key, value)) = heads.item() {
        let (Some(seq), Some((head, true))) = (keys::seq_of(key), Head::decode(key, value)) else {
            // Whoever does not take it has what is wanted.
            let _ = to.send(batch);
            return;
        };
        batch.heads.extend_from_slice(head.head);
        batch.bodies += head.body_len as usize;
        batch.records.push(Brief {
            seq,
            time: head.time,
            head_len: head.head.len(),
            body_len: head.body_len,
            body_crc: head.body_crc,
            family: head.family,
        });
        let is_full = batch.records.len() == RECORDS || batch.bodies >= BYTES;
        if is_full && to.send(std::mem::take(&mut batch)).is_err() {
            return;
        }
        heads.next();
    }
    batch.is_end = heads.status().is_ok();
    let _ = to.send(batch);
}

/// Reads the bodies of these heads until one is not sound.
fn read_bodies(
    state: &State,
    within: (Seq, Seq),
    snapshot: &Snapshot<'_>,
    from: &Receiver<Batch>,
    to: &SyncSender<Batch>,
) {
    let mut bodies = Bodies::new(state, snapshot, within, Direction::Forward, Blocks::Ahead);
    while let Ok(mut batch) = from.recv() {
        let mut is_sound = |brief: &Brief, head: &Head<'_>| {
            let key = keys::record(state.place, brief.seq);
            let body = match head.body_len {
                0 => Ok(&[][..]),
                _ => bodies.find(&key, head.family),
            };
            body.is_ok_and(|body| head.fits(&key, body))
        };
        let sound = batch.heads().take_while(|(brief, head)| is_sound(brief, head)).count();
        let is_whole = sound == batch.records.len();
        batch.records.truncate(sound);
        batch.is_end &= is_whole;
        if to.send(batch).is_err() || !is_whole {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
