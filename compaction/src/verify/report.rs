//! What a verification found. The JSON form of these is an interface: fields are added, never renamed or removed.

use std::path::{Path, PathBuf};

use serde::Serialize;
use weir_engine::{Seq, ShardId};

/// What is listed at most; of more than these only the number is told.
pub const FOUND_MAX: usize = 10_000;

/// What came of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The folder that holds the whole store.
    pub path: PathBuf,
    /// Bytes that were read and checked.
    pub bytes_read: u64,
    /// The streams, by account and name.
    pub streams: Vec<StreamChecked>,
    /// The journals, by shard; none if a single stream was asked for.
    pub journals: Vec<JournalChecked>,
    /// What is wrong, up to [`FOUND_MAX`], and what only looks so.
    pub found: Vec<Found>,
    /// How many more there are that are neither settled nor harmless.
    pub more: u64,
    /// How many things are wrong with the rest of the store, as far as opening it tells, if a stream was asked for; 0 if all was.
    pub elsewhere: u64,
}

/// A stream that was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamChecked {
    /// Its account.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Its log, as the files are named: 16 hexadecimal digits.
    pub log: String,
    /// `segment` or `rocksdb`.
    pub backend: String,
    /// Messages that are there and whole.
    pub messages: u64,
    /// Messages that count as there, and cannot be read.
    pub unreadable: u64,
    /// The first message's sequence; one above the last if there is none.
    pub first_seq: Seq,
    /// The last sequence given.
    pub last_seq: Seq,
    /// Distinct subjects.
    pub subjects: u64,
    /// Consumers.
    pub consumers: u64,
    /// The digest of its messages, counted, as `STREAM.INFO` tells the kept one; `None` if any of them cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A journal that was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JournalChecked {
    /// The shard.
    pub shard: ShardId,
    /// Records that are whole.
    pub records: u64,
}

/// What kind of thing something is that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Messages of a stream are lost, or cannot be read.
    Message,
    /// A file of a stream's log is damaged or missing where that costs no message, or it is not known which.
    File,
    /// A stream cannot be read, or what a checkpoint has of it makes no sense.
    Stream,
    /// The index or the counts of a stream are not what its log says.
    Index,
    /// A consumer's position is not one that its stream has.
    Consumer,
    /// The catalogue.
    Catalogue,
    /// A copy of an encrypted store's own key.
    Key,
    /// A journal.
    Journal,
    /// A stream's log has lost writes.
    Log,
    /// A log without a stream.
    Orphan,
    /// A whole backend.
    Backend,
}

/// Whether somebody has to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nobody has settled it.
    Open,
    /// It was seen: `weir settle`.
    Settled,
    /// It is no damage, and goes by itself.
    Harmless,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// What kind of thing it is.
    pub what: What,
    /// Whether it is to be seen to.
    pub standing: Standing,
    /// The stream's account, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// The shard, of a journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardId>,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Where in the file it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Sequences of the stream whose messages are lost, or may be: ranges, both ends included.
    pub lost: Vec<(Seq, Seq)>,
    /// The subject of the one message that is lost, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The key to settle it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is wrong, in words.
    pub text: String,
    /// Whether a crash leaves it; then the words say what it may have cost.
    pub of_a_crash: bool,
}

impl Found {
    pub(super) fn new(what: What, text: impl Into<String>) -> Self {
        Self {
            what,
            standing: Standing::Open,
            account: None,
            stream: None,
            consumer: None,
            shard: None,
            file: None,
            offset: None,
            lost: Vec::new(),
            subject: None,
            key: None,
            text: text.into(),
            of_a_crash: false,
        }
    }

    /// Whether it is damage of a file in a folder that nobody has settled.
    pub(super) fn is_of(&self, folder: Option<&Path>) -> bool {
        let file = self.file.as_deref().zip(folder);
        self.standing == Standing::Open && file.is_some_and(|(file, folder)| file.starts_with(folder))
    }

    pub(super) fn harmless(self) -> Self {
        Self {
            standing: Standing::Harmless,
            ..self
        }
    }

    pub(super) fn of_a_crash(self) -> Self {
        Self {
            of_a_crash: true,
            ..self.harmless()
        }
    }

    pub(super) fn settled_if(self, is_settled: bool) -> Self {
        match is_settled {
            true => Self {
                standing: Standing::Settled,
                ..self
            },
            false => self,
        }
    }

    pub(super) fn of_stream(self, account: &str, stream: &str) -> Self {
        Self {
            account: Some(account.to_owned()),
            stream: Some(stream.to_owned()),
            ..self
        }
    }
}

impl Report {
    /// Whether anything is wrong that is neither settled nor harmless.
    pub fn is_damaged(&self) -> bool {
        self.more > 0 || self.found.iter().any(|found| found.standing == Standing::Open)
    }
}

/// What was found so far.
pub(super) struct Finds {
    pub found: Vec<Found>,
    pub more: u64,
}

impl Finds {
    pub fn add(&mut self, found: Found) {
        if self.found.len() < FOUND_MAX {
            self.found.push(found);
        } else if found.standing == Standing::Open {
            self.more += 1;
        }
    }

    /// Adds one in front of others.
    pub fn insert(&mut self, at: usize, found: Found) {
        let last = match self.found.len() < FOUND_MAX {
            true => None,
            false => self.found.pop(),
        };
        self.found.insert(at.min(self.found.len()), found);
        last.into_iter().for_each(|last| self.add(last));
    }
}
