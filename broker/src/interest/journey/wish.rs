//! What the headers of a message say of its journey.

use std::collections::BTreeMap;

use super::{DEST, DISABLED, Encoding};

/// The header of the W3C's trace contexts; its name in any case.
const PARENT: &[u8] = b"traceparent";
const ONLY: &str = "Nats-Trace-Only";
/// A header that nats-server had once.
const ORIGIN_ACCOUNT: &str = "Nats-Trace-Origin-Account";
const ACCEPT_ENCODING: &str = "Accept-Encoding";
/// How a block begins that is looked at: one with a status is not a client's.
const FIRST_LINE: &[u8] = b"NATS/1.0\r\n";

/// Whether a header block may ask for something: [`Wish::read`] knows. Asked for each message with headers, so it only looks at how the
/// lines begin.
#[inline]
pub(crate) fn is_wished(block: &[u8]) -> bool {
    let mut rest = block;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        rest = &rest[end + 1..];
        let begins = |name: &[u8]| {
            rest.get(..name.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(name))
                && rest.get(name.len()) == Some(&b':')
        };
        match rest.first() {
            Some(b'N') if rest.len() > DEST.len() && rest[5] == b'T' && begins(DEST.as_bytes()) => return true,
            Some(b't' | b'T') if begins(PARENT) => return true,
            _ => {}
        }
    }
    false
}

/// A wish to be told of a message's journey.
pub(crate) struct Wish {
    /// All headers of the message.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Where to tell it; `None`: where the account says, for the message is part of a trace that others follow.
    pub to: Option<String>,
    /// Nobody is to get the message.
    pub only: bool,
    pub encoding: Encoding,
    /// The message says in an old way whose it is, which ends its trace.
    pub origin: Option<String>,
}

impl Wish {
    /// What a header block asks for, as nats-server reads it.
    pub fn read(block: &[u8]) -> Option<Self> {
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let (mut to, mut sampled) = (None, false);
        for (name, value) in lines(block.strip_prefix(FIRST_LINE)?) {
            if name.is_empty() || value.is_empty() {
                continue;
            }
            if !sampled && name.eq_ignore_ascii_case(PARENT) {
                sampled = is_sampled(value);
            } else if to.is_none() && name == DEST.as_bytes() {
                if value == DISABLED.as_bytes() {
                    return None;
                }
                to = Some(text(value));
            }
            headers.entry(text(name)).or_default().push(text(value));
        }
        if to.is_none() && !sampled {
            return None;
        }
        let first = |name: &str| headers.get(name).and_then(|values| values.first());
        let only = to.is_some()
            && first(ONLY).is_some_and(|only| {
                let meant = ["1", "true", "on"];
                meant.iter().any(|word| only.eq_ignore_ascii_case(word))
            });
        let encoding = first(ACCEPT_ENCODING).map_or(Encoding::Plain, |accepted| encoding(accepted));
        let origin = first(ORIGIN_ACCOUNT).cloned();
        Some(Self {
            headers,
            to,
            only,
            encoding,
            origin,
        })
    }
}

fn encoding(accepted: &str) -> Encoding {
    let accepted = accepted.to_ascii_lowercase();
    match accepted {
        _ if accepted.contains("snappy") || accepted.contains("s2") => Encoding::Snappy,
        _ if accepted.contains("gzip") => Encoding::Gzip,
        _ => Encoding::Unknown,
    }
}

/// Whether the flags of a trace context (`version-trace-parent-flags`) say that it is sampled.
fn is_sampled(value: &[u8]) -> bool {
    let mut parts = value.split(|&byte| byte == b'-');
    let flags = parts.nth(3).filter(|_| parts.next().is_none());
    let flags = flags.filter(|flags| flags.len() == 2);
    let number = flags.and_then(|flags| i8::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok());
    number.is_some_and(|number| number & 1 == 1)
}

/// Names and values, without the blanks around these. A name may be anything, also across a line's end: as nats-server cuts them.
fn lines(mut rest: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let colon = rest.iter().position(|&byte| byte == b':')?;
        let (name, behind) = (&rest[..colon], &rest[colon + 1..]);
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let value = &behind[behind.iter().take_while(|byte| is_blank(byte)).count()..];
        let end = value.windows(2).position(|pair| pair == b"\r\n")?;
        rest = &value[end + 2..];
        let value = &value[..end];
        let blanks = value.iter().rev().take_while(|byte| is_blank(byte)).count();
        Some((name, &value[..value.len() - blanks]))
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
