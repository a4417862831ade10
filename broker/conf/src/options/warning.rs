//! What is accepted, and may not be what was meant.

use std::fmt;

use crate::file::Pos;

/// Something in a file that does not keep a server from starting. It shows as `file:line:column: text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    text: String,
    /// `-t` refuses it, as nats-server's does: it is an old spelling, or an empty file.
    pub fails_check: bool,
}

impl Warning {
    /// Of something that has no effect here.
    pub(super) fn new(pos: &Pos, text: impl fmt::Display) -> Self {
        Self {
            text: format!("{pos}: {text}"),
            fails_check: false,
        }
    }

    /// The same of something that stands in no file.
    pub(crate) fn effectless(text: String) -> Self {
        Self {
            text,
            fails_check: false,
        }
    }

    /// Of what nats-server's `-t` refuses, too.
    pub(crate) fn doubtful(text: String) -> Self {
        Self {
            text,
            fails_check: true,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
