//! Operator mode: which accounts there are is said by tokens that an operator signed, and who is in them by tokens that those signed.
//!
//! An account is looked for when somebody asks for it first ([`Trust::find`]), wherever the [`source`] has it, and is a [`Tenant`] from
//! then on. What it claims changes while it lives; whoever has to do something about that is told ([`News`]).

mod directory;
mod fetch;
mod source;
mod tenancy;
mod tenant;
mod visa;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use weir_jwt::{AccountClaims, OperatorClaims, decode, key};

use crate::conf::options::{Resolver, Trust as Options};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::interest::Accounts;
use crate::routing::{Reply, ask_many};
pub use directory::Directory;
use fetch::Fetcher;
use source::Source;
pub use tenant::{Held, Tenant};
pub(crate) use visa::{Papers, Visa, connection_types, rights, until};

/// What has become of an account.
pub enum News {
    /// It is there.
    Came,
    /// It claims something else than this.
    Changed(Arc<Held>),
    /// What it claims holds no more.
    Expired,
    /// It was deleted.
    Removed,
    /// The configuration has it no more.
    Withdrawn,
}

/// Does what is to be done about it.
pub type Heed = Box<dyn Fn(Arc<Tenant>, News) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Why a token is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is none, or its signature is wrong.
    #[error("{0}")]
    Token(weir_jwt::JwtError),
    /// Its claims do not hold, or no operator has signed it.
    #[error("account validation failed")]
    Validation,
    /// There is no such account.
    #[error("{0}")]
    Missing(String),
}

/// How long it is waited for what others have.
const COMPARING: Duration = Duration::from_secs(5);

/// Bytes of what others have that are looked at in one go; the rest comes with the next comparison.
const COMPARED_MAX: usize = 64 << 20;

/// Shortest time between two looks at a source for an account that has expired.
const AGAIN: Duration = Duration::from_secs(1);

/// The accounts of operators.
pub struct Trust {
    context: Arc<Context>,
    accounts: Arc<Accounts>,
    source: Source,
    tenants: RwLock<HashMap<Box<str>, Arc<Tenant>>>,
    /// Held while an account is looked for or changed, by its key.
    busy: Mutex<HashMap<Box<str>, Arc<tokio::sync::Mutex<()>>>>,
    heed: OnceLock<Heed>,
    runtime: Handle,
    /// Itself, for timers.
    own: Weak<Self>,
}

/// Refuses what a start would, as far as that is in files.
///
/// # Errors
/// What is wrong with which of them.
pub(crate) fn check(options: &Options) -> Result<()> {
    match &options.resolver {
        Some(Resolver::Url(url)) => Fetcher::new(url, options.resolver_tls.as_ref())
            .map(|_| ())
            .map_err(Error::Options),
        _ => Ok(()),
    }
}

/// The time, in seconds since 1970.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

impl Trust {
    /// The accounts of the operators of the options; `None`: there are none. To be called within a runtime.
    ///
    /// # Errors
    /// The directory of the resolver cannot be used.
    pub fn new(context: &Arc<Context>, accounts: &Arc<Accounts>) -> Result<Option<Arc<Self>>> {
        let options = context.live.get();
        if !options.trust.is_on() {
            return Ok(None);
        }
        let source = Source::open(&options.trust, accounts)?;
        Ok(Some(Arc::new_cyclic(|own| Self {
            context: Arc::clone(context),
            accounts: Arc::clone(accounts),
            source,
            tenants: RwLock::default(),
            busy: Mutex::default(),
            heed: OnceLock::new(),
            runtime: Handle::current(),
            own: Weak::clone(own),
        })))
    }

    /// Says who does what is to be done about changes. Only the first one counts.
    pub fn set_heed(&self, heed: Heed) {
        // Set once, at the start.
        let _ = self.heed.set(heed);
    }

    /// The runtime that it lives in.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The directory that accounts are kept in, if they are.
    pub fn directory(&self) -> Option<&Directory> {
        match &self.source {
            Source::Directory(directory) => Some(directory),
            Source::Memory(_) | Source::Url(_) => None,
        }
    }

    /// A client was refused because its account is not pinned.
    pub fn count_not_pinned(&self) {
        self.context.counters.not_pinned.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether this key is that of the first operator, or signs for it.
    pub fn is_operator(&self, key: &str) -> bool {
        self.operator().is_some_and(|operator| {
            let own = !operator.nats.strict_signing_key_usage && operator.common.subject == key;
            own || operator.nats.signing_keys.iter().any(|signing| signing == key)
        })
    }

    /// The first operator, if there is any.
    pub fn operator(&self) -> Option<OperatorClaims> {
        self.context.live.read().trust.operators.first().cloned()
    }

    /// Whether users of these accounts may come in.
    pub fn is_pinned(&self, key: &str) -> bool {
        let pinned = &self.context.live.read().trust.pinned;
        pinned.is_empty() || pinned.iter().any(|account| account == key)
    }

    /// An account that was found before.
    pub fn known(&self, key: &str) -> Option<Arc<Tenant>> {
        self.tenants.read().get(key).cloned()
    }

    /// Every account that was found.
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        self.tenants.read().values().cloned().collect()
    }

    /// An account, looked for if it was not found before or has expired since.
    ///
    /// # Errors
    /// There is none, or what it claims does not hold.
    pub async fn find(&self, key: &str) -> std::result::Result<Arc<Tenant>, Refusal> {
        if let Some(tenant) = self.known(key).filter(|tenant| tenant.is_open()) {
            return Ok(tenant);
        }
        self.seek(key).await
    }

    /// An account that another one imports of: the other way round the same may go on, so that nobody waits until it is ready.
    ///
    /// # Errors
    /// There is none, or what it claims does not hold.
    pub async fn find_exporter(&self, key: &str) -> std::result::Result<Arc<Tenant>, Refusal> {
        match self.known(key) {
            Some(tenant) => Ok(tenant),
            None => self.seek(key).await,
        }
    }

    async fn seek(&self, key: &str) -> std::result::Result<Arc<Tenant>, Refusal> {
        if !key::is_account(key) {
            return Err(Refusal::Missing("will only fetch valid account keys".to_owned()));
        }
        let turn = self.turn(key);
        let guard = turn.lock().await;
        let found = self.look(key).await;
        drop(guard);
        self.give_up(key, turn);
        found
    }

    async fn look(&self, key: &str) -> std::result::Result<Arc<Tenant>, Refusal> {
        let known = self.known(key);
        if let Some(tenant) = &known {
            if !tenant.is_expired() {
                return Ok(Arc::clone(tenant));
            }
            if tenant.held().age() < AGAIN {
                return Err(Refusal::Missing("account expired".to_owned()));
            }
        }
        let is_good = |token: &str| self.is_signed(token);
        let token = self.source.fetch(key, &is_good).await.map_err(|error| {
            tracing::warn!("Account fetch failed: {error}");
            Refusal::Missing(error)
        })?;
        let claims = self.verify(&token)?;
        if claims.common.subject != key {
            return Err(Refusal::Validation);
        }
        match known {
            Some(tenant) => {
                self.change(&tenant, claims, token).await;
                match tenant.is_expired() {
                    true => Err(Refusal::Missing("account expired".to_owned())),
                    false => Ok(tenant),
                }
            }
            None => Ok(self.settle(claims, token).await),
        }
    }

    /// Whether an operator, or what signs for it, has this key.
    pub fn trusts(&self, issuer: &str) -> bool {
        self.context.live.read().trust.has(issuer)
    }

    /// Whether this is the token of an account that an operator has signed, whatever it claims beside that.
    fn is_signed(&self, token: &str) -> bool {
        let claims = decode(token).and_then(weir_jwt::Token::account);
        claims.is_ok_and(|claims| self.trusts(&claims.common.issuer))
    }

    /// What an account claims, if an operator has signed it and it holds now.
    ///
    /// # Errors
    /// It does not.
    pub fn verify(&self, token: &str) -> std::result::Result<AccountClaims, Refusal> {
        let claims = decode(token)
            .and_then(weir_jwt::Token::account)
            .map_err(Refusal::Token)?;
        match self.trusts(&claims.common.issuer) && claims.check(now()).are_none() {
            true => Ok(claims),
            false => Err(Refusal::Validation),
        }
    }

    /// Whether an account's own key does not sign users.
    fn is_strict(&self, issuer: &str) -> bool {
        let options = self.context.live.read();
        options.trust.strict_keys.iter().any(|key| key == issuer)
    }

    /// Takes an account in.
    async fn settle(&self, claims: AccountClaims, token: String) -> Arc<Tenant> {
        let key: Box<str> = claims.common.subject.as_str().into();
        let account = self.accounts.open(&key);
        let strict = self.is_strict(&claims.common.issuer);
        let tenant = Arc::new(Tenant::new(account, Held::new(claims, token, strict)));
        self.await_end(&tenant);
        self.tenants.write().insert(key, Arc::clone(&tenant));
        self.tell(&tenant, News::Came).await;
        tenant.open();
        tenant
    }

    /// Has the system account there although its token is not, so that somebody can bring it.
    pub async fn settle_bootstrap(&self, key: &str) {
        let mut claims = AccountClaims::new(key);
        claims.common.issuer = self
            .operator()
            .map(|operator| operator.common.issuer)
            .unwrap_or_default();
        let account = self.accounts.open(key);
        let tenant = Arc::new(Tenant::new(account, Held::new(claims, String::new(), false)));
        self.tenants.write().insert(key.into(), Arc::clone(&tenant));
        self.tell(&tenant, News::Came).await;
        tenant.open();
    }

    /// Has an account claim something else, if somebody has asked for it before.
    ///
    /// # Errors
    /// What it claims does not hold.
    pub async fn update(&self, key: &str, token: &str) -> std::result::Result<(), Refusal> {
        let turn = self.turn(key);
        let guard = turn.lock().await;
        let outcome = match self.known(key) {
            Some(tenant) if tenant.held().token != token => match self.verify(token) {
                Ok(claims) if claims.common.subject == key => {
                    self.change(&tenant, claims, token.to_owned()).await;
                    Ok(())
                }
                Ok(_) => Err(Refusal::Validation),
                Err(refusal) => Err(refusal),
            },
            _ => Ok(()),
        };
        drop(guard);
        self.give_up(key, turn);
        outcome
    }

    async fn change(&self, tenant: &Arc<Tenant>, claims: AccountClaims, token: String) {
        let strict = self.is_strict(&claims.common.issuer);
        let before = tenant.hold(Held::new(claims, token, strict));
        self.await_end(tenant);
        self.tell(tenant, News::Changed(before)).await;
    }

    /// An account was deleted: nobody comes in, and those that are in go.
    pub async fn remove(&self, key: &str) {
        self.end(key, News::Removed).await;
    }

    async fn end(&self, key: &str, news: News) {
        let turn = self.turn(key);
        let guard = turn.lock().await;
        if let Some(tenant) = self.known(key) {
            tenant.expire();
            self.tell(&tenant, news).await;
        }
        drop(guard);
        self.give_up(key, turn);
    }

    /// Goes on with what the configuration has now, where that is where accounts are.
    pub async fn reload(&self, options: &Options) {
        let Source::Memory(memory) = &self.source else {
            return;
        };
        memory.write().clone_from(&options.preload);
        for tenant in self.all() {
            let key = tenant.key();
            let outcome = match options.preload.get(key) {
                Some(token) => self.update(key, token).await,
                None => Err(Refusal::Missing("removed".to_owned())),
            };
            if outcome.is_err() {
                let why = match options.preload.contains_key(key) {
                    true => "bad claims",
                    false => "removed",
                };
                tracing::info!("Reloaded: deleting account [{why}]: {key:?}");
                self.end(key, News::Withdrawn).await;
                self.tenants.write().remove(key);
            }
        }
    }

    async fn tell(&self, tenant: &Arc<Tenant>, news: News) {
        if let Some(heed) = self.heed.get() {
            heed(Arc::clone(tenant), news).await;
        }
    }

    /// Has an account expire in time.
    fn await_end(&self, tenant: &Arc<Tenant>) {
        let held = tenant.held();
        let Some(left) = held.claims.common.left(now()) else {
            return;
        };
        let (own, tenant) = (Weak::clone(&self.own), Arc::downgrade(tenant));
        self.runtime.spawn(async move {
            tokio::time::sleep(left).await;
            let (Some(trust), Some(tenant)) = (own.upgrade(), tenant.upgrade()) else {
                return;
            };
            // Unless it claims something else by now.
            if Arc::ptr_eq(&tenant.held(), &held) {
                tenant.expire();
                trust.tell(&tenant, News::Expired).await;
            }
        });
    }

    fn turn(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.busy.lock().entry(key.into()).or_default())
    }

    fn give_up(&self, key: &str, turn: Arc<tokio::sync::Mutex<()>>) {
        let mut busy = self.busy.lock();
        drop(turn);
        if busy.get(key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            busy.remove(key);
        }
    }

    /// Does what a resolver does at its start: what the configuration has is there, and the system account.
    ///
    /// # Errors
    /// Nobody is where accounts are looked up, or the system account is not there.
    pub async fn start(&self) -> std::result::Result<(), String> {
        let options = self.context.live.get();
        if let Source::Directory(directory) = &self.source {
            for (key, token) in &options.trust.preload {
                // A newer one may be there.
                if let Err(error) = directory.save_if_newer(key, token) {
                    tracing::warn!("preloading account {key}: {error}");
                }
            }
            let what = if directory.is_full() { "all" } else { "some" };
            tracing::info!(
                "Managing {what} jwt in exclusive directory {}",
                directory.path().display()
            );
        }
        if let Source::Url(fetcher) = &self.source {
            fetcher.get("").await?;
        }
        self.start_upkeep();
        let Some(system) = &options.system_account else {
            return Ok(());
        };
        let memory = matches!(self.source, Source::Memory(_));
        match self.find(system).await {
            Ok(_) => Ok(()),
            Err(error) if memory || options.trust.operators.len() != 1 => {
                Err(format!("error resolving system account: {error}"))
            }
            Err(_) => {
                tracing::info!("Using bootstrapping system account");
                self.settle_bootstrap(system).await;
                self.seek_system(system);
                Ok(())
            }
        }
    }

    /// Has what is too old in a directory go, and, where the system account's token is not there, looks for it.
    fn start_upkeep(&self) {
        let Source::Directory(directory) = &self.source else {
            return;
        };
        if directory.is_full() {
            let (own, interval) = (Weak::clone(&self.own), directory.interval());
            self.runtime.spawn(async move {
                loop {
                    tokio::time::sleep(interval).await;
                    let Some(trust) = own.upgrade() else {
                        return;
                    };
                    trust.compare().await;
                }
            });
        }
        let (own, pause) = (Weak::clone(&self.own), directory.pause());
        self.runtime.spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(trust) = own.upgrade() else {
                    return;
                };
                if let Source::Directory(directory) = &trust.source {
                    let now = Timestamp::now().as_nanosecond();
                    // It fails only while the server stops.
                    let _ = directory.aside(move |files| files.expire(now)).await;
                }
            }
        });
    }

    /// Takes in what others in the system account have that is newer.
    async fn compare(&self) {
        let Source::Directory(directory) = &self.source else {
            return;
        };
        let (mut theirs, mut room) = (Vec::new(), COMPARED_MAX);
        let each = |reply: Reply| {
            let Ok(pack) = std::str::from_utf8(&reply.payload) else {
                return false;
            };
            let fits = pack.len() <= room;
            room = room.saturating_sub(pack.len());
            if fits {
                let tokens = pack.lines().filter_map(|line| line.split_once('|'));
                theirs.extend(tokens.map(|(key, token)| (key.to_owned(), token.to_owned())));
            }
            // An empty one is the last.
            fits && !pack.is_empty()
        };
        let hash = directory.hash();
        ask_many(directory.system(), b"$SYS.REQ.CLAIMS.PACK", &hash, COMPARING, each).await;
        let trust = Weak::clone(&self.own);
        let merge = move |files: &Directory| {
            let is_new = |(key, token): &(String, String)| {
                // Nobody's word is taken for what is kept.
                if !trust.upgrade().is_some_and(|trust| trust.is_signed(token)) {
                    tracing::error!("DirResolver - token of account {key:?} that no operator has signed");
                    return false;
                }
                files.save_if_newer(key, token).unwrap_or_else(|error| {
                    tracing::error!("DirResolver - Merging resulted in error: {error}");
                    false
                })
            };
            theirs.into_iter().filter(is_new).collect::<Vec<_>>()
        };
        for (key, token) in directory.aside(merge).await.unwrap_or_default() {
            if let Err(error) = self.update(&key, &token).await {
                tracing::error!("DirResolver - Update for account {key:?} resulted in error {error}");
            }
        }
    }

    /// Looks for the token of the system account, which was not there at the start, until it is.
    fn seek_system(&self, key: &str) {
        let (own, key) = (Weak::clone(&self.own), key.to_owned());
        self.runtime.spawn(async move {
            loop {
                tokio::time::sleep(AGAIN).await;
                let Some(trust) = own.upgrade() else {
                    return;
                };
                if trust.known(&key).is_none_or(|tenant| !tenant.held().token.is_empty()) {
                    return;
                }
                let is_good = |token: &str| trust.is_signed(token);
                if let Ok(token) = trust.source.fetch(&key, &is_good).await
                    && trust.update(&key, &token).await.is_ok()
                {
                    tracing::info!("System account fetched and updated");
                    return;
                }
            }
        });
    }
}
