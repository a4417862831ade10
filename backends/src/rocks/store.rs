//! The database that the logs of a store share: its handles, its errors, its one way of writing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, Weak};

use parking_lot::Mutex;
use rocksdb::{
    BottommostLevelCompaction, ColumnFamily, CompactOptions, DB, DBRawIterator, ErrorKind, FlushOptions, ReadOptions,
    Snapshot, WriteBatch, WriteOptions,
};
use weir_engine::{Error, Kind, KvWrite, LogId, Result, Seq};

use super::log::{State, clip_lost};
use super::options::{RocksOptions, database, families};
use super::unlinking::{Pace, Waiting};
use super::{damage, keys, keys::Meta, manifest, room};

/// Up to so many records are deleted one by one. A range tombstone costs every later read a little, a plain one only
/// those that meet it.
pub(super) const FEW: usize = 64;

/// What RocksDB's errors say where the disk is full: the names of the system's errors.
const NO_SPACE: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// What becomes of the blocks that a scan reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocks {
    /// They stay in memory.
    Kept,
    /// They do not.
    Passing,
    /// They do not, and those that come next are read with them.
    Ahead,
}

/// Bytes that are read with a block, for [`Blocks::Ahead`].
const AHEAD: usize = 1 << 20;

/// An open database.
pub(super) struct Shared {
    pub db: DB,
    /// Behind the database, so that it is closed by then.
    _waiting: Option<Waiting>,
    /// Who unlinks its files with pauses.
    pace: Option<Pace>,
    folder: PathBuf,
    /// Up to where the manifest is known to be on disk.
    manifest: Mutex<manifest::Whole>,
    read_only: bool,
    /// What is damaged, so that nothing is compacted.
    pub impaired: Option<String>,
    /// Why nothing is written any more.
    poison: OnceLock<String>,
    write_options: WriteOptions,
    /// Bytes that must be free before RocksDB writes again after the disk was full: as many as it keeps in memory.
    wants_free: usize,
    /// The logs that are open or read; a log that is removed meanwhile leaves at once.
    pub states: Mutex<HashMap<LogId, Weak<State>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if !self.read_only && self.poison.get().is_none() {
            // Writes what is in memory to files, as closing does.
            self.db.cancel_all_background_work(true);
            self.note_manifest();
            // A start on a disk that is full by then may have had it, and the next one needs it, too.
            room::keep(&self.folder);
        }
    }
}

/// Turns an error of RocksDB into ours.
pub(super) fn failed(doing: &str, error: &rocksdb::Error) -> Error {
    match error.kind() {
        ErrorKind::Corruption => Error::damaged(format!("rocksdb: {doing}: {error}")),
        // RocksDB keeps in memory what found no room, and writes it as soon as there is some.
        ErrorKind::IOError if NO_SPACE.iter().any(|text| error.as_ref().contains(text)) => Error::new(
            Kind::Full,
            format!("rocksdb: {doing}: the disk is full ({error}); nothing was lost"),
        ),
        _ => Error::io(format_args!("rocksdb: {doing}"), error),
    }
}

impl Shared {
    pub fn open(path: &Path, options: &RocksOptions, read_only: bool) -> Result<Self> {
        manifest::check(path)?;
        let options = &RocksOptions {
            // What is only looked at compacts nothing, and says nothing of how others in the process do.
            compacts_aside: options.compacts_aside && !read_only,
            ..options.clone()
        };
        let (settings, pace) = database(options);
        let impaired = damage::noted(path);
        let open = || {
            let all = families(options, impaired.is_none());
            let opened = if read_only {
                // Exactly the families that are there: none can be made.
                let there = DB::list_cf(&settings, path).unwrap_or_default();
                let all = all.into_iter().filter(|cf| there.iter().any(|name| name == cf.name()));
                DB::open_cf_descriptors_read_only(&settings, path, all, false)
            } else {
                DB::open_cf_descriptors(&settings, path, all)
            };
            opened.map_err(|error| failed(&format!("opening {}", path.display()), &error))
        };
        let opened = match open() {
            Err(error) if error.kind == Kind::Full && !read_only && room::let_go(path) => open(),
            opened => opened,
        };
        let db = opened.map_err(|error| match error.kind {
            Kind::Damaged => Error::damaged(format!("{error}; {}", manifest::remedy(path))),
            _ => error,
        })?;
        if !read_only {
            // Of the opening before this one RocksDB has removed what this one wrote anew.
            room::keep(path);
        }
        let mut write_options = WriteOptions::default();
        write_options.disable_wal(true);
        let shared = Self {
            db,
            _waiting: (!read_only).then(|| Waiting::of(path)),
            pace,
            folder: path.to_owned(),
            manifest: Mutex::default(),
            read_only,
            impaired,
            poison: OnceLock::new(),
            write_options,
            wants_free: options.write_buffer_bytes,
            states: Mutex::new(HashMap::new()),
        };
        shared.check_version(path)?;
        if !read_only {
            shared.finish_removals()?;
            // RocksDB begins a new manifest with each opening.
            shared.note_manifest();
        }
        Ok(shared)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn check_version(&self, path: &Path) -> Result<()> {
        match self.get_meta(keys::KEY_VERSION)? {
            Some(found) if found == keys::VERSION.to_le_bytes() => Ok(()),
            Some(found) => Err(Error::unsupported(format!(
                "{}: the layout of this store has version {found:?}, this program knows {}: use a newer one",
                path.display(),
                keys::VERSION
            ))),
            None if self.read_only => Err(Error::damaged(format!(
                "{}: a RocksDB, but not one of Weir's",
                path.display()
            ))),
            None => {
                let mut batch = WriteBatch::default();
                batch.put(keys::KEY_VERSION, keys::VERSION.to_le_bytes());
                self.write(batch)?;
                // Whatever happens next, the store is known as ours to read-only openings.
                self.sync()
            }
        }
    }

    /// Deletes the records of logs that were removed while readers held them.
    fn finish_removals(&self) -> Result<()> {
        let mut places = Vec::new();
        self.each_named(keys::PREFIX_REMOVED, &mut |place, _| {
            places.push(place);
            Ok(())
        })?;
        for place in places {
            self.delete_place(place)?;
        }
        Ok(())
    }

    /// Deletes all records of a removed log.
    pub fn delete_place(&self, place: u64) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.delete(keys::named(keys::PREFIX_REMOVED, place));
        self.delete_range(&mut batch, place, 0, Seq::MAX, 0xff)?;
        self.write(batch)
    }

    /// Removes the files that hold nothing but records of a log all of which go, where the disk is too full to write down that they
    /// do: that needs the room. Whoever asks for it tries again to write it down.
    pub fn drop_files(&self, place: u64, families: u8) {
        let (low, high) = (keys::record(place, 0), keys::record(place, Seq::MAX));
        let bodies = self.bodies_of(families).map(|family| self.bodies(family));
        for family in std::iter::once(self.heads()).chain(bodies).flatten() {
            if let Err(error) = self.db.delete_file_in_range_cf(family, low, high) {
                tracing::warn!("{}", failed("removing files", &error));
            }
        }
    }

    /// Adds the deletion of the sequences from `low` up to, but without, `high` to a batch.
    pub fn delete_range(&self, batch: &mut WriteBatch, place: u64, low: Seq, high: Seq, families: u8) -> Result<()> {
        let (low, high) = (keys::record(place, low), keys::record(place, high));
        batch.delete_range_cf(self.heads()?, low, high);
        for family in self.bodies_of(families) {
            batch.delete_range_cf(self.bodies(family)?, low, high);
        }
        Ok(())
    }

    /// The families of a bit set.
    pub fn bodies_of(&self, families: u8) -> impl Iterator<Item = u8> + use<> {
        (0..keys::BODIES.len() as u8).filter(move |family| families & (1 << family) != 0)
    }

    pub fn cf(&self, name: &str) -> Result<&ColumnFamily> {
        self.db
            .cf_handle(name)
            .ok_or_else(|| Error::damaged(format!("rocksdb: no column family {name}")))
    }

    pub fn heads(&self) -> Result<&ColumnFamily> {
        self.cf(keys::HEADS)
    }

    pub fn bodies(&self, family: u8) -> Result<&ColumnFamily> {
        self.cf(keys::BODIES.get(usize::from(family)).unwrap_or(&"?"))
    }

    pub fn kv(&self) -> Result<&ColumnFamily> {
        self.cf(keys::KV)
    }

    /// Refuses when the store takes no writes (any more).
    pub fn check_writable(&self) -> Result<()> {
        if self.read_only {
            return Err(Error::unsupported("this store was opened for reading only"));
        }
        self.check_poison()
    }

    /// Refuses when the store must be opened anew.
    pub fn check_poison(&self) -> Result<()> {
        match self.poison.get() {
            None => Ok(()),
            Some(why) => Err(Error::new(
                Kind::Poisoned,
                format!("an earlier write or sync failed: {why}; it must be opened anew"),
            )),
        }
    }

    /// After this nothing is written until the store is opened anew; unless all that is missing is room.
    pub fn poison(&self, error: Error) -> Error {
        if !self.read_only && error.kind != Kind::Full {
            // The first is the cause.
            let _ = self.poison.set(error.message.clone());
            if error.kind == Kind::Damaged
                && let Err(error) = damage::note(&self.folder, &error.message)
            {
                tracing::error!("noting what is damaged in {}: {error}", self.folder.display());
            }
            tracing::error!("{error}; nothing more is written until the store is opened anew");
        }
        error
    }

    /// The error of a write, which says how much room it takes to go on, if that is what is missing.
    fn not_written(&self, doing: &str, error: &rocksdb::Error) -> Error {
        let mut error = failed(doing, error);
        if error.kind == Kind::Full {
            if let Some(pace) = &self.pace {
                pace.hurry();
            }
            let free = self.wants_free.div_ceil(1 << 20);
            error.message += &format!("; RocksDB writes again once {free} MiB are free");
        }
        error
    }

    /// Carries out a batch. A failure poisons the store, unless it is that the disk is full: then nothing was written.
    pub fn write(&self, batch: WriteBatch) -> Result<()> {
        self.check_writable()?;
        self.db
            .write_opt(batch, &self.write_options)
            .map_err(|error| self.poison(self.not_written("writing", &error)))
    }

    /// Adds writes of the key-value space to a batch.
    pub fn add_kv(&self, batch: &mut WriteBatch, writes: &[KvWrite]) -> Result<()> {
        let kv = self.kv()?;
        for (key, value) in writes {
            match value {
                Some(value) => batch.put_cf(kv, key, value),
                None => batch.delete_cf(kv, key),
            }
        }
        Ok(())
    }

    /// Writes everything in memory to files, and those to the disk. A failure poisons the store, unless it is that the disk is
    /// full: what had no room stays in memory, and goes to new files the next time.
    pub fn sync(&self) -> Result<()> {
        self.check_writable()?;
        let small = [rocksdb::DEFAULT_COLUMN_FAMILY_NAME, keys::NAMES, keys::KV].map(|name| self.cf(name));
        let mut all = small.into_iter().collect::<Result<Vec<_>>>()?;
        all.push(self.heads()?);
        for family in self.bodies_of(0xff) {
            all.push(self.bodies(family)?);
        }
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db
            .flush_cfs_opt(&all, &options)
            .map_err(|error| self.poison(self.not_written("flushing", &error)))?;
        self.adjust_pace();
        self.note_manifest();
        room::put_back(&self.folder);
        Ok(())
    }

    /// Files that nobody needs are unlinked as fast as they become more.
    fn adjust_pace(&self) {
        if let Some(pace) = &self.pace {
            pace.adjust();
        }
    }

    /// Refuses where nothing is compacted.
    pub fn check_compacts(&self) -> Result<()> {
        match &self.impaired {
            None => self.check_writable(),
            Some(why) => Err(Error::damaged(format!("nothing is compacted: {why}"))),
        }
    }

    /// Rewrites the files that have records of a log: heads, and the bodies of these families. Without a log, those of all families
    /// that have something deleted in them, or in files above them.
    pub fn compact_range(&self, families: u8, place: Option<u64>) -> Result<()> {
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        if place.is_some() {
            // What comes to the last level by this is not rewritten once more there.
            options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        }
        let mut all = vec![self.heads()?];
        for family in self.bodies_of(families) {
            all.push(self.bodies(family)?);
        }
        if place.is_none() {
            all.push(self.kv()?);
            all.push(self.cf(rocksdb::DEFAULT_COLUMN_FAMILY_NAME)?);
            all.push(self.cf(keys::NAMES)?);
        }
        let low = place.map(|place| keys::record(place, 0));
        let high = place.map(|place| keys::record(place, Seq::MAX));
        for family in all {
            self.db.compact_range_cf_opt(family, low, high, &options);
        }
        Ok(())
    }

    /// Rewrites the files that have heads, or bodies of these families, of some sequences of a log.
    pub fn compact_between(&self, families: u8, place: u64, (low, high): (Seq, Seq)) -> Result<()> {
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        let (low, high) = (keys::record(place, low), keys::record(place, high));
        let mut all = vec![self.heads()?];
        for family in self.bodies_of(families) {
            all.push(self.bodies(family)?);
        }
        for family in all {
            self.db.compact_range_cf_opt(family, Some(low), Some(high), &options);
        }
        self.adjust_pace();
        Ok(())
    }

    /// A note that cannot be written costs nothing but some of the next opening's certainty: the one before stays.
    fn note_manifest(&self) {
        if let Err(error) = manifest::note(&self.folder, &mut self.manifest.lock()) {
            tracing::warn!(
                "noting how far RocksDB's manifest is on disk, in {}: {error}",
                self.folder.display()
            );
        }
    }

    pub fn get_meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.db
            .get(key)
            .map_err(|error| failed("reading the catalogue", &error))
    }

    /// What is known of a log.
    pub fn meta(&self, id: LogId) -> Result<Option<Meta>> {
        let key = keys::named(keys::PREFIX_LOG, id.0);
        match self.get_meta(&key)? {
            Some(value) => Meta::decode(&key, &value).map(Some).ok_or_else(|| {
                Error::damaged(format!("rocksdb: the catalogue's entry of log {id} fails its checksum"))
            }),
            None => Ok(None),
        }
    }

    /// The sequences of a log that a repair could not find, those left out that are below its first. Where that note is damaged, none:
    /// it is there to be told once, and no reason to keep a log closed.
    pub fn lost(&self, id: LogId, first: Seq) -> Result<Vec<(Seq, Seq)>> {
        let key = keys::named(keys::PREFIX_LOST, id.0);
        let value = match self.get_meta(&key) {
            Err(error) if error.kind == Kind::Damaged => None,
            value => value?,
        };
        let lost = value.and_then(|value| keys::decode_lost(&key, &value));
        Ok(clip_lost(lost.unwrap_or_default(), first, Seq::MAX))
    }

    /// Visits the entries of the catalogue that have this prefix, in the order of their numbers.
    pub fn each_named(&self, prefix: u8, visit: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange([prefix]));
        let mut iter = self.db.raw_iterator_opt(options);
        iter.seek_to_first();
        while let Some((key, value)) = iter.item() {
            if let Some(number) = key.get(1..).and_then(|key| key.try_into().ok()) {
                visit(u64::from_be_bytes(number), value)?;
            }
            iter.next();
        }
        iter.status().map_err(|error| failed("reading the catalogue", &error))
    }

    /// An iterator over records of a log, within the sequences given.
    pub fn records<'a>(
        &'a self,
        cf: &ColumnFamily,
        place: u64,
        (low, high): (Seq, Seq),
        snapshot: Option<&Snapshot<'_>>,
        blocks: Blocks,
    ) -> DBRawIterator<'a> {
        let mut options = ReadOptions::default();
        options.fill_cache(blocks == Blocks::Kept);
        if blocks == Blocks::Ahead {
            options.set_readahead_size(AHEAD);
        }
        options.set_iterate_lower_bound(keys::record(place, low));
        let upper = match high.checked_add(1) {
            Some(high) => keys::record(place, high),
            None => keys::record(place + 1, 0),
        };
        options.set_iterate_upper_bound(upper);
        if let Some(snapshot) = snapshot {
            options.set_snapshot(snapshot);
        }
        self.db.raw_iterator_cf_opt(cf, options)
    }

    /// Bytes that the records of a log take in files, about.
    pub fn disk_bytes(&self, place: u64, families: u8) -> Result<u64> {
        let (low, high) = (keys::record(place, 0), keys::record(place, Seq::MAX));
        let range = [rocksdb::Range::new(&low, &high)];
        let size = |cf| {
            let sizes = self.db.get_approximate_sizes_cf(cf, &range);
            sizes.into_iter().sum::<u64>()
        };
        let mut sum = size(self.heads()?);
        for family in self.bodies_of(families) {
            sum += size(self.bodies(family)?);
        }
        Ok(sum)
    }
}
