//! Copies of an encrypted store's key that are missing or cannot be read: each is written as the other is, as a start does it.

use std::path::PathBuf;

use weir_backends::root::StoreDir;

use super::quarantine::Quarantine;
use super::report::{Action, Doing};
use crate::error::{Error, Result};

/// Writes them, or plans to. What lies there is copied before.
pub(super) fn mend(
    store: &StoreDir,
    dry_run: bool,
    quarantine: &mut Quarantine,
    actions: &mut Vec<Action>,
) -> Result<()> {
    let broken = store.broken_keys();
    if broken.is_empty() {
        return Ok(());
    }
    let of = |(file, why): &(PathBuf, String)| {
        let text = format!(
            "{}: a copy of the store's key {why}: it is written as the other is",
            file.display()
        );
        Action::new(Doing::Key, text)
    };
    let mut made: Vec<Action> = broken.iter().map(of).collect();
    // Of a copy that is another store's nothing is made.
    let mut mended = store.check_own_key();
    if mended.is_ok() && !dry_run {
        let _alone = store.hold_alone().map_err(Error::opening)?;
        for (file, why) in broken.iter().filter(|(file, _)| file.exists()) {
            quarantine.copy(file, &format!("this copy of the store's key {why}"))?;
        }
        mended = store.mend_keys();
    }
    for action in &mut made {
        match &mended {
            Err(error) => action.failed(error),
            Ok(()) if dry_run => {}
            Ok(()) => action.done([]),
        }
    }
    actions.extend(made);
    Ok(())
}
