//! `/jsz`: JetStream.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{JszOptions, Reports};
use crate::jetstream::api::jsz::jsz;

impl Reports {
    /// What JetStream holds. With streams or consumers it waits for the storage threads, on the thread that asks.
    #[must_use]
    pub fn jsz(&self, options: &JszOptions) -> Value {
        let mut page = self.jetstream_page(options);
        page["server_id"] = json!(self.context.identity.id);
        page["now"] = json!(Timestamp::now().to_string());
        page
    }

    /// The same, without the server's name and the time.
    pub(super) fn jetstream_page(&self, options: &JszOptions) -> Value {
        match self.jetstream.get() {
            Some(jetstream) => jsz(jetstream, options),
            None => json!({"disabled": true}),
        }
    }
}
