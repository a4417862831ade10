//! What is wrong with claims.

/// What was found wrong with claims, in the order in which it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Issues {
    /// What makes them void.
    pub errors: Vec<String>,
    /// What makes them void at this time.
    pub times: Vec<String>,
}

impl Issues {
    pub(crate) fn error(&mut self, text: impl Into<String>) {
        self.errors.push(text.into());
    }

    pub(crate) fn time(&mut self, text: impl Into<String>) {
        self.times.push(text.into());
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.errors.is_empty() && self.times.is_empty()
    }

    /// What was found first, whatever makes it wrong; of errors first.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.errors.first().or(self.times.first()).map(String::as_str)
    }
}
