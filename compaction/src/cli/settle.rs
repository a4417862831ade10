//! `weir settle`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use weir_compaction::settle::{Which, settle_with};

use super::Failure;
use super::server::only_a_store;

/// Settle what was found lost: you have seen it, and the store goes on without.
///
/// Until then health tells of what the store's own bookkeeping lost, a journal that has a hole is kept, and counters whose newest
/// message is lost take no more; `weir inspect` ends with 2, and shows the keys of what is not settled. What a server has not seen
/// yet is settled after its next start.
#[derive(Args)]
#[command(
    override_usage = "weir settle <STORE> <KEY>...\n       weir settle <STORE> --all",
    after_help = "\
Examples:
  weir settle /var/lib/weir journal-0-00000000000000000017
  weir settle /var/lib/weir lost-0000000000000100
  weir settle /var/lib/weir --all
  weir settle /var/lib/weir --all --verified

Exit code: 0 they are settled, or with --all there was nothing to settle; 1 nothing is settled: wrong arguments, no store there, no
such key, or a server has it open.

With --json an error is an object of JSON on the standard error: error, remedy, exit."
)]
pub struct SettleArgs {
    /// The server's store directory (its -sd or store_dir), or the folder `weir` in it
    store: PathBuf,
    #[command(flatten)]
    which: WhichArgs,
    /// Read all logs, and settle what only `weir verify` finds and costs no message as well: footers, removed messages
    #[arg(long)]
    verified: bool,
    /// Print it as JSON: what is settled
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct WhichArgs {
    /// The keys of the findings and losses, as `weir inspect` shows them in parentheses
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// All that there are
    #[arg(long)]
    all: bool,
}

pub fn run(args: SettleArgs) -> Result<ExitCode, Failure> {
    only_a_store(&args.store, "settled from here", "stop it first")?;
    let which = match args.which.all {
        true => Which::All,
        false => Which::Keys(args.which.keys),
    };
    let mut out = io::stdout().lock();
    let settled = settle_with(&args.store, &which, args.verified)?;
    if args.json {
        let settled: Vec<String> = settled.iter().map(ToString::to_string).collect();
        writeln!(out, "{}", serde_json::json!({ "settled": settled }))?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    for text in &settled {
        writeln!(out, "Settled: {text}")?;
    }
    if settled.is_empty() {
        let noted = match args.verified {
            true => {
                "lost messages that a verification finds are noted, and can be settled, once a server has met them, or by `weir repair`"
            }
            false => {
                "what an inspection finds is noted, and can be settled, once a server has started on the store; \
                 what only `weir verify` finds, and costs no message, with `--verified`"
            }
        };
        writeln!(out, "There is nothing to settle; {noted}.")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
