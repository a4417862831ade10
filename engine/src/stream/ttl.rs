//! `Nats-TTL`: how long a message lives, whatever the stream's limits say (ADR-43).

use crate::error::Result;
use crate::headers;
use crate::reject::{self, Rejection};
use crate::stream::Stream;
use crate::stream::asked::Asked;
use crate::stream::publish::Ready;
use crate::types::{NanoTime, SECOND};

/// How long a message lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// As long as the stream's limits let it.
    #[default]
    Limits,
    /// So many seconds at most.
    Seconds(u64),
    /// However old it grows, `max_age` lets it be.
    Never,
}

impl Life {
    /// When a message of that time is over; `None` if its life has no end of its own.
    pub(crate) fn end(self, time: NanoTime) -> Option<NanoTime> {
        let Self::Seconds(ttl) = self else { return None };
        let nanos = i64::try_from(ttl).unwrap_or(i64::MAX).saturating_mul(SECOND);
        Some(time.saturating_add(nanos))
    }
}

/// Reads a `Nats-TTL`: `never`, a duration as Go writes it of a second at least, of which only whole seconds count, or a
/// number of seconds, of which 0 says nothing.
///
/// # Errors
/// [`reject::MESSAGE_TTL_INVALID`].
pub(super) fn parse(value: &[u8]) -> Result<Life, Rejection> {
    if value.eq_ignore_ascii_case(b"never") {
        return Ok(Life::Never);
    }
    let text = std::str::from_utf8(value).map_err(|_| reject::MESSAGE_TTL_INVALID)?;
    if let Ok(nanos) = weir_duration::parse(text) {
        return match nanos >= SECOND {
            true => Ok(Life::Seconds((nanos / SECOND) as u64)),
            false => Err(reject::MESSAGE_TTL_INVALID),
        };
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<i64>() {
        Ok(0) if digits => Ok(Life::Limits),
        Ok(seconds) if digits => Ok(Life::Seconds(seconds.unsigned_abs())),
        // More than that many seconds is as good as that many.
        Err(_) if digits => Ok(Life::Seconds(i64::MAX.unsigned_abs())),
        _ => Err(reject::MESSAGE_TTL_INVALID),
    }
}

/// The life that a header block gives its message; what makes no sense gives none.
pub(super) fn life_of(block: &[u8]) -> Life {
    headers::get(block, "Nats-TTL")
        .filter(|value| !value.is_empty())
        .and_then(|value| parse(value).ok())
        .unwrap_or_default()
}

impl Stream {
    /// `Nats-TTL`: whether there may be one. What it says is read when the message is about to be stored.
    pub(super) fn check_ttl(&self, asked: &Asked<'_>) -> Result<()> {
        match asked.ttl.map(parse) {
            Some(Ok(life)) if life != Life::Limits && !self.messages.config.allow_msg_ttl => {
                Err(reject::MESSAGE_TTL_DISABLED.into())
            }
            _ => Ok(()),
        }
    }

    /// `Nats-TTL` of a message of a batch: whether there may be one, and whether it makes sense.
    pub(super) fn check_staged_ttl(&self, asked: &Asked<'_>) -> Result<()> {
        match asked.ttl.map(parse) {
            None | Some(Ok(Life::Limits)) => Ok(()),
            Some(_) if !self.messages.config.allow_msg_ttl => Err(reject::MESSAGE_TTL_DISABLED.into()),
            Some(life) => Ok(life.map(|_| ())?),
        }
    }

    /// Gives a message the life it asks for. Where delete markers are kept, one shorter than theirs is prolonged: a marker
    /// of its subject could be missed otherwise.
    ///
    /// # Errors
    /// [`reject::MESSAGE_TTL_INVALID`].
    pub(super) fn settle_ttl(&self, ttl: &[u8], ready: &mut Ready) -> Result<()> {
        let config = &self.messages.config;
        let least = (config.subject_delete_marker_ttl / SECOND).max(0) as u64;
        let mut life = parse(ttl)?;
        if let Life::Seconds(ttl) = life
            && ttl < least
            && config.max_msgs_per_subject != 1
        {
            let block = headers::remove(&ready.body[..ready.headers_len], "Nats-TTL");
            let block = headers::insert(&block, "Nats-TTL", least.to_string());
            ready.body = [&block, &ready.body[ready.headers_len..]].concat().into();
            ready.headers_len = block.len();
            life = Life::Seconds(least);
        }
        ready.marks.life = life;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
