//! Searching for messages by their subjects, some of the way in each turn: where many subjects come close to a filter and few
//! match it, it may be far to the next one.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Kind, Result};
use crate::index::{Cursor, Sought};
use crate::stream::{Message, Stream};
use crate::types::Seq;

/// Heads of messages that a search looks at in one turn, about.
const LOOKS: usize = 2048;

/// A search for messages whose subjects match. It belongs to one stream.
#[derive(Debug)]
pub struct Search {
    filters: Vec<Bytes>,
    /// Where to go on upwards; `None` for the newest message.
    next: Option<Seq>,
    cursor: Cursor,
    /// The stream as it was opened when the cursor was made: it knows nothing of any other.
    of: Option<Arc<str>>,
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
}

impl Search {
    /// For the messages from that sequence on, one after the other; all match an empty filter.
    pub fn from(filter: &[u8], from: Seq) -> Self {
        Self::of(filter, Some(from))
    }

    /// For the newest message.
    pub fn newest(filter: &[u8]) -> Self {
        Self::of(filter, None)
    }

    fn of(filter: &[u8], next: Option<Seq>) -> Self {
        let filters = match filter {
            b"" | b">" => Vec::new(),
            filter => vec![Bytes::copy_from_slice(filter)],
        };
        Self {
            cursor: Cursor::new(&filters),
            filters,
            next,
            of: None,
        }
    }
}

impl Stream {
    /// Goes on with a search. Upwards, damaged messages are passed over, and asking again finds the message after.
    ///
    /// # Errors
    /// If storage cannot be read, or the newest message is damaged.
    pub fn search(&mut self, search: &mut Search) -> Result<Found> {
        let opened = &self.messages.name;
        if !search.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, opened)) {
            search.cursor = Cursor::new(&search.filters);
            search.of = Some(opened.clone());
        }
        match search.next {
            Some(next) => self.search_upwards(search, next),
            None => self.search_newest(search),
        }
    }

    fn search_upwards(&mut self, search: &mut Search, mut next: Seq) -> Result<Found> {
        let mut looks = LOOKS;
        loop {
            let index = &mut self.messages.index;
            let seq = match index.next_match_within(&mut search.cursor, next, &mut looks)? {
                Sought::At(seq) => seq,
                Sought::Nothing => return Ok(Found::Nothing),
                Sought::Later(next) => {
                    search.next = Some(next);
                    return Ok(Found::Later);
                }
            };
            next = seq.saturating_add(1);
            search.next = Some(next);
            match self.messages.load(seq) {
                Ok(Some(message)) => return Ok(Found::Message(message)),
                Ok(None) => {}
                Err(error) if error.kind == Kind::Damaged => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn search_newest(&mut self, search: &mut Search) -> Result<Found> {
        let last = self.messages.last();
        let index = &mut self.messages.index;
        let mut seq = match &search.filters[..] {
            [subject] if weir_subject::is_literal(subject) => index.subject(subject)?.map(|info| info.last),
            _ => match index.last_match_within(&mut search.cursor)? {
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
        let message = seq.map(|seq| self.messages.load(seq)).transpose()?.flatten();
        Ok(message.map_or(Found::Nothing, Found::Message))
    }
}
