//! Subjects that clients publish to, and what becomes of them.

use std::collections::HashMap;

use weir_subject::{Transform, check_mapping, has_wildcard, matches, number_wildcards};

/// What becomes of a subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    /// The subject, perhaps with wildcards.
    pub source: String,
    /// One of these, by their weights.
    pub destinations: Vec<Destination>,
}

/// One of the subjects that another becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destination {
    /// The subject, with what [`Transform`] knows.
    pub subject: String,
    /// In how many of a hundred cases, 0 to 100.
    pub weight: u8,
    /// Only on servers of this cluster; empty: wherever there is none for the server's own cluster.
    pub cluster: String,
}

/// The mappings of an account, ready for use.
#[derive(Debug, Clone, Default)]
pub struct Mappings {
    exact: HashMap<Box<[u8]>, Rule>,
    /// In the order in which they are tried.
    wild: Vec<(Box<[u8]>, Rule)>,
}

/// What becomes of one source. Of destinations, the first whose number is above that which chance gives (0 to 99).
#[derive(Debug, Clone)]
struct Rule(Vec<(u8, Transform)>);

impl Mappings {
    /// The mappings that hold on a server of this cluster (empty: of none). A later one of the same source takes the place of an earlier.
    ///
    /// # Errors
    /// What is wrong with one of them: its place in `mappings`, and a sentence.
    pub fn new(mappings: &[Mapping], cluster: &str) -> Result<Self, (usize, String)> {
        let mut made = Self::default();
        for (at, mapping) in mappings.iter().enumerate() {
            let rule = Rule::new(mapping, cluster).map_err(|why| (at, why))?;
            let source = mapping.source.as_bytes();
            if !has_wildcard(source) {
                made.exact.insert(source.into(), rule);
                continue;
            }
            match made.wild.iter_mut().find(|(known, _)| **known == *source) {
                Some((_, known)) => *known = rule,
                None => made.wild.push((source.into(), rule)),
            }
        }
        Ok(made)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wild.is_empty()
    }

    /// Each source with its destinations and their numbers, for a report.
    #[must_use]
    pub fn told(&self) -> Vec<(String, Vec<(String, u8)>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let exact = self.exact.iter();
        let all = exact.chain(self.wild.iter().map(|(source, rule)| (source, rule)));
        all.map(|(source, rule)| {
            let destinations = rule.0.iter();
            let told = destinations.map(|(weight, transform)| (text(transform.destination()), *weight));
            (text(source), told.collect())
        })
        .collect()
    }

    /// What becomes of a subject that somebody publishes to; `chance` is any number, which decides. `None`: it stays as it is; an empty
    /// one: nobody gets it.
    #[must_use]
    pub fn map(&self, subject: &[u8], chance: u64) -> Option<Vec<u8>> {
        let rule = self.exact.get(subject).or_else(|| {
            let found = self.wild.iter().find(|(source, _)| matches(source, subject));
            found.map(|(_, rule)| rule)
        })?;
        let (percent, chance) = (chance % 100, chance / 100);
        let found = rule.0.iter().find(|(below, _)| percent < u64::from(*below));
        let new = found.and_then(|(_, transform)| transform.rename(subject, chance));
        Some(new.unwrap_or_default())
    }
}

impl Rule {
    fn new(mapping: &Mapping, cluster: &str) -> Result<Self, String> {
        let source = mapping.source.as_str();
        let (mut everywhere, mut here) = (Vec::new(), Vec::new());
        let mut totals: HashMap<&str, u32> = HashMap::new();
        for (at, destination) in mapping.destinations.iter().enumerate() {
            let subject = destination.subject.as_str();
            if mapping.destinations[..at].iter().any(|other| other.subject == subject) {
                return Err(format!("duplicate entry for {subject:?}"));
            }
            if destination.weight > 100 {
                return Err("individual weights need to be <= 100".to_owned());
            }
            let total = totals.entry(&destination.cluster).or_default();
            *total += u32::from(destination.weight);
            if *total > 100 {
                return Err("total weight needs to be <= 100".to_owned());
            }
            if subject.is_empty() {
                return Err("a destination has no subject".to_owned());
            }
            check_mapping(source, subject)?;
            let transform = Transform::new(source.as_bytes(), subject.as_bytes()).map_err(|error| error.to_string())?;
            match destination.cluster.as_str() {
                "" => everywhere.push((destination.weight, transform)),
                of if of == cluster => here.push((destination.weight, transform)),
                _ => {}
            }
        }
        let chosen = if here.is_empty() { everywhere } else { here };
        Self::of(mapping, chosen)
    }

    /// What is missing of a hundred keeps its subject, unless the source is listed: then what is missing is lost.
    fn of(mapping: &Mapping, mut chosen: Vec<(u8, Transform)>) -> Result<Self, String> {
        let source = mapping.source.as_str();
        let total: u8 = chosen.iter().map(|(weight, _)| *weight).sum();
        let listed = mapping.destinations.iter().any(|other| other.subject == source);
        if total != 100 && !listed {
            let same = number_wildcards(source.as_bytes());
            let transform = Transform::new(source.as_bytes(), &same).map_err(|error| error.to_string())?;
            chosen.push((100 - total, transform));
        }
        chosen.sort_by_key(|(weight, _)| *weight);
        let mut sum = 0;
        for (weight, _) in &mut chosen {
            sum += *weight;
            *weight = sum;
        }
        Ok(Self(chosen))
    }
}

#[cfg(test)]
mod tests;
