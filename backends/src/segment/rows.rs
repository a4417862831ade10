//! One segment: a file, the table of its records, and which of them are gone.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;
use weir_engine::{Direction, FETCH_BYTES, Seq};

use super::format::{DATA_START, Frame, Identity, Kind};
use super::handle::Handle;
use super::seal::Footer;
use super::table::{MemTable, TableRef};
use super::walk::{Item, Walk};

/// Bytes behind records that are fetched in order which the kernel is told of: the next ones are on their way meanwhile.
const FETCHED_AHEAD: u64 = 512 << 10;

/// What changes in a segment after its records are written.
#[derive(Debug, Default)]
pub struct Rows {
    /// The table, unless it is read from the footer.
    pub table: MemTable,
    /// Rows in the table, wherever it is.
    pub count: u32,
    /// A bit for each row that was removed; empty while none was.
    dead: Vec<u64>,
    /// No row below this is live.
    low: u32,
    /// Live rows.
    pub live: u32,
    /// Bytes of the live records' heads and bodies.
    pub bytes: u64,
}

/// Whether the bit of a row is set.
pub fn is_set(bits: &[u64], slot: u32) -> bool {
    bits.get(slot as usize / 64)
        .is_some_and(|word| word >> (slot % 64) & 1 == 1)
}

impl Rows {
    /// Whether a row was removed.
    pub fn is_dead(&self, slot: u32) -> bool {
        is_set(&self.dead, slot)
    }

    /// A bit for each row that was removed, as [`is_set`] reads them.
    pub fn removed(&self) -> &[u64] {
        &self.dead
    }

    /// The same, with the table in the footer.
    pub fn without_table(self) -> Self {
        Self {
            table: MemTable::default(),
            ..self
        }
    }

    /// Removes a row of so many bytes; answers whether it was live.
    pub fn kill(&mut self, slot: u32, bytes: u64) -> bool {
        if slot >= self.count || self.is_dead(slot) {
            return false;
        }
        let word = slot as usize / 64;
        if self.dead.len() <= word {
            self.dead.resize(word + 1, 0);
        }
        self.dead[word] |= 1 << (slot % 64);
        self.live -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }

    /// Adds a record.
    pub fn push(&mut self, seq: Seq, offset: u64, bytes: u64) {
        self.table.push(seq, offset);
        self.count += 1;
        self.live += 1;
        self.bytes += bytes;
    }

    /// The first live row from `slot` on, or the last one up to it.
    pub fn next_live(&self, slot: u32, direction: Direction) -> Option<u32> {
        let full = |word: usize| self.dead.get(word).is_some_and(|w| *w == u64::MAX);
        match direction {
            Direction::Forward => {
                let mut slot = slot.max(self.low);
                while slot < self.count {
                    if slot.is_multiple_of(64) && full(slot as usize / 64) {
                        slot += 64;
                    } else if self.is_dead(slot) {
                        slot += 1;
                    } else {
                        return Some(slot);
                    }
                }
                None
            }
            Direction::Backward => {
                let mut slot = slot.min(self.count.checked_sub(1)?);
                loop {
                    if slot < self.low {
                        return None;
                    }
                    if !self.is_dead(slot) {
                        return Some(slot);
                    }
                    slot = if full(slot as usize / 64) {
                        (slot / 64 * 64).checked_sub(1)?
                    } else {
                        slot.checked_sub(1)?
                    };
                }
            }
        }
    }

    /// The first row from `slot` on that was removed, or the number of rows.
    fn next_dead(&self, mut slot: u32) -> u32 {
        while slot < self.count {
            let word = self.dead.get(slot as usize / 64).copied().unwrap_or(0) >> (slot % 64);
            if word != 0 {
                return (slot + word.trailing_zeros()).min(self.count);
            }
            slot = (slot / 64 + 1) * 64;
        }
        self.count
    }

    /// The first live row of all; remembers it, so that asking again does not begin at the beginning.
    pub fn first_live(&mut self) -> Option<u32> {
        let first = self.next_live(self.low, Direction::Forward);
        self.low = first.unwrap_or(self.count);
        first
    }
}

/// One segment.
pub struct Segment {
    /// Its file.
    pub handle: Arc<Handle>,
    /// Which file of which log it is.
    pub identity: Identity,
    /// What its checksums begin with.
    pub seed: u32,
    /// Header flags.
    pub flags: u16,
    /// The number of its first batch.
    pub first_batch: u64,
    /// The log's last sequence when it was begun: records above it in older segments were truncated.
    pub begun_after: Seq,
    /// Where the published frames end.
    pub end: AtomicU64,
    /// The length of its file, in bytes.
    pub file_len: AtomicU64,
    /// Its footer, if it is sealed and the footer is to be believed.
    pub footer: Option<Footer>,
    /// The lowest sequence that an erasure in here removed; `u64::MAX` if there is none.
    pub tomb_low: AtomicU64,
    /// What changes.
    pub rows: RwLock<Rows>,
    /// Set when the footer's table was found good, which it is when it is first used.
    table_checked: OnceLock<()>,
    /// Whether the footer's table is damaged, and the one in `rows` is used.
    table_bad: AtomicBool,
}

impl Segment {
    /// A segment with that file and those rows.
    pub fn new(
        handle: Arc<Handle>,
        identity: Identity,
        flags: u16,
        first_batch: u64,
        footer: Option<Footer>,
        rows: Rows,
    ) -> Self {
        Self {
            handle,
            identity,
            seed: identity.seed(),
            flags,
            first_batch,
            begun_after: Seq::MAX,
            end: AtomicU64::new(DATA_START),
            file_len: AtomicU64::new(DATA_START),
            footer,
            tomb_low: AtomicU64::new(u64::MAX),
            rows: RwLock::new(rows),
            table_checked: OnceLock::new(),
            table_bad: AtomicBool::new(false),
        }
    }

    /// Notes the log's last sequence when it was begun.
    pub fn begun_after(self, last: Seq) -> Self {
        Self {
            begun_after: last,
            ..self
        }
    }

    /// The highest sequence that is stored in it, removed and truncated ones included; 0 if there is none.
    pub fn stored_last(&self) -> Seq {
        match &self.footer {
            Some(footer) => footer.last,
            None => self.rows.read().table.last().unwrap_or(0),
        }
    }

    /// Rows of a segment whose table is in its footer: all live.
    pub fn rows_of(footer: &Footer) -> Rows {
        Rows {
            count: footer.rows,
            live: footer.rows,
            bytes: footer.bytes,
            ..Rows::default()
        }
    }

    /// Takes the rows from another form of the same segment.
    pub fn with_rows_of(self, other: &Self) -> Self {
        {
            let from = other.rows.read();
            let mut rows = self.rows.write();
            rows.dead.clone_from(&from.dead);
            rows.low = from.low;
            rows.live = from.live;
            rows.bytes = from.bytes;
        }
        self.tomb_low
            .store(other.tomb_low.load(Ordering::Relaxed), Ordering::Relaxed);
        self
    }

    /// The file's bytes from its beginning to the end of what may be read.
    pub fn map(&self) -> io::Result<Bytes> {
        let need = match &self.footer {
            Some(_) => self.file_len.load(Ordering::Acquire),
            None => self.end.load(Ordering::Acquire),
        };
        self.handle.map(need)
    }

    /// Tells the kernel that all of the file will be read soon.
    pub fn will_need(&self) {
        let need = match &self.footer {
            Some(_) => self.file_len.load(Ordering::Acquire),
            None => self.end.load(Ordering::Acquire),
        };
        self.handle.will_need(need);
    }

    /// The bytes of the file in which the records from one sequence to another lie, those between them that are removed included,
    /// and the rows; `None` if there are none.
    fn span(&self, from: Seq, to: Seq) -> io::Result<Option<(Range<u32>, Range<u64>)>> {
        let data_end = match &self.footer {
            Some(footer) => footer.data_end,
            None => self.end.load(Ordering::Acquire),
        };
        self.with_table(|table| {
            let rows = table.ceiling(from)..table.ceiling(to.saturating_add(1));
            if rows.is_empty() {
                return None;
            }
            let end = match rows.end < table.rows() {
                true => table.offset(rows.end),
                false => data_end,
            };
            let begin = table.offset(rows.start);
            Some((rows, begin..end.max(begin)))
        })
    }

    /// Whether the table can be looked at without waiting for a disk, as far as these sequences need it.
    fn table_at_hand(&self, from: Seq, to: Seq) -> bool {
        let Some(footer) = &self.footer else { return true };
        if self.table_bad.load(Ordering::Acquire) {
            return true;
        }
        let is_there = |at: u64, len: u64| self.handle.resident(at, len) >= len;
        let offsets = footer.offsets_at();
        if self.table_checked.get().is_none() || !is_there(footer.data_end, (offsets - footer.data_end).max(1)) {
            return false;
        }
        let rows = self.with_table(|table| table.ceiling(from)..table.ceiling(to.saturating_add(1)));
        // With the row behind, whose place is where these end.
        rows.is_ok_and(|rows| {
            is_there(
                offsets + u64::from(rows.start) * 4,
                (u64::from(rows.end - rows.start) + 1) * 4,
            )
        })
    }

    /// Up to which sequence of the range the records can be read without waiting for a disk; `None` if not even the first can.
    pub fn at_hand(&self, from: Seq, to: Seq) -> Option<Seq> {
        if !self.table_at_hand(from, to) {
            return None;
        }
        let Some((rows, bytes)) = self.span(from, to).ok()? else {
            return Some(to);
        };
        let there = self.handle.resident(bytes.start, bytes.end - bytes.start);
        if there >= bytes.end - bytes.start {
            return Some(to);
        }
        // The last row that ends before the first page that is missing.
        let edge = bytes.start + there;
        self.with_table(|table| {
            let (mut low, mut high) = (rows.start, rows.end);
            while low < high {
                let middle = low.midpoint(high);
                match middle + 1 < table.rows() && table.offset(middle + 1) <= edge {
                    true => low = middle + 1,
                    false => high = middle,
                }
            }
            low.checked_sub(1)
                .filter(|row| *row >= rows.start)
                .map(|row| table.seq(row))
        })
        .ok()?
    }

    /// Has the records of the range read into memory, and the kernel read on behind them if they are several.
    pub fn fetch(&self, from: Seq, to: Seq) {
        if self.map().is_err() {
            return;
        }
        let touch = |at: u64, len: u64| {
            let there = self.handle.resident(at, len);
            if there < len {
                self.handle.touch(at + there, len - there);
            }
        };
        if let Some(footer) = &self.footer
            && !self.table_at_hand(from, to)
        {
            touch(footer.data_end, footer.end() - footer.data_end);
        }
        let Ok(Some((_, bytes))) = self.span(from, to) else {
            return;
        };
        let bytes = match from < to {
            true => bytes.start..bytes.end.min(bytes.start + FETCH_BYTES),
            false => bytes,
        };
        if from < to {
            self.handle
                .will_need_from(bytes.start, bytes.end - bytes.start + FETCHED_AHEAD);
        }
        touch(bytes.start, bytes.end - bytes.start);
    }

    /// Keeps the file mapped for as long as the segment is held: its name is about to go.
    pub fn pin(&self) -> io::Result<()> {
        let need = match &self.footer {
            Some(_) => self.file_len.load(Ordering::Acquire),
            None => self.end.load(Ordering::Acquire),
        };
        self.handle.pin(need)
    }

    /// Looks something up in the table; twice if the first time met a page that could not be read.
    pub fn with_table<R>(&self, mut look: impl FnMut(TableRef<'_>) -> R) -> io::Result<R> {
        if let Some(footer) = &self.footer
            && !self.table_bad.load(Ordering::Acquire)
        {
            let map = self.map()?;
            if self.table_checked.get().is_none() {
                if footer.table_is_good(&map) {
                    let _ = self.table_checked.set(());
                } else {
                    self.rebuild_table(footer, &map);
                }
            }
            if !self.table_bad.load(Ordering::Acquire) {
                let (runs, offsets) = footer.table(&map);
                let found = look(TableRef::Stored(runs, offsets));
                if !self.handle.faulted() || footer.table_is_good(&map) {
                    return Ok(found);
                }
                self.rebuild_table(footer, &map);
            }
        }
        Ok(look(TableRef::Mem(&self.rows.read().table)))
    }

    /// Builds the table from the frames, because the footer's is damaged. Rows must keep their numbers, so if frames
    /// are damaged too, empty rows take their places: those read as damaged.
    fn rebuild_table(&self, footer: &Footer, map: &[u8]) {
        tracing::warn!(
            file = %self.handle.path.display(),
            "the table in the footer is damaged; reading the segment instead"
        );
        let mut found = Vec::new();
        let mut gap_after = None;
        for item in Walk::new(&map[..footer.data_end as usize], self.seed) {
            match item {
                Item::Frame { at, frame, .. } => {
                    if matches!(frame.kind, Kind::Record | Kind::Void)
                        && found.last().is_none_or(|(last, _)| frame.seq > *last)
                    {
                        found.push((frame.seq, at));
                    }
                }
                Item::Gap { .. } | Item::Tail { .. } => {
                    gap_after.get_or_insert(found.len());
                }
            }
        }
        let missing = (footer.rows as usize).saturating_sub(found.len());
        let gap_after = gap_after.unwrap_or(found.len());
        let mut table = MemTable::default();
        for (i, (seq, at)) in found.iter().enumerate() {
            if i == gap_after {
                table.push_missing(missing, self.first_or(footer.first, i, &found));
            }
            table.push(*seq, *at);
        }
        if gap_after == found.len() {
            table.push_missing(missing, self.first_or(footer.first, gap_after, &found));
        }
        self.rows.write().table = table;
        self.table_bad.store(true, Ordering::Release);
    }

    fn first_or(&self, first: Seq, i: usize, found: &[(Seq, u64)]) -> Seq {
        i.checked_sub(1).map_or(first, |before| found[before].0 + 1)
    }

    /// Where the record of that sequence is and its row, if it is live.
    pub fn find(&self, seq: Seq) -> io::Result<Option<(u32, u64)>> {
        let found = self.with_table(|table| table.slot(seq).map(|slot| (slot, table.offset(slot))))?;
        Ok(found.filter(|(slot, _)| !self.rows.read().is_dead(*slot)))
    }

    /// The sequences of the lowest live record, if there is one.
    pub fn first_live(&self) -> io::Result<Option<Seq>> {
        let first = self.rows.write().first_live();
        match first {
            None => Ok(None),
            Some(slot) => self.with_table(|table| Some(table.seq(slot))),
        }
    }

    /// Adds the ranges of live sequences from `low` to `high`, in order.
    pub fn live(&self, (low, high): (Seq, Seq), out: &mut Vec<(Seq, Seq)>) -> io::Result<()> {
        if self.rows.read().live == 0 {
            return Ok(());
        }
        if let Some(footer) = &self.footer
            && !self.table_bad.load(Ordering::Acquire)
            && footer.first.checked_add(u64::from(footer.rows)) == footer.last.checked_add(1)
            && self.rows.read().live == footer.rows
        {
            // All that lies between its ends is there.
            let (first, last) = (footer.first.max(low), footer.last.min(high));
            if first <= last {
                out.push((first, last));
            }
            return Ok(());
        }
        let runs = self.with_table(|table| table.runs_within(low, high))?;
        let rows = self.rows.read();
        for (seq, slots) in runs {
            let seq_of = |slot: u32| seq + u64::from(slot - slots.start);
            let mut next = slots.start;
            while let Some(first) = rows
                .next_live(next, Direction::Forward)
                .filter(|slot| *slot < slots.end)
            {
                next = rows.next_dead(first).min(slots.end);
                out.push((seq_of(first), seq_of(next - 1)));
            }
        }
        Ok(())
    }

    /// Collects sequences and places of up to `max` live records, from `from` on in that direction.
    pub fn collect(&self, from: Seq, direction: Direction, max: usize, out: &mut Vec<(Seq, u64)>) -> io::Result<()> {
        let start = self.with_table(|table| match direction {
            Direction::Forward => Some(table.ceiling(from)),
            Direction::Backward if from == Seq::MAX => table.rows().checked_sub(1),
            Direction::Backward => table.ceiling(from + 1).checked_sub(1),
        })?;
        let mut slots = Vec::with_capacity(max);
        {
            let rows = self.rows.read();
            let mut next = start;
            while let Some(slot) = next.and_then(|slot| rows.next_live(slot, direction)) {
                slots.push(slot);
                if slots.len() == max {
                    break;
                }
                next = match direction {
                    Direction::Forward => slot.checked_add(1),
                    Direction::Backward => slot.checked_sub(1),
                };
            }
        }
        self.with_table(|table| {
            out.clear();
            out.extend(
                slots
                    .iter()
                    .filter(|slot| **slot < table.rows())
                    .map(|slot| (table.seq(*slot), table.offset(*slot))),
            );
        })
    }

    /// The verified frame at an offset and the bytes of the file; `None` if it does not verify.
    pub fn frame(&self, at: u64) -> io::Result<(Bytes, Option<Frame>)> {
        let map = self.map()?;
        let end = self.end.load(Ordering::Acquire) as usize;
        let frame = map
            .get(at as usize..end)
            .and_then(|raw| Frame::decode(raw, self.seed, at));
        Ok((map, frame))
    }

    /// What is left of a damaged record: the bytes of its head and body, 0 if nothing tells them any more, and its head.
    pub fn left_at(&self, at: u64) -> (u64, Option<Bytes>) {
        let left = || {
            let (map, frame) = self.frame(at).ok()?;
            let raw = map.get(at as usize..)?;
            match frame {
                Some(frame) => Some((frame.size(), Bytes::copy_from_slice(frame.head(raw)))),
                None => Frame::mended(raw, self.seed, at).map(|(frame, head)| (frame.size(), head)),
            }
        };
        left().map_or((0, None), |(bytes, head)| (bytes, Some(head)))
    }

    /// The bytes of all rows in the range of rows, summed from their heads; a damaged one counts nothing.
    pub fn sizes(&self, rows: Range<u32>) -> io::Result<Vec<(u32, u64)>> {
        let places = self.with_table(|table| {
            (rows.start..rows.end.min(table.rows()))
                .map(|slot| (slot, table.offset(slot)))
                .collect::<Vec<_>>()
        })?;
        let mut sizes = Vec::with_capacity(places.len());
        for (slot, at) in places {
            let (_, frame) = self.frame(at)?;
            sizes.push((slot, frame.map_or(0, |frame| frame.size())));
        }
        Ok(sizes)
    }

    /// How many live rows have sequences below a bound.
    pub fn live_below(&self, below: Seq) -> io::Result<u64> {
        if self.rows.read().live == 0 {
            return Ok(0);
        }
        let high = self.with_table(|table| table.ceiling(below))?;
        let mut rows = self.rows.write();
        if high >= rows.count {
            return Ok(u64::from(rows.live));
        }
        let low = rows.first_live().unwrap_or(rows.count);
        Ok((low..high).filter(|slot| !rows.is_dead(*slot)).count() as u64)
    }

    /// Removes live rows whose sequences are below (or, from the other end, above) a bound. Answers how many records
    /// and bytes went.
    pub fn kill_outside(&self, keep: Range<Seq>) -> io::Result<(u64, u64)> {
        let count = self.rows.read().count;
        let (low, high) = self.with_table(|t| (t.ceiling(keep.start), t.ceiling(keep.end)))?;
        let mut gone = (0, 0);
        if low >= high.min(count) {
            // Nothing is kept: no need to look at every head.
            let mut rows = self.rows.write();
            gone = (u64::from(rows.live), rows.bytes);
            rows.dead = vec![u64::MAX; count as usize / 64];
            if !count.is_multiple_of(64) {
                // Not the bits of rows that are yet to come.
                rows.dead.push((1 << (count % 64)) - 1);
            }
            rows.low = count;
            rows.live = 0;
            rows.bytes = 0;
            return Ok(gone);
        }
        let start = self.rows.write().first_live().unwrap_or(count);
        for range in [start..low, high..count] {
            if range.is_empty() {
                continue;
            }
            for (slot, bytes) in self.sizes(range)? {
                let mut rows = self.rows.write();
                if rows.kill(slot, bytes) {
                    gone.0 += 1;
                    gone.1 += bytes;
                }
            }
        }
        Ok(gone)
    }
}
