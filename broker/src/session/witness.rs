//! Somebody who is told of clients that come and go. What is done about it stands on higher floors.

use std::sync::Arc;

use crate::interest::Account;
use crate::link::{ClientInfo, CloseReason, Snapshot};

/// Is told of clients. Must not block, nor take a lock that a sender of messages may hold: it is called by the tasks of connections.
pub trait Witness: Send + Sync {
    /// CONNECT was accepted; `client` tells who it is.
    fn came(&self, client: ClientInfo);

    /// A connection has ended; `last` is what was last seen of it. `connected`: its CONNECT had been accepted.
    fn went(&self, client: ClientInfo, last: &Snapshot, reason: CloseReason, connected: bool);

    /// A client's certificate is not good by its authority's word, or one that it depends on is not: this one, if there is a chain. Both in
    /// DER.
    fn revoked(&self, own: &[u8], link: Option<&[u8]>, reason: &str);

    /// There is one more account.
    fn opened(&self, account: &Arc<Account>);

    /// The server goes down, after it has sent its clients away one by one (`gently`) or at once. May block, but not for long.
    fn leaving(&self, gently: bool);
}
