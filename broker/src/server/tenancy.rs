//! What accounts share, from the options to the accounts themselves.

use std::collections::HashMap;
use std::sync::Arc;

use super::Server;
use crate::conf::Options;
use crate::conf::tenancy::{Found, Mapping, Mappings, Tenancy};
use crate::interest::{Account, Accounts, Binder, Bonds, GLOBAL, Limits, SYSTEM, Traces};
use crate::routing::give_up;

/// The accounts of the configuration.
pub(super) fn accounts(options: &Options) -> Accounts {
    let accounts = Accounts::new(options.system_account.as_deref().unwrap_or(SYSTEM));
    open(options, &accounts);
    share(options, &accounts);
    accounts
}

/// Opens those that are not there yet.
pub(super) fn open(options: &Options, accounts: &Accounts) {
    for account in &options.accounts {
        accounts.open(&account.name);
    }
}

/// Accounts that these options do not have any more.
pub(super) fn gone(options: &Options, accounts: &Accounts) -> Vec<Arc<Account>> {
    let mut gone = accounts.all();
    gone.retain(|account| {
        let is_own = Arc::ptr_eq(account, &accounts.global) || Arc::ptr_eq(account, &accounts.system);
        !is_own && !options.accounts.iter().any(|known| *known.name == *account.name)
    });
    gone
}

/// Limits accounts, says where they are told of traced messages, and has them share with each other, as the options say.
pub(super) fn share(options: &Options, accounts: &Accounts) {
    let cluster = options.cluster_name.as_deref().unwrap_or_default();
    let mappings = |of: &[Mapping], name: &str| {
        // They were looked at when the options were read.
        let made = Mappings::new(of, cluster).inspect_err(|(_, why)| tracing::error!("mappings of {name}: {why}"));
        made.unwrap_or_default()
    };
    for account in &options.accounts {
        let limits = &account.limits;
        if let Some(found) = accounts.get(&account.name) {
            found.limit(Limits {
                connections: limits.max_connections,
                subscriptions: limits.max_subscriptions,
                payload: limits.max_payload,
            });
            found.trace(account.traces.as_ref().map(|traces| Traces {
                to: traces.dest.clone(),
                sampling: traces.sampling,
            }));
        }
    }
    let all = options.accounts.iter();
    let found = Found::of(all.map(|account| (account.name.as_str(), &account.tenancy)));
    for fault in &found.faults {
        tracing::error!("account {}: {}", fault.account, fault.why);
    }
    let by_name: HashMap<_, _> = options
        .accounts
        .iter()
        .map(|account| (account.name.as_str(), &account.tenancy))
        .collect();
    let binder = Binder {
        plans: &found.plans,
        find: &|name| accounts.get(name),
    };
    let bonds = binder.bind(|name| {
        by_name
            .get(name)
            .map_or_else(Mappings::default, |of| mappings(&of.mappings, name))
    });
    for (account, bonds) in bonds {
        account.bind(bonds);
    }
    accounts.global.bind(Bonds {
        mappings: mappings(&options.global.mappings, GLOBAL),
        ..Bonds::default()
    });
}

impl Server {
    /// Has accounts share with each other what their tokens say. What does not go together is left out. Those of `beneath` share what
    /// they did before: it is only looked at for what the `concerned` ask of them.
    pub(crate) fn bind(&self, beneath: &[(Box<str>, Tenancy)], concerned: &[(Box<str>, Tenancy)]) {
        let cluster = self.options().cluster_name.clone().unwrap_or_default();
        let all = beneath.iter().chain(concerned);
        let found = Found::of(all.map(|(name, tenancy)| (&**name, tenancy)));
        let concerned: HashMap<&str, &Tenancy> = concerned.iter().map(|(name, of)| (&**name, of)).collect();
        for fault in &found.faults {
            if concerned.contains_key(&*fault.account) {
                tracing::error!("account {}: {}", fault.account, fault.why);
            }
        }
        let binder = Binder {
            plans: &found.plans,
            find: &|name| self.accounts.get(name),
        };
        let mappings = |name: &str| {
            let of = concerned.get(name).map_or(&[][..], |tenancy| &tenancy.mappings);
            let made = Mappings::new(of, &cluster).inspect_err(|(_, why)| tracing::error!("mappings of {name}: {why}"));
            made.unwrap_or_default()
        };
        for (account, bonds) in binder.bind(mappings) {
            if concerned.contains_key(&*account.name) {
                account.bind(bonds);
            }
        }
    }
}

/// Gives up on requests to services of other accounts that were not answered in time.
pub(super) fn sweep(accounts: &Accounts) {
    for account in accounts.all() {
        let over = account.answers.expire();
        if !over.is_empty() {
            give_up(&Arc::clone(&account), &over);
        }
    }
}
