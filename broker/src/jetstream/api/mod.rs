//! The JetStream API: requests on `$JS.API.>`, decoded, handed to the storage threads, answered.
//!
//! Requests, answers, their order of checks and their texts are those of nats-server 2.15. What Weir cannot do yet is
//! refused by name.

mod account;
pub(super) mod at_once;
mod call;
mod consumer;
pub(super) mod decode;
mod deletion;
pub mod direct;
pub mod jsz;
pub mod load;
mod message;
mod reply;
mod restore;
pub(super) mod schema;
pub mod series;
mod snapshot;
mod stream;
#[cfg(test)]
mod tests;
mod why;

use std::sync::Arc;

use weir_engine::Kind;
use weir_engine::reject::{self, Rejection};
use weir_engine::store::StreamEntry;
use weir_engine::stream::validate::ServerLimits;
use weir_wire::headers;

use crate::jetstream::{ApiRequest, JetStream};
use crate::version::API_LEVEL;
use call::Call;
pub(super) use deletion::{Deletion, is_deletion};
pub use restore::RESTORES_MAX;
pub use snapshot::SNAPSHOTS_MAX;

/// Consumers of a stream that sets no limit, as nats-server has it since 2.15.
const MAX_CONSUMERS: i64 = 1000;

/// What a handler answers: the whole JSON document, or why not.
type Answer = Result<Vec<u8>, Rejection>;

/// An answer with a header block, which may be empty.
struct Reply {
    headers: Vec<u8>,
    body: Vec<u8>,
}

impl From<Vec<u8>> for Reply {
    fn from(body: Vec<u8>) -> Self {
        let headers = Vec::new();
        Self { headers, body }
    }
}

/// Serves one request. Without an answer if its subject is no call of the API, as nats-server.
pub async fn serve(jetstream: Arc<JetStream>, request: ApiRequest, under_way: load::UnderWay) {
    let subject = String::from_utf8_lossy(&request.subject).into_owned();
    let Some(call) = Call::parse(&subject) else { return };
    // As nats-server: whoever may not ask that hears nothing.
    if matches!(call, Call::AccountPurge(_)) && !jetstream.is_system(&request.account) {
        return;
    }
    // A heavy answer is made once the client has room for it, and not many are at once.
    let _turn = match is_heavy(call, &request) {
        true => {
            let turn = under_way.turn().await;
            if !load::room_for(request.from.as_ref()).await {
                return;
            }
            Some((turn, jetstream.api_load.heavy().await))
        }
        false => None,
    };
    let outcome = answer(&jetstream, call, &request).await;
    if let (Call::ConsumerReset(..), Err(rejection)) = (call, &outcome)
        && [reject::CONSUMER_NOT_FOUND, reject::STREAM_NOT_FOUND].contains(rejection)
    {
        // Resets are each consumer's own business there: of one that is not there nobody hears.
        return;
    }
    // Of gets, nats-server counts those in vain.
    if !matches!((call, &outcome), (Call::MsgGet(_), Ok(_))) {
        jetstream.count_request(&request.account);
    }
    let reply = outcome.unwrap_or_else(|rejection| refuse_with(&jetstream, call, &request, &rejection).into());
    jetstream.respond_with_headers(&request, &reply.headers, &reply.body);
    jetstream.audit(&request, &reply.body);
}

/// The answer to a request that says why not.
fn refuse_with(jetstream: &JetStream, call: Call<'_>, request: &ApiRequest, rejection: &Rejection) -> Vec<u8> {
    jetstream.count_error(&request.account);
    reply::refusal(call, rejection)
}

/// Whether a request is mostly answered from memory.
pub(super) fn is_quick(request: &ApiRequest) -> bool {
    let subject = std::str::from_utf8(&request.subject).unwrap_or_default();
    let call = Call::parse(subject);
    call.is_some_and(|call| matches!(call, Call::MsgGet(_) | Call::StreamInfo(_)) && !is_heavy(call, request))
}

/// Answers a request of an account that has no JetStream.
pub(super) fn not_enabled(jetstream: &JetStream, request: &ApiRequest) {
    let subject = String::from_utf8_lossy(&request.subject);
    match Call::parse(&subject) {
        None | Some(Call::AccountPurge(_)) => {}
        // nats-server does not look there what is asked.
        Some(call) if call != Call::Info && jetstream.is_system(&request.account) => {
            jetstream.respond(request, &reply::refusal_of_system(&reject::NOT_ENABLED_FOR_ACCOUNT));
        }
        Some(call) => jetstream.respond(request, &reply::refusal(call, &reject::NOT_ENABLED_FOR_ACCOUNT)),
    }
}

/// Answers a request that comes on top of too many, as publishers are: nats-server leaves those without an answer.
pub fn refuse(jetstream: &JetStream, request: &ApiRequest) {
    let subject = String::from_utf8_lossy(&request.subject);
    let Some(call) = Call::parse(&subject) else { return };
    jetstream.count_request(&request.account);
    jetstream.count_error(&request.account);
    jetstream.respond(request, &reply::refusal(call, &reject::STREAM_TOO_MANY_REQUESTS));
}

/// Whether an answer may be much longer than its request.
fn is_heavy(call: Call<'_>, request: &ApiRequest) -> bool {
    match call {
        Call::StreamInfo(_) => !is_empty(&request.payload),
        Call::StreamNames | Call::StreamList | Call::ConsumerNames(_) | Call::ConsumerList(_) => true,
        // The consumers of the stream are gathered.
        Call::StreamSnapshot(_) => true,
        _ => false,
    }
}

/// Makes the document of a heavy answer off the async workers.
async fn heavy_answer<T: serde::Serialize + Send + 'static>(call: Call<'_>, body: T) -> Answer {
    let kind = call.kind();
    let made = tokio::task::spawn_blocking(move || reply::document_of(kind, body));
    made.await.map_err(|error| reject::STREAM_GENERAL.with(error))
}

async fn answer(js: &Arc<JetStream>, call: Call<'_>, request: &ApiRequest) -> Result<Reply, Rejection> {
    // The calls of a cluster say so before anything else.
    if call.needs_cluster() {
        return Err(reject::CLUSTER_REQUIRED);
    }
    if !supports_level(&request.headers) {
        return Err(reject::REQUIRED_API_LEVEL);
    }
    let body = match call {
        Call::Info => account::info(js, request),
        Call::AccountPurge(name) => stream::purge_account(js, name).await,
        Call::StreamCreate(name) => stream::create(js, request, name).await,
        Call::StreamUpdate(name) => stream::update(js, request, name).await,
        Call::StreamDelete(name) => stream::delete(js, request, name).await,
        Call::StreamInfo(name) => stream::info(js, request, name).await,
        Call::StreamNames => stream::names(js, request),
        Call::StreamList => stream::list(js, request).await,
        Call::StreamPurge(name) => stream::purge(js, request, name).await,
        Call::StreamSnapshot(name) => snapshot::snapshot(js, request, name).await,
        Call::StreamRestore(name) => restore::restore(js, request, name).await,
        Call::MsgGet(name) => message::get(js, request, name).await,
        Call::MsgDelete(name) => message::delete(js, request, name).await,
        Call::ConsumerCreate(target) => return consumer::create(js, request, target).await,
        Call::ConsumerInfo(stream, name) => consumer::info(js, request, stream, name).await,
        Call::ConsumerNames(stream) => consumer::names(js, request, stream).await,
        Call::ConsumerList(stream) => consumer::list(js, request, stream).await,
        Call::ConsumerDelete(stream, name) => consumer::delete(js, request, stream, name).await,
        Call::ConsumerPause(stream, name) => consumer::pause(js, request, stream, name).await,
        Call::ConsumerUnpin(stream, name) => consumer::unpin(js, request, stream, name).await,
        Call::ConsumerReset(stream, name) => return consumer::reset(js, request, stream, name).await,
        Call::StreamStepdown
        | Call::StreamPeerRemove
        | Call::StreamPeerEvacuate
        | Call::StreamCancelMove
        | Call::ConsumerStepdown
        | Call::ConsumerPeerRemove
        | Call::ConsumerPeerEvacuate => Err(reject::CLUSTER_REQUIRED),
    };
    body.map(Reply::from)
}

/// Whether this server has the API level that a request demands, if it demands one.
fn supports_level(block: &[u8]) -> bool {
    let Some(level) = headers::get(block, "Nats-Required-Api-Level") else {
        return true;
    };
    std::str::from_utf8(level)
        .ok()
        .and_then(|level| level.parse::<i64>().ok())
        .is_some_and(|level| level <= API_LEVEL as i64)
}

/// The stream of that name in the request's account.
fn lookup(js: &JetStream, request: &ApiRequest, name: &str) -> Result<Arc<StreamEntry>, Rejection> {
    js.catalogue()
        .get(&request.account.name, name)
        .ok_or(reject::STREAM_NOT_FOUND)
}

/// What the configuration limits for an account.
fn limits_of(js: &JetStream, account: &str) -> ServerLimits {
    let mut limits = limits(js);
    let Some(allowance) = js.allowance(account) else {
        return limits;
    };
    // 0 is no limit.
    let least = |of: i64, limit: Option<u64>| match number(limit) {
        0 => of,
        limit if of == 0 => limit,
        limit => of.min(limit),
    };
    limits.max_ack_pending = least(limits.max_ack_pending, allowance.max_ack_pending);
    limits.default_max_consumers = least(limits.default_max_consumers, allowance.max_consumers);
    limits
}

/// What the server's configuration limits.
fn limits(js: &JetStream) -> ServerLimits {
    let limits = &js.options.limits;
    ServerLimits {
        max_ack_pending: number(limits.max_ack_pending),
        default_max_consumers: match limits.default_max_consumers {
            None | Some(0) => MAX_CONSUMERS,
            Some(most) => most.max(0),
        },
        max_request_batch: number(limits.max_request_batch),
        duplicate_window: limits
            .duplicate_window
            .map_or(0, |window| i64::try_from(window.as_nanos()).unwrap_or(i64::MAX)),
    }
}

/// A limit as the engine has it: 0 for none.
fn number(limit: Option<u64>) -> i64 {
    limit.map_or(0, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

/// What a client is told of an engine's error; `general` says it if the engine has no code for it.
fn refused(error: weir_engine::Error, general: &Rejection) -> Rejection {
    match error.rejection {
        Some(rejection) => rejection,
        None => {
            tell("JetStream", &error);
            general.with(error)
        }
    }
}

/// Notes an error that is no fault of a client's. Of a damaged record its stream has told already.
fn tell(doing: &str, error: &weir_engine::Error) {
    match error.kind {
        Kind::Damaged => tracing::debug!("{doing}: {error}"),
        _ => tracing::error!("{doing}: {error}"),
    }
}

/// Whether a body says nothing: no bytes, or an object without fields.
fn is_empty(payload: &[u8]) -> bool {
    payload.is_empty()
        || serde_json::from_slice::<serde_json::Value>(payload)
            .is_ok_and(|value| value.as_object().is_some_and(serde_json::Map::is_empty))
}

/// Whether a body begins like a JSON document. Where a request is optional, anything else counts as none.
fn is_json(payload: &[u8]) -> bool {
    matches!(payload.trim_ascii_start().first(), Some(b'{' | b'['))
}
