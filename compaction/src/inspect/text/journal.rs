//! A journal as a person reads it.

use std::fmt::Write;

use weir_engine::words;

use super::super::records::JournalShown;
use super::{count, number_of, size};

impl JournalShown {
    /// What there is of it, and the newest records, one a line. Ends with a newline.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "Journal of shard {}, in {}: {} of {}",
            self.shard,
            self.folder.display(),
            number_of(self.files, "file"),
            size(self.disk_bytes),
        )?;
        match self.records {
            0 => write!(out, "No records")?,
            records => {
                let numbers = words::numbered("number", &[(self.first, self.last)]);
                write!(
                    out,
                    "{} of {}, {numbers}",
                    number_of(records, "record"),
                    size(self.bytes)
                )?;
            }
        }
        write!(out, "; the next is number {}", count(self.last + 1))?;
        match self.covered {
            0 => writeln!(out, ". No checkpoint covers any.")?,
            covered => writeln!(
                out,
                ". Checkpoints have all up to number {}: a start needs none of these.",
                count(covered)
            )?,
        }
        if self.disk_bytes > self.bytes {
            writeln!(
                out,
                "A file is made at full size, so that no sync has to wait for it to grow, and is used again for later records."
            )?;
        }
        if !self.newest.is_empty() {
            writeln!(out)?;
        }
        self.newest
            .iter()
            .try_for_each(|record| writeln!(out, "{}", record.to_line()))
    }
}
