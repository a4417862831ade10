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
            host: self.peer().ip().to_string(),
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

/// Who a request from another account comes from, as its `Nats-Request-Info` says.
#[derive(Clone, Debug, Default, Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct RequestInfo {
    #[serde(skip_serializing_if = "String::is_empty")]
    start: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    host: String,
    #[serde(skip_serializing_if = "is_zero")]
    id: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    acc: String,
    /// The account that handed it on.
    #[serde(skip_serializing_if = "String::is_empty")]
    svc: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    lang: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ver: String,
    #[serde(skip_serializing_if = "is_zero")]
    rtt: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    server: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_type: String,
}

impl RequestInfo {
    /// Of a message that no client of that account sends: a stream of it does.
    pub fn of_account(account: &str) -> String {
        let info = Self {
            acc: account.to_owned(),
            ..Self::default()
        };
        // Names always have a JSON form.
        serde_json::to_string(&info).unwrap_or_default()
    }

    /// What was said before, now that `account` hands the request on; with the server's name, if that is to be told from here on. `None` if
    /// it cannot be read.
    pub fn again(known: &[u8], account: &str, tell: bool, link: Option<&Link>) -> Option<String> {
        let mut info: Self = serde_json::from_slice(known).ok()?;
        account.clone_into(&mut info.svc);
        if let Some(link) = link.filter(|_| tell) {
            info.server.clone_from(&link.context.identity.name);
        }
        serde_json::to_string(&info).ok()
    }
}

impl Link {
    /// What a service of another account is told of this client: its account, and how far it is; with `share` who it is, too.
    pub(crate) fn request_info(&self, share: bool) -> String {
        let all = self.client_info();
        let mut info = RequestInfo {
            acc: all.acc,
            rtt: all.rtt,
            ..RequestInfo::default()
        };
        if share {
            info = RequestInfo {
                start: all.start,
                host: all.host,
                id: all.id,
                user: all.user,
                name: all.name,
                lang: all.lang,
                ver: all.ver,
                server: all.server,
                kind: all.kind.to_owned(),
                client_type: all.client_type.to_owned(),
                ..info
            };
        }
        // Names and numbers always have a JSON form.
        serde_json::to_string(&info).unwrap_or_default()
    }

    /// The last round trip, in nanoseconds; 0 if none was measured.
    pub(crate) fn rtt_ns(&self) -> u64 {
        self.ping.rtt_ns()
    }
}
