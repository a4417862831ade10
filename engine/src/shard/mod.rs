//! A shard: one thread, one journal, and the streams that belong to it.
//!
//! Each turn drains the queue, applies what came to the streams' state, writes the outcome to the journal in one go,
//! syncs once if any stream asks for it, brings the changes to the streams' logs, and only then lets answers and
//! deliveries out. So a thousand streams cost one sync, and a batch grows by itself with the load.

mod checkpoint;
pub mod command;
pub mod emit;
pub mod holes;
mod input;
pub mod label;
mod offline;
pub(crate) mod recover;
mod restore;
mod room;
pub mod snapshot;
mod steps;
pub(crate) mod turn;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use foldhash::fast::RandomState;

pub use input::{Call, Input, QueueLimits, Refused, ShardHandle};

use crate::backend::{Batch, Log};
use crate::consumer::{Ack, ConsumerConfig, ConsumerInfo};
use crate::error::{Error, Kind, Result};
use crate::reject;
use crate::store::Environment;
use crate::stream::core::Identity;
use crate::stream::settings::Settings;
use crate::stream::{Portion, Purge, Retention, Stream, StreamConfig, StreamSource, Taken};
use crate::types::{LogId, NanoTime, Nanos, SECOND, Seq};
use checkpoint::Checkpoint;
use command::Commands;
use emit::{ConsumerName, Emit, Outlet, Status, Ticket};
use input::Load;
use offline::{OfflineStreams, contained};
use room::{NEW_STREAM_BYTES, Room};
use steps::Clocks;
use turn::{Turn, mix};

/// Inputs that one turn takes at most.
const TURN_INPUTS: usize = 16 << 10;
/// The longest sleep: deadlines far away are looked at again after it, so that a change of the clock does no harm.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Bytes of one stream's log that are moved at a time to reclaim storage.
const MAINTAIN_BYTES: u64 = 1 << 20;
/// How long a shard whose storage failed waits before it tries to open it anew.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// How long a stream waits that could not do what was due, before it tries again.
const STUMBLE_PAUSE: Nanos = SECOND;

/// Everything that one shard owns.
pub(crate) struct State {
    number: usize,
    env: Arc<Environment>,
    journal: Box<dyn Log>,
    /// The last journal record written.
    position: Seq,
    streams: BTreeMap<LogId, Stream>,
    /// Streams that failed, or could not be opened.
    offline: OfflineStreams,
    /// Streams that are being restored, which nobody sees.
    restoring: BTreeMap<LogId, Stream>,
    /// Streams that this turn changed.
    touched: Vec<LogId>,
    /// Streams whose consumers were stopped by the turn's budget.
    unfinished: Vec<LogId>,
    /// What there is of room on the disk.
    room: Room,
    /// Streams that failed in this turn, and why: they go offline at its end.
    faulty: Vec<(LogId, Error)>,
    /// Streams deleted in this turn, whose logs go once the journal has it.
    doomed: Vec<(LogId, Settings)>,
    deadlines: BTreeSet<(NanoTime, LogId)>,
    deadline_of: HashMap<LogId, NanoTime, RandomState>,
    /// When the journal has to be synced for streams with an interval.
    sync_due: Option<NanoTime>,
    checkpoint: Checkpoint,
    /// Which opening of the backends this shard works with.
    generation: u64,
}

/// A shard within one turn: what a [`Call`] works with.
pub struct Shard<'s, 't> {
    state: &'s mut State,
    turn: &'s mut Turn<'t>,
}

/// The thread's loop.
pub(crate) struct Runner {
    state: State,
    receiver: Receiver<Vec<Input>>,
    load: Arc<Load>,
    outlet: Box<dyn Outlet>,
    clocks: Clocks,
    handle: ShardHandle,
    /// Taken off the queue and not done yet.
    backlog: std::collections::VecDeque<Vec<Input>>,
    commands: Commands,
    emits: Vec<Emit>,
    /// What ids are made of.
    entropy: u64,
}

impl Runner {
    pub fn new(
        state: State,
        handle: ShardHandle,
        receiver: Receiver<Vec<Input>>,
        load: Arc<Load>,
        outlet: Box<dyn Outlet>,
    ) -> Self {
        Self {
            clocks: Clocks::new(&state.env),
            entropy: mix(state.env.entropy.wrapping_add(state.number as u64)),
            state,
            receiver,
            load,
            outlet,
            handle,
            backlog: std::collections::VecDeque::new(),
            commands: Commands::default(),
            emits: Vec::new(),
        }
    }

    /// Turns until told to close.
    pub fn run(mut self) {
        loop {
            let inputs = self.gather();
            if inputs.iter().flatten().any(|input| matches!(input, Input::Abandon)) {
                self.state.checkpoint.wait();
                self.state.offline.wait();
                return;
            }
            let closing = inputs.iter().flatten().any(|input| matches!(input, Input::Close));
            if let Err(error) = self.turn(inputs) {
                tracing::error!(shard = self.state.number, "storage failed: {error}");
                if closing || !self.reopen(&error) {
                    return;
                }
            }
            if closing {
                if let Err(error) = self.state.close() {
                    tracing::error!(shard = self.state.number, "closing: {error}");
                }
                return;
            }
        }
    }

    /// Waits for something to do, and takes what is there.
    fn gather(&mut self) -> Vec<Vec<Input>> {
        let mut taken = Vec::new();
        let mut count = 0;
        if self.backlog.is_empty() && self.state.unfinished.is_empty() {
            let now = self.clocks.now();
            let due = self.state.next_deadline();
            let wait = due.map_or(SLEEP_MAX, |due| {
                Duration::from_nanos(due.saturating_sub(now).max(0) as u64).min(SLEEP_MAX)
            });
            match self.receiver.recv_timeout(wait) {
                Ok(inputs) => self.backlog.push_back(inputs),
                Err(RecvTimeoutError::Timeout) => self.state.idle(),
                Err(RecvTimeoutError::Disconnected) => self.backlog.push_back(vec![Input::Close]),
            }
        }
        while count < TURN_INPUTS {
            let Some(inputs) = self.backlog.pop_front().or_else(|| self.receiver.try_recv().ok()) else {
                break;
            };
            count += inputs.len();
            self.load.taken(&inputs);
            taken.push(inputs);
        }
        taken
    }

    /// One turn. An error means that the journal or a whole backend failed; all who waited were told. What fails for one
    /// request or one stream stays with it.
    fn turn(&mut self, inputs: Vec<Vec<Input>>) -> Result<()> {
        let (now, step) = self.clocks.look();
        let quiet = inputs.is_empty() && self.state.unfinished.is_empty();
        let commands = std::mem::take(&mut self.commands);
        let emits = std::mem::take(&mut self.emits);
        self.entropy = mix(self.entropy.wrapping_add(now.unsigned_abs()));
        let mut turn = Turn::new(now, self.entropy, commands, emits, self.outlet.as_mut());
        let bytes = inputs.iter().map(|inputs| input::journal_bytes(inputs)).sum();
        let mut inputs = inputs.into_iter().flatten();
        let outcome = contained(|| {
            if step != 0 {
                self.state.step(step);
            }
            self.state.begin_with_room(bytes, now)?;
            self.state.apply(&mut inputs, &mut turn)?;
            self.state.commit(&mut turn)
        });
        let mut commands = turn.commands;
        let mut emits = turn.emits;
        for emit in emits.drain(..) {
            send(emit, outcome.as_ref().err(), self.outlet.as_mut());
        }
        if let Err(error) = &outcome {
            for input in inputs {
                self.refuse(input, error);
            }
        }
        self.outlet.flush();
        commands.clear();
        self.commands = commands;
        emits.shrink_to(1 << 14);
        self.emits = emits;
        outcome?;
        contained(|| {
            self.state.schedule(now);
            if let Some(error) = self.state.checkpoint.failure.take() {
                return Err(error);
            }
            if quiet || std::mem::take(&mut self.state.checkpoint.written) {
                self.state.maintain();
            }
            self.state.checkpoint_if_due(&self.handle);
            self.state.retry_offline(now, &self.handle);
            Ok(())
        })
    }

    /// Throws away what is in memory and opens everything anew from disk, trying until it works. Whoever asks for
    /// something meanwhile is told the error. Answers whether the shard goes on.
    fn reopen(&mut self, error: &Error) -> bool {
        for stream in self.state.streams.values_mut().filter(|stream| stream.is_journaled()) {
            for done in stream.take_waiting() {
                done(Err(error));
            }
        }
        loop {
            let now = self.clocks.now();
            match contained(|| self.state.reopen(now)) {
                Ok(()) => {
                    tracing::warn!(shard = self.state.number, "storage opened anew");
                    self.state.env.catalogue.set_trouble(self.state.number, None);
                    return true;
                }
                Err(again) => {
                    tracing::error!(shard = self.state.number, "cannot open storage anew: {again}");
                    let why = format!("storage failed: {error}; opening it anew: {again}");
                    self.state.env.catalogue.set_trouble(self.state.number, Some(why));
                }
            }
            let mut wait = REOPEN_AFTER;
            while let Ok(inputs) = self.receiver.recv_timeout(wait) {
                wait = Duration::from_millis(1);
                self.load.taken(&inputs);
                for input in inputs {
                    if matches!(input, Input::Close | Input::Abandon) {
                        return false;
                    }
                    self.refuse(input, error);
                }
                self.outlet.flush();
            }
        }
    }

    /// Tells the sender of an input that storage failed.
    fn refuse(&mut self, input: Input, error: &Error) {
        match input {
            Input::Publish { ticket, stream, .. } => {
                let Some((account, stream)) = self.state.names(stream) else {
                    return;
                };
                let emit = Emit::Published {
                    ticket,
                    result: Err(error.clone()),
                    account,
                    stream,
                };
                send(emit, None, self.outlet.as_mut());
            }
            Input::Pull {
                stream,
                consumer,
                reply,
                ..
            } => {
                let Some((account, stream)) = self.state.names(stream) else {
                    return;
                };
                let emit = pulls_end(account, stream, &consumer, reply);
                send(emit, None, self.outlet.as_mut());
            }
            Input::Call(call) => {
                let done = call(Err(error));
                done(Err(error));
            }
            Input::Ack { .. }
            | Input::FlowControl { .. }
            | Input::Wake { .. }
            | Input::Checkpointed
            | Input::Reopened
            | Input::Close
            | Input::Abandon => {}
        }
    }
}

/// Lets one emission out; after an error only those who wait are told.
fn send(emit: Emit, error: Option<&Error>, outlet: &mut dyn Outlet) {
    match (emit, error) {
        (
            Emit::Published {
                ticket: Ticket::Call(call),
                result,
                ..
            },
            error,
        ) => call(match error {
            None => result,
            Some(error) => Err(error.clone()),
        }),
        (
            Emit::Published {
                ticket,
                account,
                stream,
                ..
            },
            Some(error),
        ) => outlet.emit(Emit::Published {
            ticket,
            account,
            stream,
            result: Err(reject::STREAM_STORE_FAILED.with(error).into()),
        }),
        (Emit::Done(done), error) => done(error.map_or(Ok(()), Err)),
        (_, Some(_)) => {}
        (emit, None) => outlet.emit(emit),
    }
}

impl State {
    /// Does what came.
    ///
    /// # Errors
    /// If the whole shard must be opened anew; what is left of `inputs` was not done then.
    fn apply(&mut self, inputs: &mut dyn Iterator<Item = Input>, turn: &mut Turn<'_>) -> Result<()> {
        if self.generation != self.env.generation() {
            return Err(Error::new(
                Kind::Poisoned,
                "another shard found that the store must be opened anew",
            ));
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
        // A stream may be touched by what another one's consumers deliver only in a later turn, so one pass will do.
        for at in 0..self.touched.len() {
            let id = self.touched[at];
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            let delivered = stream.deliver(turn);
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
    fn stumbled(&mut self, id: LogId, error: Error, now: Option<NanoTime>) {
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
                let full = self.room.check().err();
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
            Input::Call(call) => {
                turn.removing = None;
                let done = call(Ok(&mut Shard { state: self, turn }));
                // A call that began to remove more than a turn may is answered when that is over.
                match turn.removing.take().and_then(|id| self.streams.get_mut(&id)) {
                    Some(stream) => stream.answer_when_removed(done),
                    None => turn.emits.push(Emit::Done(done)),
                }
                return Ok(());
            }
            Input::Checkpointed => return self.checkpointed(),
            Input::Reopened => return self.reopened(turn),
            Input::Close | Input::Abandon => return Ok(()),
        };
        if let Err(error) = outcome {
            self.stumbled(id, error, None);
        }
        Ok(())
    }

    /// The journal, then the logs. Nothing may leave the shard before this.
    fn commit(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        for at in 0..self.touched.len() {
            let id = self.touched[at];
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.journal_turn(turn);
            }
        }
        if !turn.commands.is_empty() {
            let records = turn.commands.records(self.position + 1);
            self.journal.write(&Batch {
                append: &records,
                ..Batch::default()
            })?;
            self.position += records.len() as Seq;
            self.checkpoint.grown(
                records
                    .iter()
                    .map(|record| record.head.len() + record.body.len() + 64)
                    .sum(),
            );
        }
        if turn.sync || self.sync_due.is_some_and(|due| due <= turn.now) {
            self.journal.sync()?;
            self.sync_due = None;
        } else if let Some(nanos) = turn.sync_within {
            let due = turn.now.saturating_add(nanos);
            self.sync_due = Some(self.sync_due.map_or(due, |before| before.min(due)));
        }
        for at in 0..self.touched.len() {
            let id = self.touched[at];
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.position = self.position;
                stream.unsaved = true;
                stream.untidy = true;
                let read = stream.has_consumers();
                let written = stream.core.write(read);
                // A client that is answered may ask for it at once.
                stream.note_stats();
                if let Err(error) = written {
                    // The journal has it all: what is answered stays true.
                    self.not_written(id, error, turn.now);
                }
            }
        }
        for (id, error) in std::mem::take(&mut self.faulty) {
            self.take_offline(id, &error, turn);
        }
        for (id, settings) in std::mem::take(&mut self.doomed) {
            self.remove_log(id, &settings);
        }
        Ok(())
    }

    /// Removes the log of a stream that is deleted. Should that fail, the stream is gone all the same, and its log is
    /// found at the next start.
    fn remove_log(&self, id: LogId, settings: &Settings) {
        let removed = self
            .env
            .backend(settings.backend)
            .and_then(|backend| crate::store::remove_log(backend.as_ref(), id, settings));
        if let Err(error) = removed {
            tracing::error!(log = %id, "removing the log of a deleted stream: {error}");
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
            // Of a stream that was just opened nothing was committed.
            stream.note_stats();
            let due = match stream.next_deadline(now) {
                Ok(due) => due.map(|due| due.max(stream.not_before)),
                Err(error) => {
                    tracing::debug!(stream = %stream.name(), "{error}");
                    Some(now.saturating_add(STUMBLE_PAUSE))
                }
            };
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
        [first, self.sync_due, self.offline.next_retry(), self.room.next_look()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Reclaims storage of the streams that changed, some of each, so that others do not wait for long.
    fn maintain(&mut self) {
        for (&id, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.untidy) {
            match stream.core.maintain(MAINTAIN_BYTES) {
                Ok(more) => stream.untidy = more,
                Err(error) => {
                    stream.untidy = false;
                    tracing::error!(stream = %stream.name(), "reclaiming storage: {error}");
                    if error.kind != Kind::Full {
                        // Its log refuses everything from now on: the stream goes offline at the end of the next turn.
                        self.faulty.push((id, error));
                    }
                }
            }
        }
    }

    /// Nothing came for a while: memory that only a busy shard needs is let go.
    fn idle(&mut self) {
        for stream in self.streams.values_mut() {
            stream.core.idle();
        }
    }

    /// The account and name of a stream.
    fn names(&self, id: LogId) -> Option<(Arc<str>, Arc<str>)> {
        if let Some(stream) = self.streams.get(&id) {
            return Some((stream.account().clone(), stream.name().clone()));
        }
        // While storage cannot be opened there is only the catalogue.
        let entry = self.env.catalogue.by_id(id)?;
        Some((entry.account.clone(), entry.name.clone()))
    }

    /// A stream, noted as touched by this turn.
    fn touch(&mut self, id: LogId) -> Option<&mut Stream> {
        let stream = self.streams.get_mut(&id)?;
        if !stream.touched {
            stream.touched = true;
            self.touched.push(id);
        }
        Some(stream)
    }

    /// Tells a publisher that the stream is offline. A stream that is gone has no names to answer with.
    fn refuse_offline(&self, id: LogId, ticket: Ticket, turn: &mut Turn<'_>) {
        let Some(error) = self.offline.refusal(id) else { return };
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
    fn refuse_pull(&self, id: LogId, consumer: &[u8], to: bytes::Bytes, turn: &mut Turn<'_>) {
        if !self.offline.contains(id) {
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
    fn existing(&mut self, id: LogId) -> Result<&mut Stream> {
        match self.streams.contains_key(&id) {
            true => self.touch(id).ok_or_else(|| reject::STREAM_NOT_FOUND.into()),
            false => Err(self.missing(id)),
        }
    }

    /// Why a stream cannot be worked on: it is offline, or there is none.
    fn missing(&self, id: LogId) -> Error {
        let offline = self.offline.refusal(id);
        offline.unwrap_or_else(|| reject::STREAM_NOT_FOUND.into())
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

impl Shard<'_, '_> {
    /// The time of this turn.
    pub fn now(&self) -> NanoTime {
        self.turn.now
    }

    /// A stream, to read. Of one that is offline, what memory had of it.
    ///
    /// # Errors
    /// If there is no such stream, or nothing is left of it in memory.
    pub fn stream(&mut self, id: LogId) -> Result<&mut Stream> {
        if !self.state.streams.contains_key(&id) && !self.state.offline.is_readable(id) {
            return Err(self.state.missing(id));
        }
        let stream = self.state.streams.get_mut(&id);
        stream
            .or_else(|| self.state.offline.frozen(id))
            .ok_or_else(|| reject::STREAM_NOT_FOUND.into())
    }

    /// The streams of this shard.
    pub fn streams(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.state.streams.values_mut()
    }

    /// Makes a stream; its configuration was validated, its name is free.
    ///
    /// # Errors
    /// If its storage cannot be made.
    pub fn create_stream(
        &mut self,
        id: LogId,
        account: &Arc<str>,
        config: StreamConfig,
        settings: Settings,
    ) -> Result<LogId> {
        if settings.is_journaled() {
            self.state.need_room(NEW_STREAM_BYTES, self.turn.now)?;
        }
        let who = Identity {
            id,
            account: account.clone(),
            name: config.name.as_str().into(),
            config,
            settings,
            created: self.turn.now,
        };
        let last = who.config.first_seq.saturating_sub(1);
        let stream = self.state.env.open_stream(who, last, None, false)?;
        if settings.is_journaled() {
            let snapshot = snapshot::StreamSnapshot::of(&stream, self.state.number, 0);
            self.turn
                .commands
                .create_stream(id, self.turn.now, crate::stream::to_json(&snapshot));
            self.turn.sync = true;
        }
        self.state.env.catalogue.insert(&stream, self.state.number);
        self.state.streams.insert(id, stream);
        self.state.touch(id);
        Ok(id)
    }

    /// Gives a stream a new configuration, validated before, and applies its limits to what is stored.
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn update_stream(&mut self, id: LogId, config: StreamConfig, settings: Settings) -> Result<()> {
        let now = self.turn.now;
        let number = self.state.number;
        let catalogue = self.state.env.catalogue.clone();
        let stream = self.state.existing(id)?;
        if stream.is_journaled() {
            let json = crate::stream::to_json(&(&config, &settings));
            self.turn.commands.update_stream(id, now, json);
            self.turn.sync = true;
        }
        let turns = stream.config().retention == Retention::Limits && config.retention == Retention::Interest;
        stream.configure(config, settings);
        catalogue.insert(stream, number);
        if turns {
            stream.release_settled(self.turn)?;
        }
        stream.enforce_all_limits(now, Some(self.turn))
    }

    /// Deletes a stream with all its messages and consumers.
    ///
    /// # Errors
    /// If there is no such stream.
    pub fn delete_stream(&mut self, id: LogId) -> Result<()> {
        let Some(mut stream) = self.state.streams.remove(&id) else {
            return self.delete_offline(id);
        };
        stream.end_consumers(self.turn);
        for done in stream.take_waiting() {
            self.turn.emits.push(Emit::Done(done));
        }
        if stream.is_journaled() {
            self.turn.commands.delete_stream(id, self.turn.now);
            self.turn.sync = true;
        }
        self.state.env.catalogue.remove(stream.account(), stream.name(), id);
        self.state.checkpoint.deleted(id);
        self.state.doomed.push((id, stream.core.settings));
        Ok(())
    }

    /// Deletes a stream that is offline, whatever is wrong with it.
    fn delete_offline(&mut self, id: LogId) -> Result<()> {
        let entry = self.state.forget_offline(id)?.ok_or(reject::STREAM_NOT_FOUND)?;
        self.turn.commands.delete_stream(id, self.turn.now);
        self.turn.sync = true;
        self.state.env.catalogue.remove(&entry.account, &entry.name, id);
        self.state.checkpoint.deleted(id);
        self.state.doomed.push((id, entry.settings));
        Ok(())
    }

    /// Stores a message.
    ///
    /// # Errors
    /// As a publisher is told.
    pub fn publish(
        &mut self,
        id: LogId,
        subject: bytes::Bytes,
        headers_len: usize,
        body: bytes::Bytes,
    ) -> Result<emit::PubAck> {
        if self.state.existing(id)?.is_journaled() {
            self.state.need_room(subject.len() + body.len(), self.turn.now)?;
        }
        let stream = self.state.existing(id)?;
        let publish = crate::stream::Publish {
            subject,
            headers_len,
            body,
        };
        stream.publish(publish, self.turn)
    }

    /// Removes messages; answers how many. Where they are many, they go in the turns to come: the [`Call`] that asked for
    /// it is answered when they are gone.
    ///
    /// # Errors
    /// If there is no such stream, or it does not allow it.
    pub fn purge(&mut self, id: LogId, purge: &Purge) -> Result<u64> {
        let stream = self.state.existing(id)?;
        stream.demand_durability(self.turn);
        stream.purge(purge, self.turn)
    }

    /// Removes one message; `secure` also overwrites its bytes. Answers whether there was one.
    ///
    /// # Errors
    /// If there is no such stream, or it does not allow it.
    pub fn delete_message(&mut self, id: LogId, seq: Seq, secure: bool) -> Result<bool> {
        let stream = self.state.existing(id)?;
        stream.demand_durability(self.turn);
        stream.delete_message(seq, secure)
    }

    /// Takes over messages of an origin with this [`identity`](crate::stream::identity); see [`crate::stream::Portion`].
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn copy(&mut self, id: LogId, source: &StreamSource, identity: &str, portion: Portion) -> Result<Taken> {
        if self.state.existing(id)?.is_journaled() {
            self.state.need_room(portion.bytes(), self.turn.now)?;
        }
        let stream = self.state.existing(id)?;
        stream.demand_durability(self.turn);
        stream.copy(source, identity, portion, self.turn)
    }

    /// Somebody takes over this stream's messages from now on, under a number of its own; it has everything up to
    /// `done`. It is told of more by [`Emit::Grown`].
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn watch(&mut self, id: LogId, reader: u64, filters: Vec<bytes::Bytes>, done: Seq) -> Result<()> {
        self.state.existing(id)?.watch(reader, filters, done, self.turn)
    }

    /// Somebody does not take over this stream's messages any more.
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn unwatch(&mut self, id: LogId, reader: u64) -> Result<()> {
        self.state.existing(id)?.unwatch(reader, self.turn)
    }

    /// Whoever takes over this stream's messages has everything up to a sequence durably.
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn copied(&mut self, id: LogId, reader: u64, through: Seq) -> Result<()> {
        self.state.existing(id)?.copied(reader, through, self.turn)
    }

    /// One consumer, without the pull requests that nobody waits for any more.
    ///
    /// # Errors
    /// If there is no such stream or consumer.
    pub fn consumer_info(&mut self, id: LogId, name: &str) -> Result<ConsumerInfo> {
        let stream = self.state.existing(id)?;
        let info = stream.current_consumer_info(name, self.turn);
        info.ok_or_else(|| reject::CONSUMER_NOT_FOUND.into())
    }

    /// Makes a consumer; its configuration was validated, its name is free.
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn create_consumer(&mut self, id: LogId, config: ConsumerConfig) -> Result<ConsumerInfo> {
        let stream = self.state.existing(id)?;
        stream.create_consumer(config, self.turn)
    }

    /// Gives a consumer a new configuration, validated before.
    ///
    /// # Errors
    /// If there is no such stream or consumer, or storage fails.
    pub fn update_consumer(&mut self, id: LogId, name: &str, config: ConsumerConfig) -> Result<ConsumerInfo> {
        let stream = self.state.existing(id)?;
        stream.update_consumer(name, config, self.turn)
    }

    /// Deletes a consumer.
    ///
    /// # Errors
    /// If there is no such stream or consumer, or storage fails.
    pub fn delete_consumer(&mut self, id: LogId, name: &str) -> Result<()> {
        let stream = self.state.existing(id)?;
        stream.delete_consumer(name, false, self.turn)
    }

    /// Takes an acknowledgement that is to be as durable as the stream's messages when the turn ends.
    ///
    /// # Errors
    /// If there is no such stream or consumer, or storage fails.
    pub(crate) fn ack_durably(&mut self, id: LogId, consumer: &[u8], ack: Ack) -> Result<()> {
        let stream = self.state.existing(id)?;
        if !stream.has_consumer(consumer) {
            return Err(reject::CONSUMER_NOT_FOUND.into());
        }
        stream.demand_durability(self.turn);
        stream.ack(consumer, ack, self.turn)
    }

    /// Makes a consumer begin anew: at `seq`, or for 0 behind what is acknowledged. Answers where.
    ///
    /// # Errors
    /// If there is no such stream or consumer, it may not begin there, or storage fails.
    pub fn reset_consumer(&mut self, id: LogId, consumer: &str, seq: Seq) -> Result<(Seq, ConsumerInfo)> {
        let stream = self.state.existing(id)?;
        stream.reset_consumer(consumer, seq, self.turn)
    }

    /// Takes a consumer away from the client that has it for itself.
    ///
    /// # Errors
    /// If there is no such stream, consumer or priority group.
    pub fn unpin(&mut self, id: LogId, consumer: &str, group: &str) -> Result<()> {
        let stream = self.state.existing(id)?;
        stream.unpin(consumer, group, self.turn)
    }

    /// Ends a pull request, unless there is something for it now. Answers whether it is over.
    ///
    /// # Errors
    /// If there is no such stream or consumer, or storage fails.
    pub(crate) fn end_pull(&mut self, id: LogId, consumer: &[u8], reply: &[u8]) -> Result<bool> {
        let stream = self.state.existing(id)?;
        stream.end_pull(consumer, reply, self.turn)
    }

    /// Ends the pull requests of all streams for that reason, each told what it was short of.
    pub fn end_all_pulls(&mut self, text: &str) {
        for stream in self.state.streams.values_mut() {
            stream.end_all_pulls(text, self.turn);
        }
    }
}
