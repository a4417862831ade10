//! What goes out over a link, appended to a `Vec<u8>`. Words must not be empty, nor hold blanks, CR or LF: what was [parsed](super::Parser)
//! or is a valid subject is not. An account is written on a [`Dialect::Route`], where there must be one, and left out elsewhere; so is, of a
//! leaf node's link, an origin.

use super::{Dialect, Head, MAX_WEIGHT, Sub, Unsub};
use crate::encode::number;
pub use crate::encode::{err, ok, ping, pong};

/// Appends `LS+` or `RS+`. A weight above [`MAX_WEIGHT`] is written as that.
pub fn sub(out: &mut Vec<u8>, dialect: Dialect, sub: &Sub<'_>) {
    out.extend_from_slice(begin(dialect, sub.origin, b"LS+", b"RS+"));
    whose(out, dialect, sub.origin, sub.account);
    word(out, sub.subject);
    if let Some(queue) = &sub.queue {
        word(out, queue.name);
        out.push(b' ');
        number(out, u64::from(queue.weight.min(MAX_WEIGHT)));
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends `LS-` or `RS-`.
pub fn unsub(out: &mut Vec<u8>, dialect: Dialect, unsub: &Unsub<'_>) {
    out.extend_from_slice(begin(dialect, unsub.origin, b"LS-", b"RS-"));
    whose(out, dialect, unsub.origin, unsub.account);
    word(out, unsub.subject);
    if let Some(queue) = unsub.queue {
        word(out, queue);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the control line of a message, up to and including its CR LF. Headers and body are appended behind it by the caller, and then CR
/// LF once more. `headers` is the size of the header block, 0 if there is none; `total` that of headers and body together, in bytes.
pub fn msg_head(out: &mut Vec<u8>, dialect: Dialect, head: &Head<'_>, headers: usize, total: usize) {
    let origin = head.origin.filter(|_| dialect != Dialect::Leaf);
    // What comes from a leaf node beyond always says how large its headers are.
    let verb: &[u8] = match headers > 0 && origin.is_none() {
        true => b"HMSG",
        false => begin(dialect, origin, b"LMSG", b"RMSG"),
    };
    out.extend_from_slice(verb);
    whose(out, dialect, origin, head.account);
    word(out, head.subject);
    let mut queues = head.queues.iter().peekable();
    match (head.reply, queues.peek()) {
        (None, None) => {}
        (Some(reply), None) => word(out, reply),
        (Some(reply), Some(_)) => {
            word(out, b"+");
            word(out, reply);
        }
        (None, Some(_)) => word(out, b"|"),
    }
    for queue in queues {
        word(out, queue);
    }
    if headers > 0 || origin.is_some() {
        out.push(b' ');
        number(out, headers as u64);
    }
    out.push(b' ');
    number(out, total as u64);
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole message; `headers` is a block with its version line and its empty line, or empty.
pub fn msg(out: &mut Vec<u8>, dialect: Dialect, head: &Head<'_>, headers: &[u8], payload: &[u8]) {
    msg_head(out, dialect, head, headers.len(), headers.len() + payload.len());
    out.extend_from_slice(headers);
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Appends `A+` (routes only).
pub fn account_sub(out: &mut Vec<u8>, account: &[u8]) {
    out.extend_from_slice(b"A+");
    word(out, account);
    out.extend_from_slice(b"\r\n");
}

/// Appends `A-` (routes only).
pub fn account_unsub(out: &mut Vec<u8>, account: &[u8]) {
    out.extend_from_slice(b"A-");
    word(out, account);
    out.extend_from_slice(b"\r\n");
}

/// Appends `INFO` with this JSON, which has no line ends, and the blank that nats-server puts behind it.
pub fn info(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(b"INFO ");
    out.extend_from_slice(json);
    out.extend_from_slice(b" \r\n");
}

/// Appends `CONNECT` with this JSON, which has no line ends.
pub fn connect(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(b"CONNECT ");
    out.extend_from_slice(json);
    out.extend_from_slice(b"\r\n");
}

/// The verb: that of leaf nodes also on a route, for what is of one beyond.
fn begin(dialect: Dialect, origin: Option<&[u8]>, of_leafs: &'static [u8], of_routes: &'static [u8]) -> &'static [u8] {
    match dialect == Dialect::Leaf || origin.is_some() {
        true => of_leafs,
        false => of_routes,
    }
}

/// What stands before the subject.
fn whose(out: &mut Vec<u8>, dialect: Dialect, origin: Option<&[u8]>, account: Option<&[u8]>) {
    if let Some(origin) = origin.filter(|_| dialect != Dialect::Leaf) {
        word(out, origin);
    }
    if let Some(account) = account.filter(|_| dialect.names_account()) {
        word(out, account);
    }
}

fn word(out: &mut Vec<u8>, word: &[u8]) {
    out.push(b' ');
    out.extend_from_slice(word);
}
