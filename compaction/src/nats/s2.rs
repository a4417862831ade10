//! Packed blocks: `cmp`, the algorithm, the length of what is packed (LEB128); a Snappy or S2 stream; and the last eight
//! bytes of the block, its last record's checksum, as they are.
//!
//! When nats-server 2.10 erases a message in a packed block, it writes the erased record where it would lie if the block
//! were not packed: behind the end of the file with zeros before it, or over what is packed. It cannot read such a block
//! again.

use weir_engine::varint;

/// How a packed block begins.
const MAGIC: &[u8] = b"cmp";
/// The one algorithm there is besides none.
const S2: u8 = 1;
/// Bytes at the end of a block that are not packed.
const CHECKSUM: usize = 8;
/// What one chunk of an S2 stream unpacks to, at most, by the format.
const CHUNK_MAX: usize = 4 << 20;

/// A block that is packed, as its head says.
pub(super) struct Packed<'a> {
    algorithm: u8,
    /// Bytes it unpacks to.
    pub len: u64,
    /// The stream and what follows.
    stream: &'a [u8],
    /// Where the stream begins in the file.
    at: usize,
}

/// A place in a packed block that could not be unpacked.
#[derive(Debug)]
pub(super) struct BadChunk {
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub why: String,
}

impl<'a> Packed<'a> {
    /// Reads a block's head; `None` if the block is not packed.
    pub fn parse(file: &'a [u8]) -> Option<Self> {
        let mut rest = file.strip_prefix(MAGIC)?;
        let (&algorithm, behind) = rest.split_first()?;
        rest = behind;
        let len = varint::take(&mut rest)?;
        (rest.len() >= CHECKSUM).then_some(Self {
            algorithm,
            len,
            at: file.len() - rest.len(),
            stream: rest,
        })
    }

    /// Unpacks it, and appends what was written behind it. A chunk that cannot be unpacked is as many zeros, if it says how many bytes it was; behind one that
    /// does not say, everything up to the end is. The caller has held [`Packed::len`] against a bound.
    pub fn unpack(&self) -> (Vec<u8>, Vec<BadChunk>) {
        let mut bad = Vec::new();
        let body_len = (self.len as usize).saturating_sub(CHECKSUM);
        let mut out = Vec::new();
        let mut rest = self.stream;
        match self.algorithm {
            S2 => rest = self.chunks(body_len, &mut out, &mut bad),
            other => bad.push(BadChunk {
                offset: 3,
                why: format!("it is packed with algorithm {other}, which nobody knows"),
            }),
        }
        if out.len() < body_len {
            if bad.is_empty() {
                bad.push(BadChunk {
                    offset: (self.at + self.stream.len() - rest.len()) as u64,
                    why: format!("it unpacks to {} bytes of {body_len}", out.len()),
                });
            }
            out.resize(body_len, 0);
            rest = &self.stream[self.stream.len() - CHECKSUM..];
        }
        let (checksum, behind) = rest.split_at(CHECKSUM.min(rest.len()));
        out.extend_from_slice(checksum);
        if !behind.is_empty() {
            bad.push(BadChunk {
                offset: (self.at + self.stream.len() - behind.len()) as u64,
                why: "something was written behind it, as nats-server 2.10 does when it erases a message".to_owned(),
            });
        }
        let zeros = behind.iter().take_while(|&&byte| byte == 0).count();
        out.extend_from_slice(&behind[zeros..]);
        (out, bad)
    }

    /// Answers what follows the stream, if it could be read to its end.
    fn chunks(&self, body_len: usize, out: &mut Vec<u8>, bad: &mut Vec<BadChunk>) -> &'a [u8] {
        let mut rest = self.stream;
        while out.len() < body_len {
            let offset = (self.at + self.stream.len() - rest.len()) as u64;
            let mut broken = |why: String| bad.push(BadChunk { offset, why });
            let Some((head, behind)) = rest.split_first_chunk::<4>() else {
                broken("a chunk's head is cut off".to_owned());
                return rest;
            };
            let [kind, length @ ..] = *head;
            let length = u32::from_le_bytes([length[0], length[1], length[2], 0]) as usize;
            let Some((chunk, behind)) = behind.split_at_checked(length) else {
                broken(format!("a chunk of {length} bytes is cut off"));
                return rest;
            };
            rest = behind;
            let data = match kind {
                0x00 | 0x01 => chunk,
                // Names of the format, padding, an index.
                0x80..=0xff => continue,
                _ => {
                    broken(format!("a chunk is of kind {kind:#04x}, which nobody knows"));
                    return rest;
                }
            };
            let Some((sum, data)) = data.split_first_chunk::<4>() else {
                broken("a chunk is too short".to_owned());
                return rest;
            };
            let start = out.len();
            let size = match kind {
                0x00 => minlz::s2::decode_len(data).map_or(usize::MAX, |(size, _)| size),
                _ => data.len(),
            };
            if size > CHUNK_MAX || size > body_len - start {
                broken("a chunk does not say how long it is".to_owned());
                return rest;
            }
            out.resize(start + size, 0);
            let into = &mut out[start..];
            let is_whole = match kind {
                0x00 => minlz::s2::decode_into(into, data).is_ok_and(|written| written == size),
                _ => {
                    into.copy_from_slice(data);
                    true
                }
            };
            if !is_whole || minlz::crc::crc(into) != u32::from_le_bytes(*sum) {
                into.fill(0);
                broken("a chunk's checksum does not match".to_owned());
            }
        }
        rest
    }
}

#[cfg(test)]
mod tests;
