//! One connection as others see it: where bytes for it go, how many wait, why it ended, what it counted.
//!
//! A link knows neither subjects nor what its client may do: that is its session's. Anybody may append to its [`outbound`]
//! buffers.

mod claim;
mod close;
mod credential;
mod forward;
mod info;
mod outbound;
#[cfg(test)]
pub(crate) mod pair;
mod ping;
mod room;
mod sink;
pub(crate) mod tls;
pub(crate) mod trace;
mod transport;
mod websocket;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::net::TcpStream;

pub use claim::Claim;
pub use close::CloseReason;
pub use credential::Credential;
pub use info::ClientInfo;
pub(crate) use info::RequestInfo;
pub(crate) use outbound::Delivered;
pub(crate) use sink::Sink;
pub(crate) use tls::names_of;
pub use tls::{Certificate, TlsFacts};
pub(crate) use transport::Incoming;
pub(crate) use websocket::upgrade::{Cookies, Upgraded, origins, upgrade};

use crate::context::{Context, Home, Traffic};
use crate::limits::{DELIVER_PART, EARLY_WRITE};
use crate::permissions::Rules;
use outbound::Outbound;
use transport::Transport;

/// One connection: what others may see and touch of it.
pub struct Link {
    /// Number of the connection, from 1 on, never used twice by a server.
    pub id: u64,
    /// Where its socket comes from.
    pub(crate) socket_peer: SocketAddr,
    /// Where it comes from, if a proxy says that.
    proxied_peer: OnceLock<SocketAddr>,
    /// When it was accepted.
    pub start: Timestamp,
    /// By what it came.
    pub kind: Kind,
    /// Where a proxy says that it comes from.
    forwarded_for: Option<IpAddr>,
    context: Arc<Context>,
    /// The thread it lives on.
    home: Home,
    transport: Transport,
    outbound: Mutex<Outbound>,
    /// Understands HMSG.
    headers: AtomicBool,
    /// It was told why it is closed.
    failed: AtomicBool,
    who: Mutex<Who>,
    trace: AtomicBool,
    /// Bytes waiting at which the client counts as slow.
    max_pending: usize,
    /// Bytes waiting, and promised to consumers, up to which consumers may deliver.
    deliver_max: usize,
    /// Bytes waiting at which a sender writes at once instead of at the end of its batch.
    relief: usize,
    closing: OnceLock<CloseReason>,
    /// The task of the connection, while it waits for something else than the socket.
    on_close: Mutex<Option<Waker>>,
    pub(crate) received: Received,
    ping: ping::PingState,
    /// What came of a handshake.
    tls: OnceLock<Arc<TlsFacts>>,
}

/// By what a client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A socket that speaks the client protocol.
    Plain,
    /// The client protocol in frames of WebSocket.
    WebSocket,
}

impl Kind {
    /// How reports name it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Plain => "nats",
            Self::WebSocket => "websocket",
        }
    }
}

/// A connection that is to be served.
pub(crate) enum Arrival {
    /// A socket that speaks the client protocol.
    Plain(TcpStream),
    /// The same, and TLS may come upon it.
    Tls(TcpStream),
    /// One that has become a WebSocket.
    WebSocket(Box<Upgraded>),
}

/// What a client said of itself, and whose it is.
#[derive(Clone, Default)]
pub(crate) struct Who {
    pub name: String,
    pub lang: String,
    pub version: String,
    pub user: String,
    pub account: String,
    /// What it may do; `None`: everything.
    pub rules: Option<Arc<Rules>>,
    /// Whether it has proved who it is by signing a nonce, without a token.
    pub by_key: bool,
    /// Who it is by a token.
    pub credential: Option<Arc<Credential>>,
    /// What people call its account.
    pub account_tag: Option<Arc<str>>,
    /// Until when it may stay.
    pub until: Option<Timestamp>,
    /// The key of the proxy that it came by, if that is trusted.
    pub proxy: Option<Arc<str>>,
}

/// What came from a client. Written by its own task, but for the time of the last activity.
#[derive(Default)]
pub(crate) struct Received {
    pub messages: AtomicU64,
    pub bytes: AtomicU64,
    /// Milliseconds of the server's uptime at the last read.
    pub last_ms: AtomicU64,
    /// The same at the last operation but PING and PONG, in or out: what is told as the last activity.
    pub active_ms: AtomicU64,
}

/// One message, as a client is to read it.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    /// What the receiver reads as its subject.
    pub subject: &'a [u8],
    /// Empty if there is none.
    pub reply: &'a [u8],
    /// Empty if there is none.
    pub headers: &'a [u8],
    pub payload: &'a [u8],
}

/// Copy of a connection's numbers, for reports.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) kind: Kind,
    pub(crate) start: Timestamp,
    pub(crate) last_activity: Timestamp,
    pub(crate) stop: Option<(Timestamp, CloseReason)>,
    pub(crate) rtt_ns: u64,
    pub(crate) pending: usize,
    pub(crate) traffic: Traffic,
    pub(crate) tls: Option<Arc<TlsFacts>>,
    /// What the session adds.
    pub(crate) subscriptions: usize,
    pub(crate) who: Who,
}

impl Snapshot {
    /// As much of it as reports tell of a connection that has ended; what its user may do can be large, and is nobody's any more.
    pub(crate) fn of_closed(mut self) -> Self {
        self.who.rules = None;
        self.who.credential = self.who.credential.map(|of| Arc::new(of.of_closed()));
        self.tls = self.tls.map(|facts| Arc::new(facts.of_closed()));
        self
    }
}

impl Link {
    /// Takes a socket into service. Returns the link, and the way in that its task reads from.
    pub(crate) fn new(
        context: &Arc<Context>,
        home: Home,
        id: u64,
        arrival: Arrival,
        peer: SocketAddr,
        account: &str,
    ) -> (Arc<Self>, Incoming) {
        let (kind, forwarded_for) = match &arrival {
            Arrival::Plain(_) | Arrival::Tls(_) => (Kind::Plain, None),
            Arrival::WebSocket(upgraded) => (Kind::WebSocket, upgraded.forwarded_for),
        };
        let tls = OnceLock::new();
        let (transport, incoming) = match arrival {
            Arrival::Plain(stream) => Transport::plain(stream),
            Arrival::Tls(stream) => Transport::tls(stream),
            Arrival::WebSocket(upgraded) => {
                let upgraded = *upgraded;
                if let Some(facts) = upgraded.tls {
                    let _ = tls.set(Arc::new(facts));
                }
                (
                    Transport::WebSocket(upgraded.outgoing),
                    Incoming::WebSocket(upgraded.incoming),
                )
            }
        };
        let options = context.live.read();
        let max_pending = usize::try_from(options.max_pending).unwrap_or(usize::MAX);
        let link = Self {
            id,
            socket_peer: peer,
            proxied_peer: OnceLock::new(),
            start: Timestamp::now(),
            kind,
            forwarded_for,
            context: Arc::clone(context),
            home,
            transport,
            outbound: Mutex::default(),
            headers: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            who: Mutex::new(Who {
                account: account.to_owned(),
                ..Who::default()
            }),
            trace: AtomicBool::new(options.log.trace),
            max_pending,
            // Something always fits, so that no consumer waits for ever.
            deliver_max: (max_pending / DELIVER_PART).max(1),
            relief: EARLY_WRITE.min(max_pending / 4),
            closing: OnceLock::new(),
            on_close: Mutex::default(),
            received: Received::default(),
            ping: ping::PingState::new(context, &options, kind),
            tls,
        };
        (Arc::new(link), incoming)
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
        let mut label = match self.forwarded_for {
            Some(ip @ IpAddr::V4(_)) => format!("{ip}/"),
            Some(ip) => format!("[{ip}]/"),
            None => String::new(),
        };
        let number = match self.kind {
            Kind::Plain => "cid",
            Kind::WebSocket => "wid",
        };
        label.push_str(&format!("{} - {number}:{}", self.peer(), self.id));
        if !parts.is_empty() {
            label.push_str(&format!(" - {:?}", parts.join(":")));
        }
        if !who.user.is_empty() {
            label.push_str(&format!(" - \"{}/user:{}\"", who.account, who.user));
        }
        label
    }

    /// Whether what goes in and out is logged.
    pub(crate) fn is_traced(&self) -> bool {
        self.trace.load(Ordering::Relaxed)
    }

    /// Whether it is to be logged from now on.
    pub(crate) fn set_traced(&self, traced: bool) {
        self.trace.store(traced, Ordering::Relaxed);
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

    /// The account that it is in.
    #[must_use]
    pub fn account(&self) -> String {
        self.who.lock().account.clone()
    }

    /// What it may do; `None`: everything.
    pub(crate) fn rules(&self) -> Option<Arc<Rules>> {
        self.who.lock().rules.clone()
    }

    /// Who it is by a token.
    pub(crate) fn credential(&self) -> Option<Arc<Credential>> {
        self.who.lock().credential.clone()
    }

    /// The key of the proxy that it came by, if that is trusted.
    pub(crate) fn proxy(&self) -> Option<Arc<str>> {
        self.who.lock().proxy.clone()
    }

    /// Where it comes from, as far as anybody says.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.proxied_peer.get().copied().unwrap_or(self.socket_peer)
    }

    /// A proxy says where it comes from.
    pub(crate) fn set_peer(&self, peer: SocketAddr) {
        // There is one header.
        let _ = self.proxied_peer.set(peer);
    }

    /// Its socket, from which nothing was read yet; `None` for a WebSocket.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match &self.transport {
            Transport::Plain(socket) => Some(socket.as_ref()),
            Transport::Tls(socket) => Some(socket.stream()),
            Transport::WebSocket(_) => None,
        }
    }

    /// Until when it may stay.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.who.lock().until
    }

    /// Whether it is in this account.
    pub(crate) fn is_in(&self, account: &str) -> bool {
        self.who.lock().account == account
    }

    /// What it may do from now on is told so.
    pub(crate) fn permit(&self, rules: Option<&Arc<Rules>>) {
        self.who.lock().rules = rules.cloned();
    }

    /// CONNECT was accepted: who it is, and whether it understands HMSG.
    pub(crate) fn introduce(&self, who: Who) {
        *self.who.lock() = who;
    }

    /// Whether the client understands HMSG.
    pub(crate) fn has_headers(&self) -> bool {
        self.headers.load(Ordering::Relaxed)
    }

    pub(crate) fn set_headers(&self, headers: bool) {
        self.headers.store(headers, Ordering::Relaxed);
    }

    /// Why the connection ends, if it does.
    pub(crate) fn closing(&self) -> Option<CloseReason> {
        self.closing.get().copied()
    }

    /// Has the connection's task woken when the connection is closed; it waits for something else than its socket.
    pub(crate) fn wake_on_close(&self, waker: &Waker) {
        self.on_close
            .lock()
            .get_or_insert_with(|| waker.clone())
            .clone_from(waker);
    }

    /// Sends `-ERR` and closes. Whoever comes first says why: what ends and is looked at in the same moment is told once.
    pub(crate) fn fail(self: &Arc<Self>, text: &str, reason: CloseReason) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            tracing::debug!("{} - {text}", self.label());
            self.send(|out| weir_wire::encode::err(out, text));
        }
        self.close(reason);
    }

    /// Its numbers now; its subscriptions are the session's.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let (pending, out_messages, out_bytes) = {
            let out = self.outbound.lock();
            (out.pending(), out.messages, out.bytes)
        };
        Snapshot {
            id: self.id,
            peer: self.peer(),
            kind: self.kind,
            start: self.start,
            last_activity: self
                .context
                .clock
                .time_at(self.received.active_ms.load(Ordering::Relaxed))
                .max(self.start),
            stop: None,
            rtt_ns: self.ping.rtt_ns(),
            pending,
            traffic: Traffic {
                in_messages: self.received.messages.load(Ordering::Relaxed),
                in_bytes: self.received.bytes.load(Ordering::Relaxed),
                out_messages,
                out_bytes,
            },
            tls: self.tls.get().cloned(),
            subscriptions: 0,
            who: self.who.lock().clone(),
        }
    }

    /// The socket of a client that TLS may come upon.
    pub(crate) fn tls_socket(&self) -> Option<&Arc<tls::Socket>> {
        match &self.transport {
            Transport::Tls(socket) => Some(socket),
            Transport::Plain(_) | Transport::WebSocket(_) => None,
        }
    }

    /// What came of its handshake, if there is TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<TlsFacts>> {
        self.tls.get()
    }

    pub(crate) fn set_tls(&self, facts: TlsFacts) {
        // There is one handshake.
        let _ = self.tls.set(Arc::new(facts));
    }

    /// Bytes waiting to go out to it.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.outbound.lock().pending()
    }
}
