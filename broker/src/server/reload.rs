//! Going on with other options: all of them, or none.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Server, files, tenancy};
use crate::conf::Options;
use crate::conf::options::Changes;
use crate::context::Loaded;
use crate::error::{Error, Result};
use crate::interest::{Account, Bonds};
use crate::link::{CloseReason, Kind};

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
        Self::check_beside_the_store(&new)?;
        if changes.start_jetstream {
            Self::check_store(&new)?;
        }
        let loaded = Loaded::of(&new)?;
        let staples = Self::check_staples(&new, &loaded)?;
        self.obtain(&staples).await?;
        if changes.pid_file
            && let Some(path) = &new.pid_file
        {
            files::write(path, std::process::id().to_string())?;
            self.created(path.clone());
        }
        first(&new)?;
        let before = self.accounts.all();
        if changes.accounts {
            // Accounts that are new are there before anybody can come into them.
            tenancy::open(&new, &self.accounts);
        }
        let had_tls = self.context.tls.client().is_some();
        let other_files = self.context.tls.set(loaded);
        self.keep_stapled(staples);
        self.context.live.set(new);
        if changes.accounts {
            self.follow_accounts(&before).await;
        }
        if other_files && had_tls && !changes.tls {
            tracing::info!("Reloaded: tls = enabled");
        }
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
        if changes.stop_jetstream {
            self.close_jetstream().await;
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
        if changes.accounts {
            self.close_surplus();
        }
        if changes.fewer_connections {
            self.hall.sessions.set_max(Self::connection_room(&options));
            self.close_newest();
        }
        if changes.pinned {
            self.close_not_pinned();
        }
        if changes.proxies {
            let is_trusted = |key: &str| options.proxies.iter().any(|trusted| trusted == key);
            for session in self.clients() {
                if session.link.proxy().is_some_and(|key| !is_trusted(&key)) {
                    session
                        .link
                        .fail("Authorization Violation", CloseReason::ProxyNotTrusted);
                }
            }
        }
        if changes.trust
            && let Some(trust) = &self.hall.trust
        {
            trust.reload(&options.trust).await;
        }
        if changes.auth {
            for session in self.clients() {
                session.ask_again();
            }
        }
    }

    /// Closes connections whose certificates are not on the list any more.
    fn close_not_pinned(&self) {
        let Some(tls) = self.context.tls.client().filter(|tls| !tls.options.pinned.is_empty()) else {
            return;
        };
        let mut sessions = self.clients();
        sessions.retain(|session| {
            let facts = session.link.tls().filter(|_| session.link.kind == Kind::Plain);
            facts.is_some_and(|facts| !facts.is_pinned(&tls.options.pinned))
        });
        if !sessions.is_empty() {
            tracing::info!("Disconnect {} clients due to pinned certs reload", sessions.len());
        }
        for session in sessions {
            session.close(CloseReason::TlsHandshakeError);
        }
    }

    /// Has accounts share, map, limit and store what the new options say; those that are no longer there are left.
    async fn follow_accounts(&self, before: &[Arc<Account>]) {
        let options = self.options();
        if options.trust.is_on() {
            // Those that operators have signed come and go otherwise.
            return tenancy::share(&options, &self.accounts);
        }
        let gone = tenancy::gone(&options, &self.accounts);
        for account in &gone {
            self.accounts.close(account);
        }
        tenancy::share(&options, &self.accounts);
        for account in &gone {
            account.bind(Bonds::default());
        }
        for account in self.accounts.all() {
            let is_new = !before.iter().any(|known| Arc::ptr_eq(known, &account));
            if let (true, Some(witness)) = (is_new, self.hall.witness.get()) {
                witness.opened(&account);
            }
        }
        if let Some(jetstream) = self.jetstream.get() {
            jetstream.follow(&super::allowances(&options, &self.accounts)).await;
        }
    }

    /// Closes the youngest connections of accounts that may not have so many.
    fn close_surplus(&self) {
        let mut sessions = self.clients();
        sessions.retain(|session| session.is_connected());
        sessions.sort_unstable_by_key(|session| session.link.id);
        let mut counts: HashMap<String, usize> = HashMap::new();
        for session in sessions {
            let name = session.link.account();
            let most = self
                .accounts
                .get(&name)
                .and_then(|account| account.limits().connections);
            let count = counts.entry(name).or_default();
            *count += 1;
            if most.is_some_and(|most| *count > most) {
                session.link.fail(
                    "maximum account active connections exceeded",
                    CloseReason::MaxAccountConnectionsExceeded,
                );
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
