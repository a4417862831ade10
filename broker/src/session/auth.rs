//! Who may come in: everybody, users with passwords or keys, or whoever knows the token.

mod callout;
mod certificate;
mod dn;
mod operator;
mod password;
mod roster;
mod websocket;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use jiff::Timestamp;
use tokio::sync::oneshot;
use weir_wire::Connect;

use crate::conf::options::ConnectionType;
use crate::interest::Account;
use crate::link::{Credential, Link};
use crate::permissions::Rules;
pub use callout::ByCallout;
pub use operator::ByOperator;
pub use roster::ByOptions;
pub use websocket::ByWebSocket;

/// What those who know the token are called: their name would be a secret.
pub const REDACTED: &str = "[REDACTED]";

/// Decides whether clients may come in.
pub trait Door: Send + Sync {
    /// Whether CONNECT must come first.
    fn is_locked(&self) -> bool;

    /// Whether CONNECT must carry credentials, as clients are told.
    fn is_guarded(&self) -> bool {
        self.is_locked()
    }

    /// Whether clients are sent something to sign.
    fn challenges(&self) -> bool {
        false
    }

    /// Who CONNECT's credentials belong to. Must not block: what takes time is answered [later](Answer::Later).
    fn ask(&self, visitor: &Visitor<'_>) -> Answer;

    /// Whether the user that a client came as is gone, or in another account than this one by now: it is sent away without a word, and
    /// finds out when it comes again.
    fn has_moved(&self, _visitor: &Visitor<'_>, _account: &Arc<Account>) -> bool {
        false
    }

    /// Who a client is that comes by this and does not say CONNECT first; `None`: nobody. Whatever may be asked of one that says nothing in
    /// its CONNECT is asked of it.
    fn anonymous(&self, _by: ConnectionType) -> Option<Guest> {
        None
    }
}

/// A client that said CONNECT.
pub struct Visitor<'a> {
    /// What it said.
    pub connect: &'a Connect,
    /// What it was to sign; empty if nothing.
    pub nonce: &'a str,
    /// What it came by.
    pub by: ConnectionType,
    /// Its certificate, in DER, if it has a good one.
    pub certificate: Option<&'a [u8]>,
    /// Its connection.
    pub link: &'a Arc<Link>,
}

/// What a door says.
pub enum Answer {
    /// At once.
    Now(Verdict),
    /// Not yet. Nothing of the client's is worked on until then, and nothing more is read.
    Later(Ticket),
}

/// Whether a client may come in.
pub enum Verdict {
    /// As this one.
    Welcome(Guest),
    /// It may not.
    Refused,
}

/// Whoever came in.
#[derive(Clone)]
pub struct Guest {
    /// The user; empty for a token, or if no credentials are needed.
    pub user: String,
    /// The account that the client is in.
    pub account: Arc<Account>,
    /// What it may do; `None`: everything.
    pub rules: Option<Arc<Rules>>,
    /// Subscriptions at once; `None` is no limit of its own.
    pub subscriptions: Option<usize>,
    /// Bytes of one message; `None` is no limit of its own.
    pub payload: Option<usize>,
    /// Until when it may stay; `None`: as long as it likes.
    pub until: Option<Timestamp>,
    /// Who it is, by a token.
    pub credential: Option<Arc<Credential>>,
    /// Whether it must come by a proxy that is trusted.
    pub proxy_required: bool,
}

impl Guest {
    /// Somebody without limits of its own.
    #[must_use]
    pub fn new(user: String, account: Arc<Account>, rules: Option<Arc<Rules>>) -> Self {
        Self {
            user,
            account,
            rules,
            subscriptions: None,
            payload: None,
            until: None,
            credential: None,
            proxy_required: false,
        }
    }
}

/// A verdict that is still to come.
pub struct Ticket(oneshot::Receiver<Verdict>);

impl Ticket {
    /// A ticket, and where its verdict is to be put. A sender that is dropped refuses; one that finds the ticket gone need not
    /// go on, for the client is.
    #[must_use]
    pub fn new() -> (oneshot::Sender<Verdict>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }

    /// The verdict, or has the task woken once it is there.
    pub(super) fn poll(&mut self, context: &mut TaskContext<'_>) -> Poll<Verdict> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|verdict| verdict.unwrap_or(Verdict::Refused))
    }
}

/// Something to sign: as much chance as nats-server takes, in its notation.
pub(super) fn nonce() -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 11]>())
}
