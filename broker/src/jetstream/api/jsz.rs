//! `/jsz` of the monitoring port: what JetStream holds, with the fields of nats-server 2.15.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::{Value, json};
use weir_conf::options::Durability;
use weir_engine::consumer::{ConsumerInfo, Standing};
use weir_engine::json::format_time;
use weir_engine::scrub::ScrubStatus;
use weir_engine::shard::InTurn;
use weir_engine::store::StreamEntry;

use super::account::{ApiUsage, Usage};
use super::consumer::describe_some;
use super::reply::{Consumer, State};
use super::stream::leader;
use super::why::why;
use crate::interest::Account;
use crate::jetstream::{JetStream, now};
use crate::version::API_LEVEL;

/// Accounts in one answer unless it is asked for more.
const ACCOUNTS_DEFAULT: usize = 1024;

/// What of it is wanted.
#[derive(Clone, Debug, Default)]
pub struct JszOptions {
    /// This account alone.
    pub account: Option<String>,
    /// Accounts in detail.
    pub accounts: bool,
    /// Their streams.
    pub streams: bool,
    /// The consumers of those.
    pub consumers: bool,
    /// What they are configured as.
    pub config: bool,
    /// Of the streams those of this name.
    pub stream: Option<String>,
    /// Of the consumers those of this name.
    pub consumer: Option<String>,
    /// Why each consumer sends nothing, if it does not.
    pub why: bool,
    /// What this server leads: all there is.
    pub raft: bool,
    /// Accounts before the first one shown.
    pub offset: usize,
    /// Accounts shown at most; 0: as many as is usual.
    pub limit: usize,
}

impl JszOptions {
    /// What follows from other options.
    fn completed(&self) -> Self {
        let consumers = self.consumers || self.consumer.is_some();
        let streams = self.streams || consumers || self.stream.is_some();
        Self {
            consumers,
            accounts: self.accounts || (streams && self.account.is_none()),
            streams,
            limit: match self.limit {
                0 => ACCOUNTS_DEFAULT,
                limit => limit,
            },
            ..self.clone()
        }
    }
}

/// What is told where there is no JetStream.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Absent {
    #[serde(flatten)]
    stats: Stats,
    config: Config,
    streams: usize,
    consumers: u64,
    messages: u64,
    bytes: u64,
    total: usize,
}

/// What JetStream holds.
#[derive(Clone, Debug, Serialize)]
pub struct Jsz {
    #[serde(flatten)]
    pub(crate) stats: Stats,
    pub(crate) config: Config,
    /// Those that are set.
    pub(crate) limits: BTreeMap<&'static str, i64>,
    streams: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    streams_leader: Option<usize>,
    consumers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumers_leader: Option<u64>,
    messages: u64,
    bytes: u64,
    /// Accounts that could be shown.
    total: usize,
    pub(crate) weir: Troubles,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    account_details: Vec<AccountDetail>,
}

/// What of it `/varz` repeats as well. Sizes are bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Stats {
    memory: u64,
    storage: u64,
    reserved_memory: u64,
    reserved_storage: u64,
    accounts: usize,
    ha_assets: u64,
    api: ApiUsage,
}

/// How it is set up.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Config {
    max_memory: u64,
    max_storage: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    store_dir: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_interval: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sync_always: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
}

/// How often a disk had to be waited for. Times are nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct DiskWaits {
    waiters: u64,
    waits: u64,
    wait_time: u64,
    max_wait_time: u64,
}

impl DiskWaits {
    pub fn of(js: &JetStream) -> Self {
        let (waits, waiters) = (&js.disk.waits, js.disk.waits.waiters.load(Ordering::Relaxed));
        Self {
            waiters,
            waits: waits.waits.load(Ordering::Relaxed),
            wait_time: waits.time.load(Ordering::Relaxed),
            max_wait_time: waits.longest.load(Ordering::Relaxed),
        }
    }
}

/// Ours: what is wrong, in numbers to be watched.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Troubles {
    streams_offline: usize,
    findings: usize,
    messages_lost: u64,
    scrub: Option<Scrub>,
}

/// How far the scrubber is.
#[derive(Clone, Debug, Serialize)]
struct Scrub {
    began: Option<String>,
    bytes_read: u64,
    bytes: u64,
    account: Option<String>,
    stream: Option<String>,
    findings: u64,
    last_findings: u64,
    last_full: Option<String>,
}

/// What one account holds.
#[derive(Clone, Debug, Serialize)]
struct AccountDetail {
    name: Box<str>,
    id: Box<str>,
    memory: u64,
    storage: u64,
    reserved_memory: u64,
    reserved_storage: u64,
    accounts: u64,
    ha_assets: u64,
    api: ApiUsage,
    /// If that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_detail: Option<Vec<Value>>,
}

/// The page. With `streams` or `consumers` it waits for the storage threads, on the thread that asks: the monitoring port's.
pub fn jsz(js: &Arc<JetStream>, options: &JszOptions) -> Jsz {
    let wanted = options.completed();
    let all = js.catalogue().all();
    let usage = Usage::of(&all);
    let mut accounts = js.accounts.all();
    accounts.retain(|account| js.allowance(&account.name).is_some());
    accounts.sort_by(|a, b| a.name.cmp(&b.name));
    let total = accounts.len();
    let shown: Vec<Arc<Account>> = match &wanted.account {
        Some(name) if accounts.iter().any(|account| *account.name == **name) => {
            accounts.into_iter().filter(|account| *account.name == **name).collect()
        }
        _ if wanted.accounts => accounts.into_iter().skip(wanted.offset).take(wanted.limit).collect(),
        _ => Vec::new(),
    };
    Jsz {
        stats: Stats {
            memory: usage.memory,
            storage: usage.storage,
            reserved_memory: usage.reserved_memory,
            reserved_storage: usage.reserved_storage,
            accounts: total,
            ha_assets: 0,
            api: ApiUsage::of(&js.api_requests, API_LEVEL),
        },
        config: config(js),
        limits: limits(js),
        streams: all.len(),
        streams_leader: Some(all.len()).filter(|leads| wanted.raft && *leads > 0),
        consumers: usage.consumers,
        consumers_leader: Some(usage.consumers).filter(|leads| wanted.raft && *leads > 0),
        messages: usage.messages,
        bytes: usage.memory + usage.storage,
        total,
        weir: troubles(js),
        account_details: shown
            .iter()
            .map(|account| account_detail(js, account, &wanted))
            .collect(),
    }
}

fn troubles(js: &JetStream) -> Troubles {
    let catalogue = js.catalogue();
    Troubles {
        streams_offline: catalogue.offline(),
        findings: catalogue.finding_count(),
        messages_lost: catalogue.lost(),
        scrub: js.store.scrubbed().map(scrub),
    }
}

fn scrub(status: ScrubStatus) -> Scrub {
    let of = status
        .stream
        .map(|(account, stream)| (account.to_string(), stream.to_string()));
    let (account, stream) = of.unzip();
    Scrub {
        began: status.began.map(|at| format_time(Some(at))),
        bytes_read: status.bytes,
        bytes: status.of,
        account,
        stream,
        findings: status.findings,
        last_findings: status.last_findings,
        last_full: status.last_full.map(|at| format_time(Some(at))),
    }
}

fn config(js: &JetStream) -> Config {
    Config {
        max_memory: js.capacity.memory,
        max_storage: js.capacity.file,
        store_dir: js.store_dir().display().to_string(),
        sync_interval: match js.options.default_durability() {
            Durability::Interval(interval) => u64::try_from(interval.as_nanos()).ok(),
            Durability::Sync | Durability::Os => None,
        },
        sync_always: matches!(js.options.default_durability(), Durability::Sync),
        strict: js.options.strict,
        domain: js.options.domain.clone(),
    }
}

fn limits(js: &JetStream) -> BTreeMap<&'static str, i64> {
    let limits = super::limits(js);
    let batch = &js.options.limits.batch;
    let given = [
        ("default_max_consumers", limits.default_max_consumers),
        ("max_ack_pending", limits.max_ack_pending),
        ("max_request_batch", limits.max_request_batch),
        ("max_duplicate_window", limits.duplicate_window),
        ("max_ha_assets", super::number(js.options.limits.max_ha_assets)),
        (
            "max_batch_inflight_per_stream",
            super::number(batch.max_inflight_per_stream),
        ),
        ("max_batch_inflight_total", super::number(batch.max_inflight_total)),
        ("max_batch_size", super::number(batch.max_msgs)),
        ("max_batch_timeout", batch.timeout.map_or(0, crate::jetstream::nanos)),
    ];
    given.into_iter().filter(|(_, limit)| *limit > 0).collect()
}

fn account_detail(js: &Arc<JetStream>, account: &Account, wanted: &JszOptions) -> AccountDetail {
    let streams = js.catalogue().list(&account.name);
    let usage = Usage::of(&streams);
    let limits = js.allowance(&account.name).unwrap_or_default();
    let details = || {
        streams
            .iter()
            .filter(|entry| wanted.stream.as_deref().is_none_or(|name| *entry.name == *name))
            .filter_map(|entry| stream_detail(js, entry, wanted))
            .collect()
    };
    AccountDetail {
        name: account.name.clone(),
        id: account.name.clone(),
        memory: usage.memory,
        storage: usage.storage,
        // Nats-server calls so what the account may have, and prints "no limit" as an unsigned number.
        reserved_memory: limits.max_memory.unwrap_or(u64::MAX),
        reserved_storage: limits.max_store.unwrap_or(u64::MAX),
        accounts: 0,
        ha_assets: 0,
        api: ApiUsage::of(&account.api, 0),
        stream_detail: wanted.streams.then(details),
    }
}

/// Nothing if the stream is gone, or its storage cannot be read.
fn stream_detail(js: &Arc<JetStream>, entry: &Arc<StreamEntry>, wanted: &JszOptions) -> Option<Value> {
    let (state, infos) = match look(js, entry, wanted) {
        Ok(found) => found?,
        Err(error) => {
            tracing::error!(stream = %entry.name, "jsz: {error}");
            return None;
        }
    };
    let mut detail = json!({
        "name": &*entry.name,
        "created": format_time(Some(entry.created)),
        "cluster": leader(js),
        "state": state,
    });
    if let Value::Object(fields) = &mut detail {
        if wanted.config {
            fields.insert("config".to_owned(), json!(entry.config));
        }
        if wanted.consumers && !infos.is_empty() {
            let shown: Vec<Value> = infos
                .into_iter()
                .map(|(info, standing)| {
                    let why = wanted.why.then(|| why(entry, standing.as_ref())).flatten();
                    let mut consumer = Consumer::of(info, now());
                    if !wanted.config {
                        consumer.config = None;
                    }
                    let mut consumer = json!(consumer);
                    if wanted.why {
                        consumer["why"] = json!(why);
                    }
                    consumer
                })
                .collect();
            fields.insert("consumer_detail".to_owned(), shown.into());
        }
    }
    Some(detail)
}

/// What a stream holds, and its consumers if they are wanted; `None` if it is gone. Waits for its storage thread, which is asked for
/// a bounded number of consumers in one turn.
fn look(js: &JetStream, entry: &StreamEntry, wanted: &JszOptions) -> weir_engine::Result<Option<(State, Vec<Told>)>> {
    let (id, consumers, only) = (entry.id, wanted.consumers, wanted.consumer.clone());
    let begin = move |shard: &mut InTurn<'_, '_>| {
        let Ok(stream) = shard.stream(id) else {
            return Ok(None);
        };
        let state = State::of(&stream.state()?, stream.consumer_count());
        let mut names = match consumers {
            true => VecDeque::from(stream.consumer_names()),
            false => VecDeque::new(),
        };
        names.retain(|name| only.as_deref().is_none_or(|only| **name == *only));
        Ok(Some((state, names)))
    };
    let shard = js.shard(entry.shard);
    let Some((state, mut names)) = shard.call_blocking(begin)? else {
        return Ok(None);
    };
    let why = wanted.why;
    let mut told: Vec<Told> = Vec::new();
    while !names.is_empty() {
        let some;
        (some, names) = shard.call_blocking(move |shard| {
            let some = describe_some(shard, id, &mut names);
            let some: Vec<Told> = some
                .into_iter()
                .map(|info| {
                    // What is refused here is told as nothing.
                    let standing = why.then(|| shard.consumer_standing(id, &info.name.consumer).ok());
                    (info, standing.flatten())
                })
                .collect();
            Ok((some, names))
        })?;
        told.extend(some);
    }
    Ok(Some((state, told)))
}

/// A consumer, and where it stands if that is wanted.
type Told = (ConsumerInfo, Option<Standing>);
