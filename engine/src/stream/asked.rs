//! What a message's headers ask of the stream, read in one pass over the block.

use crate::headers;

/// The headers of a published message that a stream looks at (js-api, "Headers"), each with its first value. An empty
/// value counts as none, as with nats-server, but for `Nats-Batch-Commit` and `Nats-Schedule-Time-Zone`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'a> {
    /// `Nats-Msg-Id`
    pub id: Option<&'a [u8]>,
    /// `Nats-Expected-Stream`
    pub stream: Option<&'a [u8]>,
    /// `Nats-Expected-Last-Sequence`
    pub last_seq: Option<&'a [u8]>,
    /// `Nats-Expected-Last-Subject-Sequence`
    pub last_subject_seq: Option<&'a [u8]>,
    /// `Nats-Expected-Last-Subject-Sequence-Subject`
    pub last_subject: Option<&'a [u8]>,
    /// `Nats-Expected-Last-Msg-Id`
    pub last_id: Option<&'a [u8]>,
    /// `Nats-Rollup`
    pub rollup: Option<&'a [u8]>,
    /// `Nats-TTL`
    pub ttl: Option<&'a [u8]>,
    /// `Nats-Incr`
    pub incr: Option<&'a [u8]>,
    /// `Nats-Schedule`
    pub schedule: Option<&'a [u8]>,
    /// `Nats-Schedule-Target`
    pub schedule_target: Option<&'a [u8]>,
    /// `Nats-Schedule-Source`
    pub schedule_source: Option<&'a [u8]>,
    /// `Nats-Schedule-TTL`
    pub schedule_ttl: Option<&'a [u8]>,
    /// `Nats-Schedule-Rollup`
    pub schedule_rollup: Option<&'a [u8]>,
    /// `Nats-Schedule-Time-Zone`, which may be empty
    pub schedule_zone: Option<&'a [u8]>,
    /// `Nats-Schedule-Next`
    pub schedule_next: Option<&'a [u8]>,
    /// `Nats-Scheduler`
    pub scheduler: Option<&'a [u8]>,
    /// `Nats-Stream-Source`
    pub source: Option<&'a [u8]>,
    /// `Nats-Batch-Id`
    pub batch_id: Option<&'a [u8]>,
    /// `Nats-Batch-Sequence`
    pub batch_seq: Option<&'a [u8]>,
    /// `Nats-Batch-Commit`
    pub batch_commit: Option<&'a [u8]>,
    /// `Nats-Required-Api-Level`
    pub api_level: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    /// Reads a header block.
    pub fn read(block: &'a [u8]) -> Self {
        let mut asked = Self::default();
        for (name, value) in headers::each(block) {
            let Some(name) = name.strip_prefix(b"Nats-") else {
                continue;
            };
            let slot = match name {
                b"Msg-Id" => &mut asked.id,
                b"Expected-Stream" => &mut asked.stream,
                b"Expected-Last-Sequence" => &mut asked.last_seq,
                b"Expected-Last-Subject-Sequence" => &mut asked.last_subject_seq,
                b"Expected-Last-Subject-Sequence-Subject" => &mut asked.last_subject,
                b"Expected-Last-Msg-Id" => &mut asked.last_id,
                b"Rollup" => &mut asked.rollup,
                b"TTL" => &mut asked.ttl,
                b"Incr" => &mut asked.incr,
                b"Schedule" => &mut asked.schedule,
                b"Schedule-Target" => &mut asked.schedule_target,
                b"Schedule-Source" => &mut asked.schedule_source,
                b"Schedule-TTL" => &mut asked.schedule_ttl,
                b"Schedule-Rollup" => &mut asked.schedule_rollup,
                b"Schedule-Time-Zone" => &mut asked.schedule_zone,
                b"Schedule-Next" => &mut asked.schedule_next,
                b"Scheduler" => &mut asked.scheduler,
                b"Stream-Source" => &mut asked.source,
                b"Batch-Id" => &mut asked.batch_id,
                b"Batch-Sequence" => &mut asked.batch_seq,
                b"Batch-Commit" => &mut asked.batch_commit,
                b"Required-Api-Level" => &mut asked.api_level,
                _ => continue,
            };
            let keeps_empty = matches!(name, b"Batch-Commit" | b"Schedule-Time-Zone");
            if slot.is_none() && (!value.is_empty() || keeps_empty) {
                *slot = Some(value);
            }
        }
        asked
    }
}

/// A decimal number of a header, as nats-server reads it: `None` if it is anything else.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
