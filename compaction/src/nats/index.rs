//! `index.db`: what a server wrote of a stream's blocks when it stopped, and every few minutes before.
//!
//! Magic and version; messages, bytes, first sequence, its time, last sequence, its time; each subject with its count
//! and blocks; each block with its number, bytes, first and last sequence and their times, and what is deleted in it;
//! the number of the last block and the checksum of its last record; a checksum of it all. Numbers are LEB128, times
//! zigzag. Blocks and records behind those it ends with are not in it: then it is stale, and counts for nothing.

use std::collections::BTreeMap;

use weir_engine::{NanoTime, SEQ_LIMIT, Seq, varint};

use super::block::CHECKSUM;
use super::hash::HashKey;
use super::seqs::SeqSet;

const MAGIC: u8 = 11;
/// What nats-server 2.10 writes.
const FIRST_VERSION: u8 = 1;
/// What nats-server 2.15 writes.
const LAST_VERSION: u8 = 4;
/// The longest index that is read, in bytes; with a longer one the blocks are read instead.
pub(super) const INDEX_MAX: u64 = 1 << 30;

/// What a server wrote of a stream.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub messages: u64,
    pub bytes: u64,
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub last_time: NanoTime,
    /// By their numbers.
    pub blocks: BTreeMap<u32, IndexedBlock>,
    /// The number of the block that was written to.
    pub last_block: u32,
    /// The checksum of its last record.
    pub last_checksum: [u8; CHECKSUM],
}

/// What an index says of a block.
#[derive(Debug, Default)]
pub(super) struct IndexedBlock {
    pub first: Seq,
    pub last: Seq,
    pub messages: u64,
    pub deleted: SeqSet,
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(file: &[u8], key: &HashKey) -> Result<Self, String> {
        let (body, sum) = file
            .split_last_chunk::<CHECKSUM>()
            .ok_or_else(|| "it is too short".to_owned())?;
        if key.hash(&[body]) != *sum {
            return Err("its checksum does not match".to_owned());
        }
        match body {
            [MAGIC, FIRST_VERSION..=LAST_VERSION, ..] => {}
            [MAGIC, version, ..] => {
                return Err(format!(
                    "it has version {version}, this program reads up to {LAST_VERSION}"
                ));
            }
            _ => return Err("it does not begin as one".to_owned()),
        }
        let index = Self::parse_body(&body[2..], body[1]).ok_or_else(|| "it is cut off".to_owned())?;
        index.check()?;
        Ok(index)
    }

    fn parse_body(mut rest: &[u8], version: u8) -> Option<Self> {
        let from = &mut rest;
        let messages = varint::take(from)?;
        let bytes = varint::take(from)?;
        let first_seq = varint::take(from)?;
        let _first_time = varint::take(from)?;
        let last_seq = varint::take(from)?;
        let last_time = varint::unzigzag(varint::take(from)?);
        for _ in 0..varint::take(from)? {
            skip_subject(from, version)?;
        }
        let mut blocks = BTreeMap::new();
        let count = varint::take(from)?;
        let mut last_number = None;
        for _ in 0..count {
            let (number, block) = take_block(from, version)?;
            blocks.insert(number, block);
            last_number = Some(number);
        }
        // The server forgets empty blocks, but for the last one.
        blocks.retain(|&number, block| block.messages > 0 || Some(number) == last_number);
        let last_block = u32::try_from(varint::take(from)?).ok()?;
        let (last_checksum, _) = from.split_first_chunk()?;
        Some(Self {
            messages,
            bytes,
            first_seq,
            last_seq,
            last_time,
            blocks,
            last_block,
            last_checksum: *last_checksum,
        })
    }

    fn check(&self) -> Result<(), String> {
        if self.first_seq > SEQ_LIMIT || self.last_seq >= SEQ_LIMIT {
            return Err("it has a sequence that no stream has".to_owned());
        }
        let messages = self
            .blocks
            .values()
            .fold(0u64, |sum, block| sum.saturating_add(block.messages));
        if messages != self.messages {
            return Err(format!("it counts {} messages, its blocks {messages}", self.messages));
        }
        match self.blocks.contains_key(&self.last_block) || self.blocks.is_empty() {
            true => Ok(()),
            false => Err("it does not have its last block".to_owned()),
        }
    }
}

fn skip_subject(from: &mut &[u8], version: u8) -> Option<()> {
    let len = usize::try_from(varint::take(from)?).ok()?;
    if len > 0 {
        *from = from.get(len..)?;
        let messages = varint::take(from)?;
        let _first_block = varint::take(from)?;
        if messages > 1 || version >= 4 {
            let _last_block = varint::take(from)?;
        }
    }
    Some(())
}

fn take_block(from: &mut &[u8], version: u8) -> Option<(u32, IndexedBlock)> {
    let number = u32::try_from(varint::take(from)?).ok()?;
    let _bytes = varint::take(from)?;
    let first = varint::take(from)?;
    let _first_time = varint::take(from)?;
    let last = varint::take(from)?;
    let _last_time = varint::take(from)?;
    let deleted_count = varint::take(from)?;
    if version >= 2 {
        let _with_ttl = varint::take(from)?;
    }
    if version >= 3 {
        let _scheduled = varint::take(from)?;
    }
    let deleted = match deleted_count {
        0 => SeqSet::default(),
        _ => SeqSet::take(from)?,
    };
    // An empty block's last sequence is the one before its first.
    let messages = last.wrapping_sub(first).wrapping_add(1).saturating_sub(deleted_count);
    let block = IndexedBlock {
        first,
        last,
        messages,
        deleted,
    };
    Some((number, block))
}
