//! Which streams there are and which are on their way, by account: what names, subjects and room are free.
//!
//! A plain state machine. [`Meta::apply`] is all that changes it, and what it answers follows from what was applied before and
//! from nothing else: no clock, no chance, nobody waits in it. So one lock around it that is held for a moment suffices
//! ([`Catalogue`](crate::store::Catalogue) has it), and what is applied could as well be the log of a group of servers.
//!
//! Whoever makes, changes or deletes a stream begins a *change*, before a storage thread does anything: from then on its name,
//! its subjects and the room it is promised are taken. What the storage threads then have is told as facts, and when the change is
//! over, however it ended, it is [settled](Command::Settle): what it reserved and nothing came of is free again.
//!
//! What stands in the way of a change for certain refuses it. What may stand in the way, as it is itself changing, is to be waited
//! for. A change that is under way waits for none, so that none wait for each other.

mod limits;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_subject::Sublist;

pub use limits::{AccountLimits, Limits};
use limits::{Promised, beyond};

use crate::reject::{self, Rejection};
use crate::stream::{Storage, StreamConfig};
use crate::types::StreamId;

/// A stream that is there, as whoever keeps it knows it.
pub trait Placed: Clone {
    /// Its log.
    fn id(&self) -> StreamId;
    /// Its account.
    fn account(&self) -> &Arc<str>;
    /// Its name.
    fn name(&self) -> &Arc<str>;
    /// Its configuration.
    fn config(&self) -> &StreamConfig;
}

/// The number of a change, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(u64);

/// What is done with it.
#[derive(Debug)]
pub enum Command<'c, P> {
    /// A stream is going to be made.
    Assign {
        /// Its account.
        account: &'c str,
        /// Its configuration, validated.
        config: &'c StreamConfig,
        /// What it has to fit into.
        limits: &'c Limits,
    },
    /// A stream is going to have another configuration.
    Update {
        /// Its account.
        account: &'c str,
        /// The configuration that the new one was validated against.
        was: &'c StreamConfig,
        /// The new one, of the same name.
        config: &'c StreamConfig,
        /// What it has to fit into.
        limits: &'c Limits,
    },
    /// A stream is going to be deleted.
    Remove {
        /// Its account.
        account: &'c str,
        /// Its name.
        name: &'c str,
    },
    /// A change is over; what came of it was told before.
    Settle(ChangeId),
    /// A fact: this stream is there, or is now like this.
    Place(P),
    /// A fact: the stream of that log is not there any more.
    Gone {
        /// Its account.
        account: &'c str,
        /// Its name.
        name: &'c str,
        /// Its log: one that was made anew under the name stays.
        id: StreamId,
    },
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<P> {
    /// The change is under way, until it is settled. `was` is the stream as it was before.
    Begun {
        /// The change.
        change: ChangeId,
        /// The stream; none where one is made.
        was: Option<P>,
    },
    /// There is such a stream already, of the very same configuration.
    Exists(P),
    /// There is no such stream.
    Missing,
    /// The stream is not any more what the new configuration was validated against.
    Changed,
    /// Another change has to be over before it can be told.
    Wait(ChangeId),
    /// A rule is against it.
    Refused(Refusal),
    /// It was a fact; the stream that was there before.
    Told(Option<P>),
}

/// Which rule is against a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another stream has the name.
    Name,
    /// All streams together, or those of the account, would be promised more bytes than there are.
    Room(Storage),
    /// The account has as many streams as it may.
    Streams,
    /// In this account streams have to have a limit of bytes.
    BytesRequired,
    /// In this account no stream may be promised so much.
    StreamBytes,
    /// This other stream has subjects in common with it.
    Subjects(Arc<str>),
}

impl Refusal {
    /// What clients are told.
    pub fn rejection(&self) -> Rejection {
        match self {
            Self::Name => reject::STREAM_NAME_EXIST,
            Self::Room(Storage::File) => reject::STORAGE_RESOURCES_EXCEEDED,
            Self::Room(Storage::Memory) => reject::MEMORY_RESOURCES_EXCEEDED,
            Self::Streams => reject::MAXIMUM_STREAMS_LIMIT,
            Self::BytesRequired => reject::STREAM_MAX_BYTES_REQUIRED,
            Self::StreamBytes => reject::STREAM_MAX_STREAM_BYTES_EXCEEDED,
            Self::Subjects(_) => reject::STREAM_SUBJECT_OVERLAP,
        }
    }
}

/// Which streams there are, and which are on their way.
#[derive(Debug)]
pub struct Meta<P> {
    accounts: BTreeMap<Arc<str>, Account<P>>,
    /// To the streams that are there.
    promised: Promised,
    under_way: BTreeMap<ChangeId, UnderWay>,
    last_change: u64,
}

#[derive(Debug)]
struct Account<P> {
    streams: BTreeMap<Arc<str>, P>,
    promised: Promised,
    /// What the streams have, and what changes reserve.
    subjects: Sublist<Taker>,
    changing: BTreeMap<Arc<str>, ChangeId>,
}

/// Who has a subject.
#[derive(Debug)]
struct Taker {
    name: Arc<str>,
    /// `None`: the stream itself.
    change: Option<ChangeId>,
}

#[derive(Debug)]
struct UnderWay {
    account: Arc<str>,
    name: Arc<str>,
    /// What the stream is to have; `None` if it goes.
    wants: Option<Wants>,
}

#[derive(Debug)]
struct Wants {
    subjects: Vec<String>,
    storage: Storage,
    /// That `max_bytes` promises.
    bytes: u64,
    /// Whether other streams are copied into it.
    copies: bool,
}

impl Wants {
    fn of(config: &StreamConfig) -> Self {
        Self {
            subjects: config.subjects.clone(),
            storage: config.storage,
            bytes: limits::promise(config),
            copies: copies(config),
        }
    }
}

/// Whether other streams are copied into one of this configuration: whether it may be depends on those.
pub fn copies(config: &StreamConfig) -> bool {
    config.mirror.is_some() || !config.sources.is_empty()
}

impl<P> Default for Meta<P> {
    fn default() -> Self {
        Self {
            accounts: BTreeMap::new(),
            promised: Promised::default(),
            under_way: BTreeMap::new(),
            last_change: 0,
        }
    }
}

impl<P> Default for Account<P> {
    fn default() -> Self {
        Self {
            streams: BTreeMap::new(),
            promised: Promised::default(),
            subjects: Sublist::new(),
            changing: BTreeMap::new(),
        }
    }
}

impl<P> Account<P> {
    fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.changing.is_empty()
    }

    /// The first stream, but for that of the name, that has a subject in common with these: one that is there and stays as it is
    /// before one that is changing, and of those by name.
    fn overlapping(&self, name: &str, subjects: &[String]) -> Option<(Arc<str>, Option<ChangeId>)> {
        let mut found = Vec::new();
        for subject in subjects {
            self.subjects.overlapping(subject.as_bytes(), &mut |taker| {
                if *taker.name != *name {
                    let change = taker.change.or_else(|| self.changing.get(&taker.name).copied());
                    found.push((change.is_some(), taker.name.clone(), change));
                }
            });
        }
        let first = found.into_iter().min_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        first.map(|(_, name, change)| (name, change))
    }
}

/// How certain it is that something stands in the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counting {
    /// Only what is there and stays as it is.
    Settled,
    /// What changes reserve as well.
    All,
}

impl<P: Placed> Meta<P> {
    /// Carries out a command.
    pub fn apply(&mut self, command: Command<'_, P>) -> Outcome<P> {
        match command {
            Command::Assign {
                account,
                config,
                limits,
            } => self.assign(account, config, limits),
            Command::Update {
                account,
                was,
                config,
                limits,
            } => self.update(account, was, config, limits),
            Command::Remove { account, name } => match self.free_to_change(account, name) {
                Err(change) => Outcome::Wait(change),
                Ok(None) => Outcome::Missing,
                Ok(Some(was)) => self.begin(account, name, None, Some(was)),
            },
            Command::Settle(change) => {
                self.settle(change);
                Outcome::Told(None)
            }
            Command::Place(stream) => Outcome::Told(self.place(stream)),
            Command::Gone { account, name, id } => Outcome::Told(self.gone(account, name, id)),
        }
    }

    /// The stream of that name, if it is there.
    pub fn get(&self, account: &str, name: &str) -> Option<&P> {
        self.accounts.get(account)?.streams.get(name)
    }

    /// The streams of an account that are there, by name.
    pub fn list(&self, account: &str) -> impl Iterator<Item = &P> {
        let account = self.accounts.get(account);
        account.into_iter().flat_map(|account| account.streams.values())
    }

    /// The streams that are there, by account and name.
    pub fn all(&self) -> impl Iterator<Item = &P> {
        self.accounts.values().flat_map(|account| account.streams.values())
    }

    /// The change of that stream that is under way.
    pub fn changing(&self, account: &str, name: &str) -> Option<ChangeId> {
        self.accounts.get(account)?.changing.get(name).copied()
    }

    /// Whether a change is under way.
    pub fn is_under_way(&self, change: ChangeId) -> bool {
        self.under_way.contains_key(&change)
    }

    /// The name of a stream of an account, but for the one that is named, that has subjects in common with these, or is going to.
    pub fn overlapping(&self, account: &str, name: &str, subjects: &[String]) -> Option<Arc<str>> {
        let found = self.accounts.get(account)?.overlapping(name, subjects);
        found.map(|(name, _)| name)
    }

    /// Whether a new stream would find room now, whatever its name and subjects.
    ///
    /// # Errors
    /// If it would not: what changes that are under way reserve counts as taken.
    pub fn check_room(&self, account: &str, config: &StreamConfig, limits: &Limits) -> Result<(), Refusal> {
        self.room(account, config, None, limits, Counting::All)
    }

    fn assign(&mut self, account: &str, config: &StreamConfig, limits: &Limits) -> Outcome<P> {
        match self.free_to_change(account, &config.name) {
            Err(change) => return Outcome::Wait(change),
            Ok(Some(stream)) if stream.config() == config => return Outcome::Exists(stream),
            Ok(Some(_)) => return Outcome::Refused(Refusal::Name),
            Ok(None) => {}
        }
        match self.obstacle(account, config, None, limits) {
            Some(outcome) => outcome,
            None => self.begin(account, &config.name, Some(Wants::of(config)), None),
        }
    }

    fn update(&mut self, account: &str, was: &StreamConfig, config: &StreamConfig, limits: &Limits) -> Outcome<P> {
        let stream = match self.free_to_change(account, &config.name) {
            Err(change) => return Outcome::Wait(change),
            Ok(None) => return Outcome::Missing,
            Ok(Some(stream)) if stream.config() != was => return Outcome::Changed,
            Ok(Some(stream)) => stream,
        };
        match self.obstacle(account, config, Some(was), limits) {
            Some(outcome) => outcome,
            None => self.begin(account, &config.name, Some(Wants::of(config)), Some(stream)),
        }
    }

    /// The stream of that name, unless it is changing.
    fn free_to_change(&self, account: &str, name: &str) -> Result<Option<P>, ChangeId> {
        match self.changing(account, name) {
            Some(change) => Err(change),
            None => Ok(self.get(account, name).cloned()),
        }
    }

    /// What keeps a stream from having that configuration; `before` is the one it has.
    fn obstacle(
        &self,
        account: &str,
        config: &StreamConfig,
        before: Option<&StreamConfig>,
        limits: &Limits,
    ) -> Option<Outcome<P>> {
        if let Err(refusal) = self.room(account, config, before, limits, Counting::Settled) {
            return Some(Outcome::Refused(refusal));
        }
        let of_account = self.accounts.get(account);
        let overlapping = of_account.and_then(|of| of.overlapping(&config.name, &config.subjects));
        match overlapping {
            Some((other, None)) => return Some(Outcome::Refused(Refusal::Subjects(other))),
            Some((_, Some(change))) => return Some(Outcome::Wait(change)),
            None => {}
        }
        if let Err(refusal) = self.room(account, config, before, limits, Counting::All) {
            // One of the account's own, or where the room is that of all, any: the oldest is over first.
            let own = self.under_way.iter().find(|(_, change)| *change.account == *account);
            let oldest = own.or_else(|| self.under_way.iter().next());
            return Some(oldest.map_or(Outcome::Refused(refusal), |(change, _)| Outcome::Wait(*change)));
        }
        // Two that copy each other would not see each other: they come one after the other.
        let others = copies(config).then(|| self.under_way.iter());
        let copying = others.into_iter().flatten().find(|(_, other)| {
            let copies = other.wants.as_ref().is_some_and(|wants| wants.copies);
            *other.account == *account && copies
        });
        copying.map(|(change, _)| Outcome::Wait(*change))
    }

    /// Whether there is room, in the order in which nats-server looks.
    fn room(
        &self,
        account: &str,
        config: &StreamConfig,
        before: Option<&StreamConfig>,
        limits: &Limits,
        counting: Counting,
    ) -> Result<(), Refusal> {
        let storage = config.storage;
        let bytes = limits::promise(config);
        let more = bytes.saturating_sub(before.map_or(0, limits::promise));
        let promised = self.promised_to(None, storage, counting);
        if beyond(promised, more, Some(limits.capacity.of(storage))) {
            return Err(Refusal::Room(storage));
        }
        let own = &limits.account;
        if before.is_none()
            && own
                .streams
                .is_some_and(|most| self.streams_of(account, counting) >= most)
        {
            return Err(Refusal::Streams);
        }
        if own.bytes_required && config.max_bytes <= 0 {
            return Err(Refusal::BytesRequired);
        }
        let (limit, most) = own.of(storage);
        if most.is_some_and(|most| bytes > most) {
            return Err(Refusal::StreamBytes);
        }
        match limit.is_some() && beyond(self.promised_to(Some(account), storage, counting), more, limit) {
            true => Err(Refusal::Room(storage)),
            false => Ok(()),
        }
    }

    /// How many bytes are promised to the streams of an account, or to all.
    fn promised_to(&self, account: Option<&str>, storage: Storage, counting: Counting) -> u128 {
        let there = match account {
            None => self.promised.of(storage),
            Some(account) => self.accounts.get(account).map_or(0, |of| of.promised.of(storage)),
        };
        let changing = self.under_way.values();
        let changing = changing.filter(|change| account.is_none_or(|account| *change.account == *account));
        changing.fold(there, |sum, change| {
            let is = self.get(&change.account, &change.name).map(Placed::config);
            let is = is.filter(|config| config.storage == storage).map_or(0, limits::promise);
            let wants = change.wants.as_ref().filter(|wants| wants.storage == storage);
            match counting {
                Counting::Settled => sum - u128::from(is),
                Counting::All => sum + u128::from(wants.map_or(0, |wants| wants.bytes).saturating_sub(is)),
            }
        })
    }

    /// How many streams an account has.
    fn streams_of(&self, account: &str, counting: Counting) -> u64 {
        let Some(of) = self.accounts.get(account) else {
            return 0;
        };
        let (is, becomes) = of.changing.iter().fold((0, 0), |(is, becomes), (name, change)| {
            let is_there = of.streams.contains_key(name);
            let stays = self.under_way.get(change).is_some_and(|change| change.wants.is_some());
            (is + usize::from(is_there), becomes + usize::from(stays && !is_there))
        });
        (match counting {
            Counting::Settled => of.streams.len() - is,
            Counting::All => of.streams.len() + becomes,
        }) as u64
    }

    fn begin(&mut self, account: &str, name: &str, wants: Option<Wants>, was: Option<P>) -> Outcome<P> {
        self.last_change += 1;
        let change = ChangeId(self.last_change);
        let account: Arc<str> = match self.accounts.get_key_value(account) {
            Some((account, _)) => account.clone(),
            None => account.into(),
        };
        let name: Arc<str> = name.into();
        let of = self.accounts.entry(account.clone()).or_default();
        for subject in wants.iter().flat_map(|wants| &wants.subjects) {
            let taker = Taker {
                name: name.clone(),
                change: Some(change),
            };
            // What is no subject is in nobody's way.
            let _ = of.subjects.insert(subject.as_bytes(), taker);
        }
        of.changing.insert(name.clone(), change);
        self.under_way.insert(change, UnderWay { account, name, wants });
        Outcome::Begun { change, was }
    }

    fn settle(&mut self, change: ChangeId) {
        let Some(over) = self.under_way.remove(&change) else {
            return;
        };
        let Some(of) = self.accounts.get_mut(&over.account) else {
            return;
        };
        of.changing.remove(&over.name);
        for subject in over.wants.iter().flat_map(|wants| &wants.subjects) {
            of.subjects
                .remove_where(subject.as_bytes(), |taker| taker.change == Some(change));
        }
        self.drop_if_empty(&over.account);
    }

    fn place(&mut self, stream: P) -> Option<P> {
        let (account, name) = (stream.account().clone(), stream.name().clone());
        let of = self.accounts.entry(account).or_default();
        let before = of.streams.insert(name.clone(), stream.clone());
        let config = stream.config();
        if let Some(before) = before.as_ref().map(Placed::config) {
            self.promised.take(before);
            of.promised.take(before);
        }
        self.promised.give(config);
        of.promised.give(config);
        if before
            .as_ref()
            .is_none_or(|before| before.config().subjects != config.subjects)
        {
            let former = before.iter().flat_map(|before| &before.config().subjects);
            let is_its_own = |taker: &Taker| taker.change.is_none() && taker.name == name;
            for subject in former {
                of.subjects.remove_where(subject.as_bytes(), is_its_own);
            }
            for subject in &config.subjects {
                let name = name.clone();
                let _ = of.subjects.insert(subject.as_bytes(), Taker { name, change: None });
            }
        }
        before
    }

    fn gone(&mut self, account: &str, name: &str, id: StreamId) -> Option<P> {
        let of = self.accounts.get_mut(account)?;
        if of.streams.get(name)?.id() != id {
            return None;
        }
        let stream = of.streams.remove(name)?;
        self.promised.take(stream.config());
        of.promised.take(stream.config());
        for subject in &stream.config().subjects {
            of.subjects.remove_where(subject.as_bytes(), |taker| {
                taker.change.is_none() && *taker.name == *name
            });
        }
        self.drop_if_empty(account);
        Some(stream)
    }

    fn drop_if_empty(&mut self, account: &str) {
        if self.accounts.get(account).is_some_and(Account::is_empty) {
            self.accounts.remove(account);
        }
    }
}
