//! Operators.

use serde::{Deserialize, Serialize};

use crate::common::{Common, or_default};
use crate::token::Head;

/// Who an operator is, and which other keys sign for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperatorClaims {
    /// What every token claims; its subject is the operator's key.
    #[serde(flatten)]
    pub common: Common,
    /// The rest.
    pub nats: Operator,
}

/// What only operators claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Operator {
    /// Other keys that sign for it.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub signing_keys: Vec<String>,
    /// Where accounts are looked up by HTTP, without `/accounts/<key>`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub account_server_url: String,
    /// Where its servers are.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub operator_service_urls: Vec<String>,
    /// The account of its servers' own events.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub system_account: String,
    /// The oldest server that may serve it.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub assert_server_version: String,
    /// Whether only signing keys sign accounts.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "or_default")]
    pub strict_signing_key_usage: bool,
    /// Labels.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub tags: Vec<String>,
    #[serde(
        rename = "type",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub(crate) kind: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) version: i64,
}

impl OperatorClaims {
    /// Of an operator with this key.
    #[must_use]
    pub fn new(subject: &str) -> Self {
        let mut claims = Self::default();
        claims.common.subject = subject.to_owned();
        claims
    }

    pub(crate) fn migrate(mut self, head: Head) -> Self {
        self.nats.tags = head.tags;
        self.nats.assert_server_version = String::new();
        self.nats.strict_signing_key_usage = false;
        self
    }
}

/// The parts of `major.minor.update`; empty is the oldest.
///
/// # Errors
/// It is no such version; why, in words.
pub fn server_version(text: &str) -> Result<(u64, u64, u64), String> {
    if text.is_empty() {
        return Ok((0, 0, 0));
    }
    let parts: Vec<&str> = text.split('.').collect();
    let [major, minor, update] = parts[..] else {
        return Err("asserted server version must be of the form <major>.<minor>.<update>".to_owned());
    };
    let number = |part: &str| {
        part.parse()
            .map_err(|_| format!("asserted server version cant parse {part} to int"))
    };
    Ok((number(major)?, number(minor)?, number(update)?))
}
