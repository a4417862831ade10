//! A shard: one thread, one journal, and the streams that belong to it.
//!
//! Each turn drains the queue, applies what came to the streams' state, and writes the outcome to the journal in one go. It is
//! synced if any stream asks for that; then the changes go to the streams' logs, and only then answers and deliveries leave. So
//! a thousand streams cost one sync, and a batch grows by itself with the load. Where more waits to be done, the sync runs beside the
//! shard, which goes on with the next turns meanwhile ([`flights`]).

pub mod adopt;
pub(crate) mod aside;
mod checkpoint;
pub mod command;
pub(crate) mod commit;
pub mod emit;
pub(crate) mod errand;
pub(crate) mod fetching;
mod filling;
mod flights;
pub mod holes;
mod in_turn;
mod inbox;
mod input;
pub(crate) mod journal;
mod keeping;
pub mod label;
mod litter;
pub(crate) mod load;
mod looking;
mod moved_on;
mod moving;
mod offline;
pub(crate) mod recover;
pub(crate) mod relocation;
pub(crate) mod restore;
mod role;
mod room;
mod runner;
mod shared;
mod shown;
pub mod snapshot;
mod steps;
pub(crate) mod suspended;
mod syncing;
mod syncs;
pub(crate) mod turn;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

pub use aside::AsideSizes;
pub use input::{Call, Input, QueueLimits, Refused, ShardHandle};
pub use looking::Looking;
pub use role::Role;
pub use syncs::{SYNC_CLASSES, Syncs};

use crate::error::{Error, Kind, Result};
use crate::reject;
use crate::store::Environment;
use crate::stream::Stream;
use crate::stream::settings::{BackendKind, Settings};
use crate::types::{NanoTime, Nanos, SECOND, Seq, ShardId, StreamId};
use aside::{Asides, Outlook};
use checkpoint::Checkpoint;
use commit::Commit;
use emit::{ConsumerName, Emit, Status, Ticket};
use flights::Flights;
use offline::OfflineStreams;
use relocation::Relocations;
use restore::Restoring;
use room::Room;
pub(crate) use runner::Runner;
use suspended::Suspended;
use turn::Turn;
use upkeep::Tending;

/// How long a stream waits that could not do what was due, before it tries again.
const STUMBLE_PAUSE: Nanos = SECOND;

/// Everything that one shard owns.
pub(crate) struct Shard {
    number: ShardId,
    env: Arc<Environment>,
    /// What makes its turns facts.
    commit: Box<dyn Commit>,
    role: Role,
    /// Why there is no journal, if there is none.
    suspended: Option<Suspended>,
    /// The last record that it was handed.
    position: Seq,
    /// The time of its last turn; while it is being opened, the last that a checkpoint or the journal tells of.
    time: NanoTime,
    streams: BTreeMap<StreamId, Stream>,
    /// Streams that failed, or could not be opened.
    offline: OfflineStreams,
    /// Streams that are being restored, which no client sees.
    restoring: BTreeMap<StreamId, Restoring>,
    /// Streams that this turn changed.
    touched: Vec<StreamId>,
    /// Streams that calls of this turn read: they may have met damaged records.
    read: Vec<StreamId>,
    /// Streams whose consumers were stopped by the turn's budget.
    unfinished: Vec<StreamId>,
    /// What consumers came to in this turn that lies on a disk only.
    cold: Vec<fetching::Cold>,
    /// What is being read for consumers.
    fetching: fetching::UnderWay,
    /// What there is of room on the disk.
    room: Room,
    /// Streams that failed in this turn, and why: they go offline at its end.
    faulty: Vec<(StreamId, Error)>,
    /// Streams deleted in this turn, whose logs go once the journal has it.
    doomed: Vec<(StreamId, Settings)>,
    /// Streams deleted whose logs could not be removed: the next start does it.
    unremoved: Vec<(StreamId, Settings)>,
    deadlines: BTreeSet<(NanoTime, StreamId)>,
    deadline_of: HashMap<StreamId, NanoTime, RandomState>,
    /// When the journal has to be synced for streams with an interval.
    sync_due: Option<NanoTime>,
    /// Turns that are written and not let out.
    flights: Flights,
    /// Large bodies that are in the streams' logs alone, and not on disk.
    asides: Asides,
    checkpoint: Checkpoint,
    /// Indexes that are to be kept beside their logs.
    keeping: keeping::IndexKeeping,
    /// What offline streams need of the journal is being moved.
    moving: Option<moving::Moving>,
    /// Streams whose messages go over to another backend.
    relocations: Relocations,
    /// Storage that is given back beside the shard.
    tending: Tending,
    /// Memory that is given back beside the shard.
    giving_back: Option<errand::Errand<()>>,
    /// Bytes that the last such move wrote.
    moved_bytes: u64,
    /// Which opening of the backends this shard works with.
    generation: u64,
    /// How often a backend without journals had been let go of when this shard last looked.
    discards: u64,
    /// What went wrong with somebody who looked into it between two turns: it is opened anew by the next.
    broken: Option<Error>,
    /// Of a store that is only read: what of the journal does not count.
    outlook: Outlook,
}

/// A shard within one turn: what a [`Call`] works with.
pub struct InTurn<'s, 't> {
    shard: &'s mut Shard,
    turn: &'s mut Turn<'t>,
}

impl Shard {
    /// Does what came.
    ///
    /// # Errors
    /// If the whole shard must be opened anew; what is left of `inputs` was not done then.
    fn apply(&mut self, inputs: &mut dyn Iterator<Item = Input>, turn: &mut Turn<'_>) -> Result<()> {
        self.check_whole()?;
        if self.suspended.is_none() && self.generation != self.env.generation() {
            return Err(Error::new(
                Kind::Poisoned,
                "another shard found that the store must be opened anew",
            ));
        }
        self.let_go_of_discarded(turn);
        if !self.role.decides() {
            for input in inputs {
                if let Some(input) = self.refuse_as_follower(input, turn) {
                    self.handle(input, turn)?;
                }
            }
            return Ok(());
        }
        let mut unfinished = std::mem::take(&mut self.unfinished);
        // Each comes first once, for the turn's budget may not be enough for all.
        if unfinished.len() > 1 {
            unfinished.rotate_left(1);
        }
        for id in unfinished {
            if let Some(stream) = self.touch(id)
                && let Err(error) = stream.go_on_removing(turn)
            {
                self.stumbled(id, error, Some(turn.now));
            }
        }
        for input in inputs {
            self.handle(input, turn)?;
        }
        self.tick_due(turn);
        // What a reader found damaged is told and written down in the same turn.
        for id in std::mem::take(&mut self.read) {
            if self
                .streams
                .get(&id)
                .is_some_and(|stream| stream.messages.has_untold_damage())
            {
                self.touch(id);
            }
        }
        // A stream may be touched by what another one's consumers deliver only in a later turn, so one pass will do.
        for at in 0..self.touched.len() {
            let id = self.touched[at];
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            let delivered = stream.deliver(turn);
            self.cold.append(stream.cold());
            if stream.is_removing() && stream.not_before <= turn.now {
                self.unfinished.push(id);
            }
            match delivered {
                Ok(true) if self.unfinished.last() != Some(&id) => self.unfinished.push(id),
                Ok(_) => {}
                Err(error) => self.stumbled(id, error, Some(turn.now)),
            }
        }
        Ok(())
    }

    /// Something failed for one stream: if the stream itself is broken, it goes offline at the end of the turn. With a
    /// time, the stream failed at what it does by itself, and tries that again only after a while.
    fn stumbled(&mut self, id: StreamId, error: Error, now: Option<NanoTime>) {
        if error.kind.breaks_stream() {
            self.faulty.push((id, error));
            return;
        }
        if let Some(now) = now
            && let Some(stream) = self.streams.get_mut(&id)
        {
            tracing::warn!(stream = %stream.name(), "{error}");
            stream.not_before = now.saturating_add(STUMBLE_PAUSE);
        }
    }

    fn handle(&mut self, input: Input, turn: &mut Turn<'_>) -> Result<()> {
        let (id, outcome) = match input {
            Input::Publish {
                stream,
                subject,
                headers_len,
                body,
                ticket,
            } => {
                let publish = crate::stream::Publish {
                    subject,
                    headers_len,
                    body,
                };
                let full = self.room.check(stream).err();
                match (self.touch(stream), full) {
                    (Some(target), Some(full)) if target.is_journaled() => {
                        target.answer(ticket, Err(full), turn);
                        return Ok(());
                    }
                    (Some(target), _) => (stream, target.ingest(publish, ticket, turn)),
                    (None, _) => {
                        self.refuse_offline(stream, ticket, turn);
                        return Ok(());
                    }
                }
            }
            Input::Ack { stream, consumer, ack } => match self.touch(stream) {
                Some(target) => (stream, target.ack(&consumer, ack, turn)),
                None => return Ok(()),
            },
            Input::Pull {
                stream,
                consumer,
                request,
                reply,
            } => {
                match self.touch(stream) {
                    Some(target) => _ = target.pull(&consumer, &request, reply, turn),
                    None => self.refuse_pull(stream, &consumer, reply, turn),
                }
                return Ok(());
            }
            Input::FlowControl {
                stream,
                consumer,
                id,
                last,
            } => match self.touch(stream) {
                Some(target) => (stream, target.flow_controlled(&consumer, id, last, turn)),
                None => return Ok(()),
            },
            Input::Wake { stream, consumer } => {
                if let Some(target) = self.touch(stream) {
                    target.wake_consumer(&consumer, turn);
                }
                return Ok(());
            }
            Input::Fetched { stream, consumer, seq } => {
                if let Some(target) = self.touch(stream) {
                    match consumer {
                        Some(consumer) => target.fetched(consumer, seq),
                        None => target.age_fetched(seq),
                    }
                }
                return Ok(());
            }
            Input::Call(call) | Input::Ask(call) => {
                turn.removing = None;
                let done = call(Ok(&mut InTurn { shard: self, turn }));
                // A call that began to remove more than a turn may is answered when that is over.
                match turn.removing.take().and_then(|id| self.streams.get_mut(&id)) {
                    Some(stream) => stream.answer_when_removed(done),
                    None => turn.emits.push(Emit::Done(done)),
                }
                return Ok(());
            }
            // What it tells was looked at before the turn.
            Input::Committed => return Ok(()),
            Input::Apply(entries) => return self.apply_records(&entries, turn.now),
            Input::Fill(from) => return self.fill(from),
            Input::Copied(id) => return self.take_copy(id, turn.now),
            Input::Filled => return self.filled(),
            Input::Lead => return self.lead(turn),
            // It was done instead of a turn.
            Input::Follow => return Ok(()),
            Input::Checkpointed => return self.checkpointed(turn.now),
            Input::Reopened => return self.reopened(turn),
            Input::Relocated => {
                self.relocated(turn.now);
                return Ok(());
            }
            Input::Tended => {
                self.tended(turn.now);
                return Ok(());
            }
            Input::Close | Input::Abandon => return Ok(()),
        };
        if let Err(error) = outcome {
            self.stumbled(id, error, None);
        }
        Ok(())
    }

    /// Removes the log of a stream that is deleted. Should that fail, the stream is gone all the same, and its log goes at
    /// the next start: the journal says so, and what comes after it a checkpoint.
    fn remove_log(&mut self, id: StreamId, settings: &Settings) {
        let removed = self
            .env
            .backend(settings.backend)
            .and_then(|backend| crate::store::remove_log(backend.as_ref(), id.log(), settings));
        if let Err(error) = removed {
            tracing::error!(log = %id, "removing the log of a deleted stream, at the next start then: {error}");
            self.unremoved.push((id, *settings));
        }
    }

    /// Ticks the streams whose time has come.
    fn tick_due(&mut self, turn: &mut Turn<'_>) {
        while let Some(&(due, id)) = self.deadlines.first() {
            if due > turn.now {
                break;
            }
            self.deadlines.pop_first();
            self.deadline_of.remove(&id);
            if let Some(stream) = self.touch(id)
                && let Err(error) = stream.tick(turn)
            {
                self.stumbled(id, error, Some(turn.now));
            }
        }
    }

    /// Notes when the streams of this turn next have something to do.
    fn schedule(&mut self, now: NanoTime) {
        for id in std::mem::take(&mut self.touched) {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            stream.touched = false;
            let litter = stream.messages.litter.take();
            if self.flights.is_empty() {
                // Of a stream that was just opened nothing was committed.
                stream.note_stats();
            }
            let due = match self.role.decides() {
                true => stream.next_deadline(now),
                false => Ok(None),
            };
            self.cold.append(stream.cold());
            let due = match due {
                Ok(due) => due.map(|due| due.max(stream.not_before)),
                Err(error) => {
                    tracing::debug!(stream = %stream.name(), "{error}");
                    Some(now.saturating_add(STUMBLE_PAUSE))
                }
            };
            let due = due.filter(|_| !self.env.still);
            self.note_unkept(id);
            if let Some(litter) = litter {
                self.give_back(litter);
            }
            let before = match due {
                Some(due) => self.deadline_of.insert(id, due),
                None => self.deadline_of.remove(&id),
            };
            if before == due {
                continue;
            }
            if let Some(before) = before {
                self.deadlines.remove(&(before, id));
            }
            if let Some(due) = due {
                self.deadlines.insert((due, id));
            }
        }
    }

    fn next_deadline(&self) -> Option<NanoTime> {
        let first = self.deadlines.first().map(|(due, _)| *due);
        let of_turns = [first, self.sync_due, self.room.next_look()];
        if !self.flights.is_empty() {
            // What only a settled shard does waits for that, and [`Input::Committed`] ends the wait.
            return of_turns.into_iter().flatten().min();
        }
        let moving = self.can_move().then_some(NanoTime::MIN);
        let keeping = self.can_draft().then_some(NanoTime::MIN);
        // A suspended shard opens all its streams anew, or none.
        let retry = match &self.suspended {
            Some(suspended) => Some(suspended.retry_at()),
            None => self.offline.next_retry(),
        };
        let relocating = self.relocations.next_try().filter(|_| self.suspended.is_none());
        let settled = [moving, keeping, retry, relocating];
        of_turns.into_iter().chain(settled).flatten().min()
    }

    /// Its number.
    #[cfg(feature = "conformance")]
    pub fn number(&self) -> ShardId {
        self.number
    }

    /// The catalogue of its store.
    #[cfg(feature = "conformance")]
    pub fn catalogue(&self) -> &Arc<crate::store::Catalogue> {
        &self.env.catalogue
    }

    /// Takes in a stream that has no journal here.
    #[cfg(feature = "conformance")]
    pub fn take_in(&mut self, id: StreamId, stream: Stream) {
        self.streams.insert(id, stream);
    }

    /// What it is among its replicas.
    #[cfg(feature = "conformance")]
    pub fn role(&self) -> Role {
        self.role
    }

    /// From now on something else makes its turns facts.
    #[cfg(feature = "conformance")]
    pub fn commit_by(&mut self, make: impl FnOnce(Box<dyn Commit>) -> Box<dyn Commit>) {
        let closed = suspended::closed(self.number, &self.env);
        self.commit = make(std::mem::replace(&mut self.commit, closed));
    }

    /// Whether no turn is in flight.
    #[cfg(feature = "conformance")]
    pub fn has_landed(&self) -> bool {
        self.flights.is_empty()
    }

    /// A stream, if it is there and online.
    #[cfg(feature = "conformance")]
    pub fn stream_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.get_mut(&id)
    }

    /// The last record of its journal.
    #[cfg(feature = "conformance")]
    pub fn position(&self) -> Seq {
        self.position
    }

    /// Its journal, to read.
    pub(crate) fn journal_reader(&self) -> Arc<dyn crate::backend::LogReader> {
        self.commit.reader()
    }

    /// The streams that the journal tells of, without those that are offline.
    #[cfg(feature = "conformance")]
    pub fn journaled(&mut self) -> impl Iterator<Item = (&StreamId, &mut Stream)> {
        self.streams.iter_mut().filter(|(_, stream)| stream.is_journaled())
    }

    /// The streams that are offline.
    #[cfg(feature = "conformance")]
    pub fn offline_ids(&self) -> Vec<StreamId> {
        self.offline.ids()
    }

    /// Nothing came for a while: memory that only a busy shard needs is let go.
    fn idle(&mut self) {
        for stream in self.streams.values_mut() {
            stream.messages.idle();
        }
    }

    /// The account and name of a stream.
    fn names(&self, id: StreamId) -> Option<(Arc<str>, Arc<str>)> {
        if let Some(stream) = self.streams.get(&id) {
            return Some((stream.account().clone(), stream.name().clone()));
        }
        // While storage cannot be opened there is only the catalogue.
        let entry = self.env.catalogue.by_id(id)?;
        Some((entry.account.clone(), entry.name.clone()))
    }

    /// A stream, noted as touched by this turn.
    fn touch(&mut self, id: StreamId) -> Option<&mut Stream> {
        let stream = self.streams.get_mut(&id)?;
        if !stream.touched {
            stream.touched = true;
            self.touched.push(id);
        }
        Some(stream)
    }

    /// Tells a publisher that the stream is offline. A stream that is gone has no names to answer with.
    fn refuse_offline(&self, id: StreamId, ticket: Ticket, turn: &mut Turn<'_>) {
        let Some(error) = self.suspension().or_else(|| self.offline.refusal(id)) else {
            return;
        };
        let Some((account, stream)) = self.names(id) else {
            return;
        };
        turn.emits.push(Emit::Published {
            ticket,
            result: Err(error),
            account,
            stream,
        });
    }

    /// Ends a pull request of a stream that is offline.
    fn refuse_pull(&self, id: StreamId, consumer: &[u8], to: bytes::Bytes, turn: &mut Turn<'_>) {
        if self.suspended.is_none() && !self.offline.contains(id) {
            return;
        }
        let Some((account, stream)) = self.names(id) else {
            return;
        };
        turn.emits.push(pulls_end(account, stream, consumer, to));
    }

    /// A stream that may be changed, noted as touched by this turn.
    ///
    /// # Errors
    /// If there is no such stream, or it is offline.
    fn existing(&mut self, id: StreamId) -> Result<&mut Stream> {
        match self.streams.contains_key(&id) {
            true => self.touch(id).ok_or_else(|| reject::STREAM_NOT_FOUND.into()),
            false => Err(self.missing(id)),
        }
    }

    /// Why a stream cannot be worked on: it is offline, or there is none.
    fn missing(&self, id: StreamId) -> Error {
        match self.suspension() {
            Some(error) if self.offline.contains(id) => error,
            _ => self
                .offline
                .refusal(id)
                .unwrap_or_else(|| reject::STREAM_NOT_FOUND.into()),
        }
    }
}

/// The end of a pull request whose stream is offline.
fn pulls_end(account: Arc<str>, stream: Arc<str>, consumer: &[u8], to: bytes::Bytes) -> Emit {
    Emit::Status {
        consumer: Arc::new(ConsumerName {
            account,
            stream,
            consumer: String::from_utf8_lossy(consumer).into(),
        }),
        to,
        status: Status::Conflict {
            text: offline::PULLS_END.to_owned(),
            short: None,
        },
    }
}

/// Writes down what a stream has lost, for a process that is killed; what is found in a body is found again only when
/// somebody reads it. Answers whether there was something new, and it is written.
fn keep_ledger(env: &Environment, stream: &mut Stream) -> bool {
    if !stream.is_journaled() || !stream.messages.ledger.take_changed() {
        return false;
    }
    let ledger = crate::json::to_json(&stream.messages.ledger);
    let kept = env
        .backend(BackendKind::Segment)
        .and_then(|root| root.kv().put_all(&[(snapshot::ledger_key(stream.id()), Some(ledger))]));
    if let Err(error) = kept {
        tracing::error!(stream = %stream.name(), "noting what it has lost: {error}");
        // The next checkpoint does.
        stream.messages.ledger.forget_saved();
        return false;
    }
    true
}
