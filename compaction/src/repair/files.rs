//! Files of logs that have the names of others: each says what it is, and is put back in its place.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use weir_backends::root::StoreDir;
use weir_backends::segment::misplaced::{ON_ITS_WAY, misplaced};

use super::quarantine::Quarantine;
use super::report::{Action, Doing};
use crate::error::{Error, Result};

/// A file that is on its way.
struct Moving {
    now: PathBuf,
    place: PathBuf,
    action: Action,
}

/// Puts them back, or plans to. Nobody has the store open.
pub(super) fn put_back(
    store: &StoreDir,
    dry_run: bool,
    quarantine: &mut Quarantine,
    actions: &mut Vec<Action>,
) -> Result<()> {
    let logs = store.root().join("segment/logs");
    let mut moving = Vec::new();
    for file in misplaced(&logs).map_err(Error::Unreadable)? {
        let place = logs.join(file.log.to_string()).join(&file.name);
        let text = format!("{} is {}, and is put there", file.path.display(), place.display());
        moving.push(Moving {
            now: file.path,
            place,
            action: Action::new(Doing::Place, text).of_log(file.log),
        });
    }
    if !dry_run {
        // All out of the way first, for they may have each other's names.
        for file in &mut moving {
            let mut beside = file.place.clone().into_os_string();
            beside.push(ON_ITS_WAY);
            rename(&file.now, Path::new(&beside))?;
            file.now = beside.into();
        }
        for file in &mut moving {
            if file.place.exists() {
                quarantine.take(
                    &file.now,
                    &file.now,
                    "it is not what its name said, and what it is lies in its place already",
                )?;
                file.action
                    .done(["that is there already: it was moved away".to_owned()]);
            } else {
                rename(&file.now, &file.place)?;
                file.action.done([]);
            }
        }
    }
    actions.extend(moving.into_iter().map(|file| file.action));
    Ok(())
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
