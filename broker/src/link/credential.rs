//! Who a client is, by a token.

use std::fmt;

use crate::limits::CLOSED_TOKEN_MAX;

/// What a client's token says of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credential {
    /// Its key.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// Its labels.
    pub tags: Vec<String>,
    /// The key that signed it, if that is not the account's own.
    pub signer: Option<String>,
    /// When it was signed, in seconds since 1970.
    pub issued_at: i64,
    /// Whether the token alone proves who comes.
    pub bearer: bool,
    /// Whether it may do what its account's users may that say nothing of it.
    pub by_default: bool,
    /// The token; empty if it is somebody else's.
    pub token: String,
}

impl Credential {
    /// The token, as it may be told: one that alone proves who comes is a secret.
    #[must_use]
    pub fn told(&self) -> &str {
        if self.bearer { "" } else { &self.token }
    }

    /// As much of it as is told of a connection that has ended: no more than a bounded part of what a client may send.
    pub(crate) fn of_closed(&self) -> Self {
        let token = Some(self.told()).filter(|token| token.len() <= CLOSED_TOKEN_MAX);
        let mut room = CLOSED_TOKEN_MAX;
        let fits = |tag: &&String| match room.checked_sub(tag.len() + size_of::<String>()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        Self {
            key: self.key.clone(),
            name: self.name.clone(),
            tags: self.tags.iter().take_while(fits).cloned().collect(),
            signer: self.signer.clone(),
            token: token.unwrap_or_default().to_owned(),
            ..*self
        }
    }
}

// Tokens stay out of logs.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
