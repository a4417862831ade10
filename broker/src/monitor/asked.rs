//! What requests over HTTP ask of the reports, and how these are answered.

use hyper::StatusCode;
use serde::Serialize;

use super::{Answer, Query};
use crate::report::connz::{ConnzOptions, State};
use crate::report::healthz::HealthzOptions;
use crate::report::subsz::SubszOptions;
use crate::report::{JszOptions, Reports};

/// `/connz`.
pub(super) fn connz(reports: &Reports, query: &Query) -> Answer {
    answer(connz_options(query).and_then(|options| reports.connz(&options)))
}

fn connz_options(query: &Query) -> Result<ConnzOptions, String> {
    let offset = query.number("offset")?;
    let limit = query.number("limit")?;
    let cid = query.number("cid")? as u64;
    let auth = query.flag("auth")?;
    let detailed = query.text("subs") == Some("detail");
    let subscriptions = detailed || query.flag("subs")?;
    Ok(ConnzOptions {
        state: connz_state(query)?,
        sort: owned(query, "sort"),
        cid,
        account: owned(query, "acc"),
        user: owned(query, "user"),
        mqtt_client: owned(query, "mqtt_client"),
        auth,
        subscriptions,
        detailed,
        offset,
        limit,
    })
}

fn connz_state(query: &Query) -> Result<State, String> {
    match query.text("state").map(str::to_ascii_lowercase).as_deref() {
        None | Some("open" | "0") => Ok(State::Open),
        Some("closed" | "1") => Ok(State::Closed),
        Some("any" | "all" | "2") => Ok(State::Any),
        Some(other) => Err(format!("Error decoding state for {other}")),
    }
}

/// `/subsz`.
pub(super) fn subsz(reports: &Reports, query: &Query) -> Answer {
    answer(subsz_options(query).and_then(|options| reports.subsz(&options)))
}

fn subsz_options(query: &Query) -> Result<SubszOptions, String> {
    Ok(SubszOptions {
        details: query.flag("subs")?,
        offset: query.number("offset")?,
        limit: query.number("limit")?,
        account: owned(query, "acc"),
        test: owned(query, "test"),
    })
}

/// `/healthz`.
pub(super) fn healthz(reports: &Reports, query: &Query) -> Answer {
    let options = match healthz_options(query) {
        Ok(options) => options,
        Err(text) => return Answer::bad_request(text),
    };
    let (status, text) = reports.healthz(&options);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Answer::Line(status, text)
}

fn healthz_options(query: &Query) -> Result<HealthzOptions, String> {
    let enabled = query.flag("js-enabled")?;
    let enabled_only = query.flag("js-enabled-only")?;
    let server_only = query.flag("js-server-only")?;
    // There is no meta group to leave out or to ask alone.
    query.flag("js-meta-only")?;
    Ok(HealthzOptions {
        server_only,
        enabled_only: enabled || enabled_only,
        details: query.flag("details")?,
        account: owned(query, "account"),
        stream: owned(query, "stream"),
        consumer: owned(query, "consumer"),
    })
}

/// `/jsz`. A parameter that makes no sense counts as missing.
pub(super) fn jsz(reports: &Reports, query: &Query) -> Answer {
    let flag = |name| query.flag(name).unwrap_or(false);
    let number = |name| query.number(name).unwrap_or(0);
    let options = JszOptions {
        account: owned(query, "acc"),
        accounts: flag("accounts"),
        streams: flag("streams"),
        consumers: flag("consumers"),
        config: flag("config"),
        offset: number("offset"),
        limit: number("limit"),
    };
    Answer::page(&reports.jsz(&options))
}

fn owned(query: &Query, name: &str) -> Option<String> {
    query.text(name).map(str::to_owned)
}

fn answer(page: Result<impl Serialize, String>) -> Answer {
    match page {
        Ok(page) => Answer::page(&page),
        Err(text) => Answer::bad_request(text),
    }
}
