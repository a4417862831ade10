//! The conformance suite: the promises of [`crate::backend`], checked against any backend.
//!
//! ```ignore
//! #[test]
//! fn mine_conforms() {
//!     let fresh = || {
//!         let folder = tempfile::tempdir().unwrap();
//!         Store::new(move || Ok(Arc::new(MyBackend::open(folder.path())?)))
//!     };
//!     weir_engine::conformance::run(&fresh);
//!     weir_engine::conformance::model::run(&fresh, 0..20, 400);
//! }
//! ```
//!
//! Every check gets a store of its own, and says what it saw when it fails: the name of the check, the backend, and
//! the line of the promise that was broken. Checks that need the store to be opened again are passed over on a backend
//! that is not [persistent](Backend::persistent).

mod batch;
mod durable;
mod erase;
mod kv;
mod logs;
pub mod model;
mod order;
mod read;
mod readers;
mod records;
mod trim;
mod truncate;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::backend::{Backend, Direction, Log, LogOptions, LogReader, Want};
use crate::error::{Error, Kind, Result};
use crate::types::{Extent, LogId, NanoTime, Record, Seq};

/// Opens a store: the first time an empty one, later, when nothing is left of what an earlier call returned, the same
/// one again.
pub type Open = Box<dyn Fn() -> Result<Arc<dyn Backend>>>;

/// A store that a check owns.
pub struct Store {
    open: Open,
    backend: Option<Arc<dyn Backend>>,
}

impl Store {
    /// A store that `open` opens. Only a persistent backend is ever opened a second time.
    pub fn new(open: impl Fn() -> Result<Arc<dyn Backend>> + 'static) -> Self {
        Self {
            open: Box::new(open),
            backend: None,
        }
    }

    /// The backend, opened by the first call.
    fn backend(&mut self) -> Result<&dyn Backend> {
        let backend = match self.backend.take() {
            Some(backend) => backend,
            None => (self.open)()?,
        };
        Ok(&**self.backend.insert(backend))
    }

    /// Opens a log of the default kind.
    fn log(&mut self, id: u64) -> Result<Box<dyn Log>> {
        self.log_with(id, &LogOptions::default())
    }

    fn log_with(&mut self, id: u64, options: &LogOptions) -> Result<Box<dyn Log>> {
        Ok(self.backend()?.open(LogId(id), options)?.0)
    }

    /// Closes the store and opens it again, where anything is left to be opened. The caller has dropped every log,
    /// reader and key-value space of it.
    fn reopen(&mut self) -> Result<bool> {
        if !self.backend()?.persistent() {
            return Ok(false);
        }
        self.backend = None;
        self.backend()?;
        Ok(true)
    }
}

/// Why a check failed.
#[derive(Debug)]
pub struct Failure(String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        let place = std::panic::Location::caller();
        Self(format!("{place}: refused or failed: {error}"))
    }
}

/// What a check answers.
pub type Outcome = Result<(), Failure>;

/// One check: its name and what it does.
pub type Check = (&'static str, fn(&mut Store) -> Outcome);

/// Fails the check unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Failure(format!(
                "{}:{}: {}", file!(), line!(), format_args!($($what)+)
            )));
        }
    };
}

/// Fails the check unless both are equal.
macro_rules! same {
    ($left:expr, $right:expr, $($what:tt)+) => {
        match (&$left, &$right) {
            (left, right) => $crate::conformance::ensure!(
                left == right,
                "{}: {left:?}, expected {right:?}", format_args!($($what)+)
            ),
        }
    };
}

/// Fails the check unless the call is refused with an error of that kind.
macro_rules! refused {
    ($call:expr, $kind:ident, $($what:tt)+) => {
        match $call {
            Ok(_) => $crate::conformance::ensure!(false, "{}: was carried out", format_args!($($what)+)),
            Err(error) => $crate::conformance::same!(
                error.kind, $crate::error::Kind::$kind,
                "{}: refused with \"{error}\", of kind", format_args!($($what)+)
            ),
        }
    };
}

pub(crate) use {ensure, refused, same};

/// All checks, in the order in which they run.
pub fn checks() -> Vec<Check> {
    [
        order::CHECKS,
        batch::CHECKS,
        erase::CHECKS,
        trim::CHECKS,
        truncate::CHECKS,
        read::CHECKS,
        records::CHECKS,
        readers::CHECKS,
        logs::CHECKS,
        kv::CHECKS,
        durable::CHECKS,
    ]
    .concat()
}

/// Checks that run at the same time, each on its own store: most of their time is waiting for a disk.
const AT_ONCE: usize = 4;

/// Runs every check, each on a store of its own, then panics with all that failed, if any did.
///
/// # Panics
///
/// When a promise is broken, or a store cannot be opened.
pub fn run(fresh: &(dyn Fn() -> Store + Sync)) {
    let checks = checks();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some((name, check)) = checks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut backend = "?";
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let mut store = fresh();
                backend = store.backend()?.name();
                check(&mut store)
            }));
            match outcome {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => failures.lock().push(format!("{backend}: {name}: {failure}")),
                Err(_) => failures.lock().push(format!("{backend}: {name}: panicked")),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner();
    assert!(
        failures.is_empty(),
        "{} of {} checks failed:\n{}",
        failures.len(),
        checks.len(),
        failures.join("\n")
    );
}

/// A record that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rec {
    seq: Seq,
    time: NanoTime,
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Rec {
    fn borrow(&self) -> Record<'_> {
        Record {
            seq: self.seq,
            time: self.time,
            head: &self.head,
            body: &self.body,
        }
    }

    fn bytes(&self) -> u64 {
        (self.head.len() + self.body.len()) as u64
    }
}

/// A record whose every part tells its sequence.
fn rec(seq: Seq) -> Rec {
    Rec {
        seq,
        // Times neither grow with the sequences nor stay positive.
        time: (seq as i64).wrapping_mul(7_919) % 1_000 - 300,
        head: format!("head.{seq}").into_bytes(),
        body: format!("body of {seq}").into_bytes(),
    }
}

/// [`rec`] for each sequence.
fn recs(seqs: impl IntoIterator<Item = Seq>) -> Vec<Rec> {
    seqs.into_iter().map(rec).collect()
}

/// Appends the records in one batch.
fn append(log: &mut dyn Log, records: &[Rec]) -> Result<()> {
    let records: Vec<_> = records.iter().map(Rec::borrow).collect();
    log.append(&records)
}

/// Appends [`rec`] of each sequence in one batch.
fn fill(log: &mut dyn Log, seqs: impl IntoIterator<Item = Seq>) -> Result<()> {
    append(log, &recs(seqs))
}

/// What a scan hands out, bodies empty when only heads are asked for.
fn scanned(
    reader: &dyn LogReader,
    range: std::ops::RangeInclusive<Seq>,
    want: Want,
    direction: Direction,
) -> Result<Vec<Rec>, Failure> {
    let mut found = Vec::new();
    let mut wrong_length = None;
    reader.scan(range, want, direction, &mut |entry| {
        if want == Want::Full && entry.body.len() != entry.body_len as usize
            || want == Want::Heads && !entry.body.is_empty()
        {
            wrong_length = Some((entry.seq, entry.body.len(), entry.body_len));
        }
        let kept = entry.to_entry();
        found.push(Rec {
            seq: kept.seq,
            time: kept.time,
            head: kept.head.to_vec(),
            body: kept.body.to_vec(),
        });
        ControlFlow::Continue(())
    })?;
    same!(wrong_length, None, "(seq, body, body_len) of a {want:?} scan");
    Ok(found)
}

/// The sequences that a scan of heads hands out.
fn seqs(
    reader: &dyn LogReader,
    range: std::ops::RangeInclusive<Seq>,
    direction: Direction,
) -> Result<Vec<Seq>, Failure> {
    let found = scanned(reader, range, Want::Heads, direction)?;
    Ok(found.iter().map(|record| record.seq).collect())
}

/// Fails unless the log holds exactly these records, however it is read.
fn holds(reader: &dyn LogReader, last: Seq, expected: &[Rec]) -> Outcome {
    let extent = reader.extent();
    let wanted = Extent {
        first: expected.first().map_or(last.saturating_add(1), |record| record.seq),
        last,
        count: expected.len() as u64,
        bytes: expected.iter().map(Rec::bytes).sum(),
        disk_bytes: extent.disk_bytes,
        damaged: 0,
    };
    same!(extent, wanted, "extent");

    let all = 0..=Seq::MAX;
    let full = scanned(reader, all.clone(), Want::Full, Direction::Forward)?;
    same_records(&full, expected, "full scan forward")?;
    let mut back = scanned(reader, all.clone(), Want::Full, Direction::Backward)?;
    back.reverse();
    same_records(&back, expected, "full scan backward")?;
    let heads: Vec<Rec> = expected
        .iter()
        .map(|record| Rec {
            body: Vec::new(),
            ..record.clone()
        })
        .collect();
    let found = scanned(reader, all.clone(), Want::Heads, Direction::Forward)?;
    same_records(&found, &heads, "scan of heads forward")?;
    let mut back = scanned(reader, all, Want::Heads, Direction::Backward)?;
    back.reverse();
    same_records(&back, &heads, "scan of heads backward")?;

    for record in expected {
        let entry = reader.get(record.seq)?;
        let found = entry.map(|entry| Rec {
            seq: entry.seq,
            time: entry.time,
            head: entry.head.to_vec(),
            body: entry.body.to_vec(),
        });
        ensure!(
            found.as_ref() == Some(record),
            "get({}) is not what was written",
            record.seq
        );
    }
    // Around each record, and at the edges, there is nothing else.
    let live = |seq: Seq| expected.binary_search_by_key(&seq, |record| record.seq).is_ok();
    let neighbours = expected
        .iter()
        .flat_map(|record| [record.seq.saturating_sub(1), record.seq.saturating_add(1)]);
    for seq in neighbours.chain([0, last, last.saturating_add(1), Seq::MAX]) {
        if !live(seq) {
            ensure!(reader.get(seq)?.is_none(), "get({seq}) finds a record that is not live");
        }
    }
    Ok(())
}

/// Compares without printing megabytes.
fn same_records(found: &[Rec], expected: &[Rec], what: &str) -> Outcome {
    let seqs = |records: &[Rec]| -> Vec<Seq> { records.iter().map(|r| r.seq).take(40).collect() };
    ensure!(
        found.len() == expected.len() && seqs(found) == seqs(expected),
        "{what}: {} records {:?}, expected {} records {:?}",
        found.len(),
        seqs(found),
        expected.len(),
        seqs(expected)
    );
    for (found, expected) in found.iter().zip(expected) {
        ensure!(
            found == expected,
            "{what}: record {} is not what was written (time {}, {} and {} bytes; expected {}, {} and {})",
            expected.seq,
            found.time,
            found.head.len(),
            found.body.len(),
            expected.time,
            expected.head.len(),
            expected.body.len()
        );
    }
    Ok(())
}

/// Bytes that look random and are the same each time.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut dice = model::Dice::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&dice.roll().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Whether an error says that the interface was misused.
fn is_invalid(error: &Error) -> bool {
    error.kind == Kind::Invalid
}
