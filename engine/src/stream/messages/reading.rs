//! Reading messages: one, or one after the other; what is damaged is noted.

use crate::error::{Error, Kind, Result};
use crate::stream::ahead::{IfCold, Loaded};
use crate::stream::damage::Line;
use crate::stream::message::Message;
use crate::stream::messages::Messages;
use crate::stream::unread::Unread;
use crate::types::{Entry, Seq};

/// Erasures that the log lacks up to which going through them all is quicker than asking the index.
const ERASED_SEARCH: usize = 512;
/// Sequences behind the one that a consumer needs which are fetched with it.
const FETCHED: Seq = 255;

impl Messages {
    /// A live message. That it is damaged is reported, once.
    pub fn load(&self, seq: Seq) -> Result<Option<Message>> {
        if !self.index.is_live(seq)? {
            return Ok(None);
        }
        let entry = match self.tail.get(seq) {
            Some(entry) => Ok(Some(entry.clone())),
            None => self.reader.get(seq),
        };
        self.unpack(seq, entry)
    }

    /// Reads the record of a live message, which may be damaged: then that is reported, unless it is known for lost already.
    pub fn meet(&self, seq: Seq) -> Result<()> {
        if self.ledger.covers(seq, seq) || !self.index.is_live(seq)? {
            return Ok(());
        }
        match self.unpack(seq, self.reader.get(seq)) {
            Err(error) if error.kind != Kind::Damaged => Err(error),
            _ => Ok(()),
        }
    }

    /// The damaged records below a sequence that were met and are still there.
    pub fn damaged_below(&self, seq: Seq) -> Vec<Seq> {
        self.damage.borrow().below(seq)
    }

    pub(super) fn unpack(&self, seq: Seq, entry: Result<Option<Entry>>) -> Result<Option<Message>> {
        let message = entry.and_then(|entry| entry.map(Message::unpack).transpose());
        if let Err(error) = &message
            && error.kind == Kind::Damaged
        {
            self.note_damage(seq, error);
        }
        message
    }

    /// Reports a damaged record, the first time that it is met.
    pub(super) fn note_damage(&self, seq: Seq, why: &Error) {
        let line = self.damage.borrow_mut().found(seq);
        match line {
            Line::Of => tracing::error!(stream = %self.name, seq, "a damaged message is passed over: {why}"),
            Line::AndCount(count) => tracing::error!(
                stream = %self.name,
                seq,
                "a damaged message is passed over: {why}; {count} were since the stream was opened, and not each has a line here any more: \
                 its info (state.lost) has them"
            ),
            Line::Nothing => {}
        }
    }

    /// Whether damaged records were met since they were last told of.
    pub fn has_untold_damage(&self) -> bool {
        self.damage.borrow().has_untold()
    }

    /// The damaged records that were met since this was last asked.
    pub fn take_damage(&mut self) -> Vec<Seq> {
        self.damage.get_mut().take()
    }

    /// [`Messages::load`] for a reader that goes in order.
    pub fn load_in_order(&mut self, seq: Seq, if_cold: IfCold) -> Result<Loaded<Message>> {
        // The tail may still hold what is gone from the log, and the log what went away in a turn that is not committed.
        if self.tail.get(seq).is_some() || self.unlanded_erasures() > ERASED_SEARCH {
            return self.load(seq).map(Loaded::from);
        }
        if seq < self.first() || self.is_erased(seq) {
            return Ok(Loaded::Gone);
        }
        let entry = match self.ahead.get(self.reader.as_ref(), seq, self.last, if_cold) {
            Ok(Loaded::Cold) => return Ok(Loaded::Cold),
            Ok(Loaded::There(entry)) => Ok(Some(entry)),
            Ok(Loaded::Gone) => Ok(None),
            Err(error) => Err(error),
        };
        self.unpack(seq, entry).map(Loaded::from)
    }

    /// Whether reading a message waits for a disk.
    pub fn is_cold(&self, seq: Seq) -> bool {
        self.tail.get(seq).is_none() && self.reader.at_hand(seq..=seq).is_none()
    }

    /// What a reader in order needs from a sequence on, to be read where a disk may be waited for.
    pub fn unread_in_order(&self, seq: Seq) -> Unread {
        let last = self.log_last().max(seq).min(seq + FETCHED);
        Unread::new(self.reader.clone(), seq..=last)
    }

    /// [`Messages::load_in_order`] for a reader that passes over what is damaged, and waits for a disk.
    pub fn read_in_order(&mut self, seq: Seq) -> Result<Option<Message>> {
        match self.load_in_order(seq, IfCold::ReadOn) {
            Ok(Loaded::There(message)) => Ok(Some(message)),
            Ok(Loaded::Gone | Loaded::Cold) => Ok(None),
            Err(error) if error.kind == Kind::Damaged => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is a message of that sequence that reading in order has come by already.
    pub fn is_next_in_order(&self, seq: Seq) -> bool {
        self.ahead.is_next(seq)
    }
}
