//! Checkpoints: from time to time the logs are synced and what they do not know is noted, so that the journal before
//! can be used again.
//!
//! The order is what makes it safe: first the logs are on disk, then the snapshots that build on them, and only then
//! is the journal trimmed. Syncing happens on a thread of its own; the shard goes on meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::backend::{Backend, Kv, KvWrite};
use crate::error::{Error, Kind, Result};
use crate::shard::errand::Errand;
use crate::shard::holes::covered_key;
use crate::shard::keeping::Keep;
use crate::shard::load::saved_position;
use crate::shard::restore::to_remove;
use crate::shard::snapshot::{StreamSnapshot, dedup_writes, forget_dedup, ledger_key, stream_key};
use crate::shard::{Input, Role, Shard, ShardHandle};
use crate::store::Environment;
use crate::stream::Stream;
use crate::stream::settings::BackendKind;
use crate::types::{NanoTime, Seq, StreamId};

/// Bytes of message ids that a checkpoint writes in one step.
const PORTION_BYTES: usize = 64 << 20;

/// How a shard stands between two checkpoints.
#[derive(Default)]
pub(super) struct Checkpoint {
    /// Bytes that the journal grew by since the last one.
    journal_bytes: usize,
    /// The one that is being written.
    running: Option<Errand<Result<Written, Failed>>>,
    /// Whether one was written in this turn: a time to reclaim storage also where it is never quiet.
    pub written: bool,
    /// Why the last one failed. What failed may have lost writes: only opening anew shows what is there. But that can
    /// wait for the end of the turn, for the journal has everything.
    pub failure: Option<Error>,
    /// What that one or one that failed removes the snapshots of.
    removing: Vec<StreamId>,
    /// Streams deleted whose snapshots have to go.
    deleted: Vec<StreamId>,
}

/// What came of a checkpoint.
pub(super) struct Written {
    /// All is written up to this record of the journal.
    position: Seq,
    /// Streams whose indexes may not be kept.
    unkept: Vec<StreamId>,
}

/// Why a checkpoint was not written.
pub(super) struct Failed {
    /// The backend that failed.
    kind: BackendKind,
    error: Error,
}

/// What a checkpoint writes.
struct Job {
    env: Arc<Environment>,
    /// The opening of the backends that the logs to be synced belong to.
    generation: u64,
    /// How often one without journals had been let go of then.
    discards: u64,
    backends: BTreeSet<BackendKind>,
    /// Message ids, which are written before what counts on them; in portions, for there may be many.
    ids: Vec<KvWrite>,
    writes: Vec<KvWrite>,
    /// What is to be kept of indexes, once the logs are synced.
    keep: Vec<Keep>,
    position: Seq,
    /// What comes next.
    next: Stage,
}

/// The pieces of a checkpoint's work, between which the shard may have its turns.
enum Stage {
    Logs,
    Ids,
    Snapshots,
    Sync,
    Indexes,
}

impl Checkpoint {
    /// The journal grew.
    pub fn grown(&mut self, bytes: usize) {
        self.journal_bytes = self.journal_bytes.saturating_add(bytes);
    }

    /// Waits for the one that is being written, if there is one; answers what came of it.
    pub fn wait(&mut self) -> Option<Result<Written, Failed>> {
        let outcome = self.running.take()?.wait();
        Some(outcome.unwrap_or_else(|| {
            Err(Failed {
                kind: BackendKind::Segment,
                error: Error::closed("the thread of a checkpoint panicked"),
            })
        }))
    }

    /// A stream was deleted.
    pub fn deleted(&mut self, id: StreamId) {
        self.deleted.push(id);
    }

    /// The turn that deleted a stream is no fact.
    pub fn not_deleted(&mut self, id: StreamId) {
        self.deleted.retain(|deleted| *deleted != id);
    }
}

impl Shard {
    /// Begins a checkpoint if the journal grew enough since the last.
    pub(super) fn checkpoint_if_due(&mut self, handle: &ShardHandle) {
        let is_due = self.checkpoint.journal_bytes >= self.env.checkpoint_bytes || self.has_many_drafts();
        if self.checkpoint.running.is_some() || !is_due {
            return;
        }
        let mut job = self.checkpoint_job();
        let handle = handle.clone();
        let work = move || {
            let result = job.step().transpose()?;
            // A shard that is gone needs no answer.
            let _ = handle.send(vec![Input::Checkpointed]);
            Some(result)
        };
        let name = format!("weir-checkpoint-{}", self.number);
        match self.env.errands.begin(name, Box::new(work)) {
            Ok(errand) => self.checkpoint.running = Some(errand),
            Err(error) => self.checkpoint_failed(&Error::io("starting its thread", error)),
        }
    }

    /// Takes the result of a checkpoint: the journal before it is free.
    pub(super) fn checkpointed(&mut self, now: NanoTime) -> Result<()> {
        match self.checkpoint.wait() {
            None => Ok(()),
            Some(Ok(Written { position, unkept })) => {
                self.kept(&unkept);
                self.free_journal(position)?;
                self.move_if_due();
                Ok(())
            }
            Some(Err(Failed { kind, error })) => {
                self.checkpoint_failed(&error);
                if kind == BackendKind::Segment {
                    // Without room nothing was written, and nothing is lost.
                    self.checkpoint.failure = Some(error).filter(|error| error.kind != Kind::Full);
                    return Ok(());
                }
                let of_it = self.streams.values().filter(|s| s.messages.settings.backend == kind);
                let ids: Vec<StreamId> = of_it.map(Stream::id).collect();
                for id in ids {
                    // The journal has what is not on disk of them.
                    self.not_written(id, error.clone(), now);
                }
                Ok(())
            }
        }
    }

    fn free_journal(&mut self, position: Seq) -> Result<()> {
        self.checkpoint.removing.clear();
        self.checkpoint.written = true;
        // What comes behind the copies that are still to come is needed.
        if self.keeps_journal() || matches!(self.role, Role::Filling { .. }) {
            return Ok(());
        }
        self.remove_left();
        // What streams that are offline need to be opened anew stays.
        let position = self
            .offline
            .needs_behind()
            .map_or(position, |needed| needed.min(position));
        self.commit.free(position)
    }

    /// The writes of a checkpoint are lost: the next one has to write them again. The journal still has everything.
    fn checkpoint_failed(&mut self, error: &Error) {
        tracing::error!(shard = %self.number, "no checkpoint, later then: {error}");
        self.keeping_failed();
        let removing = std::mem::take(&mut self.checkpoint.removing);
        self.checkpoint.deleted.extend(removing);
        for stream in self.streams.values_mut() {
            stream.unsaved = true;
            stream.messages.dedup.forget_saved();
            stream.messages.ledger.forget_saved();
        }
    }

    pub(super) fn root_kv(&self) -> Result<Arc<dyn Kv>> {
        Ok(self.env.backend(BackendKind::Segment)?.kv())
    }

    /// The last checkpoint: everything is on disk when it returns.
    pub(crate) fn close(&mut self, now: NanoTime) -> Result<()> {
        self.offline.wait();
        self.relocations.stop();
        self.tending.stop();
        if self.suspended.is_some() {
            return Ok(());
        }
        self.commit.sync()?;
        // One that is being written must not put its snapshots over the last ones.
        self.checkpointed(now)?;
        if let Some(error) = self.checkpoint.failure.take() {
            return Err(error);
        }
        self.draft_many();
        let is_unsaved = self.streams.values().any(|stream| stream.unsaved);
        let mut is_due = is_unsaved || self.has_drafts() || !self.checkpoint.deleted.is_empty();
        while is_due {
            let written = self.checkpoint_job().run().map_err(|failed| failed.error)?;
            self.kept(&written.unkept);
            self.free_journal(written.position)?;
            self.commit.sync()?;
            is_due = self.can_draft();
            self.draft_many();
        }
        // Everything is on disk: what the journal's files take beyond its records nobody needs before the next start.
        if let Err(error) = self.commit.tidy() {
            tracing::warn!(
                shard = %self.number,
                "the journal keeps room that it has no use for: {error}"
            );
        }
        Ok(())
    }

    /// What a checkpoint has to write now.
    fn checkpoint_job(&mut self) -> Job {
        self.checkpoint.journal_bytes = 0;
        let mut backends = BTreeSet::from([BackendKind::Segment]);
        let mut writes = Vec::new();
        let mut ids = Vec::new();
        let mut position = self.position;
        for stream in self.streams.values_mut().filter(|stream| stream.unsaved) {
            if self.room.is_unwritten(stream.id()) {
                // Its log lacks what a snapshot would count on: the journal keeps it.
                let saved = saved_position(&self.env, stream.id()).unwrap_or(0);
                position = position.min(saved);
                continue;
            }
            stream.unsaved = false;
            if !stream.is_journaled() {
                continue;
            }
            backends.insert(stream.messages.settings.backend);
            // A copy may have what its replica is still to be told.
            let snapshot = StreamSnapshot {
                time: self.time,
                ..StreamSnapshot::of(stream, self.number, self.position.max(stream.position))
            };
            writes.push((stream_key(stream.id()), Some(crate::json::to_json(&snapshot))));
            dedup_writes(stream, &mut ids);
            stream.messages.ledger.drafted();
            if stream.messages.ledger.take_changed() {
                let ledger = crate::json::to_json(&stream.messages.ledger);
                writes.push((ledger_key(stream.id()), Some(ledger)));
            }
        }
        // Of streams that are offline now this has nothing, also if they are back when it is written: what they need to be
        // opened anew is not covered.
        if let Some(needed) = self.offline.needs_behind() {
            position = position.min(needed);
        }
        // A stream that was saved long ago and had nothing to save since needs nothing that is covered already: the
        // journal may be trimmed up to there, so saying less would make a hole of it.
        if let Ok(Some(covered)) = self.covered() {
            position = position.max(covered);
        }
        self.checkpoint.removing = std::mem::take(&mut self.checkpoint.deleted);
        if !self.checkpoint.removing.is_empty() {
            // That a log is gone must be on disk before the journal and the catalogue say nothing of it any more.
            let opened = self.env.opened().into_iter().map(|(kind, _)| kind);
            backends.extend(opened.filter(|kind| *kind != BackendKind::Memory));
        }
        for &id in &self.checkpoint.removing {
            writes.push((stream_key(id), None));
            writes.push((ledger_key(id), None));
            if let Err(error) = self.root_kv().and_then(|kv| forget_dedup(kv.as_ref(), id, &mut writes)) {
                tracing::error!(log = %id, "message ids of a deleted stream: {error}");
            }
        }
        let unremoved = self.unremoved.iter();
        writes.extend(unremoved.map(|(id, settings)| to_remove(*id, self.number, settings)));
        let covered = bytes::Bytes::copy_from_slice(&position.to_le_bytes());
        writes.push((covered_key(self.number), Some(covered)));
        let keep = self.take_drafts();
        // What is kept is synced first.
        backends.extend(keep.iter().map(|keep| keep.kind));
        Job {
            env: self.env.clone(),
            generation: self.generation,
            discards: self.discards,
            backends,
            ids,
            writes,
            keep,
            position,
            next: Stage::Logs,
        }
    }
}

fn failed(kind: BackendKind, error: Error) -> Failed {
    let message = format!("writing a checkpoint: {}", error.message);
    Failed {
        kind,
        error: Error { message, ..error },
    }
}

/// Cuts writes into portions of about [`PORTION_BYTES`].
fn portions(mut writes: &[KvWrite]) -> impl Iterator<Item = &[KvWrite]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let count = writes
            .iter()
            .take_while(|(key, value)| {
                let before = bytes;
                bytes += key.len() + value.as_ref().map_or(0, bytes::Bytes::len);
                before < PORTION_BYTES
            })
            .count();
        let (portion, rest) = writes.split_at(count);
        writes = rest;
        (!portion.is_empty()).then_some(portion)
    })
}

impl Job {
    fn run(mut self) -> Result<Written, Failed> {
        loop {
            if let Some(written) = self.step()? {
                return Ok(written);
            }
        }
    }

    /// Does the next piece; answers what came of it all, when it was the last.
    fn step(&mut self) -> Result<Option<Written>, Failed> {
        let root_failed = |error| failed(BackendKind::Segment, error);
        self.next = match self.next {
            Stage::Logs => {
                for &kind in &self.backends {
                    let synced = self.backend(kind).and_then(|backend| backend.sync());
                    synced.map_err(|error| failed(kind, error))?;
                }
                Stage::Ids
            }
            Stage::Ids => {
                self.put_ids().map_err(root_failed)?;
                Stage::Snapshots
            }
            Stage::Snapshots => {
                self.put_snapshots().map_err(root_failed)?;
                Stage::Sync
            }
            Stage::Sync => {
                let root = self.backend(BackendKind::Segment);
                root.and_then(|root| root.sync()).map_err(root_failed)?;
                Stage::Indexes
            }
            Stage::Indexes => {
                return Ok(Some(Written {
                    position: self.position,
                    unkept: self.keep_indexes(),
                }));
            }
        };
        Ok(None)
    }

    /// A backend, as the shard has it: one that was opened anew meanwhile knows nothing of what was written before.
    fn backend(&self, kind: BackendKind) -> Result<Arc<dyn Backend>> {
        let backend = self.env.backend(kind)?;
        if kind != BackendKind::Segment && self.env.discards() != self.discards {
            return Err(Error::new(Kind::Poisoned, format!("{kind} is opened anew")));
        }
        if self.env.generation() != self.generation {
            let why = "another shard found that the store must be opened anew";
            return Err(Error::new(Kind::Poisoned, why));
        }
        Ok(backend)
    }

    /// Keeps indexes; answers of which streams that may have failed. Nothing else depends on it.
    fn keep_indexes(&mut self) -> Vec<StreamId> {
        let mut unkept = Vec::new();
        for keep in std::mem::take(&mut self.keep) {
            let (id, kind) = (keep.id, keep.kind);
            let (token, steps) = keep.finish();
            let kept = self
                .backend(kind)
                .and_then(|backend| backend.keep_index(id.log(), token, &steps));
            if let Err(error) = kept {
                tracing::warn!(log = %id, "its index is not kept, and the next start takes longer: {error}");
                unkept.push(id);
            }
        }
        unkept
    }

    fn put_ids(&self) -> Result<()> {
        let kv = self.backend(BackendKind::Segment)?.kv();
        self.env.keep_findings_left()?;
        // A crash between two portions leaves ids that the journal brings once more.
        portions(&self.ids).try_for_each(|portion| kv.put_all(portion))
    }

    fn put_snapshots(&self) -> Result<()> {
        let kv = self.backend(BackendKind::Segment)?.kv();
        // Once the journal no longer tells of streams that were made and deleted, the highest id does.
        self.env
            .catalogue
            .note_last_id(|last| kv.put_all(&[&self.writes[..], &[last]].concat()))
    }
}
