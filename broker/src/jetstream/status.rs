//! Header blocks of the server's own making.

use weir_wire::headers::HeaderBuf;

/// A block with a status line and headers.
pub(super) fn block(code: u16, text: &str, headers: &[(&str, &dyn std::fmt::Display)]) -> Vec<u8> {
    let begun = HeaderBuf::with_status(code, text);
    let all = headers.iter();
    all.fold(begun, |block, (name, value)| block.add(name, value.to_string()))
        .finish()
}

#[cfg(test)]
mod tests;
