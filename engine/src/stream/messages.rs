//! The messages of one stream: its log, its index, and the changes of this turn that the log does not have yet.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{Direction, KvWrite, Log, LogChange, LogReader, Want};
use crate::error::{Error, Kind, Result};
use crate::index::Index;
use crate::stream::Storage;
use crate::stream::ahead::ReadAhead;
use crate::stream::config::StreamConfig;
use crate::stream::damage::Damage;
use crate::stream::dedup::Dedup;
use crate::stream::ledger::Ledger;
use crate::stream::message::{self, Marks, Message};
use crate::stream::settings::Settings;
use crate::stream::tail::Tail;
use crate::stream::ttl::{Life, life_of};
use crate::types::{Entry, LogId, NanoTime, Record, Seq};

/// Erasures of a turn up to which going through them all is quicker than asking the index.
const ERASED_SEARCH: usize = 512;

/// Heads that are read in one go.
const HEADS_AT_ONCE: usize = 4096;

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
}

/// A message that went away, for the consumers that counted on it.
pub(crate) struct Removed {
    pub seq: Seq,
    pub subject: Bytes,
}

/// A message's place and size, without its body.
struct Head {
    time: NanoTime,
    subject: Bytes,
    size: u64,
    /// Whether it is never too old.
    ageless: bool,
    /// When it ends by itself.
    ending: Option<NanoTime>,
}

/// The messages of a stream. Changes are seen at once by reads through it; [`Messages::write`] brings them to the
/// log.
pub(crate) struct Messages {
    pub id: LogId,
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
    /// Records that could not be read.
    damage: RefCell<Damage>,
    log: Box<dyn Log>,
    reader: Arc<dyn LogReader>,
    tail: Tail,
    ahead: ReadAhead,
    last: Seq,
    last_time: Option<NanoTime>,
    /// The first message's sequence and time, once looked up.
    first_time: Option<(Seq, NanoTime)>,
    /// Messages below this never grow too old.
    ageless_below: Seq,
    /// The first message that can grow too old, and its time, once looked up.
    first_aging: Option<(Seq, NanoTime)>,
    bytes: u64,
    /// Interior sequences to erase from the log.
    erased: Vec<Seq>,
    /// Whether all messages were purged: from then on it has a first sequence, even if it never held anything.
    cleared: bool,
    overwrite: bool,
    /// Below this the log holds nothing.
    trimmed: Seq,
    kv_writes: Vec<KvWrite>,
}

/// What [`Messages::open`] needs to know.
pub(crate) struct Identity {
    pub id: LogId,
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
            damage: RefCell::default(),
            log,
            reader,
            tail: Tail::default(),
            ahead: ReadAhead::default(),
            last,
            last_time,
            first_time: None,
            ageless_below: 0,
            first_aging: None,
            bytes: extent.bytes + message::stored_size_of_file_record(0, 0) * extent.count,
            erased: Vec::new(),
            cleared: false,
            overwrite: false,
            trimmed: extent.first,
            kv_writes: Vec::new(),
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

    /// The last sequence that the log has.
    pub fn log_last(&self) -> Seq {
        self.reader.extent().last
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
        self.index.add(seq, message::subject_of(&head))?;
        if message::has_life(&head) {
            let life = message::life_in(&head, |len| Ok::<_, Error>(body.slice(..len.min(body.len()))))?;
            if let Some(at) = life.end(time) {
                self.index.add_ending(at, seq);
            }
        }
        self.bytes += message::stored_size_of_record(self.config.storage, &head, body.len());
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

    /// The size of a live message as limits count it; 0 if there is none.
    pub fn size_at(&self, seq: Seq) -> Result<u64> {
        Ok(self.head(seq)?.map_or(0, |head| head.size))
    }

    /// A live message. That it is damaged is reported, once.
    pub fn load(&self, seq: Seq) -> Result<Option<Message>> {
        if !self.index.is_live(seq)? {
            return Ok(None);
        }
        let entry = match self.tail.get(seq) {
            Some(entry) => Ok(Some(entry.clone())),
            None => self.reader.get(seq),
        };
        self.unpack(seq, entry)
    }

    /// The damaged records below a sequence that were met and are still there.
    pub fn damaged_below(&self, seq: Seq) -> Vec<Seq> {
        self.damage.borrow().below(seq)
    }

    fn unpack(&self, seq: Seq, entry: Result<Option<Entry>>) -> Result<Option<Message>> {
        let message = entry.and_then(|entry| entry.map(Message::unpack).transpose());
        if let Err(error) = &message
            && error.kind == Kind::Damaged
        {
            self.note_damage(seq, error);
        }
        message
    }

    /// Reports a damaged record, the first time that it is met.
    fn note_damage(&self, seq: Seq, why: &Error) {
        if self.damage.borrow_mut().found(seq) {
            tracing::error!(stream = %self.name, seq, "a damaged message is passed over: {why}");
        }
    }

    /// Whether damaged records were met since they were last told of.
    pub fn has_untold_damage(&self) -> bool {
        self.damage.borrow().has_untold()
    }

    /// The damaged records that were met since this was last asked.
    pub fn take_damage(&mut self) -> Vec<Seq> {
        self.damage.get_mut().take()
    }

    /// [`Messages::load`] for somebody who reads in order.
    pub fn load_in_order(&mut self, seq: Seq) -> Result<Option<Message>> {
        // The tail may still hold what is gone from the log, and the log what went away in this turn.
        if self.tail.get(seq).is_some() || self.erased.len() > ERASED_SEARCH {
            return self.load(seq);
        }
        if seq < self.first() || self.erased.contains(&seq) {
            return Ok(None);
        }
        let entry = self.ahead.get(self.reader.as_ref(), seq, self.last);
        self.unpack(seq, entry)
    }

    /// [`Messages::load_in_order`] for a reader that passes over what is damaged.
    pub fn read_in_order(&mut self, seq: Seq) -> Result<Option<Message>> {
        match self.load_in_order(seq) {
            Err(error) if error.kind == Kind::Damaged => Ok(None),
            message => message,
        }
    }

    /// The first live message from `from` on, if reading in order has come by it already.
    pub fn next_in_order(&self, from: Seq) -> Option<Seq> {
        self.ahead.next(from)
    }

    /// The subject of a live message.
    pub fn subject_at(&self, seq: Seq) -> Result<Option<Bytes>> {
        if !self.index.is_live(seq)? {
            return Ok(None);
        }
        Ok(self.head(seq)?.map(|head| head.subject))
    }

    /// Removes a live message, which may be damaged; answers whether there was one.
    pub fn remove(&mut self, seq: Seq) -> Result<bool> {
        let head = match self.index.is_live(seq)? {
            true => self.head(seq)?,
            false => None,
        };
        let head = match head {
            Some(head) => Some(head),
            None => self.head_of_damaged(seq)?,
        };
        let Some(Head {
            subject, size, ending, ..
        }) = head
        else {
            return Ok(false);
        };
        self.index.remove(seq, &subject)?;
        if let Some(at) = ending {
            self.index.remove_ending(at, seq);
        }
        self.bytes = self.bytes.saturating_sub(size);
        self.damage.get_mut().gone(seq);
        self.erased.push(seq);
        self.ahead.forget(seq);
        if self.track_removed {
            self.removed.push(Removed { seq, subject });
        }
        Ok(true)
    }

    /// What can be said of a record whose head cannot be read: the subject is what the index has it under, the size that
    /// of the average message, until the next start counts again. `None` if no record is there.
    fn head_of_damaged(&mut self, seq: Seq) -> Result<Option<Head>> {
        if self.tail.get(seq).is_some() {
            return Ok(None);
        }
        match self.reader.get(seq) {
            Err(error) if error.kind == Kind::Damaged => self.note_damage(seq, &error),
            Err(error) => return Err(error),
            // The log has lost all trace of it, but not the index.
            Ok(None) if self.index.is_live(seq)? => {
                self.note_damage(seq, &Error::damaged("the log does not have it any more"));
            }
            Ok(_) => return Ok(None),
        }
        let subject = self.index.subject_at(seq)?;
        Ok(subject.map(|subject| Head {
            time: 0,
            subject,
            size: self.bytes.checked_div(self.index.len()).unwrap_or(0),
            ageless: false,
            // Should its end come, nothing is left to remove.
            ending: None,
        }))
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
        self.index.clear(self.last + 1)?;
        self.cleared |= next == 0;
        self.bytes = 0;
        self.erased.clear();
        self.ahead.clear();
        Ok(gone)
    }

    /// The first live message's time.
    pub fn first_time(&mut self) -> Result<Option<NanoTime>> {
        let Some(seq) = self.index.first() else {
            return Ok(None);
        };
        match self.first_time {
            Some((known, time)) if known == seq => Ok(Some(time)),
            _ => {
                let time = self.head(seq)?.map(|head| head.time);
                self.first_time = time.map(|time| (seq, time));
                Ok(time)
            }
        }
    }

    /// The first live message that can grow too old, and its time.
    pub fn first_aging(&mut self) -> Result<Option<(Seq, NanoTime)>> {
        let Some(first) = self.index.first() else {
            return Ok(None);
        };
        if let Some((seq, time)) = self.first_aging
            && self.index.is_live(seq)?
        {
            return Ok(Some((seq, time)));
        }
        let mut next = Some(first);
        if self.ageless_below > first {
            next = self.index.next_live(self.ageless_below)?;
        }
        self.first_aging = None;
        while let Some(seq) = next {
            match self.head(seq)? {
                Some(head) if !head.ageless => {
                    self.first_aging = Some((seq, head.time));
                    break;
                }
                Some(_) => self.ageless_below = seq + 1,
                // How old a damaged one is, nobody knows: it goes with the next one that can be read.
                None => {
                    self.note_damage(seq, &Error::damaged("its time cannot be read"));
                    self.ageless_below = seq + 1;
                }
            }
            next = self.index.next_live(seq + 1)?;
        }
        Ok(self.first_aging)
    }

    /// The first live sequence that is not older than a time; one above the last if all are older.
    pub fn seq_at(&self, time: NanoTime) -> Result<Seq> {
        let (mut low, mut high) = (self.first(), self.last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(live) = self.index.next_live(middle)? else {
                high = middle;
                continue;
            };
            match self.head(live)? {
                Some(head) if head.time < time => low = live + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Whether the log lacks anything of what this stream holds.
    pub fn is_dirty(&self) -> bool {
        self.tail.has_unwritten() || !self.erased.is_empty() || self.first() > self.trimmed
    }

    /// What the journal has to know about removals of this turn: all below the first are gone, and the second ones.
    pub fn removals(&mut self) -> Option<(Seq, Vec<Seq>)> {
        let first = self.first();
        let erased: Vec<Seq> = self.erased_from(first).collect();
        (first > self.trimmed || !erased.is_empty()).then_some((first, erased))
    }

    /// The removed sequences that trimming below `first` does not cover.
    fn erased_from(&self, first: Seq) -> impl Iterator<Item = Seq> {
        self.erased.iter().copied().filter(move |seq| *seq > first)
    }

    /// Visits the heads of all live messages in order.
    pub fn each_head(&self, visit: &mut dyn FnMut(Seq, &[u8]) -> ControlFlow<()>) -> Result<()> {
        let mut next = self.index.first();
        while let Some(seq) = next {
            let unwritten = self.tail.unwritten().next().map_or(self.last + 1, |record| record.seq);
            if seq >= unwritten {
                break;
            }
            let mut live = Vec::new();
            self.reader
                .scan(seq..=unwritten - 1, Want::Heads, Direction::Forward, &mut |entry| {
                    live.push((entry.seq, entry.head.to_vec()));
                    match live.len() < HEADS_AT_ONCE {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                })?;
            next = match live.last() {
                Some((last, _)) if live.len() == HEADS_AT_ONCE => self.index.next_live(last + 1)?,
                _ => None,
            };
            for (seq, head) in &live {
                if self.index.is_live(*seq)? && visit(*seq, head).is_break() {
                    return Ok(());
                }
            }
        }
        for record in self.tail.unwritten() {
            if self.index.is_live(record.seq)? && visit(record.seq, record.head).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Brings this turn's changes to the log. After an error the stream must be opened anew.
    pub fn write(&mut self, keep_tail: bool) -> Result<()> {
        if !self.is_dirty() {
            return Ok(());
        }
        let first = self.first();
        if !self.overwrite {
            // What is only to be forgotten goes with the trim; what is to be overwritten must be named.
            self.erased.retain(|seq| *seq > first);
        }
        self.kv_writes.clear();
        self.index.take_writes(&mut self.kv_writes);
        let records: Vec<Record<'_>> = self.tail.unwritten().collect();
        self.log.write(&LogChange {
            append: &records,
            erase: &self.erased,
            overwrite: self.overwrite,
            trim: (first > self.trimmed).then_some(first),
            kv: &self.kv_writes,
        })?;
        self.index.written();
        self.trimmed = self.trimmed.max(first);
        self.erased.clear();
        self.overwrite = false;
        self.tail.written(keep_tail);
        Ok(())
    }

    /// Closes the log, so that it can be opened anew; what is in memory and what is stored can still be read.
    pub fn close(&mut self) {
        self.log = Box::new(crate::store::ClosedLog);
    }

    /// Lets go of memory that only a busy stream needs.
    pub fn idle(&mut self) {
        if !self.tail.has_unwritten() {
            self.tail.written(false);
        }
        self.kv_writes = Vec::new();
        self.ahead.clear();
    }

    /// Reclaims storage, moving about `budget` bytes; answers whether there is more to do.
    pub fn maintain(&mut self, budget: u64) -> Result<bool> {
        self.log.maintain(budget)
    }

    /// What a message is about, without reading its body.
    fn head(&self, seq: Seq) -> Result<Option<Head>> {
        let storage = self.config.storage;
        if let Some(entry) = self.tail.get(seq) {
            return Ok(Some(Head::of(storage, entry)));
        }
        let mut found = None;
        let mut life = Ok(Life::Limits);
        self.reader
            .scan(seq..=seq, Want::Heads, Direction::Forward, &mut |entry| {
                life = message::life_in(entry.head, Err);
                found = Some(Head {
                    time: entry.time,
                    subject: Bytes::copy_from_slice(message::subject_of(entry.head)),
                    size: message::stored_size_of_record(storage, entry.head, entry.body_len as usize),
                    ageless: false,
                    ending: None,
                });
                ControlFlow::Break(())
            })?;
        if let Some(head) = &mut found {
            let life = match life {
                Ok(life) => life,
                Err(headers_len) => match self.reader.get(seq) {
                    Ok(Some(entry)) if headers_len <= entry.body.len() => life_of(&entry.body[..headers_len]),
                    Ok(_) => Life::Limits,
                    // Its ending is not known any more; should it come, nothing is left to remove.
                    Err(error) if error.kind == Kind::Damaged => Life::Limits,
                    Err(error) => return Err(error),
                },
            };
            head.set_life(life);
        }
        Ok(found)
    }
}

impl Head {
    fn of(storage: Storage, entry: &Entry) -> Self {
        let subject = message::subject_of(&entry.head);
        let mut head = Self {
            time: entry.time,
            subject: entry.head.slice_ref(subject),
            size: message::stored_size_of_record(storage, &entry.head, entry.body.len()),
            ageless: false,
            ending: None,
        };
        let life = message::life_in(&entry.head, Err);
        head.set_life(life.unwrap_or_else(|len| life_of(&entry.body[..len.min(entry.body.len())])));
        head
    }

    fn set_life(&mut self, life: Life) {
        self.ageless = life == Life::Never;
        self.ending = life.end(self.time);
    }
}
