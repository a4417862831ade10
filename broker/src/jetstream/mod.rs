//! JetStream: the engine's streams and consumers, hung into the interest graph.
//!
//! What comes in: [`services`] take messages off the graph into a [`Batch`](batch::Batch), which goes to the storage threads
//! once per read. What goes out: each storage thread has an [`outlet`]. Requests that manage things are [`api`]'s.

mod advisory;
mod allowance;
pub mod api;
mod attach;
mod batch;
mod capacity;
mod changes;
mod disk;
pub mod opening;
mod outlet;
mod overload;
mod services;
mod sourcing;
mod status;
mod together;
mod traced;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;
use weir_backends::encrypted::Cipher;
use weir_backends::root::{StoreDir, StoreKey, unfinished};
use weir_conf::options::{self, Backend, Compression, Durability, Index};
use weir_engine::scrub::ScrubOptions;
use weir_engine::shard::{InTurn, QueueLimits, ShardHandle};
use weir_engine::store::{Capacity, Catalogue, default_shards};
use weir_engine::stream::BatchLimits;
use weir_engine::stream::settings::{self, BackendKind, Defaults, IndexKind};
use weir_engine::{NanoTime, Nanos, ShardId, Store, StoreOptions, words};

use crate::error::Result;
use crate::interest::{Account, Accounts, ApiCounters, Service, Subscription};
use crate::link::{Link, Message};
pub use allowance::{Allowance, Allowances};
use attach::Attached;

/// The running JetStream of a server.
pub struct JetStream {
    /// What the configuration says.
    pub options: options::JetStream,
    /// How much all streams may hold together.
    pub capacity: Capacity,
    /// What streams get that do not choose their storage.
    pub defaults: Defaults,
    /// The server it belongs to, by name.
    pub server_name: String,
    /// The largest message that a client may publish, in bytes.
    pub max_payload: usize,
    /// Places for restores at once.
    pub restores: Arc<tokio::sync::Semaphore>,
    /// Places for backups at once.
    pub snapshots: Arc<tokio::sync::Semaphore>,
    /// API requests under way.
    pub api_load: api::load::ApiLoad,
    /// Reads that a disk has to be waited for.
    pub disk: disk::Disk,
    /// Messages that storage threads did not take.
    refusals: overload::Refusals,
    /// API requests served, and how many of them were answered with an error.
    pub api_requests: ApiCounters,
    store: Store,
    /// What accounts may store.
    allowances: RwLock<Allowances>,
    /// Held while an account gets or loses what it may store.
    granting: tokio::sync::Mutex<()>,
    /// Accounts come when somebody asks for them.
    accounts_come: bool,
    accounts: Arc<Accounts>,
    attached: Mutex<Attached>,
    sourcing: sourcing::Sourcing,
    runtime: tokio::runtime::Handle,
    store_dir: PathBuf,
}

/// A server's JetStream, while it is on.
#[derive(Default)]
pub struct Running(ArcSwapOption<JetStream>);

impl Running {
    /// The one that runs now.
    #[must_use]
    pub fn get(&self) -> Option<Arc<JetStream>> {
        self.0.load_full()
    }

    /// From now on it is this one, or none; the one before.
    pub fn set(&self, jetstream: Option<Arc<JetStream>>) -> Option<Arc<JetStream>> {
        self.0.swap(jetstream)
    }
}

/// What JetStream needs of the server that it belongs to.
pub struct Needs {
    /// What the configuration says.
    pub options: options::JetStream,
    /// What each account may store; one that is missing nothing.
    pub allowances: Allowances,
    /// Whether accounts come later, when somebody asks for them.
    pub accounts_come: bool,
    /// The accounts that streams may be in.
    pub accounts: Arc<Accounts>,
    /// Where requests are served.
    pub runtime: tokio::runtime::Handle,
    /// The server's name.
    pub server_name: String,
    /// The largest message that a client may publish, in bytes.
    pub max_payload: usize,
    /// Told how far the opening of the store is.
    pub opening: Arc<opening::Opening>,
}

/// A request of the JetStream API.
#[derive(Clone)]
pub struct ApiRequest {
    /// The subject, beginning with `$JS.API.` whatever the domain.
    pub subject: Bytes,
    /// Where the answer goes; empty if nobody wants it.
    pub reply: Bytes,
    /// The header block; empty if there is none.
    pub headers: Bytes,
    /// The payload.
    pub payload: Bytes,
    /// The account it was made in.
    pub account: Arc<Account>,
    /// Who made it; `None` if the server itself did.
    pub from: Option<Arc<Link>>,
}

impl ApiRequest {
    /// The number of the connection that it came from; 0 for the server itself.
    pub fn connection(&self) -> u64 {
        self.from.as_ref().map_or(0, |link| link.id)
    }
}

/// The folder of the store: as configured, or nats-server's own choice.
pub(crate) fn store_dir(options: &options::JetStream) -> PathBuf {
    let chosen = options.store_dir.clone();
    chosen.unwrap_or_else(|| std::env::temp_dir().join("nats"))
}

/// Makes the folder of the store, and makes its name durable: its disk is asked for its size next.
fn make_folder(folder: &Path) -> weir_engine::Result<()> {
    let shown = folder.display();
    let failed = |why: String| Err(weir_engine::Error::new(weir_engine::Kind::Io, why));
    match weir_backends::root::make_folder(folder) {
        Ok(()) => Ok(()),
        Err(_) if folder.exists() => failed(format!("storage directory is not a directory: {shown}")),
        Err(error) => failed(format!("could not create storage directory - {shown}: {error}")),
    }
}

/// What takes the answer of a storage thread, and the wait for it.
fn answer<R: Send + 'static>() -> (
    impl FnOnce(weir_engine::Result<R>) + Send + 'static,
    impl Future<Output = weir_engine::Result<R>>,
) {
    let (sender, receiver) = oneshot::channel();
    let done = move |result| {
        // If the receiver is gone nobody wants the answer any more.
        let _ = sender.send(result);
    };
    let closed = || Err(weir_engine::Error::closed("JetStream is shutting down"));
    (done, async move { receiver.await.unwrap_or_else(|_| closed()) })
}

impl JetStream {
    /// Opens the store and takes up its streams.
    ///
    /// # Errors
    /// The store directory cannot be used, or the default backend is not built in.
    pub async fn start(needs: Needs) -> Result<Arc<Self>> {
        let options = needs.options;
        let store_dir = store_dir(&options);
        let defaults = defaults(&options);
        let shards = options.shards.unwrap_or_else(default_shards);
        if store_dir.join("jetstream").is_dir() {
            tracing::warn!(
                "{} holds a store of nats-server, which is left alone: Weir's own is beside it (`weir import {store} --from-nats {store}`, \
                 with both servers stopped, brings its streams over)",
                store_dir.join("jetstream").display(),
                store = store_dir.display()
            );
        }
        let outlets = outlet::Outlets::new(
            Arc::clone(&needs.accounts),
            options.domain.clone(),
            options.long_acks,
            needs.runtime.clone(),
        );
        let made = outlets.clone();
        let opening = Arc::clone(&needs.opening);
        let (configured, folder, backend) = (options.clone(), store_dir.clone(), defaults.backend);
        let opened = tokio::task::spawn_blocking(move || -> weir_engine::Result<_> {
            // A default that no stream could have.
            StoreDir::new(&folder).check_built_in(backend)?;
            unfinished::refuse(&folder)?;
            make_folder(&folder)?;
            let capacity = capacity::capacity(&configured, &folder);
            let dir = StoreDir::new(&folder).encrypted(&owners(&configured), cipher(&configured))?;
            let started = std::time::Instant::now();
            let options = StoreOptions {
                shards,
                capacity,
                batches: batch_limits(&configured.limits.batch),
                queue: queue_limits(&configured),
                entropy: rand::random(),
                monotonic: Some(Arc::new(move || nanos(started.elapsed()))),
                there: dir.there(),
                read: Some(dir.clone().reader()),
                room: Some(dir.clone().room()),
                progress: Some(Arc::new(move |stream, done, of| opening.read(stream, done, of))),
                scrub: configured.scrub.map(|scrub| ScrubOptions {
                    cycle: nanos(scrub.cycle),
                    rate: scrub.rate,
                }),
                ..StoreOptions::new(Arc::new(now))
            };
            let is_encrypted = dir.is_encrypted();
            let store = Store::open(dir.opener(), options, |_| Box::new(made.outlet()))?;
            Ok((store, capacity, is_encrypted))
        })
        .await
        .map_err(|error| weir_engine::Error::closed(format!("opening the store: {error}")))?;
        needs.opening.done();
        let (store, capacity, is_encrypted) = opened?;
        let jetstream = Arc::new(Self {
            capacity,
            defaults,
            server_name: needs.server_name,
            max_payload: needs.max_payload,
            restores: Arc::new(tokio::sync::Semaphore::new(api::RESTORES_MAX)),
            snapshots: Arc::new(tokio::sync::Semaphore::new(api::SNAPSHOTS_MAX)),
            api_load: api::load::ApiLoad::new(&options),
            disk: disk::Disk::default(),
            refusals: overload::Refusals::default(),
            api_requests: ApiCounters::default(),
            store,
            allowances: RwLock::new(needs.allowances),
            granting: tokio::sync::Mutex::default(),
            accounts_come: needs.accounts_come,
            accounts: needs.accounts,
            attached: Mutex::default(),
            sourcing: sourcing::Sourcing::default(),
            runtime: needs.runtime,
            store_dir,
            options,
        });
        outlets.set(&jetstream);
        jetstream.attach_all().await?;
        jetstream.banner();
        if is_encrypted {
            tracing::info!("  Encryption:      {}", cipher(&jetstream.options));
        }
        Ok(jetstream)
    }

    fn banner(&self) {
        let streams = self.catalogue().all();
        tracing::info!("Starting JetStream");
        tracing::info!("  Store Directory: \"{}\"", self.store_dir.display());
        if let Some(domain) = &self.options.domain {
            tracing::info!("  Domain:          {domain}");
        }
        // A file of nats-server's may say `sync_interval`, which means the same here and costs the promise of Weir's.
        match self.options.default_durability() {
            Durability::Sync => tracing::info!("  Durability:      sync: what is acknowledged is on disk"),
            Durability::Interval(every) => tracing::info!(
                "  Durability:      synced every {}: of what is acknowledged, as much may be lost with the machine",
                weir_duration::format(i64::try_from(every.as_nanos()).unwrap_or(i64::MAX))
            ),
            Durability::Os => {
                tracing::info!(
                    "  Durability:      left to the operating system: what is acknowledged may be lost with the machine"
                );
            }
        }
        if !streams.is_empty() {
            let restored = words::count(streams.len() as u64, "stream");
            match self.catalogue().offline() {
                0 => tracing::info!("  Restored {restored}"),
                offline => tracing::warn!("  Restored {restored}, {offline} of them offline"),
            }
        }
    }

    /// Tells those who wait for messages that none will come from this server: clients then ask another, or again.
    pub async fn end_pulls(&self) {
        for shard in self.shards() {
            let ended = self.call(shard, |shard| {
                shard.end_all_pulls("Server Shutdown");
                Ok(())
            });
            if let Err(error) = ended.await {
                tracing::warn!(%shard, "pull requests were not ended: {error}");
            }
        }
    }

    /// Stops cleanly: a last checkpoint, then the storage threads end.
    pub async fn stop(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let closing = tokio::task::spawn_blocking(move || this.store.close());
        if let Err(error) = closing.await {
            tracing::error!("closing the store: {error}");
        }
        self.detach_all();
    }

    /// How long syncing the journals took.
    pub fn syncs(&self) -> &weir_engine::shard::Syncs {
        self.store.syncs()
    }

    /// All streams.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        self.store.catalogue()
    }

    /// The way to a storage thread.
    pub fn shard(&self, id: ShardId) -> ShardHandle {
        self.store.shard(id)
    }

    /// The storage thread for a new stream of that name.
    pub fn shard_for(&self, account: &str, name: &str) -> ShardId {
        self.store.shard_for(account, name)
    }

    /// An id for a new stream.
    pub fn allocate_id(&self) -> weir_engine::StreamId {
        self.store.allocate_id()
    }

    /// The storage threads that there are.
    pub fn shards(&self) -> Vec<ShardId> {
        self.store.shards()
    }

    /// The folder that the store is in.
    pub fn store_dir(&self) -> &std::path::Path {
        &self.store_dir
    }

    /// Runs a function on a storage thread. The answer comes once what it did is durable.
    ///
    /// # Errors
    /// What the function answers, or that storage failed or is closed.
    pub async fn call<R, W>(&self, shard: ShardId, work: W) -> weir_engine::Result<R>
    where
        R: Send + 'static,
        W: FnOnce(&mut InTurn<'_, '_>) -> weir_engine::Result<R> + Send + 'static,
    {
        let (done, answer) = answer();
        self.shard(shard).call(work, done);
        answer.await
    }

    /// The same with a function that changes nothing.
    ///
    /// # Errors
    /// What the function answers, or that storage failed or is closed.
    pub async fn ask<R, W>(&self, shard: ShardId, work: W) -> weir_engine::Result<R>
    where
        R: Send + 'static,
        W: FnOnce(&mut InTurn<'_, '_>) -> weir_engine::Result<R> + Send + 'static,
    {
        let (done, answer) = answer();
        self.shard(shard).ask(work, done);
        answer.await
    }

    /// As [`JetStream::call`]; `then` is called with the answer on the storage thread, before anything leaves that which was caused
    /// after it.
    ///
    /// # Errors
    /// As there, or what `then` answers.
    async fn call_then<R, T, W, D>(&self, shard: ShardId, work: W, then: D) -> weir_engine::Result<T>
    where
        R: Send + 'static,
        T: Send + 'static,
        W: FnOnce(&mut InTurn<'_, '_>) -> weir_engine::Result<R> + Send + 'static,
        D: FnOnce(R) -> weir_engine::Result<T> + Send + 'static,
    {
        let (done, answer) = answer();
        self.shard(shard).call(work, move |result| done(result.and_then(then)));
        answer.await
    }

    /// Opens a backend that a stream is going to need, so that no storage thread has to.
    pub async fn open_backend(self: &Arc<Self>, kind: BackendKind) {
        let js = Arc::clone(self);
        // What is wrong with it the storage thread meets as well, and tells.
        let _ = tokio::task::spawn_blocking(move || js.store.open_backend(kind)).await;
    }

    /// Answers a request.
    pub fn respond(&self, request: &ApiRequest, payload: &[u8]) {
        self.send(&request.account, &request.reply, b"", payload);
    }

    /// Answers a request with a header block.
    pub fn respond_with_headers(&self, request: &ApiRequest, headers: &[u8], payload: &[u8]) {
        self.send(&request.account, &request.reply, headers, payload);
    }

    /// Sends one message of the server's own.
    pub fn send(&self, account: &Arc<Account>, to: &[u8], headers: &[u8], payload: &[u8]) {
        if !to.is_empty() {
            let message = Message {
                subject: to,
                reply: b"",
                headers,
                payload,
            };
            together::send(account, &message);
        }
    }

    /// The account of that name.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.get(name)
    }

    /// Whether this is the system account.
    fn is_system(&self, account: &Arc<Account>) -> bool {
        Arc::ptr_eq(account, &self.accounts.system)
    }

    /// Sends inputs to a storage thread; publishers whose messages it has no room for are told.
    fn submit(&self, shard: ShardId, inputs: Vec<weir_engine::shard::Input>) {
        if let Err(refused) = self.shard(shard).submit(inputs) {
            overload::refuse(self, refused);
        }
    }

    fn subscriptions(
        &self,
        account: &Arc<Account>,
        filters: &[Vec<u8>],
        service: &Arc<dyn Service>,
    ) -> Result<Vec<Arc<Subscription>>> {
        filters
            .iter()
            .map(|filter| account.serve(filter, Arc::clone(service)))
            .collect()
    }
}

/// A name that nobody else has: 22 letters and digits.
#[must_use]
pub fn nuid() -> String {
    weir_engine::names::spell((0..22).map(|_| rand::random()))
}

/// The time, in nanoseconds since the Unix epoch.
pub fn now() -> NanoTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| NanoTime::try_from(since.as_nanos()).unwrap_or(NanoTime::MAX))
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

fn batch_limits(options: &options::BatchLimits) -> BatchLimits {
    let default = BatchLimits::default();
    let number = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    BatchLimits {
        messages: options.max_msgs.unwrap_or(default.messages),
        open_per_stream: options.max_inflight_per_stream.map(number),
        open_total: options.max_inflight_total.map(number),
        idle: options.timeout.map_or(default.idle, nanos),
    }
}

fn queue_limits(options: &options::JetStream) -> QueueLimits {
    let default = QueueLimits::default();
    let or = |limit: Option<u64>, default| limit.map_or(default, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    QueueLimits {
        messages: or(options.max_buffered_msgs, default.messages),
        bytes: or(options.max_buffered_size, default.bytes),
    }
}

/// The keys that the owner of the store has, the one first that it is to be kept under.
pub(crate) fn owners(options: &options::JetStream) -> Vec<StoreKey> {
    // Without a key of its own it is not to be encrypted, whatever it was.
    let keys = options.key.iter().chain(&options.prev_key);
    let keys = keys.filter(|_| options.key.is_some());
    keys.map(|key| StoreKey::new(&*key.0)).collect()
}

fn cipher(options: &options::JetStream) -> Cipher {
    match options.cipher {
        options::Cipher::ChaCha => Cipher::ChaCha,
        options::Cipher::Aes => Cipher::Aes,
    }
}

pub(crate) fn defaults(options: &options::JetStream) -> Defaults {
    Defaults {
        backend: match options.backend {
            Backend::Segment => BackendKind::Segment,
            Backend::RocksDb => BackendKind::RocksDb,
            Backend::Memory => BackendKind::Memory,
        },
        durability: match options.default_durability() {
            Durability::Sync => settings::Durability::Sync,
            Durability::Interval(interval) => settings::Durability::Interval(nanos(interval)),
            Durability::Os => settings::Durability::Os,
        },
        compression: match options.compression {
            Compression::None => weir_engine::Compression::None,
            Compression::Lz4 => weir_engine::Compression::Lz4,
            Compression::Zstd => weir_engine::Compression::Zstd,
            Compression::ZstdLevel(level) => weir_engine::Compression::ZstdLevel(level),
        },
        index: options.index.map(|index| match index {
            Index::Resident => IndexKind::Resident,
            Index::Paged => IndexKind::Paged,
        }),
        encrypted: options.key.is_some(),
    }
}
