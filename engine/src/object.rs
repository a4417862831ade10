//! Object stores: large values in chunks, named and described as NATS clients do it, so that a store made here is one
//! for them and the other way round.
//!
//! ```text
//! stream OBJ_<bucket>, subjects $O.<bucket>.C.> and $O.<bucket>.M.>
//! chunks: $O.<bucket>.C.<id>, 128 KiB each; the description: $O.<bucket>.M.<name in base64>, JSON, the newest counts
//! ```

use std::collections::BTreeMap;
use std::io::{Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::embed::EmbeddedStream;
use crate::error::{Error, Result};
use crate::json::{is_false, is_zero, nullable};
use crate::kv::check_bucket;
use crate::store::Store;
use crate::stream::settings::Defaults;
use crate::stream::{Discard, Message, Purge, Storage, StreamConfig};
use crate::types::{NanoTime, Nanos, SECOND};

/// The size of a chunk unless a description says otherwise.
pub const CHUNK_BYTES: usize = 128 << 10;
/// The largest chunk that is taken: a message of 64 MiB.
const CHUNK_BYTES_MAX: usize = 64 << 20;
/// Bytes of chunks read in one turn of the shard.
const PORTION_BYTES: usize = 1 << 20;
const WINDOW_MAX: Nanos = 120 * SECOND;
const DIGEST_PREFIX: &str = "SHA-256=";

/// What an object store's owner chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStoreConfig {
    /// Its name: letters, digits, `_` and `-`.
    pub bucket: String,
    /// Free text.
    pub description: String,
    /// The age in nanoseconds at which objects go; 0 for never.
    pub max_age: Nanos,
    /// Bytes of the whole store; -1 for no limit.
    pub max_bytes: i64,
    /// File or memory.
    pub storage: Storage,
    /// As a stream's metadata: `weir.*` chooses the storage.
    pub metadata: BTreeMap<String, String>,
}

impl ObjectStoreConfig {
    /// A store of that name that keeps everything for ever, on disk.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            description: String::new(),
            max_age: 0,
            max_bytes: -1,
            storage: Storage::File,
            metadata: BTreeMap::new(),
        }
    }

    fn stream(&self) -> StreamConfig {
        StreamConfig {
            name: format!("OBJ_{}", self.bucket),
            description: self.description.clone(),
            subjects: vec![format!("$O.{}.C.>", self.bucket), format!("$O.{}.M.>", self.bucket)],
            max_age: self.max_age,
            max_bytes: self.max_bytes,
            storage: self.storage,
            discard: Discard::New,
            duplicate_window: match self.max_age {
                0 => WINDOW_MAX,
                age => age.min(WINDOW_MAX),
            },
            allow_rollup_hdrs: true,
            allow_direct: true,
            metadata: self.metadata.clone(),
            ..StreamConfig::default()
        }
    }
}

/// Another object that stands for this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// Its store.
    pub bucket: String,
    /// Its name; empty for the whole store.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// What is seldom said of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectOptions {
    /// The object is a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// The size of its chunks in bytes; 0 for [`CHUNK_BYTES`].
    #[serde(skip_serializing_if = "is_zero")]
    pub max_chunk_size: u64,
}

/// The description of an object, in the JSON form of NATS clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectInfo {
    /// Its name: any text but the empty one.
    pub name: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Free headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub headers: BTreeMap<String, Vec<String>>,
    /// Free keys and values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub metadata: BTreeMap<String, String>,
    /// Chunk size or link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<ObjectOptions>,
    /// The store it is in.
    pub bucket: String,
    /// What its chunks are called by.
    pub nuid: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was put: the time of its description's message, which is not written into it.
    #[serde(with = "crate::json::rfc3339_option")]
    pub mtime: Option<NanoTime>,
    /// How many chunks it has.
    pub chunks: u32,
    /// `SHA-256=` and the digest in base64 (URL alphabet).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// It was deleted.
    #[serde(skip_serializing_if = "is_false")]
    pub deleted: bool,
}

impl ObjectInfo {
    /// The description of an object to be put: nothing but its name.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    fn chunk_bytes(&self) -> Result<usize> {
        let wished = self.options.as_ref().map_or(0, |options| options.max_chunk_size);
        match usize::try_from(wished) {
            Ok(0) => Ok(CHUNK_BYTES),
            Ok(bytes) if bytes <= CHUNK_BYTES_MAX => Ok(bytes),
            _ => Err(Error::invalid(format!(
                "chunks of {wished} bytes: allowed are 1 to {CHUNK_BYTES_MAX}"
            ))),
        }
    }
}

/// An object store, for any thread. Its functions wait, as those of [`EmbeddedStream`].
#[derive(Clone)]
pub struct ObjectStore {
    stream: EmbeddedStream,
    bucket: String,
}

impl ObjectStore {
    /// Makes an object store.
    ///
    /// # Errors
    /// [`Invalid`](crate::Kind::Invalid) for a name that none can have; otherwise as [`Store::create_stream`].
    pub fn create(store: &Store, account: &str, config: &ObjectStoreConfig) -> Result<Self> {
        check_bucket(&config.bucket)?;
        Ok(Self {
            stream: store.create_stream(account, config.stream(), &Defaults::default())?,
            bucket: config.bucket.clone(),
        })
    }

    /// An object store that exists.
    ///
    /// # Errors
    /// [`Rejected`](crate::Kind::Rejected), "stream not found", if it does not.
    pub fn open(store: &Store, account: &str, bucket: &str) -> Result<Self> {
        check_bucket(bucket)?;
        Ok(Self {
            stream: store.stream(account, &format!("OBJ_{bucket}"))?,
            bucket: bucket.to_owned(),
        })
    }

    /// The stream behind it.
    pub fn stream(&self) -> &EmbeddedStream {
        &self.stream
    }

    /// Puts what a reader gives, under the name of `about`, in place of what had the name before. `id` must be new for
    /// each call (letters and digits; NATS clients take a NUID): the engine has no randomness of its own.
    ///
    /// # Errors
    /// If the reader fails, the store is full, or something has the `id`; then nothing is changed.
    pub fn put(&self, about: ObjectInfo, id: &str, from: &mut dyn Read) -> Result<ObjectInfo> {
        if about.name.is_empty() {
            return Err(Error::invalid("an object needs a name"));
        }
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Error::invalid(format!(
                "{id:?} is no id: allowed are letters and digits"
            )));
        }
        if about.options.as_ref().is_some_and(|options| options.link.is_some()) {
            return Err(Error::invalid("a link has no content"));
        }
        let chunk_bytes = about.chunk_bytes()?;
        let subject = self.chunks_of(id);
        if self.stream.last_message(&subject)?.is_some() {
            return Err(Error::invalid(format!("the id {id} is taken")));
        }
        let before = self.described(&about.name)?;
        let stored = self
            .put_chunks(&subject, chunk_bytes, from)
            .and_then(|(size, chunks, digest)| {
                let info = ObjectInfo {
                    bucket: self.bucket.clone(),
                    nuid: id.to_owned(),
                    size,
                    mtime: None,
                    chunks,
                    digest: format!("{DIGEST_PREFIX}{}", URL_SAFE.encode(digest)),
                    deleted: false,
                    ..about
                };
                self.describe(&info)?;
                Ok(info)
            });
        match stored {
            Ok(info) => {
                // Only now, so that the object is whole at any time.
                if let Some(before) = before.filter(|before| !before.deleted && !before.nuid.is_empty()) {
                    self.drop_chunks(&before.nuid)?;
                }
                self.info(&info.name)?.ok_or_else(|| gone(&info.name))
            }
            Err(error) => {
                // The first error is what counts; chunks that stay take room and nothing else.
                if let Err(error) = self.drop_chunks(id) {
                    tracing::warn!(id, "chunks of an object that failed stay: {error}");
                }
                Err(error)
            }
        }
    }

    /// Writes an object's content, and answers its description.
    ///
    /// # Errors
    /// [`Closed`](crate::Kind::Closed) if there is none of that name; [`Damaged`](crate::Kind::Damaged) if the content
    /// is not what its digest says (some of it may have been written by then); an error of the writer;
    /// [`Unsupported`](crate::Kind::Unsupported) for a link.
    pub fn get(&self, name: &str, to: &mut dyn Write) -> Result<ObjectInfo> {
        let info = self.info(name)?.ok_or_else(|| gone(name))?;
        if let Some(link) = info.options.as_ref().and_then(|options| options.link.as_ref()) {
            return Err(Error::unsupported(format!(
                "{name} is a link to {:?} in {}",
                link.name, link.bucket
            )));
        }
        let subject = self.chunks_of(&info.nuid);
        let mut hash = Sha256::new();
        let (mut next, mut size) = (0, 0);
        while size < info.size {
            let portion = self.stream.messages(&subject, next, usize::MAX, PORTION_BYTES)?;
            let Some(last) = portion.last() else { break };
            next = last.seq + 1;
            for chunk in portion {
                hash.update(&chunk.payload);
                size += chunk.payload.len() as u64;
                to.write_all(&chunk.payload)
                    .map_err(|error| Error::io(format_args!("writing object {name}"), error))?;
            }
        }
        if size != info.size || !is_digest(&info.digest, &hash.finalize()) {
            return Err(Error::damaged(format!(
                "object {name} of store {} is not what its description says ({size} of {} bytes)",
                self.bucket, info.size
            )));
        }
        Ok(info)
    }

    /// The description of an object; `None` if there is none of that name, or it was deleted.
    ///
    /// # Errors
    /// If storage cannot be read, or the description makes no sense.
    pub fn info(&self, name: &str) -> Result<Option<ObjectInfo>> {
        Ok(self.described(name)?.filter(|info| !info.deleted))
    }

    /// The descriptions of all objects, in the order they were put.
    ///
    /// # Errors
    /// As [`ObjectStore::info`].
    pub fn list(&self) -> Result<Vec<ObjectInfo>> {
        let filter = format!("$O.{}.M.>", self.bucket);
        let (mut all, mut next) = (Vec::new(), 0);
        loop {
            let portion = self.stream.messages(&filter, next, usize::MAX, PORTION_BYTES)?;
            let Some(last) = portion.last() else { break };
            next = last.seq + 1;
            for message in &portion {
                let info = parse(message)?;
                if !info.deleted {
                    all.push(info);
                }
            }
        }
        Ok(all)
    }

    /// Deletes an object. Answers whether there was one.
    ///
    /// # Errors
    /// If storage cannot be read or written.
    pub fn delete(&self, name: &str) -> Result<bool> {
        let Some(info) = self.info(name)? else {
            return Ok(false);
        };
        let marker = ObjectInfo {
            size: 0,
            chunks: 0,
            digest: String::new(),
            mtime: None,
            deleted: true,
            ..info
        };
        self.describe(&marker)?;
        if !marker.nuid.is_empty() {
            self.drop_chunks(&marker.nuid)?;
        }
        Ok(true)
    }

    /// Stores chunks; answers the size, how many there are, and the digest.
    fn put_chunks(&self, subject: &str, chunk_bytes: usize, from: &mut dyn Read) -> Result<(u64, u32, [u8; 32])> {
        let mut hash = Sha256::new();
        let (mut size, mut chunks) = (0, 0_u32);
        let mut chunk = Vec::new();
        loop {
            chunk.clear();
            from.take(chunk_bytes as u64)
                .read_to_end(&mut chunk)
                .map_err(|error| Error::io("reading an object's content", error))?;
            if chunk.is_empty() {
                return Ok((size, chunks, hash.finalize().into()));
            }
            hash.update(&chunk);
            self.stream.publish(subject, "", &chunk)?;
            size += chunk.len() as u64;
            chunks = chunks
                .checked_add(1)
                .ok_or_else(|| Error::invalid("more than 4,294,967,295 chunks"))?;
        }
    }

    /// Stores a description in place of the one before.
    fn describe(&self, info: &ObjectInfo) -> Result<()> {
        let json = crate::json::to_json(info);
        let subject = self.description_of(&info.name);
        self.stream
            .publish(&subject, "NATS/1.0\r\nNats-Rollup: sub\r\n\r\n", &json)?;
        Ok(())
    }

    fn described(&self, name: &str) -> Result<Option<ObjectInfo>> {
        let found = self.stream.last_message(&self.description_of(name))?;
        found.as_ref().map(parse).transpose()
    }

    fn drop_chunks(&self, id: &str) -> Result<()> {
        self.stream.purge(Purge {
            filter: self.chunks_of(id),
            ..Purge::default()
        })?;
        Ok(())
    }

    fn chunks_of(&self, id: &str) -> String {
        format!("$O.{}.C.{id}", self.bucket)
    }

    fn description_of(&self, name: &str) -> String {
        format!("$O.{}.M.{}", self.bucket, URL_SAFE.encode(name))
    }
}

fn parse(message: &Message) -> Result<ObjectInfo> {
    let info: ObjectInfo = crate::json::from_json(&message.payload)?;
    Ok(ObjectInfo {
        mtime: Some(message.time),
        ..info
    })
}

/// Whether a digest as clients write it is this one. Some leave the padding out.
fn is_digest(text: &str, digest: &[u8]) -> bool {
    let wanted = text.strip_prefix(DIGEST_PREFIX);
    wanted.is_some_and(|wanted| wanted.trim_end_matches('=') == URL_SAFE.encode(digest).trim_end_matches('='))
}

fn gone(name: &str) -> Error {
    Error::closed(format!("there is no object {name}"))
}
