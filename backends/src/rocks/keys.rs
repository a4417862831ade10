//! The bytes that Weir keeps in RocksDB: keys, heads, bodies, and what is known of each log.
//!
//! | column family | key | value |
//! | --- | --- | --- |
//! | `default` | `V` | version of this layout (4 bytes) |
//! | | `N` | the place that the next new log gets (8) |
//! | | `L` log id (8) | [`Meta`] of a log |
//! | | `T` log id (8) | the log's label, CRC (4) |
//! | | `R` place (8) | nothing: a removed log whose records are still to be deleted |
//! | | `X` log id (8) | the sequences that a repair could not find, first and last of each range (8, 8), CRC (4) |
//! | `heads` | place (8), sequence (8) | time (8), body's length (4), family of the body (1), body's CRC (4), head, CRC (4) |
//! | `bodies`, `bodies_lz4`, `bodies_zstd` | place (8), sequence (8) | body; an empty one is not stored |
//! | `kv` | as given | as given |
//! | `names` | log id (8) | place (8), the log's label, CRC (4): both once more, see `names.rs` |
//!
//! Keys are big-endian, so that RocksDB's order is that of the numbers; values are little-endian. Every CRC is a
//! CRC32C that covers the key as well, so that bytes in the wrong place are found out. A body's is kept in the head:
//! the two belong together or are not served.
//!
//! A log's place is a number that is never given twice. It stands between the id and the keys so that a log's records
//! can be deleted after it is removed, when the last reader lets go of them.

use weir_engine::{Compression, NanoTime, Record, Seq};

/// The version of this layout.
pub(super) const VERSION: u32 = 1;
pub(super) const KEY_VERSION: &[u8] = b"V";
pub(super) const KEY_NEXT_PLACE: &[u8] = b"N";
pub(super) const PREFIX_LOG: u8 = b'L';
pub(super) const PREFIX_LABEL: u8 = b'T';
pub(super) const PREFIX_REMOVED: u8 = b'R';
pub(super) const PREFIX_LOST: u8 = b'X';

pub(super) const HEADS: &str = "heads";
pub(super) const KV: &str = "kv";
pub(super) const NAMES: &str = "names";
/// The families of bodies, by [`family`].
pub(super) const BODIES: [&str; 3] = ["bodies", "bodies_lz4", "bodies_zstd"];

/// Where it is not known which family a body is in.
pub(super) const NO_FAMILY: u8 = u8::MAX;

/// In the byte of a family: the body counts for another number of bytes than it has.
const COUNTED: u8 = 0x40;

/// Which of [`BODIES`] takes new records of a log.
pub(super) fn family(compression: Compression) -> u8 {
    match compression {
        Compression::None => 0,
        Compression::Lz4 => 1,
        // RocksDB compresses a family as a whole.
        Compression::Zstd | Compression::ZstdLevel(_) => 2,
    }
}

/// The key of a log's entry (or, with the other prefix, of a removed place).
pub(super) fn named(prefix: u8, number: u64) -> [u8; 9] {
    let mut key = [prefix; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The key of a record.
pub(super) fn record(place: u64, seq: Seq) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&place.to_be_bytes());
    key[8..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// The place in the key of a record.
pub(super) fn place_of(key: &[u8]) -> Option<u64> {
    number(key, 0, u64::from_be_bytes)
}

/// The sequence in the key of a record.
pub(super) fn seq_of(key: &[u8]) -> Option<Seq> {
    number(key, 8, u64::from_be_bytes)
}

fn number<const N: usize, T>(bytes: &[u8], at: usize, read: fn([u8; N]) -> T) -> Option<T> {
    let bytes = bytes.get(at..at + N)?;
    Some(read(bytes.try_into().ok()?))
}

fn crc(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

/// The value of a label.
pub(super) fn encode_label(key: &[u8], label: &[u8]) -> Vec<u8> {
    [label, &crc(key, label).to_le_bytes()].concat()
}

/// The label in a value; `None` if it fails its checksum.
pub(super) fn decode_label<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (label, sum) = value.split_at_checked(value.len().checked_sub(AFTER)?)?;
    (number(sum, 0, u32::from_le_bytes)? == crc(key, label)).then_some(label)
}

/// The value of a log's lost sequences.
pub(super) fn encode_lost(key: &[u8], ranges: &[(Seq, Seq)]) -> Vec<u8> {
    let mut value = Vec::with_capacity(ranges.len() * 16 + AFTER);
    for (first, last) in ranges {
        value.extend_from_slice(&first.to_le_bytes());
        value.extend_from_slice(&last.to_le_bytes());
    }
    encode_label(key, &value)
}

/// The lost sequences in a value; `None` if it fails its checksum.
pub(super) fn decode_lost(key: &[u8], value: &[u8]) -> Option<Vec<(Seq, Seq)>> {
    let (ranges, rest) = decode_label(key, value)?.as_chunks::<16>();
    let range = |range: &[u8; 16]| {
        Some((
            number(range, 0, u64::from_le_bytes)?,
            number(range, 8, u64::from_le_bytes)?,
        ))
    };
    rest.is_empty().then(|| ranges.iter().map(range).collect())?
}

/// The value of a log in [`NAMES`].
pub(super) fn encode_name(key: &[u8], place: u64, label: &[u8]) -> Vec<u8> {
    encode_label(key, &[&place.to_le_bytes(), label].concat())
}

/// The place and the label in a value; `None` if it fails its checksum.
pub(super) fn decode_name<'a>(key: &[u8], value: &'a [u8]) -> Option<(u64, &'a [u8])> {
    let (place, label) = decode_label(key, value)?.split_first_chunk()?;
    Some((u64::from_le_bytes(*place), label))
}

/// What comes before the head's own bytes.
const BEFORE: usize = 17;
/// What comes after them.
const AFTER: usize = 4;

/// A value of `heads`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub time: NanoTime,
    /// How long the body is, or what it counts for.
    pub body_len: u32,
    /// Whether it counts for another number of bytes than it has.
    pub is_counted: bool,
    pub family: u8,
    pub body_crc: u32,
    pub head: &'a [u8],
}

impl<'a> Head<'a> {
    /// Writes the value for a record, whose body counts for that, into `value`, in place of what is there.
    pub fn encode(key: &[u8; 16], (record, counts): (&Record<'_>, u32), family: u8, value: &mut Vec<u8>) {
        let is_counted = counts as usize != record.body.len();
        value.clear();
        value.extend_from_slice(&record.time.to_le_bytes());
        value.extend_from_slice(&counts.to_le_bytes());
        value.push(if is_counted { family | COUNTED } else { family });
        value.extend_from_slice(&crc(key, record.body).to_le_bytes());
        value.extend_from_slice(record.head);
        let sum = crc(key, value);
        value.extend_from_slice(&sum.to_le_bytes());
    }

    /// Reads a value, and answers whether its checksum holds. `None` when it is too short to be one.
    pub fn decode(key: &[u8], value: &'a [u8]) -> Option<(Self, bool)> {
        let end = value.len().checked_sub(AFTER)?;
        let family = *value.get(12)?;
        let head = Self {
            time: number(value, 0, i64::from_le_bytes)?,
            body_len: number(value, 8, u32::from_le_bytes)?,
            is_counted: family & COUNTED != 0,
            family: family & !COUNTED,
            body_crc: number(value, 13, u32::from_le_bytes)?,
            head: value.get(BEFORE..end)?,
        };
        let sum = number(value, end, u32::from_le_bytes)?;
        let holds = sum == crc(key, &value[..end]) && usize::from(head.family) < BODIES.len();
        Some((head, holds))
    }

    /// Whether this is the body that was written with this head.
    pub fn fits(&self, key: &[u8], body: &[u8]) -> bool {
        (self.is_counted || body.len() == self.body_len as usize) && crc(key, body) == self.body_crc
    }

    /// What the record adds to [`Extent::bytes`](weir_engine::Extent::bytes).
    pub fn bytes(&self) -> u64 {
        self.head.len() as u64 + u64::from(self.body_len)
    }
}

/// What is kept of a log with each of its batches, so that opening it reads no records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    pub place: u64,
    /// No sequence below this one is live.
    pub first: Seq,
    pub last: Seq,
    pub count: u64,
    pub bytes: u64,
    /// A bit for each family of [`BODIES`] that the log has ever written to.
    pub families: u8,
}

impl Meta {
    pub fn encode(&self, key: &[u8]) -> [u8; 45] {
        let mut value = [0; 45];
        let numbers = [self.place, self.first, self.last, self.count, self.bytes];
        for (number, slot) in numbers.into_iter().zip(value.chunks_exact_mut(8)) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        value[40] = self.families;
        let sum = crc(key, &value[..41]);
        value[41..].copy_from_slice(&sum.to_le_bytes());
        value
    }

    /// `None` when the value is not what [`Meta::encode`] wrote.
    pub fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        if value.len() != 45 || number(value, 41, u32::from_le_bytes)? != crc(key, &value[..41]) {
            return None;
        }
        Some(Self {
            place: number(value, 0, u64::from_le_bytes)?,
            first: number(value, 8, u64::from_le_bytes)?,
            last: number(value, 16, u64::from_le_bytes)?,
            count: number(value, 24, u64::from_le_bytes)?,
            bytes: number(value, 32, u64::from_le_bytes)?,
            families: value[40],
        })
    }
}
