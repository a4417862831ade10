//! Distinguished names as users are called by them, and when two are the same: by whole relative names, so that nothing that is only
//! a part of one will do.

use crate::link::tls::names::Name;

/// A distinguished name: relative names, the most special one first, each of one or more attributes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dn(Vec<Vec<(String, String)>>);

impl Dn {
    /// The name in a certificate. `None`: it has an attribute that has no name here.
    pub fn of(name: &Name) -> Option<Self> {
        let mut sets = Vec::new();
        for set in name.0.iter().rev().filter(|set| !set.is_empty()) {
            let attributes = set
                .iter()
                .rev()
                .map(|attribute| Some((attribute.named()?.to_owned(), attribute.value.clone())));
            sets.push(attributes.collect::<Option<_>>()?);
        }
        Some(Self(sets))
    }

    /// Reads one as RFC 4514 writes it, as nats-server does. `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut sets, mut set, mut kind) = (Vec::new(), Vec::new(), String::new());
        let mut word = Word::default();
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => {
                    let next = bytes.next()?;
                    let escaped = match next {
                        b' ' | b'"' | b'#' | b'+' | b',' | b';' | b'<' | b'=' | b'>' | b'\\' => next,
                        _ => hex(next)? << 4 | hex(bytes.next()?)?,
                    };
                    word.push(escaped);
                }
                b'=' => {
                    kind = word.take()?;
                    // What is behind would be BER.
                    if bytes.peek() == Some(&b'#') {
                        return None;
                    }
                }
                b',' | b'+' => {
                    if kind.is_empty() {
                        return None;
                    }
                    set.push((std::mem::take(&mut kind), word.take()?));
                    if byte == b',' {
                        sets.push(std::mem::take(&mut set));
                    }
                }
                b' ' if word.bytes.is_empty() => {}
                b' ' => word.blank(),
                _ => word.push(byte),
            }
        }
        if !word.bytes.is_empty() {
            if kind.is_empty() {
                return None;
            }
            set.push((kind, word.take()?));
            sets.push(set);
        }
        Some(Self(sets))
    }

    /// Whether both have the same relative names in the same order.
    pub fn equals(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| same_set(a, b))
    }

    /// The same in any order, each as often as there.
    pub fn has_the_same(&self, other: &Self) -> bool {
        let mut left: Vec<_> = other.0.iter().collect();
        self.0.len() == other.0.len()
            && self.0.iter().all(|set| {
                let found = left.iter().position(|other| same_set(set, other));
                found.map(|at| left.swap_remove(at)).is_some()
            })
    }
}

/// Whether two relative names have the same attributes, in any order; the case of their types does not count.
fn same_set(a: &[(String, String)], b: &[(String, String)]) -> bool {
    let has = |all: &[(String, String)], (kind, value): &(String, String)| {
        all.iter().any(|(k, v)| k.eq_ignore_ascii_case(kind) && v == value)
    };
    a.len() == b.len() && a.iter().all(|one| has(b, one)) && b.iter().all(|one| has(a, one))
}

/// What is being read: blanks at its end count only if they are escaped.
#[derive(Default)]
struct Word {
    bytes: Vec<u8>,
    blanks: usize,
}

impl Word {
    fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
        self.blanks = 0;
    }

    fn blank(&mut self) {
        self.bytes.push(b' ');
        self.blanks += 1;
    }

    fn take(&mut self) -> Option<String> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.truncate(bytes.len() - std::mem::take(&mut self.blanks));
        String::from_utf8(bytes).ok()
    }
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
