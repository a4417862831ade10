//! What two servers said, held against each other.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;

use super::explained::EXPLAINED;
use super::play::Told;

/// What came of a comparison.
#[derive(Default)]
pub struct Comparison {
    /// Differences that nothing explains, a line each.
    pub wrong: Vec<String>,
    /// What was asked of both.
    pub asked: usize,
    /// Which of [`EXPLAINED`] there were, by their numbers.
    used: BTreeSet<usize>,
}

impl Comparison {
    /// How many of the explained differences there were.
    pub fn explained(&self) -> usize {
        self.used.len()
    }

    /// The explanations that nothing needed: of what other files show, or of what is no longer different.
    pub fn idle(&self) -> Vec<String> {
        let idle = (0..EXPLAINED.len()).filter(|number| !self.used.contains(number));
        idle.map(|number| {
            let known = &EXPLAINED[number];
            format!("{} {} {}", known.file, known.asked, known.path)
        })
        .collect()
    }

    /// Takes what both said to the questions of one file.
    pub fn add(&mut self, name: &str, there: Result<Told>, here: Result<Told>, aloud: bool) {
        let (there, here) = match (there, here) {
            (Ok(there), Ok(here)) => (there, here),
            (there, here) => {
                for (whose, told) in [("there", there), ("here", here)] {
                    if let Err(error) = told {
                        self.wrong.push(format!("{name}: {whose}: {error:#}"));
                    }
                }
                return;
            }
        };
        if there.len() != here.len() {
            let count = |told: &Told| told.len();
            self.wrong.push(format!(
                "{name}: {} answers there, {} here",
                count(&there),
                count(&here)
            ));
        }
        for ((asked, theirs), (_, ours)) in there.iter().zip(&here) {
            self.asked += 1;
            if aloud {
                println!("{asked}\n  there {theirs}\n  here  {ours}");
            }
            let (theirs, ours) = (leaves(theirs), leaves(ours));
            let paths: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
            for path in paths {
                let (theirs, ours) = (theirs.get(path), ours.get(path));
                if theirs == ours || self.is_explained(name, asked, path) {
                    continue;
                }
                let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
                self.wrong.push(format!(
                    "{name}: {asked} {path}: {} there, {} here",
                    shown(theirs),
                    shown(ours)
                ));
            }
        }
    }

    fn is_explained(&mut self, name: &str, asked: &str, path: &str) -> bool {
        let fits = EXPLAINED.iter().position(|known| {
            let file = known.file.is_empty() || known.file.split(' ').any(|file| name.starts_with(file));
            file && asked.contains(known.asked) && matches(path, known.path)
        });
        self.used.extend(fits);
        fits.is_some()
    }
}

/// Whether a path ends so, or has that in it: `*` is any one part of it, and what is below is meant, too.
fn matches(path: &str, pattern: &str) -> bool {
    let path: Vec<&str> = path.split('/').collect();
    let pattern: Vec<&str> = pattern.split('/').collect();
    path.windows(pattern.len()).any(|window| {
        window
            .iter()
            .zip(&pattern)
            .all(|(part, wanted)| *wanted == "*" || part == wanted)
    })
}

/// The values of a document by their paths.
fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    walk(value, String::new(), &mut found);
    found
}

fn walk(value: &Value, path: String, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                walk(value, format!("{path}/{name}"), found);
            }
        }
        Value::Array(all) if !all.is_empty() => {
            for (at, value) in all.iter().enumerate() {
                walk(value, format!("{path}/{at}"), found);
            }
        }
        other => {
            found.insert(path, other.clone());
        }
    }
}
