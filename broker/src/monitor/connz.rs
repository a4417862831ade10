//! `/connz`: connections.

use std::cmp::Reverse;
use std::sync::Arc;

use hyper::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Answer, Query, format, subsz};
use crate::client::Snapshot;
use crate::limits::MONITOR_LIST_DEFAULT;
use crate::server::Server;

pub(super) fn page(server: &Arc<Server>, query: &Query) -> Answer {
    match build(server, query) {
        Ok(page) => Answer::Json(StatusCode::OK, page),
        Err(text) => Answer::bad_request(text),
    }
}

fn build(server: &Arc<Server>, query: &Query) -> Result<Value, String> {
    let offset = query.number("offset")?;
    let limit = query.number("limit")?;
    let cid = query.number("cid")? as u64;
    let auth = query.flag("auth")?;
    let detailed = query.text("subs") == Some("detail");
    let subs = detailed || query.flag("subs")?;
    let now = Timestamp::now();
    let mut found = gather(server, query)?;
    if cid != 0 {
        found.retain(|client| client.id == cid);
    }
    if let Some(user) = query.text("user") {
        found.retain(|client| client.who.user == user);
    }
    if let Some(account) = query.text("acc") {
        found.retain(|client| *client.account == *account);
    }
    sort(&mut found, query.text("sort").unwrap_or("cid"), now)?;
    let total = found.len();
    let limit = match (cid, limit) {
        (0, 0) => MONITOR_LIST_DEFAULT,
        (0, limit) => limit,
        _ => 1,
    };
    let listed: Vec<Value> = found
        .iter()
        .skip(offset)
        .take(limit)
        .map(|client| {
            let mut fields = describe(client, now, auth);
            if subs {
                list_subscriptions(server, client.id, detailed, &mut fields);
            }
            Value::Object(fields)
        })
        .collect();
    Ok(json!({
        "server_id": server.id,
        "now": now.to_string(),
        "num_connections": listed.len(),
        "total": total,
        "offset": offset,
        "limit": limit,
        "connections": listed,
    }))
}

fn gather(server: &Server, query: &Query) -> Result<Vec<Snapshot>, String> {
    let open = || {
        server
            .clients()
            .iter()
            .map(|client| client.snapshot())
            .collect::<Vec<_>>()
    };
    match query.text("state").map(str::to_ascii_lowercase).as_deref() {
        None | Some("open" | "0") => Ok(open()),
        Some("closed" | "1") => Ok(server.closed_clients()),
        Some("any" | "all" | "2") => Ok(open().into_iter().chain(server.closed_clients()).collect()),
        Some(other) => Err(format!("Error decoding state for {other}")),
    }
}

fn sort(list: &mut [Snapshot], by: &str, now: Timestamp) -> Result<(), String> {
    match by {
        "cid" | "start" => list.sort_by_key(|client| client.id),
        "subs" => list.sort_by_key(|client| Reverse(client.subscriptions)),
        "pending" => list.sort_by_key(|client| Reverse(client.pending)),
        "msgs_to" => list.sort_by_key(|client| Reverse(client.out_messages)),
        "msgs_from" => list.sort_by_key(|client| Reverse(client.in_messages)),
        "bytes_to" => list.sort_by_key(|client| Reverse(client.out_bytes)),
        "bytes_from" => list.sort_by_key(|client| Reverse(client.in_bytes)),
        "last" => list.sort_by_key(|client| Reverse(client.last_activity)),
        "idle" => list.sort_by_key(|client| client.last_activity),
        "uptime" => {
            list.sort_by_key(|client| Reverse(client.stop.map_or(now, |(stop, _)| stop).duration_since(client.start)))
        }
        "stop" => list.sort_by_key(|client| client.stop.map(|(stop, _)| stop)),
        "reason" => list.sort_by_key(|client| client.stop.map(|(_, reason)| reason.to_string())),
        "rtt" => list.sort_by_key(|client| Reverse(client.rtt_ns)),
        other => return Err(format!("invalid sorting option: {other}")),
    }
    Ok(())
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
    put("rtt", format::duration(client.rtt_ns).into());
    put("uptime", format::uptime(client.start, end).into());
    put("idle", format::uptime(client.last_activity, end).into());
    put("pending_bytes", client.pending.into());
    put("in_msgs", client.in_messages.into());
    put("out_msgs", client.out_messages.into());
    put("in_bytes", client.in_bytes.into());
    put("out_bytes", client.out_bytes.into());
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
        put("account", (*client.account).into());
    }
    fields
}

fn list_subscriptions(server: &Server, id: u64, detailed: bool, fields: &mut Map<String, Value>) {
    let Some(client) = server.client(id) else {
        return;
    };
    let list = client.subscriptions();
    if list.is_empty() {
        return;
    }
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
