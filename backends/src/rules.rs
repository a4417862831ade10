//! What every backend refuses in the same way, before it changes anything.

use weir_engine::{Error, LogChange, LogId, Record, Result, Seq};

/// Refuses a change that breaks the rules of [`LogChange`], for a log whose last sequence is `last`.
///
/// `u64::MAX` is never a sequence: an empty log's first is one above its last.
pub(crate) fn check(id: LogId, last: Seq, change: &LogChange<'_>) -> Result<()> {
    check_counts(id, change)?;
    let mut last = last;
    for record in change.append {
        let seq = record.seq;
        if seq <= last {
            return Err(Error::invalid(format!(
                "log {id}: sequence {seq} is not above the last one, {last}"
            )));
        }
        if seq == Seq::MAX {
            return Err(Error::invalid(format!("log {id}: {seq} cannot be a sequence")));
        }
        if record.head.len() > Record::HEAD_MAX {
            return Err(Error::invalid(format!(
                "log {id}: the head of sequence {seq} has {} bytes, more than {}",
                record.head.len(),
                Record::HEAD_MAX
            )));
        }
        if record.body.len() > Record::BODY_STORED_MAX {
            return Err(Error::invalid(format!(
                "log {id}: the body of sequence {seq} has {} bytes, more than {}",
                record.body.len(),
                Record::BODY_STORED_MAX
            )));
        }
        last = seq;
    }
    Ok(())
}

/// Refuses bodies that are told to count for what they cannot.
pub(crate) fn check_counts(id: LogId, change: &LogChange<'_>) -> Result<()> {
    if ![0, change.append.len()].contains(&change.counts.len()) {
        return Err(Error::invalid(format!("log {id}: not each body is counted")));
    }
    for (record, counts) in change.append.iter().zip(change.counts) {
        if *counts as usize > Record::BODY_STORED_MAX || (*counts == 0) != record.body.is_empty() {
            return Err(Error::invalid(format!(
                "log {id}: the body of sequence {} cannot count for {counts} bytes",
                record.seq
            )));
        }
    }
    Ok(())
}

/// A second writer of the same log.
pub(crate) fn already_open(id: LogId) -> Error {
    Error::invalid(format!("log {id} is open already: a log has one writer at a time"))
}

/// Removing a log under its writer.
pub(crate) fn still_open(id: LogId) -> Error {
    Error::invalid(format!("log {id} is open: close it before it is removed"))
}

/// A log that must exist does not.
pub(crate) fn missing(id: LogId) -> Error {
    Error::damaged(format!("log {id} is missing"))
}
