//! What only the connection's own task works with: bytes in, operations out.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use weir_wire::{Connect, Op, ParseError, Parser, Step, encode};

use super::publish::Publish;
use super::{Client, CloseReason};
use crate::interest::{Chunk, Work};
use crate::limits::{READ_BUFFER_MAX, READ_BUFFER_MIN};
use crate::routing::Router;
use crate::server::Server;

/// The reading side of one connection.
pub(super) struct Session {
    /// Read and not worked off: never more than the start of one operation.
    pub(super) buf: BytesMut,
    /// Where the memory that `buf` is a part of begins, and its size.
    memory: (usize, usize),
    /// How much room to offer the next read.
    target: usize,
    /// How much `buf` must hold before the parser can go on.
    need: usize,
    parser: Parser,
    pub(super) connect: Connect,
    pub(super) connected: bool,
    /// The INFO that follows the first PONG was sent.
    pub(super) introduced: bool,
    auth_required: bool,
    pub(super) router: Router,
    pub(super) work: Work,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// An operation other than PING and PONG came with this read.
    active: bool,
    /// Something was read since the janitor last looked.
    busy: bool,
}

/// What follows an operation: the next one, or the end.
pub(super) type Flow = ControlFlow<CloseReason>;

impl Session {
    pub(super) fn new(server: &Server) -> Self {
        let mut parser = Parser::server();
        parser.set_max_control_line(server.options.max_control_line);
        parser.set_max_payload(server.options.max_payload);
        Self {
            buf: BytesMut::new(),
            memory: (0, 0),
            target: READ_BUFFER_MIN,
            need: 1,
            parser,
            connect: Connect::default(),
            connected: false,
            introduced: false,
            auth_required: server.auth_required(),
            router: Router::default(),
            work: Work::default(),
            messages: 0,
            bytes: 0,
            active: false,
            busy: false,
        }
    }

    /// Makes room for a read.
    pub(super) fn make_room(&mut self) {
        let room = self.target.max(self.need.saturating_sub(self.buf.len()));
        // Down to a quarter of the target, reading on behind the last chunk is cheaper than starting over.
        if self.buf.capacity() - self.buf.len() < room.div_ceil(4).max(self.need.saturating_sub(self.buf.len())) {
            self.grow(room);
        }
    }

    /// Makes room behind what is in the buffer, and notes how much memory there is: what a piece of it keeps.
    fn grow(&mut self, room: usize) {
        self.buf.reserve(room);
        let at = self.buf.as_ptr().addr();
        let (start, size) = self.memory;
        self.memory = match at.checked_sub(start) {
            // Still the same memory, or another in its place, which is then taken for no less than the old.
            Some(offset) if offset < size => (start, size.max(offset + self.buf.capacity())),
            _ => (at, self.buf.capacity()),
        };
    }

    /// Follows the size of reads: a full one asks for more room, small ones for less.
    pub(super) fn adapt(&mut self, offered: usize, read: usize) {
        if read == offered && offered >= self.target {
            self.target = (self.target * 2).min(READ_BUFFER_MAX);
        } else if read < self.target / 8 {
            self.target = (self.target / 2).max(READ_BUFFER_MIN);
        }
        self.busy = true;
    }

    /// Works off every whole operation in the buffer, and hands what it caused to the receivers.
    pub(super) fn work(&mut self, client: &Arc<Client>) -> Flow {
        if self.buf.len() < self.need {
            return Flow::Continue(());
        }
        // Frozen, so that services may keep pieces of it; while nobody does, the memory is used again by the next read.
        let chunk = self.buf.split().freeze();
        let holds = self.memory.1;
        let (flow, done) = self.operations(client, Chunk { bytes: &chunk, holds });
        // Before anything goes out: a client that has its answer has been counted.
        client.traffic.messages.store(self.messages, Ordering::Relaxed);
        client.traffic.bytes.store(self.bytes, Ordering::Relaxed);
        if std::mem::take(&mut self.active) {
            let now = client.traffic.last_ms.load(Ordering::Relaxed);
            client.traffic.active_ms.store(now, Ordering::Relaxed);
        }
        self.router.sink.flush();
        self.work.submit();
        self.router.refresh(&client.account);
        if flow.is_continue() {
            self.keep_rest(chunk, done);
        }
        flow
    }

    /// Puts the start of an unfinished operation in front of what is read next.
    fn keep_rest(&mut self, chunk: Bytes, done: usize) {
        let rest = &chunk[done..];
        if rest.len() <= self.buf.capacity() {
            self.buf.extend_from_slice(rest);
            return;
        }
        // With the chunk gone, the buffer's memory can be used from its start again. The rest is at most one read.
        let rest = rest.to_vec();
        drop(chunk);
        self.grow(self.need.max(self.target).max(rest.len()));
        self.buf.extend_from_slice(&rest);
    }

    /// Returns where the first unfinished operation starts.
    fn operations(&mut self, client: &Arc<Client>, chunk: Chunk<'_>) -> (Flow, usize) {
        let bytes = chunk.bytes;
        let mut at = 0;
        while at < bytes.len() {
            match self.parser.next(&bytes[at..]) {
                Ok(Step::Op { op, consumed }) => {
                    at += consumed;
                    if let Flow::Break(reason) = self.operation(client, chunk, op) {
                        return (Flow::Break(reason), at);
                    }
                }
                Ok(Step::NeedMore { at_least }) => {
                    self.need = at_least;
                    if self.auth_required && !self.connected && !matches!(bytes[at], b'C' | b'c') {
                        return (self.unauthorized(client, ""), at);
                    }
                    return (Flow::Continue(()), at);
                }
                Err(error) => return (self.violation(client, &bytes[at..], error), at),
            }
        }
        self.need = 1;
        (Flow::Continue(()), at)
    }

    #[inline]
    fn operation(&mut self, client: &Arc<Client>, chunk: Chunk<'_>, op: Op<'_>) -> Flow {
        if client.trace {
            super::trace::incoming(client, &op);
        }
        if self.auth_required && !self.connected && !matches!(op, Op::Connect { .. }) {
            return self.unauthorized(client, "");
        }
        self.active |= !matches!(op, Op::Ping | Op::Pong);
        match op {
            Op::Pub {
                subject,
                reply,
                payload,
            } => {
                let reply = reply.unwrap_or_default();
                self.publish(
                    client,
                    chunk,
                    &Publish {
                        subject,
                        reply,
                        headers: b"",
                        payload,
                    },
                );
            }
            Op::Hpub {
                subject,
                reply,
                headers,
                payload,
                ..
            } => {
                if !client.headers.load(Ordering::Relaxed) {
                    tracing::error!("{} - message headers not supported", client.label());
                    return Flow::Break(CloseReason::ProtocolViolation);
                }
                let reply = reply.unwrap_or_default();
                self.publish(
                    client,
                    chunk,
                    &Publish {
                        subject,
                        reply,
                        headers,
                        payload,
                    },
                );
            }
            Op::Sub { subject, queue, sid } => self.subscribe(client, subject, queue, sid),
            Op::Unsub { sid, max } => self.unsubscribe(client, sid, max),
            Op::Ping => self.pong(client),
            Op::Pong => client.ping.answered(client.server.uptime_ns()),
            Op::Connect { json } => return self.introduce(client, json),
            Op::Err { text } => {
                tracing::error!("{} - Client Error {}", client.label(), String::from_utf8_lossy(text));
                return Flow::Break(CloseReason::ParseError);
            }
            // Servers say these; a client that does is ignored.
            Op::Info { .. } | Op::Ok | Op::Msg { .. } | Op::Hmsg { .. } => {}
        }
        Flow::Continue(())
    }

    /// Answers PING; the first one after CONNECT is followed by a second INFO.
    fn pong(&mut self, client: &Arc<Client>) {
        let first = self.connected && !std::mem::replace(&mut self.introduced, self.connected);
        let info = (first && self.connect.protocol >= 1).then(|| {
            let mut info = client.server.info(client);
            info.connect_info = true;
            info.remote_account = client.account.name.to_string();
            info
        });
        client.enqueue(&mut self.router.sink, |out| {
            encode::pong(out);
            if let Some(info) = &info {
                encode::info(out, info);
            }
        });
        if client.trace {
            tracing::trace!("{} - ->> [PONG]", client.label());
        }
    }

    /// Appends `-ERR`; the connection goes on.
    pub(super) fn error(&mut self, client: &Arc<Client>, text: &str) {
        client.enqueue(&mut self.router.sink, |out| encode::err(out, text));
        if client.trace {
            tracing::trace!("{} - ->> [-ERR {text}]", client.label());
        }
    }

    /// Bytes that are not the protocol.
    #[cold]
    fn violation(&mut self, client: &Arc<Client>, bytes: &[u8], error: ParseError) -> Flow {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(32)]);
        tracing::error!("{} - {error}: proto={shown:?}...", client.label());
        if self.auth_required && !self.connected && !matches!(bytes.first(), Some(b'C' | b'c')) {
            return self.unauthorized(client, "");
        }
        if let Some(text) = error.reply() {
            self.error(client, text);
        }
        Flow::Break(match error {
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
        if self.buf.is_empty() {
            self.buf = BytesMut::new();
            self.memory = (0, 0);
        }
        self.target = READ_BUFFER_MIN;
        self.router.forget();
    }
}
