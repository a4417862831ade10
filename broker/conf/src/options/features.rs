//! `feature_flags { … }`: what nats-server 2.15 can be told to do otherwise than it does by default.

use std::collections::BTreeMap;

use super::{Warning, read};
use crate::error::ConfError;
use crate::file::Entry;

/// The subjects of acknowledgements and of flow control name the domain and the account.
const LONG_ACKS: &str = "js_ack_fc_v2";

/// Those that there are, and whether they are on by default. All but [`LONG_ACKS`] are about what servers say to each other: the subject of
/// answers to those who copy a stream from another server, the logs of Raft and what is copied to another replica. On one server they
/// switch nothing, here as in nats-server.
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
        if KNOWN.iter().any(|(name, _)| *name == flag.key) {
            features.0.insert(flag.key.clone(), on);
        } else {
            let text = format!(
                "the feature flag {:?} has no effect: there is none of that name",
                flag.key
            );
            warnings.push(Warning::new(&flag.pos, text));
        }
    }
    Ok(())
}
