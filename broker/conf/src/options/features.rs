//! `feature_flags { … }`: what nats-server 2.15 can be told to do otherwise than it does by default.

use std::collections::BTreeMap;

use super::{Warning, read};
use crate::error::ConfError;
use crate::file::Entry;

/// The subjects of acknowledgements and of flow control name the domain and the account.
const LONG_ACKS: &str = "js_ack_fc_v2";

/// Those that there are, and whether they are on by default.
const KNOWN: &[(&str, bool)] = &[
    (LONG_ACKS, false),
    ("js_api_reply_v2", false),
    ("js_raft_delete_range", true),
    ("js_snapshot_sources", false),
];

/// Which of nats-server's switches are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features(BTreeMap<String, bool>);

impl Default for Features {
    fn default() -> Self {
        Self(KNOWN.iter().map(|(name, on)| ((*name).to_owned(), *on)).collect())
    }
}

impl Features {
    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<String, bool> {
        &self.0
    }

    /// Whether acknowledgements and flow control are asked for on subjects that name the domain and the account
    /// (`js_ack_fc_v2`).
    #[must_use]
    pub fn long_acks(&self) -> bool {
        self.0.get(LONG_ACKS) == Some(&true)
    }
}

/// Reads the block.
pub(super) fn apply(features: &mut Features, entry: &Entry, warnings: &mut Vec<Warning>) -> Result<(), ConfError> {
    for flag in &read::block(entry)?.entries {
        let on = read::boolean(flag)?;
        let known = KNOWN.iter().find(|(name, _)| *name == flag.key);
        let why = match known {
            None => Some("there is none of that name"),
            Some((name, default)) if *name != LONG_ACKS && on != *default => Some("Weir has nothing that it switches"),
            Some(_) => None,
        };
        if let Some(why) = why {
            let text = format!("the feature flag {:?} has no effect: {why}", flag.key);
            warnings.push(Warning::new(&flag.pos, text));
        }
        if known.is_some() {
            features.0.insert(flag.key.clone(), on);
        }
    }
    Ok(())
}
