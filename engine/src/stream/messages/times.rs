//! Messages by their times: the first, the first that can grow too old, the first that is not older.

use crate::error::{Error, Result};
use crate::stream::messages::Messages;
use crate::stream::moment::narrow;
use crate::types::{NanoTime, Seq};

/// The oldest message of those that can grow too old.
pub enum Aging {
    /// There is none.
    Nothing,
    /// This one, of that time.
    Since(Seq, NanoTime),
    /// A disk must be waited for to know this message's age.
    Unread(Seq),
}

impl Messages {
    /// The first live message's time.
    pub fn first_time(&mut self) -> Result<Option<NanoTime>> {
        let Some(seq) = self.index.first() else {
            return Ok(None);
        };
        match self.first_time {
            Some((known, time)) if known == seq => Ok(Some(time)),
            _ => {
                let time = self.head(seq)?.map(|head| head.time);
                self.first_time = time.map(|time| (seq, time));
                Ok(time)
            }
        }
    }

    /// When a message came, if no disk has to be waited for to know it.
    pub fn time_at_hand(&self, seq: Seq) -> Result<Option<NanoTime>> {
        if self.is_cold(seq) {
            return Ok(None);
        }
        Ok(self.head(seq)?.map(|head| head.time))
    }

    /// The first live message, if its time is not known yet.
    pub fn unknown_first(&self) -> Option<Seq> {
        let first = self.index.first()?;
        self.first_time.is_none_or(|(known, _)| known != first).then_some(first)
    }

    /// The first live message that can grow too old; `waits` says whether a disk may be waited for.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn first_aging(&mut self, waits: bool) -> Result<Aging> {
        let Some(first) = self.index.first() else {
            return Ok(Aging::Nothing);
        };
        if let Some((seq, time)) = self.first_aging
            && self.index.is_live(seq)?
        {
            return Ok(Aging::Since(seq, time));
        }
        let mut next = Some(first);
        if self.ageless_below > first {
            next = self.index.next_live(self.ageless_below)?;
        }
        self.first_aging = None;
        while let Some(seq) = next {
            if !waits && self.age_fetched != Some(seq) && self.is_cold(seq) {
                return Ok(Aging::Unread(seq));
            }
            match self.head(seq)? {
                Some(head) if !head.ageless => {
                    self.first_aging = Some((seq, head.time));
                    return Ok(Aging::Since(seq, head.time));
                }
                Some(_) => self.ageless_below = seq + 1,
                // How old a damaged message is, is not known: it goes with the next one that can be read.
                None => {
                    self.note_damage(seq, &Error::damaged("its time cannot be read"));
                    self.ageless_below = seq + 1;
                }
            }
            next = self.index.next_live(seq + 1)?;
        }
        Ok(Aging::Nothing)
    }

    /// A message whose age has to be known is in memory, or could not be read: now it is looked at wherever it is.
    pub fn age_fetched(&mut self, seq: Seq) {
        self.age_fetched = Some(seq);
    }

    /// The first live sequence that is not older than a time; one above the last if all are older.
    pub fn seq_at(&self, time: NanoTime) -> Result<Seq> {
        let low = narrow(self.around(time), time, |from| {
            let Some(live) = self.index.next_live(from)? else {
                return Ok(None);
            };
            Ok(self.head(live)?.map(|head| (live, head.time)))
        })?;
        // Where messages are gone, how far down it came depends on what was known beforehand.
        Ok(self.index.next_live(low)?.unwrap_or(self.last + 1))
    }

    /// Between which sequences the first live one lies that is not older than a time, both included, as far as can be told without
    /// a look at the log: beside an index in memory among 1,024 messages at most.
    pub fn around(&self, time: NanoTime) -> (Seq, Seq) {
        let (low, high) = self.index.around(time);
        let (first, end) = (self.first(), self.last + 1);
        let low = low.clamp(first, end);
        (low, high.clamp(low, end))
    }
}
