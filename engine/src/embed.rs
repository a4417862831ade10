//! Streams for a program that has no server: made with the same rules, and asked by functions that wait.

mod consumer;
mod filling;
pub(crate) mod outlet;
mod tending;

use std::sync::Arc;

use bytes::Bytes;

pub use consumer::{EmbeddedMessage, FETCH_MAX};
pub use filling::{Filling, Origin};

use crate::error::{Error, Result};
use crate::meta::{self, AccountLimits, Limits, Refusal};
use crate::reject;
use crate::shard::emit::PubAck;
use crate::shard::{InTurn, Looking, ShardHandle};
use crate::store::{Capacity, Catalogue, Intent, Reservation, Store};
use crate::stream::settings::Defaults;
use crate::stream::validate::{Rules, ServerLimits, validate_new};
use crate::stream::{AtHand, Found, Message, Purge, SIGHT_LOOKS, Search, Sight, Stream, StreamConfig, StreamState};
use crate::types::{Seq, StreamId};
use outlet::Fetches;

/// The account that a server gives to clients that name none: streams made in it are what its clients see.
pub const GLOBAL_ACCOUNT: &str = "$G";

/// A stream, for any thread. Its functions wait for the stream's shard, and for the disk where the stream's durability
/// says so: not for a shard's own thread, nor for an async worker.
#[derive(Clone)]
pub struct EmbeddedStream {
    shard: ShardHandle,
    id: StreamId,
    /// Where its consumers' messages go; `None` if the store's outlet is another.
    fetches: Option<Arc<Fetches>>,
}

impl Store {
    /// Makes a stream, with the rules that a server keeps. `defaults` says what its metadata leaves open. Waits for others that are
    /// just being made where those may be in its way.
    ///
    /// # Errors
    /// [`Rejected`](crate::Kind::Rejected) with JetStream's code if the configuration breaks a rule, the name is
    /// taken, another stream of the account has a subject in common with it, or all streams together would be promised more bytes
    /// than the store may [hold](Store::capacity); or that its storage cannot be made.
    pub fn create_stream(&self, account: &str, config: StreamConfig, defaults: &Defaults) -> Result<EmbeddedStream> {
        let rules = Rules {
            limits: ServerLimits::default(),
            defaults,
            find: &|name| self.catalogue().get(account, name).map(|entry| entry.config.clone()),
            pedantic: false,
        };
        let again = meta::copies(&config).then(|| config.clone());
        let (mut config, mut settings) = validate_new(config, &rules)?;
        let reservation = reserve(self.catalogue(), account, &config, self.capacity())?;
        if let Some(again) = again {
            // What its origins are stays as it is now: who else has some waits.
            (config, settings) = validate_new(again, &rules)?;
        }
        let number = self.shard_for(account, &config.name);
        let shard = self.shard(number);
        let id = self.allocate_id();
        let account: Arc<str> = account.into();
        let _reserved = shard.call_blocking(move |shard| {
            shard.create_stream(id, &account, config, settings)?;
            Ok(reservation)
        })?;
        let fetches = self.fetches(number);
        Ok(EmbeddedStream { shard, id, fetches })
    }

    /// The stream of that name.
    ///
    /// # Errors
    /// [`Rejected`](crate::Kind::Rejected), "stream not found", if there is none.
    pub fn stream(&self, account: &str, name: &str) -> Result<EmbeddedStream> {
        let entry = self.catalogue().get(account, name).ok_or(reject::STREAM_NOT_FOUND)?;
        Ok(EmbeddedStream {
            shard: self.shard(entry.shard),
            id: entry.id,
            fetches: self.fetches(entry.shard),
        })
    }
}

/// Reserves what a new stream takes, and room within `capacity`. Waits for changes that may be in its way.
///
/// # Errors
/// The rule that is against it.
fn reserve(
    catalogue: &Arc<Catalogue>,
    account: &str,
    config: &StreamConfig,
    capacity: Capacity,
) -> Result<Reservation, Refusal> {
    let limits = Limits {
        capacity,
        account: AccountLimits::default(),
    };
    loop {
        match catalogue.assign(account, config, &limits) {
            Intent::Reserved(reservation, _) => return Ok(reservation),
            Intent::Refused(refusal) => return Err(refusal),
            Intent::Wait(change) => change.wait(),
            // Who makes a stream here does not look for one. The others are not said of a stream that is to be made.
            Intent::Exists(_) | Intent::Missing | Intent::Changed => return Err(Refusal::Name),
        }
    }
}

impl EmbeddedStream {
    /// Stores a message; `headers` is a whole NATS header block, or empty.
    ///
    /// # Errors
    /// [`Invalid`](crate::Kind::Invalid) if the subject is not one of the stream's; otherwise as a publisher is told.
    pub fn publish(&self, subject: &str, headers: &str, payload: &[u8]) -> Result<PubAck> {
        let subject = Bytes::copy_from_slice(subject.as_bytes());
        let body = Bytes::from([headers.as_bytes(), payload].concat());
        let headers_len = headers.len();
        self.call(move |shard, id| {
            let stream = shard.stream(id)?;
            let filters = &stream.config().subjects;
            if !weir_subject::is_valid_subject(&subject)
                || !weir_subject::is_literal(&subject)
                || !filters
                    .iter()
                    .any(|filter| weir_subject::matches(filter.as_bytes(), &subject))
            {
                return Err(Error::invalid(format!(
                    "{:?} is not a subject of stream {}",
                    String::from_utf8_lossy(&subject),
                    stream.name()
                )));
            }
            shard.publish(id, subject, headers_len, body)
        })
    }

    /// The message of that sequence.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn message(&self, seq: Seq) -> Result<Option<Message>> {
        match self.seen(Search::of_seq(seq)) {
            Some(seen) => Ok(seen),
            None => self.read(move |stream| stream.message(seq)),
        }
    }

    /// The newest message whose subject matches.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn last_message(&self, filter: &str) -> Result<Option<Message>> {
        if let Some(seen) = self.seen(Search::newest(filter.as_bytes())) {
            return Ok(seen);
        }
        let filter = filter.to_owned();
        self.read(move |stream| stream.last_message(filter.as_bytes()))
    }

    /// Messages from a sequence on whose subjects match, in order: `limit` at most, and about `bytes` of them. The next
    /// portion begins after the last of these.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn messages(&self, filter: &str, from: Seq, limit: usize, bytes: usize) -> Result<Vec<Message>> {
        let filter = filter.to_owned();
        self.read(move |stream| {
            let mut search = Search::from(filter.as_bytes(), from);
            let (mut all, mut size) = (Vec::new(), 0);
            while all.len() < limit && size < bytes {
                match stream.search(&mut search)? {
                    Found::Message(message) => {
                        size += message.headers.len() + message.payload.len();
                        all.push(message);
                    }
                    Found::Nothing => break,
                    Found::Later | Found::Unread(_) => {}
                }
            }
            Ok(all)
        })
    }

    /// What it holds.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn state(&self) -> Result<StreamState> {
        self.read(Stream::state)
    }

    /// Removes messages; answers how many.
    ///
    /// # Errors
    /// If the stream does not allow it.
    pub fn purge(&self, purge: Purge) -> Result<u64> {
        let purged = self.call(move |shard, id| shard.purge(id, &purge))?;
        Ok(purged.count())
    }

    /// Deletes the stream with all it holds.
    ///
    /// # Errors
    /// If it is gone already.
    pub fn delete(&self) -> Result<()> {
        self.call(|shard, id| shard.delete_stream(id))
    }

    /// What a search is for, if that can be had without the shard's thread.
    fn seen(&self, mut search: Search) -> Option<Option<Message>> {
        let look = |shard: &mut Looking<'_>| shard.sight(self.id, &mut search, &mut { SIGHT_LOOKS });
        match self.shard.look(look)? {
            Sight::Message(message) => Some(Some(message)),
            Sight::Nothing => Some(None),
            Sight::InLog(unread) => match unread.read_at_hand() {
                AtHand::Message(message) => Some(Some(message)),
                AtHand::Unread => unread.read().map(Some),
                AtHand::Odd => None,
            },
        }
    }

    /// Runs a function on the stream's shard, within one turn.
    ///
    /// # Errors
    /// What the function answers, or that the store is closed or its storage failed.
    pub fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut InTurn<'_, '_>, StreamId) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let id = self.id;
        self.shard.call_blocking(move |shard| work(shard, id))
    }

    /// Reads the stream on its shard.
    ///
    /// # Errors
    /// As [`EmbeddedStream::call`], or that the stream is gone.
    pub fn read<R: Send + 'static>(&self, work: impl FnOnce(&mut Stream) -> Result<R> + Send + 'static) -> Result<R> {
        self.call(move |shard, id| work(shard.stream(id)?))
    }
}
