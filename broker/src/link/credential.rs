//! Who a client is, by a token.

use std::fmt;

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
}

// Tokens stay out of logs.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
