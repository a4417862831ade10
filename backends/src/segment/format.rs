//! The bytes of a segment file: its header, and the frames that follow. Drawn in `docs/format.md`.
//!
//! Nothing here does input or output. Every checksum is CRC-32C; a frame's begins with the log's id, the segment's
//! id and generation and the frame's own offset, so a frame that lands in the wrong place, or is left over from an
//! earlier life of a recycled file, is not taken for one.

use weir_engine::{LogId, Seq};

mod batch;
mod crc;
mod erase;
mod frame;
mod header;

pub use batch::{Begin, Encoder, batch_bound};
pub use erase::{EraseRun, decode_runs, each_run, encode_runs};
pub use frame::{COUNTED, Frame, Kind, decompress, void_frame};
pub use header::Header;

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
/// The highest number of a batch that is believed: nothing counts up to it, and adding to it does not overflow.
pub const NUMBER_MAX: u64 = 1 << 62;
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
