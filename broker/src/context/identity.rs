//! Who a server is.

use nkeys::{KeyPair, XKey};

/// What a server is called, and the keys that prove it. New with every start.
pub struct Identity {
    /// Its public key: 56 characters.
    pub id: String,
    /// The configured name, or the id.
    pub name: String,
    /// What it signs with.
    pub key: KeyPair,
    /// What others encrypt for it with.
    pub xkey: XKey,
}

impl Identity {
    /// New keys; `name` is the configured one.
    #[must_use]
    pub fn new(name: Option<&str>) -> Self {
        let key = KeyPair::new_server();
        let id = key.public_key();
        let name = name.map_or_else(|| id.clone(), str::to_owned);
        Self {
            id,
            name,
            key,
            xkey: XKey::new(),
        }
    }
}

#[cfg(test)]
mod tests;
