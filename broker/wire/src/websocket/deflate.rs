//! permessage-deflate (RFC 7692) without context takeover: each message is compressed by itself.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::FrameError;

/// What stands at the end of what DEFLATE flushes; the end of a message leaves it out.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// What came out of a piece of a compressed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inflated {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// Bytes of the output that were written.
    pub written: usize,
    /// Nothing more comes out of this piece.
    pub done: bool,
}

/// Takes a compressed message apart, piece by piece. About 40 KiB.
#[derive(Debug)]
pub struct Inflater {
    stream: Decompress,
    /// Bytes of the tail that the stream was given.
    tail: usize,
    /// Bytes that came out of this message.
    given: u64,
    max: u64,
}

impl Inflater {
    /// For messages of `max` bytes at most, as they are when they have come out.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self {
            stream: Decompress::new(false),
            tail: 0,
            given: 0,
            max,
        }
    }

    /// Inflates a piece of a message; `last`: the message ends with it. To be called again with the rest of the piece, until it
    /// is [done](Inflated::done).
    ///
    /// # Errors
    /// That is not DEFLATE, or more comes out than is allowed.
    pub fn inflate(&mut self, input: &[u8], last: bool, out: &mut [u8]) -> Result<Inflated, FrameError> {
        let (mut consumed, mut written) = (0, 0);
        while written < out.len() {
            let from_tail = consumed == input.len();
            let source = match from_tail {
                false => &input[consumed..],
                true if last => &TAIL[self.tail..],
                true => &[],
            };
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress(source, &mut out[written..], FlushDecompress::None)
                .map_err(|_| FrameError::Corrupt)?;
            // Both are lengths of slices.
            let read = (self.stream.total_in() - before_in) as usize;
            let made = (self.stream.total_out() - before_out) as usize;
            written += made;
            self.given += made as u64;
            match from_tail {
                true => self.tail += read,
                false => consumed += read,
            }
            if self.given > self.max {
                return Err(FrameError::TooBig(self.max));
            }
            if status == Status::StreamEnd {
                // Whoever compressed it said that nothing follows, which a message may.
                self.stream.reset(false);
                if consumed < input.len() || (last && self.tail < TAIL.len()) {
                    continue;
                }
            }
            if read == 0 && made == 0 {
                if !source.is_empty() {
                    return Err(FrameError::Corrupt);
                }
                break;
            }
        }
        let whole = consumed == input.len() && (!last || self.tail == TAIL.len());
        let done = whole && written < out.len();
        if done && last {
            self.stream.reset(false);
            (self.tail, self.given) = (0, 0);
        }
        Ok(Inflated {
            consumed,
            written,
            done,
        })
    }
}

/// Compresses messages, one after the other. About 300 KiB, so one serves many connections.
#[derive(Debug)]
pub struct Deflater {
    stream: Compress,
}

impl Default for Deflater {
    fn default() -> Self {
        Self {
            stream: Compress::new(Compression::fast(), false),
        }
    }
}

impl Deflater {
    /// Appends a whole message, compressed.
    pub fn deflate(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        loop {
            // Room for what does not become smaller as well, so that there is seldom a second round.
            out.reserve(input.len() + input.len() / 64 + 64);
            let (before, length) = (self.stream.total_in(), out.len());
            let outcome = self.stream.compress_vec(input, out, FlushCompress::Sync);
            let read = (self.stream.total_in() - before) as usize;
            input = &input[read..];
            let stuck = read == 0 && out.len() == length;
            // All is out when it left room.
            if outcome.is_err() || stuck || (input.is_empty() && out.len() < out.capacity()) {
                break;
            }
        }
        if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
        self.stream.reset();
    }
}
