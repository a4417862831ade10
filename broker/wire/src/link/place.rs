//! Which argument of a verb is what.

use super::{Dialect, Verb};

/// Where the words of a line are that say whose it is, and where its subject is: no more than two stand before that.
pub(super) struct Place {
    pub origin: Option<usize>,
    pub account: Option<usize>,
    pub subject: usize,
}

impl Place {
    /// In a line with this verb, on such a link.
    pub fn of(verb: Verb, dialect: Dialect) -> Self {
        let origin = verb.names_origin(dialect);
        let account = dialect.names_account();
        Self {
            origin: origin.then_some(0),
            account: account.then_some(usize::from(origin)),
            subject: usize::from(origin) + usize::from(account),
        }
    }
}
