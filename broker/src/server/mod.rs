//! The server: what all connections share.

mod accept;
mod auth;
mod check;
mod clients;
pub mod descriptors;
mod files;
mod lifecycle;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::conf::Options;
use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use weir_wire::Info;

pub(crate) use accept::listen;

use crate::context::{Counters, IoThreads, server_id};
use crate::error::Result;
use crate::interest::{self, Account};
use crate::jetstream::JetStream;
use crate::jetstream::opening::Opening;
use crate::session::Client;

/// A running server. Made by [`Server::start`], ended by [`Server::shutdown`].
pub struct Server {
    /// What it was started with.
    pub options: Options,
    /// Its identity: 56 characters, new with every start.
    pub id: String,
    /// Its configured name, or the id.
    pub name: String,
    /// When it was started.
    pub start: Timestamp,
    /// What it counted.
    pub counters: Counters,
    /// The account of clients that name none.
    pub global: Arc<Account>,
    /// The account of the server's own events.
    pub system: Arc<Account>,
    /// The runtime that connections live in, for threads outside of it.
    pub handle: Handle,
    /// JetStream, if it is on and has started.
    pub jetstream: OnceLock<Arc<JetStream>>,
    /// How far the opening of its store is.
    pub opening: Arc<Opening>,
    accounts: RwLock<HashMap<Box<str>, Arc<Account>>>,
    began: Instant,
    clients: clients::Clients,
    /// Connections at most, by the options and by the limit of open files.
    connections_max: usize,
    last_client_id: AtomicU64,
    client_address: OnceLock<SocketAddr>,
    monitor_address: OnceLock<SocketAddr>,
    lame_duck: AtomicBool,
    shutting_down: AtomicBool,
    threads: IoThreads,
    accepting: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
    /// A connection has ended.
    one_less: Notify,
    created: Mutex<Vec<PathBuf>>,
    /// Requests to each path of the monitoring port.
    pub(crate) http_requests: Mutex<std::collections::BTreeMap<&'static str, u64>>,
    pub(crate) told_health: crate::monitor::ToldHealth,
}

impl Server {
    fn new(options: Options) -> Result<Arc<Self>> {
        auth::check(&options.auth)?;
        let wanted = options.max_connections.unwrap_or(usize::MAX);
        let connections_max = wanted.min(descriptors::connection_room(options.jetstream.enabled));
        let stopped = watch::Sender::new(false);
        let id = server_id();
        let name = options.server_name.clone().unwrap_or_else(|| id.clone());
        let global = Account::new(interest::GLOBAL);
        let system = Account::new(interest::SYSTEM);
        let accounts = [&global, &system].map(|account| (account.name.clone(), Arc::clone(account)));
        Ok(Arc::new(Self {
            options,
            id,
            name,
            start: Timestamp::now(),
            counters: Counters::default(),
            accounts: RwLock::new(accounts.into()),
            global,
            system,
            handle: Handle::current(),
            jetstream: OnceLock::new(),
            opening: Arc::default(),
            began: Instant::now(),
            clients: clients::Clients::default(),
            connections_max,
            last_client_id: AtomicU64::new(0),
            client_address: OnceLock::new(),
            monitor_address: OnceLock::new(),
            lame_duck: AtomicBool::new(false),
            shutting_down: AtomicBool::new(false),
            accepting: watch::Sender::new(true),
            threads: IoThreads::start(&stopped)?,
            stopped,
            one_less: Notify::new(),
            created: Mutex::default(),
            http_requests: Mutex::default(),
            told_health: crate::monitor::ToldHealth::default(),
        }))
    }

    /// The account of that name.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.read().get(name).cloned()
    }

    /// Every account, in no particular order.
    #[must_use]
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.read().values().cloned().collect()
    }

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

    pub(crate) fn set_monitor_address(&self, address: SocketAddr) {
        // Opened once per server, by `start`.
        let _ = self.monitor_address.set(address);
    }

    /// True once the server has begun to go down, gently or not.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.lame_duck.load(Ordering::Relaxed) || self.shutting_down.load(Ordering::Relaxed)
    }

    /// Becomes true when the server has shut down.
    pub(crate) fn stopped(&self) -> watch::Receiver<bool> {
        self.stopped.subscribe()
    }

    /// Whether clients are told that headers work here.
    #[must_use]
    pub fn headers_supported(&self) -> bool {
        !self.options.no_header_support
    }

    pub(crate) fn next_client_id(&self) -> u64 {
        self.last_client_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The INFO for one client.
    pub(crate) fn info(&self, client: &Client) -> Info {
        let (host, port) = self.advertised();
        Info {
            server_id: self.id.clone(),
            server_name: self.name.clone(),
            version: crate::NATS_VERSION.to_owned(),
            weir_version: crate::WEIR_VERSION.to_owned(),
            proto: 1,
            go: crate::RUSTC_VERSION.to_owned(),
            host,
            port,
            headers: self.headers_supported(),
            auth_required: self.auth_required(),
            max_payload: i64::try_from(self.options.max_payload).unwrap_or(i64::MAX),
            jetstream: self.jetstream.get().is_some(),
            client_id: client.id,
            client_ip: client.peer.ip().to_string(),
            lame_duck_mode: self.lame_duck.load(Ordering::Relaxed),
            api_level: crate::API_LEVEL,
            ..Info::default()
        }
    }

    /// Host and port as clients are told: where they are, or what the options say instead.
    fn advertised(&self) -> (String, u16) {
        let port = self.client_address().map_or(0, |address| address.port());
        let Some(advertise) = &self.options.client_advertise else {
            return (self.options.host.clone(), port);
        };
        match advertise
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse().ok()?)))
        {
            Some((host, port)) => (host.to_owned(), port),
            None => (advertise.clone(), port),
        }
    }

    /// Nanoseconds since the start, on a clock that never goes back.
    #[must_use]
    pub fn uptime_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since the start.
    pub(crate) fn uptime_ms(&self) -> u64 {
        self.uptime_ns() / 1_000_000
    }

    /// What the uptime was at `time`, in nanoseconds; 0 if that was before the start.
    pub(crate) fn uptime_at(&self, time: Timestamp) -> u64 {
        u64::try_from(time.duration_since(self.start).as_nanos()).unwrap_or(0)
    }

    /// What the time was when the uptime was `ms`.
    pub(crate) fn time_at(&self, ms: u64) -> Timestamp {
        let after = SignedDuration::try_from(Duration::from_millis(ms)).unwrap_or(SignedDuration::ZERO);
        self.start.saturating_add(after).unwrap_or(self.start)
    }
}
