//! Accounts that operators have signed, as they come, change and go: what each part of the server does about it.

use std::sync::Arc;
use std::time::Duration;

use weir_jwt::{Grant, JetStreamLimits, Token, decode};

use crate::conf::options::AccountJetStream;
use crate::error::{Error, Result};
use crate::jetstream::Allowance;
use crate::server::Server;
use crate::system::Services;
use crate::trust::{Held, News, Tenant, Trust, now};

impl Server {
    /// Has accounts found from now on, and those found that the server has something of: the system account, and the accounts of streams.
    pub(crate) async fn find_accounts(self: &Arc<Self>, services: Services) -> Result<()> {
        let Some(trust) = self.hall().trust.clone() else {
            return Ok(());
        };
        let (server, services) = (Arc::downgrade(self), Arc::new(services));
        trust.set_heed(Box::new(move |tenant, news| {
            let (server, services) = (server.clone(), Arc::clone(&services));
            Box::pin(async move {
                if let Some(server) = server.upgrade() {
                    server.heed(&services, &tenant, news).await;
                }
            })
        }));
        self.tell_operators();
        trust.start().await.map_err(Error::Options)?;
        self.find_accounts_of_streams(&trust).await;
        Ok(())
    }

    fn tell_operators(&self) {
        let options = self.options();
        if !options.trust.operators.is_empty() {
            tracing::info!("Trusted Operators");
        }
        for operator in &options.trust.operators {
            tracing::info!("  System  : {:?}", operator.common.audience);
            tracing::info!("  Operator: {:?}", operator.common.name);
            let time = |seconds: i64| {
                jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".to_owned(), |at| at.to_string())
            };
            tracing::info!("  Issued  : {}", time(operator.common.issued_at));
            match operator.common.expires {
                0 => tracing::info!("  Expires : Never"),
                expires => tracing::info!("  Expires : {}", time(expires)),
            }
        }
        if options.trust.is_on() && options.system_account.is_none() {
            tracing::warn!("Trusted Operators should utilize a System Account");
        }
    }

    /// Streams do what they do, also if nobody of their account has come yet: they copy, and messages grow too old.
    async fn find_accounts_of_streams(&self, trust: &Trust) {
        let Some(jetstream) = self.jetstream.get() else {
            return;
        };
        let mut names: Vec<Arc<str>> = jetstream
            .catalogue()
            .all()
            .iter()
            .map(|entry| Arc::clone(&entry.account))
            .collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            if let Err(error) = trust.find(&name).await {
                tracing::error!("streams belong to account {name}, which is not there: {error}");
            }
        }
    }

    async fn heed(self: &Arc<Self>, services: &Services, tenant: &Arc<Tenant>, news: News) {
        let held = tenant.held();
        match &news {
            News::Came => {
                if let Err(error) = services.serve_in(&tenant.account) {
                    tracing::error!("account {}: {error}", tenant.key());
                }
                self.grant(tenant, allowance(&held)).await;
            }
            News::Changed(before) => {
                self.grant(tenant, allowance(&held)).await;
                self.hall().account_changed(tenant, before);
            }
            News::Expired => self.hall().account_expired(tenant),
            News::Removed => {
                self.hall().account_expired(tenant);
                self.grant(tenant, None).await;
            }
            News::Withdrawn => {
                self.hall().account_withdrawn(tenant);
                self.grant(tenant, None).await;
            }
        }
        let shares = |held: &Held| {
            let nats = &held.claims.nats;
            !(nats.imports.is_empty() && nats.exports.is_empty() && nats.mappings.is_empty())
        };
        let shared = match &news {
            News::Changed(before) => shares(before),
            _ => false,
        };
        if shared || shares(&held) {
            self.share(&held).await;
        }
    }

    /// Has an account share what it says now.
    async fn share(self: &Arc<Self>, changed: &Held) {
        let Some(trust) = &self.hall().trust else {
            return;
        };
        for import in &changed.claims.nats.imports {
            if let Err(error) = trust.find_exporter(&import.account).await {
                tracing::error!(
                    "Can't locate account [{}] for import of [{}] (err={error})",
                    import.account,
                    import.subject
                );
            }
        }
        self.share_now(trust, vec![changed.claims.common.subject.as_str().into()]);
    }

    /// Has these accounts, and those that import from them, share what their tokens and activations say now; and whoever is next once
    /// more when its activation ends.
    fn share_now(self: &Arc<Self>, trust: &Trust, changed: Vec<Box<str>>) {
        let mut shares = self.sharing().lock();
        let now = now();
        for name in &changed {
            let held = trust.known(name).map(|tenant| tenant.held());
            let imports = held.iter().flat_map(|held| &held.claims.nats.imports);
            shares.note(name, imports.map(|import| &*import.account));
            let ends = held.iter().flat_map(|held| activations(held));
            shares.expect_end(name, ends.filter(|&end| end > now).min());
        }
        let concerned = shares.concerned(changed);
        let beneath = shares.beneath(&concerned);
        let tenancies = |names: Vec<Box<str>>| -> Vec<_> {
            let tenants = names.into_iter().filter_map(|name| Some((trust.known(&name)?, name)));
            tenants
                .map(|(tenant, name)| (name, trust.tenancy(&tenant.held())))
                .collect()
        };
        self.bind(&tenancies(beneath), &tenancies(concerned));
        let next = shares.next_end().map(|end| {
            let (server, left) = (Arc::downgrade(self), Duration::from_secs(end.abs_diff(now)));
            let again = async move {
                tokio::time::sleep(left).await;
                if let Some(server) = server.upgrade()
                    && let Some(trust) = server.hall().trust.clone()
                {
                    let due = server.sharing().lock().due(crate::trust::now());
                    server.share_now(&trust, due);
                }
            };
            trust.runtime().spawn(again).abort_handle()
        });
        if let Some(before) = std::mem::replace(&mut shares.waiting, next) {
            before.abort();
        }
    }

    async fn grant(&self, tenant: &Tenant, allowance: Option<Allowance>) {
        if let Some(jetstream) = self.jetstream.get() {
            jetstream.grant(&tenant.account, allowance).await;
        }
    }
}

/// When the activations of an account's imports end, in seconds since 1970; those that do end.
fn activations(held: &Held) -> impl Iterator<Item = i64> {
    let imports = held.claims.nats.imports.iter();
    imports.filter_map(|import| match decode(&import.token) {
        Ok(Token::Activation(activation)) => Some(activation.common.expires).filter(|&end| end != 0),
        _ => None,
    })
}

/// What an account may store by what it claims.
fn allowance(held: &Held) -> Option<Allowance> {
    Some(match held.claims.nats.limits.storage()? {
        Grant::Whole(limits) => limits_of(limits).into(),
        Grant::Tiers(tiers) => Allowance {
            limits: AccountJetStream::default(),
            tiers: tiers
                .iter()
                .map(|(name, limits)| (name.clone(), limits_of(limits)))
                .collect(),
        },
    })
}

fn limits_of(limits: &JetStreamLimits) -> AccountJetStream {
    let limit = |of: i64| u64::try_from(of).ok();
    let positive = |of: i64| limit(of).filter(|&of| of > 0);
    AccountJetStream {
        max_memory: limit(limits.mem_storage),
        max_store: limit(limits.disk_storage),
        max_streams: positive(limits.streams),
        max_consumers: positive(limits.consumer),
        max_bytes_required: limits.max_bytes_required,
        memory_max_stream_bytes: positive(limits.mem_max_stream_bytes),
        store_max_stream_bytes: positive(limits.disk_max_stream_bytes),
        max_ack_pending: positive(limits.max_ack_pending),
    }
}
