//! Where what is bad goes: a folder for each repair, with a text that says what lies there, why, and how it is put back.
//!
//! ```text
//! STORE/weir/quarantine/2026-11-27T22-30-00Z/
//!   REASON.txt
//!   segment/kv/…        as it lay in STORE/weir
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use weir_backends::root::make_folder;
use weir_engine::NanoTime;
use weir_engine::json::format_time;

use crate::beside::Renamed;
use crate::error::{Error, Result};

const FOLDER: &str = "quarantine";
const REASON: &str = "REASON.txt";
const SECOND: NanoTime = 1_000_000_000;
/// Repairs within one second that get a folder each.
const NUMBERED_MAX: u32 = 1000;

/// The folder of one repair; made when the first thing comes into it.
pub(super) struct Quarantine {
    root: PathBuf,
    folder: Option<PathBuf>,
    now: NanoTime,
}

impl Quarantine {
    /// `root` is the store's folder `weir`.
    pub fn new(root: &Path, now: NanoTime) -> Self {
        Self {
            root: root.to_path_buf(),
            folder: None,
            now,
        }
    }

    /// Where things went; `None` if nothing did.
    pub fn folder(&self) -> Option<PathBuf> {
        self.folder.clone()
    }

    /// Copies a file or folder of the store, so that it can be put back; nothing if it is there already, or is not in the store.
    pub fn copy(&mut self, path: &Path, why: &str) -> Result<()> {
        let Some(to) = self.place(path)? else {
            return Ok(());
        };
        copy_all(path, &to).map_err(|error| output(&to, error))?;
        self.note(path, "A copy, made before anything was changed", why)
    }

    /// Writes something here that is to be read: JSON, with the reason.
    pub fn write(&mut self, name: &str, value: &impl serde::Serialize, why: &str) -> Result<()> {
        let folder = self.make()?;
        let path = folder.join(name);
        let written = serde_json::to_vec_pretty(value)
            .map_err(io::Error::from)
            .and_then(|json| fs::write(&path, json))
            .and_then(|()| File::open(&path)?.sync_all());
        written.map_err(|error| output(&path, error))?;
        self.reason(&format!("{name}\n  To be read: {why}.\n\n"))
    }

    /// Moves a file or folder of the store here.
    pub fn take(&mut self, path: &Path, as_path: &Path, why: &str) -> Result<()> {
        let Some(to) = self.place(as_path)? else {
            return Ok(());
        };
        fs::rename(path, &to).map_err(|error| output(path, error))?;
        for folder in [path.parent(), to.parent()].into_iter().flatten() {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| output(folder, error))?;
        }
        self.note(as_path, "Moved here", why)
    }

    /// Moves all that is left in a folder of the store here, and the folder with it; some of what was in it may be here already.
    pub fn take_rest(&mut self, folder: &Path, why: &str) -> Result<()> {
        let listed = || -> io::Result<Vec<PathBuf>> {
            let entries = fs::read_dir(folder)?;
            entries.map(|entry| entry.map(|entry| entry.path())).collect()
        };
        for path in listed().map_err(|error| output(folder, error))? {
            self.take(&path, &path, why)?;
        }
        // What could not be moved keeps its folder: of that this fails.
        fs::remove_dir(folder).map_err(|error| output(folder, error))?;
        let parent = folder.parent().unwrap_or(&self.root);
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(|error| output(parent, error))
    }

    /// Where something of the store goes; `None` if it is there, or not of the store.
    fn place(&mut self, path: &Path) -> Result<Option<PathBuf>> {
        let Ok(relative) = path.strip_prefix(&self.root) else {
            return Ok(None);
        };
        let relative = relative.to_path_buf();
        let to = self.make()?.join(relative);
        if to.exists() {
            return Ok(None);
        }
        if let Some(parent) = to.parent() {
            make_folder(parent).map_err(|error| output(parent, error))?;
        }
        Ok(Some(to))
    }

    fn make(&mut self) -> Result<PathBuf> {
        if let Some(folder) = &self.folder {
            return Ok(folder.clone());
        }
        let all = self.root.join(FOLDER);
        make_folder(&all).map_err(|error| output(&all, error))?;
        let time = format_time(Some(self.now - self.now.rem_euclid(SECOND))).replace(':', "-");
        for number in 1..=NUMBERED_MAX {
            let folder = match number {
                1 => all.join(&time),
                number => all.join(format!("{time}-{number}")),
            };
            match fs::create_dir(&folder) {
                Ok(()) => {
                    self.folder = Some(folder.clone());
                    return Ok(folder);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(output(&folder, error)),
            }
        }
        Err(output(&all, io::ErrorKind::AlreadyExists.into()))
    }

    fn note(&mut self, path: &Path, how: &str, why: &str) -> Result<()> {
        let folder = self.make()?;
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        let text = format!(
            "{}\n  {how}: {why}\n  To put it back: stop the server, move {} away, and copy {} to its place.\n\n",
            relative.display(),
            path.display(),
            folder.join(relative).display()
        );
        self.reason(&text)
    }

    fn reason(&mut self, text: &str) -> Result<()> {
        let reason = self.make()?.join(REASON);
        let mut file = File::options().create(true).append(true).open(&reason);
        file.as_mut()
            .map_err(|error| io::Error::from(error.kind()))
            .and_then(|file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .map_err(|error| output(&reason, error))
    }
}

/// The store has got another name: what is said of where things lie says so.
pub(super) fn rename(folder: &Path, renamed: &Renamed) -> Result<()> {
    let reason = folder.join(REASON);
    let rewritten = || -> io::Result<()> {
        let mut text = fs::read_to_string(&reason)?;
        renamed.text(&mut text);
        fs::write(&reason, text)?;
        File::open(&reason)?.sync_all()
    };
    rewritten().map_err(|error| output(&reason, error))
}

fn output(path: &Path, error: io::Error) -> Error {
    Error::Output {
        path: path.to_path_buf(),
        error,
    }
}

/// Copies a file, or a folder with all files in it. What is neither is left out.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_file() {
        fs::copy(from, to)?;
        return File::open(to)?.sync_all();
    }
    if kind.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy_all(&from.join(&name), &to.join(&name))?;
        }
        return File::open(to)?.sync_all();
    }
    Ok(())
}
