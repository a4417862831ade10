//! Protocol in the log (`-V`), in nats-server's form.

use std::sync::Arc;

use weir_wire::Op;

use super::Client;
use crate::interest::Subscription;
use crate::routing::Outgoing;

/// Secrets in CONNECT that must not be in a log.
const SECRETS: [&str; 5] = ["pass", "auth_token", "jwt", "sig", "proxy_sig"];

/// Logs what a client sent.
#[cold]
pub(super) fn incoming(client: &Arc<Client>, op: &Op<'_>) {
    let label = client.label();
    match op {
        Op::Pub {
            subject,
            reply,
            payload,
        } => {
            tracing::trace!("{label} - <<- [PUB {}{}]", names(subject, *reply), payload.len());
            payload_line(client, &label, "<<-", &[payload]);
        }
        Op::Hpub {
            subject,
            reply,
            headers,
            whole,
            ..
        } => {
            tracing::trace!(
                "{label} - <<- [HPUB {}{} {}]",
                names(subject, *reply),
                headers.len(),
                whole.len()
            );
            payload_line(client, &label, "<<-", &[whole]);
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

impl Client {
    /// Logs a delivery.
    #[cold]
    pub(super) fn trace_delivery(
        &self,
        subscription: &Subscription,
        message: &Outgoing<'_>,
        headers: Option<usize>,
        size: usize,
    ) {
        let label = self.label();
        let reply = (!message.reply.is_empty()).then_some(message.reply);
        let subject = text(message.subject);
        let rest = names(&subscription.sid, reply);
        match headers {
            Some(headers) => {
                tracing::trace!("{label} - ->> [HMSG {subject} {rest}{headers} {size}]")
            }
            None => tracing::trace!("{label} - ->> [MSG {subject} {rest}{size}]"),
        }
        let headers = if headers.is_some() { message.headers } else { b"" };
        payload_line(self, &label, "->>", &[headers, message.payload]);
    }
}

fn payload_line(client: &Client, label: &str, arrow: &str, parts: &[&[u8]]) {
    let whole = parts.concat();
    let max = client
        .server
        .options
        .max_traced_msg_len
        .and_then(|max| usize::try_from(max).ok());
    let (shown, more) = match max {
        Some(max) if whole.len() > max => (&whole[..max], "..."),
        _ => (&whole[..], ""),
    };
    tracing::trace!("{label} - {arrow} MSG_PAYLOAD: [{:?}{more}]", text(shown));
}

/// Two arguments of a control line, each with a blank behind it.
fn names(first: &[u8], second: Option<&[u8]>) -> String {
    match second {
        Some(second) => format!("{} {} ", text(first), text(second)),
        None => format!("{} ", text(first)),
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
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
