//! `/connz`: connections.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Reports, format, subsz};
use crate::limits::{MONITOR_LIST_DEFAULT, MONITOR_LIST_MAX};
use crate::link::Snapshot;
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
    pub fn connz(&self, options: &ConnzOptions) -> Result<Value, String> {
        let (state, cid, offset, limit) = (options.state, options.cid, options.offset, options.limit);
        let key = sort_key(options.sort.as_deref().unwrap_or("cid"), state)?;
        let now = Timestamp::now();
        let mut rows = gather(self, state);
        if let Some(account) = &options.account {
            rows.retain(|row| row.snapshot().who.account == *account);
        }
        // The other filters do not count here, as with nats-server.
        let total = rows.len();
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
        let listed: Vec<Value> = rows
            .iter()
            .skip(offset)
            .take(limit)
            .map(|row| {
                let mut fields = describe(&row.snapshot(), now, options.auth);
                if let (Row::Open(session), true) = (row, options.subscriptions) {
                    list_subscriptions(session, options.detailed, &mut room, &mut fields);
                }
                Value::Object(fields)
            })
            .collect();
        let unknown = options
            .account
            .as_ref()
            .is_some_and(|account| self.accounts.get(account).is_none());
        Ok(json!({
            "server_id": self.context.identity.id,
            "now": now.to_string(),
            "num_connections": listed.len(),
            "total": total,
            "offset": offset,
            "limit": limit,
            "connections": if unknown { Value::Null } else { listed.into() },
        }))
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

fn describe(client: &Snapshot, now: Timestamp, auth: bool) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    let end = client.stop.map_or(now, |(stop, _)| stop);
    put("cid", client.id.into());
    put("kind", "Client".into());
    put("type", "nats".into());
    put("ip", client.peer.ip().to_string().into());
    put("port", client.peer.port().into());
    put("start", client.start.to_string().into());
    put("last_activity", client.last_activity.to_string().into());
    if let Some((stop, reason)) = client.stop {
        put("stop", stop.to_string().into());
        put("reason", reason.to_string().into());
    }
    put(
        "rtt",
        weir_duration::format(i64::try_from(client.rtt_ns).unwrap_or(i64::MAX)).into(),
    );
    put("uptime", format::uptime(client.start, end).into());
    put("idle", format::uptime(client.last_activity, end).into());
    put("pending_bytes", client.pending.into());
    put("in_msgs", client.traffic.in_messages.into());
    put("out_msgs", client.traffic.out_messages.into());
    put("in_bytes", client.traffic.in_bytes.into());
    put("out_bytes", client.traffic.out_bytes.into());
    put("subscriptions", client.subscriptions.into());
    for (name, value) in [
        ("name", &client.who.name),
        ("lang", &client.who.lang),
        ("version", &client.who.version),
    ] {
        if !value.is_empty() {
            put(name, value.as_str().into());
        }
    }
    if auth {
        if !client.who.user.is_empty() {
            put("authorized_user", client.who.user.as_str().into());
        }
        put("account", client.who.account.as_str().into());
    }
    fields
}

/// Lists a client's subscriptions, as far as there is room in the answer.
fn list_subscriptions(session: &Session, detailed: bool, room: &mut usize, fields: &mut Map<String, Value>) {
    let list = session.subscriptions(*room);
    if list.is_empty() {
        return;
    }
    *room -= list.len();
    if detailed {
        let details = list.iter().map(|found| subsz::detail("", found)).collect();
        fields.insert("subscriptions_list_detail".to_owned(), details);
    } else {
        let names = list
            .iter()
            .map(|found| Value::from(String::from_utf8_lossy(&found.subject)))
            .collect();
        fields.insert("subscriptions_list".to_owned(), names);
    }
}
