//! The checksums of the segment backend's files, made right as `docs/format.md` draws them.

use std::path::Path;

use crc32c::{crc32c, crc32c_append};

/// The longest body that a compressed record may claim, in bytes: up to the format's own 128 MiB there is nothing to find
/// but time.
const BODY_MAX: u32 = 1 << 20;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let raw = bytes[at..].first_chunk().copied();
    u32::from_le_bytes(raw.unwrap_or_default())
}

fn put(bytes: &mut [u8], at: usize, crc: u32) {
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Makes the checksums of a file right, whose path says what it is.
pub fn mend(path: &Path, bytes: &mut [u8]) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name == "label" {
        if let Some(end) = bytes.len().checked_sub(4) {
            put(bytes, end, crc32c(&bytes[..end]));
        }
    } else if name.ends_with(".kv") {
        key_values(bytes);
    } else if let Some(seed) = segment_seed(path, &name) {
        segment(seed, bytes);
    }
}

/// What the checksums of a segment begin with: its log, its number and its generation.
fn segment_seed(path: &Path, name: &str) -> Option<u32> {
    let mut parts = name.strip_suffix(".seg")?.split('.').skip(1);
    let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
    let (id, generation) = (number()?, number()? as u32);
    let log = path.parent()?.file_name()?.to_string_lossy().into_owned();
    let log = u64::from_str_radix(&log, 16).ok()?;
    let raw = [&log.to_le_bytes()[..], &id.to_le_bytes(), &generation.to_le_bytes()].concat();
    Some(crc32c(&raw))
}

fn segment(seed: u32, bytes: &mut [u8]) {
    for at in [0, 64] {
        if bytes.len() >= at + 64 {
            put(bytes, at + 60, crc32c(&bytes[at..at + 60]));
        }
    }
    let mut at = 128;
    while at + 40 <= bytes.len() {
        at += match &bytes[at..at + 4] {
            b"WFrm" => frame(seed, bytes, at).unwrap_or(8),
            _ => 8,
        };
    }
    let Some(at) = bytes.len().checked_sub(112) else { return };
    if &bytes[at..at + 8] == b"WeirFtr\n" {
        let number = |of: usize| u32_at(bytes, at + of) as usize;
        let (start, table) = (number(16), number(24).saturating_mul(16) + number(28).saturating_mul(4));
        let tombs_at = start.saturating_add(table).next_multiple_of(8);
        let tombs_end = tombs_at.saturating_add(number(32));
        if tombs_end <= at {
            put(bytes, at + 36, crc32c(&bytes[start..start + table]));
            put(bytes, at + 40, crc32c(&bytes[tombs_at..tombs_end]));
        }
        put(bytes, at + 8, crc32c_append(seed, &bytes[at + 12..]));
    }
}

/// A frame; answers how long it is, if it ends within the file.
fn frame(seed: u32, bytes: &mut [u8], at: usize) -> Option<usize> {
    let head = usize::from(u16::from_le_bytes([bytes[at + 10], bytes[at + 11]]));
    let stored = u32_at(bytes, at + 12) as usize;
    let end = at + 40 + head + stored;
    if end > bytes.len() {
        return None;
    }
    if bytes[at + 8] == 2 && bytes[at + 9] != 0 && u32_at(bytes, at + 32) > BODY_MAX {
        put(bytes, at + 32, BODY_MAX);
    }
    put(bytes, at + 36, crc32c(&bytes[at + 40 + head..end]));
    let place = crc32c_append(seed, &(at as u64).to_le_bytes());
    put(bytes, at + 4, crc32c_append(place, &bytes[at + 8..at + 40 + head]));
    Some((40 + head + stored).next_multiple_of(8))
}

fn key_values(bytes: &mut [u8]) {
    if bytes.len() < 32 {
        return;
    }
    put(bytes, 28, crc32c(&bytes[..28]));
    let generation = crc32c(&bytes[16..24]);
    let mut at = 32;
    while at + 40 <= bytes.len() {
        let end = at + 40 + u32_at(bytes, at + 8) as usize;
        if &bytes[at..at + 4] != b"WKvB" || end > bytes.len() {
            at += 8;
            continue;
        }
        put(bytes, at + 32, crc32c(&bytes[at + 40..end]));
        let place = crc32c_append(generation, &(at as u64).to_le_bytes());
        put(bytes, at + 4, crc32c_append(place, &bytes[at + 8..at + 40]));
        at = end.next_multiple_of(8);
    }
}
