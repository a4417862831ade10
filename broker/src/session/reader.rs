//! The task of a connection: wait for bytes, read, work, until the end.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;
use weir_wire::encode;

use super::conversation::Flow;
use super::{Client, CloseReason};
use crate::limits::{READS_PER_TURN, STALL};

/// What the task does after a turn of reading.
enum Next {
    /// Let others run.
    Yield,
    /// Wait for receivers that are behind.
    Stall,
    End(CloseReason),
}

impl Client {
    /// Serves the connection until it ends, and takes it out of everything.
    pub(super) async fn serve(self: Arc<Self>, mut read: OwnedReadHalf) {
        tracing::debug!("{} - Client connection created", self.label());
        let info = self.server.info(&self);
        self.send(|out| encode::info(out, &info));
        if !self.server.admit(&self) {
            tracing::error!("{} - maximum connections exceeded", self.label());
            self.fail("maximum connections exceeded", CloseReason::MaxConnectionsExceeded);
        }
        let reason = loop {
            match poll_fn(|context| self.poll_turn(context, &mut read)).await {
                Next::Yield => tokio::task::yield_now().await,
                Next::Stall => {
                    self.server.counters.stalled_clients.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(STALL).await;
                }
                Next::End(reason) => break reason,
            }
        };
        self.end(reason);
    }

    /// Reads and works until the socket has no more, or it is somebody else's turn.
    fn poll_turn(self: &Arc<Self>, context: &mut Context<'_>, read: &mut OwnedReadHalf) -> Poll<Next> {
        let mut session = self.session.lock();
        for _ in 0..READS_PER_TURN {
            session.make_room();
            let offered = session.buf.capacity() - session.buf.len();
            let result = {
                let reading = pin!(read.read_buf(&mut session.buf));
                ready!(reading.poll(context))
            };
            let got = match result {
                Ok(0) => return Poll::Ready(Next::End(CloseReason::ClientClosed)),
                Ok(got) => got,
                Err(_) => return Poll::Ready(Next::End(CloseReason::ReadError)),
            };
            if self.closing.get().is_some() {
                return Poll::Ready(Next::End(CloseReason::ClientClosed));
            }
            self.traffic.last_ms.store(self.server.uptime_ms(), Ordering::Relaxed);
            session.adapt(offered, got);
            if let Flow::Break(reason) = session.work(self) {
                return Poll::Ready(Next::End(reason));
            }
            if std::mem::take(&mut session.router.sink.stall) {
                return Poll::Ready(Next::Stall);
            }
        }
        Poll::Ready(Next::Yield)
    }

    fn end(self: &Arc<Self>, reason: CloseReason) {
        self.close(reason);
        // Whoever asked first has the right reason.
        let reason = self.closing.get().copied().unwrap_or(reason);
        tracing::debug!("{} - Client connection closed: {reason}", self.label());
        let snapshot = self.snapshot();
        self.forget_all();
        self.end_waiting();
        // The cache may hold this very client.
        self.session.lock().router.forget();
        self.server.retire(self, snapshot, reason);
    }
}
