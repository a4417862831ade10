//! A disk in memory that loses power: contents and names that were not synced may be gone, torn or out of order, calls
//! fail, bits flip. The same seed does the same each time.
//!
//! Harsher than most file systems: each name that was made, changed or removed since its folder was synced is on disk
//! or not, whatever became of the others, unless the dice say that they keep their order.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::io::Errno;
use weir_engine::conformance::model::Dice;

use super::files::{Background, File, Files, Lock, Map, Mode};

/// What reaches the disk of an unsynced write is decided for this many bytes at a time.
const SECTOR: usize = 512;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The disk failed.
    Io,
    /// The disk is full. Only for calls that need room; others go well.
    Full,
    /// The file system became read-only, as one does that found something wrong with itself. Reading goes well.
    ReadOnly,
}

/// What a disk does wrong without saying so. The process that wrote sees what it wrote, until the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdeed {
    /// A write does not come to the disk.
    Lost,
    /// A write comes to another place of the same file, so many bytes further on.
    Misplaced(usize),
    /// A write comes to its place in another file: the next one of its size or larger.
    Misdirected,
    /// A file is read as it was when it was half as long.
    Stale,
}

/// What a call does with the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Looks.
    Nothing,
    /// Changes something that takes no room.
    Change,
    /// Takes room.
    Room,
}

/// What was done to a disk, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Calls that failed as on a broken disk.
    pub io: u64,
    /// Calls that failed for want of room.
    pub full: u64,
    /// Processes that ended, in the middle of a call or between two.
    pub ends: u64,
    /// Power failures among these.
    pub power: u64,
    /// Parts of unsynced writes that were lost, a sector each at most.
    pub sectors_lost: u64,
    /// Parts of unsynced writes of which only the beginning came to the disk.
    pub sectors_torn: u64,
    /// Changes of names that were lost.
    pub names_lost: u64,
    /// Bits flipped.
    pub flips: u64,
    /// Files cut.
    pub cuts: u64,
    /// Files rolled back.
    pub rolled_back: u64,
    /// Files taken away.
    pub erased: u64,
}

/// A name in a folder, and what is there now; `None` if nothing.
type Edge = (OsString, Option<u64>);

#[derive(Clone, Debug)]
enum Node {
    File {
        now: Vec<u8>,
        /// What is on disk for certain.
        synced: Vec<u8>,
        /// What was written since.
        writes: Vec<(usize, Vec<u8>)>,
        /// How often it was changed.
        changes: Arc<AtomicU64>,
    },
    Folder {
        now: BTreeMap<OsString, u64>,
        synced: BTreeMap<OsString, u64>,
        /// What changed since; the parts of one change are on disk together.
        changes: Vec<Vec<Edge>>,
    },
}

impl Node {
    fn folder() -> Self {
        Self::Folder {
            now: BTreeMap::new(),
            synced: BTreeMap::new(),
            changes: Vec::new(),
        }
    }
}

#[derive(Clone, Debug)]
struct State {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Calls since [`SimulatedDisk::fail_at`].
    calls: u64,
    fail_at: u64,
    for_good: bool,
    failure: Failure,
    /// What is done wrong, and after how many calls that it may be done at.
    misdeed: Option<(Misdeed, u64)>,
    /// Decides how much a failed call did.
    dice: Dice,
    /// Numbers of files below this belong to processes that are gone.
    alive: u64,
    /// Whether the process is gone and the next has not begun.
    halted: bool,
    /// All calls.
    total: u64,
    /// The process ends at this call.
    end_at: u64,
    injected: Injected,
    /// Of each call with all that it was given.
    digest: u64,
    /// Whether each call is told, for a seed to be understood.
    told: bool,
    /// Whether calls are those of an observer: they count for nothing, and none fails.
    observed: bool,
    /// Bytes that all files together may have.
    limit: Option<u64>,
    /// Held by whoever has a store, by the path of its lock.
    locked: BTreeMap<PathBuf, Weak<()>>,
}

/// The disk.
#[derive(Debug)]
pub struct SimulatedDisk {
    state: Mutex<State>,
    stepped: AtomicBool,
    touched: Touched,
}

/// The pages in memory, of each file by its number; `None` if all are.
type Touched = Arc<Mutex<Option<BTreeSet<(u64, usize)>>>>;

/// Which pages of a file are in memory.
#[derive(Clone, Debug)]
pub struct Pages {
    node: u64,
    touched: Touched,
}

impl Pages {
    /// How many bytes from `at` on, up to `len`, are in memory without a gap.
    pub fn resident(&self, at: usize, len: usize) -> usize {
        let touched = self.touched.lock();
        let Some(touched) = &*touched else { return len };
        let mut pages = at / PAGE..(at + len).div_ceil(PAGE);
        let gap = pages.find(|page| !touched.contains(&(self.node, *page)));
        gap.map_or(len, |page| (page * PAGE).saturating_sub(at))
    }
}

/// Bytes of a page: small, so that a record has several.
const PAGE: usize = 256;

/// The number of the root folder.
const ROOT: u64 = 0;

impl SimulatedDisk {
    /// An empty one.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(State {
                nodes: BTreeMap::from([(ROOT, Node::folder())]),
                next: 1,
                calls: 0,
                fail_at: 0,
                for_good: false,
                failure: Failure::Io,
                misdeed: None,
                dice: Dice::new(seed),
                alive: 0,
                halted: false,
                total: 0,
                end_at: 0,
                injected: Injected::default(),
                digest: 0,
                told: false,
                observed: false,
                limit: None,
                locked: BTreeMap::new(),
            }),
            stepped: AtomicBool::new(false),
            touched: Touched::default(),
        }
    }

    /// From now on no page is in memory but those that are read on purpose.
    pub fn chill(&self) {
        *self.touched.lock() = Some(BTreeSet::new());
    }

    /// From now on, what nobody waits for is done when somebody [steps](super::SegmentBackend::step_background) it, instead
    /// of at once.
    pub fn leave_background(&self) {
        self.stepped.store(true, Ordering::Relaxed);
    }

    /// What was done to it until now.
    pub fn injected(&self) -> Injected {
        self.state.lock().injected
    }

    /// From now on, each call is written to standard error.
    pub fn tell(&self) {
        self.state.lock().told = true;
    }

    /// Until this is called again with `false`, calls are those of an observer: they count for nothing, and none fails.
    pub fn observe(&self, observed: bool) {
        self.state.lock().observed = observed;
    }

    /// Whether each call is written to standard error.
    pub fn is_told(&self) -> bool {
        self.state.lock().told
    }

    /// All calls until now.
    pub fn all_calls(&self) -> u64 {
        self.state.lock().total
    }

    /// A number that is the same for two disks that were asked the same, in the same order, down to each byte.
    pub fn digest(&self) -> u64 {
        self.state.lock().digest
    }

    /// The process ends in the middle of the `n`-th call from now on, counted from 1. 0: it does not.
    pub fn end_at(&self, n: u64) {
        let mut state = self.state.lock();
        state.end_at = if n == 0 { 0 } else { state.total + n };
    }

    /// Whether the process is gone, by [`end_at`](Self::end_at) or [`kill`](Self::kill).
    pub fn is_halted(&self) -> bool {
        self.state.lock().halted
    }

    /// Fails the `n`-th call from now on, counted from 1, and every later one if `for_good`. 0 fails none.
    pub fn fail_at(&self, n: u64, failure: Failure, for_good: bool) {
        let mut state = self.state.lock();
        state.calls = 0;
        state.fail_at = n;
        state.failure = failure;
        state.for_good = for_good;
    }

    /// All files together can have so many bytes from now on, over the end of the process: what would make them longer comes as far as
    /// there is room and fails for want of more. Syncs and names need none. What is kept is not counted.
    pub fn limit(&self, bytes: Option<u64>) {
        self.state.lock().limit = bytes;
    }

    /// Bytes that all files have together.
    pub fn used(&self) -> u64 {
        self.state.lock().used()
    }

    /// At the `n`-th write from now on, counted from 1, or the `n`-th time that a file is read, something goes wrong and is
    /// not told.
    pub fn misbehave_at(&self, n: u64, misdeed: Misdeed) {
        self.state.lock().misdeed = Some((misdeed, n));
    }

    /// Whether that is still to come.
    pub fn misbehaves(&self) -> bool {
        self.state.lock().misdeed.is_some()
    }

    /// How many calls there were since.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// The process ends: what it wrote is there, and whatever is left of it can do nothing more until the next one
    /// [begins](Self::boot).
    pub fn kill(&self) {
        let mut state = self.state.lock();
        state.halted = true;
        state.next += 1;
        state.alive = state.next;
        state.fail_at = 0;
        state.end_at = 0;
        state.locked.clear();
        state.injected.ends += 1;
    }

    /// The next process begins.
    pub fn boot(&self) {
        self.state.lock().halted = false;
    }

    /// The power fails, and the process ends with it: what was not synced is there or not, as the dice fall.
    pub fn lose_power(&self, dice: &mut Dice) {
        self.kill();
        let mut state = self.state.lock();
        let State { nodes, injected, .. } = &mut *state;
        injected.power += 1;
        for node in nodes.values_mut() {
            match node {
                Node::File {
                    now, synced, writes, ..
                } => {
                    settle(synced, writes, dice, injected);
                    now.clone_from(synced);
                }
                Node::Folder { now, synced, changes } => {
                    settle_names(synced, std::mem::take(changes), dice, injected);
                    now.clone_from(synced);
                }
            }
        }
        state.forget_unnamed();
    }

    /// The files below a folder, in order.
    pub fn files(&self, folder: &Path) -> Vec<PathBuf> {
        let state = self.state.lock();
        let mut found = Vec::new();
        let mut left = vec![folder.to_path_buf()];
        while let Some(path) = left.pop() {
            match state.find(&path).ok().and_then(|id| state.nodes.get(&id)) {
                Some(Node::Folder { now, .. }) => left.extend(now.keys().rev().map(|name| path.join(name))),
                Some(Node::File { .. }) => found.push(path),
                None => {}
            }
        }
        found.sort();
        found
    }

    /// Flips one bit of a file, on disk and for readers.
    ///
    /// # Errors
    /// If the file is not there or shorter.
    pub fn flip(&self, path: &Path, byte: usize, bit: u8) -> io::Result<()> {
        self.edit(path, &mut |bytes| {
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
        })?;
        self.state.lock().injected.flips += 1;
        Ok(())
    }

    /// Cuts a file off.
    ///
    /// # Errors
    /// If it is not there.
    pub fn cut(&self, path: &Path, len: usize) -> io::Result<()> {
        self.edit(path, &mut |bytes| bytes.truncate(len))?;
        self.state.lock().injected.cuts += 1;
        Ok(())
    }

    /// Gives a file the content that it had before, where it was there then.
    ///
    /// # Errors
    /// If it is not there now.
    pub fn roll_back(&self, path: &Path, earlier: &BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
        match earlier.get(path) {
            Some(old) => self.edit(path, &mut |bytes| bytes.clone_from(old))?,
            None => return Ok(()),
        }
        self.state.lock().injected.rolled_back += 1;
        Ok(())
    }

    /// A disk of its own with the same on it.
    pub fn copy(&self) -> Self {
        Self {
            state: Mutex::new(self.state.lock().clone()),
            stepped: AtomicBool::new(self.stepped.load(Ordering::Relaxed)),
            touched: Touched::default(),
        }
    }

    /// Gives a file another content.
    ///
    /// # Errors
    /// If it is not there.
    pub fn replace(&self, path: &Path, content: Vec<u8>) -> io::Result<()> {
        self.edit(path, &mut |bytes| bytes.clone_from(&content))
    }

    /// Takes a file away.
    ///
    /// # Errors
    /// If it is not there.
    pub fn erase(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.content(path)?;
        let (folder, name) = state.place(path)?;
        state.change(folder, vec![(name.clone(), None)])?;
        if let Some(Node::Folder { synced, .. }) = state.nodes.get_mut(&folder) {
            synced.remove(&name);
        }
        state.injected.erased += 1;
        Ok(())
    }

    /// What all files below a folder hold, for [`roll_back`](Self::roll_back).
    pub fn contents(&self, folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let read = |path: PathBuf| Some((path.clone(), self.state.lock().content(&path).ok()?.clone()));
        self.files(folder).into_iter().filter_map(read).collect()
    }

    fn edit(&self, path: &Path, change: &mut dyn FnMut(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.state.lock();
        let id = state.find(path)?;
        match state.nodes.get_mut(&id) {
            Some(Node::File {
                now,
                synced,
                writes,
                changes,
            }) => {
                changes.fetch_add(1, Ordering::AcqRel);
                change(now);
                synced.clone_from(now);
                writes.clear();
                Ok(())
            }
            _ => Err(Errno::ISDIR.into()),
        }
    }
}

/// The parts of a file that is open.
struct OpenFile<'a> {
    now: &'a mut Vec<u8>,
    synced: &'a mut Vec<u8>,
    writes: &'a mut Vec<(usize, Vec<u8>)>,
    changes: &'a Arc<AtomicU64>,
}

/// Puts on disk of what was written what the dice choose.
fn settle(synced: &mut Vec<u8>, writes: &mut Vec<(usize, Vec<u8>)>, dice: &mut Dice, injected: &mut Injected) {
    // Sometimes nearly all, sometimes nearly none.
    let bias = dice.below(5);
    for (at, bytes) in writes.drain(..) {
        let mut done = 0;
        while done < bytes.len() {
            let from = at + done;
            let n = (SECTOR - from % SECTOR).min(bytes.len() - done);
            if dice.below(4) >= bias {
                // Torn at any byte.
                let whole = if dice.below(16) == 0 {
                    injected.sectors_torn += 1;
                    dice.below(n as u64) as usize
                } else {
                    n
                };
                if synced.len() < from + whole {
                    synced.resize(from + whole, 0);
                }
                synced[from..from + whole].copy_from_slice(&bytes[done..done + whole]);
            } else {
                injected.sectors_lost += 1;
            }
            done += n;
        }
    }
}

fn settle_names(
    synced: &mut BTreeMap<OsString, u64>,
    changes: Vec<Vec<Edge>>,
    dice: &mut Dice,
    injected: &mut Injected,
) {
    let ordered = dice.below(2) == 0;
    let until = dice.below(changes.len() as u64 + 1) as usize;
    for (i, change) in changes.into_iter().enumerate() {
        if if ordered { i < until } else { dice.below(2) == 0 } {
            apply(synced, change);
        } else {
            injected.names_lost += 1;
        }
    }
}

fn apply(names: &mut BTreeMap<OsString, u64>, change: Vec<Edge>) {
    for (name, node) in change {
        match node {
            Some(node) => names.insert(name, node),
            None => names.remove(&name),
        };
    }
}

impl State {
    /// Counts a call; whether it fails.
    fn call(&mut self, needs: Needs) -> io::Result<()> {
        if self.halted {
            return Err(io::Error::other("the process is gone"));
        }
        if self.observed {
            return Ok(());
        }
        self.calls += 1;
        self.total += 1;
        if self.total == self.end_at {
            self.halted = true;
            return Err(io::Error::other("the process ends"));
        }
        let due = self.calls == self.fail_at || (self.for_good && self.calls > self.fail_at);
        let errno = match self.failure {
            _ if self.fail_at == 0 || !due => return Ok(()),
            Failure::Io => Errno::IO,
            Failure::Full if needs == Needs::Room => Errno::NOSPC,
            Failure::ReadOnly if needs != Needs::Nothing => Errno::ROFS,
            Failure::Full | Failure::ReadOnly => return Ok(()),
        };
        match self.failure {
            Failure::Full => self.injected.full += 1,
            Failure::Io | Failure::ReadOnly => self.injected.io += 1,
        }
        if self.told {
            eprintln!("{}: fails", self.total);
        }
        Err(errno.into())
    }

    fn used(&self) -> u64 {
        let len = |node: &Node| match node {
            Node::File { now, .. } => now.len() as u64,
            Node::Folder { .. } => 0,
        };
        self.nodes.values().map(len).sum()
    }

    /// Up to where a file may be written that is to have `end` bytes, or more.
    ///
    /// # Errors
    /// If that is not to its end.
    fn room(&mut self, file: &File, end: usize) -> Result<(), (usize, io::Error)> {
        let Some(limit) = self.limit else { return Ok(()) };
        let free = limit.saturating_sub(self.used()) as usize;
        let len = self.open_file(file).map_or(0, |file| file.now.len());
        if end <= len + free {
            return Ok(());
        }
        self.injected.full += 1;
        Err((len + free, Errno::NOSPC.into()))
    }

    /// Notes what a call is given.
    fn note(&mut self, call: &str, path: &Path, number: u64, bytes: &[u8]) {
        if self.halted || self.observed {
            return;
        }
        if self.told {
            eprintln!(
                "{}: {call} {} {number}, {} bytes",
                self.total + 1,
                path.display(),
                bytes.len()
            );
        }
        let parts: [&[u8]; 4] = [
            call.as_bytes(),
            path.as_os_str().as_encoded_bytes(),
            &number.to_le_bytes(),
            bytes,
        ];
        let sums = parts.iter().fold(0, |sum, part| crc32c::crc32c_append(sum, part));
        let len: usize = parts.iter().map(|part| part.len()).sum();
        // Both halves of the sum, so that no two calls in a row can take each other back.
        self.digest = (self.digest.rotate_left(17) ^ u64::from(sums) ^ ((len as u64) << 32))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ self.total;
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        let mut at = ROOT;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            match self.nodes.get(&at) {
                Some(Node::Folder { now, .. }) => at = *now.get(name).ok_or(Errno::NOENT)?,
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        Ok(at)
    }

    fn content(&self, path: &Path) -> io::Result<&Vec<u8>> {
        match self.nodes.get(&self.find(path)?) {
            Some(Node::File { now, .. }) => Ok(now),
            _ => Err(Errno::ISDIR.into()),
        }
    }

    /// The folder that a path is in, and its name there.
    fn place(&self, path: &Path) -> io::Result<(u64, OsString)> {
        let name = path.file_name().ok_or(Errno::INVAL)?.to_owned();
        Ok((self.find(path.parent().unwrap_or(Path::new("")))?, name))
    }

    /// Changes names in one folder, in one step.
    fn change(&mut self, folder: u64, change: Vec<Edge>) -> io::Result<()> {
        match self.nodes.get_mut(&folder) {
            Some(Node::Folder { now, changes, .. }) => {
                apply(now, change.clone());
                changes.push(change);
                Ok(())
            }
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<u64> {
        let (folder, name) = self.place(path)?;
        if self.find(path).is_ok() {
            return Err(Errno::EXIST.into());
        }
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        self.change(folder, vec![(name, Some(id))])?;
        Ok(id)
    }

    /// The file of an open handle.
    fn open_file(&mut self, file: &File) -> io::Result<OpenFile<'_>> {
        let File::Simulated { node, opened } = file else {
            return Err(io::Error::other("not a file of this disk"));
        };
        if *opened < self.alive {
            return Err(io::Error::other("the process that opened it is gone"));
        }
        match self.nodes.get_mut(node) {
            Some(Node::File {
                now,
                synced,
                writes,
                changes,
            }) => Ok(OpenFile {
                now,
                synced,
                writes,
                changes,
            }),
            _ => Err(Errno::BADF.into()),
        }
    }

    /// What is done wrong at this call, if it is one of those at which that may be.
    fn misdeed_now(&mut self, here: impl Fn(Misdeed) -> bool) -> Option<Misdeed> {
        let (misdeed, left) = self.misdeed.as_mut().filter(|(misdeed, _)| here(*misdeed))?;
        *left -= 1;
        let misdeed = (*left == 0).then_some(*misdeed);
        if misdeed.is_some() {
            self.misdeed = None;
        }
        misdeed
    }

    /// Puts a write into another file, of which nobody knows.
    fn misdirect(&mut self, file: &File, bytes: &[u8], at: usize) {
        let File::Simulated { node: own, .. } = file else {
            return;
        };
        let long = |node: &Node| matches!(node, Node::File { synced, .. } if synced.len() >= at + bytes.len());
        let others = self.nodes.iter_mut().filter(|(id, node)| *id != own && long(node));
        if let Some((_, Node::File { synced, .. })) = others.last() {
            synced[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    fn forget_unnamed(&mut self) {
        let mut named = vec![ROOT];
        let mut at = 0;
        while at < named.len() {
            if let Some(Node::Folder { now, .. }) = self.nodes.get(&named[at]) {
                named.extend(now.values());
            }
            at += 1;
        }
        named.sort_unstable();
        self.nodes.retain(|id, _| named.binary_search(id).is_ok());
    }
}

impl Files for SimulatedDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<File> {
        let mut state = self.state.lock();
        state.note("open", path, mode as u64, &[]);
        state.call(match mode {
            Mode::Create => Needs::Room,
            Mode::Write => Needs::Change,
            Mode::Read => Needs::Nothing,
        })?;
        let node = match mode {
            Mode::Create => {
                let file = Node::File {
                    now: Vec::new(),
                    synced: Vec::new(),
                    writes: Vec::new(),
                    changes: Arc::default(),
                };
                state.add(path, file)?
            }
            _ => state.content(path).and_then(|_| state.find(path))?,
        };
        let opened = state.next;
        Ok(File::Simulated { node, opened })
    }

    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.note("write", path, at, bytes);
        let was_halted = state.halted;
        let mut failed = state.call(Needs::Room);
        let mut most = bytes.len();
        if failed.is_ok()
            && let Err((until, full)) = state.room(file, at as usize + bytes.len())
        {
            most = until.saturating_sub(at as usize).min(bytes.len());
            failed = Err(full);
        }
        // A write that fails has come some of the way.
        let done = match failed {
            Ok(()) => bytes.len(),
            Err(_) if most < bytes.len() => most,
            Err(_) if was_halted => 0,
            Err(_) => state.dice.below(bytes.len() as u64 + 1) as usize,
        };
        let at = at as usize;
        let misdeed = state.misdeed_now(|misdeed| misdeed != Misdeed::Stale);
        if misdeed == Some(Misdeed::Misdirected) {
            state.misdirect(file, bytes, at);
        }
        let OpenFile {
            now, writes, changes, ..
        } = state.open_file(file)?;
        if done > 0 {
            changes.fetch_add(1, Ordering::AcqRel);
            if now.len() < at + done {
                now.resize(at + done, 0);
            }
            now[at..at + done].copy_from_slice(&bytes[..done]);
            match misdeed {
                None => writes.push((at, bytes[..done].to_vec())),
                Some(Misdeed::Misplaced(further)) => writes.push((at + further, bytes[..done].to_vec())),
                Some(_) => {}
            }
        }
        failed
    }

    fn allocate(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.note("allocate", path, len, &[]);
        state.call(Needs::Room)?;
        state.room(file, len as usize).map_err(|(_, full)| full)?;
        let now = state.open_file(file)?.now;
        if now.len() < len as usize {
            now.resize(len as usize, 0);
        }
        Ok(())
    }

    /// Counts, but keeps no room: a later write may fail for want of it all the same.
    fn keep_room(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.note("keep room", path, len, &[]);
        state.call(Needs::Room)?;
        state.room(file, len as usize).map_err(|(_, full)| full)?;
        state.open_file(file).map(|_| ())
    }

    fn shorten(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.note("shorten", path, len, &[]);
        state.call(Needs::Change)?;
        let len = len as usize;
        let OpenFile {
            now, writes, changes, ..
        } = state.open_file(file)?;
        changes.fetch_add(1, Ordering::AcqRel);
        now.truncate(len);
        for (at, bytes) in &mut *writes {
            bytes.truncate(len.saturating_sub(*at));
        }
        Ok(())
    }

    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.note("sync", path, 0, &[]);
        let failed = state.call(Needs::Room);
        if state.halted {
            return failed;
        }
        let mut dice = state.dice.clone();
        let mut injected = state.injected;
        let OpenFile {
            now, synced, writes, ..
        } = state.open_file(file)?;
        if failed.is_ok() {
            // What an earlier sync failed to write is not written again, though readers see it.
            for (at, bytes) in writes.drain(..) {
                if synced.len() < at + bytes.len() {
                    synced.resize(at + bytes.len(), 0);
                }
                synced[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            if synced.len() < now.len() {
                synced.resize(now.len(), 0);
            }
            synced.truncate(now.len());
        } else {
            settle(synced, writes, &mut dice, &mut injected);
        }
        state.dice = dice;
        state.injected = injected;
        failed
    }

    fn map(&self, file: &File, path: &Path, need: usize, _planned: usize) -> io::Result<Map> {
        let mut state = self.state.lock();
        state.note("map", path, need as u64, &[]);
        state.call(Needs::Nothing)?;
        let stale = state.misdeed_now(|misdeed| misdeed == Misdeed::Stale).is_some();
        let OpenFile { now, changes, .. } = state.open_file(file)?;
        let mut copy = now.clone();
        if stale {
            copy.truncate(now.len() / 2);
        }
        if copy.len() < need {
            copy.resize(need, 0);
        }
        let (made, changes) = (changes.load(Ordering::Acquire), changes.clone());
        let pages = Pages {
            node: match file {
                File::Simulated { node, .. } => *node,
                File::Real(_) => ROOT,
            },
            touched: self.touched.clone(),
        };
        Ok(Map::Copy(copy, made, changes, pages))
    }

    fn is_cold_when_closed(&self) -> bool {
        self.touched.lock().is_some()
    }

    fn touch(&self, file: &File, at: u64, len: u64) -> io::Result<()> {
        self.state.lock().call(Needs::Nothing)?;
        if let (File::Simulated { node, .. }, Some(touched)) = (file, &mut *self.touched.lock()) {
            let (at, len) = (at as usize, len as usize);
            touched.extend((at / PAGE..(at + len).div_ceil(PAGE)).map(|page| (*node, page)));
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state.lock();
        state.note("read", path, 0, &[]);
        state.call(Needs::Nothing)?;
        state.content(path).cloned()
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.note("len", path, 0, &[]);
        state.call(Needs::Nothing)?;
        Ok(state.content(path)?.len() as u64)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = self.state.lock();
        state.note("list", dir, 0, &[]);
        state.call(Needs::Nothing)?;
        match state.nodes.get(&state.find(dir)?) {
            Some(Node::Folder { now, .. }) => Ok(now.keys().map(|name| dir.join(name)).collect()),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    fn is_dir(&self, path: &Path) -> bool {
        let state = self.state.lock();
        let id = state.find(path).ok();
        id.is_some_and(|id| matches!(state.nodes.get(&id), Some(Node::Folder { .. })))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.note("sync dir", path, 0, &[]);
        state.call(Needs::Room)?;
        let id = state.find(path)?;
        match state.nodes.get_mut(&id) {
            Some(Node::Folder { now, synced, changes }) => {
                synced.clone_from(now);
                changes.clear();
                Ok(())
            }
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.note("create dir", path, 0, &[]);
        state.call(Needs::Room)?;
        state.add(path, Node::folder()).map(|_| ())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.note("rename", from, 0, to.as_os_str().as_encoded_bytes());
        state.call(Needs::Change)?;
        let id = state.find(from)?;
        let ((folder, from), (other, to)) = (state.place(from)?, state.place(to)?);
        if folder == other {
            return state.change(folder, vec![(from, None), (to, Some(id))]);
        }
        // On disk in one step in no file system's promise; so the new name first.
        state.change(other, vec![(to, Some(id))])?;
        state.change(folder, vec![(from, None)])
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.note("remove", path, 0, &[]);
        state.call(Needs::Change)?;
        state.content(path)?;
        let (folder, name) = state.place(path)?;
        state.change(folder, vec![(name, None)])
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.note("remove dir", path, 0, &[]);
        state.call(Needs::Change)?;
        match state.nodes.get(&state.find(path)?) {
            Some(Node::Folder { now, .. }) if now.is_empty() => {}
            Some(Node::Folder { .. }) => return Err(Errno::NOTEMPTY.into()),
            _ => return Err(Errno::NOTDIR.into()),
        }
        let (folder, name) = state.place(path)?;
        state.change(folder, vec![(name, None)])
    }

    /// Of this process and no other: a store that was not let go of cannot be opened again.
    fn lock(&self, path: &Path, shared: bool) -> io::Result<Option<Lock>> {
        let mut state = self.state.lock();
        if state.locked.get(path).is_some_and(|lock| lock.upgrade().is_some()) {
            return match shared {
                true => Ok(None),
                false => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let lock = Arc::new(());
        state.locked.insert(path.to_owned(), Arc::downgrade(&lock));
        Ok(Some(Box::new(lock)))
    }

    fn background(&self) -> Background {
        match self.stepped.load(Ordering::Relaxed) {
            true => Background::Stepped,
            false => Background::Nobody,
        }
    }
}
