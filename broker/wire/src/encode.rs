//! What goes out, appended to a `Vec<u8>`: no formatting machinery, no allocation beyond the buffer's own growth.

use crate::connect::Connect;
use crate::info::Info;

/// Appends `n` in decimal.
pub fn number(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

fn length(out: &mut Vec<u8>, n: usize) {
    number(out, n as u64);
}

/// Appends the control line of a delivery, up to and including its CR LF. The body is queued behind it by the caller (so that
/// it need not be copied), and then CR LF once more.
///
/// With `headers_len` it is an `HMSG` whose first `headers_len` bytes are the header block, without it a `MSG`.
/// `total_len` is headers and body together.
pub fn msg_header(
    out: &mut Vec<u8>,
    subject: &[u8],
    sid: &[u8],
    reply: Option<&[u8]>,
    headers_len: Option<usize>,
    total_len: usize,
) {
    // 46: "HMSG ", five separators, two numbers of at most 20 digits each, less than that in truth.
    out.reserve(subject.len() + sid.len() + reply.map_or(0, <[u8]>::len) + 46);
    out.extend_from_slice(if headers_len.is_some() { b"HMSG " } else { b"MSG " });
    out.extend_from_slice(subject);
    out.push(b' ');
    out.extend_from_slice(sid);
    out.push(b' ');
    sizes(out, reply, headers_len, total_len);
}

/// The common end of MSG, HMSG, PUB and HPUB lines.
fn sizes(out: &mut Vec<u8>, reply: Option<&[u8]>, headers_len: Option<usize>, total_len: usize) {
    if let Some(reply) = reply {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
    if let Some(n) = headers_len {
        length(out, n);
        out.push(b' ');
    }
    length(out, total_len);
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole `MSG`.
pub fn msg(out: &mut Vec<u8>, subject: &[u8], sid: &[u8], reply: Option<&[u8]>, payload: &[u8]) {
    msg_header(out, subject, sid, reply, None, payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole `HMSG`.
pub fn hmsg(out: &mut Vec<u8>, subject: &[u8], sid: &[u8], reply: Option<&[u8]>, headers: &[u8], payload: &[u8]) {
    msg_header(
        out,
        subject,
        sid,
        reply,
        Some(headers.len()),
        headers.len() + payload.len(),
    );
    out.extend_from_slice(headers);
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole `PUB` (a client's side).
pub fn publish(out: &mut Vec<u8>, subject: &[u8], reply: Option<&[u8]>, payload: &[u8]) {
    out.reserve(subject.len() + reply.map_or(0, <[u8]>::len) + payload.len() + 32);
    out.extend_from_slice(b"PUB ");
    out.extend_from_slice(subject);
    out.push(b' ');
    sizes(out, reply, None, payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole `HPUB` (a client's side). `headers` is a block with its version line and its empty line.
pub fn publish_with_headers(out: &mut Vec<u8>, subject: &[u8], reply: Option<&[u8]>, headers: &[u8], payload: &[u8]) {
    out.extend_from_slice(b"HPUB ");
    out.extend_from_slice(subject);
    out.push(b' ');
    sizes(out, reply, Some(headers.len()), headers.len() + payload.len());
    out.extend_from_slice(headers);
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Appends `SUB` (a client's side).
pub fn sub(out: &mut Vec<u8>, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
    out.extend_from_slice(b"SUB ");
    out.extend_from_slice(subject);
    out.push(b' ');
    if let Some(queue) = queue {
        out.extend_from_slice(queue);
        out.push(b' ');
    }
    out.extend_from_slice(sid);
    out.extend_from_slice(b"\r\n");
}

/// Appends `UNSUB` (a client's side).
pub fn unsub(out: &mut Vec<u8>, sid: &[u8], max: Option<u32>) {
    out.extend_from_slice(b"UNSUB ");
    out.extend_from_slice(sid);
    if let Some(max) = max {
        out.push(b' ');
        number(out, u64::from(max));
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends `PING`.
pub fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PING\r\n");
}

/// Appends `PONG`.
pub fn pong(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PONG\r\n");
}

/// Appends `+OK`.
pub fn ok(out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK\r\n");
}

/// Appends `-ERR '<text>'`. A CR or LF in `text` becomes a space: a text that quotes the peer cannot break the framing.
pub fn err(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"-ERR '");
    out.extend(text.bytes().map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
    out.extend_from_slice(b"'\r\n");
}

/// Appends `INFO {json}`, with the blank that nats-server puts behind the JSON.
pub fn info(out: &mut Vec<u8>, info: &Info) {
    out.extend_from_slice(b"INFO ");
    out.extend_from_slice(&info.to_json());
    out.extend_from_slice(b" \r\n");
}

/// Appends `CONNECT {json}` (a client's side).
pub fn connect(out: &mut Vec<u8>, connect: &Connect) {
    out.extend_from_slice(b"CONNECT ");
    out.extend_from_slice(&connect.to_json());
    out.extend_from_slice(b"\r\n");
}
