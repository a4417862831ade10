//! `mappings { }`, at the top and of an account.

use weir_subject::is_valid_subject;

use super::read;
use super::schema::{self, Key, Kind, key};
use crate::error::ConfError;
use crate::file::{Entry, Map, Node, Value};
use crate::tenancy::{Destination, Mapping, Mappings, Tenancy};

/// A destination with a weight
const DESTINATION: &[Key] = &[
    key("dest destination", Kind::Text),
    key("weight", Kind::Own),
    key("cluster", Kind::Text),
];

/// Reads them, and finds what is wrong with them.
pub(super) fn apply(tenancy: &mut Tenancy, entry: &Entry) -> Result<(), ConfError> {
    let mut found = Vec::new();
    for e in &read::block(entry)?.entries {
        let source = e.key.as_str();
        if !is_valid_subject(source.as_bytes()) {
            let message = format!("Subject {source:?} is not a valid subject");
            return Err(ConfError::at(&e.pos, message));
        }
        let (destinations, shown) = match &e.value.value {
            Value::Str(subject) => {
                let only = Destination {
                    subject: subject.clone(),
                    weight: 100,
                    cluster: String::new(),
                };
                (vec![only], format!(" to {subject:?}"))
            }
            Value::Array(items) => {
                let all = items.iter().map(destination).collect::<Result<_, _>>()?;
                (all, String::new())
            }
            _ => (vec![destination(&e.value)?], String::new()),
        };
        let mapping = Mapping {
            source: source.to_owned(),
            destinations,
        };
        if let Err((_, why)) = Mappings::new(std::slice::from_ref(&mapping), "") {
            let message = format!("Error adding mapping for {source:?}{shown} : {why}");
            return Err(ConfError::at(&e.value.pos, message));
        }
        found.push(mapping);
    }
    tenancy.mappings.extend(found);
    Ok(())
}

fn destination(node: &Node) -> Result<Destination, ConfError> {
    let Value::Map(map) = &node.value else {
        return Err(ConfError::at(
            &node.pos,
            "Expected an entry for the mapping destination",
        ));
    };
    known(map)?;
    let mut made = Destination::default();
    let mut weighted = false;
    for e in &map.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "dest" | "destination" => made.subject = read::text(e)?,
            "cluster" => made.cluster = read::text(e)?,
            "weight" => {
                made.weight = weight(&e.value)?;
                weighted = true;
            }
            _ => {}
        }
    }
    match weighted {
        true => Ok(made),
        false => {
            let message = format!("Missing weight for mapping destination {:?}", made.subject);
            Err(ConfError::at(&node.pos, message))
        }
    }
}

fn known(map: &Map) -> Result<(), ConfError> {
    let strange = map.entries.iter().find(|e| !schema::knows(DESTINATION, &e.key));
    match strange {
        Some(e) => {
            let message = format!("Unknown field {:?} for mapping destination", e.key);
            Err(ConfError::at(&e.pos, message))
        }
        None => Ok(()),
    }
}

fn weight(node: &Node) -> Result<u8, ConfError> {
    let fail = |shown: String| ConfError::at(&node.pos, format!("Invalid weight {shown} for mapping destination"));
    let number = match &node.value {
        Value::Int(number) => *number,
        Value::Str(text) => {
            let number = text.strip_suffix('%').unwrap_or(text);
            number.parse().map_err(|_| fail(format!("{number:?}")))?
        }
        other => {
            let message = format!("Unknown entry type for weight of {}", other.go_kind());
            return Err(ConfError::at(&node.pos, message));
        }
    };
    match u8::try_from(number) {
        Ok(weight) if weight <= 100 => Ok(weight),
        _ => Err(fail(number.to_string())),
    }
}
