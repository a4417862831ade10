//! What is wrong with a store, in words and in types. What is damaged is stepped over.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use weir_engine::Seq;

/// Findings of one stream that are kept, at most; more are counted.
const FINDINGS_MAX: usize = 10_000;

/// Something that is wrong with a store, or worth knowing of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// Where in it, in bytes; in a packed block's records, where in what it unpacks to.
    pub offset: Option<u64>,
    /// What it is.
    pub what: What,
    /// The message it is about, if that is known.
    pub seq: Option<Seq>,
    /// The first and the last of the sequences between the records around it: what is lost is among them.
    pub lost: Option<(Seq, Seq)>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "detail")]
pub enum What {
    /// The last block ends within a record, which was never written whole. Normal after a kill.
    TornTail {
        /// How many bytes are left of it.
        bytes: u64,
    },
    /// Nothing says how the server stopped: every block was read to find out. Normal after a kill.
    NoIndex,
    /// What says how the server stopped is of before it was stopped. Normal after a kill.
    StaleIndex,
    /// What says how the server stopped is damaged: every block was read to find out.
    BadIndex(String),
    /// A record's checksum does not match.
    Checksum,
    /// A record's lengths make no sense.
    Record,
    /// A packed block is damaged.
    Packed(String),
    /// Messages that the index has are not in their block.
    Missing {
        /// How many.
        messages: u64,
    },
    /// The first blocks that the index has are not there. Normal after a kill, where a limit or a purge took them.
    FrontGone {
        /// How many messages the index counts in it.
        messages: u64,
    },
    /// A block between others is not there, and nothing tells what was in it.
    Gap {
        /// How many sequences neither the other blocks nor marks of deletion have.
        sequences: u64,
        /// Whether a limit for each subject, or lives of messages, may have taken them, which leave no marks.
        may_be_removed: bool,
    },
    /// A consumer has no state: every one has, from when it is made on.
    NoState,
    /// A block is not in the index: its messages are no longer the stream's.
    Orphan,
    /// Records go back in sequence: the server passes over them, and so does this.
    OutOfOrder,
    /// The message was given, but it has a subject or a header block that nobody publishes. The checksum does not cover
    /// where the subject ends and the payload begins, so these may be damaged.
    Doubtful(String),
    /// A purge was cut off; it is taken as done.
    UnfinishedPurge,
    /// The last message belongs to an atomic batch whose rest is in `batches`, and which the server would complete.
    UnfinishedBatch,
    /// A description's checksum does not match. It is used nevertheless; the server would leave the stream out.
    MetaChecksum,
    /// A description has no checksum beside it. It is used nevertheless.
    NoMetaChecksum,
    /// A description or a state makes no sense: what it describes is left out.
    Unreadable(String),
    /// A file could not be read.
    Io(String),
}

impl Finding {
    /// About a file as a whole.
    pub(super) fn of(file: impl Into<PathBuf>, what: What) -> Self {
        Self {
            file: file.into(),
            offset: None,
            what,
            seq: None,
            lost: None,
        }
    }

    /// Whether something is lost or may be: not what is normal after a kill.
    pub fn is_damage(&self) -> bool {
        !matches!(
            self.what,
            What::TornTail { .. }
                | What::NoIndex
                | What::StaleIndex
                | What::FrontGone { .. }
                | What::Gap {
                    may_be_removed: true,
                    ..
                }
                | What::UnfinishedPurge
                | What::Orphan
                | What::NoMetaChecksum
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.file.display())?;
        if let Some(offset) = self.offset {
            write!(out, " at {offset}")?;
        }
        if let Some(seq) = self.seq {
            write!(out, ", message {seq}")?;
        }
        write!(out, ": {}", self.what)?;
        match self.lost {
            Some((first, last)) if first == last => write!(out, " (lost: {first}, unless it was deleted)"),
            Some((first, last)) => write!(out, " (lost: those from {first} to {last} that were not deleted)"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TornTail { bytes } => write!(
                out,
                "the last {bytes} bytes are the beginning of a record that was never written whole"
            ),
            Self::NoIndex => write!(out, "it is not there, so every block was read (normal after a kill)"),
            Self::StaleIndex => write!(
                out,
                "it is older than the blocks, so every block was read (normal after a kill)"
            ),
            Self::BadIndex(why) => write!(out, "it is damaged ({why}), so every block was read"),
            Self::Checksum => write!(out, "a record's checksum does not match"),
            Self::Record => write!(out, "the lengths in a record's head make no sense"),
            Self::Packed(why) => write!(out, "the packed block is damaged: {why}"),
            Self::Missing { messages } => write!(out, "{messages} messages that index.db counts are not in it"),
            Self::FrontGone { messages } => write!(
                out,
                "it is not there, and index.db, which is older than the blocks, counts {messages} messages in it (normal after a kill where a \
                 limit or a purge took them)"
            ),
            Self::Gap {
                sequences,
                may_be_removed,
            } => {
                let why = match may_be_removed {
                    true => " (normal where the stream's limits took all that was in it)",
                    false => "",
                };
                write!(
                    out,
                    "it is not there, blocks before and behind it are, and {sequences} sequences that were not deleted may have been in it{why}"
                )
            }
            Self::NoState => write!(
                out,
                "it is not there, or empty: nothing tells how far the consumer was, and it begins where its configuration says"
            ),
            Self::Orphan => write!(out, "index.db does not have this block: it was left out"),
            Self::OutOfOrder => write!(out, "records go back in sequence: they were left out"),
            Self::Doubtful(why) => write!(out, "{why}; it was kept as it is"),
            Self::UnfinishedPurge => write!(out, "a purge was cut off; it counts as done"),
            Self::UnfinishedBatch => write!(
                out,
                "an atomic batch was cut off while it was stored; the rest of it was left out"
            ),
            Self::MetaChecksum => write!(out, "its checksum does not match; it was used nevertheless"),
            Self::NoMetaChecksum => write!(out, "it has no checksum beside it; it was used nevertheless"),
            Self::Unreadable(why) => write!(out, "it makes no sense and was left out: {why}"),
            Self::Io(why) => write!(out, "it cannot be read and was left out: {why}"),
        }
    }
}

/// A bounded list of findings.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    list: Vec<Finding>,
    unlisted: u64,
}

impl Findings {
    pub(super) fn push(&mut self, finding: Finding) {
        match self.list.len() < FINDINGS_MAX {
            true => self.list.push(finding),
            false => self.unlisted += 1,
        }
    }

    pub(super) fn append(&mut self, other: &Self) {
        other.list.iter().cloned().for_each(|finding| self.push(finding));
        self.unlisted += other.unlisted;
    }

    /// The first 10,000.
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// How many there were beyond those.
    pub fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// Whether any is damage.
    pub fn any_damage(&self) -> bool {
        self.unlisted > 0 || self.list.iter().any(Finding::is_damage)
    }
}
