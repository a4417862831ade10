//! What an account uses.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use weir_conf::options::AccountJetStream;
use weir_engine::store::StreamEntry;
use weir_engine::stream::{Storage, StreamSource};

use super::call::Call;
use super::{Answer, reply};
use crate::interest::{Account, ApiCounters};
use crate::jetstream::allowance::{SINGLE, told};
use crate::jetstream::{ApiRequest, JetStream};
use crate::version::API_LEVEL;

/// What some streams hold together, in bytes, by JetStream's kinds of storage.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::jetstream) struct Usage {
    pub memory: u64,
    pub storage: u64,
    /// What `max_bytes` promises.
    pub reserved_memory: u64,
    pub reserved_storage: u64,
    pub messages: u64,
    pub consumers: u64,
}

impl Usage {
    /// Adds up.
    pub fn of<'e>(streams: impl IntoIterator<Item = &'e std::sync::Arc<StreamEntry>>) -> Self {
        let mut usage = Self::default();
        for entry in streams {
            let reserved = u64::try_from(entry.config.max_bytes).unwrap_or(0);
            match entry.config.storage {
                Storage::File => {
                    usage.storage += entry.stats.bytes();
                    usage.reserved_storage = usage.reserved_storage.saturating_add(reserved);
                }
                Storage::Memory => {
                    usage.memory += entry.stats.bytes();
                    usage.reserved_memory = usage.reserved_memory.saturating_add(reserved);
                }
            }
            usage.messages += entry.stats.messages();
            usage.consumers += entry.stats.consumers();
        }
        usage
    }
}

/// How many mirrors and sources read streams of the same account: in nats-server each is a consumer of its origin, and
/// counts as one.
fn copiers(streams: &[std::sync::Arc<StreamEntry>]) -> u64 {
    let of_here =
        |source: &&StreamSource| source.external.is_none() && streams.iter().any(|entry| *entry.name == *source.name);
    let copied = streams
        .iter()
        .flat_map(|entry| entry.config.mirror.iter().chain(&entry.config.sources));
    copied.filter(of_here).count() as u64
}

/// INFO.
pub(super) fn info(js: &JetStream, request: &ApiRequest) -> Answer {
    #[derive(serde::Serialize)]
    struct Info {
        memory: u64,
        storage: u64,
        reserved_memory: u64,
        reserved_storage: u64,
        streams: usize,
        consumers: u64,
        limits: Limits,
        #[serde(skip_serializing_if = "Option::is_none")]
        domain: Option<String>,
        api: ApiUsage,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        tiers: BTreeMap<String, Tier>,
        #[serde(skip_serializing_if = "Option::is_none")]
        weir: Option<OfTheStore>,
    }
    /// What is wrong with the store and not settled; nothing where nothing is.
    #[derive(serde::Serialize)]
    struct OfTheStore {
        findings: usize,
        /// In the words of `/healthz`, where no other account has streams.
        #[serde(skip_serializing_if = "Option::is_none")]
        trouble: Option<String>,
    }
    #[derive(serde::Serialize)]
    struct Tier {
        memory: u64,
        storage: u64,
        reserved_memory: u64,
        reserved_storage: u64,
        streams: usize,
        consumers: u64,
        limits: Limits,
    }
    #[derive(Default, serde::Serialize)]
    struct Limits {
        max_memory: i64,
        max_storage: i64,
        max_streams: i64,
        max_consumers: i64,
        max_ack_pending: i64,
        memory_max_stream_bytes: i64,
        storage_max_stream_bytes: i64,
        max_bytes_required: bool,
    }
    let streams = js.catalogue().list(&request.account.name);
    let usage = Usage::of(&streams);
    let limits = |allowance: AccountJetStream| Limits {
        max_memory: told(allowance.max_memory),
        max_storage: told(allowance.max_store),
        max_streams: told(allowance.max_streams),
        max_consumers: told(allowance.max_consumers),
        max_ack_pending: told(allowance.max_ack_pending),
        memory_max_stream_bytes: told(allowance.memory_max_stream_bytes),
        storage_max_stream_bytes: told(allowance.store_max_stream_bytes),
        max_bytes_required: allowance.max_bytes_required,
    };
    // All streams of this server are of one tier.
    let tier = |(name, allowance): (String, AccountJetStream)| {
        let here = name == SINGLE;
        let there = |number: u64| if here { number } else { 0 };
        let tier = Tier {
            memory: there(usage.memory),
            storage: there(usage.storage),
            reserved_memory: there(usage.reserved_memory),
            reserved_storage: there(usage.reserved_storage),
            streams: if here { streams.len() } else { 0 },
            consumers: there(usage.consumers + copiers(&streams)),
            limits: limits(allowance),
        };
        (name, tier)
    };
    let tiers: BTreeMap<_, _> = js.tiers(&request.account.name).into_iter().map(tier).collect();
    let allowance = js.allowance(&request.account.name).unwrap_or_default();
    let findings = js.catalogue().finding_count();
    let weir = (findings > 0).then(|| {
        let all = js.catalogue().all();
        let is_alone = all.iter().all(|entry| *entry.account == *request.account.name);
        OfTheStore {
            findings,
            trouble: js.catalogue().trouble().filter(|_| is_alone),
        }
    });
    let info = Info {
        memory: usage.memory,
        storage: usage.storage,
        reserved_memory: usage.reserved_memory,
        reserved_storage: usage.reserved_storage,
        streams: streams.len(),
        consumers: usage.consumers + copiers(&streams),
        limits: match tiers.is_empty() {
            true => limits(allowance),
            false => Limits::default(),
        },
        domain: js.options.domain.clone(),
        api: ApiUsage::of(&request.account.api, API_LEVEL),
        tiers,
        weir,
    };
    Ok(reply::answer(Call::Info, info))
}

/// How often the API was used, as clients and reports show it.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct ApiUsage {
    level: u64,
    total: u64,
    errors: u64,
}

impl ApiUsage {
    /// Of all accounts together, or of one.
    pub fn of(counters: &ApiCounters, level: u64) -> Self {
        Self {
            level,
            total: counters.total.load(Ordering::Relaxed),
            errors: counters.errors.load(Ordering::Relaxed),
        }
    }
}

impl JetStream {
    /// A request of an account was answered.
    pub(super) fn count_request(&self, account: &Account) {
        for counters in [&self.api_requests, &account.api] {
            counters.total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The answer said that something is wrong.
    pub(super) fn count_error(&self, account: &Account) {
        for counters in [&self.api_requests, &account.api] {
            counters.errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}
