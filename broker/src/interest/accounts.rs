//! Which accounts there are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::{Account, GLOBAL, SYSTEM};

/// All accounts, by name and by number.
pub struct Accounts {
    /// The account of clients that name none.
    pub global: Arc<Account>,
    /// The account of the server's own events.
    pub system: Arc<Account>,
    known: RwLock<Known>,
    era: AtomicUsize,
}

#[derive(Default)]
struct Known {
    by_name: HashMap<Box<str>, Arc<Account>>,
    /// Numbers are not used twice: what somebody remembers of one account must not count for
    /// another.
    by_number: BTreeMap<usize, Arc<Account>>,
    next: usize,
}

impl Known {
    fn open(&mut self, name: &str) -> Arc<Account> {
        if let Some(account) = self.by_name.get(name) {
            return Arc::clone(account);
        }
        let account = Account::new(name, self.next);
        self.next += 1;
        self.by_name.insert(name.into(), Arc::clone(&account));
        self.by_number.insert(account.number, Arc::clone(&account));
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
            era: AtomicUsize::new(0),
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

    /// Forgets an account: whoever comes with its name from now on is in another one. The two that every server has stay.
    pub fn close(&self, account: &Arc<Account>) {
        if Arc::ptr_eq(account, &self.global) || Arc::ptr_eq(account, &self.system) {
            return;
        }
        let mut known = self.known.write();
        self.era.fetch_add(1, Ordering::Release);
        known.by_number.remove(&account.number);
        if known
            .by_name
            .get(&account.name)
            .is_some_and(|found| Arc::ptr_eq(found, account))
        {
            known.by_name.remove(&account.name);
        }
    }

    /// Changes whenever an account is forgotten: what is remembered of accounts by their names is void then.
    #[must_use]
    pub fn era(&self) -> usize {
        self.era.load(Ordering::Acquire)
    }

    /// The account of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Account>> {
        self.known.read().by_name.get(name).cloned()
    }

    /// The account of that [number](Account::number).
    #[must_use]
    pub fn numbered(&self, number: usize) -> Option<Arc<Account>> {
        self.known.read().by_number.get(&number).cloned()
    }

    /// Every account, by number.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Account>> {
        self.known.read().by_number.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
