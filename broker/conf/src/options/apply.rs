//! The top of the configuration file, key by key.

use std::time::Duration;

use super::{
    DEFAULT_PORT, Listen, MAX_PAYLOAD_MAX, Options, absent, accounts, authorization, features, jetstream, keys,
    logging, mappings, ocsp, proxies, read, schema, tls, trust, unsupported, websocket,
};
use crate::error::{ConfError, Faults};
use crate::file::{Entry, Map, Value};
use crate::options::Warning;

/// Shortest `lame_duck_duration`, as in nats-server.
const LAME_DUCK_MIN: Duration = Duration::from_secs(30);

/// Reads `map` over `options`.
pub(crate) fn apply(options: &mut Options, map: &Map) -> Result<(), ConfError> {
    let mut faults = Faults::default();
    for entry in &map.entries {
        let checked = schema::check_entry(entry, keys::TOP);
        faults.take(checked.and_then(|()| top(options, entry)));
    }
    tls::settle_timeout(options);
    faults.end()
}

fn top(o: &mut Options, e: &Entry) -> Result<(), ConfError> {
    match e.key.to_ascii_lowercase().as_str() {
        "listen" => {
            let (host, port) = read::listen(e)?;
            o.host = host.unwrap_or_else(|| o.host.clone());
            o.port = port.unwrap_or(DEFAULT_PORT);
        }
        "host" | "net" => o.host = read::name(e)?,
        "port" => o.port = read::port_of(e)?.unwrap_or(DEFAULT_PORT),
        "server_name" => o.server_name = Some(read::word(e, |s| super::check_server_name(s).map(|()| s.to_owned()))?),
        // As nats-server has them.
        "server_tags" => o.server_tags = read::texts(e)?.iter().map(|tag| tag.trim().to_lowercase()).collect(),
        "server_metadata" => {
            let entries = read::block(e)?.entries.iter();
            let pairs = entries.map(|e| Ok((e.key.clone(), read::text(e)?)));
            o.server_metadata = pairs.collect::<Result<_, ConfError>>()?;
        }
        "client_advertise" => {
            read::name(e)?;
            o.client_advertise = Some(read::word(e, |s| super::check_advertise(s).map(|()| s.to_owned()))?);
        }
        "http" => o.http = read::monitor(e)?,
        "http_port" | "monitor_port" => o.http = read::monitor(e)?,
        "https" | "https_port" => o.https = read::monitor(e)?,
        "http_base_path" => o.http_base_path = read::text(e)?,
        "pidfile" | "pid_file" => o.pid_file = Some(read::name(e)?.into()),
        "ports_file_dir" => o.ports_file_dir = Some(read::name(e)?.into()),
        "no_header_support" => o.no_header_support = read::boolean(e)?,
        "tls" => o.tls = Some(tls::block(e, &mut o.warnings)?),
        "ocsp" => o.ocsp = Some(ocsp::read(e)?),
        "ocsp_cache" => o.ocsp_cache = ocsp::cache(e, &mut o.warnings)?,
        "allow_non_tls" => o.allow_non_tls = read::boolean(e)?,
        "authorization" => authorization::apply(&mut o.auth, e)?,
        "no_auth_user" => o.auth.no_auth_user = Some(read::name(e)?),
        "jetstream" => jetstream::apply(&mut o.jetstream, e)?,
        "store_dir" | "storedir" => jetstream::store_dir(&mut o.jetstream, e)?,
        "accounts" => accounts::apply(o, e)?,
        "mappings" | "maps" => mappings::apply(&mut o.global, e)?,
        "proxy_protocol" => o.proxy_protocol = read::boolean(e)?,
        "proxies" => o.proxies = proxies::trusted(e)?,
        "operator"
        | "operators"
        | "roots"
        | "root"
        | "root_operators"
        | "root_operator"
        | "trusted"
        | "trusted_keys"
        | "resolver"
        | "account_resolver"
        | "accounts_resolver"
        | "resolver_preload"
        | "resolver_pinned_accounts"
        | "default_sentinel" => trust::apply(o, e)?,
        "resolver_tls" => tls::resolver_tls(o, e)?,
        "system_account" | "system" => o.system_account = Some(read::name(e)?),
        "no_system_account" | "no_system" | "no_sys_acc" => o.no_system_account = read::boolean(e)?,
        "cluster" => {
            absent::accept(&absent::CLUSTER, e, &mut o.warnings)?;
            cluster_name(o, e)?;
        }
        "gateway" => absent::accept(&absent::GATEWAY, e, &mut o.warnings)?,
        "leaf" | "leafnodes" => absent::accept(&absent::LEAFNODES, e, &mut o.warnings)?,
        "websocket" | "ws" => websocket::apply(o, e)?,
        "mqtt" => absent::accept(&absent::MQTT, e, &mut o.warnings)?,
        _ => return limits(o, e),
    }
    Ok(())
}

/// The name of the cluster, which mappings may ask for.
fn cluster_name(o: &mut Options, cluster: &Entry) -> Result<(), ConfError> {
    if let Value::Map(map) = &cluster.value.value {
        for e in map.entries.iter().filter(|e| e.key.eq_ignore_ascii_case("name")) {
            o.cluster_name = Some(read::text(e)?);
        }
    }
    Ok(())
}

/// The keys that bound something.
fn limits(o: &mut Options, e: &Entry) -> Result<(), ConfError> {
    match e.key.to_ascii_lowercase().as_str() {
        // -1 is "no limit" to nats-server, which leaves the protocol's own.
        "max_payload" => {
            o.max_payload = usize::try_from(read::int(e, -1, MAX_PAYLOAD_MAX as i64)?).unwrap_or(MAX_PAYLOAD_MAX)
        }
        "max_control_line" => o.max_control_line = size(e, 1, i64::from(i32::MAX))?,
        "max_pending" => o.max_pending = read::int(e, 1, i64::MAX)?.unsigned_abs(),
        "max_connections" | "max_conn" => o.max_connections = connections(e)?,
        "max_subscriptions" | "max_subs" => o.max_subscriptions = read::limit(e)?.and_then(|n| usize::try_from(n).ok()),
        "max_sub_tokens" | "max_subscription_tokens" => o.max_sub_tokens = u8::try_from(read::int(e, 1, 255)?).ok(),
        "max_closed_clients" => o.max_closed_clients = closed(e)?,
        "no_fast_producer_stall" => o.no_fast_producer_stall = read::boolean(e)?,
        "ping_interval" => {
            o.ping_interval = read::positive_time(e)?;
            seconds_are_old(e, &mut o.warnings);
        }
        "ping_max" => o.ping_max = pings(e)?,
        "write_deadline" => {
            o.write_deadline = read::positive_time(e)?;
            seconds_are_old(e, &mut o.warnings);
        }
        "write_timeout" => {
            let word = read::text(e)?.to_ascii_lowercase();
            if word == "retry" {
                let message =
                    "write_timeout: Weir does not keep a client that takes too long; write \"close\", or leave it out";
                return Err(ConfError::at(&e.value.pos, message));
            }
            o.write_timeout = Some(word).filter(|word| word != "default");
        }
        "lame_duck_duration" => {
            let duration = read::time(e)?;
            if duration < LAME_DUCK_MIN {
                let message = format!("invalid lame_duck_duration of {duration:?}, minimum is 30 seconds");
                return Err(ConfError::at(&e.value.pos, message));
            }
            o.lame_duck_duration = duration;
        }
        "lame_duck_grace_period" => o.lame_duck_grace_period = read::positive_time(e)?,
        _ => {
            if !logging::apply(o, e)? {
                rest(o, e)?;
            }
        }
    }
    Ok(())
}

/// What is nothing to Weir, and what is not there yet.
fn rest(o: &mut Options, e: &Entry) -> Result<(), ConfError> {
    match e.key.to_ascii_lowercase().as_str() {
        // On any server that has no links to others these say nothing: how often the errors of such links are told, and where the
        // accounts of leaf nodes have their JetStream.
        "connect_error_reports" | "reconnect_error_reports" | "default_js_domain" => Ok(()),
        "disable_sublist_cache" | "no_sublist_cache" => {
            o.no_match_cache = read::boolean(e)?;
            Ok(())
        }
        "prof_port" => {
            o.profiling = profiling(read::int(e, -1, i64::from(u16::MAX))?);
            Ok(())
        }
        "prof_block_rate" if read::int(e, i64::MIN, i64::MAX)? <= 0 => Ok(()),
        "prof_block_rate" => {
            let message =
                "prof_block_rate asks for Go's profile of what blocks, which Weir does not have: remove it, or write 0";
            Err(ConfError::at(&e.pos, message))
        }
        "feature_flags" => {
            features::apply(&mut o.features, e, &mut o.warnings)?;
            o.jetstream.long_acks = o.features.long_acks();
            Ok(())
        }
        _ => unsupported::refuse(e, keys::TOP),
    }
}

/// Where profiles are served: beside the clients' port. 0 is nowhere, -1 any free one.
pub(crate) fn profiling(port: i64) -> Option<Listen> {
    let port = match port {
        0 => return None,
        port => u16::try_from(port).unwrap_or(0),
    };
    let host = String::new();
    Some(Listen { host, port })
}

/// A number where nats-server wants a duration is taken for seconds, and its `-t` says no.
fn seconds_are_old(e: &Entry, warnings: &mut Vec<Warning>) {
    if matches!(e.value.value, Value::Int(_) | Value::Float(_)) {
        let text = format!(
            "{}: invalid use of field {:?}: {} should be converted to a duration",
            e.pos, e.key, e.key
        );
        warnings.push(Warning::doubtful(text));
    }
}

/// An `http_base_path` with a slash in front and none behind; empty for the root.
#[must_use]
pub fn base_path(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    parts.iter().map(|part| format!("/{part}")).collect()
}

fn size(e: &Entry, min: i64, max: i64) -> Result<usize, ConfError> {
    Ok(usize::try_from(read::int(e, min, max)?).unwrap_or(usize::MAX))
}

/// As nats-server 2.15 has it: 0 and less let nobody in.
fn connections(e: &Entry) -> Result<Option<usize>, ConfError> {
    let n = read::int(e, i64::MIN, i64::from(i32::MAX))?;
    Ok(Some(usize::try_from(n).unwrap_or(0)))
}

/// 0 is the default, less keeps none.
fn closed(e: &Entry) -> Result<usize, ConfError> {
    let n = read::int(e, i64::MIN, i64::from(i32::MAX))?;
    Ok(match n {
        0 => Options::default().max_closed_clients,
        n => usize::try_from(n).unwrap_or(0),
    })
}

/// 0 is the default.
fn pings(e: &Entry) -> Result<u32, ConfError> {
    let n = read::int(e, 0, i64::from(i32::MAX))?;
    Ok(u32::try_from(n)
        .ok()
        .filter(|&n| n > 0)
        .unwrap_or(Options::default().ping_max))
}
