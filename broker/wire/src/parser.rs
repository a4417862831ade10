//! An incremental parser that works in place on the connection's read buffer.
//!
//! The rules are nats-server 2.15.1's, as seen on the wire: verbs in any case, arguments separated by spaces and tabs (those of SUB and
//! UNSUB also by CRs, which others have in them), lines that end in LF with or without CR, bodies that end in CR LF without exception.
//! Two differences bound the buffer: junk
//! behind `PING`, `PONG` and `+OK`, and blanks in front of the first argument, may not exceed the control line limit either.

use crate::error::{ParseError, Verb};
use crate::glance::Published;
use crate::line::{self, Lines, Span, TooLong};
use crate::payload::Announced;
use crate::{DEFAULT_MAX_CONTROL_LINE, DEFAULT_MAX_PAYLOAD};

/// Largest control line a client accepts from its server: INFO carries a URL for every server of a cluster.
const CLIENT_MAX_CONTROL_LINE: usize = 1024 * 1024;

/// One operation of the peer. All slices borrow from the buffer that was given to [`Parser::next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op<'a> {
    /// A message without headers.
    Pub {
        /// Where to; any bytes but blanks (an LF only in front): validating it is the caller's work.
        subject: &'a [u8],
        /// Where an answer should go.
        reply: Option<&'a [u8]>,
        /// The body.
        payload: &'a [u8],
    },
    /// A message with a header block.
    Hpub {
        /// Where to.
        subject: &'a [u8],
        /// Where an answer should go.
        reply: Option<&'a [u8]>,
        /// The header block as it was sent: not checked, possibly empty.
        headers: &'a [u8],
        /// The body behind the header block.
        payload: &'a [u8],
        /// `headers` and `payload` in one piece, as they stand in the buffer.
        whole: &'a [u8],
    },
    /// Wants messages.
    Sub {
        /// What to receive; may hold wildcards.
        subject: &'a [u8],
        /// Queue group to be a member of.
        queue: Option<&'a [u8]>,
        /// The client's own name for this subscription.
        sid: &'a [u8],
    },
    /// Wants no more messages.
    Unsub {
        /// The subscription's name.
        sid: &'a [u8],
        /// End it after that many deliveries, counted from its beginning. `None` and 0: now.
        /// (A maximum that is no number counts as none, as in nats-server.)
        max: Option<u32>,
    },
    /// Asks for a PONG.
    Ping,
    /// Answers a PING.
    Pong,
    /// The client's options: see [`Connect`](crate::Connect).
    Connect {
        /// The JSON text, unparsed; empty if there was none.
        json: &'a [u8],
    },
    /// The server's greeting: see [`Info`](crate::Info).
    Info {
        /// The JSON text, unparsed.
        json: &'a [u8],
    },
    /// A message without headers, delivered to a client.
    Msg {
        /// The subject it was published on.
        subject: &'a [u8],
        /// The subscription it is for.
        sid: &'a [u8],
        /// Where an answer should go.
        reply: Option<&'a [u8]>,
        /// The body.
        payload: &'a [u8],
    },
    /// A message with headers, delivered to a client.
    Hmsg {
        /// The subject it was published on.
        subject: &'a [u8],
        /// The subscription it is for.
        sid: &'a [u8],
        /// Where an answer should go.
        reply: Option<&'a [u8]>,
        /// The header block.
        headers: &'a [u8],
        /// The body behind the header block.
        payload: &'a [u8],
        /// `headers` and `payload` in one piece.
        whole: &'a [u8],
    },
    /// `+OK`
    Ok,
    /// `-ERR`; nats-server closes a connection whose client sends this.
    Err {
        /// The text, with its quotes.
        text: &'a [u8],
    },
}

/// What a call of [`Parser::next`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A whole operation.
    Op {
        /// The operation.
        op: Op<'a>,
        /// Its length: the next call gets the buffer from this offset on.
        consumed: usize,
    },
    /// The operation at the start of the buffer is not complete.
    NeedMore {
        /// How many bytes the buffer must hold, those already there included, before another call can find more.
        /// Exact once the size of a body is known, one more byte before that.
        at_least: usize,
    },
}

/// The state between two reads of one connection: how far the unfinished operation at the buffer's start was looked at.
#[derive(Debug, Clone)]
pub struct Parser {
    client_side: bool,
    max_payload: usize,
    lines: Lines,
    announced: Option<Announced>,
}

impl Parser {
    /// A parser for what clients send to a server, with nats-server's default limits.
    #[must_use]
    pub fn server() -> Self {
        Self {
            client_side: false,
            max_payload: DEFAULT_MAX_PAYLOAD,
            lines: Lines::new(DEFAULT_MAX_CONTROL_LINE),
            announced: None,
        }
    }

    /// A parser for what a server sends to its clients. Without a payload limit below the protocol's own (10^9 - 1 bytes).
    #[must_use]
    pub fn client() -> Self {
        Self {
            client_side: true,
            max_payload: usize::MAX,
            lines: Lines::new(CLIENT_MAX_CONTROL_LINE),
            announced: None,
        }
    }

    /// Sets the largest control line, in bytes without the verb; takes effect at the next line.
    pub fn set_max_control_line(&mut self, bytes: usize) {
        self.lines.max = bytes;
    }

    /// Sets the largest message (headers and body), in bytes; takes effect at the next line.
    pub fn set_max_payload(&mut self, bytes: usize) {
        self.max_payload = bytes;
    }

    /// The operation at the start of `buf`, if it is a message that a client wrote as most do, and all of it is there: as
    /// [`next`](Self::next), of which it is a part that takes little time. Whatever it does not know is for `next` to find.
    #[inline]
    pub fn glance<'a>(&self, buf: &'a [u8]) -> Option<Published<'a>> {
        let begins = self.lines.is_at_start() && self.announced.is_none() && !self.client_side;
        match begins {
            true => Published::read(buf, self.lines.max, self.max_payload),
            false => None,
        }
    }

    /// Finds the operation at the start of `buf`.
    ///
    /// `buf` starts where the last operation ended and, after a [`Step::NeedMore`], holds the same bytes as before with more
    /// behind them. Nothing is copied, and no byte is searched twice.
    ///
    /// # Errors
    /// The bytes are not the protocol: send [`ParseError::reply`] if it has a text, and close.
    pub fn next<'a>(&mut self, buf: &'a [u8]) -> Result<Step<'a>, ParseError> {
        if let Some(announced) = &self.announced {
            let step = announced.finish(buf);
            if !matches!(step, Ok(Step::NeedMore { .. })) {
                self.announced = None;
            }
            return step;
        }
        let more = Ok(Step::NeedMore {
            at_least: buf.len() + 1,
        });
        let Some((verb, name_len)) = line::verb(buf, self.client_side)? else {
            return more;
        };
        if line::needs_blank(verb) {
            match buf.get(name_len) {
                None => return more,
                Some(&b) if !line::is_blank(b) => return Err(ParseError::UnknownOperation),
                Some(_) => {}
            }
        }
        let Some((arg, next)) = self
            .lines
            .find(buf, name_len, line::has_arguments(verb))
            .map_err(|TooLong| ParseError::ControlLine)?
        else {
            return more;
        };
        self.parse_line(verb, buf, arg, next)
    }

    /// A complete control line: the operation, or a body to wait for.
    fn parse_line<'a>(&mut self, verb: Verb, buf: &'a [u8], arg: Span, next: usize) -> Result<Step<'a>, ParseError> {
        let op = match verb {
            Verb::Pub | Verb::Hpub | Verb::Msg | Verb::Hmsg => {
                let announced = Announced::parse(verb, buf, arg, next, self.max_payload)?;
                let step = announced.finish(buf)?;
                if matches!(step, Step::NeedMore { .. }) {
                    self.announced = Some(announced);
                }
                return Ok(step);
            }
            Verb::Sub => {
                let (s, count) = line::split::<3>(buf, arg, line::is_gap);
                match count {
                    2 => Op::Sub {
                        subject: s[0].of(buf),
                        queue: None,
                        sid: s[1].of(buf),
                    },
                    3 => Op::Sub {
                        subject: s[0].of(buf),
                        queue: Some(s[1].of(buf)),
                        sid: s[2].of(buf),
                    },
                    _ => return Err(ParseError::Arguments(verb)),
                }
            }
            Verb::Unsub => {
                let (s, count) = line::split::<2>(buf, arg, line::is_gap);
                match count {
                    1 => Op::Unsub {
                        sid: s[0].of(buf),
                        max: None,
                    },
                    // Nine digits fit in a u32.
                    2 => Op::Unsub {
                        sid: s[0].of(buf),
                        max: line::size(s[1].of(buf)).and_then(|n| u32::try_from(n).ok()),
                    },
                    _ => return Err(ParseError::Arguments(verb)),
                }
            }
            Verb::Ping => Op::Ping,
            Verb::Pong => Op::Pong,
            Verb::Connect => Op::Connect {
                json: arg.of(buf).trim_ascii_start(),
            },
            Verb::Info => Op::Info {
                json: arg.of(buf).trim_ascii_start(),
            },
            Verb::Ok => Op::Ok,
            Verb::Err => Op::Err { text: arg.of(buf) },
        };
        Ok(Step::Op { op, consumed: next })
    }
}
