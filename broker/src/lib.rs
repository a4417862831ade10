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
//! The modules are floors, each of which knows those before it and none of those behind it
//! (`tests/tests/structure.rs` in the repository holds them to it):
//!
//! - `http`: what the server asks others. [`context`]: what all stand on. `ocsp`: what authorities say of certificates, its own and those of clients. [`permissions`]: what a user may do. [`link`]: one connection as others see it. [`interest`]: who wants what.
//!   `routing`: who gets what; [`Courier`] is how the server itself sends.
//! - [`session`]: one client's conversation. [`jetstream`]: streams and consumers, hanging into the interest graph as
//!   [`Service`](interest::Service)s.
//! - [`report`]: what the server tells of itself. `system`: on which subjects. [`server`]: all of it, put together.
//!   [`monitor`]: the HTTP port.
//! - [`logging`], [`signals`], [`control`], [`notify`]: what a process has beside a server. [`limits`]: every bound, with its reason.

#![forbid(unsafe_code)]

pub mod context;
pub mod control;
mod error;
mod http;
pub mod interest;
pub mod jetstream;
pub mod limits;
pub mod link;
pub mod logging;
pub mod monitor;
pub mod notify;
mod ocsp;
pub mod permissions;
pub mod report;
mod routing;
pub mod server;
pub mod session;
pub mod signals;
mod start;
mod system;
mod tenants;
pub mod trust;
mod version;

pub use error::{Error, Result};
pub use routing::Courier;
pub use server::Server;
pub use version::{API_LEVEL, NATS_VERSION, WEIR_VERSION};
/// What a server can be told, and how command line and configuration file say it.
pub use weir_conf as conf;
