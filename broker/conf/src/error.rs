//! What can be wrong with a command line or a configuration file.

use std::fmt::Write as _;

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
    /// More than one thing in a file: a line each, as far as they are told.
    #[error("{0}")]
    Several(String),
}

/// Faults of a file that are told; of the others only how many there are.
const TOLD_MAX: usize = 32;

/// What is wrong with a file, in several places of it.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    found: Vec<ConfError>,
    /// Those that are not kept.
    more: usize,
}

impl Faults {
    /// Keeps what is wrong; else answers what was read.
    pub(crate) fn take<T>(&mut self, read: Result<T, ConfError>) -> Option<T> {
        let error = match read {
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        match self.found.len() < TOLD_MAX {
            true => self.found.push(error),
            false => self.more += 1,
        }
        None
    }

    /// # Errors
    /// All that was kept.
    pub(crate) fn end(self) -> Result<(), ConfError> {
        let mut found = self.found.into_iter();
        let Some(first) = found.next() else {
            return Ok(());
        };
        let rest: Vec<ConfError> = found.collect();
        if rest.is_empty() && self.more == 0 {
            return Err(first);
        }
        // What a table finds, whoever reads the value finds as well; and those of a block come as one.
        let texts: Vec<String> = std::iter::once(&first).chain(&rest).map(ToString::to_string).collect();
        let mut lines: Vec<&str> = Vec::new();
        for line in texts.iter().flat_map(|text| text.lines()) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let more = self.more + lines.len().saturating_sub(TOLD_MAX);
        lines.truncate(TOLD_MAX);
        match (lines.len(), more) {
            (1, 0) => Err(first),
            _ => {
                let mut text = lines.join("\n");
                if more > 0 {
                    // Writing into a String has no failure.
                    let _ = write!(text, "\nand {more} more");
                }
                Err(ConfError::Several(text))
            }
        }
    }
}

impl ConfError {
    pub(crate) fn at(pos: &Pos, message: impl Into<String>) -> Self {
        // What a variable of the environment holds may be a secret, and a message on a part of that would tell it.
        let message = match pos.file.starts_with('$') {
            true => "what this variable of the environment holds is not what belongs here".to_owned(),
            false => message.into(),
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
