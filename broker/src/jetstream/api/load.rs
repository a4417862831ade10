//! How many requests of the API are under way, and how many may be: nats-server's `request_queue_limit` and
//! `info_queue_limit`. What comes beyond is dropped, as there, and `$JS.EVENT.ADVISORY.API.LIMIT_REACHED` tells how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_conf::options;

use super::call::Call;

/// Requests that may be under way where the configuration does not say (nats-server's default).
const UNDER_WAY_MAX: u64 = 10_000;

/// The requests under way: those that only ask do not stand in the way of those that change something.
#[derive(Debug)]
pub struct ApiLoad {
    changing: Arc<Lane>,
    asking: Arc<Lane>,
}

#[derive(Debug)]
struct Lane {
    under_way: AtomicU64,
    limit: u64,
}

/// A request under way, until this is dropped.
#[derive(Debug)]
pub struct UnderWay(Arc<Lane>);

impl ApiLoad {
    /// None yet.
    pub fn new(options: &options::JetStream) -> Self {
        let limit = options.request_queue_limit.unwrap_or(UNDER_WAY_MAX);
        let lane = |limit| {
            Arc::new(Lane {
                under_way: AtomicU64::new(0),
                limit,
            })
        };
        Self {
            changing: lane(limit),
            asking: lane(options.info_queue_limit.unwrap_or(limit)),
        }
    }

    /// Lets a request in, unless there are too many.
    pub fn enter(&self, subject: &[u8]) -> Option<UnderWay> {
        let call = std::str::from_utf8(subject).ok().and_then(Call::parse);
        let lane = match call.is_some_and(Call::only_asks) {
            true => &self.asking,
            false => &self.changing,
        };
        if lane.under_way.fetch_add(1, Ordering::Relaxed) < lane.limit {
            return Some(UnderWay(Arc::clone(lane)));
        }
        lane.under_way.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_request_has_its_own_limit() {
        let load = ApiLoad::new(&options::JetStream {
            request_queue_limit: Some(1),
            info_queue_limit: Some(2),
            ..options::JetStream::default()
        });
        let changing = load.enter(b"$JS.API.STREAM.CREATE.A").unwrap();
        assert!(load.enter(b"$JS.API.CONSUMER.DELETE.A.B").is_none());
        let _asking = load.enter(b"$JS.API.STREAM.INFO.A").unwrap();
        let _another = load.enter(b"$JS.API.CONSUMER.LIST.A").unwrap();
        assert!(load.enter(b"$JS.API.INFO").is_none());
        drop(changing);
        assert!(load.enter(b"$JS.API.STREAM.PURGE.A").is_some());
    }
}
