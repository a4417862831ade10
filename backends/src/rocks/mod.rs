//! The RocksDB backend: tens of millions of keys and random deletes in a bounded amount of memory, nothing to rebuild
//! at the start.
//!
//! One database holds all logs of a store and its key-value space; the layout is told in `keys.rs`. RocksDB's own
//! write-ahead log is off, for Weir's journal is one already: what was written since the last [`Backend::sync`] is lost
//! in a crash, and every column family comes back at the same batch.
//!
//! Erased records cannot be overwritten in place. [`LogChange::overwrite`](weir_engine::LogChange::overwrite) makes
//! [`Log::maintain`] compact the files that held them, after which their bytes are gone from the database's files.

mod damage;
mod keys;
mod kv;
mod log;
mod manifest;
mod moving;
mod nameless;
mod names;
mod options;
mod reader;
pub mod removed;
pub mod repair;
mod room;
mod sound;
mod store;
#[cfg(test)]
mod tests;
mod tidy;
mod unlinking;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rocksdb::WriteBatch;
use weir_engine::{Backend, Error, Kind, Kv, Log, LogId, LogOptions, Recovery, Result};

use crate::rules;
use keys::Meta;
use log::{RocksLog, State};
pub use options::RocksOptions;
use store::Shared;

/// A store on RocksDB.
pub struct RocksBackend {
    shared: Arc<Shared>,
}

impl RocksBackend {
    /// Opens the store in a folder of its own, or makes it.
    ///
    /// # Errors
    ///
    /// When another process has it open, the folder cannot be read or written, or what is there is not such a store.
    pub fn open(folder: &Path, options: &RocksOptions) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::io(format_args!("making {}", folder.display()), error))?;
        let shared = Arc::new(Shared::open(folder, options, false)?);
        Ok(Self { shared })
    }

    /// Opens the store for reading, as it was when it was last synced, even while another process writes it. Every
    /// write is refused as [unsupported](weir_engine::Kind::Unsupported).
    ///
    /// # Errors
    ///
    /// When there is no such store, or it cannot be read.
    pub fn open_read_only(folder: &Path, options: &RocksOptions) -> Result<Self> {
        let shared = Arc::new(Shared::open(folder, options, true)?);
        Ok(Self { shared })
    }

    /// Compacts everything: what is deleted goes from the files.
    ///
    /// # Errors
    /// If it cannot be read or written, or something is damaged, so that nothing is compacted.
    pub fn compact(&self) -> Result<()> {
        self.shared.check_compacts()?;
        self.shared.sync()?;
        self.shared.compact_range(0xff, None)?;
        // What went wrong meanwhile is told by the next write.
        self.shared.sync()
    }

    /// Tells what label a log has, and gives one to a log that has none.
    fn take_label(&self, id: LogId, options: &LogOptions, recovery: &mut Recovery) -> Result<()> {
        match self.label(id) {
            Ok(label) => recovery.label = label,
            Err(error) if error.kind == Kind::Damaged => recovery.damage.push(error.message),
            Err(error) => return Err(error),
        }
        if recovery.label.is_some() || options.label.is_empty() || self.shared.check_writable().is_err() {
            return Ok(());
        }
        let key = keys::named(keys::PREFIX_LABEL, id.0);
        let mut batch = WriteBatch::default();
        batch.put(key, keys::encode_label(&key, &options.label));
        self.shared.write(batch)
    }

    /// What is known of a log is known twice.
    fn note_twice(&self, id: LogId, state: &State, options: &LogOptions, recovery: &Recovery) -> Result<()> {
        if self.shared.check_writable().is_err() || !recovery.damage.is_empty() {
            return Ok(());
        }
        let label = recovery.label.as_ref().unwrap_or(&options.label).to_vec();
        let place = state.place;
        names::keep(&self.shared, id, &names::Named { place, label })
    }

    /// Gives a new log its place.
    fn create(&self, id: LogId) -> Result<Meta> {
        self.shared.check_writable()?;
        let next = match self.shared.get_meta(keys::KEY_NEXT_PLACE)? {
            Some(value) => value
                .try_into()
                .map(u64::from_le_bytes)
                .map_err(|_| Error::damaged("rocksdb: the catalogue's next place is not a number"))?,
            None => 1,
        };
        let meta = Meta {
            place: next,
            first: 1,
            ..Meta::default()
        };
        let key = keys::named(keys::PREFIX_LOG, id.0);
        let mut batch = WriteBatch::default();
        batch.put(keys::KEY_NEXT_PLACE, (next + 1).to_le_bytes());
        batch.put(key, meta.encode(&key));
        self.shared.write(batch)?;
        Ok(meta)
    }
}

impl Backend for RocksBackend {
    fn name(&self) -> &'static str {
        "rocksdb"
    }

    fn persistent(&self) -> bool {
        true
    }

    fn atomic_kv(&self) -> bool {
        true
    }

    fn impaired(&self) -> Option<String> {
        self.shared.impaired.clone()
    }

    fn open(&self, id: LogId, options: &LogOptions) -> Result<(Box<dyn Log>, Recovery)> {
        self.shared.check_poison()?;
        let mut states = self.shared.states.lock();
        let mut recovery = Recovery::default();
        let state = match states.get(&id).and_then(std::sync::Weak::upgrade) {
            // Readers still hold it: they and the new writer see the same log.
            Some(state) => state,
            None => {
                let meta = match self.shared.meta(id)? {
                    Some(meta) => meta,
                    None if options.existing => return Err(nameless::missing(&self.shared, id)),
                    None => {
                        recovery.created = true;
                        self.create(id)?
                    }
                };
                let state = Arc::new(State::open(&self.shared, id, meta)?);
                states.insert(id, Arc::downgrade(&state));
                state
            }
        };
        if state.open.swap(true, Ordering::AcqRel) {
            return Err(rules::already_open(id));
        }
        let label = self.take_label(id, options, &mut recovery);
        let noted = label.and_then(|()| self.note_twice(id, &state, options, &recovery));
        if let Err(error) = noted {
            state.open.store(false, Ordering::Release);
            return Err(error);
        }
        Ok((Box::new(RocksLog::new(state, options)), recovery))
    }

    fn list(&self) -> Result<Vec<LogId>> {
        let mut ids = Vec::new();
        self.shared.each_named(keys::PREFIX_LOG, &mut |id, _| {
            ids.push(LogId(id));
            Ok(())
        })?;
        Ok(ids)
    }

    fn label(&self, id: LogId) -> Result<Option<Bytes>> {
        let key = keys::named(keys::PREFIX_LABEL, id.0);
        let Some(value) = self.shared.get_meta(&key)? else {
            return Ok(None);
        };
        match keys::decode_label(&key, &value) {
            Some(label) => Ok(Some(Bytes::copy_from_slice(label))),
            None => Err(Error::damaged(format!(
                "rocksdb: the label of log {id} fails its checksum"
            ))),
        }
    }

    fn remove(&self, id: LogId) -> Result<()> {
        let mut states = self.shared.states.lock();
        let state = states.get(&id).and_then(std::sync::Weak::upgrade);
        if state.as_ref().is_some_and(|state| state.open.load(Ordering::Acquire)) {
            return Err(rules::still_open(id));
        }
        let Some(meta) = self.shared.meta(id)? else {
            return Ok(());
        };
        let mut batch = WriteBatch::default();
        batch.delete(keys::named(keys::PREFIX_LOG, id.0));
        batch.delete(keys::named(keys::PREFIX_LABEL, id.0));
        batch.delete(keys::named(keys::PREFIX_LOST, id.0));
        names::delete(&self.shared, &mut batch, id)?;
        batch.put(keys::named(keys::PREFIX_REMOVED, meta.place), []);
        let written = self.shared.write(batch);
        if written.as_ref().is_err_and(|error| error.kind == Kind::Full) && state.is_none() {
            self.shared.drop_files(meta.place, meta.families);
        }
        written?;
        states.remove(&id);
        drop(states);
        match state {
            // The last reader deletes the records when it lets go.
            Some(state) => state.removed.store(true, Ordering::Release),
            None => self.shared.delete_place(meta.place)?,
        }
        Ok(())
    }

    fn kv(&self) -> Arc<dyn Kv> {
        Arc::new(kv::RocksKv::new(Arc::clone(&self.shared)))
    }

    fn sync(&self) -> Result<()> {
        self.shared.sync()
    }
}
