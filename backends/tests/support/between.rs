//! What stands between the engine and a backend, for tests: all goes through, but for what a test's [`Rules`] say.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use weir_engine::{
    Backend, Compression, Direction, Entry, Extent, Kv, KvWrite, Log, LogChange, LogId, LogOptions, LogReader, Lost,
    Recovery, Result, Seq, SyncBeside, Upkeep, VisitKey, VisitRecord, Want,
};

/// A change of a log that the engine asks for.
#[derive(Clone, Copy)]
pub enum Change<'a> {
    Write(&'a LogChange<'a>),
    Reserve(u64),
    Truncate(Seq),
    Sync,
}

impl Change<'_> {
    /// Carries it out.
    pub fn on(self, log: &mut dyn Log) -> Result<()> {
        match self {
            Self::Write(change) => log.write(change),
            Self::Reserve(bytes) => log.reserve(bytes),
            Self::Truncate(last) => log.truncate(last),
            Self::Sync => log.sync(),
        }
    }
}

/// What does not simply go through. Each call that a test has nothing to say about does what the backend does.
pub trait Rules: Send + Sync + 'static {
    /// Whether something happens that may leave a trace in storage: each such thing goes through this, and then has the rule
    /// of its own.
    fn ask<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        work()
    }

    /// Whether a log may be opened.
    fn open(&self, _id: LogId) -> Result<()> {
        Ok(())
    }

    /// Changes a log. `broken` is the test's own, and false in a log that was just opened.
    fn change(&self, _id: LogId, _broken: &mut bool, log: &mut dyn Log, change: Change<'_>) -> Result<()> {
        change.on(log)
    }

    /// How a log is synced beside whoever writes to it; as it is, not at all, so that all syncs are changes.
    fn sync_beside(&self, _id: LogId, _sync: SyncBeside) -> Option<SyncBeside> {
        None
    }

    /// Whether a record can be read; scans pass over one that cannot.
    fn read(&self, _id: LogId, _seq: Seq) -> Result<()> {
        Ok(())
    }

    /// A key or a record is looked at.
    fn look(&self) {}

    fn put_all(&self, kv: &dyn Kv, writes: &[KvWrite]) -> Result<()> {
        kv.put_all(writes)
    }

    fn sync(&self, backend: &dyn Backend) -> Result<()> {
        backend.sync()
    }
}

/// A backend under a test's rules.
pub fn under<R: Rules>(inner: Arc<dyn Backend>, rules: Arc<R>) -> Arc<dyn Backend> {
    Arc::new(Between { inner, rules })
}

struct Between<R> {
    inner: Arc<dyn Backend>,
    rules: Arc<R>,
}

impl<R: Rules> Backend for Between<R> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn persistent(&self) -> bool {
        self.inner.persistent()
    }

    fn atomic_kv(&self) -> bool {
        self.inner.atomic_kv()
    }

    fn open(&self, id: LogId, options: &LogOptions) -> Result<(Box<dyn Log>, Recovery)> {
        self.rules.open(id)?;
        let (inner, recovery) = self.rules.ask(|| self.inner.open(id, options))?;
        let log = BetweenLog {
            inner,
            id,
            rules: self.rules.clone(),
            broken: false,
            met: Arc::default(),
        };
        Ok((Box::new(log), recovery))
    }

    fn list(&self) -> Result<Vec<LogId>> {
        self.inner.list()
    }

    fn label(&self, id: LogId) -> Result<Option<Bytes>> {
        self.inner.label(id)
    }

    fn remove(&self, id: LogId) -> Result<()> {
        self.rules.ask(|| self.inner.remove(id))
    }

    fn kv(&self) -> Arc<dyn Kv> {
        Arc::new(BetweenKv {
            inner: self.inner.kv(),
            rules: self.rules.clone(),
        })
    }

    fn sync(&self) -> Result<()> {
        self.rules.ask(|| self.rules.sync(self.inner.as_ref()))
    }

    fn lost(&self) -> Vec<String> {
        self.inner.lost()
    }
}

struct BetweenLog<R> {
    inner: Box<dyn Log>,
    id: LogId,
    rules: Arc<R>,
    broken: bool,
    /// The records that could not be read when somebody tried.
    met: Arc<Mutex<BTreeSet<Seq>>>,
}

impl<R: Rules> BetweenLog<R> {
    fn change(&mut self, change: Change<'_>) -> Result<()> {
        let (id, broken, log) = (self.id, &mut self.broken, self.inner.as_mut());
        self.rules.ask(|| self.rules.change(id, broken, log, change))
    }
}

impl<R: Rules> Log for BetweenLog<R> {
    fn write(&mut self, change: &LogChange<'_>) -> Result<()> {
        self.change(Change::Write(change))
    }

    fn reserve(&mut self, bytes: u64) -> Result<()> {
        self.change(Change::Reserve(bytes))
    }

    fn truncate(&mut self, last: Seq) -> Result<()> {
        self.change(Change::Truncate(last))
    }

    fn sync(&mut self) -> Result<()> {
        self.change(Change::Sync)
    }

    fn sync_beside(&self) -> Option<SyncBeside> {
        self.rules.sync_beside(self.id, self.inner.sync_beside()?)
    }

    fn upkeep(&mut self) -> Result<Option<Box<dyn Upkeep>>> {
        self.rules.ask(|| self.inner.upkeep())
    }

    fn compact(&mut self, compression: Option<Compression>, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        self.rules.ask(|| self.inner.compact(compression, progress))
    }

    fn last_change(&self) -> u64 {
        self.inner.last_change()
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(BetweenReader {
            inner: self.inner.reader(),
            id: self.id,
            rules: self.rules.clone(),
            met: self.met.clone(),
        })
    }
}

struct BetweenReader<R> {
    inner: Arc<dyn LogReader>,
    id: LogId,
    rules: Arc<R>,
    met: Arc<Mutex<BTreeSet<Seq>>>,
}

impl<R: Rules> BetweenReader<R> {
    fn read(&self, seq: Seq) -> Result<()> {
        self.rules.look();
        self.rules.read(self.id, seq).inspect_err(|_| {
            self.met.lock().insert(seq);
        })
    }
}

impl<R: Rules> LogReader for BetweenReader<R> {
    fn extent(&self) -> Extent {
        self.inner.extent()
    }

    fn lost(&self) -> Vec<Lost> {
        self.inner.lost()
    }

    fn get(&self, seq: Seq) -> Result<Option<Entry>> {
        let entry = self.inner.get(seq)?;
        if entry.is_some() {
            self.read(seq)?;
        }
        Ok(entry)
    }

    fn scan(&self, range: RangeInclusive<Seq>, want: Want, direction: Direction, visit: VisitRecord<'_>) -> Result<()> {
        self.inner
            .scan(range, want, direction, &mut |entry| match self.read(entry.seq) {
                Ok(()) => visit(entry),
                Err(_) => ControlFlow::Continue(()),
            })
    }

    fn damaged(&self, range: RangeInclusive<Seq>) -> Vec<(Seq, Seq)> {
        let mut all = self.inner.damaged(range.clone());
        all.extend(self.met.lock().range(range).map(|seq| (*seq, *seq)));
        all.sort_unstable();
        all
    }
}

struct BetweenKv<R> {
    inner: Arc<dyn Kv>,
    rules: Arc<R>,
}

impl<R: Rules> Kv for BetweenKv<R> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.rules.look();
        self.inner.get(key)
    }

    fn put_all(&self, writes: &[KvWrite]) -> Result<()> {
        self.rules.ask(|| self.rules.put_all(self.inner.as_ref(), writes))
    }

    fn scan(&self, prefix: &[u8], from: Option<&[u8]>, visit: VisitKey<'_>) -> Result<()> {
        self.inner.scan(prefix, from, &mut |key, value| {
            self.rules.look();
            visit(key, value)
        })
    }

    fn remove_prefix(&self, prefix: &[u8]) -> Result<()> {
        self.rules.ask(|| self.inner.remove_prefix(prefix))
    }
}
