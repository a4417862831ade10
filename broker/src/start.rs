//! Starting a server: its parts come up one after the other, monitoring first.

use std::sync::Arc;

use crate::conf::Options;
use crate::conf::options::First;
use crate::error::Result;
use crate::monitor::{self, Pages};
use crate::server::accept::Entrance;
use crate::server::{Server, files};
use crate::system::{self, user_info};
use crate::version::{NATS_VERSION, WEIR_VERSION};

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
        let options = self.options();
        tracing::info!("Starting weir-server");
        tracing::info!("  Version:  {WEIR_VERSION}");
        tracing::info!("  NATS:     {}", NATS_VERSION);
        tracing::info!("  Name:     {}", self.context.identity.name);
        tracing::info!("  ID:       {}", self.context.identity.id);
        if let Some(file) = &options.config_file {
            tracing::info!("Using configuration file: {}", file.display());
        }
        for warning in &options.warnings {
            tracing::warn!("{warning}");
        }
        if options
            .max_connections
            .is_some_and(|wanted| wanted > self.connections_max())
        {
            tracing::warn!(
                "The limit of open files leaves room for {} connections; raise it (ulimit -Hn) for more",
                self.connections_max()
            );
        }
    }

    fn tell_tls(&self) {
        let options = self.options();
        let Some(tls) = &options.tls else {
            return;
        };
        let only_first = tls.first == First::Yes;
        match options.allow_non_tls && !only_first {
            true => tracing::info!("TLS available for client connections"),
            false => tracing::info!("TLS required for client connections"),
        }
        if only_first {
            tracing::warn!("Clients that are not using \"TLS Handshake First\" option will fail to connect");
        }
    }

    async fn open(self: &Arc<Self>) -> Result<()> {
        let options = self.options();
        self.begin_stapling().await?;
        if let Some(listen) = options.http.as_ref().or(options.https.as_ref()) {
            monitor::start(&self.context, &self.reports, listen, Pages::Monitoring).await?;
        }
        if let Some(profiles) = &options.profiling {
            monitor::start(&self.context, &self.reports, profiles, Pages::Profiles).await?;
        }
        if options.jetstream.enabled {
            self.open_jetstream().await?;
        }
        if options.has_system_account() {
            user_info::serve(&self.context, &self.accounts)?;
            let services = system::start(self.hall(), &self.reports)?;
            self.find_accounts(services).await?;
        }
        let listener = self.open_client_port().await?;
        if let Some(address) = self.client_address() {
            tracing::info!("Listening for client connections on {address}");
        }
        self.tell_tls();
        let websocket = self.open_websocket_port().await?;
        if let Some(address) = self.websocket_address() {
            let tls = options
                .websocket
                .as_ref()
                .is_some_and(|websocket| websocket.tls.is_some());
            let scheme = if tls { "wss" } else { "ws" };
            tracing::info!("Listening for websocket clients on {scheme}://{address}");
            if !tls {
                tracing::warn!("Websocket not configured with TLS. DO NOT USE IN PRODUCTION!");
            }
        }
        // Only now: a start that fails leaves the file of the server that runs.
        if let Some(path) = &options.pid_file {
            files::write(path, std::process::id().to_string())?;
            self.created(path.clone());
        }
        self.write_ports_file()?;
        tokio::spawn(Arc::clone(self).accept(listener, Entrance::Plain));
        if let Some((listener, entrance)) = websocket {
            tokio::spawn(Arc::clone(self).accept(listener, entrance));
        }
        tokio::spawn(Arc::clone(self).keep_house());
        tokio::spawn(Arc::clone(self).keep_memory());
        tracing::info!("Server is ready");
        Ok(())
    }
}
