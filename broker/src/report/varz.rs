//! `/varz`: the server as a whole.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{JszOptions, Reports, format};
use crate::version::{NATS_VERSION, RUSTC_VERSION, WEIR_VERSION};

impl Reports {
    /// The server as a whole.
    #[must_use]
    pub fn varz(&self) -> Value {
        let mut page = Map::new();
        for section in [identity(self), settings(self), activity(self), events(self)] {
            if let Value::Object(fields) = section {
                page.extend(fields);
            }
        }
        Value::Object(page)
    }
}

fn identity(reports: &Reports) -> Value {
    let context = &reports.context;
    json!({
        "server_id": context.identity.id,
        "server_name": context.identity.name,
        "version": NATS_VERSION,
        "weir_version": WEIR_VERSION,
        "proto": 1,
        "go": RUSTC_VERSION,
        "host": context.live.read().host,
        "port": context.status.client_address().map_or(0, |address| address.port()),
        "system_account": reports.accounts.system.name,
        "start": context.clock.start.to_string(),
        "config_load_time": context.clock.start.to_string(),
        "config_digest": "",
    })
}

fn settings(reports: &Reports) -> Value {
    let context = &reports.context;
    let options = context.live.read();
    let mut fields = json!({
        "max_connections": options.max_connections.unwrap_or(0),
        "ping_interval": nanos(options.ping_interval),
        "ping_max": options.ping_max,
        "http_host": context.status.monitor_address().map_or(String::new(), |address| address.ip().to_string()),
        "http_port": context.status.monitor_address().map_or(0, |address| address.port()),
        "http_base_path": "",
        "https_port": 0,
        "auth_timeout": options.auth.timeout.as_secs_f64(),
        "max_control_line": options.max_control_line,
        "max_payload": options.max_payload,
        "max_pending": options.max_pending,
        "tls_timeout": 2,
        "write_deadline": nanos(options.write_deadline),
        "cluster": {},
        "gateway": {},
        "leaf": {},
        "mqtt": {},
        "websocket": {},
        "jetstream": {},
    });
    if reports.hall.door.is_locked() {
        fields["auth_required"] = true.into();
    }
    if context.status.has_jetstream() {
        fields["jetstream"] = jetstream(reports);
    }
    fields
}

fn activity(reports: &Reports) -> Value {
    let context = &reports.context;
    let now = Timestamp::now();
    let traffic = reports.hall.traffic();
    let usage = usage(reports);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let subscriptions: usize = reports
        .accounts
        .all()
        .iter()
        .map(|account| account.subscription_counts().0)
        .sum();
    json!({
        "now": now.to_string(),
        "uptime": format::uptime(context.clock.start, now),
        "mem": usage.resident,
        "cores": cores,
        "gomaxprocs": cores,
        "cpu": usage.cpu_percent,
        "connections": reports.hall.sessions.count(),
        "total_connections": context.counters.connections.load(Ordering::Relaxed),
        "routes": 0,
        "remotes": 0,
        "leafnodes": 0,
        "in_msgs": traffic.in_messages,
        "in_bytes": traffic.in_bytes,
        "in_client_msgs": traffic.in_messages,
        "in_client_bytes": traffic.in_bytes,
        "out_msgs": traffic.out_messages,
        "out_bytes": traffic.out_bytes,
        "out_client_msgs": traffic.out_messages,
        "out_client_bytes": traffic.out_bytes,
        "subscriptions": subscriptions,
    })
}

fn events(reports: &Reports) -> Value {
    let context = &reports.context;
    let slow = context.counters.slow_consumers.load(Ordering::Relaxed);
    let stale = context.counters.stale_connections.load(Ordering::Relaxed);
    json!({
        "slow_consumers": slow,
        "stale_connections": stale,
        "stalled_clients": context.counters.stalled_clients.load(Ordering::Relaxed),
        "slow_consumer_stats": {"clients": slow, "routes": 0, "gateways": 0, "leafs": 0},
        "stale_connection_stats": {"clients": stale, "routes": 0, "gateways": 0, "leafs": 0},
        "http_req_stats": *context.counters.pages.lock(),
    })
}

/// The parts of `/jsz` that `/varz` repeats.
fn jetstream(reports: &Reports) -> Value {
    let Value::Object(mut jsz) = reports.jetstream_page(&JszOptions::default()) else {
        return json!({});
    };
    let mut take = |name: &str| jsz.remove(name).unwrap_or(Value::Null);
    let (config, limits, weir) = (take("config"), take("limits"), take("weir"));
    let names = [
        "memory",
        "storage",
        "reserved_memory",
        "reserved_storage",
        "accounts",
        "ha_assets",
        "api",
    ];
    let stats: serde_json::Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), take(name))).collect();
    json!({"config": config, "stats": stats, "limits": limits, "weir": weir})
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

struct Usage {
    /// Bytes.
    resident: u64,
    /// Of one core, since the start.
    cpu_percent: f64,
}

/// From `/proc`; zeros where there is none.
fn usage(reports: &Reports) -> Usage {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .and_then(|field| field.parse().ok())
        .unwrap_or(0);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold blanks; user and system time are the 12th and 13th fields behind it.
    let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = behind
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    let uptime = reports.context.clock.uptime_ns() as f64 / 1e9;
    let percent = if uptime > 0.0 { seconds / uptime * 100.0 } else { 0.0 };
    Usage {
        resident: pages * rustix::param::page_size() as u64,
        cpu_percent: (percent * 10.0).round() / 10.0,
    }
}
