//! `INFO`: how a server introduces itself.

use serde::{Deserialize, Serialize};

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn is_false(b: &bool) -> bool {
    !*b
}

/// The JSON of `INFO`, with nats-server's names, order, and habit of leaving out what is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Identity of this server process: 56 characters beginning with `N`.
    pub server_id: String,
    /// Configured name; the id if there is none.
    pub server_name: String,
    /// The nats-server version whose behaviour clients may expect.
    pub version: String,
    /// The server's own version, where it is not nats-server's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub weir_version: String,
    /// Protocol version; 1 means that INFO may be sent again at any time.
    pub proto: i32,
    /// Source revision, short.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// Compiler version.
    pub go: String,
    /// Host it listens on.
    pub host: String,
    /// Port it listens on.
    pub port: u16,
    /// Whether HPUB is understood.
    pub headers: bool,
    /// Whether CONNECT must carry credentials.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// Whether the connection must be upgraded to TLS now.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// Whether the server asks for a client certificate.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// Whether the connection may be upgraded to TLS now.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_available: bool,
    /// Largest message accepted, in bytes.
    pub max_payload: i64,
    /// Whether JetStream is on.
    #[serde(skip_serializing_if = "is_false")]
    pub jetstream: bool,
    /// Address a route advertises.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// Number of this connection.
    #[serde(skip_serializing_if = "is_zero")]
    pub client_id: u64,
    /// Address the server sees the client at.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_ip: String,
    /// What a client with an nkey signs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// Name of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Whether the cluster's name was made up by the servers.
    #[serde(skip_serializing_if = "is_false")]
    pub cluster_dynamic: bool,
    /// JetStream domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// `host:port` of every server a client may connect to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// The same for WebSocket.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ws_connect_urls: Vec<String>,
    /// Lame duck mode: connect to another server soon.
    #[serde(rename = "ldm", skip_serializing_if = "is_false")]
    pub lame_duck_mode: bool,
    /// Set in the INFO that follows the first PONG.
    #[serde(skip_serializing_if = "is_false")]
    pub connect_info: bool,
    /// Account the client was put in; only with `connect_info`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
    /// Whether that is the system account.
    #[serde(rename = "acc_is_sys", skip_serializing_if = "is_false")]
    pub account_is_system: bool,
    /// JetStream API level.
    #[serde(rename = "api_lvl", skip_serializing_if = "is_zero")]
    pub api_level: u64,
    /// Public x25519 key, for encrypted auth callouts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub xkey: String,
}

impl Info {
    /// The JSON text.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, numbers and booleans under string keys: serde_json has no failure for these, and a `Vec` none to write to.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads an INFO's JSON (a client's side). Unknown fields are ignored.
    ///
    /// # Errors
    /// The text is not JSON, or a field has the wrong type.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}
