//! A stream's block files in order, and all records in them: what lies between records becomes a finding.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use weir_engine::Seq;

use super::block::{Block, Kind, Record, Walk, Why};
use super::error::{Error, Result};
use super::finding::{Finding, Findings, What};
use super::hash::HashKey;

/// The block files of a stream.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// The stream's name, under which its records are checked.
    stream: String,
    /// Where they are.
    pub folder: PathBuf,
    /// Their numbers, in order.
    pub numbers: Vec<u32>,
    /// How many bytes they have together.
    pub bytes: u64,
}

impl Blocks {
    /// Lists those of a stream.
    ///
    /// # Errors
    /// The folder cannot be read; what is in it is encrypted, or older than nats-server 2.10.
    pub fn list(stream_folder: &Path, stream: &str, findings: &mut Findings) -> Result<Self> {
        // A purge puts the one block it leaves into a folder of its own first: where there is one, all else is purged.
        let purged = Self::list_in(stream_folder.join("__new_msgs__"), stream)?;
        if purged.as_ref().is_some_and(|blocks| !blocks.numbers.is_empty()) {
            findings.push(Finding::of(stream_folder, What::UnfinishedPurge));
        }
        if let Some(blocks) = purged.filter(|blocks| !blocks.numbers.is_empty()) {
            return Ok(blocks);
        }
        let folder = stream_folder.join("msgs");
        Ok(Self::list_in(folder.clone(), stream)?.unwrap_or_else(|| {
            findings.push(Finding::of(&folder, What::Io("it is not there".to_owned())));
            Self {
                stream: stream.to_owned(),
                folder,
                numbers: Vec::new(),
                bytes: 0,
            }
        }))
    }

    fn list_in(folder: PathBuf, stream: &str) -> Result<Option<Self>> {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&folder)(error)),
        };
        let mut blocks = Self {
            stream: stream.to_owned(),
            folder,
            numbers: Vec::new(),
            bytes: 0,
        };
        for entry in entries {
            let entry = entry.map_err(Error::io(&blocks.folder))?;
            let path = entry.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            match (number, path.extension().and_then(|extension| extension.to_str())) {
                (Some(number), Some("blk")) => {
                    blocks.bytes += entry.metadata().map_err(Error::io(&path))?.len();
                    blocks.numbers.push(number);
                }
                (_, Some("key")) => return Err(Error::Encrypted { path }),
                (Some(_), Some("idx")) => return Err(Error::TooOld { path }),
                _ => {}
            }
        }
        blocks.numbers.sort_unstable();
        Ok(Some(blocks))
    }

    pub fn path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number}.blk"))
    }

    pub fn read(&self, number: u32) -> io::Result<Block> {
        Block::read(&self.path(number), HashKey::of_block(&self.stream, number))
    }
}

/// A record and the block it lies in.
pub(super) struct Placed {
    pub block: u32,
    pub record: Record,
    /// The block's records.
    pub data: Bytes,
}

/// Goes through all records of a stream, whatever they are. Holds one block.
pub(super) struct Records {
    pub blocks: Blocks,
    /// Which block comes next.
    next: usize,
    current: Option<(u32, Walk)>,
    /// The highest sequence so far.
    last: Seq,
    /// What waits for the next sequence to say what is lost.
    open: Vec<Finding>,
    /// What was found so far.
    pub findings: Findings,
    /// The blocks in which something was found.
    pub damaged: BTreeSet<u32>,
}

impl Records {
    /// Those of some blocks, of which the first message should have the sequence `first`.
    pub fn new(blocks: Blocks, first: Seq) -> Self {
        Self {
            blocks,
            next: 0,
            current: None,
            last: first.saturating_sub(1),
            open: Vec::new(),
            findings: Findings::default(),
            damaged: BTreeSet::new(),
        }
    }

    /// How many of the blocks were read, the current one with them.
    pub fn blocks_read(&self) -> usize {
        self.next
    }

    /// Closes the findings that wait for the next sequence, which there is none of.
    pub fn finish(&mut self, last_seq: Seq) {
        self.close(last_seq.saturating_add(1));
    }

    fn close(&mut self, next: Seq) {
        let lost = (self.last + 1, next.saturating_sub(1));
        for mut finding in self.open.drain(..) {
            if lost.0 <= lost.1 {
                finding.lost = Some(lost);
            }
            let is_among = |seq: &Seq| (lost.0..=lost.1).contains(seq);
            finding.seq = match lost.0 == lost.1 {
                true => Some(lost.0),
                false => finding.seq.filter(is_among),
            };
            self.findings.push(finding);
        }
    }

    fn bad(&mut self, number: u32, offset: u64, what: What, seq: Option<Seq>) {
        /// Findings that wait, at most: more are told without what is lost.
        const OPEN_MAX: usize = 1000;
        self.damaged.insert(number);
        let finding = Finding {
            file: self.blocks.path(number),
            offset: Some(offset),
            what,
            seq,
            lost: None,
        };
        match self.open.len() < OPEN_MAX {
            true => self.open.push(finding),
            false => self.findings.push(finding),
        }
    }

    /// Opens the next block that can be read.
    fn open_next(&mut self) -> Option<()> {
        loop {
            let number = *self.blocks.numbers.get(self.next)?;
            self.next += 1;
            match self.blocks.read(number) {
                Ok(block) => {
                    for chunk in &block.bad {
                        self.bad(number, chunk.offset, What::Packed(chunk.why.clone()), None);
                    }
                    self.current = Some((number, block.walk()));
                    return Some(());
                }
                Err(error) => self.bad(number, 0, What::Io(error.to_string()), None),
            }
        }
    }
}

impl Iterator for Records {
    type Item = Placed;

    fn next(&mut self) -> Option<Placed> {
        loop {
            let Some((number, walk)) = &mut self.current else {
                self.open_next()?;
                continue;
            };
            let number = *number;
            match walk.next() {
                None => self.current = None,
                Some(Ok(record)) => {
                    let data = walk.data.clone();
                    if record.kind != Kind::Tombstone && record.seq > self.last {
                        self.close(record.seq);
                        self.last = record.seq;
                    }
                    return Some(Placed {
                        block: number,
                        record,
                        data,
                    });
                }
                Some(Err(bad)) => {
                    let is_last = self.next == self.blocks.numbers.len();
                    let rest = &walk.data[bad.at.clone()];
                    let is_unwritten = bad.why == Why::Cut || rest.iter().all(|&byte| byte == 0);
                    let what = match bad.why {
                        _ if is_last && bad.is_tail && is_unwritten => What::TornTail {
                            bytes: bad.at.len() as u64,
                        },
                        Why::Checksum(_) => What::Checksum,
                        Why::Cut | Why::Lengths => What::Record,
                    };
                    self.bad(number, bad.at.start as u64, what, bad.seq);
                }
            }
        }
    }
}
