//! One of the two stores, as far as it is compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_backends::allocator;
use weir_backends::root::Hold;
use weir_engine::StreamId;
use weir_engine::consumer::ConsumerSnapshot;
use weir_engine::image::ImageStream;
use weir_engine::store::{OpeningProgress, StreamEntry};
use weir_engine::stream::{Listing, Stream, StreamState};

use super::report::Named;
use crate::error::{Error, Result};
use crate::image::Looking;

/// The store.
pub(super) struct Side {
    /// Its folder.
    pub root: PathBuf,
    /// The names of all its streams.
    pub there: Vec<String>,
    /// Those that are compared.
    pub streams: BTreeMap<Named, Content>,
    /// How many things are wrong with it beside these.
    pub elsewhere: u64,
    /// No server opens it meanwhile.
    _hold: Hold,
}

/// A stream.
pub(super) struct Content {
    pub entry: Arc<StreamEntry>,
    /// `None` if it is offline and nothing of it can be read.
    pub held: Option<Held>,
}

/// What a stream holds.
pub(super) struct Held {
    pub state: StreamState,
    pub consumers: Vec<ConsumerSnapshot>,
    pub messages: Listing,
}

impl Side {
    /// Opens a store, takes from its streams of the wanted name, or from all, what is compared, and lets go of the rest.
    pub fn of(path: &Path, wanted: Option<&str>, progress: Option<OpeningProgress>) -> Result<Self> {
        let mut looking = Looking::at(path, progress)?;
        let entries = looking.image.entries();
        let own: Vec<StreamId> = entries
            .iter()
            .filter(|entry| wanted.is_some_and(|name| *entry.name == *name))
            .map(|entry| entry.id)
            .collect();
        let elsewhere = match wanted {
            Some(name) => crate::elsewhere::beside(&looking, name, &own)?,
            None => 0,
        };
        let mut streams = BTreeMap::new();
        for entry in &entries {
            if wanted.is_some_and(|name| *entry.name != *name) {
                continue;
            }
            let Some(stream) = looking.image.stream(entry.id) else {
                continue;
            };
            let named = Named {
                account: entry.account.to_string(),
                name: entry.name.to_string(),
            };
            streams.insert(named, Content::of(stream).map_err(Error::Unreadable)?);
        }
        let side = Self {
            root: looking.store.root().to_path_buf(),
            there: entries.iter().map(|entry| entry.name.to_string()).collect(),
            streams,
            elsewhere,
            _hold: looking.into_hold(),
        };
        // Of the indexes, which the other store's come after.
        allocator::give_back();
        Ok(side)
    }

    /// The streams that the other does not have.
    pub fn only(&self, other: &Self) -> Vec<Named> {
        let only = self.streams.keys().filter(|named| !other.streams.contains_key(named));
        only.cloned().collect()
    }
}

impl Content {
    fn of(shown: ImageStream<'_>) -> weir_engine::Result<Self> {
        Ok(Self {
            held: shown.stream.map(Held::of).transpose()?,
            entry: shown.entry,
        })
    }
}

impl Held {
    fn of(stream: &mut Stream) -> weir_engine::Result<Self> {
        Ok(Self {
            state: stream.state()?,
            consumers: stream.consumer_backups(),
            messages: stream.listing()?,
        })
    }
}
