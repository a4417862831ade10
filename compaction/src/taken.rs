//! What a store takes on disk, before and after a tool worked on it.

use humansize::{BINARY, format_size};
use serde::Serialize;
use weir_backends::root::StoreDir;
use weir_engine::ShardId;

use crate::inspect::folder_bytes;

/// Bytes of a store's files; those that cannot be looked at count nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Bytes of the streams, the catalogue and whatever else there is.
    pub streams: u64,
    /// Bytes of the journals, whose files are made at full size: they change with how the store was stopped, and not with what is in
    /// it.
    pub journals: u64,
}

impl Taken {
    /// What a store takes now.
    pub(crate) fn of(dir: &StoreDir) -> Self {
        let logs = dir.root().join("segment/logs");
        let journals = (0..=ShardId::MAX.0)
            .map(|shard| logs.join(ShardId(shard).journal().to_string()))
            .filter(|folder| folder.is_dir());
        let journals = journals.map(|folder| folder_bytes(&folder, &mut Vec::new())).sum();
        Self {
            streams: folder_bytes(dir.root(), &mut Vec::new()).saturating_sub(journals),
            journals,
        }
    }

    /// All of it.
    pub fn all(&self) -> u64 {
        self.streams + self.journals
    }

    /// What was taken before, and is now. Ends with a newline.
    pub(crate) fn said(before: &Self, after: &Self) -> String {
        let size = |bytes| format_size(bytes, BINARY);
        format!(
            "The streams and the catalogue took {}, and take {} now; the journals {} and {}.\n",
            size(before.streams),
            size(after.streams),
            size(before.journals),
            size(after.journals)
        )
    }
}
