//! One client's conversation with the server.
//!
//! A task reads ([`reader`]) and works through what came ([`conversation`], [`publish`], [`subscribe`]). Until CONNECT is accepted
//! nothing else is served, where it is needed; while somebody takes time to [decide](auth) about it, what came behind it waits.

mod again;
pub mod auth;
mod claims;
mod connect;
mod conversation;
mod gone;
mod info;
mod intake;
mod proxy;
mod publish;
mod quote;
mod reader;
mod secure;
mod subscribe;
mod trace;
mod traced;
mod witness;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::conf::Options;
use crate::conf::options::ConnectionType;
use crate::context::{Connections, Context, Home, Tls, Traffic};
use crate::interest::{Accounts, Narrator, Own, Subscription};
use crate::link::{Arrival, CloseReason, Cookies, Kind, Link, Snapshot};
use crate::ocsp::Peers;
use crate::trust::Trust;
use auth::Door;
use conversation::Conversation;
pub use gone::{Gone, Past};
pub(crate) use info::advertised;
pub use witness::Witness;

/// What all sessions of a server share.
pub struct Hall {
    /// The ground that they stand on.
    pub context: Arc<Context>,
    /// The accounts that clients may be in.
    pub accounts: Arc<Accounts>,
    /// Which sessions there are, and what was last seen of those that ended.
    pub sessions: Connections<Session, Snapshot>,
    /// What those that ended counted, by account.
    pub gone: Gone,
    /// Who is told of clients that come and go, if anybody is.
    pub witness: OnceLock<Box<dyn Witness>>,
    /// Accounts that operators have signed, if that is how accounts come.
    pub trust: Option<Arc<Trust>>,
    /// Who tells of the journeys of messages that are traced; until there is somebody, none are.
    pub narrator: OnceLock<Arc<dyn Narrator>>,
    /// Who is asked about certificates of clients.
    pub(crate) peers: Peers,
    /// Who decides whether a client may come in.
    pub door: Box<dyn Door>,
    /// The same for those that come by WebSocket, if that is somebody else.
    pub websocket_door: Option<Box<dyn Door>>,
}

impl Hall {
    /// Who decides about clients that come by this.
    pub(crate) fn door_of(&self, kind: Kind) -> &dyn Door {
        match (&self.websocket_door, kind) {
            (Some(door), Kind::WebSocket) => door.as_ref(),
            _ => self.door.as_ref(),
        }
    }

    /// Traffic since the start.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let mut total = self.context.counters.absorbed();
        for session in self.sessions.all() {
            total.add(&session.link.snapshot().traffic);
        }
        total
    }
}

/// One client connection, from its first byte to its last.
pub struct Session {
    /// Where what it is sent goes.
    pub link: Arc<Link>,
    hall: Arc<Hall>,
    own: Arc<Own>,
    /// Credentials that it brought before it said anything.
    cookies: Cookies,
    conversation: Mutex<Conversation>,
    /// What the client is to sign, if it has a key; empty if nobody has.
    nonce: String,
    /// How it is encrypted, if it is or may be.
    tls: Option<Arc<Tls>>,
    /// The server's uptime, in nanoseconds, when CONNECT could be said; 0 before that.
    settled_ns: AtomicU64,
    /// CONNECT was accepted.
    connected: AtomicBool,
    /// Wants INFO at any time.
    async_info: AtomicBool,
    /// It is known where the client is: no proxy has still to say that.
    located: AtomicBool,
    /// When its user expires, and what ends it then.
    expiry: Mutex<Option<(Timestamp, AbortHandle)>>,
}

impl Session {
    /// Serves one connection until it ends.
    pub(crate) async fn run(
        hall: Arc<Hall>,
        home: Home,
        mut arrival: Arrival,
        tls: Option<Arc<Tls>>,
        peer: SocketAddr,
    ) {
        let cookies = match &mut arrival {
            Arrival::Plain(_) | Arrival::Tls(_) => Cookies::default(),
            Arrival::WebSocket(upgraded) => std::mem::take(&mut upgraded.cookies),
        };
        let id = hall.sessions.next_id();
        let account = &hall.accounts.global;
        let (link, incoming) = Link::new(&hall.context, home, id, arrival, peer, &account.name);
        let awaits_proxy = hall.context.live.read().proxy_protocol && link.kind == Kind::Plain;
        let proxies = !hall.context.live.read().proxies.is_empty();
        let challenges = proxies || hall.door_of(link.kind).challenges();
        let session = Arc::new(Self {
            conversation: Mutex::new(Conversation::new(&hall, link.kind)),
            link,
            own: Arc::default(),
            cookies,
            nonce: match challenges {
                true => auth::nonce(),
                false => String::new(),
            },
            tls,
            settled_ns: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            async_info: AtomicBool::new(false),
            located: AtomicBool::new(!awaits_proxy),
            expiry: Mutex::default(),
            hall,
        });
        session.serve(incoming).await;
    }

    /// Whether CONNECT was accepted.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// What a user has to be allowed to come by.
    fn comes_by(&self) -> ConnectionType {
        match self.link.kind {
            Kind::Plain => ConnectionType::Standard,
            Kind::WebSocket => ConnectionType::Websocket,
        }
    }

    /// The client's certificate, in DER, if it has a good one.
    fn certificate(&self) -> Option<&[u8]> {
        self.link.tls()?.own.as_deref()
    }

    /// Has the connection end at that time, and at no other.
    fn expire_at(self: &Arc<Self>, until: Option<Timestamp>) {
        let timer = until.map(|until| {
            let left = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
            let session = Arc::downgrade(self);
            let end = async move {
                tokio::time::sleep(left).await;
                if let Some(session) = session.upgrade() {
                    session
                        .link
                        .fail("User Authentication Expired", CloseReason::AuthenticationExpired);
                }
            };
            (until, tokio::spawn(end).abort_handle())
        });
        if let Some((_, before)) = std::mem::replace(&mut *self.expiry.lock(), timer) {
            before.abort();
        }
    }

    fn door(&self) -> &dyn Door {
        self.hall.door_of(self.link.kind)
    }

    /// Ends the connection; what is pending for it is written first, unless the reason forbids.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.link.close(reason);
    }

    /// Tells the client that this server will go away.
    pub(crate) fn announce_lame_duck(&self) {
        if self.async_info.load(Ordering::Relaxed) {
            let mut info = info::info(self);
            info.lame_duck_mode = true;
            self.link.send(|out| weir_wire::encode::info(out, &info));
        }
    }

    /// Goes on as the options of now say.
    pub(crate) fn follow(&self, options: &Options) {
        self.link.set_traced(options.log.trace);
        self.conversation.lock().follow(options);
    }

    /// The janitor's visit: authentication in time, PING when it is due, memory of idle connections.
    pub(crate) fn visit(&self, now_ns: u64) {
        let settled = self.settled_ns.load(Ordering::Relaxed);
        // A handshake has a time of its own, and nothing is said meanwhile.
        if self.link.closing().is_some() || settled == 0 {
            return;
        }
        let context = &self.hall.context;
        let age = now_ns.saturating_sub(settled);
        if self.door().is_locked() && !self.connected.load(Ordering::Relaxed) {
            let options = context.live.read();
            let own = options.websocket.as_ref().filter(|_| self.link.kind == Kind::WebSocket);
            let patience = own
                .and_then(|websocket| websocket.auth.timeout)
                .unwrap_or(options.auth.timeout);
            // Who is asked about it has as much time of its own.
            let asked = self
                .conversation
                .try_lock()
                .is_some_and(|conversation| conversation.is_waiting());
            let patience = if asked {
                patience * 2 + Duration::from_secs(1)
            } else {
                patience
            };
            if u128::from(age) > patience.as_nanos() {
                self.link
                    .fail("Authentication Timeout", CloseReason::AuthenticationTimeout);
                return;
            }
        }
        self.link.ping_if_due(now_ns);
        // A session that is at work is not idle.
        if let Some(mut conversation) = self.conversation.try_lock() {
            conversation.relax();
        }
        self.link.relax_outbound();
    }

    /// Its numbers now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            subscriptions: self.own.count(),
            ..self.link.snapshot()
        }
    }

    /// Its subscriptions now, in no particular order, and no more than `max` of them.
    pub(crate) fn subscriptions(&self, max: usize) -> Vec<Arc<Subscription>> {
        self.own.list(max)
    }

    /// Takes it out of the books; this is the last that is known of it.
    fn retire(&self, mut last: Snapshot, reason: CloseReason) {
        last.stop = Some((Timestamp::now(), reason));
        self.hall.context.counters.absorb(&last.traffic);
        self.hall.gone.add(&last);
        let last = Arc::new(last.of_closed());
        self.hall.sessions.retire(self.link.id, Arc::clone(&last));
        // Who is told that it went counts those that are there.
        if let Some(witness) = self.hall.witness.get() {
            witness.went(self.link.client_info(), &last, reason, self.is_connected());
        }
    }
}

#[cfg(test)]
mod tests;
