//! `weir inspect`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use weir_engine::ShardId;

use clap::Args;
use weir_compaction::inspect::{Options, PieceReport, catalogue, frames, inspect_with, journal};
use weir_compaction::live::{self, InspectOptions, Server};

use super::bar::Bar;
use super::server::{AccessArgs, not_of_a_server};
use super::{DAMAGED, Failure, print};

/// Show the streams and consumers of a store: backends, sequences, sizes, subjects, positions.
///
/// Reads the heads of all messages and changes nothing. After a crash it counts what the journals hold beyond the last
/// checkpoint, as a server will when it starts.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weir inspect /var/lib/weir
  weir inspect /var/lib/weir --stream ORDERS --subjects --limit 5
  weir inspect /var/lib/weir --stream ORDERS --consumer billing
  weir inspect /var/lib/weir --stream ORDERS --histogram
  weir inspect /var/lib/weir --journal 0 --limit 50
  weir inspect /var/lib/weir --journal 0 --stream ORDERS
  weir inspect /var/lib/weir --catalogue
  weir inspect nats://user:password@localhost:4222 --stream ORDERS --subjects
  weir inspect /var/lib/weir --json | jq '.streams[] | {name, messages}'

Exit code: 0 the store is whole, or all that is damaged or lost is settled (see `weir settle`); 1 it was not looked at: wrong
arguments, no store there, or a server has it open; 2 something is damaged, missing or lost and not settled (the rest is shown). A
write at the end that never finished is no damage: a crash leaves it.

With --json an error is an object of JSON on the standard error: error, remedy, exit.")]
pub struct InspectArgs {
    /// The server's store directory (its -sd or store_dir), or the folder `weir` in it; or a running server:
    /// nats://[user:password@|token@]host[:port]
    store: PathBuf,
    #[command(flatten)]
    access: AccessArgs,
    /// Only the streams of this name
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// List the subjects with the most messages
    #[arg(long)]
    subjects: bool,
    /// How many subjects of each stream, records of a journal or pieces of a file are listed
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Only the consumers of this name, with what each has sent and not seen acknowledged
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Plot how large and how old the messages are
    #[arg(long)]
    histogram: bool,
    /// Instead of all that, show the catalogue: its two copies, and the streams and consumers that it has, with what the journals
    /// have above it
    #[arg(long, conflicts_with_all = ["journal", "segment", "stream", "subjects", "consumer", "histogram"])]
    catalogue: bool,
    /// Instead of all that, show the newest records of the journal of this shard; with --stream those of that stream, or of the log that
    /// has that number if the stream is gone
    #[arg(long, value_name = "SHARD", conflicts_with_all = ["segment", "subjects", "consumer", "histogram"])]
    journal: Option<u32>,
    /// Instead of all that, show what a segment file has in it, of the store or of a copy that has the folder's name
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stream", "subjects", "consumer", "histogram"])]
    segment: Option<PathBuf>,
    /// Refused, in words: all accounts are shown, of a server that of the user who connects
    #[arg(long, value_name = "NAME", hide = true)]
    account: Option<String>,
    /// Print JSON instead of tables; times are RFC 3339, sizes bytes
    #[arg(long)]
    json: bool,
}

pub fn run(args: &InspectArgs) -> Result<ExitCode, Failure> {
    args.access.no_account(&args.store, args.account.as_ref())?;
    if args.account.is_some() {
        return Err(Failure::Instead {
            what: "--account is none of inspect's arguments: the streams of all accounts are shown".to_owned(),
            remedy: "--stream NAME shows those of that name, with their accounts".to_owned(),
        });
    }
    if let Some(server) = args.access.connect(&args.store)? {
        return of_server(&server, args);
    }
    if let Some(shard) = args.journal {
        let shown = journal(&args.store, ShardId(shard), args.stream.as_deref(), args.limit)?;
        print(&shown.newest, args.json, shown.to_text())?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.catalogue {
        let report = catalogue(&args.store)?;
        print(&report, args.json, report.to_text())?;
        return Ok(match report.is_damaged() {
            true => ExitCode::from(DAMAGED),
            false => ExitCode::SUCCESS,
        });
    }
    if let Some(file) = &args.segment {
        let pieces = frames(file, args.limit)?;
        let listed = list(&pieces, PieceReport::to_line, args.json)?;
        return Ok(match pieces.iter().all(|piece| piece.good) {
            true => listed,
            false => ExitCode::from(DAMAGED),
        });
    }
    let options = Options {
        stream: args.stream.clone(),
        top_subjects: args.subjects.then_some(args.limit),
        consumer: args.consumer.clone(),
        histogram: args.histogram,
    };
    let bar = Bar::counting("messages");
    let report = inspect_with(&args.store, &options, Some(bar.teller()));
    bar.finish();
    let report = report?;
    print(&report, args.json, report.to_text())?;
    Ok(match report.is_damaged() {
        true => ExitCode::from(DAMAGED),
        false => ExitCode::SUCCESS,
    })
}

/// What a running server tells of itself.
fn of_server(server: &Server, args: &InspectArgs) -> Result<ExitCode, Failure> {
    not_of_a_server(&[
        ("--histogram", args.histogram),
        ("--catalogue", args.catalogue),
        ("--journal", args.journal.is_some()),
        ("--segment", args.segment.is_some()),
    ])?;
    let options = InspectOptions {
        stream: args.stream.clone(),
        top_subjects: args.subjects.then_some(args.limit),
        consumer: args.consumer.clone(),
    };
    let report = live::inspect(server, &options)?;
    print(&report, args.json, report.to_text())?;
    Ok(match report.is_damaged() {
        true => ExitCode::from(DAMAGED),
        false => ExitCode::SUCCESS,
    })
}

/// Prints things one a line, or as JSON.
fn list<T: serde::Serialize>(things: &[T], line: impl Fn(&T) -> String, json: bool) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    match json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(things)?)?,
        false => things.iter().try_for_each(|thing| writeln!(out, "{}", line(thing)))?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
