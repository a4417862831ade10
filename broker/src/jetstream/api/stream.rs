//! Streams: made, changed, described, emptied, deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use weir_engine::Seq;
use weir_engine::json::format_time;
use weir_engine::meta::{self, Refusal};
use weir_engine::reject::{self, Rejection};
use weir_engine::shard::InTurn;
use weir_engine::store::{Catalogue, Intent, StreamEntry};
use weir_engine::stream::validate::{Rules, SubjectSet, consumers_beyond, validate_new, validate_update};
use weir_engine::stream::{Purge, StreamConfig, SubjectPlace, sourcing_rules};

use super::call::Call;
use super::decode::decode;
use super::reply::{self, Cluster, Lost, Moving, Own, Page, State, StreamInfo};
use super::{Answer, heavy_answer, is_empty, is_json, limits_of, lookup, refused, schema};
use crate::interest::Account;
use crate::jetstream::sourcing::SourceInfo;
use crate::jetstream::{ApiRequest, JetStream, now};

/// Names in one answer.
const NAMES_PAGE: usize = 1024;
/// Streams in one answer.
const LIST_PAGE: usize = 256;
/// Subjects in one answer.
const SUBJECTS_PAGE: usize = 100_000;
/// Subjects that are looked up in one turn of a storage thread.
const SUBJECTS_SLICE: usize = 4096;
/// Deleted sequences in one answer, so that a stream full of holes does not become one huge message.
const DELETED_MAX: usize = 1_000_000;
/// Sequences that one turn of a storage thread looks at for those that hold nothing.
const DELETED_SLICE: u64 = 4096;

#[derive(Deserialize)]
struct ConfigRequest {
    #[serde(flatten)]
    config: StreamConfig,
    #[serde(default)]
    pedantic: bool,
}

impl ConfigRequest {
    fn read(js: &JetStream, request: &ApiRequest) -> Result<Self, Rejection> {
        decode(&request.payload, &schema::STREAM_CONFIG, js.options.strict)
            .map_err(|why| reject::INVALID_JSON.with(why))
    }
}

/// STREAM.CREATE.
pub(super) async fn create(js: &Arc<JetStream>, request: &ApiRequest, name: &str) -> Answer {
    let ConfigRequest { config, pedantic } = ConfigRequest::read(js, request)?;
    if config.name != name {
        return Err(reject::STREAM_MISMATCH);
    }
    if name.contains(['/', '\\']) {
        return Err(reject::STREAM_NAME_CONTAINS_PATH_SEPARATORS);
    }
    let account: Arc<str> = Arc::from(&*request.account.name);
    let again = meta::copies(&config).then(|| config.clone());
    let (config, settings) = with_rules(js, &account, pedantic, |rules| validate_new(config, rules))?;
    js.check_external(&request.account, &config)?;
    let intent = match js.limits_of_streams(&account) {
        Ok(limits) => js.intend(|streams| streams.assign(&account, &config, &limits)).await,
        // Of one that is there already it is no matter.
        Err(why) => match js.settled(&account, name).await {
            Some(existing) if existing.config == config => Intent::Exists(existing),
            Some(_) => Intent::Refused(Refusal::Name),
            None => return Err(why),
        },
    };
    let entry = match intent {
        Intent::Exists(existing) => existing,
        Intent::Refused(refusal) => return Err(refusal.rejection()),
        Intent::Reserved(reserved, _) => {
            let (config, settings) = match again {
                None => (config, settings),
                // What its origins are stays as it is now: who else has some waits.
                Some(config) => with_rules(js, &account, pedantic, |rules| validate_new(config, rules))?,
            };
            sourcing_rules::check_filters(&config)?;
            js.open_backend(settings.backend).await;
            let id = js.allocate_id();
            let owner = account.clone();
            let _reserved = js
                .call(js.shard_for(&account, name), move |shard| {
                    shard.create_stream(id, &owner, config, settings)?;
                    Ok(reserved)
                })
                .await
                .map_err(|error| refused(error, &reject::STREAM_CREATE))?;
            let entry = lookup(js, request, name)?;
            attach(js, request, &entry).await?;
            js.start_sourcing(&entry).await;
            js.advise_stream(&request.account, name, "CREATED", "create");
            entry
        }
        // None of them is said of a stream that is to be made.
        Intent::Missing | Intent::Changed | Intent::Wait(_) => return Err(reject::STREAM_CREATE),
    };
    #[derive(Serialize)]
    struct Created {
        #[serde(flatten)]
        info: StreamInfo,
        did_create: bool,
    }
    let info = describe(js, &entry).await?;
    let created = Created {
        // Nats-server tells neither domain nor leader here, and has heard of no origin yet.
        info: StreamInfo {
            domain: None,
            mirror: info.mirror.map(SourceInfo::fresh),
            sources: info.sources.into_iter().map(SourceInfo::fresh).collect(),
            ..info
        },
        did_create: true,
    };
    Ok(reply::answer(Call::StreamCreate(name), created))
}

/// Calls `check` with the rules for configurations of an account's streams.
pub(super) fn with_rules<T>(js: &JetStream, account: &str, pedantic: bool, check: impl FnOnce(&Rules<'_>) -> T) -> T {
    let find = |name: &str| js.catalogue().get(account, name).map(|entry| entry.config.clone());
    check(&Rules {
        limits: limits_of(js, account),
        defaults: &js.defaults,
        find: &find,
        pedantic,
    })
}

/// Lets a new stream hear its subjects; one that cannot must not stay.
async fn attach(js: &Arc<JetStream>, request: &ApiRequest, entry: &Arc<StreamEntry>) -> Result<(), Rejection> {
    let Err(error) = js.attach_stream(&request.account, entry) else {
        return Ok(());
    };
    let id = entry.id;
    if let Err(undo) = js.call(entry.shard, move |shard| shard.delete_stream(id)).await {
        tracing::error!(stream = %entry.name, "cannot delete a stream that hears nothing: {undo}");
    }
    js.detach_stream(id);
    Err(reject::STREAM_CREATE.with(error))
}

/// STREAM.UPDATE.
pub(super) async fn update(js: &Arc<JetStream>, request: &ApiRequest, name: &str) -> Answer {
    let ConfigRequest { config, pedantic } = ConfigRequest::read(js, request)?;
    // Nats-server looks at the configuration first, and then at its name.
    if config.name != name && !config.name.is_empty() {
        return Err(reject::STREAM_MISMATCH);
    }
    let account = &request.account.name;
    let (reserved, old, mut changed) = loop {
        let Some(old) = js.settled(account, name).await else {
            let mut config = config;
            config.sealed = false;
            config.mirror_direct = false;
            with_rules(js, account, pedantic, |rules| validate_new(config, rules))?;
            return Err(reject::STREAM_NOT_FOUND);
        };
        let asked = config.clone();
        let changed = with_rules(js, account, pedantic, |rules| {
            validate_update(&old.config, &old.settings, asked, rules)
        })?;
        js.check_external(&request.account, &changed.0)?;
        let limits = js.limits_of_streams(account)?;
        let ask = |streams: &Arc<Catalogue>| streams.update(account, &old.config, &changed.0, &limits);
        match js.intend(ask).await {
            Intent::Reserved(reserved, _) => break (reserved, old, changed),
            Intent::Refused(refusal) => return Err(refuse_update(js, &old, changed.0, &refusal).await),
            Intent::Missing => return Err(reject::STREAM_NOT_FOUND),
            // It is not what it was when that was looked at.
            Intent::Changed | Intent::Exists(_) | Intent::Wait(_) => {}
        }
    };
    if meta::copies(&changed.0) {
        // What its origins are stays as it is now: who else has some waits.
        changed = with_rules(js, account, pedantic, |rules| {
            validate_update(&old.config, &old.settings, config, rules)
        })?;
    }
    let (config, settings) = changed;
    let copies = config.mirror != old.config.mirror || config.sources != old.config.sources;
    js.open_backend(settings.backend).await;
    let id = old.id;
    let _reserved = js
        .call(old.shard, move |shard| {
            let stream = shard.stream(id)?;
            let consumers = stream.consumer_configs().map(|(name, config)| (&**name, config));
            consumers_beyond(stream.config(), &config, consumers)?;
            shard.update_stream(id, config, settings)?;
            Ok(reserved)
        })
        .await
        .map_err(|error| refused(error, &reject::STREAM_UPDATE))?;
    let entry = lookup(js, request, name)?;
    js.attach_stream(&request.account, &entry)
        .map_err(|error| reject::STREAM_UPDATE.with(error))?;
    if copies {
        js.start_sourcing(&entry).await;
    }
    js.advise_stream(&request.account, name, "UPDATED", "modify");
    Ok(reply::answer(Call::StreamUpdate(name), describe(js, &entry).await?))
}

/// What is told of an update that a rule is against. Of consumers that it leaves no room for nats-server tells before it tells of
/// subjects.
async fn refuse_update(js: &Arc<JetStream>, old: &StreamEntry, config: StreamConfig, refusal: &Refusal) -> Rejection {
    let rejection = refusal.rejection();
    if !matches!(refusal, Refusal::Subjects(_)) {
        return rejection;
    }
    let id = old.id;
    let looked = js.call(old.shard, move |shard| {
        let stream = shard.stream(id)?;
        let consumers = stream.consumer_configs().map(|(name, config)| (&**name, config));
        Ok(consumers_beyond(stream.config(), &config, consumers)?)
    });
    match looked.await {
        Ok(()) => rejection,
        Err(error) => refused(error, &reject::STREAM_UPDATE),
    }
}

/// STREAM.DELETE.
pub(super) async fn delete(js: &Arc<JetStream>, request: &ApiRequest, name: &str) -> Answer {
    if !is_empty(&request.payload) {
        return Err(reject::NOT_EMPTY_REQUEST);
    }
    match delete_stream(js, &request.account, name).await? {
        true => Ok(reply::success(Call::StreamDelete(name))),
        false => Err(reject::STREAM_NOT_FOUND),
    }
}

/// Deletes a stream; answers whether it was there.
async fn delete_stream(js: &Arc<JetStream>, account: &Arc<Account>, name: &str) -> Result<bool, Rejection> {
    let Intent::Reserved(reserved, Some(entry)) = js.intend(|streams| streams.withdraw(&account.name, name)).await
    else {
        return Ok(false);
    };
    let id = entry.id;
    js.stop_sourcing(id);
    let _reserved = js
        .call(entry.shard, move |shard| {
            shard.delete_stream(id)?;
            Ok(reserved)
        })
        .await
        .map_err(|error| refused(error, &reject::STREAM_DELETE))?;
    js.detach_stream(id);
    js.advise_stream(account, &entry.name, "DELETED", "delete");
    Ok(true)
}

/// ACCOUNT.PURGE: all streams of an account, if there is one of that name.
pub(super) async fn purge_account(js: &Arc<JetStream>, name: &str) -> Answer {
    let account = js.account(name);
    let streams = js.catalogue().list(name);
    tracing::info!(
        "Purge request for account {name} (streams: {}, hasAccount: {})",
        streams.len(),
        account.is_some()
    );
    if let Some(account) = account {
        for entry in streams {
            delete_stream(js, &account, &entry.name).await?;
        }
    }
    Ok(reply::initiated(Call::AccountPurge(name)))
}

/// STREAM.INFO.
pub(super) async fn info(js: &Arc<JetStream>, request: &ApiRequest, name: &str) -> Answer {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Request {
        offset: i64,
        deleted_details: bool,
        subjects_filter: String,
    }
    #[derive(Serialize)]
    struct Info {
        #[serde(flatten)]
        page: Page,
        #[serde(flatten)]
        info: StreamInfo,
    }
    let asked: Request = optional(js, request, &schema::STREAM_INFO)?;
    let entry = lookup(js, request, name)?;
    let id = entry.id;
    let offset = usize::try_from(asked.offset).unwrap_or(0);
    let mut waited = false;
    let mut seen = js.shard(entry.shard).look(|shard| shard.state(id));
    let (mut state, digest) = loop {
        if let Some((state, consumers)) = seen.take() {
            break (State::of(&state, consumers), state.digest);
        }
        let told = js.ask(entry.shard, move |shard| {
            let stream = shard.stream(id)?;
            if let Some(unread) = stream.unread_first().filter(|_| !waited) {
                return Ok(Err(unread));
            }
            let held = stream.state()?;
            let mut state = State::of(&held, stream.consumer_count());
            state.lost = Lost::of(stream.ledger());
            Ok(Ok((state, held.digest)))
        });
        match told.await.map_err(|error| refused(error, &reject::STREAM_GENERAL))? {
            Ok(told) => break told,
            // When the first message was stored is read where a disk may be waited for.
            Err(unread) => js.disk.fetch(vec![unread]).await,
        }
        waited = true;
    };
    if asked.deleted_details {
        state.deleted = deleted(js, &entry).await?;
    }
    let mut page = Page::default();
    if !asked.subjects_filter.is_empty() {
        let (total, subjects) = subjects(js, &entry, &asked.subjects_filter, offset).await?;
        // The offset is told as it was asked for, even beyond the end.
        if total > 0 {
            state.subjects = subjects;
            page = Page {
                total,
                offset,
                limit: SUBJECTS_PAGE,
            };
        }
    }
    let info = StreamInfo {
        cluster: Some(leader(js)),
        weir: digest.map(Own::of),
        ..compose(js, &entry, state)
    };
    match asked.deleted_details || !asked.subjects_filter.is_empty() {
        true => heavy_answer(Call::StreamInfo(name), Info { page, info }).await,
        false => Ok(reply::answer(Call::StreamInfo(name), Info { page, info })),
    }
}

/// The sequences of a stream that hold nothing, asked for in slices as its [`subjects`] are.
async fn deleted(js: &Arc<JetStream>, entry: &StreamEntry) -> Result<Vec<Seq>, Rejection> {
    let id = entry.id;
    let (mut all, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from
        && all.len() < DELETED_MAX
    {
        let slice = js.call(entry.shard, move |shard| shard.stream(id)?.deleted(at, DELETED_SLICE));
        let (some, next) = slice.await.map_err(|error| refused(error, &reject::STREAM_GENERAL))?;
        all.extend(some);
        from = next;
    }
    all.truncate(DELETED_MAX);
    Ok(all)
}

/// How many subjects of a stream match, and a page of them with their counts. Asks the storage thread for a slice at a
/// time: what is published meanwhile does not wait for all of them.
async fn subjects(
    js: &Arc<JetStream>,
    entry: &StreamEntry,
    filter: &str,
    offset: usize,
) -> Result<(usize, BTreeMap<String, u64>), Rejection> {
    let id = entry.id;
    let filter = Bytes::copy_from_slice(filter.as_bytes());
    let (mut total, mut page) = (0, BTreeMap::new());
    let mut place = Some(SubjectPlace::default());
    while let Some(from) = place.take() {
        let filter = filter.clone();
        let (slice, next) = js
            .call(entry.shard, move |shard| {
                let stream = shard.stream(id)?;
                stream.subjects(&filter, &from, SUBJECTS_SLICE)
            })
            .await
            .map_err(|error| refused(error, &reject::STREAM_GENERAL))?;
        place = next;
        let wanted = offset.saturating_sub(total).min(slice.len());
        let room = SUBJECTS_PAGE - page.len();
        total += slice.len();
        let wanted = slice[wanted..].iter().take(room);
        page.extend(wanted.map(|(subject, count)| (String::from_utf8_lossy(subject).into_owned(), *count)));
    }
    Ok((total, page))
}

/// STREAM.NAMES.
pub(super) fn names(js: &JetStream, request: &ApiRequest) -> Answer {
    #[derive(Serialize)]
    struct Names {
        #[serde(flatten)]
        page: Page,
        /// Nothing, rather than an empty list, as nats-server.
        streams: Option<Vec<String>>,
    }
    let (page, entries) = select(js, request, &schema::STREAM_NAMES, NAMES_PAGE, |_| false)?;
    let streams: Vec<_> = entries.iter().map(|entry| entry.name.to_string()).collect();
    let streams = (!streams.is_empty()).then_some(streams);
    Ok(reply::answer(Call::StreamNames, Names { page, streams }))
}

/// STREAM.LIST.
pub(super) async fn list(js: &Arc<JetStream>, request: &ApiRequest) -> Answer {
    #[derive(Serialize)]
    struct List {
        #[serde(flatten)]
        page: Page,
        streams: Vec<StreamInfo>,
        /// Why streams are offline, by name. Those of which memory has something are among the others as well.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        offline: BTreeMap<String, String>,
    }
    // Clients ask for the next page by how many streams they got: those that are not shown come last.
    let (page, entries) = select(js, request, &schema::STREAM_LIST, LIST_PAGE, |entry| {
        entry.offline.is_some()
    })?;
    let offline = entries.iter().filter_map(|entry| {
        let why = entry.offline.as_ref()?;
        Some((entry.name.to_string(), why.to_string()))
    });
    let offline = offline.collect();
    let mut streams = Vec::with_capacity(entries.len());
    for (entry, state) in states(js, entries).await? {
        let mut info = compose(js, &entry, state);
        info.config = entry.config.clone();
        streams.push(info);
    }
    heavy_answer(Call::StreamList, List { page, streams, offline }).await
}

/// The states of streams, in their order; those that were deleted meanwhile are left out. Asks each storage thread once.
async fn states(
    js: &Arc<JetStream>,
    entries: Vec<Arc<StreamEntry>>,
) -> Result<Vec<(Arc<StreamEntry>, State)>, Rejection> {
    let mut found = BTreeMap::new();
    for number in js.shards() {
        let mut ids: Vec<_> = entries
            .iter()
            .filter(|entry| entry.shard == number)
            .map(|entry| entry.id)
            .collect();
        let mut waited = false;
        while !ids.is_empty() {
            let of_shard = js.call(number, move |shard| {
                let (mut states, mut unread, mut later) = (Vec::with_capacity(ids.len()), Vec::new(), Vec::new());
                for id in ids {
                    let Ok(stream) = shard.stream(id) else { continue };
                    match stream.unread_first().filter(|_| !waited) {
                        Some(first) => {
                            unread.push(first);
                            later.push(id);
                        }
                        None => states.push((id, State::of(&stream.state()?, stream.consumer_count()))),
                    }
                }
                Ok((states, unread, later))
            });
            let (states, unread, later) = of_shard
                .await
                .map_err(|error| refused(error, &reject::STREAM_GENERAL))?;
            found.extend(states);
            // When their first messages were stored is read where a disk may be waited for.
            js.disk.fetch(unread).await;
            (ids, waited) = (later, true);
        }
    }
    Ok(entries
        .into_iter()
        .filter_map(|entry| found.remove(&entry.id).map(|state| (entry, state)))
        .collect())
}

/// A page of the account's streams, by name, of those that capture a subject if one is asked for.
fn select(
    js: &JetStream,
    request: &ApiRequest,
    fields: &'static schema::Fields,
    limit: usize,
    comes_last: impl Fn(&StreamEntry) -> bool,
) -> Result<(Page, Vec<Arc<StreamEntry>>), Rejection> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Request {
        offset: i64,
        subject: String,
    }
    let asked: Request = optional(js, request, fields)?;
    let mut streams = js.catalogue().list(&request.account.name);
    if !asked.subject.is_empty() {
        let wanted = SubjectSet::of(&[asked.subject]);
        streams.retain(|entry| wanted.overlaps(&entry.config.subjects));
    }
    streams.sort_by(|a, b| (comes_last(a), &a.name).cmp(&(comes_last(b), &b.name)));
    Ok(reply::page(streams, asked.offset, limit))
}

/// STREAM.PURGE.
pub(super) async fn purge(js: &Arc<JetStream>, request: &ApiRequest, name: &str) -> Answer {
    #[derive(Serialize)]
    struct Purged {
        success: bool,
        purged: u64,
    }
    let purge: Purge = optional(js, request, &schema::PURGE)?;
    if purge.seq > 0 && purge.keep > 0 {
        return Err(reject::BAD_REQUEST);
    }
    let entry = lookup(js, request, name)?;
    let id = entry.id;
    let purged = js
        .call(entry.shard, move |shard| shard.purge(id, &purge))
        .await
        .map_err(|error| refused(error, &reject::STREAM_GENERAL))?
        .count();
    Ok(reply::answer(Call::StreamPurge(name), Purged { success: true, purged }))
}

/// Reads a request that may be missing.
pub(super) fn optional<T: serde::de::DeserializeOwned + Default>(
    js: &JetStream,
    request: &ApiRequest,
    fields: &'static schema::Fields,
) -> Result<T, Rejection> {
    if !is_json(&request.payload) {
        return Ok(T::default());
    }
    decode(&request.payload, fields, js.options.strict).map_err(|why| reject::INVALID_JSON.with(why))
}

/// A stream as clients are told when it was made or changed.
pub(super) async fn describe(js: &Arc<JetStream>, entry: &Arc<StreamEntry>) -> Result<StreamInfo, Rejection> {
    let id = entry.id;
    let state = js
        .call(entry.shard, move |shard| state_of(shard, id))
        .await
        .map_err(|error| refused(error, &reject::STREAM_GENERAL))?;
    Ok(compose(js, entry, state))
}

fn state_of(shard: &mut InTurn<'_, '_>, id: weir_engine::StreamId) -> weir_engine::Result<State> {
    let stream = shard.stream(id)?;
    Ok(State::of(&stream.state()?, stream.consumer_count()))
}

fn compose(js: &JetStream, entry: &StreamEntry, state: State) -> StreamInfo {
    let mut config = entry.config.clone();
    reply::add_versions(&mut config.metadata);
    let mut sources = js.source_infos(entry.id);
    let mirror = match config.mirror {
        Some(_) => sources.pop(),
        None => None,
    };
    StreamInfo {
        config,
        created: format_time(Some(entry.created)),
        state,
        domain: js.options.domain.clone(),
        cluster: None,
        mirror,
        sources,
        alternates: Vec::new(),
        moving: moving(js, entry),
        ts: format_time(Some(now())),
        weir: None,
    }
}

/// How far a stream is that its metadata want elsewhere; no word of nats-server's, which has one backend.
fn moving(js: &JetStream, entry: &StreamEntry) -> Option<Moving> {
    let wanted = entry.settings.wanted_by(&entry.config).ok()?;
    if wanted.backend == entry.settings.backend {
        return None;
    }
    let seen = js.store.catalogue().moving(entry.id).unwrap_or_default();
    Some(Moving {
        from: entry.settings.backend.to_string(),
        to: wanted.backend.to_string(),
        done: seen.done,
        of: seen.of,
        why: seen.why,
        damaged: seen.damaged,
    })
}

/// A server alone leads all.
pub(super) fn leader(js: &JetStream) -> Cluster {
    Cluster {
        leader: js.server_name.clone(),
    }
}
