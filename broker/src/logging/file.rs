//! A log file, and those that it became too large for.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Zoned;

/// A file that lines are appended to.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes in it.
    size: u64,
    /// Bytes after which another one is begun.
    size_max: Option<u64>,
    /// The same, doubled each time that it could not be.
    due: Option<u64>,
    /// Files that are kept, this one included.
    keep: Option<u64>,
}

impl LogFile {
    pub(super) fn open(path: &Path, size_max: Option<u64>, keep: Option<u64>) -> io::Result<Self> {
        let (file, size) = append_to(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            size_max,
            due: size_max,
            keep,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the path again, for what was there may have been renamed. If that fails it goes on in the old file.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.size) = append_to(&self.path)?;
        Ok(())
    }

    /// Appends a line; true: that was the last for this file.
    pub(super) fn put(&mut self, line: &str) -> io::Result<bool> {
        self.file.write_all(line.as_bytes())?;
        self.size += line.len() as u64;
        Ok(self.due.is_some_and(|due| self.size > due))
    }

    /// Sets the file aside under a name that tells the time, begins another, and removes the oldest of those that are too
    /// many. Returns what is to be said of it in the new file.
    pub(super) fn rotate(&mut self, now: &Zoned) -> Vec<String> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(format!(
            ".{}.{:09}",
            now.strftime("%Y.%m.%d.%H.%M.%S"),
            now.subsec_nanosecond()
        ));
        let aside = PathBuf::from(aside);
        let begun = std::fs::rename(&self.path, &aside).and_then(|()| self.reopen());
        if let Err(error) = begun {
            self.due = self.due.map(|due| due.saturating_mul(2));
            return vec![format!(
                "Unable to rotate the log file ({error}), will attempt next rotation"
            )];
        }
        self.due = self.size_max;
        let mut said = vec![format!("Rotated log, backup saved as {:?}", aside.display())];
        if let Some(keep) = self.keep {
            self.purge(keep, &mut said);
        }
        said
    }

    /// Removes the oldest files beyond `keep`, this one included.
    fn purge(&self, keep: u64, said: &mut Vec<String>) {
        let mut old = match aside(&self.path) {
            Ok(old) => old,
            Err(error) => {
                said.push(format!(
                    "Unable to look for old log files ({error}), will attempt next rotation"
                ));
                return;
            }
        };
        // Their names tell the time: by name is by age.
        old.sort();
        let spare = usize::try_from(keep.saturating_sub(1)).unwrap_or(usize::MAX);
        for path in &old[..old.len().saturating_sub(spare)] {
            match std::fs::remove_file(path) {
                Ok(()) => said.push(format!("Purged log file {:?}", path.display())),
                Err(error) => {
                    said.push(format!(
                        "Unable to remove backup log file {:?} ({error}), will attempt next rotation",
                        path.display()
                    ));
                    return;
                }
            }
        }
    }
}

/// With what traces tell, it is for its owner and whom he lets read it, as with nats-server.
fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// The files that were set aside for the log `path`: those of its name with a time behind it.
fn aside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let Some(name) = name else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder.unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let other = entry.file_name().to_string_lossy().into_owned();
        let time = other.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
        if time.is_some_and(is_time) && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// `2006.01.02.15.04.05.000000000`
fn is_time(text: &str) -> bool {
    let mut parts = text.split('.');
    let lengths = [4, 2, 2, 2, 2, 2, 9];
    let fits = lengths.iter().all(|&len| {
        parts
            .next()
            .is_some_and(|part| part.len() == len && part.bytes().all(|b| b.is_ascii_digit()))
    });
    fits && parts.next().is_none()
}
