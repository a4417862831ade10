//! Names from clients in texts for them and in the log, as Go's `%q` writes them.

use std::fmt::Write as _;

/// `bytes` in quotes, with whatever is not to be printed escaped.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            escape(c, &mut out);
        }
        for byte in chunk.invalid() {
            // A string takes whatever is written to it.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

fn escape(c: char, out: &mut String) {
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        // A string takes whatever is written to it.
        c if c.is_ascii_control() => drop(write!(out, "\\x{:02x}", u32::from(c))),
        // What Rust escapes of the others is not printable, as for Go, or only marks of its own.
        c if !c.is_ascii() && c.escape_debug().len() > 1 => match u32::from(c) {
            code @ ..=0xffff => drop(write!(out, "\\u{code:04x}")),
            code => drop(write!(out, "\\U{code:08x}")),
        },
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn as_go_quotes() {
        assert_eq!(quoted(b"a.b"), r#""a.b""#);
        assert_eq!(quoted(br#"a"b\c'd"#), r#""a\"b\\c'd""#);
        assert_eq!(
            quoted("ä\u{1}\u{7f}\u{200b}\u{e0001}".as_bytes()),
            r#""ä\x01\x7f\u200b\U000e0001""#
        );
        assert_eq!(quoted(b"\xff\n\xc3"), r#""\xff\n\xc3""#);
    }
}
