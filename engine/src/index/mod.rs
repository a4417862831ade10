//! The index of a stream: which sequences are live, and of which subjects, without reading the data.
//!
//! Sequences are kept in chunks of 65,536; each has the set of its live positions and, for each subject, the sorted
//! positions where it stands. A tree leads from the subjects to `{count, first, last}`. So the questions of a stream
//! and its consumers (the next message that a filter matches, how many are left, the last of each subject) cost
//! about as much as there are matching subjects, or chunks, and never as much as there are messages.
//! Beside them stand, in the order of time, the endings of messages that have a life of their own.
//!
//! Pure state: no clock, no threads, no I/O but what the paged kind asks of the backend.

mod bits;
mod chunk;
mod cursor;
mod digest;
mod filters;
mod kept;
mod names;
mod paged;
mod postings;
mod ranges;
mod resident;
mod runs;
mod sizes;
mod slots;
mod subjects;
mod tally;
#[cfg(test)]
mod tests;
mod times;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use chunk::ChunkSize;
pub use cursor::Cursor;
pub use digest::Digest;
use filters::Filters;
pub(crate) use kept::{DraftStep, is_earlier};
pub use paged::Paged;
pub(crate) use paged::{fill as fill_paged, forget as forget_paged};
pub use resident::{Drafts, KeptUse, Litter, Loaded, Resident, Sample};
pub use runs::Runs;
use tally::Tallies;
pub use tally::Tally;

use crate::backend::{Kv, KvWrite, LogReader};
use crate::error::Result;
use crate::stream::messages::TurnNumber;
use crate::types::{LogId, NanoTime, Seq};

/// See [`Index::removal_price`]: a removal reads and writes several keys, and its record's head.
const PAGED_PRICE: usize = 16;
/// See [`Index::read_price`]: a message is looked up by its head, and by its body.
const PAGED_READ: usize = 16;

/// How many messages are live, and which: where as many are others, and all those above the ones that are not any more, the sum is
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// Live messages.
    pub count: u64,
    /// The sum of their sequences, without what goes beyond 64 bits.
    pub sum: u64,
}

impl Census {
    /// Without a message that is among them.
    pub(crate) fn leave_out(&mut self, seq: Seq) {
        self.count -= 1;
        self.sum = self.sum.wrapping_sub(seq);
    }
}

/// What is known of a subject that has live messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectInfo {
    /// Live messages, at least 1.
    pub count: u64,
    /// The first live message.
    pub first: Seq,
    /// The last live message.
    pub last: Seq,
}

/// What came of a search that may look at so many messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// This one matches, and none before it.
    At(Seq),
    /// None does.
    Nothing,
    /// None below this one does; whoever wants to know more asks again from there.
    Later(Seq),
}

/// Where in the order of subjects to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectPlace(Vec<u8>);

impl SubjectPlace {
    /// Behind that subject.
    pub fn behind(subject: &[u8]) -> Self {
        // Nothing lies in between.
        Self([subject, &[0]].concat())
    }
}

/// How an index reads what lies in the log.
#[derive(Clone, Copy)]
pub struct Records {
    /// The subject in a record's head.
    pub subject_of: fn(&[u8]) -> &[u8],
    /// How large the record of that head, with a body of so many bytes, is as limits count it.
    pub size_of: fn(&[u8], usize) -> u64,
    /// When the record of that sequence, time and head ends, if it has a life of its own.
    pub ending_of: EndingOf,
}

type EndingOf = fn(&dyn LogReader, Seq, NanoTime, &[u8]) -> Result<Option<NanoTime>>;

/// The index of one stream, one of two kinds that give the same answers.
///
/// Filters are lists; a message counts if any of them matches its subject, and an empty list matches everything.
#[derive(Debug)]
pub enum Index {
    /// All in memory.
    Resident(Resident),
    /// In the backend's key-value space, with a bounded cache.
    Paged(Paged),
}

impl Index {
    /// An empty index in memory.
    #[cfg(test)]
    pub fn resident() -> Self {
        Self::Resident(Resident::default())
    }

    /// The index that the backend keeps for that log, or a new one. `records` says how to read a record's
    /// head; the cache of subjects takes about `cache_bytes`. For a backend that has
    /// [`atomic_kv`](crate::Backend::atomic_kv) only.
    ///
    /// Reads the totals and the counts of the chunks. If the log holds more than the index knows of, because it was
    /// written without one, the index is first built from the log's heads, and written.
    pub fn paged(
        kv: Arc<dyn Kv>,
        log: LogId,
        reader: Arc<dyn LogReader>,
        records: Records,
        cache_bytes: usize,
    ) -> Result<Self> {
        Paged::open(kv, log, reader, records, cache_bytes).map(Self::Paged)
    }

    /// Adds a message of that size, as limits count it, and time. An error of kind [`Kind::Invalid`](crate::Kind::Invalid) if the
    /// sequence is not above all that were ever added, or is 0 or the very last.
    pub fn add(&mut self, seq: Seq, subject: &[u8], size: u64, time: NanoTime) -> Result<()> {
        match self {
            Self::Resident(index) => index.add(seq, subject, size, time),
            Self::Paged(index) => index.add(seq, subject, size),
        }
    }

    /// Removes a message, of the size that it was added with, if that is known: where an index does not have it in memory, it does not
    /// know its [digest](Index::digest) without it. An error of kind [`Kind::Invalid`](crate::Kind::Invalid), and no change, if that
    /// sequence is not live with that subject.
    pub fn remove(&mut self, seq: Seq, subject: &[u8], size: Option<u64>) -> Result<()> {
        match self {
            Self::Resident(index) => index.remove(seq, subject),
            Self::Paged(index) => index.remove(seq, subject, size),
        }
    }

    /// All live messages, added up: of two indexes with the same messages it is the same, of whichever kinds they are. `None` if it is
    /// not known: of a paged index that an earlier version of this program made, or from which a message went whose size nobody
    /// knew; until it is empty.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Resident(index) => Some(index.digest()),
            Self::Paged(index) => index.digest(),
        }
    }

    /// Removes all messages. What is added next is `next` or above (and above what was added before). Answers what is left of an index
    /// in memory, to be dropped where that may take a while.
    pub fn clear(&mut self, next: Seq) -> Result<Option<Litter>> {
        match self {
            Self::Resident(index) => Ok(Some(index.clear(next))),
            Self::Paged(index) => index.clear(next).map(|()| None),
        }
    }

    /// Whether that message is live.
    pub fn is_live(&self, seq: Seq) -> Result<bool> {
        match self {
            Self::Resident(index) => Ok(index.is_live(seq)),
            Self::Paged(index) => index.is_live(seq),
        }
    }

    /// What looking at a message and removing it costs, in multiples of what it costs here in memory: about 2 µs.
    pub fn removal_price(&self) -> usize {
        match self {
            Self::Resident(_) => 1,
            Self::Paged(_) => PAGED_PRICE,
        }
    }

    /// What reading a message costs beside such an index, in looks of a search.
    pub fn read_price(&self) -> usize {
        match self {
            Self::Resident(_) => 1,
            Self::Paged(_) => PAGED_READ,
        }
    }

    /// Live messages.
    pub fn len(&self) -> u64 {
        match self {
            Self::Resident(index) => index.len(),
            Self::Paged(index) => index.len(),
        }
    }

    /// How many messages are live, and which; `None` where it would have to be counted.
    pub fn census(&self) -> Option<Census> {
        match self {
            Self::Resident(index) => Some(index.census()),
            Self::Paged(_) => None,
        }
    }

    /// Distinct subjects of live messages.
    pub fn subjects(&self) -> u64 {
        match self {
            Self::Resident(index) => index.subjects(),
            Self::Paged(index) => index.subjects(),
        }
    }

    /// The first live message.
    pub fn first(&self) -> Option<Seq> {
        match self {
            Self::Resident(index) => index.first(),
            Self::Paged(index) => index.first(),
        }
    }

    /// The last live message.
    pub fn last_live(&self) -> Option<Seq> {
        match self {
            Self::Resident(index) => index.last_live(),
            Self::Paged(index) => index.last_live(),
        }
    }

    /// The first live message from `from` on.
    pub fn next_live(&self, from: Seq) -> Result<Option<Seq>> {
        match self {
            Self::Resident(index) => Ok(index.next_live(from)),
            Self::Paged(index) => index.next_live(from),
        }
    }

    /// Visits the live messages from `from` to `to`, in order.
    pub fn each_live(&self, from: Seq, to: Seq, visit: &mut dyn FnMut(Seq)) -> Result<()> {
        match self {
            Self::Resident(index) => {
                index.each_live(from, to, visit);
                Ok(())
            }
            Self::Paged(index) => index.each_live(from, to, visit),
        }
    }

    /// The live messages within each 65,536 sequences that have some, by what these sequences are when divided by 65,536.
    pub fn counts(&self) -> BTreeMap<u64, u64> {
        match self {
            Self::Resident(index) => index.counts(),
            Self::Paged(index) => index.counts(),
        }
    }

    /// The last live message up to `from`.
    #[cfg(test)]
    pub fn prev_live(&self, from: Seq) -> Result<Option<Seq>> {
        match self {
            Self::Resident(index) => Ok(index.prev_live(from)),
            Self::Paged(index) => index.prev_live(from),
        }
    }

    /// What is known of exactly that subject; `None` if it has no live messages.
    pub fn subject(&mut self, subject: &[u8]) -> Result<Option<SubjectInfo>> {
        match self {
            Self::Resident(index) => Ok(index.subject(subject)),
            Self::Paged(index) => index.subject(subject),
        }
    }

    /// The subject of a message, found without reading the message, as for one that is damaged; `None` if it is not live.
    /// Slow: as many subjects are looked at as there are.
    pub fn subject_at(&self, seq: Seq) -> Result<Option<Bytes>> {
        match self {
            Self::Resident(index) => Ok(index.subject_at(seq)),
            Self::Paged(index) => index.subject_at(seq),
        }
    }

    /// How large a live message is, as limits count it; `None` if it is not live, or if this kind of index does not know.
    pub fn size_at(&self, seq: Seq) -> Option<u64> {
        match self {
            Self::Resident(index) => index.size_at(seq),
            Self::Paged(_) => None,
        }
    }

    /// Between which sequences, both included, the first one lies that is not older than a time, or would: of messages that were added
    /// in the order of their times. Where this kind of index does not know, that is all of them.
    pub fn around(&self, time: NanoTime) -> (Seq, Seq) {
        match self {
            Self::Resident(index) => index.around(time),
            Self::Paged(_) => (0, Seq::MAX),
        }
    }

    /// The first live message from `from` on that the cursor's filters match. Cheap if one cursor asks upwards; any
    /// order is right.
    pub fn next_match(&mut self, cursor: &mut Cursor, from: Seq) -> Result<Option<Seq>> {
        match self {
            Self::Resident(index) => Ok(index.next_match(cursor, from)),
            Self::Paged(index) => index.next_match(cursor, from),
        }
    }

    /// As [`Index::next_match`], for a reader that can wait: looks at some `looks` messages and subjects at most, and lowers that
    /// by what it took.
    pub fn next_match_within(&mut self, cursor: &mut Cursor, from: Seq, looks: &mut usize) -> Result<Sought> {
        match self {
            Self::Resident(index) => Ok(index.next_match_within(cursor, from, looks)),
            Self::Paged(index) => index.next_match_within(cursor, from, looks),
        }
    }

    /// The last live message that the cursor's filters match, for a reader that can wait: looks at some `looks` messages and
    /// subjects at most, and lowers that by what it took. What is stored meanwhile may be left out, and what is found may be gone.
    pub fn last_match_within(&mut self, cursor: &mut Cursor, looks: &mut usize) -> Result<Sought> {
        match self {
            Self::Resident(index) => Ok(index.last_match_within(cursor, looks)),
            Self::Paged(index) => index.last_match_within(cursor, looks),
        }
    }

    /// Whether to count the matches of the filters may take long; then they are better looked for one after the other.
    pub fn is_wide(&mut self, filters: &[Bytes]) -> Result<bool> {
        match self {
            Self::Resident(_) => Ok(false),
            Self::Paged(index) => index.is_wide(filters),
        }
    }

    /// Calls with the live messages that the filters match, from `from` downwards, until told to stop; looks at `looks` messages at
    /// most, and lowers that by what it took. Answers where to go on; `None` at the end.
    pub fn matches_down(
        &self,
        filters: &[Bytes],
        from: Seq,
        looks: &mut usize,
        visit: &mut dyn FnMut(Seq) -> ControlFlow<()>,
    ) -> Result<Option<Seq>> {
        match self {
            Self::Resident(index) => {
                let mut next = index.prev_match(filters, from);
                while let Some(seq) = next {
                    if *looks == 0 {
                        return Ok(Some(seq));
                    }
                    *looks -= 1;
                    if visit(seq).is_break() {
                        break;
                    }
                    next = seq.checked_sub(1).and_then(|below| index.prev_match(filters, below));
                }
                Ok(None)
            }
            Self::Paged(index) => index.matches_down(filters, from, looks, visit),
        }
    }

    /// The last live message up to `from` that the filters match.
    pub fn prev_match(&mut self, filters: &[Bytes], from: Seq) -> Result<Option<Seq>> {
        match self {
            Self::Resident(index) => Ok(index.prev_match(filters, from)),
            Self::Paged(index) => index.prev_match(filters, from),
        }
    }

    /// How many live messages from `from` on the filters match.
    pub fn count_from(&mut self, filters: &[Bytes], from: Seq) -> Result<u64> {
        match self {
            Self::Resident(index) => Ok(index.count_from(filters, from)),
            Self::Paged(index) => index.count_from(filters, from),
        }
    }

    /// Goes on with a tally, some of the way: looks at some `looks` messages and subjects at most, which it lowers. A count is that
    /// of the messages from `from` on; it may go up from one call to the next. Answers whether the tally has come to its end: then
    /// [`Index::count_from`] or [`Index::lasts`] with its filters have the answer, as long as the tally lives.
    pub fn tally(&mut self, tally: &Tally, from: Seq, looks: &mut usize) -> Result<bool> {
        match self {
            Self::Resident(index) => Ok(index.tally(tally, from, looks)),
            Self::Paged(index) => index.tally(tally, from, looks),
        }
    }

    fn tallies(&self) -> &Tallies {
        match self {
            Self::Resident(index) => &index.tallies,
            Self::Paged(index) => &index.tallies,
        }
    }

    /// The last message that the filters match.
    pub fn newest(&mut self, filters: &[Bytes]) -> Result<Option<Seq>> {
        if let Some(newest) = self.tallies().newest(&Filters::of(filters)) {
            return Ok(newest);
        }
        self.prev_match(filters, Seq::MAX)
    }

    /// The last message of each subject that the filters match, in the order of the messages.
    pub fn lasts(&mut self, filters: &[Bytes]) -> Result<Vec<Seq>> {
        if let Some(lasts) = self.tallies().lasts(&Filters::of(filters)) {
            return Ok(lasts);
        }
        let mut lasts = Vec::new();
        self.last_of_each(filters, &mut |_, info| {
            lasts.push(info.last);
            ControlFlow::Continue(())
        })?;
        lasts.sort_unstable();
        Ok(lasts)
    }

    /// Visits each live subject that the filters match, in the order of their bytes, until told to stop.
    pub fn last_of_each(
        &mut self,
        filters: &[Bytes],
        visit: &mut dyn FnMut(&[u8], SubjectInfo) -> ControlFlow<()>,
    ) -> Result<()> {
        match self {
            Self::Resident(index) => index.last_of_each(filters, visit),
            Self::Paged(index) => index.last_of_each(filters, visit)?,
        }
        Ok(())
    }

    /// The same for one filter, or none, and the subjects from a place on. Looks at `looks` subjects at most, those too that do not
    /// match, and lowers that by what it took. Answers where to go on; `None` if those were all.
    pub fn some_of_each(
        &mut self,
        filters: &[Bytes],
        from: &SubjectPlace,
        looks: &mut usize,
        visit: &mut dyn FnMut(&[u8], SubjectInfo) -> ControlFlow<()>,
    ) -> Result<Option<SubjectPlace>> {
        debug_assert!(filters.len() <= 1, "several filters have no order to go on in");
        match self {
            Self::Resident(index) => Ok(index.some_of_each(filters, from, looks, visit)),
            Self::Paged(index) => index.some_of_each(filters, from, looks, visit),
        }
    }

    /// Notes when a message that has a life of its own ends.
    pub fn add_ending(&mut self, at: NanoTime, seq: Seq) {
        match self {
            Self::Resident(index) => index.add_ending(at, seq),
            Self::Paged(index) => index.add_ending(at, seq),
        }
    }

    /// Forgets when a message ends.
    pub fn remove_ending(&mut self, at: NanoTime, seq: Seq) {
        match self {
            Self::Resident(index) => index.remove_ending(at, seq),
            Self::Paged(index) => index.remove_ending(at, seq),
        }
    }

    /// The time of the first ending noted, and whose it is.
    pub fn first_ending(&mut self) -> Result<Option<(NanoTime, Seq)>> {
        match self {
            Self::Resident(index) => Ok(index.first_ending()),
            Self::Paged(index) => index.first_ending(),
        }
    }

    /// The first endings up to that time, in order; `most` at most.
    pub fn endings(&mut self, until: NanoTime, most: usize) -> Result<Vec<(NanoTime, Seq)>> {
        match self {
            Self::Resident(index) => Ok(index.endings(until, most)),
            Self::Paged(index) => index.endings(until, most),
        }
    }

    /// Nothing else is to be done: lets go of some of the memory that it has no use for.
    pub fn idle(&mut self) {
        match self {
            Self::Resident(index) => index.idle(),
            Self::Paged(index) => index.idle(),
        }
    }

    /// Whether something of it is to be kept beside the log that was not drafted yet; see [`Index::draft`].
    pub fn has_unkept(&self) -> bool {
        match self {
            Self::Resident(index) => index.has_unkept(),
            Self::Paged(_) => false,
        }
    }

    /// Drafts what is to be kept of one chunk, which takes about a millisecond. The log must have all that the index has; and be
    /// synced before what was drafted is kept. Answers about how many bytes it takes until it is kept.
    pub fn draft(&mut self) -> usize {
        match self {
            Self::Resident(index) => index.draft(),
            Self::Paged(_) => 0,
        }
    }

    /// What was drafted and is to be kept now.
    pub fn take_drafts(&mut self) -> Option<Drafts> {
        match self {
            Self::Resident(index) => index.take_drafts(),
            Self::Paged(_) => None,
        }
    }

    /// What was drafted may not have been kept: all is drafted anew.
    pub fn not_kept(&mut self) {
        match self {
            Self::Resident(index) => index.not_kept(),
            Self::Paged(_) => {}
        }
    }

    /// The turn of that number is over.
    pub(crate) fn stage(&mut self, turn: TurnNumber) {
        match self {
            Self::Resident(_) => {}
            Self::Paged(index) => index.stage(turn),
        }
    }

    /// The turns up to that one are written together.
    pub(crate) fn join(&mut self, turn: TurnNumber) {
        match self {
            Self::Resident(_) => {}
            Self::Paged(index) => index.join(turn),
        }
    }

    /// Hands out the writes to the backend's [`Kv`](crate::Kv) that belong in the same [`LogChange`](crate::LogChange) as
    /// the log's appends and erasures of the turns up to that one. A resident index has none.
    pub(crate) fn take_writes(&self, turn: TurnNumber, out: &mut Vec<KvWrite>) {
        match self {
            Self::Resident(_) => {}
            Self::Paged(index) => index.take_writes(turn, out),
        }
    }

    /// Says that the batch with what [`Self::take_writes`] handed out was written.
    pub(crate) fn written(&mut self, turn: TurnNumber) {
        match self {
            Self::Resident(_) => {}
            Self::Paged(index) => index.written(turn),
        }
    }
}
