//! Settling findings: an operator has seen what was lost, and the store goes on without.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use weir_engine::backend::KvWrite;
use weir_engine::finding::{FINDING_PREFIX, Finding};
use weir_engine::shard::snapshot::{STREAM_PREFIX, StreamSnapshot, ledger_key};
use weir_engine::stream::ledger::{LEDGER_PLACES, Ledger};
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Check, EntryRef, Kv, Place, StreamId, Want, words};

use crate::error::{Error, Result};
use crate::image::Looking;
use crate::inspect::places;

/// Which findings are settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All that there are.
    All,
    /// Those with these keys, as [`inspect`](crate::inspect::inspect) tells them.
    Keys(Vec<String>),
}

/// The key under which the losses of the stream with that log are settled.
pub fn loss_key(log: &str) -> String {
    format!("lost-{log}")
}

/// Something to settle: its key, what is told of it, and what the store's catalogue has of it then.
struct Open {
    key: String,
    text: String,
    write: KvWrite,
}

/// Settles findings of the store in a directory, and losses of streams; answers the text of each. Health and
/// [`inspect`](crate::inspect::inspect) no longer tell of them, and a journal that was kept for them goes with the next checkpoint.
/// What is lost stays in the ledgers of the streams.
///
/// # Errors
/// If there is no store, a server has it open, it cannot be read or written, or it has no finding of one of the keys; then
/// none is settled.
pub fn settle(path: &Path, which: &Which) -> Result<Vec<String>> {
    settle_with(path, which, false)
}

/// [`settle`]; with `verified` also the damaged places that only a [verification](crate::verify::verify) finds and that cost no
/// message: all logs are read for that.
///
/// # Errors
/// As [`settle`].
pub fn settle_with(path: &Path, which: &Which, verified: bool) -> Result<Vec<String>> {
    let store = crate::key::find(path)?;
    let mut places = noted(path, verified)?;
    let root = store.open(BackendKind::Segment).map_err(Error::opening)?;
    let kv = root.kv();
    let mut open = Vec::new();
    open_findings(kv.as_ref(), &mut open)
        .and_then(|()| open_losses(kv.as_ref(), &mut places, &mut open))
        .map_err(Error::Unreadable)?;
    if let Which::Keys(keys) = which {
        if let Some(unknown) = keys.iter().find(|key| !open.iter().any(|open| open.key == **key)) {
            return Err(Error::NoSuchFinding {
                wanted: unknown.clone(),
                there: open.into_iter().map(|open| open.key).collect(),
            });
        }
        open.retain(|open| keys.contains(&open.key));
    }
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let (texts, writes): (Vec<_>, Vec<_>) = open.into_iter().map(|open| (open.text, open.write)).unzip();
    kv.put_all(&writes)
        .and_then(|()| root.sync())
        .map_err(Error::Unreadable)?;
    Ok(texts)
}

/// The damaged places of each stream's log of which servers have noted what is lost. Changes nothing.
fn noted(path: &Path, verified: bool) -> Result<BTreeMap<StreamId, Vec<String>>> {
    let mut looking = Looking::at(path, None)?;
    let mut all = BTreeMap::new();
    for id in looking.streams(None)? {
        let saved = looking.image.saved(id).map_err(Error::Unreadable)?;
        let ledger = looking.image.saved_ledger(id).map_err(Error::Unreadable)?;
        let shown = looking.image.stream(id).and_then(|shown| shown.stream);
        let (Some(saved), Some(ledger), Some(stream)) = (saved, ledger, shown) else {
            continue;
        };
        let mut found = Places(Vec::new());
        if verified {
            stream.log_reader().check(&mut found).map_err(Error::Unreadable)?;
        }
        let lines: Vec<&String> = stream.damaged_places().iter().chain(&found.0).collect();
        if !lines.is_empty() && places::is_noted(&ledger, stream, saved.log_last) {
            let lines = lines
                .into_iter()
                .map(|line| places::relative(looking.store.root(), line));
            // What was settled before stays so.
            let known = ledger.places().iter().cloned();
            let mut seen = BTreeSet::new();
            all.insert(
                id,
                known.chain(lines).filter(|line| seen.insert(line.clone())).collect(),
            );
        }
    }
    Ok(all)
}

/// The damaged places that checking a log finds and that cost no message.
struct Places(Vec<String>);

impl Check for Places {
    fn record(&mut self, _: EntryRef<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn want(&self) -> Want {
        Want::Heads
    }

    fn place(&mut self, place: Place) {
        if place.lost.is_empty() && self.0.len() < LEDGER_PLACES {
            self.0.push(places::line_of(&place));
        }
    }

    fn read(&mut self, _: u64) {}
}

/// The ledger of a stream; `None` if it makes no sense.
fn ledger_of(kv: &dyn Kv, id: StreamId) -> weir_engine::Result<Option<Ledger>> {
    Ok(match kv.get(&ledger_key(id))? {
        Some(json) => serde_json::from_slice(&json).ok(),
        None => Some(Ledger::default()),
    })
}

/// The findings. They stay, marked as settled, until a start does not find the same again.
fn open_findings(kv: &dyn Kv, open: &mut Vec<Open>) -> weir_engine::Result<()> {
    kv.scan(FINDING_PREFIX, None, &mut |name, value| {
        let key = String::from_utf8_lossy(&name[FINDING_PREFIX.len()..]).into_owned();
        let (text, settled) = match serde_json::from_slice::<Finding>(value) {
            Ok(finding) if finding.settled => return ControlFlow::Continue(()),
            Ok(finding) => (
                finding.to_string(),
                to_json(&Finding {
                    settled: true,
                    ..finding
                }),
            ),
            Err(error) => (format!("{key} makes no sense: {error}"), None),
        };
        let write = (name.to_vec().into(), settled.map(Into::into));
        open.push(Open { key, text, write });
        ControlFlow::Continue(())
    })
}

/// The streams that have lost something since that was last settled, or whose logs have damaged places that are not. `noted` are
/// those of which servers have noted what is lost with them.
fn open_losses(
    kv: &dyn Kv,
    noted: &mut BTreeMap<StreamId, Vec<String>>,
    open: &mut Vec<Open>,
) -> weir_engine::Result<()> {
    let mut streams = Vec::new();
    kv.scan(STREAM_PREFIX, None, &mut |_, value| {
        // Whatever makes no sense there is told by an inspection.
        streams.extend(serde_json::from_slice::<StreamSnapshot>(value));
        ControlFlow::Continue(())
    })?;
    for stream in streams {
        let id = StreamId(stream.id);
        let Some(mut ledger) = ledger_of(kv, id)? else {
            continue;
        };
        let known = ledger.places();
        let places = noted.remove(&id).unwrap_or_else(|| known.to_vec());
        let new = places.iter().filter(|place| !known.contains(place)).count() as u64;
        let mut told = Vec::new();
        if ledger.unsettled() > 0 {
            let open = ledger.losses().iter().filter(|loss| !loss.settled);
            let ranges: Vec<_> = open.map(|loss| (loss.first, loss.last)).collect();
            told.push(match ranges.is_empty() {
                true => words::count(ledger.unsettled(), "message"),
                false => words::numbered("message", &ranges),
            });
        }
        if new > 0 {
            told.push(words::count(new, "damaged place"));
        }
        if !told.is_empty() {
            let verb = if ledger.unsettled() > 0 { "has lost" } else { "has" };
            ledger.settle(places);
            open.push(Open {
                key: loss_key(&id.to_string()),
                text: format!(
                    "stream {} of account {} {verb} {}",
                    stream.name,
                    stream.account,
                    told.join(", with ")
                ),
                write: (ledger_key(id), to_json(&ledger).map(Into::into)),
            });
        }
    }
    Ok(())
}

/// Findings and ledgers always have a JSON form.
fn to_json<T: serde::Serialize>(value: &T) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}
