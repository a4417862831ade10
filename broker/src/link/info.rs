//! Who a request came from, as those are told who hear of it.

use serde::Serialize;

use super::Link;

/// A client as nats-server describes it in advisories and events.
#[derive(Clone, Debug, Serialize)]
pub struct ClientInfo {
    /// When it connected.
    pub start: String,
    /// The address it comes from.
    pub host: String,
    /// The number of its connection.
    pub id: u64,
    /// Its account.
    pub acc: String,
    /// Its user; empty if none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The name it gave itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The language of its library.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
    /// The version of its library.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ver: String,
    /// The last round trip, in nanoseconds; 0 if none was measured.
    #[serde(skip_serializing_if = "is_zero")]
    pub rtt: u64,
    /// The name of the server it is connected to.
    pub server: String,
    /// What kind of connection it is.
    pub kind: &'static str,
    /// What kind of client.
    pub client_type: &'static str,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Link {
    /// Who this is.
    #[must_use]
    pub fn client_info(&self) -> ClientInfo {
        let who = self.who.lock().clone();
        ClientInfo {
            start: self.start.to_string(),
            host: self.peer.ip().to_string(),
            id: self.id,
            acc: who.account,
            user: who.user,
            name: who.name,
            lang: who.lang,
            ver: who.version,
            rtt: self.ping.rtt_ns(),
            server: self.context.identity.name.clone(),
            kind: "Client",
            client_type: self.kind.text(),
        }
    }
}
