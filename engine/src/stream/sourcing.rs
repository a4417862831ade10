//! Copies: a stream takes over messages of its origins (mirror, sources), and lets its own be taken over by others.
//!
//! The broker's copier carries the messages: it asks the origin's shard for the next ones ([`Stream::read_on`]), hands them
//! to the target's shard ([`Stream::copy`]) and tells the origin how far the target has them durably
//! ([`Stream::copied`]). Where a target stands with each origin is part of its own state, so that a crash in between
//! neither loses a message nor takes one twice.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use weir_subject::Transform;

use crate::error::{Error, Kind, Result};
use crate::headers;
use crate::index::Cursor;
use crate::json::format_time;
use crate::shard::turn::Turn;
use crate::stream::asked::Asked;
use crate::stream::message::Marks;
use crate::stream::publish::{Ready, Rollup};
use crate::stream::removal::Removal;
use crate::stream::{ExternalStream, Message, Publish, Retention, Stream, StreamSource};
use crate::types::{NanoTime, Seq};

/// The header that says where a message was copied from.
const SOURCE: &str = "Nats-Stream-Source";

/// A copier of this stream's messages, as the origin knows it.
pub(super) struct Copier {
    id: u64,
    /// The subjects it wants; all if empty.
    filters: Vec<Bytes>,
    /// It has everything up to here.
    done: Seq,
}

/// Messages that one origin has for a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// In the order of their sequences there.
    pub messages: Vec<Message>,
    /// Everything up to this sequence of the origin is among them, or is not wanted.
    pub through: Seq,
    /// How many wanted ones come after them.
    pub pending: u64,
}

impl Portion {
    /// The bytes of its messages.
    pub(crate) fn bytes(&self) -> usize {
        let of_one = |message: &Message| message.subject.len() + message.headers.len() + message.payload.len();
        self.messages.iter().map(of_one).sum()
    }
}

/// What a target did with a [`Portion`].
#[derive(Debug)]
pub struct Taken {
    /// It has everything up to this sequence of the origin.
    pub through: Seq,
    /// Why it could not take the next one.
    pub refused: Option<Error>,
}

/// What tells a stream from one that was deleted and made again under its name: nats-server's hash of when it was made.
pub fn identity(created: NanoTime) -> String {
    let hash = Sha256::digest(format_time(Some(created)));
    crate::names::spell(hash.iter().take(8).copied().map(u64::from))
}

impl StreamSource {
    /// What tells this source from others of the same stream: the origin, the filters, and the subjects they become,
    /// as `Nats-Stream-Source` names them.
    pub fn key(&self) -> String {
        let api = self
            .external
            .as_ref()
            .map_or("", |external: &ExternalStream| &external.api);
        let colon = if api.is_empty() { "" } else { ":" };
        let consumer = self
            .consumer
            .as_ref()
            .map_or_else(String::new, |consumer| format!(":C={}", consumer.name));
        let all = |subject: &str| {
            if subject.is_empty() {
                ">".to_owned()
            } else {
                subject.to_owned()
            }
        };
        let join = |subjects: Vec<String>| subjects.join("\u{c}");
        let (filter, transform) = match self.subject_transforms.is_empty() {
            true => (all(&self.filter_subject), ">".to_owned()),
            false => (
                join(self.subject_transforms.iter().map(|rule| all(&rule.src)).collect()),
                join(self.subject_transforms.iter().map(|rule| all(&rule.dest)).collect()),
            ),
        };
        format!("{}{colon}{api}{consumer} {filter} {transform}", self.name)
    }

    /// The subjects to copy; all if empty.
    pub fn filters(&self) -> Vec<Bytes> {
        let wanted: Vec<&str> = match self.subject_transforms.is_empty() {
            true => vec![&self.filter_subject],
            false => self.subject_transforms.iter().map(|rule| rule.src.as_str()).collect(),
        };
        match wanted.iter().any(|filter| filter.is_empty() || *filter == ">") {
            true => Vec::new(),
            false => wanted
                .into_iter()
                .map(|filter| Bytes::copy_from_slice(filter.as_bytes()))
                .collect(),
        }
    }

    fn transforms(&self) -> Vec<Transform> {
        self.subject_transforms
            .iter()
            .filter(|rule| !rule.dest.is_empty())
            .filter_map(|rule| {
                let source = if rule.src.is_empty() { ">" } else { &rule.src };
                // It was validated.
                Transform::new(source.as_bytes(), rule.dest.as_bytes()).ok()
            })
            .collect()
    }
}

impl Stream {
    /// How far this stream has come with an origin: the last sequence there that it has, or has passed over. `None` if
    /// it never had anything of it, or only of another that had its name before it (as [`identity`] tells).
    pub fn progress(&self, source: &StreamSource, identity: &str) -> Option<Seq> {
        if self.messages.config.mirror.is_some() {
            return Some(self.messages.last()).filter(|last| *last > 0);
        }
        let key = source.key();
        let known = self.origins.get(identified(&key, identity).as_str());
        // What was copied before origins were told apart counts as of this one.
        known.or_else(|| self.origins.get(key.as_str())).copied()
    }

    /// The first sequence that a source wants, which it never had anything of.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn start_for(&self, source: &StreamSource) -> Result<Seq> {
        match source.opt_start_time {
            // In a stream that never held anything, 0 is its first.
            Some(time) => Ok(self.messages.seq_at(time)?.max(1)),
            None => Ok(source.opt_start_seq.max(1)),
        }
    }

    /// A copier reads this stream from now on, and has everything up to `done`: what a crash kept this
    /// stream from hearing goes now.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn watch(&mut self, id: u64, filters: Vec<Bytes>, done: Seq, turn: &mut Turn<'_>) -> Result<()> {
        self.copiers.retain(|copier| copier.id != id);
        let had = filters.clone();
        self.copiers.push(Copier { id, filters, done });
        match self.messages.config.retention {
            Retention::Limits => Ok(()),
            Retention::Interest | Retention::WorkQueue => self.let_go(&had, 0, done, turn),
        }
    }

    /// A copier does not read any more: what was kept only for it goes.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn unwatch(&mut self, id: u64, turn: &mut Turn<'_>) -> Result<()> {
        let Some(at) = self.copiers.iter().position(|copier| copier.id == id) else {
            return Ok(());
        };
        let copier = self.copiers.remove(at);
        match self.messages.config.retention {
            Retention::Interest => self.let_go(&copier.filters, copier.done + 1, self.messages.last(), turn),
            Retention::Limits | Retention::WorkQueue => Ok(()),
        }
    }

    /// A copier has everything up to `through` durably.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn copied(&mut self, id: u64, through: Seq, turn: &mut Turn<'_>) -> Result<()> {
        let Some(copier) = self.copiers.iter_mut().find(|copier| copier.id == id) else {
            return Ok(());
        };
        let from = copier.done + 1;
        copier.done = copier.done.max(through);
        let filters = copier.filters.clone();
        match self.messages.config.retention {
            Retention::Limits => Ok(()),
            Retention::Interest | Retention::WorkQueue => self.let_go(&filters, from, through, turn),
        }
    }

    /// Removes what no consumer and no copier needs any more.
    fn let_go(&mut self, filters: &[Bytes], from: Seq, through: Seq, turn: &mut Turn<'_>) -> Result<()> {
        let removal = Removal::Unneeded {
            singles: VecDeque::new(),
            filters: filters.iter().map(|filter| filter[..].into()).collect(),
            next: from,
            end: through.saturating_add(1),
            wanted_only: false,
        };
        self.begin_removal(removal, turn)
    }

    /// Whether a copier still needs a message.
    pub(super) fn is_awaited(&self, seq: Seq, subject: &[u8]) -> bool {
        self.copiers
            .iter()
            .any(|copier| seq > copier.done && copier.wants(subject))
    }

    /// Messages from a sequence on whose subjects match, as many as are wanted at a time; damaged ones are passed over.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn read_on(&mut self, from: Seq, filters: &[Bytes], max_messages: usize, max_bytes: usize) -> Result<Portion> {
        let mut cursor = Cursor::new(filters);
        let mut portion = Portion::default();
        let mut bytes = 0;
        let mut next = from;
        while portion.messages.len() < max_messages && bytes < max_bytes {
            // Who wants everything takes the next message from what was read ahead.
            let found = match filters.is_empty() && self.messages.is_next_in_order(next) {
                true => Some(next),
                false => self.messages.index.next_match(&mut cursor, next)?,
            };
            let Some(seq) = found else {
                portion.through = self.messages.last().max(from.saturating_sub(1));
                return Ok(portion);
            };
            if let Some(message) = self.messages.read_in_order(seq)? {
                bytes += message.headers.len() + message.payload.len() + message.subject.len();
                portion.messages.push(message);
            }
            next = seq + 1;
        }
        portion.through = next - 1;
        portion.pending = self.messages.index.count_from(filters, next)?;
        Ok(portion)
    }

    /// Takes over messages of an origin.
    ///
    /// # Errors
    /// That storage failed. That a message does not fit is part of the answer.
    pub(crate) fn copy(
        &mut self,
        source: &StreamSource,
        identity: &str,
        portion: Portion,
        turn: &mut Turn<'_>,
    ) -> Result<Taken> {
        let transforms = source.transforms();
        let key = identified(&source.key(), identity);
        let mirror = self.messages.config.mirror.is_some();
        let mut recorded = 0;
        let mut through = self.progress(source, identity).unwrap_or(0);
        for message in portion.messages {
            let seq = message.seq;
            if seq <= through {
                continue;
            }
            let ready = match mirror {
                true => Some(self.mirrored(message, &transforms, turn.chance())),
                false => match self.sourced(message, &transforms, &key, turn) {
                    Err(error) if error.kind == Kind::Rejected => {
                        tracing::warn!(stream = %self.messages.name, origin = %source.name, seq, "not copied: {error}");
                        None
                    }
                    ready => ready?,
                },
            };
            if let Some(ready) = ready {
                let subject = self.rewrites.input(ready.subject.clone(), turn);
                let ready = Ready { subject, ..ready };
                let room = self.check_room(&ready.subject, ready.headers_len, ready.body.len());
                if let Err(error) = self.check_capacity().and(room) {
                    if error.kind != Kind::Rejected {
                        return Err(error);
                    }
                    self.record_progress(&key, through, recorded, turn);
                    return Ok(Taken {
                        through,
                        refused: Some(error),
                    });
                }
                self.store(ready, turn)?;
                recorded = seq;
            }
            through = seq;
            self.note_progress(&key, seq);
        }
        through = through.max(portion.through);
        self.note_progress(&key, through);
        self.record_progress(&key, through, recorded, turn);
        Ok(Taken { through, refused: None })
    }

    /// A message under its own sequence and time.
    fn mirrored(&self, message: Message, transforms: &[Transform], chance: u64) -> Ready {
        let at = (message.seq, message.time);
        let headers = copied(&message.headers, &CONDITIONS);
        let marks = Marks::of_headers(&headers, &self.messages.config);
        let ready = Ready::plain(Publish {
            subject: rename(&message.subject, transforms, chance),
            headers_len: headers.len(),
            body: [&headers[..], &message.payload].concat().into(),
        });
        Ready {
            at: Some(at),
            marks,
            ..ready
        }
    }

    /// A message with the header that says where it comes from; `None` if its id was seen already.
    fn sourced(
        &mut self,
        message: Message,
        transforms: &[Transform],
        key: &str,
        turn: &mut Turn<'_>,
    ) -> Result<Option<Ready>> {
        self.messages
            .dedup
            .expire(turn.now, self.messages.config.duplicate_window);
        let mut publish = Publish {
            subject: rename(&message.subject, transforms, turn.chance()),
            headers_len: message.headers.len(),
            body: [&message.headers[..], &message.payload].concat().into(),
        };
        publish = publish.with_headers(&mark(&message, key));
        let block = publish.headers();
        let asked = Asked::read(&block);
        if asked.id.is_some_and(|id| self.messages.dedup.get(id).is_some()) {
            return Ok(None);
        }
        let config = &self.messages.config;
        let rollup = match asked.rollup {
            Some(b"sub") if config.allow_rollup_hdrs && !config.deny_purge => Some(Rollup::Subject),
            Some(b"all") if config.allow_rollup_hdrs && !config.deny_purge => Some(Rollup::All),
            _ => None,
        };
        let id = asked.id.map_or_else(Bytes::new, |id| block.slice_ref(id));
        let mut value = None;
        if config.allow_msg_counter && asked.incr.is_some() {
            let (stored, after) = self
                .counter_of(&publish.subject)?
                .add(publish, &num_bigint::BigInt::default())?;
            publish = stored;
            value = Some(after.value());
        }
        let mut ready = Ready {
            id,
            rollup,
            value,
            marks: Marks::of_headers(&block, &self.messages.config),
            ..Ready::plain(publish)
        };
        if let Some(ttl) = asked.ttl {
            self.settle_ttl(ttl, &mut ready)?;
        }
        self.check_size(ready.headers_len, ready.body.len())?;
        self.check_record(&ready.subject, ready.body.len())?;
        Ok(Some(ready))
    }

    fn note_progress(&mut self, key: &str, seq: Seq) {
        if self.messages.config.mirror.is_some() {
            return;
        }
        match self.origins.get_mut(key) {
            Some(done) => *done = seq.max(*done),
            None => {
                // Another of that name is no more.
                let plain = plain(key);
                self.origins.retain(|other, _| self::plain(other) != plain);
                self.origins.insert(key.into(), seq);
            }
        }
    }

    /// What was passed over is not told by stored messages, so the journal has to say it.
    fn record_progress(&mut self, key: &str, through: Seq, recorded: Seq, turn: &mut Turn<'_>) {
        if through > recorded && self.is_journaled() && self.messages.config.mirror.is_none() {
            turn.commands.copied(
                self.messages.id,
                turn.now,
                through,
                Bytes::copy_from_slice(key.as_bytes()),
            );
        }
    }

    /// Applies what the journal says of messages that were passed over.
    pub(super) fn replay_copied(&mut self, through: Seq, key: &[u8]) {
        self.note_progress(&String::from_utf8_lossy(key), through);
    }

    /// Applies what a stored message's headers say of its origin.
    pub(crate) fn replay_origin(&mut self, block: &[u8]) {
        if self.messages.config.sources.is_empty() {
            return;
        }
        let Some(said) = headers::get_str(block, SOURCE) else {
            return;
        };
        let words: Vec<&str> = said.split(' ').collect();
        if let [name, seq, filter, transform, ref rest @ ..] = words[..]
            && let Ok(seq) = seq.parse()
        {
            let identity = rest.get(1).copied().unwrap_or_default();
            let key = format!("{name} {filter} {transform}");
            self.note_progress(&identified(&key, identity), seq);
        }
    }

    /// Where this stream stands with each origin: by its key, with a space and its identity behind it where that is known.
    pub(crate) fn origins(&self) -> &std::collections::BTreeMap<Box<str>, Seq> {
        &self.origins
    }

    /// Takes up where the stream stood with each origin.
    pub(crate) fn set_origins(&mut self, origins: std::collections::BTreeMap<Box<str>, Seq>) {
        self.origins = origins;
    }
}

impl Copier {
    fn wants(&self, subject: &[u8]) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| weir_subject::matches(filter, subject))
    }
}

/// A source's key with the identity of the origin, if it is known.
fn identified(key: &str, identity: &str) -> String {
    match identity {
        "" => key.to_owned(),
        identity => format!("{key} {identity}"),
    }
}

/// A source's key without the identity of the origin.
fn plain(key: &str) -> &str {
    key.match_indices(' ').nth(2).map_or(key, |(at, _)| &key[..at])
}

/// The subject that a message gets in the target.
fn rename(subject: &Bytes, transforms: &[Transform], chance: u64) -> Bytes {
    let renamed = transforms.iter().find_map(|transform| transform.apply(subject, chance));
    renamed.map_or_else(|| subject.clone(), Bytes::from)
}

/// A message's header block as a target stores it: without what was meant for the origin's own checks, with the header
/// that names the origin.
fn mark(message: &Message, key: &str) -> Vec<u8> {
    let [expected, batch] = CONDITIONS;
    let kept = copied(&message.headers, &[expected, batch, b"Nats-Stream-Source:"]);
    let identity = &key[plain(key).len()..];
    let (name, rest) = plain(key).split_once(' ').unwrap_or((key, "> >"));
    let subject = String::from_utf8_lossy(&message.subject);
    let said = format!("{name} {} {rest} {subject}{identity}", message.seq);
    headers::insert(&kept, SOURCE, &said)
}

/// How the headers begin that were conditions of the origin's publish: a copy is stored without.
const CONDITIONS: [&[u8]; 2] = [b"Nats-Expected-", b"Nats-Batch-"];

/// A header block without the headers that begin in one of these ways; nothing if no other is left.
fn copied<'h>(block: &'h [u8], dropped: &[&[u8]]) -> Cow<'h, [u8]> {
    headers::retain(block, |header| !dropped.iter().any(|name| header.starts_with(name)))
}

#[cfg(test)]
mod tests;
