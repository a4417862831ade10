//! Hanging streams and consumers into the interest graph, and taking them out.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use weir_engine::consumer::{AckPolicy, ConsumerConfig};
use weir_engine::shard::emit::ConsumerName;
use weir_engine::store::StreamEntry;
use weir_engine::{ShardId, StreamId};

use crate::error::Result;
use crate::interest::{Account, Service, Subscription};
use crate::jetstream::allowance::NotEnabled;
use crate::jetstream::services::{
    API_CALLS, API_PREFIX, Acks, Api, Direct, FlowControl, Ingest, LONG_ACKS, LongAcks, Pull, stands_in,
};
use crate::jetstream::{Allowances, JetStream};

/// Where a stream lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub shard: ShardId,
    pub stream: StreamId,
}

/// What hangs in the interest graph.
#[derive(Default)]
pub(super) struct Attached {
    /// Of no stream: the API, acknowledgements.
    common: Vec<(Arc<Account>, Vec<Arc<Subscription>>)>,
    streams: HashMap<StreamId, AttachedStream>,
    /// By account and name.
    places: HashMap<String, HashMap<Box<[u8]>, Place>>,
}

struct AttachedStream {
    account: Arc<Account>,
    name: Arc<str>,
    subscriptions: Vec<Arc<Subscription>>,
    consumers: HashMap<Arc<str>, AttachedConsumer>,
}

#[derive(Default)]
struct AttachedConsumer {
    subscriptions: Vec<Arc<Subscription>>,
    /// The subject that a push consumer delivers to.
    watched: Option<Vec<u8>>,
}

impl JetStream {
    /// Where a stream lives, by its name.
    pub(super) fn place(&self, account: &str, name: &[u8]) -> Option<Place> {
        self.attached.lock().places.get(account)?.get(name).copied()
    }

    /// Whether a stream has a consumer of that name.
    #[must_use]
    pub fn has_consumer(&self, stream: StreamId, name: &str) -> bool {
        let attached = self.attached.lock();
        let found = attached.streams.get(&stream);
        found.is_some_and(|stream| stream.consumers.contains_key(name))
    }

    /// Wakes consumers that waited for a client to have room.
    pub fn wake(&self, consumers: impl IntoIterator<Item = Arc<ConsumerName>>) {
        for name in consumers {
            if let Some(place) = self.place(&name.account, name.stream.as_bytes()) {
                let consumer = Bytes::copy_from_slice(name.consumer.as_bytes());
                self.shard(place.shard).wake(place.stream, consumer);
            }
        }
    }

    /// Attaches the API and everything that the store holds.
    pub(super) async fn attach_all(self: &Arc<Self>) -> Result<()> {
        for account in self.accounts.all() {
            if !self.accounts_come || Arc::ptr_eq(&account, &self.accounts.system) {
                let subscriptions = self.attach_calls(&account)?;
                self.attached.lock().common.push((account, subscriptions));
            }
        }
        if self.accounts_come {
            return Ok(());
        }
        for entry in self.catalogue().all() {
            let Some(account) = self.account(&entry.account) else {
                tracing::error!(
                    "stream {} belongs to account {}, which is not configured",
                    entry.name,
                    entry.account
                );
                continue;
            };
            if self.allowance(&entry.account).is_none() {
                tracing::error!(
                    "stream {} belongs to account {}, for which JetStream is not enabled",
                    entry.name,
                    entry.account
                );
                continue;
            }
            self.attach_stream(&account, &entry)?;
            self.attach_consumers(&account, &entry).await?;
        }
        for entry in self.catalogue().all() {
            self.start_sourcing(&entry).await;
        }
        Ok(())
    }

    /// What an account may ask for, or that it may not.
    fn attach_calls(self: &Arc<Self>, account: &Arc<Account>) -> Result<Vec<Arc<Subscription>>> {
        match self.allowance(&account.name) {
            Some(_) => self.attach_common(account),
            None => self.attach_refusal(account),
        }
    }

    /// Whether an account's requests are answered.
    pub(super) fn is_attached(&self, account: &Arc<Account>) -> bool {
        let attached = self.attached.lock();
        attached.common.iter().any(|(of, _)| Arc::ptr_eq(of, account))
    }

    /// Attaches an account and its streams anew, as it may have them now; if it may have none, its streams stay where they are, and
    /// nobody reaches them.
    pub(super) async fn attach_account(self: &Arc<Self>, account: &Arc<Account>) -> Result<()> {
        let fresh = self.attach_calls(account)?;
        let before = {
            let mut attached = self.attached.lock();
            match attached.common.iter_mut().find(|(of, _)| Arc::ptr_eq(of, account)) {
                Some((_, subscriptions)) => std::mem::replace(subscriptions, fresh),
                None => {
                    attached.common.push((Arc::clone(account), fresh));
                    Vec::new()
                }
            }
        };
        for subscription in before {
            account.remove(&subscription);
        }
        let allowed = self.allowance(&account.name).is_some();
        for entry in self.catalogue().list(&account.name) {
            if !allowed {
                self.stop_sourcing(entry.id);
                self.detach_stream(entry.id);
                continue;
            }
            let there = self.attached.lock().streams.contains_key(&entry.id);
            self.attach_stream(account, &entry)?;
            if !there {
                self.attach_consumers(account, &entry).await?;
                self.start_sourcing(&entry).await;
            }
        }
        Ok(())
    }

    /// Goes on with the accounts that there are now, and what they may store: who is there no more or has no JetStream any more is served
    /// no more, and keeps what it stored; who has it again finds that.
    pub async fn follow(self: &Arc<Self>, allowances: &Allowances) {
        let accounts = self.accounts.all();
        let gone: Vec<_> = {
            let mut attached = self.attached.lock();
            let stays = |of: &Arc<Account>| accounts.iter().any(|account| Arc::ptr_eq(account, of));
            let (stay, gone) = attached.common.drain(..).partition(|(of, _)| stays(of));
            attached.common = stay;
            gone
        };
        for (account, subscriptions) in gone {
            self.revoke(&account.name);
            for subscription in subscriptions {
                account.remove(&subscription);
            }
            for entry in self.catalogue().list(&account.name) {
                self.stop_sourcing(entry.id);
                self.detach_stream(entry.id);
            }
        }
        for account in accounts {
            self.grant(&account, allowances.get(&account.name).cloned()).await;
        }
        // What an account imports may lead to other origins.
        self.streams_changed();
    }

    /// Attaches the consumers of a stream; it has none to show while it is offline and could not be opened.
    async fn attach_consumers(self: &Arc<Self>, account: &Arc<Account>, entry: &StreamEntry) -> Result<()> {
        let id = entry.id;
        let consumers: Vec<_> = self
            .call(entry.shard, move |shard| {
                let Ok(stream) = shard.stream(id) else {
                    return Ok(Vec::new());
                };
                Ok(stream
                    .consumer_configs()
                    .map(|(name, config)| (name.clone(), config.clone()))
                    .collect())
            })
            .await?;
        for (name, config) in consumers {
            self.attach_consumer(account, entry, &name, &config)?;
        }
        Ok(())
    }

    /// A stream that was offline was opened anew: it may have been offline since the start, when its consumers could not
    /// be attached.
    pub(super) async fn attach_opened(self: Arc<Self>, account: Arc<str>, stream: Arc<str>) {
        let (Some(account), Some(entry)) = (self.account(&account), self.catalogue().get(&account, &stream)) else {
            return;
        };
        let mut attached = self.attach_stream(&account, &entry);
        if attached.is_ok() {
            attached = self.attach_consumers(&account, &entry).await;
        }
        if let Err(error) = attached {
            tracing::error!(%stream, "attaching it: {error}");
        }
    }

    /// Has requests of an account without JetStream answered so.
    fn attach_refusal(self: &Arc<Self>, account: &Arc<Account>) -> Result<Vec<Arc<Subscription>>> {
        let refusal: Arc<dyn Service> = Arc::new(NotEnabled {
            jetstream: Arc::downgrade(self),
            account: Arc::clone(account),
        });
        let filters: Vec<_> = API_CALLS
            .iter()
            .filter(|call| **call != "ACCOUNT.>" || !self.is_system(account))
            .map(|call| [API_PREFIX, call.as_bytes()].concat())
            .collect();
        let mut subscriptions = self.subscriptions(account, &filters, &refusal)?;
        if self.is_system(account) {
            let api: Arc<dyn Service> = Arc::new(Api {
                jetstream: Arc::downgrade(self),
                account: Arc::clone(account),
                prefix: API_PREFIX.to_vec(),
            });
            subscriptions.push(account.serve(&[API_PREFIX, b"ACCOUNT.>"].concat(), api)?);
        }
        Ok(subscriptions)
    }

    fn attach_common(self: &Arc<Self>, account: &Arc<Account>) -> Result<Vec<Arc<Subscription>>> {
        let jetstream = Arc::downgrade(self);
        let acks: Arc<dyn Service> = Arc::new(LongAcks {
            jetstream: jetstream.clone(),
            account: Arc::clone(account),
        });
        let flow: Arc<dyn Service> = Arc::new(FlowControl {
            jetstream: jetstream.clone(),
            account: Arc::clone(account),
        });
        let mut subscriptions = self.subscriptions(account, &[LONG_ACKS.to_vec()], &acks)?;
        subscriptions.extend(self.subscriptions(account, &[b"$JS.FC.>".to_vec()], &flow)?);
        for prefix in self.api_prefixes() {
            let api: Arc<dyn Service> = Arc::new(Api {
                jetstream: jetstream.clone(),
                account: Arc::clone(account),
                prefix: prefix.clone(),
            });
            let filters: Vec<_> = API_CALLS
                .iter()
                .map(|call| [&prefix, call.as_bytes()].concat())
                .collect();
            subscriptions.extend(self.subscriptions(account, &filters, &api)?);
        }
        Ok(subscriptions)
    }

    /// How API subjects may begin: plainly, and with the domain.
    fn api_prefixes(&self) -> Vec<Vec<u8>> {
        let domain = self.options.domain.as_ref();
        std::iter::once(API_PREFIX.to_vec())
            .chain(domain.map(|domain| format!("$JS.{domain}.API.").into_bytes()))
            .collect()
    }

    /// Attaches a stream, or attaches it anew after its configuration changed.
    ///
    /// # Errors
    /// If one of its subjects is no subject.
    pub fn attach_stream(self: &Arc<Self>, account: &Arc<Account>, entry: &StreamEntry) -> Result<()> {
        let jetstream = Arc::downgrade(self);
        let ingest: Arc<dyn Service> = Arc::new(Ingest {
            jetstream: jetstream.clone(),
            shard: entry.shard,
            stream: entry.id,
            account: Arc::clone(account),
            name: entry.name.clone(),
            limit: self.limit(&account.name, entry.config.storage),
            stats: Arc::clone(&entry.stats),
            no_ack: entry.config.no_ack,
        });
        let subjects: Vec<_> = entry
            .config
            .subjects
            .iter()
            .map(|subject| subject.as_bytes().to_vec())
            .collect();
        let mut subscriptions = subjects
            .iter()
            .map(|subject| account.serve_imported(subject, Arc::clone(&ingest)))
            .collect::<Result<Vec<_>>>()?;
        let own = entry.config.allow_direct.then_some(None);
        for origin in own.into_iter().chain(stands_in(&entry.config).cloned().map(Some)) {
            for prefix in self.api_prefixes() {
                let name = origin.as_deref().unwrap_or(&entry.name);
                let subject = [&prefix, &b"DIRECT.GET."[..], name.as_bytes()].concat();
                let deep = [&subject, &b".>"[..]].concat();
                let direct: Arc<dyn Service> = Arc::new(Direct {
                    jetstream: jetstream.clone(),
                    account: Arc::clone(account),
                    entry: Arc::new(entry.clone()),
                    own_len: subject.len(),
                    origin: origin.clone(),
                });
                subscriptions.extend(self.subscriptions(account, &[subject, deep], &direct)?);
            }
        }
        let mut attached = self.attached.lock();
        let place = Place {
            shard: entry.shard,
            stream: entry.id,
        };
        let places = attached.places.entry(account.name.to_string()).or_default();
        places.insert(entry.name.as_bytes().into(), place);
        let stream = attached.streams.entry(entry.id).or_insert_with(|| AttachedStream {
            account: Arc::clone(account),
            name: entry.name.clone(),
            subscriptions: Vec::new(),
            consumers: HashMap::new(),
        });
        let before = std::mem::replace(&mut stream.subscriptions, subscriptions);
        drop(attached);
        for subscription in before {
            account.remove(&subscription);
        }
        self.streams_changed();
        Ok(())
    }

    /// Takes a stream and its consumers out.
    pub fn detach_stream(&self, id: StreamId) {
        let mut attached = self.attached.lock();
        let Some(stream) = attached.streams.remove(&id) else {
            return;
        };
        if let Some(places) = attached.places.get_mut(&*stream.account.name)
            && places
                .get(stream.name.as_bytes())
                .is_some_and(|place| place.stream == id)
        {
            places.remove(stream.name.as_bytes());
        }
        drop(attached);
        stream.take_out(id);
        self.streams_changed();
    }

    /// Attaches a consumer, or attaches it anew after its configuration changed.
    ///
    /// # Errors
    /// If its name makes no subject.
    pub fn attach_consumer(
        self: &Arc<Self>,
        account: &Arc<Account>,
        entry: &StreamEntry,
        name: &str,
        config: &ConsumerConfig,
    ) -> Result<()> {
        let mut fresh = AttachedConsumer::default();
        if config.is_push() {
            let subject = config.deliver_subject.as_bytes();
            let (jetstream, shard, stream) = (Arc::downgrade(self), entry.shard, entry.id);
            let consumer = Bytes::copy_from_slice(name.as_bytes());
            let wake = move || {
                if let Some(jetstream) = jetstream.upgrade() {
                    jetstream.shard(shard).wake(stream, consumer.clone());
                }
            };
            account.watch(subject, (entry.id.0, name.into()), Arc::new(wake));
            fresh.watched = Some(subject.to_vec());
        }
        // A push consumer refuses them.
        let pull: Arc<dyn Service> = Arc::new(Pull {
            jetstream: Arc::downgrade(self),
            account: Arc::clone(account),
            shard: entry.shard,
            stream: entry.id,
            consumer: Bytes::copy_from_slice(name.as_bytes()),
            is_push: config.is_push(),
        });
        let filters: Vec<_> = self
            .api_prefixes()
            .iter()
            .map(|prefix| {
                [
                    prefix,
                    &b"CONSUMER.MSG.NEXT."[..],
                    entry.name.as_bytes(),
                    b".",
                    name.as_bytes(),
                ]
                .concat()
            })
            .collect();
        fresh.subscriptions = self.subscriptions(account, &filters, &pull)?;
        if config.ack_policy != AckPolicy::None {
            let own = format!("$JS.ACK.{}.{name}.", entry.name);
            let acks: Arc<dyn Service> = Arc::new(Acks {
                jetstream: Arc::downgrade(self),
                account: Arc::clone(account),
                shard: entry.shard,
                stream: entry.id,
                consumer: Bytes::copy_from_slice(name.as_bytes()),
                own_len: own.len(),
            });
            let filter = format!("{own}*.*.*.*.*").into_bytes();
            fresh
                .subscriptions
                .extend(self.subscriptions(account, &[filter], &acks)?);
        }
        let before = {
            let mut attached = self.attached.lock();
            match attached.streams.get_mut(&entry.id) {
                Some(stream) => stream.consumers.insert(name.into(), fresh),
                // Deleted meanwhile.
                None => Some(fresh),
            }
        };
        if let Some(before) = before {
            let keep = config.is_push().then_some(config.deliver_subject.as_bytes());
            before.take_out(account, entry.id, name, keep);
        }
        Ok(())
    }

    /// Takes a consumer out.
    pub(super) fn detach_consumer(&self, consumer: &ConsumerName) {
        let Some(place) = self.place(&consumer.account, consumer.stream.as_bytes()) else {
            return;
        };
        let mut attached = self.attached.lock();
        let Some(stream) = attached.streams.get_mut(&place.stream) else {
            return;
        };
        let account = Arc::clone(&stream.account);
        let Some(found) = stream.consumers.remove(&consumer.consumer) else {
            return;
        };
        drop(attached);
        found.take_out(&account, place.stream, &consumer.consumer, None);
    }

    /// Takes everything out.
    pub(super) fn detach_all(&self) {
        let attached = std::mem::take(&mut *self.attached.lock());
        for (account, subscriptions) in attached.common {
            for subscription in subscriptions {
                account.remove(&subscription);
            }
        }
        for (id, stream) in attached.streams {
            stream.take_out(id);
        }
    }
}

impl AttachedStream {
    fn take_out(self, id: StreamId) {
        for subscription in &self.subscriptions {
            self.account.remove(subscription);
        }
        for (name, consumer) in self.consumers {
            consumer.take_out(&self.account, id, &name, None);
        }
    }
}

impl AttachedConsumer {
    fn take_out(self, account: &Account, stream: StreamId, name: &str, keep: Option<&[u8]>) {
        for subscription in &self.subscriptions {
            account.remove(subscription);
        }
        if let Some(subject) = self.watched.filter(|subject| Some(subject.as_slice()) != keep) {
            account.unwatch(&subject, &(stream.0, name.into()));
        }
    }
}
