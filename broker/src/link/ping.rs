//! Is the peer still there, and how far away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use weir_wire::encode;

use super::{CloseReason, Kind, Link};
use crate::conf::Options;
use crate::context::Context;
use crate::limits::FIRST_PING;

/// Times are nanoseconds of the server's uptime; 0 is "never".
pub(super) struct PingState {
    next_ns: AtomicU64,
    sent_ns: AtomicU64,
    rtt_ns: AtomicU64,
    /// How long it took until CONNECT came, which is no less than a round trip: serves until one is measured. As nats-server.
    guess_ns: AtomicU64,
    /// PINGs without an answer.
    open: AtomicU32,
}

impl PingState {
    pub fn new(context: &Context, options: &Options, kind: Kind) -> Self {
        let first = FIRST_PING.min(interval(options, kind));
        Self {
            next_ns: AtomicU64::new(context.clock.uptime_ns() + nanos(first)),
            sent_ns: AtomicU64::new(0),
            rtt_ns: AtomicU64::new(0),
            guess_ns: AtomicU64::new(0),
            open: AtomicU32::new(0),
        }
    }

    /// The last round trip measured; before that a guess; 0 before CONNECT.
    pub fn rtt_ns(&self) -> u64 {
        match self.rtt_ns.load(Ordering::Relaxed) {
            0 => self.guess_ns.load(Ordering::Relaxed),
            measured => measured,
        }
    }

    /// Whether one was measured.
    fn is_measured(&self) -> bool {
        self.rtt_ns.load(Ordering::Relaxed) != 0
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

/// Time between two pings.
fn interval(options: &Options, kind: Kind) -> Duration {
    let websocket = options.websocket.as_ref().filter(|_| kind == Kind::WebSocket);
    let own = websocket.and_then(|websocket| websocket.ping_interval);
    own.unwrap_or(options.ping_interval)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Link {
    /// CONNECT came.
    pub(crate) fn guess_rtt(&self) {
        let clock = &self.context.clock;
        let since = clock.uptime_ns().saturating_sub(clock.uptime_at(self.start));
        self.ping.guess_ns.store(since.max(1), Ordering::Relaxed);
    }

    /// A PONG came.
    pub(crate) fn pong_came(&self) {
        self.ping.answered(self.context.clock.uptime_ns());
    }

    /// The janitor's visit: PING when it is due. Closes a connection whose peer has not answered for too long.
    pub(crate) fn ping_if_due(self: &Arc<Self>, now_ns: u64) {
        if now_ns < self.ping.next_ns.load(Ordering::Relaxed) {
            return;
        }
        let options = self.context.live.read();
        let interval = nanos(interval(&options, self.kind));
        self.ping.next_ns.store(now_ns + interval, Ordering::Relaxed);
        let idle = now_ns.saturating_sub(self.received.last_ms.load(Ordering::Relaxed) * 1_000_000);
        if idle < interval && self.ping.is_measured() {
            return;
        }
        if self.ping.open.load(Ordering::Relaxed) >= options.ping_max {
            self.context.counters.stale_connections.fetch_add(1, Ordering::Relaxed);
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
