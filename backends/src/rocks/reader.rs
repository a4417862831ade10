//! Reading a log on RocksDB.

use std::borrow::Cow;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{DBRawIterator, ErrorKind, ReadOptions, ReadTier, Snapshot};
use weir_engine::{
    Check, Direction, Entry, EntryRef, Extent, FETCH_BYTES, LogReader, Lost, Result, Seq, VisitRecord, Want,
    check_scanned,
};

use super::keys::{self, Head};
use super::log::State;
use super::sound;
use super::store::{Blocks, failed};

/// Bytes after which a check is told of them.
const TOLD: u64 = 1 << 20;

pub(super) struct RocksReader {
    pub state: Arc<State>,
}

/// What reading a record found.
enum Found {
    Nothing,
    Record(Entry),
    /// Head and body do not belong together, or one of them fails its checksum.
    Bad(Cow<'static, str>),
}

/// What is said of a block that cannot be read, with the file and the offset that RocksDB names, as other backends name theirs.
fn bad_block(of: &str, error: &rocksdb::Error) -> String {
    let text = error.as_ref();
    // "… in /store/rocksdb/000010.sst offset 120683 size 8047, …"
    let place = text.rsplit_once(" in ").and_then(|(_, behind)| {
        let (file, behind) = behind.split_once(" offset ")?;
        let offset = behind.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(format!("{} offset {offset}", file.trim()))
    });
    match place {
        Some(place) => format!("its block of {of} is damaged ({place})"),
        None => format!("its block of {of} is damaged ({text})"),
    }
}

impl RocksReader {
    fn read(&self, seq: Seq, snapshot: Option<&Snapshot<'_>>) -> Result<Found> {
        let shared = &self.state.shared;
        let key = keys::record(self.state.place, seq);
        let get = |cf| {
            let mut options = ReadOptions::default();
            if let Some(snapshot) = snapshot {
                options.set_snapshot(snapshot);
            }
            shared.db.get_pinned_cf_opt(cf, key, &options)
        };
        let value = match get(shared.heads()?) {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(Found::Nothing),
            Err(error) if error.kind() == ErrorKind::Corruption => {
                return Ok(Found::Bad(bad_block("heads", &error).into()));
            }
            Err(error) => return Err(failed("reading a head", &error)),
        };
        let Some((head, true)) = Head::decode(&key, &value) else {
            return Ok(Found::Bad("its head fails its checksum".into()));
        };
        let body = match head.body_len {
            0 => None,
            _ => match get(shared.bodies(head.family)?) {
                Ok(None) => {
                    return Ok(Found::Bad(
                        "its body is not there: a table of RocksDB's is missing that had it".into(),
                    ));
                }
                Ok(body) => body,
                Err(error) if error.kind() == ErrorKind::Corruption => {
                    return Ok(Found::Bad(bad_block("bodies", &error).into()));
                }
                Err(error) => return Err(failed("reading a body", &error)),
            },
        };
        let body = body.as_deref().unwrap_or_default();
        if !head.fits(&key, body) {
            return Ok(Found::Bad("its body fails its checksum".into()));
        }
        // One allocation for both.
        let mut data = Vec::with_capacity(head.head.len() + body.len());
        data.extend_from_slice(head.head);
        data.extend_from_slice(body);
        let mut head_bytes = Bytes::from(data);
        let body = head_bytes.split_off(head.head.len());
        Ok(Found::Record(Entry {
            seq,
            time: head.time,
            head: head_bytes,
            body,
        }))
    }
}

impl RocksReader {
    /// Whether a record lies in memory, as far as RocksDB knows; one that is not there takes no reading.
    fn is_cached(&self, seq: Seq) -> Result<bool> {
        let shared = &self.state.shared;
        let key = keys::record(self.state.place, seq);
        let get = |cf| {
            let mut options = ReadOptions::default();
            options.set_read_tier(ReadTier::BlockCache);
            match shared.db.get_pinned_cf_opt(cf, key, &options) {
                Err(error) if error.kind() == ErrorKind::Incomplete => None,
                found => Some(found.ok().flatten()),
            }
        };
        let Some(head) = get(shared.heads()?) else {
            return Ok(false);
        };
        match head.as_deref().and_then(|value| Head::decode(&key, value)) {
            Some((head, _)) if head.body_len > 0 => Ok(get(shared.bodies(head.family)?).is_some()),
            _ => Ok(true),
        }
    }

    /// A scan of one sequence: a lookup, which costs a fraction of what an iterator does.
    fn visit_head(&self, seq: Seq, visit: VisitRecord<'_>) -> Result<()> {
        let shared = &self.state.shared;
        let key = keys::record(self.state.place, seq);
        let value = match shared.db.get_pinned_cf(shared.heads()?, key) {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Corruption => {
                self.state.passed_over(seq, &bad_block("heads", &error));
                return Ok(());
            }
            Err(error) => return Err(failed("reading a head", &error)),
        };
        let Some((head, true)) = Head::decode(&key, &value) else {
            self.state.passed_over(seq, "its head fails its checksum");
            return Ok(());
        };
        // There is nothing more to visit.
        let _ = visit(EntryRef {
            seq,
            time: head.time,
            head: head.head,
            body: &[],
            body_len: head.body_len,
            owner: None,
        });
        Ok(())
    }
}

impl LogReader for RocksReader {
    fn extent(&self) -> Extent {
        self.state.extent()
    }

    fn lost(&self) -> Vec<Lost> {
        let lost = self.state.lost().into_iter().map(|(first, last)| Lost {
            first,
            last,
            bytes: 0,
            why: "a repair could not read all of RocksDB's tables: of these sequences some may have been removed before",
            head: None,
        });
        lost.collect()
    }

    fn get(&self, seq: Seq) -> Result<Option<Entry>> {
        if seq > self.state.now.read().meta.last {
            return Ok(None);
        }
        let found = match self.read(seq, None)? {
            // The writer may have come between the two lookups. A snapshot decides.
            Found::Bad(_) => self.read(seq, Some(&self.state.shared.db.snapshot()))?,
            found => found,
        };
        match found {
            Found::Nothing => Ok(None),
            Found::Record(entry) => Ok(Some(entry)),
            Found::Bad(what) => Err(self.state.found_damage(seq, &what)),
        }
    }

    /// Told of the first and the last record alone: what lies between is in the same blocks, or in their neighbours.
    fn at_hand(&self, range: RangeInclusive<Seq>) -> Option<Seq> {
        let meta = self.state.now.read().meta;
        let (first, last) = ((*range.start()).max(meta.first), (*range.end()).min(meta.last));
        let is_there = |seq| self.is_cached(seq).unwrap_or(true);
        if first > last {
            return Some(*range.end());
        }
        if !is_there(first) {
            return None;
        }
        if first == last || is_there(last) {
            return Some(*range.end());
        }
        // A fetch brings what follows each other: what begins there ends somewhere in between.
        let mut ahead = (last - first) / 2;
        while ahead > 0 && !is_there(first + ahead) {
            ahead /= 2;
        }
        Some(first + ahead)
    }

    fn fetch(&self, range: RangeInclusive<Seq>) {
        // Whoever reads it is told why it cannot be read.
        let mut bytes = 0;
        let _: Result<()> = self.scan(range, Want::Full, Direction::Forward, &mut |entry| {
            bytes += u64::from(entry.body_len);
            match bytes < FETCH_BYTES {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
    }

    fn damaged(&self, range: RangeInclusive<Seq>) -> Vec<(Seq, Seq)> {
        self.state.damage_within(range)
    }

    fn scan(&self, range: RangeInclusive<Seq>, want: Want, direction: Direction, visit: VisitRecord<'_>) -> Result<()> {
        self.scan_caching(Blocks::Kept, range, want, direction, visit)
    }

    fn check(&self, check: &mut dyn Check) -> Result<()> {
        let Some(from) = sound::check(&self.state, check)? else {
            return Ok(());
        };
        let mut read = 0;
        self.scan_caching(
            Blocks::Ahead,
            from..=Seq::MAX,
            Want::Full,
            Direction::Forward,
            &mut |entry| {
                read += entry.head.len() as u64 + u64::from(entry.body_len);
                if read >= TOLD {
                    check.read(std::mem::take(&mut read));
                }
                check.record(entry)
            },
        )?;
        check.read(read);
        Ok(())
    }

    fn check_part(&self, from: Seq, bytes: u64, check: &mut dyn Check) -> Result<Option<Seq>> {
        check_scanned(bytes, check, |visit| {
            self.scan_caching(Blocks::Passing, from..=Seq::MAX, Want::Full, Direction::Forward, visit)
        })
    }
}

impl RocksReader {
    /// A scan.
    fn scan_caching(
        &self,
        blocks: Blocks,
        range: RangeInclusive<Seq>,
        want: Want,
        direction: Direction,
        visit: VisitRecord<'_>,
    ) -> Result<()> {
        let meta = self.state.now.read().meta;
        // Never through the tombstones of what was trimmed or truncated.
        let (low, high) = ((*range.start()).max(meta.first), (*range.end()).min(meta.last));
        if low > high {
            return Ok(());
        }
        if low == high && want == Want::Heads {
            return self.visit_head(low, visit);
        }
        let shared = &self.state.shared;
        let place = self.state.place;
        let snapshot = shared.db.snapshot();
        let mut bodies = Bodies::new(&self.state, &snapshot, (low, high), direction, blocks);
        let mut heads = shared.records(shared.heads()?, place, (low, high), Some(&snapshot), blocks);
        start(&mut heads, direction);
        let mut next = match direction {
            Direction::Forward => low,
            Direction::Backward => high,
        };
        loop {
            while let Some((key, value)) = heads.item() {
                let seq = keys::seq_of(key).unwrap_or(0);
                let Some((head, true)) = Head::decode(key, value) else {
                    self.state.passed_over(seq, "its head fails its checksum");
                    step(&mut heads, direction);
                    continue;
                };
                let body = match want {
                    Want::Full if head.body_len > 0 => bodies.find(key, head.family)?,
                    _ => &[],
                };
                if want == Want::Full && !head.fits(key, body) {
                    self.state.found_damage(seq, "its body is damaged or missing");
                } else {
                    let entry = EntryRef {
                        seq,
                        time: head.time,
                        head: head.head,
                        body,
                        body_len: head.body_len,
                        owner: None,
                    };
                    if visit(entry).is_break() {
                        return Ok(());
                    }
                }
                next = match direction {
                    Direction::Forward => seq.saturating_add(1),
                    Direction::Backward => seq.saturating_sub(1),
                };
                step(&mut heads, direction);
            }
            let passed = pass_damage(
                &self.state,
                &mut heads,
                direction,
                next,
                (low, high),
                Some(&snapshot),
                &mut |seq, key, value| {
                    let Some((head, true)) = Head::decode(key, value) else {
                        self.state.passed_over(seq, "its head fails its checksum");
                        return Ok(ControlFlow::Continue(()));
                    };
                    let body = match want {
                        Want::Full if head.body_len > 0 => bodies.find(key, head.family)?,
                        _ => &[],
                    };
                    if want == Want::Full && !head.fits(key, body) {
                        self.state.found_damage(seq, "its body is damaged or missing");
                        return Ok(ControlFlow::Continue(()));
                    }
                    Ok(visit(EntryRef {
                        seq,
                        time: head.time,
                        head: head.head,
                        body,
                        body_len: head.body_len,
                        owner: None,
                    }))
                },
            )?;
            if !passed {
                return Ok(());
            }
        }
    }
}

fn start(iter: &mut DBRawIterator<'_>, direction: Direction) {
    match direction {
        Direction::Forward => iter.seek_to_first(),
        Direction::Backward => iter.seek_to_last(),
    }
}

fn step(iter: &mut DBRawIterator<'_>, direction: Direction) {
    match direction {
        Direction::Forward => iter.next(),
        Direction::Backward => iter.prev(),
    }
}

fn seek(iter: &mut DBRawIterator<'_>, direction: Direction, key: &[u8]) {
    match direction {
        Direction::Forward => iter.seek(key),
        Direction::Backward => iter.seek_for_prev(key),
    }
}

/// Bodies in step with a scan of heads: an iterator for each family that turns up.
pub(super) struct Bodies<'a> {
    state: &'a State,
    snapshot: &'a Snapshot<'a>,
    within: (Seq, Seq),
    direction: Direction,
    blocks: Blocks,
    iters: [Option<DBRawIterator<'a>>; 3],
    /// A body that no iterator comes to.
    found: Vec<u8>,
}

impl<'a> Bodies<'a> {
    /// Of a log's records within these sequences, to be asked for in that direction.
    pub fn new(
        state: &'a State,
        snapshot: &'a Snapshot<'a>,
        within: (Seq, Seq),
        direction: Direction,
        blocks: Blocks,
    ) -> Self {
        Self {
            state,
            snapshot,
            within,
            direction,
            blocks,
            iters: [None, None, None],
            found: Vec::new(),
        }
    }

    /// The body of that key; empty if it is missing or its block is damaged, which no checksum of a body fits.
    pub fn find(&mut self, key: &[u8], family: u8) -> Result<&[u8]> {
        let shared = &self.state.shared;
        let Some(slot) = self.iters.get_mut(usize::from(family)) else {
            return Ok(&[]);
        };
        let (low, high) = self.within;
        let iter = match slot {
            Some(iter) => {
                step_if_valid(iter, self.direction);
                iter
            }
            None => {
                let bodies = shared.bodies(family)?;
                slot.insert(shared.records(bodies, self.state.place, (low, high), Some(self.snapshot), self.blocks))
            }
        };
        // Nearly always the next one already.
        if iter.key() != Some(key) {
            seek(iter, self.direction, key);
        }
        let (is_there, status) = (iter.key() == Some(key), iter.status());
        if is_there {
            let iter = self.iters[usize::from(family)].as_ref();
            return Ok(iter.and_then(DBRawIterator::value).unwrap_or_default());
        }
        match status {
            Ok(()) => return Ok(&[]),
            Err(error) if error.kind() != ErrorKind::Corruption => return Err(failed("reading bodies", &error)),
            Err(_) => {}
        }
        // A block of another table may be what is damaged, which an iterator reads as well, and a lookup does not. Once it has met
        // one, it may go on answering so.
        self.iters[usize::from(family)] = None;
        let mut options = ReadOptions::default();
        options.set_snapshot(self.snapshot);
        match shared.db.get_cf_opt(shared.bodies(family)?, key, &options) {
            Ok(body) => self.found = body.unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Corruption => self.found.clear(),
            Err(error) => return Err(failed("reading a body", &error)),
        }
        Ok(&self.found)
    }
}

fn step_if_valid(iter: &mut DBRawIterator<'_>, direction: Direction) {
    if iter.valid() {
        step(iter, direction);
    }
}

/// Sequences without a record that can be read, one after the other, after which no more are looked up where an iterator comes to a stop:
/// there may be any number of them, in a gap and in a damaged block that has one.
const MISSES_MAX: u64 = 1 << 14;

/// What is done with a head that was found by a lookup: its sequence, its key, its value.
type VisitHead<'v> = &'v mut dyn FnMut(Seq, &[u8], &[u8]) -> Result<ControlFlow<()>>;

/// Called when an iterator over heads has ended. Where a damaged block ended it, moves it to the nearest sequence from which on it
/// can go on, and answers true. What lies before that is looked up: the block may be one of another table, which has nothing of it.
/// What cannot be read is noted as damaged.
fn pass_damage<'a>(
    state: &'a State,
    iter: &mut DBRawIterator<'a>,
    direction: Direction,
    next: Seq,
    (low, high): (Seq, Seq),
    snapshot: Option<&Snapshot<'_>>,
    visit: VisitHead<'_>,
) -> Result<bool> {
    match iter.status() {
        Ok(()) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::Corruption => {}
        Err(error) => return Err(failed("reading heads", &error)),
    }
    if !(low..=high).contains(&next) {
        return Ok(false);
    }
    let room = match direction {
        Direction::Forward => high - next,
        Direction::Backward => next - low,
    };
    let at = |distance: Seq| match direction {
        Direction::Forward => next.saturating_add(distance),
        Direction::Backward => next.saturating_sub(distance),
    };
    let mut readable = |distance: Seq| -> Result<bool> {
        // An iterator that once met a damaged block may go on answering so when it comes back to the block before: each
        // look takes a new one.
        let shared = &state.shared;
        *iter = shared.records(shared.heads()?, state.place, (low, high), snapshot, Blocks::Kept);
        seek(iter, direction, &keys::record(state.place, at(distance)));
        match iter.status() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Corruption => Ok(false),
            Err(error) => Err(failed("reading heads", &error)),
        }
    };
    // Sequences are in order, so that all within the block fail and the next behind it does not: double the distance
    // until one is readable, then halve the gap.
    let mut bad = 0;
    let mut good = 1;
    while good <= room && !readable(good)? {
        bad = good;
        good = good.saturating_mul(2);
    }
    let mut goes_on = true;
    if good > room {
        if room == bad || !readable(room)? {
            goes_on = false;
        } else {
            good = room;
        }
    }
    if goes_on {
        while good - bad > 1 {
            let middle = bad + (good - bad) / 2;
            match readable(middle)? {
                true => good = middle,
                false => bad = middle,
            }
        }
    } else {
        bad = room;
    }
    match look_up(state, (0..=bad).map(at), snapshot, visit)? {
        Looked::AtAll => {}
        // What nobody looks at may be damaged.
        Looked::Until(seq) => {
            let end = at(bad);
            state.found_bad_block(seq.min(end), seq.max(end));
        }
        Looked::Enough => return Ok(false),
    }
    Ok(goes_on && readable(good)? && iter.valid())
}

/// How far sequences were looked up.
enum Looked {
    AtAll,
    /// From this one on they were not, for none before it had a record.
    Until(Seq),
    /// No more are wanted.
    Enough,
}

/// Looks up the heads of sequences that follow each other, upwards or downwards.
fn look_up(
    state: &State,
    seqs: impl Iterator<Item = Seq>,
    snapshot: Option<&Snapshot<'_>>,
    visit: VisitHead<'_>,
) -> Result<Looked> {
    let heads = state.shared.heads()?;
    let mut options = ReadOptions::default();
    if let Some(snapshot) = snapshot {
        options.set_snapshot(snapshot);
    }
    // The sequences that cannot be read, one after the other, so far.
    let mut run: Option<(Seq, Seq)> = None;
    let end = |run: &mut Option<(Seq, Seq)>| {
        if let Some((first, last)) = run.take() {
            state.found_bad_block(first.min(last), first.max(last));
        }
    };
    let mut misses = 0;
    for seq in seqs {
        let key = keys::record(state.place, seq);
        match state.shared.db.get_pinned_cf_opt(heads, key, &options) {
            Ok(found) => {
                end(&mut run);
                misses = if found.is_some() { 0 } else { misses + 1 };
                if misses > MISSES_MAX {
                    return Ok(Looked::Until(seq));
                }
                if let Some(value) = found
                    && visit(seq, &key, &value)?.is_break()
                {
                    return Ok(Looked::Enough);
                }
            }
            Err(error) if error.kind() == ErrorKind::Corruption => {
                misses += 1;
                if misses > MISSES_MAX {
                    end(&mut run);
                    return Ok(Looked::Until(seq));
                }
                if run.is_none() {
                    state.passed_over(seq, &bad_block("heads", &error));
                }
                run = Some((run.map_or(seq, |(first, _)| first), seq));
            }
            Err(error) => return Err(failed("reading a head", &error)),
        }
    }
    end(&mut run);
    Ok(Looked::AtAll)
}

/// A head as it stands there, or an empty one. Where it fails its checksum it is not known where its body is: its
/// family is none.
fn claimed<'a>(key: &[u8], value: &'a [u8]) -> Head<'a> {
    let nothing = Head {
        time: 0,
        body_len: 0,
        is_counted: false,
        family: keys::NO_FAMILY,
        body_crc: 0,
        head: &[],
    };
    match Head::decode(key, value) {
        Some((head, true)) => head,
        Some((head, false)) => Head {
            family: keys::NO_FAMILY,
            ..head
        },
        None => nothing,
    }
}

/// Lookups that [`walk`] tries before it makes an iterator, which costs as much as several of them.
const LOOKUPS: Seq = 4;

/// Visits the heads from `low` to `high` until told to stop, as they are: what fails its checksum too, with the lengths
/// that it claims. Blocks that cannot be read are passed over.
pub(super) fn walk(state: &State, low: Seq, high: Seq, visit: &mut dyn FnMut(Seq, &Head<'_>) -> bool) -> Result<()> {
    if low > high {
        return Ok(());
    }
    let shared = &state.shared;
    // A limit takes one record off the front for each that it adds at the back.
    let mut next = low;
    while next <= high && next - low < LOOKUPS {
        let key = keys::record(state.place, next);
        match shared.db.get_pinned_cf(shared.heads()?, key) {
            Ok(Some(value)) => {
                if !visit(next, &claimed(&key, &value)) {
                    return Ok(());
                }
            }
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::Corruption => break,
            Err(error) => return Err(failed("reading a head", &error)),
        }
        next = next.saturating_add(1);
    }
    if next > high {
        return Ok(());
    }
    let mut iter = shared.records(shared.heads()?, state.place, (next, high), None, Blocks::Kept);
    iter.seek_to_first();
    loop {
        while let Some((key, value)) = iter.item() {
            let seq = keys::seq_of(key).unwrap_or(0);
            if !visit(seq, &claimed(key, value)) {
                return Ok(());
            }
            next = seq.saturating_add(1);
            iter.next();
        }
        let passed = pass_damage(
            state,
            &mut iter,
            Direction::Forward,
            next,
            (low, high),
            None,
            &mut |seq, key, value| {
                Ok(match visit(seq, &claimed(key, value)) {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                })
            },
        )?;
        if !passed {
            return Ok(());
        }
    }
}
