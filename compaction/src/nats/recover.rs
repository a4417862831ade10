//! Which of the messages in a stream's blocks the server would serve after a restart, and the stream's state then.
//!
//! If `index.db` is of when the server stopped, it says what is deleted. If it is not, as after a kill, the blocks do:
//! every deletion but those by the stream's limits left a mark in one of them. Those by limits are done again.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;

use weir_engine::stream::{Discard, PersistMode, StreamConfig};
use weir_engine::{NanoTime, Seq};

use super::block::{Kind, last_checksum, read_bounded};
use super::blocks::{Blocks, Placed, Records};
use super::error::Result;
use super::finding::{Finding, Findings, What};
use super::hash::HashKey;
use super::index::{INDEX_MAX, Index};
use super::messages::State;
use super::seqs::SeqSet;

/// What there is of a stream, before its messages are read.
pub(super) struct Recovered {
    pub blocks: Blocks,
    pub live: Live,
    pub state: State,
    pub findings: Findings,
}

/// Tells messages that are there from those that were deleted.
pub(super) struct Live {
    deleted: Deleted,
    /// The last sequence that was seen.
    last: Seq,
    limits: Option<Limits>,
}

/// What is deleted.
enum Deleted {
    /// What the index says.
    Indexed(Index),
    /// What the marks in the blocks say.
    Marked(SeqSet),
}

/// Why a record is not one of the stream's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotLive {
    /// It is a mark, or was deleted.
    Deleted,
    /// Its sequence came before.
    OutOfOrder,
}

impl Live {
    /// Whether a record is one of the stream's messages. To be asked in the order of the records.
    pub fn check(&mut self, placed: &Placed) -> Result<(), NotLive> {
        let record = &placed.record;
        let is_deleted = match (&self.deleted, record.kind) {
            (_, Kind::Tombstone) => return Err(NotLive::Deleted),
            (_, Kind::Erased) => true,
            (Deleted::Marked(marked), Kind::Message) => marked.contains(record.seq),
            (Deleted::Indexed(index), Kind::Message) => match index.blocks.get(&placed.block) {
                Some(block) => {
                    record.seq < block.first || record.seq > index.last_seq || block.deleted.contains(record.seq)
                }
                None => true,
            },
        };
        let is_next = record.seq > self.last;
        self.last = self.last.max(record.seq);
        match (is_deleted, is_next) {
            (true, _) => Err(NotLive::Deleted),
            (false, false) => Err(NotLive::OutOfOrder),
            (false, true) => {
                let keeps = |limits: &mut Limits| limits.keeps(record.subject(&placed.data), record.size());
                match self.limits.as_mut().is_none_or(keeps) {
                    true => Ok(()),
                    false => Err(NotLive::Deleted),
                }
            }
        }
    }

    /// How many messages the index counts in each block; none without an index.
    pub fn indexed(&self) -> impl Iterator<Item = (u32, u64)> {
        let index = match &self.deleted {
            Deleted::Indexed(index) => Some(index),
            Deleted::Marked(_) => None,
        };
        let blocks = index.into_iter().flat_map(|index| &index.blocks);
        blocks.map(|(&number, block)| (number, block.messages))
    }

    /// Whether the index has a block, empty or not; `true` without an index.
    pub fn knows(&self, block: u32) -> bool {
        match &self.deleted {
            Deleted::Indexed(index) => index.blocks.contains_key(&block),
            Deleted::Marked(_) => true,
        }
    }
}

/// What the stream's limits take from the front of what is there.
#[derive(Clone)]
struct Limits {
    messages: u64,
    bytes: u64,
    max_messages: u64,
    max_bytes: u64,
    max_per_subject: u64,
    /// How many there are of each; empty without a limit.
    subjects: HashMap<Box<[u8]>, u64>,
}

impl Limits {
    fn of(config: &StreamConfig) -> Self {
        let limit = |limit: i64| match limit {
            1.. => limit.unsigned_abs(),
            _ => u64::MAX,
        };
        let (max_messages, max_bytes) = match config.discard {
            Discard::Old => (limit(config.max_msgs), limit(config.max_bytes)),
            Discard::New => (u64::MAX, u64::MAX),
        };
        Self {
            messages: 0,
            bytes: 0,
            max_messages,
            max_bytes,
            max_per_subject: limit(config.max_msgs_per_subject),
            subjects: HashMap::new(),
        }
    }

    fn count(&mut self, subject: &[u8], size: u64) {
        self.messages += 1;
        self.bytes += size;
        if self.max_per_subject < u64::MAX {
            match self.subjects.get_mut(subject) {
                Some(count) => *count += 1,
                None => {
                    self.subjects.insert(subject.into(), 1);
                }
            }
        }
    }

    fn are_exceeded(&self) -> bool {
        self.messages > self.max_messages
            || self.bytes > self.max_bytes
            || self.subjects.values().any(|&count| count > self.max_per_subject)
    }

    /// Whether the oldest of the messages that were counted stays. Asked of each, oldest first.
    fn keeps(&mut self, subject: &[u8], size: u64) -> bool {
        let is_over = self.messages > self.max_messages || self.bytes > self.max_bytes;
        let of_subject = self.subjects.get_mut(subject);
        let is_over_subject = of_subject.as_ref().is_some_and(|count| **count > self.max_per_subject);
        if !is_over && !is_over_subject {
            return true;
        }
        if is_over {
            self.messages -= 1;
            self.bytes -= size;
        }
        if let Some(count) = of_subject {
            *count -= 1;
        }
        false
    }
}

/// Finds out what there is of a stream.
///
/// # Errors
/// Its folder cannot be read, or is not one that this program reads.
pub(super) fn recover(folder: &Path, config: &StreamConfig) -> Result<Recovered> {
    let mut findings = Findings::default();
    let blocks = Blocks::list(folder, &config.name, &mut findings)?;
    let index = read_index(&blocks, &config.name, &mut findings);
    let is_current = index.as_ref().is_some_and(|index| is_current(index, &blocks));
    let (live, state) = match index {
        Some(index) if is_current => from_index(index),
        stale => {
            if stale.is_some() {
                findings.push(Finding::of(blocks.folder.join("index.db"), What::StaleIndex));
            }
            let ended = stale.as_ref().is_some_and(|index| ends_with(index, &blocks));
            let gone = stale.as_ref().map(|index| gone(index, &blocks)).unwrap_or_default();
            let known: BTreeSet<u32> = stale.iter().flat_map(|index| index.blocks.keys().copied()).collect();
            // With a sequence that was given and not yet written, a server that need not write at once begins again.
            let may_lag = config.persist_mode == PersistMode::Async || config.num_replicas > 1;
            let prior = stale
                .filter(|_| !may_lag)
                .map(|index| (index.last_seq, index.last_time));
            let (live, state, edges) = from_blocks(&blocks, config, prior);
            gaps(&edges, &known, &live, config, &blocks)
                .into_iter()
                .for_each(|finding| findings.push(finding));
            gone.iter()
                .filter_map(|block| missed(block, ended, &live, &blocks))
                .for_each(|finding| findings.push(finding));
            (live, state)
        }
    };
    let state = State {
        last_time: time_or_none(state.last_time),
        ..state
    };
    Ok(Recovered {
        blocks,
        live,
        state,
        findings,
    })
}

/// What the server writes of a stream that never had a message is the time that Go begins with, in as many nanoseconds as
/// 64 bits hold of it.
fn time_or_none(time: NanoTime) -> NanoTime {
    const NO_TIME: NanoTime = -6_795_364_578_871_345_152;
    if time == NO_TIME { 0 } else { time }
}

fn read_index(blocks: &Blocks, stream: &str, findings: &mut Findings) -> Option<Index> {
    let path = blocks.folder.join("index.db");
    let parsed = match read_bounded(&path, INDEX_MAX) {
        Ok(file) => Index::parse(&file, &HashKey::of_stream(stream)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            findings.push(Finding::of(path, What::NoIndex));
            return None;
        }
        Err(error) => Err(error.to_string()),
    };
    parsed
        .map_err(|why| findings.push(Finding::of(path, What::BadIndex(why))))
        .ok()
}

/// Whether nothing was written behind what the index has.
fn is_current(index: &Index, blocks: &Blocks) -> bool {
    index.blocks.keys().all(|&number| has(blocks, number)) && ends_with(index, blocks)
}

fn has(blocks: &Blocks, number: u32) -> bool {
    blocks.numbers.binary_search(&number).is_ok()
}

/// More sequences than any block of nats-server's has, whose blocks are of a few MiB.
const BLOCK_SEQS_MAX: usize = 1 << 22;

/// A block that the index has messages in, and that is not there.
struct Gone {
    number: u32,
    /// The first and the last sequence that the index has of it.
    seqs: (Seq, Seq),
    /// Those of its messages.
    live: Vec<Seq>,
    /// Whether no block before it is there.
    is_front: bool,
}

fn gone(index: &Index, blocks: &Blocks) -> Vec<Gone> {
    let missing = index.blocks.iter().filter(|(number, _)| !has(blocks, **number));
    let gone = missing.filter(|(_, block)| block.messages > 0);
    gone.map(|(&number, block)| Gone {
        number,
        seqs: (block.first, block.last),
        live: (block.first..=block.last)
            .take(BLOCK_SEQS_MAX)
            .filter(|seq| !block.deleted.contains(*seq))
            .collect(),
        // A purge leaves a block.
        is_front: blocks.numbers.first().is_some_and(|first| number < *first),
    })
    .collect()
}

/// What is to be told of a block that is not there: nothing if all its messages were deleted since. Those that a limit or a purge takes
/// from the front leave no marks; then something was written behind them.
fn missed(block: &Gone, ended: bool, live: &Live, blocks: &Blocks) -> Option<Finding> {
    let is_marked = |seq: &&Seq| matches!(&live.deleted, Deleted::Marked(marked) if marked.contains(**seq));
    let messages = block.live.iter().filter(|seq| !is_marked(seq)).count() as u64;
    let path = blocks.path(block.number);
    match (messages, block.is_front && !ended) {
        (0, _) => None,
        (_, true) => Some(Finding::of(path, What::FrontGone { messages })),
        (_, false) => Some(Finding {
            lost: Some(block.seqs),
            ..Finding::of(path, What::Missing { messages })
        }),
    }
}

/// Whether the last record is the one that the index ends with.
fn ends_with(index: &Index, blocks: &Blocks) -> bool {
    index.blocks.contains_key(&index.last_block)
        && blocks.numbers.last() == Some(&index.last_block)
        && last_checksum(&blocks.path(index.last_block)).is_ok_and(|checksum| checksum == index.last_checksum)
}

fn from_index(index: Index) -> (Live, State) {
    let state = State {
        messages: index.messages,
        bytes: index.bytes,
        first_seq: index.first_seq,
        last_seq: index.last_seq,
        last_time: index.last_time,
    };
    let live = Live {
        deleted: Deleted::Indexed(index),
        last: 0,
        limits: None,
    };
    (live, state)
}

fn from_blocks(blocks: &Blocks, config: &StreamConfig, prior: Option<(Seq, NanoTime)>) -> (Live, State, Vec<Edges>) {
    let (marked, mut last, edges) = last_of(blocks);
    if let Some(prior) = prior.filter(|(seq, _)| *seq > last.0) {
        last = prior;
    }
    let mut live = Live {
        deleted: Deleted::Marked(marked),
        last: 0,
        limits: None,
    };
    let mut limits = Limits::of(config);
    let mut state = count(blocks, &mut live, |subject, size| limits.count(subject, size));
    if limits.are_exceeded() {
        live.limits = Some(limits.clone());
        state = count(blocks, &mut live, |_, _| {});
        live.limits = Some(limits);
    }
    (state.last_seq, state.last_time) = last;
    if state.messages == 0 {
        // A stream that never had a message begins where it was told to.
        if config.first_seq > state.last_seq + 1 {
            state.last_seq = config.first_seq - 1;
        }
        state.first_seq = match state.last_seq {
            0 => 0,
            last => last + 1,
        };
    }
    (live, state, edges)
}

/// What is there, with its messages told one by one.
fn count(blocks: &Blocks, live: &mut Live, mut tell: impl FnMut(&[u8], u64)) -> State {
    let mut state = State::default();
    for placed in Records::new(blocks.clone(), 1) {
        if live.check(&placed).is_ok() {
            let size = placed.record.size();
            tell(placed.record.subject(&placed.data), size);
            if state.messages == 0 {
                state.first_seq = placed.record.seq;
            }
            state.messages += 1;
            state.bytes += size;
        }
    }
    live.last = 0;
    state
}

/// What the records of one block say of its last sequence, in the way that the server adds them up.
#[derive(Default)]
struct BlockEnd {
    messages: u64,
    /// The first sequence; 0 as long as there is none.
    first: Seq,
    last: Seq,
    last_time: NanoTime,
    /// The highest mark.
    mark: Seq,
    mark_time: NanoTime,
}

impl BlockEnd {
    fn add(&mut self, placed: &Placed) {
        let record = &placed.record;
        let is_next = record.seq > self.last;
        match record.kind {
            Kind::Tombstone => {
                if record.seq > self.mark {
                    (self.mark, self.mark_time) = (record.seq, record.time);
                }
                return;
            }
            Kind::Erased if record.seq >= self.first && self.messages == 0 => self.first = record.seq + 1,
            Kind::Message if is_next && record.seq >= self.first => {
                if self.messages == 0 {
                    self.first = record.seq;
                }
                self.messages += 1;
            }
            _ => {}
        }
        if is_next {
            (self.last, self.last_time) = (record.seq, record.time);
        }
    }

    /// Its last sequence, and when that was.
    fn last(&self) -> (Seq, NanoTime) {
        match self.messages {
            0 if self.first > 0 => (self.first - 1, self.last_time),
            0 if self.mark > 0 => (self.mark, self.mark_time),
            _ => (self.last, self.last_time),
        }
    }
}

/// The sequences that one block has records of, marks left out.
struct Edges {
    number: u32,
    first: Seq,
    last: Seq,
}

/// What is to be told of blocks that are not there between others, and that no index has: the server numbers them one by one.
fn gaps(edges: &[Edges], known: &BTreeSet<u32>, live: &Live, config: &StreamConfig, blocks: &Blocks) -> Vec<Finding> {
    let Deleted::Marked(marked) = &live.deleted else {
        return Vec::new();
    };
    let may_be_removed = config.max_msgs_per_subject > 0 || config.allow_msg_ttl;
    let mut found = Vec::new();
    for pair in edges.windows(2) {
        let [one, next] = pair else { continue };
        let mut missing =
            (one.number + 1..next.number).filter(|number| !has(blocks, *number) && !known.contains(number));
        let Some(number) = missing.next() else { continue };
        let between = (one.last + 1, next.first.saturating_sub(1));
        let sequences = (between.0..=between.1)
            .take(BLOCK_SEQS_MAX)
            .filter(|seq| !marked.contains(*seq))
            .count() as u64;
        if sequences > 0 {
            let what = What::Gap {
                sequences,
                may_be_removed,
            };
            found.push(Finding {
                lost: Some(between),
                ..Finding::of(blocks.path(number), what)
            });
        }
    }
    found
}

/// All marks of deletion, the last sequence of a stream with its time, and what each block has.
fn last_of(blocks: &Blocks) -> (SeqSet, (Seq, NanoTime), Vec<Edges>) {
    let mut edges: Vec<Edges> = Vec::new();
    let mut marked = SeqSet::default();
    let mut last = (0, 0);
    let mut messages = 0;
    let mut end = (None, BlockEnd::default());
    let mut add = |end: &BlockEnd| {
        let of_block = end.last();
        // As long as there are no messages, what an earlier block says counts for nothing.
        if messages == 0 || of_block.0 >= last.0 {
            last = of_block;
        }
        messages += end.messages;
    };
    for placed in Records::new(blocks.clone(), 1) {
        if end.0 != Some(placed.block) {
            if end.0.is_some() {
                add(&end.1);
            }
            end = (Some(placed.block), BlockEnd::default());
        }
        let record = &placed.record;
        if record.kind != Kind::Tombstone {
            match edges.last_mut().filter(|of| of.number == placed.block) {
                Some(of) => of.last = of.last.max(record.seq),
                None => edges.push(Edges {
                    number: placed.block,
                    first: record.seq,
                    last: record.seq,
                }),
            }
        }
        // A message that was erased after its block was packed is there twice.
        if record.kind == Kind::Tombstone || record.kind == Kind::Erased && record.seq <= end.1.last {
            marked.insert(record.seq);
        }
        end.1.add(&placed);
    }
    if end.0.is_some() {
        add(&end.1);
    }
    (marked, last, edges)
}
