//! Users.

use serde::{Deserialize, Serialize};

use crate::common::{Common, or_default};
use crate::issues::Issues;
use crate::key;
use crate::permissions::{NatsLimits, UserPermissions};
use crate::token::Head;

/// Who a user is, and what it may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserClaims {
    /// What every token claims; its subject is the user's key.
    #[serde(flatten)]
    pub common: Common,
    /// The rest.
    pub nats: User,
}

/// What only users claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// What it may do.
    #[serde(flatten)]
    pub rights: UserPermissions,
    /// The account that it is in, if it was signed by one of that account's signing keys.
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

impl UserClaims {
    /// Of a user with this key, without limits.
    #[must_use]
    pub fn new(subject: &str) -> Self {
        let mut claims = Self::default();
        claims.common.subject = subject.to_owned();
        claims.nats.rights.limits = NatsLimits::NONE;
        claims
    }

    /// The account that it is in, by its key.
    #[must_use]
    pub fn account(&self) -> &str {
        match self.nats.issuer_account.as_str() {
            "" => &self.common.issuer,
            account => account,
        }
    }

    /// Whether it says nothing of what it may do, as users of scoped signing keys must.
    #[must_use]
    pub fn has_empty_permissions(&self) -> bool {
        self.nats.rights == UserPermissions::default()
    }

    /// What is wrong with it at this time, in seconds since 1970.
    #[must_use]
    pub fn check(&self, now: i64) -> Issues {
        let mut issues = Issues::default();
        self.common.check(now, &mut issues);
        self.nats.rights.check(&mut issues);
        let account = &self.nats.issuer_account;
        if !account.is_empty() && !key::is_account(account) {
            issues.error("account_id is not an account public key");
        }
        issues
    }

    /// Takes over what v1 has elsewhere. What it does not say is without limit.
    pub(crate) fn migrate(mut self, head: Head, limits: &serde_json::Value) -> Self {
        let limit = |name: &str, read: i64| match limits.get(name) {
            None => -1,
            Some(_) => read,
        };
        let of = &mut self.nats.rights.limits;
        *of = NatsLimits {
            subs: limit("subs", of.subs),
            data: limit("data", of.data),
            payload: limit("payload", of.payload),
        };
        self.nats.rights.allowed_connection_types = Vec::new();
        self.nats.rights.proxy_required = false;
        self.nats.tags = head.tags;
        self.nats.issuer_account = head.issuer_account;
        self
    }
}
