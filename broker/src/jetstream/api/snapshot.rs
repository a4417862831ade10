//! STREAM.SNAPSHOT: a stream as a backup, in chunks that the receiver confirms (js-api, "Snapshot / restore").

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use weir_backup::{BackupState, Begun, Reading, Writer};
use weir_engine::json::format_time;
use weir_engine::reject;
use weir_engine::store::StreamEntry;
use weir_engine::stream::StreamConfig;

use super::call::Call;
use super::decode::decode;
use super::reply;
use super::{Answer, is_empty, lookup, refused, schema};
use crate::interest::{Account, Inbound, Service, Subscription, Work};
use crate::jetstream::{ApiRequest, JetStream, now, nuid, status};
use crate::routing::Courier;

/// The size of a chunk where nothing is said, in bytes.
const CHUNK: u64 = 128 << 10;
/// The smallest and the largest chunk.
const CHUNK_RANGE: (u64, u64) = (1 << 10, 1 << 20);
/// Bytes on their way and not confirmed, where nothing is said.
const WINDOW: u64 = 8 << 20;
/// The smallest and the largest window.
const WINDOW_RANGE: (u64, u64) = (1 << 10, 32 << 20);
/// How long the receiver may take to subscribe.
const INTEREST_WAIT: Duration = Duration::from_secs(2);
/// How long it may take to confirm anything.
const CONFIRM_WAIT: Duration = Duration::from_secs(5);
/// Backups at once. Each holds a portion of the stream, and what its receiver has not confirmed.
pub const SNAPSHOTS_MAX: usize = 32;

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Request {
    deliver_subject: String,
    no_consumers: bool,
    chunk_size: u64,
    window_size: u64,
}

/// Where the chunks go, and how many may be on their way.
struct Line {
    account: Arc<Account>,
    to: String,
    /// What the confirmations' subjects begin with.
    confirm: String,
    chunk: usize,
    /// One permit for each chunk that may be on its way.
    free: Arc<Semaphore>,
    subscription: Arc<Subscription>,
    sent: usize,
    pending: Vec<u8>,
}

/// Why a backup broke off, as the status of its last message says it.
enum Broken {
    NoInterest,
    NoFlow,
    Failed(String),
}

impl Broken {
    fn text(&self) -> String {
        match self {
            Self::NoInterest => "no interest".to_owned(),
            Self::NoFlow => "no flow response".to_owned(),
            Self::Failed(why) => why.clone(),
        }
    }
}

/// STREAM.SNAPSHOT. The chunks follow the answer.
pub(super) async fn snapshot(js: &Arc<JetStream>, request: &ApiRequest, name: &str) -> Answer {
    if is_empty(&request.payload) {
        return Err(reject::BAD_REQUEST);
    }
    let entry = lookup(js, request, name)?;
    let asked: Request =
        decode(&request.payload, &schema::SNAPSHOT, js.options.strict).map_err(|why| reject::INVALID_JSON.with(why))?;
    let to = asked.deliver_subject.as_bytes();
    if !weir_subject::is_valid_subject(to) || !weir_subject::is_literal(to) {
        return Err(reject::SNAPSHOT_DELIVER_SUBJECT_INVALID);
    }
    let Ok(place) = Arc::clone(&js.snapshots).try_acquire_owned() else {
        return Err(reject::INSUFFICIENT_RESOURCES);
    };
    let id = entry.id;
    let with_consumers = !asked.no_consumers;
    let begun = js
        .call(entry.shard, move |shard| {
            Reading::begin(shard.stream(id)?, with_consumers)
        })
        .await
        .map_err(|error| refused(error, &reject::STREAM_SNAPSHOT))?;
    #[derive(Serialize)]
    struct Described<'a> {
        config: &'a StreamConfig,
        state: &'a BackupState,
    }
    let described = Described {
        config: &entry.config,
        state: &begun.state,
    };
    let answer = reply::answer(Call::StreamSnapshot(name), described);
    let state = json!(begun.state);
    js.advise(
        &request.account,
        &format!("STREAM.SNAPSHOT_CREATE.{name}"),
        "snapshot_create",
        || json!({"stream": name, "state": state, "client": js.describe_client(request)}),
    );
    let task = Backup {
        js: Arc::clone(js),
        request: request.clone(),
        entry,
        asked,
        _place: place,
    };
    // The answer goes out first: the chunks wait for the receiver's interest, or for the answer's own way out.
    js.runtime.spawn(task.run(begun));
    Ok(answer)
}

/// One backup under way.
struct Backup {
    js: Arc<JetStream>,
    request: ApiRequest,
    entry: Arc<StreamEntry>,
    asked: Request,
    /// One of [`SNAPSHOTS_MAX`].
    _place: OwnedSemaphorePermit,
}

impl Backup {
    async fn run(self, begun: Begun) {
        let name = Arc::clone(&self.entry.name);
        tracing::info!(stream = %name, "snapshot begins");
        let mut line = match Line::open(&self.request.account, &name, &self.asked) {
            Ok(line) => line,
            Err(error) => return tracing::warn!(stream = %name, "snapshot: {error}"),
        };
        let start = now();
        let outcome = self.send(begun, &mut line).await;
        let error = outcome.as_ref().err().map(Broken::text);
        line.close(outcome.as_ref().err());
        self.js.advise(
            &self.request.account,
            &format!("STREAM.SNAPSHOT_COMPLETE.{name}"),
            "snapshot_complete",
            || {
                let mut fields = json!({
                    "stream": &*name,
                    "start": format_time(Some(start)),
                    "end": format_time(Some(now())),
                    "client": self.js.describe_client(&self.request),
                });
                if let Some(error) = error {
                    fields["error"] = json!(error);
                }
                fields
            },
        );
        match outcome {
            Ok(()) => tracing::info!(stream = %name, "snapshot complete"),
            Err(Broken::NoInterest) => tracing::warn!(stream = %name, "snapshot broken off: nobody listens"),
            Err(Broken::NoFlow) => tracing::warn!(stream = %name, "snapshot broken off: the receiver does not confirm"),
            Err(Broken::Failed(why)) => tracing::warn!(stream = %name, "snapshot failed: {why}"),
        }
    }

    async fn send(&self, begun: Begun, line: &mut Line) -> Result<(), Broken> {
        line.wait_for_interest().await;
        let Begun {
            state,
            consumers,
            mut reading,
        } = begun;
        let time = now();
        let begin = move || {
            let mut writer = Writer::new(&state, time);
            for consumer in &consumers {
                writer.consumer(consumer, time)?;
            }
            Ok(writer)
        };
        let mut writer = blocking(begin).await?;
        let mut fetched = false;
        loop {
            let id = self.entry.id;
            let read = self.js.call(self.entry.shard, move |shard| {
                let stream = shard.stream(id)?;
                if !fetched && let Some(unread) = reading.unread(stream) {
                    return Ok(Err(unread));
                }
                let portion = reading.next(stream)?;
                Ok(Ok((reading, portion)))
            });
            let (on, portion) = match read.await.map_err(|error| Broken::Failed(error.to_string()))? {
                Ok(read) => read,
                Err(unread) => {
                    self.js.disk.fetch(vec![unread]).await;
                    fetched = true;
                    continue;
                }
            };
            (reading, fetched) = (on, false);
            let Some(portion) = portion else {
                break;
            };
            let (back, bytes) = blocking(move || {
                for message in &portion.messages {
                    writer.message(message);
                }
                let bytes = writer.take();
                Ok((writer, bytes))
            })
            .await?;
            writer = back;
            line.push(bytes).await?;
        }
        let rest = blocking(move || Ok(writer.finish())).await?;
        line.push(rest).await?;
        line.rest()
    }
}

/// Compresses off the async workers.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Broken> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Broken::Failed(error.to_string())),
        Err(error) => Err(Broken::Failed(error.to_string())),
    }
}

/// Counts confirmations.
struct Confirmed(Arc<Semaphore>);

impl Service for Confirmed {
    fn message(&self, _: &Inbound<'_>, _: &mut Work) {
        // A receiver that confirms too much must not make the window boundless.
        if self.0.available_permits() < WINDOW_RANGE.1 as usize / CHUNK_RANGE.0 as usize {
            self.0.add_permits(1);
        }
    }
}

impl Line {
    fn open(account: &Arc<Account>, stream: &str, asked: &Request) -> crate::error::Result<Self> {
        let or = |asked: u64, default: u64| if asked == 0 { default } else { asked };
        let chunk = or(asked.chunk_size, CHUNK).clamp(CHUNK_RANGE.0, CHUNK_RANGE.1);
        let window = or(asked.window_size, WINDOW)
            .clamp(WINDOW_RANGE.0, WINDOW_RANGE.1)
            .max(chunk);
        let confirm = format!("$JS.SNAPSHOT.ACK.{stream}.{}", nuid());
        let free = Arc::new(Semaphore::new((window / chunk) as usize));
        let subscription = account.serve(
            format!("{confirm}.>").as_bytes(),
            Arc::new(Confirmed(Arc::clone(&free))),
        )?;
        Ok(Self {
            account: Arc::clone(account),
            to: asked.deliver_subject.clone(),
            confirm,
            chunk: chunk as usize,
            free,
            subscription,
            sent: 0,
            pending: Vec::new(),
        })
    }

    /// The receiver may subscribe only once it has the answer. A client that hears all of its inboxes through one wildcard
    /// would lose what came before.
    async fn wait_for_interest(&self) {
        let subject = self.to.as_bytes();
        let here = Arc::new(Notify::new());
        let told = Arc::clone(&here);
        let key = (0, self.confirm.as_str().into());
        self.account.watch(subject, key, Arc::new(move || told.notify_one()));
        let subscribed = async {
            while !self.account.has_subscriber(subject, "") {
                here.notified().await;
            }
        };
        // Whether anybody hears it is looked at by the first chunk.
        let _ = tokio::time::timeout(INTEREST_WAIT, subscribed).await;
        self.account.unwatch(subject, &(0, self.confirm.as_str().into()));
    }

    /// Sends what fills whole chunks, and keeps the rest.
    async fn push(&mut self, bytes: Vec<u8>) -> Result<(), Broken> {
        self.pending.extend_from_slice(&bytes);
        let mut at = 0;
        while self.pending.len() - at > self.chunk {
            let permit = tokio::time::timeout(CONFIRM_WAIT, self.free.acquire()).await;
            match permit {
                Ok(Ok(permit)) => permit.forget(),
                Ok(Err(_)) | Err(_) => return Err(Broken::NoFlow),
            }
            if !self.account.has_interest(self.to.as_bytes()) {
                return Err(Broken::NoInterest);
            }
            self.sent += 1;
            let reply = format!("{}.{}.{}", self.confirm, self.chunk, self.sent);
            self.send(reply.as_bytes(), b"", &self.pending[at..at + self.chunk]);
            at += self.chunk;
        }
        self.pending.drain(..at);
        Ok(())
    }

    /// Sends the last chunk, which needs no confirmation.
    fn rest(&self) -> Result<(), Broken> {
        if !self.account.has_interest(self.to.as_bytes()) {
            return Err(Broken::NoInterest);
        }
        self.send(b"", b"", &self.pending);
        Ok(())
    }

    fn send(&self, reply: &[u8], headers: &[u8], payload: &[u8]) {
        let to = self.to.as_bytes();
        Courier::telling(Arc::clone(&self.account)).send(to, to, reply, headers, payload);
    }

    /// Says that it is over, and how.
    fn close(self, broken: Option<&Broken>) {
        let block = match broken {
            None => status::block(204, "", &[]),
            Some(Broken::NoInterest) => status::block(408, "No Interest", &[]),
            Some(Broken::NoFlow) => status::block(408, "No Flow Response", &[]),
            Some(Broken::Failed(why)) => status::block(500, why, &[]),
        };
        self.send(b"", &block, b"");
        self.account.remove(&self.subscription);
    }
}
