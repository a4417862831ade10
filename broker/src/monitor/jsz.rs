//! `/jsz`: JetStream.

use std::sync::Arc;

use hyper::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Query};
use crate::server::Server;

pub(super) fn page(server: &Arc<Server>, query: &Query) -> Answer {
    let mut page = match crate::jetstream::jsz(server, query) {
        Value::Object(fields) => fields,
        other => return Answer::Json(StatusCode::OK, other),
    };
    page.insert("server_id".to_owned(), server.id.clone().into());
    page.insert("now".to_owned(), Timestamp::now().to_string().into());
    if server.jetstream.get().is_none() {
        page.insert("disabled".to_owned(), json!(true));
    }
    Answer::Json(StatusCode::OK, Value::Object(page))
}
