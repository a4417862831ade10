//! The NATS header block: `NATS/1.0[ status[ text]]`, lines of `Name: value`, an empty line.
//!
//! Reading is as lenient as nats-server's: nothing is checked when a block arrives, a name is found only in the case it was
//! written in, and of several equal names the first counts. A block that is damaged has no headers from the damage on.
//!
//! ```
//! use weir_headers::{HeaderBuf, get, insert};
//!
//! let block = HeaderBuf::with_status(404, "No Messages").add("Nats-Subject", "a.b").finish();
//! assert_eq!(block, b"NATS/1.0 404 No Messages\r\nNats-Subject: a.b\r\n\r\n");
//! assert_eq!(get(&block, "Nats-Subject"), Some(&b"a.b"[..]));
//! assert_eq!(insert(b"", "A", "1"), b"NATS/1.0\r\nA: 1\r\n\r\n");
//! ```

#![forbid(unsafe_code)]

mod build;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use memchr::memmem;

pub use build::HeaderBuf;

/// The version line every block begins with.
pub const VERSION: &[u8] = b"NATS/1.0";

/// A block without any header.
pub const EMPTY: &[u8] = b"NATS/1.0\r\n\r\n";

const CRLF: &[u8] = b"\r\n";

/// The first value of a header, spaces in front of it skipped. The name must be written exactly so; a value that is there
/// and empty is `Some(b"")`.
#[must_use]
pub fn get(block: &[u8], name: impl AsRef<[u8]>) -> Option<&[u8]> {
    find(block, name.as_ref()).map(|line| &block[line.value..line.end])
}

/// [`get`], as text; `None` also when it is not UTF-8.
#[must_use]
pub fn get_str(block: &[u8], name: impl AsRef<[u8]>) -> Option<&str> {
    get(block, name).and_then(|value| std::str::from_utf8(value).ok())
}

/// Every header in the order of the block, equal names included, without the spaces in front of their values. Lines without
/// a colon are skipped.
pub fn each(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(block).filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], skip_spaces(&line[colon + 1..])))
    })
}

/// The block with one more header at its end; an empty block becomes a new one. CR and LF in name or value become spaces.
#[must_use]
pub fn insert(block: &[u8], name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    HeaderBuf::continuing(block).add(name, value).finish()
}

/// The block with a header's first value replaced where it stands, or added at the end if it is not there. CR and LF in the
/// value become spaces.
#[must_use]
pub fn set(block: &[u8], name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let name = name.as_ref();
    let Some(line) = find(block, name) else {
        return insert(block, name, value);
    };
    // As nats-server: one space in front of the value stays, where there is one.
    let colon = line.start + name.len() + 1;
    let kept = (colon + 1).min(line.value);
    let mut out = Vec::with_capacity(block.len() + value.as_ref().len());
    out.extend_from_slice(&block[..kept]);
    build::push_clean(&mut out, value.as_ref());
    out.extend_from_slice(&block[line.end..]);
    out
}

/// The block without any header of that name. Empty if no other is left (so that the message goes on without a block),
/// unless the version line carries a status.
#[must_use]
pub fn remove(block: &[u8], name: impl AsRef<[u8]>) -> Vec<u8> {
    retain(block, |header| !is_named(header, name.as_ref())).into_owned()
}

/// Whether a header, as [`retain`] shows it, has that name.
#[must_use]
pub fn is_named(header: &[u8], name: impl AsRef<[u8]>) -> bool {
    header
        .strip_prefix(name.as_ref())
        .is_some_and(|rest| rest.first() == Some(&b':'))
}

/// The block with those headers only that `keep` says; it is shown each as `Name: value`, without its end of line. The block
/// as it is, if all are kept; otherwise as [`remove`].
pub fn retain(block: &[u8], keep: impl Fn(&[u8]) -> bool) -> Cow<'_, [u8]> {
    if lines(block).all(&keep) {
        return Cow::Borrowed(block);
    }
    let version = memmem::find(block, CRLF).map_or(block, |end| &block[..end]);
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
        return Cow::Borrowed(b"");
    }
    out.extend_from_slice(CRLF);
    Cow::Owned(out)
}

/// The block without anything that some reader may take for a header of one of these names: also in other letters, with spaces around the
/// name, behind a CR or an LF alone, in the version line, or behind the empty line, where what is added would be read by nobody. The block
/// as it is, if there is nothing of the kind; otherwise as [`remove`].
#[must_use]
pub fn scrub<'b>(block: &'b [u8], names: &[&str]) -> Cow<'b, [u8]> {
    let passes = |part: &[u8]| {
        memchr::memchr(b':', part).is_some_and(|colon| {
            let name = part[..colon].trim_ascii();
            names.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
        })
    };
    let has_any = |text: &[u8]| text.split(|byte| matches!(byte, b'\r' | b'\n')).any(passes);
    let ends_early = || memmem::find(block, b"\r\n\r\n").is_some_and(|end| end + 4 < block.len());
    if !has_any(block) && !ends_early() {
        return Cow::Borrowed(block);
    }
    let version = memmem::find(block, CRLF).map_or(block, |end| &block[..end]);
    let version = if has_any(version) { VERSION } else { version };
    let kept: Vec<&[u8]> = lines(block).filter(|line| !has_any(line)).collect();
    if kept.is_empty() && version.len() <= VERSION.len() {
        return Cow::Borrowed(b"");
    }
    let mut out = Vec::with_capacity(block.len());
    for line in std::iter::once(version).chain(kept).chain([&b""[..]]) {
        out.extend_from_slice(line);
        out.extend_from_slice(CRLF);
    }
    Cow::Owned(out)
}

/// Where one header stands in its block: from `start`, the value in `value..end`.
struct Line {
    start: usize,
    value: usize,
    end: usize,
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
            return Some(Line { start, value, end });
        }
        from = start + 1;
    }
    None
}
