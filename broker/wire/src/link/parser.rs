//! An incremental parser that works in place on the connection's read buffer.

use super::glance;
use super::message::Announced;
use super::place::Place;
use super::{DEFAULT_MAX_CONTROL_LINE, Dialect, LinkError, Op, Queue, Sub, Unsub, Verb};
use crate::DEFAULT_MAX_PAYLOAD;
use crate::line::{self, Lines, Span, TooLong};

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
        /// How many bytes the buffer must hold, those already there included, before another call can find more. Exact once the size of a
        /// message is known, one more byte before that.
        at_least: usize,
    },
}

/// The state between two reads of one connection: how far the unfinished operation at the buffer's start was looked at.
///
/// Verbs are read in any case, arguments between spaces and tabs, lines end in LF with or without CR, messages in CR LF without exception:
/// as nats-server 2.15.1 does. It is stricter in what no server sends: a leaf node may say none of the verbs of routes or clients, and
/// `LS-` has no weight. What a buffer has to hold is bounded by the longest line and the largest message.
#[derive(Debug, Clone)]
pub struct Parser {
    dialect: Dialect,
    max_payload: usize,
    lines: Lines,
    announced: Option<Announced>,
}

impl Parser {
    /// A parser for what comes over such a link, with nats-server's default limits.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            max_payload: DEFAULT_MAX_PAYLOAD,
            lines: Lines::new(DEFAULT_MAX_CONTROL_LINE),
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

    /// Finds the operation at the start of `buf`.
    ///
    /// `buf` starts where the last operation ended and, after a [`Step::NeedMore`], holds the same bytes as before with more behind them.
    /// Nothing is copied, and no byte of a line's end or of a message is searched twice.
    ///
    /// # Errors
    /// The bytes are none of a link's: send [`LinkError::reply`] if it has a text, and close.
    pub fn next<'a>(&mut self, buf: &'a [u8]) -> Result<Step<'a>, LinkError> {
        if let Some(announced) = &self.announced {
            let step = announced.finish(buf);
            if !matches!(step, Ok(Step::NeedMore { .. })) {
                self.announced = None;
            }
            return step;
        }
        if self.lines.is_at_start()
            && let Some(announced) = glance::announced(buf, self.dialect, self.lines.max, self.max_payload)
        {
            return self.announce(announced, buf);
        }
        let more = Ok(Step::NeedMore {
            at_least: buf.len() + 1,
        });
        let Some((verb, name_len)) = Verb::read(buf, self.dialect)? else {
            return more;
        };
        if verb.needs_blank() {
            match buf.get(name_len) {
                None => return more,
                Some(&byte) if !line::is_blank(byte) => return Err(LinkError::UnknownOperation),
                Some(_) => {}
            }
        }
        let found = self.lines.find(buf, name_len, verb.has_arguments());
        let Some((arg, next)) = found.map_err(|TooLong| LinkError::ControlLine)? else {
            return more;
        };
        let op = match verb {
            Verb::LeafMsg | Verb::RouteMsg | Verb::HeaderMsg => {
                let announced = Announced::parse(verb, self.dialect, buf, arg, next, self.max_payload)?;
                return self.announce(announced, buf);
            }
            Verb::LeafSub | Verb::RouteSub => Op::Sub(self.sub(verb, buf, arg)?),
            Verb::LeafUnsub | Verb::RouteUnsub => Op::Unsub(self.unsub(verb, buf, arg)?),
            Verb::AccountSub => Op::AccountSub {
                account: lone(verb, buf, arg)?,
            },
            Verb::AccountUnsub => Op::AccountUnsub {
                account: lone(verb, buf, arg)?,
            },
            Verb::Info => Op::Info {
                json: arg.of(buf).trim_ascii_start(),
            },
            Verb::Connect => Op::Connect {
                json: arg.of(buf).trim_ascii_start(),
            },
            Verb::Ping => Op::Ping,
            Verb::Pong => Op::Pong,
            Verb::Ok => Op::Ok,
            Verb::Err => Op::Err { text: arg.of(buf) },
        };
        Ok(Step::Op { op, consumed: next })
    }

    /// A message was announced: it is the next operation, or waited for.
    #[inline]
    fn announce<'a>(&mut self, announced: Announced, buf: &'a [u8]) -> Result<Step<'a>, LinkError> {
        let step = announced.finish(buf)?;
        if matches!(step, Step::NeedMore { .. }) {
            self.announced = Some(announced);
        }
        Ok(step)
    }

    fn sub<'a>(&self, verb: Verb, buf: &'a [u8], arg: Span) -> Result<Sub<'a>, LinkError> {
        let (words, count) = line::split::<5>(buf, arg, line::is_gap);
        let place = Place::of(verb, self.dialect);
        let queue = match count.checked_sub(place.subject + 1) {
            Some(0) => None,
            Some(2) => Some(Queue {
                name: words[place.subject + 1].of(buf),
                // Nine digits fit in a u32.
                weight: line::size(words[place.subject + 2].of(buf))
                    .and_then(|weight| u32::try_from(weight).ok())
                    .unwrap_or(0),
            }),
            _ => return Err(LinkError::Arguments(verb)),
        };
        Ok(Sub {
            origin: place.origin.map(|at| words[at].of(buf)),
            account: place.account.map(|at| words[at].of(buf)),
            subject: words[place.subject].of(buf),
            queue,
        })
    }

    fn unsub<'a>(&self, verb: Verb, buf: &'a [u8], arg: Span) -> Result<Unsub<'a>, LinkError> {
        let (words, count) = line::split::<4>(buf, arg, line::is_gap);
        let place = Place::of(verb, self.dialect);
        let queue = match count.checked_sub(place.subject + 1) {
            Some(0) => None,
            Some(1) => Some(words[place.subject + 1].of(buf)),
            _ => return Err(LinkError::Arguments(verb)),
        };
        Ok(Unsub {
            origin: place.origin.map(|at| words[at].of(buf)),
            account: place.account.map(|at| words[at].of(buf)),
            subject: words[place.subject].of(buf),
            queue,
        })
    }
}

/// The only argument.
fn lone(verb: Verb, buf: &[u8], arg: Span) -> Result<&[u8], LinkError> {
    match line::split::<1>(buf, arg, line::is_gap) {
        ([word], 1) => Ok(word.of(buf)),
        _ => Err(LinkError::Arguments(verb)),
    }
}
