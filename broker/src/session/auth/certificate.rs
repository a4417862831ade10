//! Which user a client's certificate names (`verify_and_map`), in nats-server's order: its e-mail addresses, its host names, its URIs, and
//! then its subject, as a distinguished name and in Go's notation.

use std::collections::HashMap;

use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::dn::Dn;
use crate::link::tls::names::Name;

/// What may be the name of a user.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// In the order in which they count, before the subject.
    alternatives: Vec<String>,
    /// The subject, if it is one that can be compared.
    dn: Option<Dn>,
    /// The same in Go's notation.
    texts: Vec<String>,
}

impl Names {
    /// What a certificate has, in DER. `None`: nothing, or it is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let alternative = certificate.subject_alternative_name().ok()?;
        let all = alternative.map_or(&[][..], |found| found.value.general_names.as_slice());
        let of_kind = |pick: fn(&GeneralName<'_>) -> Option<String>| all.iter().filter_map(pick);
        let emails = of_kind(|name| match name {
            GeneralName::RFC822Name(text) => Some((*text).to_owned()),
            _ => None,
        });
        let hosts = of_kind(|name| match name {
            GeneralName::DNSName(text) => Some((*text).to_owned()),
            _ => None,
        });
        let uris = of_kind(|name| match name {
            GeneralName::URI(text) => Some((*text).to_owned()),
            _ => None,
        });
        let alternatives = emails.chain(hosts).chain(uris).collect();
        let Some(subject) = Name::of(certificate.subject()) else {
            return Some(Self {
                alternatives,
                ..Self::default()
            });
        };
        let (known, domain) = (subject.known(), subject.domain());
        let mut texts = Vec::new();
        if !domain.is_empty() {
            texts.push(format!("{known},{domain}"));
        }
        texts.push(known);
        Some(Self {
            alternatives,
            dn: Dn::of(&subject),
            texts,
        })
    }

    /// The user, by `find` if the name is its very own, and among those whose name is a distinguished one.
    pub fn user<'u, U>(&self, users: &Distinguished, find: impl Fn(&str) -> Option<&'u U>) -> Option<&'u U> {
        let spelled = |name: &String| (!name.is_empty()).then(|| find(name)).flatten();
        let by_dn = || {
            let dn = self.dn.as_ref()?;
            let there = || users.0.iter().filter_map(|(name, other)| Some((find(name)?, other)));
            there()
                .find(|(_, other)| other.equals(dn))
                .or_else(|| there().find(|(_, other)| other.has_the_same(dn)))
                .map(|(user, _)| user)
        };
        self.alternatives
            .iter()
            .find_map(spelled)
            .or_else(by_dn)
            .or_else(|| self.texts.iter().find_map(spelled))
    }
}

/// Users whose names are distinguished ones, in the order of those.
#[derive(Default)]
pub(super) struct Distinguished(Vec<(Box<str>, Dn)>);

impl Distinguished {
    /// Those of these users.
    pub fn among<T>(users: &HashMap<Box<str>, T>) -> Self {
        let mut names: Vec<&str> = users.keys().map(AsRef::as_ref).collect();
        names.sort_unstable();
        let read = |name: &str| Some((name.into(), Dn::parse(name)?));
        Self(names.into_iter().filter_map(read).collect())
    }
}
