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
}

impl ConfError {
    pub(crate) fn at(pos: &Pos, message: impl Into<String>) -> Self {
        Self::At {
            pos: pos.clone(),
            message: message.into(),
        }
    }

    pub(crate) fn syntax(pos: &Pos, message: impl Into<String>) -> Self {
        Self::Syntax {
            pos: pos.clone(),
            message: message.into(),
        }
    }
}
