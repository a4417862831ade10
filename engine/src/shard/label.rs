//! What a stream's log says about itself, so that it can be told whose it is when nothing else can tell.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::backend::LogOptions;
use crate::error::{Error, Result};
use crate::shard::adopt::recovered_name;
use crate::shard::snapshot::StreamSnapshot;
use crate::stream::StreamConfig;
use crate::stream::messages::Identity;
use crate::stream::settings::Settings;
use crate::types::{LogId, NanoTime, Seq, ShardId};

/// Bytes that a label is shorter than it may be: a backend that encrypts it makes it longer.
const LABEL_SPARE: usize = 64;

/// The label of a stream's log, as it was when the log was made, or first opened by a version that writes labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLabel {
    /// The log.
    pub id: u64,
    /// The stream's account.
    pub account: String,
    /// The stream's name.
    pub name: String,
    /// When the stream was made.
    pub created: NanoTime,
    /// The stream's storage.
    pub settings: Settings,
    /// The stream's configuration at that time; `None` if it is too long for a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<StreamConfig>,
}

impl LogLabel {
    /// Packs the label of a stream. Of one in memory there is nothing to tell.
    pub(crate) fn pack(who: &Identity) -> Bytes {
        if !who.settings.is_journaled() {
            return Bytes::new();
        }
        let mut label = Self {
            id: who.id.0,
            account: who.account.to_string(),
            name: who.name.to_string(),
            created: who.created,
            settings: who.settings,
            config: Some(who.config.clone()),
        };
        let packed = crate::json::to_json(&label);
        if packed.len() <= LogOptions::LABEL_MAX - LABEL_SPARE {
            return packed;
        }
        label.config = None;
        crate::json::to_json(&label)
    }

    /// Reads a label.
    ///
    /// # Errors
    /// If it makes no sense.
    pub fn unpack(label: &[u8]) -> Result<Self> {
        crate::json::from_json(label)
    }

    /// Refuses a log that is another stream's.
    pub(crate) fn check(label: &[u8], who: &Identity) -> Result<()> {
        let label = Self::unpack(label)?;
        let is_name = *label.name == *who.name || recovered_name(&label.name, who.id) == *who.name;
        if is_name && (label.id, &*label.account) == (who.id.0, &*who.account) {
            return Ok(());
        }
        Err(Error::damaged(format!(
            "log {} belongs to stream {} of account {}, as it says itself; it is not given to stream {} of account {}",
            who.id, label.name, label.account, who.name, who.account
        )))
    }

    /// The stream as it was made; `None` if the label does not tell its configuration.
    pub(crate) fn snapshot(&self, shard: ShardId, position: Seq) -> Option<StreamSnapshot> {
        let config = self.config.clone()?;
        Some(StreamSnapshot {
            id: self.id,
            account: self.account.clone(),
            name: self.name.clone(),
            last: config.first_seq.saturating_sub(1),
            config,
            settings: self.settings,
            shard,
            created: self.created,
            last_time: None,
            first: 0,
            log_last: 0,
            cleared: false,
            log_change: 0,
            census: None,
            next_serial: 1,
            position,
            time: 0,
            schedules: None,
            consumers: Vec::new(),
            origins: Default::default(),
            removals: Default::default(),
            recompressing: None,
        })
    }

    /// The log.
    pub fn log(&self) -> LogId {
        LogId(self.id)
    }
}
