//! What all parts of the server stand on, and nothing that stands on them.

mod clock;
mod connections;
mod counters;
mod homes;
mod identity;
mod listen;
mod live;
mod reloads;
mod status;
mod tls;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use weir_engine::shard::emit::ConsumerName;

pub use clock::Clock;
pub use connections::Connections;
pub use counters::{Counters, Traffic};
pub(crate) use homes::{Errand, Home, Homes};
pub use identity::Identity;
pub(crate) use listen::listen;
pub use live::Live;
pub use reloads::{Reloads, Wish};
pub use status::Status;
pub use tls::{Loaded, Tls, TlsNow};
pub(crate) use tls::{Shown, calling, is_signed};

use crate::conf::Options;
use crate::error::Result;

/// Wakes consumers of streams that waited for a client to have room.
pub type Rouse = Box<dyn Fn(Vec<Arc<ConsumerName>>) + Send + Sync>;

/// What one server's parts have in common. Put together once, before anything else.
pub struct Context {
    /// Who this server is.
    pub identity: Identity,
    /// How long it runs.
    pub clock: Clock,
    /// What it was told.
    pub live: Live,
    /// TLS, as that has it.
    pub tls: TlsNow,
    /// Wishes that what it was told be read again.
    pub reloads: Reloads,
    /// What it has counted.
    pub counters: Counters,
    /// Whether it is there, and where.
    pub status: Status,
    pub(crate) homes: Homes,
    rouse: ArcSwapOption<Rouse>,
}

impl Context {
    /// The ground for a server with these options; starts the threads that connections live on.
    ///
    /// # Errors
    /// The operating system has no room for those, or a certificate cannot be read.
    pub fn new(options: Options) -> Result<Arc<Self>> {
        let tls = TlsNow::new(Loaded::of(&options)?);
        let status = Status::default();
        let homes = Homes::start(&status.stopping())?;
        Ok(Arc::new(Self {
            identity: Identity::new(options.server_name.as_deref()),
            clock: Clock::start(),
            live: Live::new(options),
            tls,
            reloads: Reloads::default(),
            counters: Counters::default(),
            status,
            homes,
            rouse: ArcSwapOption::empty(),
        }))
    }

    /// Says who wakes consumers that wait for room, from now on.
    pub fn set_rouse(&self, rouse: Rouse) {
        self.rouse.store(Some(Arc::new(rouse)));
    }

    /// Wakes consumers that waited for a client to have room.
    pub(crate) fn rouse(&self, consumers: Vec<Arc<ConsumerName>>) {
        if let Some(rouse) = &*self.rouse.load() {
            rouse(consumers);
        }
    }
}
