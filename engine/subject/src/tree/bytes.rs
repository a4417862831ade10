//! A byte string in 24 bytes: up to 22 of them in place, more in a box of exactly their length.

/// How many bytes need no allocation.
pub(super) const INLINE: usize = 22;

pub(super) enum ShortBytes {
    Inline { len: u8, bytes: [u8; INLINE] },
    Boxed(Box<[u8]>),
}

impl ShortBytes {
    /// All of `parts`, one behind the other.
    pub(super) fn concat(parts: &[&[u8]]) -> Self {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > INLINE {
            return Self::Boxed(parts.concat().into_boxed_slice());
        }
        let mut bytes = [0; INLINE];
        let mut at = 0;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        // `len` is 22 at most here.
        Self::Inline { len: len as u8, bytes }
    }

    pub(super) fn new(bytes: &[u8]) -> Self {
        Self::concat(&[bytes])
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Boxed(bytes) => bytes,
        }
    }

    /// Puts `byte` before the one at `at`, which is the length at most.
    pub(super) fn insert(&mut self, at: usize, byte: u8) {
        match self {
            Self::Inline { len, bytes } if usize::from(*len) < INLINE => {
                bytes.copy_within(at..usize::from(*len), at + 1);
                bytes[at] = byte;
                *len += 1;
            }
            _ => {
                let (before, after) = self.as_slice().split_at(at);
                *self = Self::concat(&[before, &[byte], after]);
            }
        }
    }

    /// Takes out the byte at `at`, which is less than the length.
    pub(super) fn remove(&mut self, at: usize) {
        let (before, after) = self.as_slice().split_at(at);
        *self = Self::concat(&[before, &after[1..]]);
    }
}

#[cfg(test)]
mod tests;
