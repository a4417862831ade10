//! Mirrors and sources: a task for each carries messages from the origin's storage thread to the target's.
//!
//! A task asks the origin for as many messages as it wants to hold, gives them to the target, and asks again once they are
//! durable there; so memory stays bounded and whoever is slower sets the pace. With nothing to carry it sleeps until the
//! origin's storage thread says that there is more. Where a target stands is the target's to know, so that a task can be
//! stopped and started at any time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use weir_engine::json::is_zero;
use weir_engine::store::StreamEntry;
use weir_engine::stream::{ExternalStream, StreamConfig, StreamSource, SubjectTransform, identity};
use weir_engine::{Rejection, Seq, StreamId, reject};

use crate::interest::Account;
use crate::jetstream::{JetStream, now};

/// Messages carried at a time.
const MESSAGES: usize = 1000;
/// Bytes carried at a time, give or take one message.
const BYTES: usize = 512 << 10;
const _: () = assert!(
    BYTES as u64 * 2 <= weir_engine::FETCH_BYTES,
    "a portion waits for the disk on the storage thread"
);
/// How long a task waits before it asks again a target that is full, or a storage thread that failed.
const RETRY: Duration = Duration::from_millis(250);
/// How often nats-server hears from an origin that has nothing new.
const HEARTBEAT: i64 = 1_000_000_000;

/// The tasks of all targets.
#[derive(Default)]
pub(super) struct Sourcing {
    tasks: Mutex<HashMap<StreamId, Vec<Task>>>,
    /// Who waits for more of an origin.
    waiting: Mutex<HashMap<StreamId, Vec<Arc<Notify>>>>,
    /// Counts streams made, changed and deleted, for the tasks that wait for an origin.
    changes: watch::Sender<u64>,
    readers: AtomicU64,
}

struct Task {
    source: StreamSource,
    status: Arc<Mutex<Status>>,
    wake: Arc<Notify>,
    mirror: bool,
    handle: JoinHandle<()>,
}

/// How a task gets on.
#[derive(Clone, Debug, Default)]
struct Status {
    /// Messages that the origin has and the target does not.
    lag: u64,
    /// When the origin was last heard of.
    heard: Option<i64>,
    /// The last sequence of the origin that the target has.
    through: Seq,
    /// Why it does not read.
    error: Option<Rejection>,
    /// Where it reads now, and as whom.
    reading: Option<(Arc<StreamEntry>, u64)>,
}

/// What a stream's information says of its mirror or of a source.
#[derive(Serialize)]
pub(super) struct SourceInfo {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<ExternalStream>,
    lag: u64,
    /// The last sequence of the origin that a source has copied.
    #[serde(skip_serializing_if = "is_zero")]
    seq: Seq,
    /// Nanoseconds since the origin was last heard of; -1 if it never was.
    active: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Rejection>,
    #[serde(skip_serializing_if = "String::is_empty")]
    filter_subject: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subject_transforms: Vec<SubjectTransform>,
}

/// One mirror or source at work.
struct Copier {
    jetstream: std::sync::Weak<JetStream>,
    target: Arc<StreamEntry>,
    source: StreamSource,
    status: Arc<Mutex<Status>>,
    reader: u64,
    wake: Arc<Notify>,
    changes: watch::Receiver<u64>,
    /// Told once the origin knows of it, or is not there.
    ready: Option<oneshot::Sender<()>>,
}

/// Why a copier stopped reading an origin.
enum Stopped {
    /// The origin is gone.
    Origin,
    /// The target or the server is gone.
    Target,
}

impl Sourcing {
    fn no_longer_waiting(&self, origin: StreamId, wake: &Arc<Notify>) {
        let mut all = self.waiting.lock();
        if let Some(waiting) = all.get_mut(&origin) {
            waiting.retain(|other| !Arc::ptr_eq(other, wake));
            if waiting.is_empty() {
                all.remove(&origin);
            }
        }
    }
}

impl JetStream {
    /// Begins to copy into a stream what its configuration names, or begins anew after it changed. Returns once the
    /// origins that exist keep for it what it still has to get.
    pub(super) async fn start_sourcing(self: &Arc<Self>, target: &Arc<StreamEntry>) {
        self.stop_sourcing(target.id);
        let mut tasks = Vec::new();
        for source in target.config.mirror.iter().chain(&target.config.sources) {
            let (ready, begun) = oneshot::channel();
            let status = Arc::new(Mutex::new(Status::default()));
            let wake = Arc::new(Notify::new());
            let copier = Copier {
                jetstream: Arc::downgrade(self),
                target: Arc::clone(target),
                source: source.clone(),
                status: Arc::clone(&status),
                reader: self.sourcing.readers.fetch_add(1, Ordering::Relaxed),
                wake: Arc::clone(&wake),
                changes: self.sourcing.changes.subscribe(),
                ready: Some(ready),
            };
            tasks.push(Task {
                source: source.clone(),
                status,
                wake,
                mirror: target.config.mirror.is_some(),
                handle: self.runtime.spawn(copier.run()),
            });
            // An error means that the task ended, which is as good as begun.
            let _ = begun.await;
        }
        if !tasks.is_empty() {
            self.sourcing.tasks.lock().insert(target.id, tasks);
        }
    }

    /// Stops copying into a stream.
    pub(super) fn stop_sourcing(self: &Arc<Self>, target: StreamId) {
        for task in self.sourcing.tasks.lock().remove(&target).unwrap_or_default() {
            task.handle.abort();
            let reading = task.status.lock().reading.take();
            if let Some((origin, reader)) = reading {
                self.sourcing.no_longer_waiting(origin.id, &task.wake);
                let own = Arc::clone(self);
                // Nobody has to wait for that: the origin lets go of what was kept for the target.
                self.runtime.spawn(async move {
                    let done = own.call(origin.shard, move |shard| shard.unwatch(origin.id, reader));
                    if let Err(error) = done.await
                        && error.rejection.is_none()
                    {
                        tracing::warn!("an origin was not told that nobody copies it any more: {error}");
                    }
                });
            }
        }
    }

    /// A stream was made, changed or deleted: who waits for one looks again.
    pub(super) fn streams_changed(&self) {
        self.sourcing.changes.send_modify(|count| *count += 1);
    }

    /// A stream that somebody copies has more messages.
    pub(super) fn origin_grew(&self, origin: StreamId) {
        for wake in self.sourcing.waiting.lock().get(&origin).into_iter().flatten() {
            wake.notify_one();
        }
    }

    /// What to say of a stream's mirror and sources.
    pub(super) fn source_infos(&self, target: StreamId) -> Vec<SourceInfo> {
        let tasks = self.sourcing.tasks.lock();
        tasks.get(&target).into_iter().flatten().map(Task::info).collect()
    }

    /// The stream that a source names, where this server can see it: in the target's account, reached plainly or by the server's own
    /// domain, or in one whose API that account imports, and whose deliveries it hears.
    fn origin_of(&self, target: &StreamEntry, source: &StreamSource) -> Option<Arc<StreamEntry>> {
        if self.is_own_domain(source) {
            return self.catalogue().get(&target.account, &source.name);
        }
        let account = self.account(&target.account)?;
        let origin = self.elsewhere(&account, source, target.config.mirror.is_some())?;
        self.allowance(&origin.name)?;
        self.catalogue().get(&origin.name, &source.name)
    }

    /// The account that a source of another one is in: who copies it there sends a request to make a consumer, and hears what that delivers.
    fn elsewhere(&self, account: &Arc<Account>, source: &StreamSource, mirror: bool) -> Option<Arc<Account>> {
        let external = source.external.as_ref()?;
        let kind = if mirror { "M" } else { "S" };
        let deliver = match external.deliver.trim_end_matches('.') {
            "" => format!("$JS.{kind}.COPY"),
            prefix => format!("{prefix}.{kind}.COPY"),
        };
        // As nats-server asks: one filter stands in the subject.
        let call = match source.filters().as_slice() {
            [one] if !one.is_empty() => {
                format!("CONSUMER.CREATE.{}.COPY.{}", source.name, String::from_utf8_lossy(one))
            }
            _ => format!("CONSUMER.CREATE.{}", source.name),
        };
        let request = format!("{}.{call}", external.api.trim_end_matches('.'));
        let wanted = [format!("$JS.API.{call}")].into_iter().chain(
            self.options
                .domain
                .iter()
                .map(|domain| format!("$JS.{domain}.API.{call}")),
        );
        let wanted: Vec<String> = wanted.collect();
        let reached = account.reach(request.as_bytes()).into_iter().skip(1);
        let mut makes = reached.filter(|(_, subject)| wanted.iter().any(|call| call.as_bytes() == subject.as_slice()));
        makes
            .find(|(origin, _)| account.hears(origin, deliver.as_bytes()))
            .map(|(origin, _)| origin)
    }

    /// Whether a source is reached plainly or by the server's own domain.
    fn is_own_domain(&self, source: &StreamSource) -> bool {
        let own = self.options.domain.as_ref().map(|domain| format!("$JS.{domain}.API"));
        let api = source
            .external
            .as_ref()
            .map(|external| external.api.trim_end_matches('.'));
        api.is_none_or(|api| own.as_deref() == Some(api))
    }

    /// Refuses a configuration with a mirror or source that nothing would ever be copied from: one whose prefix leads neither to this server's
    /// domain nor, by the imports of the account, to another one. Nats-server takes it, and waits for somebody to answer.
    ///
    /// # Errors
    /// The reason, with the prefix that leads nowhere.
    pub(super) fn check_external(&self, account: &Arc<Account>, config: &StreamConfig) -> Result<(), Rejection> {
        let mirror = config.mirror.is_some();
        let mut all = config.mirror.iter().chain(&config.sources);
        let nowhere =
            |source: &&StreamSource| !self.is_own_domain(source) && self.elsewhere(account, source, mirror).is_none();
        let Some(elsewhere) = all.find(nowhere) else {
            return Ok(());
        };
        let (api, deliver) = match &elsewhere.external {
            Some(external) => (external.api.as_str(), external.deliver.as_str()),
            None => ("", ""),
        };
        let name = &elsewhere.name;
        let own = match &self.options.domain {
            Some(domain) => format!("leave `external` out, or give it the api prefix $JS.{domain}.API"),
            None => "leave `external` out".to_owned(),
        };
        Err(reject::STREAM_INVALID_CONFIG.with(format!(
            "origin {name} is in another account or domain (external api prefix {api:?}, deliver prefix {deliver:?}), to which no imports \
             of account {} lead: that of the service $JS.API.CONSUMER.CREATE.{name} under the first, that of the stream under the \
             second; for a stream of this account, {own}",
            account.name
        )))
    }
}

impl SourceInfo {
    /// As it is before anything was heard of the origin.
    pub fn fresh(self) -> Self {
        Self {
            lag: 0,
            active: -1,
            seq: 0,
            error: None,
            ..self
        }
    }
}

impl Task {
    fn info(&self) -> SourceInfo {
        let status = self.status.lock().clone();
        let active = match (status.heard, &status.reading) {
            (None, _) => -1,
            // An origin that is there would be heard of every second.
            (Some(heard), Some(_)) => (now() - heard).max(0) % HEARTBEAT,
            (Some(heard), None) => (now() - heard).max(0),
        };
        SourceInfo {
            name: self.source.name.clone(),
            external: self.source.external.clone(),
            lag: status.lag,
            seq: if self.mirror { 0 } else { status.through },
            active,
            error: status.error,
            filter_subject: self.source.filter_subject.clone(),
            subject_transforms: self.source.subject_transforms.clone(),
        }
    }
}

impl Copier {
    async fn run(mut self) {
        loop {
            // What changes from here on is seen below.
            self.changes.borrow_and_update();
            let Some(jetstream) = self.jetstream.upgrade() else {
                return;
            };
            let origin = jetstream.origin_of(&self.target, &self.source);
            if let Some(origin) = origin {
                match self.read(&jetstream, &origin).await {
                    Stopped::Target => return,
                    Stopped::Origin => self.forget(&jetstream, origin.id),
                }
            }
            drop(jetstream);
            self.status.lock().error = Some(reject::STREAM_NOT_FOUND);
            self.begun();
            if self.changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn begun(&mut self) {
        if let Some(ready) = self.ready.take() {
            // Whoever made the stream may have gone.
            let _ = ready.send(());
        }
    }

    fn forget(&self, jetstream: &JetStream, origin: StreamId) {
        self.status.lock().reading = None;
        jetstream.sourcing.no_longer_waiting(origin, &self.wake);
    }

    /// Carries what this origin has, until it or the target is gone.
    async fn read(&mut self, jetstream: &Arc<JetStream>, origin: &Arc<StreamEntry>) -> Stopped {
        let Some(mut next) = self.first(jetstream, origin).await else {
            return Stopped::Target;
        };
        let (id, reader, filters) = (origin.id, self.reader, self.source.filters());
        jetstream
            .sourcing
            .waiting
            .lock()
            .entry(id)
            .or_default()
            .push(Arc::clone(&self.wake));
        {
            let mut status = self.status.lock();
            status.reading = Some((Arc::clone(origin), reader));
            status.error = None;
            status.through = next - 1;
        }
        let watched = filters.clone();
        let watching = jetstream.call(origin.shard, move |shard| {
            shard.watch(id, reader, watched, next.saturating_sub(1))
        });
        if let Err(error) = watching.await {
            return self.why(jetstream, origin, &error).await;
        }
        self.begun();
        self.status.lock().heard = Some(now());
        let mut fetched = false;
        loop {
            if self.changes.has_changed().unwrap_or(true) {
                self.changes.borrow_and_update();
                if !self.is_still(jetstream, origin) {
                    // It may be there anew already, which would be no change any more.
                    self.changes.mark_changed();
                    return Stopped::Origin;
                }
            }
            let wanted = filters.clone();
            let reading = jetstream.call(origin.shard, move |shard| {
                let stream = shard.stream(id)?;
                if !fetched && let Some(unread) = stream.unread_from(next, MESSAGES as u64) {
                    return Ok(Err(unread));
                }
                stream.read_on(next, &wanted, MESSAGES, BYTES).map(Ok)
            });
            let portion = match reading.await {
                Ok(Ok(portion)) => portion,
                Ok(Err(unread)) => {
                    jetstream.disk.fetch(vec![unread]).await;
                    fetched = true;
                    continue;
                }
                Err(error) => return self.why(jetstream, origin, &error).await,
            };
            fetched = false;
            let pending = portion.pending;
            if portion.messages.is_empty() && portion.through < next {
                self.note(0);
                tokio::select! {
                    () = self.wake.notified() => {}
                    changed = self.changes.changed() => {
                        if changed.is_err() || !self.is_still(jetstream, origin) {
                            // It may be there anew already, which would be no change any more.
                            self.changes.mark_changed();
                            return Stopped::Origin;
                        }
                    }
                }
                continue;
            }
            self.note(pending + portion.messages.len() as u64);
            let (target, source, identity) = (self.target.id, self.source.clone(), identity(origin.created));
            let copying = jetstream.call(self.target.shard, move |shard| {
                shard.copy(target, &source, &identity, portion)
            });
            let taken = match copying.await {
                Ok(taken) => taken,
                Err(error) if error.rejection.is_some() => return Stopped::Target,
                Err(error) => {
                    tracing::warn!(stream = %self.target.name, origin = %origin.name, "copying: {error}");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            if taken.through >= next {
                next = taken.through + 1;
                let through = taken.through;
                self.status.lock().through = through;
                let telling = jetstream.call(origin.shard, move |shard| shard.copied(id, reader, through));
                if let Err(error) = telling.await {
                    return self.why(jetstream, origin, &error).await;
                }
            }
            match taken.refused {
                // A target that is full: it may get room.
                Some(_) => tokio::time::sleep(RETRY).await,
                None => self.note(pending),
            }
        }
    }

    /// The first sequence of the origin that the target does not have; `None` if there is no target.
    async fn first(&self, jetstream: &Arc<JetStream>, origin: &Arc<StreamEntry>) -> Option<Seq> {
        let (id, source, identity) = (self.target.id, self.source.clone(), identity(origin.created));
        let asking = jetstream.call(self.target.shard, move |shard| {
            let stream = shard.stream(id)?;
            Ok(stream.progress(&source, &identity))
        });
        if let Some(done) = asking.await.ok()? {
            return Some(done + 1);
        }
        let (id, source) = (origin.id, self.source.clone());
        let asking = jetstream.call(origin.shard, move |shard| {
            let stream = shard.stream(id)?;
            stream.start_for(&source)
        });
        Some(asking.await.unwrap_or(1))
    }

    /// What an error of the origin's storage thread means.
    async fn why(&self, jetstream: &Arc<JetStream>, origin: &StreamEntry, error: &weir_engine::Error) -> Stopped {
        if error.rejection.is_some() {
            return Stopped::Origin;
        }
        if error.kind == weir_engine::Kind::Closed {
            return Stopped::Target;
        }
        tracing::warn!(stream = %self.target.name, origin = %origin.name, "reading to copy: {error}");
        tokio::time::sleep(RETRY).await;
        // Looked up again at once.
        jetstream.streams_changed();
        Stopped::Origin
    }

    /// Whether this is still the stream that is to be copied.
    fn is_still(&self, jetstream: &JetStream, origin: &StreamEntry) -> bool {
        let now = jetstream.origin_of(&self.target, &self.source);
        now.is_some_and(|now| now.id == origin.id)
    }

    fn note(&self, lag: u64) {
        let mut status = self.status.lock();
        status.lag = lag;
        status.heard = Some(now());
    }
}
