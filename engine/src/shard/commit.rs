//! Where what the turns of a shard decide becomes fact.

use std::sync::Arc;

use crate::backend::LogReader;
use crate::error::Result;
use crate::shard::ShardHandle;
use crate::stream::messages::TurnNumber;
use crate::types::{Record, Seq};

/// What orders and keeps the commands of a shard: a journal of its own ([`LocalJournal`](super::journal::LocalJournal)), or what several
/// replicas agree upon. The shard numbers the records, without a gap.
///
/// After an error that is neither [`Full`](crate::Kind::Full) nor a refusal of bad input, it takes nothing more: the shard must be opened
/// anew, or has to follow another.
pub(crate) trait Commit: Send {
    /// Takes what a turn decided, behind all that it took before. It is a fact no sooner than [`Commit::sync`] or [`Commit::committed`]
    /// says so.
    fn submit(&mut self, records: &[Record<'_>]) -> Result<()>;

    /// Has all that was taken become fact beside the shard, which goes on meanwhile; when it is, [`Input::Committed`](super::Input::Committed)
    /// comes by this handle. `turn` is the last that it is of. Answers whether it can: else there is only [`Commit::sync`].
    fn begin(&mut self, turn: TurnNumber, wake: &ShardHandle) -> bool;

    /// The last turn with which something was [begun](Commit::begin) that is fact by now; 0 before the first.
    ///
    /// # Errors
    /// If something of what was begun can never be known to be one.
    fn committed(&self) -> Result<TurnNumber>;

    /// Waits until all is fact that was begun up to that turn.
    ///
    /// # Errors
    /// As [`Commit::committed`].
    fn wait(&mut self, turn: TurnNumber) -> Result<()>;

    /// All that was taken is fact when it returns.
    ///
    /// # Errors
    /// As [`Commit::committed`].
    fn sync(&mut self) -> Result<()>;

    /// Forgets all records behind that one, none of which is a fact.
    fn cut(&mut self, behind: Seq) -> Result<()>;

    /// A checkpoint covers all records up to that one: nobody reads them again.
    fn free(&mut self, through: Seq) -> Result<()>;

    /// Sees to it that a turn of that many bytes can be taken; see [`Log::reserve`](crate::backend::Log::reserve).
    fn reserve(&mut self, bytes: u64) -> Result<()>;

    /// Gives back the room that nobody needs before the next start.
    fn tidy(&mut self) -> Result<()>;

    /// What was taken and not freed, to read.
    fn reader(&self) -> Arc<dyn LogReader>;
}
