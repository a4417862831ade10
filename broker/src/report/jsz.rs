//! `/jsz`: JetStream.

use jiff::Timestamp;
use serde::Serialize;

use super::{JszOptions, Reports};
use crate::jetstream::api::jsz::{Absent, Jsz, jsz};

/// What JetStream holds, and whose it is.
#[derive(Clone, Debug, Serialize)]
pub struct JszPage {
    server_id: String,
    now: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disabled: bool,
    #[serde(flatten)]
    jetstream: Option<Jsz>,
    #[serde(flatten)]
    absent: Option<Absent>,
}

impl Reports {
    /// What JetStream holds. With streams or consumers it waits for the storage threads, on the thread that asks.
    #[must_use]
    pub fn jsz(&self, options: &JszOptions) -> JszPage {
        let jetstream = self.jetstream.get().map(|jetstream| jsz(&jetstream, options));
        JszPage {
            server_id: self.context.identity.id.clone(),
            now: Timestamp::now().to_string(),
            disabled: jetstream.is_none(),
            absent: jetstream.is_none().then(Absent::default),
            jetstream,
        }
    }
}
