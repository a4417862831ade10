//! `/healthz`: may traffic be sent here?

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::json;

use super::{Answer, Query};
use crate::server::Server;

pub(super) fn page(server: &Arc<Server>, query: &Query) -> Answer {
    let wants_jetstream = ["js-enabled-only", "js-enabled"]
        .iter()
        .any(|name| query.flag(name).unwrap_or(false));
    let started = server.jetstream.get().is_some();
    if server.is_leaving() {
        return unavailable("server is shutting down");
    }
    if wants_jetstream && !started {
        return unavailable("JetStream not enabled");
    }
    if server.client_address().is_none() {
        return unavailable("server is not accepting connections yet");
    }
    if let Some(trouble) = server
        .jetstream
        .get()
        .and_then(|jetstream| jetstream.catalogue().trouble())
    {
        return unavailable(&trouble);
    }
    Answer::Line(StatusCode::OK, json!({"status": "ok"}))
}

fn unavailable(error: &str) -> Answer {
    let body = json!({"status": "unavailable", "status_code": 503, "error": error});
    Answer::Line(StatusCode::SERVICE_UNAVAILABLE, body)
}
