//! Going on with other options: all of them, or none.

use std::sync::Arc;

use super::{Server, files};
use crate::conf::Options;
use crate::conf::options::Changes;
use crate::error::{Error, Result};
use crate::link::CloseReason;

impl Server {
    /// Goes on with these options. `first` does what is not the server's, the log for instance, when it is known that the
    /// server can; connections that may no longer do what they did lose it.
    ///
    /// # Errors
    /// The options are wrong on this machine, something is different that takes a restart, or `first` failed. Nothing has
    /// changed then.
    pub async fn reload(self: &Arc<Self>, mut new: Options, first: impl FnOnce(&Options) -> Result<()>) -> Result<()> {
        let _alone = self.reloading.lock().await;
        let old = self.options();
        let changes = Changes::find(&old, &mut new).map_err(|error| Error::Options(error.to_string()))?;
        Self::check(&new)?;
        if changes.pid_file
            && let Some(path) = &new.pid_file
        {
            files::write(path, std::process::id().to_string())?;
            self.created(path.clone());
        }
        first(&new)?;
        self.context.live.set(new);
        for said in &changes.said {
            tracing::info!("Reloaded: {said}");
        }
        self.follow(&old, &changes).await;
        tracing::info!("Reloaded server configuration");
        Ok(())
    }

    /// Does what the new options ask for.
    async fn follow(self: &Arc<Self>, old: &Options, changes: &Changes) {
        let options = self.options();
        for warning in options
            .warnings
            .iter()
            .filter(|warning| !old.warnings.contains(warning))
        {
            tracing::warn!("{warning}");
        }
        if changes.pid_file
            && let Some(path) = &old.pid_file
        {
            self.remove_created(path);
        }
        if changes.ports_file {
            if let Some(folder) = &old.ports_file_dir {
                self.remove_created(&files::ports_path(folder));
            }
            if let Err(error) = self.write_ports_file() {
                tracing::error!("{error}");
            }
        }
        if changes.start_jetstream
            && let Err(error) = self.open_jetstream().await
        {
            tracing::error!("{error}");
        }
        if changes.protocol {
            for session in self.clients() {
                session.follow(&options);
            }
        }
        if changes.fewer_connections {
            self.hall.sessions.set_max(Self::connection_room(&options));
            self.close_newest();
        }
        if changes.auth {
            for session in self.clients() {
                session.ask_again();
            }
        }
    }

    /// Closes the youngest of the connections that are too many.
    fn close_newest(&self) {
        let mut sessions = self.clients();
        sessions.sort_unstable_by_key(|session| session.link.id);
        for session in sessions.iter().skip(self.connections_max()) {
            session
                .link
                .fail("maximum connections exceeded", CloseReason::MaxConnectionsExceeded);
        }
    }
}
