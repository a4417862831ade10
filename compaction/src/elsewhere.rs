//! What concerns the streams that were asked for, and what is wrong elsewhere in the store: that is counted, so that nobody takes one
//! stream that is whole for a store that is.

use weir_engine::finding::Finding;
use weir_engine::image::Image;
use weir_engine::stream::settings::BackendKind;
use weir_engine::{ShardId, Store, StreamId};

use crate::chosen::Chosen;
use crate::error::{Error, Result};
use crate::image::Looking;

/// Some streams of a store, or all of it.
pub(crate) struct Asked {
    /// Their logs, shards and backends; `None` if all was asked for.
    streams: Option<Vec<(StreamId, ShardId, BackendKind)>>,
}

impl Asked {
    /// `name` is the name that was asked for, if one was, and `wanted` are the logs of the streams that have it.
    pub fn of(image: &Image, name: Option<&str>, wanted: &[StreamId]) -> Self {
        let entries = image.entries().into_iter();
        let own = entries.filter(|entry| wanted.contains(&entry.id));
        let streams = own
            .map(|entry| (entry.id, entry.shard, entry.settings.backend))
            .collect();
        Self {
            streams: name.map(|_| streams),
        }
    }

    /// Whether all was asked for, or a stream on that backend.
    pub fn has_backend(&self, kind: BackendKind) -> bool {
        self.any(|(_, _, backend)| *backend == kind)
    }

    /// Whether all was asked for, or a stream of that shard.
    pub fn has_shard(&self, number: ShardId) -> bool {
        self.any(|(_, shard, _)| *shard == number)
    }

    /// Whether a finding is, or may be, about what was asked for.
    pub fn has(&self, key: &str, finding: &Finding) -> bool {
        if !finding.concerned.is_empty() {
            return self.any(|(id, ..)| finding.concerned.iter().any(|of| of.log == id.0));
        }
        if let Some(of) = key.strip_prefix("log-") {
            return self.any(|(id, ..)| of.starts_with(&format!("{id}-")));
        }
        match finding.shard {
            Some(number) => self.has_shard(number),
            // Nothing tells which streams it had.
            None => true,
        }
    }

    /// Whether what makes no sense of the catalogue or of a backend concerns what was asked for.
    pub fn has_problem(&self, image: &Image, problem: &str) -> bool {
        match image.impairments().iter().find(|(_, why)| why == problem) {
            Some((kind, _)) => self.has_backend(*kind),
            None => self.streams.is_none(),
        }
    }

    /// How many things are wrong with other streams, as far as opening the store tells.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn others(&self, image: &Image) -> Result<u64> {
        let Some(own) = &self.streams else {
            return Ok(0);
        };
        let mut count = 0;
        for entry in image.entries() {
            if own.iter().any(|(id, ..)| *id == entry.id) {
                continue;
            }
            let ledger = image.saved_ledger(entry.id).map_err(Error::Unreadable)?;
            let is_lost = ledger.is_none_or(|ledger| ledger.unsettled() > 0);
            count += u64::from(entry.offline.is_some() || is_lost || image.has_lost(entry.id));
        }
        Ok(count)
    }

    fn any(&self, is: impl Fn(&(StreamId, ShardId, BackendKind)) -> bool) -> bool {
        self.streams.as_ref().is_none_or(|streams| streams.iter().any(is))
    }
}

/// How many things are wrong in a store beside these streams, as far as opening it tells.
///
/// # Errors
/// If the catalogue cannot be read.
pub(crate) fn beside(looking: &Looking, name: &str, own: &[StreamId]) -> Result<u64> {
    let image = &looking.image;
    let asked = Asked::of(image, Some(name), own);
    let mut count = asked.others(image)? + (looking.mended.len() + looking.broken_keys.len()) as u64;
    let problems = image.problems().iter().filter(|line| !asked.has_problem(image, line));
    count += problems.count() as u64;
    for shard in image.shards().into_iter().filter(|shard| !asked.has_shard(*shard)) {
        count += u64::from(image.journal(shard).is_err());
    }
    let findings = image.findings();
    Ok(count
        + findings
            .iter()
            .filter(|(key, finding)| !asked.has(key, finding))
            .count() as u64)
}

/// The same of a store that is open to be changed.
pub(crate) fn in_store(store: &Store, own: &[Chosen]) -> u64 {
    let catalogue = store.catalogue();
    let is_own = |id: StreamId| own.iter().any(|stream| stream.id == id);
    let offline = catalogue
        .all()
        .iter()
        .filter(|entry| entry.offline.is_some() && !is_own(entry.id))
        .count();
    let findings = catalogue.findings().into_iter().filter(|finding| {
        // Where nothing tells whom it concerns, it may be these.
        !finding.concerned.is_empty() && !finding.concerned.iter().any(|of| is_own(StreamId(of.log)))
    });
    (offline + findings.count()) as u64
}

/// The line that tells of it where a tool looks at one stream, or changes it; empty if there is nothing. Ends with a newline.
pub fn told(elsewhere: u64) -> String {
    match elsewhere {
        0 => String::new(),
        1 => "Elsewhere in the store 1 thing is wrong, which this leaves out: `weir inspect` names it.\n".to_owned(),
        count => format!(
            "Elsewhere in the store {count} things are wrong, which this leaves out: `weir inspect` names them.\n"
        ),
    }
}

/// The line that tells of it; empty if there is nothing. Ends with a newline.
pub(crate) fn line(elsewhere: u64) -> String {
    match elsewhere {
        0 => String::new(),
        1 => "\nElsewhere in the store 1 thing is wrong, which this leaves out: without --stream it is named.\n"
            .to_owned(),
        count => format!(
            "\nElsewhere in the store {count} things are wrong, which this leaves out: without --stream they are named.\n"
        ),
    }
}
