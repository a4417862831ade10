//! What the server tells of itself, for whoever asks: the monitoring port today.
//!
//! Who asks brings options and gets data; how it was asked and how it is answered is not known here.

mod absent;
pub mod accounts;
pub mod connz;
mod format;
pub mod healthz;
mod jsz;
mod metrics;
mod process;
pub mod queues;
mod sharing;
mod statsz;
pub mod subsz;
mod varz;

use std::sync::Arc;

use crate::context::Context;
use crate::interest::Accounts;
use crate::jetstream::Running;
use crate::jetstream::opening::Opening;
use crate::session::Hall;

pub use crate::jetstream::api::jsz::JszOptions;
/// A name for an event that no other one has.
pub(crate) use crate::jetstream::nuid as event_id;

/// All that reports are made from.
pub struct Reports {
    pub(crate) context: Arc<Context>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) hall: Arc<Hall>,
    pub(crate) jetstream: Arc<Running>,
    pub(crate) opening: Arc<Opening>,
    told_health: healthz::ToldHealth,
}

impl Reports {
    /// Reports on a server with these parts.
    #[must_use]
    pub fn new(hall: &Arc<Hall>, jetstream: &Arc<Running>, opening: &Arc<Opening>) -> Self {
        Self {
            context: Arc::clone(&hall.context),
            accounts: Arc::clone(&hall.accounts),
            hall: Arc::clone(hall),
            jetstream: Arc::clone(jetstream),
            opening: Arc::clone(opening),
            told_health: healthz::ToldHealth::default(),
        }
    }
}
