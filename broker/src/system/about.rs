//! The server, as every event and every answer of the system account describes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::context::Context;
use crate::version::NATS_VERSION;

/// In `flags`: it has JetStream.
const HAS_JETSTREAM: u8 = 1;
/// The same: streams are backed up in one archive.
const HAS_ARCHIVES: u8 = 2;

/// The server, and how often it has been described.
pub(super) struct About {
    context: Arc<Context>,
    seq: AtomicU64,
}

impl About {
    pub fn new(context: &Arc<Context>) -> Self {
        Self {
            context: Arc::clone(context),
            seq: AtomicU64::new(0),
        }
    }

    /// What it is called, and no more.
    pub fn name(&self) -> Value {
        json!({
            "name": self.context.identity.name,
            "host": self.context.live.read().host,
            "id": self.context.identity.id,
        })
    }

    /// The whole description; the next one has the next number.
    pub fn server(&self) -> Value {
        let mut about = self.name();
        let options = self.context.live.read();
        about["ver"] = json!(NATS_VERSION);
        if !options.server_tags.is_empty() {
            about["tags"] = json!(options.server_tags);
        }
        if !options.server_metadata.is_empty() {
            about["metadata"] = json!(options.server_metadata);
        }
        about["feature_flags"] = json!(options.features.all());
        // As there: both are told in any case.
        (about["jetstream"], about["flags"]) = (json!(false), json!(0));
        if self.context.status.has_jetstream() {
            if let Some(domain) = &options.jetstream.domain {
                about["domain"] = json!(domain);
            }
            about["jetstream"] = json!(true);
            about["flags"] = json!(HAS_JETSTREAM | HAS_ARCHIVES);
        }
        about["seq"] = json!(self.seq.fetch_add(1, Ordering::Relaxed) + 1);
        about["time"] = json!(Timestamp::now().to_string());
        about
    }
}
