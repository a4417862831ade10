//! What accounts share by their tokens, in the words that configurations have for it.

use std::time::Duration;

use weir_jwt::{ActivationClaims, Export, Import, Share, Token, decode};

use super::{Held, Trust, now};
use crate::conf::tenancy::{
    Access, Destination, Latency, Mapping, ResponseType, Sampling, ServiceExport, ServiceImport, StreamExport,
    StreamImport, THRESHOLD, Tenancy,
};

/// Who may import.
fn access(of: &Export) -> Access {
    match (usize::try_from(of.account_token_position), of.token_req) {
        (Ok(position), _) if position > 0 => Access::Token(position),
        (_, true) => Access::Activation,
        (_, false) => Access::Public,
    }
}

fn service_export(of: &Export) -> ServiceExport {
    ServiceExport {
        subject: of.subject.clone(),
        access: access(of),
        response: match of.response_type.as_str() {
            "Stream" => ResponseType::Stream,
            "Chunked" => ResponseType::Chunked,
            _ => ResponseType::Singleton,
        },
        threshold: match u64::try_from(of.response_threshold) {
            Ok(0) | Err(_) => THRESHOLD,
            Ok(nanos) => Duration::from_nanos(nanos),
        },
        latency: of.latency.as_ref().map(|latency| Latency {
            sampling: match u8::try_from(latency.sampling) {
                Ok(percent) if (1..=100).contains(&percent) => Sampling::Percent(percent),
                _ => Sampling::Headers,
            },
            subject: latency.results.clone(),
        }),
        allow_trace: of.allow_trace,
    }
}

impl Trust {
    /// What an account asks for by its token.
    pub fn tenancy(&self, of: &Held) -> Tenancy {
        let nats = &of.claims.nats;
        let importer = of.claims.common.subject.as_str();
        let mut found = Tenancy::default();
        for export in &nats.exports {
            match export.share {
                Some(Share::Service) => found.service_exports.push(service_export(export)),
                Some(Share::Stream) => found.stream_exports.push(StreamExport {
                    subject: export.subject.clone(),
                    access: access(export),
                }),
                None => {}
            }
        }
        for import in &nats.imports {
            let activated = self.is_activated(import, importer);
            match import.share {
                Some(Share::Stream) => found.stream_imports.push(StreamImport {
                    account: import.account.clone(),
                    subject: import.subject.clone(),
                    prefix: match import.local_subject.is_empty() {
                        true => import.to.clone(),
                        false => String::new(),
                    },
                    to: import.local_subject.clone(),
                    allow_trace: import.allow_trace,
                    activated,
                }),
                Some(Share::Service) => {
                    // What is called `to` names the other account's subject, and `subject` its own then.
                    let (subject, to) = match (import.local_subject.as_str(), import.to.as_str()) {
                        ("", "") => (&import.subject, ""),
                        ("", _) => (&import.to, import.subject.as_str()),
                        (local, _) => (&import.subject, local),
                    };
                    found.service_imports.push(ServiceImport {
                        account: import.account.clone(),
                        subject: subject.clone(),
                        to: to.to_owned(),
                        share: import.tells_who,
                        activated,
                    });
                }
                None => {}
            }
        }
        for (source, destinations) in &nats.mappings {
            let destination = |of: &weir_jwt::Mapping| Destination {
                subject: of.subject.clone(),
                weight: of.percent(),
                cluster: of.cluster.clone(),
            };
            found.mappings.push(Mapping {
                source: source.clone(),
                destinations: destinations.iter().map(destination).collect(),
            });
        }
        found
    }

    /// Whether an import has an activation of the exporting account that holds now.
    fn is_activated(&self, import: &Import, importer: &str) -> bool {
        let Ok(Token::Activation(activation)) = decode(&import.token) else {
            return false;
        };
        let Some(exporter) = self.known(&import.account) else {
            return false;
        };
        let held = exporter.held();
        let common = &activation.common;
        let signed = match activation.nats.issuer_account.as_str() {
            "" => common.issuer == import.account,
            account => account == import.account && held.signer(&common.issuer).is_some(),
        };
        let expired = common.expires != 0 && common.expires <= now();
        signed
            && !expired
            && common.subject == importer
            && activation.nats.share == import.share
            && activation.check(now()).are_none()
            && !is_revoked(&held, import, &activation)
    }
}

/// Whether the exporting account takes the activation back.
fn is_revoked(exporter: &Held, import: &Import, activation: &ActivationClaims) -> bool {
    let (subject, issued_at) = (&activation.common.subject, activation.common.issued_at);
    let covers = |export: &&Export| {
        export.share == import.share
            && weir_subject::is_subset(activation.nats.subject.as_bytes(), export.subject.as_bytes())
    };
    exporter.claims.nats.exports.iter().filter(covers).any(|export| {
        let since = |who: &str| export.revocations.get(who).is_some_and(|&until| until >= issued_at);
        since(subject) || since("*")
    })
}
