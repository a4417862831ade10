//! What concerns the streams that were asked for, and what is wrong elsewhere in the store: that is counted, so that nobody takes one
//! stream that is whole for a store that is.

use weir_engine::LogId;
use weir_engine::finding::Finding;
use weir_engine::image::Image;
use weir_engine::stream::settings::BackendKind;

use crate::error::{Error, Result};

/// Some streams of a store, or all of it.
pub(crate) struct Asked {
    /// Their logs, shards and backends; `None` if all was asked for.
    streams: Option<Vec<(LogId, usize, BackendKind)>>,
}

impl Asked {
    /// `name` is the name that was asked for, if one was, and `wanted` are the logs of the streams that have it.
    pub fn of(image: &Image, name: Option<&str>, wanted: &[LogId]) -> Self {
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
    pub fn has_shard(&self, number: usize) -> bool {
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

    fn any(&self, is: impl Fn(&(LogId, usize, BackendKind)) -> bool) -> bool {
        self.streams.as_ref().is_none_or(|streams| streams.iter().any(is))
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
