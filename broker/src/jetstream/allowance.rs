//! What an account may store, where the configuration says so.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use weir_conf::options::AccountJetStream;
use weir_engine::meta::{AccountLimits, Limits};
use weir_engine::reject::{self, Rejection};
use weir_engine::stream::Storage;

use super::outlet::write_pub_ack;
use super::{ApiRequest, JetStream};
use crate::interest::{Account, Inbound, Service, Work};
use crate::routing::Courier;

/// What accounts may store, by their names. One that is missing has no JetStream.
pub type Allowances = HashMap<Box<str>, Allowance>;

/// What an account may store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// In all.
    pub limits: AccountJetStream,
    /// By the replicas of its streams (`R1`), in the place of that; empty: they are no matter.
    pub tiers: BTreeMap<String, AccountJetStream>,
}

/// The tier of streams without further replicas: all that one server has.
pub(super) const SINGLE: &str = "R1";

impl From<AccountJetStream> for Allowance {
    fn from(limits: AccountJetStream) -> Self {
        Self {
            limits,
            tiers: BTreeMap::new(),
        }
    }
}

impl Allowance {
    /// What holds for streams of this server; `None`: it may have none.
    fn here(&self) -> Option<AccountJetStream> {
        match self.tiers.is_empty() {
            true => Some(self.limits),
            false => self.tiers.get(SINGLE).copied(),
        }
    }
}

/// -1 is "no limit".
pub(super) fn told(limit: Option<u64>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

impl JetStream {
    /// What an account may store; `None`: it has no JetStream.
    pub fn allowance(&self, account: &str) -> Option<AccountJetStream> {
        let allowances = self.allowances.read();
        allowances
            .get(account)
            .map(|allowance| allowance.here().unwrap_or_default())
    }

    /// What an account may store by the replicas of its streams; empty: they are no matter.
    pub(super) fn tiers(&self, account: &str) -> BTreeMap<String, AccountJetStream> {
        let allowances = self.allowances.read();
        allowances
            .get(account)
            .map(|allowance| allowance.tiers.clone())
            .unwrap_or_default()
    }

    /// Whether an account may have streams, and none of those that one server has.
    fn is_tierless(&self, account: &str) -> bool {
        let allowances = self.allowances.read();
        allowances
            .get(account)
            .is_some_and(|allowance| allowance.here().is_none())
    }

    /// Has an account store no more than that from now on; `None`: nothing. Its streams stay, and are there for its clients or not.
    pub async fn grant(self: &Arc<Self>, account: &Arc<Account>, allowance: Option<Allowance>) {
        let _alone = self.granting.lock().await;
        let before = {
            let mut allowances = self.allowances.write();
            match &allowance {
                Some(allowance) => allowances.insert(account.name.clone(), allowance.clone()),
                None => allowances.remove(&account.name),
            }
        };
        if before == allowance && self.is_attached(account) {
            return;
        }
        if let Err(error) = self.attach_account(account).await {
            tracing::error!("Error configuring jetstream for account [{}]: {error}", account.name);
        }
    }

    /// What a stream of an account has to fit into.
    ///
    /// # Errors
    /// The account may have no streams.
    pub(super) fn limits_of_streams(&self, account: &str) -> Result<Limits, Rejection> {
        let Some(allowance) = self.allowance(account) else {
            return Err(reject::NOT_ENABLED_FOR_ACCOUNT);
        };
        if self.is_tierless(account) {
            return Err(reject::NO_LIMITS);
        }
        Ok(Limits {
            capacity: self.capacity,
            account: AccountLimits {
                streams: allowance.max_streams,
                memory: allowance.max_memory,
                file: allowance.max_store,
                memory_stream: allowance.memory_max_stream_bytes,
                file_stream: allowance.store_max_stream_bytes,
                bytes_required: allowance.max_bytes_required,
            },
        })
    }

    /// What an account may hold in this kind of storage, in bytes; `None`: it has no limit.
    pub(super) fn limit(&self, account: &str, storage: Storage) -> Option<u64> {
        let allowance = self.allowance(account)?;
        match storage {
            Storage::File => allowance.max_store,
            Storage::Memory => allowance.max_memory,
        }
    }

    /// Forgets what an account may store.
    pub(super) fn revoke(&self, account: &str) {
        self.allowances.write().remove(account);
    }
}

/// Tells the clients of an account without JetStream that there is none.
pub(super) struct NotEnabled {
    pub jetstream: Weak<JetStream>,
    pub account: Arc<Account>,
}

impl Service for NotEnabled {
    fn message(&self, message: &Inbound<'_>, _: &mut Work) {
        let Some(jetstream) = self.jetstream.upgrade() else {
            return;
        };
        let request = ApiRequest {
            subject: message.own(message.subject),
            reply: message.own(message.reply),
            headers: message.own(message.headers),
            payload: message.own(message.payload),
            account: Arc::clone(&self.account),
            from: message.from.cloned(),
        };
        super::api::not_enabled(&jetstream, &request);
    }
}

/// Answers a publisher whose account holds more than it may.
pub(super) fn refuse_publish(account: &Arc<Account>, stream: &str, message: &Inbound<'_>) {
    if message.reply.is_empty() {
        return;
    }
    let error = weir_engine::Error::from(reject::ACCOUNT_RESOURCES_EXCEEDED);
    let mut text = Vec::new();
    write_pub_ack(&mut text, Err(&error), stream, None);
    let mut courier = Courier::telling(Arc::clone(account));
    courier.send(message.reply, message.reply, b"", b"", &text);
}
