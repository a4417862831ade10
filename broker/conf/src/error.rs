//! What can be wrong with a command line or a configuration file.

use thiserror::Error;

use crate::file::Pos;

/// Why there are no options. The text is for the person who wrote the flag or the file.
#[derive(Debug, Error)]
pub enum ConfError {
    /// Something in a file, and where: `file:line:column: message`.
    #[error("{pos}: {message}")]
    At {
        /// Where it stands.
        pos: Pos,
        /// What is wrong and, where that is not plain, what to write instead.
        message: String,
    },
    /// The file is not in the configuration's language, and where: `file:line:column: Parse error: message`. The two words
    /// are nats-server's, which tools look for.
    #[error("{pos}: Parse error: {message}")]
    Syntax {
        /// Where it stands.
        pos: Pos,
        /// What is wrong.
        message: String,
    },
    /// A file that cannot be read.
    #[error("cannot read the configuration file {file}: {source}")]
    Read {
        /// The file's name.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// Something on the command line, or two settings that do not go together.
    #[error("{0}")]
    Setting(String),
    /// More than one thing in a file, a line each.
    #[error("{}", lines(told, *.more))]
    Several {
        /// Those that are told.
        told: Vec<ConfError>,
        /// How many are not.
        more: usize,
    },
}

fn lines(told: &[ConfError], more: usize) -> String {
    let mut lines: Vec<String> = told.iter().map(ToString::to_string).collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// Faults of a file that are told; of the others only how many there are.
const TOLD_MAX: usize = 32;

/// What is wrong with a file, in several places of it.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    told: Vec<ConfError>,
    /// Those that are not kept.
    more: usize,
}

impl Faults {
    /// Keeps what is wrong; else answers what was read.
    pub(crate) fn take<T>(&mut self, read: Result<T, ConfError>) -> Option<T> {
        match read {
            Ok(read) => return Some(read),
            Err(ConfError::Several { told, more }) => {
                self.more += more;
                told.into_iter().for_each(|error| self.keep(error));
            }
            Err(error) => self.keep(error),
        }
        None
    }

    fn keep(&mut self, error: ConfError) {
        // What a table finds, whoever reads the value finds as well.
        let text = error.to_string();
        if self.told.iter().any(|known| known.to_string() == text) {
            return;
        }
        match self.told.len() < TOLD_MAX {
            true => self.told.push(error),
            false => self.more += 1,
        }
    }

    /// # Errors
    /// All that was kept.
    pub(crate) fn end(mut self) -> Result<(), ConfError> {
        match (self.told.len(), self.more) {
            (0, _) => Ok(()),
            (1, 0) => self.told.pop().map_or(Ok(()), Err),
            (_, more) => Err(ConfError::Several { told: self.told, more }),
        }
    }
}

/// Parts of a text from which on they tell of it, in bytes.
const WORD_MIN: usize = 3;

/// Whether a message has that text in it, or a word of it.
fn tells(message: &str, text: &str) -> bool {
    let has = |part: &str| !part.is_empty() && message.contains(part);
    has(text)
        || has(&text.escape_debug().to_string())
        || text
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| word.len() >= WORD_MIN && has(word))
}

impl ConfError {
    pub(crate) fn at(pos: &Pos, message: impl Into<String>) -> Self {
        let message = message.into();
        // What a variable holds may be a secret, and a message on a part of that would tell it.
        let message = match &pos.brought {
            _ if pos.file.starts_with('$') => {
                "what this variable of the environment holds is not what belongs here".to_owned()
            }
            Some(text) if tells(&message, text) => "what this variable holds is not what belongs here".to_owned(),
            _ => message,
        };
        Self::At {
            pos: pos.clone(),
            message,
        }
    }

    pub(crate) fn syntax(pos: &Pos, message: impl Into<String>) -> Self {
        Self::Syntax {
            pos: pos.clone(),
            message: message.into(),
        }
    }
}
