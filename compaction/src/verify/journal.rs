//! The journals: every record, and which streams have some that their checkpoints lack.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use weir_engine::finding::FindingKind;
use weir_engine::image::Image;
use weir_engine::shard::command::Command;
use weir_engine::stream::settings::Durability;
use weir_engine::{Check, EntryRef, Place, Result, Seq, ShardId, StreamId, words};

use super::report::{Finds, Found, JournalChecked, What};
use super::{Meter, lines};
use crate::unfinished;

/// The streams that journals have something for beyond the last checkpoint.
#[derive(Default)]
pub(super) struct Tails {
    saved: BTreeMap<StreamId, Seq>,
    has: BTreeSet<StreamId>,
}

impl Tails {
    pub fn has(&self, id: StreamId) -> bool {
        self.has.contains(&id)
    }

    fn see(&mut self, image: &Image, id: StreamId, position: Seq) -> Result<()> {
        let saved = match self.saved.get(&id) {
            Some(saved) => *saved,
            None => {
                let saved = image.saved(id)?.map_or(0, |saved| saved.position);
                self.saved.insert(id, saved);
                saved
            }
        };
        if position > saved {
            self.has.insert(id);
        }
        Ok(())
    }
}

struct Pass<'a, 'm> {
    image: &'a Image,
    name: String,
    tails: &'a mut Tails,
    meter: &'a mut Meter<'m>,
    records: u64,
    places: Vec<Place>,
    /// Records that make no sense.
    odd: Vec<(Seq, String)>,
    failed: Option<weir_engine::Error>,
}

impl Check for Pass<'_, '_> {
    fn record(&mut self, entry: EntryRef<'_>) -> ControlFlow<()> {
        let entry = entry.to_entry();
        match Command::decode(entry.time, &entry.head, &entry.body) {
            Ok((id, command)) => {
                self.records += 1;
                let (position, _) = command.first_written(entry.seq);
                if let Err(error) = self.tails.see(self.image, id, position) {
                    self.failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            Err(error) => self.odd.push((entry.seq, error.to_string())),
        }
        ControlFlow::Continue(())
    }

    fn place(&mut self, place: Place) {
        self.places.push(place);
    }

    fn read(&mut self, bytes: u64) {
        self.meter.read(&self.name, bytes);
    }
}

/// Checks the journal of a shard.
///
/// # Errors
/// If it cannot be read at all.
pub(super) fn check(
    image: &Image,
    shard: ShardId,
    root: &Path,
    tails: &mut Tails,
    finds: &mut Finds,
    meter: &mut Meter<'_>,
) -> Result<JournalChecked> {
    let mut checked = JournalChecked { shard, records: 0 };
    let of_shard = |found: Found| Found {
        shard: Some(shard),
        ..found
    };
    let journal = match image.journal(shard) {
        Ok(journal) => journal,
        Err(error) => {
            finds.add(of_shard(lines::found(What::Journal, root, &error.message)));
            return Ok(checked);
        }
    };
    let mut pass = Pass {
        image,
        name: format!("journal {shard}"),
        tails,
        meter,
        records: 0,
        places: Vec::new(),
        odd: Vec::new(),
        failed: None,
    };
    journal.reader.check(&mut pass)?;
    let Pass {
        records,
        places,
        odd,
        failed,
        ..
    } = pass;
    if let Some(error) = failed {
        return Err(error);
    }
    checked.records = records;
    let covered = journal.covered.unwrap_or(0);
    let is_open = image
        .findings()
        .iter()
        .any(|(_, finding)| finding.kind == FindingKind::Journal && finding.shard == Some(shard));
    // What no checkpoint has of it is lost: of which streams, findings tell.
    let judged = |found: Found, lost: &[(Seq, Seq)]| {
        let found = of_shard(found);
        match lost.iter().any(|(_, last)| *last > covered) {
            true => found.settled_if(!is_open),
            false if lost.is_empty() => found.harmless(),
            false => Found {
                text: format!("{}; checkpoints have what was in it", found.text),
                ..found.harmless()
            },
        }
    };
    let mut told = BTreeSet::new();
    for place in places {
        told.insert((place.file.clone(), place.offset));
        let found = Found {
            file: Some(place.file),
            offset: Some(place.offset),
            ..Found::new(What::Journal, format!("the journal of shard {shard}: {}", place.what))
        };
        finds.add(judged(found, &place.lost));
    }
    for line in &journal.recovery.damage {
        let found = lines::found(What::Journal, root, line);
        if let (Some(file), Some(offset)) = (&found.file, found.offset)
            && told.contains(&(file.clone(), offset))
        {
            continue;
        }
        let lost: Vec<_> = journal
            .reader
            .lost()
            .into_iter()
            .map(|lost| (lost.first, lost.last))
            .collect();
        let text = format!("the journal of shard {shard}: {}", found.text);
        finds.add(judged(Found { text, ..found }, &lost));
    }
    for (seq, why) in odd {
        let text = format!("the journal of shard {shard}: record {seq} makes no sense: {why}");
        finds.add(judged(Found::new(What::Journal, text), &[(seq, seq)]));
    }
    let torn = journal.recovery.torn_bytes;
    if torn > 0 {
        let text = unfinished::of_journal(
            shard,
            &words::count(torn, "byte"),
            &answered_before_a_sync(image, shard),
        );
        finds.add(of_shard(Found::new(What::Journal, text)).of_a_crash());
    }
    Ok(checked)
}

/// The streams of a shard the messages of which are answered before they are on disk.
fn answered_before_a_sync(image: &Image, shard: ShardId) -> Vec<String> {
    let of_it = image.entries().into_iter().filter(|entry| entry.shard == shard);
    let before = of_it.filter(|entry| entry.settings.durability != Durability::Sync);
    before.map(|entry| entry.name.to_string()).collect()
}
