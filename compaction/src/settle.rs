//! Settling findings: whoever runs the store has seen what was lost, and it goes on without.

use std::ops::ControlFlow;
use std::path::Path;

use weir_backends::root::StoreDir;
use weir_engine::Kind;
use weir_engine::finding::{FINDING_PREFIX, Finding};
use weir_engine::stream::settings::BackendKind;

use crate::error::{Error, Result};

/// Which findings are settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All that there are.
    All,
    /// Those with these keys, as [`inspect`](crate::inspect::inspect) tells them.
    Keys(Vec<String>),
}

/// Settles findings of the store in a directory; answers the text of each. Health no longer tells of them, and a journal that
/// was kept for them goes with the next checkpoint. What is lost stays in the ledgers of the streams.
///
/// # Errors
/// If there is no store, a server has it open, it cannot be read or written, or it has no finding of one of the keys; then
/// none is settled.
pub fn settle(path: &Path, which: &Which) -> Result<Vec<String>> {
    let store = StoreDir::find(path).ok_or_else(|| Error::NotAStore {
        path: path.to_path_buf(),
    })?;
    let root = store.open(BackendKind::Segment).map_err(|error| match error.kind {
        Kind::Busy => Error::InUse(error),
        _ => Error::Unreadable(error),
    })?;
    let kv = root.kv();
    let mut found = Vec::new();
    kv.scan(FINDING_PREFIX, None, &mut |key, value| {
        let text = serde_json::from_slice::<Finding>(value).map(|finding| finding.to_string());
        let name = String::from_utf8_lossy(&key[FINDING_PREFIX.len()..]).into_owned();
        let text = text.unwrap_or_else(|error| format!("{name} makes no sense: {error}"));
        found.push((name, key.to_vec(), text));
        ControlFlow::Continue(())
    })
    .map_err(Error::Unreadable)?;
    if let Which::Keys(keys) = which {
        if let Some(unknown) = keys.iter().find(|key| !found.iter().any(|(name, ..)| name == *key)) {
            return Err(Error::NoSuchFinding {
                wanted: unknown.clone(),
                there: found.into_iter().map(|(name, ..)| name).collect(),
            });
        }
        found.retain(|(name, ..)| keys.contains(name));
    }
    let writes: Vec<_> = found.iter().map(|(_, key, _)| (key.clone().into(), None)).collect();
    kv.put_all(&writes)
        .and_then(|()| root.sync())
        .map_err(Error::Unreadable)?;
    Ok(found.into_iter().map(|(_, _, text)| text).collect())
}
