//! `weir man`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};

use super::Failure;

/// Write the manual pages, one for each command.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weir man /usr/local/share/man/man1 && man weir-verify

Exit code: 0 they are written; 1 they are not.")]
pub struct ManArgs {
    /// The folder that they are written to; it is made if it is not there
    dir: PathBuf,
}

pub fn run(args: &ManArgs, program: Command) -> Result<ExitCode, Failure> {
    std::fs::create_dir_all(&args.dir)?;
    clap_mangen::generate_to(program, &args.dir)?;
    writeln!(io::stdout(), "The manual is in {}.", args.dir.display())?;
    Ok(ExitCode::SUCCESS)
}
