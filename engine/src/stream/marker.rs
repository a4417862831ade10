//! Delete markers: what is left of a subject whose last message grew too old or reached the end of its TTL, so that those
//! who follow the stream learn of it (ADR-43).

use bytes::Bytes;

use crate::error::{Kind, Result};
use crate::headers;
use crate::shard::turn::Turn;
use crate::stream::Stream;
use crate::stream::message::Marks;
use crate::stream::publish::{Publish, Ready, Rollup};
use crate::stream::ttl::Life;
use crate::types::{SECOND, Seq};

impl Stream {
    /// Whether expiring messages leave markers. To a sealed stream nothing can be added.
    pub(super) fn leaves_markers(&self) -> bool {
        self.messages.config.subject_delete_marker_ttl >= SECOND && !self.messages.config.sealed
    }

    /// The subject of a message whose removal has to leave a marker: it is the last of its subject, and neither a marker
    /// nor the purge of a key itself.
    pub(super) fn deserves_marker(&mut self, seq: Seq) -> Result<Option<Bytes>> {
        let Some(subject) = self.messages.subject_at(seq)? else {
            return Ok(None);
        };
        if self
            .messages
            .index
            .subject(&subject)?
            .is_none_or(|info| info.count != 1)
        {
            return Ok(None);
        }
        let is_marker = match self.messages.load(seq) {
            Ok(Some(message)) => is_marker(&message.headers),
            Ok(None) => return Ok(None),
            Err(error) if error.kind == Kind::Damaged => false,
            Err(error) => return Err(error),
        };
        Ok((!is_marker).then_some(subject))
    }

    /// Stores a marker, which replaces what its subject holds. It needs no room of its own, so limits do not refuse it.
    pub(super) fn leave_marker(&mut self, subject: Bytes, turn: &mut Turn<'_>) -> Result<()> {
        let seconds = self.messages.config.subject_delete_marker_ttl / SECOND;
        let block = format!(
            "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: {}\r\nNats-Rollup: sub\r\n\r\n",
            weir_duration::format(seconds.saturating_mul(SECOND))
        );
        let publish = Publish {
            subject,
            headers_len: block.len(),
            body: block.into(),
        };
        let marker = Ready {
            rollup: Some(Rollup::Subject),
            marks: Marks {
                life: Life::Seconds(seconds.unsigned_abs()),
                schedule: false,
            },
            ..Ready::plain(publish)
        };
        self.store(marker, turn).map(|_| ())
    }
}

/// Whether a message with these headers says itself that its subject is gone.
fn is_marker(block: &[u8]) -> bool {
    headers::get(block, "Nats-Marker-Reason").is_some_and(|reason| !reason.is_empty())
        || headers::get(block, "KV-Operation") == Some(b"PURGE")
}

#[cfg(test)]
mod tests;
