//! The NATS header block: `NATS/1.0[ status[ text]]`, lines of `Name: value`, an empty line.
//!
//! Reading is as lenient as nats-server's: nothing is checked when a block arrives, a name is found only in the case it was
//! written in, and of several equal names the first counts.

use memchr::memmem;

/// The version line every block begins with.
pub const VERSION: &[u8] = b"NATS/1.0";

const CRLF: &[u8] = b"\r\n";

/// A header block as it came, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderView<'a> {
    block: &'a [u8],
}

/// The status a server puts in the version line: `503`, `404 No Messages`, `100 FlowControl Request`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'a> {
    /// The number.
    pub code: u16,
    /// The text behind it, possibly empty.
    pub text: &'a [u8],
}

impl<'a> HeaderView<'a> {
    /// Looks at `block`. Never fails: a block that is damaged has no headers from the damage on.
    #[must_use]
    pub fn parse(block: &'a [u8]) -> Self {
        Self { block }
    }

    /// The bytes of the block.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.block
    }

    /// The first value of `name`, spaces in front of it skipped. The name must be written exactly so; a value that is there
    /// and empty is `Some(b"")`.
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&'a [u8]> {
        find(self.block, name.as_ref()).map(|line| &self.block[line.value..line.end])
    }

    /// Every header in the order of the block, equal names included. Lines without a colon are skipped.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        lines(self.block).filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], skip_spaces(&line[colon + 1..])))
        })
    }

    /// The status in the version line, if there is one of three digits.
    #[must_use]
    pub fn status(&self) -> Option<Status<'a>> {
        let end = memmem::find(self.block, CRLF).unwrap_or(self.block.len());
        let rest = self.block[..end].strip_prefix(VERSION)?.strip_prefix(b" ")?;
        let (digits, text) = rest.split_at_checked(3)?;
        if !digits.iter().all(u8::is_ascii_digit) || text.first().is_some_and(|&b| b != b' ') {
            return None;
        }
        let code = digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
        Some(Status {
            code,
            text: skip_spaces(text),
        })
    }
}

/// Where one header stands in its block: `start..next` with its CR LF, the value in `value..end`.
struct Line {
    start: usize,
    value: usize,
    end: usize,
    next: usize,
}

fn skip_spaces(bytes: &[u8]) -> &[u8] {
    let spaces = bytes.iter().take_while(|&&b| b == b' ').count();
    &bytes[spaces..]
}

/// The lines behind the version line, without their CR LF; ends at the empty line or at the end of the bytes.
fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = memmem::find(block, CRLF).map(|n| &block[n + 2..]).unwrap_or_default();
    std::iter::from_fn(move || {
        let end = memmem::find(rest, CRLF).unwrap_or(rest.len());
        if end == 0 {
            return None;
        }
        let line = &rest[..end];
        rest = rest.get(end + 2..).unwrap_or_default();
        Some(line)
    })
}

/// The first line that begins with `name` and a colon.
fn find(block: &[u8], name: &[u8]) -> Option<Line> {
    let mut from = 0;
    while let Some(n) = memmem::find(block.get(from..)?, name) {
        let start = from + n;
        let colon = start + name.len();
        if start >= 2 && &block[start - 2..start] == CRLF && block.get(colon) == Some(&b':') {
            let value = block.len() - skip_spaces(&block[colon + 1..]).len();
            let end = memmem::find(&block[value..], CRLF).map_or(block.len(), |n| value + n);
            return Some(Line {
                start,
                value,
                end,
                next: (end + 2).min(block.len()),
            });
        }
        from = start + 1;
    }
    None
}

/// `block` without any header called `name`. Empty if no header is left (so that the message goes on without a block),
/// unless the version line carries a status.
#[must_use]
pub fn remove(block: &[u8], name: impl AsRef<[u8]>) -> Vec<u8> {
    let name = name.as_ref();
    retain(block, |line| {
        line.strip_prefix(name).is_none_or(|rest| rest.first() != Some(&b':'))
    })
}

/// `block` without any header whose name begins with `prefix`; otherwise as [`remove`].
#[must_use]
pub fn remove_prefix(block: &[u8], prefix: impl AsRef<[u8]>) -> Vec<u8> {
    retain(block, |line| !line.starts_with(prefix.as_ref()))
}

fn retain(block: &[u8], keep: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let version = memmem::find(block, CRLF).map_or(block, |n| &block[..n]);
    let mut out = Vec::with_capacity(block.len());
    out.extend_from_slice(version);
    out.extend_from_slice(CRLF);
    let mut any = version.len() > VERSION.len();
    for line in lines(block).filter(|line| keep(line)) {
        out.extend_from_slice(line);
        out.extend_from_slice(CRLF);
        any = true;
    }
    if !any {
        return Vec::new();
    }
    out.extend_from_slice(CRLF);
    out
}

/// `block` with one more header at its end; an empty `block` becomes a new one. CR and LF in name or value become spaces.
#[must_use]
pub fn insert(block: &[u8], name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let (name, value) = (name.as_ref(), value.as_ref());
    let body = block
        .strip_suffix(b"\r\n\r\n")
        .or_else(|| block.strip_suffix(CRLF))
        .unwrap_or(block);
    let mut out = Vec::with_capacity(block.len().max(VERSION.len() + 4) + name.len() + value.len() + 4);
    out.extend_from_slice(if body.is_empty() { VERSION } else { body });
    out.extend_from_slice(CRLF);
    push_line(&mut out, name, value);
    out.extend_from_slice(CRLF);
    out
}

/// `block` with `name` set to `value`: in place of its first value, else at the end.
#[must_use]
pub fn set(block: &[u8], name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let Some(line) = find(block, name.as_ref()) else {
        return insert(block, name, value);
    };
    let mut out = Vec::with_capacity(block.len() + value.as_ref().len());
    out.extend_from_slice(&block[..line.start]);
    push_line(&mut out, name.as_ref(), value.as_ref());
    out.extend_from_slice(&block[line.next..]);
    out
}

fn push_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    push_clean(out, name);
    out.extend_from_slice(b": ");
    push_clean(out, value);
    out.extend_from_slice(CRLF);
}

/// A line break inside a name or a value would make new headers of it.
fn push_clean(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
}

/// Writes a header block.
///
/// ```
/// use weir_wire::{HeaderBuf, HeaderView};
///
/// let block = HeaderBuf::with_status(404, "No Messages").add("Nats-Subject", "a.b").finish();
/// assert_eq!(block, b"NATS/1.0 404 No Messages\r\nNats-Subject: a.b\r\n\r\n");
/// assert_eq!(HeaderView::parse(&block).get("Nats-Subject"), Some(&b"a.b"[..]));
/// ```
#[derive(Debug, Clone)]
pub struct HeaderBuf {
    block: Vec<u8>,
}

impl Default for HeaderBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl HeaderBuf {
    /// A block without a status.
    #[must_use]
    pub fn new() -> Self {
        let mut block = Vec::with_capacity(64);
        block.extend_from_slice(VERSION);
        block.extend_from_slice(CRLF);
        Self { block }
    }

    /// A block with a status of three digits; an empty `text` is left out.
    #[must_use]
    pub fn with_status(code: u16, text: &str) -> Self {
        let mut block = Vec::with_capacity(64);
        block.extend_from_slice(VERSION);
        block.push(b' ');
        crate::encode::number(&mut block, u64::from(code));
        if !text.is_empty() {
            block.push(b' ');
            push_clean(&mut block, text.as_bytes());
        }
        block.extend_from_slice(CRLF);
        Self { block }
    }

    /// Adds a header. CR and LF in name or value become spaces.
    #[must_use]
    pub fn add(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        push_line(&mut self.block, name.as_ref(), value.as_ref());
        self
    }

    /// The block with its empty line.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.block.extend_from_slice(CRLF);
        self.block
    }
}
