//! Searching for messages by their subjects, some of the way in each turn: where many subjects come close to a filter and few
//! match it, it may be far to the next one.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Kind, Result};
use crate::index::{Cursor, Resident, Sought, Tally};
use crate::stream::sight::decided;
use crate::stream::{Message, Stream, Unread};
use crate::types::Seq;

/// Messages and subjects that searches of one turn look at together, about: one or two milliseconds of work.
pub const SEARCH_LOOKS: usize = 4096;

/// Messages and subjects that somebody looks at who looks into a shard between its turns, about: ten microseconds of work.
pub const SIGHT_LOOKS: usize = 32;

/// A search for messages whose subjects match. It belongs to one stream.
#[derive(Debug)]
pub struct Search {
    filters: Vec<Bytes>,
    /// Where to go on upwards; `None` for the newest message.
    next: Option<Seq>,
    /// Whether `next` alone is meant, whatever its subject is.
    alone: bool,
    /// What was answered as [`Found::Unread`].
    fetched: Option<Seq>,
    cursor: Cursor,
    /// The stream as it was opened when the cursor was made: it knows nothing of any other.
    of: Option<Arc<str>>,
}

/// A count of the messages that match, found out some of the way in each turn. It belongs to one stream.
#[derive(Debug)]
pub struct Count {
    filters: Vec<Bytes>,
    tally: Tally,
}

impl Count {
    /// Of the messages that match a filter; all match an empty one.
    pub fn of(filter: &[u8]) -> Self {
        let filters = filters_of(filter);
        Self {
            tally: Tally::count(&filters, 0),
            filters,
        }
    }
}

/// All subjects if there is none, or it is `>`.
pub(super) fn filters_of(filter: &[u8]) -> Vec<Bytes> {
    match filter {
        b"" | b">" => Vec::new(),
        filter => vec![Bytes::copy_from_slice(filter)],
    }
}

/// What a turn of a search has come to.
#[derive(Debug)]
pub enum Found {
    /// The next message that matches, or the newest.
    Message(Message),
    /// There is none.
    Nothing,
    /// Nothing yet: there is more to look at.
    Later,
    /// This one, which a disk has to be waited for. The search, asked again, reads it all the same.
    Unread(Unread),
}

impl Search {
    /// For the messages from that sequence on, one after the other; all match an empty filter.
    pub fn from(filter: &[u8], from: Seq) -> Self {
        Self::of(filter, Some(from))
    }

    /// For the message of exactly that sequence.
    pub fn of_seq(seq: Seq) -> Self {
        Self {
            alone: true,
            ..Self::of(b"", Some(seq))
        }
    }

    /// For the newest message.
    pub fn newest(filter: &[u8]) -> Self {
        Self::of(filter, None)
    }

    fn of(filter: &[u8], next: Option<Seq>) -> Self {
        let filters = filters_of(filter);
        Self {
            cursor: Cursor::new(&filters),
            filters,
            next,
            alone: false,
            fetched: None,
            of: None,
        }
    }

    /// Whether one message alone is meant.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Where an index in memory has what this is for, if anywhere; it begins here and is not gone on with. `None` if that takes more
    /// than these looks, which it lowers.
    pub(super) fn seq_in(&mut self, index: &mut Resident, looks: &mut usize) -> Option<Option<Seq>> {
        match (self.next, &self.filters[..]) {
            (Some(next), _) if self.alone => Some(Some(next)),
            (Some(next), _) => decided(index.next_match_within(&mut self.cursor, next, looks)),
            (None, [subject]) if weir_subject::is_literal(subject) => Some(index.last_of(subject)),
            (None, _) => decided(index.last_match_within(&mut self.cursor, looks)),
        }
    }
}

impl Stream {
    /// Goes on with a search, as far as a turn may that has no other.
    ///
    /// # Errors
    /// As [`Stream::search_within`].
    pub fn search(&mut self, search: &mut Search) -> Result<Found> {
        self.search_within(search, &mut { SEARCH_LOOKS })
    }

    /// Goes on with a search. Upwards, damaged messages are passed over, and asking again finds the message after. Looks at some
    /// `looks` messages and subjects at most, and lowers that by what it took; see
    /// [`InTurn::search_looks`](crate::shard::InTurn::search_looks).
    ///
    /// # Errors
    /// If storage cannot be read, or the newest message is damaged.
    pub fn search_within(&mut self, search: &mut Search, looks: &mut usize) -> Result<Found> {
        if search.alone
            && let Some(seq) = search.next
        {
            return self.read_found(search, seq, looks);
        }
        let opened = &self.messages.name;
        if !search.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, opened)) {
            search.cursor = Cursor::new(&search.filters);
            search.of = Some(opened.clone());
        }
        match search.next {
            Some(next) => self.search_upwards(search, next, looks),
            None => self.search_newest(search, looks),
        }
    }

    /// Goes on with a count, of the messages from `from` on: that may go up from one call to the next. Answers how many they are,
    /// once that is known; looks at some `looks` messages and subjects at most, and lowers that by what it took.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn count_within(&mut self, count: &Count, from: Seq, looks: &mut usize) -> Result<Option<u64>> {
        let index = &mut self.messages.index;
        match index.tally(&count.tally, from, looks)? {
            true => index.count_from(&count.filters, from).map(Some),
            false => Ok(None),
        }
    }

    /// Reads a message as one that is searched for: that counts as some looks.
    ///
    /// # Errors
    /// If storage cannot be read, or the message is damaged.
    pub fn message_within(&self, seq: Seq, looks: &mut usize) -> Result<Option<Message>> {
        *looks = looks.saturating_sub(self.messages.index.read_price());
        self.messages.load(seq)
    }

    fn search_upwards(&mut self, search: &mut Search, mut next: Seq, looks: &mut usize) -> Result<Found> {
        loop {
            if *looks == 0 {
                return Ok(Found::Later);
            }
            let index = &mut self.messages.index;
            let seq = match index.next_match_within(&mut search.cursor, next, looks)? {
                Sought::At(seq) => seq,
                Sought::Nothing => return Ok(Found::Nothing),
                Sought::Later(next) => {
                    search.next = Some(next);
                    return Ok(Found::Later);
                }
            };
            match self.read_found(search, seq, looks) {
                Ok(Found::Nothing) => {}
                Ok(Found::Unread(unread)) => {
                    search.next = Some(seq);
                    return Ok(Found::Unread(unread));
                }
                Ok(found) => {
                    search.next = Some(seq.saturating_add(1));
                    return Ok(found);
                }
                Err(error) if error.kind == Kind::Damaged => {}
                Err(error) => return Err(error),
            }
            next = seq.saturating_add(1);
            search.next = Some(next);
        }
    }

    /// Reads what a search has found, unless a disk has to be waited for and was not yet.
    fn read_found(&self, search: &mut Search, seq: Seq, looks: &mut usize) -> Result<Found> {
        if search.fetched != Some(seq)
            && let Some(unread) = self.unread(seq)
        {
            search.fetched = Some(seq);
            return Ok(Found::Unread(unread));
        }
        let message = self.message_within(seq, looks)?;
        Ok(message.map_or(Found::Nothing, Found::Message))
    }

    fn search_newest(&mut self, search: &mut Search, looks: &mut usize) -> Result<Found> {
        if *looks == 0 {
            return Ok(Found::Later);
        }
        let last = self.messages.last();
        let index = &mut self.messages.index;
        let mut seq = match &search.filters[..] {
            [subject] if weir_subject::is_literal(subject) => index.subject(subject)?.map(|info| info.last),
            _ => match index.last_match_within(&mut search.cursor, looks)? {
                Sought::At(seq) => Some(seq),
                Sought::Nothing => None,
                Sought::Later(_) => return Ok(Found::Later),
            },
        };
        if let Some(found) = seq
            && !index.is_live(found)?
        {
            // It went while the search was under way.
            seq = index.prev_match(&search.filters, last)?;
        }
        match seq {
            Some(seq) => self.read_found(search, seq, looks),
            None => Ok(Found::Nothing),
        }
    }
}
