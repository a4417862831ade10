//! The server-to-client half of the NATS protocol, parsed in place.
//!
//! This is deliberately not the server's own parser: a bug must not be able to hide by being on
//! both ends of the wire.

use crate::error::{LoadError, Result};

/// A control line longer than this is not NATS. INFO is the longest; servers send a few KiB.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Largest header plus payload that is accepted, in bytes.
pub const MAX_BODY_BYTES: usize = 64 << 20;

/// A delivered message; all parts borrow from the receive buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Msg<'a> {
    /// Subject it was published on.
    pub subject: &'a [u8],
    /// Our subscription id.
    pub sid: u64,
    /// Reply subject, empty when there is none.
    pub reply: &'a [u8],
    /// Header block with its `NATS/1.0` line, empty when there is none.
    pub header: &'a [u8],
    /// The body.
    pub payload: &'a [u8],
}

impl Msg<'_> {
    /// The status code of a header block such as `NATS/1.0 503`, when it has one.
    pub fn status(&self) -> Option<u16> {
        let rest = self.header.strip_prefix(b"NATS/1.0 ")?;
        let code = rest.get(..3)?;
        decimal(code).and_then(|n| u16::try_from(n).ok())
    }
}

/// One protocol element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// `MSG` or `HMSG`.
    Msg(Msg<'a>),
    /// The server wants a `PONG`.
    Ping,
    /// Answer to our `PING`.
    Pong,
    /// `+OK`, in verbose mode only.
    Ok,
    /// `-ERR`, with its text.
    Err(&'a [u8]),
    /// `INFO`, with its JSON.
    Info(&'a [u8]),
}

/// Parses one frame at the start of `bytes`: the frame and its length, or `None` when it is not
/// complete yet.
///
/// # Errors
/// [`LoadError::Protocol`] when it can never become a frame.
pub fn parse(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>> {
    let Some(newline) = memchr::memchr(b'\n', bytes) else {
        if bytes.len() > MAX_LINE_BYTES {
            return Err(LoadError::Protocol("control line without end".into()));
        }
        return Ok(None);
    };
    let line = bytes[..newline].strip_suffix(b"\r").unwrap_or(&bytes[..newline]);
    let after = newline + 1;
    if let Some(args) = line.strip_prefix(b"MSG ") {
        return message(args, &bytes[after..], after, false);
    }
    if let Some(args) = line.strip_prefix(b"HMSG ") {
        return message(args, &bytes[after..], after, true);
    }
    let frame = match line {
        b"PING" => Frame::Ping,
        b"PONG" => Frame::Pong,
        b"+OK" => Frame::Ok,
        _ => {
            if let Some(text) = line.strip_prefix(b"-ERR ") {
                Frame::Err(text)
            } else if let Some(json) = line.strip_prefix(b"INFO ") {
                Frame::Info(json)
            } else {
                return Err(unknown(line));
            }
        }
    };
    Ok(Some((frame, after)))
}

/// `args` is what follows `MSG ` or `HMSG `, `rest` what follows the line, `line` its length.
fn message<'a>(args: &'a [u8], rest: &'a [u8], line: usize, headers: bool) -> Result<Option<(Frame<'a>, usize)>> {
    let mut tokens: [&[u8]; 5] = [b""; 5];
    let mut count = 0;
    for token in args.split(|&b| b == b' ').filter(|t| !t.is_empty()) {
        if count == tokens.len() {
            return Err(unknown(args));
        }
        tokens[count] = token;
        count += 1;
    }
    let lengths = if headers { 2 } else { 1 };
    let has_reply = match count.checked_sub(2 + lengths) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(unknown(args)),
    };
    let sid = decimal(tokens[1]).ok_or_else(|| unknown(args))?;
    let reply = if has_reply { tokens[2] } else { b"" };
    let total = length(tokens[count - 1], args)?;
    let header_len = if headers { length(tokens[count - 2], args)? } else { 0 };
    if header_len > total {
        return Err(unknown(args));
    }
    if rest.len() < total + 2 {
        return Ok(None);
    }
    if &rest[total..total + 2] != b"\r\n" {
        return Err(LoadError::Protocol("payload does not end with CR LF".into()));
    }
    let msg = Msg {
        subject: tokens[0],
        sid,
        reply,
        header: &rest[..header_len],
        payload: &rest[header_len..total],
    };
    Ok(Some((Frame::Msg(msg), line + total + 2)))
}

fn length(token: &[u8], line: &[u8]) -> Result<usize> {
    decimal(token)
        .and_then(|n| usize::try_from(n).ok())
        .filter(|&n| n <= MAX_BODY_BYTES)
        .ok_or_else(|| unknown(line))
}

fn unknown(line: &[u8]) -> LoadError {
    let shown = &line[..line.len().min(120)];
    LoadError::Protocol(format!("not understood: {:?}", String::from_utf8_lossy(shown)))
}

/// A plain decimal number; `None` when it is empty, not only digits, or above `u64`.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, &b| {
        if !b.is_ascii_digit() {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(b - b'0'))
    })
}

#[cfg(test)]
mod tests;
