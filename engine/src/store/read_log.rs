//! Logs that are only read, because the disk cannot be written.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::backend::{Direction, Log, LogChange, LogReader, Recovery, Upkeep, VisitRecord, Want};
use crate::error::{Error, Kind, Result};
use crate::types::{Entry, Extent, Seq};

/// A log that is only read. To its stream it is one that has no room just now: what the journal has beyond it stays in memory.
pub(crate) struct ReadLog {
    reader: Arc<dyn LogReader>,
    last_change: u64,
    why: Arc<str>,
}

impl ReadLog {
    /// What came of opening a log to read it. One that need not exist and could not be opened has nothing: all of it is in the
    /// journal.
    ///
    /// # Errors
    /// As opening it had, if it must exist.
    pub fn of(
        opened: Result<(Box<dyn Log>, Recovery)>,
        existing: bool,
        why: &Arc<str>,
    ) -> Result<(Box<dyn Log>, Recovery)> {
        let (reader, last_change, recovery) = match opened {
            Ok((log, recovery)) => (log.reader(), log.last_change(), recovery),
            Err(_) if !existing => return Ok((Self::of_nothing(why), Recovery::default())),
            Err(error) => return Err(error),
        };
        let why = why.clone();
        let log = Self {
            reader,
            last_change,
            why,
        };
        Ok((Box::new(log), recovery))
    }

    /// With no records.
    pub fn of_nothing(why: &Arc<str>) -> Box<dyn Log> {
        Box::new(Self {
            reader: Arc::new(NoRecords),
            last_change: 0,
            why: why.clone(),
        })
    }

    fn refuse<T>(&self) -> Result<T> {
        Err(Error::new(Kind::Full, &*self.why))
    }
}

impl Log for ReadLog {
    fn write(&mut self, _: &LogChange<'_>) -> Result<()> {
        self.refuse()
    }

    fn truncate(&mut self, _: Seq) -> Result<()> {
        self.refuse()
    }

    fn sync(&mut self) -> Result<()> {
        self.refuse()
    }

    fn upkeep(&mut self) -> Result<Option<Box<dyn Upkeep>>> {
        self.refuse()
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        self.reader.clone()
    }

    /// What is found of the log is told by this number, whoever finds it.
    fn last_change(&self) -> u64 {
        self.last_change
    }
}

struct NoRecords;

impl LogReader for NoRecords {
    fn extent(&self) -> Extent {
        Extent::default()
    }

    fn get(&self, _: Seq) -> Result<Option<Entry>> {
        Ok(None)
    }

    fn scan(&self, _: RangeInclusive<Seq>, _: Want, _: Direction, _: VisitRecord<'_>) -> Result<()> {
        Ok(())
    }
}
