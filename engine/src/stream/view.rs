//! Reading single messages and subjects, without a consumer.

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::backend::Lost;
use crate::error::Result;
use crate::index::{Cursor, SubjectInfo, SubjectPlace};
use crate::stream::ledger::Ledger;
use crate::stream::search::{Found, Search, filters_of};
use crate::stream::{Message, Stream};
use crate::types::{NanoTime, Seq};

/// Looks that it counts as to seek the newest message of a subject up to a sequence.
const SEEK_LOOKS: usize = 16;

/// Subjects, each with how many messages it has.
pub type SubjectCounts = Vec<(Bytes, u64)>;

/// A search for the newest messages of some subjects.
#[derive(Debug)]
pub struct LastSeqs {
    /// Filters that it has not gone through.
    filters: VecDeque<Bytes>,
    /// Of the first of them, the subjects from here on.
    place: SubjectPlace,
    /// Messages that it may find.
    most: usize,
    /// What it found.
    seqs: BTreeSet<Seq>,
}

impl LastSeqs {
    /// Begins one that may find `most` messages.
    pub fn new(filters: impl IntoIterator<Item = Bytes>, most: usize) -> Self {
        Self {
            filters: filters.into_iter().collect(),
            place: SubjectPlace::default(),
            most,
            seqs: BTreeSet::new(),
        }
    }

    /// Whether all filters were gone through.
    pub fn is_over(&self) -> bool {
        self.filters.is_empty()
    }

    /// Whether more was found than may be.
    pub fn has_too_many(&self) -> bool {
        self.seqs.len() > self.most
    }

    /// What was found, and not taken out, in order.
    pub fn found(&mut self) -> &mut BTreeSet<Seq> {
        &mut self.seqs
    }
}

impl Stream {
    /// The message of that sequence.
    ///
    /// # Errors
    /// If storage cannot be read, or the message is damaged.
    pub fn message(&self, seq: Seq) -> Result<Option<Message>> {
        self.messages.load(seq)
    }

    /// Adds the sequences of the first messages from `from` on to `out`, in order, at most so many; answers whence to go on,
    /// `None` behind the last. Messages are not looked at: damaged ones are among them.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn live_from(&self, from: Seq, most: u64, out: &mut Vec<Seq>) -> Result<Option<Seq>> {
        let Some(first) = self.messages.index.next_live(from)? else {
            return Ok(None);
        };
        let end = first.saturating_add(most);
        self.messages
            .index
            .each_live(first, end - 1, &mut |seq| out.push(seq))?;
        Ok(Some(end))
    }

    /// The sequences of the messages from one to another, both included, whose subjects match any of the filters; all match if
    /// there are none. Damaged ones are among them.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn matching(&mut self, filters: &[Bytes], from: Seq, to: Seq) -> Result<Vec<Seq>> {
        if filters.is_empty() {
            // One look: each that an index in pages has for itself is a scan.
            return self.live(from, to);
        }
        let (mut cursor, mut found, mut next) = (Cursor::new(filters), Vec::new(), from);
        while let Some(seq) = self
            .messages
            .index
            .next_match(&mut cursor, next)?
            .filter(|seq| *seq <= to)
        {
            found.push(seq);
            next = seq + 1;
        }
        Ok(found)
    }

    /// Whether there is a message of that sequence, damaged or not.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn is_live(&self, seq: Seq) -> Result<bool> {
        self.messages.index.is_live(seq)
    }

    /// The subject that the index has a message under, also of one that is damaged; `None` if it is not live. Slow: as many
    /// subjects are looked at as there are.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn indexed_subject(&self, seq: Seq) -> Result<Option<Bytes>> {
        self.messages.index.subject_at(seq)
    }

    /// What the stream has lost.
    pub fn ledger(&self) -> &Ledger {
        &self.messages.ledger
    }

    /// The newest message whose subject matches. Among many subjects a [`Search`] takes no longer, and lets others in between.
    ///
    /// # Errors
    /// As [`Stream::message`].
    pub fn last_message(&mut self, filter: &[u8]) -> Result<Option<Message>> {
        self.search_through(Search::newest(filter))
    }

    /// The first message from that sequence on whose subject matches; all match an empty filter. Damaged ones are passed
    /// over. As for [`Stream::last_message`], a [`Search`] may be better.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn next_message(&mut self, filter: &[u8], from: Seq) -> Result<Option<Message>> {
        self.search_through(Search::from(filter, from))
    }

    fn search_through(&mut self, mut search: Search) -> Result<Option<Message>> {
        loop {
            match self.search(&mut search)? {
                Found::Message(message) => return Ok(Some(message)),
                Found::Nothing => return Ok(None),
                Found::Later | Found::Unread(_) => {}
            }
        }
    }

    /// The sequence of the first message not older than a time; one above the last if there is none.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn seq_at(&self, time: NanoTime) -> Result<Seq> {
        self.messages.seq_at(time)
    }

    /// Messages from a sequence on whose subjects match any of the filters; all match if there are none.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn count_from(&mut self, filters: &[Bytes], from: Seq) -> Result<u64> {
        self.messages.index.count_from(filters, from)
    }

    /// Goes on with a search for the newest sequence, up to `up_to`, of each subject that any of its filters matches. Looks
    /// at some `looks` subjects at most, and lowers that by what it took; the search is over when it has no filter left, or has
    /// found more than it may.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn last_seqs(&mut self, search: &mut LastSeqs, up_to: Seq, looks: &mut usize) -> Result<()> {
        while *looks > 0
            && !search.has_too_many()
            && let Some(filter) = search.filters.front().cloned()
        {
            let LastSeqs { seqs, most, .. } = search;
            let mut newer = Vec::new();
            let seeks = looks.div_ceil(SEEK_LOOKS);
            let mut visit = |subject: &[u8], info: SubjectInfo| {
                if info.last <= up_to {
                    seqs.insert(info.last);
                } else if info.first <= up_to {
                    newer.push(Bytes::copy_from_slice(subject));
                }
                match seqs.len() <= *most && newer.len() < seeks {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            };
            let index = &mut self.messages.index;
            let next = if weir_subject::has_wildcard(&filter) {
                index.some_of_each(std::slice::from_ref(&filter), &search.place, looks, &mut visit)?
            } else {
                *looks -= 1;
                if let Some(info) = index.subject(&filter)? {
                    let _: ControlFlow<()> = visit(&filter, info);
                }
                None
            };
            *looks = looks.saturating_sub(newer.len() * SEEK_LOOKS);
            for subject in newer {
                search.seqs.extend(index.prev_match(&[subject], up_to)?);
            }
            if next.is_none() {
                search.filters.pop_front();
            }
            search.place = next.unwrap_or_default();
        }
        Ok(())
    }

    /// Subjects that match, with how many messages they have, in order, from a place on: as many as are found among the next
    /// `looks`. And where to go on, if there may be more.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn subjects(
        &mut self,
        filter: &[u8],
        from: &SubjectPlace,
        mut looks: usize,
    ) -> Result<(SubjectCounts, Option<SubjectPlace>)> {
        let filters = filters_of(filter);
        let mut page = Vec::new();
        let index = &mut self.messages.index;
        let next = index.some_of_each(&filters, from, &mut looks, &mut |subject, info| {
            page.push((Bytes::copy_from_slice(subject), info.count));
            ControlFlow::Continue(())
        })?;
        Ok((page, next))
    }

    /// The sequences from one to another, both included, that hold a message, be it damaged.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn live(&self, from: Seq, to: Seq) -> Result<Vec<Seq>> {
        let mut live = Vec::new();
        self.messages.index.each_live(from, to, &mut |seq| live.push(seq))?;
        Ok(live)
    }

    /// Of what a ledger says is lost, the ranges that can be read again. Of what was gone with files of the log that is from the first message
    /// that is there to the last: what of those between is not there was deleted before. Ranges of a million sequences and more are not
    /// looked at, nor more than a thousand messages that were damaged.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn there_again(&self, ledger: &Ledger) -> Result<Vec<(Seq, Seq)>> {
        const LOOKED_AT_MAX: u64 = 1 << 20;
        const READ_MAX: u64 = 1000;
        let mut back = Vec::new();
        if ledger.losses().is_empty() {
            return Ok(back);
        }
        let (lost, mut read) = (self.log_lost(), 0);
        for loss in ledger.losses() {
            let still = |lost: &Lost| lost.first <= loss.last && loss.first <= lost.last;
            let length = loss.last - loss.first + 1;
            if length > LOOKED_AT_MAX || lost.iter().any(still) {
                continue;
            }
            if loss.is_gone() {
                let live = self.live(loss.first, loss.last)?;
                if let (Some(&first), Some(&last)) = (live.first(), live.last()) {
                    back.push((first, last));
                }
                continue;
            }
            read += length;
            let (mut any, may_be_removed) = (false, loss.may_be_removed());
            let is_whole = |seq: Seq| {
                let got = self.log_reader().get(seq);
                any |= matches!(got, Ok(Some(_)));
                // What was removed before is not there, and no damage is.
                matches!(got, Ok(Some(_))) || (may_be_removed && got.is_ok())
            };
            if read <= READ_MAX && (loss.first..=loss.last).all(is_whole) && any {
                back.push((loss.first, loss.last));
            }
        }
        Ok(back)
    }

    /// The sequences between the first and the last message that hold nothing, of the next `looks` from `from` on; and where to
    /// go on, if there are more to look at.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn deleted(&self, from: Seq, looks: u64) -> Result<(Vec<Seq>, Option<Seq>)> {
        let mut deleted = Vec::new();
        let Some(first) = self.messages.index.first() else {
            return Ok((deleted, None));
        };
        let last = self.messages.last();
        let mut expected = from.max(first);
        let end = expected.saturating_add(looks).min(last + 1);
        self.messages.index.each_live(expected, end - 1, &mut |live| {
            deleted.extend(expected..live);
            expected = live + 1;
        })?;
        deleted.extend(expected..end);
        Ok((deleted, (end <= last).then_some(end)))
    }
}
