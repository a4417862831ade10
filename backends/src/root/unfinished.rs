//! A store that a tool is making, or was when it was broken off: `DIR.unfinished`, with a file in it that says so.
//!
//! The folder gets its final name before that file goes: what has both is not whole, and the tool's next run removes it.

use std::path::Path;

use weir_engine::{Error, Kind, Result};

/// What is behind the name of the folder until it is done.
pub const ENDING: &str = ".unfinished";
/// The file in it that says what it is.
pub const MARK: &str = "UNFINISHED";

/// Whether a store directory is that of a store that was not made to its end.
pub fn is_unfinished(named: &Path) -> bool {
    // `.` has no name of its own.
    let real = named.canonicalize();
    let real = real.as_deref().unwrap_or(named);
    let name = real.file_name().unwrap_or_default().as_encoded_bytes();
    name.ends_with(ENDING.as_bytes()) && real.join(MARK).is_file()
}

/// Refuses it as a server's store directory: what came there would go with the tool's next run.
///
/// # Errors
/// [`Kind::Unsupported`] if it is one; nothing was changed.
pub fn refuse(named: &Path) -> Result<()> {
    match is_unfinished(named) {
        true => Err(Error::new(
            Kind::Unsupported,
            format!(
                "{} is a store that `weir` was making, and did not come to an end with: run that command again, which begins anew, or \
                 remove the folder",
                named.display()
            ),
        )),
        false => Ok(()),
    }
}
