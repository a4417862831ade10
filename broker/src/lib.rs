//! The NATS server on Weir's engine.
//!
//! ```
//! use std::io::{BufRead, BufReader, Write};
//! use std::net::TcpStream;
//!
//! use weir_broker::{Server, conf::Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = tokio::runtime::Runtime::new()?;
//! // Port 0 in a program is what port -1 is on the command line: any free one.
//! let options = Options { host: "127.0.0.1".into(), port: 0, ..Options::default() };
//! let server = runtime.block_on(Server::start(options))?;
//!
//! let mut client = TcpStream::connect(server.client_address().unwrap())?;
//! client.write_all(b"CONNECT {\"verbose\":false}\r\nSUB orders.* 1\r\nPUB orders.eu 5\r\nhello\r\n")?;
//! let mut lines = BufReader::new(client).lines();
//! assert!(lines.next().unwrap()?.starts_with("INFO {"));
//! assert_eq!(lines.next().unwrap()?, "MSG orders.eu 1 5");
//! assert_eq!(lines.next().unwrap()?, "hello");
//!
//! runtime.block_on(server.shutdown());
//! # Ok(())
//! # }
//! ```
//!
//! - [`server`]: start, stop, and what all connections share.
//! - [`session`]: one connection. [`interest`]: who wants what. [`Courier`]: how the server itself sends.
//! - [`jetstream`]: streams and consumers, hanging into the interest graph as [`Service`](interest::Service)s.
//! - [`monitor`]: the HTTP port. [`logging`]: the log. [`limits`]: every bound, with its reason.

#![forbid(unsafe_code)]

pub mod context;
mod error;
pub mod interest;
pub mod jetstream;
pub mod limits;
pub mod logging;
pub mod monitor;
mod routing;
pub mod server;
pub mod session;
pub mod signals;
mod system;

pub use error::{Error, Result};
pub use routing::Courier;
pub use server::Server;
/// What a server can be told, and how command line and configuration file say it.
pub use weir_conf as conf;

/// The nats-server version whose behaviour clients may expect; they switch features on by it.
pub const NATS_VERSION: &str = "2.15.1";

pub use weir_engine::API_LEVEL;
/// This server's own version.
pub const WEIR_VERSION: &str = env!("CARGO_PKG_VERSION");
/// What INFO and `/varz` say where nats-server names its Go version; nothing is known to depend on it.
pub(crate) const RUSTC_VERSION: &str = "rust";
