//! What a segment file begins with.

use weir_engine::{Error, LogId, Result, Seq};

use super::{DATA_START, HEADER_LEN, Identity, NUMBER_MAX, SEGMENT_MAGIC, VERSION, u16_at, u32_at, u64_at};

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
    /// What a file's first bytes say that it is, whatever its name says.
    pub fn stated(raw: &[u8]) -> Option<Self> {
        let copies = [raw, raw.get(HEADER_LEN..).unwrap_or_default()];
        copies.into_iter().find_map(|raw| Some(Self::read(raw)?.1))
    }

    fn decode_copy(raw: &[u8], expected: Identity) -> Option<(u16, Self)> {
        Self::read(raw).filter(|(_, header)| header.identity == expected)
    }

    fn read(raw: &[u8]) -> Option<(u16, Self)> {
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
        let sound = (1..=NUMBER_MAX).contains(&header.first_batch) && header.last < Seq::MAX;
        sound.then_some((u16_at(raw, 8), header))
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
