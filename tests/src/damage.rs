//! What a disk does to a store.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

/// The files in which messages are, but for the journals'.
///
/// # Errors
/// When the store cannot be read.
pub fn files_of_messages(store: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![store.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Below are the journals.
            let is_journal = name.len() == 16 && u64::from_str_radix(&name, 16).is_ok_and(|id| id < 256);
            match path.extension().and_then(|end| end.to_str()) {
                _ if path.is_dir() && !is_journal => folders.push(path),
                Some("seg" | "sst") => found.push(path),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Flips a bit of the only place that says this.
///
/// # Errors
/// When it is not the only one, or the file cannot be written.
pub fn flip(store: &Path, says: &str) -> Result<()> {
    let mut flipped = 0;
    for path in files_of_messages(store)? {
        let bytes = std::fs::read(&path)?;
        let place = bytes.windows(says.len()).position(|bytes| bytes == says.as_bytes());
        if let Some(at) = place {
            let file = std::fs::OpenOptions::new().write(true).open(&path)?;
            file.write_at(&[bytes[at] ^ 1], at as u64)?;
            flipped += 1;
        }
    }
    ensure!(flipped == 1, "{flipped} places");
    Ok(())
}
