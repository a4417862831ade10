//! `/accountz` and `/accstatz`: accounts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_jwt::{AccountClaims, Issues};

use super::Reports;
use super::sharing::Shared;
use super::subsz::SublistStats;
use crate::context::Traffic;
use crate::interest::Account;

/// What is asked of `/accountz`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AccountzOptions {
    /// This account in detail.
    #[serde(alias = "acc")]
    pub account: Option<String>,
}

/// Which accounts there are, or one of them in detail.
#[derive(Clone, Debug, Serialize)]
pub struct Accountz {
    /// The server's id.
    pub server_id: String,
    /// When this was.
    pub now: String,
    /// The name of the system account, if there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub system_account: String,
    /// Their names, if none was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// The one that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_detail: Option<AccountDetail>,
}

/// One account.
#[derive(Clone, Debug, Serialize)]
pub struct AccountDetail {
    /// Its name.
    pub account_name: String,
    /// When it became what it is: at the start.
    pub update_time: String,
    /// Whether it is the system account.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_system: bool,
    /// Whether it has expired: none does.
    pub expired: bool,
    /// Whether all that it imports is there.
    pub complete: bool,
    /// Whether it may have streams.
    pub jetstream_enabled: bool,
    /// Leaf nodes: none.
    pub leafnode_connections: u64,
    /// Its connections.
    pub client_connections: usize,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// What becomes of subjects that its clients publish to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mappings: Option<Value>,
    /// What others may hear and ask of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exports: Option<Value>,
    /// What it hears and asks of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imports: Option<Value>,
    /// Requests of others that wait for answers, by the subjects of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responses: Option<Value>,
    /// The token that an operator has signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<String>,
    /// The key that signed that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_key: Option<String>,
    /// What people call it; its name, if that is nothing else.
    pub name_tag: String,
    /// Its labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What the token claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoded_jwt: Option<AccountClaims>,
    /// What is wrong with that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validation_result_jwt: Vec<Issue>,
    /// Users whose tokens are void that were signed until then.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub revoked_user: BTreeMap<String, String>,
    /// The same in numbers.
    pub sublist_stats: SublistStats,
}

/// What is wrong with a token.
#[derive(Clone, Debug, Serialize)]
pub struct Issue {
    /// In words.
    pub description: String,
    /// Whether it makes it void.
    pub blocking: bool,
    /// Whether that is so at this time only.
    pub time_check: bool,
}

fn issues(of: &Issues) -> Vec<Issue> {
    let issue = |time_check: bool| {
        move |text: &String| Issue {
            description: text.clone(),
            blocking: !time_check,
            time_check,
        }
    };
    let errors = of.errors.iter().map(issue(false));
    errors.chain(of.times.iter().map(issue(true))).collect()
}

/// What is asked of `/accstatz`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AccStatzOptions {
    /// Only these accounts; empty: all.
    pub accounts: Vec<String>,
    /// Those without connections as well.
    pub include_unused: bool,
}

/// What accounts do.
#[derive(Clone, Debug, Serialize)]
pub struct AccStatz {
    /// The server's id.
    pub server_id: String,
    /// When this was.
    pub now: String,
    /// Each of them.
    pub account_statz: Vec<AccountStat>,
}

/// What one account does.
#[derive(Clone, Debug, Serialize)]
pub struct AccountStat {
    /// Its name.
    pub acc: String,
    /// What people call it; its name, if that is nothing else.
    pub name: String,
    /// Its connections.
    pub conns: usize,
    /// Leaf nodes: none.
    pub leafnodes: u64,
    /// Both.
    pub total_conns: usize,
    /// Its subscriptions.
    pub num_subscriptions: usize,
    /// What its clients were sent.
    pub sent: Flow,
    /// What its clients sent.
    pub received: Flow,
    /// How many of its connections did not read fast enough.
    pub slow_consumers: u64,
}

/// Messages and bytes, and how many of these came or went otherwise than from or to clients.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Flow {
    #[serde(flatten)]
    all: DataStats,
    gateways: DataStats,
    routes: DataStats,
    leafs: DataStats,
}

/// Messages and their bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct DataStats {
    /// Messages.
    pub msgs: u64,
    /// Bytes of headers and payloads.
    pub bytes: u64,
}

impl Flow {
    /// All together.
    #[must_use]
    pub fn all(&self) -> DataStats {
        self.all
    }

    fn of(msgs: u64, bytes: u64) -> Self {
        Self {
            all: DataStats { msgs, bytes },
            gateways: DataStats::default(),
            routes: DataStats::default(),
            leafs: DataStats::default(),
        }
    }
}

/// The connections of an account that are there.
#[derive(Clone, Copy, Default)]
struct Present {
    connections: usize,
    traffic: Traffic,
}

impl Reports {
    /// Which accounts there are, or one of them in detail.
    ///
    /// # Errors
    /// There is no such account: the text to answer with.
    pub fn accountz(&self, options: &AccountzOptions) -> Result<Accountz, String> {
        let detail = options.account.as_deref().map(|name| {
            let account = self.accounts.get(name);
            account
                .map(|account| self.account_detail(&account))
                .ok_or_else(|| format!("Account {name} does not exist"))
        });
        let names = match detail {
            None => self
                .told_accounts()
                .iter()
                .map(|account| account.name.to_string())
                .collect(),
            Some(_) => Vec::new(),
        };
        Ok(Accountz {
            server_id: self.context.identity.id.clone(),
            now: Timestamp::now().to_string(),
            system_account: self.system_account(),
            accounts: names,
            account_detail: detail.transpose()?,
        })
    }

    /// One account.
    #[must_use]
    pub fn account_detail(&self, account: &Arc<Account>) -> AccountDetail {
        let present = self.present(Some(&account.name));
        let is_system = Arc::ptr_eq(account, &self.accounts.system);
        let (subscriptions, removed) = account.subscription_counts();
        let tenant = self.hall.trust.as_ref().and_then(|trust| trust.known(&account.name));
        let held = tenant.as_ref().map(|tenant| tenant.held());
        let claims = held.as_ref().map(|held| &held.claims);
        let signed = held.as_ref().filter(|held| !held.token.is_empty());
        let time = |&seconds: &i64| Timestamp::from_second(seconds).unwrap_or_default().to_string();
        let shared = Shared::of(account);
        AccountDetail {
            account_name: account.name.to_string(),
            update_time: held
                .as_ref()
                .map_or(self.context.clock.start, |held| held.since)
                .to_string(),
            is_system,
            expired: tenant.as_ref().is_some_and(|tenant| tenant.is_expired()),
            complete: true,
            jetstream_enabled: self
                .jetstream
                .get()
                .is_some_and(|jetstream| jetstream.allowance(&account.name).is_some()),
            leafnode_connections: 0,
            client_connections: present.get(&*account.name).map_or(0, |present| present.connections),
            subscriptions,
            mappings: shared.mappings,
            exports: shared.exports,
            imports: shared.imports,
            responses: shared.responses,
            jwt: signed.map(|held| held.token.clone()),
            issuer_key: claims.map(|claims| claims.common.issuer.clone()),
            name_tag: account
                .tag()
                .map_or_else(|| account.name.to_string(), |tag| tag.to_string()),
            tags: claims.map(|claims| claims.nats.tags.clone()).unwrap_or_default(),
            decoded_jwt: signed.map(|held| held.claims.clone()),
            validation_result_jwt: signed
                .map(|held| issues(&held.claims.check(Timestamp::now().as_second())))
                .unwrap_or_default(),
            revoked_user: claims
                .map(|claims| {
                    claims
                        .nats
                        .revocations
                        .iter()
                        .map(|(user, at)| (user.clone(), time(at)))
                        .collect()
                })
                .unwrap_or_default(),
            sublist_stats: SublistStats::of(subscriptions, removed),
        }
    }

    /// What accounts do.
    #[must_use]
    pub fn accstatz(&self, options: &AccStatzOptions) -> AccStatz {
        let mut accounts = self.told_accounts();
        if !options.accounts.is_empty() {
            accounts.retain(|account| options.accounts.iter().any(|name| **name == *account.name));
        }
        let mut stats = self.account_stats(&accounts);
        stats.retain(|stat| options.include_unused || stat.conns > 0);
        AccStatz {
            server_id: self.context.identity.id.clone(),
            now: Timestamp::now().to_string(),
            account_statz: stats,
        }
    }

    /// What these accounts do: one look at all connections, however many accounts they are.
    #[must_use]
    pub fn account_stats(&self, accounts: &[Arc<Account>]) -> Vec<AccountStat> {
        let present = self.present(None);
        accounts
            .iter()
            .map(|account| {
                let now = present.get(&*account.name).copied().unwrap_or_default();
                let past = self.hall.gone.of(&account.name);
                let mut traffic = now.traffic;
                traffic.add(&past.traffic);
                AccountStat {
                    acc: account.name.to_string(),
                    name: account
                        .tag()
                        .map_or_else(|| account.name.to_string(), |tag| tag.to_string()),
                    conns: now.connections,
                    leafnodes: 0,
                    total_conns: now.connections,
                    num_subscriptions: account.subscription_counts().0,
                    sent: Flow::of(traffic.out_messages, traffic.out_bytes),
                    received: Flow::of(traffic.in_messages, traffic.in_bytes),
                    slow_consumers: past.slow_consumers,
                }
            })
            .collect()
    }

    /// The name of the system account; empty if there is to be none.
    pub(super) fn system_account(&self) -> String {
        match self.context.live.read().has_system_account() {
            true => self.accounts.system.name.to_string(),
            false => String::new(),
        }
    }

    /// Whether there is an account of that name.
    #[must_use]
    pub fn has_account(&self, name: &str) -> bool {
        self.accounts.get(name).is_some()
    }

    /// The accounts that are told of.
    fn told_accounts(&self) -> Vec<Arc<Account>> {
        let mut accounts = self.accounts.all();
        if !self.context.live.read().has_system_account() {
            accounts.retain(|account| !Arc::ptr_eq(account, &self.accounts.system));
        }
        accounts
    }

    /// The connections that are there and have said who they are, by account.
    fn present(&self, only: Option<&str>) -> HashMap<String, Present> {
        let mut all: HashMap<String, Present> = HashMap::new();
        for session in self.hall.sessions.all() {
            let snapshot = session.link.snapshot();
            if !session.is_connected() || only.is_some_and(|only| snapshot.who.account != only) {
                continue;
            }
            let present = all.entry(snapshot.who.account).or_default();
            present.connections += 1;
            present.traffic.add(&snapshot.traffic);
        }
        all
    }
}
