//! Frames of WebSocket: those of a client, masked, and those of a server, taken apart in place.
//!
//! This is deliberately not the server's own code: a bug must not be able to hide by being on both ends of the wire.

use std::io;

/// The last frame of a message, or the only one.
const FINAL: u8 = 0x80;
/// The payload is masked.
const MASKED: u8 = 0x80;
/// Longest payload of a control frame.
const CONTROL_MAX: u64 = 125;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// The next piece of a message.
    Continuation = 0,
    /// Bytes.
    Binary = 2,
    /// Nothing follows.
    Close = 8,
    /// To be answered with a pong of the same payload.
    Ping = 9,
    /// The answer to a ping.
    Pong = 10,
}

/// Appends a frame that is a whole message, masked with `key`, as clients have to.
pub fn mask(out: &mut Vec<u8>, opcode: Opcode, key: [u8; 4], payload: &[u8]) {
    out.reserve(14 + payload.len());
    out.push(FINAL | opcode as u8);
    match payload.len() {
        short @ ..=125 => out.push(MASKED | short as u8),
        middle @ ..=0xFFFF => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
    let at = out.len();
    out.extend_from_slice(payload);
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = out[at..].as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Takes the frames of a server apart, however they arrive.
#[derive(Debug, Default)]
pub struct Unframer {
    /// The beginning of a frame.
    head: [u8; 10],
    /// Bytes of it that are there.
    have: usize,
    /// The frame whose payload comes, and how many bytes of that are to come.
    frame: Option<(Opcode, u64)>,
    /// A message has begun and not ended.
    within: bool,
    /// Whether the frame under way ends one.
    last: bool,
    /// Payload of the control frame that is under way.
    control: Vec<u8>,
    /// A ping that was not answered yet.
    ping: Option<Vec<u8>>,
    /// Nothing follows, for this reason.
    closed: Option<String>,
}

impl Unframer {
    /// Leaves of what came next only what is in messages, at the front of `bytes`. Returns how much that is. What follows the frame
    /// that says that nothing does is ignored; see [`closed`](Self::closed).
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for what a server may not send.
    pub fn strip(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() {
            if self.closed.is_some() {
                return Ok(to);
            }
            let Some((opcode, left)) = self.frame else {
                self.head[self.have] = bytes[from];
                self.have += 1;
                from += 1;
                self.begin()?;
                continue;
            };
            let here = usize::try_from(left).map_or(bytes.len() - from, |left| left.min(bytes.len() - from));
            match opcode {
                Opcode::Binary | Opcode::Continuation => {
                    bytes.copy_within(from..from + here, to);
                    to += here;
                }
                _ => self.control.extend_from_slice(&bytes[from..from + here]),
            }
            from += here;
            self.frame = Some((opcode, left - here as u64));
            self.finish()?;
        }
        Ok(to)
    }

    /// Why nothing follows, once the server has said so.
    pub fn closed(&self) -> Option<&str> {
        self.closed.as_deref()
    }

    /// A ping that came and is to be answered with this; only the last counts (RFC 6455, 5.5.3).
    pub fn take_ping(&mut self) -> Option<Vec<u8>> {
        self.ping.take()
    }

    /// Looks whether the beginning of a frame is all there.
    fn begin(&mut self) -> io::Result<()> {
        let [first, second, ..] = self.head;
        let short = second & !MASKED;
        let needed = match (self.have, short) {
            (..2, _) => return Ok(()),
            (_, 126) => 4,
            (_, 127) => 10,
            _ => 2,
        };
        if second & MASKED != 0 {
            return Err(wrong("a masked frame"));
        }
        if first & 0x70 != 0 {
            return Err(wrong("a frame with bits that nothing was agreed on about"));
        }
        if self.have < needed {
            return Ok(());
        }
        let long = self.head[2..needed]
            .iter()
            .fold(0, |length, byte| length << 8 | u64::from(*byte));
        let length = match needed {
            2 => u64::from(short),
            4 if long < 126 => return Err(wrong("a length in more bytes than it takes")),
            10 if long < 0x1_0000 => return Err(wrong("a length in more bytes than it takes")),
            _ => long,
        };
        self.have = 0;
        self.last = first & FINAL != 0;
        let opcode = match first & 0x0F {
            0 if !self.within => return Err(wrong("the next piece of nothing")),
            0 => Opcode::Continuation,
            2 if self.within => return Err(wrong("a message within a message")),
            2 => Opcode::Binary,
            8..=10 if !self.last || length > CONTROL_MAX => {
                return Err(wrong("a control frame in pieces, or a long one"));
            }
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            other => return Err(wrong(&format!("a frame of kind {other}"))),
        };
        self.control.clear();
        self.frame = Some((opcode, length));
        self.finish()
    }

    /// Looks whether the frame under way is all there.
    fn finish(&mut self) -> io::Result<()> {
        let Some((opcode, 0)) = self.frame else {
            return Ok(());
        };
        self.frame = None;
        match opcode {
            Opcode::Binary | Opcode::Continuation => self.within = !self.last,
            Opcode::Ping => self.ping = Some(std::mem::take(&mut self.control)),
            Opcode::Pong => {}
            Opcode::Close => {
                let text = match *self.control {
                    [high, low, ref text @ ..] => {
                        let status = u16::from_be_bytes([high, low]);
                        format!("{status} {}", String::from_utf8_lossy(text))
                    }
                    _ => "no reason".into(),
                };
                self.closed = Some(format!("the server closed the WebSocket: {text}"));
            }
        }
        Ok(())
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server sent {what}"))
}

#[cfg(test)]
mod tests;
