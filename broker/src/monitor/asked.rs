//! What requests over HTTP ask of the reports, and how these are answered.

use hyper::StatusCode;
use serde::Serialize;

use super::{Answer, Query};
use crate::report::accounts::{AccStatzOptions, AccountzOptions};
use crate::report::connz::{ConnzOptions, State};
use crate::report::healthz::HealthzOptions;
use crate::report::queues::IpqueueszOptions;
use crate::report::subsz::SubszOptions;
use crate::report::{JszOptions, Reports};

/// `/connz`.
pub(super) fn connz(reports: &Reports, query: &Query) -> Answer {
    answer(connz_options(query).and_then(|options| reports.connz(&options)))
}

fn connz_options(query: &Query) -> Result<ConnzOptions, String> {
    let offset = query.number("offset")?;
    let limit = query.number("limit")?;
    let cid = query.id("cid")?;
    let auth = query.flag("auth")?;
    let detailed = is_detail(query);
    let subscriptions = detailed || query.flag("subs")?;
    Ok(ConnzOptions {
        state: connz_state(query)?,
        sort: owned(query, "sort"),
        cid,
        account: owned(query, "acc"),
        user: owned(query, "user"),
        mqtt_client: owned(query, "mqtt_client"),
        filter_subject: owned(query, "filter_subject"),
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

/// `/jsz`.
pub(super) fn jsz(reports: &Reports, query: &Query) -> Answer {
    answer(jsz_options(query).map(|options| reports.jsz(&options)))
}

fn jsz_options(query: &Query) -> Result<JszOptions, String> {
    // One server leads all there is, and no consumer of a mirror or source is shown.
    query.flag("leader-only")?;
    query.flag("stream-leader-only")?;
    query.flag("direct-consumers")?;
    Ok(JszOptions {
        account: owned(query, "acc"),
        accounts: query.flag("accounts")?,
        streams: query.flag("streams")?,
        consumers: query.flag("consumers")?,
        config: query.flag("config")?,
        stream: owned(query, "stream"),
        consumer: owned(query, "consumer"),
        why: query.flag("why")?,
        raft: query.flag("raft")?,
        offset: query.number("offset")?,
        limit: query.number("limit")?,
    })
}

/// `/routez`.
pub(super) fn routez(reports: &Reports, query: &Query) -> Answer {
    answer(subscriptions(query).map(|()| reports.routez()))
}

/// `/gatewayz`.
pub(super) fn gatewayz(reports: &Reports, query: &Query) -> Answer {
    let checked = query.flag("accs").and_then(|_| subscriptions(query));
    answer(checked.map(|()| reports.gatewayz()))
}

/// `/leafz`.
pub(super) fn leafz(reports: &Reports, query: &Query) -> Answer {
    answer(query.flag("subs").map(|_| reports.leafz()))
}

/// Whether `subs` is what it may be, where there is nothing to list them of.
fn subscriptions(query: &Query) -> Result<(), String> {
    match is_detail(query) {
        true => Ok(()),
        false => query.flag("subs").map(|_| ()),
    }
}

/// Whether all is asked for that is known of subscriptions, in any spelling.
fn is_detail(query: &Query) -> bool {
    query
        .text("subs")
        .is_some_and(|subs| subs.eq_ignore_ascii_case("detail"))
}

/// `/accountz`.
pub(super) fn accountz(reports: &Reports, query: &Query) -> Answer {
    let account = owned(query, "acc");
    answer(reports.accountz(&AccountzOptions { account }))
}

/// `/accstatz`.
pub(super) fn accstatz(reports: &Reports, query: &Query) -> Answer {
    answer(query.flag("unused").map(|include_unused| {
        reports.accstatz(&AccStatzOptions {
            accounts: Vec::new(),
            include_unused,
        })
    }))
}

/// `/ipqueuesz`.
pub(super) fn ipqueuesz(reports: &Reports, query: &Query) -> Answer {
    answer(query.flag("all").map(|all| {
        let filter = query.text("queues").unwrap_or_default().to_owned();
        reports.ipqueuesz(&IpqueueszOptions { all, filter })
    }))
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
