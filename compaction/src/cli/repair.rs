//! `weir repair`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use weir_compaction::repair::{Options, repair, repair_to};

use super::bar::Bar;
use super::server::only_a_store;
use super::{DAMAGED, Failure, print};

/// Repair a store: all that can be read is served again, and nothing is destroyed.
///
/// Streams that the catalogue has lost are made anew from what their logs say of themselves; a RocksDB that does not open, or
/// compacts nothing, is put together anew; what is lost for good is noted and settled. What is bad is moved, and what changes is
/// copied, into `weir/quarantine/<time>/`, where REASON.txt says why, and how to put it back.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weir repair /var/lib/weir --dry-run
  weir repair /var/lib/weir
  weir repair /var/lib/weir --out /mnt/mended
  weir repair /var/lib/weir --forget JOBS --dry-run
  weir repair /var/lib/weir --forget JOBS

Exit code: 0 there was nothing to repair, or all is repaired; 1 nothing was done: wrong arguments, no store there, or a server has it
open; 2 something is damaged still, or, with --dry-run, now; the output names it.

With --json an error is an object of JSON on the standard error: error, remedy, exit.")]
pub struct RepairArgs {
    /// The server's store directory (its -sd or store_dir), or the folder `weir` in it
    store: PathBuf,
    /// Tell what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Let this stream, which is offline because its log (or all of RocksDB's folder) is missing, go on without its messages; its consumers
    /// go on behind them: where they were is told, by --dry-run too, and kept in quarantine. May be given several times
    #[arg(long, value_name = "NAME")]
    forget: Vec<String>,
    /// Leave the store as it is, and make a new one in this folder, which must not be there, or be empty; broken off, what there is of it
    /// is DIR.unfinished, and the next run begins anew
    #[arg(long, value_name = "DIR", conflicts_with = "dry_run")]
    out: Option<PathBuf>,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

pub fn run(args: RepairArgs) -> Result<ExitCode, Failure> {
    only_a_store(
        &args.store,
        "repaired",
        "stop it first; `weir repair --dry-run` tells what would be done",
    )?;
    let options = Options {
        dry_run: args.dry_run,
        forget: args.forget,
    };
    let bytes = Bar::bytes();
    let mut show = |name: &str, done, of| bytes.show(name, done, of);
    let report = match &args.out {
        Some(out) => repair_to(&args.store, out, &options, &mut show),
        None => repair(&args.store, &options, &mut show),
    };
    bytes.finish();
    let report = report?;
    print(&report, args.json, report.to_text())?;
    Ok(match report.is_damaged() {
        true => ExitCode::from(DAMAGED),
        false => ExitCode::SUCCESS,
    })
}
