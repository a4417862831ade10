//! The folder of a backend that is not there, while streams have their messages in it.

use std::ops::ControlFlow;
use std::path::Path;

use weir_engine::shard::snapshot::{STREAM_PREFIX, StreamSnapshot};
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Error, Kv, Result, words};

/// Streams that the refusal names.
const NAMED_MAX: usize = 8;

/// Refuses to make a folder anew that streams of the catalogue have their messages in.
///
/// # Errors
/// [`Damaged`](weir_engine::Kind::Damaged), with these streams; and if the catalogue cannot be read.
pub(super) fn is_not_missed(folder: &Path, kind: BackendKind, catalogue: &dyn Kv) -> Result<()> {
    let mut names = Vec::new();
    catalogue.scan(STREAM_PREFIX, None, &mut |_, value| {
        // Of an entry that makes no sense it is told elsewhere.
        if let Ok(snapshot) = StreamSnapshot::read(value, None)
            && snapshot.settings.backend == kind
        {
            names.push(snapshot.name);
        }
        ControlFlow::Continue(())
    })?;
    if names.is_empty() {
        return Ok(());
    }
    let count = words::count(names.len() as u64, "stream");
    let have = if names.len() == 1 { "has its" } else { "have their" };
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Err(Error::damaged(format!(
        "{} is missing, in which {count} {have} messages ({}{more}); nothing is made in its place, also for new streams",
        folder.display(),
        names.join(", ")
    )))
}

/// That it cannot be read.
pub(super) fn missing(folder: &Path) -> Error {
    Error::damaged(format!(
        "{} is missing, in which the stream has its messages",
        folder.display()
    ))
}
