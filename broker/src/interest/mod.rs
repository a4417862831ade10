//! Who wants what: accounts, their subscriptions, and the parts of the server that subscribe like clients.

mod account;
mod accounts;
mod keep;
mod own;
mod subscription;
mod watch;
mod work;

pub(crate) use account::Seat;
pub use account::{Account, GLOBAL, Limits, SYSTEM};
pub use accounts::Accounts;
pub(crate) use keep::{Blocks, Chunk, is_most};
pub(crate) use own::NotAdded;
pub use own::Own;
pub use subscription::{Inbound, Service, Subscription, Target};
pub use watch::{Wake, WatchKey};
pub use work::{Tray, Work};
