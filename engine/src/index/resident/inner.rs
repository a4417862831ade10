//! All that a resident index has, subject by subject.

use std::ops::ControlFlow;

use super::Resident;
use crate::error::Result;
use crate::index::SubjectInfo;
use crate::types::{NanoTime, Seq};

/// The place of a subject that is not among those.
const ELSEWHERE: u32 = u32::MAX;

/// Sees a subject, and the sequences of its messages between the first and the last.
pub type VisitInner<'a> = &'a mut dyn FnMut(&[u8], SubjectInfo, &mut dyn Iterator<Item = Seq>) -> Result<()>;

impl Resident {
    /// Visits each subject in the order of their bytes. About `at_once` messages, of 16 bytes each, are put in the order of their
    /// subjects at a time; a subject that has more stands alone.
    ///
    /// # Errors
    /// The first of the visits.
    pub fn each_inner(&self, at_once: u64, visit: VisitInner<'_>) -> Result<()> {
        let mut places = vec![ELSEWHERE; self.subjects.ids()];
        let mut after = Vec::new();
        loop {
            let (mut ids, mut count) = (Vec::new(), 0);
            let _: ControlFlow<()> = self.subjects.matching_after(b">", &after, |_, id| {
                let own = self.subjects.get(id).count;
                if count + own > at_once && !ids.is_empty() {
                    return ControlFlow::Break(());
                }
                count += own;
                ids.push(id);
                ControlFlow::Continue(())
            });
            let Some(last) = ids.last() else { return Ok(()) };
            after = self.subjects.name(*last).to_vec();
            match ids[..] {
                [id] => self.visit_alone(id, visit)?,
                _ => self.visit_some(&ids, &mut places, visit)?,
            }
        }
    }

    fn visit_alone(&self, id: u32, visit: VisitInner<'_>) -> Result<()> {
        let info = self.info_of(id);
        let mut next = info.first;
        let mut inner = std::iter::from_fn(|| {
            next = self.next_of(id, next + 1)?;
            (next < info.last).then_some(next)
        });
        visit(self.subjects.name(id), info, &mut inner)
    }

    fn visit_some(&self, ids: &[u32], places: &mut [u32], visit: VisitInner<'_>) -> Result<()> {
        for (place, id) in (0..).zip(ids) {
            places[*id as usize] = place;
        }
        let mut found: Vec<(u32, Seq)> = Vec::new();
        for (&number, chunk) in &self.chunks {
            chunk.postings.each_within(0, u16::MAX, |id, at| {
                let place = places[id as usize];
                if place != ELSEWHERE {
                    found.push((place, self.size.seq(number, at)));
                }
            });
        }
        // One that is alone of its subject in a chunk is told twice.
        found.sort_unstable();
        found.dedup();
        let mut rest = found.iter().peekable();
        for (place, id) in (0..).zip(ids) {
            places[*id as usize] = ELSEWHERE;
            let info = self.info_of(*id);
            let own = std::iter::from_fn(|| rest.next_if(|(of, _)| *of == place)).map(|(_, seq)| *seq);
            let mut inner = own.filter(|seq| *seq != info.first && *seq != info.last);
            visit(self.subjects.name(*id), info, &mut inner)?;
            // What the visit left.
            inner.for_each(drop);
        }
        Ok(())
    }

    /// Visits the endings of messages, in order.
    ///
    /// # Errors
    /// The first of the visits.
    pub fn each_ending(&self, visit: &mut dyn FnMut(NanoTime, Seq) -> Result<()>) -> Result<()> {
        self.endings.iter().try_for_each(|(at, seq)| visit(*at, *seq))
    }
}
