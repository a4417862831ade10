//! Whose behaviour this is, and in which version.

use serde::Serialize;

/// The nats-server version whose behaviour clients may expect; they switch features on by it.
pub const NATS_VERSION: &str = "2.15.1";

pub use weir_engine::API_LEVEL;
/// This server's own version.
pub const WEIR_VERSION: &str = env!("CARGO_PKG_VERSION");
/// What INFO and `/varz` say where nats-server names its Go version; nothing is known to depend on it.
pub(crate) const RUSTC_VERSION: &str = "rust";

/// What nats-server can be told to do otherwise, and whether Weir does.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct FeatureFlags {
    js_ack_fc_v2: bool,
    js_api_reply_v2: bool,
    js_raft_delete_range: bool,
    js_snapshot_sources: bool,
}

/// None of them.
pub(crate) const FEATURE_FLAGS: FeatureFlags = FeatureFlags {
    js_ack_fc_v2: false,
    js_api_reply_v2: false,
    js_raft_delete_range: false,
    js_snapshot_sources: false,
};
