//! The backends of a store, opened for reading when something first needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_backends::root::StoreDir;
use weir_engine::shard::label::LogLabel;
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Backend, Log, LogId, LogOptions, Recovery, Result};

/// A backend and the logs that it has.
pub(super) struct Opened {
    backend: Arc<dyn Backend>,
    logs: BTreeSet<LogId>,
}

/// The backends by kind. One that cannot be opened stays so.
pub(super) struct Backends {
    store: StoreDir,
    opened: BTreeMap<BackendKind, Result<Opened>>,
}

impl Backends {
    /// Begins with the backend that holds what all depends on.
    pub fn new(store: StoreDir, root: Arc<dyn Backend>) -> Result<Self> {
        let logs = root.list()?.into_iter().collect();
        let root = Opened { backend: root, logs };
        Ok(Self {
            store,
            opened: BTreeMap::from([(BackendKind::Segment, Ok(root))]),
        })
    }

    /// A log, if it exists.
    pub fn open(
        &mut self,
        kind: BackendKind,
        id: LogId,
        options: &LogOptions,
    ) -> Result<Option<(Box<dyn Log>, Recovery)>> {
        let opened = self.get(kind)?;
        match opened.logs.contains(&id) {
            true => opened.backend.open(id, options).map(Some),
            false => Ok(None),
        }
    }

    /// The logs of every backend that was opened, with what they say of themselves.
    pub fn logs(&self) -> impl Iterator<Item = (BackendKind, LogId, Option<LogLabel>)> {
        self.opened.iter().flat_map(|(kind, opened)| {
            let logs = opened
                .iter()
                .flat_map(|opened| opened.logs.iter().map(move |id| (opened, *id)));
            logs.map(|(opened, id)| {
                let label = opened.backend.label(id).ok().flatten();
                (*kind, id, label.and_then(|label| LogLabel::unpack(&label).ok()))
            })
        })
    }

    /// What those that were opened cannot do for damage.
    pub fn impaired(&self) -> impl Iterator<Item = String> {
        let opened = self.opened.values().filter_map(|opened| opened.as_ref().ok());
        opened.filter_map(|opened| opened.backend.impaired())
    }

    /// Opens what was not asked for yet but lies in the store.
    pub fn open_rest(&mut self) {
        let kind = BackendKind::RocksDb;
        if self.store.folder(kind).is_some_and(|path| path.is_dir()) {
            // Without a stream in it that is no problem worth a line.
            let _ = self.get(kind);
        }
    }

    fn get(&mut self, kind: BackendKind) -> Result<&Opened> {
        let store = &self.store;
        let opened = self.opened.entry(kind).or_insert_with(|| {
            let backend = store.open_read_only(kind)?;
            let logs = backend.list()?.into_iter().collect();
            Ok(Opened { backend, logs })
        });
        opened.as_ref().map_err(Clone::clone)
    }
}
