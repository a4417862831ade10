//! The reader of a log that is encrypted, and how a record is laid out in it.
//!
//! A sealed head is the stamp, then 2 bytes that say how the record is laid out, then the head, then the tag; a sealed body is the body and
//! the tag. A head that is too long for the place of a head is before the body. So each record is longer by the same number of bytes. A
//! body that is compressed is so before it is sealed, its length stands before the head, and the backend below is told what it counts
//! for: as much as if it were not compressed.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use weir_engine::{
    Check, Compression, Direction, Entry, EntryRef, Error, Extent, LogId, LogReader, Lost, NanoTime, Place, Recoded,
    Recoder, Record, Result, Seq, VisitRecord, Want,
};

use super::vault::{BEFORE, LONGER, Part, Stamp, TAG_LEN};
use super::{Purpose, Vault, log_ad};
use crate::codec;

/// Bytes before a head that say how the record is laid out: 0 if it is as it came, or a [codec](codec), or how long a head is that is in
/// the body.
const HEAD_LEN: usize = 2;
/// Bytes before a head that say how long the body is, if that is compressed.
const BODY_LEN: usize = 4;
/// By how much a record is longer.
const RECORD_LONGER: u64 = (LONGER + HEAD_LEN + TAG_LEN) as u64;
/// The longest head that lies where heads do.
const INLINE_MAX: usize = Record::HEAD_MAX - LONGER - HEAD_LEN;
/// The longest of those before a body that is compressed.
const COMPRESSED_MAX: usize = INLINE_MAX - BODY_LEN;
/// The first length of a head that is in the body.
const IN_BODY_MIN: u16 = INLINE_MAX as u16 + 1;
const LZ4: u16 = codec::LZ4 as u16;
const ZSTD: u16 = codec::ZSTD as u16;
/// Records that are remembered as those that do not open.
const SHUT_MAX: usize = 10_000;
/// Why one does not.
const WHY: &str = "it was not encrypted for this place under the store's key";

/// See the module.
pub struct EncryptedReader {
    inner: Arc<dyn LogReader>,
    vault: Arc<Vault>,
    backend: u8,
    id: LogId,
    /// How what is written is compressed.
    compression: Mutex<Compression>,
    /// Records that were met and do not open, though their checksums are right.
    shut: Mutex<BTreeSet<Seq>>,
}

/// What a head's record is sealed for.
fn head_ad(backend: u8, id: LogId, seq: Seq) -> [u8; 18] {
    let mut ad = [0; 18];
    ad[..10].copy_from_slice(&log_ad(Purpose::Head, backend, id));
    ad[10..].copy_from_slice(&seq.to_le_bytes());
    ad
}

/// What a body's is.
fn body_ad(backend: u8, id: LogId, seq: Seq, time: NanoTime) -> [u8; 26] {
    let mut ad = [0; 26];
    ad[..10].copy_from_slice(&log_ad(Purpose::Body, backend, id));
    ad[10..18].copy_from_slice(&seq.to_le_bytes());
    ad[18..].copy_from_slice(&time.to_le_bytes());
    ad
}

/// Opens what is before a body into `out`, if it was sealed for that record of that log.
fn open_first(vault: &Vault, (backend, id, seq): (u8, LogId, Seq), sealed: &[u8], out: &mut Vec<u8>) -> Option<Stamp> {
    let (stamp, rest) = Stamp::read(sealed)?;
    vault.open_into(&stamp, Part::First, &head_ad(backend, id, seq), rest, out)?;
    Some(stamp)
}

/// Whether a head was sealed for that record of that log.
pub fn is_head_of(vault: &Vault, (backend, id, seq): (u8, LogId, Seq), sealed: &[u8]) -> bool {
    open_first(vault, (backend, id, seq), sealed, &mut Vec::new()).is_some()
}

/// A record that was opened: where in the buffer its head and its body are.
struct Opened {
    head: std::ops::Range<usize>,
    body: std::ops::Range<usize>,
}

/// A head that was opened.
#[derive(Clone, Copy)]
enum Head {
    /// It is in the buffer, from here on.
    Here(usize),
    /// Likewise; and the body has that length when it is not compressed by that codec.
    Compressed(usize, u8, u32),
    /// So many bytes of it are before the body.
    InBody(usize),
}

/// A record that was sealed: how long its head and its body are, what the body counts for, and by which codec it is compressed.
pub struct Sealed {
    pub head: usize,
    pub body: usize,
    pub counts: u32,
    codec: u8,
}

/// What a compressed body counts for below: its length stands before the head, which counts as well.
fn counts_for(body_len: u32) -> u32 {
    body_len.saturating_add((TAG_LEN - BODY_LEN) as u32)
}

impl EncryptedReader {
    pub fn new(
        inner: Arc<dyn LogReader>,
        vault: Arc<Vault>,
        (backend, id): (u8, LogId),
        compression: Compression,
    ) -> Self {
        Self {
            inner,
            vault,
            backend,
            id,
            compression: Mutex::new(compression),
            shut: Mutex::default(),
        }
    }

    /// How what is written from now on is compressed.
    pub fn compress_by(&self, compression: Compression) {
        *self.compression.lock() = compression;
    }

    /// How what is written is compressed.
    pub fn compression(&self) -> Compression {
        *self.compression.lock()
    }

    /// Seals a record and adds it to `out`. `scratch` is used for what is compressed.
    pub fn seal(
        &self,
        record: &Record<'_>,
        compression: Compression,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
    ) -> Result<Sealed> {
        let (seq, begin) = (record.seq, out.len());
        let (inline, in_body) = match record.head.len() <= INLINE_MAX {
            true => (record.head, &[][..]),
            false => (&[][..], record.head),
        };
        scratch.clear();
        let codec = match compression != Compression::None && record.head.len() <= COMPRESSED_MAX {
            true => codec::compress(record.body, compression, scratch),
            false => codec::PLAIN,
        };
        // Its length has to be kept as well.
        let is_shorter = codec != codec::PLAIN && scratch.len() + BODY_LEN < record.body.len();
        let (codec, body) = match is_shorter {
            true => (codec, &scratch[..]),
            false => (codec::PLAIN, record.body),
        };
        out.reserve(record.head.len() + body.len() + BODY_LEN + RECORD_LONGER as usize);
        let count = self.vault.next();
        self.vault.begin(count, out);
        if is_shorter {
            out.extend_from_slice(&u16::from(codec).to_le_bytes());
            out.extend_from_slice(&(record.body.len() as u32).to_le_bytes());
        } else {
            // No head is longer than that holds.
            out.extend_from_slice(&(in_body.len() as u16).to_le_bytes());
        }
        out.extend_from_slice(inline);
        let ad = head_ad(self.backend, self.id, seq);
        self.vault.seal_from(count, Part::First, &ad, out, begin + BEFORE)?;
        let middle = out.len();
        out.extend_from_slice(in_body);
        out.extend_from_slice(body);
        let ad = body_ad(self.backend, self.id, seq, record.time);
        self.vault.seal_from(count, Part::Body, &ad, out, middle)?;
        let body = out.len() - middle;
        Ok(Sealed {
            head: middle - begin,
            body,
            counts: match is_shorter {
                true => counts_for(record.body.len() as u32),
                false => body as u32,
            },
            codec,
        })
    }

    /// Opens a head into `out`.
    fn open_head(&self, seq: Seq, sealed: &[u8], out: &mut Vec<u8>) -> Option<(Stamp, Head)> {
        let from = out.len();
        let stamp = open_first(&self.vault, (self.backend, self.id, seq), sealed, out)?;
        let (layout, behind) = out[from..].split_first_chunk()?;
        let head = match u16::from_le_bytes(*layout) {
            0 => Head::Here(from + HEAD_LEN),
            codec @ (LZ4 | ZSTD) => {
                let body_len = u32::from_le_bytes(*behind.first_chunk()?);
                Head::Compressed(from + HEAD_LEN + BODY_LEN, codec as u8, body_len)
            }
            len @ IN_BODY_MIN.. => Head::InBody(len.into()),
            // Of a later version: nothing of it is known.
            _ => return None,
        };
        Some((stamp, head))
    }

    /// Opens a record into `out`.
    fn open(&self, seq: Seq, time: NanoTime, head: &[u8], body: &[u8], out: &mut Vec<u8>) -> Option<Opened> {
        let (stamp, found) = self.open_head(seq, head, out)?;
        let middle = out.len();
        let ad = body_ad(self.backend, self.id, seq, time);
        if let Head::Compressed(from, codec, body_len) = found {
            let mut compressed = Vec::with_capacity(body.len());
            self.vault.open_into(&stamp, Part::Body, &ad, body, &mut compressed)?;
            codec::decompress(codec, &compressed, body_len, out).then_some(())?;
            return Some(Opened {
                head: from..middle,
                body: middle..out.len(),
            });
        }
        self.vault.open_into(&stamp, Part::Body, &ad, body, out)?;
        Some(match found {
            Head::Here(from) | Head::Compressed(from, ..) => Opened {
                head: from..middle,
                body: middle..out.len(),
            },
            Head::InBody(len) => {
                let split = middle.checked_add(len).filter(|split| *split <= out.len())?;
                Opened {
                    head: middle..split,
                    body: split..out.len(),
                }
            }
        })
    }

    /// Opens a whole record; `None` if it does not open, which is noted.
    fn open_full(&self, entry: &EntryRef<'_>) -> Option<(Bytes, Opened)> {
        let mut out = Vec::with_capacity(entry.head.len() + entry.body.len());
        match self.open(entry.seq, entry.time, entry.head, entry.body, &mut out) {
            Some(opened) => Some((out.into(), opened)),
            None => {
                self.note(entry.seq);
                None
            }
        }
    }

    /// Lends a whole record to a visitor.
    fn lend<R>(entry: &EntryRef<'_>, (bytes, opened): &(Bytes, Opened), visit: impl FnOnce(EntryRef<'_>) -> R) -> R {
        let body = &bytes[opened.body.clone()];
        visit(EntryRef {
            seq: entry.seq,
            time: entry.time,
            head: &bytes[opened.head.clone()],
            body,
            // Shorter than what it was sealed to, whose length is one.
            body_len: body.len() as u32,
            owner: Some(bytes),
        })
    }

    fn scan_heads(&self, range: RangeInclusive<Seq>, direction: Direction, visit: VisitRecord<'_>) -> Result<()> {
        let (mut buffer, mut failed) = (Vec::new(), None);
        self.inner.scan(range, Want::Heads, direction, &mut |entry| {
            buffer.clear();
            let (seq, time) = (entry.seq, entry.time);
            let opened = self.open_head(seq, entry.head, &mut buffer);
            let (head, body_len) = match opened {
                Some((_, Head::Here(from))) => (&buffer[from..], (entry.body_len as usize).checked_sub(TAG_LEN)),
                Some((_, Head::Compressed(from, _, len))) => {
                    let is_told = entry.body_len == counts_for(len);
                    (&buffer[from..], is_told.then_some(len as usize))
                }
                Some((_, Head::InBody(_))) => match self.get(seq) {
                    Ok(Some(whole)) => {
                        buffer.clear();
                        buffer.extend_from_slice(&whole.head);
                        (&buffer[..], Some(whole.body.len()))
                    }
                    Ok(None) => return ControlFlow::Continue(()),
                    Err(error) if error.kind == weir_engine::Kind::Damaged => return ControlFlow::Continue(()),
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                },
                None => (&[][..], None),
            };
            match body_len {
                Some(body_len) => visit(EntryRef {
                    seq,
                    time,
                    head,
                    body: &[],
                    body_len: body_len as u32,
                    owner: None,
                }),
                None => {
                    self.note(seq);
                    ControlFlow::Continue(())
                }
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn note(&self, seq: Seq) {
        let mut shut = self.shut.lock();
        if shut.len() < SHUT_MAX && shut.insert(seq) {
            tracing::error!(log = %self.id, seq, "damaged: the record cannot be decrypted: {WHY}");
        }
    }

    /// Records were removed.
    pub fn removed(&self, erased: &[Seq], trim: Option<Seq>) {
        let mut shut = self.shut.lock();
        if !shut.is_empty() {
            for seq in erased {
                shut.remove(seq);
            }
            if let Some(first) = trim {
                *shut = shut.split_off(&first);
            }
        }
    }

    /// The log ends here.
    pub fn truncated(&self, last: Seq) {
        self.shut.lock().retain(|seq| *seq <= last);
    }

    fn shut(&self, range: RangeInclusive<Seq>) -> Vec<Seq> {
        match range.is_empty() {
            true => Vec::new(),
            false => self.shut.lock().range(range).copied().collect(),
        }
    }
}

impl LogReader for EncryptedReader {
    fn extent(&self) -> Extent {
        let extent = self.inner.extent();
        Extent {
            bytes: extent.bytes.saturating_sub(extent.count * RECORD_LONGER),
            damaged: extent.damaged + self.shut.lock().len() as u64,
            ..extent
        }
    }

    fn lost(&self) -> Vec<Lost> {
        let mut lost = self.inner.lost();
        for lost in &mut lost {
            lost.head = lost.head.take().and_then(|sealed| {
                let mut out = Vec::new();
                match self.open_head(lost.first, &sealed, &mut out)? {
                    (_, Head::Here(from) | Head::Compressed(from, ..)) => Some(Bytes::from(out).slice(from..)),
                    (_, Head::InBody(_)) => None,
                }
            });
        }
        lost.extend(self.shut(0..=Seq::MAX).into_iter().map(|seq| Lost {
            first: seq,
            last: seq,
            bytes: 0,
            why: WHY,
            head: None,
        }));
        lost.sort_by_key(|lost| lost.first);
        lost
    }

    fn get(&self, seq: Seq) -> Result<Option<Entry>> {
        let Some(entry) = self.inner.get(seq)? else {
            return Ok(None);
        };
        let sealed = EntryRef {
            seq,
            time: entry.time,
            head: &entry.head,
            body: &entry.body,
            body_len: entry.body.len() as u32,
            owner: None,
        };
        match self.open_full(&sealed) {
            Some((bytes, opened)) => Ok(Some(Entry {
                seq,
                time: entry.time,
                head: bytes.slice(opened.head),
                body: bytes.slice(opened.body),
            })),
            None => Err(Error::damaged(format!(
                "record {seq} of log {} cannot be decrypted: {WHY}",
                self.id
            ))),
        }
    }

    fn at_hand(&self, range: RangeInclusive<Seq>) -> Option<Seq> {
        self.inner.at_hand(range)
    }

    fn fetch(&self, range: RangeInclusive<Seq>) {
        self.inner.fetch(range);
    }

    fn let_go(&self) {
        self.inner.let_go();
    }

    fn scan(&self, range: RangeInclusive<Seq>, want: Want, direction: Direction, visit: VisitRecord<'_>) -> Result<()> {
        if want == Want::Heads {
            return self.scan_heads(range, direction, visit);
        }
        self.inner
            .scan(range, want, direction, &mut |entry| match self.open_full(&entry) {
                Some(opened) => Self::lend(&entry, &opened, &mut *visit),
                None => ControlFlow::Continue(()),
            })
    }

    fn live(&self, range: RangeInclusive<Seq>, visit: &mut dyn FnMut(Seq, Seq)) -> Result<()> {
        self.inner.live(range, visit)
    }

    fn check(&self, check: &mut dyn Check) -> Result<()> {
        self.inner.check(&mut Opening { reader: self, check })
    }

    fn check_part(&self, from: Seq, bytes: u64, check: &mut dyn Check) -> Result<Option<Seq>> {
        self.inner.check_part(from, bytes, &mut Opening { reader: self, check })
    }

    fn check_bytes(&self) -> u64 {
        self.inner.check_bytes()
    }

    fn damaged(&self, range: RangeInclusive<Seq>) -> Vec<(Seq, Seq)> {
        let mut damaged = self.inner.damaged(range.clone());
        damaged.extend(self.shut(range).into_iter().map(|seq| (seq, seq)));
        damaged.sort_unstable();
        damaged
    }
}

/// A record is sealed anew where it is compressed otherwise than those that are written.
impl Recoder for EncryptedReader {
    fn recode(&self, stored: &Record<'_>) -> Result<Option<Recoded>> {
        let compression = self.compression();
        let mut out = Vec::with_capacity(stored.head.len() + stored.body.len());
        let before = match self.open_head(stored.seq, stored.head, &mut out) {
            Some((_, Head::Here(_))) => codec::PLAIN,
            Some((_, Head::Compressed(_, codec, _))) => codec,
            Some((_, Head::InBody(_))) | None => return Ok(None),
        };
        // Of Zstandard nothing tells the level.
        if matches!(
            (before, compression),
            (codec::PLAIN, Compression::None) | (codec::LZ4, Compression::Lz4)
        ) {
            return Ok(None);
        }
        out.clear();
        let Some(opened) = self.open(stored.seq, stored.time, stored.head, stored.body, &mut out) else {
            return Ok(None);
        };
        let record = Record {
            head: &out[opened.head],
            body: &out[opened.body],
            ..*stored
        };
        let (mut anew, mut scratch) = (Vec::new(), Vec::new());
        let sealed = self.seal(&record, compression, &mut anew, &mut scratch)?;
        let body = anew.split_off(sealed.head);
        Ok(
            ((before, sealed.codec) != (codec::PLAIN, codec::PLAIN)).then_some(Recoded {
                head: anew,
                body,
                counts: sealed.counts,
            }),
        )
    }
}

/// A check that opens each record before it is handed on: whole, whatever is wanted, for only so its tags are checked.
struct Opening<'a> {
    reader: &'a EncryptedReader,
    check: &'a mut dyn Check,
}

impl Check for Opening<'_> {
    fn record(&mut self, entry: EntryRef<'_>) -> ControlFlow<()> {
        match self.reader.open_full(&entry) {
            Some(opened) => EncryptedReader::lend(&entry, &opened, |entry| self.check.record(entry)),
            // What is missing among the records is damaged.
            None => ControlFlow::Continue(()),
        }
    }

    fn place(&mut self, place: Place) {
        self.check.place(place);
    }

    fn read(&mut self, bytes: u64) {
        self.check.read(bytes);
    }

    fn read_again(&mut self, bytes: u64) {
        self.check.read_again(bytes);
    }

    fn goes_on(&self) -> bool {
        self.check.goes_on()
    }
}
