//! The thread of a shard: it takes what came, a turn at a time, lets out what each turn caused, and opens the shard anew
//! when its storage failed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::reject;
use crate::shard::command::Commands;
use crate::shard::emit::{Emit, Outlet, Ticket};
use crate::shard::inbox::Inbox;
use crate::shard::input::{self, Load};
use crate::shard::offline::contained;
use crate::shard::shared::Held;
use crate::shard::steps::Clocks;
use crate::shard::turn::{Turn, mix};
use crate::shard::{Input, Shard, ShardHandle, pulls_end};
use crate::types::NanoTime;

/// Inputs that one turn takes at most.
const TURN_INPUTS: usize = 16 << 10;
/// Inputs that wait for the next turn from which on a sync runs beside it: another thread for that costs two wake-ups, about what deciding
/// so many takes.
const BESIDE_MIN: usize = 64;
/// Bytes of messages that wait for the next turn from which on it does so as well: to write them takes about as long.
const BESIDE_BYTES: usize = 256 << 10;
/// Inputs that the queue keeps room for: what a burst made it grow by is given back.
const ROOM_KEPT: usize = 4 << 10;
/// The longest sleep: deadlines far away are looked at again after it, so that a change of the clock does no harm.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The thread's loop.
pub(crate) struct Runner {
    shard: Held<Shard>,
    inbox: Inbox<Vec<Input>>,
    load: Arc<Load>,
    outlet: Box<dyn Outlet>,
    clocks: Clocks,
    handle: ShardHandle,
    /// Taken off the queue and not done yet.
    backlog: VecDeque<Vec<Input>>,
    commands: Commands,
    emits: Vec<Emit>,
    /// What ids are made of.
    entropy: u64,
    /// How often its shard was opened anew.
    #[cfg(feature = "conformance")]
    openings: u64,
    /// Whether turns go on as if there were always more to do.
    #[cfg(feature = "conformance")]
    pub hurries: bool,
}

impl Runner {
    pub fn new(
        shard: Shard,
        handle: ShardHandle,
        inbox: Inbox<Vec<Input>>,
        load: Arc<Load>,
        outlet: Box<dyn Outlet>,
    ) -> Self {
        Self {
            clocks: Clocks::new(&shard.env, shard.time),
            entropy: mix(shard.env.entropy.wrapping_add(u64::from(shard.number.0))),
            shard: handle.window().hold(shard),
            inbox,
            load,
            outlet,
            handle,
            backlog: VecDeque::new(),
            commands: Commands::default(),
            emits: Vec::new(),
            #[cfg(feature = "conformance")]
            openings: 0,
            #[cfg(feature = "conformance")]
            hurries: false,
        }
    }

    /// Turns until told to close.
    pub fn run(mut self) {
        while self.go_round(true) {}
        // Whatever it ended by: who opens the store next must not meet what this one left beside itself.
        self.shard.checkpoint.wait();
        self.shard.offline.wait();
        self.shard.relocations.stop();
        self.shard.tending.stop();
        self.shard.fetching.stop();
    }

    /// Takes what came and does one turn. Waits for something to do if told to. A suspended shard is opened anew before, if
    /// it is time for that, or nothing is waited for. Answers whether the shard goes on.
    pub fn go_round(&mut self, wait: bool) -> bool {
        if self.shard.is_suspended() && (!wait || self.shard.is_due_to_open(self.clocks.now())) {
            self.reopen(None);
        }
        let inputs = self.gather(wait);
        if inputs.iter().flatten().any(|input| matches!(input, Input::Abandon)) {
            self.shard.flights.give_up();
            self.shard.checkpoint.wait();
            self.shard.offline.wait();
            self.shard.relocations.stop();
            self.shard.tending.stop();
            self.shard.fetching.stop();
            return false;
        }
        if inputs.iter().flatten().any(|input| matches!(input, Input::Follow)) {
            return self.stand_down();
        }
        let closing = inputs.iter().flatten().any(|input| matches!(input, Input::Close));
        if let Err(error) = self.turn(inputs) {
            if error.kind == Kind::NotLeading {
                return self.stand_down();
            }
            tracing::error!(shard = %self.shard.number, "storage failed: {error}");
            if closing {
                return false;
            }
            self.let_go(&error);
            self.reopen(Some(&error));
            return true;
        }
        if closing && let Err(error) = self.shard.close(self.clocks.now()) {
            tracing::error!(shard = %self.shard.number, "closing: {error}");
        }
        !closing
    }

    /// Another replica leads. Answers whether the shard goes on.
    fn stand_down(&mut self) -> bool {
        let (now, _) = self.clocks.look();
        let mut turn = Turn::new(now, self.entropy, Commands::default(), Vec::new(), self.outlet.as_mut());
        let followed = contained(|| self.shard.follow(&mut turn));
        for emit in turn.emits {
            send(emit, None, self.outlet.as_mut());
        }
        self.outlet.flush();
        if let Err(error) = followed {
            tracing::error!(shard = %self.shard.number, "storage failed: {error}");
            self.let_go(&error);
            self.reopen(Some(&error));
        }
        true
    }

    /// Whether storage failed, and could not be opened anew yet.
    #[cfg(feature = "conformance")]
    pub fn is_broken(&self) -> bool {
        self.shard.is_suspended()
    }

    /// Its shard, and how often that was opened anew.
    #[cfg(feature = "conformance")]
    pub fn shard(&mut self) -> (&mut Shard, u64) {
        (&mut self.shard, self.openings)
    }

    /// How often its shard was opened anew, or tried to be.
    #[cfg(feature = "conformance")]
    pub fn openings(&self) -> u64 {
        self.openings
    }

    /// Whether something is to be done now that nobody has to ask for.
    #[cfg(feature = "conformance")]
    pub fn is_busy(&self) -> bool {
        let due = self.shard.next_deadline().is_some_and(|due| due <= self.clocks.now());
        due || self.has_inputs() || !self.shard.unfinished.is_empty()
    }

    /// Whether something waits for a turn.
    #[cfg(feature = "conformance")]
    pub fn has_inputs(&self) -> bool {
        !self.inbox.is_empty() || !self.backlog.is_empty()
    }

    /// Takes what is there to do; waits for it if told to.
    fn gather(&mut self, wait: bool) -> Vec<Vec<Input>> {
        let mut taken = Vec::new();
        let mut count = 0;
        if self.backlog.is_empty() {
            self.backlog.shrink_to(ROOM_KEPT);
        }
        if self.backlog.is_empty() && self.shard.unfinished.is_empty() {
            let wait = if wait { self.sleep() } else { Duration::ZERO };
            let (inbox, backlog) = (&self.inbox, &mut self.backlog);
            self.shard.let_in(|| inbox.take(backlog, wait));
            if self.backlog.is_empty() {
                self.shard.idle();
            }
        } else {
            self.inbox.take(&mut self.backlog, Duration::ZERO);
        }
        while count < TURN_INPUTS {
            let Some(inputs) = self.backlog.pop_front() else {
                break;
            };
            let changes_role = inputs.iter().any(Input::changes_role);
            if changes_role && !taken.is_empty() {
                self.backlog.push_front(inputs);
                break;
            }
            count += inputs.len();
            self.load.taken(&inputs);
            taken.push(inputs);
            if changes_role {
                break;
            }
        }
        taken
    }

    /// How long there is nothing to do, if nothing comes.
    fn sleep(&self) -> Duration {
        let now = self.clocks.now();
        self.shard.next_deadline().map_or(SLEEP_MAX, |due| {
            Duration::from_nanos(due.saturating_sub(now).max(0) as u64).min(SLEEP_MAX)
        })
    }

    /// One turn. An error means that the journal or a whole backend failed; all who waited were told. What fails for one
    /// request or one stream stays with it.
    fn turn(&mut self, inputs: Vec<Vec<Input>>) -> Result<()> {
        let (now, step) = self.clocks.look();
        self.shard.time = now;
        let can_overtake = step == 0 && inputs.iter().flatten().all(Input::can_overtake);
        if let Err(error) = self.let_out(!can_overtake, now) {
            for input in inputs.into_iter().flatten() {
                self.refuse(input, &error);
            }
            self.outlet.flush();
            return Err(error);
        }
        let quiet = inputs.is_empty() && self.shard.unfinished.is_empty();
        let commands = std::mem::take(&mut self.commands);
        let emits = std::mem::take(&mut self.emits);
        self.entropy = mix(self.entropy.wrapping_add(now.unsigned_abs()));
        let mut turn = Turn::new(now, self.entropy, commands, emits, self.outlet.as_mut());
        let bytes = inputs.iter().map(|inputs| input::journal_bytes(inputs)).sum();
        let mut inputs = inputs.into_iter().flatten();
        let outcome = contained(|| {
            if step != 0 {
                self.shard.step(step);
            }
            self.shard.begin_with_room(bytes, now)?;
            self.shard.apply(&mut inputs, &mut turn)?;
            let (waiting, bytes) = self.handle.waiting();
            let others_wait = waiting >= BESIDE_MIN || bytes >= BESIDE_BYTES;
            #[cfg(feature = "conformance")]
            let others_wait = others_wait || self.hurries;
            self.shard
                .commit(&mut turn, others_wait, can_overtake.then_some(&self.handle))
        });
        let mut commands = turn.commands;
        let mut emits = turn.emits;
        if let Err(error) = &outcome {
            give_up(&mut self.shard, error, self.outlet.as_mut());
        }
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
        self.clocks.raise(self.shard.time);
        contained(|| {
            self.shard.schedule(now);
            self.shard.fetch_cold(&self.handle);
            if !self.shard.flights.is_empty() {
                return Ok(());
            }
            if let Some(error) = self.shard.checkpoint.failure.take() {
                return Err(error);
            }
            let written = std::mem::take(&mut self.shard.checkpoint.written);
            self.shard.tend(quiet || written, now, &self.handle);
            self.shard.relocate(now, &self.handle);
            self.shard.draft_one();
            self.shard.checkpoint_if_due(&self.handle);
            self.shard.retry_offline(now, &self.handle);
            self.shard.go_on_moving()
        })
    }

    /// Lets out the turns that were committed meanwhile; all of them, if told to, or if it is time for that.
    fn let_out(&mut self, all: bool, now: NanoTime) -> Result<()> {
        let (shard, handle) = (&mut self.shard, &self.handle);
        let landed = contained(|| match all || shard.flights.must_settle() {
            true => shard.settle(now),
            false => shard.land(now, handle),
        });
        match landed {
            Ok(emits) if emits.is_empty() => Ok(()),
            Ok(emits) => {
                for emit in emits {
                    send(emit, None, self.outlet.as_mut());
                }
                self.outlet.flush();
                Ok(())
            }
            Err(error) => {
                give_up(&mut self.shard, &error, self.outlet.as_mut());
                Err(error)
            }
        }
    }

    /// Storage failed: who waits for more than this turn is told so.
    fn let_go(&mut self, error: &Error) {
        for stream in self.shard.streams.values_mut().filter(|stream| stream.is_journaled()) {
            for done in stream.take_waiting() {
                done(Err(error));
            }
        }
    }

    /// Throws away what is in memory and opens everything anew from disk. Where that fails, the shard is suspended.
    fn reopen(&mut self, error: Option<&Error>) {
        #[cfg(feature = "conformance")]
        {
            self.openings += 1;
        }
        let now = self.clocks.now();
        let was_suspended = self.shard.is_suspended();
        let events = match contained(|| self.shard.reopen(now)) {
            Ok(()) => {
                tracing::warn!(shard = %self.shard.number, "storage opened anew");
                self.shard.env.catalogue.set_trouble(self.shard.number, None);
                match was_suspended {
                    true => self.shard.online(),
                    false => Vec::new(),
                }
            }
            Err(again) => self.shard.suspend(error, &again, now),
        };
        for event in events {
            self.outlet.emit(Emit::Event(event));
        }
        self.outlet.flush();
    }

    /// Tells the sender of an input that storage failed.
    fn refuse(&mut self, input: Input, error: &Error) {
        match input {
            Input::Publish { ticket, stream, .. } => {
                let Some((account, stream)) = self.shard.names(stream) else {
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
                let Some((account, stream)) = self.shard.names(stream) else {
                    return;
                };
                let emit = pulls_end(account, stream, &consumer, reply);
                send(emit, None, self.outlet.as_mut());
            }
            Input::Call(call) | Input::Ask(call) => {
                let done = call(Err(error));
                done(Err(error));
            }
            Input::Ack { .. }
            | Input::FlowControl { .. }
            | Input::Wake { .. }
            | Input::Fetched { .. }
            | Input::Committed
            | Input::Apply(_)
            | Input::Fill(_)
            | Input::Copied(_)
            | Input::Filled
            | Input::Lead
            | Input::Follow
            | Input::Checkpointed
            | Input::Reopened
            | Input::Relocated
            | Input::Tended
            | Input::Close
            | Input::Abandon => {}
        }
    }
}

/// Storage failed: who waits for turns in flight is told so. Where another replica leads, they may still become facts: nobody is told, and
/// they are [rolled back](Shard::follow).
fn give_up(shard: &mut Shard, error: &Error, outlet: &mut dyn Outlet) {
    if error.kind == Kind::NotLeading {
        return;
    }
    for emit in shard.flights.give_up() {
        send(emit, Some(error), outlet);
    }
}

/// Lets one emission out; after an error only those who wait are told.
fn send(emit: Emit, error: Option<&Error>, outlet: &mut dyn Outlet) {
    if error.is_some_and(|error| error.kind == Kind::NotLeading) {
        return;
    }
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
