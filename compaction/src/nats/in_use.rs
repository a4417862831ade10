//! Whether a process has a file of the store open. nats-server takes no lock. It keeps the block that it writes to open,
//! so this sees one that has written to a stream of late; not one that is idle since it was started. It sees none but on
//! Linux, and none whose files this process may not look at.

use std::path::{Path, PathBuf};

/// A process that has a file below a folder open, and the file.
#[cfg(target_os = "linux")]
pub(super) fn user_of(folder: &Path) -> Option<(u32, PathBuf)> {
    let folder = folder.canonicalize().ok()?;
    let own = std::process::id();
    // This program only reads, in another process too; and one that is just being started has what is open here for a moment.
    let program = std::fs::read_link("/proc/self/exe").ok();
    let is_other = |process: &Path| program.is_none() || std::fs::read_link(process.join("exe")).ok() != program;
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .filter(|(pid, process)| *pid != own && is_other(process))
        .find_map(|(pid, process): (u32, PathBuf)| {
            let open = std::fs::read_dir(process.join("fd")).ok()?.flatten();
            open.filter_map(|link| std::fs::read_link(link.path()).ok())
                // A folder may be open in a shell or a file manager.
                .find(|file| file.starts_with(&folder) && file.is_file())
                .map(|file| (pid, file))
        })
}

/// Not seen here.
#[cfg(not(target_os = "linux"))]
pub(super) fn user_of(_folder: &Path) -> Option<(u32, PathBuf)> {
    None
}
