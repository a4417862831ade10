//! The footer of a sealed segment, so that opening a log reads footers and not data.
//!
//! A footer is believed only when the batches before it are known to be durable: after a power failure the footer's
//! page may have reached the disk and the data not.

use weir_engine::{Record, Seq};

use super::format::{ALIGN, Identity, NUMBER_MAX, VERSION, align, u32_at, u64_at};
use super::table::{MemTable, TableRef};

/// What a trailer begins with.
pub const TRAILER_MAGIC: [u8; 8] = *b"WeirFtr\n";
/// Bytes of the trailer, the last in the file.
pub const TRAILER_LEN: usize = 112;
/// Bytes of the largest record, head and body: a footer that claims more for each is not believed.
const RECORD_MAX: u64 = (Record::HEAD_MAX + Record::BODY_STORED_MAX) as u64;
/// Bytes of one run in the table.
pub const RUN_LEN: usize = 16;

/// What the trailer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Footer {
    /// Where the frames end and the table begins.
    pub data_end: u64,
    /// Runs of consecutive sequences in the table.
    pub runs: u32,
    /// Records in the table, removed ones included.
    pub rows: u32,
    /// Bytes of the list of erasures that the segment holds.
    pub tombs_len: u32,
    /// Checksum of the table.
    pub table_crc: u32,
    /// Checksum of the list of erasures.
    pub tombs_crc: u32,
    /// The lowest sequence; 0 if there is no record.
    pub first: u64,
    /// The highest sequence; 0 if there is no record.
    pub last: u64,
    /// The earliest time.
    pub min_time: i64,
    /// The latest time.
    pub max_time: i64,
    /// Bytes of the heads and bodies of all records.
    pub bytes: u64,
    /// The number of the last batch.
    pub last_batch: u64,
    /// Sequences below this were trimmed when the segment was sealed.
    pub floor: u64,
    /// The log's last sequence when the segment was sealed.
    pub log_last: u64,
}

impl Footer {
    /// Where the offsets begin.
    pub fn offsets_at(&self) -> u64 {
        self.data_end + u64::from(self.runs) * RUN_LEN as u64
    }

    fn table_end(&self) -> u64 {
        self.offsets_at() + u64::from(self.rows) * 4
    }

    fn tombs_at(&self) -> u64 {
        align(self.table_end())
    }

    /// Where the footer ends, padding and trailer not counted.
    pub fn end(&self) -> u64 {
        self.tombs_at() + u64::from(self.tombs_len)
    }

    /// The bytes to write at [`data_end`](Self::data_end): table, erasures and trailer, so long that the file, which
    /// is `file_len` bytes now, ends with the trailer. Fills in the lengths and checksums.
    pub fn encode(&mut self, identity: Identity, table: &MemTable, tombs: &[u8], file_len: u64) -> Vec<u8> {
        let mut raw = Vec::new();
        for run in &table.runs {
            raw.extend_from_slice(&run.seq.to_le_bytes());
            raw.extend_from_slice(&run.slot.to_le_bytes());
            raw.extend_from_slice(&[0; 4]);
        }
        for offset in &table.offsets {
            raw.extend_from_slice(&offset.to_le_bytes());
        }
        self.runs = table.runs.len() as u32;
        self.rows = table.offsets.len() as u32;
        self.table_crc = crc32c::crc32c(&raw);
        self.tombs_len = tombs.len() as u32;
        self.tombs_crc = crc32c::crc32c(tombs);
        raw.resize(align(raw.len() as u64) as usize, 0);
        raw.extend_from_slice(tombs);
        let end = align(self.data_end + (raw.len() + TRAILER_LEN) as u64).max(align(file_len));
        let trailer_at = (end - self.data_end) as usize - TRAILER_LEN;
        raw.resize(trailer_at + TRAILER_LEN, 0);

        let t = &mut raw[trailer_at..];
        t[..8].copy_from_slice(&TRAILER_MAGIC);
        t[12..14].copy_from_slice(&VERSION.to_le_bytes());
        t[16..24].copy_from_slice(&self.data_end.to_le_bytes());
        for (at, n) in [
            (24, self.runs),
            (28, self.rows),
            (32, self.tombs_len),
            (36, self.table_crc),
            (40, self.tombs_crc),
        ] {
            t[at..at + 4].copy_from_slice(&n.to_le_bytes());
        }
        for (at, n) in [
            (48, self.first),
            (56, self.last),
            (80, self.bytes),
            (88, self.last_batch),
            (96, self.floor),
            (104, self.log_last),
        ] {
            t[at..at + 8].copy_from_slice(&n.to_le_bytes());
        }
        t[64..72].copy_from_slice(&self.min_time.to_le_bytes());
        t[72..80].copy_from_slice(&self.max_time.to_le_bytes());
        let crc = crc32c::crc32c_append(identity.seed(), &t[12..]);
        t[8..12].copy_from_slice(&crc.to_le_bytes());
        raw
    }

    /// Reads the trailer at the end of a whole file; `None` if there is none, or it or its list of erasures is
    /// damaged. The table is verified when it is first used.
    pub fn decode(file: &[u8], identity: Identity) -> Option<Self> {
        let at = file.len().checked_sub(TRAILER_LEN)?;
        let t = &file[at..];
        if t[..8] != TRAILER_MAGIC || crc32c::crc32c_append(identity.seed(), &t[12..]) != u32_at(t, 8) {
            return None;
        }
        let footer = Self {
            data_end: u64_at(t, 16),
            runs: u32_at(t, 24),
            rows: u32_at(t, 28),
            tombs_len: u32_at(t, 32),
            table_crc: u32_at(t, 36),
            tombs_crc: u32_at(t, 40),
            first: u64_at(t, 48),
            last: u64_at(t, 56),
            min_time: i64::from_le_bytes(u64_at(t, 64).to_le_bytes()),
            max_time: i64::from_le_bytes(u64_at(t, 72).to_le_bytes()),
            bytes: u64_at(t, 80),
            last_batch: u64_at(t, 88),
            floor: u64_at(t, 96),
            log_last: u64_at(t, 104),
        };
        let sound = footer.data_end <= at as u64
            && footer.data_end.is_multiple_of(ALIGN)
            && footer.end() <= at as u64
            && footer.bytes <= u64::from(footer.rows) * RECORD_MAX
            && footer.last_batch <= NUMBER_MAX
            && footer.last < Seq::MAX
            && footer.log_last < Seq::MAX;
        let good = sound && crc32c::crc32c(footer.tombs(file)) == footer.tombs_crc;
        good.then_some(footer)
    }

    /// The list of erasures, from the file's bytes.
    pub fn tombs<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        &file[self.tombs_at() as usize..self.end() as usize]
    }

    /// The table's runs and offsets, from the file's bytes.
    pub fn table<'a>(&self, file: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let middle = self.offsets_at() as usize;
        (
            &file[self.data_end as usize..middle],
            &file[middle..self.table_end() as usize],
        )
    }

    /// Whether the table matches its checksum, and makes sense.
    pub fn table_is_good(&self, file: &[u8]) -> bool {
        let (runs, offsets) = self.table(file);
        crc32c::crc32c(&file[self.data_end as usize..self.table_end() as usize]) == self.table_crc
            && TableRef::Stored(runs, offsets).is_sound()
    }
}
