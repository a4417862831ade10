//! Key-value buckets: a stream with one subject per key, named as NATS clients name it, so that a bucket made here is
//! one for them and the other way round.
//!
//! ```text
//! stream KV_<bucket>, subjects $KV.<bucket>.>, history = max_msgs_per_subject
//! a value: the payload; a deletion: empty with `KV-Operation: DEL` or `PURGE`
//! ```

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::embed::EmbeddedStream;
use crate::error::{Error, Kind, Result};
use crate::headers;
use crate::reject;
use crate::store::Store;
use crate::stream::settings::Defaults;
use crate::stream::{Discard, Message, Storage, StreamConfig};
use crate::types::{NanoTime, Nanos, SECOND, Seq};

/// The most values of a key that a bucket can keep.
pub const HISTORY_MAX: u8 = 64;
/// The longest duplicate window of a bucket's stream.
const WINDOW_MAX: Nanos = 120 * SECOND;
/// Bytes of history read in one turn of the shard.
const PORTION_BYTES: usize = 1 << 20;
const PORTION_MESSAGES: usize = 1024;

/// What a bucket's owner chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// Its name: letters, digits, `_` and `-`.
    pub bucket: String,
    /// Free text.
    pub description: String,
    /// Values kept of each key, 1 to [`HISTORY_MAX`].
    pub history: u8,
    /// The age in nanoseconds at which a value goes; 0 for never.
    pub max_age: Nanos,
    /// The largest value in bytes; -1 for no limit.
    pub max_value_size: i64,
    /// Bytes of the whole bucket; -1 for no limit.
    pub max_bytes: i64,
    /// File or memory.
    pub storage: Storage,
    /// As a stream's metadata: `weir.*` chooses the storage.
    pub metadata: std::collections::BTreeMap<String, String>,
}

impl BucketConfig {
    /// A bucket of that name that keeps one value of each key, for ever, on disk.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            description: String::new(),
            history: 1,
            max_age: 0,
            max_value_size: -1,
            max_bytes: -1,
            storage: Storage::File,
            metadata: std::collections::BTreeMap::new(),
        }
    }

    fn stream(&self) -> StreamConfig {
        StreamConfig {
            name: stream_name(&self.bucket),
            description: self.description.clone(),
            subjects: vec![format!("$KV.{}.>", self.bucket)],
            max_msgs_per_subject: self.history.into(),
            max_age: self.max_age,
            max_msg_size: self.max_value_size,
            max_bytes: self.max_bytes,
            storage: self.storage,
            discard: Discard::New,
            duplicate_window: match self.max_age {
                0 => WINDOW_MAX,
                age => age.min(WINDOW_MAX),
            },
            deny_delete: true,
            allow_rollup_hdrs: true,
            allow_direct: true,
            metadata: self.metadata.clone(),
            ..StreamConfig::default()
        }
    }
}

/// What a revision of a key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Gave it a value.
    Put,
    /// Deleted it; older values stay in its history.
    Delete,
    /// Deleted it and its history.
    Purge,
}

/// One revision of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value; empty if this is a deletion.
    pub value: Bytes,
    /// Its number, which grows with every change in the bucket.
    pub revision: Seq,
    /// When it was made.
    pub created: NanoTime,
    /// What it did.
    pub operation: Operation,
}

/// A bucket, for any thread. Its functions wait, as those of [`EmbeddedStream`].
#[derive(Clone)]
pub struct Bucket {
    stream: EmbeddedStream,
    /// `$KV.<bucket>.`
    prefix: String,
}

impl Bucket {
    /// Makes a bucket.
    ///
    /// # Errors
    /// [`Invalid`](Kind::Invalid) for a name or a history that no bucket can have; otherwise as
    /// [`Store::create_stream`].
    pub fn create(store: &Store, account: &str, config: &BucketConfig) -> Result<Self> {
        check_bucket(&config.bucket)?;
        if !(1..=HISTORY_MAX).contains(&config.history) {
            return Err(Error::invalid(format!(
                "history {}: allowed are 1 to {HISTORY_MAX}",
                config.history
            )));
        }
        let stream = store.create_stream(account, config.stream(), &Defaults::default())?;
        Ok(Self::of(stream, &config.bucket))
    }

    /// A bucket that exists.
    ///
    /// # Errors
    /// [`Rejected`](Kind::Rejected), "stream not found", if it does not.
    pub fn open(store: &Store, account: &str, bucket: &str) -> Result<Self> {
        check_bucket(bucket)?;
        Ok(Self::of(store.stream(account, &stream_name(bucket))?, bucket))
    }

    fn of(stream: EmbeddedStream, bucket: &str) -> Self {
        Self {
            stream,
            prefix: format!("$KV.{bucket}."),
        }
    }

    /// The stream behind it.
    pub fn stream(&self) -> &EmbeddedStream {
        &self.stream
    }

    /// Gives a key a value; answers the revision.
    ///
    /// # Errors
    /// [`Invalid`](Kind::Invalid) for a key that is none; [`Rejected`](Kind::Rejected) if the bucket is full or the
    /// value too large.
    pub fn put(&self, key: &str, value: &[u8]) -> Result<Seq> {
        self.publish(key, "", value)
    }

    /// The value of a key; `None` if it has none or was deleted.
    ///
    /// # Errors
    /// As [`Bucket::put`], or that storage cannot be read.
    pub fn get(&self, key: &str) -> Result<Option<Entry>> {
        Ok(self.last(key)?.filter(|entry| entry.operation == Operation::Put))
    }

    /// A key as it was in that revision; `None` if that revision is not of this key, or gone.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn get_revision(&self, key: &str, revision: Seq) -> Result<Option<Entry>> {
        let subject = self.subject(key)?;
        let found = self.stream.message(revision)?;
        Ok(found
            .filter(|message| message.subject == subject)
            .map(|message| self.entry(&message)))
    }

    /// Gives a key its first value: it must have none, or have been deleted.
    ///
    /// # Errors
    /// [`Rejected`](Kind::Rejected), code 10071, if it has one; otherwise as [`Bucket::put`].
    pub fn create_key(&self, key: &str, value: &[u8]) -> Result<Seq> {
        let refused = match self.update(key, value, 0) {
            Err(error) if is_wrong_revision(&error) => error,
            result => return result,
        };
        match self.last(key)? {
            Some(entry) if entry.operation != Operation::Put => self.update(key, value, entry.revision),
            _ => Err(refused),
        }
    }

    /// Gives a key a value if its newest revision is still that one (0: it never had one).
    ///
    /// # Errors
    /// [`Rejected`](Kind::Rejected), code 10071, if it is not; otherwise as [`Bucket::put`].
    pub fn update(&self, key: &str, value: &[u8], revision: Seq) -> Result<Seq> {
        let line = format!("Nats-Expected-Last-Subject-Sequence: {revision}\r\n");
        self.publish(key, &line, value)
    }

    /// Deletes a key; its older values stay in its history.
    ///
    /// # Errors
    /// As [`Bucket::put`].
    pub fn delete(&self, key: &str) -> Result<Seq> {
        self.publish(key, "KV-Operation: DEL\r\n", b"")
    }

    /// Deletes a key with its history.
    ///
    /// # Errors
    /// As [`Bucket::put`].
    pub fn purge(&self, key: &str) -> Result<Seq> {
        self.publish(key, "KV-Operation: PURGE\r\nNats-Rollup: sub\r\n", b"")
    }

    /// What is kept of a key, oldest first, deletions included.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn history(&self, key: &str) -> Result<Vec<Entry>> {
        check_key(key)?;
        self.changes(key, 0, usize::MAX)
    }

    /// The changes from a revision on to the keys that match a filter (`*` and `>` as in subjects), oldest first,
    /// `limit` at most. Asking again from one above the last revision goes on where this ends: so one watches a bucket.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn changes(&self, filter: &str, from: Seq, limit: usize) -> Result<Vec<Entry>> {
        let subject = format!("{}{filter}", self.prefix);
        if !weir_subject::is_valid_subject(subject.as_bytes()) {
            return Err(Error::invalid(format!("{filter:?} is no filter of keys")));
        }
        let mut entries = Vec::new();
        let mut next = from;
        while entries.len() < limit {
            let count = PORTION_MESSAGES.min(limit - entries.len());
            let portion = self.stream.messages(&subject, next, count, PORTION_BYTES)?;
            let Some(last) = portion.last() else { break };
            next = last.seq + 1;
            entries.extend(portion.iter().map(|message| self.entry(message)));
        }
        Ok(entries)
    }

    /// The keys that have a value, in the order of their bytes.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn keys(&self) -> Result<Vec<String>> {
        let prefix = self.prefix.len();
        self.stream.read(move |stream| {
            let mut lasts = Vec::new();
            stream.messages.index.last_of_each(&[], &mut |subject, info| {
                lasts.push((subject.to_vec(), info.last));
                ControlFlow::Continue(())
            })?;
            let mut keys = Vec::new();
            for (subject, seq) in lasts {
                let message = match stream.message(seq) {
                    Ok(Some(message)) => message,
                    Ok(None) => continue,
                    // Whether it is a value or a deletion cannot be told; it was reported.
                    Err(error) if error.kind == Kind::Damaged => continue,
                    Err(error) => return Err(error),
                };
                if operation(&message) == Operation::Put {
                    keys.push(String::from_utf8_lossy(subject.get(prefix..).unwrap_or_default()).into_owned());
                }
            }
            Ok(keys)
        })
    }

    fn last(&self, key: &str) -> Result<Option<Entry>> {
        let found = self.stream.last_message(&self.subject(key)?)?;
        Ok(found.map(|message| self.entry(&message)))
    }

    fn publish(&self, key: &str, lines: &str, value: &[u8]) -> Result<Seq> {
        let headers = match lines {
            "" => String::new(),
            lines => format!("NATS/1.0\r\n{lines}\r\n"),
        };
        Ok(self.stream.publish(&self.subject(key)?, &headers, value)?.seq)
    }

    fn subject(&self, key: &str) -> Result<String> {
        check_key(key)?;
        Ok(format!("{}{key}", self.prefix))
    }

    fn entry(&self, message: &Message) -> Entry {
        let key = message.subject.get(self.prefix.len()..).unwrap_or_default();
        Entry {
            key: String::from_utf8_lossy(key).into_owned(),
            value: message.payload.clone(),
            revision: message.seq,
            created: message.time,
            operation: operation(message),
        }
    }
}

/// What a message did to its key. Markers that a server leaves where a value went count as deletions.
fn operation(message: &Message) -> Operation {
    match headers::get(&message.headers, "KV-Operation") {
        Some(b"DEL") => return Operation::Delete,
        Some(b"PURGE") => return Operation::Purge,
        _ => {}
    }
    match headers::get(&message.headers, "Nats-Marker-Reason") {
        Some(b"Remove") => Operation::Delete,
        Some(b"MaxAge" | b"Purge") => Operation::Purge,
        _ => Operation::Put,
    }
}

fn is_wrong_revision(error: &Error) -> bool {
    let code = error.rejection.as_ref().map(|rejection| rejection.code);
    error.kind == Kind::Rejected && code == Some(reject::STREAM_WRONG_LAST_SEQUENCE.code)
}

fn stream_name(bucket: &str) -> String {
    format!("KV_{bucket}")
}

pub(crate) fn check_bucket(bucket: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if bucket.is_empty() || !bucket.chars().all(allowed) {
        return Err(Error::invalid(format!(
            "{bucket:?} is no name of a bucket: allowed are letters, digits, _ and -"
        )));
    }
    Ok(())
}

/// A key: as NATS clients check it.
fn check_key(key: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-/_=.".contains(c);
    if key.is_empty() || key.starts_with('.') || key.ends_with('.') || key.contains("..") || !key.chars().all(allowed) {
        return Err(Error::invalid(format!(
            "{key:?} is no key: allowed are letters, digits and - / _ = with single dots between them"
        )));
    }
    Ok(())
}
