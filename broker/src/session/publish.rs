//! PUB and HPUB.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use memchr::memmem;
use weir_wire::{encode, headers};

use super::Session;
use super::conversation::Conversation;
use super::quote::quoted;
use crate::interest::{Chunk, Origin, Subscription, is_wished};
use crate::link::Message;
use crate::routing::{Groups, Outgoing, Place};

/// Replies that would let a client forge the server's own: service imports, gateways, acknowledgements.
const RESERVED_REPLIES: [&[u8]; 3] = [b"$JS.ACK.", b"_R_.", b"_GR_."];
/// How headers of schedules begin that are about other subjects: by them a stream stores other messages.
const SCHEDULES: &[u8] = b"Nats-Schedule-";
/// On which subject those are.
const SCHEDULE_TARGET: &[u8] = b"Nats-Schedule-Target";
/// On which subject the message is that says what is in them.
const SCHEDULE_SOURCE: &[u8] = b"Nats-Schedule-Source";
/// Subjects of the servers' own consensus.
const RESERVED_SUBJECT: &[u8] = b"$NRG.";

impl Conversation {
    #[inline]
    pub(super) fn publish(&mut self, session: &Session, chunk: Chunk<'_>, message: &Message<'_>) {
        match !message.headers.is_empty() && is_wished(message.headers) {
            false => self.send(session, Some(chunk), message),
            true => self.send_traced(session, chunk, message),
        }
    }

    /// Sends a message on its way; it is noted what becomes of it if it has a journey.
    #[inline]
    pub(super) fn send(&mut self, session: &Session, chunk: Option<Chunk<'_>>, message: &Message<'_>) {
        self.messages += 1;
        self.bytes += (message.headers.len() + message.payload.len()) as u64;
        // Before it goes anywhere: who sees what came of it sees it counted.
        session.link.received.messages.store(self.messages, Ordering::Relaxed);
        session.link.received.bytes.store(self.bytes, Ordering::Relaxed);
        match self.account.is_mapped() {
            false => self.publish_mapped(session, chunk, message),
            true => self.map(session, chunk, message),
        }
    }

    /// Gives it the subject that the account has for it.
    #[inline(never)]
    fn map(&mut self, session: &Session, chunk: Option<Chunk<'_>>, message: &Message<'_>) {
        let chance = self.router.chance();
        let Some(new) = self.account.map(message.subject, chance) else {
            return self.publish_mapped(session, chunk, message);
        };
        if let Some(journey) = &self.journey {
            journey.mapped(&new);
        }
        let mapped = Message {
            subject: &new,
            ..*message
        };
        if session.link.is_traced() {
            let (subject, new) = (quoted(message.subject), quoted(&new));
            tracing::trace!("{} - <<- [MAPPING {subject} -> {new}]", session.link.label());
        }
        self.publish_mapped(session, chunk, &mapped);
    }

    /// Whatever its subject became.
    #[inline]
    fn publish_mapped(&mut self, session: &Session, chunk: Option<Chunk<'_>>, message: &Message<'_>) {
        let careful = self.careful(message);
        if careful && !self.permit(session, message) {
            return;
        }
        if let Some(journey) = self.journey.clone() {
            self.note_denied(message.subject, &journey);
        }
        let place = self.router.find(&self.account, message.subject);
        // What nobody wants is done with, and costs no more than to find that out.
        let taken = match !careful && self.router.is_unheard(place) {
            true => 0,
            false => match self.deliver(session, chunk, message, careful, place) {
                Some(taken) => taken,
                None => return self.forbid(session, message.subject),
            },
        };
        if taken == 0 && self.connect.no_responders && !message.reply.is_empty() {
            self.no_responders(session, message);
        }
    }

    /// Gives a message to those who listen, found at `place`. Returns how many took it; `None`: the client may not publish there.
    #[inline(never)]
    fn deliver(
        &mut self,
        session: &Session,
        chunk: Option<Chunk<'_>>,
        message: &Message<'_>,
        careful: bool,
        place: Place,
    ) -> Option<usize> {
        let outgoing = Outgoing {
            message: *message,
            from: Some(&session.link),
            echo: self.connect.echo,
            chunk,
            via: None,
            journey: self.journey.as_ref(),
            asks: true,
            origin: Origin::Here,
            groups: Groups::All,
        };
        // Of a careful message it was asked before whether it may.
        let may = careful || self.router.is_permitted(place) || session.link.may_answer(message.subject);
        let (router, work) = (&mut self.router, &mut self.work);
        may.then(|| router.route_found(&self.account, place, message.subject, &outgoing, work))
    }

    /// Tells the client that its message goes no further, and why.
    fn turn_back(&mut self, session: &Session, text: &str) {
        if let Some(journey) = &self.journey {
            journey.refused(text);
        }
        self.error(session, text);
    }

    /// Whether anything but delivering needs to be thought of; quickly.
    fn careful(&self, message: &Message<'_>) -> bool {
        let may_schedule = !message.headers.is_empty() && self.router.rules().is_some();
        self.connect.verbose
            || may_schedule && memmem::find(message.headers, SCHEDULES).is_some()
            || self.connect.pedantic
            || message.subject.first() == Some(&b'$')
            || matches!(message.reply.first(), Some(b'$' | b'_'))
    }

    /// Checks, answers, and says whether the message goes on.
    fn permit(&mut self, session: &Session, message: &Message<'_>) -> bool {
        if self.connect.pedantic && !weir_subject::is_literal_as_sent(message.subject) {
            self.error(session, "Invalid Publish Subject");
        }
        if !self.may_publish(session, message.subject) || !self.may_schedule(session, message.headers) {
            return false;
        }
        if message.subject.starts_with(RESERVED_SUBJECT) {
            self.forbid(session, message.subject);
            return false;
        }
        let reserved = |prefix: &&[u8]| message.reply.len() > prefix.len() && message.reply.starts_with(prefix);
        if RESERVED_REPLIES.iter().any(reserved) {
            let reply = quoted(message.reply);
            tracing::error!("{} - Publish Violation - Reply {reply}", session.link.label());
            self.turn_back(
                session,
                &format!("Permissions Violation for Publish with Reply of {reply}"),
            );
            return false;
        }
        if self.connect.verbose {
            session.link.enqueue(&mut self.router.sink, encode::ok);
        }
        true
    }

    /// Whether the client's permissions allow a message to `subject`; it is told if they do not.
    fn may_publish(&mut self, session: &Session, subject: &[u8]) -> bool {
        let may = self.router.permits(&self.account, subject) || session.link.may_answer(subject);
        if !may {
            self.forbid(session, subject);
        }
        may
    }

    /// Whether the client's permissions allow what a schedule has a stream do in its place: publish to its target, with what is said by the
    /// newest message of its source; it is told if they do not. Of several values all must be allowed, whichever counts.
    fn may_schedule(&mut self, session: &Session, block: &[u8]) -> bool {
        if self.router.rules().is_none() {
            return true;
        }
        for (name, value) in headers::each(block).filter(|(_, value)| !value.is_empty()) {
            match name {
                SCHEDULE_TARGET if !self.router.permits(&self.account, value) => {
                    self.forbid(session, value);
                    return false;
                }
                SCHEDULE_SOURCE if !self.may_hear(value) => {
                    let (label, value) = (session.link.label(), quoted(value));
                    tracing::error!("{label} - Subscription Violation - Subject {value}, to schedule");
                    self.turn_back(session, &format!("Permissions Violation for Subscription to {value}"));
                    return false;
                }
                _ => {}
            }
        }
        true
    }

    /// Whether the client's permissions allow it to hear what is on `subject`.
    fn may_hear(&self, subject: &[u8]) -> bool {
        let rules = self.router.rules();
        rules.is_none_or(|rules| rules.may_subscribe(subject, None) && !rules.denies(subject, None).0)
    }

    #[cold]
    pub(super) fn forbid(&mut self, session: &Session, subject: &[u8]) {
        let subject = quoted(subject);
        tracing::error!("{} - Publish Violation - Subject {subject}", session.link.label());
        self.turn_back(session, &format!("Permissions Violation for Publish to {subject}"));
    }

    /// Tells the client that nobody heard its request.
    fn no_responders(&mut self, session: &Session, message: &Message<'_>) {
        let mut own: Option<Arc<Subscription>> = None;
        self.account.matches(message.reply, |subscription| {
            let is_own = subscription.queue.is_none()
                && subscription
                    .link()
                    .is_some_and(|other| Arc::ptr_eq(other, &session.link));
            if own.is_none() && is_own {
                own = Some(Arc::clone(subscription));
            }
        });
        let Some(own) = own else { return };
        session.link.enqueue(&mut self.router.sink, |out| {
            const STATUS: &[u8] = b"NATS/1.0 503\r\nNats-Subject: ";
            let size = STATUS.len() + message.subject.len() + 4;
            encode::msg_header(out, message.reply, own.sid(), None, Some(size), size);
            out.extend_from_slice(STATUS);
            out.extend_from_slice(message.subject);
            out.extend_from_slice(b"\r\n\r\n\r\n");
        });
    }
}
