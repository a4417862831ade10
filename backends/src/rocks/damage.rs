//! A store with a damaged block in one of its tables. RocksDB takes no writes any more once a compaction has met such a block, and
//! meets it again after every opening. So that is noted beside its files, and from then on the store is opened without compactions:
//! it takes writes, and what reads meet of the block costs the records in it. What is deleted takes room until it is repaired.

use std::io::{self, Write};
use std::path::Path;

use crate::regular;

/// The name of the file that says so. Whoever has repaired the store, or put another in its place, removes it.
pub(super) const DAMAGED: &str = "DAMAGED";

/// Notes what was met.
pub(super) fn note(folder: &Path, what: &str) -> io::Result<()> {
    let path = folder.join(DAMAGED);
    let mut options = std::fs::File::options();
    let mut file = regular::open(&path, options.create(true).truncate(false).append(true))?;
    writeln!(file, "{what}")?;
    file.sync_all()?;
    std::fs::File::open(folder)?.sync_all()
}

/// What was noted, if anything was, and what helps.
pub(super) fn noted(folder: &Path) -> Option<String> {
    let path = folder.join(DAMAGED);
    let noted = match regular::read(&path) {
        Ok(noted) => String::from_utf8_lossy(&noted).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => error.to_string(),
    };
    let what = noted.lines().next().unwrap_or_default();
    Some(format!(
        "RocksDB compacts nothing, so that what is deleted takes room: {what}. Stop the server and let `weir repair` \
         mend it, or put a copy of {0} from a backup in its place and remove {1}",
        folder.display(),
        path.display()
    ))
}
