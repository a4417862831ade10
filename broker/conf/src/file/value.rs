//! Values, and where they stand.

use std::fmt;
use std::sync::Arc;

/// A place in a file; both numbers begin with 1, the column counts characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pos {
    /// Name of the file as it was given, or of the variable (`$NAME`) whose value is meant.
    pub file: Arc<str>,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// The text that a variable brought here, which may be a secret.
    pub(crate) brought: Option<Arc<str>>,
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What a key can have.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Quoted or bare text, or a `( … )` block.
    Str(String),
    /// A whole number, its size suffix applied.
    Int(i64),
    /// A number with a point.
    Float(f64),
    /// true, yes, on, false, no, off.
    Bool(bool),
    /// `2006-01-02T15:04:05Z`, unquoted; kept as it was written.
    Date(String),
    /// `[ … ]`
    Array(Vec<Node>),
    /// `{ … }`
    Map(Map),
}

impl Value {
    /// What it is to Go, for messages that are nats-server's word for word.
    #[must_use]
    pub(crate) fn go_kind(&self) -> &'static str {
        match self {
            Self::Str(_) => "string",
            Self::Int(_) => "int64",
            Self::Float(_) => "float64",
            Self::Bool(_) => "bool",
            Self::Date(_) => "time.Time",
            Self::Array(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
        }
    }

    /// What it is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Str(_) => "a string",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number with a point",
            Self::Bool(_) => "a boolean",
            Self::Date(_) => "a date",
            Self::Array(_) => "a list",
            Self::Map(_) => "a block",
        }
    }
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it begins.
    pub pos: Pos,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key as written.
    pub key: String,
    /// Where the key begins.
    pub pos: Pos,
    /// What it has.
    pub value: Node,
    /// Whether a `$KEY` refers to it. Such an entry may be there for that alone, and need not be a known option.
    pub is_variable: bool,
}

/// Entries in the order of the file. Of two equal keys the later one is kept, as in nats-server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// The entries.
    pub entries: Vec<Entry>,
}

impl Map {
    /// The entry of this very key (upper and lower case differ here; options do not care, variables do).
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}
