//! Reclaiming space: segments that are mostly removed records are written anew without them, and files are unlinked.
//!
//! A rewrite makes a file under a temporary name, syncs it, gives it its name, which states a higher generation, and
//! syncs the directory; only then are the old files unlinked. Opening after a crash at any step finds either the old
//! files or the new one, and where both, believes the new one. Old readers keep the old file's map. All that takes long is done
//! beside the writer ([`Rewrite`], [`Unlinking`]), which gives the file its name and puts the new segment in the place of the old ones.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use weir_engine::{Compression, Kind as ErrorKind, Result, Seq, Upkeep, UpkeepPiece};

use super::beside::{Beside, FETCHED};
use super::files::Background;
use super::format::{DATA_START, batch_bound};
use super::rewrite::{Made, Outcome, Rewrite, sync_log};
use super::rows::Segment;
use super::state::SegRef;
use super::unlink::{Unlink, Unlinking};
use super::writer::SegmentLog;

/// A rewrite must save at least this many bytes.
const GAIN_MIN: u64 = 4096;

/// The newest segment is ended for its removed records alone only if it has so many bytes.
const TAIL_MIN: u64 = 1 << 20;

/// A rewrite that was begun.
pub(super) struct Rewriting {
    group: Vec<SegRef>,
    /// What was overwritten in these segments since.
    overwritten: Vec<Seq>,
    /// Whether what is made is compressed as new records are.
    recompresses: bool,
    outcome: Arc<Mutex<Option<Outcome>>>,
}

impl Rewriting {
    /// A record was overwritten.
    pub fn overwritten(&mut self, seg: &Arc<Segment>, seq: Seq) {
        if self.group.iter().any(|s| Arc::ptr_eq(&s.seg, seg)) {
            self.overwritten.push(seq);
        }
    }
}

/// About how many bytes a segment would take without what is removed.
pub(super) fn kept_bytes(seg: &Segment) -> u64 {
    let rows = seg.rows.read();
    let tombs = seg.footer.map_or(0, |f| 2 * u64::from(f.tombs_len));
    rows.bytes + u64::from(rows.live) * 48 + tombs
}

fn used_bytes(seg: &Segment) -> u64 {
    seg.end.load(Ordering::Acquire) - DATA_START
}

fn mostly_dead(seg: &Segment) -> bool {
    let (kept, used) = (kept_bytes(seg), used_bytes(seg));
    kept * 2 < used && used - kept >= GAIN_MIN
}

/// What has to be durable before files can go.
struct Syncing {
    core: Arc<super::backend::Core>,
    syncer: Arc<super::sync::Syncer>,
    dir: std::path::PathBuf,
}

impl Upkeep for Syncing {
    fn step(&mut self) -> Result<UpkeepPiece> {
        sync_log(&self.core, &self.syncer, &self.dir)?;
        Ok(UpkeepPiece { bytes: 0, over: true })
    }
}

impl SegmentLog {
    /// The work of [`weir_engine::Log::upkeep`].
    pub(super) fn next_work(&mut self) -> Result<Option<Box<dyn Upkeep>>> {
        self.take_up_rewrite()?;
        self.reap()?;
        if let Some(work) = self.unlinking() {
            return Ok(Some(Box::new(work)));
        }
        if let Some(last) = self.doomed.back().map(|doomed| doomed.batch) {
            // The removal has to be durable, and the log to say so.
            let durable = self.syncer.durable.load(Ordering::Acquire);
            if durable >= last && !self.marks.iter().any(|(_, says)| *says >= last) {
                self.write_mark()?;
            }
            return Ok(Some(Box::new(Syncing {
                core: self.core.clone(),
                syncer: self.syncer.clone(),
                dir: self.dir.clone(),
            })));
        }
        if self.options.preallocate {
            return Ok(None);
        }
        self.end_dead_tail()?;
        if let Some((from, to)) = self.next_group() {
            return Ok(Some(Box::new(self.begin_rewrite(from, to, None))));
        }
        let Some(at) = self.next_to_recompress()? else {
            return Ok(None);
        };
        let compression = self.options.compression;
        Ok(Some(Box::new(self.begin_rewrite(at, at + 1, Some(compression)))))
    }

    /// The next segment that may be compressed otherwise than it is to be.
    fn next_to_recompress(&mut self) -> Result<Option<usize>> {
        let Some(range) = self.recompressing.clone() else {
            return Ok(None);
        };
        let (mut from, until) = range.into_inner();
        let tail = self.tail.as_ref().map(|tail| tail.seg.clone());
        let begun = tail.filter(|seg| seg.rows.read().live > 0 && self.first_of(seg) <= until);
        if begun.is_some() {
            // Only older ones are rewritten.
            let last = self.shared.state.read().extent.last;
            self.begin_next(batch_bound(&[], 0), last + 1)?;
        }
        let state = self.shared.state.read();
        let older = state.segs.len().saturating_sub(1);
        for (at, s) in state.segs[..older].iter().enumerate() {
            if s.last < from || s.first > until {
                continue;
            }
            let stays = s.seg.flags != 0 || self.keep.contains(&s.seg.identity.id);
            if !stays && s.seg.rows.read().live > 0 {
                self.recompressing = Some(from..=until);
                return Ok(Some(at));
            }
            from = s.last.saturating_add(1).max(from);
        }
        self.recompressing = None;
        Ok(None)
    }

    /// The first sequence of a segment, if it is one of the log's.
    fn first_of(&self, seg: &Arc<Segment>) -> Seq {
        let state = self.shared.state.read();
        let found = state.segs.iter().rev().find(|s| Arc::ptr_eq(&s.seg, seg));
        found.map_or(Seq::MAX, |s| s.first)
    }

    /// Ends the newest segment if it is large and mostly removed records.
    fn end_dead_tail(&mut self) -> Result<()> {
        let is_dead = |seg: &Segment| used_bytes(seg) >= TAIL_MIN.min(self.options.segment_bytes) && mostly_dead(seg);
        match self.tail.as_ref().is_some_and(|tail| is_dead(&tail.seg)) {
            true => {
                let next = self.shared.state.read().extent.last + 1;
                match self.begin_next(batch_bound(&[], 0), next) {
                    Err(error) if error.kind == ErrorKind::Full && self.give_up_reserve() => {
                        self.begin_next(batch_bound(&[], 0), next).map(drop)
                    }
                    begun => begun.map(drop),
                }
            }
            false => Ok(()),
        }
    }

    /// The files that can be unlinked now, if there are any.
    fn unlinking(&mut self) -> Option<Unlinking> {
        let mut queue = self.unlinks.lock();
        queue.extend(self.unlinkable.drain(..));
        (!queue.is_empty()).then(|| {
            Unlinking::new(
                self.core.clone(),
                self.syncer.clone(),
                self.dir.clone(),
                self.unlinks.clone(),
            )
        })
    }

    /// Begins to write neighbours anew, as one; with a compression, each record gets that.
    fn begin_rewrite(&mut self, from: usize, to: usize, compression: Option<Compression>) -> Rewrite {
        let (group, older, last_batch) = {
            let state = self.shared.state.read();
            let older = state.segs[..from].to_vec();
            let next = state.segs.get(to);
            let last_batch = next.map_or(self.number, |next| next.seg.first_batch.saturating_sub(1));
            (state.segs[from..to].to_vec(), older, last_batch)
        };
        let outcome = Arc::default();
        self.rewriting = Some(Rewriting {
            group: group.clone(),
            overwritten: Vec::new(),
            recompresses: compression.is_some(),
            outcome: Arc::clone(&outcome),
        });
        let who = (self.core.clone(), self.syncer.clone(), self.dir.clone());
        Rewrite::new(who, group, older, last_batch, compression, outcome).by(self.recoder.clone())
    }

    /// Takes up what the last rewrite came to; nothing, if it was broken off.
    fn take_up_rewrite(&mut self) -> Result<()> {
        let Some(rewriting) = self.rewriting.take() else {
            return Ok(());
        };
        let outcome = rewriting.outcome.lock().take();
        match outcome {
            Some(Outcome::Made(made)) => self.put_in_place(&rewriting, *made),
            Some(Outcome::Damaged(id)) => {
                self.keep.push(id);
                Ok(())
            }
            Some(Outcome::Disturbed) | None => Ok(()),
        }
    }

    /// A rewritten segment takes the place of the group, whose files go.
    fn put_in_place(&mut self, rewriting: &Rewriting, mut made: Made) -> Result<()> {
        let group = &rewriting.group;
        let is_there = |segs: &[SegRef]| {
            let from = segs.iter().position(|s| Arc::ptr_eq(&s.seg, &group[0].seg))?;
            // The newest segment stays: its header has what must not be lost.
            let all = segs
                .get(from..from + group.len())
                .filter(|_| from + group.len() < segs.len())?;
            let same = all
                .iter()
                .zip(group)
                .all(|(one, other)| Arc::ptr_eq(&one.seg, &other.seg));
            same.then_some(from)
        };
        if is_there(&self.shared.state.read().segs).is_none() {
            // All of one was removed meanwhile.
            return Ok(());
        }
        made.remove_gone(group, &rewriting.overwritten)?;
        self.began = true;
        let footer = made.footer;
        let seg = Arc::new(made.publish()?);
        let mut state = self.shared.state.write();
        let Some(from) = is_there(&state.segs) else {
            return Ok(());
        };
        let first = if footer.first == 0 {
            group[0].first
        } else {
            footer.first
        };
        let last = if footer.last == 0 {
            first.saturating_sub(1)
        } else {
            footer.last
        };
        let old_len: u64 = group.iter().map(|s| s.seg.file_len.load(Ordering::Relaxed)).sum();
        let file_len = seg.file_len.load(Ordering::Relaxed);
        state.extent.disk_bytes = (state.extent.disk_bytes + file_len).saturating_sub(old_len);
        state
            .segs
            .splice(from..from + group.len(), [SegRef { first, last, seg }]);
        drop(state);
        if let Some(range) = self.recompressing.take() {
            let (from, until) = range.into_inner();
            let next = match rewriting.recompresses {
                true => group[group.len() - 1].last.saturating_add(1).max(from),
                false => from,
            };
            self.recompressing = (next <= until).then_some(next..=until);
        }
        self.syncer.mark_dir();
        self.unlinkable
            .extend(group.iter().map(|s| Unlink::replaced(s.seg.clone())));
        // Records that went meanwhile may have been all of it.
        self.settle()
    }

    /// Does here and now all that there is to do.
    fn tidy(&mut self) -> Result<()> {
        weir_engine::maintain(self, u64::MAX).map(drop)
    }

    /// The work of [`weir_engine::Log::compact`].
    pub(super) fn compact_all(
        &mut self,
        compression: Option<Compression>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<()> {
        if self.options.preallocate {
            self.begin_small()?;
            self.began = true;
            self.settle()?;
            self.tidy()?;
            self.drop_spares();
            return Ok(());
        }
        self.tidy()?;
        if let Some(compression) = compression {
            self.options.compression = compression;
            self.recompressing = None;
        }
        self.free_tail(compression.is_some())?;
        let is_threaded = self.core.handles.files.background() == Background::Thread;
        std::thread::scope(|scope| {
            let beside = Beside::begin(scope, is_threaded);
            self.compact_segments(compression, beside, progress)
        })?;
        self.began = true;
        self.settle()?;
        self.tidy()?;
        Ok(())
    }

    fn compact_segments(
        &mut self,
        compression: Option<Compression>,
        mut beside: Beside,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<()> {
        let all: u64 = self.shared.state.read().segs.iter().map(|s| used_bytes(&s.seg)).sum();
        let mut spent = 0;
        // Segments that have their compression.
        let mut done = BTreeSet::new();
        while let Some((from, to)) = self.next_to_compact(compression.is_some(), &done) {
            let mut work = self.begin_rewrite(from, to, compression).alone();
            let next: Vec<SegRef> = {
                let state = self.shared.state.read();
                let next = state.segs[from..].iter().take(to - from + FETCHED);
                next.cloned().collect()
            };
            beside.fetch(&next);
            let group = self.rewriting.as_ref().map_or(&[][..], |rewriting| &rewriting.group);
            spent += group.iter().map(|s| used_bytes(&s.seg)).sum::<u64>();
            done.extend(group.iter().map(|s| s.seg.identity.id));
            while !work.step()?.over {}
            // What cannot be mapped has no map to let go of.
            let maps: Vec<_> = group.iter().filter_map(|s| s.seg.map().ok()).collect();
            self.take_up_rewrite()?;
            while let Some(mut work) = self.unlinking() {
                while !work.step()?.over {}
            }
            maps.into_iter().for_each(|map| beside.let_go(map));
            progress(spent.min(all), all);
        }
        Ok(())
    }

    /// Ends the newest segment if there is something in it to do: only older ones are rewritten.
    fn free_tail(&mut self, recompress: bool) -> Result<()> {
        let Some(tail) = &self.tail else { return Ok(()) };
        let worth = {
            let rows = tail.seg.rows.read();
            rows.live < rows.count || (recompress && rows.live > 0)
        };
        if worth {
            let last = self.shared.state.read().extent.last;
            self.begin_next(batch_bound(&[], 0), last + 1)?;
        }
        Ok(())
    }

    /// The next neighbours, with anything removed in them or all of them, that fill no more than one segment together.
    fn next_to_compact(&self, recompress: bool, done: &BTreeSet<u64>) -> Option<(usize, usize)> {
        let state = self.shared.state.read();
        let wants = |s: &SegRef| {
            let id = s.seg.identity.id;
            let rows = s.seg.rows.read();
            let worth = rows.live < rows.count || (recompress && rows.live > 0);
            worth && s.seg.flags == 0 && !self.keep.contains(&id) && !done.contains(&id)
        };
        // The newest segment stays: its header has what must not be lost.
        let last = state.segs.len().checked_sub(1)?;
        let from = state.segs[..last].iter().position(wants)?;
        let mut total = kept_bytes(&state.segs[from].seg);
        let mut to = from + 1;
        while to < last && wants(&state.segs[to]) {
            total += kept_bytes(&state.segs[to].seg);
            if total > self.options.segment_bytes {
                break;
            }
            to += 1;
        }
        Some((from, to))
    }

    /// The next neighbours to be written as one: a segment that is mostly removed records and what is small beside
    /// it, or several small ones.
    fn next_group(&self) -> Option<(usize, usize)> {
        let state = self.shared.state.read();
        let tail = self.tail.as_ref().map(|t| t.seg.identity.id);
        let size = self.options.segment_bytes;
        let usable =
            |s: &SegRef| Some(s.seg.identity.id) != tail && s.seg.flags == 0 && !self.keep.contains(&s.seg.identity.id);
        let small = |s: &SegRef| kept_bytes(&s.seg) < size / 4;
        let last = state.segs.len().checked_sub(1)?;
        for from in 0..last {
            if !usable(&state.segs[from]) {
                continue;
            }
            let mut worth = mostly_dead(&state.segs[from].seg);
            if !worth && !small(&state.segs[from]) {
                continue;
            }
            let mut total = kept_bytes(&state.segs[from].seg);
            let mut to = from + 1;
            // The newest segment stays: its header has what must not be lost.
            while to < last && usable(&state.segs[to]) {
                let s = &state.segs[to];
                total += kept_bytes(&s.seg);
                if total > size / 2 || !(mostly_dead(&s.seg) || small(s)) {
                    break;
                }
                worth |= mostly_dead(&s.seg);
                to += 1;
            }
            // Merging small ones pays only when there are several.
            if worth || to - from >= 4 {
                return Some((from, to));
            }
        }
        None
    }
}
