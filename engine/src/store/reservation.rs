//! What a change of a stream has taken until it is over, as something that is held: dropped, by an error, a panic or a future
//! that nobody asks any more as well, it settles the change.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::catalogue::{Catalogue, StreamEntry};
use crate::meta::{ChangeId, Command, Limits, Outcome, Refusal};
use crate::stream::StreamConfig;

/// A change of a stream that is under way. Nobody else makes, changes or deletes the stream, or takes what it reserved, while it is
/// held. Whoever has a storage thread carry it out has the call hold it as well, that it is not over before that is done.
pub struct Reservation {
    catalogue: Arc<Catalogue>,
    change: ChangeId,
}

/// What came of the wish to change a stream.
pub enum Intent {
    /// It may be done. With it the stream as it was, if there was one.
    Reserved(Reservation, Option<Arc<StreamEntry>>),
    /// There is a stream of the same name and configuration.
    Exists(Arc<StreamEntry>),
    /// There is none of that name.
    Missing,
    /// It is not any more what the new configuration was validated against: that has to be done anew.
    Changed,
    /// A rule is against it.
    Refused(Refusal),
    /// Nothing can be said before another change is over: to be asked again then.
    Wait(UnderWay),
}

/// A change that somebody else has under way.
pub struct UnderWay {
    catalogue: Arc<Catalogue>,
    change: ChangeId,
}

/// Called when a change is over.
type Then = Box<dyn FnOnce() + Send>;

/// Who waits for changes to be over.
#[derive(Default)]
pub(super) struct Waiting(BTreeMap<ChangeId, Vec<Then>>);

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Catalogue {
    /// Reserves what a new stream takes: its name, its subjects, room. `config` was validated.
    pub fn assign(self: &Arc<Self>, account: &str, config: &StreamConfig, limits: &Limits) -> Intent {
        self.intend(Command::Assign {
            account,
            config,
            limits,
        })
    }

    /// Reserves what another configuration of a stream takes. `was` is what `config` was validated against.
    pub fn update(
        self: &Arc<Self>,
        account: &str,
        was: &StreamConfig,
        config: &StreamConfig,
        limits: &Limits,
    ) -> Intent {
        self.intend(Command::Update {
            account,
            was,
            config,
            limits,
        })
    }

    /// Lets nobody else change a stream that is going to be deleted.
    pub fn withdraw(self: &Arc<Self>, account: &str, name: &str) -> Intent {
        self.intend(Command::Remove { account, name })
    }

    /// The stream of that name, once no change of it is under way.
    ///
    /// # Errors
    /// The change to wait for.
    pub fn settled(self: &Arc<Self>, account: &str, name: &str) -> Result<Option<Arc<StreamEntry>>, UnderWay> {
        let streams = self.streams.read();
        match streams.changing(account, name) {
            None => Ok(streams.get(account, name).cloned()),
            Some(change) => Err(UnderWay {
                catalogue: Arc::clone(self),
                change,
            }),
        }
    }

    /// Whether a new stream would find room now, whatever its name and subjects. Nothing is reserved.
    ///
    /// # Errors
    /// The rule that is against it.
    pub fn check_room(&self, account: &str, config: &StreamConfig, limits: &Limits) -> Result<(), Refusal> {
        self.streams.read().check_room(account, config, limits)
    }

    fn intend(self: &Arc<Self>, command: Command<'_, Arc<StreamEntry>>) -> Intent {
        let catalogue = Arc::clone(self);
        let outcome = self.streams.write().apply(command);
        match outcome {
            Outcome::Begun { change, was } => Intent::Reserved(Reservation { catalogue, change }, was),
            Outcome::Exists(stream) => Intent::Exists(stream),
            // A fact is no wish.
            Outcome::Missing | Outcome::Told(_) => Intent::Missing,
            Outcome::Changed => Intent::Changed,
            Outcome::Refused(refusal) => Intent::Refused(refusal),
            Outcome::Wait(change) => Intent::Wait(UnderWay { catalogue, change }),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.catalogue.streams.write().apply(Command::Settle(self.change));
        // Who came before that line is in here, who comes after it does not wait any more.
        let waited = self.catalogue.waiting.lock().0.remove(&self.change);
        for then in waited.into_iter().flatten() {
            then();
        }
    }
}

impl UnderWay {
    /// Calls `then` when the change is over, from whichever thread that is on; at once if it is over already.
    pub fn when_over(self, then: impl FnOnce() + Send + 'static) {
        let mut waiting = self.catalogue.waiting.lock();
        if self.catalogue.streams.read().is_under_way(self.change) {
            waiting.0.entry(self.change).or_default().push(Box::new(then));
            return;
        }
        drop(waiting);
        then();
    }

    /// Waits for the change to be over: not on a shard's thread, nor on an async worker.
    pub fn wait(self) {
        let (sender, receiver) = crossbeam_channel::bounded::<()>(1);
        self.when_over(move || drop(sender));
        // It ends with the sender.
        let _ = receiver.recv();
    }
}
