//! Which accounts there are.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Account, GLOBAL, SYSTEM};

/// All accounts, by name and by number.
pub struct Accounts {
    /// The account of clients that name none.
    pub global: Arc<Account>,
    /// The account of the server's own events.
    pub system: Arc<Account>,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    by_name: HashMap<Box<str>, Arc<Account>>,
    /// An account's number is its place. Numbers are not used twice: what somebody remembers of one account must not count for
    /// another.
    by_number: Vec<Arc<Account>>,
}

impl Known {
    fn open(&mut self, name: &str) -> Arc<Account> {
        if let Some(account) = self.by_name.get(name) {
            return Arc::clone(account);
        }
        let account = Account::new(name, self.by_number.len());
        self.by_name.insert(name.into(), Arc::clone(&account));
        self.by_number.push(Arc::clone(&account));
        account
    }
}

impl Default for Accounts {
    /// The two that every server has.
    fn default() -> Self {
        Self::new(SYSTEM)
    }
}

impl Accounts {
    /// The two that every server has, with this name for that of the server's own events.
    #[must_use]
    pub fn new(system: &str) -> Self {
        let mut known = Known::default();
        Self {
            global: known.open(GLOBAL),
            system: known.open(system),
            known: RwLock::new(known),
        }
    }

    /// Whether there is none but the two that every server has.
    #[must_use]
    pub fn are_two(&self) -> bool {
        self.known.read().by_number.len() == 2
    }

    /// The account of that name; it is made if it is not there.
    pub fn open(&self, name: &str) -> Arc<Account> {
        self.known.write().open(name)
    }

    /// The account of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Account>> {
        self.known.read().by_name.get(name).cloned()
    }

    /// The account of that [number](Account::number).
    #[must_use]
    pub fn numbered(&self, number: usize) -> Option<Arc<Account>> {
        self.known.read().by_number.get(number).cloned()
    }

    /// Every account, by number.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Account>> {
        self.known.read().by_number.clone()
    }
}

#[cfg(test)]
mod tests;
