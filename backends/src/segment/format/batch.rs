//! Batches: the frames that are written together.

use weir_engine::{Compression, Record, Seq};

use super::crc;
use super::erase::{EraseRun, encode_runs};
use super::frame::{COUNTED, Frame, Kind};
use super::{ALIGN, BEGIN_LEN, FRAME_LEN, NUMBER_MAX, align, u64_at};
use crate::codec;

/// What a `Begin` frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The batch's number; one more than the one before.
    pub number: u64,
    /// The highest batch known to be durable when this one was written.
    pub durable: u64,
    /// Bytes of the frames that follow and belong to the batch.
    pub len: u64,
    /// The log's last sequence once the batch is carried out.
    pub last: Seq,
    /// How many live records the log has once the batch is carried out, if that is stated: a log that has fewer has
    /// lost some, and one that has more has lost removals.
    pub count: Option<u64>,
}

impl Begin {
    /// Reads it from a frame of that kind and its bytes; `None` if it makes no sense.
    pub fn of(frame: &Frame, raw: &[u8]) -> Option<Self> {
        let head = frame.head(raw);
        let begin = (frame.kind == Kind::Begin && head.len() == 16).then(|| Self {
            number: frame.seq,
            durable: u64::from_le_bytes(frame.time.to_le_bytes()),
            len: u64::from(frame.body_len) * ALIGN,
            last: u64_at(head, 0),
            count: u64_at(head, 8).checked_sub(1),
        });
        begin.filter(|begin| {
            (1..=NUMBER_MAX).contains(&begin.number) && begin.durable <= NUMBER_MAX && begin.last < Seq::MAX
        })
    }
}

/// Builds one batch for one place in one file. The buffer is kept from batch to batch.
pub struct Encoder {
    buf: Vec<u8>,
    /// Bytes of bodies that lie elsewhere and are written between those of `buf`.
    beside: u64,
    seed: u32,
    at: u64,
}

impl Encoder {
    /// Begins with an empty buffer.
    pub fn new() -> Self {
        Self {
            buf: Vec::new(),
            beside: 0,
            seed: 0,
            at: 0,
        }
    }

    /// Begins a batch that will lie at offset `at` of the file with that seed, leaving room for its `Begin` frame.
    pub fn begin(&mut self, seed: u32, at: u64) {
        // One huge batch must not pin its memory for ever.
        if self.buf.capacity() > (8 << 20) {
            self.buf = Vec::new();
        }
        self.buf.clear();
        self.buf.resize(BEGIN_LEN, 0);
        self.beside = 0;
        self.seed = seed;
        self.at = at;
    }

    /// The offset in the file of the next frame.
    pub fn position(&self) -> u64 {
        self.at + self.len()
    }

    /// Bytes of the batch so far.
    fn len(&self) -> u64 {
        self.buf.len() as u64 + self.beside
    }

    fn open(&mut self, head: &[u8]) -> (usize, u64) {
        let (start, at) = (self.buf.len(), self.position());
        self.buf.extend_from_slice(&[0; FRAME_LEN]);
        self.buf.extend_from_slice(head);
        (start, at)
    }

    fn pad(&mut self) {
        let padding = (align(self.len()) - self.len()) as usize;
        self.buf.extend_from_slice(&[0; ALIGN as usize][..padding]);
    }

    /// Adds a record; its head and body are within the limits of [`Record`]. What counts for another number of bytes than it has is not
    /// compressed: that was done by whoever says so.
    pub fn record(&mut self, record: &Record<'_>, counts: u32, compression: Compression) {
        let (start, at) = self.open(record.head);
        let body_at = self.buf.len();
        let codec = match counts as usize == record.body.len() {
            true => codec::compress(record.body, compression, &mut self.buf),
            false => {
                self.buf.extend_from_slice(record.body);
                COUNTED
            }
        };
        let stored = &self.buf[body_at..];
        let frame = Frame {
            kind: Kind::Record,
            codec,
            head_len: record.head.len() as u16,
            stored_len: stored.len() as u32,
            seq: record.seq,
            time: record.time,
            body_len: counts,
            body_crc: crc::crc32c(stored),
        };
        frame.seal(&mut self.buf, start, self.seed, at);
        self.pad();
    }

    /// Adds a record, but for its body, which stays as it is and where it is; answers the place in the batch's bytes at which the body is
    /// to be written.
    pub fn record_beside(&mut self, record: &Record<'_>, counts: u32) -> usize {
        let (start, at) = self.open(record.head);
        let body_at = self.buf.len();
        let frame = Frame {
            kind: Kind::Record,
            codec: match counts as usize == record.body.len() {
                true => codec::PLAIN,
                false => COUNTED,
            },
            head_len: record.head.len() as u16,
            stored_len: record.body.len() as u32,
            seq: record.seq,
            time: record.time,
            body_len: counts,
            body_crc: crc::crc32c(record.body),
        };
        frame.seal(&mut self.buf, start, self.seed, at);
        self.beside += record.body.len() as u64;
        self.pad();
        body_at
    }

    /// Adds a record whose body is stored already: for a rewrite.
    pub fn copy(&mut self, frame: &Frame, raw: &[u8]) {
        let (start, at) = self.open(frame.head(raw));
        self.buf.extend_from_slice(frame.stored(raw));
        frame.seal(&mut self.buf, start, self.seed, at);
        self.pad();
    }

    fn control(&mut self, kind: Kind, codec: u8, seq: u64, body: &[u8]) {
        // Twice: a flipped bit in one of them must not bring erased records back.
        for _ in 0..2 {
            let (start, at) = self.open(&[]);
            self.buf.extend_from_slice(body);
            let frame = Frame {
                kind,
                codec,
                head_len: 0,
                stored_len: body.len() as u32,
                seq,
                time: 0,
                body_len: body.len() as u32,
                body_crc: crc::crc32c(body),
            };
            frame.seal(&mut self.buf, start, self.seed, at);
            self.pad();
        }
    }

    /// Adds an erasure of the runs.
    pub fn erase(&mut self, runs: &[EraseRun], overwrite: bool) {
        let mut body = Vec::with_capacity(2 + runs.len() * 6);
        encode_runs(runs, &mut body);
        self.control(Kind::Erase, u8::from(overwrite), runs.len() as u64, &body);
    }

    /// Adds a trim.
    pub fn trim(&mut self, first: Seq) {
        self.control(Kind::Trim, 0, first, &[]);
    }

    /// Completes the batch and lends its bytes, without the bodies that lie beside them. `number`, `durable`, `last` and `count` as in [`Begin`].
    pub fn finish(&mut self, number: u64, durable: u64, last: Seq, count: Option<u64>) -> &[u8] {
        let len = self.len() - BEGIN_LEN as u64;
        // A log has fewer records than there are sequences.
        let count = count.map_or(0, |count| count + 1);
        self.buf[FRAME_LEN..FRAME_LEN + 8].copy_from_slice(&last.to_le_bytes());
        self.buf[FRAME_LEN + 8..FRAME_LEN + 16].copy_from_slice(&count.to_le_bytes());
        let frame = Frame {
            kind: Kind::Begin,
            codec: 0,
            head_len: 16,
            stored_len: 0,
            seq: number,
            time: i64::from_le_bytes(durable.to_le_bytes()),
            body_len: (len / ALIGN) as u32,
            body_crc: 0,
        };
        frame.seal(&mut self.buf, 0, self.seed, self.at);
        &self.buf
    }
}

/// An upper bound, in bytes, of the batch that these make.
pub fn batch_bound(records: &[Record<'_>], erase: usize) -> u64 {
    let frames: u64 = records
        .iter()
        .map(|r| align((FRAME_LEN + r.head.len() + r.body.len()) as u64))
        .sum();
    let erase = match erase {
        0 => 0,
        // Three integers of at most ten bytes for each run, in two copies.
        n => 2 * align(FRAME_LEN as u64 + 10 + 30 * n as u64),
    };
    BEGIN_LEN as u64 + frames + erase + 2 * FRAME_LEN as u64
}
