//! What a request of the system account asks: which servers are meant, and the options of reports, as JSON.

use serde::Deserialize;

use crate::conf::Options;
use crate::report::JszOptions;
use crate::report::connz::{ConnzOptions, State};
use crate::report::healthz::HealthzOptions;
use crate::report::subsz::SubszOptions;

/// Which servers a request is for: those that all of this is true of.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    server_name: String,
    cluster: String,
    host: String,
    exact_match: bool,
    tags: Vec<String>,
    domain: String,
}

impl Filter {
    /// Whether it is for the server of that name with these options.
    pub fn is_for(&self, name: &str, options: &Options) -> bool {
        let fits = |wanted: &str, is: &str| match self.exact_match {
            _ if wanted.is_empty() => true,
            true => wanted == is,
            false => is.contains(wanted),
        };
        let domain = options.jetstream.domain.as_deref().unwrap_or_default();
        fits(&self.server_name, name)
            && fits(&self.host, &options.host)
            // It is in no cluster.
            && self.cluster.is_empty()
            && (self.domain.is_empty() || self.domain == domain)
            && self.tags.iter().all(|tag| options.server_tags.contains(tag))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Connz {
    sort: String,
    auth: bool,
    subscriptions: bool,
    subscriptions_detail: bool,
    offset: i64,
    limit: i64,
    cid: u64,
    mqtt_client: String,
    state: u8,
    user: String,
    acc: String,
    filter_subject: String,
}

/// Go has no word for "not there".
fn there(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

impl From<Connz> for ConnzOptions {
    fn from(asked: Connz) -> Self {
        Self {
            state: match asked.state {
                0 => State::Open,
                1 => State::Closed,
                _ => State::Any,
            },
            sort: there(asked.sort),
            cid: asked.cid,
            account: there(asked.acc),
            user: there(asked.user),
            mqtt_client: there(asked.mqtt_client),
            filter_subject: there(asked.filter_subject),
            auth: asked.auth,
            subscriptions: asked.subscriptions || asked.subscriptions_detail,
            detailed: asked.subscriptions_detail,
            offset: count(asked.offset),
            limit: count(asked.limit),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Subsz {
    offset: i64,
    limit: i64,
    subscriptions: bool,
    account: String,
    test: String,
}

impl From<Subsz> for SubszOptions {
    fn from(asked: Subsz) -> Self {
        Self {
            details: asked.subscriptions,
            account: there(asked.account),
            test: there(asked.test),
            offset: count(asked.offset),
            limit: count(asked.limit),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Jsz {
    account: String,
    accounts: bool,
    streams: bool,
    consumer: bool,
    config: bool,
    /// Weir's own: streams and consumers of that name, and why these stand still.
    stream_name: String,
    consumer_name: String,
    why: bool,
    raft: bool,
    offset: i64,
    limit: i64,
}

impl From<Jsz> for JszOptions {
    fn from(asked: Jsz) -> Self {
        Self {
            account: there(asked.account),
            accounts: asked.accounts,
            streams: asked.streams,
            consumers: asked.consumer,
            config: asked.config,
            stream: there(asked.stream_name),
            consumer: there(asked.consumer_name),
            why: asked.why,
            raft: asked.raft,
            offset: count(asked.offset),
            limit: count(asked.limit),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Healthz {
    js_enabled: bool,
    js_enabled_only: bool,
    js_server_only: bool,
    account: String,
    stream: String,
    consumer: String,
    details: bool,
}

impl From<Healthz> for HealthzOptions {
    fn from(asked: Healthz) -> Self {
        Self {
            server_only: asked.js_server_only,
            enabled_only: asked.js_enabled || asked.js_enabled_only,
            details: asked.details,
            account: there(asked.account),
            stream: there(asked.stream),
            consumer: there(asked.consumer),
        }
    }
}

/// How many subscribe.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Nsubs {
    pub acc: String,
    pub subject: String,
    pub queue: Option<String>,
}

/// A profile.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Profilez {
    pub name: String,
}

/// One connection.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Client {
    pub cid: u64,
}

#[cfg(test)]
mod tests;
