//! What a start would refuse, found out without starting (`-t`): nothing is written, made or taken.
//!
//! Ports and stores that are in use do not count: the server that uses them may be the one that is to be restarted. Of a store its
//! catalogue is read, and no stream.

use std::fs::OpenOptions;
use std::io;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::Path;

use rustix::fs::{Access, access};
use weir_backends::root::{StoreDir, unfinished};
use weir_engine::Kind;
use weir_engine::stream::settings::BackendKind;

use super::Server;
use crate::conf::Options;
use crate::context::Loaded;
use crate::error::{Error, Result};
use crate::link::origins;

impl Server {
    /// Refuses the options that [`Server::start`] would refuse on this machine as it is now.
    ///
    /// # Errors
    /// As a start's: what is wrong, and where.
    pub fn check(options: &Options) -> Result<()> {
        Self::check_beside_the_store(options)?;
        Self::check_store(options)
    }

    /// Refuses a store directory that JetStream could not be started on; one that a server has is taken for right, after a moment.
    ///
    /// # Errors
    /// As [`Server::check`].
    pub(super) fn check_store(options: &Options) -> Result<()> {
        if !options.jetstream.enabled {
            return Ok(());
        }
        let folder = crate::jetstream::store_dir(&options.jetstream);
        let backend = crate::jetstream::defaults(&options.jetstream).backend;
        let dir = StoreDir::new(&folder);
        dir.check_built_in(backend)?;
        unfinished::refuse(&folder)?;
        store(&folder)?;
        let owners = crate::jetstream::owners(&options.jetstream);
        let dir = match dir.is_encrypted() {
            true => dir.unlocked(&owners)?,
            false => dir.check_keys(&owners).map(|()| dir)?,
        };
        catalogue(&dir)
    }

    /// Refuses whatever else a start would refuse.
    ///
    /// # Errors
    /// As [`Server::check`].
    pub(super) fn check_beside_the_store(options: &Options) -> Result<()> {
        Self::check_staples(options, &Loaded::of(options)?)?;
        crate::trust::check(&options.trust)?;
        if let Some(Err(message)) = options.websocket.as_ref().map(origins) {
            return Err(Error::Options(message));
        }
        if let Some(path) = &options.log.file {
            file("open log file", path)?;
        }
        if let Some(path) = &options.pid_file {
            file("write", path)?;
        }
        if let Some(folder) = &options.ports_file_dir {
            writable_folder(folder).map_err(|source| Error::File {
                doing: "write into",
                path: folder.display().to_string(),
                source,
            })?;
        }
        for http in options.http.iter().chain(&options.https) {
            let host = if http.host.is_empty() {
                &options.host
            } else {
                &http.host
            };
            address(host).map_err(|source| Error::Monitor {
                address: format!("{host}:{}", http.port),
                source,
            })?;
        }
        if let Some(websocket) = &options.websocket {
            address(&websocket.host).map_err(|source| Error::Listen {
                address: format!("{}:{}", websocket.host, websocket.port),
                source,
            })?;
        }
        address(&options.host).map_err(|source| Error::Listen {
            address: format!("{}:{}", options.host, options.port),
            source,
        })
    }
}

/// Whether a file could be written: one that is there, or a new one.
fn file(doing: &'static str, path: &Path) -> Result<()> {
    let outcome = match OpenOptions::new().append(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            writable_folder(parent.unwrap_or(Path::new(".")))
        }
        Err(error) => Err(error),
    };
    outcome.map_err(|source| Error::File {
        doing,
        path: path.display().to_string(),
        source,
    })
}

fn writable_folder(folder: &Path) -> io::Result<()> {
    match std::fs::metadata(folder)?.is_dir() {
        true => Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?),
        false => Err(rustix::io::Errno::NOTDIR.into()),
    }
}

/// Whether a store directory is one that can be written, or could be made below the folders that are there.
fn store(folder: &Path) -> Result<()> {
    let shown = folder.display();
    let failed = |why: String| Err(weir_engine::Error::new(Kind::Io, why).into());
    if folder.exists() && !folder.is_dir() {
        return failed(format!("storage directory is not a directory: {shown}"));
    }
    let store = StoreDir::new(folder);
    // One that is there may lie in what cannot be written to: a start makes nothing in there.
    if store.root().symlink_metadata().is_err() {
        if folder.symlink_metadata().is_ok() && !folder.exists() {
            return failed(format!(
                "could not create storage directory - {shown}: it is a link to what is not there"
            ));
        }
        let there = folder.ancestors().find(|ancestor| ancestor.exists());
        match writable_folder(there.unwrap_or(Path::new("."))) {
            Err(error) if folder.exists() => {
                return failed(format!("could not write to storage directory - {shown}: {error}"));
            }
            Err(error) => return failed(format!("could not create storage directory - {shown}: {error}")),
            Ok(()) => {}
        }
    }
    Ok(store.check_folders()?)
}

/// Whether this version reads the catalogue of a store, if there is one that no server has.
fn catalogue(store: &StoreDir) -> Result<()> {
    if !store.exists() {
        return Ok(());
    }
    match store.open_read_only(BackendKind::Segment) {
        Err(error) if error.kind == Kind::Busy => Ok(()),
        opened => Ok(weir_engine::store::check(opened?.as_ref())?),
    }
}

/// Whether a host is this machine: one of its addresses can be bound, on some port.
fn address(host: &str) -> io::Result<()> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = None;
    for address in (name, 0).to_socket_addrs()? {
        match TcpListener::bind(address) {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("the host name has no address")))
}
