//! What connections that are gone counted, by account. Those that live count for themselves.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::context::Traffic;
use crate::link::Snapshot;

/// The connections of one account that are gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past {
    /// What they sent and were sent.
    pub traffic: Traffic,
    /// How many of them were closed because they did not read fast enough.
    pub slow_consumers: u64,
}

/// All of them. There are as many as there are accounts that a client was in.
#[derive(Default)]
pub struct Gone(Mutex<HashMap<String, Past>>);

impl Gone {
    /// Another one is gone; this was last seen of it.
    pub(super) fn add(&self, last: &Snapshot) {
        let slow = last.stop.is_some_and(|(_, reason)| reason.is_slow());
        let mut all = self.0.lock();
        if !all.contains_key(&last.who.account) {
            all.insert(last.who.account.clone(), Past::default());
        }
        if let Some(past) = all.get_mut(&last.who.account) {
            past.traffic.add(&last.traffic);
            past.slow_consumers += u64::from(slow);
        }
    }

    /// Those of an account.
    #[must_use]
    pub fn of(&self, account: &str) -> Past {
        self.0.lock().get(account).copied().unwrap_or_default()
    }
}
