//! Where accounts lead to: whom a request reaches, and whose messages are heard.

use std::sync::Arc;

use super::Account;
use crate::limits::IMPORTS_DEEP;

impl Account {
    /// Where a request on `subject`, which has no wildcards, ends up: in this account, and by its imports of services in others, each
    /// with the subject there. No more than so many accounts as a request goes through.
    #[must_use]
    pub fn reach(self: &Arc<Self>, subject: &[u8]) -> Vec<(Arc<Self>, Vec<u8>)> {
        let mut found = vec![(Arc::clone(self), subject.to_vec())];
        let mut at = 0;
        while at < found.len() && found.len() < IMPORTS_DEEP {
            let (account, subject) = &found[at];
            let next: Vec<_> = account.bonds(|bonds| {
                let matching = bonds
                    .services
                    .iter()
                    .filter(|bond| weir_subject::matches(bond.of.from.as_bytes(), subject));
                let ends = matching.filter_map(|bond| {
                    let (exporter, there) = (bond.exporter.upgrade()?, bond.rename(subject)?);
                    let mapped = exporter.map(&there, 0);
                    Some((exporter, mapped.unwrap_or(there)))
                });
                ends.collect()
            });
            for (account, subject) in next {
                let known = |(other, there): &(Arc<Self>, Vec<u8>)| Arc::ptr_eq(other, &account) && *there == subject;
                if !found.iter().any(known) && found.len() < IMPORTS_DEEP {
                    found.push((account, subject));
                }
            }
            at += 1;
        }
        found
    }

    /// Whether a subscription to `subject` hears what is published to that very subject in another account.
    #[must_use]
    pub fn hears(&self, exporter: &Arc<Self>, subject: &[u8]) -> bool {
        self.bonds(|bonds| {
            bonds.streams.iter().any(|bond| {
                let of = bond.exporter.upgrade();
                of.is_some_and(|of| Arc::ptr_eq(&of, exporter)) && bond.of.heard_by(subject).as_deref() == Some(subject)
            })
        })
    }
}
