//! Giving back the pages of code that only the start needed.
//!
//! RocksDB's static initialisers, and the kernel's habit of mapping the pages around each one that is touched, leave ten
//! MiB of code resident that an idle server never runs again. They are clean pages of files: dropping them costs a soft
//! page fault for each one that is needed after all.

use std::ffi::c_void;

use rustix::mm::{Advice, madvise};

/// Drops the resident code pages of the program and its libraries.
pub fn give_back() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return;
    };
    for (start, end) in maps.lines().filter_map(code_of_a_file) {
        // SAFETY: the range is a private mapping of a file that is readable and executable and was never writable, so its
        // pages are equal to the file's and are read from there again when they are next touched.
        let dropped = unsafe { madvise(start as *mut c_void, end - start, Advice::LinuxDontNeed) };
        if let Err(error) = dropped {
            tracing::debug!("pages of code stay resident: {error}");
        }
    }
}

/// The addresses of a line of `/proc/self/maps`, if it is code of a file: `start-end r-xp offset device inode path`.
fn code_of_a_file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let path = fields.nth(3)?;
    if permissions != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    (start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_given_back() {
        let code = "7f00-7f80 r-xp 00001000 08:01 42                     /usr/bin/weir-server";
        assert_eq!(code_of_a_file(code), Some((0x7f00, 0x7f80)));
        for other in [
            "7f00-7f80 r--p 00001000 08:01 42 /usr/bin/weir-server",
            "7f00-7f80 rwxp 00001000 08:01 42 /usr/bin/weir-server",
            "7f00-7f80 r-xp 00000000 00:00 0 [vdso]",
            "7f00-7f80 r-xp 00000000 00:00 0",
            "nonsense",
        ] {
            assert_eq!(code_of_a_file(other), None, "{other}");
        }
    }

    #[test]
    fn code_still_runs_afterwards() {
        give_back();
        assert_eq!("7f".parse::<u8>().ok(), None);
    }
}
