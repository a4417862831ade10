//! Lame duck mode, shutdown, and the janitor until then.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Server, files, tenancy};
use crate::limits::{JANITOR_PERIOD_MAX, JANITOR_PERIOD_MIN, LAME_DUCK_PAUSE_MAX, SHUTDOWN_PATIENCE};
use crate::link::CloseReason;

impl Server {
    /// Looks at every connection from time to time: pings, authentication in time, memory.
    pub(crate) async fn keep_house(self: Arc<Self>) {
        let mut stopped = self.context.status.stopping();
        loop {
            let options = self.options();
            let shortest = options.ping_interval.min(options.auth.timeout);
            let period = (shortest / 8).clamp(JANITOR_PERIOD_MIN, JANITOR_PERIOD_MAX);
            tokio::select! {
                () = sleep(period) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            let rejected = self.context.tls.take_rejected();
            if rejected > 0 {
                tracing::warn!("Rejected {rejected} connections due to TLS rate limiting");
            }
            let now = self.context.clock.uptime_ns();
            for client in self.clients() {
                client.visit(now);
            }
            tenancy::sweep(&self.accounts);
        }
    }

    /// Stops accepting, tells clients to go elsewhere, closes those that stay one after the other, then shuts down: at once
    /// if there is no client. Returns when that is done, or when the server is shut down meanwhile.
    pub async fn lame_duck(self: &Arc<Self>) {
        if !self.context.status.begin_lame_duck() {
            return;
        }
        tracing::info!("Entering lame duck mode, stop accepting new clients");
        self.tell_leaving(true);
        self.context.status.stop_accepting();
        let mut stopped = self.context.status.stopping();
        let all_gone = tokio::select! {
            () = self.send_clients_away() => true,
            _ = stopped.wait_for(|stopped| *stopped) => false,
        };
        if all_gone {
            self.shutdown().await;
        }
    }

    fn tell_leaving(&self, gently: bool) {
        if let Some(witness) = self.hall.witness.get() {
            witness.leaving(gently);
        }
    }

    /// As nats-server: after the grace period a client at a time, spread over what is left of the duration, but never more
    /// than [`LAME_DUCK_PAUSE_MAX`] apart, so that few clients do not take long.
    async fn send_clients_away(self: &Arc<Self>) {
        let clients = self.clients();
        if clients.is_empty() {
            return;
        }
        for client in clients {
            client.announce_lame_duck();
        }
        let options = self.options();
        let grace = options.lame_duck_grace_period;
        sleep(grace).await;
        tracing::info!("Closing existing clients");
        let clients = self.clients();
        let count = u32::try_from(clients.len()).unwrap_or(u32::MAX);
        let longest = match options.lame_duck_duration.saturating_sub(grace) {
            Duration::ZERO => LAME_DUCK_PAUSE_MAX,
            rest => rest,
        };
        let pause = (longest / count.max(1)).min(LAME_DUCK_PAUSE_MAX);
        for client in clients {
            client.close(CloseReason::ServerShutdown);
            // Between half and all of it, so that clients do not all come back in step somewhere else.
            let pause = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
            if self.client_count_after(pause).await == 0 {
                return;
            }
        }
    }

    /// How many clients there are after `pause`, or as soon as there are none.
    async fn client_count_after(&self, pause: Duration) -> usize {
        self.wait_for_clients(pause).await;
        self.client_count()
    }

    /// Closes everything in order: the ports, the clients, JetStream, the files beside the store. Returns when it is done;
    /// a second call waits for nothing and does nothing.
    pub async fn shutdown(self: &Arc<Self>) {
        if !self.context.status.begin_shutdown() {
            return;
        }
        // A server that could not even start says why, and nothing else.
        let was_up = self.client_address().is_some();
        if was_up {
            tracing::info!("Initiating Shutdown...");
        }
        self.tell_leaving(false);
        self.context.status.stop_accepting();
        if let Some(jetstream) = self.jetstream.get() {
            jetstream.end_pulls().await;
        }
        for client in self.clients() {
            client.close(CloseReason::ServerShutdown);
        }
        self.wait_for_clients(SHUTDOWN_PATIENCE).await;
        if let Some(jetstream) = self.jetstream.get() {
            jetstream.stop().await;
        }
        for path in std::mem::take(&mut *self.created.lock()) {
            files::remove(&path);
        }
        if was_up {
            tracing::info!("Server Exiting..");
        }
        self.context.status.set_stopped();
    }

    async fn wait_for_clients(&self, patience: Duration) {
        let end = Instant::now() + patience;
        loop {
            let one_less = self.hall.sessions.one_less();
            if self.client_count() == 0 || timeout_at(end, one_less).await.is_err() {
                return;
            }
        }
    }

    /// Returns once the server has been shut down.
    pub async fn wait(&self) {
        // Fails only when the sender is gone, and the server that holds it is borrowed here.
        let _ = self.context.status.stopping().wait_for(|stopped| *stopped).await;
    }
}
