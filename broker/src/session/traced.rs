//! Messages whose journey is told: whether a client may have that, and where it goes.

use std::sync::Arc;

use weir_wire::headers;

use super::Session;
use super::conversation::Conversation;
use crate::interest::{Chunk, DEST, DISABLED, Journey, Wish};
use crate::link::Message;

/// Subjects that nobody may be told on: those of the servers among themselves, and of their consensus.
const GATEWAY_REPLIES: &[u8] = b"_GR_.";
const CONSENSUS: &[u8] = b"$NRG.";

/// What becomes of a message that asks for its journey.
enum Start {
    /// It is traced.
    Traced(Arc<Journey>),
    /// It goes on as any other.
    Untraced,
    /// The same, and its headers say that it is not traced.
    Silenced,
    /// It goes no further.
    Dropped,
}

impl Conversation {
    /// Sends a message that asks to be traced on its way.
    #[cold]
    pub(super) fn send_traced(&mut self, session: &Session, chunk: Chunk<'_>, message: &Message<'_>) {
        match self.set_out(session, message) {
            Start::Untraced => self.send(session, Some(chunk), message),
            Start::Silenced => {
                let block = headers::set(message.headers, DEST, DISABLED);
                let silenced = Message {
                    headers: &block,
                    ..*message
                };
                self.send(session, None, &silenced);
            }
            Start::Traced(journey) => {
                self.journey = Some(journey);
                self.send(session, Some(chunk), message);
                self.journey = None;
            }
            Start::Dropped => {}
        }
    }

    /// Notes who would hear a traced message on `subject`, were it not denied; if the client may send it at all.
    #[cold]
    pub(super) fn note_denied(&mut self, subject: &[u8], journey: &Journey) {
        if self.router.permits(&self.account, subject) {
            self.router.note_denied(&self.account, subject, journey);
        }
    }

    /// Tells of a message that the parser refused, as far as its headers are there, if they ask for it. `bytes` begin with its line.
    #[cold]
    pub(super) fn trace_refused(&mut self, session: &Session, bytes: &[u8], why: &str) {
        let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
            return;
        };
        let words: Vec<&[u8]> = bytes[..end]
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .collect();
        let (Some([verb, subject]), Some([block, size])) = (words.first_chunk(), words.last_chunk()) else {
            return;
        };
        let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<usize>().ok();
        let (Some(block), Some(size)) = (number(block), number(size)) else {
            return;
        };
        if words.len() < 4 || !verb.eq_ignore_ascii_case(b"HPUB") {
            return;
        }
        let rest = &bytes[end + 2..];
        let message = Message {
            subject,
            reply: b"",
            headers: &rest[..rest.len().min(block)],
            payload: b"",
        };
        if let Start::Traced(journey) = self.start_of(session, &message, size) {
            journey.refused(why);
        }
    }

    fn set_out(&mut self, session: &Session, message: &Message<'_>) -> Start {
        self.start_of(session, message, message.headers.len() + message.payload.len())
    }

    fn start_of(&mut self, session: &Session, message: &Message<'_>, size: usize) -> Start {
        let Some(mut wish) = Wish::read(message.headers) else {
            return Start::Untraced;
        };
        // One that only asks goes nowhere, also where it is not told of.
        let not_told = match wish.only {
            true => Start::Dropped,
            false => Start::Untraced,
        };
        if let Some(origin) = &wish.origin {
            tracing::error!(
                "{} - Message tracing disabled because of header \"Nats-Trace-Origin-Account\" with value={origin:?}",
                session.link.label()
            );
            return match wish.only {
                true => Start::Dropped,
                false => Start::Silenced,
            };
        }
        let to = match wish.to.take() {
            Some(to) => to,
            None => match self.account.traces() {
                None => return Start::Untraced,
                Some(traces) if !traces.is_sampled(rand::random_range(0..100)) => return Start::Silenced,
                Some(traces) => traces.to.clone(),
            },
        };
        if !weir_subject::is_literal(to.as_bytes()) {
            tracing::error!(
                "{} - Destination {to:?} is not valid, won't be able to trace events",
                session.link.label()
            );
            return not_told;
        }
        if !self.may_be_told(session, to.as_bytes()) {
            self.forbid(session, to.as_bytes());
            return Start::Dropped;
        }
        let Some(narrator) = session.hall.narrator.get() else {
            return not_told;
        };
        let told = (Arc::clone(&self.account), to);
        let message = (&*session.link, message.subject, size);
        Start::Traced(Journey::begin(wish, told, message, Arc::clone(narrator)))
    }

    /// Whether the client may have something told on `to`: as if it published there, but that an answer to a request is no reason.
    fn may_be_told(&mut self, session: &Session, to: &[u8]) -> bool {
        let is_system = Arc::ptr_eq(&self.account, &session.hall.accounts.system);
        !to.starts_with(GATEWAY_REPLIES)
            && (is_system || !to.starts_with(CONSENSUS))
            && self.router.permits(&self.account, to)
    }
}
