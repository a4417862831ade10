//! `/varz`: the server as a whole.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde::Serialize;
use weir_jwt::OperatorClaims;

use super::{JszOptions, Reports, format, process};
use crate::jetstream::api::jsz;
use crate::link::Kind;
use crate::session::advertised;
use crate::version::{NATS_VERSION, RUSTC_VERSION, WEIR_VERSION};

/// The server as a whole.
#[derive(Clone, Debug, Serialize)]
pub struct Varz {
    #[serde(flatten)]
    pub(crate) identity: Identity,
    #[serde(flatten)]
    pub(crate) settings: Settings,
    #[serde(flatten)]
    pub(crate) activity: Activity,
    #[serde(flatten)]
    pub(crate) events: Events,
}

/// Who it is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Identity {
    server_id: String,
    server_name: String,
    version: &'static str,
    weir_version: &'static str,
    proto: u32,
    go: &'static str,
    host: String,
    port: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    system_account: String,
    start: String,
    config_load_time: String,
    config_digest: String,
    feature_flags: BTreeMap<String, bool>,
}

/// What it was told. Durations are nanoseconds, sizes are bytes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Settings {
    /// -1: nobody may come in.
    max_connections: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_subscriptions: Option<usize>,
    ping_interval: u64,
    ping_max: u32,
    http_host: String,
    http_port: u16,
    http_base_path: String,
    https_port: u16,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    auth_required: bool,
    /// In seconds.
    auth_timeout: f64,
    max_control_line: usize,
    max_payload: usize,
    max_pending: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_required: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_verify: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_ocsp_peer_verify: bool,
    /// In seconds.
    tls_timeout: f64,
    /// When the certificate ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert_not_after: Option<String>,
    write_deadline: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_timeout: Option<String>,
    /// Operators, as they are signed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trusted_operators_jwt: Vec<String>,
    /// What they claim.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trusted_operators_claim: Vec<OperatorClaims>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxies: Option<Proxies>,
    cluster: NotThere,
    gateway: NotThere,
    leaf: NotThere,
    mqtt: NotThere,
    websocket: WebSocketPart,
    jetstream: JetStreamPart,
}

/// Proxies that may speak for clients.
#[derive(Clone, Debug, Serialize)]
struct Proxies {
    trusted: Vec<Proxy>,
}

#[derive(Clone, Debug, Serialize)]
struct Proxy {
    /// Its public key.
    key: String,
}

impl Proxies {
    fn of(keys: &[String]) -> Option<Self> {
        let trusted = keys.iter().map(|key| Proxy { key: key.clone() }).collect();
        (!keys.is_empty()).then_some(Self { trusted })
    }
}

/// What the server does not have: an object without fields.
#[derive(Clone, Copy, Debug, Serialize)]
struct NotThere {}

/// The port for WebSockets; an object without fields where there is none.
#[derive(Clone, Debug, Default, Serialize)]
struct WebSocketPart {
    #[serde(skip_serializing_if = "String::is_empty")]
    host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advertise: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_auth_user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt_cookie: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_timeout: Option<u64>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_timeout: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_tls: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_map: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tls_pinned_certs: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_ocsp_peer_verify: bool,
    /// When the certificate ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert_not_after: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    same_origin: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_origins: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    compression: bool,
}

/// JetStream, if it is there.
#[derive(Clone, Debug, Serialize)]
struct JetStreamPart {
    #[serde(flatten)]
    there: Option<JetStreamVarz>,
}

#[derive(Clone, Debug, Serialize)]
struct JetStreamVarz {
    config: jsz::Config,
    stats: jsz::Stats,
    limits: BTreeMap<&'static str, i64>,
    weir: jsz::Troubles,
}

/// What it does.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Activity {
    now: String,
    uptime: String,
    mem: u64,
    cores: usize,
    gomaxprocs: usize,
    cpu: f64,
    connections: usize,
    total_connections: u64,
    routes: u64,
    remotes: u64,
    leafnodes: u64,
    in_msgs: u64,
    in_bytes: u64,
    in_client_msgs: u64,
    in_client_bytes: u64,
    out_msgs: u64,
    out_bytes: u64,
    out_client_msgs: u64,
    out_client_bytes: u64,
    subscriptions: usize,
}

/// What happened to it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Events {
    slow_consumers: u64,
    stale_connections: u64,
    stalled_clients: u64,
    /// Clients that were refused because their account is not pinned.
    #[serde(skip_serializing_if = "is_zero")]
    pinned_account_fails: u64,
    slow_consumer_stats: ByKind,
    stale_connection_stats: ByKind,
    http_req_stats: BTreeMap<&'static str, u64>,
    /// What is remembered of certificates of clients, if they are asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    ocsp_peer_cache: Option<PeerCache>,
    disk_io_wait_stats: jsz::DiskWaits,
}

/// Answers about certificates of clients.
#[derive(Clone, Copy, Debug, Serialize)]
struct PeerCache {
    cache_type: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    cache_hits: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cache_misses: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cached_responses: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cached_revoked_responses: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cached_good_responses: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cached_unknown_responses: u64,
}

impl PeerCache {
    fn of(reports: &Reports) -> Option<Self> {
        let options = reports.context.live.read();
        let websocket = options.websocket.as_ref().and_then(|websocket| websocket.tls.as_ref());
        let asks = options.tls.iter().chain(websocket).any(|tls| tls.ocsp_peer.is_some());
        let counts = reports.hall.peers.counts();
        (asks && options.ocsp_cache).then(|| Self {
            cache_type: "local",
            cache_hits: counts.hits,
            cache_misses: counts.misses,
            cached_responses: (counts.good + counts.revoked + counts.unknown) as u64,
            cached_revoked_responses: counts.revoked as u64,
            cached_good_responses: counts.good as u64,
            cached_unknown_responses: counts.unknown as u64,
        })
    }
}

/// How often something happened, by kinds of connections.
#[derive(Clone, Copy, Debug, Serialize)]
struct ByKind {
    clients: u64,
    routes: u64,
    gateways: u64,
    leafs: u64,
}

impl ByKind {
    fn clients(clients: u64) -> Self {
        Self {
            clients,
            routes: 0,
            gateways: 0,
            leafs: 0,
        }
    }
}

impl Reports {
    /// The server as a whole.
    #[must_use]
    pub fn varz(&self) -> Varz {
        Varz {
            identity: identity(self),
            settings: settings(self),
            activity: activity(self),
            events: events(self),
        }
    }
}

fn identity(reports: &Reports) -> Identity {
    let context = &reports.context;
    let start = context.clock.start.to_string();
    // As clients are told.
    let (host, port) = advertised(context, &context.live.read(), Kind::Plain);
    Identity {
        server_id: context.identity.id.clone(),
        server_name: context.identity.name.clone(),
        version: NATS_VERSION,
        weir_version: WEIR_VERSION,
        proto: 1,
        go: RUSTC_VERSION,
        host,
        port,
        system_account: reports.system_account(),
        config_load_time: context.live.since().to_string(),
        start,
        config_digest: context.live.read().config_digest.clone(),
        feature_flags: context.live.read().features.all().clone(),
    }
}

fn settings(reports: &Reports) -> Settings {
    let context = &reports.context;
    let options = context.live.read();
    let monitor = context.status.monitor_address();
    let tls = context.tls.client();
    Settings {
        max_connections: match options.max_connections {
            Some(0) => -1,
            most => most.map_or(0, |most| i64::try_from(most).unwrap_or(i64::MAX)),
        },
        max_subscriptions: options.max_subscriptions,
        ping_interval: nanos(options.ping_interval),
        ping_max: options.ping_max,
        http_host: monitor.map_or_else(String::new, |address| address.ip().to_string()),
        http_port: monitor
            .filter(|_| options.https.is_none())
            .map_or(0, |address| address.port()),
        http_base_path: options.http_base_path.clone(),
        https_port: monitor
            .filter(|_| options.https.is_some())
            .map_or(0, |address| address.port()),
        auth_required: reports.hall.door.is_locked(),
        auth_timeout: options.auth.timeout.as_secs_f64(),
        max_control_line: options.max_control_line,
        max_payload: options.max_payload,
        max_pending: options.max_pending,
        tags: options.server_tags.clone(),
        metadata: options.server_metadata.clone(),
        tls_required: options.tls.is_some() && !options.allow_non_tls,
        tls_verify: options.tls.as_ref().is_some_and(|tls| tls.verify),
        tls_ocsp_peer_verify: options.tls.as_ref().is_some_and(|tls| tls.ocsp_peer.is_some()),
        tls_timeout: options.tls.as_ref().map_or(2.0, |tls| tls.timeout.as_secs_f64()),
        tls_cert_not_after: tls.and_then(|tls| tls.not_after).map(|end| end.to_string()),
        write_deadline: nanos(options.write_deadline),
        write_timeout: options.write_timeout.clone(),
        trusted_operators_jwt: options.trust.operator_jwts.clone(),
        trusted_operators_claim: options.trust.operators.clone(),
        proxies: Proxies::of(&options.proxies),
        cluster: NotThere {},
        gateway: NotThere {},
        leaf: NotThere {},
        mqtt: NotThere {},
        websocket: websocket(reports),
        jetstream: jetstream(reports),
    }
}

fn websocket(reports: &Reports) -> WebSocketPart {
    let context = &reports.context;
    let options = context.live.read();
    let Some(websocket) = &options.websocket else {
        return WebSocketPart::default();
    };
    let tls = websocket.tls.as_ref();
    let port = context.status.websocket_address().map(|address| address.port());
    WebSocketPart {
        host: websocket.host.clone(),
        port: Some(port.unwrap_or(websocket.port)),
        advertise: websocket.advertise.clone(),
        no_auth_user: websocket.auth.no_auth_user.clone(),
        jwt_cookie: websocket.jwt_cookie.clone(),
        handshake_timeout: websocket.handshake_timeout.map(nanos),
        auth_timeout: websocket.auth.timeout.map(|timeout| timeout.as_secs_f64()),
        no_tls: websocket.no_tls,
        tls_map: tls.is_some_and(|tls| tls.map),
        tls_pinned_certs: tls.map_or_else(Vec::new, |tls| tls.pinned.iter().cloned().collect()),
        tls_ocsp_peer_verify: tls.is_some_and(|tls| tls.ocsp_peer.is_some()),
        tls_cert_not_after: context
            .tls
            .websocket()
            .and_then(|tls| tls.not_after)
            .map(|end| end.to_string()),
        same_origin: websocket.same_origin,
        allowed_origins: websocket.allowed_origins.clone(),
        compression: websocket.compression,
    }
}

fn activity(reports: &Reports) -> Activity {
    let context = &reports.context;
    let now = Timestamp::now();
    let traffic = reports.hall.traffic();
    let usage = usage(reports);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let accounts = reports.accounts.all();
    Activity {
        now: now.to_string(),
        uptime: format::uptime(context.clock.start, now),
        mem: usage.resident,
        cores,
        gomaxprocs: cores,
        cpu: usage.cpu_percent,
        connections: reports.hall.sessions.count(),
        total_connections: context.counters.connections.load(Ordering::Relaxed),
        routes: 0,
        remotes: 0,
        leafnodes: 0,
        in_msgs: traffic.in_messages,
        in_bytes: traffic.in_bytes,
        in_client_msgs: traffic.in_messages,
        in_client_bytes: traffic.in_bytes,
        out_msgs: traffic.out_messages,
        out_bytes: traffic.out_bytes,
        out_client_msgs: traffic.out_messages,
        out_client_bytes: traffic.out_bytes,
        subscriptions: accounts.iter().map(|account| account.subscription_counts().0).sum(),
    }
}

fn events(reports: &Reports) -> Events {
    let counters = &reports.context.counters;
    let slow = counters.slow_consumers.load(Ordering::Relaxed);
    let stale = counters.stale_connections.load(Ordering::Relaxed);
    Events {
        slow_consumers: slow,
        stale_connections: stale,
        stalled_clients: counters.stalled_clients.load(Ordering::Relaxed),
        pinned_account_fails: counters.not_pinned.load(Ordering::Relaxed),
        slow_consumer_stats: ByKind::clients(slow),
        stale_connection_stats: ByKind::clients(stale),
        http_req_stats: counters.pages.lock().clone(),
        ocsp_peer_cache: PeerCache::of(reports),
        disk_io_wait_stats: reports
            .jetstream
            .get()
            .map(|jetstream| jsz::DiskWaits::of(&jetstream))
            .unwrap_or_default(),
    }
}

/// What `/varz` repeats of `/jsz`; an object without fields where there is no JetStream.
fn jetstream(reports: &Reports) -> JetStreamPart {
    let page = reports
        .jetstream
        .get()
        .map(|jetstream| jsz::jsz(&jetstream, &JszOptions::default()));
    JetStreamPart {
        there: page.map(|page| JetStreamVarz {
            config: page.config,
            stats: page.stats,
            limits: page.limits,
            weir: page.weir,
        }),
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
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
    let [_, resident, _] = process::memory();
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
        resident,
        cpu_percent: (percent * 10.0).round() / 10.0,
    }
}

impl Reports {
    /// Bytes of memory that are resident; 0 where that cannot be told.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        process::memory()[1]
    }
}
