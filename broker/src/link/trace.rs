//! Deliveries in the log (`-V`), in nats-server's form, and how it writes what it logs.

use super::{Link, Message};

impl Link {
    /// Logs a delivery.
    #[cold]
    pub(super) fn trace_delivery(&self, sid: &[u8], message: &Message<'_>, headers: Option<usize>, size: usize) {
        let label = self.label();
        let reply = (!message.reply.is_empty()).then_some(message.reply);
        let subject = text(message.subject);
        let rest = names(sid, reply);
        match headers {
            Some(headers) => {
                tracing::trace!("{label} - ->> [HMSG {subject} {rest}{headers} {size}]")
            }
            None => tracing::trace!("{label} - ->> [MSG {subject} {rest}{size}]"),
        }
        let headers = if headers.is_some() { message.headers } else { b"" };
        payload_line(self, &label, "->>", headers, message.payload);
    }
}

/// Logs the headers and the body of a message, as far as they are to be shown.
pub(crate) fn payload_line(link: &Link, label: &str, arrow: &str, headers: &[u8], payload: &[u8]) {
    let options = link.context.live.read();
    let whole = match options.log.trace_headers {
        true => headers.trim_ascii_end().to_vec(),
        false => [headers, payload].concat(),
    };
    // nats-server has no line for what is empty.
    if whole.is_empty() {
        return;
    }
    let max = options.log.max_traced_msg_len;
    let max = max.and_then(|max| usize::try_from(max).ok());
    let (shown, more) = match max {
        Some(max) if whole.len() > max => (&whole[..max], "..."),
        _ => (&whole[..], ""),
    };
    tracing::trace!("{label} - {arrow} MSG_PAYLOAD: [{:?}{more}]", text(shown));
}

/// Two arguments of a control line, each with a blank behind it.
pub(crate) fn names(first: &[u8], second: Option<&[u8]>) -> String {
    match second {
        Some(second) => format!("{} {} ", text(first), text(second)),
        None => format!("{} ", text(first)),
    }
}

/// Bytes as they are shown.
pub(crate) fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
