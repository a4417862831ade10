//! Whether the server is there, and where.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// What there is of a server now, from its start to its end.
pub struct Status {
    client_address: OnceLock<SocketAddr>,
    monitor_address: OnceLock<SocketAddr>,
    websocket_address: OnceLock<SocketAddr>,
    profiling_address: OnceLock<SocketAddr>,
    jetstream: AtomicBool,
    lame_duck: AtomicBool,
    shutting_down: AtomicBool,
    accepting: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            client_address: OnceLock::new(),
            monitor_address: OnceLock::new(),
            websocket_address: OnceLock::new(),
            profiling_address: OnceLock::new(),
            jetstream: AtomicBool::new(false),
            lame_duck: AtomicBool::new(false),
            shutting_down: AtomicBool::new(false),
            accepting: watch::Sender::new(true),
            stopped: watch::Sender::new(false),
        }
    }
}

impl Status {
    /// Where clients connect to; with the real port if the options left it open.
    #[must_use]
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.client_address.get().copied()
    }

    /// Where the monitoring port is, if there is one.
    #[must_use]
    pub fn monitor_address(&self) -> Option<SocketAddr> {
        self.monitor_address.get().copied()
    }

    /// Where clients come in by WebSocket, if they may.
    #[must_use]
    pub fn websocket_address(&self) -> Option<SocketAddr> {
        self.websocket_address.get().copied()
    }

    /// Where profiles are served, if they are.
    #[must_use]
    pub fn profiling_address(&self) -> Option<SocketAddr> {
        self.profiling_address.get().copied()
    }

    /// Whether JetStream is on and has started.
    #[must_use]
    pub fn has_jetstream(&self) -> bool {
        self.jetstream.load(Ordering::Relaxed)
    }

    /// Whether clients are being sent away.
    #[must_use]
    pub fn is_lame_duck(&self) -> bool {
        self.lame_duck.load(Ordering::Relaxed)
    }

    /// True once the server has begun to go down, gently or not.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.is_lame_duck() || self.shutting_down.load(Ordering::Relaxed)
    }

    /// Becomes false when no more connections are taken.
    pub(crate) fn accepting(&self) -> watch::Receiver<bool> {
        self.accepting.subscribe()
    }

    /// Becomes true when the server has shut down.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopped.subscribe()
    }

    pub(crate) fn set_client_address(&self, address: SocketAddr) {
        // Opened once per server, by its start.
        let _ = self.client_address.set(address);
    }

    pub(crate) fn set_monitor_address(&self, address: SocketAddr) {
        // Opened once per server, by its start.
        let _ = self.monitor_address.set(address);
    }

    pub(crate) fn set_websocket_address(&self, address: SocketAddr) {
        // Opened once per server, by its start.
        let _ = self.websocket_address.set(address);
    }

    pub(crate) fn set_profiling_address(&self, address: SocketAddr) {
        // Opened once per server, by its start.
        let _ = self.profiling_address.set(address);
    }

    pub(crate) fn set_jetstream(&self, on: bool) {
        self.jetstream.store(on, Ordering::Relaxed);
    }

    /// Clients are sent away from now on. False if they are already.
    pub(crate) fn begin_lame_duck(&self) -> bool {
        !self.lame_duck.swap(true, Ordering::SeqCst)
    }

    /// Everything ends from now on. False if it does already.
    pub(crate) fn begin_shutdown(&self) -> bool {
        !self.shutting_down.swap(true, Ordering::SeqCst)
    }

    /// No more connections are taken.
    pub(crate) fn stop_accepting(&self) {
        self.accepting.send_replace(false);
    }

    /// Everything has ended.
    pub(crate) fn set_stopped(&self) {
        self.stopped.send_replace(true);
    }
}
