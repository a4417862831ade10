//! Files that fail at the n-th call, and that know what a power failure would leave.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use weir_engine::conformance::model::Dice;

use super::super::files::{Background, File, Files, Lock, Map, Mode, RealFiles};

/// One file's content as of its last sync, and what was written since.
#[derive(Clone, Default)]
struct Unsynced {
    synced: Vec<u8>,
    writes: Vec<(u64, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    calls: u64,
    fail_at: u64,
    sticky: bool,
    /// Whether it panics instead.
    panics: bool,
    /// Whether the disk is full: files do not grow.
    full: bool,
    /// Bytes that were given back since it is full, if that counts.
    given_back: Option<u64>,
    /// Up to where files have room beyond their end.
    kept: BTreeMap<PathBuf, u64>,
    /// So many openings from now on fail because too many files are open.
    refuse: u64,
    /// What is made shorter as soon as it is mapped, and how long it is then.
    shorten: Option<(PathBuf, u64)>,
    /// What was synced, in order.
    synced: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Unsynced>,
}

/// Real files whose calls are counted and can fail.
#[derive(Default)]
pub struct FaultyFiles {
    state: Mutex<State>,
}

impl FaultyFiles {
    /// Fails the `n`-th call from now on, counted from 1; with `sticky` every later one as well.
    pub fn fail_at(&self, n: u64, sticky: bool) {
        let mut state = self.state.lock();
        state.calls = 0;
        state.fail_at = n;
        state.sticky = sticky;
        state.panics = false;
    }

    /// Panics at the `n`-th call from now on, counted from 1.
    pub fn panic_at(&self, n: u64) {
        self.fail_at(n, false);
        self.state.lock().panics = true;
    }

    /// The disk is full, or has room again.
    pub fn fill_up(&self, full: bool) {
        let mut state = self.state.lock();
        state.full = full;
        state.given_back = None;
    }

    /// The disk is full, and what is given back from now on can be used again.
    pub fn fill_to_the_brim(&self) {
        self.fill_up_to(0);
    }

    /// The disk has so many bytes left.
    pub fn fill_up_to(&self, left: u64) {
        let mut state = self.state.lock();
        state.full = true;
        state.given_back = Some(left);
    }

    fn room(&self, path: &Path, end: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let kept = state.kept.get(path).copied().unwrap_or(0);
        let more = end.saturating_sub(fs::metadata(path)?.len().max(kept));
        match state.given_back {
            Some(free) if more <= free => state.given_back = Some(free - more),
            _ if state.full && more > 0 => return Err(rustix::io::Errno::NOSPC.into()),
            _ => {}
        }
        Ok(())
    }

    /// The next openings fail because the process has too many files open.
    pub fn refuse_to_open(&self, count: u64) {
        self.state.lock().refuse = count;
    }

    /// Makes the file shorter the next time that it is mapped.
    pub fn shorten_when_mapped(&self, path: &Path, len: u64) {
        self.state.lock().shorten = Some((path.to_path_buf(), len));
    }

    /// The files that were synced since this was last asked.
    pub fn take_synced(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.state.lock().synced)
    }

    /// How many calls there were since.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    fn call(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.calls += 1;
        let n = state.fail_at;
        if n != 0 && (state.calls == n || (state.sticky && state.calls > n)) {
            assert!(!state.panics, "injected");
            return Err(io::Error::other("injected"));
        }
        Ok(())
    }

    /// Makes the files what they might be after a power failure: of what was written since each file's last sync,
    /// every sector of 512 bytes is there or not, as the dice fall. The length is that of the farthest sector kept.
    pub fn lose_power(&self, dice: &mut Dice) {
        const SECTOR: usize = 512;
        let state = self.state.lock();
        for (path, file) in &state.files {
            if file.writes.is_empty() || !path.exists() {
                continue;
            }
            let mut image = file.synced.clone();
            let bias = dice.below(4);
            for (at, bytes) in &file.writes {
                let mut done = 0;
                while done < bytes.len() {
                    let at = *at as usize + done;
                    let n = (SECTOR - at % SECTOR).min(bytes.len() - done);
                    // Sometimes nearly all, sometimes nearly none.
                    if dice.below(4) >= bias {
                        if image.len() < at + n {
                            image.resize(at + n, 0);
                        }
                        image[at..at + n].copy_from_slice(&bytes[done..done + n]);
                    }
                    done += n;
                }
            }
            fs::write(path, image).unwrap();
        }
    }
}

impl Files for FaultyFiles {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<File> {
        self.call()?;
        {
            let mut state = self.state.lock();
            if state.refuse > 0 {
                state.refuse -= 1;
                return Err(rustix::io::Errno::MFILE.into());
            }
        }
        let file = RealFiles.open(path, mode)?;
        self.state
            .lock()
            .files
            .entry(path.to_path_buf())
            .or_insert_with(|| Unsynced {
                synced: fs::read(path).unwrap_or_default(),
                writes: Vec::new(),
            });
        Ok(file)
    }

    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        let failed = self.call().and_then(|()| self.room(path, at + bytes.len() as u64));
        // A write that fails has come some of the way.
        let done = if failed.is_err() { bytes.len() / 2 } else { bytes.len() };
        RealFiles.write_at(file, path, &bytes[..done], at)?;
        if let Some(unsynced) = self.state.lock().files.get_mut(path) {
            unsynced.writes.push((at, bytes[..done].to_vec()));
        }
        failed
    }

    fn allocate(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        self.call()?;
        self.room(path, len)?;
        RealFiles.allocate(file, path, len)
    }

    fn keep_room(&self, _: &File, path: &Path, len: u64) -> io::Result<()> {
        self.call()?;
        self.room(path, len)?;
        let mut state = self.state.lock();
        let kept = state.kept.entry(path.to_path_buf()).or_default();
        *kept = len.max(*kept);
        Ok(())
    }

    fn shorten(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        self.call()?;
        let before = fs::metadata(path)?.len();
        RealFiles.shorten(file, path, len)?;
        {
            let mut state = self.state.lock();
            let had = state.kept.remove(path).unwrap_or(0).max(before);
            if let Some(free) = &mut state.given_back {
                *free += had.saturating_sub(len);
            }
        }
        if let Some(unsynced) = self.state.lock().files.get_mut(path) {
            unsynced.writes.retain(|(at, _)| *at < len);
        }
        Ok(())
    }

    fn background(&self) -> Background {
        Background::Nobody
    }

    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.call()?;
        // Not synced for real: the tests' power failures are not.
        let _ = file;
        self.state.lock().synced.push(path.to_path_buf());
        if let Some(unsynced) = self.state.lock().files.get_mut(path) {
            unsynced.synced = fs::read(path)?;
            unsynced.writes.clear();
        }
        Ok(())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        self.call()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        RealFiles.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        RealFiles.rename(from, to)?;
        let mut state = self.state.lock();
        if let Some(file) = state.files.remove(from) {
            state.files.insert(to.to_path_buf(), file);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        RealFiles.remove(path)?;
        self.state.lock().files.remove(path);
        Ok(())
    }

    fn map(&self, file: &File, path: &Path, need: usize, planned: usize) -> io::Result<Map> {
        self.call()?;
        let map = RealFiles.map(file, path, need, planned)?;
        let shorten = self.state.lock().shorten.take_if(|(which, _)| which == path);
        if let Some((path, len)) = shorten {
            fs::OpenOptions::new().write(true).open(path)?.set_len(len)?;
        }
        Ok(map)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealFiles.read(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        RealFiles.len(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        RealFiles.list(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        RealFiles.is_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove_dir(path)
    }

    fn lock(&self, path: &Path, shared: bool) -> io::Result<Option<Lock>> {
        RealFiles.lock(path, shared)
    }
}
