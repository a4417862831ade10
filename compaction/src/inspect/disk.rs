//! What folders take on disk.

use std::fs;
use std::io;
use std::path::Path;

/// The lengths of all files below a folder, in bytes; links are not followed. What cannot be read is told and left
/// out.
pub(crate) fn folder_bytes(folder: &Path, problems: &mut Vec<String>) -> u64 {
    let mut sum = 0;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let mut add = || -> io::Result<()> {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    sum += entry.metadata()?.len();
                }
            }
            Ok(())
        };
        if let Err(error) = add() {
            problems.push(format!("{}: cannot be read: {error}", folder.display()));
        }
    }
    sum
}
