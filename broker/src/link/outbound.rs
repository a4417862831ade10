//! The way out of a connection: two buffers that swap, and whoever has something to send does the writing.
//!
//! Everything goes out here, messages and protocol alike, and ends in [`Link::appended`], which knows the bound: a client
//! for which more than `max_pending` bytes wait is closed as a slow consumer. Appenders hold the lock only to copy. One thread
//! at a time owns the write side (`writing`): it takes the full buffer, leaves the empty one, and writes without the lock. What
//! the [transport](super::transport) does not take at once is left to a task of the link's own thread.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::MutexGuard;
use weir_engine::shard::emit::ConsumerName;
use weir_wire::encode;

use super::transport::Sent;
use super::{Claim, CloseReason, Link, Message, Sink};
use crate::context::Errand;
use crate::limits::{CLOSE_LINGER, FLUSH_ROUNDS, OUTBOUND_KEEP, READ_BUFFER_MAX, STALL_QUARTERS, WRITE_LITTLE};
use crate::permissions::{Replies, Rules};

/// What became of a message for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// It is on its way.
    Taken,
    /// The connection is closing, or the subscription has had its last one.
    Refused,
    /// It is on its way, and was the last that the subscription asked for.
    Last,
}

/// Bytes on their way to one client.
#[derive(Default)]
pub(super) struct Outbound {
    /// Appended and not taken by a writer.
    buf: Vec<u8>,
    /// Empty; its memory is used again.
    spare: Vec<u8>,
    /// Taken by a writer and not yet accepted by the socket.
    in_flight: usize,
    /// Somebody owns the write side.
    writing: bool,
    /// Somebody has promised to call [`Link::flush`].
    dirty: bool,
    /// Nothing more is accepted.
    pub(super) shut: bool,
    /// Touched since the janitor last looked.
    busy: bool,
    /// Messages delivered, and the bytes of their headers and payloads.
    pub messages: u64,
    pub bytes: u64,
    /// Bytes that consumers were promised and have not delivered.
    pub(super) promised: usize,
    /// Consumers that wait for room.
    pub(super) waiting: HashSet<Arc<ConsumerName>>,
    /// The connection has ended, and nobody will be woken any more.
    pub(super) ended: bool,
    /// Requests that may be answered, where rules permit only that.
    replies: Option<Box<Replies>>,
    /// Messages when somebody last began to write: more is activity.
    noted: u64,
}

impl Outbound {
    /// Bytes waiting to go out.
    pub fn pending(&self) -> usize {
        self.buf.len() + self.in_flight
    }

    fn take(&mut self) -> Vec<u8> {
        let spare = std::mem::take(&mut self.spare);
        let full = std::mem::replace(&mut self.buf, spare);
        self.in_flight = full.len();
        full
    }

    fn give_back(&mut self, mut buf: Vec<u8>) {
        buf.clear();
        if buf.capacity() <= OUTBOUND_KEEP {
            self.spare = buf;
        }
    }
}

impl Link {
    /// Appends a message for the subscription whose claim this is.
    pub(crate) fn deliver(self: &Arc<Self>, claim: &Claim, message: &Message<'_>, sink: &mut Sink) -> Delivered {
        let mut out = self.outbound.lock();
        if out.shut {
            return Delivered::Refused;
        }
        let count = claim.delivered.load(Ordering::Relaxed) + 1;
        let max = claim.max.load(Ordering::Relaxed);
        if max != 0 && count > max {
            return Delivered::Refused;
        }
        claim.delivered.store(count, Ordering::Relaxed);
        let reply = (!message.reply.is_empty()).then_some(message.reply);
        let headers = self.headers_for(message);
        let size = headers.len() + message.payload.len();
        let line = (!headers.is_empty()).then_some(headers.len());
        out.buf
            .reserve(message.subject.len() + claim.sid.len() + message.reply.len() + size + 50);
        encode::msg_header(&mut out.buf, message.subject, &claim.sid, reply, line, size);
        out.buf.extend_from_slice(headers);
        out.buf.extend_from_slice(message.payload);
        out.buf.extend_from_slice(b"\r\n");
        out.messages += 1;
        out.bytes += size as u64;
        if let (Some(replies), Some(reply)) = (&mut out.replies, reply) {
            replies.asked(reply, Instant::now());
        }
        self.appended(out, sink);
        if self.is_traced() {
            self.trace_delivery(&claim.sid, message, line, size);
        }
        match max != 0 && count >= max {
            true => Delivered::Last,
            false => Delivered::Taken,
        }
    }

    /// The headers of a message, as far as the receiver knows any: one that does not gets the payload alone.
    pub(super) fn headers_for<'a>(&self, message: &Message<'a>) -> &'a [u8] {
        match self.headers.load(Ordering::Relaxed) {
            true => message.headers,
            false => b"",
        }
    }

    /// Appends a message of so many bytes of headers and payload. False if the connection takes no more.
    pub(super) fn append_message(
        self: &Arc<Self>,
        size: usize,
        sink: &mut Sink,
        append: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let mut out = self.outbound.lock();
        if out.shut {
            return false;
        }
        append(&mut out.buf);
        out.messages += 1;
        out.bytes += size as u64;
        self.appended(out, sink);
        true
    }

    /// What the client may answer from now on; what it was asked before counts no more.
    pub(crate) fn restrict(&self, rules: Option<&Arc<Rules>>) {
        self.outbound.lock().replies = rules.and_then(Replies::new).map(Box::new);
    }

    /// Whether a message is an answer to a request that the client was sent, and may be given; it then counts as given.
    pub(crate) fn may_answer(&self, subject: &[u8]) -> bool {
        let mut out = self.outbound.lock();
        let replies = out.replies.as_mut();
        replies.is_some_and(|replies| replies.answer(subject, Instant::now()))
    }

    /// Sets how many messages a subscription gets in all (0: no end). True if it has had them.
    pub(crate) fn limit(&self, claim: &Claim, max: u64) -> bool {
        // Deliveries look at `max` under this lock.
        let _out = self.outbound.lock();
        claim.max.store(max, Ordering::Relaxed);
        max == 0 || claim.delivered.load(Ordering::Relaxed) >= max
    }

    /// Appends protocol that is not a message, if the connection still takes any.
    pub(crate) fn enqueue(self: &Arc<Self>, sink: &mut Sink, append: impl FnOnce(&mut Vec<u8>)) {
        let mut out = self.outbound.lock();
        if !out.shut {
            append(&mut out.buf);
            self.appended(out, sink);
        }
    }

    /// The same of what may turn out to be nothing: `append` answers whether it was something.
    pub(crate) fn enqueue_some(self: &Arc<Self>, sink: &mut Sink, append: impl FnOnce(&mut Vec<u8>) -> bool) {
        let mut out = self.outbound.lock();
        if !out.shut && append(&mut out.buf) {
            self.appended(out, sink);
        }
    }

    /// The same, written at once.
    pub(crate) fn send(self: &Arc<Self>, append: impl FnOnce(&mut Vec<u8>)) {
        let mut sink = Sink::default();
        self.enqueue(&mut sink, append);
        self.flush();
    }

    /// The end of everything that appends: notes that there is something to write, and looks at how much waits.
    #[inline]
    fn appended(self: &Arc<Self>, mut out: MutexGuard<'_, Outbound>, sink: &mut Sink) {
        let pending = out.pending();
        let much = out.buf.len() >= self.relief || pending > self.max_pending;
        let promised = std::mem::replace(&mut out.dirty, true);
        out.busy = true;
        let writing = out.writing;
        drop(out);
        if !promised {
            sink.dirty.push(Arc::clone(self));
        }
        if much {
            self.relieve(pending, writing, sink);
        }
    }

    /// Much is waiting: write some now, slow the sender down, or give the receiver up.
    #[cold]
    fn relieve(self: &Arc<Self>, pending: usize, writing: bool, sink: &mut Sink) {
        let max = self.max_pending;
        if pending > max {
            // Another sender may have been faster, or it is closing for another reason anyway.
            if self.close(CloseReason::SlowConsumerPendingBytes) {
                self.context.counters.slow_consumers.fetch_add(1, Ordering::Relaxed);
                tracing::info!(
                    "{} - Slow Consumer Detected: MaxPending of {max} Exceeded",
                    self.label()
                );
            }
        } else if !writing {
            self.flush();
        } else if pending > max / 4 * STALL_QUARTERS {
            sink.stall = true;
        }
    }

    /// Writes what is pending, as far as the transport takes it without waiting. What it does not take is written by a task.
    pub(crate) fn flush(self: &Arc<Self>) {
        let out = self.outbound.lock();
        self.write(out, self.home.is_here());
    }

    /// The same on whatever thread for connections this is, also where bytes are changed on their way, if there are few of them: then to
    /// wake the link's own thread costs more. False, and nothing is written, if there are more.
    pub(super) fn flush_little(self: &Arc<Self>) -> bool {
        let out = self.outbound.lock();
        let little = out.buf.len() <= WRITE_LITTLE;
        if little {
            self.write(out, true);
        }
        little
    }

    /// Writes what is pending; bytes that have to be changed on their way only if they may be `here`.
    fn write(self: &Arc<Self>, mut out: MutexGuard<'_, Outbound>, here: bool) {
        let mut buf = {
            out.dirty = false;
            if out.noted != out.messages {
                out.noted = out.messages;
                let now = self.context.clock.uptime_ms();
                self.received.active_ms.store(now, Ordering::Relaxed);
            }
            if out.writing || out.buf.is_empty() {
                return;
            }
            out.writing = true;
            let buf = out.take();
            drop(out);
            buf
        };
        let mut at = 0;
        let mut rounds = 0;
        loop {
            match self.transport.send_now(&buf[at..], here) {
                Sent::Some(sent) => at += sent,
                Sent::Later => return self.hand_over(buf, at),
                Sent::Failed => return self.write_failed(),
            }
            if at == buf.len() {
                let Some(next) = self.written(buf) else {
                    return;
                };
                (buf, at, rounds) = (next, 0, rounds + 1);
                if rounds == FLUSH_ROUNDS {
                    return self.hand_over(buf, at);
                }
            }
        }
    }

    /// Whether what is pending is better written on its own thread: this is another one, and the bytes have to be changed on their way, or
    /// the sender has `many` to write to.
    pub(super) fn is_for_home(&self, many: bool) -> bool {
        (many || self.transport.changes_bytes()) && !self.home.is_here()
    }

    /// Leaves what is pending to its own thread. True if that is to be [woken](Self::wake_home). Until then nobody else promises to
    /// write, so that a link is left at most once.
    pub(super) fn leave(self: &Arc<Self>) -> bool {
        self.home.leave(Arc::clone(self) as Arc<dyn Errand>)
    }

    /// See [`leave`](Self::leave).
    pub(super) fn wake_home(&self) {
        self.home.wake();
    }

    /// A whole buffer is out. Returns the next one, or gives up the write side.
    fn written(&self, buf: Vec<u8>) -> Option<Vec<u8>> {
        let mut out = self.outbound.lock();
        out.give_back(buf);
        if !out.buf.is_empty() {
            let next = out.take();
            self.made_room(out);
            return Some(next);
        }
        out.in_flight = 0;
        out.writing = false;
        let last = out.shut;
        self.made_room(out);
        if last {
            self.transport.hang_up(self.closing());
        }
        None
    }

    fn write_failed(self: &Arc<Self>) {
        self.close(CloseReason::WriteError);
    }

    fn hand_over(self: &Arc<Self>, buf: Vec<u8>, at: usize) {
        self.home.spawn(drain(Arc::clone(self), buf, at));
    }

    /// Ends the connection: nothing more is appended; what is pending is written first unless the reason forbids. Only the
    /// first reason counts: true if this is it. The connection's task cleans up when it sees the socket's end.
    pub(crate) fn close(self: &Arc<Self>, reason: CloseReason) -> bool {
        if self.closing.set(reason).is_err() {
            return false;
        }
        if let Some(task) = self.on_close.lock().take() {
            task.wake();
        }
        let idle = {
            let mut out = self.outbound.lock();
            out.shut = true;
            if reason.is_abrupt() {
                out.buf = Vec::new();
            }
            out.buf.is_empty() && !out.writing
        };
        if idle || reason.is_abrupt() {
            self.transport.hang_up(self.closing());
        } else {
            self.flush();
        }
        true
    }

    /// Bytes waiting to go out; `None` if the connection takes nothing more.
    pub(crate) fn pending_bytes(&self) -> Option<usize> {
        let out = self.outbound.lock();
        (!out.shut).then(|| out.pending())
    }

    /// Gives back the memory of buffers that were not used since the last call.
    pub(crate) fn relax_outbound(&self) {
        let mut out = self.outbound.lock();
        if !std::mem::replace(&mut out.busy, false) && !out.writing && out.buf.is_empty() {
            out.buf = Vec::new();
            out.spare = Vec::new();
        }
    }
}

impl Errand for Link {
    fn run(self: Arc<Self>) {
        self.flush();
    }
}

/// Writes `buf` from `at` on, and what is appended meanwhile, waiting for the socket each time.
async fn drain(link: Arc<Link>, mut buf: Vec<u8>, mut at: usize) {
    loop {
        let patience = if link.closing.get().is_some() {
            CLOSE_LINGER
        } else {
            link.context.live.read().write_deadline
        };
        // Not all at once: the count of pending bytes should follow what the client takes.
        let until = buf.len().min(at + 8 * READ_BUFFER_MAX);
        match tokio::time::timeout(patience, link.transport.write_some(&buf[at..until])).await {
            Ok(Ok(sent)) => at += sent,
            Ok(Err(_)) => return link.write_failed(),
            Err(_) if link.closing.get().is_some() => return link.transport.hang_up(link.closing()),
            Err(_) => {
                if link.close(CloseReason::SlowConsumerWriteDeadline) {
                    link.context.counters.slow_consumers.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(
                        "{} - Slow Consumer Detected: WriteDeadline of {patience:?} exceeded",
                        link.label()
                    );
                }
                return;
            }
        }
        if at == buf.len() {
            let Some(next) = link.written(buf) else {
                return;
            };
            (buf, at) = (next, 0);
        } else {
            let mut out = link.outbound.lock();
            out.in_flight = buf.len() - at;
            link.made_room(out);
        }
    }
}
