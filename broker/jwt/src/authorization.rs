//! What a server asks a service about a client, and what that answers.

use serde::{Deserialize, Serialize};

use crate::common::{Common, or_default};
use crate::issues::Issues;
use crate::key;

/// May this client come in?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorizationRequestClaims {
    /// What every token claims.
    #[serde(flatten)]
    pub common: Common,
    /// The rest.
    pub nats: AuthorizationRequest,
}

/// What a request says of the client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorizationRequest {
    /// The server that asks.
    pub server_id: ServerId,
    /// The key of the user that is to be answered with.
    pub user_nkey: String,
    /// The client.
    pub client_info: ClientInformation,
    /// What it said.
    pub connect_opts: ConnectOptions,
    /// What it said by TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_tls: Option<serde_json::Value>,
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) version: i64,
}

/// A server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerId {
    /// Its name.
    pub name: String,
    /// Its host.
    pub host: String,
    /// Its key.
    pub id: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Its cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Its labels.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub tags: Vec<String>,
    /// The key to encrypt the answer for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub xkey: String,
}

/// A client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientInformation {
    /// From where it comes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The number of its connection.
    #[serde(skip_serializing_if = "is_none")]
    pub id: u64,
    /// The user that it says it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// What it calls itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Labels of its user.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub tags: Vec<String>,
    /// What people call its user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name_tag: String,
    /// What kind of connection it is: `Client`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// By what it comes: `nats`, `websocket`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// What it signed, if it did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

/// What a client said in CONNECT.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectOptions {
    /// Its token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jwt: String,
    /// Its key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nkey: String,
    /// What it signed with that.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sig: String,
    /// A word that it knows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth_token: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Its password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pass: String,
    /// What it calls itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The language of its library.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
    /// The version of its library.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The protocol that it speaks.
    pub protocol: i64,
}

// Secrets stay out of logs.
impl std::fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Whether the client may come in, and as whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorizationResponseClaims {
    /// What every token claims: its subject is the key that was asked for, its audience the server that asked.
    #[serde(flatten)]
    pub common: Common,
    /// The rest.
    pub nats: AuthorizationResponse,
}

/// What a service answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorizationResponse {
    /// The user.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub jwt: String,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub error: String,
    /// The account that answers, if it was signed by one of its signing keys.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub issuer_account: String,
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) version: i64,
}

impl AuthorizationResponseClaims {
    /// What is wrong with it at this time, in seconds since 1970.
    #[must_use]
    pub fn check(&self, now: i64) -> Issues {
        let mut issues = Issues::default();
        if !key::is_user(&self.common.subject) {
            issues.error("Subject must be a user public key");
        }
        if !key::is_server(&self.common.audience) {
            issues.error("Audience must be a server public key");
        }
        match (self.nats.error.is_empty(), self.nats.jwt.is_empty()) {
            (true, true) => issues.error("Error or Jwt is required"),
            (false, false) => issues.error("Only Error or Jwt can be set"),
            _ => {}
        }
        let account = &self.nats.issuer_account;
        if !account.is_empty() && !key::is_account(account) {
            issues.error("issuer_account is not an account public key");
        }
        self.common.check(now, &mut issues);
        issues
    }

    /// Whether it is an error to be told.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !self.nats.error.is_empty()
    }
}
