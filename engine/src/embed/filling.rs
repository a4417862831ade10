//! A stream that is made from messages and consumers which are there already: those of a backup, or of another store.

use std::sync::Arc;

use super::EmbeddedStream;
use super::outlet::Fetches;
use super::reserve;
use crate::consumer::ConsumerSnapshot;
use crate::error::{Error, Result};
use crate::meta::Refusal;
use crate::reject;
use crate::shard::{InTurn, ShardHandle};
use crate::store::{Capacity, Catalogue, Store};
use crate::stream::settings::{Defaults, Settings};
use crate::stream::validate::{Rules, ServerLimits, validate_restored};
use crate::stream::{Message, StreamConfig};
use crate::types::{NanoTime, Seq, StreamId};

/// A stream as it is to be made.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Its account.
    pub account: Arc<str>,
    /// Its configuration, validated.
    pub config: StreamConfig,
    /// Its storage.
    pub settings: Settings,
    /// When it was made; `None` if it is made now. Streams that copy it tell by this whether it is still the same.
    pub created: Option<NanoTime>,
}

/// A stream that is being filled, and that nobody sees before it is [finished](Filling::finish). Dropped before, or cut short
/// by a crash, it leaves nothing. Its functions wait, as those of an [`EmbeddedStream`] do.
pub struct Filling {
    shard: ShardHandle,
    fetches: Option<Arc<Fetches>>,
    catalogue: Arc<Catalogue>,
    id: StreamId,
    origin: Origin,
    over: bool,
}

impl Store {
    /// What a stream of this configuration would be made as: its rules are those of a restore. `defaults` says what its
    /// metadata leaves open.
    ///
    /// # Errors
    /// [`Rejected`](crate::Kind::Rejected) with JetStream's code if the configuration breaks a rule, the name is taken, or the
    /// account has a stream with subjects in common, which is named.
    pub fn origin(&self, account: &str, config: StreamConfig, defaults: &Defaults) -> Result<Origin> {
        let rules = Rules {
            limits: ServerLimits::default(),
            defaults,
            find: &|name| self.catalogue().get(account, name).map(|entry| entry.config.clone()),
            pedantic: false,
        };
        let (config, settings) = validate_restored(config, &rules)?;
        let origin = Origin {
            account: account.into(),
            config,
            settings,
            created: None,
        };
        origin.check_free(self.catalogue())?;
        Ok(origin)
    }

    /// Begins to fill a new stream; `first` is the first sequence that it may have.
    ///
    /// # Errors
    /// If its storage cannot be made.
    pub fn fill(&self, origin: Origin, first: Seq) -> Result<Filling> {
        let number = self.shard_for(&origin.account, &origin.config.name);
        let mut filling = Filling {
            shard: self.shard(number),
            fetches: self.fetches(number),
            catalogue: Arc::clone(self.catalogue()),
            id: self.allocate_id(),
            origin,
            over: false,
        };
        let Origin {
            account,
            config,
            settings,
            created,
        } = filling.origin.clone();
        let begun = filling.ask(move |shard, id| {
            shard.begin_restore(id, &account, config, settings, first)?;
            match created {
                Some(created) => shard.date_restore(id, created),
                None => Ok(()),
            }
        });
        // What it may have made of its storage goes too.
        begun.or_else(|error| filling.end().and(Err(error)))?;
        Ok(filling)
    }
}

impl Origin {
    fn check_free(&self, catalogue: &Catalogue) -> Result<()> {
        let (account, config) = (&self.account, &self.config);
        if catalogue.get(account, &config.name).is_some() {
            return Err(taken(&Refusal::Name));
        }
        match catalogue.overlapping(account, &config.name, &config.subjects) {
            Some(other) => Err(taken(&Refusal::Subjects(other))),
            None => Ok(()),
        }
    }
}

fn taken(refusal: &Refusal) -> Error {
    let rejection = refusal.rejection();
    match refusal {
        Refusal::Name => reject::STREAM_NAME_EXIST_RESTORE_FAILED,
        Refusal::Subjects(other) => reject::STREAM_RESTORE.with(format!("{}: {other}", rejection.text)),
        _ => rejection,
    }
    .into()
}

impl Filling {
    /// Adds messages, in the order of their sequences, each above those before. The stream's limits count as they come in, and
    /// a message whose TTL is over is left out. `removals_follow` says that some of the messages will be
    /// [taken out again](Filling::remove), of which limits must not know yet.
    ///
    /// # Errors
    /// If they are out of order, the stream has no room for them, or storage fails.
    pub fn push(&mut self, messages: Vec<Message>, removals_follow: bool) -> Result<()> {
        match self.ask(move |shard, id| shard.restore_messages(id, messages, removals_follow))? {
            true => self.sync(),
            false => Ok(()),
        }
    }

    /// Takes messages out again; those that are not there are no matter.
    ///
    /// # Errors
    /// If storage fails.
    pub fn remove(&mut self, seqs: Vec<Seq>) -> Result<()> {
        self.ask(move |shard, id| shard.restore_removals(id, &seqs))
    }

    /// The stream is whole: its last sequence is `last`, given at `last_time` if that is known, and these are its consumers.
    /// From here on it is a stream like any other, and on disk.
    ///
    /// # Errors
    /// If the name or the subjects were taken meanwhile, or storage fails.
    pub fn finish(
        mut self,
        last: Seq,
        last_time: Option<NanoTime>,
        consumers: Vec<ConsumerSnapshot>,
    ) -> Result<EmbeddedStream> {
        self.sync()?;
        let (account, config) = (&self.origin.account, &self.origin.config);
        // That there was room for what it holds was seen as it came.
        let reservation = reserve(&self.catalogue, account, config, Capacity::default());
        let reservation = reservation.map_err(|refusal| taken(&refusal))?;
        let _reserved = self.ask(move |shard, id| {
            shard.finish_restore(id, last, last_time, consumers)?;
            Ok(reservation)
        })?;
        self.end()?;
        Ok(EmbeddedStream {
            shard: self.shard.clone(),
            id: self.id,
            fetches: self.fetches.clone(),
        })
    }

    fn ask<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut InTurn<'_, '_>, StreamId) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let id = self.id;
        self.shard.call_blocking(move |shard| work(shard, id))
    }

    /// Makes durable what came so far, not on the shard's thread.
    fn sync(&self) -> Result<()> {
        let backend = self.ask(|shard, id| shard.restore_backend(id))?;
        backend.sync()
    }

    /// Forgets that it is being filled; what is not finished goes.
    fn end(&mut self) -> Result<()> {
        self.over = true;
        self.ask(|shard, id| shard.end_restore(id))
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let ended: Result<(), Error> = self.end();
        if let Err(error) = ended {
            let name = &self.origin.config.name;
            tracing::error!(stream = %name, "what was filled of it goes at the next start: {error}");
        }
    }
}
