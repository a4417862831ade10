//! STREAM.RESTORE: a stream made from a backup that a client sends in chunks (js-api, "Snapshot / restore").
//!
//! The chunks go through a short queue to a thread that decodes them and fills a stream nobody sees. Only when all of it
//! is there does the stream appear; whatever breaks off before leaves nothing behind.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use weir_engine::consumer::ConsumerSnapshot;
use weir_engine::json::format_time;
use weir_engine::stream::settings::Settings;
use weir_engine::stream::validate::{subjects_overlap, validate_new};
use weir_engine::stream::{Message, StreamConfig};
use weir_engine::{LogId, NanoTime, Rejection, Seq, reject};

use super::call::Call;
use super::decode::decode;
use super::reply;
use super::stream::{check_room, describe, with_rules};
use super::{Answer, is_empty, lookup, refused, schema};
use crate::account::{Inbound, Service};
use crate::jetstream::backup::{Backup, BackupConsumer, BackupState, Reader, broken};
use crate::jetstream::batch::Batch;
use crate::jetstream::{ApiRequest, JetStream, backup_tar, now, nuid};

/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(5);
/// Chunks that wait to be decoded. A client that waits for the answer to each has one there.
const QUEUE: usize = 64;
/// Messages given to the storage thread at a time.
const MESSAGES: usize = 1000;
/// Bytes given to the storage thread at a time, give or take one message.
const BYTES: usize = 4 << 20;
/// Consumers of a stream that a backup may bring.
const CONSUMERS_MAX: usize = 1 << 20;

/// A chunk, and where its answer goes.
struct Chunk {
    payload: Bytes,
    reply: Bytes,
}

/// Takes chunks off the interest graph.
struct Chunks {
    queue: mpsc::Sender<Chunk>,
}

impl Service for Chunks {
    fn message(&self, message: &Inbound<'_>, _: &mut Batch) {
        let chunk = Chunk {
            payload: Bytes::copy_from_slice(message.payload),
            reply: Bytes::copy_from_slice(message.reply),
        };
        // A client that sends more than it may is not answered for it, and its restore fails: the decoder misses a piece.
        let _ = self.queue.try_send(chunk);
    }
}

/// A restore under way.
struct Restore {
    js: Arc<JetStream>,
    request: ApiRequest,
    id: LogId,
    shard: usize,
    config: StreamConfig,
    settings: Settings,
    /// What the client says of the backup.
    told: BackupState,
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
    // A sealed stream comes back as one.
    let sealed = std::mem::take(&mut asked.config.sealed);
    let account = &request.account.name;
    let (mut config, settings) = with_rules(js, account, false, |rules| validate_new(asked.config, rules))?;
    config.sealed = sealed;
    check_room(js, &config, 0)?;
    if lookup(js, request, name).is_ok() {
        return Err(reject::STREAM_NAME_EXIST_RESTORE_FAILED);
    }
    let (queue, chunks) = mpsc::channel(QUEUE);
    let deliver_subject = format!("$JS.SNAPSHOT.RESTORE.{name}.{}", nuid());
    let subscription = request
        .account
        .serve(deliver_subject.as_bytes(), Arc::new(Chunks { queue }))
        .map_err(|error| reject::RESTORE_SUBSCRIBE_FAILED.with(&deliver_subject).with(error))?;
    let restore = Restore {
        js: Arc::clone(js),
        request: request.clone(),
        id: js.allocate_id(),
        shard: js.shard_for(account, name),
        config,
        settings,
        told: asked.state,
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
        let this = Arc::new(restore);
        let bytes = Arc::clone(&this).run(chunks).await;
        account.remove(&subscription);
        let name = &this.config.name;
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
    async fn run(self: Arc<Self>, mut chunks: mpsc::Receiver<Chunk>) -> usize {
        let this = &self;
        let name = self.config.name.clone();
        let (pieces, pipe) = mpsc::channel::<Bytes>(2);
        let worker = Arc::clone(&self);
        let mut bytes = 0;
        let handle = this.js.runtime.clone();
        let mut decoding = tokio::task::spawn_blocking(move || worker.decode(Pipe::new(pipe), &handle));
        let mut pieces = Some(pieces);
        let mut finished = None;
        // Where the last answer goes.
        let end = loop {
            let chunk = match tokio::time::timeout(IDLE, chunks.recv()).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break Err("the server is shutting down".to_owned()),
                Err(_) => break Err("the client has been silent for too long".to_owned()),
            };
            if chunk.payload.is_empty() {
                break Ok(chunk.reply);
            }
            if chunk.reply.is_empty() {
                break Err("every chunk needs a reply subject".to_owned());
            }
            bytes += chunk.payload.len();
            // An error means that the decoder is done: with everything, or with a backup that makes no sense.
            let taken = match &pieces {
                Some(pieces) => pieces.send(chunk.payload).await.is_ok(),
                None => false,
            };
            if !taken && finished.is_none() {
                let outcome = joined((&mut decoding).await);
                if outcome.is_err() {
                    this.answer(&chunk.reply, outcome).await;
                    return bytes;
                }
                finished = Some(outcome);
            }
            this.js.send(&this.request.account, &chunk.reply, b"", b"");
        };
        match end {
            Ok(reply) => {
                pieces = None;
                let outcome = match finished {
                    Some(outcome) => outcome,
                    None => joined(decoding.await),
                };
                drop(pieces);
                this.answer(&reply, outcome).await;
            }
            Err(why) => {
                tracing::warn!(stream = %name, "restore broken off: {why}");
                // The decoder finds the backup cut short, and then there is nobody left who fills the stream.
                drop(pieces);
                if finished.is_none() {
                    let _ = decoding.await;
                }
                this.forget().await;
            }
        }
        bytes
    }

    /// Tells the client how it ended, once the stream is there or everything is gone.
    async fn answer(&self, reply: &[u8], outcome: io::Result<Contents>) {
        let name = &self.config.name;
        let outcome = match outcome {
            Ok(contents) => self.appear(contents).await,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(reject::STREAM_RESTORE.with("backup was truncated"))
            }
            Err(error) => Err(reject::STREAM_RESTORE.with(error)),
        };
        self.forget().await;
        let payload = match outcome {
            Ok(()) => match lookup(&self.js, &self.request, name) {
                Ok(entry) => match describe(&self.js, &entry).await {
                    Ok(info) => {
                        tracing::info!(stream = %name, "restore complete");
                        reply::answer(Call::StreamCreate(name), info)
                    }
                    Err(rejection) => reply::refusal(Call::StreamCreate(name), &rejection),
                },
                Err(rejection) => reply::refusal(Call::StreamCreate(name), &rejection),
            },
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
        // What was free at the beginning may be taken by now.
        let _making = js.create_lock.lock().await;
        if lookup(js, &self.request, &self.config.name).is_ok() {
            return Err(reject::STREAM_NAME_EXIST_RESTORE_FAILED);
        }
        let streams = js.catalogue().list(&account.name);
        if streams
            .iter()
            .any(|other| subjects_overlap(&other.config.subjects, &self.config.subjects))
        {
            return Err(reject::STREAM_RESTORE.with(&reject::STREAM_SUBJECT_OVERLAP.text));
        }
        let id = self.id;
        let consumers: Vec<_> = contents
            .consumers
            .iter()
            .map(|consumer| (consumer.name.clone(), consumer.config.clone()))
            .collect();
        js.call(self.shard, move |shard| {
            shard.finish_restore(id, contents.last, contents.last_time, contents.consumers)
        })
        .await
        .map_err(|error| refused(error, &reject::STREAM_RESTORE))?;
        let entry = lookup(js, &self.request, &self.config.name)?;
        js.attach_stream(account, &entry)
            .map_err(|error| reject::STREAM_RESTORE.with(error))?;
        for (name, config) in consumers {
            js.attach_consumer(account, &entry, &name, &config)
                .map_err(|error| reject::STREAM_RESTORE.with(error))?;
        }
        js.start_sourcing(&entry).await;
        js.advise_stream(account, &entry.name, "CREATED", "create");
        Ok(())
    }

    /// Removes what an unfinished restore left, and the mark of a finished one.
    async fn forget(&self) {
        let id = self.id;
        if let Err(error) = self.js.call(self.shard, move |shard| shard.end_restore(id)).await {
            tracing::error!(stream = %self.config.name, "cleaning up after a restore: {error}");
        }
    }

    /// Reads a backup into the hidden stream. On a thread of its own.
    fn decode(&self, pipe: Pipe, handle: &tokio::runtime::Handle) -> io::Result<Contents> {
        match Backup::open(pipe)? {
            Backup::Archive(reader) => self.decode_archive(reader, handle),
            Backup::Tar(tar) => self.decode_tar(tar, handle),
        }
    }

    fn begin(&self, handle: &tokio::runtime::Handle, first: Seq) -> io::Result<()> {
        let (id, owner) = (self.id, Arc::from(&*self.request.account.name));
        let (config, settings) = (self.config.clone(), self.settings);
        self.ask(handle, move |shard| {
            shard.begin_restore(id, &owner, config, settings, first)
        })
    }

    fn decode_archive(&self, mut reader: Reader<Pipe>, handle: &tokio::runtime::Handle) -> io::Result<Contents> {
        let head = reader.next()?;
        if head.name != b"state.json" {
            return Err(broken("expected state.json first"));
        }
        let state: BackupState =
            serde_json::from_slice(head.body()).map_err(|error| broken(format!("error in state.json: {error}")))?;
        let created = now();
        self.begin(handle, state.first_seq)?;
        let mut consumers = Vec::new();
        if state.consumer_count > CONSUMERS_MAX {
            return Err(broken("too many consumers"));
        }
        for serial in 1..=state.consumer_count as u64 {
            let entry = reader.next()?;
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            let Some(name) = name.strip_prefix("consumers/") else {
                return Err(broken(format!("expected consumer, found {name:?}")));
            };
            let consumer: BackupConsumer = serde_json::from_slice(entry.body())
                .map_err(|error| broken(format!("failed to decode consumer {name:?} state: {error}")))?;
            consumers.push(consumer.into_snapshot(name, serial, created));
        }
        let mut last = state.last_seq;
        let mut portion = Vec::new();
        let mut bytes = 0;
        loop {
            let entry = reader.next()?;
            if entry.is_end() {
                break;
            }
            if entry.seq == 0 {
                return Err(broken("expected message sequence"));
            }
            if entry.seq <= last.min(state.first_seq.saturating_sub(1)) {
                return Err(broken(format!("message sequence {} out of order", entry.seq)));
            }
            last = last.max(entry.seq);
            bytes += entry.body().len() + entry.name.len();
            portion.push(entry.into_message());
            if portion.len() >= MESSAGES || bytes >= BYTES {
                self.fill(handle, std::mem::take(&mut portion))?;
                bytes = 0;
            }
        }
        self.fill(handle, portion)?;
        let last_time = state.last_time();
        Ok(Contents {
            last_time,
            last,
            consumers,
        })
    }

    /// Where such a backup begins only the client can say: of messages that limits removed it may have more.
    fn decode_tar(&self, tar: impl Read, handle: &tokio::runtime::Handle) -> io::Result<Contents> {
        let first = self.told.first_seq;
        let mut begun = first > 0;
        if begun {
            self.begin(handle, first)?;
        }
        let rest = backup_tar::read(tar, first, &mut |mut messages| {
            if let (false, Some(message)) = (begun, messages.first()) {
                self.begin(handle, message.seq)?;
                begun = true;
            }
            while !messages.is_empty() {
                let portion = messages.drain(..messages.len().min(MESSAGES)).collect();
                self.fill(handle, portion)?;
            }
            Ok(())
        })?;
        if rest.stream != self.config.name {
            return Err(broken("stream names do not match"));
        }
        if !begun {
            self.begin(handle, rest.last + 1)?;
        }
        let (id, removed) = (self.id, rest.removed);
        self.ask(handle, move |shard| shard.restore_removals(id, &removed))?;
        let created = now();
        let numbered = rest.consumers.into_iter().zip(1..);
        let consumers = numbered.map(|((name, consumer), serial)| consumer.into_snapshot(&name, serial, created));
        let last = rest.last.max(self.told.last_seq);
        Ok(Contents {
            last_time: match last == rest.last {
                true => Some(rest.last_time),
                false => self.told.last_time(),
            },
            last,
            consumers: consumers.collect(),
        })
    }

    fn fill(&self, handle: &tokio::runtime::Handle, messages: Vec<Message>) -> io::Result<()> {
        let id = self.id;
        self.ask(handle, move |shard| shard.restore_messages(id, messages))
    }

    /// Runs something on the storage thread, and waits for it.
    fn ask(
        &self,
        handle: &tokio::runtime::Handle,
        work: impl FnOnce(&mut weir_engine::shard::Shard<'_, '_>) -> weir_engine::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        handle
            .block_on(self.js.call(self.shard, work))
            .map_err(|error| broken(error.to_string()))
    }
}

/// What a backup held besides messages.
struct Contents {
    /// The last sequence, of a message or given away.
    last: Seq,
    /// When it was, if that is known.
    last_time: Option<NanoTime>,
    consumers: Vec<ConsumerSnapshot>,
}

fn joined(outcome: Result<io::Result<Contents>, tokio::task::JoinError>) -> io::Result<Contents> {
    outcome.unwrap_or_else(|error| Err(broken(error.to_string())))
}

/// The chunks as one stream of bytes.
struct Pipe {
    chunks: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Pipe {
    fn new(chunks: mpsc::Receiver<Bytes>) -> Self {
        Self {
            chunks,
            current: Bytes::new(),
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk,
                None => return Ok(0),
            }
        }
        let len = out.len().min(self.current.len());
        out[..len].copy_from_slice(&self.current.split_to(len));
        Ok(len)
    }
}
