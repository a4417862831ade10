//! The same operations against the genuine nats-server and against ours, every reply compared: what a client can see is the
//! same.
//!
//! It needs a `nats-server` 2.15, on PATH or named by `NATS_SERVER`, and says so if there is none. Each of some seeds (1 to
//! 5, or `WEIR_SEED`) chooses `WEIR_DIFF_OPS` (2000) operations; a failure names both, and the operations on that stream
//! which lead to it. Times, ids and names of servers are not compared (`compare.rs`), nor what `known.rs` explains.

mod compare;
mod fields;
mod generate;
mod known;
mod operation;
mod pair;
mod wire;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use generate::Generator;
use operation::Operation;
use pair::Pair;

/// Different differences that a run looks for before it gives up.
const ENOUGH: usize = 40;

#[test]
fn answers_are_those_of_nats_server() {
    let nats_server = match weir_tests::genuine::genuine() {
        Ok(path) => path,
        Err(why) => {
            println!("not compared with nats-server: {why}");
            return;
        }
    };
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = number("WEIR_DIFF_OPS").unwrap_or(2000);
    let seeds = number("WEIR_SEED").map_or_else(|| (1..=5).collect(), |seed| vec![seed]);
    let threads: Vec<_> = seeds
        .into_iter()
        .map(|seed| {
            let nats_server = nats_server.clone();
            std::thread::spawn(move || report(&nats_server, seed, count))
        })
        .collect();
    let all: String = threads
        .into_iter()
        .map(|thread| thread.join().expect("a seed's thread ends").expect("both servers run"))
        .collect();
    assert!(all.is_empty(), "{all}");
}

/// What the operations of a seed find, in words; nothing if that is nothing.
fn report(nats_server: &std::path::Path, seed: u64, count: u64) -> Result<String> {
    let runtime = tokio::runtime::Runtime::new()?;
    let found = runtime.block_on(differences(nats_server, seed, count))?;
    let mut report = String::new();
    if !found.is_empty() {
        let _ = write!(
            report,
            "\n{} differences (WEIR_SEED={seed} WEIR_DIFF_OPS={count}):",
            found.len()
        );
    }
    for (kind, text) in &found {
        let _ = writeln!(report, "\n=== {kind}\n{text}");
    }
    Ok(report)
}

/// Every kind of difference that the operations of a seed lead to, each with what leads to its first.
async fn differences(nats_server: &std::path::Path, seed: u64, count: u64) -> Result<BTreeMap<String, String>> {
    let mut pair = Pair::start(nats_server).await?;
    let mut generator = Generator::new(seed);
    let mut history: Vec<Operation> = Vec::new();
    let mut found = BTreeMap::new();
    for number in 0..count {
        let operation = generator.next();
        history.push(operation.clone());
        let outcome = pair.run(&operation)?;
        generator.learn(&operation, &outcome.theirs);
        let differs = !outcome.differences.is_empty();
        let unexplained = known::unexplained(&operation, &outcome.differences);
        let Some(first) = unexplained.first() else {
            if differs {
                forget(&mut pair, &mut generator, &mut history, &operation.stream)?;
            }
            continue;
        };
        let said = first
            .theirs
            .as_deref()
            .filter(|_| first.path.ends_with("description"))
            .unwrap_or_default();
        let kind = format!("{} {} {said}", operation.kind(), first.path);
        let state = pair.describe(&operation.stream)?;
        found.entry(kind).or_insert_with(|| {
            let mut text = format!("operation {number} (stream {}):\n", operation.stream);
            for difference in unexplained.iter().take(8) {
                let say = |side: &Option<String>| {
                    side.as_ref()
                        .map_or("nothing".to_owned(), |text| operation::shown(text.as_bytes()))
                };
                let _ = writeln!(
                    text,
                    "  {}:\n    nats-server: {}\n    ours:        {}",
                    difference.path,
                    say(&difference.theirs),
                    say(&difference.ours)
                );
            }
            text.push_str("after:\n");
            for operation in on_stream(&history, &operation) {
                let _ = writeln!(text, "  {operation}");
            }
            text.push_str("now:\n");
            text.push_str(&state);
            text
        });
        if found.len() >= ENOUGH {
            break;
        }
        forget(&mut pair, &mut generator, &mut history, &operation.stream)?;
    }
    Ok(found)
}

/// Deletes the stream whose state differs by now, which would show again and again.
fn forget(pair: &mut Pair, generator: &mut Generator, history: &mut Vec<Operation>, stream: &str) -> Result<()> {
    history.retain(|operation| operation.stream != stream);
    generator.forget(stream);
    match stream {
        "" => Ok(()),
        stream => pair.forget(stream),
    }
}

/// The operations on the stream of the last one, since it was created for the last time.
fn on_stream<'h>(history: &'h [Operation], last: &Operation) -> Vec<&'h Operation> {
    let mut all: Vec<&Operation> = history
        .iter()
        .filter(|operation| operation.stream == last.stream)
        .collect();
    let deleted = all.iter().rposition(|operation| operation.kind() == "STREAM.DELETE");
    if let Some(at) = deleted.filter(|at| at + 1 < all.len()) {
        all.drain(..=at);
    }
    all
}
