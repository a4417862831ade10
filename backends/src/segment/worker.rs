//! A thread for what nobody waits for: unlinking the files of removed logs, and preparing files for journals.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::files::{Background, Files, Mode};

/// How many removed logs may wait for their files to be unlinked; beyond that the caller unlinks them itself.
const REMOVALS_MAX: usize = 1024;

/// Between two files that are unlinked: the file system gives their space back meanwhile, where a sync of a journal waits for no
/// more than one of them.
const PAUSE: Duration = Duration::from_millis(20);

/// How much of a prepared file is written at once, in bytes.
const CHUNK: usize = 1 << 20;

/// A journal's files that wait to be used: unlike a new one, each has been written all over, so that a sync of what is
/// written there has no space to find first.
#[derive(Default)]
pub struct Spares {
    /// Ready to be used.
    pub ready: Vec<Spare>,
    /// What became of the one that was asked for.
    pub asked: Asked,
    /// Whether nobody writes to the journal any more: what is being made for it goes.
    pub closed: bool,
}

/// A file that is ready.
pub struct Spare {
    pub path: PathBuf,
    /// Its size in bytes.
    pub len: u64,
    /// How many changes of names have to be on disk before: a file that the disk still knows as a segment must not be
    /// written to.
    pub changes: u64,
}

/// Whether a file is being prepared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// None is.
    #[default]
    No,
    /// It comes.
    Coming,
    /// It could not be made: it is asked for again once the next segment was begun, not with every write.
    Failed,
}

impl Spares {
    /// Takes the longest one, if it has so many bytes, for the next segment.
    pub fn take(&mut self, bytes: u64) -> Option<Spare> {
        if self.asked == Asked::Failed {
            self.asked = Asked::No;
        }
        let longest = (0..self.ready.len()).max_by_key(|n| self.ready[*n].len)?;
        (self.ready[longest].len >= bytes).then(|| self.ready.swap_remove(longest))
    }
}

/// A file to prepare.
pub struct Preparation {
    /// What it is called when it is ready; until then it has a name of its own.
    pub path: PathBuf,
    /// Its size in bytes.
    pub len: u64,
    /// Who waits for it.
    pub spares: Arc<Mutex<Spares>>,
}

#[derive(Default)]
struct Queue {
    preparations: VecDeque<Preparation>,
    removals: VecDeque<PathBuf>,
    stop: bool,
}

struct Shared {
    files: Arc<dyn Files>,
    queue: Mutex<Queue>,
    ready: Condvar,
}

/// The thread, which begins with the first thing to do and ends with this. What is left then is done by the next start.
pub struct Worker {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Nothing to do yet.
    pub fn new(files: Arc<dyn Files>) -> Self {
        Self {
            shared: Arc::new(Shared {
                files,
                queue: Mutex::default(),
                ready: Condvar::new(),
            }),
            thread: Mutex::default(),
        }
    }

    /// Unlinks a directory of files: later, unless too many wait already.
    ///
    /// # Errors
    /// Only of what is done at once.
    pub fn remove(&self, dir: PathBuf) -> io::Result<()> {
        let mut queue = self.shared.queue.lock();
        if queue.removals.len() < REMOVALS_MAX && self.runs() {
            queue.removals.push_back(dir);
            self.shared.ready.notify_one();
            return Ok(());
        }
        drop(queue);
        remove_all(&*self.shared.files, &dir, &mut || false)
    }

    /// Prepares a file, unless the thread cannot be had: then the journal makes its files itself.
    pub fn prepare(&self, preparation: Preparation) {
        if !self.runs() {
            return;
        }
        preparation.spares.lock().asked = Asked::Coming;
        self.shared.queue.lock().preparations.push_back(preparation);
        self.shared.ready.notify_one();
    }

    /// Does one of the things that wait, where no thread does them; answers whether there was one.
    #[cfg(any(test, feature = "testing"))]
    pub fn step(&self) -> bool {
        let mut queue = self.shared.queue.lock();
        if let Some(preparation) = queue.preparations.pop_front() {
            drop(queue);
            self.shared.prepare(preparation);
            return true;
        }
        let Some(dir) = queue.removals.pop_front() else {
            return false;
        };
        drop(queue);
        self.shared.remove(dir, &mut || false);
        true
    }

    /// Whether the thread runs; starts it if it does not.
    fn runs(&self) -> bool {
        match self.shared.files.background() {
            Background::Thread => {}
            #[cfg(any(test, feature = "testing"))]
            Background::Nobody => return false,
            #[cfg(any(test, feature = "testing"))]
            Background::Stepped => return true,
        }
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let shared = self.shared.clone();
            let builder = std::thread::Builder::new().name("weir-files".to_owned());
            *thread = builder.spawn(move || shared.run()).ok();
        }
        thread.is_some()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.queue.lock().stop = true;
        self.shared.ready.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of it was told, and cost no more than a later start can do.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let removal = {
                let mut queue = self.queue.lock();
                while !queue.stop && queue.preparations.is_empty() && queue.removals.is_empty() {
                    self.ready.wait(&mut queue);
                }
                if queue.stop {
                    return;
                }
                // A journal may be about to need its file.
                if let Some(preparation) = queue.preparations.pop_front() {
                    drop(queue);
                    self.prepare(preparation);
                    continue;
                }
                queue.removals.pop_front()
            };
            let Some(dir) = removal else { continue };
            let mut interrupted = || {
                let mut queue = self.queue.lock();
                if !queue.stop && queue.preparations.is_empty() {
                    self.ready.wait_for(&mut queue, PAUSE);
                }
                queue.stop || !queue.preparations.is_empty()
            };
            self.remove(dir, &mut interrupted);
        }
    }

    fn remove(&self, dir: PathBuf, stop: &mut dyn FnMut() -> bool) {
        match remove_all(&*self.files, &dir, stop) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.queue.lock().removals.push_front(dir),
            Err(error) => tracing::warn!("{} stays until the next start: {error}", dir.display()),
            Ok(()) => {}
        }
    }

    fn prepare(&self, preparation: Preparation) {
        let made = make_spare(&*self.files, &preparation.path, preparation.len, &|| {
            self.queue.lock().stop || preparation.spares.lock().closed
        });
        let mut spares = preparation.spares.lock();
        match made {
            // If it cannot be removed, the next opening does that.
            Ok(()) if spares.closed => drop(self.files.remove(&preparation.path)),
            Ok(()) => {
                spares.asked = Asked::No;
                spares.ready.push(Spare {
                    path: preparation.path,
                    len: preparation.len,
                    changes: 0,
                });
            }
            // The journal makes one itself when it comes to it, and tells if that fails, too.
            Err(error) => {
                spares.asked = Asked::Failed;
                tracing::debug!("{}: {error}", preparation.path.display());
            }
        }
    }
}

/// Makes a file of zeros that are on disk, under another name until it is whole.
pub fn make_spare(files: &dyn Files, path: &Path, len: u64, stop: &dyn Fn() -> bool) -> io::Result<()> {
    let temporary = path.with_extension("spare.tmp");
    let file = files.open(&temporary, Mode::Create)?;
    let made = fill(files, &file, &temporary, len, stop).and_then(|()| files.sync(&file, &temporary));
    let result = made.and_then(|()| files.rename(&temporary, path));
    if result.is_err() {
        // Whatever is left is removed when the log is opened.
        let _ = files.remove(&temporary);
    }
    result
}

/// Gives a file its size, written all over with zeros: extents that were only allocated would have to be converted at
/// each sync.
pub fn fill(
    files: &dyn Files,
    file: &super::files::File,
    path: &Path,
    len: u64,
    stop: &dyn Fn() -> bool,
) -> io::Result<()> {
    files.allocate(file, path, len)?;
    let zeros = vec![0; CHUNK.min(usize::try_from(len).unwrap_or(CHUNK))];
    let mut at = 0;
    while at < len {
        if stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let n = (zeros.len() as u64).min(len - at);
        files.write_at(file, path, &zeros[..n as usize], at)?;
        at += n;
    }
    Ok(())
}

/// Removes a directory of files; stops with [`io::ErrorKind::Interrupted`] between two if told to.
pub(super) fn remove_all(files: &dyn Files, dir: &Path, stop: &mut dyn FnMut() -> bool) -> io::Result<()> {
    for path in files.list(dir)? {
        if stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        files.remove(&path)?;
    }
    files.remove_dir(dir)
}
