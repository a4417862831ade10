//! The program `weir`, built beside the server.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::server::tool;

/// Runs it; how it ended, and what it printed on the standard output and the standard error.
///
/// # Errors
/// When it is not there, or prints what is no text.
pub fn weir(arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let tool = tool();
    let output = Command::new(&tool).args(arguments).output();
    let output = output.with_context(|| {
        format!(
            "running {}: build it with `cargo build --release -p weir-compaction`",
            tool.display()
        )
    })?;
    let text = |bytes| String::from_utf8(bytes).context("text");
    Ok((output.status.code(), text(output.stdout)?, text(output.stderr)?))
}

/// Runs it, and answers what it printed.
///
/// # Errors
/// When it does not end well.
pub fn well(arguments: &[&str]) -> Result<String> {
    let (code, out, told) = weir(arguments)?;
    ensure!(code == Some(0), "weir {arguments:?}: {code:?} {out} {told}");
    Ok(out)
}

/// Runs what it refuses, and says that.
///
/// # Errors
/// When it ends otherwise, or says something else.
pub fn refused(arguments: &[&str], why: &str) -> Result<()> {
    let (code, _, told) = weir(arguments)?;
    ensure!(
        code == Some(1) && told.contains(why),
        "weir {arguments:?}: {code:?} {told}"
    );
    Ok(())
}

/// A path as an argument.
///
/// # Errors
/// When it is no text.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}
