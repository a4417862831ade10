//! `weir diff`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use weir_compaction::diff::{Options, diff};

use super::bar::Bar;
use super::server::only_a_store;
use super::{DAMAGED, Failure, print};

/// Compare two stores: streams, configurations, messages one by one, and where consumers are.
///
/// Changes nothing. How messages are kept (backend, compression, durability, index) is no difference, nor is when a stream or a
/// consumer was made.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weir diff /var/lib/weir /mnt/copy
  weir diff /var/lib/weir /mnt/copy --stream ORDERS --json | jq '.streams[].first'

Exit code: 0 they are the same; 1 they were not compared: wrong arguments, no store there, neither has such a stream, or a server has
one of them open; 2 they are different.

With --json an error is an object of JSON on the standard error: error, remedy, exit.")]
pub struct DiffArgs {
    /// A store: a server's store directory (its -sd or store_dir), or the folder `weir` in it
    a: PathBuf,
    /// Another
    b: PathBuf,
    /// Only the streams of this name
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

pub fn run(args: DiffArgs) -> Result<ExitCode, Failure> {
    for store in [&args.a, &args.b] {
        only_a_store(
            store,
            "compared",
            "stop it first, or compare a copy of its directory, or backups that `weir import` brings into a store",
        )?;
    }
    let options = Options { stream: args.stream };
    let bar = Bar::counting("messages");
    let report = diff(&args.a, &args.b, &options, Some(bar.teller()));
    bar.finish();
    let report = report?;
    print(&report, args.json, report.to_text())?;
    Ok(match report.is_different() {
        true => ExitCode::from(DAMAGED),
        false => ExitCode::SUCCESS,
    })
}
