//! Pieces of a control line: where it ends, which verb it starts with, its arguments, its numbers.

use crate::error::{ParseError, Verb};

/// A range of bytes counted from the first byte of the operation. It stays right while the buffer grows or moves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    /// The bytes, or nothing if a caller broke the promise that the buffer only grows.
    #[inline]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start..self.end).unwrap_or_default()
    }
}

/// Blanks allowed in front of the first argument beyond the longest line, so that they need not be counted one by one.
const BLANKS_MAX: usize = 64;

/// A line whose arguments are longer than they may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Looks for where control lines end, however their bytes come.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    /// Bytes of arguments that a line may have.
    pub max: usize,
    /// Bytes of the unfinished line that hold no LF.
    scanned: usize,
}

impl Lines {
    pub fn new(max: usize) -> Self {
        Self { max, scanned: 0 }
    }

    /// Whether nothing of an unfinished line was looked at.
    #[inline]
    pub fn is_at_start(&self) -> bool {
        self.scanned == 0
    }

    /// Where the arguments of the line at the start of `buf` are, behind a verb of `name_len` bytes, and where the line ends, if it
    /// has ended. Called again with more bytes, it looks at those alone.
    ///
    /// As in nats-server, the first byte that is no blank is an argument's, if the verb has any, be it a CR or an LF, and any CR behind it has
    /// the last byte before the LF left out.
    #[inline]
    pub fn find(&mut self, buf: &[u8], name_len: usize, has_arguments: bool) -> Result<Option<(Span, usize)>, TooLong> {
        let longest = self.max.saturating_add(name_len + BLANKS_MAX + 2);
        let until = buf.len().min(longest);
        let arg_start = skip_blanks(&buf[..until], name_len.min(until));
        let behind = if has_arguments { arg_start + 1 } else { name_len };
        let from = self.scanned.max(behind).min(until);
        match memchr::memchr(b'\n', &buf[from..until]) {
            Some(n) => {
                self.scanned = 0;
                let lf = from + n;
                let cut = lf > behind && (buf[lf - 1] == b'\r' || memchr::memchr(b'\r', &buf[behind..lf]).is_some());
                let arg = Span {
                    start: arg_start.min(lf),
                    end: lf - usize::from(cut),
                };
                if arg.end.saturating_sub(arg.start) > self.max {
                    return Err(TooLong);
                }
                Ok(Some((arg, lf + 1)))
            }
            // One byte beyond the limit may still be the CR of the line's end.
            None if until == longest || until - arg_start > self.max.saturating_add(1) => Err(TooLong),
            None => {
                self.scanned = until;
                Ok(None)
            }
        }
    }
}

/// The verb at the start of `buf` and its length. `None`: what is there so far may become a verb.
pub(crate) fn verb(buf: &[u8], client_side: bool) -> Result<Option<(Verb, usize)>, ParseError> {
    let second = buf.get(1).copied();
    let (name, verb): (&[u8], Verb) = match (buf.first().copied(), second) {
        (Some(b'P' | b'p'), Some(b'U' | b'u')) if !client_side => (b"PUB", Verb::Pub),
        (Some(b'H' | b'h'), Some(b'P' | b'p')) if !client_side => (b"HPUB", Verb::Hpub),
        (Some(b'S' | b's'), _) if !client_side => (b"SUB", Verb::Sub),
        (Some(b'U' | b'u'), _) if !client_side => (b"UNSUB", Verb::Unsub),
        (Some(b'C' | b'c'), _) if !client_side => (b"CONNECT", Verb::Connect),
        (Some(b'M' | b'm'), _) if client_side => (b"MSG", Verb::Msg),
        (Some(b'H' | b'h'), Some(b'M' | b'm')) if client_side => (b"HMSG", Verb::Hmsg),
        (Some(b'P' | b'p'), Some(b'I' | b'i')) => (b"PING", Verb::Ping),
        (Some(b'P' | b'p'), Some(b'O' | b'o')) => (b"PONG", Verb::Pong),
        (Some(b'I' | b'i'), _) => (b"INFO", Verb::Info),
        (Some(b'+'), _) => (b"+OK", Verb::Ok),
        (Some(b'-'), _) => (b"-ERR", Verb::Err),
        (None, _) | (Some(b'P' | b'p' | b'H' | b'h'), None) => return Ok(None),
        _ => return Err(ParseError::UnknownOperation),
    };
    let seen = buf.len().min(name.len());
    if !buf[..seen].eq_ignore_ascii_case(&name[..seen]) {
        return Err(ParseError::UnknownOperation);
    }
    Ok((seen == name.len()).then_some((verb, name.len())))
}

/// Whether nats-server insists on a blank behind the verb: `CONNECT{}` and `PINGs` are fine, `PUBx` is not.
pub(crate) fn needs_blank(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Pub | Verb::Hpub | Verb::Sub | Verb::Unsub | Verb::Msg | Verb::Hmsg | Verb::Err
    )
}

/// Whether something stands behind the verb that is looked at.
pub(crate) fn has_arguments(verb: Verb) -> bool {
    !matches!(verb, Verb::Ping | Verb::Pong | Verb::Ok)
}

pub(crate) fn is_blank(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// Index of the first byte of `buf` from `at` on that is not a space or a tab.
pub(crate) fn skip_blanks(buf: &[u8], at: usize) -> usize {
    buf[at..]
        .iter()
        .position(|&b| !is_blank(b))
        .map_or(buf.len(), |n| at + n)
}

/// Whether a byte ends an argument of interest, and of whatever servers say to each other. Those of a client's messages it does not: see
/// [`is_blank`].
pub(crate) fn is_gap(b: u8) -> bool {
    is_blank(b) || b == b'\r' || b == b'\n'
}

/// Splits `buf[arg]` at bytes of some kind into at most `N` spans. Returns how many there are; more than `N` gives `N + 1`.
#[inline]
pub(crate) fn split<const N: usize>(buf: &[u8], arg: Span, is_between: impl Fn(u8) -> bool) -> ([Span; N], usize) {
    let mut spans = [Span::default(); N];
    let mut count = 0;
    let mut start = None;
    for (i, &b) in arg.of(buf).iter().enumerate() {
        let at = arg.start + i;
        if is_between(b) {
            if let Some(from) = start.take() {
                let Some(slot) = spans.get_mut(count) else {
                    return (spans, N + 1);
                };
                *slot = Span { start: from, end: at };
                count += 1;
            }
        } else if start.is_none() {
            start = Some(at);
        }
    }
    if let Some(from) = start {
        let Some(slot) = spans.get_mut(count) else {
            return (spans, N + 1);
        };
        *slot = Span {
            start: from,
            end: arg.end,
        };
        count += 1;
    }
    (spans, count)
}

/// The last argument in `buf[arg]`, and what stands before it. `None`: there is none.
pub(crate) fn last(buf: &[u8], arg: Span) -> Option<(Span, Span)> {
    let bytes = arg.of(buf);
    let end = bytes.iter().rposition(|&byte| !is_gap(byte))? + 1;
    let start = bytes[..end]
        .iter()
        .rposition(|&byte| is_gap(byte))
        .map_or(0, |at| at + 1);
    let word = Span {
        start: arg.start + start,
        end: arg.start + end,
    };
    let before = Span {
        start: arg.start,
        end: word.start,
    };
    Some((word, before))
}

/// The arguments of a line, as many as there are.
pub(crate) fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| is_gap(byte)).filter(|word| !word.is_empty())
}

/// A size as nats-server reads it: one to nine decimal digits and nothing else (so it is below 10^9 and cannot overflow).
#[inline]
pub(crate) fn size(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let mut n = 0;
    for &d in digits {
        if !d.is_ascii_digit() {
            return None;
        }
        n = n * 10 + usize::from(d - b'0');
    }
    Some(n)
}
