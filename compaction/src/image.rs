//! Opening a store to look at it: what every tool begins with that changes nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use weir_backends::root::{Hold, StoreDir};
use weir_backends::segment::KvCopy;
use weir_engine::image::Image;
use weir_engine::shard::snapshot::StreamSnapshot;
use weir_engine::store::OpeningProgress;
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Backend, NanoTime, StreamId, words};

use crate::error::{Error, Result};

/// A store that is looked at; no server can open it meanwhile.
pub(crate) struct Looking {
    pub store: StoreDir,
    pub image: Image,
    /// What of the catalogue is damaged in one copy and whole in the other, one line each; what is lost in both is in the
    /// image's findings.
    pub mended: Vec<String>,
    /// Copies of an encrypted store's key that are missing or cannot be read, one line each with the file in front.
    pub broken_keys: Vec<String>,
    /// What each copy of the catalogue is.
    pub copies: Vec<KvCopy>,
    hold: Hold,
}

impl Looking {
    /// Opens the store in a directory: a server's store directory, or the folder `weir` in it. `progress` is told of the
    /// reading of streams that takes long.
    ///
    /// # Errors
    /// If there is no store, a server has it open, a later version wrote it, or its catalogue cannot be read at all.
    pub fn at(path: &Path, progress: Option<OpeningProgress>) -> Result<Self> {
        let store = crate::key::find(path)?;
        crate::beside::is_finished(path)?;
        let hold = store.hold().map_err(Error::opening)?;
        let root = Arc::new(store.look_at_segments().map_err(Error::opening)?);
        let (lost, copies) = (root.lost(), root.kv_copies());
        let damage = root.kv_damage().into_iter();
        let mended = damage.filter(|line| !lost.contains(line)).collect();
        let broken_keys = store
            .broken_keys()
            .into_iter()
            .map(|(file, why)| {
                format!(
                    "{}: a copy of the store's key {why}; the next start writes it anew from the other, or `weir repair` does",
                    file.display()
                )
            })
            .collect();
        let others = store.clone();
        let open = move |kind| match kind {
            BackendKind::Segment => others.over(root.clone() as Arc<dyn Backend>),
            kind => others.open_read_only(kind),
        };
        let image = Image::open(Box::new(open), &store.there(), now(), progress).map_err(Error::opening)?;
        Ok(Self {
            store,
            image,
            mended,
            broken_keys,
            copies,
            hold,
        })
    }

    /// Lets go of all but what keeps servers out.
    pub fn into_hold(self) -> Hold {
        self.hold
    }

    /// The streams of that name, in whatever account, or all; by account and name.
    ///
    /// # Errors
    /// If there is none of the wanted name.
    pub fn streams(&self, wanted: Option<&str>) -> Result<Vec<StreamId>> {
        let entries = self.image.entries();
        let found = entries
            .iter()
            .filter(|entry| wanted.is_none_or(|name| *entry.name == *name));
        let found: Vec<StreamId> = found.map(|entry| entry.id).collect();
        match wanted {
            Some(wanted) if found.is_empty() => Err(Error::NoSuchStream {
                wanted: wanted.to_owned(),
                there: entries.iter().map(|entry| entry.name.to_string()).collect(),
            }),
            _ => Ok(found),
        }
    }

    /// The one stream of that name; its account may be left out if the name is in one account only.
    ///
    /// # Errors
    /// If there is none, or several and it is not said which.
    pub fn the_stream(&self, name: &str, account: Option<&str>) -> Result<StreamId> {
        let entries = self.image.entries();
        let named = entries.iter().filter(|entry| *entry.name == *name);
        let found: Vec<_> = named
            .filter(|entry| account.is_none_or(|wanted| *entry.account == *wanted))
            .collect();
        match found[..] {
            [entry] => Ok(entry.id),
            [] => Err(Error::NoSuchStream {
                wanted: name.to_owned(),
                there: entries.iter().map(|entry| entry.name.to_string()).collect(),
            }),
            _ => Err(Error::WhichAccount {
                name: name.to_owned(),
                accounts: found.iter().map(|entry| entry.account.to_string()).collect(),
            }),
        }
    }
}

/// What the last checkpoint had of a stream that cannot be read: sequences, and messages where they were counted.
pub(crate) fn had(saved: &StreamSnapshot) -> String {
    let of = match (saved.census, saved.last < saved.first.max(1)) {
        (_, true) => return "it had no messages at the last checkpoint".to_owned(),
        (Some(census), _) => words::count(census.count, "message"),
        (None, _) => "messages".to_owned(),
    };
    format!(
        "at the last checkpoint it had {of}, sequences {}",
        words::range(saved.first.max(1), saved.last)
    )
}

/// The time of the day, in nanoseconds since the Unix epoch.
pub(crate) fn now() -> NanoTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    NanoTime::try_from(since.as_nanos()).unwrap_or(NanoTime::MAX)
}
