//! Keeping indexes beside their logs, so that the next start need not read all heads: a chunk that grows no longer is drafted between
//! two turns, and kept with the next checkpoint, when the logs are synced.

use std::collections::BTreeSet;

use crate::backend::KeepStep;
use crate::index::DraftStep;
use crate::shard::Shard;
use crate::stream::settings::BackendKind;
use crate::types::StreamId;

/// Bytes of drafts that may wait for a checkpoint; then one is begun.
const DRAFTS_BYTES: usize = 16 << 20;

/// What is to be drafted and kept of the indexes of a shard.
#[derive(Default)]
pub(super) struct IndexKeeping {
    /// Streams that have something to be drafted.
    due: BTreeSet<StreamId>,
    /// Streams with drafts.
    drafted: BTreeSet<StreamId>,
    /// Bytes of all drafts, about.
    bytes: usize,
    /// Whether keeping failed: nothing is drafted before the next checkpoint that is written.
    paused: bool,
}

/// The drafts of a stream, for a checkpoint.
pub(super) struct Keep {
    pub id: StreamId,
    pub kind: BackendKind,
    token: u64,
    steps: Vec<DraftStep>,
}

impl Keep {
    /// What the backend is given.
    pub fn finish(self) -> (u64, Vec<KeepStep>) {
        (self.token, self.steps.into_iter().map(DraftStep::finish).collect())
    }
}

impl Shard {
    /// Notes whether something of a stream's index is to be kept.
    pub(super) fn note_unkept(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get(&id)
            && stream.is_journaled()
            && stream.messages.index.has_unkept()
        {
            self.keeping.due.insert(id);
        }
    }

    /// Whether something can be drafted now.
    pub(super) fn can_draft(&self) -> bool {
        self.suspended.is_none()
            && !self.keeping.paused
            && self.keeping.bytes < DRAFTS_BYTES
            && self.keeping.due.iter().any(|id| !self.room.is_unwritten(*id))
    }

    /// Whether so much is drafted that a checkpoint is due.
    pub(super) fn has_many_drafts(&self) -> bool {
        self.keeping.bytes >= DRAFTS_BYTES
    }

    /// Whether anything waits for a checkpoint.
    pub(super) fn has_drafts(&self) -> bool {
        !self.keeping.drafted.is_empty()
    }

    /// Drafts one chunk, if that can be done.
    pub(super) fn draft_one(&mut self) {
        if self.can_draft() {
            self.draft_next();
        }
    }

    fn draft_next(&mut self) -> bool {
        let room = &self.room;
        // What its log lacks is not to be found there at the next start.
        let Some(id) = self.keeping.due.iter().copied().find(|id| !room.is_unwritten(*id)) else {
            return false;
        };
        let Some(stream) = self.streams.get_mut(&id) else {
            self.keeping.due.remove(&id);
            return true;
        };
        self.keeping.bytes += stream.messages.index.draft();
        self.keeping.drafted.insert(id);
        if !stream.messages.index.has_unkept() {
            self.keeping.due.remove(&id);
        }
        true
    }

    /// Drafts as much as may wait for a checkpoint, before the store is closed.
    pub(super) fn draft_many(&mut self) {
        while self.can_draft() && self.draft_next() {}
    }

    /// What a checkpoint has to keep.
    pub(super) fn take_drafts(&mut self) -> Vec<Keep> {
        let mut taken = Vec::new();
        for id in std::mem::take(&mut self.keeping.drafted) {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            if self.room.is_unwritten(id) {
                self.keeping.drafted.insert(id);
                continue;
            }
            let kind = stream.messages.settings.backend;
            taken.extend(stream.messages.index.take_drafts().map(|drafts| Keep {
                id,
                kind,
                token: drafts.token,
                steps: drafts.steps,
            }));
        }
        self.keeping.bytes = 0;
        taken
    }

    /// A checkpoint was written: of these streams, what was drafted may not be kept.
    pub(super) fn kept(&mut self, failed: &[StreamId]) {
        self.keeping.paused = !failed.is_empty();
        for id in failed {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.messages.index.not_kept();
            }
            self.note_unkept(*id);
        }
    }

    /// A checkpoint failed, and with it whatever was to be kept.
    pub(super) fn keeping_failed(&mut self) {
        for stream in self.streams.values_mut() {
            stream.messages.index.not_kept();
        }
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        ids.into_iter().for_each(|id| self.note_unkept(id));
        self.keeping.drafted.clear();
        (self.keeping.bytes, self.keeping.paused) = (0, true);
    }
}
