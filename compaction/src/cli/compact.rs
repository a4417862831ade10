//! `weir compact`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use weir_compaction::compact::{Options, compact, compact_to};
use weir_compaction::live;
use weir_engine::Compression;

use super::bar::Bar;
use super::server::{AccessArgs, not_of_a_server, the_stream, updated};
use super::{DAMAGED, Failure, NOT_DONE, print};

/// Give back what removed messages took on disk, in place or in a copy (--out), and compress what is there otherwise.
///
/// A server reclaims files that are mostly removed messages by itself; this rewrites all that have any. Whatever ends it leaves all
/// messages there, and a part of the work done: run it again. It needs room for a file more than there are. Damaged messages stay
/// where they are, with the file that they are in.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weir compact /var/lib/weir
  weir compact /var/lib/weir --stream ORDERS --compression zstd
  weir compact /var/lib/weir --stream ARCHIVE --compression zstd:19
  weir compact /var/lib/weir --out /mnt/small

Exit code: 0 it is done; 1 not all is: wrong arguments, no store there, no such stream, a server has it open, or something failed, such
as a full disk; 2 a stream is left as it is, for it is damaged or offline: all others are done.

With --json an error is an object of JSON on the standard error: error, remedy, exit.")]
pub struct CompactArgs {
    /// The server's store directory (its -sd or store_dir), or the folder `weir` in it; or a running server:
    /// nats://[user:password@|token@]host[:port]
    store: PathBuf,
    #[command(flatten)]
    access: AccessArgs,
    /// Only the streams of this name
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Only the streams of this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Compress all their messages like this, new ones as well (it becomes their weir.compression): none, lz4, zstd, or zstd:LEVEL
    /// with a level of 1 to 22, the higher the smaller and slower; on rocksdb the level says nothing
    #[arg(long, value_name = "HOW", value_parser = parse_compression)]
    compression: Option<Compression>,
    /// Leave the store as it is, and make a new one in this folder, which must not be there, or be empty; broken off, what there is of it
    /// is DIR.unfinished, and the next run begins anew: in place it goes on
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON instead of lines; sizes are bytes
    #[arg(long)]
    json: bool,
}

fn parse_compression(text: &str) -> Result<Compression, String> {
    text.parse().map_err(|allowed| format!("allowed are {allowed}"))
}

pub fn run(args: CompactArgs) -> Result<ExitCode, Failure> {
    args.access.no_account(&args.store, args.account.as_ref())?;
    if let Some(server) = args.access.connect(&args.store)? {
        not_of_a_server(&[("--out", args.out.is_some())])?;
        let Some(compression) = args.compression else {
            return Err(Failure::Instead {
                what: "a running server gives back what removed messages took by itself".to_owned(),
                remedy: "--compression is what it can be told".to_owned(),
            });
        };
        return updated(
            &live::compress(&server, &the_stream(args.stream)?, compression)?,
            args.json,
        );
    }
    let options = Options {
        stream: args.stream,
        account: args.account,
        compression: args.compression,
    };
    let (opening, bytes) = (Bar::counting("messages"), Bar::bytes());
    let mut show = |name: &str, done, of| {
        opening.finish();
        bytes.show(name, done, of);
    };
    let report = match &args.out {
        Some(out) => compact_to(&args.store, out, &options, Some(opening.teller()), &mut show),
        None => compact(&args.store, &options, Some(opening.teller()), &mut show),
    };
    opening.finish();
    bytes.finish();
    let report = report?;
    print(&report, args.json, report.to_text())?;
    Ok(match (report.is_done(), report.is_damaged()) {
        (true, _) => ExitCode::SUCCESS,
        (false, true) => ExitCode::from(DAMAGED),
        (false, false) => ExitCode::from(NOT_DONE),
    })
}
