//! `/connz`: connections.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::subsz::SubscriptionDetail;
use super::{Reports, format};
use crate::interest::GLOBAL;
use crate::limits::{MONITOR_LIST_DEFAULT, MONITOR_LIST_MAX};
use crate::link::{Certificate, Snapshot};
use crate::session::Session;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct ConnzOptions {
    /// Which connections.
    pub state: State,
    /// What they are sorted by; the number of the connection if nothing is said.
    pub sort: Option<String>,
    /// Only this connection; 0: all.
    pub cid: u64,
    /// Only those of this account.
    pub account: Option<String>,
    /// Only those of this user.
    pub user: Option<String>,
    /// Only the one of this MQTT client.
    pub mqtt_client: Option<String>,
    /// Only those with a subscription that overlaps with this filter; goes with `account` alone.
    pub filter_subject: Option<String>,
    /// With user and account.
    pub auth: bool,
    /// With subscriptions.
    pub subscriptions: bool,
    /// With all that is known of those.
    pub detailed: bool,
    /// Connections before the first one listed.
    pub offset: usize,
    /// Connections listed at most; 0: as many as is usual.
    pub limit: usize,
}

/// Connections.
#[derive(Clone, Debug, Serialize)]
pub struct Connz {
    /// The server's id.
    pub server_id: String,
    /// When this was.
    pub now: String,
    /// How many connections are listed.
    pub num_connections: usize,
    /// How many there are of that account, in that state.
    pub total: usize,
    /// Connections before the first one listed.
    pub offset: usize,
    /// Connections listed at most.
    pub limit: usize,
    /// Those; `None` if there is no such account.
    pub connections: Option<Vec<ConnectionInfo>>,
}

/// One connection.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionInfo {
    /// Its number.
    pub cid: u64,
    /// What kind of connection it is.
    pub kind: &'static str,
    /// What kind of client.
    #[serde(rename = "type")]
    pub client_type: &'static str,
    /// Where it comes from.
    pub ip: String,
    /// From which port.
    pub port: u16,
    /// When it was accepted.
    pub start: String,
    /// When it last did anything but PING and PONG.
    pub last_activity: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The last round trip.
    pub rtt: String,
    /// How long it was there.
    pub uptime: String,
    /// How long it has done nothing.
    pub idle: String,
    /// Bytes waiting for it.
    pub pending_bytes: usize,
    /// Messages it sent.
    pub in_msgs: u64,
    /// Messages it was sent.
    pub out_msgs: u64,
    /// Bytes of those it sent.
    pub in_bytes: u64,
    /// Bytes of those it was sent.
    pub out_bytes: u64,
    /// How many subscriptions it has.
    pub subscriptions: usize,
    /// The name it gave itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The language of its library.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
    /// The version of its library.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The version of TLS: `1.3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<&'static str>,
    /// What it is encrypted with, by Go's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cipher_suite: Option<String>,
    /// Its certificates, its own first, if its user was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls_peer_certs: Vec<Certificate>,
    /// It began with its handshake, before it was sent INFO.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_first: bool,
    /// Its user, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorized_user: Option<String>,
    /// Its account, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Its token, if it has one and that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<String>,
    /// The key that signed that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_key: Option<String>,
    /// What people call its account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_tag: Option<String>,
    /// The proxy that it came by, if that is trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyInfo>,
    /// Labels of its user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What it subscribed to, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list: Vec<String>,
    /// The same with all that is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list_detail: Vec<SubscriptionDetail>,
}

/// A proxy that speaks for a client.
#[derive(Clone, Debug, Serialize)]
pub struct ProxyInfo {
    /// Its public key.
    pub key: String,
}

/// A connection that may be listed. What it says of itself is asked only of those that are.
enum Row {
    Open(Arc<Session>),
    Closed(Arc<Snapshot>),
}

impl Row {
    fn id(&self) -> u64 {
        match self {
            Self::Open(session) => session.link.id,
            Self::Closed(snapshot) => snapshot.id,
        }
    }

    /// Whether it has a subscription that something could match which the filter matches as well. What connections that are
    /// gone had is not known any more.
    fn has_interest_in(&self, filter: &[u8]) -> bool {
        match self {
            Self::Open(session) => {
                let all = session.subscriptions(usize::MAX);
                all.iter().any(|found| weir_subject::overlaps(&found.subject, filter))
            }
            Self::Closed(_) => false,
        }
    }

    fn snapshot(&self) -> Cow<'_, Snapshot> {
        match self {
            Self::Open(session) => Cow::Owned(session.snapshot()),
            Self::Closed(snapshot) => Cow::Borrowed(snapshot),
        }
    }
}

/// Which connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Those that are there.
    #[default]
    Open,
    /// The last ones that ended.
    Closed,
    /// All of these.
    Any,
}

impl Reports {
    /// Connections.
    ///
    /// # Errors
    /// They cannot be sorted so: the text to answer with.
    pub fn connz(&self, options: &ConnzOptions) -> Result<Connz, String> {
        let (state, cid, offset, limit) = (options.state, options.cid, options.offset, options.limit);
        if options.filter_subject.is_some() && options.account.is_none() {
            return Err("filter by subject only valid with account filtering".to_owned());
        }
        let key = sort_key(options.sort.as_deref().unwrap_or("cid"), state)?;
        let now = Timestamp::now();
        let mut rows = gather(self, state);
        if let Some(account) = &options.account {
            rows.retain(|row| row.snapshot().who.account == *account);
        }
        // The other filters do not count here, as with nats-server.
        let total = rows.len();
        if let Some(filter) = &options.filter_subject {
            rows.retain(|row| row.has_interest_in(filter.as_bytes()));
        }
        if cid != 0 {
            rows.retain(|row| row.id() == cid);
        }
        if let Some(user) = &options.user {
            rows.retain(|row| row.snapshot().who.user == *user);
        }
        // No connection is one of MQTT.
        if options.mqtt_client.is_some() {
            rows.clear();
        }
        match key {
            None => rows.sort_by_key(Row::id),
            Some(key) => rows.sort_by_cached_key(|row| key(&row.snapshot(), now)),
        }
        let limit = match (cid, limit) {
            (0, 0) => MONITOR_LIST_DEFAULT,
            (0, limit) => limit.min(MONITOR_LIST_MAX),
            _ => 1,
        };
        let mut room = MONITOR_LIST_MAX;
        let listed: Vec<ConnectionInfo> = rows
            .iter()
            .skip(offset)
            .take(limit)
            .map(|row| {
                let mut info = ConnectionInfo::of(&row.snapshot(), now, options.auth);
                if let (Row::Open(session), true) = (row, options.subscriptions) {
                    info.list_subscriptions(session, options.detailed, &mut room);
                }
                info
            })
            .collect();
        let unknown = options
            .account
            .as_ref()
            .is_some_and(|account| self.accounts.get(account).is_none());
        Ok(Connz {
            server_id: self.context.identity.id.clone(),
            now: now.to_string(),
            num_connections: listed.len(),
            total,
            offset,
            limit,
            connections: (!unknown).then_some(listed),
        })
    }
}

fn gather(reports: &Reports, state: State) -> Vec<Row> {
    let open = if state == State::Closed {
        Vec::new()
    } else {
        reports.hall.sessions.all()
    };
    let closed = if state == State::Open {
        Vec::new()
    } else {
        reports.hall.sessions.closed()
    };
    let open = open.into_iter().map(Row::Open);
    open.chain(closed.into_iter().map(Row::Closed)).collect()
}

type Key = fn(&Snapshot, Timestamp) -> (i128, &'static str);

/// What a list is sorted by, the smallest first; `None`: the connection's number.
fn sort_key(by: &str, state: State) -> Result<Option<Key>, String> {
    fn down(number: impl TryInto<i128>) -> (i128, &'static str) {
        (-number.try_into().unwrap_or(i128::MAX), "")
    }
    let key: Key = match by {
        "cid" | "start" => return Ok(None),
        "stop" | "reason" if state != State::Closed => {
            return Err(format!("sort by {by} only valid on closed connections"));
        }
        "subs" => |client, _| down(client.subscriptions),
        "pending" => |client, _| down(client.pending),
        "msgs_to" => |client, _| down(client.traffic.out_messages),
        "msgs_from" => |client, _| down(client.traffic.in_messages),
        "bytes_to" => |client, _| down(client.traffic.out_bytes),
        "bytes_from" => |client, _| down(client.traffic.in_bytes),
        "last" => |client, _| down(client.last_activity.as_nanosecond()),
        "idle" => |client, _| (client.last_activity.as_nanosecond(), ""),
        "uptime" => |client, now| {
            let end = client.stop.map_or(now, |(stop, _)| stop);
            down(end.duration_since(client.start).as_nanos())
        },
        "stop" => |client, _| (client.stop.map_or(0, |(stop, _)| stop.as_nanosecond()), ""),
        "reason" => |client, _| (0, client.stop.map_or("", |(_, reason)| reason.text())),
        "rtt" => |client, _| down(client.rtt_ns),
        other => return Err(format!("invalid sorting option: {other}")),
    };
    Ok(Some(key))
}

impl ConnectionInfo {
    fn of(client: &Snapshot, now: Timestamp, auth: bool) -> Self {
        let end = client.stop.map_or(now, |(stop, _)| stop);
        let who = &client.who;
        let tls = client.tls.as_ref();
        let credential = who.credential.as_ref().filter(|_| auth);
        Self {
            cid: client.id,
            kind: "Client",
            client_type: client.kind.text(),
            ip: client.peer.ip().to_string(),
            port: client.peer.port(),
            start: client.start.to_string(),
            last_activity: client.last_activity.to_string(),
            stop: client.stop.map(|(stop, _)| stop.to_string()),
            reason: client.stop.map(|(_, reason)| reason.text()),
            rtt: weir_duration::format(i64::try_from(client.rtt_ns).unwrap_or(i64::MAX)),
            uptime: format::uptime(client.start, end),
            idle: format::uptime(client.last_activity, end),
            pending_bytes: client.pending,
            in_msgs: client.traffic.in_messages,
            out_msgs: client.traffic.out_messages,
            in_bytes: client.traffic.in_bytes,
            out_bytes: client.traffic.out_bytes,
            subscriptions: client.subscriptions,
            name: who.name.clone(),
            lang: who.lang.clone(),
            version: who.version.clone(),
            tls_version: tls.map(|tls| tls.version),
            tls_cipher_suite: tls.map(|tls| tls.suite.clone()),
            tls_peer_certs: tls
                .filter(|_| auth)
                .map_or_else(Vec::new, |tls| tls.certificates.clone()),
            tls_first: tls.is_some_and(|tls| tls.first),
            authorized_user: (auth && !who.user.is_empty()).then(|| who.user.clone()),
            // As nats-server: the account of those who name none goes without saying.
            account: (auth && who.account != GLOBAL).then(|| who.account.clone()),
            jwt: credential.map(|of| of.told().to_owned()).filter(|jwt| !jwt.is_empty()),
            issuer_key: match credential {
                Some(of) => Some(of.signer.clone().unwrap_or_else(|| who.account.clone())),
                // As nats-server: of a user with a key, too.
                None => (auth && who.by_key).then(|| who.account.clone()),
            },
            // As nats-server: what people call the account, and of one that has ended, what they call the user.
            name_tag: match (&client.stop, &who.account_tag) {
                (None, Some(tag)) => Some(tag.to_string()),
                (None, None) => Some(who.account.clone()),
                (Some(_), _) => credential.map(|of| of.name.clone()).filter(|name| !name.is_empty()),
            }
            .filter(|_| auth),
            proxy: who.proxy.as_ref().map(|key| ProxyInfo { key: key.to_string() }),
            tags: credential.map(|of| of.tags.clone()).unwrap_or_default(),
            subscriptions_list: Vec::new(),
            subscriptions_list_detail: Vec::new(),
        }
    }

    /// Lists a client's subscriptions, as far as there is room in the answer.
    fn list_subscriptions(&mut self, session: &Session, detailed: bool, room: &mut usize) {
        let list = session.subscriptions(*room);
        *room -= list.len();
        if detailed {
            let details = list.iter().map(|found| SubscriptionDetail::of(None, found));
            self.subscriptions_list_detail = details.collect();
        } else {
            let names = list
                .iter()
                .map(|found| String::from_utf8_lossy(&found.subject).into_owned());
            self.subscriptions_list = names.collect();
        }
    }
}
