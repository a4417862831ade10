//! Journals that cannot be opened, because of what lies there: they are moved away, and the streams go on as checkpoints and their
//! logs have them.

use weir_backends::root::StoreDir;
use weir_engine::Kind;

use super::quarantine::Quarantine;
use super::report::{Action, Doing};
use crate::error::{Error, Result};
use crate::image::Looking;

/// Moves them away, or plans to.
pub(super) fn give_up(
    store: &StoreDir,
    dry_run: bool,
    quarantine: &mut Quarantine,
    actions: &mut Vec<Action>,
) -> Result<()> {
    let mut given_up = Vec::new();
    {
        let looking = Looking::at(store.root(), None)?;
        for shard in looking.image.shards() {
            let Err(error) = looking.image.journal(shard) else {
                continue;
            };
            let log = shard.journal();
            let folder = store.root().join("segment/logs").join(log.to_string());
            // Of what the system or a later version keeps from us, nothing is known to be bad.
            if error.kind == Kind::Damaged && folder.exists() {
                let text = format!(
                    "the journal of shard {shard} is moved away, for it cannot be opened; what no checkpoint and no log has of its \
                     streams is lost: {error}"
                );
                given_up.push((folder, Action::new(Doing::Journal, text).of_log(log)));
            }
        }
    }
    let _alone = store.hold_alone().map_err(Error::opening)?;
    for (folder, mut action) in given_up {
        if !dry_run {
            quarantine.take(&folder, &folder, &action.text)?;
            action.done([]);
        }
        actions.push(action);
    }
    Ok(())
}
