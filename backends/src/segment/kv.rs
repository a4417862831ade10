//! The key-value space: one file of checksummed batches, and all of it in memory.
//!
//! When more than half of the file is out of date, the live pairs are written to a new file, which then takes the
//! old one's place.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use weir_engine::{Error, Kind, Kv, KvWrite, Result, VisitKey};

use super::files::Mode;
use super::format::{ALIGN, VERSION, align, u16_at, u32_at, u64_at};
use super::handle::{Handle, Handles};
use super::state::Doing;

/// What a file begins with.
const FILE_MAGIC: [u8; 8] = *b"WeirKv1\n";
/// Bytes of the file header.
const FILE_HEADER: usize = 32;
/// What a batch begins with.
const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"WKvB");
/// Bytes of a batch before its payload.
const BATCH_HEADER: usize = 40;
/// Says "deleted" where the length of a value would be.
const DELETED: u32 = u32::MAX;
/// The longest key or value, in bytes.
const PART_MAX: usize = 256 << 20;
/// The longest batch, in bytes.
const BATCH_MAX: usize = 1 << 30;
/// Below this size, in bytes, a file is not rewritten.
const REWRITE_MIN: u64 = 1 << 20;
/// Pairs that a scan takes at once, so that the lock is not held while they are visited.
const SCAN_BATCH: usize = 256;

/// The file and how far it is written.
struct Tail {
    handle: Arc<Handle>,
    generation: u64,
    pos: u64,
    /// The last batch's number.
    number: u64,
    durable: u64,
    dirty: bool,
    dir_dirty: bool,
    /// About how many bytes of the file are still needed.
    live: u64,
    buf: Vec<u8>,
    poison: Option<String>,
    /// Files with damage in them are never replaced.
    keep: bool,
}

/// The key-value space of a segment backend.
pub struct SegmentKv {
    dir: PathBuf,
    handles: Arc<Handles>,
    pairs: RwLock<BTreeMap<Bytes, Bytes>>,
    tail: Mutex<Option<Tail>>,
    /// Held for the length of a sync.
    syncing: Mutex<()>,
    damage: Vec<String>,
}

fn pair_bytes(key: &[u8], value: &[u8]) -> u64 {
    (8 + key.len() + value.len()) as u64
}

fn file_name(generation: u64) -> String {
    format!("{generation:016x}.kv")
}

fn seed(generation: u64, at: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&generation.to_le_bytes()), &at.to_le_bytes())
}

fn file_header(generation: u64) -> [u8; FILE_HEADER] {
    let mut raw = [0; FILE_HEADER];
    raw[..8].copy_from_slice(&FILE_MAGIC);
    raw[8..10].copy_from_slice(&VERSION.to_le_bytes());
    raw[16..24].copy_from_slice(&generation.to_le_bytes());
    let crc = crc32c::crc32c(&raw[..28]);
    raw[28..].copy_from_slice(&crc.to_le_bytes());
    raw
}

/// Adds one batch to `buf`, which will lie at offset `at` of the file.
fn encode<'a>(
    buf: &mut Vec<u8>,
    generation: u64,
    at: u64,
    number: u64,
    durable: u64,
    writes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) {
    let start = buf.len();
    buf.resize(start + BATCH_HEADER, 0);
    let mut count = 0u32;
    for (key, value) in writes {
        count += 1;
        buf.extend_from_slice(&(key.len() as u32).to_le_bytes());
        buf.extend_from_slice(&value.map_or(DELETED, |v| v.len() as u32).to_le_bytes());
        buf.extend_from_slice(key);
        buf.extend_from_slice(value.unwrap_or_default());
    }
    let len = (buf.len() - start - BATCH_HEADER) as u32;
    let body_crc = crc32c::crc32c(&buf[start + BATCH_HEADER..]);
    let h = &mut buf[start..start + BATCH_HEADER];
    h[..4].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
    h[8..12].copy_from_slice(&len.to_le_bytes());
    h[12..16].copy_from_slice(&count.to_le_bytes());
    h[16..24].copy_from_slice(&number.to_le_bytes());
    h[24..32].copy_from_slice(&durable.to_le_bytes());
    h[32..36].copy_from_slice(&body_crc.to_le_bytes());
    let crc = crc32c::crc32c_append(seed(generation, at), &h[8..]);
    h[4..8].copy_from_slice(&crc.to_le_bytes());
    let end = align(buf.len() as u64) as usize;
    buf.resize(end, 0);
}

struct Batch<'a> {
    at: u64,
    end: u64,
    number: u64,
    durable: u64,
    /// `None` if it fails its checksum.
    payload: Option<&'a [u8]>,
}

/// The batches whose headers verify, and what lies between them.
fn batches(data: &[u8], generation: u64) -> Vec<Batch<'_>> {
    let mut found = Vec::new();
    let mut at = FILE_HEADER;
    while at + BATCH_HEADER <= data.len() {
        let h = &data[at..at + BATCH_HEADER];
        let len = u32_at(h, 8) as usize;
        let good =
            u32_at(h, 0) == BATCH_MAGIC && crc32c::crc32c_append(seed(generation, at as u64), &h[8..]) == u32_at(h, 4);
        if !good {
            at += ALIGN as usize;
            continue;
        }
        let payload = data
            .get(at + BATCH_HEADER..at + BATCH_HEADER + len)
            .filter(|p| crc32c::crc32c(p) == u32_at(h, 32));
        // The header verifies, so its length is right, unless the file ends before it.
        let end = align((at + BATCH_HEADER + len) as u64) as usize;
        let next = if payload.is_some() || end <= data.len() {
            end
        } else {
            at + BATCH_HEADER
        };
        found.push(Batch {
            at: at as u64,
            end: next as u64,
            number: u64_at(h, 16),
            durable: u64_at(h, 24),
            payload,
        });
        at = next;
    }
    found
}

fn apply(pairs: &mut BTreeMap<Bytes, Bytes>, live: &mut u64, key: &[u8], value: Option<&[u8]>) {
    let old = match value {
        Some(value) => {
            *live += pair_bytes(key, value);
            // Copies: a caller's slice may belong to something much larger.
            pairs.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value))
        }
        None => pairs.remove(key),
    };
    if let Some(old) = old {
        *live = live.saturating_sub(pair_bytes(key, &old));
    }
}

fn apply_payload(pairs: &mut BTreeMap<Bytes, Bytes>, live: &mut u64, mut payload: &[u8]) -> Option<()> {
    while !payload.is_empty() {
        let key_len = u32_at(payload.get(..8)?, 0) as usize;
        let value_len = u32_at(payload, 4);
        payload = &payload[8..];
        let key = payload.get(..key_len)?;
        payload = &payload[key_len..];
        let value = match value_len {
            DELETED => None,
            len => {
                let value = payload.get(..len as usize)?;
                payload = &payload[len as usize..];
                Some(value)
            }
        };
        apply(pairs, live, key, value);
    }
    Some(())
}

impl SegmentKv {
    /// Opens the space in a directory, which exists unless only reading.
    pub fn open(dir: &Path, handles: Arc<Handles>) -> Result<Self> {
        let read_only = handles.read_only;
        let mut kv = Self {
            dir: dir.to_path_buf(),
            handles,
            pairs: RwLock::default(),
            tail: Mutex::new(None),
            syncing: Mutex::default(),
            damage: Vec::new(),
        };
        if read_only && !kv.handles.files.is_dir(dir) {
            return Ok(kv);
        }
        let mut generations = Vec::new();
        for path in kv.handles.files.list(dir).doing("listing", dir)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let number = name.strip_suffix(".kv").unwrap_or_default();
            match u64::from_str_radix(number, 16) {
                Ok(generation) if file_name(generation) == name => generations.push(generation),
                _ if name.ends_with(".kv.tmp") && !read_only => {
                    kv.handles.files.remove(&path).doing("removing", &path)?;
                }
                _ => {}
            }
        }
        generations.sort_unstable();
        if let Some(generation) = generations.pop() {
            kv.load(generation)?;
            if !read_only {
                // A new file got its name only when it was whole.
                for old in generations {
                    let path = dir.join(file_name(old));
                    kv.handles.files.remove(&path).doing("removing", &path)?;
                }
            }
        }
        Ok(kv)
    }

    /// What opening found, one line each.
    pub fn damage(&self) -> Vec<String> {
        self.damage.clone()
    }

    fn load(&mut self, generation: u64) -> Result<()> {
        let path = self.dir.join(file_name(generation));
        let data = self.handles.files.read(&path).doing("reading", &path)?;
        let header = file_header(generation);
        if data.get(..FILE_HEADER) != Some(&header[..]) {
            let ours = data.get(..8) == Some(&FILE_MAGIC[..]);
            if ours
                && data.len() >= FILE_HEADER
                && u16_at(&data, 8) > VERSION
                && crc32c::crc32c(&data[..28]) == u32_at(&data, 28)
            {
                return Err(Error::unsupported(format!(
                    "{} has a newer format version; use a newer program. Nothing was changed",
                    path.display()
                )));
            }
            if !data.is_empty() {
                self.damage
                    .push(format!("{}: the file header is damaged", path.display()));
            }
        }
        let found = batches(&data, generation);
        let mark = found.iter().map(|b| b.durable).max().unwrap_or(0);
        let mut pairs = BTreeMap::new();
        let (mut number, mut live, mut end) = (0, 0, FILE_HEADER as u64);
        let mut keep = false;
        for batch in &found {
            // As for logs: broken above the mark is torn, at or below it damaged.
            let broken = batch.payload.is_none() || batch.number != number + 1 || batch.at != end;
            if broken && number + 1 > mark {
                break;
            }
            if broken {
                keep = true;
                self.damage.push(format!(
                    "{}: offset {end} to {} is damaged; writes {} to {} are lost",
                    path.display(),
                    batch.end,
                    number + 1,
                    batch.number
                ));
            }
            if batch.number <= number {
                continue;
            }
            if let Some(payload) = batch.payload
                && apply_payload(&mut pairs, &mut live, payload).is_none()
            {
                self.damage
                    .push(format!("{}: offset {} makes no sense", path.display(), batch.at));
            }
            number = batch.number;
            end = batch.end;
        }
        let torn = data
            .iter()
            .skip(end as usize)
            .rposition(|byte| *byte != 0)
            .map(|last| end + last as u64 + 1);
        for line in &self.damage {
            tracing::error!("{line}");
        }
        self.pairs = RwLock::new(pairs);
        if self.handles.read_only {
            return Ok(());
        }
        let handle = Handle::new(&self.handles, path.clone(), 0);
        if (data.len() as u64) < FILE_HEADER as u64 {
            handle.write_at(&header, 0).doing("writing", &path)?;
        }
        if let Some(until) = torn {
            tracing::warn!(
                file = %path.display(),
                bytes = until - end,
                "cutting an unfinished write off"
            );
            handle
                .write_at(&vec![0; (until - end) as usize], end)
                .doing("cutting an unfinished write off", &path)?;
        }
        if number > mark && data.len() as u64 >= end {
            // As for logs: what an earlier process could not sync is written again.
            handle
                .write_at(&data[..end as usize], 0)
                .doing("writing again", &path)?;
        }
        self.tail = Mutex::new(Some(Tail {
            handle,
            generation,
            pos: end,
            number,
            durable: mark.min(number),
            dirty: true,
            dir_dirty: true,
            live,
            buf: Vec::new(),
            poison: None,
            keep,
        }));
        Ok(())
    }

    fn create(&self) -> Result<Tail> {
        let generation = 1;
        let path = self.dir.join(file_name(generation));
        let handle = Handle::new(&self.handles, path.clone(), 0);
        let file = self.handles.files.open(&path, Mode::Create).doing("making", &path)?;
        self.handles
            .files
            .write_at(&file, &path, &file_header(generation), 0)
            .doing("writing", &path)?;
        handle.adopt(file);
        Ok(Tail {
            handle,
            generation,
            pos: FILE_HEADER as u64,
            number: 0,
            durable: 0,
            dirty: true,
            dir_dirty: true,
            live: 0,
            buf: Vec::new(),
            poison: None,
            keep: false,
        })
    }

    fn write(&self, tail: &mut Tail, writes: &[KvWrite]) -> Result<()> {
        if tail.buf.capacity() > (1 << 20) {
            tail.buf = Vec::new();
        }
        tail.buf.clear();
        encode(
            &mut tail.buf,
            tail.generation,
            tail.pos,
            tail.number + 1,
            tail.durable,
            writes.iter().map(|(k, v)| (&k[..], v.as_deref())),
        );
        tail.handle
            .write_at(&tail.buf, tail.pos)
            .doing("writing", &tail.handle.path)?;
        tail.pos += tail.buf.len() as u64;
        tail.number += 1;
        tail.dirty = true;
        {
            let mut pairs = self.pairs.write();
            for (key, value) in writes {
                apply(&mut pairs, &mut tail.live, key, value.as_deref());
            }
        }
        if tail.pos > REWRITE_MIN && tail.pos > 2 * tail.live && !tail.keep {
            self.rewrite(tail)?;
        }
        Ok(())
    }

    /// Writes the live pairs to a new file, which takes the place of the old one.
    fn rewrite(&self, tail: &mut Tail) -> Result<()> {
        let generation = tail.generation + 1;
        let path = self.dir.join(file_name(generation));
        let temporary = path.with_extension("kv.tmp");
        let files = &self.handles.files;
        let file = files.open(&temporary, Mode::Create).doing("making", &temporary)?;
        let mut buf = file_header(generation).to_vec();
        let mut pos = 0;
        let mut number = 0;
        {
            // Only this thread changes the pairs: it holds the tail.
            let pairs = self.pairs.read();
            let mut pairs = pairs.iter().peekable();
            while pairs.peek().is_some() {
                let mut size = 0;
                let chunk = std::iter::from_fn(|| {
                    if size > REWRITE_MIN {
                        return None;
                    }
                    let (key, value) = pairs.next()?;
                    size += pair_bytes(key, value);
                    Some((&key[..], Some(&value[..])))
                });
                number += 1;
                let at = pos + buf.len() as u64;
                // All of it is durable before it counts.
                encode(&mut buf, generation, at, number, number, chunk);
                files
                    .write_at(&file, &temporary, &buf, pos)
                    .doing("writing", &temporary)?;
                pos += buf.len() as u64;
                buf.clear();
            }
        }
        files
            .write_at(&file, &temporary, &buf, pos)
            .doing("writing", &temporary)?;
        pos += buf.len() as u64;
        files.sync(&file, &temporary).doing("syncing", &temporary)?;
        files.rename(&temporary, &path).doing("renaming", &temporary)?;
        files.sync_dir(&self.dir).doing("syncing", &self.dir)?;
        let old = std::mem::replace(&mut tail.handle, Handle::new(&self.handles, path, 0));
        old.close();
        tail.handle.adopt(file);
        tail.generation = generation;
        tail.pos = pos;
        tail.number = number;
        tail.durable = number;
        tail.dirty = false;
        tail.dir_dirty = true;
        files.remove(&old.path).doing("removing", &old.path)
    }

    /// Makes everything written before the call durable.
    pub fn sync(&self) -> Result<()> {
        let _syncing = self.syncing.lock();
        let (handle, generation, number, dir) = {
            let mut tail = self.tail.lock();
            let Some(tail) = tail.as_mut() else {
                return Ok(());
            };
            if let Some(why) = &tail.poison {
                return Err(poisoned(why));
            }
            if !tail.dirty && !tail.dir_dirty {
                return Ok(());
            }
            tail.dirty = false;
            let dir = std::mem::take(&mut tail.dir_dirty);
            (tail.handle.clone(), tail.generation, tail.number, dir)
        };
        let result = match handle.sync() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Replaced meanwhile by a rewrite, which is durable.
                Ok(())
            }
            other => other.doing("syncing", &handle.path),
        };
        let result = match (result, dir) {
            (Ok(()), true) => self.handles.files.sync_dir(&self.dir).doing("syncing", &self.dir),
            (result, _) => result,
        };
        if let Some(tail) = self.tail.lock().as_mut() {
            match &result {
                Ok(()) if tail.generation == generation => {
                    tail.durable = tail.durable.max(number);
                }
                Ok(()) => {}
                Err(error) => tail.poison = Some(error.message.clone()),
            }
        }
        result
    }
}

fn poisoned(why: &str) -> Error {
    Error::new(
        Kind::Poisoned,
        format!("key-value space: an earlier write or sync failed: {why}"),
    )
}

impl Kv for SegmentKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.pairs.read().get(key).cloned())
    }

    fn put_all(&self, writes: &[KvWrite]) -> Result<()> {
        if self.handles.read_only {
            return Err(Error::unsupported("this store is open for reading only"));
        }
        let mut total = 0;
        for (key, value) in writes {
            let value = value.as_ref().map_or(0, Bytes::len);
            if key.len() > PART_MAX || value > PART_MAX {
                return Err(Error::invalid(format!(
                    "a key of {} and a value of {value} bytes; at most {PART_MAX} each",
                    key.len()
                )));
            }
            total += 8 + key.len() + value;
        }
        if total > BATCH_MAX {
            return Err(Error::invalid(format!(
                "{total} bytes in one step; at most {BATCH_MAX}"
            )));
        }
        if writes.is_empty() {
            return Ok(());
        }
        let mut slot = self.tail.lock();
        if slot.is_none() {
            *slot = Some(self.create()?);
        }
        let Some(tail) = slot.as_mut() else {
            return Ok(());
        };
        if let Some(why) = &tail.poison {
            return Err(poisoned(why));
        }
        let result = self.write(tail, writes);
        if let Err(error) = &result {
            tail.poison = Some(error.message.clone());
        }
        result
    }

    fn scan(&self, prefix: &[u8], from: Option<&[u8]>, visit: VisitKey<'_>) -> Result<()> {
        let start = from.filter(|from| *from > prefix).unwrap_or(prefix);
        let mut bound = Bound::Included(Bytes::copy_from_slice(start));
        loop {
            let taken: Vec<(Bytes, Bytes)> = self
                .pairs
                .read()
                .range((bound, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix))
                .take(SCAN_BATCH)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            for (key, value) in &taken {
                if let ControlFlow::Break(()) = visit(key, value) {
                    return Ok(());
                }
            }
            match taken.last() {
                Some((key, _)) if taken.len() == SCAN_BATCH => {
                    bound = Bound::Excluded(key.clone());
                }
                _ => return Ok(()),
            }
        }
    }
}
