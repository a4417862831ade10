//! A shard whose journal cannot be opened, or not be written, as on a file system that became read-only. Nothing of what a
//! journal tells of is changed then: the shard's streams are offline, and read as far as the disk gives them. Streams in
//! memory go on. Nothing on disk is touched; from time to time it is tried to open the shard as it should be.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::backend::{LogOptions, Recovery};
use crate::error::{Error, Kind, Result};
use crate::shard::commit::Commit;
use crate::shard::emit::Event;
use crate::shard::journal::LocalJournal;
use crate::shard::load::{load_stream, settle};
use crate::shard::offline::{but_for_room, contained};
use crate::shard::snapshot::{STREAM_PREFIX, StreamSnapshot};
use crate::shard::{Role, Shard};
use crate::store::{ClosedLog, Environment, SKIPPED_IDS, StreamEntry};
use crate::stream::Stream;
use crate::stream::settings::BackendKind;
use crate::types::{NanoTime, Nanos, SECOND, ShardId, StreamId};

/// How long such a shard waits before it is opened anew, the first time; twice as long each time after. Trying costs
/// little, as it ends at the journal.
const RETRY_FIRST: Nanos = SECOND;
/// The longest that it waits.
const RETRY_MAX: Nanos = 8 * SECOND;

/// Why a shard is suspended, and until when.
pub(super) struct Suspended {
    why: Arc<str>,
    /// What failed first, if it was open before.
    cause: Option<String>,
    /// Whether all its streams are known: not if a start could not read the journal that may name more.
    knows_streams: bool,
    retry_at: NanoTime,
    wait: Nanos,
}

impl Suspended {
    fn new(why: Arc<str>, cause: Option<String>, knows_streams: bool, now: NanoTime) -> Self {
        Self {
            why,
            cause,
            knows_streams,
            retry_at: now.saturating_add(RETRY_FIRST),
            wait: RETRY_FIRST,
        }
    }

    /// What is answered to those who want to change something.
    pub fn refusal(&self) -> Error {
        Error::new(Kind::Io, &*self.why)
    }

    /// When it is tried again to open the shard.
    pub fn retry_at(&self) -> NanoTime {
        self.retry_at
    }

    /// The time of the day has stepped.
    pub fn step(&mut self, step: Nanos) {
        self.retry_at = self.retry_at.saturating_add(step);
    }
}

impl Shard {
    /// Opens a shard at the start of a store. One that cannot be opened is suspended.
    ///
    /// # Errors
    /// If not even the catalogue can be read.
    pub(crate) fn open_or_suspend(number: ShardId, env: &Arc<Environment>, role: Role, now: NanoTime) -> Result<Self> {
        let error = match Self::open(number, env.clone(), role, now) {
            Ok(shard) => return Ok(shard),
            Err(error) => error,
        };
        let why = reason(number, None, &error);
        let mut shard = Self::empty(number, env.clone(), closed(number, env));
        let has_journal = shard.take_readable(&why, now);
        if !has_journal {
            shard.name_streams(&why)?;
            // The journal may name logs that nothing else does, and that are gone by now.
            env.catalogue.hide_ids(number, SKIPPED_IDS);
        }
        shard.suspended = Some(Suspended::new(why.clone(), None, has_journal, now));
        tracing::error!(shard = %number, "{why}");
        env.catalogue.set_trouble(number, Some(why.to_string()));
        Ok(shard)
    }

    /// Why nothing can be written, if that is so.
    pub(super) fn suspension(&self) -> Option<Error> {
        self.suspended.as_ref().map(Suspended::refusal)
    }

    /// Whether the shard is suspended.
    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.is_some()
    }

    /// Whether the shard is suspended and may have streams that are not known.
    pub(crate) fn is_unread(&self) -> bool {
        self.suspended
            .as_ref()
            .is_some_and(|suspended| !suspended.knows_streams)
    }

    /// Whether it is time to open a suspended shard anew.
    pub(super) fn is_due_to_open(&self, now: NanoTime) -> bool {
        self.suspended
            .as_ref()
            .is_some_and(|suspended| suspended.retry_at <= now)
    }

    /// Opening the shard anew failed, `again` if there was a first `error`: suspends it, unless it is already. Answers what is to be told.
    pub(super) fn suspend(&mut self, error: Option<&Error>, again: &Error, now: NanoTime) -> Vec<Event> {
        let before = self.suspended.as_ref().and_then(|suspended| suspended.cause.clone());
        let cause = before.or_else(|| error.map(ToString::to_string));
        let why = reason(self.number, cause.as_deref(), again);
        self.env.catalogue.set_trouble(self.number, Some(why.to_string()));
        if let Some(suspended) = &mut self.suspended {
            suspended.wait = suspended.wait.saturating_mul(2).min(RETRY_MAX);
            suspended.retry_at = now.saturating_add(suspended.wait);
            if suspended.why != why {
                tracing::error!(shard = %self.number, "{why}");
                let before = std::mem::replace(&mut suspended.why, why.clone());
                self.offline.retell(&before, &why, &self.env.catalogue);
            }
            return Vec::new();
        }
        tracing::error!(shard = %self.number, "{why}");
        let mut fresh = Self::empty(self.number, self.env.clone(), closed(self.number, &self.env));
        let has_journal = fresh.take_readable(&why, now);
        let mut events = Vec::new();
        for entry in self.env.catalogue.journaled_of(self.number) {
            if !fresh.offline.contains(entry.id) {
                if has_journal {
                    // It was made in the turn that failed.
                    self.env.catalogue.remove(&entry.account, &entry.name, entry.id);
                    continue;
                }
                let entry = StreamEntry::clone(&entry);
                fresh.offline.suspend(entry, &why, None, &self.env.catalogue);
            }
            events.push(Event::StreamOffline {
                account: entry.account.clone(),
                stream: entry.name.clone(),
                reason: why.clone(),
            });
        }
        fresh.suspended = Some(Suspended::new(why, cause, true, now));
        fresh.role = self.role;
        fresh.take_over_memory(self);
        fresh.schedule(now);
        *self = fresh;
        events
    }

    /// Takes up what can be read of the shard's streams, all offline; answers whether that is all that the journal tells.
    fn take_readable(&mut self, why: &Arc<str>, now: NanoTime) -> bool {
        let Some((mut read, has_journal)) = read_streams(self.number, &self.env, why, now) else {
            return false;
        };
        self.offline = std::mem::take(&mut read.offline);
        self.unremoved = std::mem::take(&mut read.unremoved);
        for (_, stream) in std::mem::take(&mut read.streams) {
            self.freeze(stream, why);
        }
        has_journal
    }

    /// Shows the streams of the last checkpoint as offline that could not be read, and nothing of them.
    fn name_streams(&mut self, why: &Arc<str>) -> Result<()> {
        let mut snapshots = Vec::new();
        let root = self.env.backend(BackendKind::Segment)?;
        root.kv().scan(STREAM_PREFIX, None, &mut |_, value| {
            // What is damaged is told when the shard is opened.
            snapshots.extend(StreamSnapshot::read(value, None));
            ControlFlow::Continue(())
        })?;
        for snapshot in snapshots.iter().filter(|snapshot| snapshot.shard == self.number) {
            if !self.offline.contains(StreamId(snapshot.id)) {
                let entry = self.entry_of(snapshot);
                self.offline.suspend(entry, why, None, &self.env.catalogue);
            }
        }
        Ok(())
    }

    /// Shows streams as offline of which only the labels of their logs tell, in the order of these, and what their logs have.
    pub(crate) fn show_labelled(&mut self, snapshots: Vec<StreamSnapshot>, now: NanoTime) {
        let why = match &self.suspended {
            Some(suspended) if !snapshots.is_empty() => suspended.why.clone(),
            _ => return,
        };
        let read = self.env.to_read(&why);
        // Where several have a name, all but the last were deleted.
        for snapshot in snapshots.into_iter().rev() {
            if self.env.catalogue.get(&snapshot.account, &snapshot.name).is_some() {
                continue;
            }
            let loaded = read.as_ref().map(|read| {
                contained(|| {
                    let mut stream = load_stream(read, snapshot.clone(), now, true)?;
                    but_for_room(settle(read, &mut stream, now, now))?;
                    Ok(stream)
                })
            });
            match loaded {
                Some(Ok(stream)) => self.freeze(stream, &why),
                _ => {
                    let entry = self.entry_of(&snapshot);
                    self.offline.suspend(entry, &why, None, &self.env.catalogue);
                }
            }
        }
    }

    /// Takes up a stream that can only be read.
    fn freeze(&mut self, mut stream: Stream, why: &Arc<str>) {
        stream.messages.close();
        stream.touched = false;
        stream.note_stats();
        let entry = StreamEntry::of(&stream, self.number);
        self.offline
            .suspend(entry, why, Some(Box::new(stream)), &self.env.catalogue);
    }

    /// The streams that are online now, for those to be told who saw the rest of them offline or not at all.
    pub(super) fn online(&self) -> Vec<Event> {
        let journaled = self.streams.values().filter(|stream| stream.is_journaled());
        journaled
            .map(|stream| Event::StreamOnline {
                account: stream.account().clone(),
                stream: stream.name().clone(),
            })
            .collect()
    }

    /// Whether a new stream may be made.
    ///
    /// # Errors
    /// The shard is suspended, and the stream would be journaled, or may have the name of one that is not known; or no stream of it
    /// [may have](crate::ShardId::may_have) that id.
    pub(super) fn check_creation(&self, id: StreamId, journaled: bool) -> Result<()> {
        if !self.number.may_have(id) {
            let shard = self.number;
            return Err(Error::invalid(format!("no stream of shard {shard} may have log {id}")));
        }
        match &self.suspended {
            Some(suspended) if journaled || !suspended.knows_streams => Err(suspended.refusal()),
            _ => Ok(()),
        }
    }
}

/// What takes nothing.
pub(super) fn closed(number: ShardId, env: &Arc<Environment>) -> Box<dyn Commit> {
    LocalJournal::of(number, env.clone(), Box::new(ClosedLog))
}

fn reason(number: ShardId, cause: Option<&str>, error: &Error) -> Arc<str> {
    match cause {
        Some(cause) => format!("storage thread {number} failed: {cause}; opening it anew: {error}"),
        None => format!("storage thread {number} cannot be opened: {error}"),
    }
    .into()
}

/// Opens a shard for reading only; answers whether its journal could be read, too.
fn read_streams(number: ShardId, env: &Arc<Environment>, why: &Arc<str>, now: NanoTime) -> Option<(Shard, bool)> {
    let read = env.to_read(why)?;
    let opened = contained(|| open_to_read(number, &read, now));
    opened
        .map(|(shard, journal)| (shard, journal.is_ok()))
        .inspect_err(|error| tracing::warn!(shard = %number, "its streams cannot be read meanwhile: {error}"))
        .ok()
}

/// Opens a shard by an environment that only reads; and says what opening its journal found. Without one, its streams are as the
/// last checkpoint has them.
///
/// # Errors
/// If the catalogue cannot be read.
pub(crate) fn open_to_read(
    number: ShardId,
    read: &Arc<Environment>,
    now: NanoTime,
) -> Result<(Shard, Result<Recovery>)> {
    let root = read.backend(BackendKind::Segment)?;
    let existing = LogOptions {
        existing: true,
        preallocate: true,
        ..LogOptions::default()
    };
    let id = number.journal();
    match root.open(id, &existing) {
        Ok((journal, recovery)) => {
            let commit = LocalJournal::of(number, read.clone(), journal);
            let shard = Shard::open_on(number, read.clone(), (commit, Role::Alone), &recovery, now)?;
            Ok((shard, Ok(recovery)))
        }
        Err(error) => {
            tracing::warn!(
                shard = %number,
                "what its streams have is read without the journal: {error}"
            );
            let nothing = Recovery {
                created: !root.list()?.contains(&id),
                ..Recovery::default()
            };
            let commit = LocalJournal::of(number, read.clone(), read.no_log());
            let shard = Shard::open_on(number, read.clone(), (commit, Role::Alone), &nothing, now)?;
            Ok((shard, Err(error)))
        }
    }
}
