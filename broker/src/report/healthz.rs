//! `/healthz`: may traffic be sent here, and is this account, stream or consumer here?
//!
//! Answered from memory alone, without a word to a storage thread.

use parking_lot::Mutex;
use serde::Serialize;

use super::Reports;
use crate::interest::SYSTEM;

/// nats-server's words for a server that takes no connections, yet or any more: it waits for that so long, and names what
/// it waited for.
const NOT_READY: &str = "failed to be ready for connections after 1ms: server";

/// What is answered with, as HTTP has it.
const OK: u16 = 200;
const BAD_REQUEST: u16 = 400;
const NOT_FOUND: u16 = 404;
const INTERNAL_SERVER_ERROR: u16 = 500;
const SERVICE_UNAVAILABLE: u16 = 503;

/// What is wrong.
struct Fault {
    status: u16,
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
#[derive(Clone, Debug, Default)]
pub struct HealthzOptions {
    /// Not after JetStream.
    pub server_only: bool,
    /// Only after whether JetStream is on.
    pub enabled_only: bool,
    /// With all that is known of what is wrong.
    pub details: bool,
    /// After this account.
    pub account: Option<String>,
    /// After this stream of it.
    pub stream: Option<String>,
    /// After this consumer of that.
    pub consumer: Option<String>,
}

impl Reports {
    /// Whether traffic may be sent here, as a code of HTTP, and the words for it: one line of JSON.
    #[must_use]
    pub fn healthz(&self, options: &HealthzOptions) -> (u16, String) {
        let (status, body) = match check(self, options) {
            None => (OK, Body::of("ok")),
            Some(fault) => (fault.status, fault.body(options.details)),
        };
        // Only strings under string keys: that has no failure.
        (status, serde_json::to_string(&body).unwrap_or_default())
    }
}

/// The first thing that is wrong.
fn check(reports: &Reports, asked: &HealthzOptions) -> Option<Fault> {
    if asked.stream.is_some() && asked.account.is_none() {
        return Some(bad("\"account\" must not be empty when checking stream health"));
    }
    if asked.consumer.is_some() && asked.stream.is_none() {
        return Some(bad("\"stream\" must not be empty when checking consumer health"));
    }
    let status = &reports.context.status;
    if status.is_leaving() || status.client_address().is_none() {
        let error = match reports.opening.text() {
            Some(opening) => format!("{NOT_READY}; {opening}"),
            None => NOT_READY.to_owned(),
        };
        let error = Detail::new("CONNECTION", error);
        return Some(Fault {
            status: INTERNAL_SERVER_ERROR,
            word: "error",
            error,
        });
    }
    // A server that is not meant to have JetStream lacks nothing without it.
    let jetstream = reports.jetstream.get().filter(|_| !asked.server_only)?;
    let trouble = jetstream.catalogue().trouble();
    reports.told_health.tell(trouble.as_deref());
    if let Some(trouble) = trouble {
        return Some(Fault {
            status: SERVICE_UNAVAILABLE,
            word: "unavailable",
            error: Detail::new("JETSTREAM", trouble),
        });
    }
    let (Some(account), false) = (asked.account.as_deref(), asked.enabled_only) else {
        return None;
    };
    let missing = |kind, error| {
        let mut error = Detail::new(kind, error);
        error.account = Some(account.to_owned());
        Fault {
            status: NOT_FOUND,
            word: "unavailable",
            error,
        }
    };
    if account == SYSTEM || jetstream.account(account).is_none() {
        let text = format!("JetStream account {account:?} not found");
        return Some(missing("ACCOUNT", text));
    }
    let stream = asked.stream.as_deref()?;
    let Some(entry) = jetstream.catalogue().get(account, stream) else {
        let text = format!("JetStream stream {stream:?} not found on account {account:?}");
        let mut fault = missing("STREAM", text);
        fault.error.stream = Some(stream.to_owned());
        return Some(fault);
    };
    match asked.consumer.as_deref() {
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
        status: BAD_REQUEST,
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
