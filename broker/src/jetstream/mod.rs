//! JetStream: streams and consumers behind the interest graph.

use std::sync::Arc;

use crate::error::Result;
use crate::server::Server;

/// What one sender's batch of messages asks of the storage threads.
#[derive(Default)]
pub struct Batch {}

impl Batch {
    /// Hands the batch over.
    pub fn submit(&mut self) {}
}

/// The running JetStream of a server.
pub struct JetStream {}

impl JetStream {
    /// Opens the store.
    ///
    /// # Errors
    /// The store directory cannot be used.
    pub async fn start(_server: &Arc<Server>) -> Result<Self> {
        Ok(Self {})
    }

    /// Stops cleanly.
    pub async fn stop(&self) {}
}

/// The JetStream part of `/jsz`.
#[must_use]
pub fn jsz(_server: &Server, _query: &crate::monitor::Query) -> serde_json::Value {
    serde_json::json!({})
}
