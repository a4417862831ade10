//! Frames: a header that says what follows and how much, and the payload, masked if a client sent it.

use thiserror::Error;

use super::status;

/// Longest payload of a control frame, in bytes.
const CONTROL_MAX: usize = 125;

/// Longest header, in bytes: two, eight of length, four of the mask.
const HEADER_MAX: usize = 14;

/// Longest header without a mask, in bytes.
const OWN_HEADER_MAX: usize = 10;

const FINAL: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next piece of a message.
    Continuation = 0,
    /// A message of text, or its first piece.
    Text = 1,
    /// A message of bytes, or its first piece.
    Binary = 2,
    /// The sender sends nothing more.
    Close = 8,
    /// To be answered with [`Pong`](Self::Pong).
    Ping = 9,
    /// The answer to a [`Ping`](Self::Ping), with the same payload.
    Pong = 10,
}

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What is wrong with a frame; prints as nats-server names it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Bits that no extension has given a meaning.
    #[error("RSV2 and RSV3 must be clear")]
    Reserved,
    /// A client did not mask.
    #[error("mask bit missing")]
    Unmasked,
    /// A kind of frame that does not exist.
    #[error("unknown opcode {0}")]
    Opcode(u8),
    /// A control frame that is too long.
    #[error("control frame length bigger than maximum allowed of {CONTROL_MAX} bytes")]
    ControlLength,
    /// A control frame in pieces.
    #[error("control frame does not have final bit set")]
    ControlFragment,
    /// A control frame that claims to be compressed.
    #[error("control frame must not be compressed")]
    ControlCompressed,
    /// A message within a message.
    #[error("new message started before final frame for previous message was received")]
    Interrupted,
    /// The next piece of nothing.
    #[error("invalid continuation frame")]
    Continuation,
    /// Compression was not agreed on.
    #[error("compressed frame received without negotiated permessage-deflate")]
    Compression,
    /// More than 63 bits of length.
    #[error("invalid 64-bit payload length")]
    Length,
    /// A Close frame with half a status.
    #[error("close frame payload cannot be 1 byte")]
    CloseLength,
    /// What was compressed is not DEFLATE's.
    #[error("compressed message is corrupt")]
    Corrupt,
    /// A compressed message that is larger than allowed.
    #[error("decompressed message exceeds the maximum of {0} bytes")]
    TooBig(u64),
}

impl FrameError {
    /// The status to close the connection with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Corrupt => status::INVALID_PAYLOAD,
            Self::TooBig(_) => status::TOO_BIG,
            _ => status::PROTOCOL_ERROR,
        }
    }
}

/// What a piece of input is.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A piece of a message, unmasked.
    Data(&'a [u8]),
    /// A piece of a compressed message, unmasked.
    Deflated {
        /// The piece; may be empty.
        bytes: &'a [u8],
        /// The message ends with it.
        last: bool,
    },
    /// To be answered with a Pong of the same payload.
    Ping(&'a [u8]),
    /// The answer to a Ping of ours.
    Pong,
    /// The client sends nothing more, and waits for the answer.
    Close(Close),
}

/// A Close frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Payload of the Close frame to answer with.
    pub answer: Vec<u8>,
}

/// What became of the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// Bytes of the input that are done with. All of it, if there is no item.
    pub consumed: usize,
    /// What was found in them; `None`: more input is needed.
    pub item: Option<Item<'a>>,
}

/// Takes the frames of a client apart, however they arrive. Holds no more than a header and the payload of a control frame.
#[derive(Debug)]
pub struct Decoder {
    compression: bool,
    head: [u8; HEADER_MAX],
    /// Bytes of the header that are there.
    have: usize,
    /// The frame whose payload comes.
    frame: Option<Frame>,
    /// The message of which not all frames came: whether it is compressed.
    message: Option<bool>,
    control: [u8; CONTROL_MAX],
    /// Bytes of the control frame's payload that are there.
    gathered: usize,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    /// Of the message.
    compressed: bool,
    mask: [u8; 4],
    /// Bytes of the payload that are still to come.
    left: u64,
}

impl Decoder {
    /// For one connection; `compression`: permessage-deflate was agreed on.
    #[must_use]
    pub fn new(compression: bool) -> Self {
        Self {
            compression,
            head: [0; HEADER_MAX],
            have: 0,
            frame: None,
            message: None,
            control: [0; CONTROL_MAX],
            gathered: 0,
        }
    }

    /// Whether a message has begun and not ended.
    #[must_use]
    pub fn is_within_message(&self) -> bool {
        self.message.is_some() || self.frame.is_some_and(|frame| !frame.opcode.is_control())
    }

    /// Looks at what came next; unmasks it in place. To be called again with what is left, until it asks for more.
    ///
    /// # Errors
    /// What came is not WebSocket; the connection is to be closed.
    pub fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<'a>, FrameError> {
        let mut at = 0;
        let mut frame = match self.frame {
            Some(frame) => frame,
            None => loop {
                let needed = header_length(&self.head[..self.have]);
                if self.have < needed {
                    let Some(&byte) = input.get(at) else {
                        return Ok(Step {
                            consumed: at,
                            item: None,
                        });
                    };
                    self.head[self.have] = byte;
                    self.have += 1;
                    at += 1;
                    // As soon as it can be told: the rest of the header of a wrong frame may never come.
                    if self.have == 2 {
                        self.check([self.head[0], self.head[1]])?;
                    }
                } else {
                    break self.begin()?;
                }
            },
        };
        let available = input.len() - at;
        let taken = usize::try_from(frame.left).map_or(available, |left| left.min(available));
        let payload = &mut input[at..at + taken];
        unmask(payload, frame.mask);
        frame.mask.rotate_left(taken % 4);
        frame.left -= taken as u64;
        let complete = frame.left == 0;
        self.frame = (!complete).then_some(frame);
        let consumed = at + taken;
        if taken == 0 && !complete {
            return Ok(Step { consumed, item: None });
        }
        if frame.opcode.is_control() {
            // `begin` has seen that it fits.
            self.control[self.gathered..self.gathered + taken].copy_from_slice(payload);
            self.gathered += taken;
            let item = match complete {
                true => Some(self.control_item(frame.opcode)?),
                false => None,
            };
            return Ok(Step { consumed, item });
        }
        if complete && frame.is_final {
            self.message = None;
        }
        let item = match frame.compressed {
            true => Item::Deflated {
                bytes: payload,
                last: complete && frame.is_final,
            },
            false => Item::Data(payload),
        };
        Ok(Step {
            consumed,
            item: Some(item),
        })
    }

    /// The first two bytes of a header, whatever follows.
    fn check(&self, head: [u8; 2]) -> Result<(), FrameError> {
        let [first, second] = head;
        if first & RESERVED != 0 {
            return Err(FrameError::Reserved);
        }
        let bits = first & 0x0F;
        let opcode = Opcode::of(bits).ok_or(FrameError::Opcode(bits))?;
        if second & MASKED == 0 {
            return Err(FrameError::Unmasked);
        }
        let (is_final, compressed) = (first & FINAL != 0, first & COMPRESSED != 0);
        match opcode {
            _ if opcode.is_control() => {
                if usize::from(second & !MASKED) > CONTROL_MAX {
                    return Err(FrameError::ControlLength);
                }
                if !is_final {
                    return Err(FrameError::ControlFragment);
                }
                if compressed {
                    return Err(FrameError::ControlCompressed);
                }
            }
            Opcode::Continuation => {
                if self.message.is_none() || compressed {
                    return Err(FrameError::Continuation);
                }
            }
            _ => {
                if self.message.is_some() {
                    return Err(FrameError::Interrupted);
                }
                if compressed && !self.compression {
                    return Err(FrameError::Compression);
                }
            }
        }
        Ok(())
    }

    /// The header is there, and its first two bytes are right.
    fn begin(&mut self) -> Result<Frame, FrameError> {
        let head = &self.head[..self.have];
        let (first, short) = (head[0], head[1] & !MASKED);
        let mask_at = self.have - 4;
        let left = head[2..mask_at]
            .iter()
            .fold(0, |length, byte| length << 8 | u64::from(*byte));
        let left = if mask_at == 2 { u64::from(short) } else { left };
        if i64::try_from(left).is_err() {
            return Err(FrameError::Length);
        }
        let mask = [head[mask_at], head[mask_at + 1], head[mask_at + 2], head[mask_at + 3]];
        let bits = first & 0x0F;
        let opcode = Opcode::of(bits).ok_or(FrameError::Opcode(bits))?;
        self.have = 0;
        self.gathered = 0;
        let compressed = match opcode {
            Opcode::Continuation => self.message == Some(true),
            _ => first & COMPRESSED != 0,
        };
        if !opcode.is_control() {
            self.message = Some(compressed);
        }
        Ok(Frame {
            opcode,
            is_final: first & FINAL != 0,
            compressed,
            mask,
            left,
        })
    }

    fn control_item(&self, opcode: Opcode) -> Result<Item<'_>, FrameError> {
        let payload = &self.control[..self.gathered];
        Ok(match opcode {
            Opcode::Ping => Item::Ping(payload),
            Opcode::Close => Item::Close(close(payload)?),
            _ => Item::Pong,
        })
    }
}

/// Length of a header, as far as its beginning tells.
fn header_length(head: &[u8]) -> usize {
    match head.get(1).map(|second| second & !MASKED) {
        None => 2,
        Some(126) => 8,
        Some(127) => HEADER_MAX,
        Some(_) => 6,
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from(u32::from_ne_bytes(mask));
    let wide = (wide | wide << 32).to_ne_bytes();
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(wide)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(wide) {
        *byte ^= key;
    }
}

/// What to answer a Close frame with: its own status, unless that must not be sent, or its text is none.
fn close(payload: &[u8]) -> Result<Close, FrameError> {
    let answer = match *payload {
        [] => Vec::new(),
        [_] => return Err(FrameError::CloseLength),
        [high, low, ref text @ ..] => match u16::from_be_bytes([high, low]) {
            1000..=1003 | 1007..=1014 | 3000..=4999 if std::str::from_utf8(text).is_ok() => payload.to_vec(),
            1000..=1003 | 1007..=1014 | 3000..=4999 => {
                close_payload(status::INVALID_PAYLOAD, "invalid utf8 body in close frame")
            }
            _ => close_payload(status::PROTOCOL_ERROR, "invalid status in close frame"),
        },
    };
    Ok(Close { answer })
}

/// The payload of a Close frame. A text that is too long is cut, and ends with dots then.
#[must_use]
pub fn close_payload(status: u16, text: &str) -> Vec<u8> {
    const DOTS: &str = "...";
    let mut payload = status.to_be_bytes().to_vec();
    let room = CONTROL_MAX - payload.len();
    if text.len() <= room {
        payload.extend_from_slice(text.as_bytes());
    } else {
        let end = text.floor_char_boundary(room - DOTS.len());
        payload.extend_from_slice(&text.as_bytes()[..end]);
        payload.extend_from_slice(DOTS.as_bytes());
    }
    payload
}

/// Appends a frame that is a whole message, as a server sends it: unmasked.
pub fn frame(out: &mut Vec<u8>, opcode: Opcode, compressed: bool, payload: &[u8]) {
    let first = FINAL | opcode as u8 | if compressed { COMPRESSED } else { 0 };
    out.reserve(OWN_HEADER_MAX + payload.len());
    out.push(first);
    match payload.len() {
        short @ 0..=CONTROL_MAX => out.push(short as u8),
        middle @ ..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}
