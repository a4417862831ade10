//! Damaged places in the logs of streams. Each can be settled once a server has noted what is lost with it: some cost nothing,
//! as where a record is damaged that was removed before.

use std::path::Path;

use weir_engine::stream::Stream;
use weir_engine::stream::ledger::Ledger;
use weir_engine::{Place, Seq};

/// What a log says of a damaged place, wherever the store stands.
pub(crate) fn relative(root: &Path, line: &str) -> String {
    line.replace(&format!("{}/", root.display()), "")
}

/// What is said of a damaged place that only checking all bytes finds.
pub(crate) fn line_of(place: &Place) -> String {
    format!("{}: offset {}: {}", place.file.display(), place.offset, place.what)
}

/// Whether a server has noted all that is lost of a stream's log, which once had everything up to `log_last`.
pub(crate) fn is_noted(ledger: &Ledger, stream: &Stream, log_last: Seq) -> bool {
    let there = stream.log_reader().extent().last;
    let cut = (there < log_last).then_some((there + 1, log_last));
    let lost = stream.log_lost().into_iter().map(|lost| (lost.first, lost.last));
    lost.chain(cut).all(|(first, last)| ledger.covers(first, last))
}
