//! The bytes of a segment file: its header, and the frames that follow. Drawn in `docs/format.md`.
//!
//! Nothing here does input or output. Every checksum is CRC-32C; a frame's begins with the log's id, the segment's
//! id and generation and the frame's own offset, so a frame that lands in the wrong place, or is left over from an
//! earlier life of a recycled file, is not taken for one.

use bytes::Bytes;
use weir_engine::{Compression, Error, LogId, Record, Result, Seq};

/// The version that this code writes, and the highest that it reads.
pub const VERSION: u16 = 1;
/// What a segment file begins with.
pub const SEGMENT_MAGIC: [u8; 8] = *b"WeirSeg\n";
/// Bytes of one copy of the segment header.
pub const HEADER_LEN: usize = 64;
/// Where frames begin: after two copies of the header.
pub const DATA_START: u64 = 2 * HEADER_LEN as u64;
/// What a frame begins with.
pub const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"WFrm");
/// Bytes of a frame before its head.
pub const FRAME_LEN: usize = 40;
/// Bytes of a `Begin` frame with its head.
pub const BEGIN_LEN: usize = FRAME_LEN + 16;
/// Offsets are kept as multiples of this in 32 bits.
pub const ALIGN: u64 = 8;
/// The largest segment, in bytes: what a 32-bit offset in units of [`ALIGN`] reaches, less room for the footer.
pub const SEGMENT_MAX: u64 = 16 << 30;
/// The largest batch, in bytes as encoded.
pub const BATCH_MAX: u64 = 8 << 30;
/// Bodies shorter than this are not worth compressing.
pub const COMPRESS_MIN: usize = 64;
/// The longest head of a damaged frame that is tried bit by bit, in bytes: the work is the square of it.
const MENDED_MAX: usize = 512;
/// Header flag: the file was made at its full size, and what lies behind the frames may be anything.
pub const FLAG_PREALLOCATED: u16 = 1;

/// Rounds up to a multiple of [`ALIGN`].
pub const fn align(n: u64) -> u64 {
    (n + ALIGN - 1) & !(ALIGN - 1)
}

/// The bytes at an offset. Slicing to a fixed length first lets the compiler make one load of it.
#[inline(always)]
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    match bytes[at..at + N].first_chunk() {
        Some(raw) => *raw,
        None => [0; N],
    }
}

#[inline(always)]
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

#[inline(always)]
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

#[inline(always)]
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// Which file of which log this is; every frame's checksum begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The log.
    pub log: LogId,
    /// The segment's number in its log, never used twice.
    pub id: u64,
    /// How often the segment was rewritten.
    pub generation: u32,
}

impl Identity {
    /// What the checksums of this file's frames begin with.
    pub fn seed(&self) -> u32 {
        let mut raw = [0; 20];
        raw[..8].copy_from_slice(&self.log.0.to_le_bytes());
        raw[8..16].copy_from_slice(&self.id.to_le_bytes());
        raw[16..].copy_from_slice(&self.generation.to_le_bytes());
        crc32c::crc32c(&raw)
    }

    /// The file's name: first sequence, id and generation in hexadecimal.
    pub fn file_name(&self, first: Seq) -> String {
        format!("{first:016x}.{:08x}.{:04x}.seg", self.id, self.generation)
    }

    /// The first sequence and the identity that a file name states; `None` if it is not a segment's name.
    pub fn parse_name(log: LogId, name: &str) -> Option<(Seq, Self)> {
        let mut parts = name.strip_suffix(".seg")?.split('.');
        let first = Seq::from_str_radix(parts.next()?, 16).ok()?;
        let id = u64::from_str_radix(parts.next()?, 16).ok()?;
        let generation = u32::from_str_radix(parts.next()?, 16).ok()?;
        let identity = Self { log, id, generation };
        // Only the canonical spelling: two names must never mean one segment.
        (parts.next().is_none() && identity.file_name(first) == name).then_some((first, identity))
    }
}

/// What stands at the beginning of a segment file, twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which file this is.
    pub identity: Identity,
    /// [`FLAG_PREALLOCATED`].
    pub flags: u16,
    /// Sequences below this were trimmed when the segment was made.
    pub floor: Seq,
    /// The log's last sequence when the segment was made. Records of earlier segments above it were truncated.
    pub last: Seq,
    /// The number of the first batch in the segment.
    pub first_batch: u64,
    /// How many segments after this id the segment also replaces, after a rewrite.
    pub replaces: u32,
}

impl Header {
    /// Both copies.
    pub fn encode(&self) -> [u8; DATA_START as usize] {
        let mut raw = [0; DATA_START as usize];
        raw[..8].copy_from_slice(&SEGMENT_MAGIC);
        raw[8..10].copy_from_slice(&VERSION.to_le_bytes());
        raw[10..12].copy_from_slice(&self.flags.to_le_bytes());
        raw[12..16].copy_from_slice(&self.identity.generation.to_le_bytes());
        raw[16..24].copy_from_slice(&self.identity.log.0.to_le_bytes());
        raw[24..32].copy_from_slice(&self.identity.id.to_le_bytes());
        raw[32..40].copy_from_slice(&self.floor.to_le_bytes());
        raw[40..48].copy_from_slice(&self.last.to_le_bytes());
        raw[48..56].copy_from_slice(&self.first_batch.to_le_bytes());
        raw[56..60].copy_from_slice(&self.replaces.to_le_bytes());
        let crc = crc32c::crc32c(&raw[..60]);
        raw[60..64].copy_from_slice(&crc.to_le_bytes());
        raw.copy_within(..HEADER_LEN, HEADER_LEN);
        raw
    }

    /// Reads one copy; `None` if it is damaged or another file's.
    fn decode_copy(raw: &[u8], expected: Identity) -> Option<(u16, Self)> {
        if raw.len() < HEADER_LEN || raw[..8] != SEGMENT_MAGIC || crc32c::crc32c(&raw[..60]) != u32_at(raw, 60) {
            return None;
        }
        let header = Self {
            identity: Identity {
                log: LogId(u64_at(raw, 16)),
                id: u64_at(raw, 24),
                generation: u32_at(raw, 12),
            },
            flags: u16_at(raw, 10),
            floor: u64_at(raw, 32),
            last: u64_at(raw, 40),
            first_batch: u64_at(raw, 48),
            replaces: u32_at(raw, 56),
        };
        (header.identity == expected).then_some((u16_at(raw, 8), header))
    }

    /// Reads the header from a file's first bytes, and says whether both copies are good.
    ///
    /// `Ok(None)` if neither copy is this file's; an error if the version is newer than this code.
    pub fn decode(raw: &[u8], expected: Identity) -> Result<Option<(Self, bool)>> {
        let first = Self::decode_copy(raw, expected);
        let second = Self::decode_copy(raw.get(HEADER_LEN..).unwrap_or_default(), expected);
        let both = first.is_some() && second.is_some();
        let Some((version, header)) = first.or(second) else {
            return Ok(None);
        };
        if version > VERSION {
            return Err(Error::unsupported(format!(
                "segment {:x} of log {} has format version {version}; this program reads up to {VERSION}. \
                 Use a newer one; nothing was changed",
                expected.id, expected.log
            )));
        }
        Ok(Some((header, both)))
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The beginning of a batch.
    Begin = 1,
    /// A record.
    Record = 2,
    /// Sequences that were erased.
    Erase = 3,
    /// Everything below a sequence was removed.
    Trim = 4,
    /// A record that was overwritten in place.
    Void = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Begin,
            2 => Self::Record,
            3 => Self::Erase,
            4 => Self::Trim,
            5 => Self::Void,
            _ => return None,
        })
    }
}

/// The fixed part of a frame; its fields mean for each [`Kind`] what `docs/format.md` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// How the body is compressed (records): 0 not, 1 LZ4, 2 Zstandard.
    pub codec: u8,
    /// Bytes of the head.
    pub head_len: u16,
    /// Bytes of the body as stored.
    pub stored_len: u32,
    /// The record's sequence; the number of a batch; the sequence that a trim leaves first.
    pub seq: u64,
    /// The record's time; for `Begin`, the batch up to which the log was known to be durable.
    pub time: i64,
    /// Bytes of the body before compression; for `Begin`, the length of the frames that follow in units of 8.
    pub body_len: u32,
    /// The checksum of the body as stored.
    pub body_crc: u32,
}

impl Frame {
    /// The bytes that the frame takes, padding included.
    pub fn len(&self) -> u64 {
        align(FRAME_LEN as u64 + u64::from(self.head_len) + u64::from(self.stored_len))
    }

    /// Reads and verifies the frame at the beginning of `raw`, head included, body not; `None` if there is none.
    /// `at` is where `raw` begins in the file.
    pub fn decode(raw: &[u8], seed: u32, at: u64) -> Option<Self> {
        Self::decode_head(raw, seed, at).filter(|frame| frame.len() <= raw.len() as u64)
    }

    /// As [`decode`](Self::decode), but the body may be cut off.
    #[inline(always)]
    fn decode_head(raw: &[u8], seed: u32, at: u64) -> Option<Self> {
        if raw.len() < FRAME_LEN || u32_at(raw, 0) != FRAME_MAGIC {
            return None;
        }
        let head_len = u16_at(raw, 10);
        let covered = raw.get(8..FRAME_LEN + usize::from(head_len))?;
        if crc32c::crc32c_append(frame_seed(seed, at), covered) != u32_at(raw, 4) {
            return None;
        }
        let frame = Self {
            kind: Kind::from_byte(raw[8])?,
            codec: raw[9],
            head_len,
            stored_len: u32_at(raw, 12),
            seq: u64_at(raw, 16),
            time: i64::from_le_bytes(u64_at(raw, 24).to_le_bytes()),
            body_len: u32_at(raw, 32),
            body_crc: u32_at(raw, 36),
        };
        Some(frame)
    }

    /// What a frame whose head fails its checksum was, if one flipped bit of its head is all that is wrong: to say what
    /// is lost, not to serve it. Answers the frame and its head; `None` if it isn't that, or the head is longer than
    /// [`MENDED_MAX`].
    pub fn mended(raw: &[u8], seed: u32, at: u64) -> Option<(Self, Bytes)> {
        let mut head = raw.get(..raw.len().min(FRAME_LEN + MENDED_MAX))?.to_vec();
        let whole = raw.len() as u64;
        let bits = head.len() * 8;
        (0..bits).find_map(|bit| {
            head[bit / 8] ^= 1 << (bit % 8);
            let frame = Self::decode_head(&head, seed, at).filter(|frame| frame.len() <= whole);
            let mended = frame.map(|frame| (frame, Bytes::copy_from_slice(frame.head(&head))));
            head[bit / 8] ^= 1 << (bit % 8);
            mended
        })
    }

    /// Reads a record that is half overwritten, which is one of these runs. Its lengths and sequence are the same before
    /// and after, so they are right whatever part of it is on disk; its checksums are not.
    pub fn torn_void(raw: &[u8], overwritten: &[EraseRun]) -> Option<Self> {
        if overwritten.is_empty() || raw.len() < FRAME_LEN || u32_at(raw, 0) != FRAME_MAGIC {
            return None;
        }
        let frame = Self {
            kind: Kind::Void,
            codec: 0,
            head_len: u16_at(raw, 10),
            stored_len: u32_at(raw, 12),
            seq: u64_at(raw, 16),
            time: i64::from_le_bytes(u64_at(raw, 24).to_le_bytes()),
            body_len: u32_at(raw, 32),
            body_crc: 0,
        };
        // Of another frame of which only a part was written, the number may be anything.
        let kind = Kind::from_byte(raw[8]);
        let known = matches!(kind, Some(Kind::Record | Kind::Void))
            && overwritten
                .iter()
                .any(|run| run.first <= frame.seq && frame.seq - run.first < run.count);
        (known && frame.len() <= raw.len() as u64).then_some(frame)
    }

    /// The head, from the bytes that [`decode`](Self::decode) accepted.
    pub fn head<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        &raw[FRAME_LEN..FRAME_LEN + usize::from(self.head_len)]
    }

    /// The body as stored, from the bytes that [`decode`](Self::decode) accepted.
    pub fn stored<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        let at = FRAME_LEN + usize::from(self.head_len);
        &raw[at..at + self.stored_len as usize]
    }

    /// Whether the body matches its checksum.
    pub fn body_is_good(&self, raw: &[u8]) -> bool {
        crc32c::crc32c(self.stored(raw)) == self.body_crc
    }

    /// What the record counts for in an extent.
    pub fn size(&self) -> u64 {
        u64::from(self.head_len) + u64::from(self.body_len)
    }

    /// Writes the fixed part at `start` in `buf`, where the head already follows it. `at` is where it lies in the file.
    fn seal(&self, buf: &mut [u8], start: usize, seed: u32, at: u64) {
        let raw = &mut buf[start..start + FRAME_LEN];
        raw[..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        raw[8] = self.kind as u8;
        raw[9] = self.codec;
        raw[10..12].copy_from_slice(&self.head_len.to_le_bytes());
        raw[12..16].copy_from_slice(&self.stored_len.to_le_bytes());
        raw[16..24].copy_from_slice(&self.seq.to_le_bytes());
        raw[24..32].copy_from_slice(&self.time.to_le_bytes());
        raw[32..36].copy_from_slice(&self.body_len.to_le_bytes());
        raw[36..40].copy_from_slice(&self.body_crc.to_le_bytes());
        let end = start + FRAME_LEN + usize::from(self.head_len);
        let crc = crc32c::crc32c_append(frame_seed(seed, at), &buf[start + 8..end]);
        buf[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }
}

fn frame_seed(seed: u32, at: u64) -> u32 {
    crc32c::crc32c_append(seed, &at.to_le_bytes())
}

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
    /// Reads it from a frame of that kind and its bytes.
    pub fn of(frame: &Frame, raw: &[u8]) -> Option<Self> {
        let head = frame.head(raw);
        (frame.kind == Kind::Begin && head.len() == 16).then(|| Self {
            number: frame.seq,
            durable: u64::from_le_bytes(frame.time.to_le_bytes()),
            len: u64::from(frame.body_len) * ALIGN,
            last: u64_at(head, 0),
            count: u64_at(head, 8).checked_sub(1),
        })
    }
}

/// Builds one batch for one place in one file. The buffer is kept from batch to batch.
pub struct Encoder {
    buf: Vec<u8>,
    seed: u32,
    at: u64,
}

impl Encoder {
    /// Begins with an empty buffer.
    pub fn new() -> Self {
        Self {
            buf: Vec::new(),
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
        self.seed = seed;
        self.at = at;
    }

    /// The offset in the file of the next frame.
    pub fn position(&self) -> u64 {
        self.at + self.buf.len() as u64
    }

    fn open(&mut self, head: &[u8]) -> (usize, u64) {
        let (start, at) = (self.buf.len(), self.position());
        self.buf.extend_from_slice(&[0; FRAME_LEN]);
        self.buf.extend_from_slice(head);
        (start, at)
    }

    fn pad(&mut self) {
        let padding = align(self.buf.len() as u64) as usize - self.buf.len();
        self.buf.extend_from_slice(&[0; ALIGN as usize][..padding]);
    }

    /// Adds a record; its head and body are within the limits of [`Record`].
    pub fn record(&mut self, record: &Record<'_>, compression: Compression) {
        let (start, at) = self.open(record.head);
        let body_at = self.buf.len();
        let codec = self.body(record.body, compression);
        let stored = &self.buf[body_at..];
        let frame = Frame {
            kind: Kind::Record,
            codec,
            head_len: record.head.len() as u16,
            stored_len: stored.len() as u32,
            seq: record.seq,
            time: record.time,
            body_len: record.body.len() as u32,
            body_crc: crc32c::crc32c(stored),
        };
        frame.seal(&mut self.buf, start, self.seed, at);
        self.pad();
    }

    /// Adds a record whose body is stored already: for a rewrite.
    pub fn copy(&mut self, frame: &Frame, raw: &[u8]) {
        let (start, at) = self.open(frame.head(raw));
        self.buf.extend_from_slice(frame.stored(raw));
        frame.seal(&mut self.buf, start, self.seed, at);
        self.pad();
    }

    /// Appends the body, compressed if that makes it smaller, and answers the codec.
    fn body(&mut self, body: &[u8], compression: Compression) -> u8 {
        if body.len() >= COMPRESS_MIN {
            let at = self.buf.len();
            let made = match compression {
                Compression::None => None,
                Compression::Lz4 => {
                    let bound = lz4_flex::block::get_maximum_output_size(body.len());
                    self.buf.resize(at + bound, 0);
                    lz4_flex::block::compress_into(body, &mut self.buf[at..])
                        .ok()
                        .map(|n| (n, 1))
                }
                Compression::Zstd => {
                    let bound = zstd::zstd_safe::compress_bound(body.len());
                    self.buf.resize(at + bound, 0);
                    // 1: the quickest of the ordinary levels; bodies are small and the writer waits.
                    zstd::bulk::compress_to_buffer(body, &mut self.buf[at..], 1)
                        .ok()
                        .map(|n| (n, 2))
                }
            };
            match made {
                Some((n, codec)) if n < body.len() => {
                    self.buf.truncate(at + n);
                    return codec;
                }
                _ => self.buf.truncate(at),
            }
        }
        self.buf.extend_from_slice(body);
        0
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
                body_crc: crc32c::crc32c(body),
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

    /// Completes the batch and lends its bytes. `number`, `durable`, `last` and `count` as in [`Begin`].
    pub fn finish(&mut self, number: u64, durable: u64, last: Seq, count: Option<u64>) -> &[u8] {
        let len = (self.buf.len() - BEGIN_LEN) as u64;
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

/// The bytes that take the place of a record that is overwritten: a frame of the same length with nothing in it.
pub fn void_frame(old: &Frame, seed: u32, at: u64) -> Vec<u8> {
    let mut raw = vec![0; old.len() as usize];
    let body_crc = crc32c::crc32c(&raw[..old.stored_len as usize]);
    let frame = Frame {
        kind: Kind::Void,
        codec: 0,
        body_crc,
        ..*old
    };
    frame.seal(&mut raw, 0, seed, at);
    raw
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

/// Undoes the compression of a stored body.
pub fn decompress(codec: u8, stored: &[u8], body_len: u32, out: &mut Vec<u8>) -> bool {
    let at = out.len();
    let len = body_len as usize;
    match codec {
        0 => {
            out.extend_from_slice(stored);
            stored.len() == len
        }
        1 if len <= Record::BODY_MAX => {
            out.resize(at + len, 0);
            matches!(lz4_flex::block::decompress_into(stored, &mut out[at..]), Ok(n) if n == len)
        }
        2 if len <= Record::BODY_MAX => {
            out.resize(at + len, 0);
            matches!(zstd::bulk::decompress_to_buffer(stored, &mut out[at..]), Ok(n) if n == len)
        }
        _ => false,
    }
}

/// Consecutive sequences that were erased together, all of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EraseRun {
    /// The first of them.
    pub first: Seq,
    /// How many.
    pub count: u64,
    /// The bytes of their heads and bodies.
    pub bytes: u64,
}

fn put_varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take_varint(raw: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = raw.split_first()?;
        *raw = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

/// Writes runs in ascending order: their number, then for each the distance from the end of the one before, its
/// count and its bytes, all as LEB128.
pub fn encode_runs(runs: &[EraseRun], out: &mut Vec<u8>) {
    put_varint(runs.len() as u64, out);
    let mut end = 0;
    for run in runs {
        put_varint(run.first - end, out);
        put_varint(run.count, out);
        put_varint(run.bytes, out);
        end = run.first + run.count;
    }
}

/// Reads what [`encode_runs`] wrote, as often as it was written, into `out`; `None` if it makes no sense.
pub fn decode_runs(mut raw: &[u8], out: &mut Vec<EraseRun>) -> Option<()> {
    while !raw.is_empty() {
        let count = take_varint(&mut raw)?;
        let mut end = 0u64;
        for _ in 0..count {
            let first = end.checked_add(take_varint(&mut raw)?)?;
            let run = EraseRun {
                first,
                count: take_varint(&mut raw)?,
                bytes: take_varint(&mut raw)?,
            };
            end = first.checked_add(run.count)?;
            out.push(run);
        }
    }
    Some(())
}
