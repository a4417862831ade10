//! `weir verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use weir_compaction::verify::{Options, verify};

use super::bar::Bar;
use super::server::only_a_store;
use super::{DAMAGED, Failure, print};

/// Check every checksum of a store, bodies too, and what its parts say of each other.
///
/// Reads all files from the first byte to the last and changes nothing. What is wrong is told with file, offset, stream and
/// sequence, and with what is lost.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weir verify /var/lib/weir
  weir verify /var/lib/weir --stream ORDERS
  weir verify /var/lib/weir --json | jq '.found[] | select(.standing == \"open\")'

Exit code: 0 nothing is wrong, or all that is wrong is settled (see `weir settle`) or costs nothing; 1 it was not checked: wrong
arguments, no store there, or a server has it open; 2 something is wrong.

With --json an error is an object of JSON on the standard error: error, remedy, exit.")]
pub struct VerifyArgs {
    /// The server's store directory (its -sd or store_dir), or the folder `weir` in it
    store: PathBuf,
    /// Only the streams of this name
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

pub fn run(args: VerifyArgs) -> Result<ExitCode, Failure> {
    only_a_store(
        &args.store,
        "verified",
        "stop it first, or verify a copy of its directory; its scrubber reads what is on disk meanwhile, and /healthz and the stream's info name what is lost",
    )?;
    let options = Options { stream: args.stream };
    let (opening, bytes) = (Bar::counting("messages"), Bar::bytes());
    let report = verify(&args.store, &options, Some(opening.teller()), &mut |name, done, of| {
        opening.finish();
        bytes.show(name, done, of);
    });
    opening.finish();
    bytes.finish();
    let report = report?;
    print(&report, args.json, report.to_text())?;
    Ok(match report.is_damaged() {
        true => ExitCode::from(DAMAGED),
        false => ExitCode::SUCCESS,
    })
}
