//! The structure: entries, maps, arrays, variables, includes. Every loop and depth has a bound.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lex::Lexer;
use super::value::{Entry, Map, Node, Pos, Value};
use super::{Env, scalar};
use crate::error::ConfError;

/// Maps and arrays within each other.
const DEPTH_MAX: usize = 64;
/// Files that include each other.
const INCLUDE_DEPTH_MAX: usize = 16;
/// Includes of one configuration altogether.
const INCLUDES_MAX: usize = 1000;
/// Bytes of one file.
const FILE_MAX: u64 = 16 << 20;
/// Values of one configuration altogether, those that variables repeat included.
const VALUES_MAX: usize = 1_000_000;

/// Parses `text`. Positions name `file`; includes are looked for in its folder.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(text: &str, file: &str, env: Env<'_>) -> Result<Map, ConfError> {
    let mut parser = Parser {
        env,
        scopes: Vec::new(),
        files: vec![PathBuf::from(file)],
        variables: Vec::new(),
        includes: 0,
        values: 0,
        depth: 0,
    };
    parser.scopes.push(Scope::default());
    parser.text(text, file)?;
    Ok(parser.scopes.pop().unwrap_or_default().map)
}

/// Reads and parses a file.
///
/// # Errors
/// It cannot be read, is not UTF-8, or as [`parse`].
pub fn parse_file(file: &str, env: Env<'_>) -> Result<Map, ConfError> {
    let text = read(Path::new(file)).map_err(|source| ConfError::Read {
        file: file.to_owned(),
        source,
    })?;
    parse(&text, file, env)
}

/// A map that is being read, and where its keys are in it: it may have very many.
#[derive(Default)]
struct Scope {
    map: Map,
    places: HashMap<String, usize>,
}

impl Scope {
    /// Takes an entry in, in the place of an earlier one of this key.
    fn insert(&mut self, entry: Entry) {
        match self.places.get(&entry.key) {
            Some(&place) => self.map.entries[place] = entry,
            None => {
                self.places.insert(entry.key.clone(), self.map.entries.len());
                self.map.entries.push(entry);
            }
        }
    }

    fn get(&mut self, key: &str) -> Option<&mut Entry> {
        self.places.get(key).map(|&place| &mut self.map.entries[place])
    }
}

/// A file's text, if it is not too large. What is no file has no size, and ends somewhere or is too large, too.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?
        .take(FILE_MAX + 1)
        .read_to_string(&mut text)?;
    match read as u64 > FILE_MAX {
        true => Err(std::io::Error::other(format!("it is larger than {FILE_MAX} bytes"))),
        false => Ok(text),
    }
}

/// Of a variable whose value begins with itself.
const TO_ITSELF: &str = "refers to itself";
/// Of a variable that is not there.
const NOT_SET: &str = "is set neither above this line nor in the environment; quote the value if it is no variable";
/// Of one that is, and what it holds.
const OF_VARIABLE: &str = "the value of $";
/// Keys whose values are secrets.
const SECRETS: [&str; 9] = [
    "key",
    "ek",
    "encryption_key",
    "prev_key",
    "prev_ek",
    "prev_encryption_key",
    "password",
    "pass",
    "token",
];

struct Parser<'e> {
    env: Env<'e>,
    /// The maps around the current place, outermost first: where `$NAME` is looked for.
    scopes: Vec<Scope>,
    /// The files around the current place.
    files: Vec<PathBuf>,
    /// The environment variables around the current place.
    variables: Vec<String>,
    includes: usize,
    values: usize,
    depth: usize,
}

impl Parser<'_> {
    /// A whole file, into the innermost map.
    fn text(&mut self, text: &str, file: &str) -> Result<(), ConfError> {
        let mut lex = Lexer::new(text, Arc::from(file));
        lex.skip_between(&[]);
        let open = lex.pos();
        let braced = lex.eat('{');
        self.entries(&mut lex)?;
        if braced && !lex.eat('}') {
            return Err(ConfError::syntax(&open, "the { around the file is not closed"));
        }
        lex.skip_between(&[',', ';']);
        // nats-server lets one } too many stand at the very end.
        if !braced && lex.eat('}') {
            lex.skip_between(&[]);
        }
        if lex.peek().is_some() {
            return Err(ConfError::syntax(
                &lex.pos(),
                format!("expected a key, found {}", lex.found()),
            ));
        }
        Ok(())
    }

    /// Entries up to a `}` or the end.
    fn entries(&mut self, lex: &mut Lexer<'_>) -> Result<(), ConfError> {
        loop {
            lex.skip_between(&[',', ';']);
            let pos = lex.pos();
            let (key, quoted) = match lex.peek() {
                None | Some('}') => return Ok(()),
                Some('"') => (lex.double_quoted()?, true),
                Some('\'') => (lex.single_quoted()?, true),
                Some(_) => (lex.key_word().to_owned(), false),
            };
            if key.is_empty() {
                return Err(ConfError::syntax(
                    &pos,
                    format!("expected a key, found {}", lex.found()),
                ));
            }
            lex.skip_blanks();
            let includes = !quoted && key.eq_ignore_ascii_case("include") && !matches!(lex.peek(), Some(':' | '='));
            if includes {
                self.include(lex, &pos)?;
            } else {
                let mut wanted = lex.pos();
                // As for nats-server the value may stand on a later line than the key, but not than a : or =; and no
                // comment may come between.
                lex.skip_space();
                if lex.eat(':') || lex.eat('=') {
                    wanted = lex.pos();
                    lex.skip_blanks();
                }
                if matches!(lex.peek(), None | Some('\n' | '\r' | ',' | ';' | '}')) || lex.at_comment() {
                    return Err(ConfError::syntax(
                        &wanted,
                        format!("expected a value for {key:?}, found {}", lex.found()),
                    ));
                }
                let value = self.value(lex).map_err(|error| match is_secret(&key) {
                    true => without_secret(&key, error),
                    false => error,
                })?;
                self.insert(Entry {
                    key: key.clone(),
                    pos,
                    value,
                    is_variable: false,
                });
            }
            lex.skip_blanks();
            if !matches!(lex.peek(), None | Some('\n' | '\r' | ',' | ';' | '}')) && !lex.at_comment() {
                let message = format!(
                    "expected the end of the line, a comma or a }} behind the value of {key:?}, found {}",
                    lex.found()
                );
                return Err(ConfError::syntax(&lex.pos(), message));
            }
        }
    }

    /// Puts an entry in the innermost map, in place of one of the same key.
    fn insert(&mut self, entry: Entry) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(entry);
        }
    }

    fn value(&mut self, lex: &mut Lexer<'_>) -> Result<Node, ConfError> {
        let pos = lex.pos();
        self.count(1, &pos)?;
        let value = match lex.peek() {
            Some('{') => {
                self.enter(&pos)?;
                lex.next();
                self.scopes.push(Scope::default());
                let result = self.entries(lex);
                let map = self.scopes.pop().unwrap_or_default().map;
                result?;
                if !lex.eat('}') {
                    return Err(ConfError::syntax(&pos, "this { is not closed"));
                }
                self.depth -= 1;
                Value::Map(map)
            }
            Some('[') => {
                self.enter(&pos)?;
                lex.next();
                let items = self.items(lex, &pos)?;
                self.depth -= 1;
                Value::Array(items)
            }
            Some('"') => Value::Str(lex.double_quoted()?),
            Some('\'') => Value::Str(lex.single_quoted()?),
            Some('(') => Value::Str(lex.block()?),
            _ => {
                let word = lex.word();
                if word.is_empty() {
                    return Err(ConfError::syntax(
                        &pos,
                        format!("expected a value, found {}", lex.found()),
                    ));
                }
                return match word.strip_prefix('$') {
                    // A bcrypt hash begins with a dollar, too.
                    Some(name) if !is_bcrypt(name) => self.variable(name, pos),
                    Some(_) => Ok(Node {
                        value: Value::Str(word.to_owned()),
                        pos,
                    }),
                    None => {
                        let value = scalar::classify(word).map_err(|message| ConfError::syntax(&pos, message))?;
                        Ok(Node { value, pos })
                    }
                };
            }
        };
        Ok(Node { value, pos })
    }

    /// The items of an array, separated by commas, line ends or both.
    fn items(&mut self, lex: &mut Lexer<'_>, open: &Pos) -> Result<Vec<Node>, ConfError> {
        let mut items = Vec::new();
        loop {
            lex.skip_between(&[',']);
            match lex.peek() {
                Some(']') => {
                    lex.next();
                    return Ok(items);
                }
                None => return Err(ConfError::syntax(open, "this [ is not closed")),
                Some(_) => items.push(self.value(lex)?),
            }
            lex.skip_blanks();
            if !matches!(lex.peek(), None | Some('\n' | '\r' | ',' | ']')) && !lex.at_comment() {
                return Err(ConfError::syntax(
                    &lex.pos(),
                    format!("expected a comma or a ] in this list, found {}", lex.found()),
                ));
            }
        }
    }

    fn enter(&mut self, pos: &Pos) -> Result<(), ConfError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ConfError::syntax(
                pos,
                format!("blocks and lists are nested deeper than {DEPTH_MAX}"),
            ));
        }
        Ok(())
    }

    fn count(&mut self, values: usize, pos: &Pos) -> Result<(), ConfError> {
        self.values += values;
        if self.values > VALUES_MAX {
            return Err(ConfError::syntax(
                pos,
                format!("the configuration has more than {VALUES_MAX} values"),
            ));
        }
        Ok(())
    }

    /// `$NAME`: from the maps around it, innermost first, then from the environment.
    fn variable(&mut self, name: &str, pos: Pos) -> Result<Node, ConfError> {
        for scope in self.scopes.iter_mut().rev() {
            if let Some(entry) = scope.get(name) {
                entry.is_variable = true;
                let value = entry.value.value.clone();
                self.count(values_in(&value), &pos)?;
                if self.depth + depth_of(&value) > DEPTH_MAX {
                    return Err(ConfError::syntax(
                        &pos,
                        format!("${name} nests blocks and lists deeper than {DEPTH_MAX}"),
                    ));
                }
                return Ok(brought(value, pos));
            }
        }
        let Some(text) = (self.env)(name) else {
            let message = format!("the variable ${name} {NOT_SET}");
            return Err(ConfError::syntax(&pos, message));
        };
        if self.variables.iter().any(|v| v == name) || self.variables.len() >= INCLUDE_DEPTH_MAX {
            return Err(ConfError::syntax(
                &pos,
                format!("the environment variable ${name} {TO_ITSELF}"),
            ));
        }
        self.variables.push(name.to_owned());
        let mut lex = Lexer::new(&text, Arc::from(format!("${name}")));
        lex.skip_blanks();
        // What it holds may be a secret, and what is wrong with it would tell of that.
        let node = self.value(&mut lex).map_err(|error| match error {
            ConfError::Syntax { ref message, .. } if message.ends_with(TO_ITSELF) => error,
            _ => ConfError::syntax(
                &pos,
                format!("{OF_VARIABLE}{name} in the environment is no value; quote it if it is a string"),
            ),
        })?;
        lex.skip_between(&[]);
        if lex.peek().is_some() {
            return Err(ConfError::syntax(
                &pos,
                format!("{OF_VARIABLE}{name} in the environment is not one value; quote it if it is a string"),
            ));
        }
        self.variables.pop();
        Ok(brought(node.value, pos))
    }

    /// `include "file"`: its entries stand in place of the line.
    fn include(&mut self, lex: &mut Lexer<'_>, pos: &Pos) -> Result<(), ConfError> {
        let name = match lex.peek() {
            Some('"') => lex.double_quoted()?,
            Some('\'') => lex.single_quoted()?,
            _ => lex.word().to_owned(),
        };
        if name.is_empty() {
            return Err(ConfError::at(pos, "include takes the name of a file"));
        }
        self.includes += 1;
        if self.files.len() >= INCLUDE_DEPTH_MAX || self.includes > INCLUDES_MAX {
            return Err(ConfError::at(
                pos,
                format!("too many includes ({INCLUDE_DEPTH_MAX} within each other, {INCLUDES_MAX} altogether)"),
            ));
        }
        let folder = self.files.last().and_then(|f| f.parent()).unwrap_or(Path::new(""));
        let path = folder.join(&name);
        let failed = |e: std::io::Error| ConfError::at(pos, format!("cannot include {}: {e}", path.display()));
        let same = |file: &PathBuf| std::fs::canonicalize(file).ok();
        let whole = std::fs::canonicalize(&path).map_err(failed)?;
        if self.files.iter().any(|file| same(file).as_ref() == Some(&whole)) {
            return Err(ConfError::at(pos, format!("{} includes itself", path.display())));
        }
        let text = read(&path).map_err(failed)?;
        let shown = path.display().to_string();
        self.files.push(path.clone());
        // As for nats-server: a file that is included sees its own keys and the environment, and nothing around it.
        let around = std::mem::replace(&mut self.scopes, vec![Scope::default()]);
        let outcome = self.text(&text, &shown);
        let included = std::mem::replace(&mut self.scopes, around).into_iter().next();
        self.files.pop();
        outcome?;
        for entry in included.unwrap_or_default().map.entries {
            self.insert(entry);
        }
        Ok(())
    }
}

/// The value of a variable, where that is named.
fn brought(value: Value, pos: Pos) -> Node {
    let text = match &value {
        Value::Str(text) => Some(Arc::from(text.as_str())),
        _ => None,
    };
    Node {
        value,
        pos: Pos { brought: text, ..pos },
    }
}

/// Whether what stands behind a key is nobody else's to know, however it is wrong.
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRETS.contains(&key.as_str())
}

/// What is wrong with the value of such a key, which may be a part of it that is no variable.
fn without_secret(key: &str, error: ConfError) -> ConfError {
    match error {
        ConfError::Syntax { message, pos } if message.ends_with(NOT_SET) => {
            ConfError::syntax(&pos, format!("the variable behind {key:?} {NOT_SET}"))
        }
        ConfError::Syntax { message, pos } if !message.starts_with(OF_VARIABLE) => {
            ConfError::syntax(&pos, format!("the value of {key:?} is none; put it in quotes"))
        }
        error => error,
    }
}

fn is_bcrypt(rest: &str) -> bool {
    matches!(rest.as_bytes(), [b'2', b'a' | b'b' | b'x' | b'y', b'$', ..])
}

fn values_in(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(|n| values_in(&n.value)).sum::<usize>(),
        Value::Map(map) => 1 + map.entries.iter().map(|e| values_in(&e.value.value)).sum::<usize>(),
        _ => 1,
    }
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(|n| depth_of(&n.value)).max().unwrap_or(0),
        Value::Map(map) => 1 + map.entries.iter().map(|e| depth_of(&e.value.value)).max().unwrap_or(0),
        _ => 0,
    }
}
