//! What an account shares with others, ready for messages: made of a [`Plan`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Account;
use crate::conf::tenancy::{
    Latency, Mappings, Plan, Plans, Renaming, ResponseType, ServiceExport, ServiceIn, StreamIn,
};

/// What one account maps, exports and imports.
#[derive(Default)]
pub struct Bonds {
    /// What becomes of the subjects that clients publish to.
    pub mappings: Mappings,
    /// What it exports and imports, as it was written.
    pub plan: Plan,
    /// What it hears of others.
    pub streams: Vec<Arc<StreamBond>>,
    /// What it may ask of others.
    pub services: Vec<Arc<ServiceBond>>,
    /// Its own services that others may ask, in the order of the plan.
    pub exports: Vec<Arc<Export>>,
}

/// A stream that an account hears of another one.
pub struct StreamBond {
    /// Who hears it.
    pub importer: Weak<Account>,
    /// Whose it is.
    pub exporter: Weak<Account>,
    /// On which subjects.
    pub of: StreamIn,
}

/// A service of an account that others may ask.
#[derive(PartialEq, Eq)]
pub struct Export {
    /// Its subject, perhaps with wildcards.
    pub subject: Box<str>,
    /// How many answers a request has.
    pub response: ResponseType,
    /// How long an answer, or the next one, may take.
    pub threshold: Duration,
    /// Where it is told how long it took.
    pub latency: Option<Latency>,
    /// Whether the tracing of messages goes on in this account.
    pub allow_trace: bool,
}

/// A service of another account that an account may ask.
pub struct ServiceBond {
    /// Whose it is.
    pub exporter: Weak<Account>,
    /// What it is.
    pub export: Arc<Export>,
    /// On which subjects.
    pub of: ServiceIn,
    /// Requests that wait for answers.
    open: Arc<AtomicUsize>,
}

impl Export {
    /// The same one as before, if there is one.
    fn again(of: &ServiceExport, before: &[Arc<Self>]) -> Arc<Self> {
        let new = Self::new(of);
        let known = before.iter().find(|known| ***known == *new);
        known.map_or(new, Arc::clone)
    }

    fn new(of: &ServiceExport) -> Arc<Self> {
        Arc::new(Self {
            subject: of.subject.as_str().into(),
            response: of.response,
            threshold: of.threshold,
            latency: of.latency.clone(),
            allow_trace: of.allow_trace,
        })
    }
}

impl StreamBond {
    fn is(&self, other: &Self) -> bool {
        self.exporter.ptr_eq(&other.exporter) && self.of == other.of
    }

    /// What a subject of the exporter is called at the importer's.
    #[must_use]
    pub fn rename(&self, subject: &[u8]) -> Option<Vec<u8>> {
        self.of.renaming.apply(subject)
    }
}

impl ServiceBond {
    fn is(&self, other: &Self) -> bool {
        self.exporter.ptr_eq(&other.exporter) && Arc::ptr_eq(&self.export, &other.export) && self.of == other.of
    }

    /// What a subject of the importer is called at the exporter's.
    #[must_use]
    pub fn rename(&self, subject: &[u8]) -> Option<Vec<u8>> {
        match &self.of.renaming {
            // Also where the subject itself has what looks like a wildcard.
            Renaming::Same => Some(subject.to_vec()),
            other => other.apply(subject),
        }
    }

    /// What counts the requests that wait for answers.
    pub(crate) fn waiting(&self) -> &Arc<AtomicUsize> {
        &self.open
    }

    /// How many requests wait for answers.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// The accounts of a plan, and what they map: gives each its bonds, all of them or none.
pub struct Binder<'a> {
    /// What holds of all accounts.
    pub plans: &'a Plans,
    /// The accounts, by their names.
    pub find: &'a dyn Fn(&str) -> Option<Arc<Account>>,
}

impl Binder<'_> {
    /// The bonds of every account of the plan; what is exported is made first, since imports hold on to it.
    #[must_use]
    pub fn bind(&self, mappings: impl Fn(&str) -> Mappings) -> Vec<(Arc<Account>, Bonds)> {
        let mut made: Vec<(Arc<Account>, Bonds)> = Vec::with_capacity(self.plans.len());
        let mut places = std::collections::HashMap::new();
        for (name, plan) in self.plans {
            let Some(account) = (self.find)(name) else { continue };
            let bonds = Bonds {
                mappings: mappings(name),
                plan: plan.clone(),
                exports: account.bonds(|before| {
                    let all = plan.service_exports.iter();
                    all.map(|of| Export::again(of, &before.exports)).collect()
                }),
                ..Bonds::default()
            };
            places.insert(name.as_str(), made.len());
            made.push((account, bonds));
        }
        for (name, plan) in self.plans {
            let Some(&at) = places.get(name.as_str()) else { continue };
            for of in &plan.streams {
                let Some(&exporter) = places.get(of.account.as_str()) else {
                    continue;
                };
                let bond = StreamBond {
                    importer: Arc::downgrade(&made[at].0),
                    exporter: Arc::downgrade(&made[exporter].0),
                    of: of.clone(),
                };
                let known = made[at].0.bonds(|before| {
                    let mut all = before.streams.iter();
                    all.find(|known| known.is(&bond)).map(Arc::clone)
                });
                made[at].1.streams.push(known.unwrap_or_else(|| Arc::new(bond)));
            }
            for of in &plan.services {
                let Some(&exporter) = places.get(of.account.as_str()) else {
                    continue;
                };
                let Some(export) = made[exporter].1.exports.get(of.export).map(Arc::clone) else {
                    continue;
                };
                let bond = ServiceBond {
                    exporter: Arc::downgrade(&made[exporter].0),
                    export,
                    of: of.clone(),
                    open: Arc::default(),
                };
                let known = made[at].0.bonds(|before| {
                    let mut all = before.services.iter();
                    all.find(|known| known.is(&bond)).map(Arc::clone)
                });
                made[at].1.services.push(known.unwrap_or_else(|| Arc::new(bond)));
            }
        }
        made
    }
}
