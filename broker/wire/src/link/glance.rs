//! Lines of messages as servers write them, read at a glance: the verb in capitals, one space between arguments. Whatever is otherwise, or
//! wrong, is left to those who look at each byte.

use super::Dialect;
use super::message::Announced;
use crate::glance::Args;
use crate::line::{self, Span};

/// What the line at the start of `buf` announces, if it is all there and can be read so. The message may still be to come.
#[inline]
pub(super) fn announced(buf: &[u8], dialect: Dialect, max_line: usize, max_payload: usize) -> Option<Announced> {
    let has_headers = match (buf, dialect) {
        ([b'H', b'M', b'S', b'G', b' ', ..], _) => true,
        ([b'L', b'M', b'S', b'G', b' ', ..], Dialect::Leaf) => false,
        ([b'R', b'M', b'S', b'G', b' ', ..], Dialect::Route | Dialect::PinnedRoute) => false,
        _ => return None,
    };
    let mut args = Args::new(buf, 5)?;
    let start = args.from();
    // The first ones, and the last two.
    let mut words = [Span::default(); 4];
    let mut ends = [Span::default(); 2];
    let mut count = 0;
    loop {
        let (word, gap) = args.any()?;
        if let Some(place) = words.get_mut(count) {
            *place = word;
        }
        count += 1;
        ends = [ends[1], word];
        match gap {
            b' ' => {}
            b'\r' if buf.get(args.from()) == Some(&b'\n') => break,
            _ => return None,
        }
    }
    let [before, last] = ends;
    if last.end - start > max_line {
        return None;
    }
    let account = dialect.names_account().then_some(words[0]);
    let subject = usize::from(account.is_some());
    let (headers, sizes) = match has_headers {
        false => (0, last),
        true => (line::size(before.of(buf))?, before),
    };
    let total = line::size(last.of(buf))?;
    if headers > total || total > max_payload {
        return None;
    }
    let others = count.checked_sub(subject + 2 + usize::from(has_headers))?;
    let (reply, queues) = match others {
        0 => (None, Span::default()),
        1 => (Some(words[subject + 1]), Span::default()),
        _ => {
            let (reply, behind) = match words[subject + 1].of(buf) {
                b"+" => (Some(words[subject + 2]), words[subject + 2]),
                b"|" => (None, words[subject + 1]),
                _ => return None,
            };
            let queues = Span {
                start: behind.end,
                end: sizes.start,
            };
            (reply, queues)
        }
    };
    Some(Announced {
        origin: None,
        account,
        subject: words[subject],
        reply,
        queues,
        headers,
        total,
        body: args.from() + 1,
    })
}
