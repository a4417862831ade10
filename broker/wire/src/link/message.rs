//! LMSG, RMSG and HMSG.

use super::place::Place;
use super::{Dialect, Head, LinkError, Op, Queues, Step, Verb};
use crate::line::{self, Span};

/// A control line that announced a message. Kept between reads, so that the line is parsed once and the message is never scanned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announced {
    pub origin: Option<Span>,
    pub account: Option<Span>,
    pub subject: Span,
    pub reply: Option<Span>,
    /// All names of queues, and what is between them.
    pub queues: Span,
    /// Size of the header block in bytes; 0 if there is none.
    pub headers: usize,
    /// Size of headers and body together, without the CR LF behind them.
    pub total: usize,
    /// Where the first byte behind the control line is.
    pub body: usize,
}

impl Announced {
    /// Reads the arguments of `verb` in `buf[arg]`; the message starts at `body`.
    pub fn parse(
        verb: Verb,
        dialect: Dialect,
        buf: &[u8],
        arg: Span,
        body: usize,
        max_payload: usize,
    ) -> Result<Self, LinkError> {
        let wrong = LinkError::Arguments(verb);
        let place = Place::of(verb, dialect);
        let number = |span: Span| line::size(span.of(buf)).ok_or(LinkError::Size(verb));
        // There may be any number of queues, so the sizes are looked for from behind.
        let (total, rest) = line::last(buf, arg).ok_or(wrong)?;
        let (headers, rest) = match verb == Verb::HeaderMsg || place.origin.is_some() {
            false => (0, rest),
            true => {
                let (headers, rest) = line::last(buf, rest).ok_or(wrong)?;
                (number(headers)?, rest)
            }
        };
        let total = number(total)?;
        let (words, count) = line::split::<5>(buf, rest, line::is_gap);
        let (reply, queues) = match count.checked_sub(place.subject + 1) {
            None => return Err(wrong),
            Some(0) => (None, Span::default()),
            Some(1) => (Some(words[place.subject + 1]), Span::default()),
            Some(_) => {
                let (indicator, next) = (words[place.subject + 1], words[place.subject + 2]);
                let (reply, before) = match indicator.of(buf) {
                    b"+" => (Some(next), next),
                    b"|" => (None, indicator),
                    _ => return Err(LinkError::Indicator(verb)),
                };
                let queues = Span {
                    start: before.end,
                    end: rest.end,
                };
                (reply, queues)
            }
        };
        if headers > total {
            return Err(LinkError::HeaderSize(verb));
        }
        if total > max_payload {
            return Err(LinkError::Payload {
                size: total,
                max: max_payload,
            });
        }
        Ok(Self {
            origin: place.origin.map(|at| words[at]),
            account: place.account.map(|at| words[at]),
            subject: words[place.subject],
            reply,
            queues,
            headers,
            total,
            body,
        })
    }

    /// The operation if the message and the CR LF behind it have arrived, else how much is needed.
    pub fn finish<'a>(&self, buf: &'a [u8]) -> Result<Step<'a>, LinkError> {
        let end = self.body + self.total;
        // A wrong byte is an error as soon as it is there, not when the one behind it has come.
        if buf.get(end).is_some_and(|&byte| byte != b'\r') || buf.get(end + 1).is_some_and(|&byte| byte != b'\n') {
            return Err(LinkError::UnknownOperation);
        }
        if buf.len() < end + 2 {
            return Ok(Step::NeedMore { at_least: end + 2 });
        }
        let (headers, payload) = buf[self.body..end].split_at(self.headers);
        let head = Head {
            origin: self.origin.map(|span| span.of(buf)),
            account: self.account.map(|span| span.of(buf)),
            subject: self.subject.of(buf),
            reply: self.reply.map(|span| span.of(buf)),
            queues: Queues::in_line(self.queues.of(buf)),
        };
        let op = Op::Msg { head, headers, payload };
        Ok(Step::Op { op, consumed: end + 2 })
    }
}
