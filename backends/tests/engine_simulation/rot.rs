//! Damage while nobody looks: bits flip, files are cut, rolled back or gone. Whatever does not lie there suffers nothing, the
//! store starts, and what is missing is named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use weir_engine::consumer::AckPolicy;
use weir_engine::{ShardId, StreamId};

use crate::oracle::Known;
use crate::workload::Simulation;

const STORE: &str = "/store";

/// The files of a store, as they once were.
pub type Earlier = BTreeMap<PathBuf, Vec<u8>>;

/// What a file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Stream(StreamId),
    Journal(ShardId),
    /// One of the two copies of the catalogue.
    Catalogue,
}

fn place_of(path: &Path) -> Option<Place> {
    let rest = path.strip_prefix(STORE).ok()?;
    let mut parts = rest.iter().map(|part| part.to_string_lossy());
    match &*parts.next()? {
        "logs" => {
            // What is removed already is nobody's.
            let id: StreamId = parts.next()?.parse().ok()?;
            Some(match id.0 {
                0..256 => Place::Journal(ShardId(id.0 as u32 - 1)),
                _ => Place::Stream(id),
            })
        }
        _ => Some(Place::Catalogue),
    }
}

impl Simulation {
    /// The files as they are now.
    pub fn files(&self) -> Earlier {
        self.world.disk.contents(Path::new(STORE))
    }

    /// Damages one file; the store is closed. `closed` if it was closed as it should be: then nothing may be missing without
    /// a word. Where the process was killed, what was written last looks like a write that never ended.
    pub fn rot(&mut self, earlier: &Earlier, closed: bool) -> String {
        let disk = self.world.disk.clone();
        let all = disk.files(Path::new(STORE));
        let files: Vec<(PathBuf, Place)> = all
            .into_iter()
            .filter_map(|path| place_of(&path).map(|place| (path, place)))
            .filter(|(_, place)| match place {
                Place::Stream(id) => self.streams.contains_key(id),
                _ => true,
            })
            .collect();
        if files.is_empty() {
            return "not damaged".into();
        }
        let (path, place) = self.random.pick(&files).clone();
        let len = self.files().get(&path).map_or(0, Vec::len) as u64;
        let what = match self.random.below(5) {
            0 => disk.erase(&path).map(|()| "gone"),
            1 => disk.roll_back(&path, earlier).map(|()| "rolled back"),
            2 if len > 0 => disk.cut(&path, self.random.below(len) as usize).map(|()| "cut"),
            _ if len > 0 => (0..=self.random.below(3))
                .try_for_each(|_| {
                    let (byte, bit) = (self.random.below(len), self.random.below(8));
                    disk.flip(&path, byte as usize, bit as u8)
                })
                .map(|()| "flipped"),
            _ => Ok("empty"),
        };
        let what = what.expect("a file that is there");
        let mut suffers = |known: &mut Known| {
            known.damaged = true;
            known.silent |= !closed;
        };
        match place {
            Place::Stream(id) => self.streams.get_mut(&id).into_iter().for_each(suffers),
            Place::Journal(shard) => {
                let of_shard = self.streams.values_mut().filter(|known| known.shard == shard);
                of_shard.for_each(&mut suffers);
                self.rotten.insert(shard);
                self.closed_before = closed;
            }
            Place::Catalogue => {}
        }
        format!("{} was {what}", path.display())
    }

    /// Each consumer gets everything that is there for it, when all is well and somebody asks often enough.
    pub fn drain(&mut self) {
        let consumers: Vec<(StreamId, String, bool)> = self
            .streams
            .values()
            .filter(|known| !known.damaged)
            .flat_map(|known| {
                let names = known.consumers.iter();
                names.map(|(name, consumer)| {
                    let acks = consumer.config.ack_policy != AckPolicy::None;
                    (known.id, name.clone(), acks)
                })
            })
            .collect();
        for _ in 0..4 {
            for (id, name, acks) in &consumers {
                self.pull_all(*id, name, *acks);
            }
            // What was sent before and not acknowledged comes again.
            self.world.pass(31 * weir_engine::SECOND);
            self.verify("drained");
        }
    }
}
