//! What turns changed and the log does not have: each turn sets its part aside, and it goes to the log when the turn is committed.

use super::Messages;
use crate::backend::{LogChange, SyncBeside};
use crate::error::Result;
use crate::types::{Record, Seq};

/// Turns of a shard, in their order, from 1 on.
pub(crate) type TurnNumber = u64;

/// Before all turns: what is of none is committed, also where the log has no room for it yet.
const COMMITTED: TurnNumber = 0;

/// The changes of one turn, or of several that are committed.
pub(super) struct Staged {
    turn: TurnNumber,
    /// Messages that came, which the tail has behind those of earlier turns.
    appended: usize,
    /// Single messages that went.
    pub erased: Vec<Seq>,
    /// Whether the bytes of those are overwritten.
    overwrite: bool,
    /// Everything below went, if anything did.
    trim: Option<Seq>,
}

impl Staged {
    /// With what a later turn changed.
    fn and(mut self, later: Self) -> Self {
        self.turn = later.turn;
        self.appended += later.appended;
        self.erased.extend(later.erased);
        self.overwrite |= later.overwrite;
        self.trim = self.trim.max(later.trim);
        self
    }
}

impl Messages {
    /// Whether this turn changed anything that the log has to know.
    fn has_unstaged(&self) -> bool {
        self.tail.has_unstaged() || !self.erased.is_empty() || self.first() > self.trimmed
    }

    /// The first message that the log lacks, above all if it lacks none. `None` if there are removals that it lacks: what is committed still
    /// has those.
    pub fn staged_from(&self) -> Option<Seq> {
        let adds_only = |staged: &Staged| staged.erased.is_empty() && staged.trim.is_none();
        let is_plain = self.staged.iter().all(adds_only) && self.erased.is_empty() && self.first() <= self.trimmed;
        is_plain.then(|| self.tail.unwritten().next().map_or(Seq::MAX, |record| record.seq))
    }

    /// Whether the log lacks anything of what this stream holds.
    pub fn is_dirty(&self) -> bool {
        !self.staged.is_empty() || self.has_unstaged()
    }

    /// The turn of that number is over: what it changed waits for it to be committed.
    pub fn stage(&mut self, turn: TurnNumber) {
        if !self.has_unstaged() {
            return;
        }
        self.index.stage(turn);
        let first = self.first();
        let mut erased = std::mem::take(&mut self.erased);
        if !self.overwrite {
            // What is only to be forgotten goes with the trim; what is to be overwritten must be named.
            erased.retain(|seq| *seq > first);
        }
        let staged = Staged {
            turn,
            appended: self.tail.stage(),
            erased,
            overwrite: std::mem::take(&mut self.overwrite),
            trim: (first > self.trimmed).then_some(first),
        };
        self.trimmed = self.trimmed.max(first);
        self.staged.push_back(staged);
    }

    /// The turns up to that number are committed: what they changed goes to the log together, whenever that has room for it.
    pub fn join(&mut self, turn: TurnNumber) {
        let count = self.staged.partition_point(|staged| staged.turn <= turn);
        if count > 1
            && let Some(joined) = self.staged.drain(..count).reduce(Staged::and)
        {
            self.staged.push_front(joined);
            self.index.join(turn);
        }
    }

    /// The turns up to that number are committed: brings what they changed to the log. After an error that is not
    /// [`Full`](crate::Kind::Full) the stream must be opened anew; after that one the same may be tried again.
    pub fn land(&mut self, turn: TurnNumber, keep_tail: bool) -> Result<()> {
        self.join(turn);
        let Some(staged) = self.staged.front().filter(|staged| staged.turn <= turn) else {
            return Ok(());
        };
        let low = staged.trim.unwrap_or(0);
        self.kv_writes.clear();
        self.index.take_writes(turn, &mut self.kv_writes);
        // What was removed before there was room for it needs none any more.
        let records = self.tail.unwritten().take(staged.appended);
        let records: Vec<Record<'_>> = records.filter(|record| record.seq >= low).collect();
        self.log.write(&LogChange {
            append: &records,
            erase: &staged.erased,
            overwrite: staged.overwrite,
            trim: staged.trim,
            counts: &[],
            kv: &self.kv_writes,
        })?;
        drop(records);
        self.index.written(turn);
        if let Some(copying) = &self.copying {
            copying.lock().add(&staged.erased, staged.overwrite, low);
        }
        for &seq in &staged.erased {
            // A reader of this turn may have read it ahead: the log still had it then.
            self.ahead.forget(seq);
        }
        self.tail.written(staged.appended);
        self.tail.let_go(keep_tail);
        self.staged.pop_front();
        Ok(())
    }

    /// Brings all changes to the log, where nobody has to commit them first and no turn is in flight. Errors are those of
    /// [`Messages::land`].
    pub fn write(&mut self, keep_tail: bool) -> Result<()> {
        self.stage(COMMITTED);
        self.land(TurnNumber::MAX, keep_tail)
    }

    /// What syncs the log beside whoever writes to it.
    pub fn sync_beside(&self) -> Option<SyncBeside> {
        self.log.sync_beside()
    }

    /// What the log has is on disk when it returns, also where it cannot take any more.
    pub fn sync_log(&mut self) -> Result<()> {
        match self.log.sync_beside() {
            Some(sync) => sync(),
            None => self.log.sync(),
        }
    }

    /// How many single messages went whose removal the log does not have.
    pub(super) fn unlanded_erasures(&self) -> usize {
        self.erased.len() + self.staged.iter().map(|staged| staged.erased.len()).sum::<usize>()
    }

    /// Whether a message is among them; below the first one all went.
    pub(super) fn is_erased(&self, seq: Seq) -> bool {
        self.erased.contains(&seq) || self.staged.iter().any(|staged| staged.erased.contains(&seq))
    }
}
