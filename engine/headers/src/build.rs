//! Writing a header block.

use crate::{CRLF, VERSION};

/// A header block that is being written.
#[derive(Debug, Clone)]
pub struct HeaderBuf {
    block: Vec<u8>,
}

impl Default for HeaderBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl HeaderBuf {
    /// A block without a status.
    #[must_use]
    pub fn new() -> Self {
        Self::continuing(b"")
    }

    /// A block with a status of three digits; an empty `text` is left out.
    #[must_use]
    pub fn with_status(code: u16, text: &str) -> Self {
        let mut block = Vec::with_capacity(64);
        block.extend_from_slice(VERSION);
        block.push(b' ');
        block.extend_from_slice(itoa::Buffer::new().format(code).as_bytes());
        if !text.is_empty() {
            block.push(b' ');
            push_clean(&mut block, text.as_bytes());
        }
        block.extend_from_slice(CRLF);
        Self { block }
    }

    /// A block that begins with what another one holds; if that is empty, a new one.
    #[must_use]
    pub fn continuing(before: &[u8]) -> Self {
        let open = before
            .strip_suffix(b"\r\n\r\n")
            .or_else(|| before.strip_suffix(CRLF))
            .unwrap_or(before);
        let mut block = Vec::with_capacity(before.len() + 64);
        block.extend_from_slice(if open.is_empty() { VERSION } else { open });
        block.extend_from_slice(CRLF);
        Self { block }
    }

    /// Adds a header. CR and LF in name or value become spaces.
    #[must_use]
    pub fn add(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        push_clean(&mut self.block, name.as_ref());
        self.block.extend_from_slice(b": ");
        push_clean(&mut self.block, value.as_ref());
        self.block.extend_from_slice(CRLF);
        self
    }

    /// Adds a header whose value is a number.
    #[must_use]
    pub fn add_number(self, name: &str, value: u64) -> Self {
        self.add(name, itoa::Buffer::new().format(value))
    }

    /// The block with its empty line.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.block.extend_from_slice(CRLF);
        self.block
    }
}

/// A line break inside a name or a value would make new headers of it.
pub(crate) fn push_clean(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
}
