//! Public keys in the nkey notation: 56 letters, of which the first says whose it is.

use nkeys::{KeyPair, KeyPairType, XKey};

/// The key, if the text is one.
#[must_use]
pub fn public(text: &str) -> Option<KeyPair> {
    KeyPair::from_public_key(text).ok()
}

fn is(text: &str, kind: &KeyPairType) -> bool {
    public(text).is_some_and(|key| key.key_pair_type() == *kind)
}

/// Whether it is an operator's (`O…`).
#[must_use]
pub fn is_operator(text: &str) -> bool {
    is(text, &KeyPairType::Operator)
}

/// Whether it is an account's (`A…`).
#[must_use]
pub fn is_account(text: &str) -> bool {
    is(text, &KeyPairType::Account)
}

/// Whether it is a user's (`U…`).
#[must_use]
pub fn is_user(text: &str) -> bool {
    is(text, &KeyPairType::User)
}

/// Whether it is a server's (`N…`).
#[must_use]
pub fn is_server(text: &str) -> bool {
    is(text, &KeyPairType::Server)
}

/// Whether it is one to encrypt for (`X…`).
#[must_use]
pub fn is_curve(text: &str) -> bool {
    XKey::from_public_key(text).is_ok()
}
