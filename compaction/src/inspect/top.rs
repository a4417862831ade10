//! The subjects of a stream with the most messages.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use weir_engine::Result;
use weir_engine::stream::{Stream, SubjectPlace};

use super::report::SubjectReport;

/// Subjects that are looked at together.
const PAGE: usize = 4096;

/// The `top` subjects with the most messages, these first; of those with as many, by name.
pub(super) fn top_subjects(stream: &mut Stream, top: usize) -> Result<Vec<SubjectReport>> {
    // The least of them is the greatest here.
    let mut best = BinaryHeap::new();
    let mut place = Some(SubjectPlace::default());
    while let Some(from) = place.take() {
        let page;
        (page, place) = stream.subjects(b">", &from, PAGE)?;
        for (subject, messages) in page {
            best.push((Reverse(messages), subject));
            if best.len() > top {
                best.pop();
            }
        }
    }
    let best = best.into_sorted_vec().into_iter();
    Ok(best
        .map(|(Reverse(messages), subject)| SubjectReport {
            subject: String::from_utf8_lossy(&subject).into_owned(),
            messages,
        })
        .collect())
}
