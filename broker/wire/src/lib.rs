//! The NATS protocol, without sockets: bytes in, operations out.
//!
//! ```
//! use weir_wire::{Op, Parser, Step, encode};
//!
//! // Whatever the last read left in the connection's buffer; the second message is not complete yet.
//! let mut buf = b"SUB orders.* 7\r\nPUB orders.eu 5\r\nhello\r\nPUB orders.us 900\r\nhal".to_vec();
//! let mut parser = Parser::server();
//! let mut out = Vec::new();
//! let mut start = 0;
//! let missing = loop {
//!     match parser.next(&buf[start..])? {
//!         Step::Op { op, consumed } => {
//!             match op {
//!                 Op::Sub { sid, .. } => assert_eq!(sid, b"7"),
//!                 Op::Pub { subject, payload, .. } => encode::msg(&mut out, subject, b"7", None, payload),
//!                 other => panic!("not in this script: {other:?}"),
//!             }
//!             start += consumed;
//!         }
//!         // Make room for this many bytes from `start` on, read again, call again.
//!         Step::NeedMore { at_least } => break at_least,
//!     }
//! };
//! buf.drain(..start);
//! assert_eq!(out, b"MSG orders.eu 7 5\r\nhello\r\n");
//! assert_eq!(missing, b"PUB orders.us 900\r\n".len() + 900 + 2);
//! # Ok::<(), weir_wire::ParseError>(())
//! ```
//!
//! - [`parser`]: an incremental parser that works in place on the connection's read buffer.
//! - [`encode`]: what goes out, appended to a `Vec<u8>`.
//! - [`headers`]: the `NATS/1.0` header block, as the engine reads it too.
//! - [`info`], [`connect`]: the two JSON greetings.
//! - [`link`]: what servers say to each other.
//! - [`websocket`]: what all of this is wrapped in for browsers.
//!
//! The crate allocates nothing per message, reads no clock, and knows nothing of subjects beyond their being bytes.

#![deny(unsafe_code)]

pub mod connect;
pub mod encode;
mod error;
mod glance;
pub mod info;
mod line;
pub mod link;
pub mod parser;
mod payload;
pub mod proxy;
pub mod websocket;

pub use connect::Connect;
pub use error::{ParseError, Verb};
pub use glance::Published;
pub use info::Info;
pub use parser::{Op, Parser, Step};
pub use weir_headers as headers;

/// Largest control line a server accepts unless it is configured otherwise, in bytes, the verb not counted.
pub const DEFAULT_MAX_CONTROL_LINE: usize = 4096;

/// Largest message (headers and body) a server accepts unless it is configured otherwise, in bytes.
pub const DEFAULT_MAX_PAYLOAD: usize = 1024 * 1024;
