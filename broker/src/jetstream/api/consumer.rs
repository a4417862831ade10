//! Consumers: made, changed, paused, described, deleted.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use weir_engine::consumer::validate::{Action, Existing, is_group_name, paused, validate_new, validate_update};
use weir_engine::consumer::{ConsumerConfig, ConsumerInfo, Preparation};
use weir_engine::json::{format_time, parse_time};
use weir_engine::reject::{self, Rejection};
use weir_engine::shard::InTurn;
use weir_engine::store::StreamEntry;
use weir_engine::stream::identity;
use weir_engine::stream::validate::ServerLimits;
use weir_engine::{NanoTime, StreamId};
use weir_wire::headers::{self, HeaderBuf};

use super::call::{Call, Target};
use super::decode::{decode, decode_whole};
use super::message::seek;
use super::reply::{self, Consumer, Own, Page};
use super::stream::optional;
use super::why::why;
use super::{Answer, Reply, heavy_answer, is_empty, limits_of, lookup, refused, schema};
use crate::jetstream::{ApiRequest, JetStream, now};

/// Names in one answer.
const NAMES_PAGE: usize = 1024;
/// Consumers in one answer.
const LIST_PAGE: usize = 256;
/// Consumers, and filters of theirs, that one turn of a storage thread describes.
const DESCRIBED: usize = 256;
/// Letters of a name that the server makes up, as nats-server's.
const MADE_UP_LEN: usize = 8;

#[derive(Default, Deserialize)]
#[serde(default)]
struct CreateRequest {
    stream_name: String,
    config: ConsumerConfig,
    action: String,
    pedantic: bool,
}

/// CONSUMER.CREATE and CONSUMER.DURABLE.CREATE.
pub(super) async fn create(js: &Arc<JetStream>, request: &ApiRequest, target: Target<'_>) -> Result<Reply, Rejection> {
    let asked: CreateRequest = decode(&request.payload, &schema::CONSUMER_CREATE, js.options.strict)
        .map_err(|why| reject::INVALID_JSON.with(why))?;
    let mut config = asked.config;
    address(target, &asked.stream_name, &mut config)?;
    if config.num_replicas > 1 {
        return Err(reject::STREAM_REPLICAS_NOT_SUPPORTED);
    }
    let action = match asked.action.as_str() {
        "create" => Action::Create,
        "update" => Action::Update,
        _ => Action::CreateOrUpdate,
    };
    let (limits, pedantic) = (limits_of(js, &request.account.name), asked.pedantic);
    // Where there is no such stream, that is told below.
    if let Ok(entry) = lookup(js, request, &asked.stream_name) {
        seek(js, &entry, config.opt_start_time).await;
    }
    // A stream that is just being made would not hear of its consumers.
    let entry = js.settled(&request.account.name, &asked.stream_name).await;
    let entry = entry.ok_or(reject::STREAM_NOT_FOUND)?;
    let mut headers = Vec::new();
    if config.direct || config.sourcing {
        let identity = identity(entry.created);
        let expected = headers::get(&request.headers, IDENTITY).unwrap_or_default();
        if !expected.is_empty() && expected != identity.as_bytes() {
            return Err(reject::CONSUMER_STREAM_IDENTITY_MISMATCH.with(identity));
        }
        headers = identity_block(&identity);
    }
    let id = entry.id;
    let before = now();
    let limits = Arc::new(limits);
    let (mut preparation, mut made) = (Preparation::default(), None);
    while made.is_none() {
        let (config, limits) = (config.clone(), Arc::clone(&limits));
        let (weak, account, of) = (Arc::downgrade(js), Arc::clone(&request.account), Arc::clone(&entry));
        let work = move |shard: &mut InTurn<'_, '_>| {
            let made = create_or_update(shard, id, config, action, &limits, pedantic, &mut preparation)?;
            Ok((made, preparation))
        };
        // On the storage thread: it hears its requests before anybody changes or deletes it, and is not heard of after that.
        let some = js.call_then(entry.shard, work, move |(made, preparation)| {
            if let (Some(info), Some(js)) = (&made, weak.upgrade()) {
                js.attach_consumer(&account, &of, &info.name.consumer, &info.config)
                    .map_err(|error| reject::CONSUMER_CREATE.with(error))?;
            }
            Ok((made, preparation))
        });
        (made, preparation) = some.await.map_err(|error| refused(error, &reject::CONSUMER_CREATE))?;
    }
    let info = made.ok_or(reject::CONSUMER_CREATE)?;
    if info.created >= before {
        let (stream, consumer) = (&*entry.name, &*info.name.consumer);
        let subject = format!("CONSUMER.CREATED.{stream}.{consumer}");
        js.advise(
            &request.account,
            &subject,
            "consumer_action",
            || json!({"stream": stream, "consumer": consumer, "action": "create"}),
        );
    }
    let shown = Consumer::of(info, now()).alone();
    let body = reply::answer(Call::ConsumerCreate(target), shown);
    Ok(Reply { headers, body })
}

/// The header that says which stream of its name this one is (nats-server 2.15).
const IDENTITY: &str = "Nats-Stream-Identity";

fn identity_block(identity: &str) -> Vec<u8> {
    HeaderBuf::new().add(IDENTITY, identity).finish()
}

/// Checks that subject and request name the same, and gives the consumer the name that the subject has.
fn address(target: Target<'_>, stream_name: &str, config: &mut ConsumerConfig) -> Result<(), Rejection> {
    let (stream, name) = match target {
        Target::Named { stream, name, .. } | Target::Durable { stream, name } => (stream, name.to_owned()),
        Target::Ephemeral { stream } => (stream, config.name.clone()),
    };
    if stream != stream_name {
        return Err(reject::STREAM_MISMATCH);
    }
    if name.contains(['/', '\\']) {
        return Err(reject::CONSUMER_NAME_CONTAINS_PATH_SEPARATORS);
    }
    match target {
        Target::Durable { .. } if config.durable_name.is_empty() => {
            return Err(reject::CONSUMER_DURABLE_NAME_NOT_SET);
        }
        Target::Durable { .. } | Target::Named { .. } => {
            if !config.durable_name.is_empty() && config.durable_name != name {
                return Err(reject::CONSUMER_DURABLE_NAME_NOT_MATCH_SUBJECT);
            }
            config.name = name;
        }
        Target::Ephemeral { .. } if !config.durable_name.is_empty() => {
            return Err(reject::CONSUMER_EPHEMERAL_WITH_DURABLE_NAME);
        }
        Target::Ephemeral { .. } => {}
    }
    if let Target::Named { filter, .. } = target
        && !filter.is_empty()
    {
        if !config.filter_subjects.is_empty() {
            return Err(reject::CONSUMER_MULTIPLE_FILTERS_NOT_ALLOWED);
        }
        if config.filter_subject != filter {
            return Err(reject::CONSUMER_CREATE_FILTER_SUBJECT_MISMATCH);
        }
    }
    Ok(())
}

/// On the storage thread, where nothing comes between check and change. `None` while there is more to find out before it can be done
/// in one turn.
fn create_or_update(
    shard: &mut InTurn<'_, '_>,
    id: StreamId,
    mut config: ConsumerConfig,
    action: Action,
    limits: &ServerLimits,
    pedantic: bool,
    preparation: &mut Preparation,
) -> weir_engine::Result<Option<ConsumerInfo>> {
    let now = shard.now();
    if config.name.is_empty() {
        config.name = shard.make_up_consumer_name(id, MADE_UP_LEN)?;
    }
    let stream = shard.stream(id)?;
    let name = config.name.clone();
    let existing = stream.consumer_info(&name, now);
    let others = stream.consumer_configs().map(|(name, config)| (&**name, config));
    let Some(existing) = existing else {
        let others: Vec<_> = others.collect();
        let config = validate_new(config, stream.config(), others.into_iter(), action, limits, pedantic)?;
        return match shard.prepare_consumer(id, &config, preparation)? {
            true => shard.create_consumer(id, config).map(Some),
            false => Ok(None),
        };
    };
    // A pause of one that exists is CONSUMER.PAUSE's business alone.
    config.pause_until = existing.config.pause_until;
    let known = Existing {
        config: &existing.config,
        bound: existing.push_bound,
    };
    let config = validate_update(known, config, action, stream.config(), others, limits, pedantic)?;
    if config != existing.config {
        if !shard.prepare_consumer(id, &config, preparation)? {
            return Ok(None);
        }
        shard.update_consumer(id, &name, config)?;
    }
    shard.consumer_info(id, &name).map(Some)
}

/// CONSUMER.INFO.
pub(super) async fn info(js: &Arc<JetStream>, request: &ApiRequest, stream: &str, name: &str) -> Answer {
    /// Weir's own: whether it is to be said why it sends nothing just now. Never unasked: some clients refuse what they do not know.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        why: bool,
    }
    #[derive(Serialize)]
    struct Info {
        #[serde(flatten)]
        consumer: Consumer,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    }
    let asked = match is_empty(&request.payload) {
        true => Asked { why: false },
        false => serde_json::from_slice(&request.payload).map_err(|_| reject::NOT_EMPTY_REQUEST)?,
    };
    let entry = lookup(js, request, stream)?;
    let (id, consumer) = (entry.id, name.to_owned());
    let (info, standing) = js
        .call(entry.shard, move |shard| {
            let info = shard.consumer_info(id, &consumer)?;
            // What cannot be told now is left out.
            let standing = asked.why.then(|| shard.consumer_standing(id, &consumer).ok());
            Ok((info, standing.flatten()))
        })
        .await
        .map_err(|error| refused(error, &reject::STREAM_GENERAL))?;
    let own = Own::of(info.digest);
    let mut consumer = Consumer::of(info, now()).alone();
    consumer.weir = Some(own);
    let told = Info {
        consumer,
        why: asked.why.then(|| why(&entry, standing.as_ref())).flatten(),
    };
    Ok(reply::answer(Call::ConsumerInfo(stream, name), told))
}

async fn find(js: &Arc<JetStream>, entry: &StreamEntry, name: &str) -> Result<ConsumerInfo, Rejection> {
    let (id, name) = (entry.id, name.to_owned());
    js.call(entry.shard, move |shard| shard.consumer_info(id, &name))
        .await
        .map_err(|error| refused(error, &reject::STREAM_GENERAL))
}

/// Describes some of the consumers of these names, as many as one turn of a storage thread may, and takes their names away; those
/// that are not there are left out.
pub(super) fn describe_some(
    shard: &mut InTurn<'_, '_>,
    id: StreamId,
    names: &mut VecDeque<Arc<str>>,
) -> Vec<ConsumerInfo> {
    let (mut some, mut left) = (Vec::new(), DESCRIBED);
    while left > 0
        && let Some(name) = names.pop_front()
    {
        // All that this refuses is a consumer that is not there.
        if let Ok(info) = shard.consumer_info(id, &name) {
            left = left.saturating_sub(1 + info.config.filter_subjects.len());
            some.push(info);
        }
    }
    some
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PageRequest {
    offset: i64,
}

/// CONSUMER.NAMES.
pub(super) async fn names(js: &Arc<JetStream>, request: &ApiRequest, stream: &str) -> Answer {
    #[derive(Serialize)]
    struct Names {
        #[serde(flatten)]
        page: Page,
        consumers: Vec<String>,
    }
    let asked: PageRequest = optional(js, request, &schema::CONSUMER_PAGE)?;
    let entry = lookup(js, request, stream)?;
    let id = entry.id;
    let all = js
        .call(entry.shard, move |shard| Ok(shard.stream(id)?.consumer_names()))
        .await
        .map_err(|error| refused(error, &reject::STREAM_GENERAL))?;
    let (page, consumers) = reply::page(all, asked.offset, NAMES_PAGE);
    let consumers = consumers.iter().map(ToString::to_string).collect();
    Ok(reply::answer(Call::ConsumerNames(stream), Names { page, consumers }))
}

/// CONSUMER.LIST.
pub(super) async fn list(js: &Arc<JetStream>, request: &ApiRequest, stream: &str) -> Answer {
    #[derive(Serialize)]
    struct List {
        #[serde(flatten)]
        page: Page,
        consumers: Vec<Consumer>,
    }
    let asked: PageRequest = optional(js, request, &schema::CONSUMER_PAGE)?;
    let entry = lookup(js, request, stream)?;
    let id = entry.id;
    let (page, names) = js
        .call(entry.shard, move |shard| {
            let names = shard.stream(id)?.consumer_names();
            Ok(reply::page(names, asked.offset, LIST_PAGE))
        })
        .await
        .map_err(|error| refused(error, &reject::STREAM_GENERAL))?;
    let mut consumers = Vec::with_capacity(names.len());
    let mut names = VecDeque::from(names);
    while !names.is_empty() {
        let described = js.call(entry.shard, move |shard| {
            let some = describe_some(shard, id, &mut names);
            Ok((some, names, shard.now()))
        });
        let (some, left, now) = described
            .await
            .map_err(|error| refused(error, &reject::STREAM_GENERAL))?;
        consumers.extend(some.into_iter().map(|info| Consumer::of(info, now)));
        names = left;
    }
    heavy_answer(Call::ConsumerList(stream), List { page, consumers }).await
}

/// CONSUMER.DELETE. What it heard is taken out when the storage thread tells that it is gone.
pub(super) async fn delete(js: &Arc<JetStream>, request: &ApiRequest, stream: &str, name: &str) -> Answer {
    if !is_empty(&request.payload) {
        return Err(reject::NOT_EMPTY_REQUEST);
    }
    let entry = js.settled(&request.account.name, stream).await;
    let entry = entry.ok_or(reject::STREAM_NOT_FOUND)?;
    let (id, gone) = (entry.id, name.to_owned());
    js.call(entry.shard, move |shard| shard.delete_consumer(id, &gone))
        .await
        .map_err(|error| refused(error, &reject::STREAM_GENERAL))?;
    Ok(reply::success(Call::ConsumerDelete(stream, name)))
}

/// CONSUMER.PAUSE.
pub(super) async fn pause(js: &Arc<JetStream>, request: &ApiRequest, stream: &str, name: &str) -> Answer {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Request {
        pause_until: Option<String>,
    }
    #[derive(Serialize)]
    struct Paused {
        paused: bool,
        pause_until: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pause_remaining: Option<NanoTime>,
    }
    let asked: Request = optional(js, request, &schema::PAUSE)?;
    let until = match asked.pause_until {
        None => None,
        Some(text) => parse_time(&text).map_err(|why| reject::INVALID_JSON.with(why))?,
    };
    let entry = lookup(js, request, stream)?;
    let (id, consumer) = (entry.id, name.to_owned());
    js.call(entry.shard, move |shard| {
        let now = shard.now();
        let stream = shard.stream(id)?;
        let info = stream.consumer_info(&consumer, now).ok_or(reject::CONSUMER_NOT_FOUND)?;
        shard.update_consumer(id, &consumer, paused(&info.config, until))
    })
    .await
    .map_err(|error| refused(error, &reject::CONSUMER_STORE_FAILED))?;
    let remaining = until
        .map(|until| until.saturating_sub(now()))
        .filter(|remaining| *remaining > 0);
    let told = Paused {
        paused: remaining.is_some(),
        pause_until: format_time(until),
        pause_remaining: remaining,
    };
    js.advise(
        &request.account,
        &format!("CONSUMER.PAUSE.{stream}.{name}"),
        "consumer_pause",
        || match told.paused {
            true => json!({"stream": stream, "consumer": name, "paused": true, "pause_until": told.pause_until}),
            false => json!({"stream": stream, "consumer": name, "paused": false}),
        },
    );
    Ok(reply::answer(Call::ConsumerPause(stream, name), told))
}

/// CONSUMER.UNPIN.
pub(super) async fn unpin(js: &Arc<JetStream>, request: &ApiRequest, stream: &str, name: &str) -> Answer {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Request {
        group: String,
    }
    let asked: Request =
        decode_whole(&request.payload, &schema::UNPIN).map_err(|why| reject::INVALID_JSON.with(why))?;
    if asked.group.is_empty() {
        return Err(reject::INVALID_JSON.with("consumer group not specified"));
    }
    if !is_group_name(&asked.group) {
        return Err(reject::CONSUMER_INVALID_GROUP_NAME);
    }
    let entry = lookup(js, request, stream)?;
    let (id, consumer) = (entry.id, name.to_owned());
    js.call(entry.shard, move |shard| shard.unpin(id, &consumer, &asked.group))
        .await
        .map_err(|error| refused(error, &reject::STREAM_GENERAL))?;
    Ok(reply::answer(Call::ConsumerUnpin(stream, name), serde_json::Map::new()))
}

/// CONSUMER.RESET.
pub(super) async fn reset(
    js: &Arc<JetStream>,
    request: &ApiRequest,
    stream: &str,
    name: &str,
) -> Result<Reply, Rejection> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Request {
        seq: u64,
    }
    #[derive(Serialize)]
    struct Reset {
        #[serde(flatten)]
        info: Consumer,
        reset_seq: u64,
    }
    let entry = lookup(js, request, stream)?;
    // The consumer itself listens: if there is none, nobody reads the request.
    let known = find(js, &entry, name).await?;
    let asked: Request = match request.payload.is_empty() {
        true => Request::default(),
        false => decode_whole(&request.payload, &schema::RESET).map_err(|why| reject::INVALID_JSON.with(why))?,
    };
    seek(js, &entry, known.config.opt_start_time).await;
    let (id, consumer) = (entry.id, name.to_owned());
    let (mut preparation, mut done) = (Preparation::default(), None);
    while done.is_none() {
        let consumer = consumer.clone();
        let some = js.call(entry.shard, move |shard| {
            let done = match shard.prepare_reset(id, &consumer, asked.seq, &mut preparation)? {
                true => Some(shard.reset_consumer(id, &consumer, asked.seq)?),
                false => None,
            };
            Ok((done, preparation))
        });
        (done, preparation) = some
            .await
            .map_err(|error| refused(error, &reject::CONSUMER_INVALID_RESET))?;
    }
    let (reset_seq, info) = done.ok_or(reject::CONSUMER_INVALID_RESET)?;
    let info = Consumer::of(info, now()).alone();
    let headers = match headers::get(&request.headers, IDENTITY) {
        Some(_) => identity_block(&identity(entry.created)),
        None => Vec::new(),
    };
    let body = reply::answer(Call::ConsumerReset(stream, name), Reset { info, reset_seq });
    Ok(Reply { headers, body })
}

#[cfg(test)]
mod tests;
