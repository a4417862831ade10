//! Finding a message without reading anything: what of it the index and memory know, for somebody who has no turn of the shard.

use crate::index::{Index, Sought};
use crate::stream::{Message, Search, Stream, Unread};
use crate::types::Seq;

/// What was found of a message.
#[derive(Debug)]
pub enum Sight {
    /// The message.
    Message(Message),
    /// It is in the log, and to be read there.
    InLog(Unread),
    /// There is none.
    Nothing,
}

impl Stream {
    /// Looks for what a search is for, in memory: at some `looks` messages and subjects at most, which it lowers. `None` where that is
    /// not enough, or the message is not below `before`, or the index is not in memory; then the search is to be begun anew, with
    /// [`Stream::search`].
    pub(crate) fn sight(&mut self, search: &mut Search, before: Seq, looks: &mut usize) -> Option<Sight> {
        *looks = looks.checked_sub(1)?;
        let Index::Resident(index) = &mut self.messages.index else {
            return None;
        };
        let Some(seq) = search.seq_in(index, looks)? else {
            return Some(Sight::Nothing);
        };
        if seq >= before {
            return None;
        }
        if !index.is_live(seq) {
            return search.is_alone().then_some(Sight::Nothing);
        }
        Some(match self.messages.tail().get(seq) {
            Some(entry) => Sight::Message(Message::unpack(entry.clone()).ok()?),
            None => Sight::InLog(Unread::new(self.messages.reader().clone(), seq..=seq)),
        })
    }
}

/// What a look at an index in memory comes to: the sequence, if there is one.
pub(super) fn decided(sought: Sought) -> Option<Option<Seq>> {
    match sought {
        Sought::At(seq) => Some(Some(seq)),
        Sought::Nothing => Some(None),
        Sought::Later(_) => None,
    }
}
