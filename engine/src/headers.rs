//! Reading a NATS header block: `NATS/1.0`, then `Name: value` lines, then an empty line.

/// The first value of a header, without the spaces before it; names are compared exactly. Both as nats-server does.
pub fn get<'a>(block: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = block;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        if let Some(value) = line
            .strip_prefix(name.as_bytes())
            .and_then(|after| after.strip_prefix(b":"))
        {
            return Some(after_spaces(value));
        }
    }
    None
}

/// [`get`], as text; `None` also when it is not UTF-8.
pub fn get_str<'a>(block: &'a [u8], name: &str) -> Option<&'a str> {
    get(block, name).and_then(|value| std::str::from_utf8(value).ok())
}

/// The block with a header added at its end; a new block if it is empty.
pub fn with(block: &[u8], name: &str, value: &str) -> Vec<u8> {
    let kept = match block.len() {
        0 => &b"NATS/1.0\r\n"[..],
        len => &block[..len.saturating_sub(2)],
    };
    let mut out = Vec::with_capacity(kept.len() + name.len() + value.len() + 6);
    out.extend_from_slice(kept);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out
}

/// The block with a header's first value replaced where it stands, or added if it is not there.
pub fn set(block: &[u8], name: &str, value: &str) -> Vec<u8> {
    let Some(old) = get(block, name) else {
        return with(block, name, value);
    };
    // `old` is a part of the block: that is where its value stands.
    let at = old.as_ptr() as usize - block.as_ptr() as usize;
    [&block[..at], value.as_bytes(), &block[at + old.len()..]].concat()
}

/// The block without the headers of that name; empty if no other is left.
pub fn without(block: &[u8], name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len());
    for line in block.split_inclusive(|&byte| byte == b'\n') {
        let named = line
            .strip_prefix(name.as_bytes())
            .is_some_and(|after| after.starts_with(b":"));
        if !named {
            out.extend_from_slice(line);
        }
    }
    match out.strip_prefix(b"NATS/1.0\r\n") {
        Some(b"\r\n") => Vec::new(),
        _ => out,
    }
}

/// The headers of a block, in order, without the spaces before their values.
pub fn each(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    block.split(|&byte| byte == b'\n').skip(1).filter_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|&byte| byte == b':')?;
        Some((&line[..colon], after_spaces(&line[colon + 1..])))
    })
}

fn after_spaces(value: &[u8]) -> &[u8] {
    let spaces = value.iter().take_while(|&&byte| byte == b' ').count();
    &value[spaces..]
}

#[cfg(test)]
mod tests;
