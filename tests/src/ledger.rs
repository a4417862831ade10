//! What was promised: every publish that was tried, every one that was
//! acknowledged, every consumer ack that was confirmed; and the check of a
//! stream against it.
//!
//! The rules are those of Jepsen's test of NATS (2025): an acknowledged
//! message must be there, once, under its sequence and with its bytes; one
//! that was tried and not acknowledged may be there, once; nothing else may.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::seed::Seed;

/// A message of the test: the `counter`-th of one publisher, never sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Which publisher.
    pub publisher: u32,
    /// Counts from 0, over all restarts of the server.
    pub counter: u64,
}

/// Sizes of the payloads, in bytes, without their label.
const SIZES: std::ops::RangeInclusive<u64> = 1..=4000;
/// The same of one in [`LARGE_EVERY`]: a turn with some of those leaves their bodies to the log of their stream.
const LARGE_SIZES: std::ops::RangeInclusive<u64> = 16 << 10..=128 << 10;
const LARGE_EVERY: u64 = 16;
/// A failed check names at most this many of its findings.
const SHOWN: usize = 20;

impl Id {
    /// The payload that belongs to this message: a label, and bytes of a
    /// length that both follow from it.
    pub fn payload(self) -> Vec<u8> {
        let mut seed = Seed::of(&[u64::from(self.publisher), self.counter]);
        let sizes = match seed.between(1, LARGE_EVERY) {
            1 => LARGE_SIZES,
            _ => SIZES,
        };
        let len = seed.between(*sizes.start(), *sizes.end()) as usize;
        let mut payload = format!("{}-{} ", self.publisher, self.counter).into_bytes();
        payload.extend_from_slice(&seed.bytes(len));
        payload
    }

    /// The message that `payload` says it is, if its bytes are exactly those.
    pub fn of_payload(payload: &[u8]) -> Option<Id> {
        let end = payload.iter().position(|&byte| byte == b' ')?;
        let label = std::str::from_utf8(&payload[..end]).ok()?;
        let (publisher, counter) = label.split_once('-')?;
        let id = Id {
            publisher: publisher.parse().ok()?,
            counter: counter.parse().ok()?,
        };
        (id.payload() == payload).then_some(id)
    }
}

/// Everything that the clients of a test know.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// How many messages each publisher has tried to publish, by publisher.
    tried: BTreeMap<u32, u64>,
    /// How many publishes were acknowledged.
    acked: usize,
    /// What has to stay, by sequence: it was acknowledged to its publisher, or
    /// handed out, and a server must not hand out what it may forget.
    promised: BTreeMap<u64, Id>,
    /// Sequences for which a consumer ack was confirmed.
    confirmed: BTreeSet<u64>,
    /// Sequences for which a consumer ack was sent, confirmed or not.
    ack_sent: BTreeSet<u64>,
    /// Sequences that the consumer has been given at least once.
    delivered: BTreeSet<u64>,
    /// Promises seen broken at once, while the test ran.
    broken: Vec<String>,
}

impl Ledger {
    /// The next message of `publisher`, noted as tried.
    pub fn next(&mut self, publisher: u32) -> Id {
        let counter = self.tried.entry(publisher).or_default();
        let id = Id {
            publisher,
            counter: *counter,
        };
        *counter += 1;
        id
    }

    /// The server acknowledged `id` under `sequence`.
    pub fn published(&mut self, id: Id, sequence: u64) {
        self.acked += 1;
        self.promise(id, sequence);
    }

    /// A reader was given `payload` as `sequence`.
    pub fn served(&mut self, sequence: u64, payload: &[u8]) {
        match Id::of_payload(payload) {
            Some(id) => self.promise(id, sequence),
            None => self.broken.push(bytes_nobody_sent(sequence, payload)),
        }
    }

    fn promise(&mut self, id: Id, sequence: u64) {
        let first = *self.promised.entry(sequence).or_insert(id);
        if first != id {
            self.broken
                .push(format!("sequence {sequence} was {first:?} and then {id:?}"));
        }
    }

    /// The consumer was given `payload` as `sequence`.
    pub fn delivered(&mut self, sequence: u64, payload: &[u8]) {
        self.served(sequence, payload);
        if self.confirmed.contains(&sequence) {
            self.broken
                .push(format!("sequence {sequence} delivered after its ack was confirmed"));
        }
        self.delivered.insert(sequence);
    }

    /// An ack for `sequence` is about to be sent.
    pub fn ack_sent(&mut self, sequence: u64) {
        self.ack_sent.insert(sequence);
    }

    /// The server confirmed the ack of `sequence`.
    pub fn ack_confirmed(&mut self, sequence: u64) {
        self.confirmed.insert(sequence);
    }

    /// The highest sequence that has to stay; 0 for none.
    pub fn last_promised(&self) -> u64 {
        self.promised.last_key_value().map_or(0, |(&sequence, _)| sequence)
    }

    /// Lets go of what was promised below `sequence`, which the stream's limits have removed.
    pub fn forget_below(&mut self, sequence: u64) {
        self.promised = self.promised.split_off(&sequence);
    }

    /// What `later`, the same ledger some time after, has tried may be there, too.
    pub fn excuse_tries_of(&mut self, later: &Ledger) {
        self.tried.clone_from(&later.tried);
    }

    /// How many messages were tried, acknowledged or not.
    pub fn tried_count(&self) -> u64 {
        self.tried.values().sum()
    }

    /// How many promised messages are at `sequence` or after it.
    pub fn promised_from(&self, sequence: u64) -> usize {
        self.promised.range(sequence..).count()
    }

    /// How many publishes were acknowledged.
    pub fn acked_count(&self) -> usize {
        self.acked
    }

    /// How many consumer acks were confirmed.
    pub fn confirmed_count(&self) -> usize {
        self.confirmed.len()
    }

    /// Checks what a stream holds from sequence `from` on, in the order that
    /// it was read.
    ///
    /// # Errors
    /// Every promise that is broken, as text.
    pub fn check_stream(&self, from: u64, stored: &[(u64, Vec<u8>)]) -> Result<(), String> {
        let mut findings = self.broken.clone();
        let mut at_sequence = BTreeMap::new();
        let mut seen_at = BTreeMap::new();
        let mut last_counter: BTreeMap<u32, u64> = BTreeMap::new();
        let mut last_sequence = from.saturating_sub(1);
        for (sequence, payload) in stored {
            if *sequence <= last_sequence {
                findings.push(format!("sequence {sequence} read after {last_sequence}"));
            }
            last_sequence = *sequence;
            let Some(id) = Id::of_payload(payload) else {
                findings.push(bytes_nobody_sent(*sequence, payload));
                continue;
            };
            if id.counter >= self.tried.get(&id.publisher).copied().unwrap_or(0) {
                findings.push(format!("sequence {sequence} holds {id:?}, which was never sent"));
            }
            if let Some(first) = seen_at.insert(id, *sequence) {
                findings.push(format!("{id:?} is stored twice, at {first} and {sequence}"));
            } else if let Some(before) = last_counter.insert(id.publisher, id.counter)
                && before > id.counter
            {
                findings.push(format!("{id:?} at {sequence} is stored after counter {before}"));
            }
            at_sequence.insert(*sequence, id);
        }
        for (sequence, id) in self.promised.range(from..) {
            match at_sequence.get(sequence) {
                Some(found) if found == id => {}
                Some(found) => findings.push(format!("{id:?} was promised at {sequence}, where {found:?} is")),
                None => findings.push(format!("LOST: {id:?}, promised at {sequence}")),
            }
        }
        report(findings)
    }

    /// Checks where a consumer stands against the acks that it was sent.
    /// `floor` is the sequence up to which it says that all is acked.
    ///
    /// # Errors
    /// Every promise that is broken, as text.
    pub fn check_consumer(&self, floor: u64) -> Result<(), String> {
        let mut findings = self.broken.clone();
        // All up to here was confirmed, so the floor is here or later.
        let due = (1..).zip(&self.confirmed).take_while(|(at, seq)| at == *seq).count() as u64;
        if floor < due {
            findings.push(format!("the ack floor is {floor}, but all up to {due} was confirmed"));
        }
        let skipped = (1..=floor).filter(|sequence| !self.ack_sent.contains(sequence));
        findings.extend(skipped.map(|seq| format!("the ack floor is {floor}, but nobody acked {seq}")));
        report(findings)
    }

    /// Checks, once a consumer says that nothing is left, that it was given
    /// everything up to `last`.
    ///
    /// # Errors
    /// Every promise that is broken, as text.
    pub fn check_all_delivered(&self, last: u64) -> Result<(), String> {
        let mut findings = self.broken.clone();
        let missing = (1..=last).filter(|sequence| !self.delivered.contains(sequence));
        findings.extend(missing.map(|sequence| format!("sequence {sequence} never delivered")));
        report(findings)
    }
}

fn bytes_nobody_sent(sequence: u64, payload: &[u8]) -> String {
    let label = String::from_utf8_lossy(&payload[..payload.len().min(24)]);
    format!("sequence {sequence} has bytes nobody sent: {label:?}..")
}

fn report(findings: Vec<String>) -> Result<(), String> {
    if findings.is_empty() {
        return Ok(());
    }
    let mut text = format!("{} promises broken:", findings.len());
    for finding in findings.iter().take(SHOWN) {
        let _ = write!(text, "\n  {finding}");
    }
    if findings.len() > SHOWN {
        let _ = write!(text, "\n  and {} more", findings.len() - SHOWN);
    }
    Err(text)
}

#[cfg(test)]
mod tests;
