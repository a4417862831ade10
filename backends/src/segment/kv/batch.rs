//! The bytes of a key-value file: a header, and batches of writes under checksums that cover their place and number.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::format::{ALIGN, align, u16_at, u32_at, u64_at};

/// The version of key-value files: of version 1 there was only one copy.
pub const KV_VERSION: u16 = 2;
/// What a file begins with.
const FILE_MAGIC: [u8; 8] = *b"WeirKv1\n";
/// Bytes of the file header.
pub const FILE_HEADER: usize = 32;
/// What a batch begins with.
const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"WKvB");
/// Bytes of a batch before its payload.
pub const BATCH_HEADER: usize = 40;
/// Says "deleted" where the length of a value would be.
const DELETED: u32 = u32::MAX;

/// The pairs of a key-value space, and about how many bytes of a file they need.
#[derive(Debug, Default)]
pub struct Pairs {
    /// By key.
    pub map: BTreeMap<Bytes, Bytes>,
    /// Bytes.
    pub live: u64,
}

impl Pairs {
    /// Carries out one write.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) {
        let old = match value {
            Some(value) => {
                self.live += pair_bytes(key, value);
                // Copies: a caller's slice may belong to something much larger.
                self.map
                    .insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value))
            }
            None => self.map.remove(key),
        };
        if let Some(old) = old {
            self.live = self.live.saturating_sub(pair_bytes(key, &old));
        }
    }

    /// Carries out the writes of a batch; `None` if they make no sense from some point on.
    pub fn apply_payload(&mut self, mut payload: &[u8]) -> Option<()> {
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
            self.apply(key, value);
        }
        Some(())
    }
}

/// Bytes that a pair takes in a file.
pub fn pair_bytes(key: &[u8], value: &[u8]) -> u64 {
    (8 + key.len() + value.len()) as u64
}

fn seed(generation: u64, at: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&generation.to_le_bytes()), &at.to_le_bytes())
}

/// The header of a file.
pub fn file_header(generation: u64) -> [u8; FILE_HEADER] {
    let mut raw = [0; FILE_HEADER];
    raw[..8].copy_from_slice(&FILE_MAGIC);
    raw[8..10].copy_from_slice(&KV_VERSION.to_le_bytes());
    raw[16..24].copy_from_slice(&generation.to_le_bytes());
    let crc = crc32c::crc32c(&raw[..28]);
    raw[28..].copy_from_slice(&crc.to_le_bytes());
    raw
}

/// The version that a file's header states; `None` if it is damaged.
pub fn version_of(data: &[u8]) -> Option<u16> {
    let header = data.get(..FILE_HEADER)?;
    let good = header[..8] == FILE_MAGIC && crc32c::crc32c(&header[..28]) == u32_at(header, 28);
    good.then(|| u16_at(header, 8))
}

/// Adds one batch to `buf`, which will lie at offset `at` of the file.
pub fn encode<'a>(
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

/// A batch whose header verifies.
#[derive(Clone, Copy, Debug)]
pub struct StoredBatch<'a> {
    /// Where it begins.
    pub at: u64,
    /// Where the next one begins.
    pub end: u64,
    /// Its number.
    pub number: u64,
    /// The mark that it states: the highest batch known to be durable when it was written.
    pub durable: u64,
    /// Header and payload, without the padding; `None` if the payload fails its checksum.
    pub raw: Option<&'a [u8]>,
}

impl<'a> StoredBatch<'a> {
    /// The writes.
    pub fn payload(&self) -> Option<&'a [u8]> {
        self.raw?.get(BATCH_HEADER..)
    }
}

/// The batches of a file whose headers verify.
pub fn batches(data: &[u8], generation: u64) -> Vec<StoredBatch<'_>> {
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
        let raw = data
            .get(at..at + BATCH_HEADER + len)
            .filter(|raw| crc32c::crc32c(&raw[BATCH_HEADER..]) == u32_at(h, 32));
        // The header verifies, so its length is right, unless the file ends before it.
        let end = align((at + BATCH_HEADER + len) as u64) as usize;
        found.push(StoredBatch {
            at: at as u64,
            end: end as u64,
            number: u64_at(h, 16),
            durable: u64_at(h, 24),
            raw,
        });
        at = if raw.is_some() || end <= data.len() {
            end
        } else {
            at + BATCH_HEADER
        };
    }
    found
}
