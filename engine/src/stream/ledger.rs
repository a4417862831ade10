//! What a stream has lost: sequences whose messages were stored, and cannot be read any more or are gone.

mod beyond;

use serde::{Deserialize, Serialize};

use crate::backend::Lost;
use crate::error::{Error, Result};
use crate::types::{NUMBER_MAX, NanoTime, Seq};
use beyond::Beyond;

/// Ranges that a ledger has with their reasons; of what comes beyond it keeps the sequences, in a bounded number of ranges.
pub const LEDGER_RANGES: usize = 256;
/// Places of a log whose damage was settled that a ledger has.
pub const LEDGER_PLACES: usize = 1024;

/// Consecutive sequences that were found lost for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The lowest.
    pub first: Seq,
    /// The highest.
    pub last: Seq,
    /// When the first of them was found.
    pub found: NanoTime,
    /// Why.
    pub why: String,
    /// Bytes that are damaged or gone with them, as far as is known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Whether somebody has seen it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub settled: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Loss {
    /// Whether it was lost with a file or a part of one, which somebody may have, and not damaged where it lies.
    pub fn is_gone(&self) -> bool {
        self.why.contains("is missing") || self.why.contains("has lost its end")
    }

    /// Whether some of these messages may have been removed before they were found lost: nothing tells which.
    pub fn may_be_removed(&self) -> bool {
        self.why.contains("may have been removed before")
    }

    /// Whether more of the same may be noted with it.
    fn is_open_for(&self, why: &str) -> bool {
        !self.settled && self.why == why
    }
}

/// The losses of a stream, in the order of their sequences, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    losses: Vec<Loss>,
    /// What was lost beyond these: a start that finds it again does not count it again.
    #[serde(default, skip_serializing_if = "Beyond::is_empty")]
    beyond: Beyond,
    /// Messages that were lost beyond both.
    #[serde(default)]
    more: u64,
    /// Of all these, the messages whose loss somebody has seen.
    #[serde(default, skip_serializing_if = "is_zero")]
    settled: u64,
    /// All messages below this were purged since: whatever was lost of them is of no account any more.
    #[serde(default, skip_serializing_if = "is_zero")]
    purged: Seq,
    /// What was said of damaged places in the log, one line each, and somebody has seen: some of them cost no message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    places: Vec<String>,
    /// Messages that are there again, and which the log's newest write does not count, for they were missing then.
    #[serde(default, skip_serializing_if = "is_zero")]
    found_again: u64,
    /// Ranges that are there again since the last checkpoint was written: that has a first sequence which came of their loss.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    returned: Vec<(Seq, Seq)>,
    /// Those of them that the checkpoint which is being written knows of.
    #[serde(skip)]
    drafted: Vec<(Seq, Seq)>,
    #[serde(skip)]
    changed: bool,
}

impl Ledger {
    /// Reads one that is kept.
    ///
    /// # Errors
    /// [`Damaged`](crate::Kind::Damaged) if it makes no sense.
    pub(crate) fn read(json: &[u8]) -> Result<Self> {
        let mut read: Self = crate::json::from_json(json)?;
        if read.unsettled() == 0 {
            // Earlier versions only counted.
            read.losses.iter_mut().for_each(|loss| loss.settled = true);
            read.beyond.settle();
        }
        let ordered = read.losses.is_sorted_by(|one, next| one.last < next.first);
        let sound = |loss: &Loss| loss.first <= loss.last && loss.last <= NUMBER_MAX;
        let sound_range = |(first, last): &(Seq, Seq)| first <= last && *last <= NUMBER_MAX;
        let beyond = read.beyond.is_sound();
        match ordered && beyond && read.losses.iter().all(sound) && read.returned.iter().all(sound_range) {
            true => Ok(read),
            false => Err(Error::damaged("ranges of lost messages make no sense")),
        }
    }

    /// The losses, up to [`LEDGER_RANGES`].
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// How many messages are lost.
    pub fn messages(&self) -> u64 {
        let listed = self.losses.iter().map(|loss| loss.last - loss.first + 1);
        listed.fold(self.more.saturating_add(self.beyond.count()), u64::saturating_add)
    }

    /// Bytes that are lost with the messages of the ranges, as far as is known: of messages whose bytes are gone nothing
    /// may tell how many those were.
    pub fn bytes(&self) -> u64 {
        self.losses.iter().fold(0, |sum, loss| sum.saturating_add(loss.bytes))
    }

    /// How many messages are lost, and nobody has settled that.
    pub fn unsettled(&self) -> u64 {
        self.messages().saturating_sub(self.settled)
    }

    /// Whether all these sequences are noted, or perhaps beyond what has ranges.
    pub fn covers(&self, first: Seq, last: Seq) -> bool {
        let mut next = first;
        while self.more == 0 && next <= last {
            match self.noted_from(next) {
                Some((low, high)) if low <= next => next = high.saturating_add(1),
                _ => return false,
            }
        }
        true
    }

    /// All ranges, in order: those with a reason, and those beyond them.
    pub(crate) fn ranges(&self) -> Vec<(Seq, Seq)> {
        let losses = self.losses.iter().map(|loss| (loss.first, loss.last));
        let mut all: Vec<_> = losses.chain(self.beyond.ranges().map(|(range, _)| range)).collect();
        all.sort_unstable();
        all
    }

    /// The first range that reaches to a sequence or beyond.
    fn noted_from(&self, seq: Seq) -> Option<(Seq, Seq)> {
        let at = self.losses.partition_point(|loss| loss.last < seq);
        let loss = self.losses.get(at).map(|loss| (loss.first, loss.last));
        let beyond = self.beyond.from(seq).map(|(range, _)| range);
        loss.into_iter().chain(beyond).min()
    }

    /// The ranges that were lost with files, which somebody may have.
    pub(crate) fn gone(&self) -> Vec<(Seq, Seq)> {
        let gone = self.losses.iter().filter(|loss| loss.is_gone());
        gone.map(|loss| (loss.first, loss.last)).collect()
    }

    /// Whether a sequence is lost, and somebody has settled that.
    pub(crate) fn is_settled(&self, seq: Seq) -> bool {
        let at = self.losses.partition_point(|loss| loss.last < seq);
        match self.losses.get(at).filter(|loss| loss.first <= seq) {
            Some(loss) => loss.settled,
            None => match self.beyond.from(seq).filter(|((first, _), _)| *first <= seq) {
                Some((_, settled)) => settled,
                None => self.more > 0 && self.unsettled() == 0,
            },
        }
    }

    /// The damaged places of the log that were settled.
    pub fn places(&self) -> &[String] {
        &self.places
    }

    /// The ranges of sequences that nobody has settled and no purge of the whole stream has come over; `last` is the
    /// stream's last sequence, for what is lost beyond the ranges.
    pub(crate) fn open_ranges(&self, last: Seq) -> Vec<(Seq, Seq)> {
        if self.unsettled() == 0 {
            return Vec::new();
        }
        let uncounted = (self.more > 0).then_some((1, last));
        let open = self.losses.iter().filter(|loss| !loss.settled);
        let beyond = self.beyond.ranges().filter(|(_, settled)| !settled);
        open.map(|loss| (loss.first, loss.last))
            .chain(beyond.map(|(range, _)| range))
            .chain(uncounted)
            .map(|(first, last)| (first.max(self.purged), last))
            .filter(|(first, last)| first <= last)
            .collect()
    }

    /// All messages below a sequence were purged.
    pub(crate) fn purged(&mut self, below: Seq) {
        if !self.losses.is_empty() {
            self.purged = self.purged.max(below);
            self.changed = true;
        }
    }

    /// The sequence below which all was purged since something was lost; 0 if nothing was.
    pub(crate) fn purged_below(&self) -> Seq {
        self.purged
    }

    /// No purge came over anything at or above this: what told of one there is lost, and others will have these sequences.
    pub(crate) fn not_purged_from(&mut self, end: Seq) {
        self.changed |= self.purged > end;
        self.purged = self.purged.min(end);
    }

    /// The ranges below `first`, the first sequence that a checkpoint has, of which that says nothing: their messages were missing, and
    /// nobody removed them. In order; no two overlap.
    pub(crate) fn not_removed(&self, first: Seq) -> Vec<(Seq, Seq)> {
        let uncounted = (self.more > 0).then_some((1, NUMBER_MAX));
        let all = self
            .ranges()
            .into_iter()
            .chain(self.returned.iter().copied())
            .chain(uncounted);
        let within = all.map(|(low, high)| (low.max(self.purged), high.min(first.saturating_sub(1))));
        let mut ranges: Vec<_> = within.filter(|(low, high)| low <= high).collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, one| {
            let joined = next.0 <= one.1.saturating_add(1);
            if joined {
                one.1 = one.1.max(next.1);
            }
            joined
        });
        ranges
    }

    /// A checkpoint is made, whose first sequence is that of what is there now.
    pub(crate) fn drafted(&mut self) {
        self.changed |= !self.returned.is_empty();
        self.drafted = std::mem::take(&mut self.returned);
    }

    /// All that is lost was seen, and with it what is said of damaged places in the log; of those, up to
    /// [`LEDGER_PLACES`].
    pub fn settle(&mut self, mut places: Vec<String>) {
        places.truncate(LEDGER_PLACES);
        self.settled = self.messages();
        self.losses.iter_mut().for_each(|loss| loss.settled = true);
        self.beyond.settle();
        self.places = places;
    }

    /// The lowest of the lost sequences, up to `max`.
    pub fn sequences(&self, max: usize) -> Vec<Seq> {
        let all = self.ranges().into_iter().flat_map(|(first, last)| first..=last);
        all.take(max).collect()
    }

    /// Notes what opening the log finds lost, each time that it is opened. Returns whether something of it is new.
    pub(crate) fn note_found(&mut self, lost: &[Lost], found: NanoTime) -> bool {
        let before = (self.messages(), self.more, self.changed);
        for lost in lost {
            self.note(lost.first, lost.last, lost.bytes, found, lost.why);
        }
        // What there was no range for was counted by an earlier start, too.
        self.more = before.1.max(self.more - before.1);
        let new = self.messages() != before.0;
        self.changed = before.2 || new;
        new
    }

    /// Notes that these sequences, `first` to `last`, are lost, and so many bytes with them; those that are known already
    /// stay as they are.
    pub(crate) fn note(&mut self, first: Seq, last: Seq, bytes: u64, found: NanoTime, why: &str) {
        // Above it there is none, and counting beyond it would end.
        let last = last.min(NUMBER_MAX);
        // Of a part of them it is not known how many bytes it had.
        let all_new = self.noted_from(first).is_none_or(|(low, _)| low > last);
        let bytes = if all_new { bytes } else { 0 };
        let mut next = first;
        while next <= last {
            let end = match self.noted_from(next) {
                Some((low, high)) if low <= next => {
                    next = high.saturating_add(1);
                    continue;
                }
                Some((low, _)) => last.min(low - 1),
                None => last,
            };
            self.insert((next, end), bytes, found, why);
            next = end.saturating_add(1);
        }
    }

    /// So many messages that counted as lost are there again.
    pub(crate) fn found_again(&mut self, messages: u64) {
        self.found_again += messages;
        self.changed |= messages > 0;
    }

    /// Whether messages that are there again are all of these, which the log has more than its newest write counts.
    pub(crate) fn explains(&mut self, surplus: u64) -> bool {
        if surplus == 0 && self.found_again > 0 {
            // The log was written since.
            self.found_again = 0;
            self.changed = true;
        }
        surplus > 0 && surplus == self.found_again
    }

    /// What was noted of these sequences is lost no more.
    pub fn take_back(&mut self, first: Seq, last: Seq) {
        let mut left = Vec::with_capacity(self.losses.len() + 1);
        for loss in std::mem::take(&mut self.losses) {
            let (from, to) = (loss.first.max(first), loss.last.min(last));
            if from > to {
                left.push(loss);
                continue;
            }
            self.changed = true;
            let is_full = self.returned.len() >= LEDGER_RANGES;
            match self.returned.last_mut().filter(|_| is_full) {
                // Too much is no harm: that is kept.
                Some((low, high)) => (*low, *high) = (from.min(*low), to.max(*high)),
                None => self.returned.push((from, to)),
            }
            if loss.settled {
                self.settled = self.settled.saturating_sub(to - from + 1);
            }
            // Of a part it is not known how many bytes it had.
            if loss.first < from {
                left.push(Loss {
                    last: from - 1,
                    bytes: 0,
                    ..loss.clone()
                });
            }
            if to < loss.last {
                left.push(Loss {
                    first: to + 1,
                    bytes: 0,
                    ..loss
                });
            }
        }
        // One more than there were at most, for a range may be cut in two.
        let cut = left.split_off(left.len().min(LEDGER_RANGES));
        self.losses = left;
        for loss in cut {
            self.note_beyond((loss.first, loss.last), loss.settled);
        }
        for ((from, to), settled) in self.beyond.take_out(first, last) {
            self.changed = true;
            if settled {
                self.settled = self.settled.saturating_sub(to - from + 1);
            }
        }
    }

    /// Notes a range that nothing covers and that has no room among those with a reason.
    fn note_beyond(&mut self, (first, last): (Seq, Seq), settled: bool) {
        if !self.beyond.insert((first, last), settled) {
            self.more = self.more.saturating_add(last - first + 1);
        }
    }

    /// Puts a range that nothing covers in its place.
    fn insert(&mut self, (first, last): (Seq, Seq), bytes: u64, found: NanoTime, why: &str) {
        self.changed = true;
        let at = self.losses.partition_point(|loss| loss.last < first);
        let before = at
            .checked_sub(1)
            .filter(|&i| self.losses[i].last + 1 == first && self.losses[i].is_open_for(why));
        let after = self
            .losses
            .get(at)
            .is_some_and(|loss| last + 1 == loss.first && loss.is_open_for(why));
        match before {
            Some(i) => {
                self.losses[i].last = last;
                self.losses[i].bytes = self.losses[i].bytes.saturating_add(bytes);
                if after {
                    let joined = self.losses.remove(at);
                    self.losses[i].last = joined.last;
                    self.losses[i].bytes = self.losses[i].bytes.saturating_add(joined.bytes);
                }
            }
            None if after => {
                self.losses[at].first = first;
                self.losses[at].bytes = self.losses[at].bytes.saturating_add(bytes);
            }
            None if self.losses.len() >= LEDGER_RANGES => self.note_beyond((first, last), false),
            None => {
                let why = why.to_owned();
                self.losses.insert(
                    at,
                    Loss {
                        first,
                        last,
                        found,
                        why,
                        bytes,
                        settled: false,
                    },
                );
            }
        }
    }

    /// Whether something was noted since this was last asked: for a checkpoint.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// What a checkpoint was given may not be there.
    pub(crate) fn forget_saved(&mut self) {
        self.returned.append(&mut self.drafted);
        self.changed = !self.losses.is_empty() || !self.places.is_empty() || !self.returned.is_empty();
    }
}

#[cfg(test)]
mod tests;
