//! A RocksDB whose files cannot be told apart, or that compacts nothing: put together anew beside, and exchanged when it is whole.

use weir_backends::rocks::repair::{Ailment, ailment, mend};
use weir_backends::root::{StoreDir, exchange_folders};
use weir_engine::stream::settings::BackendKind;
use weir_engine::words;

use super::quarantine::Quarantine;
use super::report::{Action, Doing};
use crate::error::{Error, Result};

/// The folder beside RocksDB's in which the new one is made.
const BESIDE: &str = "rocksdb.mending";

/// Logs that lack records, and that are named, at most.
const SHORT_NAMED: usize = 64;

/// What is to be done about the store's RocksDB; `None` if there is none or it is well.
pub(super) fn plan(store: &StoreDir) -> Result<Option<(Ailment, Action)>> {
    let Some(folder) = store.folder(BackendKind::RocksDb).filter(|folder| folder.is_dir()) else {
        return Ok(None);
    };
    let found = ailment(&folder).map_err(Error::Unreadable)?;
    Ok(found.map(|ailment| {
        let text = match &ailment {
            Ailment::Names(what) => format!(
                "RocksDB puts its files together anew, on a copy, by what its tables say of themselves; its folder is kept as it \
                 was. It cannot be opened: {what}"
            ),
            Ailment::Block(what) => format!(
                "all that RocksDB can read goes into a new one; its folder is kept as it was. It is damaged: {what}"
            ),
        };
        (ailment, Action::new(Doing::Rocksdb, text))
    }))
}

/// Does it. No server has the store open.
pub(super) fn act(store: &StoreDir, ailment: &Ailment, action: &mut Action, quarantine: &mut Quarantine) -> Result<()> {
    let Some(folder) = store.folder(BackendKind::RocksDb) else {
        return Ok(());
    };
    let beside = store.root().join(BESIDE);
    let mended = match beside.exists() {
        // It may also be the one that was there before, of a repair that was cut short behind the exchange.
        true => quarantine.take(
            &beside,
            &beside,
            "an earlier repair was cut short, and had this in its hands",
        ),
        false => Ok(()),
    }
    .and_then(|()| mend(&folder, &beside, ailment).map_err(Error::Unreadable));
    let mended = match mended {
        Ok(mended) => mended,
        Err(error) => {
            // Only what was made here goes; the store's own folder is as it was.
            if let Err(left) = std::fs::remove_dir_all(&beside)
                && left.kind() != std::io::ErrorKind::NotFound
            {
                action.failed(&format!("{} is left over: {left}", beside.display()));
            }
            action.failed(&error);
            return Ok(());
        }
    };
    exchange_folders(&folder, &beside).map_err(|error| Error::Output {
        path: folder.clone(),
        error,
    })?;
    quarantine.take(&beside, &folder, &action.text)?;
    let mut told = vec![format!(
        "it opens, with {}",
        words::count(mended.logs.len() as u64, "log")
    )];
    if !mended.left_out.is_empty() {
        told.push(format!(
            "left out, for they cannot be read: {}",
            mended.left_out.join(", ")
        ));
    }
    if !mended.recounted.is_empty() {
        told.push(format!(
            "{} had no entry in the catalogue that can be read: what they hold was counted anew",
            words::count(mended.recounted.len() as u64, "log")
        ));
    }
    if mended.without_keys {
        let why = match ailment {
            Ailment::Names(_) => "nothing tells whether all of what they were is there",
            Ailment::Block(_) => "a part of them cannot be read",
        };
        told.push(format!("the indexes are made anew from the records: {why}"));
    }
    for (log, count) in mended.short.iter().take(SHORT_NAMED) {
        told.push(format!(
            "log {log} lacks {}: they count as lost, with what may have been removed beside them",
            words::count(*count, "record")
        ));
    }
    if mended.lost > 0 {
        told.push(format!(
            "{} in damaged blocks cannot be read",
            words::count(mended.lost, "record")
        ));
    }
    action.done(told);
    Ok(())
}
