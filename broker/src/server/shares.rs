//! Who imports from whom by the accounts' tokens: what a change of one of many accounts concerns.

use std::collections::{HashMap, HashSet};

use tokio::task::AbortHandle;

/// Imports between accounts, by their names. Those that import nothing, and of which nobody imports, are not in it.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// Who imports from an account.
    importers: HashMap<Box<str>, HashSet<Box<str>>>,
    /// From whom an account imports.
    exporters: HashMap<Box<str>, Vec<Box<str>>>,
    /// When the next activation of an account's imports ends, in seconds since 1970.
    ends: HashMap<Box<str>, i64>,
    /// What waits for the next of all.
    pub waiting: Option<AbortHandle>,
}

impl Shares {
    /// From now on `account` imports from these, and from nobody else.
    pub fn note<'a>(&mut self, account: &str, exporters: impl Iterator<Item = &'a str>) {
        for before in self.exporters.remove(account).unwrap_or_default() {
            if let Some(importers) = self.importers.get_mut(&before) {
                importers.remove(account);
                if importers.is_empty() {
                    self.importers.remove(&before);
                }
            }
        }
        let mut now: Vec<Box<str>> = exporters.map(Box::from).collect();
        now.sort_unstable();
        now.dedup();
        for exporter in &now {
            let importers = self.importers.entry(exporter.clone()).or_default();
            importers.insert(account.into());
        }
        if !now.is_empty() {
            self.exporters.insert(account.into(), now);
        }
    }

    /// From now on the next activation of `account` ends at that time; `None`: none does.
    pub fn expect_end(&mut self, account: &str, end: Option<i64>) {
        match end {
            Some(end) => self.ends.insert(account.into(), end),
            None => self.ends.remove(account),
        };
    }

    /// When the next activation of all ends.
    pub fn next_end(&self) -> Option<i64> {
        self.ends.values().min().copied()
    }

    /// The accounts of which an activation has ended by `now`.
    pub fn due(&self, now: i64) -> Vec<Box<str>> {
        let over = self.ends.iter().filter(|(_, end)| **end <= now);
        over.map(|(name, _)| name.clone()).collect()
    }

    /// The accounts that are given what they share anew when these change: those that import from them, directly or through others, and
    /// they themselves, who are the last: what the others share was there before.
    pub fn concerned(&self, mut changed: Vec<Box<str>>) -> Vec<Box<str>> {
        let of = |name: &str| self.importers.get(name).into_iter().flatten();
        let mut all = reached(&changed, of);
        all.sort_unstable();
        all.append(&mut changed);
        all
    }

    /// The accounts, none of these, that these import from, directly or through others: what they may share depends on those too.
    pub fn beneath(&self, these: &[Box<str>]) -> Vec<Box<str>> {
        let mut all = reached(these, |name| self.exporters.get(name).into_iter().flatten());
        all.sort_unstable();
        all
    }
}

/// All that is found from these on, step by step, and is none of them.
fn reached<'a, I>(from: &[Box<str>], of: impl Fn(&str) -> I) -> Vec<Box<str>>
where
    I: Iterator<Item = &'a Box<str>>,
{
    let mut seen: HashSet<Box<str>> = from.iter().cloned().collect();
    let mut left: Vec<Box<str>> = from.to_vec();
    let mut found = Vec::new();
    while let Some(name) = left.pop() {
        for next in of(&name) {
            if seen.insert(next.clone()) {
                found.push(next.clone());
                left.push(next.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
