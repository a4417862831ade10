//! The reader of a log that is encrypted, and how a record is laid out in it.
//!
//! A sealed head is the stamp, then the length of the head where that is in the body (2 bytes, else 0), then the head, then the tag; a sealed
//! body is the body, behind the head where that is too long for the place of a head, and the tag. So each record is longer by the same
//! number of bytes.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use weir_engine::{
    Check, Direction, Entry, EntryRef, Error, Extent, LogId, LogReader, Lost, NanoTime, Place, Record, Result, Seq,
    VisitRecord, Want,
};

use super::vault::{BEFORE, LONGER, Part, Stamp, TAG_LEN};
use super::{Purpose, Vault, log_ad};

/// Bytes before a head that say whether it is in the body.
const HEAD_LEN: usize = 2;
/// By how much a record is longer.
const RECORD_LONGER: u64 = (LONGER + HEAD_LEN + TAG_LEN) as u64;
/// The longest head that lies where heads do.
const INLINE_MAX: usize = Record::HEAD_MAX - LONGER - HEAD_LEN;
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

/// A record that was opened: where in the buffer its head and its body are.
struct Opened {
    head: std::ops::Range<usize>,
    body: std::ops::Range<usize>,
}

/// A head that was opened.
enum Head {
    /// It is in the buffer, from here on.
    Here(usize),
    /// So many bytes of it are before the body.
    InBody(usize),
}

impl EncryptedReader {
    pub fn new(inner: Arc<dyn LogReader>, vault: Arc<Vault>, backend: u8, id: LogId) -> Self {
        Self {
            inner,
            vault,
            backend,
            id,
            shut: Mutex::default(),
        }
    }

    /// Seals a record and adds it to `out`; answers how long its head and its body are there.
    pub fn seal(&self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(usize, usize)> {
        let (seq, begin) = (record.seq, out.len());
        let (inline, in_body) = match record.head.len() <= INLINE_MAX {
            true => (record.head, &[][..]),
            false => (&[][..], record.head),
        };
        out.reserve(record.head.len() + record.body.len() + RECORD_LONGER as usize);
        let count = self.vault.next();
        self.vault.begin(count, out);
        // No head is longer than that holds.
        out.extend_from_slice(&(in_body.len() as u16).to_le_bytes());
        out.extend_from_slice(inline);
        let ad = head_ad(self.backend, self.id, seq);
        self.vault.seal_from(count, Part::First, &ad, out, begin + BEFORE)?;
        let middle = out.len();
        out.extend_from_slice(in_body);
        out.extend_from_slice(record.body);
        let ad = body_ad(self.backend, self.id, seq, record.time);
        self.vault.seal_from(count, Part::Body, &ad, out, middle)?;
        Ok((middle - begin, out.len() - middle))
    }

    /// Opens a head into `out`.
    fn open_head(&self, seq: Seq, sealed: &[u8], out: &mut Vec<u8>) -> Option<(Stamp, Head)> {
        let (stamp, rest) = Stamp::read(sealed)?;
        let from = out.len();
        let ad = head_ad(self.backend, self.id, seq);
        self.vault.open_into(&stamp, Part::First, &ad, rest, out)?;
        let len = out
            .get(from..from + HEAD_LEN)?
            .try_into()
            .map(u16::from_le_bytes)
            .ok()?;
        let head = match len {
            0 => Head::Here(from + HEAD_LEN),
            len => Head::InBody(len.into()),
        };
        Some((stamp, head))
    }

    /// Opens a record into `out`.
    fn open(&self, seq: Seq, time: NanoTime, head: &[u8], body: &[u8], out: &mut Vec<u8>) -> Option<Opened> {
        let (stamp, found) = self.open_head(seq, head, out)?;
        let middle = out.len();
        let ad = body_ad(self.backend, self.id, seq, time);
        self.vault.open_into(&stamp, Part::Body, &ad, body, out)?;
        Some(match found {
            Head::Here(from) => Opened {
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
                    (_, Head::Here(from)) => Some(Bytes::from(out).slice(from..)),
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
