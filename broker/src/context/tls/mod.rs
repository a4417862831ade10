//! TLS as it is done now: the files that the options name, read.

mod calling;
mod clients;
mod load;
mod rate;
mod resolver;
mod signed;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

use crate::conf::Options;
use crate::conf::options::Tls as TlsOptions;
use crate::error::{Error, Result};
pub(crate) use calling::calling;
use rate::Rate;
pub(crate) use resolver::Shown;
pub(crate) use signed::is_signed;

/// TLS for the clients of one port.
pub struct Tls {
    /// What was asked for.
    pub options: TlsOptions,
    /// How connections are encrypted, and whose certificates are good.
    pub(crate) config: Arc<ServerConfig>,
    /// The same for those who are asked for no certificate.
    pub(crate) without_client: Arc<ServerConfig>,
    /// The server's certificates.
    pub(crate) shown: Arc<[Arc<Shown>]>,
    /// Those of `ca_file`, if there is one; else those that the system trusts, if it is asked about certificates of clients.
    pub(crate) authorities: Option<Vec<CertificateDer<'static>>>,
    /// When the first certificate ends.
    pub not_after: Option<Timestamp>,
    /// A number for what the files hold.
    fingerprint: u64,
}

/// What the options of one time need.
pub struct Loaded {
    /// For clients, and for the monitoring port.
    pub client: Option<Arc<Tls>>,
    /// For clients that come by WebSocket.
    pub websocket: Option<Arc<Tls>>,
}

impl Loaded {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, or does not hold what it should; the text names it.
    pub fn of(options: &Options) -> Result<Self> {
        let load = |tls: Option<&TlsOptions>| {
            let loaded = tls.map(|tls| Tls::load(tls).map(Arc::new)).transpose();
            loaded.map_err(Error::Options)
        };
        Ok(Self {
            client: load(options.tls.as_ref())?,
            websocket: load(options.websocket.as_ref().and_then(|websocket| websocket.tls.as_ref()))?,
        })
    }
}

/// TLS that is done now, behind a swap for each port. A connection keeps what it began with.
pub struct TlsNow {
    client: ArcSwapOption<Tls>,
    websocket: ArcSwapOption<Tls>,
    rate: Rate,
}

impl TlsNow {
    /// Begins with this.
    #[must_use]
    pub fn new(loaded: Loaded) -> Self {
        Self {
            client: ArcSwapOption::new(loaded.client),
            websocket: ArcSwapOption::new(loaded.websocket),
            rate: Rate::default(),
        }
    }

    /// Goes on with something else. True if other certificates, keys or authorities came with it.
    pub(crate) fn set(&self, loaded: Loaded) -> bool {
        let print = |tls: &Option<Arc<Tls>>| tls.as_ref().map(|tls| tls.fingerprint);
        let different = print(&self.client.load()) != print(&loaded.client);
        let different = different || print(&self.websocket.load()) != print(&loaded.websocket);
        self.client.store(loaded.client);
        self.websocket.store(loaded.websocket);
        different
    }

    /// For clients, if there is to be TLS.
    #[must_use]
    pub fn client(&self) -> Option<Arc<Tls>> {
        self.client.load_full()
    }

    /// For clients that come by WebSocket, if there is to be TLS.
    #[must_use]
    pub fn websocket(&self) -> Option<Arc<Tls>> {
        self.websocket.load_full()
    }

    /// Whether one more client may begin its handshake now.
    pub(crate) fn may_begin(&self, tls: &Tls) -> bool {
        tls.options.rate_limit.is_none_or(|limit| self.rate.allow(limit))
    }

    /// How many could not, since this was last asked.
    pub(crate) fn take_rejected(&self) -> u64 {
        self.rate.take_blocked()
    }
}
