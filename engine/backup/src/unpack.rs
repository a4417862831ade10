//! S2 streams, unpacked piece by piece as they come, without a thread that waits for the next piece.
//!
//! A stream is a row of frames: a byte that says what it is, three for the length of what follows, little-endian. Data
//! frames begin with a checksum of what they hold unpacked.

use std::io;

use bytes::{Buf, BytesMut};

use crate::archive::broken;

/// What a frame begins with.
const HEAD: usize = 4;
/// The checksum in a data frame.
const CHECKSUM: usize = 4;
/// The largest block, unpacked: S2's own limit.
const BLOCK_MAX: usize = 4 << 20;
/// The largest data frame: a block that does not compress, and a little more.
const FRAME_MAX: usize = BLOCK_MAX + BLOCK_MAX / 6 + 64;
/// What a stream may unpack to whatever its size, in bytes.
const FREE_MAX: u64 = 256 << 20;
/// Beyond that, what each of its bytes may unpack to: ten times what text comes to that repeats itself.
const RATIO_MAX: u64 = 256;

/// The first frame of every S2 stream.
pub const IDENTIFIED: &[u8] = b"\xff\x06\x00\x00S2sTwO";
/// A frame with a block that was made smaller.
pub const COMPRESSED: u8 = 0x00;
/// A frame with a block as it is.
pub const UNCOMPRESSED: u8 = 0x01;
/// From here on frames may be skipped by whoever does not know them.
const SKIPPABLE: u8 = 0x80;
const IDENTIFIER: u8 = 0xff;

/// Unpacks an S2 stream.
#[derive(Debug)]
pub struct Unpacker {
    /// What came and was not unpacked: less than a frame and what the last piece brought.
    packed: BytesMut,
    /// Bytes of a frame to be skipped that have not come yet.
    skip: usize,
    /// Whether the stream has said that it is one.
    identified: bool,
    taken: u64,
    given: u64,
    /// [`FREE_MAX`].
    free: u64,
}

impl Default for Unpacker {
    fn default() -> Self {
        Self {
            packed: BytesMut::new(),
            skip: 0,
            identified: false,
            taken: 0,
            given: 0,
            free: FREE_MAX,
        }
    }
}

impl Unpacker {
    /// For a stream that may unpack to any multiple of its own size.
    pub fn boundless() -> Self {
        Self {
            free: u64::MAX,
            ..Self::default()
        }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.taken += piece.len() as u64;
        self.packed.extend_from_slice(piece);
    }

    /// Whether a frame has begun and is not whole.
    #[cfg(test)]
    fn is_within_frame(&self) -> bool {
        !self.packed.is_empty() || self.skip > 0
    }

    /// Adds what the next frame holds, 4 MiB at most, to `out`. False if more has to come first.
    ///
    /// # Errors
    /// It is no S2 stream, it is damaged, or it unpacks to far more than it is.
    pub fn next(&mut self, out: &mut BytesMut) -> io::Result<bool> {
        loop {
            let skipped = self.skip.min(self.packed.len());
            self.packed.advance(skipped);
            self.skip -= skipped;
            let Some(&[kind, a, b, c]) = self.packed.first_chunk::<HEAD>() else {
                return Ok(false);
            };
            let len = u32::from_le_bytes([a, b, c, 0]) as usize;
            if !self.identified && kind != IDENTIFIER {
                return Err(broken("invalid stream identifier"));
            }
            match kind {
                COMPRESSED | UNCOMPRESSED => {
                    if !(CHECKSUM..=FRAME_MAX).contains(&len) {
                        return Err(broken(format!("an S2 frame of {len} bytes")));
                    }
                    if self.packed.len() < HEAD + len {
                        return Ok(false);
                    }
                    let mut frame = self.packed.split_to(HEAD + len);
                    frame.advance(HEAD);
                    self.unpack(kind, frame, out)?;
                    return Ok(true);
                }
                IDENTIFIER => {
                    if self.packed.len() < HEAD + 6 {
                        return Ok(false);
                    }
                    let name = &self.packed[HEAD..HEAD + 6];
                    if len != 6 || (name != b"S2sTwO" && name != b"sNaPpY") {
                        return Err(broken("invalid stream identifier"));
                    }
                    self.identified = true;
                    self.skip = HEAD + len;
                }
                SKIPPABLE.. => self.skip = HEAD + len,
                _ => return Err(broken(format!("unknown S2 frame {kind:#04x}"))),
            }
        }
    }

    fn unpack(&mut self, kind: u8, mut frame: BytesMut, out: &mut BytesMut) -> io::Result<()> {
        let expected = frame.get_u32_le();
        let at = out.len();
        if kind == UNCOMPRESSED {
            if frame.len() > BLOCK_MAX {
                return Err(broken("an S2 block that is too large"));
            }
            out.extend_from_slice(&frame);
        } else {
            let bad = |why: minlz::Error| broken(format!("S2: {why}"));
            let (len, _) = minlz::s2::decode_len(&frame).map_err(bad)?;
            if len > BLOCK_MAX {
                return Err(broken("an S2 block that is too large"));
            }
            out.resize(at + len, 0);
            let unpacked = minlz::s2::decode_into(&mut out[at..], &frame).map_err(bad)?;
            out.truncate(at + unpacked);
        }
        if checksum(&out[at..]) != expected {
            return Err(broken("S2: CRC mismatch"));
        }
        self.given += (out.len() - at) as u64;
        match self.given > self.free.saturating_add(self.taken.saturating_mul(RATIO_MAX)) {
            true => Err(broken(format!(
                "the backup unpacks to more than {} MiB and {RATIO_MAX} times its own size",
                self.free >> 20
            ))),
            false => Ok(()),
        }
    }
}

/// The checksum of a block, unpacked: a CRC-32C, masked. (minlz has one too, and computes it byte by byte: that took a third of a
/// restore.)
pub fn checksum(block: &[u8]) -> u32 {
    crc32c::crc32c(block).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests;
