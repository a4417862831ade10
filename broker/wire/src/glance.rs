//! Messages as clients write them, read at a glance: the verb in capitals, one space between arguments, and all of it is there.
//! Whatever is otherwise, or wrong, is left to those who look at each byte.

use crate::line::{self, Span};

/// A PUB or HPUB; all slices borrow from the buffer that was given to [`Parser::glance`](crate::Parser::glance).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published<'a> {
    /// Where to; any bytes but blanks and control characters.
    pub subject: &'a [u8],
    /// Where an answer should go; empty if nowhere.
    pub reply: &'a [u8],
    /// The header block of an HPUB: not checked, possibly empty.
    pub headers: Option<&'a [u8]>,
    /// The body behind it.
    pub payload: &'a [u8],
    /// Its length, the line and all.
    pub consumed: usize,
}

impl<'a> Published<'a> {
    /// What stands at the start of `buf`, if it can be read so.
    #[inline]
    pub(crate) fn read(buf: &'a [u8], max_control_line: usize, max_payload: usize) -> Option<Self> {
        let (mut args, has_headers) = match buf {
            [b'P', b'U', b'B', b' ', ..] => (Args::new(buf, 4)?, false),
            [b'H', b'P', b'U', b'B', b' ', ..] => (Args::new(buf, 5)?, true),
            _ => return None,
        };
        let start = args.from;
        let subject = args.inner()?;
        let headers = match has_headers {
            false => None,
            true => Some(args.inner()?),
        };
        // Of one argument more, the reply stands in front.
        let (last, gap) = args.any()?;
        let (reply, headers, total) = match (gap, headers) {
            (b'\r', headers) => (Span::default(), headers, last),
            (b' ', None) => (last, None, args.last()?),
            (b' ', Some(reply)) => (reply, Some(last), args.last()?),
            _ => return None,
        };
        let (line_end, body) = (args.from - 1, args.from + 1);
        let total = line::size(total.of(buf))?;
        if buf.get(args.from) != Some(&b'\n') || line_end - start > max_control_line || total > max_payload {
            return None;
        }
        let (whole, behind) = buf.get(body..)?.split_at_checked(total)?;
        let [b'\r', b'\n', ..] = behind else { return None };
        let (headers, payload) = match headers {
            None => (None, whole),
            Some(size) => {
                let (headers, payload) = whole.split_at_checked(line::size(size.of(buf))?)?;
                (Some(headers), payload)
            }
        };
        Some(Self {
            subject: subject.of(buf),
            reply: reply.of(buf),
            headers,
            payload,
            consumed: body + total + 2,
        })
    }
}

/// The arguments of a line, one after the other: eight bytes at a time are searched for where they end, and fewer are not.
pub(crate) struct Args<'a> {
    buf: &'a [u8],
    /// Where the bytes begin that were searched last.
    at: usize,
    /// The uppermost bit of each of them that is a space or a control character, and was not come upon yet.
    gaps: u64,
    /// Where the next argument begins.
    from: usize,
}

impl<'a> Args<'a> {
    /// Those behind a verb, and the blank behind it, of so many bytes: less than eight.
    #[inline]
    pub fn new(buf: &'a [u8], from: usize) -> Option<Self> {
        let gaps = gaps(buf.first_chunk()?) & (u64::MAX << (8 * from));
        Some(Self { buf, at: 0, gaps, from })
    }

    /// Where the next argument begins, or what stands behind the last one.
    #[inline]
    pub fn from(&self) -> usize {
        self.from
    }

    /// The next argument, which is not empty, and what it ends with.
    #[inline]
    pub fn any(&mut self) -> Option<(Span, u8)> {
        while self.gaps == 0 {
            self.at += 8;
            self.gaps = gaps(self.buf.get(self.at..)?.first_chunk()?);
        }
        let end = self.at + self.gaps.trailing_zeros() as usize / 8;
        self.gaps &= self.gaps - 1;
        let start = std::mem::replace(&mut self.from, end + 1);
        (start != end).then_some((Span { start, end }, *self.buf.get(end)?))
    }

    /// The next argument, if others follow.
    #[inline]
    fn inner(&mut self) -> Option<Span> {
        self.any().and_then(|(arg, gap)| (gap == b' ').then_some(arg))
    }

    /// The next argument, if no others follow.
    #[inline]
    fn last(&mut self) -> Option<Span> {
        self.any().and_then(|(arg, gap)| (gap == b'\r').then_some(arg))
    }
}

/// The uppermost bit of each byte that is a space or a control character, the first byte lowest.
#[inline]
fn gaps(bytes: &[u8; 8]) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const UPPER: u64 = 0x80 * EACH;
    let bytes = u64::from_le_bytes(*bytes);
    // No byte carries into the next.
    let above = ((bytes & !UPPER) + (0x7f - u64::from(b' ')) * EACH) | bytes;
    !above & UPPER
}
