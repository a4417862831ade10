//! Memory that was let go of goes back to the system: what waited for clients that were slow, an index that was purged.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use weir_backends::allocator::Leftovers;

use super::Server;
use crate::limits::{MEMORY_PERIOD, MEMORY_SHARE};

impl Server {
    /// Looks from time to time, until the server stops.
    pub(crate) async fn keep_memory(self: Arc<Self>) {
        let mut stopped = self.context.status.stopping();
        let (mut leftovers, mut pause) = (Leftovers::default(), MEMORY_PERIOD);
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            // To give back half a GiB takes longer than connections should wait.
            let looked = spawn_blocking(move || {
                let begin = Instant::now();
                leftovers.tidy();
                (leftovers, begin.elapsed())
            });
            let Ok((looked, took)) = looked.await else { return };
            leftovers = looked;
            // Whoever wants memory waits meanwhile, and where it is in very many pieces that is no moment.
            pause = MEMORY_PERIOD.max(took * MEMORY_SHARE);
        }
    }
}
