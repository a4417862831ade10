//! The genuine nats-server, which ours is compared with: on PATH, or named by `NATS_SERVER`.

use std::path::PathBuf;
use std::process::Command;

/// The version that ours is compared with.
const VERSION: &str = "v2.15.";

/// The genuine server.
///
/// # Errors
/// Why it is not to be had.
pub fn genuine() -> Result<PathBuf, String> {
    let path = std::env::var_os("NATS_SERVER").map_or_else(|| PathBuf::from("nats-server"), PathBuf::from);
    let said = Command::new(&path).arg("--version").output();
    let said = said.map_err(|error| format!("{} does not run: {error}", path.display()))?;
    let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    if !said.contains(VERSION) {
        return Err(format!("{} is {said:?}, {VERSION}x is wanted", path.display()));
    }
    // Relative to PATH, which the server's own start does not look through.
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(&path))
        .find(|path| path.is_file());
    found.ok_or_else(|| format!("{} is not on PATH", path.display()))
}
