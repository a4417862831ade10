//! Blocks of what Weir does not have: other servers and other protocols.
//!
//! One that only opens a port is accepted, with a warning: client test suites write them into every file, and nobody connects
//! there. One that asks for something to be done is refused.

use super::Warning;
use crate::error::ConfError;
use crate::file::{Entry, Map, Value};

/// A feature that is not there.
pub(super) struct Absent {
    /// What the block is about.
    what: &'static str,
    /// Keys that ask for something to be done, and what that is.
    asks: &'static [(&'static str, &'static str)],
}

/// `cluster { }`
pub(super) const CLUSTER: Absent = Absent {
    what: "clusters",
    asks: &[("routes", "to join other servers")],
};

/// `gateway { }`
pub(super) const GATEWAY: Absent = Absent {
    what: "gateways",
    asks: &[("gateways", "to connect to other clusters")],
};

/// `leafnodes { }`
pub(super) const LEAFNODES: Absent = Absent {
    what: "leaf nodes",
    asks: &[("remotes", "to connect to another server as its leaf node")],
};

/// `mqtt { }`
pub(super) const MQTT: Absent = Absent {
    what: "MQTT",
    asks: &[],
};

/// Refuses a block that asks for something to be done, and warns of any other. The block was held against its table before.
pub(super) fn accept(absent: &Absent, entry: &Entry, warnings: &mut Vec<Warning>) -> Result<(), ConfError> {
    let what = absent.what;
    let Value::Map(map) = &entry.value.value else {
        return Ok(());
    };
    for e in &map.entries {
        let asks = absent.asks.iter().find(|(key, _)| key.eq_ignore_ascii_case(&e.key));
        if let Some((_, done)) = asks
            && wanted(&e.value.value)
        {
            let message = format!(
                "{}.{} asks this server {done}, and Weir does not have {what} yet: it serves alone; remove {} to run it so",
                entry.key, e.key, e.key
            );
            return Err(ConfError::at(&e.pos, message));
        }
    }
    let port = match port(map) {
        Some(port) => format!("nothing listens on port {port}"),
        None => "it has no effect".to_owned(),
    };
    let text = format!("{:?}: Weir does not have {what} yet; {port}", entry.key);
    warnings.push(Warning::new(&entry.pos, text));
    Ok(())
}

/// Whether a list holds more than what is turned off.
fn wanted(value: &Value) -> bool {
    let is_off = |map: &Map| {
        let mut entries = map.entries.iter();
        entries.any(|e| e.key.eq_ignore_ascii_case("disabled") && e.value.value == Value::Bool(true))
    };
    match value {
        Value::Array(items) => items.iter().any(|item| match &item.value {
            Value::Map(map) => !is_off(map),
            _ => true,
        }),
        _ => true,
    }
}

/// The port that a block opens, as it is written there.
fn port(map: &Map) -> Option<String> {
    map.entries.iter().find_map(|e| match &e.value.value {
        Value::Int(port) if e.key.eq_ignore_ascii_case("port") || e.key.eq_ignore_ascii_case("listen") => {
            Some(port.to_string())
        }
        Value::Str(listen) if e.key.eq_ignore_ascii_case("listen") => Some(listen.clone()),
        _ => None,
    })
}
