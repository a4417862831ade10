//! Sequences in order, to be gone through once: a few bytes for each run of them that has no gap.

use crate::types::Seq;
use crate::varint;

/// A list of sequences.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// Of each run how far behind the one before it begins, and how long it is.
    bytes: Vec<u8>,
    /// How many bytes were gone through.
    at: usize,
    /// Behind the last run in `bytes`.
    end: Seq,
    /// The run that is being added to: its first sequence, and the one behind its last.
    open: Option<(Seq, Seq)>,
    /// The rest of the run that is being gone through.
    rest: (Seq, Seq),
}

impl Runs {
    /// Adds a sequence above all before.
    pub fn push(&mut self, seq: Seq) {
        match &mut self.open {
            Some((_, end)) if *end == seq => *end += 1,
            open => {
                if let Some((first, end)) = open.replace((seq, seq + 1)) {
                    self.close(first, end);
                }
            }
        }
    }

    fn close(&mut self, first: Seq, end: Seq) {
        varint::put(&mut self.bytes, first.saturating_sub(self.end));
        varint::put(&mut self.bytes, end - first);
        self.end = end;
    }

    /// All were added: from now on they are gone through.
    pub fn finish(&mut self) {
        if let Some((first, end)) = self.open.take() {
            self.close(first, end);
        }
        self.bytes.shrink_to_fit();
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.bytes.len()
    }
}

impl Iterator for Runs {
    type Item = Seq;

    fn next(&mut self) -> Option<Seq> {
        if self.rest.0 == self.rest.1 {
            let mut bytes = self.bytes.get(self.at..)?;
            let (gap, len) = (varint::take(&mut bytes)?, varint::take(&mut bytes)?);
            self.at = self.bytes.len() - bytes.len();
            let first = self.rest.1 + gap;
            self.rest = (first, first + len);
        }
        let seq = self.rest.0;
        self.rest.0 += 1;
        Some(seq)
    }
}

#[cfg(test)]
mod tests;
