//! Which pages of a map are in memory.

/// Pages that are asked for at once: 8 MiB, where a page has 4 KiB.
const PAGES: usize = 2048;

/// How many bytes of a map from `at` on, up to `len`, are in memory without a gap; all of them where that cannot be told.
#[allow(unsafe_code, reason = "asking for the pages of a map has no safe form")]
pub fn resident(map: &[u8], at: usize, len: usize) -> usize {
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
        }
    }
}
