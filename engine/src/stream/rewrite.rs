//! Renaming subjects on their way in (`subject_transform`), and publishing again what was stored (`republish`).

use std::sync::Arc;

use bytes::Bytes;
use weir_subject::Transform;

use crate::headers;
use crate::json::format_time;
use crate::shard::emit::Emit;
use crate::shard::turn::Turn;
use crate::stream::StreamConfig;
use crate::types::{NanoTime, Seq};

/// What only the server says of a message that is published again: whoever published it first may have written as much.
const OWN: &[&str] = &[
    "Nats-Stream",
    "Nats-Subject",
    "Nats-Sequence",
    "Nats-Time-Stamp",
    "Nats-Last-Sequence",
];

/// A stream's rules about subjects, ready to be applied.
#[derive(Default)]
pub(crate) struct Rewrites {
    input: Option<Transform>,
    republish: Option<Transform>,
}

impl Rewrites {
    /// Those of a configuration. It was validated: a rule that cannot be read is left out, and said so.
    pub fn of(config: &StreamConfig) -> Self {
        let ready = |source: &str, destination: &str| match Transform::new(source.as_bytes(), destination.as_bytes()) {
            Ok(transform) => Some(transform),
            Err(error) => {
                tracing::error!(stream = %config.name, source, destination, "subject rule left out: {error}");
                None
            }
        };
        let all = |source: &str| {
            if source.is_empty() {
                ">".to_owned()
            } else {
                source.to_owned()
            }
        };
        Self {
            input: config
                .subject_transform
                .as_ref()
                .and_then(|rule| ready(&all(&rule.src), &rule.dest)),
            republish: config
                .republish
                .as_ref()
                // Without a destination it says nothing; an update makes all subjects of that, which the stream would
                // capture again without end.
                .filter(|rule| !rule.dest.is_empty() && (rule.dest != ">" || config.subjects.is_empty()))
                .and_then(|rule| ready(&all(&rule.src), &rule.dest)),
        }
    }

    /// The subject under which a message is stored.
    pub fn input(&self, subject: Bytes, turn: &mut Turn<'_>) -> Bytes {
        match self
            .input
            .as_ref()
            .and_then(|transform| transform.apply(&subject, turn.chance()))
        {
            Some(renamed) => renamed.into(),
            None => subject,
        }
    }

    /// The subject under which a stored message is published again, if it is.
    pub fn output(&self, subject: &[u8], turn: &mut Turn<'_>) -> Option<Bytes> {
        let renamed = self.republish.as_ref()?.apply(subject, turn.chance())?;
        weir_subject::is_literal(&renamed).then(|| renamed.into())
    }
}

/// A stored message, to be published again.
pub(super) struct Republished<'a> {
    pub account: &'a Arc<str>,
    pub stream: &'a str,
    /// The new subject.
    pub to: Bytes,
    /// The subject it was stored under.
    pub subject: &'a [u8],
    pub headers: &'a [u8],
    pub payload: Bytes,
    pub seq: Seq,
    pub time: NanoTime,
    /// The sequence of the message before it on its subject; 0 if there was none.
    pub before: Seq,
    pub headers_only: bool,
}

impl Republished<'_> {
    /// Sends it, with the headers that say where it came from.
    pub fn send(self, turn: &mut Turn<'_>) {
        let mut block = headers::insert(&headers::scrub(self.headers, OWN), "Nats-Stream", self.stream);
        let subject = String::from_utf8_lossy(self.subject);
        for (name, value) in [
            ("Nats-Subject", &*subject),
            ("Nats-Sequence", &self.seq.to_string()),
            ("Nats-Time-Stamp", &format_time(Some(self.time))),
            ("Nats-Last-Sequence", &self.before.to_string()),
        ] {
            block = headers::insert(&block, name, value);
        }
        let mut payload = self.payload;
        if self.headers_only {
            block = headers::insert(&block, "Nats-Msg-Size", payload.len().to_string());
            payload = Bytes::new();
        }
        turn.emits.push(Emit::Send {
            account: Arc::clone(self.account),
            to: self.to,
            headers: block.into(),
            payload,
        });
    }
}
