//! Copies of the key-value space that have two histories: one of them is another store's, or an earlier one of this. Whoever knows what
//! a store has says which is its own; where both are, the newer counts. The other is set aside, and counts as one that is missing.

use std::path::PathBuf;

use bytes::Bytes;
use weir_engine::Result;

use super::super::handle::Handles;
use super::batch::batches;
use super::merge::{COPIES, Merged};
use super::open::{file_name, put_aside, read};

/// Whether a key-value space is this store's, as far as can be told of what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Belongs {
    /// It is another's.
    No,
    /// Nothing tells.
    Unknown,
    /// It is.
    Yes,
}

/// The value of a key.
pub type Look<'a> = &'a dyn Fn(&[u8]) -> Option<Bytes>;
/// Whoever knows what a store has. Asked only where the copies have two histories.
pub type Judge<'a> = &'a dyn Fn(Look<'_>) -> Belongs;

/// One folder's newest file.
struct Newest {
    generation: u64,
    raw: Vec<u8>,
}

/// Sets aside what has another history than the copy that counts. `all` are the generations that are in the folders; those that are set
/// aside are in there no more. Answers a line for each.
pub fn set_aside(
    dirs: &[PathBuf; COPIES],
    all: &mut [Vec<u64>],
    handles: &Handles,
    judge: Judge<'_>,
) -> Result<Vec<String>> {
    let mut told = Vec::new();
    // Each time round one goes.
    while let (Some(one), Some(other)) = (newest(dirs, all, 0, handles), newest(dirs, all, 1, handles)) {
        if one.generation == other.generation && !are_apart(&one.raw, &other.raw, one.generation) {
            break;
        }
        let (one, other) = (one.judged(judge), other.judged(judge));
        let (at, lost, won) = match one >= other {
            true => (1, other, one),
            false => (0, one, other),
        };
        // A rewrite that was broken off leaves the generation before in both.
        if lost.generation < won.generation && all[1 - at].contains(&lost.generation) {
            break;
        }
        let path = dirs[at].join(file_name(lost.generation));
        let (why, what) = match lost.belongs < won.belongs {
            true => ("foreign", "another store's"),
            false => ("older", "of an earlier time"),
        };
        told.push(format!(
            "{}: it is {what}, as far as can be told; what the other copy has is taken",
            path.display()
        ));
        put_aside(&path, why, handles)?;
        all[at].retain(|generation| *generation != lost.generation);
    }
    Ok(told)
}

/// What a file is worth beside another: the order of the fields is that of what counts.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Judged {
    belongs: Belongs,
    generation: u64,
    /// How many batches it has.
    number: u64,
}

impl Newest {
    fn judged(self, judge: Judge<'_>) -> Judged {
        let merged = Merged::of(&[Some(self.raw)], self.generation);
        Judged {
            belongs: judge(&|key| merged.pairs.map.get(key).cloned()),
            generation: self.generation,
            number: merged.number,
        }
    }
}

/// The newest file of a folder; `None` if there is none, or it cannot be read: of that it is told elsewhere.
fn newest(dirs: &[PathBuf; COPIES], all: &[Vec<u64>], at: usize, handles: &Handles) -> Option<Newest> {
    let generation = *all[at].iter().max()?;
    let raw = read(&dirs[at].join(file_name(generation)), handles).ok()??;
    Some(Newest { generation, raw })
}

/// Whether two files of one generation say what no writer has written to both: other batches in the same places, and not only above what
/// was known to be on disk.
fn are_apart(one: &[u8], other: &[u8], generation: u64) -> bool {
    if one == other {
        return false;
    }
    let (one, other) = (batches(one, generation), batches(other, generation));
    let mark = one.iter().chain(&other).map(|batch| batch.durable).max().unwrap_or(0);
    let mut others = other.iter().filter(|batch| batch.raw.is_some()).peekable();
    one.iter().filter(|batch| batch.raw.is_some()).any(|batch| {
        while others.next_if(|other| other.at < batch.at).is_some() {}
        let other = others.peek().filter(|other| other.at == batch.at);
        other.is_some_and(|other| batch.number.min(other.number) <= mark && other.raw != batch.raw)
    })
}
