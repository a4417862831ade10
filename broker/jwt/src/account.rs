//! Accounts.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::common::{Common, is_zero, or_default};
use crate::exchange::{self, Export, Import};
use crate::issues::Issues;
use crate::permissions::{NatsLimits, Permissions, UserPermissions};
use crate::token::Head;
use crate::{key, subject};

/// Longest text that people say of something, in bytes.
const INFO_MAX: usize = 8 * 1024;

/// Who an account is, and what its users may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountClaims {
    /// What every token claims; its subject is the account's key.
    #[serde(flatten)]
    pub common: Common,
    /// The rest.
    pub nats: Account,
}

/// What only accounts claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// What it takes from others.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub imports: Vec<Import>,
    /// What others may have.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub exports: Vec<Export>,
    /// How much its users may have together.
    #[serde(deserialize_with = "or_default")]
    pub limits: OperatorLimits,
    /// Other keys that sign users for it.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub signing_keys: Vec<SigningKey>,
    /// Users that were signed until then are void, in seconds since 1970; `*`: all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub revocations: BTreeMap<String, i64>,
    /// What users may do that say nothing of it.
    #[serde(deserialize_with = "or_default")]
    pub default_permissions: Permissions,
    /// Subjects that are others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub mappings: BTreeMap<String, Vec<Mapping>>,
    /// Who decides about its users beside the server.
    #[serde(deserialize_with = "or_default")]
    pub authorization: ExternalAuthorization,
    /// Where messages are traced that others want traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// Which account the traffic of a cluster belongs to.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub cluster_traffic: String,
    /// What people say of it.
    #[serde(flatten)]
    pub info: Info,
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

/// What people say of something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// In words.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub description: String,
    /// On a page.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub info_url: String,
}

impl Info {
    pub(crate) fn check(&self, issues: &mut Issues) {
        if self.description.len() > INFO_MAX {
            issues.error("Description is too long");
        }
        if self.info_url.is_empty() {
            return;
        }
        if self.info_url.len() > INFO_MAX {
            issues.error("Info URL is too long");
        }
        let named =
            |(scheme, rest): (&str, &str)| !scheme.is_empty() && !rest.is_empty() && !rest.starts_with(['/', ':']);
        if !self.info_url.split_once("://").is_some_and(named) {
            issues.error("error parsing info url: no hostname or scheme");
        }
    }
}

/// What an operator lets an account have. -1 is "no limit"; 0 is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperatorLimits {
    /// Of each connection.
    #[serde(flatten)]
    pub nats: NatsLimits,
    /// Imports.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub imports: i64,
    /// Exports.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub exports: i64,
    /// Whether exports may have wildcards.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "or_default")]
    pub wildcards: bool,
    /// Whether no token alone may prove who comes.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "or_default")]
    pub disallow_bearer: bool,
    /// Connections at once.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub conn: i64,
    /// Leaf nodes at once.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub leaf: i64,
    /// Streams, whatever their replicas.
    #[serde(flatten)]
    pub jetstream: JetStreamLimits,
    /// Streams by their replicas: `R1`, `R3`.
    #[serde(
        rename = "tiered_limits",
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "or_default"
    )]
    pub tiers: BTreeMap<String, JetStreamLimits>,
}

/// What an account may store. -1 is "no limit".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JetStreamLimits {
    /// Bytes of streams in memory; 0: none.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub mem_storage: i64,
    /// Bytes of other streams; 0: none.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub disk_storage: i64,
    /// Streams.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub streams: i64,
    /// Consumers.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub consumer: i64,
    /// What a consumer may have unacknowledged; 0: no limit.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub max_ack_pending: i64,
    /// Bytes of one stream in memory; 0: no limit.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub mem_max_stream_bytes: i64,
    /// Bytes of another one; 0: no limit.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub disk_max_stream_bytes: i64,
    /// Whether a stream must say how large it may become.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "or_default")]
    pub max_bytes_required: bool,
}

impl OperatorLimits {
    /// What an account may store; `None`: nothing, of no tier.
    #[must_use]
    pub fn storage(&self) -> Option<Grant<'_>> {
        let grants = |limits: &JetStreamLimits| limits.mem_storage != 0 || limits.disk_storage != 0;
        match self.tiers.is_empty() {
            true => grants(&self.jetstream).then_some(Grant::Whole(&self.jetstream)),
            false => self.tiers.values().any(grants).then_some(Grant::Tiers(&self.tiers)),
        }
    }

    fn are_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What an account may store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant<'a> {
    /// Whatever the replicas of its streams.
    Whole(&'a JetStreamLimits),
    /// By those.
    Tiers(&'a BTreeMap<String, JetStreamLimits>),
}

/// A key that signs users for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SigningKey {
    /// They may do what they say.
    Plain(String),
    /// They may do what is said here.
    Scoped(Box<Scope>),
}

/// What users may do that are signed by a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// What it is about: `user_scope`.
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    /// The key.
    #[serde(deserialize_with = "or_default")]
    pub key: String,
    /// What people call it.
    #[serde(deserialize_with = "or_default")]
    pub role: String,
    /// What they may do; subjects may have places to [fill](crate::fill).
    #[serde(deserialize_with = "or_default")]
    pub template: UserPermissions,
    /// What people say of it.
    #[serde(deserialize_with = "or_default")]
    pub description: String,
}

impl SigningKey {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Plain(key) => key,
            Self::Scoped(scope) => &scope.key,
        }
    }
}

impl<'de> Deserialize<'de> for SigningKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        match Value::deserialize(from)? {
            Value::String(key) => Ok(Self::Plain(key)),
            value @ Value::Object(_) => {
                if value["kind"] != "user_scope" {
                    return Err(D::Error::custom("unknown signing key scope"));
                }
                let said = value["template"].clone();
                let mut scope: Scope = serde_json::from_value(value).map_err(D::Error::custom)?;
                // What a template does not say is without limit.
                let limits = &mut scope.template.limits;
                for (name, limit) in [
                    ("subs", &mut limits.subs),
                    ("data", &mut limits.data),
                    ("payload", &mut limits.payload),
                ] {
                    if said.get(name).is_none_or(Value::is_null) {
                        *limit = -1;
                    }
                }
                Ok(Self::Scoped(Box::new(scope)))
            }
            _ => Err(D::Error::custom("a signing key is a text or a scope")),
        }
    }
}

/// What a subject is in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mapping {
    /// The other subject.
    pub subject: String,
    /// Of how many of a hundred messages; 0: of all.
    #[serde(skip_serializing_if = "is_nothing", deserialize_with = "or_default")]
    pub weight: u8,
    /// In which cluster; empty: in any.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub cluster: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_nothing(weight: &u8) -> bool {
    *weight == 0
}

impl Mapping {
    /// Of how many of a hundred messages.
    #[must_use]
    pub fn percent(&self) -> u8 {
        if self.weight == 0 { 100 } else { self.weight }
    }
}

/// A service that decides about users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExternalAuthorization {
    /// Users that it does not decide about: those that it is; without any, nobody is asked.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub auth_users: Vec<String>,
    /// Other accounts that it may let users in to; `*`: any.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub allowed_accounts: Vec<String>,
    /// The key to encrypt for; empty: nothing is encrypted.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub xkey: String,
}

impl ExternalAuthorization {
    /// Whether there is one.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        !self.auth_users.is_empty()
    }

    /// Whether it may let users in to this account beside its own.
    #[must_use]
    pub fn allows(&self, account: &str) -> bool {
        *self.allowed_accounts == ["*"] || self.allowed_accounts.iter().any(|allowed| allowed == account)
    }

    fn check(&self, issues: &mut Issues) {
        if !self.allowed_accounts.is_empty() && self.auth_users.is_empty() {
            issues.error("External authorization cannot have accounts without users specified");
        }
        for user in self.auth_users.iter().filter(|user| !key::is_user(user)) {
            issues.error(format!("AuthUser {user:?} is not a valid user public key"));
        }
        for account in &self.allowed_accounts {
            match account == "*" {
                true if self.allowed_accounts.len() > 1 => {
                    issues.error("AllowedAccounts can only be a list of accounts or \"*\"");
                }
                false if !key::is_account(account) => {
                    issues.error(format!("Account {account:?} is not a valid account public key"));
                }
                _ => {}
            }
        }
        if !self.xkey.is_empty() && !key::is_curve(&self.xkey) {
            issues.error(format!("XKey {:?} is not a valid public xkey", self.xkey));
        }
    }
}

/// Where messages are traced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// The subject.
    #[serde(
        rename = "dest",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub destination: String,
    /// How many of a hundred; 0: all.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub sampling: i64,
}

impl AccountClaims {
    /// Of an account with this key, without limits, and without JetStream.
    #[must_use]
    pub fn new(subject: &str) -> Self {
        let mut claims = Self::default();
        claims.common.subject = subject.to_owned();
        claims.nats.limits = OperatorLimits {
            nats: NatsLimits::NONE,
            imports: -1,
            exports: -1,
            wildcards: true,
            conn: -1,
            leaf: -1,
            ..OperatorLimits::default()
        };
        claims
    }

    /// Whether a user with this key that was signed at this time is void, in seconds since 1970.
    #[must_use]
    pub fn has_revoked(&self, user: &str, issued_at: i64) -> bool {
        let since = |who: &str| self.nats.revocations.get(who).is_some_and(|&until| until >= issued_at);
        since(user) || since("*")
    }

    /// What is wrong with it at this time, in seconds since 1970.
    #[must_use]
    pub fn check(&self, now: i64) -> Issues {
        let (mut issues, nats) = (Issues::default(), &self.nats);
        self.common.check(now, &mut issues);
        exchange::check_imports(&nats.imports, &self.common.subject, &mut issues);
        exchange::check_exports(&nats.exports, &mut issues);
        self.check_limits(&mut issues);
        nats.default_permissions.check(&mut issues);
        check_mappings(&nats.mappings, &mut issues);
        nats.authorization.check(&mut issues);
        if let Some(trace) = &nats.trace {
            subject::check(&trace.destination, &mut issues);
            if subject::has_wildcards(&trace.destination) {
                issues.error(format!(
                    "the account Trace.Destination subject {:?} is not a valid publish subject",
                    trace.destination
                ));
            }
            if !(0..=100).contains(&trace.sampling) {
                issues.error(format!(
                    "the account Trace.Sampling value '{}' is not valid, should be in the range [1..100]",
                    trace.sampling
                ));
            }
        }
        for key in nats.signing_keys.iter().map(SigningKey::key) {
            if !key::is_account(key) {
                issues.error(format!("{key:?} is not a valid account signing key"));
            }
        }
        nats.info.check(&mut issues);
        if !["", "system", "owner"].contains(&nats.cluster_traffic.as_str()) {
            issues.error(format!("unknown cluster traffic option: {:?}", nats.cluster_traffic));
        }
        issues
    }

    fn check_limits(&self, issues: &mut Issues) {
        let (limits, nats) = (&self.nats.limits, &self.nats);
        if !limits.tiers.is_empty() && limits.tiers.contains_key("") {
            issues.error("Tiered JetStream Limits can not contain a blank \"\" tier name");
        }
        let more = |there: usize, limit: i64| limit != -1 && i64::try_from(there).unwrap_or(i64::MAX) > limit;
        if more(nats.imports.len(), limits.imports)
            || !limits.are_empty() && limits.imports >= 0 && more(nats.imports.len(), limits.imports)
        {
            issues.error("the account contains more imports than allowed by the operator");
        }
        if more(nats.exports.len(), limits.exports) {
            issues.error("the account contains more exports than allowed by the operator");
        }
        let wild = |export: &Export| subject::has_wildcards(&export.subject);
        if limits.exports != -1 && !limits.wildcards && nats.exports.iter().any(wild) {
            issues.error("the account contains wildcard exports that are not allowed by the operator");
        }
    }

    /// What both kinds of limits for streams say cannot hold at once: those by replicas do.
    pub(crate) fn tiers_alone(mut self) -> Self {
        if !self.nats.limits.tiers.is_empty() {
            self.nats.limits.jetstream = JetStreamLimits::default();
        }
        self
    }

    /// What v1 has elsewhere, and what it does not have.
    pub(crate) fn migrate(self, head: Head) -> Self {
        let of = self.nats;
        let limits = OperatorLimits {
            jetstream: JetStreamLimits::default(),
            tiers: BTreeMap::new(),
            disallow_bearer: of.limits.disallow_bearer,
            ..of.limits
        };
        Self {
            common: self.common,
            nats: Account {
                imports: of.imports,
                exports: of.exports,
                limits,
                signing_keys: of.signing_keys,
                revocations: of.revocations,
                tags: head.tags,
                ..Account::default()
            },
        }
    }
}

fn check_mappings(mappings: &BTreeMap<String, Vec<Mapping>>, issues: &mut Issues) {
    for (from, to) in mappings {
        subject::check(from, issues);
        let mut total: BTreeMap<&str, u32> = BTreeMap::new();
        for mapping in to {
            subject::check(&mapping.subject, issues);
            if mapping.percent() > 100 {
                issues.error(format!(
                    "Mapping {from:?} has a weight {} that exceeds 100",
                    mapping.percent()
                ));
            }
            *total.entry(&mapping.cluster).or_default() += u32::from(mapping.percent());
        }
        if total.values().any(|&total| total > 100) {
            issues.error(format!(
                "Mapping {from:?} exceeds 100% among all of it's weighted to mappings"
            ));
        }
    }
}
