//! The consumers of a stream: how they come, change and go, and what is told of them.

use std::sync::Arc;

use crate::consumer::{Consumer, ConsumerConfig, ConsumerInfo, ConsumerSnapshot, Preparation, Standing};
use crate::error::Result;
use crate::json::to_json;
use crate::reject;
use crate::shard::emit::{ConsumerName, Emit, Event};
use crate::shard::turn::Turn;
use crate::stream::Stream;
use crate::types::{NanoTime, Seq};

impl Stream {
    /// How many consumers it has, but for those of mirrors and sources that no client is told of.
    pub fn consumer_count(&self) -> usize {
        self.consumers.len() - self.direct
    }

    /// Whether it has any consumer.
    pub(crate) fn has_consumers(&self) -> bool {
        !self.consumers.is_empty()
    }

    /// Whether there is a consumer of that name.
    pub(crate) fn has_consumer(&self, name: &[u8]) -> bool {
        self.serial(name).is_some()
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

    /// One consumer, as clients are told, without the pull requests whose clients are gone.
    pub(crate) fn current_consumer_info(&mut self, name: &str, turn: &mut Turn<'_>) -> Option<ConsumerInfo> {
        let serial = self.by_name.get(name)?;
        self.consumers.get_mut(serial)?.drop_dead(turn);
        self.consumer_info(name, turn.now)
    }

    /// Where one consumer stands; `None` if there is none of that name.
    pub(crate) fn consumer_standing(&mut self, name: &str, now: NanoTime) -> Result<Option<Standing>> {
        let Some(consumer) = self.by_name.get(name).and_then(|serial| self.consumers.get(serial)) else {
            return Ok(None);
        };
        consumer.standing(now, &mut self.messages).map(Some)
    }

    /// The configurations of all consumers.
    pub fn consumer_configs(&self) -> impl Iterator<Item = (&Arc<str>, &ConsumerConfig)> {
        self.consumers
            .values()
            .map(|consumer| (&consumer.name.consumer, &consumer.config))
    }

    /// Finds out some more of what it takes to make a consumer of that configuration, or to give it to the one of its name; see
    /// [`Preparation`].
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn prepare_consumer(
        &mut self,
        config: &ConsumerConfig,
        preparation: &mut Preparation,
        looks: &mut usize,
    ) -> Result<bool> {
        let existing = self.by_name.get(config.name.as_str());
        match existing.and_then(|serial| self.consumers.get(serial)) {
            Some(consumer) => preparation.update(consumer, config, &mut self.messages, looks),
            None => preparation.create(config, &mut self.messages, looks),
        }
    }

    /// Finds out some more of what it takes to reset a consumer as it is asked for; where there is none, or it may not, that is
    /// left to [`Stream::reset_consumer`].
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn prepare_reset(
        &mut self,
        name: &str,
        asked: Seq,
        preparation: &mut Preparation,
        looks: &mut usize,
    ) -> Result<bool> {
        let serial = self.by_name.get(name);
        let Some(consumer) = serial.and_then(|serial| self.consumers.get(serial)) else {
            return Ok(true);
        };
        match consumer.reset_target(asked, &mut self.messages) {
            Ok(seq) => preparation.reset(consumer, seq, &mut self.messages, looks),
            Err(_) => Ok(true),
        }
    }

    /// Makes a consumer; its configuration was validated, its name is free.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn create_consumer(&mut self, config: ConsumerConfig, turn: &mut Turn<'_>) -> Result<ConsumerInfo> {
        let serial = self.next_serial;
        let name = self.consumer_name(&config.name);
        let mut consumer = Consumer::create(serial, name, config, turn.now, &mut self.messages)?;
        consumer.is_replica = self.is_replica;
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
            && let Some(consumer) = self.consumers.get_mut(&serial)
            && consumer.filters() != filters
        {
            // What it passed over, because it did not want it then, does not come back.
            consumer.note_place();
            // This consumer may have been the only one to want some of the messages.
            self.release_held(&filters, held, turn)?;
        }
        self.enqueue(serial);
        self.consumer_info(name, turn.now)
            .ok_or_else(|| reject::CONSUMER_NOT_FOUND.into())
    }

    pub(super) fn set_consumer_config(&mut self, serial: u64, config: ConsumerConfig, now: NanoTime) -> Result<()> {
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

    pub(super) fn consumer_name(&self, name: &str) -> Arc<ConsumerName> {
        Arc::new(ConsumerName {
            account: self.messages.account.clone(),
            stream: self.messages.name.clone(),
            consumer: name.into(),
        })
    }

    pub(super) fn serial(&self, name: &[u8]) -> Option<u64> {
        self.by_name.get(std::str::from_utf8(name).ok()?).copied()
    }

    pub(super) fn add_consumer(&mut self, mut consumer: Consumer) {
        consumer.is_replica = self.is_replica;
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

    pub(super) fn drop_consumer(&mut self, serial: u64) -> Option<Consumer> {
        self.direct -= usize::from(self.is_direct(serial));
        let consumer = self.consumers.remove(&serial)?;
        self.by_name.remove(&consumer.name.consumer);
        self.unsubscribe(serial);
        self.agenda.set(serial, None);
        self.messages.track_removed = !self.consumers.is_empty();
        Some(consumer)
    }

    pub(super) fn is_persistent(&self, serial: u64) -> bool {
        self.consumers.get(&serial).is_some_and(Consumer::is_persistent)
    }

    pub(super) fn is_direct(&self, serial: u64) -> bool {
        self.consumers
            .get(&serial)
            .is_some_and(|consumer| consumer.config.direct)
    }
}
