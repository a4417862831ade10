//! The NATS configuration language: `key: value`, `key = value`, `key value`, maps, arrays, comments, variables, includes.
//!
//! ```
//! use weir_conf::file::{self, Value};
//!
//! let text = "PORT = 4333\nlisten { port: $PORT, size: 4kb } # comment\n";
//! let map = file::parse(text, "a.conf", &|_| None)?;
//! let Value::Map(listen) = &map.get("listen").unwrap().value.value else { panic!("a map") };
//! assert_eq!(listen.get("port").unwrap().value.value, Value::Int(4333));
//! assert_eq!(listen.get("size").unwrap().value.value, Value::Int(4096));
//! # Ok::<(), weir_conf::ConfError>(())
//! ```

mod digest;
mod lex;
mod parse;
mod scalar;
mod value;

pub use digest::digest;
pub use parse::{parse, parse_file};
pub use value::{Entry, Map, Node, Pos, Value};

/// A look into the environment: the value of a variable, if it is set.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;
