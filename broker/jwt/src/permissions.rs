//! What a user may do, and how much of it.

use serde::{Deserialize, Deserializer, Serialize};

use crate::common::{is_zero, or_default};
use crate::issues::Issues;
use crate::{subject, times};

/// Filters that allow and that deny.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct List {
    /// What is allowed; empty: everything.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub allow: Vec<String>,
    /// What is not, even if it is allowed.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub deny: Vec<String>,
}

impl List {
    fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    fn check(&self, queues: bool, issues: &mut Issues) {
        for filter in self.allow.iter().chain(&self.deny) {
            let mut words = filter.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some(subject), None, _) => subject::check(subject, issues),
                (Some(subject), Some(queue), None) => {
                    subject::check(subject, issues);
                    subject::check(queue, issues);
                    if !queues {
                        issues.error(format!("Permission Subject {filter:?} is not allowed to contain queue"));
                    }
                }
                _ => issues.error(format!("Permission Subject {filter:?} contains too many spaces")),
            }
        }
    }
}

/// How a request may be answered by who may not publish there otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Responses {
    /// Answers at most; 0: as many as is usual; less: any number.
    pub max: i64,
    /// How long, in nanoseconds; 0: as long as is usual; less: for ever.
    pub ttl: i64,
}

/// What may be published and subscribed to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// Published to.
    #[serde(rename = "pub", deserialize_with = "or_default")]
    pub publish: List,
    /// Subscribed to; each may have a queue behind a blank.
    #[serde(rename = "sub", deserialize_with = "or_default")]
    pub subscribe: List,
    /// Whether requests may be answered.
    #[serde(rename = "resp", skip_serializing_if = "Option::is_none")]
    pub responses: Option<Responses>,
}

impl Permissions {
    /// Whether they say nothing.
    #[must_use]
    pub fn are_empty(&self) -> bool {
        self.publish.is_empty() && self.subscribe.is_empty() && self.responses.is_none()
    }

    pub(crate) fn check(&self, issues: &mut Issues) {
        self.subscribe.check(true, issues);
        self.publish.check(false, issues);
    }
}

/// A time of the day, from when until when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeRange {
    /// `15:04:05`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// `15:04:05`; before the start: on the next day.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub end: String,
}

/// From where and when a user may connect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserLimits {
    /// Networks (`10.0.0.0/8`); empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "networks")]
    pub src: Vec<String>,
    /// Times of the day; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub times: Vec<TimeRange>,
    /// The time zone of those times; empty: the server's.
    #[serde(
        rename = "times_location",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub locale: String,
}

/// How much a user, or the users of an account, may have. -1 is "no limit".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NatsLimits {
    /// Subscriptions.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub subs: i64,
    /// Bytes.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub data: i64,
    /// Bytes of one message.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub payload: i64,
}

/// How many of something there may be by a limit of a token: -1 is any number, 0 and all that is less is none, as in nats-server.
#[must_use]
pub fn limit(of: i64) -> Option<usize> {
    match of {
        -1 => None,
        of => Some(usize::try_from(of).unwrap_or(0)),
    }
}

impl NatsLimits {
    /// No limit.
    pub const NONE: Self = Self {
        subs: -1,
        data: -1,
        payload: -1,
    };
}

/// All that a user may do, and within which limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserPermissions {
    /// Subjects.
    #[serde(flatten)]
    pub permissions: Permissions,
    /// From where and when.
    #[serde(flatten)]
    pub user: UserLimits,
    /// How much.
    #[serde(flatten)]
    pub limits: NatsLimits,
    /// Whether the token alone proves who comes.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "or_default")]
    pub bearer_token: bool,
    /// Whether the user must come by a proxy that is trusted.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "or_default")]
    pub proxy_required: bool,
    /// What it may connect with; empty: anything.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub allowed_connection_types: Vec<String>,
}

impl UserPermissions {
    pub(crate) fn check(&self, issues: &mut Issues) {
        self.permissions.check(issues);
        times::check(&self.user, issues);
    }
}

/// A list, or what stands between commas.
fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Networks {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Option::deserialize(from)? {
        None => Vec::new(),
        Some(Networks::List(list)) => list,
        Some(Networks::Text(text)) => {
            let mut list = Vec::new();
            for part in text.to_lowercase().split(',').map(str::trim) {
                if !part.is_empty() && !list.iter().any(|there| there == part) {
                    list.push(part.to_owned());
                }
            }
            list
        }
    })
}
