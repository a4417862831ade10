//! The journal of a shard that is alone: what it decides is fact once it is written, as surely as the disk has it.

use std::sync::Arc;

use crate::backend::{Log, LogReader};
use crate::error::Result;
use crate::shard::ShardHandle;
use crate::shard::commit::Commit;
use crate::shard::syncing::Syncing;
use crate::store::Environment;
use crate::stream::messages::TurnNumber;
use crate::types::{Record, Seq, ShardId};

/// A log that nobody else writes.
pub(crate) struct LocalJournal {
    /// The shard's number.
    number: ShardId,
    env: Arc<Environment>,
    log: Box<dyn Log>,
    /// Who syncs it beside the shard, once somebody had to.
    syncing: Option<Syncing>,
}

impl LocalJournal {
    /// That log, which was opened.
    pub fn of(number: ShardId, env: Arc<Environment>, log: Box<dyn Log>) -> Box<dyn Commit> {
        Box::new(Self {
            number,
            env,
            log,
            syncing: None,
        })
    }
}

impl Commit for LocalJournal {
    fn submit(&mut self, records: &[Record<'_>]) -> Result<()> {
        self.log.append(records)
    }

    fn begin(&mut self, turn: TurnNumber, wake: &ShardHandle) -> bool {
        if self.syncing.is_none() {
            let Some(sync) = self.log.sync_beside() else {
                return false;
            };
            let name = format!("weir-sync-{}", self.number);
            match Syncing::begin(name, sync, self.env.clone(), wake.clone()) {
                Ok(syncing) => self.syncing = Some(syncing),
                Err(error) => {
                    tracing::warn!(shard = %self.number, "syncing without a thread of its own: {error}");
                    return false;
                }
            }
        }
        if let Some(syncing) = &mut self.syncing {
            syncing.want(turn);
        }
        true
    }

    fn committed(&self) -> Result<TurnNumber> {
        self.syncing.as_ref().map_or(Ok(0), Syncing::done)
    }

    fn wait(&mut self, turn: TurnNumber) -> Result<()> {
        self.syncing.as_mut().map_or(Ok(()), |syncing| syncing.wait(turn))
    }

    fn sync(&mut self) -> Result<()> {
        self.wait(TurnNumber::MAX)?;
        self.env.timed(|| self.log.sync())
    }

    fn cut(&mut self, behind: Seq) -> Result<()> {
        self.log.truncate(behind)
    }

    fn free(&mut self, through: Seq) -> Result<()> {
        self.log.trim(through + 1)
    }

    fn reserve(&mut self, bytes: u64) -> Result<()> {
        self.log.reserve(bytes)
    }

    fn tidy(&mut self) -> Result<()> {
        self.log.compact(None, &mut |_, _| {})
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        self.log.reader()
    }
}
