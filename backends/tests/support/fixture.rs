//! Folders packed into one small file: Zstandard over, for each file, the length of its path and of its content and of
//! what is left of that without the zeros at its end (8 bytes each, little endian), path and content. A folder's path
//! ends with `/`.

use std::fs;
use std::path::Path;

/// Packs all that is below a folder.
pub fn pack(folder: &Path, into: &Path) {
    let mut raw = Vec::new();
    let mut add = |path: &str, content: &[u8]| {
        let kept = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for number in [path.len(), content.len(), kept] {
            raw.extend_from_slice(&(number as u64).to_le_bytes());
        }
        raw.extend_from_slice(path.as_bytes());
        raw.extend_from_slice(&content[..kept]);
    };
    let mut folders = vec![String::new()];
    while let Some(below) = folders.pop() {
        let entries = fs::read_dir(folder.join(&below)).expect("a folder to pack");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a name in UTF-8")
            })
            .collect();
        names.sort();
        for name in names {
            let path = format!("{below}{name}");
            if folder.join(&path).is_dir() {
                add(&format!("{path}/"), &[]);
                folders.push(format!("{path}/"));
            } else {
                add(&path, &fs::read(folder.join(&path)).expect("a file to pack"));
            }
        }
    }
    let packed = zstd::encode_all(&raw[..], 19).expect("Zstandard");
    fs::write(into, packed).expect("a fixture that can be written");
}

/// Puts what was packed below a folder.
pub fn unpack(from: &Path, folder: &Path) {
    let raw = zstd::decode_all(&fs::read(from).expect("a fixture")[..]).expect("Zstandard");
    let mut rest = &raw[..];
    let mut take = |len: usize| {
        let (part, after) = rest.split_at_checked(len)?;
        rest = after;
        Some(part)
    };
    while let Some(numbers) = take(24) {
        let number = |at: usize| u64::from_le_bytes(numbers[at..at + 8].try_into().expect("8 bytes")) as usize;
        let path = std::str::from_utf8(take(number(0)).expect("a path")).expect("a path in UTF-8");
        let content = take(number(16)).expect("its content");
        if path.ends_with('/') {
            fs::create_dir_all(folder.join(path)).expect("a folder");
            continue;
        }
        fs::write(folder.join(path), content).expect("a file");
        let file = fs::OpenOptions::new()
            .write(true)
            .open(folder.join(path))
            .expect("a file");
        file.set_len(number(8) as u64).expect("its length");
    }
}
