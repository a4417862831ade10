//! Opening a shard: its streams as the last checkpoint has them, then the journal's tail applied again.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{Direction, LogOptions, LogReader, Recovery, Want};
use crate::error::{Error, Kind, Result};
use crate::finding::{Concerned, Finding, FindingKind, RANGES_MAX};
use crate::shard::aside::{Asides, Outlook};
use crate::shard::checkpoint::Checkpoint;
use crate::shard::command::Command;
use crate::shard::commit::Commit;
use crate::shard::holes::{Holes, covered_key, covered_of, hole_key};
use crate::shard::journal::LocalJournal;
use crate::shard::load::{load_created, load_saved, saved_position, settle};
use crate::shard::offline::contained;
use crate::shard::snapshot::{LAST_ID_KEY, STREAM_PREFIX, StreamSnapshot};
use crate::shard::suspended::closed;
use crate::shard::{Role, Shard, keep_ledger};
use crate::store::{Environment, SKIPPED_IDS};
use crate::stream::Stream;
use crate::stream::settings::{BackendKind, Durability, Settings};
use crate::types::{Entry, NanoTime, Seq, ShardId, StreamId};

/// Bytes of the journal that are replayed before the streams' logs are written.
const REPLAY_BYTES: usize = 4 << 20;
/// The fewest bytes of a journal that tell of a new stream.
const CREATION_MIN: u64 = 64;
/// Records of the journal that are read at a time.
const REPLAY_RECORDS: usize = 8192;

impl Shard {
    /// Opens a shard. A stream that cannot be opened is offline; the others are there. What is left of restores that a
    /// crash broke off goes with [`Shard::drop_unfinished`].
    ///
    /// # Errors
    /// If the journal or the catalogue cannot be read, or a backend must be opened anew.
    pub fn open(number: ShardId, env: Arc<Environment>, role: Role, now: NanoTime) -> Result<Self> {
        let root = env.backend(BackendKind::Segment)?;
        if let Some(bytes) = root.kv().get(LAST_ID_KEY)?
            && let Ok(last) = <[u8; 8]>::try_from(&bytes[..])
        {
            env.catalogue.seen(StreamId(u64::from_le_bytes(last)));
        }
        let options = LogOptions {
            segment_bytes: env.segment_bytes,
            preallocate: true,
            ..LogOptions::default()
        };
        let (journal, recovery) = root.open(number.journal(), &options)?;
        let mut commit = LocalJournal::of(number, env.clone(), journal);
        // Logs are made and written by what it says: that must outlast them, also what the process before this one wrote
        // and did not sync.
        commit.sync()?;
        Self::open_on(number, env, (commit, role), &recovery, now)
    }

    /// A shard of which nothing is known.
    pub(crate) fn empty(number: ShardId, env: Arc<Environment>, commit: Box<dyn Commit>) -> Self {
        Self {
            number,
            generation: env.generation(),
            discards: env.discards(),
            broken: None,
            outlook: Outlook::default(),
            env,
            position: commit.reader().extent().last,
            time: NanoTime::MIN,
            commit,
            role: Role::Alone,
            suspended: None,
            streams: Default::default(),
            offline: Default::default(),
            room: Default::default(),
            restoring: Default::default(),
            touched: Vec::new(),
            read: Vec::new(),
            unfinished: Vec::new(),
            cold: Vec::new(),
            fetching: Default::default(),
            faulty: Vec::new(),
            doomed: Vec::new(),
            unremoved: Vec::new(),
            deadlines: Default::default(),
            deadline_of: Default::default(),
            sync_due: None,
            flights: Default::default(),
            asides: Default::default(),
            checkpoint: Checkpoint::default(),
            keeping: Default::default(),
            moving: None,
            relocations: Default::default(),
            tending: Default::default(),
            giving_back: None,
            moved_bytes: 0,
        }
    }

    /// Opens a shard on what commits its turns, which was opened.
    ///
    /// # Errors
    /// As [`Shard::open`].
    pub(super) fn open_on(
        number: ShardId,
        env: Arc<Environment>,
        (commit, role): (Box<dyn Commit>, Role),
        recovery: &Recovery,
        now: NanoTime,
    ) -> Result<Self> {
        if recovery.torn_bytes > 0 && !env.is_reading() {
            tracing::info!(
                shard = %number,
                bytes = recovery.torn_bytes,
                "cut an unfinished write off the journal: nobody was answered for it, but of streams that are answered before a sync, and if it was \
                 damaged later"
            );
        }
        for damage in &recovery.damage {
            tracing::error!(shard = %number, "damaged journal: {damage}");
        }
        env.catalogue.hide_ids(number, hidden_ids(recovery));
        let mut shard = Self::empty(number, env, commit);
        shard.role = shard.found_as(role)?;
        shard.load_snapshots(now)?;
        shard.tell_of_lost_journal(recovery.created, now)?;
        shard.replay_journal(now)?;
        // At the beginning of time nothing is too old.
        let limits_at = if shard.env.still { 0 } else { now };
        for id in shard.ids() {
            let env = shard.env.clone();
            let settled = shard.on_stream(id, |stream| match role {
                Role::Alone => settle(&env, stream, now, limits_at),
                // What is too old, and what was lost, is for the leader to say.
                _ => {
                    stream.become_replica();
                    Ok(())
                }
            });
            shard.keep_or_note(id, settled, now)?;
        }
        if shard.env.is_reading() {
            return Ok(shard);
        }
        let mut kept = false;
        for (&id, stream) in &mut shard.streams {
            // What this start finds lost, the next one may not find: it begins with what is there.
            kept |= keep_ledger(&shard.env, stream);
            stream.touched = true;
            shard.touched.push(id);
            if stream.is_removing() {
                shard.unfinished.push(id);
            }
            shard.env.catalogue.insert(stream, number);
        }
        if kept && let Err(error) = shard.env.backend(BackendKind::Segment)?.sync() {
            tracing::error!(shard = %number, "noting what is lost: {error}");
        }
        shard.find_misplaced();
        shard.schedule(now);
        Ok(shard)
    }

    /// Tells of a journal that is not there, or ends before what checkpoints cover: it was synced up to there before they were
    /// written.
    fn tell_of_lost_journal(&self, created: bool, now: NanoTime) -> Result<()> {
        let (number, last) = (self.number, self.commit.reader().extent().last);
        let covered = match self.covered()? {
            Some(covered) if self.is_told_nothing(covered)? => return Ok(()),
            Some(covered) if covered > last || created => covered,
            Some(_) => return Ok(()),
            None if created && last == 0 && !self.env.is_reading() => return self.note_journal(),
            None => return Ok(()),
        };
        self.env.catalogue.hide_ids(number, SKIPPED_IDS);
        let missing = format!("journal-{number}-missing-");
        let told = self.env.catalogue.keyed_findings();
        if !created && told.iter().any(|(key, _)| key.starts_with(&missing)) {
            // Nothing was written since then.
            return Ok(());
        }
        let (key, text) = match created {
            true => (
                format!("{missing}{now:020}"),
                format!(
                    "the journal of shard {number} is missing, with all of its files: what no checkpoint has is lost, which may be streams, \
                     messages that were acknowledged, and what consumers did; checkpoints have all up to record {covered}"
                ),
            ),
            false => (
                format!("journal-{number}-end-{last:020}"),
                format!(
                    "the journal of shard {number} ends at record {last}, and checkpoints have all up to {covered}: it has lost its end, \
                     and what no checkpoint has is lost"
                ),
            ),
        };
        if !self.env.catalogue.has_finding(&key) {
            let how = if created { "is missing" } else { "has lost its end" };
            self.tell_of_unwritten(how, now)?;
        }
        self.tell(FindingKind::Journal, &key, text, now)
    }

    /// Tells of the streams whose newest messages only the journal may have had, whose end is gone: RocksDB keeps in memory what a
    /// checkpoint has not come over, so that its logs do not show what they lack. Before what shows the loss is noted itself, for that is
    /// told once, and these with it.
    fn tell_of_unwritten(&self, how: &str, now: NanoTime) -> Result<()> {
        let number = self.number;
        let of_rocks = |stream: &&Stream| stream.messages.settings.backend == BackendKind::RocksDb;
        let mut streams: Vec<_> = self.streams.values().filter(of_rocks).collect();
        // In the order of their logs, for nothing may depend on that of a map.
        streams.sort_by_key(|stream| stream.id());
        let more = streams.len().saturating_sub(RANGES_MAX);
        streams.truncate(RANGES_MAX);
        for (at, stream) in streams.iter().enumerate() {
            let last = stream.messages.last();
            let mut text = format!(
                "the journal of shard {number} {how}, and stream {} of account {} may have lost its newest messages with it: it is on RocksDB, \
                 which may have had those behind {last} in memory only; how many nobody can tell, and their sequences may be given out again; \
                 acknowledgements, removals and other changes may be lost, too",
                stream.name(),
                stream.account()
            );
            if at + 1 == streams.len() && more > 0 {
                text += &format!("; the same goes for {more} more streams of this shard on RocksDB");
            }
            let finding = Finding {
                shard: Some(number),
                concerned: vec![concerned(stream)],
                ..Finding::new(FindingKind::Journal, text, now)
            };
            let key = format!("journal-{number}-unwritten-{}-{last:020}", stream.id());
            self.env.keep_finding(&key, finding)?;
        }
        Ok(())
    }

    /// The first journal of the shard is there, on disk, and nothing is in it: from now on it is missed.
    fn note_journal(&self) -> Result<()> {
        let nothing = Bytes::copy_from_slice(&0u64.to_le_bytes());
        let kv = self.env.backend(BackendKind::Segment)?.kv();
        kv.put_all(&[(covered_key(self.number), Some(nothing))])
    }

    /// Tells of a journal that knows less of streams than their logs have, and nothing else is known to be lost of it: logs are
    /// written behind it, so that its end is gone, or another one lies in its place. Where nobody waits for the disk, a power cut may
    /// leave the one and take the other. Of each stream by itself: what is settled of one is not found again as that of another.
    fn tell_of_untold(&mut self, now: NanoTime) -> Result<()> {
        if self.env.catalogue.is_journal_open(self.number) {
            return Ok(());
        }
        let number = self.number;
        let mut findings = Vec::new();
        for stream in self.streams.values_mut() {
            if stream.messages.settings.durability != Durability::Sync {
                continue;
            }
            let Some((told, last)) = stream.messages.untold() else {
                continue;
            };
            // The next checkpoint tells of them, or each start would say this.
            stream.unsaved = true;
            let text = format!(
                "the journal of shard {number} has lost its end, or an older one lies in its place: the log of stream {} of account {} has \
                 messages up to {last}, and neither the journal nor a checkpoint tells of any behind {told}; acknowledgements, removals and \
                 other changes since then are lost",
                stream.name(),
                stream.account()
            );
            let finding = Finding {
                shard: Some(number),
                concerned: vec![concerned(stream)],
                ..Finding::new(FindingKind::Journal, text, now)
            };
            findings.push((format!("journal-{number}-behind-{}-{last:020}", stream.id()), finding));
        }
        // In the order of their logs, for nothing may depend on that of a map.
        findings.sort_by(|(one, _), (other, _)| one.cmp(other));
        findings.truncate(RANGES_MAX);
        if findings.iter().any(|(key, _)| !self.env.catalogue.has_finding(key)) {
            self.tell_of_unwritten("has lost its end, or an older one lies in its place", now)?;
        }
        let mut findings = findings.into_iter();
        findings.try_for_each(|(key, finding)| self.env.keep_finding(&key, finding))
    }

    /// Forgets everything and opens the shard anew from disk.
    pub(super) fn reopen(&mut self, now: NanoTime) -> Result<()> {
        if self.role.is_replica() {
            let text =
                "the storage of a replica failed: what it has not written, only the others have; restart the server";
            return Err(Error::new(Kind::Closed, text));
        }
        // Logs must be let go of before they can be opened again; memory streams would lose what they hold, so they
        // are taken over as they are.
        self.tending.stop();
        self.flights.give_up();
        self.streams.retain(|_, stream| !stream.is_journaled());
        self.commit = closed(self.number, &self.env);
        self.asides = Asides::default();
        // A checkpoint that goes on would put older snapshots over newer ones.
        self.checkpoint.wait();
        self.offline.wait();
        self.fetching.stop();
        self.relocations.stop();
        self.relocations.unwatch_all();
        let mut fresh = match Self::open(self.number, self.env.clone(), Role::Alone, now) {
            Ok(fresh) => fresh,
            Err(error) => {
                if error.kind == Kind::Poisoned {
                    self.env.discard_backends(self.generation);
                }
                // What counts is the opening that the next attempt finds.
                self.generation = self.env.generation();
                return Err(error);
            }
        };
        fresh.take_over_memory(self);
        fresh.time = fresh.time.max(self.time);
        fresh.drop_unfinished()?;
        // Streams that were made in the turn that failed are not there.
        for entry in fresh.env.catalogue.all() {
            if entry.shard == fresh.number
                && !fresh.streams.contains_key(&entry.id)
                && !fresh.offline.contains(entry.id)
            {
                fresh.env.catalogue.remove(&entry.account, &entry.name, entry.id);
            }
        }
        fresh.schedule(now);
        *self = fresh;
        Ok(())
    }

    /// Takes over the streams in memory, which are all that the other has.
    pub(super) fn take_over_memory(&mut self, other: &mut Self) {
        // Turns are numbered on: what those streams changed in turns that were given up goes to their logs with the next.
        self.flights = std::mem::take(&mut other.flights);
        for (id, settings) in other.doomed.drain(..) {
            if !settings.is_journaled() {
                self.doomed.push((id, settings));
            }
        }
        for (id, mut stream) in std::mem::take(&mut other.streams) {
            stream.touched = true;
            self.touched.push(id);
            if stream.is_removing() {
                self.unfinished.push(id);
            }
            self.streams.insert(id, stream);
        }
    }

    /// Up to which record checkpoints cover the journal, if one says so.
    pub(super) fn covered(&self) -> Result<Option<Seq>> {
        let value = self
            .env
            .backend(BackendKind::Segment)?
            .kv()
            .get(&covered_key(self.number))?;
        Ok(value.as_deref().and_then(covered_of))
    }

    /// Takes up the streams of the last checkpoint.
    fn load_snapshots(&mut self, now: NanoTime) -> Result<()> {
        let kv = self.env.backend(BackendKind::Segment)?.kv();
        let mut snapshots: Vec<StreamSnapshot> = Vec::new();
        let mut damaged = Vec::new();
        kv.scan(STREAM_PREFIX, None, &mut |key, value| {
            match StreamSnapshot::read(value, None) {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(error) => damaged.push((String::from_utf8_lossy(key).into_owned(), error)),
            }
            ControlFlow::Continue(())
        })?;
        for (entry, error) in damaged {
            // Its log is found as one that no stream has, and says whose it is.
            let text = format!("the catalogue's entry {entry} is left as it is: {error}");
            self.tell(
                FindingKind::Catalogue,
                &format!("entry-{}", entry.replace('/', "-")),
                text,
                now,
            )?;
        }
        self.position = self.position.max(self.covered()?.unwrap_or(0));
        snapshots.retain(|snapshot| snapshot.shard == self.number);
        for snapshot in snapshots {
            // Should the journal have lost its end, what is written next must still count as newer than this; but a copy has what its replica
            // is still to be told.
            if !matches!(self.role, Role::Filling { .. }) {
                self.position = self.position.max(snapshot.position);
            }
            self.time = self.time.max(snapshot.time);
            let loaded = contained(|| load_saved(&self.env, snapshot.clone(), now));
            let id = StreamId(snapshot.id);
            if loaded.is_err() && is_deleted(self.commit.reader().as_ref(), id)? {
                // Its log is gone already, and so shall be what the checkpoint has of it.
                self.env.catalogue.seen(id);
                self.checkpoint.deleted(id);
                continue;
            }
            self.take_up(&snapshot, loaded, now)?;
        }
        Ok(())
    }

    /// Takes up a stream that was opened, or notes that it could not be.
    ///
    /// # Errors
    /// If the whole backend must be opened anew.
    fn take_up(&mut self, snapshot: &StreamSnapshot, loaded: Result<Stream>, now: NanoTime) -> Result<()> {
        let id = StreamId(snapshot.id);
        self.env.catalogue.seen(id);
        match loaded {
            Ok(stream) => {
                self.streams.insert(id, stream);
            }
            Err(error) if stops_opening(&error, &snapshot.settings) => return Err(error),
            Err(error) => self.note_offline(snapshot, &error, now),
        }
        Ok(())
    }

    /// Works on one stream while the shard is being opened.
    fn on_stream(&mut self, id: StreamId, work: impl FnOnce(&mut Stream) -> Result<()>) -> Result<()> {
        match self.streams.get_mut(&id) {
            Some(stream) => contained(|| work(stream)),
            None => Ok(()),
        }
    }

    /// Takes a stream offline whose opening failed on the way, unless all that is missing is room for its log.
    ///
    /// # Errors
    /// If the whole backend must be opened anew.
    pub(super) fn keep_or_note(&mut self, id: StreamId, outcome: Result<()>, now: NanoTime) -> Result<()> {
        let Err(error) = outcome else { return Ok(()) };
        if error.kind == Kind::Full {
            // The stream has it all in memory, and the journal keeps it until there is room.
            if !self.env.is_reading() {
                self.not_written(id, error, now);
            }
            return Ok(());
        }
        self.note_unopened(id, &error, now)
    }

    /// Takes a stream offline whose opening failed on the way.
    ///
    /// # Errors
    /// If the whole backend must be opened anew.
    pub(super) fn note_unopened(&mut self, id: StreamId, error: &Error, now: NanoTime) -> Result<()> {
        let Some(stream) = self.streams.remove(&id) else {
            return Ok(());
        };
        if stops_opening(error, &stream.messages.settings) {
            return Err(error.clone());
        }
        let mut snapshot = StreamSnapshot::of(&stream, self.number, stream.position);
        // The number that a record had before it was moved says nothing of where it is now.
        let last = stream.position.max(self.position);
        // Its log must be closed before it can be opened anew.
        drop(stream);
        snapshot.position = saved_position(&self.env, id)?;
        self.note_offline(&snapshot, error, now);
        self.note_behind(id, last);
        Ok(())
    }

    fn ids(&self) -> Vec<StreamId> {
        self.streams.keys().copied().collect()
    }

    /// Applies what the journal has beyond the checkpoint.
    fn replay_journal(&mut self, now: NanoTime) -> Result<()> {
        let reader = self.commit.reader();
        let last = reader.extent().last;
        let mut replayed = 0u64;
        let mut cut = None;
        let mut outlook: Option<Outlook> = None;
        let snapshots = self.streams.values().map(|stream| stream.position).max().unwrap_or(0);
        let mut holes = Holes::new(self.covered()?, snapshots, reader.extent().first);
        each_portion(reader.as_ref(), last, &mut |portion| {
            self.time = self.time.max(portion.time);
            for (position, id, command) in portion.commands {
                holes.see(position);
                self.env.catalogue.seen(id);
                if let Command::Together { count } = command
                    && position.saturating_add(count) > last
                {
                    cut = Some((position - 1, count));
                    return Ok(ControlFlow::Break(()));
                }
                if let Some((first, last)) = command.aside(position) {
                    if outlook.is_none() {
                        outlook = Some(Outlook::from(reader.as_ref(), position)?);
                    }
                    if let (Some(outlook), Some(stream)) = (&mut outlook, self.streams.get(&id)) {
                        outlook.look(stream, first, last);
                    }
                }
                let command = match &outlook {
                    Some(outlook) => outlook.counts(reader.as_ref(), position, id, command),
                    None => Some(command),
                };
                let Some(command) = command else { continue };
                self.look_behind_hole(&mut holes, position, id, &command, now)?;
                replayed += u64::from(self.replay(position, id, command, now)?);
            }
            self.write_logs(now)?;
            Ok(ControlFlow::Continue(()))
        })?;
        if let Some((position, messages)) = cut
            && !self.env.is_reading()
        {
            tracing::info!(
                shard = %self.number,
                messages,
                "cut an unfinished atomic batch off the journal: nobody was answered for it"
            );
            self.commit.cut(position)?;
            // What comes next has the numbers of what was cut off.
            self.position = position.max(snapshots);
        }
        if let Some(outlook) = outlook {
            self.note_all_looked(&outlook, now)?;
            if self.env.is_reading() {
                self.outlook = outlook;
            }
        }
        self.write_logs(now)?;
        if self.tell_of_holes(holes, cut.map_or(last, |(position, _)| position), now)? {
            self.tell_of_untold(now)?;
        }
        if replayed > 0 {
            tracing::info!(shard = %self.number, commands = replayed, "applied the journal's tail");
        }
        // What no checkpoint has yet counts for the next one, or a process that is killed again and again would have more to
        // apply each time.
        let tail = self.commit.reader().extent().bytes;
        self.checkpoint.grown(usize::try_from(tail).unwrap_or(usize::MAX));
        Ok(())
    }

    fn write_logs(&mut self, now: NanoTime) -> Result<()> {
        for id in self.ids() {
            let written = self.on_stream(id, |stream| stream.messages.write(false));
            self.keep_or_note(id, written, now)?;
        }
        Ok(())
    }

    /// Applies one journal record; answers whether it concerned a stream that did not have it yet.
    pub(super) fn replay(&mut self, at: Seq, id: StreamId, command: Command, now: NanoTime) -> Result<bool> {
        let (position, command) = command.first_written(at);
        if matches!(command, Command::DeleteStream) {
            return self.replay_deletion(id);
        }
        if self.offline.contains(id) {
            self.note_behind(id, at);
            return Ok(false);
        }
        match command {
            Command::CreateStream { json } => {
                if self.streams.contains_key(&id) {
                    return Ok(false);
                }
                match StreamSnapshot::read(&json, Some(id)) {
                    Ok(snapshot) => self.replay_creation(&snapshot, now)?,
                    Err(error) => return self.tell_of_creation(position, id, &error, now),
                }
            }
            command => {
                let Some(stream) = self.streams.get_mut(&id) else {
                    return Ok(false);
                };
                if position <= stream.position {
                    return Ok(false);
                }
                match &command {
                    Command::Publish { seq, .. } | Command::PublishAside { seq, .. } => stream.messages.tell_of(*seq),
                    Command::Raise { last, .. } => stream.messages.tell_of(*last),
                    Command::Remove { first, .. } => stream.messages.tell_of(first.saturating_sub(1)),
                    _ => {}
                }
                let replayed = contained(|| stream.replay(command, now));
                stream.position = position;
                stream.unsaved = true;
                self.keep_or_note(id, replayed, now)?;
                self.note_behind(id, at);
                return Ok(true);
            }
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.position = position;
            stream.unsaved = true;
        }
        self.note_behind(id, at);
        Ok(true)
    }

    /// Makes a stream as the journal says, or notes that it could not be opened.
    pub(super) fn replay_creation(&mut self, snapshot: &StreamSnapshot, now: NanoTime) -> Result<()> {
        let loaded = contained(|| load_created(&self.env, snapshot.clone(), now));
        self.take_up(snapshot, loaded, now)
    }

    /// The record that made a stream makes no sense: as good as lost.
    fn tell_of_creation(&self, position: Seq, id: StreamId, error: &Error, now: NanoTime) -> Result<bool> {
        let text = format!(
            "record {position} of the journal of shard {}, which made a stream with log {id}, cannot be read: {error}",
            self.number
        );
        self.tell(FindingKind::Journal, &hole_key(self.number, position), text, now)?;
        Ok(false)
    }

    fn replay_deletion(&mut self, id: StreamId) -> Result<bool> {
        let (account, name, settings) = match self.streams.remove(&id) {
            Some(stream) => (
                stream.account().clone(),
                stream.name().clone(),
                stream.messages.settings,
            ),
            None => match self.forget_offline(id)? {
                Some(entry) => (entry.account, entry.name, entry.settings),
                None => return Ok(false),
            },
        };
        self.env.catalogue.remove(&account, &name, id);
        if self.env.is_reading() {
            self.unremoved.push((id, settings));
            return Ok(true);
        }
        // The process that wrote it may have come no further: the log may go only once the deletion is on disk.
        match self.commit.sync() {
            Ok(()) => self.remove_log(id, &settings),
            Err(error) => {
                tracing::error!(log = %id, "a deleted stream's log goes later: {error}");
                self.unremoved.push((id, settings));
            }
        }
        self.checkpoint.deleted(id);
        Ok(true)
    }
}

/// The whole of a stream, of which no message is known to be lost.
fn concerned(stream: &Stream) -> Concerned {
    Concerned {
        log: stream.id().0,
        account: stream.account().to_string(),
        stream: stream.name().to_string(),
        lost: Vec::new(),
    }
}

/// Whether a shard cannot be opened because one of its streams cannot: the backend failed for good that the journal is in.
pub(super) fn stops_opening(error: &Error, settings: &Settings) -> bool {
    error.kind == Kind::Poisoned && settings.backend == BackendKind::Segment
}

/// Some records of a journal.
pub(super) struct Portion {
    /// Each with its position and its stream.
    pub commands: Vec<(Seq, StreamId, Command)>,
    /// The last time that one of them [tells](Command::tells_time).
    time: NanoTime,
}

/// Visits the journal's records in order up to `last`, in portions, so that no more than one of them is in memory.
///
/// # Errors
/// If the journal cannot be read, a record makes no sense, or what `visit` answers.
pub(super) fn each_portion(
    journal: &dyn LogReader,
    last: Seq,
    visit: &mut dyn FnMut(Portion) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut next = journal.extent().first;
    while next <= last {
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        journal.scan(next..=last, Want::Full, Direction::Forward, &mut |entry| {
            bytes += entry.body.len();
            entries.push(entry.to_entry());
            if bytes > REPLAY_BYTES || entries.len() >= REPLAY_RECORDS {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        let Some(end) = entries.last() else { break };
        next = end.seq + 1;
        let mut portion = Portion {
            commands: Vec::with_capacity(entries.len()),
            time: NanoTime::MIN,
        };
        for entry in entries {
            match Command::decode(entry.time, &entry.head, &entry.body) {
                Ok((id, command)) => {
                    if command.tells_time() {
                        portion.time = portion.time.max(entry.time);
                    }
                    portion.commands.push((entry.seq, id, command));
                }
                // As good as lost: its number is missing.
                Err(error) => tracing::error!(record = entry.seq, "a record of a journal: {error}"),
            }
        }
        if visit(portion)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Whether the journal says that a stream was deleted.
pub(super) fn is_deleted(journal: &dyn LogReader, id: StreamId) -> Result<bool> {
    let mut deleted = false;
    each_portion(journal, journal.extent().last, &mut |portion| {
        deleted |= portion
            .commands
            .iter()
            .any(|(_, of, command)| *of == id && matches!(command, Command::DeleteStream));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(deleted)
}

/// How many ids the lost part of a journal may have named, which nothing else does. What broke off may also be what was
/// damaged in the last write.
fn hidden_ids(journal: &Recovery) -> u64 {
    match journal.damage.is_empty() {
        true => journal.torn_bytes.div_ceil(CREATION_MIN),
        false => SKIPPED_IDS,
    }
}
