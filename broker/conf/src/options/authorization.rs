//! Who may connect: users with passwords or keys, or whoever knows a token.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nkeys::{KeyPair, KeyPairType};

use super::callout::{self, AuthCallout};
use super::permissions::{self, Permissions};
use super::{keys, read, schema, unsupported};
use crate::error::{ConfError, Faults};
use crate::file::{Entry, Node, Value};

/// Why there are no users of accounts beside a single one.
const ALONE: &str = "Can not have a single user/pass or a token, and users of accounts";

/// A user.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Name; of a user with a key, the public key (`U…`).
    pub name: String,
    /// Password, plain or as a bcrypt hash (`$2a$…`); empty for one with a key.
    pub password: String,
    /// Whether it proves itself by signing a nonce, and not with a password.
    pub nkey: bool,
    /// The account it is in; `None`: that of those who are in no other.
    pub account: Option<String>,
    /// What it may do; `None`: everything.
    pub permissions: Option<Arc<Permissions>>,
    /// What it may connect with; empty: anything.
    pub connection_types: Vec<ConnectionType>,
    /// Whether it must come by a proxy that is trusted.
    pub proxy_required: bool,
}

/// What a client connects with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionType {
    /// The protocol over TCP or TLS.
    Standard,
    /// The protocol over WebSocket.
    Websocket,
    /// A leaf node.
    Leafnode,
    /// A leaf node over WebSocket.
    LeafnodeWebsocket,
    /// MQTT.
    Mqtt,
    /// MQTT over WebSocket.
    MqttWebsocket,
    /// From within the process.
    InProcess,
}

impl ConnectionType {
    /// By nats-server's name, in whatever case.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "STANDARD" => Self::Standard,
            "WEBSOCKET" => Self::Websocket,
            "LEAFNODE" => Self::Leafnode,
            "LEAFNODE_WS" => Self::LeafnodeWebsocket,
            "MQTT" => Self::Mqtt,
            "MQTT_WS" => Self::MqttWebsocket,
            "IN_PROCESS" => Self::InProcess,
            _ => return None,
        })
    }
}

/// Who may connect. Without users and token: everybody.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// Users; empty when there is a token.
    pub users: Vec<User>,
    /// Token, plain or as a bcrypt hash.
    pub token: Option<String>,
    /// What whoever has the token may do; `None`: everything.
    pub permissions: Option<Arc<Permissions>>,
    /// Time a client has to send its CONNECT.
    pub timeout: Duration,
    /// Whether somebody said so; else it is longer with TLS.
    pub timeout_given: bool,
    /// The user that clients without credentials are.
    pub no_auth_user: Option<String>,
    /// Whether the one user there is stands by itself, and not in a list: no certificate names it.
    pub single: bool,
    /// Whether there is an `authorization` block.
    pub block: bool,
    /// Whether a single user, or who knows the token, must come by a proxy that is trusted.
    pub proxy_required: bool,
    /// The service that decides who may come in, if there is one.
    pub callout: Option<AuthCallout>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            users: Vec::new(),
            token: None,
            permissions: None,
            timeout: Duration::from_secs(2),
            timeout_given: false,
            no_auth_user: None,
            single: false,
            block: false,
            proxy_required: false,
            callout: None,
        }
    }
}

impl Auth {
    /// Whether a client has to say who it is.
    #[must_use]
    pub fn required(&self) -> bool {
        self.token.is_some() || !self.users.is_empty() || self.callout.is_some()
    }

    /// What one block alone cannot tell.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.token.is_some() && !self.users.is_empty() {
            return Err(ALONE.to_owned());
        }
        self.check_no_auth_user(self.no_auth_user.as_deref())
    }

    /// Whether clients without credentials can be this user.
    pub(crate) fn check_no_auth_user(&self, name: Option<&str>) -> Result<(), String> {
        let Some(name) = name else {
            return Ok(());
        };
        if self.users.is_empty() {
            return Err(format!(
                "no_auth_user: {name:?} present, but users/nkeys are not defined"
            ));
        }
        match self.users.iter().any(|user| user.name == name) {
            true => Ok(()),
            false => Err(format!(
                "no_auth_user: {name:?} not present as user or nkey in authorization block or account configuration"
            )),
        }
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
            .field("no_auth_user", &self.no_auth_user)
            .finish_non_exhaustive()
    }
}

/// `authorization { … }`
pub(super) fn apply(auth: &mut Auth, entry: &Entry) -> Result<(), ConfError> {
    schema::check_block(entry, keys::AUTHORIZATION)?;
    let (mut name, mut password, mut token, mut users, mut permissions) = (None, None, None, None, None);
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "user" | "username" => name = Some(read::name(e)?),
            "pass" | "password" => password = Some(read::text(e)?),
            "token" => token = Some(read::name(e)?),
            "timeout" => (auth.timeout, auth.timeout_given) = (read::positive_time(e)?, true),
            "users" => users = Some(self::users(e)?),
            "default_permission" | "default_permissions" | "permissions" => {
                permissions = Some(Arc::new(permissions::permissions(e)?));
            }
            "proxy_required" => auth.proxy_required = read::boolean(e)?,
            "auth_callout" | "auth_hook" => auth.callout = Some(callout::callout(e)?),
            _ => unsupported::refuse(e, keys::AUTHORIZATION)?,
        }
    }
    let fail = |message: &str| Err(ConfError::at(&entry.pos, message));
    let single = match (name, password) {
        (None, None) => None,
        (Some(name), Some(password)) => Some(User {
            name,
            password,
            ..User::default()
        }),
        (Some(_), None) => return fail("authorization has a user without a password"),
        (None, Some(_)) => return fail("authorization has a password without a user"),
    };
    if token.is_some() && (single.is_some() || users.is_some()) {
        return fail("authorization has both a token and users: choose one");
    }
    if single.is_some() && users.is_some() {
        return fail("authorization has both a single user and a users list: put the user into the list");
    }
    if !auth.users.is_empty() && (single.is_some() || token.is_some()) {
        return fail(ALONE);
    }
    auth.single = single.is_some();
    let mut users = users.unwrap_or_else(|| single.into_iter().collect());
    auth.token = token;
    auth.block = true;
    by_default(&mut users, permissions.as_ref());
    // Those of accounts may be there already.
    auth.users.extend(users);
    auth.permissions = permissions;
    unique(&auth.users).map_err(|message| ConfError::at(&entry.pos, message))
}

/// Gives those without permissions of their own these.
pub(super) fn by_default(users: &mut [User], permissions: Option<&Arc<Permissions>>) {
    for user in users.iter_mut().filter(|user| user.permissions.is_none()) {
        user.permissions = permissions.cloned();
    }
}

/// Whether all of them have different names.
pub(super) fn unique(users: &[User]) -> Result<(), String> {
    let mut names = HashSet::new();
    match users.iter().find(|user| !names.insert(&user.name)) {
        Some(user) => Err(format!("the user {:?} is in the list twice", user.name)),
        None => Ok(()),
    }
}

/// `users: [ … ]`
pub(super) fn users(entry: &Entry) -> Result<Vec<User>, ConfError> {
    let mut faults = Faults::default();
    let found = read::list(entry)?
        .iter()
        .filter_map(|node| faults.take(user(node)))
        .collect();
    faults.end().map(|()| found)
}

fn user(node: &Node) -> Result<User, ConfError> {
    let fail = |message: &str| ConfError::at(&node.pos, message);
    let Value::Map(map) = &node.value else {
        return Err(fail("an entry of users must be a block, as {user: a, password: b}"));
    };
    schema::check(map, keys::USER)?;
    let (mut name, mut password, mut nkey) = (None, None, None);
    let mut found = User::default();
    for e in &map.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "user" | "username" => name = Some(read::name(e)?),
            "pass" | "password" => password = Some(read::text(e)?),
            "proxy_required" => found.proxy_required = read::boolean(e)?,
            "nkey" => nkey = Some(read::word(e, public_key)?),
            "permission" | "permissions" | "authorization" => {
                found.permissions = Some(Arc::new(permissions::permissions(e)?));
            }
            "allowed_connection_types" | "connection_types" | "clients" => {
                found.connection_types = connection_types(e)?
            }
            _ => unsupported::refuse(e, keys::USER)?,
        }
    }
    if let Some(key) = nkey {
        if name.is_some() || password.is_some() {
            return Err(fail("Nkey users do not take usernames or passwords"));
        }
        found.nkey = true;
        found.name = key;
        return Ok(found);
    }
    found.name = name.ok_or_else(|| fail("this entry of users has no user"))?;
    // As nats-server has it: without a password, or with an empty one.
    found.password = password.unwrap_or_default();
    Ok(found)
}

/// The public key of a user.
fn public_key(text: &str) -> Result<String, String> {
    let key = KeyPair::from_public_key(text).ok();
    match key.is_some_and(|key| key.key_pair_type() == KeyPairType::User) {
        true => Ok(text.to_owned()),
        false => Err("Not a valid public nkey for a user".to_owned()),
    }
}

fn connection_types(entry: &Entry) -> Result<Vec<ConnectionType>, ConfError> {
    let names = read::texts(entry)?;
    let find = |name: &String| {
        ConnectionType::of(name).ok_or_else(|| {
            let message = format!("{}: {name:?} is not a type of connection", entry.key);
            ConfError::at(&entry.value.pos, message)
        })
    };
    names.iter().map(find).collect()
}
