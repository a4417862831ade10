//! `/healthz`: may traffic be sent here, and is this account, stream or consumer here?
//!
//! Answered from memory alone, without a word to a storage thread.

use std::sync::Arc;

use hyper::StatusCode;
use parking_lot::Mutex;
use serde::Serialize;

use super::{Answer, Query};
use crate::interest::SYSTEM;
use crate::server::Server;

/// nats-server's words for a server that takes no connections, yet or any more: it waits for that so long, and names what
/// it waited for.
const NOT_READY: &str = "failed to be ready for connections after 1ms: server";

/// What is wrong.
struct Fault {
    status: StatusCode,
    /// The word beside `status` where no details are asked for.
    word: &'static str,
    error: Detail,
}

/// The same as one of `errors`, where details are asked for. The order of fields is nats-server's.
#[derive(Serialize)]
struct Detail {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<String>,
    error: String,
}

#[derive(Serialize)]
struct Body {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Detail>,
}

/// What the log was last told of health: probes ask every few seconds, and it says something when that changes.
#[derive(Debug, Default)]
pub struct ToldHealth(Mutex<Option<String>>);

impl ToldHealth {
    /// Logs what is wrong if that is news; answers whether it was.
    fn tell(&self, trouble: Option<&str>) -> bool {
        let mut told = self.0.lock();
        if told.as_deref() == trouble {
            return false;
        }
        match trouble {
            Some(trouble) => tracing::warn!("Healthcheck failed: {trouble}"),
            None => tracing::info!("Healthcheck is ok again"),
        }
        *told = trouble.map(str::to_owned);
        true
    }
}

/// What is asked.
struct Asked<'q> {
    server_only: bool,
    enabled_only: bool,
    details: bool,
    account: Option<&'q str>,
    stream: Option<&'q str>,
    consumer: Option<&'q str>,
}

pub(super) fn page(server: &Arc<Server>, query: &Query) -> Answer {
    let asked = match Asked::of(query) {
        Ok(asked) => asked,
        Err(text) => return Answer::bad_request(text),
    };
    let (status, body) = match check(server, &asked) {
        None => (StatusCode::OK, Body::of("ok")),
        Some(fault) => (fault.status, fault.body(asked.details)),
    };
    // Only strings under string keys: that has no failure.
    Answer::Line(status, serde_json::to_string(&body).unwrap_or_default())
}

impl<'q> Asked<'q> {
    fn of(query: &'q Query) -> Result<Self, String> {
        let enabled = query.flag("js-enabled")?;
        let enabled_only = query.flag("js-enabled-only")?;
        let server_only = query.flag("js-server-only")?;
        // There is no meta group to leave out or to ask alone.
        query.flag("js-meta-only")?;
        Ok(Self {
            server_only,
            enabled_only: enabled || enabled_only,
            details: query.flag("details")?,
            account: query.text("account"),
            stream: query.text("stream"),
            consumer: query.text("consumer"),
        })
    }
}

/// The first thing that is wrong.
fn check(server: &Server, asked: &Asked<'_>) -> Option<Fault> {
    if asked.stream.is_some() && asked.account.is_none() {
        return Some(bad("\"account\" must not be empty when checking stream health"));
    }
    if asked.consumer.is_some() && asked.stream.is_none() {
        return Some(bad("\"stream\" must not be empty when checking consumer health"));
    }
    if server.is_leaving() || server.client_address().is_none() {
        let error = match server.opening.text() {
            Some(opening) => format!("{NOT_READY}; {opening}"),
            None => NOT_READY.to_owned(),
        };
        let error = Detail::new("CONNECTION", error);
        return Some(Fault {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            word: "error",
            error,
        });
    }
    // A server that is not meant to have JetStream lacks nothing without it.
    let jetstream = server.jetstream.get().filter(|_| !asked.server_only)?;
    let trouble = jetstream.catalogue().trouble();
    server.told_health.tell(trouble.as_deref());
    if let Some(trouble) = trouble {
        return Some(Fault {
            status: StatusCode::SERVICE_UNAVAILABLE,
            word: "unavailable",
            error: Detail::new("JETSTREAM", trouble),
        });
    }
    let (Some(account), false) = (asked.account, asked.enabled_only) else {
        return None;
    };
    let missing = |kind, error| {
        let mut error = Detail::new(kind, error);
        error.account = Some(account.to_owned());
        Fault {
            status: StatusCode::NOT_FOUND,
            word: "unavailable",
            error,
        }
    };
    if account == SYSTEM || jetstream.account(account).is_none() {
        let text = format!("JetStream account {account:?} not found");
        return Some(missing("ACCOUNT", text));
    }
    let stream = asked.stream?;
    let Some(entry) = jetstream.catalogue().get(account, stream) else {
        let text = format!("JetStream stream {stream:?} not found on account {account:?}");
        let mut fault = missing("STREAM", text);
        fault.error.stream = Some(stream.to_owned());
        return Some(fault);
    };
    match asked.consumer {
        Some(consumer) if !jetstream.has_consumer(entry.id, consumer) => {
            let text =
                format!("JetStream consumer {consumer:?} not found for stream {stream:?} on account {account:?}");
            let mut fault = missing("CONSUMER", text);
            fault.error.stream = Some(stream.to_owned());
            fault.error.consumer = Some(consumer.to_owned());
            Some(fault)
        }
        _ => None,
    }
}

fn bad(text: &str) -> Fault {
    Fault {
        status: StatusCode::BAD_REQUEST,
        word: "error",
        error: Detail::new("BAD_REQUEST", text),
    }
}

impl Detail {
    fn new(kind: &'static str, error: impl Into<String>) -> Self {
        Self {
            kind,
            account: None,
            stream: None,
            consumer: None,
            error: error.into(),
        }
    }
}

impl Body {
    fn of(status: &'static str) -> Self {
        Self {
            status,
            error: None,
            errors: Vec::new(),
        }
    }
}

impl Fault {
    fn body(self, details: bool) -> Body {
        if details {
            Body {
                errors: vec![self.error],
                ..Body::of("error")
            }
        } else {
            Body {
                error: Some(self.error.error),
                ..Body::of(self.word)
            }
        }
    }
}

#[cfg(test)]
mod tests;
