//! What a call can do with the streams of a shard, within a turn.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use bytes::Bytes;

use crate::backend::{Compression, LogReader};
use crate::consumer::{Ack, ConsumerConfig, ConsumerInfo, Preparation, Standing};
use crate::error::{Error, Kind, Result};
use crate::index::Index;
use crate::reject;
use crate::shard::emit::{self, Emit};
use crate::shard::relocation::MoveStep;
use crate::shard::room::NEW_STREAM_BYTES;
use crate::shard::{InTurn, snapshot};
use crate::store::KnownLog;
use crate::stream::messages::Identity;
use crate::stream::settings::{BackendKind, Settings};
use crate::stream::{Portion, Purge, Purged, Rehearsal, Retention, Stream, StreamConfig, StreamSource, Taken};
use crate::types::{NanoTime, Seq, StreamId};

impl InTurn<'_, '_> {
    /// The time of this turn.
    pub fn now(&self) -> NanoTime {
        self.turn.now
    }

    /// A stream, to read. Of an offline stream, what memory had of it.
    ///
    /// # Errors
    /// If there is no such stream, or nothing is left of it in memory.
    pub fn stream(&mut self, id: StreamId) -> Result<&mut Stream> {
        if !self.shard.streams.contains_key(&id) && !self.shard.offline.is_readable(id) {
            return Err(self.shard.missing(id));
        }
        if self.shard.read.last() != Some(&id) {
            self.shard.read.push(id);
        }
        let stream = self.shard.streams.get_mut(&id);
        stream
            .or_else(|| self.shard.offline.frozen(id))
            .ok_or_else(|| reject::STREAM_NOT_FOUND.into())
    }

    /// Messages and subjects that searches and counts may still look at in this turn, all of them together: what more there is, the
    /// next turn finds. Of as many as are left the turn is told by [`InTurn::searched`].
    pub fn search_looks(&self) -> usize {
        self.turn.searches
    }

    /// So many looks are left to this turn.
    pub fn searched(&mut self, left: usize) {
        self.turn.searches = left;
    }

    /// Whether messages that consumers need are being read beside the shard.
    #[cfg(feature = "conformance")]
    pub fn is_reading(&self) -> bool {
        !self.shard.cold.is_empty() || self.shard.fetching.is_any()
    }

    /// Its shard, if the turn has done nothing yet: then the journal has all of it.
    #[cfg(feature = "conformance")]
    pub(crate) fn shard_at_rest(&mut self) -> Option<&mut crate::shard::Shard> {
        let is_at_rest = self.shard.touched.is_empty() && self.turn.commands.is_empty();
        is_at_rest.then_some(&mut *self.shard)
    }

    /// The streams of this shard.
    pub fn streams(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.shard.streams.values_mut()
    }

    /// Makes a stream; its configuration was validated, its name is free.
    ///
    /// # Errors
    /// If its storage cannot be made.
    pub fn create_stream(
        &mut self,
        id: StreamId,
        account: &Arc<str>,
        config: StreamConfig,
        settings: Settings,
    ) -> Result<StreamId> {
        self.shard.check_creation(id, settings.is_journaled())?;
        let is_replica = self.shard.role.is_replica();
        if !settings.is_journaled() {
            self.shard.check_alone("a stream cannot be in memory there")?;
        }
        if settings.is_journaled() {
            self.shard.need_room(id, NEW_STREAM_BYTES, self.turn.now)?;
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
        let mut stream = self.shard.env.open_stream(who, last, None, KnownLog::default())?;
        if is_replica {
            stream.become_replica();
        }
        if settings.is_journaled() {
            let snapshot = snapshot::StreamSnapshot::of(&stream, self.shard.number, 0);
            self.turn
                .commands
                .create_stream(id, self.turn.now, crate::json::to_json(&snapshot));
            self.turn.sync = true;
        }
        self.shard.env.catalogue.insert(&stream, self.shard.number);
        self.shard.streams.insert(id, stream);
        self.shard.touch(id);
        Ok(id)
    }

    /// Gives a stream a new configuration, validated before, and applies its limits to what is stored.
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn update_stream(&mut self, id: StreamId, config: StreamConfig, settings: Settings) -> Result<()> {
        let now = self.turn.now;
        let number = self.shard.number;
        let catalogue = self.shard.env.catalogue.clone();
        // The messages may have gone over since the configuration was validated.
        let current = self.shard.existing(id)?.settings();
        let wanted = current.wanted_by(&config).ok();
        if let Some(wanted) = wanted.filter(|wanted| wanted.backend != current.backend) {
            // Whether it can be had at all is known before anything changes.
            self.shard
                .check_alone("its streams cannot go over to another backend")?;
            self.shard.env.backend(wanted.backend)?;
            self.shard.relocations.wanted(id);
        }
        let stream = self.shard.existing(id)?;
        if stream.is_journaled() {
            let json = crate::json::to_json(&(&config, &settings));
            self.turn.commands.update_stream(id, now, json);
            self.turn.sync = true;
        }
        let turns = stream.config().retention == Retention::Limits && config.retention == Retention::Interest;
        stream.configure(config, settings, now);
        catalogue.insert(stream, number);
        if turns {
            stream.release_settled(self.turn)?;
        }
        stream.enforce_all_limits(now, Some(self.turn))
    }

    /// Has a stream's messages go over to another backend, and tells who waits how that goes; answers whether they are not there
    /// already. No limit is applied to what is stored.
    ///
    /// # Errors
    /// If there is no such stream, it or the backend keeps nothing on disk, or the backend cannot be opened. Then nothing changes.
    pub(crate) fn move_stream(&mut self, id: StreamId, to: BackendKind, watcher: Sender<MoveStep>) -> Result<bool> {
        let stream = self.shard.existing(id)?;
        let current = stream.settings();
        let mut config = stream.config().clone();
        config.metadata.insert("weir.backend".to_owned(), to.to_string());
        if to != BackendKind::RocksDb && config.metadata.get("weir.index").is_some_and(|index| index == "paged") {
            config.metadata.remove("weir.index");
        }
        let wanted = current.wanted_by(&config).map_err(Error::invalid)?;
        if !(wanted.is_journaled() && current.is_journaled()) {
            return Err(Error::invalid(format!(
                "a stream cannot go over from {} to {to}",
                current.backend
            )));
        }
        self.shard
            .check_alone("its streams cannot go over to another backend")?;
        self.shard.env.backend(to)?;
        self.set_config(id, config, current)?;
        if to == current.backend {
            return Ok(false);
        }
        self.shard.relocations.watch(id, watcher);
        self.shard.relocations.wanted(id);
        Ok(true)
    }

    /// The log of a stream, to read; `None` if there is no such stream, or it is offline.
    pub(crate) fn log_reader(&self, id: StreamId) -> Option<Arc<dyn LogReader>> {
        let stream = self.shard.streams.get(&id)?;
        Some(stream.messages.reader().clone())
    }

    /// Somebody who read the log of a stream found records damaged, in these ranges of sequences: they are read once more, up to
    /// `max` of them, and told of as any reader would have it.
    ///
    /// # Errors
    /// If there is no such stream, or storage cannot be read.
    pub(crate) fn meet_damaged(&mut self, id: StreamId, ranges: &[(Seq, Seq)], max: usize) -> Result<()> {
        let stream = self.stream(id)?;
        let all = ranges.iter().flat_map(|(first, last)| *first..=*last);
        for seq in all.take(max) {
            stream.messages.meet(seq)?;
        }
        Ok(())
    }

    /// Gives back what the log of a stream has of removed messages, and has all of it compressed like this from now on. The shard
    /// does nothing else meanwhile. Answers how many bytes the log took before and takes now.
    ///
    /// # Errors
    /// If there is no such stream, it is in memory, or storage fails.
    pub(crate) fn compact(
        &mut self,
        id: StreamId,
        compression: Option<Compression>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(u64, u64)> {
        let stream = self.shard.existing(id)?;
        let settings = stream.settings();
        if !settings.is_journaled() {
            return Err(Error::invalid("a stream in memory takes no room on disk"));
        }
        if let Some(compression) = compression {
            let mut config = stream.config().clone();
            let name = compression.to_string();
            config.metadata.insert("weir.compression".to_owned(), name);
            let settings = Settings {
                compression,
                ..settings
            };
            self.set_config(id, config, settings)?;
        }
        self.shard.tending.stop_for(id);
        let messages = &mut self.shard.existing(id)?.messages;
        let before = messages.disk_bytes();
        let done = messages.compact(compression, progress);
        let after = messages.disk_bytes();
        if let Err(error) = done {
            if error.kind.breaks_stream() || error.kind == Kind::Io {
                // Its log refuses everything from now on.
                self.shard.faulty.push((id, error.clone()));
            }
            return Err(error);
        }
        Ok((before, after))
    }

    /// Gives a stream another configuration as it is: no rule is looked at, and no limit applied.
    ///
    /// # Errors
    /// If there is no such stream.
    pub(crate) fn set_config(&mut self, id: StreamId, config: StreamConfig, settings: Settings) -> Result<()> {
        let (now, number, still) = (self.turn.now, self.shard.number, self.shard.env.still);
        let catalogue = self.shard.env.catalogue.clone();
        let stream = self.shard.existing(id)?;
        if *stream.config() == config && stream.settings() == settings {
            return Ok(());
        }
        let at = stream.time_of_change(still, now);
        if stream.is_journaled() {
            let json = crate::json::to_json(&(&config, &settings));
            self.turn.commands.update_stream(id, at, json);
            self.turn.sync = true;
        }
        stream.configure(config, settings, at);
        catalogue.insert(stream, number);
        Ok(())
    }

    /// Deletes a stream with all its messages and consumers.
    ///
    /// # Errors
    /// If there is no such stream.
    pub fn delete_stream(&mut self, id: StreamId) -> Result<()> {
        let Some(mut stream) = self.shard.streams.remove(&id) else {
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
        self.shard.env.catalogue.remove(stream.account(), stream.name(), id);
        self.shard.checkpoint.deleted(id);
        self.shard.doomed.push((id, stream.messages.settings));
        if let Index::Resident(index) = &mut stream.messages.index {
            self.shard.give_back(index.clear(0));
        }
        self.shard.tending.forget(id);
        let elsewhere = self.shard.relocations.forget(id);
        self.shard.doomed.extend(elsewhere);
        Ok(())
    }

    /// Deletes a stream that is offline, whatever is wrong with it.
    fn delete_offline(&mut self, id: StreamId) -> Result<()> {
        if let Some(error) = self.shard.suspension() {
            return Err(error);
        }
        let entry = self.shard.forget_offline(id)?.ok_or(reject::STREAM_NOT_FOUND)?;
        self.turn.commands.delete_stream(id, self.turn.now);
        self.turn.sync = true;
        self.shard.env.catalogue.remove(&entry.account, &entry.name, id);
        self.shard.checkpoint.deleted(id);
        self.shard.doomed.push((id, entry.settings));
        Ok(())
    }

    /// What would become of a message that a stream was published: nothing is stored.
    ///
    /// # Errors
    /// There is no such stream, or it would refuse the message: [`Rejected`](crate::Kind::Rejected) with JetStream's code.
    pub fn rehearse(
        &mut self,
        id: StreamId,
        subject: bytes::Bytes,
        headers_len: usize,
        body: bytes::Bytes,
    ) -> Result<Rehearsal> {
        let publish = crate::stream::Publish {
            subject,
            headers_len,
            body,
        };
        self.shard.existing(id)?.rehearse(publish, self.turn)
    }

    /// Stores a message.
    ///
    /// # Errors
    /// As a publisher is told.
    pub fn publish(
        &mut self,
        id: StreamId,
        subject: bytes::Bytes,
        headers_len: usize,
        body: bytes::Bytes,
    ) -> Result<emit::PubAck> {
        if self.shard.existing(id)?.is_journaled() {
            self.shard.need_room(id, subject.len() + body.len(), self.turn.now)?;
        }
        let stream = self.shard.existing(id)?;
        let publish = crate::stream::Publish {
            subject,
            headers_len,
            body,
        };
        stream.publish(publish, self.turn)
    }

    /// Removes messages. Where they are many, they go in the turns to come: the [`Call`](crate::shard::Call) that asked for it is
    /// answered when they are gone, and then it is known how many those were.
    ///
    /// # Errors
    /// If there is no such stream, or it does not allow it.
    pub fn purge(&mut self, id: StreamId, purge: &Purge) -> Result<Purged> {
        let stream = self.shard.existing(id)?;
        stream.demand_durability(self.turn);
        stream.purge(purge, self.turn)
    }

    /// Removes one message; `secure` also overwrites its bytes. Answers whether there was one.
    ///
    /// # Errors
    /// If there is no such stream, or it does not allow it.
    pub fn delete_message(&mut self, id: StreamId, seq: Seq, secure: bool) -> Result<bool> {
        let stream = self.shard.existing(id)?;
        stream.demand_durability(self.turn);
        stream.delete_message(seq, secure)
    }

    /// Sends a message when this turn is as durable as what it changed asks for, together with what else leaves then; if that fails,
    /// nobody gets it.
    pub fn send(&mut self, account: Arc<str>, to: Bytes, payload: Bytes) {
        self.turn.emits.push(Emit::Send {
            account,
            to,
            headers: Bytes::new(),
            payload,
        });
    }

    /// Takes over messages of an origin with this [`identity`](crate::stream::identity); see [`crate::stream::Portion`].
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn copy(&mut self, id: StreamId, source: &StreamSource, identity: &str, portion: Portion) -> Result<Taken> {
        if self.shard.existing(id)?.is_journaled() {
            self.shard.need_room(id, portion.bytes(), self.turn.now)?;
        }
        let stream = self.shard.existing(id)?;
        stream.demand_durability(self.turn);
        stream.copy(source, identity, portion, self.turn)
    }

    /// A copier (of a mirror or source) reads this stream from now on, under a number of its own; it has everything up to
    /// `done`. It is told of more by [`Emit::Grown`].
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn watch(&mut self, id: StreamId, reader: u64, filters: Vec<Bytes>, done: Seq) -> Result<()> {
        self.shard.existing(id)?.watch(reader, filters, done, self.turn)
    }

    /// A copier does not read this stream any more.
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn unwatch(&mut self, id: StreamId, reader: u64) -> Result<()> {
        self.shard.existing(id)?.unwatch(reader, self.turn)
    }

    /// A copier of this stream has everything up to a sequence durably.
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn copied(&mut self, id: StreamId, reader: u64, through: Seq) -> Result<()> {
        self.shard.existing(id)?.copied(reader, through, self.turn)
    }

    /// One consumer, without the pull requests whose clients are gone.
    ///
    /// # Errors
    /// If there is no such stream or consumer.
    pub fn consumer_info(&mut self, id: StreamId, name: &str) -> Result<ConsumerInfo> {
        let info = match self.shard.streams.contains_key(&id) {
            true => self.shard.existing(id)?.current_consumer_info(name, self.turn),
            // Its pull requests have ended.
            false => {
                let now = self.turn.now;
                self.stream(id)?.consumer_info(name, now)
            }
        };
        info.ok_or_else(|| reject::CONSUMER_NOT_FOUND.into())
    }

    /// Where one consumer stands: why it sends nothing just now. Told from memory, after a short look.
    ///
    /// # Errors
    /// If there is no such stream or consumer, or storage cannot be read.
    pub fn consumer_standing(&mut self, id: StreamId, name: &str) -> Result<Standing> {
        let now = self.turn.now;
        let standing = self.stream(id)?.consumer_standing(name, now)?;
        standing.ok_or_else(|| reject::CONSUMER_NOT_FOUND.into())
    }

    /// A name for a consumer that no other of the stream has: so many letters and digits.
    ///
    /// # Errors
    /// If there is no such stream.
    pub fn make_up_consumer_name(&mut self, id: StreamId, letters: usize) -> Result<String> {
        let stream = self.shard.existing(id)?;
        loop {
            let name = self.turn.letters(letters);
            if !stream.has_consumer(name.as_bytes()) {
                return Ok(name);
            }
        }
    }

    /// Finds out some more of what it takes to make a consumer, or to give the one of that name another configuration: on a stream
    /// of very many subjects that is too much for one turn. Answers whether all is known; then making it takes no longer than
    /// others may wait, in this turn. It is right without, too.
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn prepare_consumer(
        &mut self,
        id: StreamId,
        config: &ConsumerConfig,
        preparation: &mut Preparation,
    ) -> Result<bool> {
        let stream = self.shard.existing(id)?;
        stream.prepare_consumer(config, preparation, &mut self.turn.searches)
    }

    /// As [`InTurn::prepare_consumer`], for one that is to be reset.
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn prepare_reset(
        &mut self,
        id: StreamId,
        consumer: &str,
        seq: Seq,
        preparation: &mut Preparation,
    ) -> Result<bool> {
        let stream = self.shard.existing(id)?;
        stream.prepare_reset(consumer, seq, preparation, &mut self.turn.searches)
    }

    /// Makes a consumer; its configuration was validated, its name is free.
    ///
    /// # Errors
    /// If there is no such stream, or storage fails.
    pub fn create_consumer(&mut self, id: StreamId, config: ConsumerConfig) -> Result<ConsumerInfo> {
        let stream = self.shard.existing(id)?;
        stream.create_consumer(config, self.turn)
    }

    /// Gives a consumer a new configuration, validated before.
    ///
    /// # Errors
    /// If there is no such stream or consumer, or storage fails.
    pub fn update_consumer(&mut self, id: StreamId, name: &str, config: ConsumerConfig) -> Result<ConsumerInfo> {
        let stream = self.shard.existing(id)?;
        stream.update_consumer(name, config, self.turn)
    }

    /// Deletes a consumer.
    ///
    /// # Errors
    /// If there is no such stream or consumer, or storage fails.
    pub fn delete_consumer(&mut self, id: StreamId, name: &str) -> Result<()> {
        let stream = self.shard.existing(id)?;
        stream.delete_consumer(name, false, self.turn)
    }

    /// Takes an acknowledgement that is to be as durable as the stream's messages when the turn ends.
    ///
    /// # Errors
    /// If there is no such stream or consumer, or storage fails.
    pub(crate) fn ack_durably(&mut self, id: StreamId, consumer: &[u8], ack: Ack) -> Result<()> {
        let stream = self.shard.existing(id)?;
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
    pub fn reset_consumer(&mut self, id: StreamId, consumer: &str, seq: Seq) -> Result<(Seq, ConsumerInfo)> {
        let stream = self.shard.existing(id)?;
        stream.reset_consumer(consumer, seq, self.turn)
    }

    /// Takes a consumer away from the client that has it for itself.
    ///
    /// # Errors
    /// If there is no such stream, consumer or priority group.
    pub fn unpin(&mut self, id: StreamId, consumer: &str, group: &str) -> Result<()> {
        let stream = self.shard.existing(id)?;
        stream.unpin(consumer, group, self.turn)
    }

    /// Ends a pull request, unless there is something for it now. Answers whether it is over.
    ///
    /// # Errors
    /// If there is no such stream or consumer, or storage fails.
    pub(crate) fn end_pull(&mut self, id: StreamId, consumer: &[u8], reply: &[u8]) -> Result<bool> {
        let stream = self.shard.existing(id)?;
        stream.end_pull(consumer, reply, self.turn)
    }

    /// Ends the pull requests of all streams for that reason, each told what it was short of.
    pub fn end_all_pulls(&mut self, text: &str) {
        for stream in self.shard.streams.values_mut() {
            stream.end_all_pulls(text, self.turn);
        }
    }
}
