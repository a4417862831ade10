//! Logs that no stream has: their bytes are checked all the same, for they may be all that is left of a stream.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use weir_engine::image::Image;
use weir_engine::shard::label::LogLabel;
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Check, EntryRef, LogId, LogOptions, LogReader, Place, Recovery, Result, Want};

use super::report::{Finds, Found, What};
use super::{Meter, lines};

/// One of them.
pub(super) struct Orphan {
    pub reader: Arc<dyn LogReader>,
    recovery: Recovery,
    id: LogId,
    label: Option<LogLabel>,
}

/// Those that findings tell of and that can be opened: of others the findings say why.
pub(super) fn orphans(image: &Image) -> Vec<Orphan> {
    let mut orphans = Vec::new();
    for kind in [BackendKind::Segment, BackendKind::RocksDb] {
        let prefix = format!("orphan-{kind}-");
        for (key, _) in image.findings() {
            let Some(id) = key.strip_prefix(&prefix).and_then(|id| id.parse().ok()) else {
                continue;
            };
            orphans.extend(open(image, kind, id));
        }
    }
    orphans
}

fn open(image: &Image, kind: BackendKind, id: LogId) -> Option<Orphan> {
    let existing = LogOptions {
        existing: true,
        ..LogOptions::default()
    };
    let backend = image.backend(kind).ok()?;
    let label = backend.label(id).ok().flatten();
    let (log, recovery) = backend.open(id, &existing).ok()?;
    Some(Orphan {
        reader: log.reader(),
        recovery,
        id,
        label: label.and_then(|label| LogLabel::unpack(&label).ok()),
    })
}

struct Pass<'a, 'm> {
    name: &'a str,
    meter: &'a mut Meter<'m>,
    places: Vec<Place>,
}

impl Check for Pass<'_, '_> {
    fn record(&mut self, _: EntryRef<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn want(&self) -> Want {
        Want::Heads
    }

    fn place(&mut self, place: Place) {
        self.places.push(place);
    }

    fn read(&mut self, bytes: u64) {
        self.meter.read(self.name, bytes);
    }
}

/// Checks one.
///
/// # Errors
/// If it cannot be read.
pub(super) fn check(orphan: &Orphan, root: &Path, finds: &mut Finds, meter: &mut Meter<'_>) -> Result<()> {
    let name = format!("log {}", orphan.id);
    let mut pass = Pass {
        name: &name,
        meter,
        places: Vec::new(),
    };
    orphan.reader.check(&mut pass)?;
    let of = |found: Found| match &orphan.label {
        Some(label) => found.of_stream(&label.account, &label.name),
        None => found,
    };
    let (mut said, mut told) = (Vec::new(), Vec::new());
    for place in pass.places {
        told.push(format!("{}: offset {}", place.file.display(), place.offset));
        said.extend(place.lost.iter().copied());
        let what = match place.lost.is_empty() {
            true => What::File,
            false => What::Message,
        };
        finds.add(of(Found {
            file: Some(place.file),
            offset: Some(place.offset),
            lost: place.lost,
            ..Found::new(what, format!("{name}, which no stream has: {}", place.what))
        }));
    }
    for line in &orphan.recovery.damage {
        let is_told = |start: &String| {
            line.strip_prefix(&**start)
                .is_some_and(|rest| rest.starts_with([' ', ':']))
        };
        if told.iter().any(is_told) {
            continue;
        }
        let found = lines::found(What::File, root, line);
        let text = format!("{name}, which no stream has: {}", found.text);
        finds.add(of(Found { text, ..found }));
    }
    for lost in orphan.reader.lost() {
        let range = (lost.first, lost.last);
        if said.iter().any(|(first, last)| *first <= range.0 && range.1 <= *last) {
            continue;
        }
        let text = format!("{name}, which no stream has: {}", lost.why);
        finds.add(of(Found {
            lost: vec![range],
            ..Found::new(What::Message, text)
        }));
    }
    Ok(())
}
