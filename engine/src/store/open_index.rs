//! How a stream comes by its index when its log is opened: from what is kept of it beside the log, if that fits the log; the rest of
//! it, or all, from the heads of the records.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::backend::{Backend, Direction, KeptIndex, Log, LogReader, Lost, Recovery, Want};
use crate::error::{Error, Kind, Result};
use crate::index::{ChunkSize, Index, KeptUse, Loaded, Records, Resident, Sample, is_earlier};
use crate::store::OpeningProgress;
use crate::stream::message::{has_life, life_in, stored_size_of_record};
use crate::stream::messages::Identity;
use crate::stream::settings::IndexKind;
use crate::stream::{Storage, subject_of};
use crate::types::{NanoTime, Seq};

/// Memory for the subjects of one paged index.
const PAGED_CACHE_BYTES: usize = 8 << 20;
/// Why records are lost whose heads cannot be read: all that the log lacks are among them, and they are no more than that.
const UNREAD: &str = "the head of its record cannot be read";
/// The same, where there are more such sequences than the log lacks records.
const UNREAD_OR_REMOVED: &str =
    "the heads of these records cannot be read: of these sequences some may have been removed before";
/// Records between two words of progress.
const PROGRESS_STEP: u64 = 16 << 10;

/// A log that was opened, whose index is wanted.
pub(super) struct Opening<'a> {
    pub who: &'a Identity,
    pub backend: &'a dyn Backend,
    pub log: &'a dyn Log,
    /// What opening the log found.
    pub recovery: &'a Recovery,
    /// Whether nothing may be written.
    pub reading: bool,
    /// Whether threads may be begun.
    pub beside: bool,
    pub chunk_size: ChunkSize,
    pub progress: Option<&'a OpeningProgress>,
}

/// What an index lacks of its log.
#[derive(Default)]
pub(crate) struct Unread {
    /// Messages the heads of which cannot be read; none if all are there.
    pub lost: Vec<Lost>,
    /// Bytes of the others, as limits count them.
    pub bytes: u64,
}

impl Opening<'_> {
    /// The index that the stream's settings ask for, with what its log holds.
    ///
    /// # Errors
    /// If the log or its index cannot be read.
    pub fn index(&self) -> Result<Index> {
        let reader = self.log.reader();
        // A backend that cannot keep it with the messages has it in memory, whatever it was meant to be: one that encrypts.
        if self.who.settings.index == IndexKind::Paged && self.backend.atomic_kv() {
            let records = Records {
                subject_of,
                ending_of,
                size_of: match self.who.config.storage {
                    Storage::File => |head, body_len| stored_size_of_record(Storage::File, head, body_len),
                    Storage::Memory => |head, body_len| stored_size_of_record(Storage::Memory, head, body_len),
                },
            };
            let kv = self.backend.kv();
            match Index::paged(kv, self.who.id.log(), reader.clone(), records, PAGED_CACHE_BYTES) {
                // It is still to be built, and here nothing is written: as long as it is only read, memory does.
                Err(error) if error.kind == Kind::Unsupported && self.reading => {}
                opened => return opened,
            }
        }
        let mut kept = self.backend.kept_index(self.who.id.log()).unwrap_or_else(|error| {
            tracing::warn!(stream = %self.who.name, "what is kept of its index: {error}");
            None
        });
        let mut kept_use = match kept {
            Some(_) => KeptUse::Empty,
            None => KeptUse::Unused,
        };
        let frames = kept.as_mut().map(|kept| std::mem::take(&mut kept.frames));
        let frames = frames.unwrap_or_default();
        if let Some(there) = kept.as_ref().filter(|_| !frames.is_empty()) {
            let has_earlier = frames.iter().any(|frame| is_earlier(frame));
            let is_sound =
                self.recovery.damage.is_empty() && self.recovery.revived.is_none() && reader.lost().is_empty();
            let taken = match is_sound {
                true => self.kept_and_rest(there, frames, reader.as_ref())?,
                false => None,
            };
            if let Some(mut index) = taken {
                index.kept_use = KeptUse::Used { whole: there.open };
                return Ok(Index::Resident(index));
            }
            kept_use = match is_sound {
                false => KeptUse::Unused,
                true if has_earlier => KeptUse::Earlier,
                true => KeptUse::Unfit,
            };
            if !self.reading {
                tracing::info!(stream = %self.who.name, "what is kept of its index does not fit its log: it is built anew");
                // Before the log changes: what does not fit now might seem to fit then.
                if let Err(error) = self.backend.forget_index(self.who.id.log()) {
                    tracing::warn!(stream = %self.who.name, "what is kept of its index: {error}");
                    kept = None;
                }
            }
        }
        let mut index = Resident::of_size(self.chunk_size);
        self.read_heads(reader.as_ref(), 0, &mut index)?;
        index.kept_use = kept_use;
        if let Some(kept) = kept.filter(|_| !self.reading) {
            index.keep_anew(kept.token);
        }
        Ok(Index::Resident(index))
    }

    /// What an index lacks that was made of the heads, because the log cannot read some: it counts more records than the index has. What
    /// the log itself tells to be lost is not among it, and nothing if no record is missing: then what cannot be read was removed.
    ///
    /// # Errors
    /// If the log or the index cannot be read.
    pub fn unread(&self, index: &Index) -> Result<Unread> {
        let reader = self.log.reader();
        let extent = reader.extent();
        let missing = extent.count.saturating_sub(index.len());
        if missing == 0 {
            return Ok(Unread::default());
        }
        let mut unread = Vec::new();
        for (low, high) in reader.damaged(extent.first..=extent.last) {
            let (mut next, high) = (low.max(extent.first), high.min(extent.last));
            index.each_live(next, high, &mut |live| {
                if next < live {
                    unread.push((next, live - 1));
                }
                next = live + 1;
            })?;
            if next <= high {
                unread.push((next, high));
            }
        }
        let unread = joined(unread);
        let told: Vec<(Seq, Seq)> = reader.lost().iter().map(|lost| (lost.first, lost.last)).collect();
        let untold = without(&unread, &joined(told));
        let missing = missing.saturating_sub(count(&unread) - count(&untold));
        if missing == 0 || untold.is_empty() {
            return Ok(Unread::default());
        }
        let why = match count(&untold) <= missing {
            true => UNREAD,
            false => UNREAD_OR_REMOVED,
        };
        let lost = untold.into_iter().map(|(first, last)| Lost {
            first,
            last,
            bytes: 0,
            why,
            head: None,
        });
        // The log counts them with it.
        let mut bytes = 0;
        reader.scan(0..=Seq::MAX, Want::Heads, Direction::Forward, &mut |entry| {
            bytes += stored_size_of_record(self.who.config.storage, entry.head, entry.body_len as usize);
            ControlFlow::Continue(())
        })?;
        let lost = lost.collect();
        Ok(Unread { lost, bytes })
    }

    /// The index, if what is kept, whose frames these are, fits the log.
    fn kept_and_rest(&self, kept: &KeptIndex, frames: Vec<Bytes>, reader: &dyn LogReader) -> Result<Option<Resident>> {
        let extent = reader.extent();
        let live = &mut |low, high, ranges: &mut Vec<(Seq, Seq)>| {
            reader.live(low..=high, &mut |first, last| match ranges.last_mut() {
                Some((_, before)) if *before + 1 == first => *before = last,
                _ => ranges.push((first, last)),
            })
        };
        let list = (kept.token, frames);
        let (storage, beside) = (self.who.config.storage, self.beside);
        let is_of = &mut |samples: &[Sample<'_>]| is_of(samples, reader, storage, beside);
        let there = (extent.last, extent.count);
        let Some(loaded) = Resident::load(self.chunk_size, list, there, live, is_of, beside)? else {
            return Ok(None);
        };
        if !rest_is_of(&loaded, reader, storage)? {
            return Ok(None);
        }
        let Loaded { mut index, end, .. } = loaded;
        if !kept.open {
            index.not_kept();
        }
        self.read_heads(reader, end, &mut index)?;
        // Records that cannot be read are not among those that were gone through.
        Ok((index.len() == reader.extent().count).then_some(index))
    }

    /// Adds what the log has from a sequence on.
    fn read_heads(&self, reader: &dyn LogReader, from: Seq, index: &mut Resident) -> Result<()> {
        let mut outcome = Ok(());
        // Reading bodies has to wait for the end of the scan.
        let mut mortal = Vec::new();
        let (mut done, of) = (index.len(), reader.extent().count);
        reader.scan(from..=Seq::MAX, Want::Heads, Direction::Forward, &mut |entry| {
            done += 1;
            if done.is_multiple_of(PROGRESS_STEP)
                && let Some(progress) = self.progress
            {
                progress(&self.who.name, done, of);
            }
            let size = stored_size_of_record(self.who.config.storage, entry.head, entry.body_len as usize);
            outcome = index.add(entry.seq, subject_of(entry.head), size, entry.time);
            if has_life(entry.head) {
                mortal.push((entry.seq, entry.time, entry.head.to_vec()));
            }
            match outcome {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        outcome?;
        for (seq, time, head) in mortal {
            if let Some(at) = ending_of(reader, seq, time, &head)? {
                index.add_ending(at, seq);
            }
        }
        Ok(())
    }
}

/// The same sequences, in ranges that are in order and do not touch.
fn joined(mut ranges: Vec<(Seq, Seq)>) -> Vec<(Seq, Seq)> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, one| {
        let touches = next.0 <= one.1.saturating_add(1);
        if touches {
            one.1 = one.1.max(next.1);
        }
        touches
    });
    ranges
}

/// Of ranges what is not in others; both are [`joined`].
fn without(ranges: &[(Seq, Seq)], others: &[(Seq, Seq)]) -> Vec<(Seq, Seq)> {
    let mut left = Vec::with_capacity(ranges.len());
    for &(low, high) in ranges {
        let mut next = low;
        let touching = others.partition_point(|(_, last)| *last < low);
        for &(first, last) in others[touching..].iter().take_while(|(first, _)| *first <= high) {
            if next < first {
                left.push((next, first - 1));
            }
            next = next.max(last.saturating_add(1));
        }
        if next <= high {
            left.push((next, high));
        }
    }
    left
}

/// How many sequences are in ranges that do not touch.
fn count(ranges: &[(Seq, Seq)]) -> u64 {
    ranges.iter().map(|(first, last)| last - first + 1).sum()
}

/// Threads that look at samples: each waits for the disk, mostly.
const SAMPLERS: usize = 8;
/// Samples from which on threads are worth it.
const SAMPLES_MANY: usize = 64;
/// Messages that are looked at behind the last sample.
const REST_MAX: usize = 1 << 16;

/// Whether some of the messages of an index are those of the log. With `beside`, other threads look at some.
fn is_of(samples: &[Sample<'_>], reader: &dyn LogReader, storage: Storage, beside: bool) -> Result<bool> {
    let part = match beside && samples.len() >= SAMPLES_MANY {
        true => samples.len().div_ceil(SAMPLERS),
        false => samples.len().max(1),
    };
    std::thread::scope(|scope| {
        let mut parts = samples.chunks(part);
        let here = parts.next().unwrap_or_default();
        let (mut threads, mut all) = (Vec::new(), true);
        for part in parts {
            let thread = std::thread::Builder::new().name("weir-samples".to_owned());
            match thread.spawn_scoped(scope, move || are_of(part, reader, storage)) {
                Ok(thread) => threads.push(thread),
                // Where no thread can be had, it is done here.
                Err(_) => all &= are_of(part, reader, storage)?,
            }
        }
        all &= are_of(here, reader, storage)?;
        for thread in threads {
            let panicked = || Err(Error::closed("looking at an index panicked: please report it"));
            all &= thread.join().unwrap_or_else(|_| panicked())?;
        }
        Ok(all)
    })
}

/// Whether what lies behind the last message that is proven to be the log's is as the index has it: of a log in which the newest ones of
/// a chunk were removed. Where that is much, nobody looks, and it is not believed.
fn rest_is_of(loaded: &Loaded, reader: &dyn LogReader, storage: Storage) -> Result<bool> {
    let (mut looks, mut is_same) = (REST_MAX, true);
    let rest = loaded.proven + 1..=loaded.end.saturating_sub(1);
    if rest.is_empty() {
        return Ok(true);
    }
    reader.scan(rest, Want::Heads, Direction::Forward, &mut |entry| {
        let size = stored_size_of_record(storage, entry.head, entry.body_len as usize);
        let subject = subject_of(entry.head);
        is_same = looks > 0 && loaded.index.has(entry.seq, subject, size, has_life(entry.head));
        looks = looks.saturating_sub(1);
        match is_same {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    })?;
    Ok(is_same)
}

fn are_of(samples: &[Sample<'_>], reader: &dyn LogReader, storage: Storage) -> Result<bool> {
    for sample in samples {
        // By itself: through a map, a disk that reads ahead would read most of the log.
        reader.fetch(sample.seq..=sample.seq);
        let mut is_same = false;
        reader.scan(sample.seq..=sample.seq, Want::Heads, Direction::Forward, &mut |entry| {
            is_same = sample.subject.is_none_or(|subject| subject_of(entry.head) == subject)
                && stored_size_of_record(storage, entry.head, entry.body_len as usize) == sample.size
                && sample.times.contains(&entry.time);
            ControlFlow::Break(())
        })?;
        if !is_same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// When a stored message ends, if it has a life of its own.
fn ending_of(reader: &dyn LogReader, seq: Seq, time: NanoTime, head: &[u8]) -> Result<Option<NanoTime>> {
    let life = life_in(head, |len| match reader.get(seq)? {
        Some(entry) if len <= entry.body.len() => Ok(entry.body.slice(..len)),
        _ => Ok::<_, Error>(bytes::Bytes::new()),
    });
    match life {
        Ok(life) => Ok(life.end(time)),
        // What cannot be read cannot be removed either.
        Err(error) if error.kind == Kind::Damaged => Ok(None),
        Err(error) => Err(error),
    }
}
