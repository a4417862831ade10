//! Storage: nats-server's `jetstream { }` block and Weir's own keys in it.

use std::path::PathBuf;
use std::time::Duration;

use super::{keys, read, schema, unsupported};
use crate::duration;
use crate::error::ConfError;
use crate::file::{Entry, Value};

/// Most storage threads.
const SHARDS_MAX: i64 = 256;

/// Where a stream with `storage: file` is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Append-only files.
    Segment,
    /// RocksDB.
    RocksDb,
    /// Nowhere: lost when the server ends.
    Memory,
}

impl Backend {
    /// Reads `segment`, `rocksdb`, `memory`.
    ///
    /// # Errors
    /// A text that names what is allowed.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "segment" => Ok(Self::Segment),
            "rocksdb" => Ok(Self::RocksDb),
            "memory" => Ok(Self::Memory),
            _ => Err(format!("{word:?} is not one of segment, rocksdb, memory")),
        }
    }
}

/// When a message is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When it is on disk.
    Sync,
    /// When it is written; it is on disk within this time.
    Interval(Duration),
    /// When it is written; it is on disk when the operating system finds the time.
    Os,
}

impl Durability {
    /// Reads `sync`, `interval:<duration>`, `os`.
    ///
    /// # Errors
    /// A text that names what is allowed.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "sync" => Ok(Self::Sync),
            "os" => Ok(Self::Os),
            _ => {
                let interval = word.strip_prefix("interval:");
                let interval =
                    interval.ok_or_else(|| format!("{word:?} is not one of sync, interval:<duration>, os"))?;
                match duration::parse(interval)? {
                    Duration::ZERO => Err("an interval of 0 is `sync`: write that, or a longer interval".into()),
                    interval => Ok(Self::Interval(interval)),
                }
            }
        }
    }
}

/// How message bodies are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// LZ4: fast.
    Lz4,
    /// Zstandard: small.
    Zstd,
    /// The same at a level of 1 to 22.
    ZstdLevel(u8),
}

impl Compression {
    /// Reads `none`, `lz4`, `zstd`, `zstd:19`.
    ///
    /// # Errors
    /// A text that names what is allowed.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "none" => Ok(Self::None),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::Zstd),
            _ => {
                let level = word.strip_prefix("zstd:").and_then(|level| level.parse().ok());
                let level = level.filter(|level| (1..=22).contains(level));
                let none =
                    || format!("{word:?} is not one of none, lz4, zstd, or zstd:<level> with a level of 1 to 22");
                level.map(Self::ZstdLevel).ok_or_else(none)
            }
        }
    }
}

/// Where a stream's index of subjects is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// In memory.
    Resident,
    /// In the backend, behind a cache of bounded size.
    Paged,
}

impl Index {
    /// Reads `resident`, `paged`.
    ///
    /// # Errors
    /// A text that names what is allowed.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "resident" => Ok(Self::Resident),
            "paged" => Ok(Self::Paged),
            _ => Err(format!("{word:?} is not one of resident, paged")),
        }
    }
}

/// nats-server's `sync_interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncInterval {
    /// Before every acknowledgement.
    Always,
    /// Every so often.
    Every(Duration),
}

/// `jetstream { scrub { … } }`: how what is stored is read so that damage is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrub {
    /// How long a pass through everything takes.
    pub cycle: Duration,
    /// The most that is read, in bytes per second.
    pub rate: u64,
}

impl Scrub {
    /// The shortest cycle.
    pub const CYCLE_MIN: Duration = Duration::from_secs(1);
    /// The lowest rate, in bytes per second.
    pub const RATE_MIN: u64 = 64 << 10;
}

impl Default for Scrub {
    /// A week, and 16 MiB per second.
    fn default() -> Self {
        Self {
            cycle: Duration::from_secs(7 * 24 * 3600),
            rate: 16 << 20,
        }
    }
}

/// `jetstream { limits { … } }`. `None`: no limit, or the default of the code that asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JetStreamLimits {
    /// Most unacknowledged messages a consumer may be configured for.
    pub max_ack_pending: Option<u64>,
    /// Most replicated assets of a server.
    pub max_ha_assets: Option<u64>,
    /// Most consumers of a stream that sets no limit of its own; 0 for nats-server's default, less for no limit.
    pub default_max_consumers: Option<i64>,
    /// Largest batch of a pull request.
    pub max_request_batch: Option<u64>,
    /// Longest duplicate window.
    pub duplicate_window: Option<Duration>,
    /// Of batches.
    pub batch: BatchLimits,
}

/// `jetstream { limits { batch { … } } }`. `None`: the default of the code that asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most open batches of a stream.
    pub max_inflight_per_stream: Option<u64>,
    /// Most open batches of the server.
    pub max_inflight_total: Option<u64>,
    /// Most messages of an atomic batch.
    pub max_msgs: Option<u64>,
    /// How long a batch may be silent.
    pub timeout: Option<Duration>,
}

/// What a store is encrypted with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cipher {
    /// ChaCha20-Poly1305.
    #[default]
    ChaCha,
    /// AES-256-GCM.
    Aes,
}

impl Cipher {
    /// Reads `chacha`, `chachapoly`, `aes`, in letters of any case.
    ///
    /// # Errors
    /// nats-server's words.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word.to_ascii_lowercase().as_str() {
            "chacha" | "chachapoly" => Ok(Self::ChaCha),
            "aes" => Ok(Self::Aes),
            _ => Err(format!("unknown cipher type: {word:?}")),
        }
    }
}

/// A text that is in no message and no log.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Storage.
#[derive(Debug, Clone, PartialEq)]
pub struct JetStream {
    /// Whether there is any.
    pub enabled: bool,
    /// Folder; without one the server chooses.
    pub store_dir: Option<PathBuf>,
    /// Most bytes in memory streams; `None`: found from the machine.
    pub max_memory: Option<u64>,
    /// Most bytes in file streams; `None`: found from the disk.
    pub max_file: Option<u64>,
    /// Domain.
    pub domain: Option<String>,
    /// Refuse unknown fields in API requests.
    pub strict: bool,
    /// As in nats-server. Where `durability` says nothing this decides: see [`JetStream::default_durability`].
    pub sync_interval: Option<SyncInterval>,
    /// Limits.
    pub limits: JetStreamLimits,
    /// Most messages that may wait to be stored; `None`: the default of the engine.
    pub max_buffered_msgs: Option<u64>,
    /// Most bytes that may wait to be stored; `None`: the default of the engine.
    pub max_buffered_size: Option<u64>,
    /// Most API requests under way; `None`: the default of the server.
    pub request_queue_limit: Option<u64>,
    /// Most API requests for information under way; `None`: as `request_queue_limit`.
    pub info_queue_limit: Option<u64>,
    /// Backend of streams whose metadata names none.
    pub backend: Backend,
    /// Durability of streams whose metadata names none, if the file says one.
    pub durability: Option<Durability>,
    /// Compression of streams whose metadata names none.
    pub compression: Compression,
    /// Index of streams whose metadata names none; `None`: as suits the backend.
    pub index: Option<Index>,
    /// Storage threads; `None`: as suits the machine.
    pub shards: Option<usize>,
    /// Ask for acknowledgements on subjects that name the domain and the account, too (`feature_flags { js_ack_fc_v2 }`).
    pub long_acks: bool,
    /// How what is stored is read so that damage is found; `None`: only when somebody reads it.
    pub scrub: Option<Scrub>,
    /// What the store is encrypted with.
    pub cipher: Cipher,
    /// The key of the store's owner; `None`: it is not encrypted.
    pub key: Option<Secret>,
    /// The key that was the owner's before.
    pub prev_key: Option<Secret>,
}

impl Default for JetStream {
    fn default() -> Self {
        Self {
            enabled: false,
            store_dir: None,
            max_memory: None,
            max_file: None,
            domain: None,
            strict: true,
            sync_interval: None,
            limits: JetStreamLimits::default(),
            max_buffered_msgs: None,
            max_buffered_size: None,
            request_queue_limit: None,
            info_queue_limit: None,
            backend: Backend::Segment,
            durability: None,
            compression: Compression::None,
            index: None,
            shards: None,
            long_acks: false,
            scrub: Some(Scrub::default()),
            cipher: Cipher::default(),
            key: None,
            prev_key: None,
        }
    }
}

impl JetStream {
    /// The durability of a stream that does not choose one: what `durability` says, else what `sync_interval` says, else `sync`.
    #[must_use]
    pub fn default_durability(&self) -> Durability {
        match (self.durability, self.sync_interval) {
            (Some(durability), _) => durability,
            (None, Some(SyncInterval::Every(interval))) => Durability::Interval(interval),
            (None, Some(SyncInterval::Always) | None) => Durability::Sync,
        }
    }
}

/// `jetstream: true`, `jetstream: enabled`, or `jetstream { … }`.
pub(super) fn apply(js: &mut JetStream, entry: &Entry) -> Result<(), ConfError> {
    match &entry.value.value {
        Value::Bool(b) => js.enabled = *b,
        Value::Str(s) if s.eq_ignore_ascii_case("enabled") || s.eq_ignore_ascii_case("enable") => js.enabled = true,
        Value::Str(s) if s.eq_ignore_ascii_case("disabled") || s.eq_ignore_ascii_case("disable") => js.enabled = false,
        Value::Str(s) => {
            return Err(ConfError::at(
                &entry.value.pos,
                format!("Expected 'enabled' or 'disabled' for string value, got '{s}'"),
            ));
        }
        _ => {
            let map = read::block(entry)?;
            schema::check(map, keys::JETSTREAM)?;
            js.enabled = true;
            for e in &map.entries {
                key(js, e)?;
            }
        }
    }
    Ok(())
}

fn key(js: &mut JetStream, e: &Entry) -> Result<(), ConfError> {
    match e.key.to_ascii_lowercase().as_str() {
        "enabled" | "enable" => js.enabled = read::boolean(e)?,
        "disabled" | "disable" => js.enabled = !read::boolean(e)?,
        "strict" => js.strict = read::boolean(e)?,
        "store_dir" | "storedir" | "store" => store_dir(js, e)?,
        "sync" | "sync_interval" => {
            js.sync_interval = Some(match &e.value.value {
                Value::Str(s) if s.eq_ignore_ascii_case("always") => SyncInterval::Always,
                _ => SyncInterval::Every(read::positive_time(e)?),
            });
        }
        "max_memory_store" | "max_mem_store" | "max_mem" => js.max_memory = read::storage(e)?,
        "max_file_store" | "max_file" => js.max_file = read::storage(e)?,
        "domain" => {
            let domain = read::name(e)?;
            if domain.contains(['.', '*', '>']) || domain.chars().any(char::is_whitespace) {
                return Err(ConfError::at(
                    &e.value.pos,
                    "domain is one word of a subject: no dots, wildcards or blanks",
                ));
            }
            js.domain = Some(domain);
        }
        "limits" => limits(&mut js.limits, e)?,
        "max_buffered_msgs" => js.max_buffered_msgs = read::limit(e)?,
        "max_buffered_size" => js.max_buffered_size = read::storage(e)?.filter(|&bytes| bytes > 0),
        "request_queue_limit" => js.request_queue_limit = read::limit(e)?,
        "info_queue_limit" => js.info_queue_limit = read::limit(e)?,
        "backend" => js.backend = read::word(e, Backend::parse)?,
        "durability" => js.durability = Some(read::word(e, Durability::parse)?),
        "compression" => js.compression = read::word(e, Compression::parse)?,
        "index" => js.index = Some(read::word(e, Index::parse)?),
        "shards" => js.shards = usize::try_from(read::int(e, 1, SHARDS_MAX)?).ok(),
        "scrub" => js.scrub = scrub(e)?,
        "cipher" => js.cipher = read::word(e, Cipher::parse)?,
        // An empty one for none would make a store that is not encrypted, of which nobody is told.
        "key" | "ek" | "encryption_key" => js.key = Some(Secret(read::name(e)?)),
        "prev_key" | "prev_ek" | "prev_encryption_key" => {
            js.prev_key = Some(Secret(read::text(e)?)).filter(|key| !key.0.is_empty())
        }
        _ => unsupported::refuse(e, keys::JETSTREAM)?,
    }
    Ok(())
}

/// `store_dir`, in the block or at the top of the file; two different ones are refused, as nats-server does.
pub(super) fn store_dir(js: &mut JetStream, e: &Entry) -> Result<(), ConfError> {
    let dir = PathBuf::from(read::name(e)?);
    if js.store_dir.as_ref().is_some_and(|old| *old != dir) {
        return Err(ConfError::at(
            &e.pos,
            "store_dir is set twice, at the top of the file and in jetstream { }",
        ));
    }
    js.store_dir = Some(dir);
    Ok(())
}

/// `scrub: off`, `scrub: on`, or `scrub { cycle: 168h, rate: 16M }`.
fn scrub(entry: &Entry) -> Result<Option<Scrub>, ConfError> {
    match entry.value.value {
        Value::Bool(false) => return Ok(None),
        Value::Bool(true) => return Ok(Some(Scrub::default())),
        Value::Map(_) => {}
        _ => {
            return Err(ConfError::at(
                &entry.value.pos,
                "scrub is on, off, or a block: scrub { cycle: 168h, rate: 16M }",
            ));
        }
    }
    schema::check_block(entry, keys::SCRUB)?;
    let mut scrub = Scrub::default();
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "cycle" => {
                scrub.cycle = read::positive_time(e)?;
                if scrub.cycle < Scrub::CYCLE_MIN {
                    return Err(ConfError::at(&e.value.pos, "cycle is at least 1s"));
                }
            }
            "rate" => {
                let rate = read::storage(e)?.filter(|rate| *rate >= Scrub::RATE_MIN);
                let least = || ConfError::at(&e.value.pos, "rate is at least 64K, in bytes per second");
                scrub.rate = rate.ok_or_else(least)?;
            }
            // Only what a $VARIABLE further down refers to is left.
            _ => {}
        }
    }
    Ok(Some(scrub))
}

fn limits(limits: &mut JetStreamLimits, entry: &Entry) -> Result<(), ConfError> {
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "max_ack_pending" => limits.max_ack_pending = read::limit(e)?,
            "max_ha_assets" => limits.max_ha_assets = read::limit(e)?,
            "default_max_consumers" => limits.default_max_consumers = Some(read::int(e, -1, i64::MAX)?),
            "max_request_batch" => limits.max_request_batch = read::limit(e)?,
            "duplicate_window" => limits.duplicate_window = Some(read::positive_time(e)?),
            "batch" => batch(&mut limits.batch, e)?,
            // Only what a $VARIABLE further down refers to is left.
            _ => {}
        }
    }
    Ok(())
}

fn batch(limits: &mut BatchLimits, entry: &Entry) -> Result<(), ConfError> {
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "max_inflight_per_stream" => limits.max_inflight_per_stream = read::limit(e)?,
            "max_inflight_total" => limits.max_inflight_total = read::limit(e)?,
            "max_msgs" => limits.max_msgs = read::limit(e)?,
            "timeout" => limits.timeout = Some(read::positive_time(e)?),
            // Only what a $VARIABLE further down refers to is left.
            _ => {}
        }
    }
    Ok(())
}
