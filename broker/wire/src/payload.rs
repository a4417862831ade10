//! Operations with a body: PUB, HPUB and, on the client's side, MSG, HMSG.

use crate::error::{ParseError, Verb};
use crate::line::{self, Span};
use crate::parser::{Op, Step};

/// A control line that announced a body. Kept between reads, so that the line is parsed once and the body is never scanned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announced {
    verb: Verb,
    subject: Span,
    sid: Span,
    reply: Option<Span>,
    /// Size of the header block in bytes; 0 for PUB and MSG.
    headers: usize,
    /// Size of headers and body together, without the CR LF behind them.
    total: usize,
    /// Where the first byte behind the control line is.
    body: usize,
}

impl Announced {
    /// Reads the arguments of `verb` in `buf[arg]`; the body starts at `body`.
    pub fn parse(verb: Verb, buf: &[u8], arg: Span, body: usize, max_payload: usize) -> Result<Self, ParseError> {
        let (s, count) = line::split::<5>(buf, arg, line::is_blank);
        let (has_sid, sizes) = match verb {
            Verb::Pub => (false, 1),
            Verb::Hpub => (false, 2),
            Verb::Msg => (true, 1),
            _ => (true, 2),
        };
        let names = 1 + usize::from(has_sid);
        let reply = match count.checked_sub(names + sizes) {
            Some(0) => None,
            Some(1) => Some(s[names]),
            _ => return Err(ParseError::Arguments(verb)),
        };
        let number = |i: usize| line::size(s[i].of(buf)).ok_or(ParseError::Size(verb));
        let headers = if sizes == 2 { number(count - 2)? } else { 0 };
        let total = number(count - 1)?;
        if headers > total {
            return Err(ParseError::HeaderSize(verb));
        }
        if total > max_payload {
            return Err(ParseError::Payload {
                size: total,
                max: max_payload,
            });
        }
        let sid = if has_sid { s[1] } else { Span::default() };
        Ok(Self {
            verb,
            subject: s[0],
            sid,
            reply,
            headers,
            total,
            body,
        })
    }

    /// The operation if its body and the CR LF behind it have arrived, else how much is needed.
    pub fn finish<'a>(&self, buf: &'a [u8]) -> Result<Step<'a>, ParseError> {
        let end = self.body + self.total;
        // A wrong byte is an error as soon as it is there, not when the one behind it has come.
        if buf.get(end).is_some_and(|&b| b != b'\r') || buf.get(end + 1).is_some_and(|&b| b != b'\n') {
            return Err(ParseError::UnknownOperation);
        }
        if buf.len() < end + 2 {
            return Ok(Step::NeedMore { at_least: end + 2 });
        }
        let whole = &buf[self.body..end];
        let (headers, payload) = whole.split_at(self.headers);
        let subject = self.subject.of(buf);
        let sid = self.sid.of(buf);
        let reply = self.reply.map(|r| r.of(buf));
        let op = match self.verb {
            Verb::Pub => Op::Pub {
                subject,
                reply,
                payload,
            },
            Verb::Hpub => Op::Hpub {
                subject,
                reply,
                headers,
                payload,
                whole,
            },
            Verb::Msg => Op::Msg {
                subject,
                sid,
                reply,
                payload,
            },
            _ => Op::Hmsg {
                subject,
                sid,
                reply,
                headers,
                payload,
                whole,
            },
        };
        Ok(Step::Op { op, consumed: end + 2 })
    }
}
