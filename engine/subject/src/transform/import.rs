//! Renamings that can be undone: what is imported under another name, and the subscriptions to it, which go the other way.

use super::{Change, Part, Transform, TransformError, apply};
use crate::name::{REST, SEPARATOR, STAR, is_valid_subject, tokens};

/// `a.*.b.*` as a destination: `a.$1.b.$2`.
#[must_use]
pub fn number_wildcards(filter: &[u8]) -> Vec<u8> {
    let mut next = 0;
    join(tokens(filter).map(|token| match token {
        [STAR] => {
            next += 1;
            format!("${next}").into_bytes()
        }
        other => other.to_vec(),
    }))
}

/// A destination as a filter, and what stood in the place of its wildcards: `a.$2.$1` is `a.*.*` and `[$2, $1]`.
#[must_use]
pub fn placeholders(destination: &[u8]) -> (Vec<u8>, Vec<&[u8]>) {
    let mut found = Vec::new();
    let filter = join(tokens(destination).map(|token| match is_placeholder(token) {
        true => {
            found.push(token);
            vec![STAR]
        }
        false => token.to_vec(),
    }));
    (filter, found)
}

fn is_placeholder(token: &[u8]) -> bool {
    if let [b'$', b'1'..=b'9', ..] = token {
        return true;
    }
    let call = token.strip_prefix(b"{{").and_then(|rest| rest.strip_suffix(b"}}"));
    call.is_some_and(|call| {
        let call = call.trim_ascii();
        let named = [&b"wildcard("[..], b"Wildcard("];
        let inside = named.iter().find_map(|name| call.strip_prefix(*name));
        inside
            .and_then(|inside| inside.strip_suffix(b")"))
            .is_some_and(|inside| !inside.is_empty() && !inside.contains(&b','))
    })
}

fn join(parts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    parts.collect::<Vec<_>>().join(&SEPARATOR)
}

impl Transform {
    /// A renaming that can be [undone](Self::reverse): the destination names every wildcard of the source, and changes nothing.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`TransformError::NotForImports`], [`TransformError::WildcardsUnused`].
    pub fn for_import(source: &[u8], destination: &[u8]) -> Result<Self, TransformError> {
        let made = Self::new(source, destination)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (mut named, written) = (0, tokens(destination));
        for (part, token) in made.parts.iter().zip(written) {
            match part {
                Part::Literal(_) | Part::Rest => {}
                Part::Token {
                    change: Change::Keep, ..
                } => named += 1,
                _ => return Err(TransformError::NotForImports(text(token))),
            }
        }
        match named < tokens(source).filter(|token| *token == [STAR]).count() {
            true => Err(TransformError::WildcardsUnused(text(destination))),
            false => Ok(made),
        }
    }

    /// The way back. `None` if a wildcard of the source stands in the destination more than once, or not at all.
    #[must_use]
    pub fn reverse(&self) -> Option<Self> {
        let (source, _) = placeholders(&self.destination);
        // The place in the destination's wildcards of each of the source's.
        let mut wildcards = Vec::new();
        for part in &self.parts {
            if let Part::Token { at, .. } = part {
                wildcards.push(*at);
            }
        }
        let mut parts = Vec::new();
        for (place, token) in tokens(&self.source).enumerate() {
            parts.push(match token {
                [STAR] => {
                    let nth = wildcards.iter().position(|&at| at == place)?;
                    format!("${}", nth + 1).into_bytes()
                }
                other => other.to_vec(),
            });
        }
        Self::new(&source, &join(parts.into_iter())).ok()
    }

    /// The new name of a filter: what stands for a wildcard of the source may be one itself. What the source does not match comes out as
    /// nothing useful; `None` if that is no filter at all.
    #[must_use]
    pub fn rename_filter(&self, filter: &[u8]) -> Option<Vec<u8>> {
        if filter.ends_with(&[SEPARATOR, REST]) || filter == [REST] {
            let open = self.source.last() == Some(&REST);
            if !open {
                return None;
            }
        }
        let new = apply::apply(&self.parts, self.fixed_tokens, filter, 0);
        is_valid_subject(&new).then_some(new)
    }
}
