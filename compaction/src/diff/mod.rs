//! Compares two stores: which streams they have, how these are configured, what they hold, message by message, and where their
//! consumers are. Nothing is written, and of each store no more than some messages are in memory.

mod report;
mod stream;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use weir_engine::LogId;
use weir_engine::store::OpeningProgress;

pub use report::{ConsumerDiff, Field, MessageDiff, Named, Part, Report, StreamDiff, Where};

use crate::error::{Error, Result};
use crate::image::Looking;

/// What to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only the streams of this name, in whatever account.
    pub stream: Option<String>,
}

/// Compares the stores in two directories: each a server's store directory, or the folder `weir` in it. `progress` is told how many
/// messages of a stream were read, and how many there are.
///
/// # Errors
/// If there is no store, a server has one of them open, a later version wrote it, neither has a stream of the wanted name, or a
/// catalogue or a stream's messages cannot be read at all.
pub fn diff(a: &Path, b: &Path, options: &Options, progress: Option<OpeningProgress>) -> Result<Report> {
    let mut a = Looking::at(a, progress.clone())?;
    let mut b = Looking::at(b, progress.clone())?;
    let wanted = options.stream.as_deref();
    let (of_a, of_b) = (streams(&a, wanted), streams(&b, wanted));
    if let Some(wanted) = wanted
        && of_a.is_empty()
        && of_b.is_empty()
    {
        // The error names those that are there.
        a.streams(Some(wanted))?;
    }
    let mut report = Report {
        a: a.store.root().to_path_buf(),
        b: b.store.root().to_path_buf(),
        only_in_a: only(&of_a, &of_b),
        only_in_b: only(&of_b, &of_a),
        streams: Vec::new(),
    };
    for (named, id) in &of_a {
        let Some(other) = of_b.get(named) else { continue };
        let (Some(of_a), Some(of_b)) = (a.image.stream(*id), b.image.stream(*other)) else {
            continue;
        };
        let compared = stream::compare(named, of_a, of_b, progress.as_ref());
        report.streams.push(compared.map_err(Error::Unreadable)?);
    }
    Ok(report)
}

fn streams(looking: &Looking, wanted: Option<&str>) -> BTreeMap<Named, LogId> {
    let entries = looking.image.entries().into_iter();
    let wanted = entries.filter(|entry| wanted.is_none_or(|name| *entry.name == *name));
    let named = wanted.map(|entry| {
        let named = Named {
            account: entry.account.to_string(),
            name: entry.name.to_string(),
        };
        (named, entry.id)
    });
    named.collect()
}

fn only(of: &BTreeMap<Named, LogId>, other: &BTreeMap<Named, LogId>) -> Vec<Named> {
    of.keys().filter(|named| !other.contains_key(named)).cloned().collect()
}
