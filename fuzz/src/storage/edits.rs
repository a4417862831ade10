//! Changes to files on a disk, as bytes tell them: which file, where, what.

use std::path::{Path, PathBuf};

use weir_backends::segment::disk::SimulatedDisk;

use super::checksums;

/// How many changes are made at most.
const EDITS_MAX: usize = 32;
/// A length that cuts the file off there.
const CUT: u8 = 255;
/// A length that takes the file away.
const ERASE: u8 = 254;
/// A length that gives the file the content of the next one, from there on.
const COPY: u8 = 253;

/// Whether checksums are made right after these changes.
pub fn mends(data: &[u8]) -> bool {
    data.first().is_none_or(|how| how.is_multiple_of(2))
}

/// Makes the changes: each is a file's number (1 byte), an offset (2), a length (1) and as many bytes. The first byte of
/// all says whether checksums are made right: always, but for odd numbers.
pub fn apply(disk: &SimulatedDisk, files: &[PathBuf], data: &[u8]) {
    let mend = mends(data);
    let Some((_, mut data)) = data.split_first() else {
        return;
    };
    for _ in 0..EDITS_MAX {
        let Some((&[file, low, high, len], rest)) = data.split_first_chunk::<4>() else {
            return;
        };
        let file = usize::from(file) % files.len();
        let path = &files[file];
        let at = usize::from(u16::from_le_bytes([low, high]));
        let mut content = content(disk, path);
        match len {
            CUT => content.truncate(at),
            ERASE => {
                let _ = disk.erase(path);
                data = rest;
                continue;
            }
            COPY => {
                let other = self::content(disk, &files[(file + 1) % files.len()]);
                content.truncate(at);
                content.extend(other.get(at..).unwrap_or_default());
            }
            _ => {
                let bytes = &rest[..usize::from(len).min(rest.len())];
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[at..end].copy_from_slice(bytes);
            }
        }
        data = match len {
            CUT | ERASE | COPY => rest,
            _ => &rest[usize::from(len).min(rest.len())..],
        };
        if mend {
            checksums::mend(path, &mut content);
        }
        let _ = disk.replace(path, content);
    }
}

fn content(disk: &SimulatedDisk, path: &Path) -> Vec<u8> {
    disk.contents(path).remove(path).unwrap_or_default()
}
