//! What a block may hold: every key that nats-server 2.15 knows in it, and what kind of value each takes.
//!
//! A block is held against its [table](super::keys) before anything of it is used, so that a key nobody knows is an error in the
//! blocks of features that Weir does not have, too.

use super::read;
use crate::error::{ConfError, Faults};
use crate::file::{Entry, Map, Node, Value};

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// A string without blanks.
    Name,
    /// true, false and their other spellings.
    Bool,
    /// A whole number.
    Int,
    /// A whole number of this range.
    Range(i64, i64),
    /// A size as a number, or as a string that ends in K, M, G or T.
    Size,
    /// A duration, or a number of seconds.
    Time,
    /// A port or `host:port`.
    Listen,
    /// A string, or a list of them.
    Texts,
    /// A list of strings.
    List,
    /// A boolean, the name of a mode, or a block.
    Compression,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A block of any keys, each with a string.
    Strings,
    /// A block of any keys, each with a boolean.
    Switches,
    /// A block with these keys.
    Block(&'static [Key]),
    /// A list of such blocks.
    Blocks(&'static [Key]),
    /// A boolean, or a block with these keys.
    BoolOr(&'static [Key]),
    /// Whoever reads it looks for himself.
    Own,
}

/// A key of a block.
#[derive(Debug)]
pub(super) struct Key {
    /// Its spellings, separated by blanks.
    pub names: &'static str,
    pub kind: Kind,
}

pub(super) const fn key(names: &'static str, kind: Kind) -> Key {
    Key { names, kind }
}

/// Holds a block against its table.
///
/// # Errors
/// All keys that the table does not have, or whose values are of other kinds.
pub(super) fn check(map: &Map, table: &[Key]) -> Result<(), ConfError> {
    all(&map.entries, |entry| check_entry(entry, table))
}

/// All that is wrong with any of them.
fn all<T>(items: &[T], check: impl Fn(&T) -> Result<(), ConfError>) -> Result<(), ConfError> {
    let mut faults = Faults::default();
    for item in items {
        faults.take(check(item));
    }
    faults.end()
}

/// The same for the value of an entry, which must be a block.
///
/// # Errors
/// As [`check`].
pub(super) fn check_block(entry: &Entry, table: &[Key]) -> Result<(), ConfError> {
    check(read::block(entry)?, table)
}

/// Holds one entry of a block against its table.
///
/// # Errors
/// As [`check`].
pub(super) fn check_entry(entry: &Entry, table: &[Key]) -> Result<(), ConfError> {
    match table.iter().find(|key| has_name(key, &entry.key)) {
        Some(key) => value(entry, key.kind),
        // It may be there only for a $VARIABLE further down.
        None if entry.is_variable => Ok(()),
        None => Err(unknown(entry, table)),
    }
}

/// Whether a table has a key of this name.
pub(super) fn knows(table: &[Key], name: &str) -> bool {
    table.iter().any(|key| has_name(key, name))
}

fn has_name(key: &Key, name: &str) -> bool {
    key.names.split(' ').any(|known| known.eq_ignore_ascii_case(name))
}

fn value(entry: &Entry, kind: Kind) -> Result<(), ConfError> {
    match kind {
        Kind::Text => read::text(entry).map(drop),
        Kind::Name => match read::text(entry)?.contains(' ') {
            true => Err(ConfError::at(
                &entry.value.pos,
                format!("{} cannot contain spaces", entry.key),
            )),
            false => Ok(()),
        },
        Kind::Range(min, max) => read::int(entry, min, max).map(drop),
        Kind::Bool => read::boolean(entry).map(drop),
        Kind::Int => read::int(entry, i64::MIN, i64::MAX).map(drop),
        Kind::Size => read::storage(entry).map(drop),
        Kind::Time => read::time(entry).map(drop),
        Kind::Listen => read::listen(entry).map(drop),
        Kind::Texts => read::texts(entry).map(drop),
        Kind::List => read::list(entry).and_then(|_| read::texts(entry)).map(drop),
        Kind::Compression => match entry.value.value {
            Value::Bool(_) | Value::Str(_) => Ok(()),
            _ => check_block(entry, super::keys::COMPRESSION),
        },
        Kind::Word(words) => {
            let parse = |word: &str| match words.iter().any(|known| known.eq_ignore_ascii_case(word)) {
                true => Ok(()),
                false => Err(format!("{word:?} is not one of {}", words.join(", "))),
            };
            read::word(entry, parse)
        }
        Kind::Strings => all(&read::block(entry)?.entries, |e| read::text(e).map(drop)),
        Kind::Switches => all(&read::block(entry)?.entries, |e| read::boolean(e).map(drop)),
        Kind::Block(table) => check_block(entry, table),
        Kind::Blocks(table) => all(read::list(entry)?, |node| item(entry, node, table)),
        Kind::BoolOr(table) => match entry.value.value {
            Value::Bool(_) => Ok(()),
            _ => check_block(entry, table),
        },
        Kind::Own => Ok(()),
    }
}

fn item(entry: &Entry, node: &Node, table: &[Key]) -> Result<(), ConfError> {
    match &node.value {
        Value::Map(map) => check(map, table),
        other => Err(ConfError::at(
            &node.pos,
            format!("an entry of {} must be a {{ block }}, not {}", entry.key, other.kind()),
        )),
    }
}

/// The error about a key that its block does not have: with the one that was perhaps meant.
fn unknown(entry: &Entry, table: &[Key]) -> ConfError {
    let names = table.iter().flat_map(|key| key.names.split(' '));
    let mut message = format!("unknown field {:?}", entry.key);
    if let Some(meant) = nearest(&entry.key, names) {
        message.push_str(&format!("; did you mean {meant:?}?"));
    }
    ConfError::at(&entry.pos, message)
}

/// The name that differs least from `word`, if one differs by no more than a third of its letters; of equals the first.
fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let word: Vec<char> = word.to_lowercase().chars().take(WORD_MAX).collect();
    let near = names.map(|name| (distance(&word, name), name));
    let near = near.filter(|&(distance, name)| distance <= (name.len() / 3).clamp(1, 3));
    near.min_by_key(|&(distance, _)| distance).map(|(_, name)| name)
}

/// Longest word that is compared; nothing known is near that long.
const WORD_MAX: usize = 64;

/// Letters to add, remove, change or swap with their neighbour.
fn distance(word: &[char], name: &str) -> usize {
    let name: Vec<char> = name.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=name.len()).collect();
    for (i, &a) in word.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &b) in name.iter().enumerate() {
            let mut least = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == name[j - 1] && word[i - 1] == b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[name.len()]
}

#[cfg(test)]
mod tests;
