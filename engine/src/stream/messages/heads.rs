//! Heads: what a message is about, without its body.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::backend::{Direction, Want};
use crate::error::{Error, Kind, Result};
use crate::index::Index;
use crate::stream::Storage;
use crate::stream::message::{self};
use crate::stream::messages::Messages;
use crate::stream::ttl::{Life, life_of};
use crate::types::{Entry, NanoTime, Seq};

/// Heads that are read in one go.
const HEADS_AT_ONCE: usize = 4096;

/// A message's place and size, without its body.
pub(super) struct Head {
    pub time: NanoTime,
    pub subject: Bytes,
    pub size: u64,
    /// Whether it is never too old.
    pub ageless: bool,
    /// When it ends by itself.
    pub ending: Option<NanoTime>,
}

/// What has to be known of a live message to remove it.
pub(super) struct Leaving {
    pub subject: Bytes,
    pub size: u64,
    /// Whether nobody knows the size, and this is that of the average message.
    pub guessed: bool,
    /// When it would have ended by itself.
    pub ending: Option<NanoTime>,
}

impl Messages {
    /// The size of a message as limits count it; 0 if there is none.
    pub fn size_at(&self, seq: Seq) -> Result<u64> {
        match self.index.size_at(seq) {
            Some(size) => Ok(size),
            None => Ok(self.head(seq)?.map_or(0, |head| head.size)),
        }
    }

    /// The subject of a live message. Where the index has it in memory, nothing waits for a disk.
    pub fn subject_at(&mut self, seq: Seq) -> Result<Option<Bytes>> {
        if !self.index.is_live(seq)? {
            return Ok(None);
        }
        if let Some(entry) = self.tail.get(seq) {
            return Ok(Some(entry.head.slice_ref(message::subject_of(&entry.head))));
        }
        let Index::Resident(index) = &mut self.index else {
            return Ok(self.head(seq)?.map(|head| head.subject));
        };
        // Those that lie far apart are found sooner in the log, if that is in memory as well.
        let is_near = index.is_quick(seq) || self.reader.at_hand(seq..=seq) != Some(seq);
        if !is_near && let Ok(Some(head)) = self.head(seq) {
            return Ok(Some(head.subject));
        }
        let Index::Resident(index) = &mut self.index else {
            return Ok(None);
        };
        Ok(index.subject_here(seq))
    }

    /// What has to be known of a live message to remove it, which may be damaged; its subject may be known already. Of an index in
    /// memory nothing else is asked.
    pub(super) fn leaving(&mut self, seq: Seq, subject: Option<&[u8]>) -> Result<Option<Leaving>> {
        if let Index::Resident(index) = &self.index {
            let (Some(size), ending) = (index.size_at(seq), index.ending_at(seq)) else {
                return Ok(None);
            };
            let subject = match subject {
                Some(subject) => Some(Bytes::copy_from_slice(subject)),
                None => self.subject_at(seq)?,
            };
            return Ok(subject.map(|subject| Leaving {
                subject,
                size,
                guessed: false,
                ending,
            }));
        }
        let head = match self.index.is_live(seq)? {
            true => self.head(seq)?,
            false => None,
        };
        if let Some(head) = head {
            return Ok(Some(Leaving {
                subject: head.subject,
                size: head.size,
                guessed: false,
                ending: head.ending,
            }));
        }
        self.leaving_damaged(seq)
    }

    /// What can be said of a record whose head cannot be read, and must be to remove it: the subject is what the index has it under,
    /// the size that of the average message, until the next start counts again. `None` if no record is there.
    fn leaving_damaged(&mut self, seq: Seq) -> Result<Option<Leaving>> {
        if self.tail.get(seq).is_some() {
            return Ok(None);
        }
        match self.reader.get(seq) {
            Err(error) if error.kind == Kind::Damaged => self.note_damage(seq, &error),
            Err(error) => return Err(error),
            // The log has lost all trace of it, but not the index.
            Ok(None) if self.index.is_live(seq)? => {
                self.note_damage(seq, &Error::damaged("the log does not have it any more"));
            }
            Ok(_) => return Ok(None),
        }
        let subject = self.index.subject_at(seq)?;
        Ok(subject.map(|subject| Leaving {
            subject,
            size: self.bytes.checked_div(self.index.len()).unwrap_or(0),
            guessed: true,
            // Should its end come, nothing is left to remove.
            ending: None,
        }))
    }

    /// Visits the heads of all live messages in order.
    pub fn each_head(&self, visit: &mut dyn FnMut(Seq, &[u8]) -> ControlFlow<()>) -> Result<()> {
        let mut next = self.index.first();
        while let Some(seq) = next {
            let unwritten = self.tail.unwritten().next().map_or(self.last + 1, |record| record.seq);
            if seq >= unwritten {
                break;
            }
            let mut live = Vec::new();
            self.reader
                .scan(seq..=unwritten - 1, Want::Heads, Direction::Forward, &mut |entry| {
                    live.push((entry.seq, entry.head.to_vec()));
                    match live.len() < HEADS_AT_ONCE {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                })?;
            next = match live.last() {
                Some((last, _)) if live.len() == HEADS_AT_ONCE => self.index.next_live(last + 1)?,
                _ => None,
            };
            for (seq, head) in &live {
                if self.index.is_live(*seq)? && visit(*seq, head).is_break() {
                    return Ok(());
                }
            }
        }
        for record in self.tail.unwritten() {
            if self.index.is_live(record.seq)? && visit(record.seq, record.head).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What a message is about, without reading its body.
    pub(super) fn head(&self, seq: Seq) -> Result<Option<Head>> {
        let storage = self.config.storage;
        if let Some(entry) = self.tail.get(seq) {
            return Ok(Some(Head::of(storage, entry)));
        }
        let mut found = None;
        let mut life = Ok(Life::Limits);
        self.reader
            .scan(seq..=seq, Want::Heads, Direction::Forward, &mut |entry| {
                life = message::life_in(entry.head, Err);
                found = Some(Head {
                    time: entry.time,
                    subject: Bytes::copy_from_slice(message::subject_of(entry.head)),
                    size: message::stored_size_of_record(storage, entry.head, entry.body_len as usize),
                    ageless: false,
                    ending: None,
                });
                ControlFlow::Break(())
            })?;
        if let Some(head) = &mut found {
            let life = match life {
                Ok(life) => life,
                Err(headers_len) => match self.reader.get(seq) {
                    Ok(Some(entry)) if headers_len <= entry.body.len() => life_of(&entry.body[..headers_len]),
                    Ok(_) => Life::Limits,
                    // Its ending is not known any more; should it come, nothing is left to remove.
                    Err(error) if error.kind == Kind::Damaged => Life::Limits,
                    Err(error) => return Err(error),
                },
            };
            head.set_life(life);
        }
        Ok(found)
    }
}

impl Head {
    fn of(storage: Storage, entry: &Entry) -> Self {
        let subject = message::subject_of(&entry.head);
        let mut head = Self {
            time: entry.time,
            subject: entry.head.slice_ref(subject),
            size: message::stored_size_of_record(storage, &entry.head, entry.body.len()),
            ageless: false,
            ending: None,
        };
        let life = message::life_in(&entry.head, Err);
        head.set_life(life.unwrap_or_else(|len| life_of(&entry.body[..len.min(entry.body.len())])));
        head
    }

    fn set_life(&mut self, life: Life) {
        self.ageless = life == Life::Never;
        self.ending = life.end(self.time);
    }
}
