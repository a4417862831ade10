//! `weir`: offline tools for a Weir store directory.

mod cli;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use weir_compaction::inspect::{Options, Progress, inspect_with};
use weir_compaction::settle::{Which, settle};

/// The store was looked at, and something in it is damaged, missing, or lost and not settled.
const DAMAGED: u8 = 1;
/// Nothing was done. Wrong arguments end with it too.
const NOT_DONE: u8 = 2;
/// A progress bar that flashes up for a moment is only noise.
const BAR_AFTER: Duration = Duration::from_millis(500);

/// Offline tools for a Weir store directory.
///
/// The server must not be running on it.
#[derive(Parser)]
#[command(name = "weir", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Import(cli::import::ImportArgs),
    Inspect(InspectArgs),
    Settle(SettleArgs),
}

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

Exit code: 0 the store is whole, or all that is damaged or lost is settled (see `weir settle`); 1 something is damaged, missing
or lost and not settled (the rest is shown); 2 it was not looked at: wrong arguments, no store there, or a server has it open. A write
at the end that never finished is no damage: nobody was answered for it.")]
struct InspectArgs {
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

/// Settle what was found lost: you have seen it, and the store goes on without.
///
/// Until then health tells of what the store's own bookkeeping lost, a journal that has a hole is kept, and counters whose newest
/// message is lost take no more; `weir inspect` ends with 1, and shows the keys of what is not settled. What a server has not seen
/// yet is settled after its next start.
#[derive(Args)]
#[command(
    override_usage = "weir settle <STORE> <KEY>...\n       weir settle <STORE> --all",
    after_help = "\
Examples:
  weir settle /var/lib/weir journal-0-00000000000000000017
  weir settle /var/lib/weir lost-0000000000000100
  weir settle /var/lib/weir --all

Exit code: 0 they are settled, or with --all there was nothing to settle; 2 nothing is settled: wrong arguments, no store there, no
such key, or a server has it open."
)]
struct SettleArgs {
    /// The server's store directory (its -sd or store_dir), or the folder `weir` in it
    store: PathBuf,
    #[command(flatten)]
    which: WhichArgs,
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

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Import(args) => cli::import::run(args),
        Command::Inspect(args) => inspect(&args),
        Command::Settle(args) => settle_findings(args),
    };
    match done {
        Ok(code) => code,
        // Whoever read the output has enough of it.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            // If the standard error is closed nobody is there to be told.
            let _ = writeln!(io::stderr(), "weir: {failure}");
            ExitCode::from(NOT_DONE)
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Tool(#[from] weir_compaction::Error),
    #[error("writing the output: {0}")]
    Output(#[from] io::Error),
    #[error("writing the output: {0}")]
    Json(#[from] serde_json::Error),
}

fn inspect(args: &InspectArgs) -> Result<ExitCode, Failure> {
    let options = Options {
        stream: args.stream.clone(),
        top_subjects: args.subjects.then_some(args.limit),
    };
    let mut bar = Bar::new();
    let result = inspect_with(&args.store, &options, &mut |progress| bar.show(progress));
    bar.finish();
    let report = result?;
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

fn settle_findings(args: SettleArgs) -> Result<ExitCode, Failure> {
    let which = match args.which.all {
        true => Which::All,
        false => Which::Keys(args.which.keys),
    };
    let mut out = io::stdout().lock();
    let settled = settle(&args.store, &which)?;
    for text in &settled {
        writeln!(out, "Settled: {text}")?;
    }
    if settled.is_empty() {
        writeln!(
            out,
            "There is nothing to settle; what an inspection finds is noted, and can be settled, once a server has started on the store."
        )?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Progress on the standard error, where that is a terminal.
struct Bar {
    began: Instant,
    bar: Option<ProgressBar>,
}

impl Bar {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            bar: None,
        }
    }

    fn show(&mut self, progress: Progress<'_>) {
        if self.bar.is_none() && self.began.elapsed() < BAR_AFTER {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(progress.of);
            let template = "{msg} {wide_bar} {human_pos}/{human_len} messages, {eta}";
            match ProgressStyle::with_template(template) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        if bar.message() != progress.stream {
            bar.set_message(progress.stream.to_owned());
            bar.set_length(progress.of);
            bar.reset_eta();
        }
        bar.set_position(progress.done);
    }

    fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
