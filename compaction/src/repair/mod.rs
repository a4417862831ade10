//! Repairs a store, and destroys nothing: what is bad is moved into a folder of its own, or copied there before anything changes.
//!
//! The store is looked at first, as every tool does. What is to be done comes of that, and is told alone if so wished. Then it is
//! opened as a server opens it, which applies what the journals have and notes what is lost; logs that no stream has become
//! streams again, and what was noted is settled, for that is what the repair was asked for. At the end it is verified once more.

mod files;
mod journals;
mod keys;
mod plan;
mod quarantine;
mod report;
#[cfg(feature = "rocksdb")]
mod rocks;
mod text;

use std::path::Path;
use std::sync::Arc;

use weir_backends::root::StoreDir;
use weir_engine::stream::settings::BackendKind;
use weir_engine::{LogOptions, Store, StoreOptions};

pub use report::{Action, Doing, Outcome, Report};

use crate::beside::Beside;
use crate::error::{Error, Result};
use crate::image::{Looking, now};
use crate::import::open_still;
use crate::settle::{Which, settle_with};
use crate::verify::{self, Progress, verify};
use plan::{Orphan, Plan};
use quarantine::Quarantine;

/// Starts, at most, after which what is found is settled: the second may find what the first made of it.
const SETTLE_MAX: usize = 3;

/// How to repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only tell what would be done.
    pub dry_run: bool,
    /// Streams that are offline because their logs are gone, and that are to go on without messages.
    pub forget: Vec<String>,
}

/// Repairs the store in a directory: a server's store directory, or the folder `weir` in it. `progress` is told of the bytes that
/// are checked, before and after.
///
/// # Errors
/// If there is no store, a server has it open, a later version wrote it, its catalogue cannot be read at all, or a stream that is
/// to be forgotten is not offline. Whatever could not be done of the rest is in [`Report::actions`].
pub fn repair(path: &Path, options: &Options, progress: Progress<'_>) -> Result<Report> {
    let store = crate::key::find(path)?;
    crate::beside::is_finished(path)?;
    let root = store.root().to_path_buf();
    let mut quarantine = Quarantine::new(&root, now());
    let mut actions = Vec::new();
    // Nobody reads it while it is held alone.
    #[cfg(feature = "rocksdb")]
    let claims = rocks::claims(&store);
    let (left, is_sure) = {
        let _alone = store.hold_alone().map_err(Error::opening)?;
        let left = files::put_back(&store, options.dry_run, &mut quarantine, &mut actions)?;
        #[cfg(feature = "rocksdb")]
        let is_sure = mend_rocksdb(&store, options, &claims, &mut quarantine, &mut actions)?;
        #[cfg(not(feature = "rocksdb"))]
        let is_sure = true;
        (left, is_sure)
    };
    keys::mend(&store, options.dry_run, &mut quarantine, &mut actions)?;
    journals::give_up(&store, options.dry_run, &mut quarantine, &mut actions)?;

    let before = verify(&root, &verify::Options::default(), None, progress)?;
    let mut looking = Looking::at(&root, None)?;
    for action in &mut actions {
        if action.doing == Doing::Rocksdb && action.outcome == Outcome::Planned && !is_sure {
            action.told.extend(plan::on_rocksdb(&looking)?);
        }
    }
    let mut plan = plan::make(&mut looking, &before, options, &left)?;
    drop(looking);
    let is_planned = |action: &Action| action.outcome == Outcome::Planned && action.doing != Doing::Key;
    if actions.iter().any(is_planned) {
        // What else is to be done is known only then.
        plan.kept.clear();
    }
    let mut report = Report {
        path: root.clone(),
        dry_run: options.dry_run,
        quarantine: None,
        actions,
        left: Vec::new(),
        more: 0,
    };
    if options.dry_run || plan.is_empty() {
        report.leave(before);
    } else {
        carry_out(&store, &mut plan, &mut quarantine)?;
        report.leave(verify(&root, &verify::Options::default(), None, progress)?);
    }
    let Plan {
        emptied,
        orphans,
        forgotten,
        kept,
        settle,
        ..
    } = plan;
    let emptied = emptied.into_iter().map(|(_, action)| action);
    let orphans = orphans.into_iter().map(|orphan| orphan.action);
    let forgotten = forgotten.into_iter().map(|forgotten| forgotten.action);
    report
        .actions
        .extend(emptied.chain(orphans).chain(forgotten).chain(settle).chain(kept));
    report.quarantine = quarantine.folder();
    Ok(report)
}

/// Does the same to a copy that it makes in `out`, and changes nothing in the store. `progress` is told of the copying, too. What is
/// broken off is there as `out` with `.unfinished` behind its name, and the next run begins that anew.
///
/// # Errors
/// As those of [`repair`]; and if `out` is there and not empty, or cannot be written.
pub fn repair_to(path: &Path, out: &Path, options: &Options, progress: Progress<'_>) -> Result<Report> {
    let beside = Beside::begin(path, out, progress)?;
    let mut report = match repair(&beside.store(), options, progress) {
        Ok(report) => report,
        Err(error) => return beside.give_up(error),
    };
    let renamed = beside.finish()?;
    report.rename(&renamed);
    if let Some(folder) = &report.quarantine {
        quarantine::rename(folder, &renamed)?;
    }
    Ok(report)
}

/// Whether nothing has to be known of what is there only when it is done.
#[cfg(feature = "rocksdb")]
fn mend_rocksdb(
    store: &StoreDir,
    options: &Options,
    claims: &[weir_backends::rocks::repair::Claim],
    quarantine: &mut Quarantine,
    actions: &mut Vec<Action>,
) -> Result<bool> {
    let Some(mut plan) = rocks::plan(store)? else {
        return Ok(true);
    };
    if !options.dry_run {
        rocks::act(store, (&plan.ailment, claims), &mut plan.action, quarantine)?;
    }
    actions.push(plan.action);
    Ok(plan.is_sure)
}

/// Does what is planned, and says of each what came of it.
fn carry_out(store: &StoreDir, plan: &mut Plan, quarantine: &mut Quarantine) -> Result<()> {
    for (path, why) in &plan.bad {
        quarantine.copy(path, why)?;
    }
    if !plan.emptied.is_empty() {
        let _alone = store.hold_alone().map_err(Error::opening)?;
        for (folder, action) in &mut plan.emptied {
            quarantine.take_rest(folder, &action.text)?;
            action.done([]);
        }
    }
    forget(store, plan, quarantine)?;
    // The journals may have more of the streams that come back: nothing of them goes before that is applied.
    let opened = open(store)?;
    for orphan in &mut plan.orphans {
        adopt(&opened, orphan);
    }
    for ((account, name), seqs) in &plan.damaged {
        let Ok(stream) = opened.stream(account, name) else {
            continue;
        };
        for &seq in seqs {
            // Reading it is what notes that it is damaged.
            let _ = stream.message(seq);
        }
    }
    opened.close();
    drop(opened);
    settle_all(store, plan)
}

/// No checkpoint is written before it is closed.
fn open(store: &StoreDir) -> Result<Store> {
    let options = StoreOptions {
        checkpoint_bytes: usize::MAX,
        ..StoreOptions::new(Arc::new(now))
    };
    open_still(store.clone(), options)
}

/// Settles what is lost, if anything is, and has the journals go that were kept for it.
fn settle_all(store: &StoreDir, plan: &mut Plan) -> Result<()> {
    let forgotten = plan.forgotten.iter_mut().map(|forgotten| &mut forgotten.action);
    let Some(action) = plan.settle.as_mut().or(forgotten.last()) else {
        return Ok(());
    };
    if plan.orphans.iter().any(|orphan| orphan.action.outcome != Outcome::Done) {
        action.failed(&"nothing is settled while logs are there that may be those of lost streams");
        return Ok(());
    }
    action.done([]);
    for _ in 0..SETTLE_MAX {
        let settled = settle_with(store.root(), &Which::All, true)?;
        if settled.is_empty() {
            break;
        }
        action
            .told
            .extend(settled.into_iter().map(|text| format!("settled: {text}")));
        // What journals were kept for goes with the next checkpoint; and a journal that was missing is one that ends too early
        // from the next start on.
        open(store)?.close();
    }
    Ok(())
}

/// A new, empty log in the place of one that is gone: the next opening finds out what is lost.
fn forget(store: &StoreDir, plan: &mut Plan, quarantine: &mut Quarantine) -> Result<()> {
    for forgotten in &mut plan.forgotten {
        quarantine.write(
            &format!("consumers-{}.json", forgotten.id),
            &forgotten.consumers,
            "where its consumers were at the last checkpoint; the journals may have what came after",
        )?;
        if forgotten.backend == BackendKind::Segment && forgotten.folder.exists() {
            quarantine.take(&forgotten.folder, &forgotten.folder, &forgotten.action.text)?;
        }
    }
    if plan.forgotten.is_empty() {
        return Ok(());
    }
    for forgotten in &mut plan.forgotten {
        // Where the whole folder was missing, this makes it.
        let made = store.open(forgotten.backend).and_then(|backend| {
            backend.open(forgotten.id.log(), &LogOptions::default())?;
            backend.sync()
        });
        match made {
            Ok(()) => forgotten.action.done([
                "its sequences go on where they were".to_owned(),
                format!(
                    "{}. What the catalogue had of the stream is kept as it was",
                    forgotten.gone
                ),
            ]),
            Err(error) => forgotten.action.failed(&error),
        }
    }
    Ok(())
}

fn adopt(store: &Store, orphan: &mut Orphan) {
    let label = &orphan.label;
    let adopted = match store.adopt(orphan.log, &label.account, &label.name) {
        Ok(adopted) => adopted,
        Err(error) => return orphan.action.failed(&error),
    };
    let mut told = vec![format!(
        "stream {} of account {} has {}, {}",
        adopted.name,
        adopted.account,
        weir_engine::words::count(adopted.messages, "message"),
        weir_engine::words::numbered("sequence", &[(adopted.first, adopted.last)])
    )];
    told.push(
        "its configuration is that of its label, as it was when its log was made, and what the journal has of it"
            .to_owned(),
    );
    told.push(match adopted.consumers.is_empty() {
        true => "nothing tells of its consumers: make them anew".to_owned(),
        false => format!(
            "of its consumers the journal tells of {}; what else there was of them is lost",
            adopted.consumers.join(", ")
        ),
    });
    told.extend(adopted.changes);
    orphan.action.stream = Some(adopted.name.to_string());
    orphan.action.done(told);
}
