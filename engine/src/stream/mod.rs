//! Streams: messages by sequence, their limits and retention, and the consumers that read them. A pure state machine;
//! time is handed in, and what happens is told to a turn of its shard.

mod agenda;
pub(crate) mod ahead;
mod asked;
mod atomic;
mod batch_limits;
pub(crate) mod checks;
mod config;
mod consumers;
mod counter;
mod cron;
mod damage;
pub(crate) mod dedup;
mod fast;
mod indexed;
mod ingest;
mod interest;
pub mod ledger;
mod limits;
mod listing;
pub(crate) mod mapping;
mod marker;
pub(crate) mod message;
pub(crate) mod messages;
mod moment;
mod publish;
mod purge;
pub(crate) mod removal;
mod replay;
mod replica;
mod requests;
mod rewrite;
mod schedule;
mod search;
pub mod settings;
mod sight;
mod sourcing;
pub mod sourcing_rules;
mod staged;
mod stored;
mod tail;
pub(crate) mod ttl;
pub(crate) mod unread;
pub mod validate;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use weir_subject::{SubKey, Sublist};

pub use crate::index::{Digest, KeptUse, SubjectPlace};
pub use atomic::Abandoned;
pub use batch_limits::BatchLimits;
pub(crate) use batch_limits::OpenBatches;
pub use config::{
    ConsumerLimits, Discard, ExternalStream, PersistMode, Placement, Republish, Retention, SourceConsumer, Storage,
    StreamCompression, StreamConfig, StreamSource, SubjectTransform,
};
pub use indexed::{IndexInMemory, digest_record};
pub use listing::{Listing, VisitMessage};
pub use message::{Marks, Message, stored_size, subject_of};
pub use messages::StreamState;
pub use moment::Moment;
pub use publish::Rehearsal;
pub(crate) use publish::{LACKED, Publish};
pub use purge::{Purge, Purged};
pub use search::{Count, Found, SEARCH_LOOKS, SIGHT_LOOKS, Search};
pub use sight::Sight;
pub use sourcing::{Portion, Taken, identity};
pub use ttl::Life;
pub use unread::{AtHand, Unread};
pub use view::{LastSeqs, SubjectCounts};

use self::messages::{Messages, TurnNumber};
use crate::consumer::Consumer;
use crate::error::Result;
use crate::shard::emit::{Emit, Event};
use crate::shard::fetching::Cold;
use crate::shard::turn::Turn;
use crate::store::{Shown, StreamStats};
use crate::types::{NanoTime, Nanos, Seq, StreamId};
use atomic::AtomicBatches;
use fast::FastBatches;
use rewrite::Rewrites;
use schedule::Schedules;
use settings::{Durability, Settings};
use sourcing::Copier;

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
    /// Consumers that have messages left of the list that they began with.
    listed: Vec<u64>,
    next_serial: u64,
    /// Its rules about subjects.
    rewrites: Rewrites,
    /// Atomic batches that are open.
    atomic: AtomicBatches,
    /// Fast batches that are open.
    fast: FastBatches,
    /// How far it has come with its sources.
    origins: BTreeMap<Box<str>, Seq>,
    /// The copiers that read it.
    copiers: Vec<Copier>,
    /// The last sequence that the copiers were told of.
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
    /// What consumers came to in this turn that lies on a disk only.
    cold: Vec<Cold>,
    /// Whether the age of its oldest message is being read from a disk.
    awaits_age: bool,
    /// Whether others have it, too.
    pub(crate) is_replica: bool,
    /// Whether the shard lists this stream among those to be written at the end of the turn.
    pub(crate) touched: bool,
    /// The last journal record that concerns this stream.
    pub(crate) position: Seq,
    /// The last turn that changed it.
    pub(crate) turn: TurnNumber,
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
            copiers: Vec::new(),
            told: messages.last(),
            schedules: Schedules::of_stream(messages.index.len()),
            messages,
            consumers: BTreeMap::new(),
            by_name: HashMap::default(),
            filtered: Sublist::new(),
            filter_keys: HashMap::default(),
            unfiltered: Vec::new(),
            listed: Vec::new(),
            next_serial: 1,
            queue: Vec::new(),
            progressed: Vec::new(),
            agenda: agenda::Agenda::default(),
            removals: removal::Removals::default(),
            direct: 0,
            interested: Vec::new(),
            cold: Vec::new(),
            awaits_age: false,
            is_replica: false,
            touched: false,
            position: 0,
            turn: 0,
            untidy: true,
            unsaved: true,
            not_before: NanoTime::MIN,
            stats,
        }
    }

    /// Shows others what the stream holds now.
    pub(crate) fn note_stats(&self) {
        self.show(self.shown());
    }

    /// What the stream holds now, as others are shown it.
    pub(crate) fn shown(&self) -> Shown {
        Shown {
            messages: self.messages.index.len(),
            bytes: self.messages.bytes(),
            consumers: self.consumers.len() as u64,
            lost: self.messages.ledger.messages(),
        }
    }

    /// Shows others what it held.
    pub(crate) fn show(&self, shown: Shown) {
        self.stats.set(shown);
    }

    /// The log that holds its messages.
    pub fn id(&self) -> StreamId {
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

    /// When it takes up another configuration now: in a store where time stands still nothing becomes older by that.
    pub(crate) fn time_of_change(&self, still: bool, now: NanoTime) -> NanoTime {
        match still {
            true => self.messages.last_time().unwrap_or(0),
            false => now,
        }
    }

    /// Takes up another configuration, validated before.
    pub(crate) fn configure(&mut self, config: StreamConfig, settings: Settings, now: NanoTime) {
        self.rewrites = Rewrites::of(&config);
        // What left the window before it became longer does not come back, and a shorter one holds at once: so all that replay this have
        // the same ids, whenever each of them last looked.
        self.expire_ids(now);
        if config.duplicate_window > self.messages.config.duplicate_window {
            // A part that a checkpoint has may hold some that left: they would be back with the next start.
            self.messages.dedup.forget_saved();
        }
        self.messages.config = config;
        self.expire_ids(now);
        // Where its messages are is not for a configuration to say: who made it may not know that they have gone over, and who
        // reads it from the journal, that the checkpoint to that was not written.
        let Settings {
            backend,
            index,
            compression,
            ..
        } = self.messages.settings;
        if compression != settings.compression {
            self.messages.recompress(settings.compression, 0..=self.messages.last());
        }
        self.messages.settings = Settings {
            backend,
            index,
            ..settings
        };
    }

    /// What it holds.
    ///
    /// # Errors
    /// If its storage cannot be read.
    pub fn state(&mut self) -> Result<StreamState> {
        self.messages.state()
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

    /// Writes what this turn did to the journal, apart from publishes and what was written as it happened.
    pub(crate) fn journal_turn(&mut self, turn: &mut Turn<'_>) {
        let (id, journaled) = (self.messages.id, self.is_journaled());
        if self.messages.last() > self.told {
            self.told = self.messages.last();
            if !self.copiers.is_empty() {
                turn.emits.push(Emit::Grown { stream: id });
            }
        }
        for seq in self.messages.take_damage() {
            // What its head says, if that can be read.
            let bytes = self.messages.size_at(seq).unwrap_or(0);
            self.messages.ledger.note(seq, seq, bytes, turn.now, DAMAGED);
            turn.emits.push(Emit::Event(Event::MessageDamaged {
                account: self.messages.account.clone(),
                stream: self.messages.name.clone(),
                seq,
            }));
        }
        // What went before something could not be read is gone all the same.
        self.tell_removed();
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

    /// Does what is due at this time: limits by age, acknowledgements too late, requests too old. What cannot be read for
    /// one of these keeps no other waiting.
    ///
    /// # Errors
    /// The first, if storage cannot be read.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        let expired = self.expire(turn.now, Some(turn));
        let fired = self.fire_schedules(turn);
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
        expired.and(fired)
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
            // A consumer could not read what it has to send.
            .chain((!self.queue.is_empty()).then_some(now))
            // Met by what was looked at after the turn: it is told of in the next one, at once.
            .chain(self.messages.has_untold_damage().then_some(now))
            .chain(self.atomic.next_deadline())
            .chain(self.fast.next_deadline())
            .min())
    }
}
