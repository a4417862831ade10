//! S2 streams, unpacked piece by piece as they come, without a thread that waits for the next piece.
//!
//! A stream is a row of frames: a byte that says what it is, three for the length of what follows, little-endian. Data
//! frames begin with a checksum of what they hold unpacked.

use std::io;

use bytes::{Buf, BytesMut};

use crate::jetstream::backup::broken;

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

const COMPRESSED: u8 = 0x00;
const UNCOMPRESSED: u8 = 0x01;
/// From here on frames may be skipped by whoever does not know them.
const SKIPPABLE: u8 = 0x80;
const IDENTIFIER: u8 = 0xff;

/// Unpacks an S2 stream.
#[derive(Debug)]
pub(super) struct Unpacker {
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
        if minlz::crc::crc(&out[at..]) != expected {
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(data: &[u8]) -> Vec<u8> {
        let mut writer = minlz::Writer::new(Vec::new());
        writer.write_all(data).unwrap();
        writer.flush().unwrap();
        writer.get_mut().clone()
    }

    fn unpack(packed: &[u8], piece: usize) -> io::Result<BytesMut> {
        let (mut unpacker, mut out) = (Unpacker::default(), BytesMut::new());
        for piece in packed.chunks(piece) {
            unpacker.push(piece);
            while unpacker.next(&mut out)? {}
        }
        match unpacker.is_within_frame() {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(out),
        }
    }

    #[test]
    fn pieces_make_no_difference() {
        let data: Vec<u8> = (0..3_000_000u32).map(|number| (number / 7) as u8).collect();
        let packed = packed(&data);
        for piece in [1, 1000, packed.len()] {
            assert!(unpack(&packed, piece).unwrap() == data, "pieces of {piece}");
        }
        assert!(unpack(&packed[..packed.len() - 1], 1000).is_err());
        // Frames that may be skipped are, however they are cut.
        let mut padded = packed[..10].to_vec();
        padded.extend([0xfe, 5, 0, 0, 1, 2, 3, 4, 5]);
        padded.extend(&packed[10..]);
        assert!(unpack(&padded, 3).unwrap() == data);
    }

    #[test]
    fn what_is_damaged_or_foreign_is_refused() {
        let fine = packed(b"something that is long enough to be worth it, it is, it is");
        for at in 0..fine.len() {
            let mut bad = fine.clone();
            bad[at] ^= 0x21;
            assert!(unpack(&bad, 16).is_err(), "byte {at}");
        }
        assert!(unpack(b"hello, this is no S2 stream", 7).is_err());
        // A length that lies is seen before anything is reserved for it.
        let lie = [
            &fine[..10],
            &[0, 12, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0],
        ]
        .concat();
        assert!(unpack(&lie, 16).is_err());
    }

    #[test]
    fn a_little_that_becomes_very_much_is_refused() {
        let block = packed(&vec![0; 1 << 20]);
        let mut out = BytesMut::new();
        let mut unpacker = Unpacker {
            free: 8 << 20,
            ..Unpacker::default()
        };
        unpacker.push(&block);
        let mut given = 0;
        let refused = loop {
            match unpacker.next(&mut out) {
                Ok(true) => given += std::mem::take(&mut out).len(),
                Ok(false) => unpacker.push(&block[10..]),
                Err(error) => break error,
            }
        };
        assert!(refused.to_string().contains("unpacks to more than"), "{refused}");
        let allowed = ((8 << 20) + RATIO_MAX * unpacker.taken) as usize;
        assert!(given <= allowed && given + BLOCK_MAX > allowed, "{given} of {allowed}");
    }
}
