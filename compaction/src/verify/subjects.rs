//! Subjects and how many messages each has: what the index says, against what the log has.
//!
//! Both sides are added up, a hash of its subject for each message, which takes no memory at all. Only where the sums differ the
//! subjects are counted one by one: 16 bytes each, and a part of them at a time.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::ops::ControlFlow;

use bytes::Bytes;
use weir_engine::stream::{IndexInMemory, Stream, SubjectPlace, subject_of};
use weir_engine::{Direction, Result, Seq, Want};

/// Subjects that are looked at together.
const PAGE: usize = 4096;
/// Subjects that are counted at a time.
const PART: u64 = 1 << 21;
/// Subjects that are named.
const NAMED: usize = 10;

/// Messages of all subjects, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum(u64);

impl Sum {
    pub fn add(&mut self, subject: &[u8], messages: u64) {
        self.0 = self.0.wrapping_add(hash(subject).wrapping_mul(messages));
    }
}

fn hash(subject: &[u8]) -> u64 {
    let mut hasher = foldhash::quality::FixedState::default().build_hasher();
    hasher.write(subject);
    // Odd, so that no number of messages makes nothing of it.
    hasher.finish() | 1
}

/// What an index in memory says.
pub(super) fn in_memory(index: IndexInMemory<'_>) -> Sum {
    let mut sum = Sum::default();
    index.each_subject(&mut |subject, messages| sum.add(subject, messages));
    sum
}

/// What the index of a stream says, wherever it lies.
pub(super) fn indexed(stream: &mut Stream) -> Result<Sum> {
    let mut sum = Sum::default();
    each(stream, &mut |subject, messages| sum.add(subject, messages))?;
    Ok(sum)
}

fn each(stream: &mut Stream, visit: &mut dyn FnMut(&[u8], u64)) -> Result<()> {
    let mut place = Some(SubjectPlace::default());
    while let Some(from) = place.take() {
        let page;
        (page, place) = stream.subjects(b">", &from, PAGE)?;
        page.iter().for_each(|(subject, messages)| visit(subject, *messages));
    }
    Ok(())
}

/// A subject, its messages by the index, and by the log.
pub(super) type Different = (String, u64, u64);

/// The subjects of which the log has other numbers of messages than the index says, the first of them, and how many there are.
/// `more` has messages that are not in it.
pub(super) fn compare(stream: &mut Stream, more: &[Bytes]) -> Result<(Vec<Different>, u64)> {
    let parts = stream.state()?.num_subjects / PART + 1;
    let (mut named, mut count) = (Vec::new(), 0);
    for part in 0..parts {
        let mut there: HashMap<u64, (u32, u32)> = HashMap::new();
        let mut failed = None;
        let mut add = |subject: &[u8]| {
            let hash = hash(subject);
            if hash / 2 % parts == part {
                there.entry(hash).or_default().0 += 1;
            }
        };
        more.iter().for_each(|subject| add(subject));
        let reader = stream.log_reader().clone();
        reader.scan(0..=Seq::MAX, Want::Heads, Direction::Forward, &mut |entry| {
            match stream.is_live(entry.seq) {
                Ok(true) => add(subject_of(entry.head)),
                Ok(false) => {}
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let mut differs = |subject: &[u8], indexed: u64, found: u64| {
            count += 1;
            if named.len() < NAMED {
                named.push((String::from_utf8_lossy(subject).into_owned(), indexed, found));
            }
        };
        each(stream, &mut |subject, messages| {
            let hash = hash(subject);
            if hash / 2 % parts != part {
                return;
            }
            let found = there.get_mut(&hash).map_or(0, |(found, seen)| {
                *seen = 1;
                u64::from(*found)
            });
            if found != messages {
                differs(subject, messages, found);
            }
        })?;
        there.retain(|_, (_, seen)| *seen == 0);
        if !there.is_empty() {
            // Those that the index does not have at all: once more, for their names.
            reader.scan(0..=Seq::MAX, Want::Heads, Direction::Forward, &mut |entry| {
                let subject = subject_of(entry.head);
                if let Some((found, _)) = there.remove(&hash(subject)) {
                    differs(subject, 0, u64::from(found));
                }
                match there.is_empty() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            })?;
        }
    }
    Ok((named, count))
}
