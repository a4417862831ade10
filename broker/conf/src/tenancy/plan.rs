//! What holds of what all accounts ask for.

use std::collections::{BTreeMap, HashSet};

use weir_subject::{
    REST, STAR, Transform, has_wildcard, is_subset, is_valid_subject, number_wildcards, overlaps, placeholders, tokens,
};

use super::{Access, ServiceExport, ServiceImport, StreamExport, StreamImport, Tenancy};

/// Accounts that a chain of imports may lead through.
const CHAIN_MAX: usize = 1024;

/// What holds of all accounts, by their names.
pub type Plans = BTreeMap<String, Plan>;

/// What holds of one account.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Subjects that others may hear.
    pub stream_exports: Vec<StreamExport>,
    /// Subjects that others may ask.
    pub service_exports: Vec<ServiceExport>,
    /// What it hears of others.
    pub streams: Vec<StreamIn>,
    /// What it may ask of others.
    pub services: Vec<ServiceIn>,
}

/// Something an account hears of another one.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamIn {
    /// The other account.
    pub account: String,
    /// The subject there.
    pub from: String,
    /// The filter here.
    pub to: String,
    /// How a subject there becomes one here.
    pub renaming: Renaming,
    /// Whether the tracing of messages goes on.
    pub allow_trace: bool,
}

/// Something an account may ask of another one.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceIn {
    /// The other account.
    pub account: String,
    /// The filter here.
    pub from: String,
    /// The subject there, as it is written.
    pub to: String,
    /// How a subject here becomes one there.
    pub renaming: Renaming,
    /// Whether the other account is told who asks.
    pub share: bool,
    /// The export that it is of: its place in the other's [`service_exports`](Plan::service_exports).
    pub export: usize,
}

/// How a subject of one account becomes one of another.
#[derive(Debug, Clone)]
pub enum Renaming {
    /// It stays.
    Same,
    /// It becomes this one.
    Fixed(Vec<u8>),
    /// By what its wildcards stand for, and the way back.
    By(Box<Transform>, Box<Transform>),
}

impl PartialEq for Renaming {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Same, Self::Same) => true,
            (Self::Fixed(one), Self::Fixed(two)) => one == two,
            (Self::By(one, _), Self::By(two, _)) => {
                (one.source(), one.destination()) == (two.source(), two.destination())
            }
            _ => false,
        }
    }
}

impl Renaming {
    /// The new name of a subject that the import is about. `None` if it has none.
    #[must_use]
    pub fn apply(&self, subject: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Same => Some(subject.to_vec()),
            Self::Fixed(new) => Some(new.clone()),
            Self::By(transform, _) => transform.rename(subject, 0),
        }
    }
}

/// Something that an account asks for and that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The account.
    pub account: String,
    /// What and why, in nats-server's words.
    pub why: String,
}

/// A plan, and what was left out of it.
#[derive(Debug, Default)]
pub struct Found {
    /// What holds.
    pub plans: Plans,
    /// What does not.
    pub faults: Vec<Fault>,
}

impl Found {
    /// Looks at what all accounts ask for: exports first, since imports are held against them.
    #[must_use]
    pub fn of<'a>(accounts: impl IntoIterator<Item = (&'a str, &'a Tenancy)>) -> Self {
        let accounts: Vec<_> = accounts.into_iter().collect();
        let mut found = Self::default();
        for (name, _) in &accounts {
            found.plans.insert((*name).to_owned(), Plan::default());
        }
        for (name, tenancy) in &accounts {
            for export in &tenancy.stream_exports {
                let told = found.export_stream(name, export);
                found.note(name, told);
            }
        }
        for (name, tenancy) in &accounts {
            for export in &tenancy.service_exports {
                let told = found.export_service(name, export);
                found.note(name, told);
            }
        }
        for (name, tenancy) in &accounts {
            for import in &tenancy.stream_imports {
                let told = found.import_stream(name, import);
                found.note(name, told);
            }
        }
        for (name, tenancy) in &accounts {
            for import in &tenancy.service_imports {
                let told = found.import_service(name, import);
                found.note(name, told);
            }
        }
        found
    }

    fn note(&mut self, account: &str, told: Result<(), String>) {
        if let Err(why) = told {
            self.faults.push(Fault {
                account: account.to_owned(),
                why,
            });
        }
    }

    fn plan(&mut self, account: &str) -> &mut Plan {
        self.plans.entry(account.to_owned()).or_default()
    }

    /// Whether everybody is there whom an export names.
    fn check_access(&self, kind: &str, access: &Access) -> Result<(), String> {
        let Access::Accounts(names) = access else {
            return Ok(());
        };
        match names.iter().find(|name| !self.plans.contains_key(*name)) {
            Some(missing) => Err(format!("{missing:?} account not defined for {kind} export")),
            None => Ok(()),
        }
    }

    fn export_stream(&mut self, account: &str, export: &StreamExport) -> Result<(), String> {
        self.check_access("stream", &export.access)?;
        check_position(&export.access, &export.subject)
            .map_err(|why| format!("Error adding stream export {:?}: {why}", export.subject))?;
        let all = &mut self.plan(account).stream_exports;
        match all.iter_mut().find(|known| known.subject == export.subject) {
            Some(known) => merge(&mut known.access, &export.access),
            None => all.push(export.clone()),
        }
        Ok(())
    }

    fn export_service(&mut self, account: &str, export: &ServiceExport) -> Result<(), String> {
        self.check_access("service", &export.access)?;
        let subject = &export.subject;
        check_position(&export.access, subject)
            .map_err(|why| format!("Error adding service export {subject:?}: {why}"))?;
        if let Some(latency) = &export.latency {
            let results = latency.subject.as_bytes();
            let fail = |why: &str| {
                Err(format!(
                    "Error adding service latency sampling for {subject:?} on subject {:?}: {why}",
                    latency.subject
                ))
            };
            let own = &self.plan(account).service_exports;
            let loops = own
                .iter()
                .map(|known| &known.subject)
                .chain([subject])
                .any(|known| is_subset(results, known.as_bytes()));
            if !is_valid_subject(results) || has_wildcard(results) || loops {
                return fail("invalid publish subject");
            }
            if export.response != super::ResponseType::Singleton {
                return fail("bad service response type");
            }
        }
        let all = &mut self.plan(account).service_exports;
        match all.iter_mut().find(|known| known.subject == *subject) {
            Some(known) => {
                merge(&mut known.access, &export.access);
                let access = std::mem::take(&mut known.access);
                *known = ServiceExport {
                    access,
                    ..export.clone()
                };
            }
            None => all.push(export.clone()),
        }
        Ok(())
    }

    fn import_stream(&mut self, account: &str, import: &StreamImport) -> Result<(), String> {
        if !self.plans.contains_key(&import.account) {
            return Err(format!("{:?} account not defined for stream import", import.account));
        }
        let made = self
            .stream(account, import)
            .map_err(|why| format!("Error adding stream import {:?}: {why}", import.subject))?;
        self.plan(account).streams.push(made);
        Ok(())
    }

    fn stream(&self, account: &str, import: &StreamImport) -> Result<StreamIn, String> {
        let exporter = &self.plans[&import.account];
        let (from, mut to) = (import.subject.as_str(), import.to.clone());
        if !exporter.gives_stream(account, from, import.activated) {
            return Err("stream import not authorized".to_owned());
        }
        if !import.prefix.is_empty() {
            let prefix = import.prefix.trim_end_matches('.');
            if has_wildcard(import.prefix.as_bytes()) || !is_valid_subject(prefix.as_bytes()) {
                return Err("stream import prefix can not contain wildcard tokens".to_owned());
            }
            to = format!("{prefix}.{from}");
        } else if to.is_empty() {
            from.clone_into(&mut to);
        }
        let mut visited = HashSet::from([account.to_owned()]);
        self.stream_chain(&import.account, &to, &mut visited)?;
        let mut visited = HashSet::from([account.to_owned()]);
        self.stream_chain(&import.account, from, &mut visited)?;
        let mut renaming = match to == from {
            true => Renaming::Same,
            false => Renaming::Fixed(to.clone().into_bytes()),
        };
        if has_wildcard(from.as_bytes()) && to != from {
            let destination = number_wildcards(to.as_bytes());
            let transform = Transform::for_import(from.as_bytes(), &destination).map_err(|error| {
                format!("failed to create mapping transform for stream import subject from {from:?} to {to:?}: {error}")
            })?;
            let back = transform.reverse().ok_or("the import can not be undone")?;
            renaming = Renaming::By(Box::new(transform), Box::new(back));
            to = text(placeholders(to.as_bytes()).0);
        } else if !is_valid_subject(to.as_bytes()) || has_wildcard(to.as_bytes()) != has_wildcard(from.as_bytes()) {
            return Err("invalid subject".to_owned());
        }
        let importer = &self.plans[account];
        let known = importer
            .streams
            .iter()
            .any(|known| known.account == import.account && known.from == from);
        if known {
            return Err("stream import already exists".to_owned());
        }
        Ok(StreamIn {
            account: import.account.clone(),
            from: from.to_owned(),
            to,
            renaming,
            allow_trace: import.allow_trace,
        })
    }

    /// Whether what `account` gives on `to` comes from somebody who was there before.
    fn stream_chain(&self, account: &str, to: &str, visited: &mut HashSet<String>) -> Result<(), String> {
        if visited.len() >= CHAIN_MAX {
            return Err("search cycle depth exhausted".to_owned());
        }
        let Some(plan) = self.plans.get(account) else {
            return Ok(());
        };
        let exports = &plan.stream_exports;
        if !exports
            .iter()
            .any(|export| is_subset(to.as_bytes(), export.subject.as_bytes()))
        {
            return Ok(());
        }
        for import in &plan.streams {
            if !overlaps(to.as_bytes(), import.to.as_bytes()) {
                continue;
            }
            if visited.contains(&import.account) {
                return Err("import forms a cycle".to_owned());
            }
            visited.insert(account.to_owned());
            let narrower = match is_subset(import.to.as_bytes(), to.as_bytes()) {
                true => &import.to,
                false => to,
            };
            self.stream_chain(&import.account, narrower, visited)?;
        }
        Ok(())
    }

    fn import_service(&mut self, account: &str, import: &ServiceImport) -> Result<(), String> {
        if !self.plans.contains_key(&import.account) {
            return Err(format!("{:?} account not defined for service import", import.account));
        }
        let made = self
            .service(account, import)
            .map_err(|why| format!("Error adding service import {:?}: {why}", import.subject))?;
        self.plan(account).services.push(made);
        Ok(())
    }

    fn service(&self, account: &str, import: &ServiceImport) -> Result<ServiceIn, String> {
        let there = import.subject.as_str();
        let mut from = match import.to.as_str() {
            "" => there.to_owned(),
            to => to.to_owned(),
        };
        if !is_valid_subject(from.as_bytes()) || !is_valid_subject(there.as_bytes()) {
            return Err("sublist: invalid subject".to_owned());
        }
        let exporter = &self.plans[&import.account];
        let Some(export) = exporter.gives_service(account, there, import.activated) else {
            return Err("service import not authorized".to_owned());
        };
        let pattern = match has_wildcard(there.as_bytes()) {
            true => text(placeholders(from.as_bytes()).0),
            false => from.clone(),
        };
        let mut visited = HashSet::from([account.to_owned()]);
        self.service_chain(&import.account, &pattern, &mut visited)?;
        let known = |known: &&ServiceIn| known.account == import.account && known.from == from;
        if let Some(known) = self.plans[account].services.iter().find(known) {
            return Err(format!(
                "duplicate service import subject {from:?}, previously used in import for account {:?}, subject {:?}",
                known.account, known.to
            ));
        }
        let mut to = there.to_owned();
        let mut renaming = match to == from {
            true => Renaming::Same,
            false => Renaming::Fixed(to.clone().into_bytes()),
        };
        if has_wildcard(there.as_bytes()) && to != from {
            to = text(placeholders(there.as_bytes()).0);
            let destination = number_wildcards(from.as_bytes());
            let failed = |why: String| {
                format!("failed to create mapping transform for service import subject from {from:?} to {to:?}: {why}")
            };
            let back = Transform::for_import(to.as_bytes(), &destination).map_err(|error| failed(error.to_string()))?;
            let transform = back
                .reverse()
                .ok_or_else(|| failed("it can not be undone".to_owned()))?;
            renaming = Renaming::By(Box::new(transform), Box::new(back));
            from = pattern;
        }
        Ok(ServiceIn {
            account: import.account.clone(),
            from,
            to,
            renaming,
            share: import.share,
            export,
        })
    }

    /// Whether what is asked of `account` on `from` goes on to somebody who was there before.
    fn service_chain(&self, account: &str, from: &str, visited: &mut HashSet<String>) -> Result<(), String> {
        if visited.len() >= CHAIN_MAX {
            return Err("search cycle depth exhausted".to_owned());
        }
        let Some(plan) = self.plans.get(account) else {
            return Ok(());
        };
        for import in &plan.services {
            if !overlaps(from.as_bytes(), import.to.as_bytes()) {
                continue;
            }
            if visited.contains(&import.account) {
                return Err("import forms a cycle".to_owned());
            }
            visited.insert(account.to_owned());
            let narrower = match is_subset(import.from.as_bytes(), from.as_bytes()) {
                true => &import.from,
                false => from,
            };
            self.service_chain(&import.account, narrower, visited)?;
        }
        Ok(())
    }
}

impl Plan {
    /// Whether an account may hear this subject.
    fn gives_stream(&self, account: &str, subject: &str, activated: bool) -> bool {
        let all = self
            .stream_exports
            .iter()
            .map(|export| (&export.subject, &export.access));
        is_valid_subject(subject.as_bytes()) && given(all, account, subject, activated).is_some()
    }

    /// The export by which an account may ask on this subject.
    fn gives_service(&self, account: &str, subject: &str, activated: bool) -> Option<usize> {
        let all = self
            .service_exports
            .iter()
            .map(|export| (&export.subject, &export.access));
        given(all, account, subject, activated)
    }
}

/// The export that a subject falls under, if it is for this account: that of the very subject, else the first that it is a part of.
fn given<'a>(
    exports: impl Iterator<Item = (&'a String, &'a Access)> + Clone,
    account: &str,
    subject: &str,
    activated: bool,
) -> Option<usize> {
    let mut all = exports.enumerate();
    let found = all
        .clone()
        .find(|(_, (known, _))| *known == subject)
        .or_else(|| all.find(|(_, (known, _))| is_subset(subject.as_bytes(), known.as_bytes())));
    let (at, (known, access)) = found?;
    let may = match access {
        Access::Public => true,
        Access::Accounts(names) => names.iter().any(|name| name == account),
        // The export itself names nobody.
        Access::Token(_) if known == subject => false,
        Access::Token(position) => {
            let token = position
                .checked_sub(1)
                .and_then(|at| tokens(subject.as_bytes()).nth(at));
            token == Some(account.as_bytes())
        }
        Access::Activation => activated,
    };
    may.then_some(at)
}

/// Whether the token that is to be the importer's name is a wildcard.
fn check_position(access: &Access, subject: &str) -> Result<(), String> {
    let Access::Token(position) = access else {
        return Ok(());
    };
    let token = position
        .checked_sub(1)
        .and_then(|at| tokens(subject.as_bytes()).nth(at));
    match token {
        Some([STAR]) => Ok(()),
        _ => Err("sublist: invalid subject".to_owned()),
    }
}

/// The same subject exported once more.
fn merge(known: &mut Access, more: &Access) {
    match (known, more) {
        (Access::Accounts(known), Access::Accounts(more)) => known.extend(more.iter().cloned()),
        (_, Access::Public) => {}
        (known, more) => *known = more.clone(),
    }
}

/// Subjects of a plan were text before.
fn text(subject: Vec<u8>) -> String {
    String::from_utf8_lossy(&subject).into_owned()
}

impl StreamIn {
    /// The filter at the exporting account by which a subscription to `filter` here hears what is imported; `None` if it hears nothing.
    #[must_use]
    pub fn heard_by(&self, filter: &[u8]) -> Option<Vec<u8>> {
        let to = self.to.as_bytes();
        let part = if is_subset(to, filter) {
            return Some(self.from.clone().into_bytes());
        } else {
            intersection(filter, to)?
        };
        match &self.renaming {
            Renaming::Same => Some(part),
            Renaming::Fixed(_) => Some(self.from.clone().into_bytes()),
            Renaming::By(_, back) => back.rename_filter(&part),
        }
    }
}

/// What two filters both match, as a filter; `None` if that is nothing.
fn intersection(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let (mut left, mut right) = (tokens(a).peekable(), tokens(b).peekable());
    let mut both: Vec<&[u8]> = Vec::new();
    loop {
        match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some([REST]), Some(_)) => {
                both.extend(right);
                break;
            }
            (Some(_), Some([REST])) => {
                both.extend(left);
                break;
            }
            (Some([STAR]), Some(other)) => both.push(other),
            (Some(one), Some([STAR])) => both.push(one),
            (Some(one), Some(other)) if one == other => both.push(one),
            _ => return None,
        }
        left.next();
        right.next();
    }
    Some(both.join(&weir_subject::SEPARATOR))
}

#[cfg(test)]
mod tests;
