//! Public keys in the nkey notation: 56 letters, of which the first says whose it is.

use ed25519_dalek::VerifyingKey;
use nkeys::{KeyPair, KeyPairType, XKey};

/// The key, if the text is one. A point of small order is none: some signature by it holds of any text, and nobody has to know anything to
/// make that.
#[must_use]
pub fn public(text: &str) -> Option<KeyPair> {
    let (_, point) = nkeys::from_public_key(text).ok()?;
    let is_weak = VerifyingKey::from_bytes(&point).ok()?.is_weak();
    KeyPair::from_public_key(text).ok().filter(|_| !is_weak)
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
