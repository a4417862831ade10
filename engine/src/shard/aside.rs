//! Large bodies are on disk once. Where a turn has many bytes of them for a stream, the journal has a reference in the place of each, and
//! the body is in the stream's own log alone.
//!
//! The journal is written first, then the log, as always: so a log has nothing that the journal does not tell of. Only then, and with
//! `sync` only when that log was synced as well, is the turn let out; a log that cannot take a body leaves it to the journal after all
//! ([`Command::PublishAgain`]). A crash in between leaves references that lead nowhere. Nobody was answered for their turn, nor for any
//! behind it. Each such turn begins with what its streams' logs must have ([`Command::Aside`]), so that whoever opens the stream sees that
//! before anything of it is applied: from there on nothing counts that the journal says of that stream, and it is told so
//! ([`Command::Void`]). No later turn is synced to the journal, for somebody who is answered then, before the logs of earlier ones are; and
//! the next one says of each of these streams how far that goes, for from then on a body that is not there is lost.
//!
//! [`Command::Aside`]: super::command::Command::Aside
//! [`Command::PublishAgain`]: super::command::Command::PublishAgain
//! [`Command::Void`]: super::command::Command::Void

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::backend::{Direction, LogReader, SyncBeside, Want};
use crate::error::{Kind, Result};
use crate::shard::command::{Command, Commands, stream_of};
use crate::shard::syncing::Syncing;
use crate::shard::turn::Turn;
use crate::shard::{Role, Shard, ShardHandle};
use crate::stream::Stream;
use crate::stream::messages::TurnNumber;
use crate::stream::settings::BackendKind;
use crate::types::{NanoTime, Nanos, SECOND, Seq, StreamId};

/// How long the journal is not told how far logs were synced after it had no room for that.
const OWED_AGAIN: Nanos = SECOND;

/// From how many bytes on bodies are on disk once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsideSizes {
    /// Of one body.
    pub body: usize,
    /// Of all such bodies of a stream in a turn that somebody waits for to be on disk: another sync costs as much as writing about so many
    /// once more.
    pub synced: usize,
}

impl AsideSizes {
    /// No body is: each is in the journal as well.
    pub const NEVER: Self = Self {
        body: usize::MAX,
        synced: usize::MAX,
    };

    /// 8 KiB, and 256 KiB.
    pub const LARGE: Self = Self {
        body: 8 << 10,
        synced: 256 << 10,
    };
}

impl Default for AsideSizes {
    /// [`AsideSizes::LARGE`].
    fn default() -> Self {
        Self::LARGE
    }
}

/// What of bodies is not yet where it is referred to.
#[derive(Default)]
pub(super) struct Asides {
    /// Turns whose bodies no log has, with their last record in the journal, and the stream: in their order.
    unwritten: VecDeque<(TurnNumber, Seq, StreamId)>,
    /// Streams whose logs have such bodies, and were not synced since, with the last record of the turns whose bodies those are.
    unsynced: BTreeMap<StreamId, Seq>,
    /// The same, of streams whose logs are being synced, with the turn with which that began.
    syncing: VecDeque<(TurnNumber, StreamId, Seq)>,
    /// Streams whose logs were synced, of which the journal is to be told: up to which record.
    owed: BTreeMap<StreamId, Seq>,
    /// Not before then: the journal had no room for it.
    owed_from: NanoTime,
    /// Streams whose logs could not take what nothing else has.
    refused: BTreeSet<StreamId>,
    /// Who syncs logs beside the shard, once somebody had to.
    beside: Option<LogSyncs>,
}

/// Syncs of logs beside their shard.
struct LogSyncs {
    /// Those that are to be synced next.
    logs: Arc<Mutex<Vec<SyncBeside>>>,
    syncing: Syncing,
}

impl Asides {
    /// The log of a stream could not take what turns up to this one have for it.
    pub fn refused(&mut self, id: StreamId, turn: TurnNumber) {
        let mut up_to = self.unwritten.iter().take_while(|(number, ..)| *number <= turn);
        if up_to.any(|(_, _, of)| *of == id) {
            self.refused.insert(id);
        }
    }

    /// The last turn with which syncs of logs began that are over.
    ///
    /// # Errors
    /// If a log could not be synced.
    pub fn synced(&mut self) -> Result<TurnNumber> {
        let Some(beside) = &self.beside else { return Ok(0) };
        let done = beside.syncing.done()?;
        while let Some((_, id, position)) = self.syncing.pop_front_if(|(turn, ..)| *turn <= done) {
            self.owed.insert(id, position);
        }
        Ok(done)
    }

    /// Waits until the syncs are over that began with turns up to this one.
    ///
    /// # Errors
    /// If a log could not be synced.
    pub fn wait(&mut self, turn: TurnNumber) -> Result<()> {
        let beside = self.beside.as_mut();
        beside.map_or(Ok(()), |beside| beside.syncing.wait(turn))
    }

    /// The time of the day has stepped.
    pub fn step(&mut self, step: Nanos) {
        self.owed_from = self.owed_from.saturating_add(step);
    }

    /// A log has what is referred to up to this record, and may not be synced.
    fn found(&mut self, id: StreamId, position: Seq) {
        let last = self.unsynced.entry(id).or_default();
        *last = position.max(*last);
    }
}

impl Shard {
    /// Leaves large bodies of the turn to the logs of their streams, where that is worth it and they have room; answers which those are,
    /// and the bytes. `due`: whether the turn is synced.
    ///
    /// # Errors
    /// If the journal failed, of a turn that has nothing to say but how far logs were synced.
    pub(super) fn set_aside(&mut self, turn: &mut Turn<'_>, due: bool) -> Result<(Vec<StreamId>, usize)> {
        if turn.commands.is_empty() {
            self.say_synced(turn.now)?;
            return Ok((Vec::new(), 0));
        }
        let sizes = self.env.aside;
        // Others are handed the records, and nothing else.
        let may = self.role == Role::Alone && turn.commands.longest_body() >= sizes.body;
        let asides = match may {
            false => Vec::new(),
            true => {
                let least = if due { sizes.synced } else { sizes.body };
                turn.commands.set_aside(sizes.body, least, &|id| {
                    let stream = self.streams.get(&id);
                    stream.is_some_and(|stream| stream.messages.settings.backend == BackendKind::Segment)
                        && self.room.check(id).is_ok()
                        // A start would look into the log that the catalogue names.
                        && !self.relocations.has_left(id)
                        && !self.faulty.iter().any(|(faulty, _)| *faulty == id)
                        && !self.doomed.iter().any(|(doomed, _)| *doomed == id)
                })
            }
        };
        let mut owed = match self.asides.owed_from <= turn.now {
            true => std::mem::take(&mut self.asides.owed),
            false => BTreeMap::new(),
        };
        for aside in &asides {
            let synced = owed.remove(&aside.id).unwrap_or(0);
            turn.commands.begin_with_aside(aside.id, turn.now, aside.last, synced);
        }
        for (id, synced) in owed.into_iter().filter(|(id, _)| self.streams.contains_key(id)) {
            turn.commands.begin_with_aside(id, turn.now, 0, synced);
        }
        let bytes = asides.iter().map(|aside| aside.bytes).sum();
        Ok((asides.into_iter().map(|aside| aside.id).collect(), bytes))
    }

    /// The turn of that number is in the journal; the logs of these streams are to have bodies of it.
    pub(super) fn wait_for_bodies(&mut self, ids: Vec<StreamId>, turn: TurnNumber) {
        let position = self.position;
        let waiting = ids.into_iter().map(|id| (turn, position, id));
        self.asides.unwritten.extend(waiting);
    }

    /// Turns up to this one were brought to the logs, or these could not take them: then the journal gets the bodies after all. `sync`:
    /// whether somebody waits for the disk, so that the journal is synced and the logs are to be.
    ///
    /// # Errors
    /// If the journal failed.
    pub(super) fn bodies_landed(&mut self, turn: TurnNumber, sync: bool, now: NanoTime) -> Result<()> {
        while let Some((_, position, id)) = self.asides.unwritten.pop_front_if(|(number, ..)| *number <= turn) {
            // Of several, a log that could not take the last may have those before.
            self.asides.found(id, position);
        }
        let refused = std::mem::take(&mut self.asides.refused);
        if !refused.is_empty() {
            let mut commands = Commands::default();
            for id in &refused {
                let Some(stream) = self.streams.get(id) else { continue };
                for record in stream.messages.tail().unwritten() {
                    if record.body.len() >= self.env.aside.body {
                        commands.publish_again(*id, now, record.seq, Bytes::copy_from_slice(record.body));
                    }
                }
            }
            self.submit(&commands)?;
            self.need_all(refused.into_iter());
            if sync {
                self.commit.sync()?;
            }
        }
        Ok(())
    }

    /// Has the logs synced beside the shard that have bodies which only they have; when they are, somebody is told by this handle. Answers
    /// whether there is anything to wait for.
    ///
    /// # Errors
    /// If a sync failed.
    pub(super) fn begin_to_sync_asides(&mut self, turn: TurnNumber, handle: &ShardHandle) -> Result<bool> {
        let mut logs: Vec<SyncBeside> = Vec::new();
        let mut is_closed = false;
        for id in self.asides.unsynced.keys() {
            let stream = self.streams.get(id);
            match stream.and_then(|stream| stream.messages.sync_beside()) {
                Some(sync) => logs.push(sync),
                None if stream.is_some() => {
                    self.sync_asides()?;
                    return Ok(false);
                }
                None => is_closed |= self.offline.contains(*id),
            }
        }
        if is_closed {
            // The backend knows what was not synced of a log that is closed.
            let backend = self.env.backend(BackendKind::Segment)?.clone();
            logs.push(Arc::new(move || backend.sync()));
        }
        if logs.is_empty() {
            self.asides.unsynced.clear();
            return Ok(false);
        }
        if self.asides.beside.is_none() {
            let next: Arc<Mutex<Vec<SyncBeside>>> = Arc::default();
            let taken = next.clone();
            let sync: SyncBeside = Arc::new(move || {
                let logs = std::mem::take(&mut *taken.lock());
                logs.iter().try_for_each(|sync| sync())
            });
            let name = format!("weir-sync-{}-logs", self.number);
            match Syncing::begin(name, sync, self.env.clone(), handle.clone()) {
                Ok(syncing) => self.asides.beside = Some(LogSyncs { logs: next, syncing }),
                Err(error) => tracing::warn!(shard = %self.number, "syncing without a thread of its own: {error}"),
            }
        }
        let Some(beside) = &mut self.asides.beside else {
            self.sync_asides()?;
            return Ok(false);
        };
        beside.logs.lock().extend(logs);
        beside.syncing.want(turn);
        let unsynced = std::mem::take(&mut self.asides.unsynced).into_iter();
        let syncing = unsynced.map(|(id, position)| (turn, id, position));
        self.asides.syncing.extend(syncing);
        Ok(true)
    }

    /// Has the disk have all bodies that the journal refers to and the logs have.
    ///
    /// # Errors
    /// If a sync failed.
    pub(super) fn sync_asides(&mut self) -> Result<()> {
        self.asides.wait(TurnNumber::MAX)?;
        self.asides.synced()?;
        for (id, position) in std::mem::take(&mut self.asides.unsynced) {
            match self.streams.get_mut(&id) {
                Some(stream) => self.env.timed(|| stream.messages.sync_log())?,
                // Its log is closed; the backend knows what was not synced of it.
                None if self.offline.contains(id) => self.env.backend(BackendKind::Segment)?.sync()?,
                None => continue,
            }
            self.asides.owed.insert(id, position);
        }
        Ok(())
    }

    /// Tells the journal how far logs were synced, so that from now on what one of them lacks is lost, and not given up. Where it has no
    /// room for that, it is told later.
    ///
    /// # Errors
    /// If the journal failed.
    pub(super) fn say_synced(&mut self, now: NanoTime) -> Result<()> {
        if now < self.asides.owed_from {
            return Ok(());
        }
        let mut commands = Commands::default();
        for (&id, &synced) in &self.asides.owed {
            if self.streams.contains_key(&id) {
                commands.begin_with_aside(id, now, 0, synced);
            }
        }
        match self.submit(&commands) {
            Err(error) if error.kind == Kind::Full => self.asides.owed_from = now.saturating_add(OWED_AGAIN),
            submitted => {
                self.asides.owed.clear();
                submitted?;
            }
        }
        Ok(())
    }

    /// What was found where the journal was applied to a stream that is opened. What does not count of it does not count for the next
    /// start either, whatever the log has by then.
    pub(super) fn note_looked(
        &mut self,
        (id, name): (StreamId, &str),
        looked: Looked,
        now: NanoTime,
        commands: &mut Commands,
    ) {
        if let Some(position) = looked.found {
            self.asides.found(id, position);
        }
        if let Some(from) = looked.broken_off {
            tracing::info!(
                shard = %self.number, stream = name,
                "turns are given up whose messages its log does not have: nobody was answered for them, but of streams that are answered \
                 before a sync, and if it was damaged later"
            );
            commands.void(id, now, from, self.position);
        }
    }

    /// The journal was read: the same, of all streams. What was found of bodies is on disk when it returns.
    ///
    /// # Errors
    /// If the journal failed, or a log could not be synced.
    pub(super) fn note_all_looked(&mut self, outlook: &Outlook, now: NanoTime) -> Result<()> {
        if self.env.is_reading() {
            return Ok(());
        }
        let mut commands = Commands::default();
        for (&id, &looked) in &outlook.looked {
            // One that could not be opened after all is looked at again.
            if let Some(name) = self.streams.get(&id).map(|stream| stream.name().clone()) {
                self.note_looked((id, &name), looked, now, &mut commands);
            }
        }
        if !commands.is_empty() {
            self.give_up_broken_off(&commands, outlook, now)?;
        }
        // Whoever asks once more for what nobody was answered for, or reads it, is told of it without another sync.
        self.sync_asides()
    }

    fn give_up_broken_off(&mut self, commands: &Commands, outlook: &Outlook, now: NanoTime) -> Result<()> {
        let broken_off = outlook.looked.iter().filter(|(_, looked)| looked.broken_off.is_some());
        let ids: Vec<StreamId> = broken_off.map(|(id, _)| *id).collect();
        // The log may get other messages of the same sequences: not before this is on disk.
        match self.submit(commands).and_then(|_| self.commit.sync()) {
            Ok(()) => {
                self.need_all(ids.into_iter());
                Ok(())
            }
            Err(error) if error.kind == Kind::Full => {
                ids.into_iter().try_for_each(|id| self.note_unopened(id, &error, now))
            }
            Err(error) => Err(error),
        }
    }

    /// Should one of these streams go offline, it needs the journal up to where it ends now to be opened anew.
    fn need_all(&mut self, ids: impl Iterator<Item = StreamId>) {
        for id in ids {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.position = self.position;
                stream.unsaved = true;
            }
        }
    }
}

/// What there is in a stream's log of that which the journal refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// The log has all up to this record; it may not be synced.
    pub found: Option<Seq>,
    /// From this record on nothing counts.
    pub broken_off: Option<Seq>,
}

/// What a journal says later of what it says earlier, and what is found of that while it is applied.
#[derive(Default)]
pub(crate) struct Outlook {
    /// What does not count of streams: from a record on, up to another.
    voids: Vec<(StreamId, Seq, Seq)>,
    /// Bodies that logs could not take, by their sequences: the numbers that the records had first, and those that they have.
    again: BTreeMap<(StreamId, Seq), Vec<(Seq, Seq)>>,
    /// The record up to which the log of a stream was synced with all that was left to it.
    synced: BTreeMap<StreamId, Seq>,
    /// Streams that are deleted.
    deleted: BTreeSet<StreamId>,
    /// Streams that were looked into.
    looked: BTreeMap<StreamId, Looked>,
}

impl Outlook {
    /// Looks at what a journal says from a record on; at nothing, if it never leaves anything to logs.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn from(journal: &dyn LogReader, position: Seq) -> Result<Self> {
        let mut outlook = Self::default();
        let (mut looks_back, mut is_needed) = (Vec::new(), false);
        let range = position..=journal.extent().last;
        journal.scan(range, Want::Heads, Direction::Forward, &mut |entry| {
            is_needed |= Command::is_aside(entry.head);
            if let Some((id, synced)) = Command::synced_by(entry.head) {
                let last = outlook.synced.entry(id).or_default();
                *last = synced.max(*last);
            }
            if Command::looks_back(entry.head) {
                looks_back.push(entry.seq);
            }
            if Command::is_deletion(entry.head) {
                outlook.deleted.extend(stream_of(entry.head));
            }
            ControlFlow::Continue(())
        })?;
        if !is_needed {
            return Ok(Self::default());
        }
        for at in looks_back {
            // One that cannot be read is lost, and told of where the journal is applied.
            let Some((id, first, command)) = read(journal, at) else {
                continue;
            };
            match command {
                Command::Void { from, through } => outlook.voids.push((id, from, through)),
                Command::PublishAgain { seq, .. } => outlook.again.entry((id, seq)).or_default().push((first, at)),
                _ => {}
            }
        }
        Ok(outlook)
    }

    /// A turn begins that needs what is referred to up to `last` in the log of a stream that is being opened. Where that is not there,
    /// nobody was answered for it, nor for what comes behind it for this stream, and none of that counts; unless the journal says that
    /// somebody may have been: then the log is damaged.
    pub fn look(&mut self, stream: &Stream, at: Seq, last: Seq) {
        let id = stream.id();
        if at <= stream.position || last == 0 || self.is_void(at, id) {
            return;
        }
        let messages = &stream.messages;
        if messages.settings.backend != BackendKind::Segment || self.is_settled(at, id, last) {
            return;
        }
        let looked = self.looked.entry(id).or_default();
        match messages.log_last() < last {
            true => looked.broken_off = Some(at),
            false => looked.found = Some(at),
        }
    }

    /// What was found in the log of a stream.
    pub(super) fn looked(&self, id: StreamId) -> Looked {
        self.looked.get(&id).copied().unwrap_or_default()
    }

    /// Whether a record of a stream, by the number that it had first, does not count.
    pub(super) fn is_void(&self, at: Seq, id: StreamId) -> bool {
        let mut voids = self.voids.iter();
        voids.any(|(of, from, through)| *of == id && *from <= at && at <= *through)
            || self.looked(id).broken_off.is_some_and(|from| from <= at)
    }

    /// Whether what a turn that begins at this record left to a log up to `last` was there once, is elsewhere, or is not needed.
    fn is_settled(&self, at: Seq, id: StreamId, last: Seq) -> bool {
        let is_synced = self.synced.get(&id).is_some_and(|synced| *synced >= at);
        is_synced || self.deleted.contains(&id) || self.again(at, id, last).is_some()
    }

    /// The record with the body that a record refers to, if the log could not take that.
    fn again(&self, at: Seq, id: StreamId, seq: Seq) -> Option<Seq> {
        let again = self.again.get(&(id, seq))?.iter();
        let mut behind = again.filter(|(first, _)| *first > at && !self.is_void(*first, id));
        behind.next().map(|(_, there)| *there)
    }

    /// What a record of the journal says after all; `None` if it does not count.
    pub fn counts(&self, journal: &dyn LogReader, at: Seq, id: StreamId, command: Command) -> Option<Command> {
        match command {
            Command::Moved { position, command } => {
                let command = Box::new(self.counts(journal, position, id, *command)?);
                Some(Command::Moved { position, command })
            }
            _ if self.is_void(at, id) => None,
            command => Some(self.completed(journal, at, id, command)),
        }
    }

    /// With its body, where a log could not take that.
    fn completed(&self, journal: &dyn LogReader, at: Seq, id: StreamId, command: Command) -> Command {
        let Command::PublishAside {
            seq, time, ref head, ..
        } = command
        else {
            return command;
        };
        let again = self.again(at, id, seq).and_then(|there| read(journal, there));
        match again {
            Some((_, _, Command::PublishAgain { body, .. })) => Command::Publish {
                seq,
                time,
                head: head.clone(),
                body,
            },
            _ => command,
        }
    }
}

/// A record of the journal, if it can be read: its stream, the number that it had first, and what it says.
fn read(journal: &dyn LogReader, at: Seq) -> Option<(StreamId, Seq, Command)> {
    let entry = journal.get(at).ok().flatten()?;
    let (id, command) = Command::decode(entry.time, &entry.head, &entry.body).ok()?;
    let (first, command) = command.first_written(at);
    Some((id, first, command))
}
