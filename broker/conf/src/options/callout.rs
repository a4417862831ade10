//! `auth_callout { … }`: a service decides who may come in.

use weir_jwt::key;

use super::read;
use super::schema::{self, Key, Kind, key};
use crate::error::ConfError;
use crate::file::Entry;

/// The account of those who are in no other.
const GLOBAL: &str = "$G";

/// `auth_callout { }`
const CALLOUT: &[Key] = &[
    key("issuer", Kind::Text),
    key("account acc", Kind::Text),
    key("auth_users users", Kind::List),
    key("xkey key", Kind::Text),
    key("allowed_accounts", Kind::List),
];

/// A service that decides who may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthCallout {
    /// The public key that its answers are signed with.
    pub issuer: String,
    /// The account that it is in.
    pub account: String,
    /// Users that it does not decide about: itself.
    pub auth_users: Vec<String>,
    /// The public key to encrypt for; `None`: nothing is encrypted.
    pub xkey: Option<String>,
    /// Accounts whose users it decides about; empty: all.
    pub allowed_accounts: Vec<String>,
}

impl AuthCallout {
    /// Whether it decides about the users of this account.
    #[must_use]
    pub fn decides_about(&self, account: &str) -> bool {
        self.allowed_accounts.is_empty() || self.allowed_accounts.iter().any(|allowed| allowed == account)
    }
}

/// `auth_callout { … }`
pub(super) fn callout(entry: &Entry) -> Result<AuthCallout, ConfError> {
    schema::check_block(entry, CALLOUT)?;
    let mut found = AuthCallout {
        issuer: String::new(),
        account: GLOBAL.to_owned(),
        auth_users: Vec::new(),
        xkey: None,
        allowed_accounts: Vec::new(),
    };
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "issuer" => {
                found.issuer = read::text(e)?;
                if !key::is_account(&found.issuer) {
                    // What stands there may be the seed.
                    let message = "Expected callout user to be a valid public account nkey";
                    return Err(ConfError::at(&e.value.pos, message));
                }
            }
            "account" | "acc" => found.account = read::name(e)?,
            "auth_users" | "users" => found.auth_users = read::texts(e)?,
            "xkey" | "key" => {
                let text = read::text(e)?;
                if !key::is_curve(&text) {
                    let message = "Expected callout xkey to be a valid public xkey";
                    return Err(ConfError::at(&e.value.pos, message));
                }
                found.xkey = Some(text);
            }
            "allowed_accounts" => found.allowed_accounts = read::texts(e)?,
            _ => {}
        }
    }
    let fail = |message: &str| Err(ConfError::at(&entry.pos, message));
    if found.issuer.is_empty() {
        return fail("Authorization callouts require an issuer to be specified");
    }
    if found.auth_users.is_empty() {
        return fail("Authorization callouts require authorized users to be specified");
    }
    Ok(found)
}
