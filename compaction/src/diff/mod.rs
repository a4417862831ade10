//! Compares two stores: which streams they have, how these are configured, what they hold, message by message, and where their
//! consumers are. Nothing is written. One store is opened after the other, and let go of but for what the comparison needs of it: the
//! indexes of both are never in memory at a time.

mod ahead;
mod report;
mod side;
mod stream;
mod text;

use std::path::Path;

use weir_engine::store::OpeningProgress;

pub use report::{ConsumerDiff, Field, MessageDiff, Named, Part, Report, StreamDiff, Where};

use crate::error::{Error, Result};
use side::Side;

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
    let wanted = options.stream.as_deref();
    let a = Side::of(a, wanted, progress.clone())?;
    let b = Side::of(b, wanted, progress.clone())?;
    if let Some(wanted) = wanted
        && a.streams.is_empty()
        && b.streams.is_empty()
    {
        return Err(Error::NoSuchStream {
            wanted: wanted.to_owned(),
            there: a.there,
        });
    }
    let mut report = Report {
        a: a.root.clone(),
        b: b.root.clone(),
        only_in_a: a.only(&b),
        only_in_b: b.only(&a),
        streams: Vec::new(),
        elsewhere_in_a: a.elsewhere,
        elsewhere_in_b: b.elsewhere,
    };
    let mut of_b = b.streams;
    for (named, of_a) in a.streams {
        let Some(of_b) = of_b.remove(&named) else { continue };
        let compared = stream::compare(&named, of_a, of_b, progress.as_ref());
        report.streams.push(compared.map_err(Error::Unreadable)?);
    }
    Ok(report)
}
