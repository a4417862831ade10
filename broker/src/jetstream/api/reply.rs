//! Answers: the JSON documents, with the fields, order and omissions of nats-server 2.15.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use weir_engine::consumer::{ConsumerConfig, ConsumerInfo, GroupState, SeqPair};
use weir_engine::json::format_time;
use weir_engine::reject::Rejection;
use weir_engine::stream::ledger::Ledger;
use weir_engine::stream::{Digest, StreamConfig, StreamState};
use weir_engine::{NanoTime, Seq};

use super::call::Call;
use crate::jetstream::sourcing::SourceInfo;
use crate::version::{API_LEVEL, NATS_VERSION};

/// An answer with its type, and the rest.
#[derive(Serialize)]
struct Envelope<T> {
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Refusal>,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct Refusal {
    code: u16,
    err_code: u16,
    description: String,
}

#[derive(Serialize)]
struct Failed {
    #[serde(flatten)]
    page: Option<Page>,
    #[serde(flatten)]
    fields: Pairs,
}

/// Fields in their order.
struct Pairs(Vec<(&'static str, Value)>);

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Where a page of a list is in the whole.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Page {
    pub total: usize,
    pub offset: usize,
    pub limit: usize,
}

/// A page of the list `all` from `offset` on, which may be nonsense.
pub(super) fn page<T>(all: Vec<T>, offset: i64, limit: usize) -> (Page, Vec<T>) {
    let total = all.len();
    let offset = usize::try_from(offset).unwrap_or(0).min(total);
    let page = Page { total, offset, limit };
    (page, all.into_iter().skip(offset).take(limit).collect())
}

/// An answer.
pub(super) fn answer(call: Call<'_>, body: impl Serialize) -> Vec<u8> {
    document_of(call.kind(), body)
}

/// The answer to calls of a [kind](Call::kind).
pub(super) fn document_of(kind: &str, body: impl Serialize) -> Vec<u8> {
    document(kind, None, body)
}

/// The answer of calls that do something and have nothing to tell.
pub(super) fn success(call: Call<'_>) -> Vec<u8> {
    answer(call, json!({"success": true}))
}

/// An answer to the system account that says why not, whatever it asked.
pub(super) fn refusal_of_system(rejection: &Rejection) -> Vec<u8> {
    let error = Some(Refusal {
        code: rejection.status,
        err_code: rejection.code,
        description: rejection.text.to_string(),
    });
    let body = Failed {
        page: None,
        fields: Pairs(vec![]),
    };
    document("system", error, body)
}

/// An answer that says what is under way.
pub(super) fn initiated(call: Call<'_>) -> Vec<u8> {
    answer(call, json!({"initiated": true}))
}

/// An answer that says why not.
pub(super) fn refusal(call: Call<'_>, rejection: &Rejection) -> Vec<u8> {
    let error = Some(Refusal {
        code: rejection.status,
        err_code: rejection.code,
        description: rejection.text.to_string(),
    });
    // Fields that these answers always have.
    let (paged, fields) = match call {
        Call::StreamInfo(_) => (true, vec![]),
        Call::StreamNames => (true, vec![("streams", Value::Null)]),
        Call::StreamList => (true, vec![("streams", json!([]))]),
        Call::ConsumerNames(_) | Call::ConsumerList(_) => (true, vec![("consumers", json!([]))]),
        Call::ConsumerPause(..) => {
            let never = json!(format_time(None));
            (false, vec![("paused", json!(false)), ("pause_until", never)])
        }
        Call::ConsumerReset(..) => (false, vec![("reset_seq", json!(0))]),
        Call::StreamPurge(_) => (false, vec![("purged", json!(0))]),
        Call::StreamRestore(_) => (false, vec![("deliver_subject", json!(""))]),
        _ => (false, vec![]),
    };
    let body = Failed {
        page: paged.then(Page::default),
        fields: Pairs(fields),
    };
    document(call.kind(), error, body)
}

fn document(kind: &str, error: Option<Refusal>, body: impl Serialize) -> Vec<u8> {
    let envelope = Envelope {
        r#type: format!("io.nats.jetstream.api.v1.{kind}_response"),
        error,
        body,
    };
    // These are structures with string keys and no fallible serializers; an empty document would be seen at once.
    go_escape(serde_json::to_vec(&envelope).unwrap_or_default())
}

/// Go escapes what could end a script in HTML. In JSON these bytes stand only within strings.
fn go_escape(json: Vec<u8>) -> Vec<u8> {
    let special = |byte: &u8| matches!(byte, b'<' | b'>' | b'&');
    if !json.iter().any(special) {
        return json;
    }
    let mut out = Vec::with_capacity(json.len() + 32);
    for byte in json {
        match byte {
            b'<' => out.extend_from_slice(b"\\u003c"),
            b'>' => out.extend_from_slice(b"\\u003e"),
            b'&' => out.extend_from_slice(b"\\u0026"),
            other => out.push(other),
        }
    }
    out
}

/// A stream as clients are told.
#[derive(Serialize)]
pub(super) struct StreamInfo {
    pub config: StreamConfig,
    pub created: String,
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<SourceInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternates: Vec<Alternate>,
    /// Only while it is not where its metadata say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    pub ts: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weir: Option<Own>,
}

/// What no nats-server tells of a stream or a consumer; only where one is asked about.
#[derive(Serialize)]
pub(super) struct Own {
    /// 16 hexadecimal digits; see [`StreamState::digest`] and [`ConsumerInfo::digest`].
    digest: String,
}

impl Own {
    pub fn of(digest: Digest) -> Self {
        Self {
            digest: digest.to_string(),
        }
    }
}

/// A stream that goes over to another backend, or could not.
#[derive(Serialize)]
pub(super) struct Moving {
    pub from: String,
    pub to: String,
    /// Messages that are copied, and of how many.
    pub done: u64,
    pub of: u64,
    /// Why it stays where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether that is damage: it is not tried again by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
}

/// A stream that holds the same messages.
#[derive(Serialize)]
pub(super) struct Alternate {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    pub cluster: String,
}

/// The one server that leads everything.
#[derive(Clone, Serialize)]
pub(super) struct Cluster {
    pub leader: String,
}

/// What a stream holds.
#[derive(Serialize)]
pub(super) struct State {
    pub messages: u64,
    pub bytes: u64,
    pub first_seq: Seq,
    pub first_ts: String,
    pub last_seq: Seq,
    pub last_ts: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_subjects: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subjects: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_deleted: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<Seq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
    pub consumer_count: usize,
}

/// What a stream has lost.
#[derive(Serialize)]
pub(super) struct Lost {
    /// The lowest of the sequences.
    msgs: Vec<Seq>,
    /// The bytes that are lost with them, as far as is known.
    bytes: u64,
    /// How many there are, listed or not; no word of nats-server's.
    total: u64,
    /// How many of them somebody has settled.
    #[serde(skip_serializing_if = "is_zero")]
    settled: u64,
}

/// Lost sequences that are listed.
const LOST_MAX: usize = 1000;

impl Lost {
    /// `None` if nothing is lost.
    pub fn of(ledger: &Ledger) -> Option<Self> {
        let msgs = ledger.sequences(LOST_MAX);
        (!msgs.is_empty()).then(|| Self {
            msgs,
            bytes: ledger.bytes(),
            total: ledger.messages(),
            settled: ledger.messages().saturating_sub(ledger.unsettled()),
        })
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl State {
    pub fn of(state: &StreamState, consumers: usize) -> Self {
        Self {
            messages: state.messages,
            bytes: state.bytes,
            // A stream that never held anything has no first sequence yet.
            first_seq: state.first_seq,
            first_ts: format_time(state.first_time),
            last_seq: state.last_seq,
            last_ts: format_time(state.last_time),
            num_subjects: state.num_subjects,
            subjects: BTreeMap::new(),
            num_deleted: state.num_deleted,
            deleted: Vec::new(),
            lost: None,
            consumer_count: consumers,
        }
    }
}

/// A consumer as clients are told.
#[derive(Serialize)]
pub(super) struct Consumer {
    stream_name: String,
    name: String,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ConsumerConfig>,
    delivered: Sequences,
    ack_floor: Sequences,
    num_ack_pending: u64,
    num_redelivered: u64,
    num_waiting: u64,
    num_pending: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    push_bound: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    paused: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pause_remaining: u64,
    ts: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    priority_groups: Vec<Group>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weir: Option<Own>,
}

#[derive(Serialize)]
struct Group {
    group: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned_client_id: Option<String>,
    /// Go's zero time if nobody is pinned.
    pinned_ts: String,
}

impl Group {
    fn of(state: GroupState) -> Self {
        let (id, since) = state.pinned.unzip();
        Self {
            group: state.group,
            pinned_client_id: id.map(|id| id.to_string()),
            pinned_ts: format_time(since),
        }
    }
}

#[derive(Serialize)]
struct Sequences {
    consumer_seq: u64,
    stream_seq: Seq,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_active: Option<String>,
}

impl Sequences {
    fn of(pair: SeqPair, last: Option<NanoTime>) -> Self {
        Self {
            consumer_seq: pair.consumer,
            stream_seq: pair.stream,
            last_active: last.map(|time| format_time(Some(time))),
        }
    }
}

impl Consumer {
    pub fn of(info: ConsumerInfo, now: NanoTime) -> Self {
        Self {
            stream_name: info.name.stream.to_string(),
            name: info.name.consumer.to_string(),
            created: format_time(Some(info.created)),
            config: Some(info.config),
            delivered: Sequences::of(info.delivered, info.last_delivery),
            ack_floor: Sequences::of(info.ack_floor, info.last_ack),
            num_ack_pending: info.num_ack_pending,
            num_redelivered: info.num_redelivered,
            num_waiting: info.num_waiting,
            num_pending: info.num_pending,
            push_bound: info.push_bound,
            paused: info.pause_remaining > 0,
            pause_remaining: u64::try_from(info.pause_remaining).unwrap_or(0),
            priority_groups: info.groups.into_iter().map(Group::of).collect(),
            ts: format_time(Some(now)),
            weir: None,
        }
    }

    /// The same, with what only answers about one consumer carry.
    pub fn alone(mut self) -> Self {
        if let Some(config) = &mut self.config {
            add_versions(&mut config.metadata);
        }
        self
    }
}

/// Notes the server's version and API level, which are never stored.
pub(super) fn add_versions(metadata: &mut BTreeMap<String, String>) {
    metadata.insert("_nats.ver".to_owned(), NATS_VERSION.to_owned());
    metadata.insert("_nats.level".to_owned(), API_LEVEL.to_string());
}

#[cfg(test)]
mod tests;
