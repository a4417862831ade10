use std::ops::RangeInclusive;

use parking_lot::Mutex;

use super::*;
use crate::backend::VisitRecord;
use crate::types::EntryRef;

/// Records of one size, all in memory.
struct Records {
    count: Seq,
    body: Vec<u8>,
    /// Of how many it was asked at a time whether they are at hand.
    asked: Mutex<Vec<Seq>>,
}

impl Records {
    fn new(count: Seq, size: usize) -> Self {
        Self {
            count,
            body: vec![b'x'; size],
            asked: Mutex::default(),
        }
    }

    /// Reads all of them in order; answers of how many it was asked at a time.
    fn read(&self, ahead: &mut ReadAhead) -> Vec<Seq> {
        for seq in 1..=self.count {
            let read = ahead.get(self, seq, self.count, IfCold::Tell).unwrap();
            assert!(matches!(read, Loaded::There(entry) if entry.seq == seq));
        }
        std::mem::take(&mut self.asked.lock())
    }
}

impl LogReader for Records {
    fn extent(&self) -> crate::Extent {
        crate::Extent::default()
    }

    fn get(&self, seq: Seq) -> Result<Option<Entry>> {
        let mut found = None;
        self.scan(seq..=seq, Want::Full, Direction::Forward, &mut |entry| {
            found = Some(entry.to_entry());
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    fn at_hand(&self, range: RangeInclusive<Seq>) -> Option<Seq> {
        self.asked.lock().push(range.end() - range.start() + 1);
        Some(*range.end())
    }

    fn scan(&self, range: RangeInclusive<Seq>, _: Want, _: Direction, visit: VisitRecord<'_>) -> Result<()> {
        for seq in *range.start()..=(*range.end()).min(self.count) {
            let entry = EntryRef {
                seq,
                time: 0,
                head: b"h",
                body: &self.body,
                body_len: self.body.len() as u32,
                owner: None,
            };
            if visit(entry).is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[test]
fn it_is_asked_of_few_large_records_and_of_many_small_ones_whether_they_are_in_memory() {
    let mut ahead = ReadAhead::default();
    let asked = Records::new(4000, 10).read(&mut ahead);
    assert!(asked.len() < 25, "few times: {asked:?}");
    assert!(asked.contains(&(RECORDS as Seq * 2 + 1)), "{asked:?}");
    // Large ones behind them: too many are asked of once.
    ahead.last = 0;
    let asked = Records::new(400, BYTES / 4).read(&mut ahead);
    let large = asked.iter().filter(|asked| **asked > 2 * 4 + 1).count();
    assert!(large <= 1, "{asked:?}");
    assert_eq!(asked.len(), 100, "four at a time");
}
