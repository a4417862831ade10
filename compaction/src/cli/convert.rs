//! `weir convert`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use weir_compaction::convert::{Options, convert, convert_to};
use weir_compaction::live;

use super::bar::Bar;
use super::server::{AccessArgs, not_of_a_server, the_stream, updated};
use super::{BackendArg, DAMAGED, Failure, NOT_DONE, print};

/// Move streams to another backend, in place or in a copy (--out): sequences, times, headers, gaps and consumers stay as they are.
///
/// Whatever ends it leaves each stream whole, where it was or where it went: run it again, or start the server, which goes on with the
/// one that was under way. The stream's metadata say afterwards where it is (weir.backend). It needs room for a second copy of the
/// largest stream.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weir convert /var/lib/weir --to rocksdb --stream ORDERS
  weir convert /var/lib/weir --to segment
  weir convert nats://localhost:4222 --to rocksdb --stream ORDERS
  weir convert /var/lib/weir --to segment --out /mnt/segments

Exit code: 0 the streams are where they were to go; 1 not all: wrong arguments, no store there, no such stream, a server has it open,
or something failed, such as a full disk; 2 a stream has a message that cannot be read, or is offline: it stays, all others are moved.

With --json an error is an object of JSON on the standard error: error, remedy, exit.")]
pub struct ConvertArgs {
    /// The server's store directory (its -sd or store_dir), or the folder `weir` in it; or a running server:
    /// nats://[user:password@|token@]host[:port]
    store: PathBuf,
    #[command(flatten)]
    access: AccessArgs,
    /// The backend
    #[arg(long, value_enum)]
    to: BackendArg,
    /// Only the streams of this name
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Only the streams of this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Leave the store as it is, and make a new one in this folder, which must not be there, or be empty; broken off, what there is of it
    /// is DIR.unfinished, and the next run begins anew: in place it goes on
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

pub fn run(args: ConvertArgs) -> Result<ExitCode, Failure> {
    args.access.no_account(&args.store, args.account.as_ref())?;
    if let Some(server) = args.access.connect(&args.store)? {
        not_of_a_server(&[("--out", args.out.is_some())])?;
        let stream = the_stream(args.stream)?;
        let bar = Bar::counting("messages");
        let moved = live::move_to(&server, &stream, args.to.into(), &mut |name, done, of| {
            bar.show(name, done, of);
        });
        bar.finish();
        return updated(&moved?, args.json);
    }
    let options = Options {
        to: args.to.into(),
        stream: args.stream,
        account: args.account,
    };
    let bar = Bar::counting("messages");
    let report = match &args.out {
        Some(out) => convert_to(&args.store, out, &options, Some(bar.teller())),
        None => convert(&args.store, &options, Some(bar.teller())),
    };
    bar.finish();
    let report = report?;
    print(&report, args.json, report.to_text())?;
    Ok(match (report.is_done(), report.is_damaged()) {
        (true, _) => ExitCode::SUCCESS,
        (false, true) => ExitCode::from(DAMAGED),
        (false, false) => ExitCode::from(NOT_DONE),
    })
}
