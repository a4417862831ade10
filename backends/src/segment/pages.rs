//! Which pages of a map are in memory.
//!
//! To ask the kernel costs more than to read a small message that is there. What is read again and again stays in memory, so it is asked
//! for a page [`TRUSTED`] at most.

use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Pages that are asked for at once: 8 MiB, where a page has 4 KiB.
const PAGES: usize = 2048;
/// Pages of a range that is looked for among those that were there a moment ago; of a larger one the kernel knows sooner.
const FEW: usize = 4;
/// How long what was in memory is taken to be there: up to twice as long.
const TRUSTED: Duration = Duration::from_millis(250);
/// Pages that are remembered: 64 KiB of memory, of which those are used that are written.
const REMEMBERED: usize = 8 << 10;
/// Bits of what is remembered that say when it was so.
const WHEN_BITS: u32 = 16;

/// Pages of this process that were in memory, each at a place that its address gives: its number, and when that was. What is mapped at
/// the place of something else meanwhile is read without asking once, at worst.
static SEEN: [AtomicU64; REMEMBERED] = [const { AtomicU64::new(0) }; REMEMBERED];

/// Which of the spans of [`TRUSTED`] it is, from 1 on.
fn span() -> u64 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let spans = BEGUN.elapsed().as_millis() / TRUSTED.as_millis();
    // Those of a process do not reach 2^64, and what is remembered of each is its end.
    spans as u64 + 1
}

fn remembered(page: u64, span: u64) -> u64 {
    (page << WHEN_BITS) | (span & ((1 << WHEN_BITS) - 1))
}

fn place(page: u64) -> &'static AtomicU64 {
    &SEEN[(page as usize) % REMEMBERED]
}

/// Whether these pages were in memory in this span or the one before.
fn were_there(mut pages: Range<u64>, span: u64) -> bool {
    pages.all(|page| {
        let seen = place(page).load(Ordering::Relaxed);
        seen == remembered(page, span) || seen == remembered(page, span - 1)
    })
}

fn remember(pages: Range<u64>, span: u64) {
    for page in pages {
        place(page).store(remembered(page, span), Ordering::Relaxed);
    }
}

/// How many bytes of a map from `at` on, up to `len`, are in memory without a gap; all of them where that cannot be told.
pub fn resident(map: &[u8], at: usize, len: usize) -> usize {
    let page = rustix::param::page_size();
    let end = at.saturating_add(len).min(map.len());
    let (first, behind) = (at / page, end.div_ceil(page));
    if behind.saturating_sub(first) > FEW || end <= at {
        return ask(map, at, len);
    }
    let begin = (map.as_ptr().addr() / page) as u64;
    let pages = begin + first as u64..begin + behind as u64;
    let now = span();
    if were_there(pages.clone(), now) {
        return len;
    }
    let there = ask(map, at, len);
    if there >= end - at {
        remember(pages, now);
    }
    there
}

/// The same, as the kernel says.
#[allow(unsafe_code, reason = "asking for the pages of a map has no safe form")]
fn ask(map: &[u8], at: usize, len: usize) -> usize {
    let page = rustix::param::page_size();
    let end = at.saturating_add(len).min(map.len());
    let mut there = [0u8; PAGES];
    let mut from = at / page * page;
    while from < end {
        let piece = (end - from).min(PAGES * page);
        // SAFETY: the range lies within the map, whose beginning is that of a page, and `there` has a byte for each page of it.
        let answer = unsafe {
            libc::mincore(
                map.as_ptr().add(from).cast_mut().cast(),
                piece,
                there.as_mut_ptr().cast(),
            )
        };
        if answer != 0 {
            return len;
        }
        let pages = &there[..piece.div_ceil(page)];
        if let Some(gap) = pages.iter().position(|page| page & 1 == 0) {
            return (from + gap * page).saturating_sub(at);
        }
        from += piece;
    }
    len
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn pages_that_were_just_written_are_in_memory_and_the_answer_never_exceeds_what_was_asked() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 3 << 20]).unwrap();
        #[allow(unsafe_code, reason = "mapping a file has no safe form")]
        // SAFETY: nobody else knows the file.
        let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        for (at, len) in [(0, 1), (0, 3 << 20), (4095, 2), (100_000, 2_000_000), (5, 0)] {
            assert_eq!(resident(&map, at, len), len);
            assert_eq!(resident(&map, at, len), len, "remembered");
        }
    }

    #[test]
    fn pages_are_remembered_for_a_while_each_and_not_those_that_others_took_the_place_of() {
        // Numbers that no page of this process has.
        let pages = 1 << 46..(1 << 46) + 3;
        assert!(!were_there(pages.clone(), 5));
        remember(pages.clone(), 5);
        assert!(were_there(pages.clone(), 5) && were_there(pages.clone(), 6));
        assert!(!were_there(pages.clone(), 7), "that was too long ago");
        assert!(!were_there(pages.start..pages.end + 1, 5), "one more");
        let other = pages.start + REMEMBERED as u64;
        remember(other..other + 1, 6);
        assert!(!were_there(pages.start..pages.start + 1, 6));
        assert!(were_there(pages.start + 1..pages.end, 6));
        remember(pages.clone(), 1 << WHEN_BITS);
        assert!(
            were_there(pages, (1 << WHEN_BITS) + 1),
            "over the end of what is written"
        );
    }
}
