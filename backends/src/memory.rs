//! The memory backend: nothing survives the process, nothing is faster.
//!
//! A record is one allocation: a short prefix (time, length of the head), then head and body. Reading it hands out
//! slices of that allocation, counted, never copied.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow, RangeInclusive};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use weir_engine::{
    Backend, Direction, Entry, EntryRef, Extent, Kv, KvWrite, Log, LogChange, LogId, LogOptions, LogReader, Record,
    Recovery, Result, Seq, Upkeep, VisitKey, VisitRecord, Want,
};

use crate::rules;

/// Bytes before the head: the time (8, little-endian), the length of the head (2), and what the body counts for (4).
const PREFIX: usize = 14;

/// What a record costs beyond its bytes: its slot, its prefix and the allocator's header. For [`Extent::disk_bytes`].
const OVERHEAD: u64 = (size_of::<Slot>() + PREFIX + 16) as u64;

/// How many records a scan takes out at a time. The lock is never held while the visitor runs.
const SCAN_STEP: usize = 64;

/// Slots of erased records are swept out when there are more of them than of live ones, and at least so many.
const SWEEP_MIN: usize = 1024;

/// Keeps every log in memory.
///
/// A store of this kind ends with its last handle. All durations of durability are met trivially: `sync` has nothing
/// to do, and promises nothing.
#[derive(Default)]
pub struct MemoryBackend {
    logs: Mutex<BTreeMap<LogId, Arc<Shared>>>,
    kv: Arc<MemoryKv>,
}

impl MemoryBackend {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn persistent(&self) -> bool {
        false
    }

    fn atomic_kv(&self) -> bool {
        true
    }

    fn open(&self, id: LogId, options: &LogOptions) -> Result<(Box<dyn Log>, Recovery)> {
        let mut logs = self.logs.lock();
        let created = !logs.contains_key(&id);
        if created && options.existing {
            return Err(rules::missing(id));
        }
        let shared = logs.entry(id).or_default();
        if shared.open.swap(true, Ordering::AcqRel) {
            return Err(rules::already_open(id));
        }
        let log = MemoryLog {
            id,
            shared: Arc::clone(shared),
            kv: Arc::clone(&self.kv),
        };
        let label = shared.label.get().cloned();
        if label.is_none() && !options.label.is_empty() {
            let _ = shared.label.set(options.label.clone());
        }
        let recovery = Recovery {
            created,
            label,
            ..Recovery::default()
        };
        Ok((Box::new(log), recovery))
    }

    fn list(&self) -> Result<Vec<LogId>> {
        Ok(self.logs.lock().keys().copied().collect())
    }

    fn label(&self, id: LogId) -> Result<Option<Bytes>> {
        let logs = self.logs.lock();
        Ok(logs.get(&id).and_then(|shared| shared.label.get().cloned()))
    }

    fn remove(&self, id: LogId) -> Result<()> {
        let mut logs = self.logs.lock();
        match logs.get(&id) {
            Some(shared) if shared.open.load(Ordering::Acquire) => Err(rules::still_open(id)),
            Some(_) => {
                // Readers keep what they hold by their own reference.
                logs.remove(&id);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn kv(&self) -> Arc<dyn Kv> {
        Arc::clone(&self.kv) as Arc<dyn Kv>
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

/// What a log, its readers and the backend share.
#[derive(Default)]
struct Shared {
    open: AtomicBool,
    label: OnceLock<Bytes>,
    records: RwLock<Records>,
}

/// One sequence of the log; `None` once it is erased.
struct Slot {
    seq: Seq,
    data: Option<Bytes>,
}

/// The records, in order. The first and the last slot are live.
#[derive(Default)]
struct Records {
    slots: VecDeque<Slot>,
    last: Seq,
    count: u64,
    bytes: u64,
}

impl Records {
    fn first(&self) -> Seq {
        self.slots.front().map_or(self.last.saturating_add(1), |slot| slot.seq)
    }

    fn extent(&self) -> Extent {
        Extent {
            first: self.first(),
            last: self.last,
            count: self.count,
            bytes: self.bytes,
            disk_bytes: self.bytes + self.count * OVERHEAD,
            damaged: 0,
        }
    }

    /// The index of the first slot at or above `seq`.
    fn at_or_above(&self, seq: Seq) -> usize {
        let Some(front) = self.slots.front() else {
            return 0;
        };
        let Some(distance) = seq.checked_sub(front.seq) else {
            return 0;
        };
        // Sequences strictly increase, so a slot is never further in than its distance from the front; without gaps
        // it is exactly there.
        let guess = usize::try_from(distance).unwrap_or(usize::MAX).min(self.slots.len());
        match self.slots.get(guess) {
            Some(slot) if slot.seq == seq => guess,
            _ => self.slots.partition_point(|slot| slot.seq < seq),
        }
    }

    fn get(&self, seq: Seq) -> Option<&Bytes> {
        let slot = self.slots.get(self.at_or_above(seq))?;
        (slot.seq == seq).then_some(slot.data.as_ref()).flatten()
    }

    fn append(&mut self, seq: Seq, data: Bytes) {
        self.last = seq;
        self.count += 1;
        self.bytes += counted(&data);
        self.slots.push_back(Slot { seq, data: Some(data) });
    }

    fn forget(&mut self, data: Option<Bytes>) {
        if let Some(data) = data {
            self.count -= 1;
            self.bytes -= counted(&data);
        }
    }

    fn erase(&mut self, seq: Seq) {
        let index = self.at_or_above(seq);
        if let Some(slot) = self.slots.get_mut(index)
            && slot.seq == seq
        {
            let data = slot.data.take();
            self.forget(data);
        }
    }

    fn trim(&mut self, first: Seq) {
        while self.slots.front().is_some_and(|slot| slot.seq < first) {
            let slot = self.slots.pop_front();
            self.forget(slot.and_then(|slot| slot.data));
        }
        self.last = self.last.max(first.saturating_sub(1));
    }

    fn truncate(&mut self, last: Seq) {
        while self.slots.back().is_some_and(|slot| slot.seq > last) {
            let slot = self.slots.pop_back();
            self.forget(slot.and_then(|slot| slot.data));
        }
        self.last = self.last.min(last);
    }

    /// Restores live slots at both ends, and gives back memory that is mostly holes.
    fn tidy(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.data.is_none()) {
            self.slots.pop_front();
        }
        while self.slots.back().is_some_and(|slot| slot.data.is_none()) {
            self.slots.pop_back();
        }
        let live = usize::try_from(self.count).unwrap_or(usize::MAX);
        let dead = self.slots.len().saturating_sub(live);
        if dead > live.max(SWEEP_MIN) {
            self.slots.retain(|slot| slot.data.is_some());
        }
        if self.slots.capacity() > 4 * self.slots.len().max(SWEEP_MIN) {
            self.slots.shrink_to(2 * self.slots.len());
        }
    }

    /// Takes out up to [`SCAN_STEP`] records of the range, in the direction of the scan.
    fn take(&self, range: &RangeInclusive<Seq>, direction: Direction, into: &mut Vec<(Seq, Bytes)>) {
        let live = |slot: &Slot| slot.data.clone().map(|data| (slot.seq, data));
        let low = self.at_or_above(*range.start());
        let high = match range.end().checked_add(1) {
            Some(end) => self.at_or_above(end),
            None => self.slots.len(),
        };
        if low >= high {
            return;
        }
        match direction {
            Direction::Forward => {
                into.extend(self.slots.range(low..high).filter_map(live).take(SCAN_STEP));
            }
            Direction::Backward => into.extend(self.slots.range(low..high).rev().filter_map(live).take(SCAN_STEP)),
        }
    }
}

fn pack((record, counts): (&Record<'_>, u32)) -> Bytes {
    let mut data = Vec::with_capacity(PREFIX + record.head.len() + record.body.len());
    data.extend_from_slice(&record.time.to_le_bytes());
    data.extend_from_slice(&(record.head.len() as u16).to_le_bytes());
    data.extend_from_slice(&counts.to_le_bytes());
    data.extend_from_slice(record.head);
    data.extend_from_slice(record.body);
    Bytes::from(data)
}

/// The time of a packed record and where its body begins.
fn prefix(data: &[u8]) -> (i64, usize) {
    let mut time = [0; 8];
    time.copy_from_slice(&data[..8]);
    let head = u16::from_le_bytes([data[8], data[9]]);
    (i64::from_le_bytes(time), PREFIX + usize::from(head))
}

/// What the body of a packed record counts for.
fn body_counts(data: &[u8]) -> u32 {
    u32::from_le_bytes([data[10], data[11], data[12], data[13]])
}

/// What a packed record counts for.
fn counted(data: &[u8]) -> u64 {
    let (_, body) = prefix(data);
    (body - PREFIX) as u64 + u64::from(body_counts(data))
}

struct MemoryLog {
    id: LogId,
    shared: Arc<Shared>,
    kv: Arc<MemoryKv>,
}

impl Log for MemoryLog {
    fn write(&mut self, change: &LogChange<'_>) -> Result<()> {
        // Only this log writes, so what is checked here still holds below. Copying happens before the lock.
        rules::check(self.id, self.shared.records.read().last, change)?;
        let packed: Vec<Bytes> = change.records().map(pack).collect();
        let mut records = self.shared.records.write();
        // Both locks, so that no reader sees the records without the keys. No other place holds two.
        let pairs = (!change.kv.is_empty()).then(|| self.kv.pairs.write());
        for (record, data) in change.append.iter().zip(packed) {
            records.append(record.seq, data);
        }
        for seq in change.erase {
            records.erase(*seq);
        }
        if let Some(first) = change.trim {
            records.trim(first);
        }
        records.tidy();
        if let Some(mut pairs) = pairs {
            put(&mut pairs, change.kv);
        }
        Ok(())
    }

    fn truncate(&mut self, last: Seq) -> Result<()> {
        let mut records = self.shared.records.write();
        records.truncate(last);
        records.tidy();
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    fn upkeep(&mut self) -> Result<Option<Box<dyn Upkeep>>> {
        Ok(None)
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(MemoryReader {
            shared: Arc::clone(&self.shared),
        })
    }
}

impl Drop for MemoryLog {
    fn drop(&mut self) {
        self.shared.open.store(false, Ordering::Release);
    }
}

struct MemoryReader {
    shared: Arc<Shared>,
}

impl LogReader for MemoryReader {
    fn extent(&self) -> Extent {
        self.shared.records.read().extent()
    }

    fn get(&self, seq: Seq) -> Result<Option<Entry>> {
        let data = self.shared.records.read().get(seq).cloned();
        Ok(data.map(|data| {
            let (time, body) = prefix(&data);
            Entry {
                seq,
                time,
                head: data.slice(PREFIX..body),
                body: data.slice(body..),
            }
        }))
    }

    fn scan(
        &self,
        mut range: RangeInclusive<Seq>,
        want: Want,
        direction: Direction,
        visit: VisitRecord<'_>,
    ) -> Result<()> {
        let mut taken = Vec::with_capacity(SCAN_STEP);
        while !range.is_empty() {
            self.shared.records.read().take(&range, direction, &mut taken);
            let full = taken.len() == SCAN_STEP;
            let Some((edge, _)) = taken.last() else {
                return Ok(());
            };
            let next = match direction {
                Direction::Forward => edge.checked_add(1).map(|low| low..=*range.end()),
                Direction::Backward => edge.checked_sub(1).map(|high| *range.start()..=high),
            };
            for (seq, data) in taken.drain(..) {
                let (time, body) = prefix(&data);
                let entry = EntryRef {
                    seq,
                    time,
                    head: &data[PREFIX..body],
                    body: match want {
                        Want::Heads => &[],
                        Want::Full => &data[body..],
                    },
                    body_len: body_counts(&data),
                    owner: Some(&data),
                };
                if visit(entry).is_break() {
                    return Ok(());
                }
            }
            match next {
                Some(rest) if full => range = rest,
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}

/// The keys of a memory store.
#[derive(Default)]
struct MemoryKv {
    pairs: RwLock<BTreeMap<Bytes, Bytes>>,
}

fn put(pairs: &mut BTreeMap<Bytes, Bytes>, writes: &[KvWrite]) {
    for (key, value) in writes {
        match value {
            // Copied, so that a short key never holds the large buffer alive that it was cut from.
            Some(value) => pairs.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)),
            None => pairs.remove(key),
        };
    }
}

impl Kv for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.pairs.read().get(key).cloned())
    }

    fn put_all(&self, writes: &[KvWrite]) -> Result<()> {
        put(&mut self.pairs.write(), writes);
        Ok(())
    }

    fn scan(&self, prefix: &[u8], from: Option<&[u8]>, visit: VisitKey<'_>) -> Result<()> {
        let start = from.map_or(prefix, |from| from.max(prefix));
        let mut bound = Bound::Included(Bytes::copy_from_slice(start));
        loop {
            let step: Vec<(Bytes, Bytes)> = self
                .pairs
                .read()
                .range((bound, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix))
                .take(SCAN_STEP)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            for (key, value) in &step {
                if let ControlFlow::Break(()) = visit(key, value) {
                    return Ok(());
                }
            }
            match step.into_iter().nth(SCAN_STEP - 1) {
                Some((key, _)) => bound = Bound::Excluded(key),
                None => return Ok(()),
            }
        }
    }
}
