//! Who may connect: users with passwords, or a token.

use std::fmt;
use std::time::Duration;

use super::{keys, read, schema, unsupported};
use crate::error::ConfError;
use crate::file::{Entry, Node, Value};

/// A user of the one account there is.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Password, plain or as a bcrypt hash (`$2a$…`).
    pub password: String,
}

/// Who may connect. Without users and token: everybody.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// Users; empty when there is a token.
    pub users: Vec<User>,
    /// Token, plain or as a bcrypt hash.
    pub token: Option<String>,
    /// Time a client has to send its CONNECT.
    pub timeout: Duration,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            users: Vec::new(),
            token: None,
            timeout: Duration::from_secs(2),
        }
    }
}

impl Auth {
    /// Whether a client has to say who it is.
    #[must_use]
    pub fn required(&self) -> bool {
        self.token.is_some() || !self.users.is_empty()
    }
}

// Passwords stay out of logs.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Auth")
            .field("users", &self.users)
            .field("token", &token)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// `authorization { … }`
pub(super) fn apply(auth: &mut Auth, entry: &Entry) -> Result<(), ConfError> {
    schema::check_block(entry, keys::AUTHORIZATION)?;
    let (mut name, mut password, mut token, mut users) = (None, None, None, None);
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "user" | "username" => name = Some(read::name(e)?),
            "pass" | "password" => password = Some(read::text(e)?),
            "token" => token = Some(read::name(e)?),
            "timeout" => auth.timeout = read::positive_time(e)?,
            "users" => users = Some(read::list(e)?.iter().map(user).collect::<Result<Vec<_>, _>>()?),
            _ => unsupported::refuse(e, keys::AUTHORIZATION)?,
        }
    }
    let fail = |message: &str| Err(ConfError::at(&entry.pos, message));
    let single = match (name, password) {
        (None, None) => None,
        (Some(name), Some(password)) => Some(User { name, password }),
        (Some(_), None) => return fail("authorization has a user without a password"),
        (None, Some(_)) => return fail("authorization has a password without a user"),
    };
    if token.is_some() && (single.is_some() || users.is_some()) {
        return fail("authorization has both a token and users: choose one");
    }
    if single.is_some() && users.is_some() {
        return fail("authorization has both a single user and a users list: put the user into the list");
    }
    auth.users = users.unwrap_or_else(|| single.into_iter().collect());
    auth.token = token;
    for (i, user) in auth.users.iter().enumerate() {
        if auth.users[..i].iter().any(|other| other.name == user.name) {
            return fail(&format!("the user {:?} is in the list twice", user.name));
        }
    }
    Ok(())
}

fn user(node: &Node) -> Result<User, ConfError> {
    let fail = |message: &str| ConfError::at(&node.pos, message);
    let Value::Map(map) = &node.value else {
        return Err(fail("an entry of users must be a block, as {user: a, password: b}"));
    };
    schema::check(map, keys::USER)?;
    let (mut name, mut password) = (None, None);
    for e in &map.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "user" | "username" => name = Some(read::name(e)?),
            "pass" | "password" => password = Some(read::text(e)?),
            _ => unsupported::refuse(e, keys::USER)?,
        }
    }
    let name = name.ok_or_else(|| fail("this entry of users has no user"))?;
    let password = password.ok_or_else(|| fail("this entry of users has no password"))?;
    Ok(User { name, password })
}
