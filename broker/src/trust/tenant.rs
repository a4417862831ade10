//! An account that an operator has signed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use weir_jwt::{AccountClaims, Scope, SigningKey, limit};

use super::now;
use super::visa::rules;
use crate::interest::{Account, Limits, Traces};
use crate::permissions::Rules;

/// An account, and what it claims.
pub struct Tenant {
    /// Its subject space.
    pub account: Arc<Account>,
    held: ArcSwap<Held>,
    expired: AtomicBool,
    /// Whether its clients may come in: all parts of the server know of it.
    ready: AtomicBool,
}

/// What an account claims.
pub struct Held {
    /// The claims.
    pub claims: AccountClaims,
    /// The token that they came in; empty if there is none yet.
    pub token: String,
    /// Since when.
    pub since: Timestamp,
    /// What users may do that say nothing of it; `None`: everything.
    pub default_rules: Option<Arc<Rules>>,
    /// Keys that sign users, and what those may do, if that is said there.
    signers: HashMap<String, Option<Arc<Scope>>>,
}

impl Held {
    /// What these claims mean. `strict`: the account's own key signs nobody.
    pub(super) fn new(claims: AccountClaims, token: String, strict: bool) -> Self {
        let signer = |key: &SigningKey| match key {
            SigningKey::Plain(key) => (key.clone(), None),
            SigningKey::Scoped(scope) => (scope.key.clone(), Some(Arc::new((**scope).clone()))),
        };
        let mut signers: HashMap<_, _> = claims.nats.signing_keys.iter().map(signer).collect();
        if !strict {
            signers.insert(claims.common.subject.clone(), None);
        }
        Self {
            default_rules: rules(&claims.nats.default_permissions),
            signers,
            token,
            since: Timestamp::now(),
            claims,
        }
    }

    /// What users may do that this key signs, if that is said; `None`: it signs nobody.
    pub fn signer(&self, key: &str) -> Option<Option<&Arc<Scope>>> {
        self.signers.get(key).map(Option::as_ref)
    }

    /// Whether it holds no more, from the very second on that it names.
    pub fn has_expired(&self) -> bool {
        self.claims.common.left(now()).is_some_and(|left| left.is_zero())
    }

    /// How long it has claimed this.
    pub fn age(&self) -> Duration {
        Duration::try_from(Timestamp::now().duration_since(self.since)).unwrap_or_default()
    }

    /// What its clients may use.
    pub fn limits(&self) -> Limits {
        let limits = &self.claims.nats.limits;
        Limits {
            connections: limit(limits.conn),
            subscriptions: limit(limits.nats.subs),
            payload: limit(limits.nats.payload),
        }
    }

    /// Where it is told of messages that are part of a trace.
    pub fn traces(&self) -> Option<Traces> {
        let trace = self.claims.nats.trace.as_ref()?;
        let sampling = u8::try_from(trace.sampling)
            .ok()
            .filter(|share| (1..=100).contains(share));
        (!trace.destination.is_empty()).then(|| Traces {
            to: trace.destination.clone(),
            sampling: sampling.unwrap_or(100),
        })
    }
}

impl Tenant {
    pub(super) fn new(account: Arc<Account>, held: Held) -> Self {
        account.limit(held.limits());
        account.trace(held.traces());
        account.set_tag(Some(&held.claims.common.name));
        let expired = held.has_expired();
        Self {
            account,
            held: ArcSwap::from_pointee(held),
            expired: AtomicBool::new(expired),
            ready: AtomicBool::new(false),
        }
    }

    /// Its key, which is its name.
    pub fn key(&self) -> &str {
        &self.account.name
    }

    /// What it claims.
    pub fn held(&self) -> Arc<Held> {
        self.held.load_full()
    }

    /// Whether what it claims holds no more.
    pub fn is_expired(&self) -> bool {
        self.expired.load(Ordering::Acquire)
    }

    /// Claims something else from now on; what it claimed before.
    pub(super) fn hold(&self, held: Held) -> Arc<Held> {
        self.account.limit(held.limits());
        self.account.trace(held.traces());
        self.account.set_tag(Some(&held.claims.common.name));
        let expired = held.has_expired();
        let before = self.held.swap(Arc::new(held));
        self.expired.store(expired, Ordering::Release);
        before
    }

    /// Whether its clients may come in.
    pub fn is_open(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_expired()
    }

    pub(super) fn open(&self) {
        self.ready.store(true, Ordering::Release);
    }

    pub(super) fn expire(&self) {
        self.expired.store(true, Ordering::Release);
    }
}
