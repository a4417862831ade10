//! One stream of two stores.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};
use weir_engine::Result;
use weir_engine::consumer::ConsumerSnapshot;
use weir_engine::json::format_time;
use weir_engine::store::OpeningProgress;
use weir_engine::stream::{Listing, Message, StreamState};

use super::ahead::{Ahead, Next};
use super::report::{ConsumerDiff, Field, MessageDiff, NAMED_MAX, Named, Part, StreamDiff, Where};
use super::side::{Content, Held};

/// What begins the names of metadata that say how messages are kept.
const KEPT: &str = "weir.";
/// What begins the names of metadata that servers write.
const OF_SERVERS: &str = "_nats.";
/// What of a consumer is no matter of where it is: its number within the stream, when it was made, and how far it has looked ahead.
const NOT_COMPARED: [&str; 3] = ["serial", "created", "next"];
/// Messages after which the progress is told.
const STEP: u64 = 10_000;

/// Compares the streams.
///
/// # Errors
/// If storage cannot be read.
pub(super) fn compare(named: &Named, a: Content, b: Content, progress: Option<&OpeningProgress>) -> Result<StreamDiff> {
    let mut diff = StreamDiff {
        account: named.account.clone(),
        name: named.name.clone(),
        ..StreamDiff::default()
    };
    let (mut of_a, mut of_b) = (object(&a.entry.config), object(&b.entry.config));
    let (kept_a, kept_b) = (take_kept(&mut of_a), take_kept(&mut of_b));
    diff.configuration = fields(&of_a, &of_b);
    diff.kept = fields(&kept_a, &kept_b);
    let offline = |entry: &weir_engine::store::StreamEntry, which: &str| {
        let why = entry.offline.as_ref()?;
        Some(format!("it is offline in {which}: {why}"))
    };
    diff.offline = offline(&a.entry, "A").or_else(|| offline(&b.entry, "B"));
    let (Some(a), Some(b)) = (a.held, b.held) else {
        return Ok(diff);
    };
    diff.state = fields(&state(&a.state), &state(&b.state));
    if let (Some(of_a), Some(of_b)) = (a.state.digest, b.state.digest)
        && of_a != of_b
    {
        diff.state.push(Field {
            field: "digest".to_owned(),
            a: json!(of_a.to_string()),
            b: json!(of_b.to_string()),
        });
    }
    let most = a.state.messages.max(b.state.messages);
    let (Held { consumers: of_a, .. }, Held { consumers: of_b, .. }) = (&a, &b);
    diff.consumers = consumers(of_a, of_b);
    messages(a.messages, b.messages, &mut diff, &mut |done| {
        if let Some(progress) = progress
            && done % STEP == 0
        {
            progress(&named.name, done, most);
        }
    })?;
    Ok(diff)
}

fn object(of: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(of) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn take_kept(config: &mut Map<String, Value>) -> Map<String, Value> {
    let Some(Value::Object(metadata)) = config.get_mut("metadata") else {
        return Map::new();
    };
    let all = std::mem::take(metadata).into_iter();
    let all = all.filter(|(name, _)| !name.starts_with(OF_SERVERS));
    let (kept, rest): (Map<_, _>, Map<_, _>) = all.partition(|(name, _)| name.starts_with(KEPT));
    match rest.is_empty() {
        true => drop(config.remove("metadata")),
        false => *metadata = rest,
    }
    kept
}

fn fields(a: &Map<String, Value>, b: &Map<String, Value>) -> Vec<Field> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let values = names.into_iter().map(|name| Field {
        field: name.clone(),
        a: a.get(name).cloned().unwrap_or_default(),
        b: b.get(name).cloned().unwrap_or_default(),
    });
    values.filter(|field| field.a != field.b).collect()
}

fn state(state: &StreamState) -> Map<String, Value> {
    let fields = [
        ("messages", json!(state.messages)),
        ("bytes", json!(state.bytes)),
        ("first_seq", json!(state.first_seq)),
        ("last_seq", json!(state.last_seq)),
        (
            "first_time",
            json!(state.first_time.map(|time| format_time(Some(time)))),
        ),
        ("last_time", json!(state.last_time.map(|time| format_time(Some(time))))),
        ("subjects", json!(state.num_subjects)),
    ];
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn consumers(a: &[ConsumerSnapshot], b: &[ConsumerSnapshot]) -> Vec<ConsumerDiff> {
    let of = |all: &[ConsumerSnapshot]| -> BTreeMap<String, Map<String, Value>> {
        let named = all.iter().map(|consumer| {
            let mut fields = object(consumer);
            NOT_COMPARED.iter().for_each(|name| drop(fields.remove(*name)));
            if let Some(Value::Object(mut config)) = fields.remove("config") {
                take_kept(&mut config);
                fields.extend(
                    config
                        .into_iter()
                        .map(|(name, value)| (format!("config.{name}"), value)),
                );
            }
            (consumer.name.clone(), fields)
        });
        named.collect()
    };
    let (a, b) = (of(a), of(b));
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let compared = names.into_iter().filter_map(|name| {
        let (what, fields) = match (a.get(name), b.get(name)) {
            (Some(a), Some(b)) => (Where::Different, fields(a, b)),
            (Some(_), None) => (Where::OnlyInA, Vec::new()),
            (None, _) => (Where::OnlyInB, Vec::new()),
        };
        let differs = what != Where::Different || !fields.is_empty();
        differs.then(|| ConsumerDiff {
            name: name.clone(),
            what,
            fields,
        })
    });
    compared.collect()
}

fn messages(a: Listing, b: Listing, diff: &mut StreamDiff, progress: &mut dyn FnMut(u64)) -> Result<()> {
    std::thread::scope(|scope| {
        let (mut a, mut b) = (Ahead::begin(scope, a)?, Ahead::begin(scope, b)?);
        let (mut next_a, mut next_b) = (a.next()?, b.next()?);
        let mut done = 0;
        loop {
            let order = match (&next_a, &next_b) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
            };
            let from_a = if order.is_le() { next_a.take() } else { None };
            let from_b = if order.is_ge() { next_b.take() } else { None };
            note(diff, from_a.as_ref(), from_b.as_ref());
            if order.is_le() {
                next_a = a.next()?;
            }
            if order.is_ge() {
                next_b = b.next()?;
            }
            done += 1;
            progress(done);
        }
    })
}

fn note(diff: &mut StreamDiff, a: Option<&Next>, b: Option<&Next>) {
    let mut parts = Vec::new();
    let what = match (a, b) {
        (Some((_, Some(a))), Some((_, Some(b)))) => {
            parts = differing(a, b);
            match parts.is_empty() {
                true => {
                    diff.same += 1;
                    return;
                }
                false => Where::Different,
            }
        }
        (Some((_, None)), _) | (_, Some((_, None))) => Where::Damaged,
        (Some(_), None) => Where::OnlyInA,
        (None, _) => Where::OnlyInB,
    };
    let count = match what {
        Where::OnlyInA => &mut diff.only_in_a,
        Where::OnlyInB => &mut diff.only_in_b,
        Where::Different => &mut diff.different,
        Where::Damaged => &mut diff.damaged,
    };
    *count += 1;
    if diff.first.len() < NAMED_MAX {
        let either = [a, b].into_iter().flatten();
        let mut read = either.clone().filter_map(|(_, message)| message.as_ref());
        let subject = read.next();
        diff.first.push(MessageDiff {
            seq: either.map(|(seq, _)| *seq).next().unwrap_or_default(),
            what,
            subject: subject.map(|message| String::from_utf8_lossy(&message.subject).into_owned()),
            parts,
        });
    }
}

fn differing(a: &Message, b: &Message) -> Vec<Part> {
    let same = [
        (Part::Time, a.time == b.time),
        (Part::Subject, a.subject == b.subject),
        (Part::Headers, a.headers == b.headers),
        (Part::Body, a.payload == b.payload),
    ];
    same.into_iter()
        .filter(|(_, same)| !same)
        .map(|(part, _)| part)
        .collect()
}
