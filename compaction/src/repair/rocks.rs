//! A RocksDB whose files cannot be told apart, or that compacts nothing: put together anew beside, and exchanged when it is whole.

use std::ops::ControlFlow;

use weir_backends::rocks::repair::{Ailment, Claim, Fits, ailment, manifest, mend};
use weir_backends::root::{StoreDir, exchange_folders};
use weir_engine::shard::snapshot::{STREAM_PREFIX, StreamSnapshot};
use weir_engine::stream::settings::BackendKind;
use weir_engine::stream::subject_of;
use weir_engine::{LogId, words};

use super::quarantine::Quarantine;
use super::report::{Action, Doing};
use crate::error::{Error, Result};

/// The folder beside RocksDB's in which the new one is made.
const BESIDE: &str = "rocksdb.mending";

/// Logs that lack records, and that are named, at most.
const SHORT_NAMED: usize = 64;

/// What is to be done about the store's RocksDB.
pub(super) struct Plan {
    pub ailment: Ailment,
    pub action: Action,
    /// Whether it is known before that all is there afterwards but what lies in damaged blocks.
    pub is_sure: bool,
}

/// What is to be done; `None` if there is no RocksDB or it is well.
pub(super) fn plan(store: &StoreDir) -> Result<Option<Plan>> {
    let Some(folder) = store.folder(BackendKind::RocksDb).filter(|folder| folder.is_dir()) else {
        return Ok(None);
    };
    let Some(ailment) = ailment(&folder).map_err(Error::Unreadable)? else {
        return Ok(None);
    };
    let named = match &ailment {
        Ailment::Names(_) => manifest(&folder).map_err(Error::Unreadable)?,
        Ailment::Block(_) => None,
    };
    let text = match (&ailment, &named) {
        (Ailment::Names(what), Some(named)) => format!(
            "RocksDB's CURRENT is written again, on a copy, and names {named}, as SYNCED says; nothing else changes, but that damaged \
             blocks cost what lies in them; its folder is kept as it was. It cannot be opened: {what}"
        ),
        (Ailment::Names(what), None) => format!(
            "RocksDB puts its files together anew, on a copy, by what its tables say of themselves; its folder is kept as it was. It \
             cannot be opened: {what}"
        ),
        (Ailment::Block(what), _) => {
            format!(
                "all that RocksDB can read goes into a new one; its folder is kept as it was. It is damaged: {what}"
            )
        }
    };
    Ok(Some(Plan {
        ailment,
        action: Action::new(Doing::Rocksdb, text),
        is_sure: named.is_some(),
    }))
}

/// The logs that RocksDB should have by the catalogue, and what their records are like: of one of the streams' subjects, and no older than
/// the stream; in an encrypted store, sealed for the log. None if the catalogue cannot be read.
pub(super) fn claims(store: &StoreDir) -> Vec<Claim> {
    let mut claims = Vec::new();
    let Ok(root) = store.open_read_only(BackendKind::Segment) else {
        return claims;
    };
    // What is damaged of it makes no claim.
    let _ = root.kv().scan(STREAM_PREFIX, None, &mut |_, value| {
        let snapshot = StreamSnapshot::read(value, None);
        if let Ok(snapshot) = snapshot
            && snapshot.settings.backend == BackendKind::RocksDb
        {
            let is_empty = snapshot.last < snapshot.first.max(1);
            let StreamSnapshot { created, config, .. } = snapshot;
            let is_one = move |subject: &[u8]| {
                let mut subjects = config.subjects.iter();
                subjects.any(|filter| weir_subject::matches(filter.as_bytes(), subject))
            };
            let id = LogId(snapshot.id);
            let fits: Fits = match store.seals() {
                // What is sealed was sealed for one log.
                Some(seals) => Box::new(move |seq, _, head| seals(BackendKind::RocksDb, id, seq, head)),
                None => Box::new(move |_, time, head| time >= created && is_one(subject_of(head))),
            };
            claims.push(Claim {
                id,
                empty: is_empty.then_some(snapshot.log_last),
                fits,
            });
        }
        ControlFlow::Continue(())
    });
    claims
}

/// Does it. No server has the store open.
pub(super) fn act(
    store: &StoreDir,
    (ailment, claims): (&Ailment, &[Claim]),
    action: &mut Action,
    quarantine: &mut Quarantine,
) -> Result<()> {
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
    .and_then(|()| mend(&folder, &beside, ailment, claims).map_err(Error::Unreadable));
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
    if mended.put_together {
        told.push("RocksDB put its files together anew, by what its tables say of themselves".to_owned());
    }
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
    if !mended.recognized.is_empty() {
        told.push(format!(
            "nothing told any more whose {} are: that is known by their messages' subjects and times, by what they were sealed for, or they \
             had no messages",
            words::count(mended.recognized.len() as u64, "log")
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
