//! What only the connection's own task works with: bytes in, operations out.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use weir_wire::{Connect, Op, ParseError, Parser, Step, encode};

use super::auth::{Ticket, Verdict};
use super::connect::end;
use super::intake::Intake;
use super::{Hall, Session, info};
use crate::conf::Options;
use crate::interest::{Account, Chunk, Journey, Seat, Work};
use crate::link::{CloseReason, Kind, Message};
use crate::routing::Router;

/// How far a client has come.
pub(super) enum State {
    /// It was sent INFO, and CONNECT should come.
    Greeting,
    /// It said CONNECT, and somebody takes time to decide about it.
    Authenticating(Ticket, Arc<Options>),
    /// CONNECT was accepted.
    Ready,
}

/// Why the work on what was read stops.
pub(super) enum Stop {
    /// A verdict has to come first.
    Wait,
    /// The connection ends.
    End(CloseReason),
}

/// The reading side of one connection.
pub(super) struct Conversation {
    /// What was read.
    pub(super) intake: Intake,
    pub(super) parser: Parser,
    pub(super) connect: Connect,
    pub(super) state: State,
    /// The account that the client is in.
    pub(super) account: Arc<Account>,
    /// The key of the proxy that it came by, if that is trusted.
    pub(super) proxy: Option<Arc<str>>,
    /// Subscriptions that its user may have.
    pub(super) subscriptions_max: Option<usize>,
    /// Bytes of a message that its user may send.
    pub(super) payload_max: Option<usize>,
    /// Its place there; `None` before CONNECT was accepted.
    pub(super) seat: Option<Seat>,
    /// The INFO that follows the first PONG was sent.
    pub(super) introduced: bool,
    /// Nothing but CONNECT is served before CONNECT was accepted.
    auth_required: bool,
    pub(super) router: Router,
    pub(super) work: Work,
    /// The journey of the message that is being worked on, if it is told.
    pub(super) journey: Option<Arc<Journey>>,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// An operation other than PING and PONG came with this read.
    active: bool,
    /// Something was read since the janitor last looked.
    busy: bool,
}

/// What follows an operation: the next one, or why there is none.
pub(super) type Flow = ControlFlow<Stop>;

impl Conversation {
    pub(super) fn new(hall: &Hall, kind: Kind) -> Self {
        let options = hall.context.live.read();
        let mut parser = Parser::server();
        parser.set_max_control_line(options.max_control_line);
        parser.set_max_payload(options.max_payload);
        Self {
            intake: Intake::default(),
            parser,
            connect: Connect::default(),
            state: State::Greeting,
            account: Arc::clone(&hall.accounts.global),
            proxy: None,
            subscriptions_max: None,
            payload_max: None,
            seat: None,
            introduced: false,
            auth_required: hall.door_of(kind).is_locked(),
            router: Router::new(options.no_match_cache),
            work: Work::default(),
            journey: None,
            messages: 0,
            bytes: 0,
            active: false,
            busy: false,
        }
    }

    /// Goes on within other limits.
    pub(super) fn follow(&mut self, options: &Options) {
        self.parser.set_max_control_line(options.max_control_line);
        self.parser.set_max_payload(self.max_payload(options));
    }

    /// Bytes of a message at most: by the server's limit, the account's and the user's.
    pub(super) fn max_payload(&self, options: &Options) -> usize {
        let limits = [self.account.limits().payload, self.payload_max];
        limits.into_iter().flatten().fold(options.max_payload, usize::min)
    }

    /// Whether it is served though it has not said who it is.
    pub(super) fn is_anonymous(&self) -> bool {
        !self.auth_required && !matches!(self.state, State::Ready)
    }

    /// Whether nothing but CONNECT is served now.
    fn is_locked(&self) -> bool {
        self.auth_required && !matches!(self.state, State::Ready)
    }

    /// Whether a verdict about CONNECT has to come before anything else.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Authenticating(..))
    }

    /// The verdict about CONNECT, or has the task woken once it is there.
    pub(super) fn poll_verdict(&mut self, context: &mut Context<'_>) -> Poll<Verdict> {
        match &mut self.state {
            State::Authenticating(ticket, _) => ticket.poll(context),
            _ => Poll::Pending,
        }
    }

    /// Goes on with what came behind CONNECT, now that there is a verdict.
    pub(super) fn resume(&mut self, session: &Arc<Session>, verdict: Verdict) -> Flow {
        // Nothing was accepted yet, or everything was given up when CONNECT came once more.
        let flow = match std::mem::replace(&mut self.state, State::Greeting) {
            // The server goes on with other options meanwhile, by which it may be another.
            State::Authenticating(_, options) if !session.hall.context.live.are(&options) => self.ask(session),
            _ => self.decide(session, verdict),
        };
        self.router.sink.flush();
        flow?;
        self.work(session)
    }

    /// So many bytes of those `offered` were read.
    pub(super) fn note_read(&mut self, offered: usize, read: usize) {
        self.intake.adapt(offered, read);
        self.busy = true;
    }

    /// Works off every whole operation in the buffer, and hands what it caused to the receivers.
    pub(super) fn work(&mut self, session: &Arc<Session>) -> Flow {
        if !self.intake.is_enough() {
            return Flow::Continue(());
        }
        let (chunk, holds) = self.intake.take();
        let (flow, done) = self.operations(session, Chunk { bytes: &chunk, holds });
        if std::mem::take(&mut self.active) {
            let now = session.link.received.last_ms.load(Ordering::Relaxed);
            session.link.received.active_ms.store(now, Ordering::Relaxed);
        }
        self.router.sink.flush();
        self.work.submit();
        self.router.refresh(&self.account);
        if !matches!(flow, Flow::Break(Stop::End(_))) {
            self.intake.keep_rest(chunk, done);
        }
        flow
    }

    /// Returns where the first unfinished operation starts.
    fn operations(&mut self, session: &Arc<Session>, chunk: Chunk<'_>) -> (Flow, usize) {
        let bytes = chunk.bytes;
        let mut at = 0;
        let mut is_plain = self.is_plain(session);
        while at < bytes.len() {
            if is_plain
                && let Some(published) = self.parser.glance(&bytes[at..])
                && (published.headers.is_none() || session.link.has_headers())
            {
                at += published.consumed;
                self.active = true;
                let message = Message {
                    subject: published.subject,
                    reply: published.reply,
                    headers: published.headers.unwrap_or_default(),
                    payload: published.payload,
                };
                self.publish(session, chunk, &message);
                continue;
            }
            match self.parser.next(&bytes[at..]) {
                Ok(Step::Op { op, consumed }) => {
                    at += consumed;
                    if let Flow::Break(stop) = self.operation(session, chunk, op) {
                        self.intake.need = 1;
                        return (Flow::Break(stop), at);
                    }
                    is_plain = self.is_plain(session);
                }
                Ok(Step::NeedMore { at_least }) => {
                    self.intake.need = at_least;
                    if self.is_locked() && !matches!(bytes[at], b'C' | b'c') && !self.come_in(session) {
                        return (self.unauthorized(session), at);
                    }
                    return (Flow::Continue(()), at);
                }
                Err(error) => return (self.violation(session, &bytes[at..], error), at),
            }
        }
        self.intake.need = 1;
        (Flow::Continue(()), at)
    }

    /// Whether a message may just be published: nobody has to be asked first, or told.
    fn is_plain(&self, session: &Session) -> bool {
        !self.is_locked() && !session.link.is_traced()
    }

    #[inline]
    fn operation(&mut self, session: &Arc<Session>, chunk: Chunk<'_>, op: Op<'_>) -> Flow {
        let link = &session.link;
        if link.is_traced() {
            super::trace::incoming(link, &op);
        }
        if self.is_locked() && !matches!(op, Op::Connect { .. }) && !self.come_in(session) {
            return self.unauthorized(session);
        }
        self.active |= !matches!(op, Op::Ping | Op::Pong);
        match op {
            Op::Pub {
                subject,
                reply,
                payload,
            } => {
                let reply = reply.unwrap_or_default();
                let headers = &[][..];
                let message = Message {
                    subject,
                    reply,
                    headers,
                    payload,
                };
                self.publish(session, chunk, &message);
            }
            Op::Hpub {
                subject,
                reply,
                headers,
                payload,
                ..
            } => {
                if !link.has_headers() {
                    tracing::error!("{} - message headers not supported", link.label());
                    return end(CloseReason::ProtocolViolation);
                }
                let reply = reply.unwrap_or_default();
                let message = Message {
                    subject,
                    reply,
                    headers,
                    payload,
                };
                self.publish(session, chunk, &message);
            }
            Op::Sub { subject, queue, sid } => self.subscribe(session, subject, queue, sid),
            Op::Unsub { sid, max } => self.unsubscribe(session, sid, max),
            Op::Ping => self.pong(session),
            Op::Pong => link.pong_came(),
            Op::Connect { json } => return self.introduce(session, json),
            Op::Err { text } => {
                tracing::error!("{} - Client Error {}", link.label(), String::from_utf8_lossy(text));
                return end(CloseReason::ParseError);
            }
            // Servers say these; a client that does is ignored.
            Op::Info { .. } | Op::Ok | Op::Msg { .. } | Op::Hmsg { .. } => {}
        }
        Flow::Continue(())
    }

    /// Answers PING; the first one after CONNECT is followed by a second INFO.
    fn pong(&mut self, session: &Session) {
        let link = &session.link;
        let first = matches!(self.state, State::Ready) && !std::mem::replace(&mut self.introduced, true);
        let info = (first && self.connect.protocol >= 1).then(|| {
            let mut info = info::info(session);
            info.connect_info = true;
            let max_payload = self.max_payload(&session.hall.context.live.read());
            info.max_payload = i64::try_from(max_payload).unwrap_or(i64::MAX);
            info.remote_account = self.account.name.to_string();
            info.account_is_system = Arc::ptr_eq(&self.account, &session.hall.accounts.system);
            info
        });
        link.enqueue(&mut self.router.sink, |out| {
            encode::pong(out);
            if let Some(info) = &info {
                encode::info(out, info);
            }
        });
        if link.is_traced() {
            tracing::trace!("{} - ->> [PONG]", link.label());
        }
    }

    /// Appends `-ERR`; the connection goes on.
    pub(super) fn error(&mut self, session: &Session, text: &str) {
        let link = &session.link;
        link.enqueue(&mut self.router.sink, |out| encode::err(out, text));
        if link.is_traced() {
            tracing::trace!("{} - ->> [-ERR {text}]", link.label());
        }
    }

    /// Bytes that are not the protocol.
    #[cold]
    fn violation(&mut self, session: &Session, bytes: &[u8], error: ParseError) -> Flow {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(32)]);
        tracing::error!("{} - {error}: proto={shown:?}...", session.link.label());
        if self.is_locked() && !matches!(bytes.first(), Some(b'C' | b'c')) {
            return self.unauthorized(session);
        }
        if matches!(error, ParseError::Payload { .. }) {
            self.trace_refused(session, bytes, "maximum payload exceeded");
        }
        if let Some(text) = error.reply() {
            self.error(session, text);
        }
        end(match error {
            ParseError::ControlLine => CloseReason::MaxControlLineExceeded,
            ParseError::Payload { .. } => CloseReason::MaxPayloadExceeded,
            _ => CloseReason::ProtocolViolation,
        })
    }

    /// The janitor's visit: gives back the memory of a connection that is idle.
    pub(super) fn relax(&mut self) {
        if std::mem::replace(&mut self.busy, false) {
            return;
        }
        self.intake.relax();
        self.router.forget();
    }
}
