//! Memory that was let go of goes back to the system: what waited for clients that were slow, an index that was purged.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use weir_backends::allocator::Leftovers;

use super::Server;
use crate::limits::MEMORY_PERIOD;

impl Server {
    /// Looks from time to time, until the server stops.
    pub(crate) async fn keep_memory(self: Arc<Self>) {
        let mut stopped = self.context.status.stopping();
        let mut leftovers = Leftovers::default();
        loop {
            tokio::select! {
                () = sleep(MEMORY_PERIOD) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            // To give back half a GiB takes longer than connections should wait.
            let looked = spawn_blocking(move || {
                leftovers.tidy();
                leftovers
            });
            let Ok(looked) = looked.await else { return };
            leftovers = looked;
        }
    }
}
