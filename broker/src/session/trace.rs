//! Protocol in the log (`-V`), in nats-server's form.

use std::sync::Arc;

use weir_wire::Op;

use crate::link::Link;
use crate::link::trace::{names, payload_line, text};

/// Secrets in CONNECT that must not be in a log.
const SECRETS: [&str; 5] = ["pass", "auth_token", "jwt", "sig", "proxy_sig"];

/// Logs what a client sent.
#[cold]
pub(super) fn incoming(link: &Arc<Link>, op: &Op<'_>) {
    let label = link.label();
    match op {
        Op::Pub {
            subject,
            reply,
            payload,
        } => {
            tracing::trace!("{label} - <<- [PUB {}{}]", names(subject, *reply), payload.len());
            payload_line(link, &label, "<<-", b"", payload);
        }
        Op::Hpub {
            subject,
            reply,
            headers,
            payload,
            whole,
        } => {
            tracing::trace!(
                "{label} - <<- [HPUB {}{} {}]",
                names(subject, *reply),
                headers.len(),
                whole.len()
            );
            payload_line(link, &label, "<<-", headers, payload);
        }
        Op::Sub { subject, queue, sid } => {
            tracing::trace!("{label} - <<- [SUB {}{}]", names(subject, *queue), text(sid));
        }
        Op::Unsub { sid, max } => match max {
            Some(max) => tracing::trace!("{label} - <<- [UNSUB {} {max}]", text(sid)),
            None => tracing::trace!("{label} - <<- [UNSUB {}]", text(sid)),
        },
        Op::Ping => tracing::trace!("{label} - <<- [PING]"),
        Op::Pong => tracing::trace!("{label} - <<- [PONG]"),
        Op::Connect { json } => {
            tracing::trace!("{label} - <<- [CONNECT {}]", without_secrets(json))
        }
        Op::Info { json } => tracing::trace!("{label} - <<- [INFO {}]", text(json)),
        Op::Ok => tracing::trace!("{label} - <<- [+OK]"),
        Op::Err { text: why } => tracing::trace!("{label} - <<- [-ERR {}]", text(why)),
        // The server's parser never finds these.
        Op::Msg { .. } | Op::Hmsg { .. } => {}
    }
}

/// CONNECT with its secrets masked; what is not a JSON object is not shown at all.
fn without_secrets(json: &[u8]) -> String {
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_slice(json) else {
        return "[not an object]".to_owned();
    };
    for (name, value) in &mut fields {
        if SECRETS.contains(&name.to_ascii_lowercase().as_str()) {
            *value = "[REDACTED]".into();
        }
    }
    serde_json::Value::Object(fields).to_string()
}
