//! What accounts let others have, and what they take.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::common::{is_zero, or_default};
use crate::issues::Issues;
use crate::token::{Token, decode};
use crate::{account, subject};

/// What is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// Messages.
    Stream,
    /// Answers to requests.
    Service,
}

/// What others may have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Export {
    /// What people call it.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub name: String,
    /// On which subjects.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub subject: String,
    /// What it is.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// Whether only those may have it that show an activation.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "or_default")]
    pub token_req: bool,
    /// Activations of these accounts that were signed until then are void, in seconds since 1970.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub revocations: BTreeMap<String, i64>,
    /// How many answers come to a request: `Singleton` (or empty), `Stream`, `Chunked`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub response_type: String,
    /// How long answers are waited for, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub response_threshold: i64,
    /// Whether it is measured how long they take.
    #[serde(rename = "service_latency", skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// The token of the subject, from 1 on, in which an importer's own key must stand; 0: none.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub account_token_position: i64,
    /// Whether others may see that it is there.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "or_default")]
    pub advertise: bool,
    /// Whether requests may be traced into the account.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "or_default")]
    pub allow_trace: bool,
    /// What people say of it.
    #[serde(flatten)]
    pub info: account::Info,
}

/// How it is measured how long answers take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Of how many of a hundred requests; 0: of those whose headers ask for it.
    #[serde(deserialize_with = "sampling", serialize_with = "as_sampling")]
    pub sampling: i64,
    /// Where it is told.
    #[serde(deserialize_with = "or_default")]
    pub results: String,
}

/// What an account takes from another one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Import {
    /// What people call it.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub name: String,
    /// On which subjects, as the publisher names them.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub subject: String,
    /// From which account, by its key.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub account: String,
    /// The activation that lets it.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub token: String,
    /// What it is called here; `local_subject` of old.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub to: String,
    /// What it is called here, with `$1` for the first wildcard.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub local_subject: String,
    /// What it is.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// Whether the exporter is told who asks.
    #[serde(
        rename = "share",
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "or_default"
    )]
    pub tells_who: bool,
    /// Whether messages may be traced into the account.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "or_default")]
    pub allow_trace: bool,
}

impl Export {
    fn is_service(&self) -> bool {
        self.share == Some(Share::Service)
    }

    fn check(&self, issues: &mut Issues) {
        match self.share {
            None => issues.error("invalid export type: \"unknown\""),
            Some(Share::Service) if !["", "Singleton", "Stream", "Chunked"].contains(&self.response_type.as_str()) => {
                issues.error(format!("invalid response type for service: {:?}", self.response_type));
            }
            Some(Share::Stream) => {
                if !self.response_type.is_empty() {
                    issues.error(format!("invalid response type for stream: {:?}", self.response_type));
                }
                if self.allow_trace {
                    issues.error("AllowTrace only valid for service export");
                }
            }
            Some(Share::Service) => {}
        }
        if let Some(latency) = &self.latency {
            if !self.is_service() {
                issues.error("latency tracking only permitted for services");
            }
            if !(0..=100).contains(&latency.sampling) {
                issues.error("sampling percentage needs to be between 1-100");
            }
            subject::check(&latency.results, issues);
            if subject::has_wildcards(&latency.results) {
                issues.error("results subject can not contain wildcards");
            }
        }
        if self.response_threshold < 0 {
            issues.error("negative response threshold is invalid");
        }
        if self.response_threshold > 0 && !self.is_service() {
            issues.error("response threshold only valid for services");
        }
        subject::check(&self.subject, issues);
        self.check_position(issues);
        self.info.check(issues);
    }

    fn check_position(&self, issues: &mut Issues) {
        let (position, subject) = (self.account_token_position, &self.subject);
        if position == 0 {
            return;
        }
        if !subject::has_wildcards(subject) {
            issues.error(format!(
                "Account Token Position can only be used with wildcard subjects: {subject}"
            ));
            return;
        }
        let token = usize::try_from(position - 1)
            .ok()
            .and_then(|at| subject.split('.').nth(at));
        match token {
            None => issues.error(format!(
                "Account Token Position {position} exceeds length of subject '{subject}'"
            )),
            Some("*") => {}
            Some(token) => issues.error(format!(
                "Account Token Position {position} matches '{token}' but must match a * in: {subject}"
            )),
        }
    }
}

impl Import {
    fn check(&self, importer: &str, issues: &mut Issues) {
        let is_service = self.share == Some(Share::Service);
        if self.share.is_none() {
            issues.error("invalid import type: \"unknown\"");
        }
        if is_service && self.allow_trace {
            issues.error("AllowTrace only valid for stream import");
        }
        if self.account.is_empty() {
            issues.error("account to import from is not specified");
        }
        subject::check(&self.subject, issues);
        if !self.local_subject.is_empty() {
            subject::check_renaming(&self.local_subject, &self.subject, issues);
            if !self.to.is_empty() {
                issues.error("Local Subject replaces To");
            }
        }
        if self.tells_who && !is_service {
            issues.error(format!(
                "sharing information (for latency tracking) is only valid for services: {:?}",
                self.subject
            ));
        }
        if !self.token.is_empty() {
            self.check_token(importer, issues);
        }
    }

    fn check_token(&self, importer: &str, issues: &mut Issues) {
        let subject = &self.subject;
        let Ok(Token::Activation(activation)) = decode(&self.token) else {
            issues.error(format!("import {subject:?} contains an invalid activation token"));
            return;
        };
        if activation.common.issuer != self.account && activation.nats.issuer_account != self.account {
            issues.error(format!("activation token doesn't match account for import {subject:?}"));
        }
        if activation.common.subject != importer {
            issues.error(format!(
                "activation token doesn't match account it is being included in, {subject:?}"
            ));
        }
        if activation.nats.share != self.share {
            issues.error("mismatch between token import type and type of import");
        }
        activation.check_content(issues);
        let is_service = self.share == Some(Share::Service);
        let taken = if is_service && !self.to.is_empty() {
            &self.to
        } else {
            subject
        };
        if !subject::is_contained_in(taken, &activation.nats.subject) {
            issues.error(format!(
                "activation token import subject {:?} doesn't match import {subject:?}",
                activation.nats.subject
            ));
        }
    }

    /// The subject here of a service.
    fn local(&self) -> String {
        match (self.to.as_str(), self.local_subject.as_str()) {
            ("", "") => self.subject.clone(),
            ("", local) => subject::unrenamed(local),
            (to, _) => to.to_owned(),
        }
    }
}

/// Exports at most, and imports at most: each is held against all others.
const MOST: usize = 4096;

pub(crate) fn check_exports(exports: &[Export], issues: &mut Issues) {
    if exports.len() > MOST {
        issues.error(format!("more than {MOST} exports"));
        return;
    }
    for export in exports {
        export.check(issues);
    }
    for share in [Share::Service, Share::Stream] {
        let of: Vec<_> = exports
            .iter()
            .filter(|export| export.is_service() == (share == Share::Service))
            .collect();
        for (i, one) in of.iter().enumerate() {
            let covers = |(j, other): (usize, &&Export)| {
                (i != j && subject::is_contained_in(&one.subject, &other.subject)).then_some(other.subject.clone())
            };
            if let Some(other) = of.iter().enumerate().find_map(covers) {
                let kind = if share == Share::Service { "service" } else { "stream" };
                issues.error(format!(
                    "{kind} export subject {other:?} already exports {:?}",
                    one.subject
                ));
            }
        }
    }
}

pub(crate) fn check_imports(imports: &[Import], importer: &str, issues: &mut Issues) {
    if imports.len() > MOST {
        issues.error(format!("more than {MOST} imports"));
        return;
    }
    let mut taken: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for import in imports {
        if import.share == Some(Share::Service) {
            let local = import.local();
            let others = taken.entry(&import.account).or_default();
            for other in others.iter() {
                if subject::is_contained_in(&local, other) || subject::is_contained_in(other, &local) {
                    issues.error(format!(
                        "overlapping subject namespace for {local:?} and {other:?} in same account {:?}",
                        import.account
                    ));
                }
            }
            others.push(local);
        }
        import.check(importer, issues);
    }
}

fn sampling<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Sampling {
        Rate(i64),
        Word(String),
    }
    match Sampling::deserialize(from)? {
        Sampling::Rate(rate) => Ok(rate),
        Sampling::Word(word) if word.eq_ignore_ascii_case("headers") => Ok(0),
        Sampling::Word(_) => Err(serde::de::Error::custom("unknown sampling rate")),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn as_sampling<S: Serializer>(rate: &i64, to: S) -> Result<S::Ok, S::Error> {
    match rate {
        0 => to.serialize_str("headers"),
        rate => to.serialize_i64(*rate),
    }
}
