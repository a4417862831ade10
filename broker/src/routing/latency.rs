//! How long services of other accounts take, as their own account is told (`io.nats.server.metric.v1.service_latency`).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use weir_wire::headers;

use crate::conf::tenancy::Sampling;
use crate::interest::Measure;
use crate::link::Link;

/// How a request ended.
pub(super) enum Outcome<'a> {
    /// With an answer, of this client.
    Answered(Option<&'a Arc<Link>>),
    /// It named no subject for an answer.
    BadRequest,
    /// Nobody listened.
    Unavailable,
    /// No answer came in time.
    Late,
}

/// Whether a request is looked at; and if so, the headers that asked for it.
pub(super) fn wanted(sampling: Sampling, chance: u64, block: &[u8]) -> Option<Option<Value>> {
    if let Sampling::Percent(percent) = sampling
        && (percent >= 100 || chance % 100 <= u64::from(percent))
    {
        return Some(None);
    }
    traced(block).map(|headers| Some(Value::Object(headers)))
}

/// The headers of a trace that is to be sampled: those of Uber, of B3, of the W3C.
fn traced(block: &[u8]) -> Option<Map<String, Value>> {
    let find = |name: &str| {
        let mut all = headers::each(block);
        let found = all.find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let with = |names: &[&str]| {
        let all = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), json!([find(name)?]))));
        all.collect::<Map<_, _>>()
    };
    if let Some(id) = find("Uber-Trace-Id") {
        let parts: Vec<&str> = id.split(':').collect();
        let [_, _, _, flags] = parts.as_slice() else {
            return None;
        };
        let sampled = flags.len() <= 2 && u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        return sampled.then(|| {
            let mut told = with(&["Uber-Trace-Id"]);
            for (name, value) in headers::each(block) {
                let name = String::from_utf8_lossy(name);
                if name.to_ascii_lowercase().starts_with("uberctx-") {
                    told.insert(name.into_owned(), json!([String::from_utf8_lossy(value)]));
                }
            }
            told
        });
    }
    const B3: &[&str] = &["X-B3-Sampled", "X-B3-Traceid", "X-B3-Parentspanid", "X-B3-Spanid"];
    match (find("X-B3-Sampled").as_deref(), find("X-B3-TraceId")) {
        (Some("1"), _) => return Some(with(B3)),
        (Some("0"), _) => return None,
        (_, Some(_)) => return Some(with(B3)),
        _ => {}
    }
    if let Some(b3) = find("B3") {
        let parts: Vec<&str> = b3.split('-').collect();
        let denied = parts.get(2) == Some(&"0") || parts == ["0"];
        return (!denied).then(|| with(&["B3"]));
    }
    let parent = find("Traceparent")?;
    let parts: Vec<&str> = parent.split('-').collect();
    let [_, _, _, flags] = parts.as_slice() else {
        return None;
    };
    let sampled = flags.len() == 2 && i8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    sampled.then(|| with(&["Traceparent", "Tracestate"]))
}

/// What is told.
pub(super) fn told(measure: &Measure, share: bool, outcome: Outcome<'_>) -> Vec<u8> {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let (status, description) = match outcome {
        Outcome::Answered(_) => (200, None),
        Outcome::BadRequest => (400, Some("Bad Request")),
        Outcome::Unavailable => (503, Some("Service Unavailable")),
        Outcome::Late => (504, Some("Service Timeout")),
    };
    let asked = measure.requester.rtt_ns();
    let start = measure.at - Duration::from_nanos(asked);
    let mut told = json!({
        "type": "io.nats.server.metric.v1.service_latency",
        "id": weir_engine::names::spell((0..22).map(|_| rand::random())),
        "timestamp": jiff::Timestamp::now().to_string(),
        "status": status,
        "requestor": described(&measure.requester, share),
        "start": start.to_string(),
        "service": 0, "system": 0, "total": 0,
    });
    if let Some(description) = description {
        told["description"] = json!(description);
    }
    if let Some(headers) = &measure.headers {
        told["header"] = headers.clone();
    }
    if let Outcome::Answered(by) = outcome {
        let took = nanos(measure.start.elapsed());
        let answered = by.map_or(0, |by| by.rtt_ns());
        told["service"] = json!(took.saturating_sub(answered));
        told["total"] = json!(asked + took);
        if let Some(by) = by {
            told["responder"] = described(by, true);
        }
    }
    told.to_string().into_bytes()
}

fn described(link: &Link, share: bool) -> Value {
    serde_json::from_str(&link.request_info(share)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
