//! A message that asks to have its way told (nats-server's message tracing, ADR-41): `Nats-Trace-Dest` says where,
//! `Nats-Trace-Only` that nobody is to get it.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use weir_wire::headers;

use super::Session;
use super::about::About;
use super::conversation::Conversation;
use super::quote::quoted;
use crate::interest::{Chunk, Journey, TRACE_DEST, TRACE_DISABLED, Teller};
use crate::link::Message;
use crate::routing::Courier;

/// Says, with one of these values, that the message only shows its way.
const TRACE_ONLY: &str = "Nats-Trace-Only";
const MEANT: [&[u8]; 3] = [b"1", b"true", b"on"];
/// In what form it may be told.
const ACCEPT_ENCODING: &str = "Accept-Encoding";
const GZIPPED: &[u8] = b"NATS/1.0\r\nContent-Encoding: gzip\r\n\r\n";

/// Where the way of a message with these headers is to be told; `None` if it asks for nothing that can be done.
#[inline]
pub(super) fn destination(block: &[u8]) -> Option<&[u8]> {
    if block.is_empty() {
        return None;
    }
    let to = headers::get(block, TRACE_DEST)?;
    (to != TRACE_DISABLED.as_bytes() && weir_subject::is_literal(to)).then_some(to)
}

fn is_meant(value: &[u8]) -> bool {
    MEANT.iter().any(|word| value.eq_ignore_ascii_case(word))
}

impl Conversation {
    /// Publishes a message whose way is told on `to`; one that may not be told there is not published.
    #[cold]
    pub(super) fn publish_told(&mut self, session: &Session, chunk: Chunk<'_>, message: &Message<'_>, to: &[u8]) {
        if !self.router.permits(&self.account, to) {
            return self.forbid(session, to);
        }
        let only = headers::get(message.headers, TRACE_ONLY).is_some_and(is_meant);
        let teller = self.teller(session, message, to);
        let journey = Journey::begin(only, &self.account, &session.link, message.subject, teller);
        let chance = self.router.chance();
        let mapped = self.account.map(message.subject, chance);
        if let Some(new) = &mapped {
            journey.mapped(new);
        }
        let sent = Message {
            subject: mapped.as_deref().unwrap_or(message.subject),
            ..*message
        };
        if !self.publish_mapped(session, chunk, &sent, Some(&journey)) {
            let subject = quoted(sent.subject);
            journey.refused(&format!("Permissions Violation for Publish to {subject}"));
        }
    }

    /// Tells of it in the account of the client.
    fn teller(&self, session: &Session, message: &Message<'_>, to: &[u8]) -> Teller {
        let about = About::new(&session.hall.context);
        let account = Arc::clone(&self.account);
        let to = to.to_vec();
        let size = message.headers.len() + message.payload.len();
        let request = json!({"header": shown(message.headers), "msgsize": size});
        let accepted = headers::get(message.headers, ACCEPT_ENCODING).unwrap_or_default();
        let gzip = accepted.to_ascii_lowercase().windows(4).any(|part| part == b"gzip");
        Box::new(move |events| {
            let told = json!({"server": about.server(), "request": request, "events": events});
            let told = told.to_string().into_bytes();
            let packed = gzip.then(|| packed(&told)).flatten();
            let (block, told) = packed.map_or((&b""[..], told), |packed| (GZIPPED, packed));
            Courier::new(account).send(&to, &to, b"", block, &told);
        })
    }
}

/// All headers, each with its values.
fn shown(block: &[u8]) -> Value {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers::each(block) {
        shown.entry(text(name)).or_default().push(text(value));
    }
    json!(shown)
}

/// `None` if it can't be packed: memory does not refuse to be written to.
fn packed(told: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(told).ok()?;
    encoder.finish().ok()
}
