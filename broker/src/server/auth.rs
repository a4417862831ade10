//! Who may connect: everybody, one user, several users, or whoever knows the token.

use weir_wire::Connect;

use super::Server;
use crate::conf::options::Auth;
use crate::error::{Error, Result};

/// Length of a bcrypt hash in its usual notation.
const BCRYPT_LEN: usize = 60;

impl Server {
    /// Whether CONNECT must carry credentials.
    #[must_use]
    pub fn auth_required(&self) -> bool {
        self.options.auth.required()
    }

    /// The user that CONNECT's credentials belong to (empty for a token, or if none is needed); `None`: nobody.
    pub(crate) fn authenticate(&self, connect: &Connect) -> Option<String> {
        let auth = &self.options.auth;
        if !auth.required() {
            return Some(String::new());
        }
        if let Some(token) = &auth.token {
            return equal(token, &connect.auth_token).then(String::new);
        }
        let user = auth.users.iter().find(|user| user.name == connect.user)?;
        equal(&user.password, &connect.pass).then(|| user.name.clone())
    }
}

/// Refuses what is configured but cannot be checked here: better no server than one that lets nobody in, or anybody.
pub(super) fn check(auth: &Auth) -> Result<()> {
    let mut secrets = auth.users.iter().map(|user| &user.password).chain(&auth.token);
    if secrets.any(|secret| secret.starts_with("$2") && secret.len() == BCRYPT_LEN) {
        return Err(Error::Options(
            "bcrypt hashes are not supported yet: give the password or token in plain text".to_owned(),
        ));
    }
    Ok(())
}

/// Compares secrets in a time that tells nothing but their length.
fn equal(secret: &str, given: &str) -> bool {
    secret.len() == given.len()
        && secret
            .bytes()
            .zip(given.bytes())
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}
