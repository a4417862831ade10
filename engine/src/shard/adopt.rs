//! A log that no stream has becomes a stream again: its label says whose it is, and the journal what it still has of that.
//!
//! Messages are never the price: limits that the label tells of and that what is there goes beyond are lifted, for the stream's
//! configuration may have been changed since.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::backend::{Direction, Want};
use crate::error::{Error, Result};
use crate::shard::InTurn;
use crate::shard::label::LogLabel;
use crate::shard::load::{self, load_stream, note_lost};
use crate::shard::offline::contained;
use crate::shard::snapshot::StreamSnapshot;
use crate::store::Catalogue;
use crate::stream::message::headers_len_of;
use crate::stream::settings::Settings;
use crate::stream::{Retention, Stream, StreamConfig};
use crate::types::{LogRef, NanoTime, SECOND, Seq, StreamId};

/// Bytes of a name at most, as nats-server has it.
const NAME_MAX: usize = 255;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The stream's account.
    pub account: Arc<str>,
    /// Its name: the label's, or one made of that if it is taken.
    pub name: Arc<str>,
    /// Messages that it has.
    pub messages: u64,
    /// The first of them; one above the last sequence if there is none.
    pub first: Seq,
    /// The last sequence given.
    pub last: Seq,
    /// Its consumers that the journal tells of; what else it had of them is lost.
    pub consumers: Vec<String>,
    /// What of its configuration is not as the label has it, one line each.
    pub changes: Vec<String>,
}

/// The name that a stream gets which cannot have the one that its label tells.
pub(crate) fn recovered_name(name: &str, id: StreamId) -> String {
    let end = format!("-recovered-{id}");
    let mut cut = name.len().min(NAME_MAX - end.len());
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{end}", &name[..cut])
}

impl InTurn<'_, '_> {
    /// Makes a stream of a log that is there and that no stream has; on the shard that its label's account and name belong to.
    /// It is a stream like any other once the turn is durable.
    ///
    /// # Errors
    /// If a stream has the log, it has no label that can be read or that of another backend, the journal says that the stream was
    /// deleted, or storage fails.
    pub fn adopt(&mut self, log: LogRef) -> Result<Adopted> {
        let (backend, id) = (log.backend, log.id.stream());
        self.shard.check_creation(id, true)?;
        let env = self.shard.env.clone();
        // The one that may be opened anew just now is opened again later.
        self.shard.offline.wait();
        if matches!(load::saved(&env, id), Ok(Some(_))) || self.has_stream(id) {
            return Err(Error::invalid(format!("a stream has log {id}")));
        }
        let unlabelled = || Error::damaged(format!("log {id} has no label that says whose it is"));
        let label = env.backend(backend)?.label(log.id)?.ok_or_else(unlabelled)?;
        let mut label = LogLabel::unpack(&label)?;
        if label.id != id.0 || label.settings.backend != backend {
            return Err(Error::damaged(format!(
                "log {id} of {backend} has the label of log {} of {}",
                label.log(),
                label.settings.backend
            )));
        }
        let mut changes = Vec::new();
        if label.config.is_none() {
            changes.push("its configuration was too long for the label: it has the default one".to_owned());
            label.config = Some(StreamConfig {
                name: label.name.clone(),
                subjects: vec![label.name.clone()],
                ..StreamConfig::default()
            });
        }
        let mut snapshot = label.snapshot(self.shard.number, 0).ok_or_else(unlabelled)?;
        let is_taken = env
            .catalogue
            .get(&label.account, &label.name)
            .is_some_and(|entry| entry.id != id);
        if is_taken {
            snapshot.name = recovered_name(&label.name, id);
            changes.push(format!("another stream is named {}", label.name));
        }
        let now = self.turn.now;
        let mut stream = contained(|| load_stream(&env, snapshot.clone(), now, true))?;
        stream.messages.ledger = load::saved_ledger(&env, id)?;
        let journal = self.shard.commit.reader();
        let mut opened = Some(stream);
        let looked = contained(|| {
            let last = journal.extent().last;
            load::replay_all(&env, journal.as_ref(), &mut opened, id, last, now)
        })?;
        let deleted = || Error::invalid(format!("the journal says that the stream of log {id} was deleted"));
        let mut stream = opened.ok_or_else(deleted)?;
        find_origins(&mut stream)?;
        note_lost(&mut stream, now);
        let config = fit(&mut stream, &env.catalogue, now, &mut changes)?;
        // What the journal tells of an update may say where it is to be; the log is here.
        let settings = Settings {
            backend,
            index: label.settings.index,
            ..stream.messages.settings
        };
        let at = stream.time_of_change(env.still, now);
        stream.configure(config, settings, at);
        stream.recovered()?;
        stream.messages.write(false)?;
        // The journal must not name a stream whose messages are not on disk.
        env.backend(backend)?.sync()?;

        if let Some(entry) = self.shard.forget_offline(id)? {
            env.catalogue.remove(&entry.account, &entry.name, id);
        }
        let saved = StreamSnapshot::of(&stream, self.shard.number, 0);
        let consumers = saved.consumers.iter().map(|consumer| consumer.name.clone()).collect();
        self.turn.commands.create_stream(id, now, crate::json::to_json(&saved));
        self.turn.sync = true;
        stream.unsaved = true;
        stream.note_stats();
        env.catalogue.insert(&stream, self.shard.number);
        env.catalogue.forget_finding(&format!("orphan-{backend}-{id}"));
        let state = stream.messages.state()?;
        let adopted = Adopted {
            account: stream.account().clone(),
            name: stream.name().clone(),
            messages: state.messages,
            first: state.first_seq,
            last: state.last_seq,
            consumers,
            changes,
        };
        let name = stream.name().clone();
        self.shard.streams.insert(id, stream);
        self.shard.touch(id);
        self.shard
            .note_looked((id, &name), looked, now, &mut self.turn.commands);
        Ok(adopted)
    }

    /// Whether a stream has the log, but for one that is shown as offline only because the log's label tells of it.
    fn has_stream(&self, id: StreamId) -> bool {
        self.shard.streams.contains_key(&id)
            || self.shard.restoring.contains_key(&id)
            || self.shard.env.catalogue.by_id(id).is_some() && !self.shard.offline.is_by_label(id)
    }
}

/// The configuration with which a stream keeps all that it has, and takes nothing that is another's.
fn fit(stream: &mut Stream, catalogue: &Catalogue, now: NanoTime, changes: &mut Vec<String>) -> Result<StreamConfig> {
    let messages = &mut stream.messages;
    let mut config = messages.config.clone();
    config.name = messages.name.to_string();
    if let Some(other) = catalogue.overlapping(&messages.account, &config.name, &config.subjects) {
        changes.push(format!(
            "its subjects were {}, which stream {other} has: it has its name for one",
            config.subjects.join(", ")
        ));
        config.subjects = vec![config.name.clone()];
    }
    let state = messages.state()?;
    let mut lifted = Vec::new();
    let is_beyond = |limit: i64, there: u64| u64::try_from(limit).is_ok_and(|limit| limit > 0 && there > limit);
    if is_beyond(config.max_msgs, state.messages) {
        lifted.push(format!("max_msgs ({})", config.max_msgs));
        config.max_msgs = -1;
    }
    if is_beyond(config.max_bytes, state.bytes) {
        lifted.push(format!("max_bytes ({})", config.max_bytes));
        config.max_bytes = -1;
    }
    let of_subject = config.max_msgs_per_subject;
    if of_subject > 0 {
        let mut most = 0;
        messages
            .index
            .last_of_each(&[bytes::Bytes::from_static(b">")], &mut |_, info| {
                most = most.max(info.count);
                ControlFlow::Continue(())
            })?;
        if is_beyond(of_subject, most) {
            lifted.push(format!("max_msgs_per_subject ({of_subject})"));
            config.max_msgs_per_subject = -1;
        }
    }
    let is_old = |first: NanoTime| first.saturating_add(config.max_age) <= now;
    if config.max_age > 0 && state.first_time.is_some_and(is_old) {
        lifted.push(format!("max_age ({} s)", config.max_age / SECOND));
        config.max_age = 0;
    }
    if !lifted.is_empty() {
        changes.push(format!("lifted, for messages would go: {}", lifted.join(", ")));
    }
    if config.retention == Retention::Interest && state.messages > 0 {
        changes.push("its retention was interest, and is limits: not all of its consumers are known".to_owned());
        config.retention = Retention::Limits;
    }
    Ok(config)
}

/// A stream with sources goes on behind what it has of them, as its messages say.
fn find_origins(stream: &mut Stream) -> Result<()> {
    if stream.config().sources.is_empty() {
        return Ok(());
    }
    let reader = stream.messages.reader().clone();
    reader.scan(0..=Seq::MAX, Want::Full, Direction::Forward, &mut |entry| {
        let block = headers_len_of(entry.head).and_then(|len| entry.body.get(..len));
        stream.replay_origin(block.unwrap_or_default());
        ControlFlow::Continue(())
    })
}
