//! Making the new subject.

use smallvec::SmallVec;

use super::{Change, Part};
use crate::name::{SEPARATOR, tokens};

/// The new subject, from one that the source is known to match. Every [`Part::Random`] takes its number off `chance`.
pub(super) fn apply(parts: &[Part], fixed_tokens: usize, subject: &[u8], mut chance: u64) -> Vec<u8> {
    let have: SmallVec<[&[u8]; 16]> = tokens(subject).collect();
    let mut out = Vec::with_capacity(subject.len() + 16);
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push(SEPARATOR);
        }
        match part {
            Part::Literal(token) => out.extend_from_slice(token),
            Part::Rest => join(have.iter().skip(fixed_tokens).copied(), &mut out),
            Part::Partition { count, tokens } => {
                let hash = match &tokens[..] {
                    [] => fnv1a([subject].into_iter()),
                    places => fnv1a(places.iter().filter_map(|&place| have.get(place).copied())),
                };
                // Of no partitions, nats-server makes one.
                out.extend_from_slice(hash.checked_rem(*count).unwrap_or(0).to_string().as_bytes());
            }
            Part::Random { below } => {
                let below = u64::from(*below).max(1);
                out.extend_from_slice((chance % below).to_string().as_bytes());
                chance /= below;
            }
            Part::Token { at, change } => {
                change.apply(have.get(*at).copied().unwrap_or_default(), &mut out);
            }
        }
    }
    out
}

impl Change {
    fn apply(&self, token: &[u8], out: &mut Vec<u8>) {
        // A place at or beyond an end leaves the token whole.
        let inside = |at: usize| at > 0 && at < token.len();
        match self {
            Self::SplitFromLeft(at) if inside(*at) => {
                let (left, right) = token.split_at(*at);
                join([left, right].into_iter(), out);
            }
            Self::SplitFromRight(at) if inside(*at) => {
                let (left, right) = token.split_at(token.len() - at);
                join([left, right].into_iter(), out);
            }
            Self::SliceFromLeft(size) if inside(*size) => join(token.chunks(*size), out),
            Self::SliceFromRight(size) if inside(*size) => {
                let (odd, even) = token.split_at(token.len() % size);
                let odd = Some(odd).filter(|odd| !odd.is_empty());
                join(odd.into_iter().chain(even.chunks(*size)), out);
            }
            Self::Split(delimiter) => split(token, delimiter, out),
            Self::Left(len) if inside(*len) => out.extend_from_slice(&token[..*len]),
            Self::Right(len) if inside(*len) => out.extend_from_slice(&token[token.len() - len..]),
            _ => out.extend_from_slice(token),
        }
    }
}

/// The pieces between delimiters, the empty ones left out. Between all characters there is an empty delimiter.
fn split(mut token: &[u8], delimiter: &[u8], out: &mut Vec<u8>) {
    if delimiter.is_empty() {
        return join(token.utf8_chunks().flat_map(characters), out);
    }
    let mut pieces: SmallVec<[&[u8]; 8]> = SmallVec::new();
    while let Some(at) = token.windows(delimiter.len()).position(|window| window == delimiter) {
        pieces.push(&token[..at]);
        token = &token[at + delimiter.len()..];
    }
    pieces.push(token);
    join(pieces.into_iter().filter(|piece| !piece.is_empty()), out);
}

/// The bytes of each character; those that are of none stand alone.
fn characters(chunk: std::str::Utf8Chunk<'_>) -> impl Iterator<Item = &[u8]> {
    let valid = chunk.valid();
    let ends = valid
        .char_indices()
        .map(move |(at, c)| &valid.as_bytes()[at..at + c.len_utf8()]);
    ends.chain(chunk.invalid().chunks(1))
}

fn join<'a>(pieces: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    for (at, piece) in pieces.enumerate() {
        if at > 0 {
            out.push(SEPARATOR);
        }
        out.extend_from_slice(piece);
    }
}

/// The 32-bit FNV-1a hash of all of `pieces`, one behind the other. Clients compute it too, to know their partition.
fn fnv1a<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> u32 {
    pieces.flatten().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests;
