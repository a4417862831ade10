//! Reading a store's files before they are asked for: while a tool opens it, which computes more than it reads, the disk goes on with
//! what is read next.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Bytes that are read ahead at most.
const AHEAD_MAX: u64 = 1 << 30;
/// Of the memory that the system can spare, no more than one part in so many is filled.
const MEMORY_PART: u64 = 4;
/// Bytes that are read at once: the kernel reads ahead of them as much as the disk is worth.
const PIECE: usize = 256 << 10;

/// Has files read into the system's cache for as long as it is there.
#[derive(Debug)]
pub struct ReadingAhead {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ReadingAhead {
    /// Begins with the logs in a folder of this backend. What cannot be read is left to whoever asks for it.
    pub fn begin(folder: &Path) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let logs = folder.join("logs");
        let work = {
            let over = over.clone();
            move || {
                let _ = read(&logs, spare() / MEMORY_PART, &over);
            }
        };
        let thread = std::thread::Builder::new().name("weir-ahead".to_owned());
        Self {
            over,
            // Where no thread can be had, it is slower.
            thread: thread.spawn(work).ok(),
        }
    }
}

impl Drop for ReadingAhead {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
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
fn sorted(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    found.sort_by_key(|path| (path.extension().is_some(), path.clone()));
    Ok(found)
}

/// Reads the files of all logs, in order, until all are read, or so many bytes, or it is over.
fn read(logs: &Path, most: u64, over: &AtomicBool) -> std::io::Result<()> {
    let mut left = most.min(AHEAD_MAX);
    let mut piece = vec![0; PIECE];
    for log in sorted(logs)? {
        for path in sorted(&log)? {
            let mut file = fs::File::open(&path)?;
            loop {
                if over.load(Ordering::Relaxed) || left < PIECE as u64 {
                    return Ok(());
                }
                match file.read(&mut piece)? {
                    0 => break,
                    read => left -= read as u64,
                }
            }
        }
    }
    Ok(())
}
