//! Journeys of traced messages, told to whoever asked for them.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::Value;
use weir_wire::headers::HeaderBuf;

use super::{Item, System};
use crate::interest::{Asked, Encoding, Event, Narrator, Told};
use crate::limits::JOURNEYS_WAITING_MAX;
use crate::routing::Courier;

/// A journey as nats-server tells it.
#[derive(Serialize)]
struct Journey<'a> {
    server: Value,
    request: &'a Asked,
    events: &'a [Event],
}

/// What waits to be told, in events.
pub(super) struct Waiting {
    events: AtomicUsize,
    queue: SyncSender<Item>,
}

impl Waiting {
    pub fn new(queue: SyncSender<Item>) -> Arc<Self> {
        let events = AtomicUsize::new(0);
        Arc::new(Self { events, queue })
    }

    /// One waits no more.
    pub fn taken(&self, told: Told) -> Told {
        self.events.fetch_sub(told.events.len(), Ordering::Relaxed);
        told
    }
}

impl Narrator for Waiting {
    fn tell(&self, told: Box<Told>) {
        let events = told.events.len();
        let before = self.events.fetch_add(events, Ordering::Relaxed);
        let sent = match before.saturating_add(events) <= JOURNEYS_WAITING_MAX {
            true => self.queue.try_send(Item::Traced(told)),
            false => Err(TrySendError::Full(Item::Traced(told))),
        };
        match sent {
            Ok(()) => return,
            // The server has ended.
            Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => tracing::debug!("too much waits to be told: a trace is dropped"),
        }
        self.events.fetch_sub(events, Ordering::Relaxed);
    }
}

impl System {
    /// Tells it, as whoever asked wants it packed.
    pub(super) fn tell_journey(&self, told: Told) {
        let journey = Journey {
            server: self.about.server(),
            request: &told.request,
            events: &told.events,
        };
        // Plain fields under names: that has no failure.
        let text = serde_json::to_vec(&journey).unwrap_or_default();
        let (encoding, packed) = match told.encoding {
            Encoding::Plain => (None, text),
            Encoding::Gzip => (Some("gzip"), gzip(&text)),
            Encoding::Snappy => (Some("snappy"), snappy(&text)),
            Encoding::Unknown => (Some("identity"), text),
        };
        let block = encoding.map(|encoding| HeaderBuf::new().add("Content-Encoding", encoding).finish());
        let to = told.to.as_bytes();
        let mut courier = Courier::new(told.account);
        courier.send(to, to, b"", block.as_deref().unwrap_or_default(), &packed);
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory has no failure.
    let _ = packer.write_all(text);
    packer.finish().unwrap_or_default()
}

/// The framing format of Snappy (`framing_format.txt`): a name, then frames of a kind, a length, a checksum, and a packed block.
fn snappy(text: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"\xff\x06\x00\x00sNaPpY";
    const BLOCK_MAX: usize = 64 << 10;
    let mut frames = NAME.to_vec();
    for block in text.chunks(BLOCK_MAX) {
        let small = minlz::encode_snappy(block);
        let (kind, data): (u8, &[u8]) = match small.len() < block.len() {
            true => (0, &small),
            false => (1, block),
        };
        // Of at most 64 KiB and the checksum: three bytes are enough.
        let len = (data.len() as u32 + 4).to_le_bytes();
        frames.push(kind);
        frames.extend_from_slice(&len[..3]);
        let sum = crc32c::crc32c(block).rotate_right(15).wrapping_add(0xa282_ead8);
        frames.extend_from_slice(&sum.to_le_bytes());
        frames.extend_from_slice(data);
    }
    frames
}

#[cfg(test)]
mod tests;
