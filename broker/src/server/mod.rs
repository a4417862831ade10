//! The server: what was started, put together.

pub(crate) mod accept;
mod check;
pub mod descriptors;
mod ending;
pub(crate) mod files;
mod memory;
mod reload;
mod shares;
mod stapling;
mod tenancy;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::conf::Options;
use crate::conf::options::AccountJetStream;
use crate::context::{Connections, Context};
use crate::error::Result;
use crate::interest::{Account, Accounts};
use crate::jetstream::opening::Opening;
use crate::jetstream::{Allowances, JetStream, Needs, Running};
use crate::report::Reports;
use crate::session::auth::{ByCallout, ByOperator, ByOptions, ByWebSocket, Door};
use crate::session::{Gone, Hall, Session};
use crate::trust::Trust;
use shares::Shares;
use stapling::Stapling;

/// What each account may store. Where there is none but those that every server has, clients may store what they like; else
/// those do whose account says so.
fn allowances(options: &Options, accounts: &Accounts) -> Allowances {
    if options.trust.is_on() {
        return Allowances::new();
    }
    if accounts.are_two() {
        return Allowances::from([(accounts.global.name.clone(), AccountJetStream::default().into())]);
    }
    let system = &*accounts.system.name;
    let storing = options.accounts.iter().filter(|account| account.name != *system);
    storing
        .filter_map(|account| Some((account.name.as_str().into(), account.jetstream?.into())))
        .collect()
}

/// A running server. Made by [`Server::start`], ended by [`Server::shutdown`].
pub struct Server {
    /// What all its parts have in common.
    pub context: Arc<Context>,
    /// Its accounts.
    pub accounts: Arc<Accounts>,
    /// The account of clients that name none.
    pub global: Arc<Account>,
    /// JetStream, if it is on and has started.
    pub jetstream: Arc<Running>,
    /// What it tells of itself.
    pub reports: Arc<Reports>,
    hall: Arc<Hall>,
    opening: Arc<Opening>,
    /// The runtime that it was started in, for threads outside of it.
    runtime: Handle,
    /// Who imports from whom by tokens, and until when. Held while accounts are told what they share.
    sharing: Mutex<Shares>,
    /// What goes with the server's certificates.
    stapling: Mutex<Stapling>,
    /// Held while the server goes over to other options.
    reloading: tokio::sync::Mutex<()>,
    /// Files to remove at the end.
    created: Mutex<Vec<PathBuf>>,
}

impl Server {
    /// Puts a server together; nothing of it is open yet.
    pub(crate) fn new(options: Options) -> Result<Arc<Self>> {
        let connections_max = Self::connection_room(&options);
        let closed_max = options.max_closed_clients;
        let accounts = Arc::new(tenancy::accounts(&options));
        let context = Context::new(options)?;
        let trust = Trust::new(&context, &accounts)?;
        let door: Box<dyn Door> = match &trust {
            Some(trust) => Box::new(ByOperator::new(Arc::clone(&context), Arc::clone(trust))),
            None => Box::new(ByOptions::new(Arc::clone(&context), Arc::clone(&accounts))),
        };
        let guarded = |door: Box<dyn Door>| -> Box<dyn Door> {
            let (context, accounts) = (Arc::clone(&context), Arc::clone(&accounts));
            Box::new(ByCallout::new(context, accounts, trust.clone(), door))
        };
        let hall = Arc::new(Hall {
            context: Arc::clone(&context),
            accounts: Arc::clone(&accounts),
            sessions: Connections::new(connections_max, closed_max),
            gone: Gone::default(),
            witness: OnceLock::new(),
            narrator: OnceLock::new(),
            peers: Default::default(),
            door: guarded(door),
            trust: trust.clone(),
            websocket_door: match &trust {
                Some(_) => None,
                None => ByWebSocket::new(&context, &accounts).map(|door| guarded(Box::new(door))),
            },
        });
        let jetstream = Arc::default();
        let opening = Arc::default();
        Ok(Arc::new(Self {
            global: Arc::clone(&accounts.global),
            reports: Arc::new(Reports::new(&hall, &jetstream, &opening)),
            context,
            accounts,
            jetstream,
            hall,
            opening,
            runtime: Handle::current(),
            sharing: Mutex::default(),
            stapling: Mutex::default(),
            reloading: tokio::sync::Mutex::default(),
            created: Mutex::default(),
        }))
    }

    /// Connections at most, by these options and by the limit of open files.
    pub(crate) fn connection_room(options: &Options) -> usize {
        let wanted = options.max_connections.unwrap_or(usize::MAX);
        wanted.min(descriptors::connection_room(options.jetstream.enabled))
    }

    /// What it is told now.
    #[must_use]
    pub fn options(&self) -> Arc<Options> {
        self.context.live.get()
    }

    /// Where clients connect to; with the real port if the options left it open.
    #[must_use]
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.context.status.client_address()
    }

    /// Where clients come in by WebSocket, if they may.
    #[must_use]
    pub fn websocket_address(&self) -> Option<SocketAddr> {
        self.context.status.websocket_address()
    }

    /// Where the monitoring port is, if there is one.
    #[must_use]
    pub fn monitor_address(&self) -> Option<SocketAddr> {
        self.context.status.monitor_address()
    }

    /// True once the server has begun to go down, gently or not.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.context.status.is_leaving()
    }

    /// The connections there are now, in no particular order.
    #[must_use]
    pub fn clients(&self) -> Vec<Arc<Session>> {
        self.hall.sessions.all()
    }

    /// A connection by its number.
    #[must_use]
    pub fn client(&self, id: u64) -> Option<Arc<Session>> {
        self.hall.sessions.get(id)
    }

    /// What its sessions share.
    pub(crate) fn hall(&self) -> &Arc<Hall> {
        &self.hall
    }

    /// Who imports from whom by tokens, and until when. Held while accounts are told what they share.
    pub(crate) fn sharing(&self) -> &Mutex<Shares> {
        &self.sharing
    }

    /// How many connections there are.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.hall.sessions.count()
    }

    /// Connections at most, by the options and by the limit of open files.
    pub(crate) fn connections_max(&self) -> usize {
        self.hall.sessions.max()
    }

    /// Starts JetStream.
    pub(crate) async fn open_jetstream(&self) -> Result<()> {
        let options = self.options();
        let needs = Needs {
            options: options.jetstream.clone(),
            allowances: allowances(&options, &self.accounts),
            accounts_come: self.hall.trust.is_some(),
            accounts: Arc::clone(&self.accounts),
            runtime: self.runtime.clone(),
            server_name: self.context.identity.name.clone(),
            max_payload: options.max_payload,
            opening: Arc::clone(&self.opening),
        };
        let jetstream = JetStream::start(needs).await?;
        let consumers = Arc::downgrade(&jetstream);
        self.context.set_rouse(Box::new(move |waiting| {
            if let Some(jetstream) = consumers.upgrade() {
                jetstream.wake(waiting);
            }
        }));
        self.jetstream.set(Some(jetstream));
        self.context.status.set_jetstream(true);
        Ok(())
    }

    /// Stops JetStream, and lets go of its store.
    pub(crate) async fn close_jetstream(&self) {
        let Some(jetstream) = self.jetstream.set(None) else {
            return;
        };
        self.context.status.set_jetstream(false);
        tracing::info!("Initiating JetStream Shutdown...");
        jetstream.end_pulls().await;
        jetstream.stop().await;
        tracing::info!("JetStream Shutdown");
    }

    /// Removes a file that would go with the server.
    pub(crate) fn remove_created(&self, path: &Path) {
        self.created.lock().retain(|created| created != path);
        files::remove(path);
    }

    /// Notes a file that goes with the server.
    pub(crate) fn created(&self, path: PathBuf) {
        self.created.lock().push(path);
    }
}
