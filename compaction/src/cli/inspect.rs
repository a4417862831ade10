//! `weir inspect`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use weir_compaction::inspect::{Options, inspect_with};

use super::bar::Bar;
use super::{DAMAGED, Failure};

/// Show the streams and consumers of a store: backends, sequences, sizes, subjects, positions.
///
/// Reads the heads of all messages and changes nothing. After a crash it counts what the journals hold beyond the last
/// checkpoint, as a server will when it starts.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weir inspect /var/lib/weir
  weir inspect /var/lib/weir --stream ORDERS --subjects --limit 5
  weir inspect /var/lib/weir --json | jq '.streams[] | {name, messages}'

Exit code: 0 the store is whole, or all that is damaged or lost is settled (see `weir settle`); 1 it was not looked at: wrong
arguments, no store there, or a server has it open; 2 something is damaged, missing or lost and not settled (the rest is shown). A
write at the end that never finished is no damage: nobody was answered for it.")]
pub struct InspectArgs {
    /// The server's store directory (its -sd or store_dir), or the folder `weir` in it
    store: PathBuf,
    /// Only the streams of this name
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// List the subjects with the most messages
    #[arg(long)]
    subjects: bool,
    /// How many subjects of each stream are listed
    #[arg(long, value_name = "N", default_value_t = 20, requires = "subjects")]
    limit: usize,
    /// Print JSON instead of tables; times are RFC 3339, sizes bytes
    #[arg(long)]
    json: bool,
}

pub fn run(args: &InspectArgs) -> Result<ExitCode, Failure> {
    let options = Options {
        stream: args.stream.clone(),
        top_subjects: args.subjects.then_some(args.limit),
    };
    let bar = Bar::counting("messages");
    let report = inspect_with(&args.store, &options, Some(bar.teller()));
    bar.finish();
    let report = report?;
    let mut out = io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        false => out.write_all(report.to_text().as_bytes())?,
    }
    out.flush()?;
    Ok(match report.is_damaged() {
        true => ExitCode::from(DAMAGED),
        false => ExitCode::SUCCESS,
    })
}
