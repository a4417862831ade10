//! Answers on disk, so that a start need not wait for a responder: `<store_dir>/ocsp/<SHA-256 of the certificate>`, as in nats-server.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;
use weir_backends::regular;

use crate::limits::OCSP_ANSWER_MAX;

/// Reads what was kept of that name.
///
/// # Errors
/// There is none, it cannot be read, or it is longer than any that was kept.
pub(super) async fn read(folder: &Path, name: &str) -> io::Result<Vec<u8>> {
    let path = folder.join(name);
    aside(move || {
        let mut bytes = Vec::new();
        let most = OCSP_ANSWER_MAX as u64;
        let file = regular::open(&path, OpenOptions::new().read(true))?;
        file.take(most + 1).read_to_end(&mut bytes)?;
        match bytes.len() > OCSP_ANSWER_MAX {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => Ok(bytes),
        }
    })
    .await
}

/// Keeps an answer under that name, in the place of what was there. One that a crash leaves half written is not good, and asked for again.
///
/// # Errors
/// It cannot be written.
pub(super) async fn write(folder: &Path, name: &str, answer: &[u8]) -> io::Result<()> {
    let (folder, path): (PathBuf, PathBuf) = (folder.to_owned(), folder.join(name));
    let answer = answer.to_vec();
    aside(move || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let unfinished = path.with_extension("tmp");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        regular::open(&unfinished, &mut options)?.write_all(&answer)?;
        fs::rename(&unfinished, &path)
    })
    .await
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
