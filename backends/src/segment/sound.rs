//! Segments that are sound through and through: read once, from the first byte to the last, by threads that go ahead of whoever is told
//! of their records. No map is needed for the frames, so that no more of a file is in memory than what is being looked at.
//!
//! Of a segment in which anything at all is not as it should be, nothing is said here: [`check`](super::check) finds out what it is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use parking_lot::Mutex;
use weir_engine::{NanoTime, Seq};

use super::files::{Background, File};
use super::format::{Begin, DATA_START, FRAME_LEN, Frame, Kind, align, decompress, u16_at, u32_at};
use super::rows::{Segment, is_set};
use super::state::SegRef;
use super::table::TableRef;

/// Threads that read ahead, at most.
const THREADS_MAX: usize = 4;
/// Threads for each core: while one waits for the disk another computes.
const THREADS_PER_CORE: usize = 2;
/// Segments that a thread has found sound and nobody has taken yet, beside the one that it waits with: more would be memory for nothing.
const AHEAD: usize = 0;
/// Bytes of a file in memory at a time, unless a record is larger.
const WINDOW: usize = 256 << 10;

/// A live record, without its body.
struct Brief {
    seq: Seq,
    time: NanoTime,
    body_len: u32,
    head_len: u16,
}

/// A sound segment: its live records, in order.
#[derive(Default)]
pub(super) struct Sound {
    records: Vec<Brief>,
    heads: Vec<u8>,
    /// The highest batch that any says was durable.
    pub durable: u64,
    /// Bytes of the file behind its header.
    pub bytes: u64,
}

impl Sound {
    fn clear(&mut self) {
        self.records.clear();
        self.heads.clear();
        (self.durable, self.bytes) = (0, 0);
    }

    /// The records: sequence, time, head, length of the body.
    pub fn records(&self) -> impl Iterator<Item = (Seq, NanoTime, &[u8], u32)> {
        let mut rest = &self.heads[..];
        self.records.iter().map(move |brief| {
            let (head, behind) = rest.split_at(usize::from(brief.head_len));
            rest = behind;
            (brief.seq, brief.time, head, brief.body_len)
        })
    }
}

/// The segments of a log, in order, as far as they are sound.
pub(super) struct Ahead {
    threads: Vec<Receiver<Option<Sound>>>,
    next: usize,
    spares: Spares,
}

/// What was told of, for its memory: to have megabytes from the system anew for each segment takes as long as to check it.
type Spares = Arc<Mutex<Vec<Sound>>>;
/// So many, at most: one that comes back while a thread waits with another.
const SPARES_MAX: usize = 1;

impl Ahead {
    /// Begins to read them. Where everything is done by one thread, or no other can be had, none is found sound.
    pub fn begin<'s>(scope: &'s Scope<'s, '_>, segs: &'s [SegRef]) -> Self {
        let is_threaded = segs
            .first()
            .is_some_and(|first| first.seg.handle.background() == Background::Thread);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = match is_threaded {
            true => (cores * THREADS_PER_CORE).min(THREADS_MAX).min(segs.len()),
            false => 0,
        };
        let spares = Spares::default();
        let begin = |nth: usize| {
            let (sender, receiver) = sync_channel(AHEAD);
            let thread = std::thread::Builder::new().name("weir-verify".to_owned());
            let mine = segs.iter().skip(nth).step_by(count);
            let spares = spares.clone();
            let begun = thread.spawn_scoped(scope, move || read(mine, &sender, &spares));
            begun.is_ok().then_some(receiver)
        };
        let threads = (0..count).map_while(begin).collect::<Vec<_>>();
        // All or none: each has its segments.
        let threads = if threads.len() == count { threads } else { Vec::new() };
        Self {
            threads,
            next: 0,
            spares,
        }
    }

    /// The next segment; `None` if it is not sound, or not known to be.
    pub fn next(&mut self) -> Option<Sound> {
        let nth = self.next.checked_rem(self.threads.len())?;
        self.next += 1;
        self.threads[nth].recv().ok().flatten()
    }

    /// A segment was told of.
    pub fn done_with(&self, sound: Sound) {
        let mut spares = self.spares.lock();
        if spares.len() < SPARES_MAX {
            spares.push(sound);
        }
    }
}

fn read<'s>(segs: impl Iterator<Item = &'s SegRef>, sender: &SyncSender<Option<Sound>>, spares: &Mutex<Vec<Sound>>) {
    let mut buffer = Vec::new();
    for s in segs {
        let spare = spares.lock().pop().unwrap_or_default();
        // What cannot be read is told of by `check`, which reads it once more.
        let sound = sound(&s.seg, &mut buffer, spare).unwrap_or_default();
        s.seg.handle.close_if_synced();
        if sender.send(sound).is_err() {
            // Nobody wants to know any more.
            return;
        }
    }
}

/// Reads a segment; `None` if anything in it is not as it should be.
fn sound(seg: &Segment, buffer: &mut Vec<u8>, mut spare: Sound) -> io::Result<Option<Sound>> {
    let Some(footer) = &seg.footer else { return Ok(None) };
    let mut window = Window {
        seg,
        file: seg.handle.file()?,
        buffer: std::mem::take(buffer),
        start: DATA_START,
        filled: 0,
        end: footer.data_end,
    };
    let removed = seg.rows.read().removed().to_vec();
    let found = seg.with_table(|table| {
        (window.start, window.filled) = (DATA_START, 0);
        match table {
            TableRef::Stored(..) => frames(&mut window, table, &removed, std::mem::take(&mut spare)),
            // It stands in for a footer's that is damaged.
            TableRef::Mem(_) => Ok(None),
        }
    })?;
    *buffer = std::mem::take(&mut window.buffer);
    if buffer.len() > WINDOW {
        *buffer = Vec::new();
    }
    let bytes = seg.file_len.load(Ordering::Acquire) - DATA_START;
    Ok(found?.map(|found| Sound { bytes, ..found }))
}

/// A part of a file.
struct Window<'s> {
    seg: &'s Segment,
    file: Arc<File>,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    start: u64,
    /// Bytes of the buffer that were read.
    filled: usize,
    /// Where in the file the frames end.
    end: u64,
}

impl Window<'_> {
    /// So many bytes from `at` on, which is not below what was asked for before; `None` if there are not so many.
    fn get(&mut self, at: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if at.checked_add(len as u64).is_none_or(|end| end > self.end) || at < self.start {
            return Ok(None);
        }
        let mut from = (at - self.start) as usize;
        if from + len > self.filled {
            let kept = from.min(self.filled);
            self.buffer.copy_within(kept..self.filled, 0);
            self.filled -= kept;
            self.start += kept as u64;
            from -= kept;
            let wanted = (from + len).max(WINDOW);
            if self.buffer.len() < wanted {
                self.buffer.resize(wanted, 0);
            }
            while self.filled < from + len {
                let at = self.start + self.filled as u64;
                let most = (self.end - at).min((self.buffer.len() - self.filled) as u64) as usize;
                let into = &mut self.buffer[self.filled..self.filled + most];
                match self.seg.handle.read_at(&self.file, into, at)? {
                    0 => return Ok(None),
                    read => self.filled += read,
                }
            }
        }
        Ok(Some(&self.buffer[from..from + len]))
    }
}

fn frames(
    window: &mut Window<'_>,
    table: TableRef<'_>,
    removed: &[u64],
    mut sound: Sound,
) -> io::Result<Option<Sound>> {
    let seed = window.seg.seed;
    sound.clear();
    sound.records.reserve(table.rows() as usize);
    let mut scratch = Vec::new();
    let (mut at, mut slot) = (DATA_START, 0);
    while at < window.end {
        // As the frame's head says; whether that is so its checksum tells.
        let Some(raw) = window.get(at, FRAME_LEN)? else {
            return Ok(None);
        };
        let len = align(FRAME_LEN as u64 + u64::from(u16_at(raw, 10)) + u64::from(u32_at(raw, 12)));
        let Some(raw) = usize::try_from(len).map_or(Ok(None), |len| window.get(at, len))? else {
            return Ok(None);
        };
        let Some(frame) = Frame::decode(raw, seed, at).filter(|frame| frame.body_is_good(raw)) else {
            return Ok(None);
        };
        match frame.kind {
            Kind::Record | Kind::Void => {
                let row = row_at(table, removed, &mut slot, at);
                let Ok(row) = row else { return Ok(None) };
                let is_live = row.is_some_and(|row| !is_set(removed, row) && table.seq(row) == frame.seq);
                if is_live {
                    if frame.kind == Kind::Void || !opens(&frame, raw, &mut scratch) {
                        return Ok(None);
                    }
                    sound.heads.extend_from_slice(frame.head(raw));
                    sound.records.push(Brief {
                        seq: frame.seq,
                        time: frame.time,
                        body_len: frame.body_len,
                        head_len: frame.head_len,
                    });
                }
            }
            Kind::Begin => {
                if let Some(begin) = Begin::of(&frame, raw) {
                    sound.durable = sound.durable.max(begin.durable);
                }
            }
            Kind::Erase | Kind::Trim => {}
        }
        at += len;
    }
    let is_whole = at == window.end && row_at(table, removed, &mut slot, at) == Ok(None);
    Ok(is_whole.then_some(sound))
}

/// The row of the frame at an offset, which is above those asked for before; an error if a live row lies below where no frame is.
fn row_at(table: TableRef<'_>, removed: &[u64], slot: &mut u32, at: u64) -> Result<Option<u32>, ()> {
    while *slot < table.rows() {
        let row = *slot;
        let begin = table.offset(row);
        if begin > at {
            break;
        }
        *slot += 1;
        if begin == at {
            return Ok(Some(row));
        }
        if !is_set(removed, row) {
            return Err(());
        }
    }
    Ok(None)
}

/// Whether the body can be had from what is stored, whose checksum is right.
fn opens(frame: &Frame, raw: &[u8], scratch: &mut Vec<u8>) -> bool {
    match frame.is_bare() {
        true => frame.is_as_long(),
        false => {
            scratch.clear();
            decompress(frame.codec, frame.stored(raw), frame.body_len, scratch)
        }
    }
}
