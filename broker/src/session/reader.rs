//! The task of a connection: wait for bytes, read, work, until the end.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use super::Session;
use super::conversation::{Conversation, Flow, Stop};
use crate::limits::{READS_PER_TURN, STALL};
use crate::link::{CloseReason, Incoming};

/// What the task does after a turn of reading.
enum Next {
    /// Let others run.
    Yield,
    /// Wait for receivers that are behind.
    Stall,
    End(CloseReason),
}

impl Session {
    /// Serves the connection until it ends, and takes it out of everything.
    pub(super) async fn serve(self: Arc<Self>, mut incoming: Incoming) {
        let (link, hall) = (&self.link, &self.hall);
        tracing::debug!("{} - Client connection created", link.label());
        let first = self.greet();
        hall.context.counters.connections.fetch_add(1, Ordering::Relaxed);
        if !hall.sessions.admit(link.id, &self) {
            tracing::error!("{} - maximum connections exceeded", link.label());
            link.fail("maximum connections exceeded", CloseReason::MaxConnectionsExceeded);
        }
        if link.closing().is_none()
            && let ControlFlow::Break(reason) = Box::pin(self.locate()).await
        {
            return self.end(reason);
        }
        // Its memory is not needed any longer once it is over.
        if link.closing().is_none()
            && let ControlFlow::Break(reason) = Box::pin(self.secure(first)).await
        {
            return self.end(reason);
        }
        self.settle();
        let reason = loop {
            match poll_fn(|context| self.poll_turn(context, &mut incoming)).await {
                Next::Yield => tokio::task::yield_now().await,
                Next::Stall => {
                    if !hall.context.live.read().no_fast_producer_stall {
                        hall.context.counters.stalled_clients.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(STALL).await;
                    }
                }
                Next::End(reason) => break reason,
            }
        };
        self.end(reason);
    }

    /// Reads and works until the socket has no more, or it is somebody else's turn.
    fn poll_turn(self: &Arc<Self>, context: &mut Context<'_>, incoming: &mut Incoming) -> Poll<Next> {
        let mut conversation = self.conversation.lock();
        for _ in 0..READS_PER_TURN {
            let flow = match conversation.is_waiting() {
                true => ready!(self.poll_verdict(context, &mut conversation)),
                false => ready!(self.poll_work(context, incoming, &mut conversation)),
            };
            if let ControlFlow::Break(Stop::End(reason)) = flow {
                return Poll::Ready(Next::End(reason));
            }
            if std::mem::take(&mut conversation.router.sink.stall) {
                return Poll::Ready(Next::Stall);
            }
        }
        Poll::Ready(Next::Yield)
    }

    /// Reads what is there, and works it off.
    fn poll_work(
        self: &Arc<Self>,
        context: &mut Context<'_>,
        incoming: &mut Incoming,
        conversation: &mut Conversation,
    ) -> Poll<Flow> {
        let end = |reason| Poll::Ready(ControlFlow::Break(Stop::End(reason)));
        conversation.intake.make_room();
        let offered = conversation.intake.room();
        let got = match ready!(incoming.poll_read(context, &mut conversation.intake.buf)) {
            Ok(0) => return end(CloseReason::ClientClosed),
            Ok(got) => got,
            Err(error) => {
                // Frames that are none; all else is a socket's end.
                if error.kind() == std::io::ErrorKind::InvalidData {
                    tracing::error!("{} - read error: {error}", self.link.label());
                }
                return end(CloseReason::ReadError);
            }
        };
        if self.link.closing().is_some() {
            return end(CloseReason::ClientClosed);
        }
        let now = self.hall.context.clock.uptime_ms();
        self.link.received.last_ms.store(now, Ordering::Relaxed);
        conversation.note_read(offered, got);
        Poll::Ready(conversation.work(self))
    }

    /// Waits for the verdict about CONNECT, and works off what came behind it. Nothing more is read meanwhile, so the end of
    /// the socket is not seen either: whoever closes the connection wakes its task.
    fn poll_verdict(self: &Arc<Self>, context: &mut Context<'_>, conversation: &mut Conversation) -> Poll<Flow> {
        self.link.wake_on_close(context.waker());
        if let Some(reason) = self.link.closing() {
            return Poll::Ready(ControlFlow::Break(Stop::End(reason)));
        }
        let verdict = ready!(conversation.poll_verdict(context));
        Poll::Ready(conversation.resume(self, verdict))
    }

    fn end(self: &Arc<Self>, reason: CloseReason) {
        self.link.close(reason);
        // Whoever asked first has the right reason.
        let reason = self.link.closing().unwrap_or(reason);
        tracing::debug!("{} - Client connection closed: {reason}", self.link.label());
        let snapshot = self.snapshot();
        let mut conversation = self.conversation.lock();
        conversation.forget_all(self);
        self.expire_at(None);
        self.link.end_waiting();
        // The cache may hold this very link.
        conversation.router.forget();
        conversation.seat = None;
        drop(conversation);
        self.retire(snapshot, reason);
    }
}
