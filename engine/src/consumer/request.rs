//! Pull requests as they arrive.

use serde::{Deserialize, Deserializer};

use crate::json::nullable;
use crate::types::Nanos;

/// A pull request (js-api, "Pull").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Messages wanted; 0 gets one, but is told as 0 when the request ends.
    pub batch: u64,
    /// How long to wait for them in nanoseconds; 0 for as long as it takes.
    pub expires: Nanos,
    /// Bytes at most; 0 for no limit.
    pub max_bytes: u64,
    /// Whether to answer at once when there is nothing.
    pub no_wait: bool,
    /// The silence after which a heartbeat is sent, in nanoseconds; 0 for none.
    pub idle_heartbeat: Nanos,
    /// Whether it was JSON: the others are taken without a priority group even where there are groups.
    pub formal: bool,
    /// How it competes with others; `None` if it says nothing of that.
    pub group: Option<Box<GroupRequest>>,
}

/// The part of a pull request that says how it competes with others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupRequest {
    /// The priority group.
    pub group: String,
    /// For overflow: serve it once so many messages are still to come; 0 for no such bound.
    pub min_pending: i64,
    /// For overflow: serve it once so many messages are unacknowledged; 0 for no such bound.
    pub min_ack_pending: i64,
    /// The pin that the client holds; empty if it holds none.
    pub id: String,
    /// For prioritized: from 0, which comes first, to 9.
    pub priority: i64,
}

/// The JSON form.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    #[serde(deserialize_with = "nullable")]
    batch: i64,
    #[serde(deserialize_with = "nullable")]
    expires: Nanos,
    #[serde(deserialize_with = "nullable")]
    max_bytes: i64,
    #[serde(deserialize_with = "nullable")]
    no_wait: bool,
    #[serde(deserialize_with = "nullable")]
    idle_heartbeat: Nanos,
    #[serde(deserialize_with = "nullable")]
    group: String,
    #[serde(deserialize_with = "nullable")]
    min_pending: i64,
    #[serde(deserialize_with = "nullable")]
    min_ack_pending: i64,
    #[serde(deserialize_with = "nullable")]
    id: String,
    #[serde(deserialize_with = "nullable")]
    priority: i64,
}

impl Default for PullRequest {
    fn default() -> Self {
        Self {
            batch: 1,
            expires: 0,
            max_bytes: 0,
            no_wait: false,
            idle_heartbeat: 0,
            formal: false,
            group: None,
        }
    }
}

impl<'de> Deserialize<'de> for PullRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Document::deserialize(deserializer).map(Self::from)
    }
}

impl From<Document> for PullRequest {
    fn from(document: Document) -> Self {
        let group = GroupRequest {
            group: document.group,
            min_pending: document.min_pending,
            min_ack_pending: document.min_ack_pending,
            id: document.id,
            priority: document.priority,
        };
        Self {
            batch: u64::try_from(document.batch).unwrap_or(0),
            expires: document.expires,
            max_bytes: u64::try_from(document.max_bytes).unwrap_or(0),
            no_wait: document.no_wait,
            idle_heartbeat: document.idle_heartbeat,
            formal: true,
            group: (group != GroupRequest::default()).then(|| Box::new(group)),
        }
    }
}

impl PullRequest {
    /// Reads a request's payload: empty for one message, a number for so many, or JSON; other text counts as one.
    ///
    /// # Errors
    /// The reason, as the client is told, if it is JSON and wrong.
    pub fn parse(payload: &[u8]) -> Result<Self, String> {
        let text = payload.trim_ascii();
        if text.starts_with(b"{") {
            let request: Self = serde_json::from_slice(text).map_err(|error| format!("invalid JSON: {error}"))?;
            if request.idle_heartbeat > 0 && request.expires < request.idle_heartbeat.saturating_mul(2) {
                return Err("heartbeat value too large".to_owned());
            }
            return Ok(request);
        }
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
        Ok(Self {
            batch: number.map_or(1, |number| u64::try_from(number).unwrap_or(0)),
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests;
