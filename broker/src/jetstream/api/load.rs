//! What of the API is under way, and how much may be: nats-server's `request_queue_limit` and `info_queue_limit`, and bounds
//! of Weir's own on bytes, on direct gets and on what one connection may have. What comes beyond is refused at once.
//!
//! Answers are made when there is room for them: of one connection one heavy answer at a time, after what it was sent before
//! has left; of all connections [`HEAVY_AT_ONCE`], in the order in which connections ask.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_conf::options;

use super::call::Call;
use crate::link::Link;

/// Requests that may be under way where the configuration does not say (nats-server's default).
const UNDER_WAY_MAX: u64 = 10_000;
/// Direct gets that may be under way.
const DIRECT_MAX: u64 = 32_768;
/// One connection may have a request under way as long as it has less than this part of a bound: the second one finds room.
const CONNECTION_PART: u64 = 2;
/// Bytes of the payloads of all requests under way.
const BYTES_MAX: u64 = 64 << 20;
/// Heavy answers, or portions of batches, that are made at once.
const HEAVY_AT_ONCE: usize = 2;
/// Portions of single direct gets that are read at once.
const LIGHT_AT_ONCE: usize = 32;
/// Bytes waiting for a client above which nothing more is made for it.
const CLIENT_ROOM: usize = 8 << 20;
/// How often it is looked whether a client has taken what waits for it.
const ROOM_POLL: Duration = Duration::from_millis(5);

/// What a request does. Those of one kind do not stand in the way of the others.
#[derive(Clone, Copy, Debug)]
enum Lane {
    Changing,
    Asking,
    Direct,
}

const LANES: usize = 3;

/// The requests under way.
#[derive(Debug)]
pub struct ApiLoad {
    limits: [u64; LANES],
    counts: Arc<Mutex<Counts>>,
    heavy: Arc<Semaphore>,
    light: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Counts {
    all: Count,
    /// By the number of the connection; 0 for the server itself. Those that have something under way.
    connections: HashMap<u64, (Count, Arc<Semaphore>)>,
}

#[derive(Debug, Default)]
struct Count {
    requests: [u64; LANES],
    bytes: u64,
}

impl Count {
    fn add(&mut self, lane: Lane, bytes: u64) {
        self.requests[lane as usize] += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, lane: Lane, bytes: u64) {
        self.requests[lane as usize] -= 1;
        self.bytes -= bytes;
    }

    fn is_zero(&self) -> bool {
        self.requests == [0; LANES]
    }
}

/// A request under way, until this is dropped.
#[derive(Debug)]
pub struct UnderWay {
    counts: Arc<Mutex<Counts>>,
    lane: Lane,
    bytes: u64,
    connection: u64,
    /// Of the connection: one heavy answer at a time.
    turn: Arc<Semaphore>,
}

impl ApiLoad {
    /// Nothing is under way yet.
    pub fn new(options: &options::JetStream) -> Self {
        let limit = options.request_queue_limit.unwrap_or(UNDER_WAY_MAX);
        Self {
            limits: [limit, options.info_queue_limit.unwrap_or(limit), DIRECT_MAX],
            counts: Arc::default(),
            heavy: Arc::new(Semaphore::new(HEAVY_AT_ONCE)),
            light: Arc::new(Semaphore::new(LIGHT_AT_ONCE)),
        }
    }

    /// Requests under way: those that change something, those that only ask, and direct gets.
    #[must_use]
    pub fn under_way(&self) -> [u64; LANES] {
        self.counts.lock().all.requests
    }

    /// Lets a request of the API in, unless there are too many.
    pub fn enter(&self, subject: &[u8], payload: usize, connection: u64) -> Option<UnderWay> {
        let call = std::str::from_utf8(subject).ok().and_then(Call::parse);
        let lane = match call.is_some_and(Call::only_asks) {
            true => Lane::Asking,
            false => Lane::Changing,
        };
        self.take(lane, payload, connection)
    }

    /// Lets a direct get in, unless there are too many.
    pub fn enter_direct(&self, payload: usize, connection: u64) -> Option<UnderWay> {
        self.take(Lane::Direct, payload, connection)
    }

    fn take(&self, lane: Lane, payload: usize, connection: u64) -> Option<UnderWay> {
        let (bytes, limit) = (payload as u64, self.limits[lane as usize]);
        let mut counts = self.counts.lock();
        let counts = &mut *counts;
        if counts.all.requests[lane as usize] >= limit || counts.all.bytes.saturating_add(bytes) > BYTES_MAX {
            return None;
        }
        let entry = counts.connections.entry(connection);
        let (own, turn) = entry.or_insert_with(|| (Count::default(), Arc::new(Semaphore::new(1))));
        let allowed = own.requests[lane as usize] < limit.div_ceil(CONNECTION_PART)
            && (own.is_zero() || own.bytes.saturating_add(bytes) <= BYTES_MAX / CONNECTION_PART);
        if !allowed {
            return None;
        }
        own.add(lane, bytes);
        counts.all.add(lane, bytes);
        Some(UnderWay {
            counts: Arc::clone(&self.counts),
            lane,
            bytes,
            connection,
            turn: Arc::clone(turn),
        })
    }

    /// Waits until a heavy answer, or a portion of one, may be made. The connection has its [turn](UnderWay::turn).
    pub async fn heavy(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.heavy).acquire_owned().await.ok()
    }

    /// Waits until a portion of single direct gets may be read.
    pub async fn light(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.light).acquire_owned().await.ok()
    }
}

impl UnderWay {
    /// Waits until no other heavy answer is made for the same connection.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turn).acquire_owned().await.ok()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        counts.all.remove(self.lane, self.bytes);
        if let Some((own, _)) = counts.connections.get_mut(&self.connection) {
            own.remove(self.lane, self.bytes);
            if own.is_zero() {
                counts.connections.remove(&self.connection);
            }
        }
    }
}

/// Waits until a client has taken most of what it was sent. False if it has gone: nobody wants the answer.
pub async fn room_for(client: Option<&Arc<Link>>) -> bool {
    let Some(client) = client else { return true };
    loop {
        match client.pending_bytes() {
            None => return false,
            Some(pending) if pending <= CLIENT_ROOM => return true,
            Some(_) => tokio::time::sleep(ROOM_POLL).await,
        }
    }
}

#[cfg(test)]
mod tests;
