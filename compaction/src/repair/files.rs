//! Files of logs that have the names of others: each says what it is, and is put back in its place.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use weir_backends::root::StoreDir;
use weir_backends::segment::misplaced::{ON_ITS_WAY, misplaced};
use weir_engine::LogId;

use super::quarantine::Quarantine;
use super::report::{Action, Doing};
use crate::error::{Error, Result};

/// Why a file is moved away.
const SURPLUS: &str = "it is not what its name said, and what it is lies in its place already";

/// A file that is on its way.
struct Moving {
    now: PathBuf,
    place: PathBuf,
    /// Whether its place is, or will be, another's: it goes to quarantine.
    surplus: bool,
    action: Action,
}

/// Puts them back, or plans to; answers the logs whose folders they are in. Nobody has the store open.
pub(super) fn put_back(
    store: &StoreDir,
    dry_run: bool,
    quarantine: &mut Quarantine,
    actions: &mut Vec<Action>,
) -> Result<BTreeSet<LogId>> {
    let logs = store.root().join("segment/logs");
    let found = misplaced(&logs).map_err(Error::Unreadable)?;
    // Where one of them lies there will be room.
    let leave: BTreeSet<&Path> = found.iter().map(|file| &*file.path).collect();
    let (mut taken, mut moving) = (BTreeSet::new(), Vec::new());
    for file in &found {
        let place = logs.join(file.log.to_string()).join(&file.name);
        let surplus = !taken.insert(place.clone()) || place.exists() && !leave.contains(&*place);
        let goes = match surplus {
            true => "which is there already: it is moved away",
            false => "and is put there",
        };
        let text = format!("{} is {}, {goes}", file.path.display(), place.display());
        moving.push(Moving {
            now: file.path.clone(),
            place,
            surplus,
            action: Action::new(Doing::Place, text).of_log(file.log),
        });
    }
    if !dry_run {
        for file in moving.iter_mut().filter(|file| file.surplus) {
            quarantine.take(&file.now, &file.now, SURPLUS)?;
            file.action.done([]);
        }
        // All out of the way first, for they may have each other's names.
        for file in moving.iter_mut().filter(|file| !file.surplus) {
            let mut beside = file.place.clone().into_os_string();
            beside.push(ON_ITS_WAY);
            let beside = PathBuf::from(beside);
            if beside != file.now && beside.exists() {
                quarantine.take(
                    &beside,
                    &beside,
                    "it has the name that a file has on its way to its place",
                )?;
            }
            rename(&file.now, &beside)?;
            file.now = beside;
        }
        for file in moving.iter_mut().filter(|file| !file.surplus) {
            rename(&file.now, &file.place)?;
            file.action.done([]);
        }
    }
    actions.extend(moving.into_iter().map(|file| file.action));
    let folders = found.iter().filter_map(|file| file.path.parent()?.file_name());
    Ok(folders.filter_map(|name| name.to_string_lossy().parse().ok()).collect())
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    let renamed = || -> io::Result<()> {
        if let Some(folder) = to.parent() {
            weir_backends::root::make_folder(folder)?;
        }
        if from != to {
            fs::rename(from, to)?;
        }
        for folder in [from.parent(), to.parent()].into_iter().flatten() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    renamed().map_err(|error| Error::Output {
        path: from.to_path_buf(),
        error,
    })
}
