//! What was found wrong with a store's own bookkeeping: told in the log, by health and by `weir inspect`, and kept until
//! it is settled.

use serde::{Deserialize, Serialize};

use crate::types::{NanoTime, Seq, ShardId, StreamId};
use crate::words;

/// The prefix of the keys under which findings are kept.
pub const FINDING_PREFIX: &[u8] = b"finding/";
/// Findings that are shown; of more than these only the number is.
pub const FINDINGS_MAX: usize = 100;
/// Ranges that one finding lists.
pub const RANGES_MAX: usize = 64;

/// What kind of thing a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Entries of the catalogue are lost, in every copy: streams, consumers or their progress since an earlier checkpoint.
    Catalogue,
    /// A journal has a hole, or is gone: changes of streams are lost.
    Journal,
    /// A stream's log has lost writes, and nothing tells what they removed: that may be there again.
    Log,
    /// There is a log that no stream has. It is kept.
    Orphan,
}

/// Sequences of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concerned {
    /// The stream's log.
    pub log: u64,
    /// The stream's account; empty if nothing tells it.
    pub account: String,
    /// The stream's name; empty if nothing tells it.
    pub stream: String,
    /// The sequences that are lost, each range with both ends; empty where no message is known to be.
    pub lost: Vec<(Seq, Seq)>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// When it was found.
    pub found: NanoTime,
    /// The shard, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardId>,
    /// What was found, where, and what became of it.
    pub text: String,
    /// The streams that it concerns, as far as anything tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub concerned: Vec<Concerned>,
    /// Whoever runs the store has seen it. It is kept for as long as what it tells of is found again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
}

impl Finding {
    /// One that concerns the whole store.
    pub(crate) fn new(kind: FindingKind, text: String, found: NanoTime) -> Self {
        Self {
            kind,
            found,
            shard: None,
            text,
            concerned: Vec::new(),
            settled: false,
        }
    }

    /// Whether each start of the store finds it again, for as long as it is so: not if it is about a shard that was added, or a stream of one.
    pub(crate) fn is_local(&self) -> bool {
        self.shard.is_none_or(ShardId::is_local) && self.concerned.iter().all(|of| StreamId(of.log).is_local())
    }

    /// Whether something that was answered for may be lost.
    pub fn is_loss(&self) -> bool {
        matches!(
            self.kind,
            FindingKind::Catalogue | FindingKind::Journal | FindingKind::Log
        )
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        for concerned in &self.concerned {
            let id = StreamId(concerned.log);
            match concerned.stream.as_str() {
                "" => write!(f, "; a stream with log {id}")?,
                name => write!(f, "; stream {name} of account {}", concerned.account)?,
            }
            for (n, (first, last)) in concerned.lost.iter().enumerate() {
                let before = if n == 0 { " lost" } else { "," };
                write!(f, "{before} {}", words::range(*first, *last))?;
            }
        }
        Ok(())
    }
}
