//! One client connection.
//!
//! A task reads ([`reader`]) and works through what came ([`conversation`], [`publish`], [`interest`]); anybody may append to its
//! [`outbound`] buffers.

mod close;
mod connect;
mod conversation;
mod interest;
mod outbound;
mod ping;
mod publish;
mod reader;
mod room;
mod trace;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

pub use close::CloseReason;

use crate::context::Home;
use crate::interest::{Account, Subscription};
use crate::limits::{DELIVER_PART, EARLY_WRITE};
use crate::server::Server;
use conversation::Session;
use outbound::Outbound;

/// One client connection: what others may see and touch of it.
pub struct Client {
    /// Number of the connection, from 1 on, never used twice by a server.
    pub id: u64,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// When it was accepted.
    pub start: Timestamp,
    /// Where its messages go.
    pub account: Arc<Account>,
    pub(crate) server: Arc<Server>,
    /// The thread it lives on.
    home: Home,
    socket: OwnedWriteHalf,
    pub(crate) outbound: Mutex<Outbound>,
    session: Mutex<Session>,
    /// By the client's own name. Never held together with another lock.
    subscriptions: Mutex<HashMap<Box<[u8]>, Arc<Subscription>, foldhash::fast::FixedState>>,
    /// Understands HMSG.
    headers: AtomicBool,
    /// CONNECT was accepted.
    connected: AtomicBool,
    /// Wants INFO at any time.
    async_info: AtomicBool,
    who: Mutex<Who>,
    trace: bool,
    /// Bytes waiting at which the client counts as slow.
    max_pending: usize,
    /// Bytes waiting, and promised to consumers, up to which consumers may deliver.
    deliver_max: usize,
    /// Bytes waiting at which a sender writes at once instead of at the end of its batch.
    relief: usize,
    closing: OnceLock<CloseReason>,
    pub(crate) traffic: Traffic,
    ping: ping::PingState,
}

/// What a client said of itself.
#[derive(Clone, Default)]
pub(crate) struct Who {
    pub name: String,
    pub lang: String,
    pub version: String,
    pub user: String,
}

/// What came from a client. Written by its own task, but for the time of the last activity.
#[derive(Default)]
pub(crate) struct Traffic {
    pub messages: AtomicU64,
    pub bytes: AtomicU64,
    /// Milliseconds of [`Server::uptime_ms`](crate::server::Server) at the last read.
    pub last_ms: AtomicU64,
    /// The same at the last operation but PING and PONG, in or out: what is told as the last activity.
    pub active_ms: AtomicU64,
}

/// Copy of a connection's numbers, for the monitoring port.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub id: u64,
    pub peer: SocketAddr,
    pub account: Box<str>,
    pub start: Timestamp,
    pub last_activity: Timestamp,
    pub stop: Option<(Timestamp, CloseReason)>,
    pub rtt_ns: u64,
    pub pending: usize,
    pub in_messages: u64,
    pub in_bytes: u64,
    pub out_messages: u64,
    pub out_bytes: u64,
    pub subscriptions: usize,
    pub who: Who,
}

impl Client {
    /// Serves one connection from its first byte to its last.
    pub(crate) async fn run(server: Arc<Server>, home: Home, stream: TcpStream, peer: SocketAddr) {
        let (client, read) = Self::new(&server, home, stream, peer);
        client.serve(read).await;
    }

    /// Takes a connection into service. Returns it and the half that [`Client::serve`] reads from.
    fn new(server: &Arc<Server>, home: Home, stream: TcpStream, peer: SocketAddr) -> (Arc<Self>, OwnedReadHalf) {
        let (read, socket) = stream.into_split();
        let max_pending = usize::try_from(server.options.max_pending).unwrap_or(usize::MAX);
        let client = Self {
            id: server.next_client_id(),
            peer,
            start: Timestamp::now(),
            account: Arc::clone(&server.global),
            server: Arc::clone(server),
            home,
            socket,
            outbound: Mutex::default(),
            session: Mutex::new(Session::new(server)),
            subscriptions: Mutex::default(),
            headers: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            async_info: AtomicBool::new(false),
            who: Mutex::default(),
            trace: server.options.trace,
            max_pending,
            // Something always fits, so that no consumer waits for ever.
            deliver_max: (max_pending / DELIVER_PART).max(1),
            relief: EARLY_WRITE.min(max_pending / 4),
            closing: OnceLock::new(),
            traffic: Traffic::default(),
            ping: ping::PingState::new(server),
        };
        (Arc::new(client), read)
    }

    fn socket(&self) -> &TcpStream {
        self.socket.as_ref()
    }

    /// How log lines name this connection.
    pub(crate) fn label(&self) -> String {
        let who = self.who.lock();
        let mut parts = Vec::new();
        if !who.version.is_empty() {
            parts.push(format!("v{}", who.version));
        }
        parts.extend(
            [&who.lang, &who.name]
                .into_iter()
                .filter(|part| !part.is_empty())
                .cloned(),
        );
        let mut label = format!("{} - cid:{}", self.peer, self.id);
        if !parts.is_empty() {
            label.push_str(&format!(" - {:?}", parts.join(":")));
        }
        if !who.user.is_empty() {
            label.push_str(&format!(" - \"{}/user:{}\"", self.account.name, who.user));
        }
        label
    }

    /// The name the client gave itself in CONNECT; empty if none.
    #[must_use]
    pub fn name(&self) -> String {
        self.who.lock().name.clone()
    }

    /// The user it authenticated as; empty if none.
    #[must_use]
    pub fn user(&self) -> String {
        self.who.lock().user.clone()
    }

    /// Sends `-ERR` and, unless `keep`, closes.
    pub(crate) fn fail(self: &Arc<Self>, text: &str, reason: CloseReason) {
        tracing::debug!("{} - {text}", self.label());
        self.send(|out| weir_wire::encode::err(out, text));
        self.close(reason);
    }

    /// Tells the client that this server will go away.
    pub(crate) fn announce_lame_duck(self: &Arc<Self>) {
        if self.async_info.load(Ordering::Relaxed) {
            let mut info = self.server.info(self);
            info.lame_duck_mode = true;
            self.send(|out| weir_wire::encode::info(out, &info));
        }
    }

    /// Its numbers now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let (pending, out_messages, out_bytes) = {
            let out = self.outbound.lock();
            (out.pending(), out.messages, out.bytes)
        };
        Snapshot {
            id: self.id,
            peer: self.peer,
            account: self.account.name.clone(),
            start: self.start,
            last_activity: self
                .server
                .time_at(self.traffic.active_ms.load(Ordering::Relaxed))
                .max(self.start),
            stop: None,
            rtt_ns: self.ping.rtt_ns(),
            pending,
            in_messages: self.traffic.messages.load(Ordering::Relaxed),
            in_bytes: self.traffic.bytes.load(Ordering::Relaxed),
            out_messages,
            out_bytes,
            subscriptions: self.subscriptions.lock().len(),
            who: self.who.lock().clone(),
        }
    }

    /// Bytes waiting to go out to it.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.outbound.lock().pending()
    }

    /// Its subscriptions now, in no particular order, and no more than `max` of them.
    pub(crate) fn subscriptions(&self, max: usize) -> Vec<Arc<Subscription>> {
        self.subscriptions.lock().values().take(max).cloned().collect()
    }
}
