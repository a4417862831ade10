//! Files that are made anew, and go again if they are not finished.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What an export has made so far.
#[derive(Default)]
pub struct Output {
    files: Vec<PathBuf>,
    folder: Option<PathBuf>,
    finished: bool,
}

impl Output {
    /// Makes a folder that only its owner may enter; one that is there has to be empty.
    pub fn folder(&mut self, path: &Path) -> io::Result<()> {
        match fs::read_dir(path) {
            Ok(mut there) => match there.next() {
                Some(_) => Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "it is there and not empty: nothing is written over",
                )),
                None => Ok(()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(path)?;
                self.folder = Some(path.to_path_buf());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a file that only its owner may read; there must be none.
    pub fn file(&mut self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => io::Error::new(error.kind(), "it is there: nothing is written over"),
            _ => error,
        })?;
        self.files.push(path.to_path_buf());
        Ok(file)
    }

    /// All that was made stays.
    pub fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // What cannot be removed is seen to be no whole export: it has no description, or no last line.
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir(folder);
        }
    }
}
