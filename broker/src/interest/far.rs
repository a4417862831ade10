//! Another server for tests: what it is sent can be read.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

use super::{Peer, Side, Standing, Subscription, Target};
use crate::link::pair::pair;

/// Another server, and what it reads.
pub(crate) struct Far {
    pub peer: Arc<Peer>,
    socket: TcpStream,
}

/// How another server stands to this one.
pub(crate) fn standing(number: u64, side: Side, cluster: &str, isolated: bool) -> Standing {
    Standing {
        number,
        side,
        cluster: cluster.into(),
        isolated,
    }
}

impl Far {
    /// One at the other end of a new link; within a runtime.
    pub fn new(standing: Standing) -> Self {
        let (link, socket) = pair(standing.number);
        let peer = Arc::new(Peer { link, standing });
        Self { peer, socket }
    }

    /// The lines that were written to it since this was last asked; bodies of messages stand as lines of their own.
    pub fn read(&mut self) -> Vec<String> {
        let (mut bytes, mut all) = (vec![0; 1 << 16], Vec::new());
        while let Ok(len @ 1..) = self.socket.read(&mut bytes) {
            all.extend_from_slice(&bytes[..len]);
        }
        let text = String::from_utf8(all).unwrap();
        assert!(text.is_empty() || text.ends_with("\r\n"), "a part of a line: {text:?}");
        text.split_terminator("\r\n").map(str::to_owned).collect()
    }

    /// A subscription of it, as a member of a queue group or not.
    pub fn wanting(&self, filter: &str, queue: Option<&str>) -> Arc<Subscription> {
        let target = Target::Peer(Arc::clone(&self.peer));
        Arc::new(Subscription::new(
            target,
            filter.as_bytes(),
            queue.map(str::as_bytes),
            b"",
        ))
    }
}
