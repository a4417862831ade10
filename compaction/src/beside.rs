//! A tool that works in place works on a copy instead: the store is only read, and what comes of it is in a folder of its own.
//!
//! The copy is made and worked on in `DIR.unfinished`, with a file in it that says so, and gets its name when all of it is done and on
//! disk. What was broken off is there under that name still; the next run begins it anew, and it may be removed.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use weir_backends::root::StoreDir;
use weir_backends::root::unfinished::{ENDING, MARK, is_unfinished};

use crate::error::{Error, Result};

/// What the file in it says.
const MARK_TEXT: &str = "weir was making a store here, and did not come to an end, unless this folder has its final name: then all is \
                         done, and only this file is left. Run the command again, which begins anew, or remove the folder.\n";
/// The folder of the store in it, and the one that repairs fill, which is not copied.
const STORE: &str = "weir";
const QUARANTINE: &str = "quarantine";

/// A store that is being made.
pub(crate) struct Beside {
    out: PathBuf,
    unfinished: PathBuf,
}

impl Beside {
    /// Copies the store in a directory. `progress` is told of the bytes.
    ///
    /// # Errors
    /// If there is no store, a server has it open, no key opens it, `out` is there and not empty, or files cannot be read or written.
    pub fn begin(path: &Path, out: &Path, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<Self> {
        let store = StoreDir::find(path).ok_or_else(|| Error::NotAStore {
            path: path.to_path_buf(),
        })?;
        let _hold = store.hold().map_err(Error::opening)?;
        // Before all of it is copied, and by its own name.
        let store = crate::key::unlocked(store)?;
        let beside = Self::begin_empty(path, &store, out)?;
        let of = crate::inspect::folder_bytes(store.root(), &mut Vec::new());
        let (mut done, copy) = (0, beside.store());
        let copied = copy_folder(store.root(), &copy, &mut |bytes| {
            done += bytes;
            progress("copying", done.min(of), of);
        });
        match copied {
            Ok(()) => Ok(beside),
            Err((path, error)) => beside.give_up(output(&path, error)),
        }
    }

    /// The same without the copy: what comes in is the caller's. Servers are kept out of the store, which `path` named.
    ///
    /// # Errors
    /// If `out` is there and not empty, or cannot be written.
    pub fn begin_empty(path: &Path, store: &StoreDir, out: &Path) -> Result<Self> {
        // A folder in the store would be copied into itself, and one beside it in the same directory be taken for a part of it.
        outside(path, store, out)?;
        if !is_free(out).map_err(|error| output(out, error))? {
            return Err(Error::NotEmpty {
                path: out.to_path_buf(),
            });
        }
        let mut name = out.file_name().map(OsString::from).unwrap_or_default();
        name.push(ENDING);
        let beside = Self {
            out: out.to_path_buf(),
            unfinished: out.with_file_name(name),
        };
        beside.clear()?;
        let made = || -> io::Result<()> {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&beside.unfinished)?;
            fs::write(beside.unfinished.join(MARK), MARK_TEXT)?;
            sync(&beside.unfinished.join(MARK))?;
            sync(&beside.unfinished)
        };
        made().map_err(|error| output(out, error))?;
        Ok(beside)
    }

    /// The store directory that is being made, which the folder of the store is in.
    pub fn directory(&self) -> &Path {
        &self.unfinished
    }

    /// The folder of the copy.
    pub fn store(&self) -> PathBuf {
        self.unfinished.join(STORE)
    }

    /// Gives it its name, once all is done.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn finish(self) -> Result<Renamed> {
        let finished = || -> io::Result<()> {
            // An empty folder goes. The name comes before the mark goes, so that whatever has the other name has the mark.
            fs::rename(&self.unfinished, &self.out)?;
            sync(&parent(&self.out))?;
            fs::remove_file(self.out.join(MARK))?;
            sync(&self.out)
        };
        finished().map_err(|error| output(&self.out, error))?;
        Ok(Renamed {
            from: self.unfinished.display().to_string(),
            to: self.out.display().to_string(),
        })
    }

    /// What went wrong with the copy leaves nothing behind.
    ///
    /// # Errors
    /// Always: that, or why the copy is still there.
    pub fn give_up<T>(&self, error: Error) -> Result<T> {
        self.clear()?;
        Err(error)
    }

    /// Removes what an earlier run left; nothing else.
    ///
    /// # Errors
    /// If something else is there, or it cannot be removed.
    fn clear(&self) -> Result<()> {
        if is_free(&self.unfinished).map_err(|error| output(&self.unfinished, error))? {
            return Ok(());
        }
        if !self.unfinished.join(MARK).is_file() {
            return Err(Error::NotLeftOver {
                path: self.unfinished.clone(),
            });
        }
        fs::remove_dir_all(&self.unfinished).map_err(|error| output(&self.unfinished, error))
    }
}

/// Refuses a store that is being made, or was when its tool was broken off.
///
/// # Errors
/// If it is one.
pub(crate) fn is_finished(named: &Path) -> Result<()> {
    match is_unfinished(named) {
        true => Err(Error::Unfinished {
            path: named.to_path_buf(),
        }),
        false => Ok(()),
    }
}

/// Refuses to write into a store, or into the directory that was named for one.
///
/// # Errors
/// If `out` lies there.
pub(crate) fn outside(named: &Path, store: &StoreDir, out: &Path) -> Result<()> {
    let out_is = real(out);
    for folder in [named, store.root()] {
        let folder = real(folder);
        if out_is.starts_with(&folder) {
            return Err(Error::InTheStore {
                path: out.to_path_buf(),
                store: folder,
            });
        }
    }
    Ok(())
}

/// Where a path leads, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    for above in path.ancestors() {
        if let (Ok(there), Ok(below)) = (above.canonicalize(), path.strip_prefix(above)) {
            return there.join(below);
        }
    }
    path
}

/// What was told while the store had the other name is told with its own.
pub(crate) struct Renamed {
    from: String,
    to: String,
}

impl Renamed {
    pub fn path(&self, path: &mut PathBuf) {
        if let Ok(rest) = path.strip_prefix(&self.from) {
            *path = Path::new(&self.to).join(rest);
        }
    }

    pub fn text(&self, text: &mut String) {
        if text.contains(&self.from) {
            *text = text.replace(&self.from, &self.to);
        }
    }
}

/// Whether nothing is there, or an empty folder.
fn is_free(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error),
    }
}

/// Copies a store's folder. What is neither file nor folder is left out.
fn copy_folder(from: &Path, to: &Path, copied: &mut dyn FnMut(u64)) -> std::result::Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |error| (path, error)
    };
    fs::create_dir(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(at(&from))?;
        if kind.is_dir() && entry.file_name() != QUARANTINE {
            copy_folder(&from, &to, copied)?;
        } else if kind.is_file() {
            copied(fs::copy(&from, &to).map_err(at(&from))?);
            sync(&to).map_err(at(&to))?;
        }
    }
    sync(to).map_err(at(to))
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn output(path: &Path, error: io::Error) -> Error {
    Error::Output {
        path: path.to_path_buf(),
        error,
    }
}
