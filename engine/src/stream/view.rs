//! Reading single messages and subjects, without a consumer.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::error::{Kind, Result};
use crate::index::SubjectInfo;
use crate::stream::{Message, Stream};
use crate::types::{NanoTime, Seq};

impl Stream {
    /// The message of that sequence.
    ///
    /// # Errors
    /// If storage cannot be read, or the message is damaged.
    pub fn message(&self, seq: Seq) -> Result<Option<Message>> {
        self.core.load(seq)
    }

    /// The newest message whose subject matches.
    ///
    /// # Errors
    /// As [`Stream::message`].
    pub fn last_message(&mut self, filter: &[u8]) -> Result<Option<Message>> {
        let seq = match weir_subject::is_literal(filter) {
            true => self.core.index.subject(filter)?.map(|info| info.last),
            false => {
                let last = self.core.last();
                self.core.index.prev_match(&[Bytes::copy_from_slice(filter)], last)?
            }
        };
        match seq {
            Some(seq) => self.core.load(seq),
            None => Ok(None),
        }
    }

    /// The first message from that sequence on whose subject matches; all match an empty filter. Damaged ones are passed
    /// over.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn next_message(&mut self, filter: &[u8], from: Seq) -> Result<Option<Message>> {
        let filters = match filter {
            b"" | b">" => Vec::new(),
            filter => vec![Bytes::copy_from_slice(filter)],
        };
        let mut cursor = crate::index::Cursor::new(&filters);
        let mut next = from;
        while let Some(seq) = self.core.index.next_match(&mut cursor, next)? {
            match self.core.load(seq) {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(error) if error.kind == Kind::Damaged => {}
                Err(error) => return Err(error),
            }
            next = seq.saturating_add(1);
        }
        Ok(None)
    }

    /// The sequence of the first message not older than a time; one above the last if there is none.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn seq_at(&self, time: NanoTime) -> Result<Seq> {
        self.core.seq_at(time)
    }

    /// Messages from a sequence on whose subjects match any of the filters; all match if there are none.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn count_from(&mut self, filters: &[Bytes], from: Seq) -> Result<u64> {
        self.core.index.count_from(filters, from)
    }

    /// Adds to `seqs` the newest sequence of each subject that matches any of the filters and is not above `up_to`, until
    /// there are more than `most`. Each filter is looked up by itself.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn last_seqs(&mut self, filters: &[Bytes], up_to: Seq, most: usize, seqs: &mut BTreeSet<Seq>) -> Result<()> {
        for filter in filters {
            if seqs.len() > most {
                return Ok(());
            }
            let mut newer = Vec::new();
            let mut visit = |subject: &[u8], info: SubjectInfo| {
                if info.last <= up_to {
                    seqs.insert(info.last);
                } else if info.first <= up_to {
                    newer.push(Bytes::copy_from_slice(subject));
                }
                match seqs.len().max(newer.len()) > most {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            if weir_subject::has_wildcard(filter) {
                self.core.index.last_of_each(std::slice::from_ref(filter), &mut visit)?;
            } else if let Some(info) = self.core.index.subject(filter)? {
                let _: ControlFlow<()> = visit(filter, info);
            }
            for subject in newer {
                seqs.extend(self.core.index.prev_match(&[subject], up_to)?);
            }
        }
        Ok(())
    }

    /// Subjects that match, with how many messages they have, in order, behind the subject `after`, `limit` at most.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn subjects(&mut self, filter: &[u8], after: &[u8], limit: usize) -> Result<Vec<(Bytes, u64)>> {
        let filters = match filter {
            b"" | b">" => Vec::new(),
            filter => vec![Bytes::copy_from_slice(filter)],
        };
        let mut page = Vec::new();
        self.core
            .index
            .last_of_each_after(&filters, after, &mut |subject, info| {
                page.push((Bytes::copy_from_slice(subject), info.count));
                match page.len() < limit {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })?;
        Ok(page)
    }

    /// The sequences between the first and the last message that hold nothing, `limit` at most.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub fn deleted(&self, limit: usize) -> Result<Vec<Seq>> {
        let mut deleted = Vec::new();
        let Some(mut expected) = self.core.index.first() else {
            return Ok(deleted);
        };
        while expected <= self.core.last() && deleted.len() < limit {
            let live = self.core.index.next_live(expected)?.unwrap_or(self.core.last() + 1);
            deleted.extend((expected..live).take(limit - deleted.len()));
            expected = live + 1;
        }
        Ok(deleted)
    }
}
