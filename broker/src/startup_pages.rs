//! Giving back the pages of code and constants that only the start needed.
//!
//! RocksDB's static initialisers, and the kernel's habit of mapping the pages around each one that is touched, leave ten
//! MiB resident that an idle server never looks at again. They are clean pages of files: dropping them costs a soft page
//! fault for each one that is needed after all.

use std::ffi::c_void;

use rustix::mm::{Advice, madvise};

/// Drops the resident pages of code and constants of the program and its libraries.
pub fn give_back() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return;
    };
    for (start, end) in maps.lines().filter_map(unwritten_part) {
        // SAFETY: the range is a private mapping of a file that nobody has ever written to, so its pages are equal to the
        // file's and are read from there again when they are next touched.
        let dropped = unsafe { madvise(start as *mut c_void, end - start, Advice::LinuxDontNeed) };
        if let Err(error) = dropped {
            tracing::debug!("pages of the start stay resident: {error}");
        }
    }
}

/// The addresses of a line of `/proc/self/maps` (`start-end permissions offset device inode path`), if it is a part of a file
/// that the loader never writes to: code, or what stands before it, which begins the file. What stands behind may have
/// been relocated and then made read-only, and must stay.
fn unwritten_part(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let begins_the_file = fields.next()?.bytes().all(|digit| digit == b'0');
    let path = fields.nth(2)?;
    let unwritten = permissions == "r-xp" || (permissions == "r--p" && begins_the_file);
    if !unwritten || !path.starts_with('/') {
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
    fn only_what_was_never_written_is_given_back() {
        for part in [
            "7f00-7f80 r-xp 00001000 08:01 42                     /usr/bin/weir-server",
            "7f00-7f80 r--p 00000000 08:01 42                     /usr/bin/weir-server",
        ] {
            assert_eq!(unwritten_part(part), Some((0x7f00, 0x7f80)), "{part}");
        }
        for other in [
            "7f00-7f80 r--p 00001000 08:01 42 /usr/bin/weir-server",
            "7f00-7f80 rwxp 00001000 08:01 42 /usr/bin/weir-server",
            "7f00-7f80 r-xp 00000000 00:00 0 [vdso]",
            "7f00-7f80 r-xp 00000000 00:00 0",
            "nonsense",
        ] {
            assert_eq!(unwritten_part(other), None, "{other}");
        }
    }

    #[test]
    fn code_still_runs_afterwards() {
        give_back();
        assert_eq!("7f".parse::<u8>().ok(), None);
    }
}
