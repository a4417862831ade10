//! What the server can be told, with nats-server's defaults.

mod apply;
mod auth;
mod jetstream;
mod read;
mod unsupported;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use apply::apply;
pub use auth::{Auth, User};
pub use jetstream::{
    Backend, BatchLimits, Compression, Durability, Index, JetStream, JetStreamLimits, Scrub, SyncInterval,
};
pub(crate) use read::{check_server_name, port};

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
    /// Log what helps to find faults.
    pub debug: bool,
    /// Log the protocol.
    pub trace: bool,
    /// Log the system account's protocol, too.
    pub trace_verbose: bool,
    /// Begin log lines with the time.
    pub logtime: bool,
    /// Log to this file.
    pub log_file: Option<PathBuf>,
    /// Begin a new log file beyond this many bytes.
    pub log_size_limit: Option<u64>,
    /// Longest part of a message to log, in bytes.
    pub max_traced_msg_len: Option<u64>,
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
    /// Time between two pings of a silent client.
    pub ping_interval: Duration,
    /// Pings without an answer before the client counts as gone.
    pub ping_max: u32,
    /// Longest time one write to a client may take before it counts as slow.
    pub write_deadline: Duration,
    /// Do without message headers.
    pub no_header_support: bool,
    /// Who may connect.
    pub auth: Auth,
    /// Time over which clients are sent away in lame duck mode.
    pub lame_duck_duration: Duration,
    /// Time before the first client is sent away in lame duck mode.
    pub lame_duck_grace_period: Duration,
    /// Labels of the server.
    pub server_tags: Vec<String>,
    /// Storage.
    pub jetstream: JetStream,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            config_file: None,
            host: "0.0.0.0".into(),
            port: DEFAULT_PORT,
            server_name: None,
            client_advertise: None,
            http: None,
            debug: false,
            trace: false,
            trace_verbose: false,
            logtime: true,
            log_file: None,
            log_size_limit: None,
            max_traced_msg_len: None,
            pid_file: None,
            ports_file_dir: None,
            max_payload: 1024 * 1024,
            max_control_line: 4096,
            max_pending: 64 * 1024 * 1024,
            max_connections: Some(65536),
            max_subscriptions: None,
            ping_interval: Duration::from_secs(120),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            no_header_support: false,
            auth: Auth::default(),
            lame_duck_duration: Duration::from_secs(120),
            lame_duck_grace_period: Duration::from_secs(10),
            server_tags: Vec::new(),
            jetstream: JetStream::default(),
        }
    }
}
