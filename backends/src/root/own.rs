//! Whether a catalogue is that of the store it lies in: by its key where it is encrypted, and else by the labels of the logs.

use std::path::Path;

use weir_engine::LogId;
use weir_engine::shard::label::LogLabel;
use weir_engine::shard::snapshot::{STORE_KEY, StreamSnapshot, stream_key};

use crate::encrypted::{self, Vault};
use crate::segment::files::RealFiles;
use crate::segment::{Belongs, Look, label};

/// Whether what `look` finds belongs to the logs in the folder of a segment backend, whose store is encrypted with that vault, or is not.
pub(super) fn belongs(folder: &Path, vault: Option<&Vault>, look: Look<'_>) -> Belongs {
    let store = look(STORE_KEY);
    match (vault, store) {
        (Some(vault), Some(sealed)) if encrypted::opens(vault, &sealed) => Belongs::Yes,
        (Some(_), Some(_)) => Belongs::No,
        (Some(_), None) => Belongs::Unknown,
        (None, Some(value)) if encrypted::is_sealed(&value) => Belongs::No,
        (None, _) => by_labels(&folder.join("logs"), look),
    }
}

/// A log says when its stream was made, to the nanosecond, and so does the catalogue; one that has another stream under an id is
/// another's.
fn by_labels(logs: &Path, look: Look<'_>) -> Belongs {
    let mut found = Belongs::Unknown;
    for entry in std::fs::read_dir(logs).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<LogId>().ok()) else {
            continue;
        };
        let saved = look(&stream_key(id.stream())).and_then(|value| StreamSnapshot::read(&value, None).ok());
        let label = label::read(&RealFiles, &entry.path(), id).ok().flatten();
        let label = label.and_then(|label| LogLabel::unpack(&label).ok());
        if let (Some(saved), Some(label)) = (saved, label) {
            if (saved.created, &saved.account) == (label.created, &label.account) {
                return Belongs::Yes;
            }
            found = Belongs::No;
        }
    }
    found
}
