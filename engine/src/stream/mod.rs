//! Streams: messages by sequence, their limits and retention, and the consumers that read them. A pure state machine;
//! time is handed in, and what happens is told to a turn of its shard.

mod agenda;
mod ahead;
mod asked;
mod atomic;
mod batch_limits;
pub(crate) mod checks;
mod config;
mod counter;
mod cron;
mod damage;
pub(crate) mod dedup;
mod fast;
mod ingest;
pub mod ledger;
mod limits;
pub(crate) mod mapping;
mod marker;
pub(crate) mod message;
pub(crate) mod messages;
mod publish;
mod purge;
pub(crate) mod removal;
mod rewrite;
mod schedule;
pub mod settings;
mod sourcing;
pub mod sourcing_rules;
mod staged;
mod tail;
pub(crate) mod ttl;
pub mod validate;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use foldhash::fast::RandomState;
use weir_subject::{SubKey, Sublist};

pub use atomic::Abandoned;
pub use batch_limits::BatchLimits;
pub use config::{
    ConsumerLimits, Discard, ExternalStream, PersistMode, Placement, Republish, Retention, SourceConsumer, Storage,
    StreamCompression, StreamConfig, StreamSource, SubjectTransform,
};
pub use message::{Marks, Message, stored_size, subject_of};
pub use messages::StreamState;
pub(crate) use publish::Publish;
pub use purge::Purge;
pub use sourcing::{Portion, Taken, identity};
pub use ttl::Life;
pub use view::LastSeqs;

use self::messages::Messages;
use crate::consumer::{Ack, AckKind, Consumer, ConsumerConfig, ConsumerInfo, ConsumerSnapshot, PullRequest};
use crate::error::Result;
use crate::reject;
use crate::shard::command::Command;
use crate::shard::emit::{ConsumerName, Emit, Event};
use crate::shard::turn::Turn;
use crate::store::StreamStats;
use crate::types::{LogId, NanoTime, Nanos, Seq};
use atomic::AtomicBatches;
use fast::FastBatches;
use rewrite::Rewrites;
use schedule::Schedules;
use settings::{Durability, Settings};
use sourcing::Reader;

/// How many batches are open in all streams of a store, and how many may be.
#[derive(Debug)]
pub(crate) struct OpenBatches {
    atomic: Arc<AtomicUsize>,
    fast: Arc<AtomicUsize>,
    limits: BatchLimits,
}

impl OpenBatches {
    /// None yet.
    pub fn new(limits: BatchLimits) -> Self {
        Self {
            atomic: Arc::default(),
            fast: Arc::default(),
            limits,
        }
    }
}

/// Why a message is lost whose record was found damaged.
const DAMAGED: &str = "its record is damaged";

/// One stream and its consumers. Reached through [`InTurn`](crate::shard::InTurn) on the thread that owns it.
pub struct Stream {
    pub(crate) messages: Messages,
    consumers: BTreeMap<u64, Consumer>,
    by_name: HashMap<Arc<str>, u64, RandomState>,
    /// Consumers that want some subjects only, by filter.
    filtered: Sublist<u64>,
    filter_keys: HashMap<u64, Vec<SubKey>, RandomState>,
    /// Consumers that want all subjects.
    unfiltered: Vec<u64>,
    next_serial: u64,
    /// Its rules about subjects.
    rewrites: Rewrites,
    /// Atomic batches that are open.
    atomic: AtomicBatches,
    /// Fast batches that are open.
    fast: FastBatches,
    /// How far it has come with its sources.
    origins: BTreeMap<Box<str>, Seq>,
    /// Those who take over its messages.
    readers: Vec<Reader>,
    /// The last sequence that they were told of.
    told: Seq,
    /// Messages that are to be sent at their times.
    schedules: Schedules,
    /// Consumers with something to do in this turn.
    queue: Vec<u64>,
    /// Consumers that may have delivered or been acknowledged in this turn.
    progressed: Vec<u64>,
    /// When consumers next have something to do.
    agenda: agenda::Agenda,
    /// Removals of many messages that are under way.
    removals: removal::Removals,
    /// How many consumers are direct: told to no client, and gone with the process.
    direct: usize,
    /// Scratch: the consumers that want the message at hand.
    interested: Vec<u64>,
    /// Whether the shard lists this stream among those to be written at the end of the turn.
    pub(crate) touched: bool,
    /// The last journal record that concerns this stream.
    pub(crate) position: Seq,
    /// Whether its log may have room to reclaim.
    pub(crate) untidy: bool,
    /// Whether something changed since the last checkpoint.
    pub(crate) unsaved: bool,
    /// What it does by itself waits until then, because it failed.
    pub(crate) not_before: NanoTime,
    /// For others to read.
    pub(crate) stats: Arc<StreamStats>,
}

impl Stream {
    pub(crate) fn new(messages: Messages, batches: &OpenBatches, stats: Arc<StreamStats>) -> Self {
        Self {
            rewrites: Rewrites::of(&messages.config),
            atomic: AtomicBatches::new(Arc::clone(&batches.atomic), batches.limits),
            fast: FastBatches::new(Arc::clone(&batches.fast), batches.limits),
            origins: BTreeMap::new(),
            readers: Vec::new(),
            told: messages.last(),
            schedules: Schedules::of_stream(messages.index.len()),
            messages,
            consumers: BTreeMap::new(),
            by_name: HashMap::default(),
            filtered: Sublist::new(),
            filter_keys: HashMap::default(),
            unfiltered: Vec::new(),
            next_serial: 1,
            queue: Vec::new(),
            progressed: Vec::new(),
            agenda: agenda::Agenda::default(),
            removals: removal::Removals::default(),
            direct: 0,
            interested: Vec::new(),
            touched: false,
            position: 0,
            untidy: true,
            unsaved: true,
            not_before: NanoTime::MIN,
            stats,
        }
    }

    /// Shows others what the stream holds now.
    pub(crate) fn note_stats(&self) {
        let consumers = self.consumers.len() as u64;
        self.stats
            .set(self.messages.index.len(), self.messages.bytes(), consumers);
        self.stats.set_lost(self.messages.ledger.messages());
    }

    /// The log that holds its messages.
    pub fn id(&self) -> LogId {
        self.messages.id
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.messages.name
    }

    /// Its account.
    pub fn account(&self) -> &Arc<str> {
        &self.messages.account
    }

    /// Its configuration.
    pub fn config(&self) -> &StreamConfig {
        &self.messages.config
    }

    /// When it was made.
    pub fn created(&self) -> NanoTime {
        self.messages.created
    }

    /// Takes up another configuration, validated before.
    pub(crate) fn configure(&mut self, config: StreamConfig, settings: Settings) {
        self.rewrites = Rewrites::of(&config);
        self.messages.config = config;
        self.messages.settings = settings;
    }

    /// What it holds.
    ///
    /// # Errors
    /// If its storage cannot be read.
    pub fn state(&mut self) -> Result<StreamState> {
        self.messages.state()
    }

    /// How many consumers it has, but for those of mirrors and sources that no client is told of.
    pub fn consumer_count(&self) -> usize {
        self.consumers.len() - self.direct
    }

    /// Whether anybody reads it.
    pub(crate) fn has_consumers(&self) -> bool {
        !self.consumers.is_empty()
    }

    /// The names of its consumers, in order, but for those of mirrors and sources that no client is told of.
    pub fn consumer_names(&self) -> Vec<Arc<str>> {
        let told = self.by_name.iter().filter(|(_, serial)| !self.is_direct(**serial));
        let mut names: Vec<_> = told.map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// One consumer, as clients are told.
    pub fn consumer_info(&self, name: &str, now: NanoTime) -> Option<ConsumerInfo> {
        let serial = self.by_name.get(name)?;
        self.consumers
            .get(serial)
            .map(|consumer| consumer.info(now, self.messages.config.storage))
    }

    /// One consumer, as clients are told, without the pull requests that nobody waits for any more.
    pub(crate) fn current_consumer_info(&mut self, name: &str, turn: &mut Turn<'_>) -> Option<ConsumerInfo> {
        let serial = self.by_name.get(name)?;
        self.consumers.get_mut(serial)?.drop_dead(turn);
        self.consumer_info(name, turn.now)
    }

    /// The configurations of all consumers.
    pub fn consumer_configs(&self) -> impl Iterator<Item = (&Arc<str>, &ConsumerConfig)> {
        self.consumers
            .values()
            .map(|consumer| (&consumer.name.consumer, &consumer.config))
    }

    /// Whether what changes here must be on disk before it is answered, and until when otherwise.
    pub(crate) fn demand_durability(&self, turn: &mut Turn<'_>) {
        if !self.is_journaled() {
            return;
        }
        match self.messages.settings.durability {
            Durability::Sync => turn.sync = true,
            Durability::Interval(nanos) => turn.sync_within(nanos),
            Durability::Os => {}
        }
    }

    pub(crate) fn is_journaled(&self) -> bool {
        self.messages.settings.is_journaled()
    }

    /// Makes a consumer; its configuration was validated, its name is free.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn create_consumer(&mut self, config: ConsumerConfig, turn: &mut Turn<'_>) -> Result<ConsumerInfo> {
        let serial = self.next_serial;
        let name = self.consumer_name(&config.name);
        let mut consumer = Consumer::create(serial, name, config, turn.now, &mut self.messages)?;
        consumer.rest(&self.messages, turn);
        if self.is_journaled() && consumer.is_persistent() {
            turn.commands
                .create_consumer(self.messages.id, turn.now, to_json(&consumer.snapshot()));
            turn.sync = true;
        }
        let info = consumer.info(turn.now, self.messages.config.storage);
        self.add_consumer(consumer);
        self.enqueue(serial);
        Ok(info)
    }

    /// Gives a consumer a new configuration, validated before.
    ///
    /// # Errors
    /// If there is no such consumer, or storage cannot be read.
    pub(crate) fn update_consumer(
        &mut self,
        name: &str,
        config: ConsumerConfig,
        turn: &mut Turn<'_>,
    ) -> Result<ConsumerInfo> {
        let serial = *self.by_name.get(name).ok_or(reject::CONSUMER_NOT_FOUND)?;
        if self.is_journaled() && self.is_persistent(serial) {
            turn.commands
                .update_consumer(self.messages.id, turn.now, serial, to_json(&config));
            turn.sync = true;
        }
        let before = self.consumers.get(&serial);
        let before = before.map(|consumer| (consumer.filters().to_vec(), consumer.held()));
        self.set_consumer_config(serial, config, turn.now)?;
        if let Some((filters, held)) = before
            && self
                .consumers
                .get(&serial)
                .is_some_and(|consumer| consumer.filters() != filters)
        {
            // It may have been the only one that wanted some of the messages.
            self.release_held(&filters, held, turn)?;
        }
        self.enqueue(serial);
        self.consumer_info(name, turn.now)
            .ok_or_else(|| reject::CONSUMER_NOT_FOUND.into())
    }

    fn set_consumer_config(&mut self, serial: u64, config: ConsumerConfig, now: NanoTime) -> Result<()> {
        let Some(consumer) = self.consumers.get_mut(&serial) else {
            return Ok(());
        };
        consumer.update(config, now, &mut self.messages)?;
        let filters = consumer.filters().to_vec();
        self.unsubscribe(serial);
        self.subscribe(serial, &filters);
        Ok(())
    }

    /// Makes a consumer begin anew: at `asked`, or for 0 behind what is acknowledged. Answers where.
    ///
    /// # Errors
    /// If there is no such consumer, it may not begin there, or storage cannot be read.
    pub(crate) fn reset_consumer(
        &mut self,
        name: &str,
        asked: Seq,
        turn: &mut Turn<'_>,
    ) -> Result<(Seq, ConsumerInfo)> {
        let serial = *self.by_name.get(name).ok_or(reject::CONSUMER_NOT_FOUND)?;
        let consumer = self.consumers.get_mut(&serial).ok_or(reject::CONSUMER_NOT_FOUND)?;
        let seq = consumer.reset_target(asked, &mut self.messages)?;
        let (filters, mut held) = (consumer.filters().to_vec(), consumer.held());
        consumer.reset(seq, &mut self.messages)?;
        let info = consumer.info(turn.now, self.messages.config.storage);
        if self.is_journaled() && self.is_persistent(serial) {
            turn.commands.reset_consumer(self.messages.id, turn.now, serial, seq);
            turn.sync = true;
        }
        self.enqueue(serial);
        // What lies before its new place is not to be sent any more.
        held.next = held.next.min(seq);
        held.end = seq;
        self.release_held(&filters, held, turn)?;
        Ok((seq, info))
    }

    /// Removes a consumer, and what was kept only for it.
    ///
    /// # Errors
    /// If there is no such consumer, or storage cannot be read.
    pub(crate) fn delete_consumer(&mut self, name: &str, idle: bool, turn: &mut Turn<'_>) -> Result<()> {
        let serial = *self.by_name.get(name).ok_or(reject::CONSUMER_NOT_FOUND)?;
        if self.is_journaled() && self.is_persistent(serial) {
            turn.commands.delete_consumer(self.messages.id, turn.now, serial);
            turn.sync |= !idle;
        }
        if let Some(mut consumer) = self.drop_consumer(serial) {
            consumer.end_pulls("Consumer Deleted", turn);
            turn.emits.push(Emit::Event(Event::ConsumerDeleted {
                consumer: consumer.name.clone(),
                idle,
            }));
            self.release_held(consumer.filters(), consumer.held(), turn)?;
        }
        Ok(())
    }

    /// Ends all consumers, for the stream is deleted: nothing that they held needs to be looked at.
    pub(crate) fn end_consumers(&mut self, turn: &mut Turn<'_>) {
        let serials: Vec<u64> = self.consumers.keys().copied().collect();
        for serial in serials {
            let Some(mut consumer) = self.drop_consumer(serial) else {
                continue;
            };
            consumer.end_pulls("Consumer Deleted", turn);
            turn.emits.push(Emit::Event(Event::ConsumerDeleted {
                consumer: consumer.name.clone(),
                idle: false,
            }));
        }
    }

    /// Takes a pull request. Answers whether there is such a consumer.
    pub(crate) fn pull(
        &mut self,
        name: &[u8],
        request: &PullRequest,
        reply: bytes::Bytes,
        turn: &mut Turn<'_>,
    ) -> bool {
        let Some(serial) = self.serial(name) else {
            return false;
        };
        if let Some(consumer) = self.consumers.get_mut(&serial) {
            consumer.pull(request, reply, turn);
        }
        self.enqueue(serial);
        true
    }

    /// Ends all pull requests for that reason, each told what it was short of.
    pub(crate) fn end_all_pulls(&mut self, text: &str, turn: &mut Turn<'_>) {
        for consumer in self.consumers.values_mut() {
            consumer.end_pulls_short(text, turn);
        }
    }

    /// Ends a pull request, unless there is something for it now. Answers whether it is over.
    ///
    /// # Errors
    /// If there is no such consumer, or storage cannot be read.
    pub(crate) fn end_pull(&mut self, name: &[u8], reply: &[u8], turn: &mut Turn<'_>) -> Result<bool> {
        let serial = self.serial(name).ok_or(reject::CONSUMER_NOT_FOUND)?;
        let consumer = self.consumers.get_mut(&serial).ok_or(reject::CONSUMER_NOT_FOUND)?;
        let over = !consumer.can_serve(reply, &mut self.messages, turn)?;
        if over {
            consumer.cancel_pull(reply);
        }
        self.enqueue(serial);
        Ok(over)
    }

    /// Takes a consumer away from the client that has it for itself.
    ///
    /// # Errors
    /// If there is no such consumer, or it has no such priority group.
    pub(crate) fn unpin(&mut self, name: &str, group: &str, turn: &mut Turn<'_>) -> Result<()> {
        let serial = *self.by_name.get(name).ok_or(reject::CONSUMER_NOT_FOUND)?;
        let consumer = self.consumers.get_mut(&serial).ok_or(reject::CONSUMER_NOT_FOUND)?;
        if !consumer.unpin(group, turn) {
            return Err(reject::CONSUMER_INVALID_PRIORITY_GROUP.into());
        }
        self.enqueue(serial);
        Ok(())
    }

    /// Whether there is a consumer of that name.
    pub(crate) fn has_consumer(&self, name: &[u8]) -> bool {
        self.serial(name).is_some()
    }

    /// Takes an acknowledgement.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn ack(&mut self, name: &[u8], ack: Ack, turn: &mut Turn<'_>) -> Result<()> {
        let Some(serial) = self.serial(name) else {
            return Ok(());
        };
        let Some(consumer) = self.consumers.get_mut(&serial) else {
            return Ok(());
        };
        let confirms = consumer.confirms(&ack);
        let stale = consumer.is_past(&ack);
        let done = consumer.ack(&ack, turn);
        self.progressed.push(serial);
        self.enqueue(serial);
        self.release(&done, turn)?;
        if stale {
            self.release_unneeded(ack.stream_seq, serial)?;
        }
        match ack.kind {
            AckKind::Next(request) => {
                self.pull(name, &request, ack.reply, turn);
            }
            _ if !ack.reply.is_empty() && confirms => {
                self.demand_durability(turn);
                turn.emits.push(Emit::AckReply {
                    account: self.messages.account.clone(),
                    to: ack.reply,
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the answer to a flow-control request.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn flow_controlled(
        &mut self,
        name: &[u8],
        id: u64,
        last: Option<Seq>,
        turn: &mut Turn<'_>,
    ) -> Result<()> {
        let Some(serial) = self.serial(name) else {
            return Ok(());
        };
        let mut done = Vec::new();
        if let Some(consumer) = self.consumers.get_mut(&serial) {
            done = consumer.flow_controlled(id, last, turn);
        }
        self.enqueue(serial);
        self.release(&done, turn)
    }

    /// Somebody subscribed to a consumer's delivery subject, or left: who asks next is told, if nothing is delivered before.
    pub(crate) fn wake_consumer(&mut self, name: &[u8], turn: &mut Turn<'_>) {
        let Some(serial) = self.serial(name) else { return };
        if let Some(consumer) = self.consumers.get_mut(&serial) {
            consumer.look_for_subscriber(turn);
        }
        self.enqueue(serial);
    }

    /// Lets the consumers with something to do send what they can. Answers whether some have to go on next turn.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn deliver(&mut self, turn: &mut Turn<'_>) -> Result<bool> {
        let mut again = Vec::new();
        // What one lets go of may make room for another, which then is listed meanwhile.
        let mut at = 0;
        while let Some(&serial) = self.queue.get(at) {
            at += 1;
            let Some(consumer) = self.consumers.get_mut(&serial) else {
                continue;
            };
            consumer.queued = false;
            let done = match consumer.has_work() {
                true => consumer.deliver(&mut self.messages, turn)?,
                false => {
                    consumer.rest(&self.messages, turn);
                    Vec::new()
                }
            };
            if turn.budget == 0 && consumer.has_work() {
                again.push(serial);
            }
            self.progressed.push(serial);
            if !done.is_empty() {
                self.release(&done, turn)?;
            }
        }
        self.queue.clear();
        let more = !again.is_empty();
        for serial in again {
            self.enqueue(serial);
        }
        Ok(more)
    }

    /// Writes what this turn did to the journal, apart from publishes and what was written as it happened.
    pub(crate) fn journal_turn(&mut self, turn: &mut Turn<'_>) {
        let (id, journaled) = (self.messages.id, self.is_journaled());
        if self.messages.last() > self.told {
            self.told = self.messages.last();
            if !self.readers.is_empty() {
                turn.emits.push(Emit::Grown { stream: id });
            }
        }
        for seq in self.messages.take_damage() {
            self.messages.ledger.note(seq, seq, turn.now, DAMAGED);
            turn.emits.push(Emit::Event(Event::MessageDamaged {
                account: self.messages.account.clone(),
                stream: self.messages.name.clone(),
                seq,
            }));
        }
        for serial in &self.progressed {
            if let Some(consumer) = self.consumers.get_mut(serial) {
                consumer.journal_turn(id, journaled, turn);
            }
        }
        if journaled && let Some((first, seqs)) = self.messages.removals() {
            turn.commands.remove(id, turn.now, first, &seqs);
        }
        self.journal_removals(turn);
    }

    /// The time of the day has stepped: what waits goes on to wait as long as it would have.
    pub(crate) fn step(&mut self, step: Nanos) {
        self.not_before = self.not_before.saturating_add(step);
        self.messages.dedup.step(step);
        self.atomic.step(step);
        self.fast.step(step);
        for consumer in self.consumers.values_mut() {
            consumer.step(step);
            self.progressed.push(consumer.serial);
        }
    }

    /// Does what is due at this time: limits by age, acknowledgements too late, requests too old.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        self.expire(turn.now, Some(turn))?;
        self.fire_schedules(turn)?;
        self.expire_batches(turn);
        self.fast.expire(turn.now);
        while let Some(serial) = self.agenda.take_due(turn.now) {
            let Some(consumer) = self.consumers.get_mut(&serial) else {
                continue;
            };
            if consumer.tick(turn) {
                let name = consumer.name.consumer.clone();
                self.delete_consumer(&name, true, turn)?;
            } else {
                // It may have waited for the end of a pause, for its rate or for its pace.
                self.enqueue(serial);
            }
        }
        Ok(())
    }

    /// When [`Stream::tick`] next has something to do. Asked at the end of each turn that did something here.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn next_deadline(&mut self, now: NanoTime) -> Result<Option<NanoTime>> {
        for serial in self.progressed.drain(..) {
            if let Some(consumer) = self.consumers.get(&serial) {
                self.agenda.set(serial, consumer.next_deadline(now));
            }
        }
        let own = self.expiry()?;
        let schedules = self.next_schedule(now)?;
        Ok(self
            .agenda
            .first()
            .into_iter()
            .chain(own)
            .chain(schedules)
            .chain(self.is_removing().then_some(now))
            // Met by what was looked at after the turn: it is told of in the next one, at once.
            .chain(self.messages.has_untold_damage().then_some(now))
            .chain(self.atomic.next_deadline())
            .chain(self.fast.next_deadline())
            .min())
    }

    /// Applies a change from the journal.
    ///
    /// # Errors
    /// If storage cannot be read, or the command cannot be understood.
    pub(crate) fn replay(&mut self, command: Command, now: NanoTime) -> Result<()> {
        match command {
            Command::Publish { seq, time, head, body } => self.replay_publish(seq, time, head, body)?,
            Command::Remove { first, seqs } => self.replay_remove(first, &seqs)?,
            Command::Raise { last, time, id } => {
                self.remember_id(&id, last, time);
                self.messages.raise_last(last, time);
            }
            Command::UpdateStream { json } => {
                let (config, settings) = from_json(&json)?;
                self.configure(config, settings);
            }
            Command::CreateConsumer { json } => {
                let snapshot: ConsumerSnapshot = from_json(&json)?;
                self.resume_consumer(snapshot, now)?;
            }
            Command::UpdateConsumer { consumer, json } => {
                self.set_consumer_config(consumer, from_json(&json)?, now)?;
            }
            Command::DeleteConsumer { consumer } => {
                self.drop_consumer(consumer);
            }
            Command::Delivered {
                consumer,
                time,
                first_delivery,
                seqs,
            } => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.replay_delivered(first_delivery, &seqs, time);
                }
            }
            Command::Deferred { consumer, waits } => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.replay_deferred(&waits);
                }
            }
            Command::GivenUp { consumer, seqs } => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.replay_given_up(&seqs);
                }
            }
            Command::ResetConsumer { consumer, seq } => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.reset(seq, &mut self.messages)?;
                }
            }
            Command::Placed { consumer, place, gone } => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.replay_placed(place, &gone);
                }
            }
            Command::Acked { consumer, seqs } => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.replay_acked(&seqs);
                }
            }
            Command::Removing { json } => self.resume_removals(from_json(&json)?),
            Command::Copied { through, key } => self.replay_copied(through, &key),
            Command::CreateStream { .. } | Command::DeleteStream | Command::Together { .. } => {}
        }
        self.messages.removed.clear();
        Ok(())
    }

    /// After replay: what consumers count is counted anew.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn recovered(&mut self) -> Result<()> {
        self.messages.removed.clear();
        for consumer in self.consumers.values_mut() {
            consumer.recovered(&mut self.messages)?;
        }
        Ok(())
    }

    /// Takes over from what was this stream before it was opened anew: the consumers that end with the process, and those
    /// who take over its messages.
    pub(crate) fn take_over(&mut self, before: &mut Self) -> Result<()> {
        self.readers = std::mem::take(&mut before.readers);
        for (serial, mut consumer) in std::mem::take(&mut before.consumers) {
            if !consumer.is_persistent() && !self.consumers.contains_key(&serial) {
                consumer.queued = false;
                consumer.recovered(&mut self.messages)?;
                self.add_consumer(consumer);
                self.enqueue(serial);
            }
        }
        Ok(())
    }

    /// Takes up a consumer from a snapshot.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn resume_consumer(&mut self, snapshot: ConsumerSnapshot, now: NanoTime) -> Result<()> {
        if self.consumers.contains_key(&snapshot.serial) {
            return Ok(());
        }
        let name = self.consumer_name(&snapshot.name);
        let consumer = Consumer::resume(name, snapshot, now, &mut self.messages)?;
        self.add_consumer(consumer);
        Ok(())
    }

    /// What its consumers need to go on in another store, of those that clients know of.
    pub fn consumer_backups(&self) -> Vec<ConsumerSnapshot> {
        let told = self.consumers.values().filter(|consumer| !consumer.config.direct);
        told.map(Consumer::snapshot).collect()
    }

    /// What its consumers need to go on after a restart, of those that do.
    pub(crate) fn consumer_snapshots(&self) -> Vec<ConsumerSnapshot> {
        let kept = self.consumers.values().filter(|consumer| consumer.is_persistent());
        kept.map(Consumer::snapshot).collect()
    }

    pub(crate) fn next_serial(&self) -> u64 {
        self.next_serial
    }

    pub(crate) fn set_next_serial(&mut self, serial: u64) {
        self.next_serial = self.next_serial.max(serial);
    }

    fn consumer_name(&self, name: &str) -> Arc<ConsumerName> {
        Arc::new(ConsumerName {
            account: self.messages.account.clone(),
            stream: self.messages.name.clone(),
            consumer: name.into(),
        })
    }

    fn serial(&self, name: &[u8]) -> Option<u64> {
        self.by_name.get(std::str::from_utf8(name).ok()?).copied()
    }

    fn add_consumer(&mut self, consumer: Consumer) {
        let serial = consumer.serial;
        self.next_serial = self.next_serial.max(serial + 1);
        self.by_name.insert(consumer.name.consumer.clone(), serial);
        let filters = consumer.filters().to_vec();
        self.consumers.insert(serial, consumer);
        self.subscribe(serial, &filters);
        self.progressed.push(serial);
        self.direct += usize::from(self.is_direct(serial));
        self.messages.track_removed = true;
    }

    fn is_persistent(&self, serial: u64) -> bool {
        self.consumers.get(&serial).is_some_and(Consumer::is_persistent)
    }

    fn is_direct(&self, serial: u64) -> bool {
        self.consumers
            .get(&serial)
            .is_some_and(|consumer| consumer.config.direct)
    }

    fn drop_consumer(&mut self, serial: u64) -> Option<Consumer> {
        self.direct -= usize::from(self.is_direct(serial));
        let consumer = self.consumers.remove(&serial)?;
        self.by_name.remove(&consumer.name.consumer);
        self.unsubscribe(serial);
        self.agenda.set(serial, None);
        self.messages.track_removed = !self.consumers.is_empty();
        Some(consumer)
    }

    fn subscribe(&mut self, serial: u64, filters: &[bytes::Bytes]) {
        if filters.is_empty() {
            self.unfiltered.push(serial);
            return;
        }
        let keys = filters
            .iter()
            .filter_map(|filter| self.filtered.insert(filter, serial).ok())
            .collect();
        self.filter_keys.insert(serial, keys);
    }

    fn unsubscribe(&mut self, serial: u64) {
        self.unfiltered.retain(|other| *other != serial);
        for key in self.filter_keys.remove(&serial).unwrap_or_default() {
            self.filtered.remove(key);
        }
    }

    /// Lists a consumer among those with something to do in this turn.
    fn enqueue(&mut self, serial: u64) {
        if let Some(consumer) = self.consumers.get_mut(&serial)
            && !consumer.queued
        {
            consumer.queued = true;
            self.queue.push(serial);
        }
    }

    /// Finds the consumers that want a subject.
    fn find_interested(&mut self, subject: &[u8]) {
        self.interested.clear();
        self.interested.extend_from_slice(&self.unfiltered);
        if self.filtered.is_empty() {
            return;
        }
        let interested = &mut self.interested;
        let unfiltered = interested.len();
        self.filtered.matches(subject, &mut |serial| interested.push(*serial));
        if interested.len() > unfiltered + 1 {
            // A consumer with several filters is still one.
            interested[unfiltered..].sort_unstable();
            interested.dedup();
        }
    }

    /// Tells the consumers that want them of messages that went away.
    fn tell_removed(&mut self) {
        if self.messages.removed.is_empty() {
            return;
        }
        for removed in std::mem::take(&mut self.messages.removed) {
            self.find_interested(&removed.subject);
            for serial in &self.interested {
                if let Some(consumer) = self.consumers.get_mut(serial)
                    && consumer.removed(removed.seq)
                {
                    self.progressed.push(consumer.serial);
                    if !consumer.queued {
                        consumer.queued = true;
                        self.queue.push(consumer.serial);
                    }
                }
            }
        }
    }
}

/// Configurations and snapshots always have a JSON form: their maps have string keys.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> bytes::Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

pub(crate) fn from_json<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json)
        .map_err(|error| crate::error::Error::damaged(format!("stored JSON makes no sense: {error}")))
}
