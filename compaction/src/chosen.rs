//! The streams of a store that a tool is to change.

use std::sync::Arc;

use weir_engine::store::StreamEntry;
use weir_engine::words;

use crate::error::{Error, Result};

/// A stream, as it was when the store was opened.
pub(crate) type Chosen = Arc<StreamEntry>;

/// The streams on disk of that name and account, or all.
///
/// # Errors
/// If a name or an account was given, and there is none.
pub(crate) fn chosen(all: &[Chosen], name: Option<&str>, account: Option<&str>) -> Result<Vec<Chosen>> {
    let on_disk = all.iter().filter(|entry| entry.settings.is_journaled());
    let of_account = on_disk.filter(|entry| account.is_none_or(|account| *entry.account == *account));
    let found: Vec<Chosen> = of_account
        .filter(|entry| name.is_none_or(|name| *entry.name == *name))
        .cloned()
        .collect();
    match (name, account) {
        (Some(name), _) if found.is_empty() => Err(Error::NoSuchStream {
            wanted: name.to_owned(),
            there: all.iter().map(|entry| entry.name.to_string()).collect(),
        }),
        (None, Some(account)) if found.is_empty() => Err(Error::NoSuchAccount {
            wanted: account.to_owned(),
        }),
        _ => Ok(found),
    }
}

/// What is said of streams that were not looked at any more, because of what failed before them. Ends with a newline.
pub(crate) fn not_tried(streams: u64) -> String {
    let were = if streams == 1 { "was" } else { "were" };
    format!("{} {were} not tried after that.\n", words::count(streams, "stream"))
}

/// Whether damage, or what is treated like it, keeps a tool from a stream that is offline: not where only room on its disk is missing.
pub(crate) fn is_broken(stream: &Chosen) -> bool {
    stream.offline.is_some() && !stream.lacks_room
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_was_and_two_were_not_tried() {
        assert_eq!(super::not_tried(1), "1 stream was not tried after that.\n");
        assert_eq!(super::not_tried(2), "2 streams were not tried after that.\n");
    }
}
