//! Is the peer still there, and how far away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use weir_wire::encode;

use super::{Client, CloseReason};
use crate::limits::FIRST_PING;
use crate::server::Server;

/// Times are nanoseconds of the server's uptime; 0 is "never".
pub(super) struct PingState {
    next_ns: AtomicU64,
    sent_ns: AtomicU64,
    rtt_ns: AtomicU64,
    /// PINGs without an answer.
    open: AtomicU32,
}

impl PingState {
    pub fn new(server: &Server) -> Self {
        let first = FIRST_PING.min(server.options.ping_interval);
        Self {
            next_ns: AtomicU64::new(server.uptime_ns() + nanos(first)),
            sent_ns: AtomicU64::new(0),
            rtt_ns: AtomicU64::new(0),
            open: AtomicU32::new(0),
        }
    }

    /// The last round trip measured; 0 if none was.
    pub fn rtt_ns(&self) -> u64 {
        self.rtt_ns.load(Ordering::Relaxed)
    }

    /// A PONG came.
    pub fn answered(&self, now_ns: u64) {
        self.open.store(0, Ordering::Relaxed);
        let sent = self.sent_ns.swap(0, Ordering::Relaxed);
        if sent != 0 {
            self.rtt_ns.store(now_ns.saturating_sub(sent).max(1), Ordering::Relaxed);
        }
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Client {
    /// The janitor's visit: authentication in time, PING when it is due, memory of idle connections.
    pub(crate) fn visit(self: &Arc<Self>, now_ns: u64) {
        if self.closing.get().is_some() {
            return;
        }
        let options = &self.server.options;
        let age = now_ns.saturating_sub(self.server.uptime_at(self.start));
        if self.server.auth_required() && !self.connected.load(Ordering::Relaxed) && age > nanos(options.auth.timeout) {
            self.fail("Authentication Timeout", CloseReason::AuthenticationTimeout);
            return;
        }
        self.ping_if_due(now_ns);
        // A session that is at work is not idle.
        if let Some(mut session) = self.session.try_lock() {
            session.relax();
        }
        self.relax_outbound();
    }

    fn ping_if_due(self: &Arc<Self>, now_ns: u64) {
        if now_ns < self.ping.next_ns.load(Ordering::Relaxed) {
            return;
        }
        let options = &self.server.options;
        let interval = nanos(options.ping_interval);
        self.ping.next_ns.store(now_ns + interval, Ordering::Relaxed);
        let idle = now_ns.saturating_sub(self.traffic.last_ms.load(Ordering::Relaxed) * 1_000_000);
        if idle < interval && self.ping.rtt_ns() != 0 {
            return;
        }
        if self.ping.open.load(Ordering::Relaxed) >= options.ping_max {
            self.server.counters.stale_connections.fetch_add(1, Ordering::Relaxed);
            tracing::debug!("{} - Stale Client Connection - Closing", self.label());
            self.fail("Stale Connection", CloseReason::StaleConnection);
            return;
        }
        tracing::debug!("{} - Client Ping Timer", self.label());
        self.ping.open.fetch_add(1, Ordering::Relaxed);
        self.ping.sent_ns.store(now_ns, Ordering::Relaxed);
        self.send(encode::ping);
    }
}
