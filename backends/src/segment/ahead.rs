//! Reading a store's files before they are asked for: while a tool opens it, which computes more than it reads, the disk goes on with
//! what is read next, and so it does beside the threads that check what is in memory already.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use weir_engine::LogId;

use crate::regular;

/// Bytes that are read ahead at most of what was gone through.
const AHEAD_MAX: u64 = 2 << 30;
/// Of the memory that the system can spare, no more than one part in so many is filled.
const MEMORY_PART: u64 = 4;
/// Threads that read: one alone leaves the disk idle while it copies.
const THREADS: usize = 2;
/// Bytes that are read at once: the kernel reads ahead of them as much as the disk is worth.
const PIECE: usize = 256 << 10;

/// What the threads that read are told, and share.
#[derive(Debug, Default)]
struct Told {
    /// Nothing more is wanted.
    over: bool,
    /// What is still to be read, in order, with whose it is.
    files: VecDeque<(Option<LogId>, PathBuf)>,
    /// Bytes that were read.
    read: u64,
    /// Bytes that somebody has gone through.
    checked: u64,
}

/// What both sides share.
#[derive(Debug)]
struct Signs {
    told: Mutex<Told>,
    changed: Condvar,
    /// Bytes that may be read beyond those that were gone through.
    most: u64,
}

/// Has files read into the system's cache for as long as it is there.
#[derive(Debug)]
pub struct ReadingAhead {
    signs: Arc<Signs>,
    threads: Vec<JoinHandle<()>>,
}

impl ReadingAhead {
    /// Begins with the logs in a folder of this backend, and goes on with the tables in one of RocksDB. What cannot be read is left to
    /// whoever asks for it.
    pub fn begin(folder: &Path, rocksdb: Option<&Path>) -> Self {
        let mut files = files(&folder.join("logs")).unwrap_or_default();
        files.extend(rocksdb.into_iter().flat_map(tables));
        let told = Told {
            files,
            ..Told::default()
        };
        let signs = Arc::new(Signs {
            told: Mutex::new(told),
            changed: Condvar::new(),
            most: (spare() / MEMORY_PART).min(AHEAD_MAX),
        });
        let begin = |_| {
            let signs = signs.clone();
            let thread = std::thread::Builder::new().name("weir-ahead".to_owned());
            // Where no thread can be had, it is slower.
            thread.spawn(move || read(&signs)).ok()
        };
        let threads = (0..THREADS).filter_map(begin).collect();
        Self { signs, threads }
    }

    /// The logs are gone through in this order: the files of others are left alone. Those of no log stay, behind the others.
    pub fn in_order(&self, logs: &[LogId]) {
        let place = |id: Option<LogId>| match id {
            Some(id) => logs.iter().position(|wanted| *wanted == id),
            None => Some(logs.len()),
        };
        self.tell(|told| {
            told.files.retain(|(id, _)| place(*id).is_some());
            told.files.make_contiguous().sort_by_key(|(id, _)| place(*id));
        });
    }

    /// So many bytes of everything were gone through by now: as many more may be read.
    pub fn checked(&self, bytes: u64) {
        self.tell(|told| told.checked = bytes);
    }

    fn tell(&self, what: impl FnOnce(&mut Told)) {
        what(&mut self.signs.told.lock());
        self.signs.changed.notify_all();
    }
}

impl Drop for ReadingAhead {
    fn drop(&mut self) {
        self.tell(|told| told.over = true);
        for thread in self.threads.drain(..) {
            // That it panicked was told; nothing depends on it.
            let _ = thread.join();
        }
    }
}

/// Bytes of memory that programs can have without others losing theirs, as the system sees it; none if it does not say.
fn spare() -> u64 {
    let said = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = said.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kilobytes.unwrap_or(0) << 10
}

/// What is in a folder, in the order in which a log's files are read: what is kept of its index first.
fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    found.sort_by_key(|path| (path.extension().is_some(), path.clone()));
    Ok(found)
}

/// The files of all logs, with whose they are.
fn files(logs: &Path) -> io::Result<VecDeque<(Option<LogId>, PathBuf)>> {
    let mut files = VecDeque::new();
    for log in sorted(logs)? {
        let id = log.file_name().and_then(|name| name.to_str()?.parse().ok());
        files.extend(sorted(&log)?.into_iter().map(|path| (id, path)));
    }
    Ok(files)
}

/// RocksDB's tables in a folder, the oldest first.
fn tables(folder: &Path) -> impl Iterator<Item = (Option<LogId>, PathBuf)> + use<> {
    let all = sorted(folder).unwrap_or_default().into_iter();
    let tables = all.filter(|path| path.extension().is_some_and(|end| end == "sst"));
    tables.map(|path| (None, path))
}

/// Reads one file after the other, until none is left or it is over.
fn read(signs: &Signs) {
    let mut piece = vec![0; PIECE];
    loop {
        let Some((_, path)) = signs.told.lock().files.pop_front() else {
            return;
        };
        // Whoever asks for it is told why it cannot be read.
        if let Ok(false) = read_file(&path, &mut piece, signs) {
            return;
        }
    }
}

/// Reads a file; answers whether another is wanted.
fn read_file(path: &Path, piece: &mut [u8], signs: &Signs) -> io::Result<bool> {
    let mut file = regular::open(path, fs::OpenOptions::new().read(true))?;
    loop {
        let mut told = signs.told.lock();
        while !told.over && told.read > told.checked.saturating_add(signs.most) {
            signs.changed.wait(&mut told);
        }
        if told.over {
            return Ok(false);
        }
        drop(told);
        match file.read(piece)? {
            0 => return Ok(true),
            read => signs.told.lock().read += read as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read is what is wanted, in its order; as much as was gone through and no more.
    #[test]
    fn no_more_is_read_than_was_gone_through_and_a_part_of_memory() {
        let dir = tempfile::tempdir().unwrap();
        for (log, file) in [(1, "b"), (1, "a"), (2, "a"), (3, "a")] {
            let folder = dir.path().join("logs").join(LogId(log).to_string());
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), vec![0; PIECE]).unwrap();
        }
        fs::write(dir.path().join("000007.sst"), [0]).unwrap();
        fs::write(dir.path().join("LOG"), [0]).unwrap();
        let mut files = files(&dir.path().join("logs")).unwrap();
        files.extend(tables(dir.path()));
        let told = Told {
            files,
            ..Told::default()
        };
        let signs = Arc::new(Signs {
            told: Mutex::new(told),
            changed: Condvar::new(),
            most: PIECE as u64,
        });
        let mut ahead = ReadingAhead {
            signs: signs.clone(),
            threads: Vec::new(),
        };
        ahead.in_order(&[LogId(3), LogId(1)]);
        let names: Vec<_> = (signs.told.lock().files.iter())
            .map(|(id, path)| {
                (
                    id.map(|id| id.0),
                    path.file_name().unwrap().to_str().unwrap().to_owned(),
                )
            })
            .collect();
        let of = |id, name: &str| (id, name.to_owned());
        assert_eq!(
            names,
            [
                of(Some(3), "a"),
                of(Some(1), "a"),
                of(Some(1), "b"),
                of(None, "000007.sst")
            ]
        );
        let thread = signs.clone();
        ahead.threads.push(std::thread::spawn(move || read(&thread)));
        let wait_for = |read: u64| {
            while signs.told.lock().read < read {
                std::thread::yield_now();
            }
        };
        // One piece more than may be, for it is looked at before each; and then the thread waits.
        wait_for(2 * PIECE as u64);
        assert_eq!(signs.told.lock().read, 2 * PIECE as u64);
        ahead.checked(2 * PIECE as u64);
        wait_for(3 * PIECE as u64 + 1);
        // It waits once more, and goes with whoever it reads for.
        drop(ahead);
        assert!(signs.told.lock().files.is_empty());
    }

    /// One that waited for somebody at the other end of a pipe would keep its tool for ever.
    #[test]
    fn a_pipe_in_the_place_of_a_file_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("logs").join(LogId(1).to_string());
        fs::create_dir_all(&folder).unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.join("a")).status();
        assert!(made.unwrap().success());
        fs::write(folder.join("b"), vec![0; PIECE]).unwrap();
        let ahead = ReadingAhead::begin(dir.path(), None);
        while ahead.signs.told.lock().read < PIECE as u64 {
            std::thread::yield_now();
        }
    }
}
