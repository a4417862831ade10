//! What the server can be told, with nats-server's defaults.

mod absent;
mod accounts;
mod apply;
mod authorization;
mod callout;
mod changes;
mod features;
mod jetstream;
mod keys;
mod logging;
mod mappings;
mod ocsp;
mod permissions;
mod proxies;
mod read;
mod schema;
mod sharing;
mod tls;
mod trust;
mod unsupported;
mod warning;
mod websocket;
mod written;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::tenancy::Tenancy;

pub use accounts::{AccountJetStream, AccountLimits, AccountOptions, AccountTraces};
pub(crate) use apply::apply;
pub use apply::base_path;
pub(crate) use apply::profiling;
pub use authorization::{Auth, ConnectionType, User};
pub use callout::AuthCallout;
pub use changes::Changes;
pub use features::Features;
pub use jetstream::{
    Backend, BatchLimits, Cipher, Compression, Durability, Index, JetStream, JetStreamLimits, Scrub, Secret,
    SyncInterval,
};
pub use logging::Logging;
pub use ocsp::{Ocsp, OcspMode, OcspPeer};
pub use permissions::{Permissions, Responses, Subjects};
pub(crate) use read::{check_advertise, check_server_name, port};
pub use tls::{CURVES, CallingTls, CertificateFiles, Choice, First, SUITES, Tls};
pub(crate) use tls::{check as check_tls, settle_timeout};
pub(crate) use trust::settle as settle_trust;
pub use trust::{Deletion, Resolver, Trust};
pub use warning::Warning;
pub(crate) use websocket::check as check_websocket;
pub use websocket::{WebSocket, WebSocketAuth};

/// Port for clients.
pub const DEFAULT_PORT: u16 = 4222;

/// Largest message the protocol can announce, in bytes: sizes have at most nine digits.
pub const MAX_PAYLOAD_MAX: usize = 999_999_999;

/// Largest message that can be stored, headers and body, in bytes: 128 MiB.
pub const RECORD_MAX: usize = 128 << 20;

/// A place to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Host or address; empty: the host that clients are served on.
    pub host: String,
    /// Port; 0 is any free one.
    pub port: u16,
}

/// Everything the server can be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The file these came from.
    pub config_file: Option<PathBuf>,
    /// A number for what that says, as nats-server has it: `sha256:…`; empty without a file.
    pub config_digest: String,
    /// Host or address for clients (`host`, `net`, `listen`).
    pub host: String,
    /// Port for clients; 0 is any free one (-1 in the file and in flags).
    pub port: u16,
    /// Name of the server; without one its id serves.
    pub server_name: Option<String>,
    /// `host[:port]` told to clients in place of the address listened on.
    pub client_advertise: Option<String>,
    /// Where to serve monitoring; nowhere by default.
    pub http: Option<Listen>,
    /// Where to serve monitoring by TLS, in place of [`Self::http`]; nowhere by default.
    pub https: Option<Listen>,
    /// Where to serve profiles (`prof_port`); nowhere by default.
    pub profiling: Option<Listen>,
    /// What the monitoring pages' paths begin with, as it was written ([`base_path`]).
    pub http_base_path: String,
    /// The log.
    pub log: Logging,
    /// Write the process id here.
    pub pid_file: Option<PathBuf>,
    /// Write `<executable>_<pid>.ports` here.
    pub ports_file_dir: Option<PathBuf>,
    /// Largest message (headers and body) in bytes, 1 to [`MAX_PAYLOAD_MAX`].
    pub max_payload: usize,
    /// Largest control line in bytes.
    pub max_control_line: usize,
    /// Most bytes that may wait for one client before it counts as slow.
    pub max_pending: u64,
    /// Most connections; `None` is unlimited.
    pub max_connections: Option<usize>,
    /// Most subscriptions of one connection; `None` is unlimited.
    pub max_subscriptions: Option<usize>,
    /// Most tokens of a subject that a client subscribes to; `None` is unlimited.
    pub max_sub_tokens: Option<u8>,
    /// Most connections that ended and are remembered.
    pub max_closed_clients: usize,
    /// Do not hold up publishers whose receivers are behind.
    pub no_fast_producer_stall: bool,
    /// Time between two pings of a silent client.
    pub ping_interval: Duration,
    /// Pings without an answer before the client counts as gone.
    pub ping_max: u32,
    /// Longest time one write to a client may take before it counts as slow.
    pub write_deadline: Duration,
    /// What becomes of a client that takes longer, as it is told of: `close`, which is what Weir does in any case.
    pub write_timeout: Option<String>,
    /// Do without message headers.
    pub no_header_support: bool,
    /// TLS for clients; none by default.
    pub tls: Option<Tls>,
    /// What is said of the staples of the server's certificates; `None`: those that say they have one do.
    pub ocsp: Option<Ocsp>,
    /// Whether answers about certificates of clients are remembered (`ocsp_cache`), where they are asked for.
    pub ocsp_cache: bool,
    /// Whether clients may do without, where there is TLS.
    pub allow_non_tls: bool,
    /// Who may connect.
    pub auth: Auth,
    /// Whether proxies say where clients are, by the PROXY protocol.
    pub proxy_protocol: bool,
    /// Public keys of proxies that may speak for clients.
    pub proxies: Vec<String>,
    /// Whose word is taken about accounts and users.
    pub trust: Trust,
    /// Accounts beside that of those who are in no other.
    pub accounts: Vec<AccountOptions>,
    /// What the account of those who are in no other maps.
    pub global: Tenancy,
    /// The account of the server's own events; `None`: `$SYS`.
    pub system_account: Option<String>,
    /// Do without a system account, if JetStream does not need one (`no_system_account`).
    pub no_system_account: bool,
    /// Do not remember which subscriptions match a client's messages (`no_sublist_cache`).
    pub no_match_cache: bool,
    /// The cluster that the server says it is in, of which it is all there is.
    pub cluster_name: Option<String>,
    /// Time over which clients are sent away in lame duck mode.
    pub lame_duck_duration: Duration,
    /// Time before the first client is sent away in lame duck mode.
    pub lame_duck_grace_period: Duration,
    /// Labels of the server.
    pub server_tags: Vec<String>,
    /// More labels, each with a value.
    pub server_metadata: BTreeMap<String, String>,
    /// What it does otherwise than by default (`feature_flags`).
    pub features: Features,
    /// What may not be as it was meant.
    pub warnings: Vec<Warning>,
    /// Clients that come in by WebSocket; none by default.
    pub websocket: Option<WebSocket>,
    /// Storage.
    pub jetstream: JetStream,
}

impl Options {
    /// Whether there is a system account: JetStream has one in any case, and so has whoever names one, or has operators.
    #[must_use]
    pub fn has_system_account(&self) -> bool {
        !self.no_system_account || self.system_account.is_some() || self.jetstream.enabled || self.trust.is_on()
    }

    /// Whether clients without credentials are in the account of those who are in no other, as nats-server has it where the only
    /// users are those of the system account.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let [only] = self.accounts.as_slice() else {
            return false;
        };
        let system = self.system_account.as_ref() == Some(&only.name);
        system && !self.auth.block && self.auth.no_auth_user.is_none()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            config_file: None,
            config_digest: String::new(),
            host: "0.0.0.0".into(),
            port: DEFAULT_PORT,
            server_name: None,
            client_advertise: None,
            http: None,
            https: None,
            profiling: None,
            http_base_path: String::new(),
            log: Logging::default(),
            pid_file: None,
            ports_file_dir: None,
            max_payload: 1024 * 1024,
            max_control_line: 4096,
            max_pending: 64 * 1024 * 1024,
            max_connections: Some(65536),
            max_subscriptions: None,
            max_sub_tokens: None,
            max_closed_clients: 10_000,
            no_fast_producer_stall: false,
            ping_interval: Duration::from_secs(120),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            write_timeout: None,
            no_header_support: false,
            tls: None,
            ocsp: None,
            ocsp_cache: true,
            allow_non_tls: false,
            auth: Auth::default(),
            proxy_protocol: false,
            proxies: Vec::new(),
            trust: Trust::default(),
            accounts: Vec::new(),
            global: Tenancy::default(),
            system_account: None,
            no_system_account: false,
            no_match_cache: false,
            cluster_name: None,
            lame_duck_duration: Duration::from_secs(120),
            lame_duck_grace_period: Duration::from_secs(10),
            server_tags: Vec::new(),
            server_metadata: BTreeMap::new(),
            features: Features::default(),
            warnings: Vec::new(),
            websocket: None,
            jetstream: JetStream::default(),
        }
    }
}
