//! Seeing to it that the server's certificates go with what their authorities say of them.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::Server;
use crate::conf::Options;
use crate::context::{Loaded, Tls};
use crate::error::{Error, Result};
use crate::ocsp::Staples;

/// What goes with certificates now, and the task that renews it.
#[derive(Default)]
pub(super) struct Stapling {
    staples: Option<Arc<Staples>>,
    task: Option<AbortHandle>,
}

impl Server {
    /// Refuses certificates that nothing can be got for, as far as that is known without asking anybody.
    ///
    /// # Errors
    /// It is not known who signed one.
    pub(super) fn check_staples(options: &Options, loaded: &Loaded) -> Result<Staples> {
        let all: Vec<&Arc<Tls>> = loaded.client.iter().chain(&loaded.websocket).collect();
        Staples::of(options, all).map_err(Error::Options)
    }

    /// Gets what is to go with the certificates of a start. Takes as long as responders do, within bounds.
    ///
    /// # Errors
    /// It cannot be had, or a certificate has to be good and is not.
    pub(crate) async fn begin_stapling(self: &Arc<Self>) -> Result<()> {
        let loaded = Loaded {
            client: self.context.tls.client(),
            websocket: self.context.tls.websocket(),
        };
        let staples = Self::check_staples(&self.options(), &loaded)?;
        self.obtain(&staples).await?;
        if !staples.is_empty() {
            tracing::info!("OCSP Stapling enabled for Client connections");
        }
        self.keep_stapled(staples);
        Ok(())
    }

    /// Gets what is to go with these certificates, in the place of those there are.
    ///
    /// # Errors
    /// As [`Server::begin_stapling`].
    pub(super) async fn obtain(&self, staples: &Staples) -> Result<()> {
        let before = self.stapling.lock().staples.clone();
        let mut stopped = self.context.status.stopping();
        tokio::select! {
            obtained = staples.obtain(before.as_deref(), &Timestamp::now) => obtained.map_err(Error::Options),
            // Responders have up to 20 s for each certificate, which a server that stops does not wait for.
            _ = stopped.wait_for(|stopped| *stopped) => Err(Error::Options("the server stops".to_owned())),
        }
    }

    /// Has these renewed from now on, and no others.
    pub(super) fn keep_stapled(self: &Arc<Self>, staples: Staples) {
        let staples = Arc::new(staples);
        let mut stapling = self.stapling.lock();
        if let Some(task) = stapling.task.take() {
            task.abort();
        }
        if !staples.is_empty() {
            let task = tokio::spawn(Arc::clone(self).renew_staples(Arc::clone(&staples)));
            stapling.task = Some(task.abort_handle());
        }
        stapling.staples = Some(staples);
    }

    async fn renew_staples(self: Arc<Self>, staples: Arc<Staples>) {
        let mut stopped = self.context.status.stopping();
        loop {
            tokio::select! {
                () = sleep(staples.pause(Timestamp::now())) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            let all_good = tokio::select! {
                all_good = staples.renew(&Timestamp::now) => all_good,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            if !all_good {
                // Of its own: a reload that comes now ends this task, and not that.
                tokio::spawn(async move { self.shutdown().await });
                return;
            }
        }
    }
}
