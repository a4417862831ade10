//! Start, lame duck mode, shutdown, and the janitor in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::conf::Options;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use super::{Server, files};
use crate::error::Result;
use crate::jetstream::JetStream;
use crate::limits::{JANITOR_PERIOD_MAX, JANITOR_PERIOD_MIN, LAME_DUCK_PAUSE_MAX, SHUTDOWN_PATIENCE};
use crate::session::CloseReason;
use crate::system::user_info;
use crate::{WEIR_VERSION, monitor};

impl Server {
    /// Starts a server in the current tokio runtime. When this returns, clients can connect.
    ///
    /// # Errors
    /// A port is in use, a file cannot be written, or the store cannot be opened. Nothing is left running then.
    pub async fn start(options: Options) -> Result<Arc<Self>> {
        let server = Self::new(options)?;
        server.banner();
        match server.open().await {
            Ok(()) => Ok(server),
            Err(error) => {
                server.shutdown().await;
                Err(error)
            }
        }
    }

    fn banner(&self) {
        tracing::info!("Starting weir-server");
        tracing::info!("  Version:  {WEIR_VERSION}");
        tracing::info!("  NATS:     {}", crate::NATS_VERSION);
        tracing::info!("  Name:     {}", self.name);
        tracing::info!("  ID:       {}", self.id);
        if let Some(file) = &self.options.config_file {
            tracing::info!("Using configuration file: {}", file.display());
        }
        if self
            .options
            .max_connections
            .is_some_and(|wanted| wanted > self.connections_max)
        {
            tracing::warn!(
                "The limit of open files leaves room for {} connections; raise it (ulimit -Hn) for more",
                self.connections_max
            );
        }
    }

    async fn open(self: &Arc<Self>) -> Result<()> {
        if let Some(path) = &self.options.pid_file {
            files::write(path, std::process::id().to_string())?;
            self.created.lock().push(path.clone());
        }
        if let Some(http) = &self.options.http {
            monitor::start(self, http).await?;
        }
        if self.options.jetstream.enabled {
            let jetstream = JetStream::start(self).await?;
            // Set once per server, here.
            let _ = self.jetstream.set(jetstream);
        }
        user_info::serve(self)?;
        let listener = self.open_client_port().await?;
        if let Some(address) = self.client_address() {
            tracing::info!("Listening for client connections on {address}");
        }
        self.write_ports_file()?;
        tokio::spawn(Arc::clone(self).accept(listener));
        tokio::spawn(Arc::clone(self).keep_house());
        tracing::info!("Server is ready");
        Ok(())
    }

    fn write_ports_file(&self) -> Result<()> {
        let Some(folder) = &self.options.ports_file_dir else {
            return Ok(());
        };
        let path = files::ports_path(folder);
        files::write(&path, files::ports_json(self).to_string())?;
        self.created.lock().push(path);
        Ok(())
    }

    /// Looks at every connection from time to time: see [`Client::visit`](crate::session::Client).
    async fn keep_house(self: Arc<Self>) {
        let shortest = self.options.ping_interval.min(self.options.auth.timeout);
        let period = (shortest / 8).clamp(JANITOR_PERIOD_MIN, JANITOR_PERIOD_MAX);
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = self.stopped.subscribe();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            let now = self.uptime_ns();
            for client in self.clients() {
                client.visit(now);
            }
        }
    }

    /// Stops accepting, tells clients to go elsewhere, closes those that stay one after the other, then shuts down: at once
    /// if there is no client. Returns when that is done, or when the server is shut down meanwhile.
    pub async fn lame_duck(self: &Arc<Self>) {
        if self.lame_duck.swap(true, Ordering::SeqCst) {
            return;
        }
        tracing::info!("Entering lame duck mode, stop accepting new clients");
        self.accepting.send_replace(false);
        let mut stopped = self.stopped.subscribe();
        let all_gone = tokio::select! {
            () = self.send_clients_away() => true,
            _ = stopped.wait_for(|stopped| *stopped) => false,
        };
        if all_gone {
            self.shutdown().await;
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
        let options = &self.options;
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
        if self.shutting_down.swap(true, Ordering::SeqCst) {
            return;
        }
        // A server that could not even start says why, and nothing else.
        let was_up = self.client_address().is_some();
        if was_up {
            tracing::info!("Initiating Shutdown...");
        }
        self.accepting.send_replace(false);
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
        self.stopped.send_replace(true);
    }

    async fn wait_for_clients(&self, patience: Duration) {
        let end = Instant::now() + patience;
        loop {
            let one_less = self.one_less.notified();
            if self.client_count() == 0 || timeout_at(end, one_less).await.is_err() {
                return;
            }
        }
    }

    /// Returns once the server has been shut down.
    pub async fn wait(&self) {
        // Fails only when the sender is gone, and the server that holds it is borrowed here.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }
}
