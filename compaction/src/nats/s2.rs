//! Packed blocks: `cmp`, the algorithm, the length of what is packed (LEB128); a Snappy or S2 stream; and the last eight
//! bytes of the block, its last record's checksum, as they are.

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
    stream: &'a [u8],
    /// Where the stream begins in the file.
    at: usize,
    checksum: &'a [u8],
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
        let (stream, checksum) = rest.split_at_checked(rest.len().checked_sub(CHECKSUM)?)?;
        Some(Self {
            algorithm,
            len,
            at: file.len() - rest.len(),
            stream,
            checksum,
        })
    }

    /// Unpacks it. A chunk that cannot be unpacked is as many zeros, if it says how many bytes it was; behind one that
    /// does not say, everything up to the end is. The caller has held [`Packed::len`] against a bound.
    pub fn unpack(&self) -> (Vec<u8>, Vec<BadChunk>) {
        let mut bad = Vec::new();
        let len = self.len as usize;
        let body_len = len.saturating_sub(CHECKSUM);
        let mut out = Vec::new();
        match self.algorithm {
            S2 => self.chunks(body_len, &mut out, &mut bad),
            0 => out.extend_from_slice(&self.stream[..self.stream.len().min(body_len)]),
            other => bad.push(BadChunk {
                offset: 3,
                why: format!("it is packed with algorithm {other}, which nobody knows"),
            }),
        }
        if out.len() < body_len {
            if bad.is_empty() {
                bad.push(BadChunk {
                    offset: (self.at + self.stream.len()) as u64,
                    why: format!("it unpacks to {} bytes of {body_len}", out.len()),
                });
            }
            out.resize(body_len, 0);
        }
        out.extend_from_slice(self.checksum);
        (out, bad)
    }

    fn chunks(&self, body_len: usize, out: &mut Vec<u8>, bad: &mut Vec<BadChunk>) {
        let mut rest = self.stream;
        while !rest.is_empty() {
            let offset = (self.at + self.stream.len() - rest.len()) as u64;
            let mut broken = |why: String| bad.push(BadChunk { offset, why });
            let Some((head, behind)) = rest.split_first_chunk::<4>() else {
                broken("a chunk's head is cut off".to_owned());
                return;
            };
            let [kind, length @ ..] = *head;
            let length = u32::from_le_bytes([length[0], length[1], length[2], 0]) as usize;
            let Some((chunk, behind)) = behind.split_at_checked(length) else {
                broken(format!("a chunk of {length} bytes is cut off"));
                return;
            };
            rest = behind;
            let data = match kind {
                0x00 | 0x01 => chunk,
                // Names of the format, padding, an index.
                0x80..=0xff => continue,
                _ => {
                    broken(format!("a chunk is of kind {kind:#04x}, which nobody knows"));
                    return;
                }
            };
            let Some((sum, data)) = data.split_first_chunk::<4>() else {
                broken("a chunk is too short".to_owned());
                return;
            };
            let start = out.len();
            let size = match kind {
                0x00 => minlz::s2::decode_len(data).map_or(usize::MAX, |(size, _)| size),
                _ => data.len(),
            };
            if size > CHUNK_MAX || size > body_len - start {
                broken("a chunk does not say how long it is".to_owned());
                return;
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
    }
}

#[cfg(test)]
mod tests;
