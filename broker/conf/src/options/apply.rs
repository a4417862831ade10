//! The top of the configuration file, key by key.

use std::time::Duration;

use super::{DEFAULT_PORT, MAX_PAYLOAD_MAX, Options, auth, jetstream, read, unsupported};
use crate::error::ConfError;
use crate::file::{Entry, Map};

/// Shortest `lame_duck_duration`, as in nats-server.
const LAME_DUCK_MIN: Duration = Duration::from_secs(30);

/// Reads `map` over `options`.
pub(crate) fn apply(options: &mut Options, map: &Map) -> Result<(), ConfError> {
    for entry in &map.entries {
        top(options, entry)?;
    }
    Ok(())
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
        "server_tags" => o.server_tags = read::texts(e)?,
        "client_advertise" => o.client_advertise = Some(read::name(e)?),
        "http" => o.http = read::monitor(e)?,
        "http_port" | "monitor_port" => o.http = read::monitor(e)?,
        "debug" => o.debug = read::boolean(e)?,
        "trace" => o.trace = read::boolean(e)?,
        "trace_verbose" => {
            o.trace_verbose = read::boolean(e)?;
            o.trace |= o.trace_verbose;
        }
        "logtime" => o.logtime = read::boolean(e)?,
        "logfile" | "log_file" => o.log_file = Some(read::name(e)?.into()),
        "logfile_size_limit" | "log_size_limit" => o.log_size_limit = read::limit(e)?,
        "max_traced_msg_len" => o.max_traced_msg_len = read::limit(e)?,
        "pidfile" | "pid_file" => o.pid_file = Some(read::name(e)?.into()),
        "ports_file_dir" => o.ports_file_dir = Some(read::name(e)?.into()),
        "no_header_support" => o.no_header_support = read::boolean(e)?,
        "authorization" => auth::apply(&mut o.auth, e)?,
        "jetstream" => jetstream::apply(&mut o.jetstream, e)?,
        "store_dir" | "storedir" => jetstream::store_dir(&mut o.jetstream, e)?,
        "system_account" | "system" => {
            let name = read::name(e)?;
            if name != "$SYS" {
                let message = format!(
                    "the system account {name:?}: Weir does not support accounts yet; leave it out or write \"$SYS\""
                );
                return Err(ConfError::at(&e.value.pos, message));
            }
        }
        _ => return limits(o, e),
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
        "ping_interval" => o.ping_interval = read::positive_time(e)?,
        "ping_max" => o.ping_max = pings(e)?,
        "write_deadline" => o.write_deadline = read::positive_time(e)?,
        "lame_duck_duration" => {
            let duration = read::time(e)?;
            if duration < LAME_DUCK_MIN {
                let message = format!("invalid lame_duck_duration of {duration:?}, minimum is 30 seconds");
                return Err(ConfError::at(&e.value.pos, message));
            }
            o.lame_duck_duration = duration;
        }
        "lame_duck_grace_period" => o.lame_duck_grace_period = read::positive_time(e)?,
        _ => read::unknown(e, unsupported::TOP)?,
    }
    Ok(())
}

fn size(e: &Entry, min: i64, max: i64) -> Result<usize, ConfError> {
    Ok(usize::try_from(read::int(e, min, max)?).unwrap_or(usize::MAX))
}

/// 0 is the default, -1 is unlimited.
fn connections(e: &Entry) -> Result<Option<usize>, ConfError> {
    let n = read::int(e, -1, i64::from(i32::MAX))?;
    Ok(if n == 0 {
        Options::default().max_connections
    } else {
        usize::try_from(n).ok()
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
