//! What a log holds now: shared by its writer and its readers.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use weir_engine::{Error, Extent, Kind, LogId, Lost, Result, Seq, Want};

use super::format::{EraseRun, Kind as FrameKind};
use super::handle::no_more_files;
use super::rows::Segment;

/// A segment and the sequences that lie in it.
#[derive(Clone)]
pub struct SegRef {
    /// The lowest sequence; where it would be, if there is none.
    pub first: Seq,
    /// The highest sequence; below `first` if there is none.
    pub last: Seq,
    /// The segment.
    pub seg: Arc<Segment>,
}

/// Sequences whose records could not be recognised when the log was opened.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// The lowest of them.
    pub low: Seq,
    /// The highest of them.
    pub high: Seq,
    /// Bytes that are damaged or gone with them, as far as is known.
    pub bytes: u64,
    /// Why, in general.
    pub why: &'static str,
    /// The head of the one record, if that can be told.
    pub head: Option<Bytes>,
    /// What and where.
    pub note: String,
}

/// The state.
#[derive(Default)]
pub struct State {
    /// In the order of their sequences, which is also that of their making. The last may be the one being written.
    pub segs: Vec<SegRef>,
    /// What [`weir_engine::LogReader::extent`] answers, without the damage.
    pub extent: Extent,
    /// Sequences below this were trimmed.
    pub floor: Seq,
    /// Found when the log was opened.
    pub suspects: Vec<Suspect>,
    /// While the log is opened: ranges of sequences, by the lowest of each, that may have lain in files which are not there.
    pub absent: BTreeMap<Seq, Seq>,
    /// Records that were overwritten, of whose erasure nothing was found, and the bytes of each: it is lost. They count as removed, and the
    /// next writes erase them once more, for not every opening looks at what is in the place of a record.
    pub voids: BTreeMap<Seq, u64>,
    /// Found when it was read: the bytes of each and its head, as far as they can be told.
    pub damaged: BTreeMap<Seq, (u64, Option<Bytes>)>,
    /// Found erased when the log was opened, and to be overwritten as well: a crash may have come between the two.
    pub overwrites: Vec<EraseRun>,
}

/// Why records are lost whose bytes are there and make no sense.
pub const DAMAGED: &str = "its record in the log is damaged";

/// Into how many pieces the ranges of [`State::absent`] are cut; beyond that they stay longer than they need be.
const ABSENT_MAX: usize = 4096;

/// How many damaged records are remembered one by one; more than that are refused all the same when read, but not
/// counted.
const DAMAGED_MAX: usize = 1 << 16;

impl State {
    /// The segment in which that sequence would lie, by its place in `segs`.
    pub fn place(&self, seq: Seq) -> Option<usize> {
        let i = self.segs.partition_point(|s| s.first <= seq).checked_sub(1)?;
        (seq <= self.segs[i].last).then_some(i)
    }

    /// What was said about that sequence when the log was opened.
    pub fn suspect(&self, seq: Seq) -> Option<&Suspect> {
        self.suspects.iter().find(|s| s.low <= seq && seq <= s.high)
    }

    /// The lowest live sequence, or `last + 1`.
    pub fn find_first(&self) -> io::Result<Seq> {
        for s in &self.segs {
            if let Some(seq) = s.seg.first_live()? {
                return Ok(seq);
            }
        }
        Ok(self.extent.last + 1)
    }

    /// A row is that of a record which was overwritten; answers whether it did not count as removed.
    fn kill_void(&mut self, seq: Seq, seg: &Segment, slot: u32, bytes: u64) -> bool {
        let killed = seg.rows.write().kill(slot, bytes);
        if killed {
            self.extent.count -= 1;
            self.extent.bytes = self.extent.bytes.saturating_sub(bytes);
            self.voids.insert(seq, bytes);
        }
        killed
    }

    /// Looks for records that were overwritten where no opening does, in segments that are known by their footers, until so many are left.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn find_voids(&mut self, left: u64) -> io::Result<()> {
        let sealed: Vec<SegRef> = self.segs.iter().filter(|s| s.seg.footer.is_some()).cloned().collect();
        let mut live = Vec::new();
        for s in sealed {
            if self.extent.count <= left {
                break;
            }
            live.clear();
            s.seg.live((s.first, s.last), &mut live)?;
            for seq in live.iter().flat_map(|&(first, last)| first..=last) {
                if self.extent.count <= left {
                    break;
                }
                let Some((slot, at)) = s.seg.find(seq)? else { continue };
                let (_, frame) = s.seg.frame(at)?;
                if let Some(void) = frame.filter(|frame| frame.kind == FrameKind::Void && frame.seq == seq) {
                    self.kill_void(seq, &s.seg, slot, void.size());
                }
            }
        }
        self.extent.first = self.find_first()?;
        Ok(())
    }

    /// The first records of [`voids`](Self::voids), as they are erased once more.
    pub fn erase_voids(&self, max: usize) -> Vec<EraseRun> {
        let first = self.voids.iter().take(max);
        first
            .map(|(&first, &bytes)| EraseRun { first, count: 1, bytes })
            .collect()
    }

    /// What [`erase_voids`](Self::erase_voids) answered was written.
    pub fn erased_voids(&mut self, voids: &[EraseRun]) {
        for void in voids {
            self.voids.remove(&void.first);
        }
    }

    /// These were erased, and so they are not lost.
    pub fn not_lost(&mut self, first: Seq, count: u64) {
        let end = first.saturating_add(count);
        self.not_absent(first, end);
        while let Some((&void, _)) = self.voids.range(first..end).next() {
            self.voids.remove(&void);
        }
        if !self.suspects.iter().any(|s| s.low < end && first <= s.high) {
            return;
        }
        for s in std::mem::take(&mut self.suspects) {
            let below = Suspect {
                high: s.high.min(first.saturating_sub(1)),
                ..s.clone()
            };
            let above = Suspect {
                low: s.low.max(end),
                ..s
            };
            self.suspects
                .extend([below, above].into_iter().filter(|s| s.low <= s.high));
        }
    }

    /// These are in files that are there, or were removed.
    pub fn not_absent(&mut self, first: Seq, end: Seq) {
        while let Some((&low, &high)) = self.absent.range(..end).next_back()
            && high >= first
        {
            let inside = low < first && end <= high;
            if inside && self.absent.len() >= ABSENT_MAX {
                return;
            }
            self.absent.remove(&low);
            if low < first {
                self.absent.insert(low, first - 1);
            }
            if end <= high {
                self.absent.insert(end, high);
            }
        }
    }

    /// Records that are lost, those found when the log was opened and those found since.
    pub fn lost(&self) -> Vec<Lost> {
        let opened = self.suspects.iter().map(|s| Lost {
            first: s.low,
            last: s.high,
            bytes: s.bytes,
            why: s.why,
            head: s.head.clone(),
        });
        let read = self.damaged.iter().map(|(&seq, (bytes, head))| Lost {
            first: seq,
            last: seq,
            bytes: *bytes,
            why: DAMAGED,
            head: head.clone(),
        });
        opened.chain(read).collect()
    }

    /// What the log holds, the damage included.
    pub fn full_extent(&self) -> Extent {
        Extent {
            damaged: (self.suspects.len() + self.damaged.len()) as u64,
            ..self.extent
        }
    }
}

/// The state and what is needed to use it.
pub struct Shared {
    /// The log.
    pub id: LogId,
    /// The state. Held only for look-ups and small changes in memory, never while reading or writing files.
    pub state: RwLock<State>,
}

impl Shared {
    /// Remembers a record that failed its checksum and makes the error for it, for the reader to tell.
    pub fn damaged(&self, seq: Seq, seg: &Segment, at: u64) -> Error {
        self.remember(seq, seg, at).0
    }

    /// As [`damaged`](Self::damaged) for a scan, which says nothing of what it passes over: whoever wants records asks for each
    /// that he missed, but heads are read to be counted.
    pub fn passed_over(&self, seq: Seq, seg: &Segment, at: u64, want: Want) {
        let (error, new) = self.remember(seq, seg, at);
        if new && want == Want::Heads {
            tracing::error!("{error}");
        }
    }

    /// A record that was overwritten: it was removed, and the erasure that said so is lost. A segment with a footer is not
    /// looked through for such when it is opened.
    pub fn is_void(&self, seq: Seq, seg: &Segment, bytes: u64) -> io::Result<()> {
        let Some((slot, _)) = seg.find(seq)? else { return Ok(()) };
        let was_first = {
            let mut state = self.state.write();
            state.kill_void(seq, seg, slot, bytes);
            state.extent.first == seq
        };
        if was_first {
            let first = self.state.read().find_first()?;
            let mut state = self.state.write();
            // The writer may have moved it meanwhile.
            if state.extent.first == seq {
                state.extent.first = first;
            }
        }
        Ok(())
    }

    /// The error, and whether it is the first of that record.
    fn remember(&self, seq: Seq, seg: &Segment, at: u64) -> (Error, bool) {
        let message = format!(
            "log {}: record {seq} fails its checksum ({} offset {at}); it is kept and not served",
            self.id,
            seg.handle.path.display()
        );
        let left = seg.left_at(at);
        let mut state = self.state.write();
        let new = state.damaged.len() < DAMAGED_MAX && state.damaged.insert(seq, left).is_none();
        (Error::damaged(message), new)
    }
}

/// An input or output error with what was being done.
pub fn io_error(doing: &str, path: &Path, error: io::Error) -> Error {
    if no_more_files(&error) {
        return Error::new(
            Kind::Busy,
            format!(
                "{doing} {}: too many files are open (`ulimit -n`); nothing was lost, try again",
                path.display()
            ),
        );
    }
    if no_space(&error) {
        return Error::new(
            Kind::Full,
            format!(
                "{doing} {}: the disk is full ({error}); nothing was lost",
                path.display()
            ),
        );
    }
    Error::io(format!("{doing} {}", path.display()), error)
}

/// Whether there was no room for it, on the disk or in a quota.
pub fn no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Gives an input or output error its context.
pub trait Doing<T> {
    /// Says what was being done to which file.
    fn doing(self, what: &str, path: &Path) -> Result<T>;
    /// Says that what was written to a file or directory was being synced: whatever the reason, it may be lost.
    fn syncing(self, path: &Path) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &str, path: &Path) -> Result<T> {
        self.map_err(|error| io_error(what, path, error))
    }

    fn syncing(self, path: &Path) -> Result<T> {
        self.map_err(|error| Error::io(format!("syncing {}", path.display()), error))
    }
}
