//! Reading a NATS header block: `NATS/1.0`, then `Name: value` lines, then an empty line.

/// The first value of a header, white space around it removed; names are compared exactly, as nats-server does.
pub fn get<'a>(block: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = block;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        if let Some(value) = line
            .strip_prefix(name.as_bytes())
            .and_then(|after| after.strip_prefix(b":"))
        {
            return Some(value.trim_ascii());
        }
    }
    None
}

/// [`get`], as text; `None` also when it is not UTF-8.
pub fn get_str<'a>(block: &'a [u8], name: &str) -> Option<&'a str> {
    get(block, name).and_then(|value| std::str::from_utf8(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_exact_names_only() {
        let block = b"NATS/1.0\r\nNats-Msg-Id: a b \r\nnats-msg-id: c\r\nX:1\r\n\r\n";
        assert_eq!(get(block, "Nats-Msg-Id"), Some(&b"a b"[..]));
        assert_eq!(get_str(block, "X"), Some("1"));
        assert_eq!(get(block, "Nats-Msg"), None);
        assert_eq!(get(b"", "X"), None);
    }
}
