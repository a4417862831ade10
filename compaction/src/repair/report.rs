//! What a repair did, or would do. The JSON form of these is an interface: fields are added, never renamed or removed.

use std::path::PathBuf;

use serde::Serialize;

use crate::beside::Renamed;
use crate::verify;
use crate::verify::{Found, Standing};

/// What came of a repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The folder that holds the whole store.
    pub path: PathBuf,
    /// Whether nothing was changed, and all that follows is a plan.
    pub dry_run: bool,
    /// Where what is bad was moved to, or copied before anything changed; `None` if nothing was.
    pub quarantine: Option<PathBuf>,
    /// What was done, or is to be, in order.
    pub actions: Vec<Action>,
    /// What is wrong now and not settled, as a verification tells it.
    pub left: Vec<Found>,
    /// How many more there are.
    pub more: u64,
}

/// One thing that was done, or is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Action {
    /// What kind of thing.
    pub doing: Doing,
    /// What came of it.
    pub outcome: Outcome,
    /// The stream's account, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The log, as the files are named: 16 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// What is to be done, and why.
    pub text: String,
    /// What came of it, one line each.
    pub told: Vec<String>,
}

/// A kind of action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// A file goes back to the place that its beginning tells.
    Place,
    /// A folder that had files of other logs alone is moved away.
    Folder,
    /// A journal that cannot be opened is moved away.
    Journal,
    /// RocksDB's files are put together anew.
    Rocksdb,
    /// A copy of an encrypted store's key is written as the other is.
    Key,
    /// A log that no stream has becomes a stream again.
    Adopt,
    /// A stream whose log is gone goes on without messages.
    Forget,
    /// What can be read is kept and served, and what is lost is noted and settled.
    Settle,
    /// Nothing: it takes somebody to do something.
    Keep,
}

/// What came of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is to be done.
    Planned,
    /// It was done.
    Done,
    /// It was not done, and what it is about is as it was.
    Failed,
}

impl Action {
    pub(super) fn new(doing: Doing, text: impl Into<String>) -> Self {
        Self {
            doing,
            outcome: Outcome::Planned,
            account: None,
            stream: None,
            log: None,
            text: text.into(),
            told: Vec::new(),
        }
    }

    pub(super) fn of_stream(self, account: &str, stream: &str) -> Self {
        Self {
            account: Some(account.to_owned()),
            stream: Some(stream.to_owned()),
            ..self
        }
    }

    pub(super) fn of_log(self, log: weir_engine::LogId) -> Self {
        Self {
            log: Some(log.to_string()),
            ..self
        }
    }

    /// It was done, and this came of it.
    pub(super) fn done(&mut self, told: impl IntoIterator<Item = String>) {
        self.outcome = Outcome::Done;
        self.told.extend(told);
    }

    pub(super) fn failed(&mut self, why: &dyn std::fmt::Display) {
        self.outcome = Outcome::Failed;
        self.told.push(why.to_string());
    }
}

impl Report {
    /// Whether something is damaged still, or was not done that was to be.
    pub fn is_damaged(&self) -> bool {
        let failed = |action: &Action| {
            // Of what is wrong with RocksDB's tables where they have nothing but what was removed, only this tells.
            let is_wrong_now = self.dry_run && action.doing == Doing::Rocksdb;
            action.outcome == Outcome::Failed || action.doing == Doing::Keep || is_wrong_now
        };
        self.more > 0 || !self.left.is_empty() || self.actions.iter().any(failed)
    }

    /// The store has got another name.
    pub(super) fn rename(&mut self, renamed: &Renamed) {
        renamed.path(&mut self.path);
        self.quarantine.iter_mut().for_each(|path| renamed.path(path));
        for action in &mut self.actions {
            renamed.text(&mut action.text);
            action.told.iter_mut().for_each(|text| renamed.text(text));
        }
        for found in &mut self.left {
            renamed.text(&mut found.text);
            found.file.iter_mut().for_each(|path| renamed.path(path));
        }
    }

    pub(super) fn leave(&mut self, after: verify::Report) {
        self.more = after.more;
        self.left = after.found;
        self.left.retain(|found| found.standing == Standing::Open);
    }
}
