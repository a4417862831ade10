//! A stream's messages, one after the other.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_engine::stream::{Message, StreamConfig};
use weir_engine::{NanoTime, Seq};

use super::blocks::Records;
use super::finding::{Finding, Findings, What};
use super::recover::{Live, NotLive, Recovered};

/// What a stream holds, as the server would say after a restart. Its clock is not read: messages that are past their age
/// or their own time to live are still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct State {
    /// How many messages.
    pub messages: u64,
    /// Bytes they count for in the stream's limits.
    pub bytes: u64,
    /// The first message's sequence; the one after the last if there are none, and 0 if there never were any.
    pub first_seq: Seq,
    /// The last sequence that was given.
    pub last_seq: Seq,
    /// When the last message was stored, in nanoseconds; 0 if that is not known.
    pub last_time: NanoTime,
}

/// The messages of a stream in the order of their sequences. Each keeps the block it lies in in memory: 8 MiB, or as
/// much as one message more.
pub struct Messages {
    records: Records,
    live: Live,
    state: State,
    findings: Findings,
    /// How many messages there were in each block so far.
    counts: BTreeMap<u32, u64>,
    /// Whether a batch must be completed by the next messages, if the stream takes batches.
    is_in_batch: Option<bool>,
    is_done: bool,
}

impl Messages {
    pub(super) fn new(recovered: Recovered, config: &StreamConfig) -> Self {
        let first = recovered.state.first_seq;
        Self {
            records: Records::new(recovered.blocks, first),
            live: recovered.live,
            state: recovered.state,
            findings: recovered.findings,
            counts: BTreeMap::new(),
            is_in_batch: config.allow_atomic.then_some(false),
            is_done: false,
        }
    }

    /// What the stream holds.
    pub fn state(&self) -> State {
        self.state
    }

    /// What was found so far: all of it once there are no more messages.
    pub fn findings(&self) -> Findings {
        let mut findings = self.findings.clone();
        findings.append(&self.records.findings);
        findings
    }

    /// How many of the stream's blocks were begun, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        (self.records.blocks_read(), self.records.blocks.numbers.len())
    }

    /// Bytes of all its blocks on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.records.blocks.bytes
    }

    fn find(&mut self, block: u32, offset: Option<u64>, what: What, seq: Option<Seq>) {
        self.findings.push(Finding {
            file: self.records.blocks.path(block),
            offset,
            what,
            seq,
            lost: None,
        });
    }

    /// Compares what was in the blocks with what the index says.
    fn check_counts(&mut self) {
        let is_damaged = |block: &u32| self.records.damaged.contains(block);
        let missing: Vec<_> = self
            .live
            .indexed()
            .map(|(block, indexed)| {
                let found = self.counts.get(&block).copied().unwrap_or(0);
                (block, indexed.saturating_sub(found))
            })
            .filter(|(block, missing)| *missing > 0 && !is_damaged(block))
            .collect();
        for (block, messages) in missing {
            self.find(block, None, What::Missing { messages }, None);
        }
    }

    fn end(&mut self) {
        if self.is_done {
            return;
        }
        self.is_done = true;
        self.check_counts();
        self.records.finish(self.state.last_seq);
        if self.is_in_batch == Some(true) {
            let folder = self.records.blocks.folder.with_file_name("batches");
            self.findings.push(Finding::of(folder, What::UnfinishedBatch));
        }
    }
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        loop {
            let Some(placed) = self.records.next() else {
                self.end();
                return None;
            };
            if !self.live.knows(placed.block) && self.counts.insert(placed.block, 0).is_none() {
                self.find(placed.block, None, What::Orphan, None);
            }
            let (offset, seq) = (placed.record.at.start as u64, placed.record.seq);
            match self.live.check(&placed) {
                Ok(()) => {}
                Err(NotLive::Deleted) => continue,
                Err(NotLive::OutOfOrder) => {
                    self.find(placed.block, Some(offset), What::OutOfOrder, Some(seq));
                    continue;
                }
            }
            *self.counts.entry(placed.block).or_default() += 1;
            let message = placed.record.message(&placed.data);
            if let Some(why) = doubt(&message) {
                self.find(placed.block, Some(offset), What::Doubtful(why.to_owned()), Some(seq));
            }
            if let Some(is_in_batch) = &mut self.is_in_batch {
                let has = |name: &[u8]| message.headers.windows(name.len()).any(|part| part == name);
                *is_in_batch = has(b"\r\nNats-Batch-Id:") && !has(b"\r\nNats-Batch-Commit:");
            }
            return Some(message);
        }
    }
}

/// What is odd about a message whose checksum matches.
fn doubt(message: &Message) -> Option<&'static str> {
    let is_odd = |token: &[u8]| {
        matches!(token, b"" | b"*" | b">") || token.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0)
    };
    if message.subject.split(|&byte| byte == b'.').any(is_odd) {
        return Some("the subject is not one to publish to");
    }
    let headers = &message.headers;
    let is_block = headers.starts_with(b"NATS/1.0") && headers.ends_with(b"\r\n\r\n");
    match headers.is_empty() || is_block {
        true => None,
        false => Some("the header block is not one"),
    }
}
