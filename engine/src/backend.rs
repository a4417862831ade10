//! The narrow waist: what a storage backend promises.
//!
//! A backend is a set of logs of records by sequence, and one small key-value space. It knows nothing of subjects,
//! limits or consumers and never looks inside a record. `weir_engine::conformance` (feature `conformance`) runs these promises against any
//! implementation.

use std::ops::{ControlFlow, RangeInclusive};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::types::{Entry, EntryRef, Extent, LogId, Record, Seq};

/// How a log compresses what it stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Compression {
    /// As it came.
    #[default]
    None,
    /// LZ4: quick both ways.
    Lz4,
    /// Zstandard: smaller, slower to write. At the level that the backend finds right.
    Zstd,
    /// Zstandard at a level, one of [`Compression::LEVELS`]: the higher, the smaller and the slower to write. What reads it need not
    /// know. A backend in which logs share what is compressed may do as for [`Compression::Zstd`].
    ZstdLevel(u8),
}

impl Compression {
    /// The levels of Zstandard.
    pub const LEVELS: RangeInclusive<u8> = 1..=22;
    /// What users may write.
    pub const ALLOWED: &'static str = "none, lz4, zstd, or zstd:<level> with a level of 1 to 22";
}

impl std::str::FromStr for Compression {
    type Err = &'static str;

    /// As users write it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::Zstd),
            _ => {
                let level = text.strip_prefix("zstd:").and_then(|level| level.parse().ok());
                let level = level.filter(|level| Self::LEVELS.contains(level));
                level.map(Self::ZstdLevel).ok_or(Self::ALLOWED)
            }
        }
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Lz4 => f.write_str("lz4"),
            Self::Zstd => f.write_str("zstd"),
            Self::ZstdLevel(level) => write!(f, "zstd:{level}"),
        }
    }
}

impl From<Compression> for String {
    fn from(compression: Compression) -> Self {
        compression.to_string()
    }
}

impl TryFrom<String> for Compression {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// What the creator of a log chooses for it. The same options are given each time the log is opened; a backend reads
/// what was written under other options. [`LogOptions::synced`] and [`LogOptions::gone`] alone differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// How new records are compressed.
    pub compression: Compression,
    /// The size in bytes at which a file-per-segment backend begins a new segment.
    pub segment_bytes: u64,
    /// Whether segments are given their full size when made, and used again after a trim: for the journal, where a
    /// sync must not have to grow a file.
    pub preallocate: bool,
    /// Says whose the log is: kept beside the log for as long as it exists, up to [`LogOptions::LABEL_MAX`] bytes, and
    /// never looked into by the backend. A log keeps the label that it has; one without gets this, unless it is empty.
    pub label: Bytes,
    /// Whether the log must exist. If it does not, opening it is an error of kind [`Kind::Damaged`](crate::Kind::Damaged),
    /// and nothing is made.
    pub existing: bool,
    /// Up to which change ([`Log::last_change`]) the log is known to have been synced, from an earlier time that it was
    /// open; 0 if nothing is known. What is broken up to there is damage, and nothing intact is cut off with it, even
    /// where the log itself has lost what would tell.
    pub synced: u64,
    /// Ranges of sequences, first and last, that an earlier opening found gone with a part of the log. Where such a part is there again,
    /// and all of it counts as removed by now, somebody has put it back: a backend that keeps parts of a log in files of their own does
    /// not remove it as it does others, but sets it aside, and tells that.
    pub gone: Vec<(Seq, Seq)>,
}

impl LogOptions {
    /// The longest label, in bytes.
    pub const LABEL_MAX: usize = 1 << 20;
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            segment_bytes: 16 << 20,
            preallocate: false,
            label: Bytes::new(),
            existing: false,
            synced: 0,
            gone: Vec::new(),
        }
    }
}

/// Consecutive sequences whose records a log had, and cannot give any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The lowest.
    pub first: Seq,
    /// The highest.
    pub last: Seq,
    /// Bytes of storage that are damaged or gone with them, as far as the backend can tell; 0 if it cannot.
    pub bytes: u64,
    /// Why, in general: the place is in the log of the program.
    pub why: &'static str,
    /// The head of the one record, if what is left of it shows that: good for telling what is lost, not for serving it.
    pub head: Option<Bytes>,
}

/// A place in a log's storage where something is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Where in the file it begins.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
    /// Ranges of sequences, in order, whose records are lost with it; empty if none is.
    pub lost: Vec<(Seq, Seq)>,
}

/// What [`LogReader::check`] tells as it goes.
pub trait Check {
    /// A live record, verified.
    fn record(&mut self, entry: EntryRef<'_>) -> ControlFlow<()>;
    /// What of records is looked at. Bodies are verified all the same; where only heads are wanted, they need not be given.
    fn want(&self) -> Want {
        Want::Full
    }
    /// A damaged place.
    fn place(&mut self, place: Place);
    /// So many more bytes were read, of [`LogReader::check_bytes`].
    fn read(&mut self, bytes: u64);
    /// So many bytes were read once more, to be sure of what was found in them: that takes time, and is no more of the log.
    fn read_again(&mut self, bytes: u64) {
        let _ = bytes;
    }
    /// Whether [`LogReader::check_part`] is to go on.
    fn goes_on(&self) -> bool {
        true
    }
}

/// What a backend was given to keep beside a log: frames of an index, in their order; it does not look into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptIndex {
    /// What [`Backend::keep_index`] has to be given. One from before the list was asked for once more is worth nothing.
    pub token: u64,
    /// The list, or as much of it from its beginning on as is there, each frame as it was given.
    pub frames: Vec<Bytes>,
    /// Whether frames may be added to it; if not, a new one must be begun.
    pub open: bool,
}

/// A step of keeping an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepStep {
    /// What follows is another list, which is not read until it is complete.
    Begin,
    /// A frame more, for the list that is being written, or else the one that is kept.
    Frame(Bytes),
    /// The list that is being written takes the place of the one that is kept.
    Complete,
}

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the log was made by this call.
    pub created: bool,
    /// The label that the log had before this call; `None` if it had none, or what is left of it cannot be read.
    pub label: Option<Bytes>,
    /// Bytes of an unfinished write that were cut off at the end.
    pub torn_bytes: u64,
    /// Damage in the middle: kept where it is, not served. One line each, with file and offset.
    pub damage: Vec<String>,
    /// Why records that had been removed may be there again: writes are lost, and nothing tells what they removed. `None` if
    /// nothing speaks for it.
    pub revived: Option<String>,
    /// How many records there are more than the newest write counts: somebody may have put a file back that was missing.
    pub surplus: u64,
    /// Sequences, first and last of each range, that may have lain in files which are not there, where the number of records does not
    /// tell such a file from one that went when all in it was removed.
    pub absent: Vec<(Seq, Seq)>,
}

/// Changes to a log, carried out together: all or nothing, also across a crash, in the order of the fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogChange<'a> {
    /// Records to append; their sequences strictly increase, gaps are allowed.
    pub append: &'a [Record<'a>],
    /// Live sequences to remove, in any order; those not live (never written, erased, trimmed) are passed over.
    pub erase: &'a [Seq],
    /// Whether the erased bytes are overwritten in storage, where the backend can, rather than only forgotten.
    pub overwrite: bool,
    /// Removes every sequence below this one. May lie beyond the last: then the log is empty and its last sequence
    /// becomes `trim - 1`.
    pub trim: Option<Seq>,
    /// How many bytes each body of `append` counts for ([`Extent::bytes`], [`EntryRef::body_len`]) where that is not its length, for
    /// whoever is above has compressed it; 0 for one that is empty, and for no other. Either of all, or empty.
    pub counts: &'a [u32],
    /// Writes to the backend's [`Kv`] in the same atomic step; only where [`Backend::atomic_kv`] says so.
    pub kv: &'a [KvWrite],
}

impl<'a> LogChange<'a> {
    /// How many bytes the body of that record of `append` counts for; 0 if there is none.
    pub fn body_counts(&self, nth: usize) -> u32 {
        // Bodies are bounded by `Record::BODY_STORED_MAX`.
        let len = || self.append.get(nth).map_or(0, |record| record.body.len() as u32);
        self.counts.get(nth).copied().unwrap_or_else(len)
    }

    /// The records to append, each with how many bytes its body counts for.
    pub fn records(&self) -> impl Iterator<Item = (&'a Record<'a>, u32)> {
        let records = self.append.iter().enumerate();
        records.map(|(nth, record)| (record, self.body_counts(nth)))
    }
}

/// One write to a [`Kv`]: a key and its value, or `None` to delete it.
pub type KvWrite = (Bytes, Option<Bytes>);

/// What a scan of a log calls with each record.
pub type VisitRecord<'a> = &'a mut dyn FnMut(EntryRef<'_>) -> ControlFlow<()>;

/// What a scan of a [`Kv`] calls with each key and value.
pub type VisitKey<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// What a scan hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Heads only: bodies are neither read nor verified.
    Heads,
    /// Heads and bodies, both verified.
    Full,
}

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From low sequences to high ones.
    Forward,
    /// From high sequences to low ones.
    Backward,
}

/// A place where logs are kept: one for each store directory and kind of storage.
pub trait Backend: Send + Sync + 'static {
    /// The backend's name as users write it: `segment`, `rocksdb`, `memory`.
    fn name(&self) -> &'static str;

    /// Whether anything survives the process.
    fn persistent(&self) -> bool;

    /// Whether [`Log::write`] carries out [`LogChange::kv`]; if not, a change with such writes is refused as unsupported.
    fn atomic_kv(&self) -> bool;

    /// Opens the log, or makes it. A torn tail is cut and told; damage in the middle is told and kept out of reads;
    /// nothing else is removed. At most one `Log` of an id exists at a time: a second `open` is refused until the
    /// first is dropped.
    ///
    /// After a crash the log holds a prefix of the batches written to it, at least up to the last successful sync.
    fn open(&self, id: LogId, options: &LogOptions) -> Result<(Box<dyn Log>, Recovery)>;

    /// The logs that exist, in the order of their ids.
    fn list(&self) -> Result<Vec<LogId>>;

    /// The label of a log, whether it is open or not; `None` if there is no such log, or it has none.
    ///
    /// # Errors
    /// [`Kind::Damaged`](crate::Kind::Damaged) if it fails its checksum.
    fn label(&self, id: LogId) -> Result<Option<Bytes>>;

    /// Removes a log that is not open, and all it holds. Removing one that does not exist does nothing. Readers that
    /// were handed out before go on reading what they hold.
    fn remove(&self, id: LogId) -> Result<()>;

    /// The backend's small key-value space.
    fn kv(&self) -> Arc<dyn Kv>;

    /// Makes durable everything written so far, in every log and in the [`Kv`]. May be called from any thread while
    /// logs are being written; what was written before the call is covered. After an error nothing written since the
    /// last success may be taken as durable, every later call fails as well, and the store must be opened anew.
    fn sync(&self) -> Result<()>;

    /// What is kept beside a log that is open, to be quicker at the next start: may be less than was given, or nothing, at any time.
    /// It goes with the log, and when the log is truncated. `None` if the backend keeps no such thing.
    ///
    /// # Errors
    /// If it cannot be read.
    fn kept_index(&self, id: LogId) -> Result<Option<KeptIndex>> {
        let _ = id;
        Ok(None)
    }

    /// Keeps frames beside a log that is open. May be called from any thread. What is kept must have been synced in the log before.
    ///
    /// # Errors
    /// If it may not be kept, wholly or in part: then a new list must be begun. Nothing else suffers from that.
    fn keep_index(&self, id: LogId, token: u64, steps: &[KeepStep]) -> Result<()> {
        let _ = (id, token, steps);
        Err(crate::error::Error::unsupported("this backend keeps no index"))
    }

    /// Forgets what is kept beside a log.
    ///
    /// # Errors
    /// If that is not certain.
    fn forget_index(&self, id: LogId) -> Result<()> {
        let _ = id;
        Ok(())
    }

    /// What this backend cannot do as long as it is open like this, for damage that somebody has to repair, and how; `None` if
    /// nothing is.
    fn impaired(&self) -> Option<String> {
        None
    }

    /// What opening this backend found lost of its [`Kv`], beyond what it could mend: one line each, with the place. A
    /// backend that finds that out when it reads answers with errors then.
    fn lost(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Bytes that [`LogReader::fetch`] reads at most, or one record: what is read at once is in the way of a journal's sync, which waits for
/// the same disk.
pub const FETCH_BYTES: u64 = 1 << 20;

/// Makes durable what was written to a log before the call, from any thread. A failure poisons the log as one of [`Log::sync`] does.
pub type SyncBeside = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// The only writer of a log.
///
/// After any error of `write`, `truncate` or `sync` that is not a refusal of bad input, the log is poisoned: it
/// refuses every later write until it is opened anew.
pub trait Log: Send {
    /// Carries out a change. When it returns, readers see it; it is durable after the next sync. One that breaks
    /// the rules of [`LogChange`] (a sequence not above the last, too long a head or body) is refused whole and changes
    /// nothing.
    fn write(&mut self, change: &LogChange<'_>) -> Result<()>;

    /// Sees to it that `bytes` of records can be written, and some more after them, without the disk having to give more
    /// room; asked of a journal ([`LogOptions::preallocate`]) before each turn. A log of another kind need not do anything.
    ///
    /// An error of kind [`Full`](crate::Kind::Full) means that there is no such room; the log is not poisoned by it, and
    /// small changes can be written still. That is so for [`Log::write`] as well: where it answers `Full`, nothing was
    /// written, and the same change may be written again.
    fn reserve(&mut self, bytes: u64) -> Result<()> {
        let _ = bytes;
        Ok(())
    }

    /// Removes every sequence above `last`; a later append may use them again.
    fn truncate(&mut self, last: Seq) -> Result<()>;

    /// Makes this log's writes so far durable.
    fn sync(&mut self) -> Result<()>;

    /// What syncs this log from another thread while the log is written on; `None` where only the log itself can.
    fn sync_beside(&self) -> Option<SyncBeside> {
        None
    }

    /// The number of the last change that was written. Once it is durable, it may be given back when the log is opened
    /// again ([`LogOptions::synced`]). 0 where a backend needs no such help.
    fn last_change(&self) -> u64 {
        0
    }

    /// The next piece of work that gives back room: whatever the piece before came to is taken up first. It is done beside the
    /// log, on any thread, while the log goes on; no second one is asked for until it is over and dropped. Dropped before, it
    /// is broken off, and has changed nothing. `None` if there is nothing to do.
    ///
    /// This does nothing itself that takes long. One that fails harms nothing either, unless a sync failed: that poisons as
    /// any other does.
    fn upkeep(&mut self) -> Result<Option<Box<dyn Upkeep>>>;

    /// Gives back all that it can of what is removed, however little that is, and has new records compressed like this from now
    /// on, those that are there as well; `None` leaves all as it is compressed. `progress` is told how many bytes are done, and of
    /// how many, about. What is damaged stays where it is: that is an error of kind [`Damaged`](crate::Kind::Damaged) once all else is
    /// done. Whatever breaks it off leaves each record as it was or as it is to be.
    fn compact(&mut self, compression: Option<Compression>, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let _ = (compression, progress);
        maintain(self, u64::MAX).map(drop)
    }

    /// New records are compressed like this from now on; [`Log::upkeep`] sees to it that those are as well that are there, of the
    /// sequences given. Asked for again, only the last counts.
    fn recompress(&mut self, compression: Compression, range: RangeInclusive<Seq>) {
        let _ = (compression, range);
    }

    /// What is left to do of the last [`Log::recompress`]: given to that once the log is opened anew, it goes on where it was, or a
    /// little before.
    fn recompressing(&self) -> Option<RangeInclusive<Seq>> {
        None
    }

    /// From now on [`Log::recompress`] and [`Log::compact`] have records written anew as that says, and do not compress them: for a log
    /// whose records are compressed above. A backend that compresses nothing need not do anything.
    fn recode_by(&mut self, recoder: Arc<dyn Recoder>) {
        let _ = recoder;
    }

    /// A reader that stays valid, whatever is written, for as long as it is held.
    fn reader(&self) -> Arc<dyn LogReader>;
}

/// Who is above a backend, and compresses the records that come there.
pub trait Recoder: Send + Sync {
    /// A record that is stored, as it is to be stored instead, for the same place; `None` if it stays as it is.
    ///
    /// # Errors
    /// If it cannot be made; one that is damaged stays as it is.
    fn recode(&self, stored: &Record<'_>) -> Result<Option<Recoded>>;
}

/// A record that is stored instead of another one, with the same sequence and time. It counts for the same number of bytes, head and body
/// together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recoded {
    /// The head.
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
    /// How many bytes the body counts for: see [`LogChange::counts`].
    pub counts: u32,
}

/// What a step of an [`Upkeep`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpkeepPiece {
    /// Bytes that it read and wrote.
    pub bytes: u64,
    /// Whether that was the last.
    pub over: bool,
}

/// Work that gives back room of a log ([`Log::upkeep`]).
pub trait Upkeep: Send {
    /// Does the next piece, of about a mebibyte of reading and as much writing.
    ///
    /// # Errors
    /// If storage fails; the work is over then.
    fn step(&mut self) -> Result<UpkeepPiece>;
}

/// Does the upkeep of a log here and now, until about `budget` bytes were read or written; answers whether more remains to be done.
///
/// # Errors
/// If storage fails.
pub fn maintain<L: Log + ?Sized>(log: &mut L, budget: u64) -> Result<bool> {
    let mut spent = 0;
    while let Some(mut work) = log.upkeep()? {
        if spent > 0 && spent >= budget {
            return Ok(true);
        }
        loop {
            let UpkeepPiece { bytes, over } = work.step()?;
            spent += bytes;
            if over {
                break;
            }
        }
    }
    Ok(false)
}

impl dyn Log + '_ {
    /// As [`maintain`].
    ///
    /// # Errors
    /// As there.
    pub fn maintain(&mut self, budget: u64) -> Result<bool> {
        maintain(self, budget)
    }

    /// [`Log::write`] of nothing but records.
    pub fn append(&mut self, records: &[Record<'_>]) -> Result<()> {
        self.write(&LogChange {
            append: records,
            ..LogChange::default()
        })
    }

    /// [`Log::write`] of nothing but erasures.
    pub fn erase(&mut self, seqs: &[Seq]) -> Result<()> {
        self.write(&LogChange {
            erase: seqs,
            ..LogChange::default()
        })
    }

    /// [`Log::write`] of nothing but a trim.
    pub fn trim(&mut self, first: Seq) -> Result<()> {
        self.write(&LogChange {
            trim: Some(first),
            ..LogChange::default()
        })
    }
}

/// Reads a log, from any thread, without ever blocking its writer for longer than a pointer swap.
pub trait LogReader: Send + Sync {
    /// What the log holds now.
    fn extent(&self) -> Extent;

    /// Records that are known to be lost: those that opening the log found damaged, and those that readers met since.
    /// Not all that the log ever lost: what was removed since is not among them.
    fn lost(&self) -> Vec<Lost> {
        Vec::new()
    }

    /// The live record of that sequence, verified; `None` if there is none. A record that fails its checksum is an
    /// error of kind [`Kind::Damaged`](crate::Kind::Damaged).
    fn get(&self, seq: Seq) -> Result<Option<Entry>>;

    /// Up to which sequence of the range, `None` for not even the first, records can be read now without waiting for a disk, as
    /// far as that can be told quickly: a wrong answer costs time, nothing else. Does not wait for a disk itself.
    fn at_hand(&self, range: RangeInclusive<Seq>) -> Option<Seq> {
        Some(*range.end())
    }

    /// Has the records of the range read by the time it returns, so that reading them soon waits for no disk, those right behind
    /// it as well if they can be on their way meanwhile: from a thread that may wait. Of a large range only about the first
    /// [`FETCH_BYTES`]. What cannot be read is no error here.
    fn fetch(&self, range: RangeInclusive<Seq>) {
        let _ = range;
    }

    /// What was read so far is not needed soon: what is mapped of it no longer counts as memory of this process. It stays in the
    /// cache of the operating system, and can be read as before.
    fn let_go(&self) {}

    /// Visits the live records of the range in order until told to stop. Records that fail their checksum are passed
    /// over, logged with their place, and counted in [`Extent::damaged`]. Records written or removed meanwhile may or
    /// may not be seen.
    fn scan(&self, range: RangeInclusive<Seq>, want: Want, direction: Direction, visit: VisitRecord<'_>) -> Result<()>;

    /// Visits the ranges of live sequences within a range, first and last, in order; two may follow each other without a gap. Looks
    /// at no record where the backend can tell without.
    fn live(&self, range: RangeInclusive<Seq>, visit: &mut dyn FnMut(Seq, Seq)) -> Result<()> {
        let mut open: Option<(Seq, Seq)> = None;
        self.scan(range, Want::Heads, Direction::Forward, &mut |entry| {
            open = match open {
                Some((first, last)) if last + 1 == entry.seq => Some((first, entry.seq)),
                before => {
                    if let Some((first, last)) = before {
                        visit(first, last);
                    }
                    Some((entry.seq, entry.seq))
                }
            };
            ControlFlow::Continue(())
        })?;
        if let Some((first, last)) = open {
            visit(first, last);
        }
        Ok(())
    }

    /// Reads all that storage has of the log, what was removed and is still there included, and checks it against every checksum
    /// that there is. Live records are visited in order, as a forward [`LogReader::scan`] of all would; those that fail count as
    /// damaged from then on. A backend that cannot tell places tells none: what is missing among the records is damaged.
    ///
    /// # Errors
    /// If storage cannot be read.
    fn check(&self, check: &mut dyn Check) -> Result<()> {
        self.scan(0..=Seq::MAX, Want::Full, Direction::Forward, &mut |entry| {
            check.read(entry.head.len() as u64 + u64::from(entry.body_len));
            check.record(entry)
        })
    }

    /// As [`LogReader::check`], but only a part, of about `bytes`, from a sequence on: of a log that is written meanwhile, and so that
    /// what is in memory of it for others stays there. Answers where the next part begins; `None` at the end. Where the check
    /// does not go on, that is where it stopped, or where it began.
    ///
    /// # Errors
    /// If storage cannot be read.
    fn check_part(&self, from: Seq, bytes: u64, check: &mut dyn Check) -> Result<Option<Seq>> {
        check_scanned(bytes, check, |visit| {
            self.scan(from..=Seq::MAX, Want::Full, Direction::Forward, visit)
        })
    }

    /// About how many bytes [`LogReader::check`] reads.
    fn check_bytes(&self) -> u64 {
        self.extent().bytes
    }

    /// The damage that was met so far and touches the range: ranges of sequences, first and last, in order and whole, always
    /// the same for the same damage. Not each of these sequences need have been live. A backend without
    /// [`Backend::atomic_kv`] need not tell any: only an index that is kept beside the log asks.
    fn damaged(&self, range: RangeInclusive<Seq>) -> Vec<(Seq, Seq)> {
        let _ = range;
        Vec::new()
    }
}

/// A [`LogReader::check_part`] by a scan of bodies from where the part begins.
///
/// # Errors
/// Those of the scan.
pub fn check_scanned(
    bytes: u64,
    check: &mut dyn Check,
    scan: impl FnOnce(VisitRecord<'_>) -> Result<()>,
) -> Result<Option<Seq>> {
    let (mut read, mut next) = (0, None);
    scan(&mut |entry| {
        let seq = entry.seq;
        read += entry.head.len() as u64 + u64::from(entry.body_len);
        if check.record(entry).is_continue() && check.goes_on() && read < bytes {
            return ControlFlow::Continue(());
        }
        next = Some(seq + 1);
        ControlFlow::Break(())
    })?;
    // Only now, for whoever is told may rest, and a scan holds what is deleted meanwhile.
    check.read(read);
    Ok(next)
}

/// Keys that [`Kv::remove_prefix`] deletes in one go, where a backend has no quicker way.
const REMOVE_STEP: usize = 4096;

/// An ordered map of small things: index pages, checkpoints, consumer state, configuration. Durable after
/// [`Backend::sync`]; after a crash it holds a prefix of its writes.
pub trait Kv: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Carries out all writes, or none.
    fn put_all(&self, writes: &[KvWrite]) -> Result<()>;

    /// Visits the keys that begin with `prefix`, in byte order, from `from` on (itself included; the whole key, not
    /// what follows the prefix), until told to stop.
    fn scan(&self, prefix: &[u8], from: Option<&[u8]>, visit: VisitKey<'_>) -> Result<()>;

    /// Deletes the keys that begin with `prefix`. If it fails, some may be left.
    fn remove_prefix(&self, prefix: &[u8]) -> Result<()> {
        let mut from: Option<Bytes> = None;
        loop {
            let mut writes: Vec<KvWrite> = Vec::new();
            self.scan(prefix, from.as_deref(), &mut |key, _| {
                writes.push((Bytes::copy_from_slice(key), None));
                match writes.len() < REMOVE_STEP {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })?;
            let Some((last, _)) = writes.last() else {
                return Ok(());
            };
            // What is deleted is not walked over again.
            from = Some(last.clone());
            self.put_all(&writes)?;
        }
    }
}
