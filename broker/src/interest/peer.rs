//! Another server at the other end of a link.

use std::sync::Arc;

use super::Standing;
use crate::link::Link;

/// Another server, which has interest of its own in one account.
pub struct Peer {
    /// The connection to it.
    pub(crate) link: Arc<Link>,
    /// What decides what it is told and given.
    pub(crate) standing: Standing,
}
