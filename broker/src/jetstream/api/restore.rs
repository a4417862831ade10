//! STREAM.RESTORE: a stream made from a backup that a client sends in chunks (js-api, "Snapshot / restore").
//!
//! Each chunk is decoded, and what it holds fills a stream that nobody sees, before the next one is answered. Only when all
//! of it is there does the stream appear; whatever breaks off before leaves nothing behind. While the client is silent no
//! thread waits for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use weir_backup::{BackupState, Contents, Decoder, Plan, Step};
use weir_engine::json::format_time;
use weir_engine::meta::{Limits, Refusal};
use weir_engine::shard::InTurn;
use weir_engine::store::Intent;
use weir_engine::stream::settings::Settings;
use weir_engine::stream::validate::validate_restored;
use weir_engine::stream::{Storage, StreamConfig};
use weir_engine::{Rejection, ShardId, StreamId, reject};

use super::account::Usage;
use super::call::Call;
use super::decode::decode;
use super::reply;
use super::stream::{describe, with_rules};
use super::{Answer, is_empty, limits_of, lookup, schema};
use crate::interest::{Inbound, Service, Work};
use crate::jetstream::{ApiRequest, JetStream, now, nuid};

/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(5);
/// Chunks that wait to be decoded. A client that waits for the answer to each has one there.
const QUEUE: usize = 64;
/// Bytes of chunks that wait to be decoded, give or take one chunk.
const QUEUE_BYTES: usize = 16 << 20;
/// Restores at once. One that decodes holds up to a message of the largest size, or its consumers.
pub const RESTORES_MAX: usize = 16;

/// A chunk, and where its answer goes.
struct Chunk {
    payload: Bytes,
    reply: Bytes,
}

/// Takes chunks off the interest graph.
struct Chunks {
    queue: mpsc::Sender<Chunk>,
    /// Bytes in the queue.
    waiting: Arc<AtomicUsize>,
}

impl Service for Chunks {
    fn message(&self, message: &Inbound<'_>, _: &mut Work) {
        // A client that sends more than it may is not answered for it, and its restore fails: the decoder misses a piece.
        if self.waiting.load(Ordering::Relaxed) > QUEUE_BYTES {
            return;
        }
        let chunk = Chunk {
            payload: Bytes::copy_from_slice(message.payload),
            reply: Bytes::copy_from_slice(message.reply),
        };
        let bytes = chunk.payload.len();
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        if self.queue.try_send(chunk).is_err() {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// A restore under way.
struct Restore {
    js: Arc<JetStream>,
    request: ApiRequest,
    id: StreamId,
    shard: ShardId,
    settings: Settings,
    plan: Plan,
    /// One of [`RESTORES_MAX`].
    _place: OwnedSemaphorePermit,
}

/// STREAM.RESTORE. The client sends the chunks to the subject in the answer.
pub(super) async fn restore(js: &Arc<JetStream>, request: &ApiRequest, name: &str) -> Answer {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Request {
        config: StreamConfig,
        state: BackupState,
    }
    if is_empty(&request.payload) {
        return Err(reject::BAD_REQUEST);
    }
    let mut asked: Request =
        decode(&request.payload, &schema::RESTORE, js.options.strict).map_err(|why| reject::INVALID_JSON.with(why))?;
    if asked.config.name.is_empty() {
        name.clone_into(&mut asked.config.name);
    }
    if asked.config.name != name {
        return Err(reject::STREAM_MISMATCH);
    }
    if name.contains(['/', '\\']) {
        return Err(reject::STREAM_NAME_CONTAINS_PATH_SEPARATORS);
    }
    asked
        .state
        .check()
        .map_err(|error| reject::STREAM_RESTORE.with(error))?;
    let account = &request.account.name;
    let (config, settings) = with_rules(js, account, false, |rules| validate_restored(asked.config, rules))?;
    js.check_external(&request.account, &config)?;
    let limits = js.limits_of_streams(account)?;
    let room = js.catalogue().check_room(account, &config, &limits);
    room.map_err(|refusal| refusal.rejection())?;
    if lookup(js, request, name).is_ok() {
        return Err(reject::STREAM_NAME_EXIST_RESTORE_FAILED);
    }
    let Ok(place) = Arc::clone(&js.restores).try_acquire_owned() else {
        return Err(reject::INSUFFICIENT_RESOURCES);
    };
    let (queue, chunks) = mpsc::channel(QUEUE);
    let waiting = Arc::new(AtomicUsize::new(0));
    let taking = Chunks {
        queue,
        waiting: Arc::clone(&waiting),
    };
    let deliver_subject = format!("$JS.SNAPSHOT.RESTORE.{name}.{}", nuid());
    let subscription = request
        .account
        .serve(deliver_subject.as_bytes(), Arc::new(taking))
        .map_err(|error| reject::RESTORE_SUBSCRIBE_FAILED.with(&deliver_subject).with(error))?;
    let restore = Restore {
        js: Arc::clone(js),
        request: request.clone(),
        id: js.allocate_id(),
        shard: js.shard_for(account, name),
        settings,
        plan: Plan {
            original: config.name.clone(),
            config,
            told: asked.state,
            limits: limits_of(js, account),
            max_payload: js.max_payload as u64,
            now: now(),
        },
        _place: place,
    };
    tracing::info!(stream = name, "restore begins");
    js.advise(
        &request.account,
        &format!("STREAM.RESTORE_CREATE.{name}"),
        "restore_create",
        || json!({"stream": name, "client": js.describe_client(request)}),
    );
    js.runtime.spawn(async move {
        let account = Arc::clone(&restore.request.account);
        let start = now();
        let bytes = restore.run(chunks, &waiting).await;
        account.remove(&subscription);
        let this = restore;
        let name = &this.plan.config.name;
        this.js.advise(
            &account,
            &format!("STREAM.RESTORE_COMPLETE.{name}"),
            "restore_complete",
            || {
                json!({
                    "stream": name,
                    "start": format_time(Some(start)),
                    "end": format_time(Some(now())),
                    "bytes": bytes,
                    "client": this.js.describe_client(&this.request),
                })
            },
        );
    });
    #[derive(Serialize)]
    struct Begun {
        deliver_subject: String,
    }
    Ok(reply::answer(Call::StreamRestore(name), Begun { deliver_subject }))
}

impl Restore {
    /// Answers how many bytes came.
    async fn run(&self, mut chunks: mpsc::Receiver<Chunk>, waiting: &AtomicUsize) -> usize {
        let mut bytes = 0;
        let mut decoding = Ok(Decoder::new(self.plan.clone()));
        // Where the last answer goes.
        let reply = loop {
            let broken = match tokio::time::timeout(IDLE, chunks.recv()).await {
                Ok(Some(chunk)) if chunk.payload.is_empty() => break chunk.reply,
                Ok(Some(chunk)) if !chunk.reply.is_empty() => {
                    waiting.fetch_sub(chunk.payload.len(), Ordering::Relaxed);
                    bytes += chunk.payload.len();
                    match decoding {
                        // The next chunk is asked for while this one is worked on: one of each is there at a time.
                        Ok(before) => {
                            self.js.send(&self.request.account, &chunk.reply, b"", b"");
                            decoding = self.take(before, chunk.payload).await;
                        }
                        Err(rejection) => {
                            self.answer(&chunk.reply, Err(rejection)).await;
                            return bytes;
                        }
                    }
                    continue;
                }
                Ok(Some(_)) => "every chunk needs a reply subject",
                Ok(None) => "the server is shutting down",
                Err(_) => "the client has been silent for too long",
            };
            tracing::warn!(stream = %self.plan.config.name, "restore broken off: {broken}");
            self.forget().await;
            return bytes;
        };
        let outcome = match decoding.map(Decoder::finish) {
            Ok(Ok((contents, begin))) => self.complete(contents, begin).await,
            Ok(Err(error)) => Err(rejected(error)),
            Err(rejection) => Err(rejection),
        };
        self.answer(&reply, outcome).await;
        bytes
    }

    /// Brings what a chunk holds into the hidden stream.
    async fn take(&self, mut decoder: Decoder, chunk: Bytes) -> Result<Decoder, Rejection> {
        let mut chunk = Some(chunk);
        loop {
            let piece = chunk.take();
            // Off the async workers, for as long as it takes to unpack a part of it.
            let decoding = tokio::task::spawn_blocking(move || {
                if let Some(piece) = piece {
                    decoder.push(&piece);
                }
                let step = decoder.step();
                (decoder, step)
            });
            let (back, step) = decoding.await.map_err(|error| reject::STREAM_RESTORE.with(error))?;
            decoder = back;
            match step.map_err(rejected)? {
                Step::More => return Ok(decoder),
                step => self.carry_out(step).await?,
            }
        }
    }

    async fn carry_out(&self, step: Step) -> Result<(), Rejection> {
        let id = self.id;
        match step {
            Step::Begin { first, bytes } => {
                self.check_capacity(bytes)?;
                let owner = Arc::from(&*self.request.account.name);
                let (config, settings) = (self.plan.config.clone(), self.settings);
                self.js.open_backend(settings.backend).await;
                self.ask(move |shard| shard.begin_restore(id, &owner, config, settings, first))
                    .await
            }
            Step::Fill {
                messages,
                removals_follow,
            } => {
                let filled = self.ask(move |shard| shard.restore_messages(id, messages, removals_follow));
                match filled.await? {
                    true => self.sync().await,
                    false => Ok(()),
                }
            }
            Step::Remove(seqs) => self.ask(move |shard| shard.restore_removals(id, &seqs)).await,
            Step::More => Ok(()),
        }
    }

    /// Refuses a stream that all streams together would have no room for, before anything of it is stored.
    fn check_capacity(&self, bytes: u64) -> Result<(), Rejection> {
        let js = &self.js;
        let usage = Usage::of(&js.catalogue().all());
        let (used, limit, rejection) = match self.plan.config.storage {
            Storage::File => (usage.storage, js.capacity.file, reject::STORAGE_RESOURCES_EXCEEDED),
            Storage::Memory => (usage.memory, js.capacity.memory, reject::MEMORY_RESOURCES_EXCEEDED),
        };
        match used.saturating_add(bytes) > limit {
            true => Err(rejection),
            false => Ok(()),
        }
    }

    /// Makes durable what the stream has so far, not on the storage thread.
    async fn sync(&self) -> Result<(), Rejection> {
        let id = self.id;
        let backend = self.ask(move |shard| shard.restore_backend(id)).await?;
        match tokio::task::spawn_blocking(move || backend.sync()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(reject::STREAM_RESTORE.with(error)),
            Err(error) => Err(reject::STREAM_RESTORE.with(error)),
        }
    }

    /// All messages are there.
    async fn complete(&self, contents: Contents, begin: Option<Step>) -> Result<(), Rejection> {
        if let Some(begin) = begin {
            self.carry_out(begin).await?;
        }
        self.sync().await?;
        self.appear(contents).await
    }

    /// Tells the client how it ended, once the stream is there or everything is gone.
    async fn answer(&self, reply: &[u8], outcome: Result<(), Rejection>) {
        let name = &self.plan.config.name;
        self.forget().await;
        let described = match outcome {
            Ok(()) => match lookup(&self.js, &self.request, name) {
                Ok(entry) => describe(&self.js, &entry).await,
                Err(rejection) => Err(rejection),
            },
            Err(rejection) => Err(rejection),
        };
        let payload = match described {
            Ok(info) => {
                tracing::info!(stream = %name, "restore complete");
                reply::answer(Call::StreamCreate(name), info)
            }
            Err(rejection) => {
                tracing::warn!(stream = %name, "restore failed: {}", rejection.text);
                reply::refusal(Call::StreamCreate(name), &rejection)
            }
        };
        self.js.send(&self.request.account, reply, b"", &payload);
    }

    /// Makes the restored stream one like any other.
    async fn appear(&self, contents: Contents) -> Result<(), Rejection> {
        let js = &self.js;
        let account = &self.request.account;
        let config = &self.plan.config;
        // What was free at the beginning may be taken by now.
        // That there was room for what it holds was seen as it came.
        let limits = Limits::default();
        let reserved = match js
            .intend(|streams| streams.assign(&account.name, config, &limits))
            .await
        {
            Intent::Reserved(reserved, _) => reserved,
            Intent::Refused(refusal @ Refusal::Subjects(_)) => {
                return Err(reject::STREAM_RESTORE.with(refusal.rejection().text));
            }
            _ => return Err(reject::STREAM_NAME_EXIST_RESTORE_FAILED),
        };
        let id = self.id;
        let consumers: Vec<_> = contents
            .consumers
            .iter()
            .map(|consumer| (consumer.name.clone(), consumer.config.clone()))
            .collect();
        let _reserved = self
            .ask(move |shard| {
                shard.finish_restore(id, contents.last, contents.last_time, contents.consumers)?;
                Ok(reserved)
            })
            .await?;
        let entry = lookup(js, &self.request, &config.name)?;
        let attach = || {
            js.attach_stream(account, &entry)?;
            for (name, config) in &consumers {
                js.attach_consumer(account, &entry, name, config)?;
            }
            Ok::<_, crate::error::Error>(())
        };
        if let Err(error) = attach() {
            // A stream that hears nothing must not stay.
            if let Err(undo) = js.call(entry.shard, move |shard| shard.delete_stream(id)).await {
                tracing::error!(stream = %entry.name, "cannot delete a stream that hears nothing: {undo}");
            }
            js.detach_stream(id);
            return Err(reject::STREAM_RESTORE.with(error));
        }
        js.start_sourcing(&entry).await;
        js.advise_stream(account, &entry.name, "CREATED", "create");
        Ok(())
    }

    /// Removes what an unfinished restore left, and the mark of a finished one.
    async fn forget(&self) {
        let id = self.id;
        if let Err(error) = self.js.call(self.shard, move |shard| shard.end_restore(id)).await {
            tracing::error!(stream = %self.plan.config.name, "cleaning up after a restore: {error}");
        }
    }

    /// Runs something on the storage thread.
    async fn ask<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut InTurn<'_, '_>) -> weir_engine::Result<R> + Send + 'static,
    ) -> Result<R, Rejection> {
        let done = self.js.call(self.shard, work).await;
        done.map_err(|error| match error.rejection {
            Some(rejection) => rejection,
            None => reject::STREAM_RESTORE.with(error),
        })
    }
}

fn rejected(error: io::Error) -> Rejection {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => reject::STREAM_RESTORE.with("backup was truncated"),
        _ => reject::STREAM_RESTORE.with(error),
    }
}
