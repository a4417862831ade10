//! Streams that are being restored from a backup: their messages go straight to a log of their own, which no client sees,
//! and the journal hears of the stream only once all is on disk. So a restore that breaks off, by a crash as well, leaves
//! nothing but a log that [`Shard::drop_unfinished`] removes at the next start.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{Backend, Kv, KvWrite};
use crate::consumer::ConsumerSnapshot;
use crate::error::{Error, Result};
use crate::headers;
use crate::reject;
use crate::shard::room::NEW_STREAM_BYTES;
use crate::shard::snapshot::{StreamSnapshot, stream_key};
use crate::shard::{InTurn, Shard};
use crate::store::{KnownLog, StreamEntry};
use crate::stream::checks::full;
use crate::stream::messages::Identity;
use crate::stream::settings::{BackendKind, Settings};
use crate::stream::{Marks, Message, Storage, Stream, StreamConfig};
use crate::types::{LogId, NanoTime, Seq, ShardId, StreamId};

/// The prefix of the keys that name logs of unfinished restores. The value is the shard's number and the settings.
const RESTORING_PREFIX: &[u8] = b"restoring/";

/// How much more than its `max_bytes` a stream may hold while it is being restored from a backup that tells of removals
/// only after the messages: nats-server rewrites blocks of which less than half is live.
const RESTORE_SLACK: u64 = 4;

/// Bytes that come into a restored stream between two syncs of its storage, so that none takes long.
const SYNC_BYTES: usize = 64 << 20;

/// A stream that is being restored.
pub(super) struct Restoring {
    pub stream: Stream,
    /// Bytes that came since it was said last that a sync is due.
    unsynced: usize,
}

fn not_stored(seq: Seq, error: &Error) -> Error {
    reject::STREAM_RESTORE
        .with(format!("failed to store message sequence {seq}: {error}"))
        .into()
}

fn key(id: StreamId) -> Bytes {
    [RESTORING_PREFIX, id.to_string().as_bytes()].concat().into()
}

/// A note of a log that is to go at the next start, unless a stream has it then.
pub(super) fn to_remove(id: StreamId, shard: ShardId, settings: &Settings) -> KvWrite {
    (key(id), Some(crate::json::to_json(&(shard, settings))))
}

impl InTurn<'_, '_> {
    /// Begins to restore a stream; its configuration was validated. `first` is the first sequence it may have. Nobody
    /// sees it before [`InTurn::finish_restore`].
    ///
    /// # Errors
    /// If its storage cannot be made.
    pub fn begin_restore(
        &mut self,
        id: StreamId,
        account: &Arc<str>,
        config: StreamConfig,
        settings: Settings,
        first: Seq,
    ) -> Result<()> {
        self.shard.check_creation(id, settings.is_journaled())?;
        self.shard.check_alone("a backup cannot be restored there")?;
        if settings.is_journaled() {
            self.shard.need_room(id, NEW_STREAM_BYTES, self.turn.now)?;
        }
        let kv = self.shard.env.backend(BackendKind::Segment)?.kv();
        kv.put_all(&[to_remove(id, self.shard.number, &settings)])?;
        let who = Identity {
            id,
            account: account.clone(),
            name: config.name.as_str().into(),
            config,
            settings,
            created: self.turn.now,
        };
        let stream = self
            .shard
            .env
            .open_stream(who, first.saturating_sub(1), None, KnownLog::default())?;
        self.shard.restoring.insert(id, Restoring { stream, unsynced: 0 });
        Ok(())
    }

    /// Says when the stream was made that is being restored: it is what tells it from another of its name. Without this, it is
    /// made now.
    ///
    /// # Errors
    /// If there is no such restore.
    pub fn date_restore(&mut self, id: StreamId, created: NanoTime) -> Result<()> {
        let restoring = self.shard.restoring.get_mut(&id).ok_or(reject::STREAM_NOT_FOUND)?;
        restoring.stream.messages.created = created;
        Ok(())
    }

    /// Adds messages, in the order of their sequences, each above those before. What the stream's limits allow counts as it
    /// comes in: the oldest messages go, or with `discard: new` the restore is refused. Messages whose TTL is over are left
    /// out. `removals_follow` says that some of the messages will be taken out again, of which limits must not know yet.
    ///
    /// Answers whether so much came that its [storage](InTurn::restore_backend) should be synced before more does.
    ///
    /// # Errors
    /// If they are out of order, there is no room for them, or storage fails.
    pub fn restore_messages(&mut self, id: StreamId, messages: Vec<Message>, removals_follow: bool) -> Result<bool> {
        let now = self.turn.now;
        let restoring = self.shard.restoring.get_mut(&id).ok_or(reject::STREAM_NOT_FOUND)?;
        let stream = &mut restoring.stream;
        for message in messages {
            if message.seq <= stream.messages.last() {
                return Err(Error::damaged(format!("message sequence {} out of order", message.seq)));
            }
            let marks = Marks::of_headers(&message.headers, stream.config());
            if marks.life.end(message.time).is_some_and(|end| end <= now) {
                stream.messages.raise_last(message.seq, message.time);
                continue;
            }
            let message_id = headers::get(&message.headers, "Nats-Msg-Id").unwrap_or_default();
            let body = [&message.headers[..], &message.payload].concat();
            restoring.unsynced += body.len();
            if !removals_follow {
                stream
                    .check_room(&message.subject, message.headers.len(), body.len())
                    .map_err(|error| not_stored(message.seq, &error))?;
            }
            stream.messages.append(
                message.seq,
                message.time,
                &message.subject,
                message.headers.len(),
                marks,
                body.into(),
            )?;
            stream.replay_origin(&message.headers);
            stream.note_schedule(message.seq, &message.subject, &message.headers, message.time);
            let recent = message.time > now.saturating_sub(stream.config().duplicate_window);
            stream.remember_id(if recent { message_id } else { b"" }, message.seq, message.time);
            if !removals_follow {
                stream.enforce_limits(&message.subject, self.turn)?;
            }
        }
        let config = stream.config();
        let most = u64::try_from(config.max_bytes).ok().filter(|max| *max > 0);
        if removals_follow && most.is_some_and(|most| stream.messages.bytes() > most.saturating_mul(RESTORE_SLACK)) {
            return Err(not_stored(stream.messages.last(), &full("maximum bytes exceeded")));
        }
        stream.note_stats();
        if stream.stats.is_beyond_capacity() {
            return Err(match stream.config().storage {
                Storage::File => reject::STORAGE_RESOURCES_EXCEEDED,
                Storage::Memory => reject::MEMORY_RESOURCES_EXCEEDED,
            }
            .into());
        }
        stream.messages.write(false)?;
        let due = restoring.unsynced > SYNC_BYTES;
        if due {
            restoring.unsynced = 0;
        }
        Ok(due)
    }

    /// The storage of a stream that is being restored, so that what it has so far can be synced off the shard's thread.
    ///
    /// # Errors
    /// If there is no such restore.
    pub fn restore_backend(&mut self, id: StreamId) -> Result<Arc<dyn Backend>> {
        let restoring = self.shard.restoring.get(&id).ok_or(reject::STREAM_NOT_FOUND)?;
        self.shard.env.backend(restoring.stream.messages.settings.backend)
    }

    /// Takes out messages that the backup tells of only after it gave them; those that are not there are no matter.
    ///
    /// # Errors
    /// If storage fails.
    pub fn restore_removals(&mut self, id: StreamId, seqs: &[Seq]) -> Result<()> {
        let restoring = self.shard.restoring.get_mut(&id).ok_or(reject::STREAM_NOT_FOUND)?;
        let stream = &mut restoring.stream;
        for &seq in seqs {
            stream.messages.remove(seq)?;
        }
        stream.messages.write(false)
    }

    /// The stream is whole: it has everything up to `last`, and these consumers. From here on it is a stream like any
    /// other, once the turn is durable.
    ///
    /// # Errors
    /// If storage fails.
    pub fn finish_restore(
        &mut self,
        id: StreamId,
        last: Seq,
        last_time: Option<NanoTime>,
        consumers: Vec<ConsumerSnapshot>,
    ) -> Result<()> {
        let mut restoring = self.shard.restoring.remove(&id).ok_or(reject::STREAM_NOT_FOUND)?;
        if let Err(error) = self.complete(&mut restoring.stream, last, last_time, consumers) {
            // Whoever gives it up finds it here.
            self.shard.restoring.insert(id, restoring);
            return Err(error);
        }
        let now = self.turn.now;
        let mut stream = restoring.stream;
        if stream.is_journaled() {
            let snapshot = StreamSnapshot::of(&stream, self.shard.number, 0);
            self.turn
                .commands
                .create_stream(id, now, crate::json::to_json(&snapshot));
            self.turn.sync = true;
        }
        if let Err(error) = stream.enforce_all_limits(now, Some(self.turn)) {
            // It is made all the same: what limits could not take away now is tried again.
            tracing::warn!(stream = %stream.name(), "limits after a restore: {error}");
        }
        self.shard.env.catalogue.insert(&stream, self.shard.number);
        self.shard.streams.insert(id, stream);
        self.shard.touch(id);
        Ok(())
    }

    /// Brings to disk what a restored stream has.
    fn complete(
        &mut self,
        stream: &mut Stream,
        last: Seq,
        last_time: Option<NanoTime>,
        consumers: Vec<ConsumerSnapshot>,
    ) -> Result<()> {
        let now = self.turn.now;
        let known = stream.messages.last_time();
        match last_time.or(known) {
            Some(time) => stream.messages.raise_last(last, time),
            None if last > stream.messages.last() => stream.messages.raise_last(last, now),
            None => {}
        }
        for consumer in consumers {
            stream.resume_consumer(consumer, now)?;
        }
        stream.recovered()?;
        stream.messages.write(false)?;
        let settings = stream.messages.settings;
        match settings.is_journaled() {
            // The journal must not name a stream whose messages are not on disk.
            true => self.shard.env.backend(settings.backend)?.sync(),
            false => Ok(()),
        }
    }

    /// Forgets a restore: a finished, durable one stays; of an unfinished one nothing is left.
    ///
    /// # Errors
    /// If storage fails.
    pub fn end_restore(&mut self, id: StreamId) -> Result<()> {
        if let Some(restoring) = self.shard.restoring.remove(&id) {
            let settings = restoring.stream.messages.settings;
            drop(restoring);
            let backend = self.shard.env.backend(settings.backend)?;
            crate::store::remove_log(backend.as_ref(), id.log(), &settings)?;
        }
        let kv = self.shard.env.backend(BackendKind::Segment)?.kv();
        kv.put_all(&[(key(id), None)])
    }
}

/// The logs that the next start removes, unless a stream has them, and what is noted of each.
pub(crate) fn unfinished(kv: &dyn Kv) -> Result<Vec<(StreamId, Bytes)>> {
    let mut found = Vec::new();
    kv.scan(RESTORING_PREFIX, None, &mut |name, value| {
        let id = std::str::from_utf8(&name[RESTORING_PREFIX.len()..]).ok();
        match id.and_then(|id| id.parse::<StreamId>().ok()) {
            Some(id) => found.push((id, Bytes::copy_from_slice(value))),
            None => {
                tracing::error!(key = ?Bytes::copy_from_slice(name), "names no log of a restore, and is left as it is")
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

impl Shard {
    /// Whether a log is that of a restore which goes on, or of a stream that was deleted.
    pub(crate) fn knows_log(&self, id: LogId) -> bool {
        let id = id.stream();
        self.restoring.contains_key(&id) || self.unremoved.iter().any(|(gone, _)| *gone == id)
    }

    /// Removes what restores left behind that a crash broke off. All shards are open, or were before this one: a log
    /// goes only if no stream of any shard has it.
    pub(crate) fn drop_unfinished(&mut self) -> Result<()> {
        self.remove_broken_off()?;
        let kv = self.env.backend(BackendKind::Segment)?.kv();
        for (id, value) in unfinished(kv.as_ref())? {
            let (shard, settings) = match crate::json::from_json::<(ShardId, Settings)>(&value) {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(log = %id, "what is noted of its restore is left as it is: {error}");
                    continue;
                }
            };
            if shard != self.number || self.restoring.contains_key(&id) {
                continue;
            }
            self.env.catalogue.seen(id);
            let elsewhere = |entry: Arc<StreamEntry>| entry.shard != self.number;
            let named = self.streams.contains_key(&id)
                || self.offline.contains(id)
                || self.env.catalogue.by_id(id).is_some_and(elsewhere)
                || kv.get(&stream_key(id))?.is_some();
            if !named && self.env.catalogue.has_loss() {
                // What is lost may have named it.
                tracing::warn!(log = %id, "what an unfinished restore left is kept until what was found lost is settled");
                continue;
            }
            if !named {
                tracing::info!(log = %id, "removing what an unfinished restore left");
                let removed =
                    self.env
                        .backend(settings.backend)
                        .and_then(|backend| match backend.list()?.contains(&id.log()) {
                            true => crate::store::remove_log(backend.as_ref(), id.log(), &settings),
                            false => Ok(()),
                        });
                if let Err(error) = removed {
                    tracing::error!(log = %id, "removing what an unfinished restore left, later then: {error}");
                    continue;
                }
            }
            // The key goes, and with it what told that the id was used.
            self.env
                .catalogue
                .note_last_id(|last| kv.put_all(&[(key(id), None), last]))?;
        }
        Ok(())
    }
}
