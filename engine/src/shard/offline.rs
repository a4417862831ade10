//! Streams that are offline: a stream whose log or state failed stops alone, the others of its shard go on.
//!
//! What its memory held can still be read; whatever would change it is refused with the reason. In the background the
//! stream is opened anew from its log, its last snapshot and the journal, which is kept for it, until that works.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::backend::LogReader;
use crate::error::{Error, Kind, Result};
use crate::reject;
use crate::shard::aside::Looked;
use crate::shard::command::Commands;
use crate::shard::emit::{Emit, Event};
use crate::shard::errand::Errand;
use crate::shard::load;
use crate::shard::snapshot::StreamSnapshot;
use crate::shard::turn::Turn;
use crate::shard::{Input, Shard, ShardHandle};
use crate::store::{Catalogue, Environment, StreamEntry};
use crate::stream::Stream;
use crate::stream::settings::BackendKind;
use crate::types::{NanoTime, Nanos, SECOND, Seq, ShardId, StreamId};

/// How long an offline stream waits before it is opened anew, the first time; twice as long each time after.
const RETRY_FIRST: Nanos = SECOND;
/// The longest that it waits.
const RETRY_MAX: Nanos = 60 * SECOND;
/// What those are told whose pull requests end because the stream goes offline. Clients take it as nats-server's word for
/// a consumer that goes on elsewhere, and ask again.
pub(super) const PULLS_END: &str = "Leadership Change";

/// A stream that is offline.
pub(super) struct Offline {
    /// As the catalogue shows it.
    entry: StreamEntry,
    why: Arc<str>,
    /// Nothing of it is in the journal up to here that its last snapshot lacks; everything behind is needed to open it.
    saved: Seq,
    /// Its last journal record.
    last: Seq,
    retry_at: NanoTime,
    wait: Nanos,
    /// What memory had of it: to be read.
    frozen: Option<Box<Stream>>,
}

/// The offline streams of a shard, and the errand that opens one of them anew.
#[derive(Default)]
pub(super) struct OfflineStreams {
    streams: std::collections::BTreeMap<StreamId, Offline>,
    running: Option<(StreamId, Errand<Opened>)>,
}

/// What came of opening a stream anew.
struct Opened {
    stream: Result<(Stream, Looked)>,
    /// What can be read of it meanwhile, where that was not known.
    readable: Option<Stream>,
    /// How often a backend without journals had been let go of before.
    discards: u64,
}

impl OfflineStreams {
    pub fn contains(&self, id: StreamId) -> bool {
        self.streams.contains_key(&id)
    }

    /// Whether a stream is here only because the label of its log tells of it: see [`crate::orphans`].
    pub fn is_by_label(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(|offline| offline.saved == Seq::MAX)
    }

    /// All of them.
    pub fn ids(&self) -> Vec<StreamId> {
        self.streams.keys().copied().collect()
    }

    /// Whether memory still has a stream.
    pub fn is_readable(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(|offline| offline.frozen.is_some())
    }

    /// What memory had of a stream.
    pub fn frozen(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.get_mut(&id)?.frozen.as_deref_mut()
    }

    /// Why a stream cannot be changed now, or read if nothing is left of it; `None` if it is not offline.
    pub fn refusal(&self, id: StreamId) -> Option<Error> {
        let offline = self.streams.get(&id)?;
        Some(reject::STREAM_OFFLINE_REASON.with(&offline.why).into())
    }

    /// Whether one of them is being opened anew.
    pub fn is_opening(&self) -> bool {
        self.running.is_some()
    }

    /// The records of the journal that each needs: those behind the first of these, and up to the second.
    pub fn needs(&self) -> impl Iterator<Item = (StreamId, (Seq, Seq))> {
        let streams = self.streams.iter();
        streams.map(|(id, offline)| (*id, (offline.saved, offline.last)))
    }

    /// What a stream needed of the journal lies elsewhere now, unless it needs something else meanwhile.
    pub fn now_needs(&mut self, id: StreamId, before: (Seq, Seq), now: (Seq, Seq)) {
        if let Some(offline) = self.streams.get_mut(&id)
            && (offline.saved, offline.last) == before
        {
            (offline.saved, offline.last) = now;
        }
    }

    /// Records of the journal up to here are not needed by any of them; `None` if there is none.
    pub fn needs_behind(&self) -> Option<Seq> {
        self.streams.values().map(|offline| offline.saved).min()
    }

    /// Adds a stream of a shard that is suspended, and shows it as offline.
    pub fn suspend(&mut self, mut entry: StreamEntry, why: &Arc<str>, frozen: Option<Box<Stream>>, shown: &Catalogue) {
        entry.offline = Some(why.clone());
        entry.lacks_room = false;
        shown.put(entry.clone());
        self.streams.insert(
            entry.id,
            Offline {
                entry,
                why: why.clone(),
                saved: 0,
                last: 0,
                retry_at: NanoTime::MAX,
                wait: RETRY_FIRST,
                frozen,
            },
        );
    }

    /// Shows another reason for those that are offline for this one.
    pub fn retell(&mut self, before: &Arc<str>, why: &Arc<str>, shown: &Catalogue) {
        for offline in self.streams.values_mut().filter(|offline| offline.why == *before) {
            offline.why = why.clone();
            offline.entry.offline = Some(why.clone());
            shown.put(offline.entry.clone());
        }
    }

    /// The time of the day has stepped.
    pub fn step(&mut self, step: Nanos) {
        for offline in self.streams.values_mut() {
            offline.retry_at = offline.retry_at.saturating_add(step);
        }
    }

    /// When the next of them is to be opened anew.
    pub fn next_retry(&self) -> Option<NanoTime> {
        if self.running.is_some() {
            return None;
        }
        self.streams.values().map(|offline| offline.retry_at).min()
    }

    /// Waits for the one that is being opened, if there is one, and drops it.
    pub fn wait(&mut self) {
        if let Some((_, errand)) = self.running.take() {
            errand.wait();
        }
    }
}

impl Shard {
    /// See [`OfflineStreams::is_by_label`].
    pub(crate) fn is_by_label(&self, id: StreamId) -> bool {
        self.offline.is_by_label(id)
    }

    /// Takes a stream offline, because of this error: nothing of it is changed any more until it was opened anew.
    pub(super) fn take_offline(&mut self, id: StreamId, error: &Error, turn: &mut Turn<'_>) {
        let Some(mut stream) = self.streams.remove(&id) else {
            return;
        };
        if !stream.is_journaled() {
            // All there is of it is in memory: there is nothing to open anew.
            tracing::error!(stream = %stream.name(), "stream in memory: {error}");
            self.streams.insert(id, stream);
            return;
        }
        stream.end_all_pulls(PULLS_END, turn);
        for done in stream.take_waiting() {
            let error = error.clone();
            turn.emits.push(Emit::Done(Box::new(move |_| done(Err(&error)))));
        }
        if self.relocations.stop_for(id).is_some() {
            tracing::warn!(stream = %stream.name(), "its messages do not go over to another backend while it is offline");
        }
        stream.messages.copying = None;
        self.tending.stop_for(id);
        stream.messages.close();
        stream.touched = false;
        let saved = load::saved_position(&self.env, id).unwrap_or(0);
        if let Some(due) = self.deadline_of.remove(&id) {
            self.deadlines.remove(&(due, id));
        }
        let entry = StreamEntry::of(&stream, self.number);
        turn.emits.push(Emit::Event(Event::StreamOffline {
            account: entry.account.clone(),
            stream: entry.name.clone(),
            reason: reason(error),
        }));
        let (last, now) = (stream.position.max(self.position), turn.now);
        self.set_offline(entry, error, (saved, last), now, Some(Box::new(stream)));
    }

    /// Notes a stream that could not be opened: only its last snapshot tells of it.
    pub(crate) fn note_offline(&mut self, snapshot: &StreamSnapshot, error: &Error, now: NanoTime) {
        let entry = self.entry_of(snapshot);
        let position = snapshot.position;
        self.set_offline(entry, error, (position, position), now, None);
    }

    /// What the catalogue shows of a stream of which there is only this.
    pub(super) fn entry_of(&self, snapshot: &StreamSnapshot) -> StreamEntry {
        let id = StreamId(snapshot.id);
        let stats = self.env.pools.stats(&snapshot.account, snapshot.config.storage);
        match load::saved_ledger(&self.env, id) {
            Ok(ledger) => stats.set_lost(ledger.messages()),
            Err(error) => tracing::error!(stream = %snapshot.name, "what it has lost: {error}"),
        }
        StreamEntry {
            id,
            shard: self.number,
            account: snapshot.account.as_str().into(),
            name: snapshot.name.as_str().into(),
            config: snapshot.config.clone(),
            settings: snapshot.settings,
            created: snapshot.created,
            stats,
            offline: None,
            lacks_room: false,
        }
    }

    /// Shows a stream as offline. `journal` is up to where its last snapshot covers the journal, and its last record there.
    fn set_offline(
        &mut self,
        mut entry: StreamEntry,
        error: &Error,
        journal: (Seq, Seq),
        now: NanoTime,
        frozen: Option<Box<Stream>>,
    ) {
        let why = reason(error);
        let outlook = match remedy(error.kind) {
            Some(_) => "stream is offline",
            None => "stream is offline, and will be opened anew",
        };
        tracing::error!(account = %entry.account, stream = %entry.name, "{outlook}: {why}");
        entry.offline = Some(why.clone());
        entry.lacks_room = error.kind == Kind::Full;
        self.env.catalogue.put(entry.clone());
        let (saved, last) = journal;
        self.offline.streams.insert(
            entry.id,
            Offline {
                entry,
                why,
                saved,
                last,
                retry_at: now.saturating_add(RETRY_FIRST),
                wait: RETRY_FIRST,
                frozen,
            },
        );
    }

    /// The journal has more for a stream that is offline.
    pub(super) fn note_behind(&mut self, id: StreamId, position: Seq) {
        if let Some(offline) = self.offline.streams.get_mut(&id) {
            offline.last = offline.last.max(position);
        }
    }

    /// Begins to open the stream anew whose turn it is.
    pub(super) fn retry_offline(&mut self, now: NanoTime, handle: &ShardHandle) {
        if self.suspended.is_some() || self.offline.next_retry().is_none_or(|due| due > now) {
            return;
        }
        let next = self
            .offline
            .streams
            .iter_mut()
            .min_by_key(|(_, offline)| offline.retry_at);
        let Some((&id, offline)) = next else { return };
        offline.wait = offline.wait.saturating_mul(2).min(RETRY_MAX);
        offline.retry_at = now.saturating_add(offline.wait);
        let (env, journal, last, number) = (self.env.clone(), self.commit.reader(), offline.last, self.number);
        let is_replica = self.role.is_replica();
        let (kind, is_readable) = (offline.entry.settings.backend, offline.frozen.is_some());
        let handle = handle.clone();
        let work = move || {
            let discards = env.discards();
            let open = |env: &Arc<Environment>| {
                contained(|| open_anew(env, journal.as_ref(), (number, is_replica), id, last, now))
            };
            let stream = open(&env);
            let readable = match &stream {
                Err(error) if kind != BackendKind::Segment && !is_readable => env
                    .to_read_one(kind, &error.message.as_str().into())
                    .and_then(|read| open(&read).ok())
                    .map(|(stream, _)| stream),
                _ => None,
            };
            // A shard that is gone needs no telling.
            let _ = handle.send(vec![Input::Reopened]);
            Some(Opened {
                stream,
                readable,
                discards,
            })
        };
        let name = format!("weir-reopen-{}", self.number);
        match self.env.errands.begin(name, Box::new(work)) {
            Ok(errand) => self.offline.running = Some((id, errand)),
            Err(error) => tracing::error!("starting a thread to open a stream: {error}"),
        }
    }

    /// Lets go of what the shard holds of a backend without journals that is to be opened anew, if there is one: its streams
    /// are offline until then.
    pub(super) fn let_go_of_discarded(&mut self, turn: &mut Turn<'_>) {
        let discards = self.env.discards();
        if std::mem::replace(&mut self.discards, discards) == discards || self.suspended.is_some() {
            return;
        }
        self.stop_relocation();
        let is_of_it = |backend: BackendKind| !matches!(backend, BackendKind::Segment | BackendKind::Memory);
        let streams = self.streams.iter();
        let of_it = streams.filter(|(_, stream)| is_of_it(stream.messages.settings.backend));
        let ids: Vec<StreamId> = of_it.map(|(id, _)| *id).collect();
        for id in ids {
            let error = Error::new(Kind::Poisoned, "its storage failed, and is opened anew");
            self.take_offline(id, &error, turn);
        }
        for offline in self.offline.streams.values_mut() {
            if is_of_it(offline.entry.settings.backend) {
                offline.frozen = None;
                offline.retry_at = turn.now;
            }
        }
        self.restoring
            .retain(|_, restoring| !is_of_it(restoring.stream.messages.settings.backend));
    }

    /// Takes what came of opening a stream anew.
    ///
    /// # Errors
    /// If that found that the backend of the journals must be opened anew.
    pub(super) fn reopened(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        let Some((id, errand)) = self.offline.running.take() else {
            return Ok(());
        };
        let Opened {
            stream,
            readable,
            discards,
        } = errand.wait().unwrap_or_else(|| Opened {
            stream: Err(Error::closed("the thread that opened it panicked")),
            readable: None,
            discards: self.discards,
        });
        if !self.offline.contains(id) {
            return Ok(());
        }
        // Before it is back: where the journal has no room for that, the stream alone is opened once more, and not the shard.
        let stream = stream.and_then(|(stream, looked)| {
            let mut commands = Commands::default();
            self.note_looked((id, stream.name()), looked, turn.now, &mut commands);
            self.submit(&commands).map(|_| (stream, looked))
        });
        let Some(offline) = self.offline.streams.get_mut(&id) else {
            return Ok(());
        };
        let kind = offline.entry.settings.backend;
        match stream {
            Ok(_) if kind != BackendKind::Segment && discards != self.discards => {
                // It is on a backend that is let go of.
                Ok(())
            }
            Ok((mut stream, looked)) => {
                if let Some(mut frozen) = self.offline.streams.remove(&id).and_then(|offline| offline.frozen)
                    && let Err(error) = stream.take_over(&mut frozen)
                {
                    tracing::error!(stream = %stream.name(), "consumers in memory are lost: {error}");
                }
                tracing::warn!(account = %stream.account(), stream = %stream.name(), "stream was opened anew");
                stream.note_stats();
                self.env.catalogue.insert(&stream, self.number);
                turn.emits.push(Emit::Event(Event::StreamOnline {
                    account: stream.account().clone(),
                    stream: stream.name().clone(),
                }));
                if stream.wanted_settings().is_some() {
                    self.relocations.wanted(id);
                }
                self.streams.insert(id, stream);
                self.touch(id);
                // Nobody is told of what was found before it is on disk, nor does the log get anything more before what does not count is.
                turn.sync |= looked != Looked::default();
                Ok(())
            }
            Err(error) if error.kind == Kind::Poisoned && kind == BackendKind::Segment => Err(error),
            Err(error) => {
                if let Some(mut readable) = readable {
                    readable.messages.close();
                    readable.note_stats();
                    offline.entry.stats = readable.stats.clone();
                    offline.frozen = Some(Box::new(readable));
                    self.env.catalogue.put(offline.entry.clone());
                }
                let why = reason(&error);
                if offline.why != why {
                    tracing::error!(
                        account = %offline.entry.account, stream = %offline.entry.name,
                        "stream is still offline: {why}"
                    );
                    offline.why = why;
                    offline.entry.offline = Some(offline.why.clone());
                    offline.entry.lacks_room = error.kind == Kind::Full;
                    self.env.catalogue.put(offline.entry.clone());
                }
                if error.kind == Kind::Poisoned {
                    self.env.discard(kind, discards, turn.now);
                    self.let_go_of_discarded(turn);
                }
                Ok(())
            }
        }
    }

    /// Forgets a stream that is offline and is being deleted. `None` if it is not offline.
    ///
    /// # Errors
    /// While it is being opened anew: its log must be closed before it can be removed.
    pub(super) fn forget_offline(&mut self, id: StreamId) -> Result<Option<StreamEntry>> {
        if self.offline.running.as_ref().is_some_and(|(running, _)| *running == id) {
            let text = "it is being opened anew just now, try again";
            return Err(reject::STREAM_OFFLINE_REASON.with(text).into());
        }
        Ok(self.offline.streams.remove(&id).map(|offline| offline.entry))
    }
}

/// What whoever runs the server has to do, where opening a stream anew does not help by itself.
fn remedy(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Damaged => Some(
            "put back what is missing or damaged (with the server stopped, `weir inspect` shows what is there, `weir repair \
             --dry-run` what can be brought back); if nothing can, delete the stream",
        ),
        Kind::Rejected | Kind::Invalid => Some("trying again will not help: delete the stream"),
        // Its message says how the backend comes into the program.
        Kind::Unsupported => Some("or delete the stream"),
        Kind::Io | Kind::Poisoned | Kind::Closed | Kind::Busy | Kind::Full | Kind::Locked | Kind::NotLeading => None,
    }
}

/// What is told of a stream that is offline.
fn reason(error: &Error) -> Arc<str> {
    match remedy(error.kind) {
        Some(remedy) => format!("{error}; {remedy}").into(),
        None => error.message.as_str().into(),
    }
}

/// Opens one stream as [`Shard::open`] does all: its snapshot, its log, and the journal up to `last`.
fn open_anew(
    env: &Arc<Environment>,
    journal: &dyn LogReader,
    (number, is_replica): (ShardId, bool),
    id: StreamId,
    last: Seq,
    now: NanoTime,
) -> Result<(Stream, Looked)> {
    let (stream, looked) = load::load_one(env, journal, id, last, now)?;
    let mut stream = stream
        .ok_or_else(|| Error::damaged(format!("neither the catalogue nor journal {number} tells of log {id}")))?;
    if is_replica {
        // What is too old is for the leader to say.
        stream.become_replica();
        return Ok((stream, looked));
    }
    but_for_room(load::settle(env, &mut stream, now, now))?;
    Ok((stream, looked))
}

/// What a log has no room for stays in memory and in the journal, and is written when there is.
pub(super) fn but_for_room(written: Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind == Kind::Full => Ok(()),
        written => written,
    }
}

/// Runs what works on one stream, or one turn: a panic in it is an error like others, and reaches no further.
pub(super) fn contained<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(Error::closed(format!("a bug in the server, please report it: {text}")))
    })
}
