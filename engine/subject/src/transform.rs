//! Renaming subjects: what stands under `mappings`, and a stream's `subject_transform`.
//!
//! The functions, their results and the texts of the errors are those of nats-server 2.15. A function stands in the
//! destination as a whole token:
//!
//! | token | becomes |
//! | --- | --- |
//! | `$n`, `{{wildcard(n)}}` | what the n-th `*` of the source stands for, from 1; below that, the first token |
//! | `{{partition(count,n,..)}}` | a number below `count`, by the FNV-1a hash of the wildcards named, or of the whole subject |
//! | `{{splitfromleft(n,at)}}`, `{{splitfromright(n,at)}}` | the wildcard with a dot `at` bytes from that end |
//! | `{{slicefromleft(n,size)}}`, `{{slicefromright(n,size)}}` | the wildcard in pieces of `size` bytes, the odd one at the other end |
//! | `{{split(n,delimiter)}}` | the wildcard with dots for the delimiter |
//! | `{{left(n,len)}}`, `{{right(n,len)}}` | that many bytes of that end of the wildcard |
//! | `{{random(count)}}` | any number below `count` |
//!
//! A final `>` of the source stands for itself in the destination. Each word of a name may begin with a letter of either case
//! (`SplitFromLeft`).

mod apply;
mod check;
mod import;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::filter::matches;
use crate::name::{REST, STAR, has_wildcard, is_valid_subject, tokens};
pub use check::check_mapping;
pub use import::{number_wildcards, placeholders};

/// A checked rule that turns the subjects a filter matches into others. See the [crate] example.
#[derive(Debug, Clone)]
pub struct Transform {
    source: Vec<u8>,
    destination: Vec<u8>,
    /// Of the source: how many there are before a final `>`.
    fixed_tokens: usize,
    parts: Vec<Part>,
}

/// One token of the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    /// Whatever the source's `>` matched.
    Rest,
    /// By the tokens of the subject at these places, or by the whole subject if there are none.
    Partition {
        count: u32,
        tokens: Vec<usize>,
    },
    /// By chance.
    Random {
        below: u32,
    },
    /// The token of the subject at this place, changed.
    Token {
        at: usize,
        change: Change,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Keep,
    SplitFromLeft(usize),
    SplitFromRight(usize),
    SliceFromLeft(usize),
    SliceFromRight(usize),
    Split(Vec<u8>),
    Left(usize),
    Right(usize),
}

/// Why a transform is refused. The texts are those that nats-server's users know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransformError {
    /// Source or destination is not well formed, the destination has a `*`, or only one of them ends in `>`.
    BadSubject,
    /// What is written in this destination token is not one of the functions.
    UnknownFunction(String),
    /// This destination token names a wildcard that the source does not have.
    WildcardOutOfRange(String),
    /// The function in this destination token wants more arguments.
    NotEnoughArguments(String),
    /// The function in this destination token wants fewer arguments.
    TooManyArguments(String),
    /// An argument in this destination token is not of the kind wanted.
    InvalidArgument(String),
    /// This destination of an import does not use every wildcard of the source.
    WildcardsUnused(String),
    /// What is written in this destination token cannot be undone, as that of an import must be.
    NotForImports(String),
}

impl fmt::Display for TransformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (why, token) = match self {
            Self::BadSubject => return f.write_str("invalid subject"),
            Self::UnknownFunction(token) => ("unknown function", token),
            Self::WildcardOutOfRange(token) => ("wildcard index out of range", token),
            Self::NotEnoughArguments(token) => ("not enough arguments passed to the function", token),
            Self::TooManyArguments(token) => ("too many arguments passed to the function", token),
            Self::InvalidArgument(token) => ("function argument is invalid or in the wrong format", token),
            Self::WildcardsUnused(destination) => ("not using all of the token wildcard(s)", destination),
            Self::NotForImports(token) => (
                "the only mapping function allowed for import transforms is {{Wildcard()}}",
                token,
            ),
        };
        write!(f, "invalid mapping destination: {why} in {token}")
    }
}

impl std::error::Error for TransformError {}

impl Transform {
    /// Turns what `source` matches into `destination`. An empty source is `>`, as in a stream's configuration; so is
    /// an empty destination if the source is.
    ///
    /// # Errors
    /// See [`TransformError`]. The destination need not use every wildcard of the source.
    pub fn new(source: &[u8], destination: &[u8]) -> Result<Self, TransformError> {
        let source = if source.is_empty() { b">" } else { source };
        let destination = if destination.is_empty() && source == b">" {
            b">"
        } else {
            destination
        };
        let open = source.ends_with(b".>") || source == b">";
        let written = parse::split_destination(destination).ok_or(TransformError::BadSubject)?;
        let dest_open = written.last() == Some(&&[REST][..]);
        if !is_valid_subject(source) || open != dest_open || written.contains(&&[STAR][..]) {
            return Err(TransformError::BadSubject);
        }
        let wildcards = parse::Wildcards::of(source);
        let parts = written
            .into_iter()
            .map(|token| parse::part(token, &wildcards))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            source: source.to_vec(),
            destination: destination.to_vec(),
            fixed_tokens: tokens(source).count() - usize::from(open),
            parts,
        })
    }

    /// The filter whose subjects are transformed.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// The destination as it was written.
    pub fn destination(&self) -> &[u8] {
        &self.destination
    }

    /// Whether this token of a destination looks like a function and is none. [`new`](Self::new) refuses it too, but perhaps
    /// for something before it.
    #[must_use]
    pub fn is_unknown_function(token: &[u8]) -> bool {
        parse::is_unknown_function(token)
    }

    /// The new name of `subject`, with numbers made of `chance` where the destination asks for random ones. `None` if the source does not match it, if it is no literal subject, or if what
    /// would come out is none (as when a delimiter is all there is to split).
    pub fn apply(&self, subject: &[u8], chance: u64) -> Option<Vec<u8>> {
        match has_wildcard(subject) {
            true => None,
            false => self.rename(subject, chance),
        }
    }

    /// The same, where a `*` or `>` of the subject is an ordinary token: somebody published to it as it is.
    pub fn rename(&self, subject: &[u8], chance: u64) -> Option<Vec<u8>> {
        if !is_valid_subject(subject) || !matches(&self.source, subject) {
            return None;
        }
        let new = apply::apply(&self.parts, self.fixed_tokens, subject, chance);
        is_valid_subject(&new).then_some(new)
    }
}
