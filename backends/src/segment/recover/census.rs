//! Whether a log has as many records as its newest write says. Files that are missing are found out by it, where nothing else
//! tells them from those that were unlinked because all in them was removed.

use weir_engine::{Recovery, Seq, words};

use super::super::format::Begin;
use super::super::state::{State, Suspect};
use super::super::walk::Item;
use super::list::Source;

/// Why records are lost whose file is gone.
const FILE_GONE: &str = "a file of the log is missing";

/// Ranges that one line names.
const NAMED_MAX: usize = 16;

/// What is known of the number of a log's records, and of the files that it may lack.
#[derive(Default)]
pub(super) struct Census<'a> {
    /// The newest write that was seen.
    newest: Option<Begin>,
    /// The newest segment whose writes were not looked at, because it has a footer.
    sealed: Option<&'a Source>,
    /// Numbers of segments that are not there.
    absent: Vec<(u64, u64)>,
    /// Whether a file could not be read whole: then nothing can be said.
    unreadable: bool,
}

impl<'a> Census<'a> {
    /// The next segment, before what it holds is taken up.
    pub(super) fn next(&mut self, before: Option<&Source>, source: &Source, state: &mut State) {
        // What checksums were forged for may say any number.
        let reach = |before: &Source| {
            let replaces = before.header.map_or(0, |h| u64::from(h.replaces));
            before.identity.id.saturating_add(replaces)
        };
        let expected = before.map_or(1, |before| reach(before).saturating_add(1));
        self.unreadable |= source.handle.faulted();
        // A rewritten segment may have been begun lower, for the sake of what was truncated.
        let high = source.begun_after().max(source.name_first.saturating_sub(1));
        let low = state.extent.last.saturating_add(1);
        // One that was rewritten had its footer before it had its name.
        let cut = before.is_some_and(|before| before.identity.generation > 0 && before.footer.is_none());
        let absent = source.identity.id > expected;
        if (absent || cut) && low <= high {
            state.absent.insert(low, high);
        }
        if absent && low <= high {
            self.absent.push((expected, source.identity.id - 1));
        }
    }

    /// The segment has a footer, and its writes are not looked at.
    pub(super) fn sealed(&mut self, source: &'a Source) {
        self.newest = None;
        self.sealed = Some(source);
    }

    /// The newest write of a segment that was read whole.
    pub(super) fn saw(&mut self, begin: Option<Begin>) {
        self.newest = begin.or(self.newest);
    }

    /// Compares with what was found; `number` is the last write that the log has, and in `gone` records counted as lost with their files.
    pub(super) fn compare(self, number: u64, gone: &[(Seq, Seq)], state: &mut State, report: &mut Recovery) {
        let floor = state.floor;
        let absent = std::mem::take(&mut state.absent).into_iter();
        let absent = absent.map(|(low, high)| (low.max(floor), high.min(state.extent.last)));
        let absent: Vec<_> = absent.filter(|(low, high)| low <= high).collect();
        let in_sealed = || {
            let begins = self.sealed?.walk().filter_map(|item| match item {
                Item::Frame { frame, raw, .. } => Begin::of(&frame, raw),
                _ => None,
            });
            begins.last()
        };
        // Damage in the last write leaves nothing to compare with, and what was truncated since is not counted.
        let comparable = |newest: &Begin| newest.number == number && newest.last <= state.extent.last;
        let newest = self.newest.or_else(in_sealed).filter(comparable);
        let Some(told) = newest.and_then(|newest| newest.count).filter(|_| !self.unreadable) else {
            report.absent = absent;
            return;
        };
        if state.extent.count > told
            && let Err(error) = state.find_voids(told)
        {
            report.damage.push(format!("looking for what was overwritten: {error}"));
        }
        let there = state.extent.count;
        if there > told {
            let more = words::count(there - told, "record");
            // Where these are those that somebody has put back, nothing removed them: they were not there when the newest write was made.
            if there - told != live_within(gone, state) {
                report.damage.push(format!(
                    "the log has {more} more than its newest write counts: what removed them is lost"
                ));
            }
            report.revived = Some(format!("it has {more} more than its newest write counts"));
            report.surplus = there - told;
            return;
        }
        let suspected = state.suspects.iter().map(|s| (s.high - s.low).saturating_add(1));
        // What was overwritten was removed by a write that is lost.
        let missing = (told - there).saturating_sub(state.voids.len() as u64);
        if missing <= suspected.fold(0, Seq::saturating_add) {
            // It may have lost as many as are there again.
            report.absent = absent;
            return;
        }
        let mut line = format!(
            "the log has {} fewer than its newest write counts",
            words::count(missing, "record")
        );
        if !absent.is_empty() {
            let (files, records) = (
                &self.absent[..self.absent.len().min(NAMED_MAX)],
                &absent[..absent.len().min(NAMED_MAX)],
            );
            let place = match files {
                [] => "the end of a file is missing".to_owned(),
                files => format!("not there: {}", words::numbered("file", files)),
            };
            line += &format!(
                "; {place}, and in it {} may have been",
                words::numbered("record", records)
            );
        }
        let room = absent
            .iter()
            .map(|(low, high)| high - low + 1)
            .fold(0, Seq::saturating_add);
        if room > missing {
            // Of the others in it, some may have been removed before, or what is there again makes up for some that are gone.
            report.revived = Some(line.clone());
        }
        let suspects = absent.into_iter().map(|(low, high)| Suspect {
            low,
            high,
            bytes: 0,
            why: FILE_GONE,
            head: None,
            note: line.clone(),
        });
        state.suspects.extend(suspects);
        report.damage.push(line);
    }
}

/// How many records are there within ranges; none of them where that cannot be told.
fn live_within(ranges: &[(Seq, Seq)], state: &State) -> u64 {
    let mut live = Vec::new();
    for &(low, high) in ranges {
        for s in state.segs.iter().filter(|s| s.first <= high && low <= s.last) {
            if s.seg.live((low.max(s.first), high.min(s.last)), &mut live).is_err() {
                return 0;
            }
        }
    }
    live.iter().map(|(first, last)| last - first + 1).sum()
}
