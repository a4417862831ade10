//! Header blocks of the server's own making.

use std::io::Write;

/// A block with a status line and headers.
pub(super) fn block(code: u16, text: &str, headers: &[(&str, &dyn std::fmt::Display)]) -> Vec<u8> {
    let mut block = Vec::with_capacity(64);
    // Writing to a Vec does not fail.
    let _ = write!(block, "NATS/1.0 {code} {text}\r\n");
    for (name, value) in headers {
        let _ = write!(block, "{name}: {value}\r\n");
    }
    block.extend_from_slice(b"\r\n");
    block
}

/// A block, perhaps empty, with one more header at its end.
pub(super) fn with_header(block: &[u8], name: &str, value: impl std::fmt::Display) -> Vec<u8> {
    let mut out = match block.strip_suffix(b"\r\n") {
        Some(open) => open.to_vec(),
        None => b"NATS/1.0\r\n".to_vec(),
    };
    // Writing to a Vec does not fail.
    let _ = write!(out, "{name}: {value}\r\n\r\n");
    out
}

#[cfg(test)]
mod tests;
