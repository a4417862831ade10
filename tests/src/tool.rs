//! The program `weir`, built beside the server.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::server::tool;

/// What it reads from the environment.
const ENVIRONMENT: [&str; 7] = [
    "NATS_USER",
    "NATS_PASSWORD",
    "NATS_CREDS",
    "NATS_NKEY",
    "NATS_CERT",
    "NATS_KEY",
    "NATS_CA",
];

/// Runs it; how it ended, and what it printed on the standard output and the standard error.
///
/// # Errors
/// When it is not there, or prints what is no text.
pub fn weir(arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    weir_in(&[], arguments)
}

/// As [`weir`], with this in its environment, and nothing else there that it reads.
///
/// # Errors
/// As [`weir`].
pub fn weir_in(environment: &[(&str, &str)], arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let tool = tool();
    let mut command = Command::new(&tool);
    for name in ENVIRONMENT {
        command.env_remove(name);
    }
    let output = command.envs(environment.iter().copied()).args(arguments).output();
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
