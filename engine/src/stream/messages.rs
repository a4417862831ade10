//! The messages of one stream: its log, its index, and the changes of this turn that the log does not have yet.

mod heads;
mod reading;
mod staged;
pub(super) mod times;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::backend::{Compression, KvWrite, Log, LogReader, Lost, Upkeep};
use crate::error::{Error, Kind, Result};
use crate::index::{Digest, Index, Litter};
use crate::shard::relocation::Gone;
use crate::store::Unread;
use crate::stream::ahead::ReadAhead;
use crate::stream::config::StreamConfig;
use crate::stream::damage::Damage;
use crate::stream::dedup::Dedup;
use crate::stream::ledger::Ledger;
use crate::stream::message::{self, Marks};
use crate::stream::settings::Settings;
use crate::stream::tail::Tail;
use crate::types::{NanoTime, Seq, StreamId};
use staged::Staged;
pub(crate) use staged::TurnNumber;

/// What a stream holds, as clients are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Messages.
    pub messages: u64,
    /// Their bytes, counted as nats-server's file store does.
    pub bytes: u64,
    /// The first sequence; one above the last when it is empty.
    pub first_seq: Seq,
    /// The first message's time.
    pub first_time: Option<NanoTime>,
    /// The last sequence given.
    pub last_seq: Seq,
    /// The time of the last message given.
    pub last_time: Option<NanoTime>,
    /// Distinct subjects.
    pub num_subjects: u64,
    /// Sequences between the first and the last that hold nothing.
    pub num_deleted: u64,
    /// All messages that it holds, added up as they came and went: the same as of any other stream, on any machine and backend, that
    /// holds messages of the same sequences, subjects and sizes. `None` if it is not known: of a paged index that an earlier version
    /// of this program made, or one from which a message went that could not be read; until the stream is empty.
    pub digest: Option<Digest>,
}

/// A message that went away, for the consumers that counted on it.
pub(crate) struct Removed {
    pub seq: Seq,
    pub subject: Bytes,
}

/// The messages of a stream. Changes are seen at once by reads through it; they go to the log when their turn is committed
/// ([`Messages::land`]).
pub(crate) struct Messages {
    pub id: StreamId,
    pub account: Arc<str>,
    pub name: Arc<str>,
    pub config: StreamConfig,
    pub settings: Settings,
    pub created: NanoTime,
    pub dedup: Dedup,
    pub ledger: Ledger,
    pub index: Index,
    /// Messages removed since the consumers were last told; filled only while there are consumers.
    pub removed: Vec<Removed>,
    pub track_removed: bool,
    /// Why messages that had been removed may be there again, as opening the log found; until that is told.
    pub revived: Option<String>,
    /// How many messages the log has more than its newest write counts, as opening it found.
    pub surplus: u64,
    /// Sequences that may have lain in files of its log which are not there, as opening the log found; until that is known.
    pub absent: Vec<(Seq, Seq)>,
    /// Whether opening the log found something lost that no opening before had found; until the consumers are told.
    pub lost_anew: bool,
    /// Where the copy of its log that is being made hears of what is removed.
    pub copying: Option<Arc<Mutex<Gone>>>,
    /// Damaged places that opening the log found, and bytes of an unfinished write that it left out; of an
    /// [`Image`](crate::image::Image) only, elsewhere they were told.
    pub places: Vec<String>,
    pub torn_bytes: u64,
    /// Records that could not be read.
    damage: RefCell<Damage>,
    log: Box<dyn Log>,
    reader: Arc<dyn LogReader>,
    tail: Tail,
    ahead: ReadAhead,
    last: Seq,
    /// While the stream is opened: the last sequence that a checkpoint or the journal tells of.
    told: Seq,
    last_time: Option<NanoTime>,
    /// The first message's sequence and time, once looked up.
    first_time: Option<(Seq, NanoTime)>,
    /// Messages below this never grow too old.
    ageless_below: Seq,
    /// The first message that can grow too old, and its time, once looked up.
    first_aging: Option<(Seq, NanoTime)>,
    /// The message that was read from a disk to know its age.
    age_fetched: Option<Seq>,
    bytes: u64,
    /// Interior sequences that this turn removed.
    erased: Vec<Seq>,
    /// What earlier turns changed and the log does not have.
    staged: VecDeque<Staged>,
    /// Whether all messages were purged: from then on it has a first sequence, even if it never held anything.
    cleared: bool,
    /// Whether the journal does not know that yet.
    untold_cleared: bool,
    /// What the log has, could not be read when it was opened, and is not in the index.
    unread: Vec<Lost>,
    /// Sequences of messages that were lost before this start and whose subjects nobody knows.
    unknown: Vec<(Seq, Seq)>,
    /// The subjects of some of them, after all.
    subjects_of_lost: BTreeMap<Seq, Bytes>,
    overwrite: bool,
    /// Below this the log holds nothing, or will not when what is staged is written.
    trimmed: Seq,
    kv_writes: Vec<KvWrite>,
    /// What is left of the index that was cleared last, until the shard takes it away.
    pub litter: Option<Litter>,
}

/// What [`Messages::open`] needs to know.
pub(crate) struct Identity {
    pub id: StreamId,
    pub account: Arc<str>,
    pub name: Arc<str>,
    pub config: StreamConfig,
    pub settings: Settings,
    pub created: NanoTime,
}

impl Messages {
    /// Takes up what the log holds. `last` is the highest sequence known from elsewhere.
    pub fn open(
        who: Identity,
        log: Box<dyn Log>,
        index: Index,
        last: Seq,
        last_time: Option<NanoTime>,
    ) -> Result<Self> {
        let reader = log.reader();
        let extent = reader.extent();
        let told = last;
        let last = last.max(extent.last).max(who.config.first_seq.saturating_sub(1));
        let mut messages = Self {
            id: who.id,
            account: who.account,
            name: who.name,
            config: who.config,
            settings: who.settings,
            created: who.created,
            dedup: Dedup::default(),
            ledger: Ledger::default(),
            index,
            removed: Vec::new(),
            track_removed: false,
            revived: None,
            surplus: 0,
            lost_anew: false,
            absent: Vec::new(),
            copying: None,
            places: Vec::new(),
            torn_bytes: 0,
            damage: RefCell::default(),
            log,
            reader,
            tail: Tail::default(),
            ahead: ReadAhead::default(),
            last,
            told,
            last_time,
            first_time: None,
            ageless_below: 0,
            first_aging: None,
            age_fetched: None,
            bytes: extent.bytes + message::stored_size_of_file_record(0, 0) * extent.count,
            erased: Vec::new(),
            staged: VecDeque::new(),
            cleared: false,
            untold_cleared: false,
            unread: Vec::new(),
            unknown: Vec::new(),
            subjects_of_lost: BTreeMap::new(),
            overwrite: false,
            trimmed: extent.first,
            kv_writes: Vec::new(),
            litter: None,
        };
        if let Some(seq) = messages.index.last_live() {
            let newest = messages.head(seq)?.map(|head| head.time);
            messages.last_time = newest.max(messages.last_time);
        }
        Ok(messages)
    }

    /// The last sequence given.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// When the last sequence was given.
    pub fn last_time(&self) -> Option<NanoTime> {
        self.last_time
    }

    /// The first live sequence, or one above the last; 0 for a stream that never held anything, and has no first sequence
    /// of its own.
    pub fn first(&self) -> Seq {
        match self.index.first() {
            Some(first) => first,
            None if self.last == 0 && !self.cleared => self.config.first_seq.min(1),
            None => self.last + 1,
        }
    }

    /// Whether all messages were purged while it had none yet.
    pub fn is_cleared(&self) -> bool {
        self.cleared
    }

    /// All messages were purged, as a checkpoint or the journal says.
    pub fn set_cleared(&mut self) {
        self.cleared = true;
    }

    /// At the end of opening: of what is lost, nobody knows the subjects, but of what the index still has, and where
    /// the log can tell.
    pub fn note_unknown(&mut self) {
        self.unknown = self.ledger.open_ranges(self.last);
        let told = self.reader.lost().into_iter();
        self.subjects_of_lost = told
            .filter_map(|lost| Some((lost.first, Bytes::copy_from_slice(message::subject_of(&lost.head?)))))
            .collect();
    }

    /// A message above a sequence that is lost, and may have been of the subject.
    pub fn lost_of(&self, subject: &[u8], above: Seq) -> Result<Option<Seq>> {
        for &(first, last) in self.unknown.iter().filter(|(_, last)| *last > above) {
            for seq in first.max(above + 1)..=last {
                let other = self.subjects_of_lost.get(&seq).is_some_and(|of| of != subject);
                if !other && !self.index.is_live(seq)? {
                    return Ok(Some(seq));
                }
            }
        }
        Ok(None)
    }

    /// While the stream is opened: the journal tells of this sequence.
    pub fn tell_of(&mut self, seq: Seq) {
        self.told = self.told.max(seq);
    }

    /// Where the log goes on behind all that a checkpoint and the journal tell of: the last sequence of these, and of the log.
    pub fn untold(&self) -> Option<(Seq, Seq)> {
        let last = self.log_last();
        (last > self.told).then_some((self.told, last))
    }

    /// The last sequence that the log has.
    pub fn log_last(&self) -> Seq {
        self.reader.extent().last
    }

    /// The number of the log's last change.
    pub fn log_change(&self) -> u64 {
        self.log.last_change()
    }

    /// What the log knows to be lost, and what of it could not be read when it was opened, as far as it was not removed since.
    pub fn log_lost(&self) -> Vec<Lost> {
        let mut lost = self.reader.lost();
        if !self.unread.is_empty() {
            let first = self.reader.extent().first;
            let there = self.unread.iter().filter(|unread| unread.last >= first);
            lost.extend(there.map(|unread| Lost {
                first: unread.first.max(first),
                ..unread.clone()
            }));
            lost.sort_by_key(|lost| lost.first);
        }
        lost
    }

    /// At the opening: the log has these and cannot read them, and the index does not have them.
    pub fn lack(&mut self, unread: Unread) {
        if unread.lost.is_empty() {
            return;
        }
        // They stay until messages behind them are removed: a disk may read them again, or somebody put back their file.
        self.trimmed = self.trimmed.max(self.first());
        self.bytes = unread.bytes;
        self.unread = unread.lost;
    }

    /// Its log, to read.
    pub fn reader(&self) -> &Arc<dyn LogReader> {
        &self.reader
    }

    /// The newest messages, those among them that the log does not have.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The state that clients are told.
    pub fn state(&mut self) -> Result<StreamState> {
        let first_seq = self.first();
        let messages = self.index.len();
        Ok(StreamState {
            messages,
            bytes: self.bytes,
            first_seq,
            first_time: self.first_time()?,
            last_seq: self.last,
            last_time: self.last_time,
            num_subjects: self.index.subjects(),
            num_deleted: match messages {
                0 => 0,
                _ => (self.last + 1 - first_seq).saturating_sub(messages),
            },
            digest: self.index.digest(),
        })
    }

    /// Bytes held, as limits count them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Stores a message under a sequence above the last; answers its packed head.
    pub fn append(
        &mut self,
        seq: Seq,
        time: NanoTime,
        subject: &[u8],
        headers_len: usize,
        marks: Marks,
        body: Bytes,
    ) -> Result<Bytes> {
        let mut head = Vec::with_capacity(5 + subject.len());
        message::pack_head(subject, headers_len, marks, &mut head);
        let head = Bytes::from(head);
        self.put(seq, time, head.clone(), body)?;
        Ok(head)
    }

    /// Stores a message under a sequence above the last.
    pub fn put(&mut self, seq: Seq, time: NanoTime, head: Bytes, body: Bytes) -> Result<()> {
        debug_assert!(seq > self.last, "sequence {seq} is not above {}", self.last);
        let size = message::stored_size_of_record(self.config.storage, &head, body.len());
        self.index.add(seq, message::subject_of(&head), size, time)?;
        if message::has_life(&head) {
            let life = message::life_in(&head, |len| Ok::<_, Error>(body.slice(..len.min(body.len()))))?;
            if let Some(at) = life.end(time) {
                self.index.add_ending(at, seq);
            }
        }
        self.bytes += size;
        self.tail.push(seq, time, head, body);
        self.last = seq;
        self.last_time = Some(time);
        Ok(())
    }

    /// Raises the last sequence to at least this, given at that time.
    pub fn raise_last(&mut self, seq: Seq, time: NanoTime) {
        self.last = self.last.max(seq);
        // Times never go back. The log may know a sequence already, but not when it was given, if its message is gone.
        self.last_time = self.last_time.max(Some(time));
    }

    /// Removes a live message, which may be damaged; answers whether there was one.
    pub fn remove(&mut self, seq: Seq) -> Result<bool> {
        self.remove_of(seq, None)
    }

    /// The same, of a message whose subject is known, if it is.
    pub fn remove_of(&mut self, seq: Seq, subject: Option<&[u8]>) -> Result<bool> {
        let Some(leaving) = self.leaving(seq, subject)? else {
            return Ok(false);
        };
        let size = Some(leaving.size).filter(|_| !leaving.guessed);
        self.index.remove(seq, &leaving.subject, size)?;
        if let Some(at) = leaving.ending {
            self.index.remove_ending(at, seq);
        }
        self.bytes = self.bytes.saturating_sub(leaving.size);
        self.damage.get_mut().gone(seq);
        self.erased.push(seq);
        self.ahead.forget(seq);
        if self.track_removed {
            let subject = leaving.subject;
            self.removed.push(Removed { seq, subject });
        }
        Ok(true)
    }

    /// Removes a message and overwrites its bytes in storage.
    pub fn remove_securely(&mut self, seq: Seq) -> Result<bool> {
        let removed = self.remove(seq)?;
        self.overwrite |= removed;
        Ok(removed)
    }

    /// Removes everything; the next sequence is at least `next`.
    pub fn clear(&mut self, next: Seq) -> Result<u64> {
        let gone = self.index.len();
        self.last = self.last.max(next.saturating_sub(1));
        self.litter = self.index.clear(self.last + 1)?;
        self.untold_cleared |= next == 0 && self.last == 0 && !self.cleared;
        self.cleared |= next == 0;
        self.unread.clear();
        self.unknown.clear();
        self.subjects_of_lost.clear();
        self.ledger.purged(self.last + 1);
        self.bytes = 0;
        self.erased.clear();
        self.ahead.clear();
        Ok(gone)
    }

    /// What the journal has to know about removals of this turn: all below the first are gone, and the second ones.
    pub fn removals(&mut self) -> Option<(Seq, Vec<Seq>)> {
        let first = self.first();
        let erased: Vec<Seq> = self.erased_from(first).collect();
        let untold = std::mem::take(&mut self.untold_cleared);
        (first > self.trimmed || !erased.is_empty() || untold).then_some((first, erased))
    }

    /// The removed sequences that trimming below `first` does not cover.
    fn erased_from(&self, first: Seq) -> impl Iterator<Item = Seq> {
        self.erased.iter().copied().filter(move |seq| *seq > first)
    }

    /// Goes on with a copy of its log. Neither has anything that is not written.
    pub fn go_over(&mut self, copy: Self) {
        self.settings.backend = copy.settings.backend;
        self.settings.index = copy.settings.index;
        self.copying = None;
        (self.log, self.reader, self.index) = (copy.log, copy.reader, copy.index);
        if self.settings.compression != copy.settings.compression {
            // It was changed while the copy was made.
            self.log.recompress(self.settings.compression, 0..=self.last);
        }
        (self.tail, self.ahead, self.damage) = (copy.tail, ReadAhead::default(), copy.damage);
        self.bytes = copy.bytes;
        self.trimmed = copy.trimmed;
        self.unread = copy.unread;
        self.kv_writes = copy.kv_writes;
        // Searches that are under way know by it that they ask another index.
        self.name = Arc::from(&*self.name);
    }

    /// Closes the log, so that it can be opened anew; what is in memory and what is stored can still be read.
    pub fn close(&mut self) {
        self.log = Box::new(crate::store::ClosedLog);
    }

    /// Lets go of memory that only a busy stream needs.
    pub fn idle(&mut self) {
        self.tail.let_go(false);
        self.kv_writes = Vec::new();
        self.ahead.clear();
        self.index.idle();
    }

    /// Has new messages compressed like this, and those up to a sequence as well, from another on, in time.
    pub fn recompress(&mut self, compression: Compression, range: RangeInclusive<Seq>) {
        self.log.recompress(compression, range);
    }

    /// What is left to do of that.
    pub fn recompressing(&self) -> Option<(Seq, Seq)> {
        self.log.recompressing().map(RangeInclusive::into_inner)
    }

    /// Gives back all that is removed, and has everything compressed like this; see [`Log::compact`].
    ///
    /// # Errors
    /// If storage fails, or the log lacks something for want of room.
    pub fn compact(&mut self, compression: Option<Compression>, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        if self.is_dirty() {
            return Err(Error::new(Kind::Full, "its log has no room for what it holds"));
        }
        self.log.compact(compression, progress)
    }

    /// Bytes that its log takes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.reader.extent().disk_bytes
    }

    /// The next piece of work that gives back room of its log, as [`Log::upkeep`].
    pub fn upkeep(&mut self) -> Result<Option<Box<dyn Upkeep>>> {
        self.log.upkeep()
    }
}
