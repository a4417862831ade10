//! What is kept of an index beside a log: a start believes it, so that it has to say what the log says.

use std::path::{Path, PathBuf};

use weir_engine::LogId;
use weir_engine::stream::KeptUse;

use super::report::{Found, What};

/// Bytes of a file with nothing in it.
const HEADER: u64 = 16;
/// What to do about a file that is wrong.
const REMEDY: &str = "remove the file while no server has the store open: a start makes it anew";
/// What becomes of one that costs nothing.
const SLOWER: &str = "the next start takes longer, and makes it anew";

/// What was seen of a stream whose log was gone through.
pub(super) struct Seen {
    /// What became of the file when the stream was opened.
    pub kept: KeptUse,
    /// Whether the index and the log have the same messages, of the same subjects and sizes, with the same endings, and the digest of the
    /// one is that of the other.
    pub is_same: bool,
    /// Whether something is wrong with the log, which may be why.
    pub is_damaged: bool,
}

/// The file that is kept beside a log of segments, in the store at `root`.
pub(super) fn path(root: &Path, id: LogId) -> PathBuf {
    root.join("segment/logs").join(id.to_string()).join("index")
}

/// What is to be said of that file; `None` if it is well, or is not there.
pub(super) fn found(file: PathBuf, seen: &Seen) -> Option<Found> {
    let len = std::fs::metadata(&file).ok()?.len();
    let wrong = |what: &str| (format!("what is kept of its index {what}: {REMEDY}"), false);
    let harmless = |what: &str| (format!("what is kept of its index {what}: {SLOWER}"), true);
    let (text, is_harmless) = match seen.kept {
        KeptUse::Used { .. } if !seen.is_same && !seen.is_damaged => {
            wrong("has other subjects, sizes or ends of messages than the log, or another digest of them")
        }
        KeptUse::Unfit if !seen.is_damaged => wrong("is not that of the log, so that no start uses it"),
        KeptUse::Earlier => harmless("is of an earlier version"),
        KeptUse::Empty if len == 0 => harmless("is an empty file"),
        KeptUse::Empty if len != HEADER => harmless("is cut short"),
        KeptUse::Used { whole: false } => harmless("is cut short"),
        _ => return None,
    };
    let found = Found {
        file: Some(file),
        ..Found::new(What::Index, text)
    };
    Some(match is_harmless {
        true => found.harmless(),
        false => found,
    })
}
