//! Counters: a subject's newest message holds a number that `Nats-Incr` adds to (ADR-49).

use std::collections::BTreeMap;

use bytes::Bytes;
use num_bigint::BigInt;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::headers;
use crate::reject;
use crate::stream::asked::Asked;
use crate::stream::{Message, Publish, Stream};
use crate::types::Seq;

/// The header that says what to add.
const INCREMENT: &str = "Nats-Incr";
/// The header in which a counter keeps what each origin contributed.
const SOURCES: &str = "Nats-Counter-Sources";
/// Damaged messages of one counter that are passed over in search of one that can be read.
const UNREADABLE_MAX: usize = 1024;

/// The payload of a counter's message.
#[derive(Deserialize, Serialize)]
struct Payload {
    #[serde(default)]
    val: String,
}

/// What each origin contributed: by stream, then by subject, decimal.
type Sources = BTreeMap<String, BTreeMap<String, String>>;

/// A counter as it stands after some message.
#[derive(Clone, Debug, Default)]
pub(super) struct Counter {
    total: BigInt,
    sources: Sources,
}

impl Counter {
    /// Its value, decimal.
    pub fn value(&self) -> Box<str> {
        self.total.to_string().into()
    }

    /// Adds what a message says; answers the message as it is stored, and the counter after it.
    ///
    /// # Errors
    /// [`reject::MESSAGE_COUNTER_BROKEN`] if the message comes from another stream and holds no number.
    pub fn add(mut self, publish: Publish, increment: &BigInt) -> Result<(Publish, Self)> {
        let mut block = publish.headers().to_vec();
        let mut increment = increment.clone();
        if let Some(origin) = headers::get_str(&block, "Nats-Stream-Source") {
            // The origin's own increment means nothing here: what counts is how far its total moved since last time.
            let mut words = origin.split(' ');
            let stream = words.next().unwrap_or_default().to_owned();
            let subject = match words.nth(3) {
                Some(subject) => subject.to_owned(),
                None => String::from_utf8_lossy(&publish.subject).into_owned(),
            };
            let there = parse_payload(&publish.payload())?;
            let known = self.sources.entry(stream).or_default().entry(subject).or_default();
            increment = &there - parse(known.as_bytes()).unwrap_or_default();
            *known = there.to_string();
            block = headers::set(&block, INCREMENT, increment.to_string());
        }
        self.total += increment;
        if !self.sources.is_empty() {
            // Maps of strings always have a JSON form.
            let sources = serde_json::to_string(&self.sources).unwrap_or_default();
            block = headers::set(&block, SOURCES, &sources);
        }
        let payload = format!("{{\"val\":\"{}\"}}", self.total);
        let stored = Publish {
            subject: publish.subject,
            headers_len: block.len(),
            body: [&block[..], payload.as_bytes()].concat().into(),
        };
        Ok((stored, self))
    }
}

impl Stream {
    /// `Nats-Incr`: what to add, if it says anything.
    ///
    /// # Errors
    /// It makes no sense, the stream has no counters, or the message asks for something that does not go with it.
    pub(super) fn check_increment(&self, asked: &Asked<'_>, has_payload: bool) -> Result<Option<BigInt>> {
        let Some(value) = asked.incr else { return Ok(None) };
        let increment = parse(value).ok_or(reject::MESSAGE_INCR_INVALID)?;
        if !self.messages.config.allow_msg_counter {
            return Err(reject::MESSAGE_INCR_DISABLED.into());
        }
        if has_payload {
            return Err(reject::MESSAGE_INCR_PAYLOAD.into());
        }
        let others = [
            asked.rollup,
            asked.stream,
            asked.last_id,
            asked.last_subject,
            asked.last_seq,
            asked.last_subject_seq,
        ];
        match others.iter().any(Option::is_some) {
            true => Err(reject::MESSAGE_INCR_INVALID.into()),
            false => Ok(Some(increment)),
        }
    }

    /// Among counters every message has to say what to add.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn require_increment(&self, increment: Option<&BigInt>) -> Result<()> {
        match self.messages.config.allow_msg_counter && increment.is_none() {
            true => Err(reject::MESSAGE_INCR_MISSING.into()),
            false => Ok(()),
        }
    }

    /// The newest message of a counter, from this one down, that can be read. A counter must not go on from an older one, or
    /// begin anew, because what it stood at cannot be read, before somebody has seen that.
    fn newest_readable(&mut self, subject: &[u8], from: Option<Seq>) -> Result<Option<Message>> {
        let mut next = from;
        let filters = [Bytes::copy_from_slice(subject)];
        for _ in 0..UNREADABLE_MAX {
            let Some(seq) = next else { return Ok(None) };
            match self.messages.load(seq) {
                Ok(Some(message)) => return Ok(Some(message)),
                Err(error) if error.kind != Kind::Damaged => return Err(error),
                Ok(None) | Err(_) if self.messages.ledger.is_settled(seq) => {}
                Ok(None) | Err(_) => {
                    let text = format!(
                        "the counter's message {seq} cannot be read: it goes on from the one before once that is settled \
                         (`weir settle`, with the server stopped, key lost-{}), or once message {seq} is deleted",
                        self.id()
                    );
                    return Err(Error::damaged(text));
                }
            }
            next = match seq.checked_sub(1) {
                Some(below) => self.messages.index.prev_match(&filters, below)?,
                None => None,
            };
        }
        let text = format!("the newest {UNREADABLE_MAX} messages of the counter cannot be read: delete them");
        Err(Error::damaged(text))
    }

    /// The counter of a subject.
    ///
    /// # Errors
    /// [`reject::MESSAGE_COUNTER_BROKEN`] if its newest message holds no number, or storage cannot be read.
    /// [`Kind::Damaged`](crate::Kind::Damaged) if its newest message is lost, or may be among those that are.
    pub(super) fn counter_of(&mut self, subject: &[u8]) -> Result<Counter> {
        let info = self.messages.index.subject(subject)?;
        let newest = info.as_ref().map_or(0, |info| info.last);
        if let Some(lost) = self.messages.lost_of(subject, newest)? {
            let text = format!(
                "message {lost} is lost, and may have been the newest of this counter: it goes on from what is left once \
                 that is settled (`weir settle`, with the server stopped, key lost-{}), or begins anew after a purge of the \
                 whole stream",
                self.id()
            );
            return Err(Error::damaged(text));
        }
        let Some(message) = self.newest_readable(subject, info.map(|info| info.last))? else {
            return Ok(Counter::default());
        };
        let sources = match headers::get(&message.headers, SOURCES).filter(|sources| !sources.is_empty()) {
            Some(sources) => serde_json::from_slice(sources).map_err(|_| reject::MESSAGE_COUNTER_BROKEN)?,
            None => Sources::new(),
        };
        Ok(Counter {
            total: parse_payload(&message.payload)?,
            sources,
        })
    }
}

fn parse_payload(payload: &[u8]) -> Result<BigInt> {
    let payload: Payload = serde_json::from_slice(payload).map_err(|_| reject::MESSAGE_COUNTER_BROKEN)?;
    Ok(parse(payload.val.as_bytes()).unwrap_or_default())
}

/// A whole number with an optional sign.
fn parse(text: &[u8]) -> Option<BigInt> {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    BigInt::parse_bytes(text.strip_prefix(b"+").unwrap_or(text), 10)
}

#[cfg(test)]
mod tests;
