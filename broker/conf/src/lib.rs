//! nats-server's command line and configuration file, read into one set of options.
//!
//! ```
//! use weir_conf::{Command, Options};
//!
//! // weir-server -js -m 8222 --max_traced_msg_len=80 -p -1
//! let args = ["-js", "-m", "8222", "--max_traced_msg_len=80", "-p", "-1"].map(String::from);
//! let environment = |name: &str| std::env::var(name).ok();
//! let Command::Run(options) = Options::load(&args, &environment)? else { panic!("not asked for help") };
//!
//! assert!(options.jetstream.enabled);
//! assert_eq!(options.http.as_ref().map(|http| http.port), Some(8222));
//! assert_eq!(options.port, 0, "any free port");
//! assert_eq!(options.max_payload, 1024 * 1024);
//!
//! // Nothing is ignored: what Weir does not know, or cannot do yet, is an error that says so and where it stands.
//! let error = Options::parse("port: 4333\nclustr { name: a }\n", "weir.conf", &environment).unwrap_err();
//! assert_eq!(error.to_string(), "weir.conf:2:1: unknown field \"clustr\"; did you mean \"cluster\"?");
//! # Ok::<(), weir_conf::ConfError>(())
//! ```
//!
//! - [`flags`]: the command line, as Go's `flag` package reads it.
//! - [`file`](mod@file): the configuration language: values with their positions, includes, variables.
//! - [`options`]: what both mean, with nats-server's defaults; a flag wins over the file.
//!
//! The crate opens the configuration file and what it includes, and nothing else: no sockets, no directories, no clock.

#![deny(unsafe_code)]

pub mod duration;
mod error;
pub mod file;
pub mod flags;
mod load;
pub mod options;
pub mod tenancy;

pub use error::ConfError;
pub use flags::{check_message, own_version_line, usage, version_line};
pub use load::Command;
pub use options::Options;
