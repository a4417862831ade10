//! Removing many messages: a slice in each turn, so that other streams, publishers and readers wait for one slice only.
//!
//! What is to go is decided when a removal begins: it has an end, and messages that come later are above it. Each slice is
//! a fact by itself, journaled as such; that the removal is under way is journaled once, so that a start after a crash goes
//! on with it. The call that began it is answered when it is over.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::index::{Cursor, Sought, SubjectPlace};
use crate::shard::command::check_number;
use crate::shard::emit::{Completion, Emit};
use crate::shard::turn::Turn;
use crate::stream::messages::Messages;
use crate::stream::purge::Purged;
use crate::stream::{Retention, Stream};
use crate::types::Seq;

/// Consumers at which looking at a message counts twice: each that wants it has to be told.
const CONSUMERS: usize = 16;

/// What a removal takes away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Removal {
    /// The messages of some subjects below `end`. Consumers take it for a purge when it is over.
    Purge {
        /// All subjects if empty.
        filter: Box<[u8]>,
        /// The first sequence that stays.
        end: Seq,
        /// Where consumers stand at least when it is over; 0 for the first message that is left.
        start: Seq,
        /// Whether it is a single message, which counts as deleted rather than purged; `None` while none was removed, and that
        /// is not known yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        single: Option<bool>,
    },
    /// The messages of some subjects but for the newest, which are looked for from the end: then it is a purge of what is below
    /// them. It needs no note: nothing has happened yet, and nobody was answered.
    #[serde(skip)]
    Keep {
        /// All subjects if empty.
        filter: Box<[u8]>,
        /// So many more of the newest are to be found; at least 1.
        left: u64,
        /// Where to begin.
        from: Seq,
        /// The first sequence that stays whatever it is.
        end: Seq,
    },
    /// What no consumer and no copy needs, of the messages that a consumer held on to until now.
    Unneeded {
        /// Single sequences, ascending.
        #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
        singles: VecDeque<Seq>,
        /// The subjects; all if empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        filters: Vec<Box<[u8]>>,
        /// The first sequence to look at.
        next: Seq,
        /// The first sequence that stays.
        end: Seq,
        /// Whether what no consumer wants stays as well.
        #[serde(default)]
        wanted_only: bool,
    },
    /// What is above the stream's limits. It needs no note: the limits are looked at again at each start.
    #[serde(skip)]
    Limits {
        /// Subjects that may have more messages than they may.
        crowded: Vec<Box<[u8]>>,
        /// The subjects from here on are still to be looked at for more of them; `None` if that is done.
        survey: Option<SubjectPlace>,
    },
}

impl Removal {
    /// Of the messages of some subjects, of all if `filter` is empty, below `end`.
    pub fn below(filter: &[u8], end: Seq, start: Seq) -> Self {
        Self::Purge {
            filter: filter.into(),
            end,
            start,
            single: None,
        }
    }

    /// The subjects that it is about; all if empty.
    fn filters(&self) -> Vec<Bytes> {
        match self {
            Self::Purge { filter, .. } | Self::Keep { filter, .. } if filter.is_empty() => Vec::new(),
            Self::Purge { filter, .. } | Self::Keep { filter, .. } => vec![Bytes::copy_from_slice(filter)],
            Self::Unneeded { filters, .. } => filters.iter().map(|filter| Bytes::copy_from_slice(filter)).collect(),
            Self::Limits { .. } => Vec::new(),
        }
    }

    /// Whether the journal is told of it.
    fn is_noted(&self) -> bool {
        matches!(self, Self::Purge { .. } | Self::Unneeded { .. })
    }

    /// Refuses sequences that nothing counts up to.
    fn check(&self) -> Result<()> {
        match self {
            Self::Purge { end, start, .. } => check_number(*end.max(start)),
            Self::Unneeded { singles, next, end, .. } => {
                singles.iter().copied().try_for_each(check_number)?;
                match end {
                    // Where nothing but the single ones goes, the next one means nothing.
                    0 => Ok(()),
                    end => check_number(*next.max(end)),
                }
            }
            Self::Limits { .. } | Self::Keep { .. } => Ok(()),
        }
    }
}

/// One that has begun.
struct UnderWay {
    removal: Removal,
    cursor: Cursor,
    /// Nothing below this is left to look at; for one that looks downwards, nothing above.
    next: Seq,
    /// The first message of a purge, until it is known whether it is the only one.
    held: Option<Seq>,
    purged: Purged,
}

enum Step {
    Remove(Box<UnderWay>),
    /// A call waits for all that stands before.
    Answer(Completion),
}

/// The removals of a stream that are under way, in the order in which they began.
#[derive(Default)]
pub(super) struct Removals {
    steps: VecDeque<Step>,
    /// Whether the journal is to be told which are under way.
    changed: bool,
    /// Whether the journal says that any is.
    noted: bool,
}

impl Removals {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Those to go on with after a crash.
    fn open(&self) -> Vec<&Removal> {
        let under_way = self.steps.iter().filter_map(|step| match step {
            Step::Remove(under_way) => Some(&under_way.removal),
            Step::Answer(_) => None,
        });
        under_way.filter(|removal| removal.is_noted()).collect()
    }

    /// The stream has another index from now on.
    pub fn forget_index(&mut self) {
        for step in &mut self.steps {
            if let Step::Remove(under_way) = step {
                under_way.cursor = Cursor::new(under_way.removal.filters());
            }
        }
    }

    fn trims(&self) -> bool {
        let trims = |step: &Step| matches!(step, Step::Remove(way) if matches!(way.removal, Removal::Limits { .. }));
        self.steps.iter().any(trims)
    }
}

impl UnderWay {
    fn of(removal: Removal, purged: Purged) -> Self {
        let next = match &removal {
            Removal::Unneeded { next, .. } => *next,
            Removal::Keep { from, .. } => *from,
            Removal::Purge { .. } | Removal::Limits { .. } => 0,
        };
        Self {
            cursor: Cursor::new(removal.filters()),
            removal,
            next,
            held: None,
            purged,
        }
    }
}

impl Messages {
    /// The next message from `next` on that matches, as far as this turn may look.
    fn seek(&mut self, cursor: &mut Cursor, next: Seq, turn: &mut Turn<'_>) -> Result<Sought> {
        let mut looks = turn.looks();
        let sought = self.index.next_match_within(cursor, next, &mut looks)?;
        turn.looked(looks);
        Ok(sought)
    }
}

impl Stream {
    /// Begins a removal, and does as much of it as this turn still may.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(super) fn begin_removal(&mut self, removal: Removal, turn: &mut Turn<'_>) -> Result<()> {
        self.add_removal(removal);
        self.begin_removing(turn)
    }

    /// The same, counting what goes.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(super) fn begin_purge(&mut self, removal: Removal, purged: &Purged, turn: &mut Turn<'_>) -> Result<()> {
        self.list_removal(removal, purged.clone());
        self.begin_removing(turn)
    }

    fn begin_removing(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        self.go_on_removing(turn)?;
        if !self.removals.is_empty() {
            turn.removing = Some(self.messages.id);
        }
        Ok(())
    }

    /// Lists a removal as one to be done in the turns to come.
    pub(super) fn add_removal(&mut self, removal: Removal) {
        self.list_removal(removal, Purged::default());
    }

    fn list_removal(&mut self, removal: Removal, purged: Purged) {
        match &removal {
            Removal::Limits { crowded, survey: None } if self.removals.trims() && crowded.is_empty() => return,
            removal => self.removals.changed |= removal.is_noted(),
        }
        let under_way = UnderWay::of(removal, purged);
        self.removals.steps.push_back(Step::Remove(Box::new(under_way)));
    }

    /// Whether removals are under way.
    pub(crate) fn is_removing(&self) -> bool {
        !self.removals.is_empty()
    }

    /// Lets a call wait until the removals that have begun are over.
    pub(crate) fn answer_when_removed(&mut self, done: Completion) {
        self.removals.steps.push_back(Step::Answer(done));
    }

    /// Those who wait for removals; the stream is about to go.
    pub(crate) fn take_waiting(&mut self) -> Vec<Completion> {
        let steps = std::mem::take(&mut self.removals.steps);
        let waiting = steps.into_iter().filter_map(|step| match step {
            Step::Answer(done) => Some(done),
            Step::Remove(_) => None,
        });
        waiting.collect()
    }

    /// A slice of what is under way, as much as this turn still may remove.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn go_on_removing(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        let price = (1 + self.consumers.len() / CONSUMERS) * self.messages.index.removal_price();
        while let Some(step) = self.removals.steps.pop_front() {
            let mut under_way = match step {
                Step::Remove(under_way) => under_way,
                Step::Answer(done) => {
                    self.demand_durability(turn);
                    turn.emits.push(Emit::Done(done));
                    continue;
                }
            };
            let done = self.slice(&mut under_way, price, turn);
            if done.is_err() {
                // What it took away before it failed is gone all the same.
                self.tell_removed();
            }
            if !matches!(done, Ok(true)) {
                self.removals.steps.push_front(Step::Remove(under_way));
                return done.map(|_| ());
            }
            self.removals.changed |= under_way.removal.is_noted();
        }
        Ok(())
    }

    /// A slice of one removal; answers whether it is over.
    fn slice(&mut self, way: &mut UnderWay, price: usize, turn: &mut Turn<'_>) -> Result<bool> {
        match &mut way.removal {
            Removal::Limits { crowded, survey } => {
                let done = self.trim_slice(crowded, survey, price, turn)?;
                self.tell_removed();
                Ok(done)
            }
            Removal::Keep { filter, left, end, .. } => {
                let filters = way.cursor.filters().to_vec();
                let (mut looks, mut begin) = (turn.looks(), None);
                let visit = &mut |seq| {
                    *left -= 1;
                    match *left {
                        0 => {
                            begin = Some(seq);
                            ControlFlow::Break(())
                        }
                        _ => ControlFlow::Continue(()),
                    }
                };
                let next = self
                    .messages
                    .index
                    .matches_down(&filters, way.next, &mut looks, visit)?;
                turn.looked(looks);
                match (begin, next) {
                    (None, Some(next)) => way.next = next,
                    (begin, _) => {
                        // Where there are no more of them than are to stay, none goes.
                        let end = begin.unwrap_or(0).min(*end);
                        way.removal = Removal::below(filter, end, 0);
                        way.next = 0;
                        self.removals.changed = true;
                    }
                }
                Ok(false)
            }
            Removal::Purge {
                filter,
                end,
                start,
                single,
            } => {
                self.tell_removed();
                let known = weir_subject::is_literal(filter).then_some(&filter[..]);
                let (mut over, mut left) = (false, None);
                while turn.removals() > 0 {
                    let found = match self.messages.seek(&mut way.cursor, way.next, turn)? {
                        Sought::Later(next) => {
                            way.next = next;
                            continue;
                        }
                        Sought::At(seq) if seq < *end => Some(seq),
                        Sought::At(seq) => {
                            left = Some(seq);
                            None
                        }
                        Sought::Nothing => None,
                    };
                    over = found.is_none();
                    if single.is_none() {
                        // The first one goes once there is a second one, or none.
                        if way.held.is_none() && !over {
                            way.held = found;
                        } else {
                            *single = Some(over && way.held.is_some());
                            self.removals.changed = true;
                        }
                    }
                    if single.is_some() {
                        if let Some(held) = way.held {
                            way.purged.add(self.messages.remove_of(held, known)?.into());
                            way.held = None;
                        }
                        if let Some(seq) = found {
                            way.purged.add(self.messages.remove_of(seq, known)?.into());
                        }
                    }
                    let Some(seq) = found else { break };
                    way.next = seq + 1;
                    turn.removed(price);
                }
                self.note_purged(single.unwrap_or(false));
                if over {
                    let start = match *start {
                        0 => left.unwrap_or(self.messages.last() + 1),
                        start => start,
                    };
                    self.tell_purged(filter, start, turn.now)?;
                }
                Ok(over)
            }
            Removal::Unneeded {
                singles,
                end,
                wanted_only,
                ..
            } => {
                let mut over = false;
                while turn.removals() > 0 {
                    let sought = match singles.front() {
                        Some(&seq) => Sought::At(seq),
                        None => self.messages.seek(&mut way.cursor, way.next, turn)?,
                    };
                    let seq = match sought {
                        Sought::Later(next) => {
                            way.next = next;
                            continue;
                        }
                        Sought::At(seq) if seq < *end || !singles.is_empty() => seq,
                        Sought::At(_) | Sought::Nothing => {
                            over = true;
                            break;
                        }
                    };
                    turn.removed(price);
                    if self.is_released(seq, *wanted_only)? {
                        self.messages.remove(seq)?;
                    }
                    if singles.pop_front().is_none() {
                        way.next = seq + 1;
                    }
                }
                self.tell_removed();
                Ok(over)
            }
        }
    }

    /// Whether no consumer and no copier holds on to a message any more.
    fn is_released(&mut self, seq: Seq, wanted_only: bool) -> Result<bool> {
        Ok(match self.messages.config.retention {
            Retention::Limits => false,
            Retention::WorkQueue => true,
            Retention::Interest => !self.is_needed(seq)? && (!wanted_only || !self.interested.is_empty()),
        })
    }

    /// Tells the journal which removals are under way, if that changed.
    pub(super) fn journal_removals(&mut self, turn: &mut Turn<'_>) {
        if !std::mem::take(&mut self.removals.changed) {
            return;
        }
        let open = self.removals.open();
        if self.is_journaled() && (self.removals.noted || !open.is_empty()) {
            turn.commands
                .removing(self.messages.id, turn.now, crate::json::to_json(&open));
        }
        self.removals.noted = !open.is_empty();
    }

    /// What a checkpoint keeps of the removals that are under way.
    pub(crate) fn removal_snapshot(&self) -> Vec<Removal> {
        self.removals.open().into_iter().cloned().collect()
    }

    /// Takes up removals that a checkpoint or the journal tells of, in the place of those before.
    ///
    /// # Errors
    /// If a number in one makes no sense; then none is taken up.
    pub(crate) fn resume_removals(&mut self, removals: Vec<Removal>) -> Result<()> {
        removals.iter().try_for_each(Removal::check)?;
        self.removals.noted = !removals.is_empty();
        let steps = removals
            .into_iter()
            .map(|removal| Step::Remove(Box::new(UnderWay::of(removal, Purged::default()))));
        self.removals.steps = steps.collect();
        Ok(())
    }
}
