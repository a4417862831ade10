//! Damaged places in the logs of streams. Each can be settled once a server has noted what is lost with it: some cost nothing,
//! as where a record is damaged that was removed before.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use weir_backends::root::StoreDir;
use weir_backends::segment::SegmentBackend;
use weir_engine::shard::snapshot::{STREAM_PREFIX, StreamSnapshot, ledger_key};
use weir_engine::stream::ledger::Ledger;
use weir_engine::{Backend, Kind, Kv, Log, LogId, LogOptions, Seq};

use super::backends::Backends;
use crate::error::{Error, Result};

/// What a log says of a damaged place, wherever the store stands.
pub(super) fn relative(root: &Path, line: &str) -> String {
    line.replace(&format!("{}/", root.display()), "")
}

/// Whether a server has noted all that is lost of a log, which once had everything up to `log_last`.
pub(super) fn is_noted(ledger: &Ledger, log: &dyn Log, log_last: Seq) -> bool {
    let (reader, there) = (log.reader(), log.reader().extent().last);
    let cut = (there < log_last).then_some((there + 1, log_last));
    let lost = reader.lost().into_iter().map(|lost| (lost.first, lost.last));
    lost.chain(cut).all(|(first, last)| ledger.covers(first, last))
}

/// The ledger of a stream; `None` if it makes no sense.
pub(crate) fn ledger_of(kv: &dyn Kv, id: LogId) -> weir_engine::Result<Option<Ledger>> {
    Ok(match kv.get(&ledger_key(id))? {
        Some(json) => serde_json::from_slice(&json).ok(),
        None => Some(Ledger::default()),
    })
}

/// The damaged places of each stream's log of which servers have noted what is lost. Changes nothing.
///
/// # Errors
/// If a server has the store open, or its catalogue cannot be read.
pub(crate) fn noted(store: &StoreDir, folder: &Path) -> Result<BTreeMap<LogId, Vec<String>>> {
    let _hold = store.hold().map_err(|error| match error.kind {
        Kind::Busy => Error::InUse(error),
        _ => Error::Unreadable(error),
    })?;
    let root = Arc::new(SegmentBackend::open_read_only(folder).map_err(Error::Unreadable)?);
    let kv = root.kv();
    let mut backends = Backends::new(store.clone(), root).map_err(Error::Unreadable)?;
    let mut streams: Vec<StreamSnapshot> = Vec::new();
    kv.scan(STREAM_PREFIX, None, &mut |_, value| {
        // Whatever makes no sense there is told by an inspection.
        streams.extend(serde_json::from_slice(value));
        ControlFlow::Continue(())
    })
    .map_err(Error::Unreadable)?;
    let mut all = BTreeMap::new();
    for stream in streams {
        let id = LogId(stream.id);
        let options = log_options(&stream);
        let kind = stream.settings.backend;
        let (Ok(Some((log, recovery))), Some(ledger)) = (
            backends.open(kind, id, &options),
            ledger_of(kv.as_ref(), id).map_err(Error::Unreadable)?,
        ) else {
            continue;
        };
        if !recovery.damage.is_empty() && is_noted(&ledger, log.as_ref(), stream.log_last) {
            let places = recovery.damage.iter().map(|line| relative(store.root(), line));
            all.insert(id, places.collect());
        }
    }
    Ok(all)
}

/// How a stream's log is opened to be looked at.
pub(super) fn log_options(stream: &StreamSnapshot) -> LogOptions {
    LogOptions {
        compression: stream.settings.compression,
        synced: stream.log_change,
        ..LogOptions::default()
    }
}
