//! Who wants what: accounts, their subscriptions, and the parts of the server that subscribe like clients.

mod account;
mod accounts;
mod answers;
mod bonds;
#[cfg(test)]
pub(crate) mod far;
mod feed;
mod journey;
mod keep;
mod origin;
mod own;
mod peer;
mod reach;
mod subscription;
mod watch;
mod work;

pub(crate) use account::Seat;
pub use account::{Account, ApiCounters, GLOBAL, Limits, SYSTEM, Traces};
pub use accounts::Accounts;
pub(crate) use answers::{ANSWERS, Answer, Measure, Question};
pub use bonds::{Binder, Bonds, Export, ServiceBond, StreamBond};
pub use journey::{Asked, Encoding, Event, Journey, Narrator, Told};
pub(crate) use journey::{DEST, DISABLED, Missed, Visit, Wish, is_wished};
pub(crate) use keep::{Blocks, Chunk, is_most};
#[cfg(test)]
pub(crate) use origin::Side;
pub(crate) use origin::{Origin, Standing, What, may_cross};
pub(crate) use own::NotAdded;
pub use own::Own;
pub use peer::Peer;
pub use subscription::{Inbound, Service, Shadow, Subscription, Target};
pub use watch::{Wake, WatchKey};
pub use work::{Tray, Work};
