//! Large bodies are on disk once. Where a turn has many bytes of them for a stream, the journal has a reference in the place of each, and
//! the body is in the stream's own log alone.
//!
//! The journal is written first, then the log, as always: so a log has nothing that the journal does not tell of. Only then, and with
//! `sync` only when that log was synced as well, is the turn let out; a log that cannot take a body leaves it to the journal after all
//! ([`Command::PublishAgain`]). A crash in between leaves references that lead nowhere. Nobody was answered for their turn, nor for any
//! behind it. Each such turn begins with what its streams' logs must have ([`Command::Aside`]), so that a start sees that before anything
//! of it is applied: from there on nothing counts that the journal says of that stream, and it is told so ([`Command::Void`]). No later turn
//! is synced to the journal, for somebody who is answered then, before the logs of earlier ones are.
//!
//! [`Command::Aside`]: super::command::Command::Aside
//! [`Command::PublishAgain`]: super::command::Command::PublishAgain
//! [`Command::Void`]: super::command::Command::Void

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::backend::{Direction, LogReader, Want};
use crate::error::Result;
use crate::shard::command::{Command, Commands, stream_of};
use crate::shard::turn::Turn;
use crate::shard::{Role, Shard};
use crate::stream::messages::TurnNumber;
use crate::stream::settings::BackendKind;
use crate::types::{NanoTime, Seq, StreamId};

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
    /// [`AsideSizes::NEVER`]. A stream whose log fails, or cannot be opened, while the journal refers to it is not treated as it must be yet:
    /// where it comes back after a crash, a turn may count that nobody was answered for, or one may not that somebody was.
    fn default() -> Self {
        Self::NEVER
    }
}

/// What of bodies is not yet where it is referred to.
#[derive(Default)]
pub(super) struct Asides {
    /// Turns whose bodies no log has, with their last record in the journal, and the stream: in their order.
    unwritten: VecDeque<(TurnNumber, Seq, StreamId)>,
    /// Streams whose logs have such bodies, and were not synced since.
    unsynced: BTreeSet<StreamId>,
    /// The last record of the turns whose bodies those are.
    written: Seq,
    /// The last record of the turns of whose bodies the logs were synced.
    synced: Seq,
    /// The stream by which the journal is to be told of that.
    owed: Option<StreamId>,
    /// Streams whose logs could not take what nothing else has.
    refused: BTreeSet<StreamId>,
}

impl Asides {
    /// The log of a stream could not take what turns up to this one have for it.
    pub fn refused(&mut self, id: StreamId, turn: TurnNumber) {
        let mut up_to = self.unwritten.iter().take_while(|(number, ..)| *number <= turn);
        if up_to.any(|(_, _, of)| *of == id) {
            self.refused.insert(id);
        }
    }

    /// While the journal is read: a log has what is referred to up to this record, and may not be synced.
    pub fn found(&mut self, id: StreamId, position: Seq) {
        self.unsynced.insert(id);
        self.written = self.written.max(position);
    }
}

impl Shard {
    /// Leaves large bodies of the turn to the logs of their streams, where that is worth it and they have room; answers which those are,
    /// and the bytes. `due`: whether the turn is synced.
    pub(super) fn set_aside(&mut self, turn: &mut Turn<'_>, due: bool) -> (Vec<StreamId>, usize) {
        if turn.commands.is_empty() {
            return (Vec::new(), 0);
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
        let synced = self.asides.synced;
        for aside in &asides {
            turn.commands.begin_with_aside(aside.id, turn.now, aside.last, synced);
        }
        if let Some(id) = self.asides.owed.take()
            && asides.is_empty()
        {
            turn.commands.begin_with_aside(id, turn.now, 0, synced);
        }
        let bytes = asides.iter().map(|aside| aside.bytes).sum();
        (asides.into_iter().map(|aside| aside.id).collect(), bytes)
    }

    /// The turn of that number is in the journal; the logs of these streams are to have bodies of it.
    pub(super) fn wait_for_bodies(&mut self, ids: Vec<StreamId>, turn: TurnNumber) {
        let position = self.position;
        let waiting = ids.into_iter().map(|id| (turn, position, id));
        self.asides.unwritten.extend(waiting);
    }

    /// Turns up to this one were brought to the logs, or these could not take them: then the journal gets the bodies after all. `sync`:
    /// whether somebody waits for the disk.
    ///
    /// # Errors
    /// If the journal failed, or a log could not be synced.
    pub(super) fn bodies_landed(&mut self, turn: TurnNumber, sync: bool, now: NanoTime) -> Result<()> {
        let refused = std::mem::take(&mut self.asides.refused);
        while let Some((_, position, id)) = self.asides.unwritten.pop_front_if(|(number, ..)| *number <= turn) {
            if !refused.contains(&id) {
                self.asides.found(id, position);
            }
        }
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
        match sync {
            true => self.sync_asides(),
            false => Ok(()),
        }
    }

    /// Has the disk have all bodies that the journal refers to and the logs have.
    ///
    /// # Errors
    /// If a sync failed.
    pub(super) fn sync_asides(&mut self) -> Result<()> {
        for id in std::mem::take(&mut self.asides.unsynced) {
            match self.streams.get_mut(&id) {
                Some(stream) => self.env.timed(|| stream.messages.sync_log())?,
                // Its log is closed; the backend knows what was not synced of it.
                None if self.offline.contains(id) => self.env.backend(BackendKind::Segment)?.sync()?,
                None => continue,
            }
            self.asides.owed = Some(id);
        }
        self.asides.synced = self.asides.synced.max(self.asides.written);
        Ok(())
    }

    /// While the journal is read: a turn begins that needs what is referred to up to `last` in the log of a stream. Where that is not
    /// there, nobody was answered for it, nor for what comes behind it for this stream, and none of that counts; unless the journal
    /// says that somebody was: then the log is damaged.
    pub(super) fn look_for_bodies(&mut self, outlook: &mut Outlook, at: Seq, id: StreamId, last: Seq) {
        let Some(stream) = self.streams.get(&id) else { return };
        if at <= stream.position || last == 0 || outlook.is_void(at, id) {
            return;
        }
        let messages = &stream.messages;
        let lacks = messages.settings.backend == BackendKind::Segment && messages.log_last() < last;
        if !lacks || outlook.is_settled(at, id, last) {
            self.asides.found(id, at);
            return;
        }
        outlook.broken_off.push((id, at));
    }

    /// The journal was read: what of it does not count for a stream does not count for the next start either, whatever its log has by
    /// then.
    ///
    /// # Errors
    /// If the journal failed.
    pub(super) fn note_broken_off(&mut self, outlook: &Outlook, now: NanoTime) -> Result<()> {
        if self.env.is_reading() {
            return Ok(());
        }
        let mut commands = Commands::default();
        for &(id, from) in &outlook.broken_off {
            let name = self.streams.get(&id).map(|stream| stream.name().clone());
            tracing::info!(
                shard = %self.number, stream = name.as_deref(),
                "turns are given up whose messages its log does not have: nobody was answered for them, but of streams that are answered \
                 before a sync"
            );
            commands.void(id, now, from);
        }
        self.submit(&commands)?;
        self.need_all(outlook.broken_off.iter().map(|(id, _)| *id));
        Ok(())
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

/// What a journal says later of what it says earlier.
#[derive(Default)]
pub(crate) struct Outlook {
    /// What does not count of streams: from a record on, up to another.
    voids: Vec<(StreamId, Seq, Seq)>,
    /// The same, as this start finds it: from a record on.
    broken_off: Vec<(StreamId, Seq)>,
    /// Bodies that logs could not take.
    again: BTreeMap<(StreamId, Seq), Bytes>,
    /// The record up to which logs were synced with all that was left to them.
    synced: Seq,
    /// Streams that are deleted.
    deleted: BTreeSet<StreamId>,
}

impl Outlook {
    /// Looks at what a journal says behind a record; at nothing, if it never leaves anything to logs.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn behind(journal: &dyn LogReader, position: Seq) -> Result<Self> {
        let mut outlook = Self::default();
        let (mut looks_back, mut is_needed) = (Vec::new(), position > 0);
        let range = position + 1..=journal.extent().last;
        journal.scan(range, Want::Heads, Direction::Forward, &mut |entry| {
            is_needed |= Command::is_aside(entry.head);
            outlook.synced = outlook.synced.max(Command::synced_by(entry.head).unwrap_or(0));
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
            let Ok(Some(entry)) = journal.get(at) else { continue };
            let Ok((id, command)) = Command::decode(entry.time, &entry.head, &entry.body) else {
                continue;
            };
            match command.first_written(at) {
                (first, Command::Void { from }) => outlook.voids.push((id, from, first)),
                (_, Command::PublishAgain { seq, body }) => _ = outlook.again.insert((id, seq), body),
                _ => {}
            }
        }
        Ok(outlook)
    }

    fn is_void(&self, at: Seq, id: StreamId) -> bool {
        let mut voids = self.voids.iter();
        voids.any(|(of, from, to)| *of == id && *from <= at && at <= *to)
            || self.broken_off.iter().any(|(of, from)| *of == id && *from <= at)
    }

    /// Whether what a turn that begins at this record left to a log up to `last` was there once, is elsewhere, or is not needed.
    fn is_settled(&self, at: Seq, id: StreamId, last: Seq) -> bool {
        self.synced >= at || self.deleted.contains(&id) || self.again.contains_key(&(id, last))
    }

    /// What a record of the journal says after all; `None` if it does not count.
    pub fn counts(&self, at: Seq, id: StreamId, command: Command) -> Option<Command> {
        match command {
            Command::Moved { position, command } => {
                let command = Box::new(self.counts(position, id, *command)?);
                Some(Command::Moved { position, command })
            }
            _ if self.is_void(at, id) => None,
            command => Some(self.completed(id, command)),
        }
    }

    /// With its body, where a log could not take that.
    pub fn completed(&self, id: StreamId, command: Command) -> Command {
        match command {
            Command::PublishAside {
                seq, time, ref head, ..
            } => match self.again.get(&(id, seq)) {
                Some(body) => Command::Publish {
                    seq,
                    time,
                    head: head.clone(),
                    body: body.clone(),
                },
                None => command,
            },
            command => command,
        }
    }
}
