//! Activations: an account lets another one import.

use serde::{Deserialize, Serialize};

use crate::common::{Common, or_default};
use crate::exchange::Share;
use crate::issues::Issues;
use crate::token::Head;
use crate::{key, subject};

/// Which account may import what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ActivationClaims {
    /// What every token claims; its subject is the account that may import.
    #[serde(flatten)]
    pub common: Common,
    /// The rest.
    pub nats: Activation,
}

/// What only activations claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Activation {
    /// What may be imported.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub subject: String,
    /// What that is.
    #[serde(rename = "kind", skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// The account that lets it, if it was signed by one of its signing keys.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub issuer_account: String,
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

impl ActivationClaims {
    /// What is wrong with it, at whatever time.
    pub(crate) fn check_content(&self, issues: &mut Issues) {
        if self.nats.share.is_none() {
            issues.error("invalid import type: \"unknown\"");
        }
        subject::check(&self.nats.subject, issues);
        let account = &self.nats.issuer_account;
        if !account.is_empty() && !key::is_account(account) {
            issues.error("account_id is not an account public key");
        }
    }

    /// What is wrong with it at this time, in seconds since 1970.
    #[must_use]
    pub fn check(&self, now: i64) -> Issues {
        let mut issues = Issues::default();
        self.common.check(now, &mut issues);
        self.check_content(&mut issues);
        issues
    }

    /// What v1 has elsewhere: the subject and what it is are the same.
    pub(crate) fn migrate(mut self, head: Head) -> Self {
        self.nats.tags = head.tags;
        self.nats.issuer_account = head.issuer_account;
        self
    }
}
