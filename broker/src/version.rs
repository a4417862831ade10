//! Whose behaviour this is, and in which version.

/// The nats-server version whose behaviour clients may expect; they switch features on by it.
pub const NATS_VERSION: &str = "2.15.1";

pub use weir_engine::API_LEVEL;
/// This server's own version.
pub const WEIR_VERSION: &str = env!("CARGO_PKG_VERSION");
/// What INFO and `/varz` say where nats-server names its Go version; nothing is known to depend on it.
pub(crate) const RUSTC_VERSION: &str = "rust";
