//! `weir export`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use weir_compaction::Error;
use weir_compaction::export::{Exported, Format, Options, export, export_table};
use weir_compaction::live;
use weir_engine::words;

use super::bar::Bar;
use super::select::Select;
use super::server::AccessArgs;
use super::{DAMAGED, Failure};

/// Export a stream of a store: as a backup that any nats-server 2.15 restores, as lines of JSON, or as a table to be queried.
///
/// Changes nothing in the store. Messages keep their sequences, times and headers, consumers what they were sent and what is
/// acknowledged. When consumers were made, and what a stream has lost, is told by neither format.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weir export /var/lib/weir --stream ORDERS ./orders && nats stream restore ./orders
  weir export /var/lib/weir --stream ORDERS --format jsonl ./orders.jsonl
  weir export /var/lib/weir --stream ORDERS --format jsonl - | jq -r 'select(.seq) | .data | @base64d'
  weir export nats://localhost:4222 --stream ORDERS ./orders
  weir export nats://localhost:4222 --stream ORDERS --format jsonl ./orders.jsonl
  weir export /var/lib/weir --stream ORDERS --format parquet --subject 'orders.eu.>' --since 24h ./orders.parquet

Exit code: 0 it is exported; 1 it is not: wrong arguments, no store there, no such stream, a server has it open, or the output is there
already or cannot be written; 2 something that the stream had is damaged or lost, which it names: all the rest is exported.

With --json an error is an object of JSON on the standard error: error, remedy, exit.")]
pub struct ExportArgs {
    /// The server's store directory (its -sd or store_dir), or the folder `weir` in it; or a running server:
    /// nats://[user:password@|token@]host[:port]
    store: PathBuf,
    #[command(flatten)]
    access: AccessArgs,
    /// A folder that is made, with backup.json and stream.tar.s2; or with --format jsonl or parquet a file; of lines - is the standard output
    out: PathBuf,
    /// The stream
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// Its account; needed if several have a stream of that name
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// As what it is exported
    #[arg(long, value_enum, default_value = "backup")]
    format: FormatArg,
    #[command(flatten)]
    select: Select,
    /// Leave out its consumers
    #[arg(long)]
    no_consumers: bool,
    /// Print JSON, to the standard error if the lines go to the standard output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    /// A folder as `nats stream backup` makes it
    Backup,
    /// Lines of JSON
    Jsonl,
    /// An Apache Parquet file with a row for each message: seq, time, subject, headers, data
    Parquet,
}

pub fn run(args: ExportArgs) -> Result<ExitCode, Failure> {
    let options = Options {
        stream: args.stream,
        account: args.account,
        format: match args.format {
            FormatArg::Backup => Format::Backup,
            FormatArg::Jsonl => Format::Jsonl,
            FormatArg::Parquet => Format::Parquet,
        },
        no_consumers: args.no_consumers,
    };
    if options.format != Format::Parquet && !args.select.is_all() {
        return Err(Failure::Instead {
            what: "a part of a stream is exported with --format parquet alone".to_owned(),
            remedy: "`weir dump --json` prints lines of it".to_owned(),
        });
    }
    if options.format == Format::Parquet && args.out.as_os_str() == "-" {
        return Err(Failure::Instead {
            what: "a table is written to a file, whose end says where its parts lie".to_owned(),
            remedy: "name a file".to_owned(),
        });
    }
    args.access.no_account(&args.store, options.account.as_ref())?;
    let server = args.access.connect(&args.store)?;
    let bar = match (&server, options.format) {
        (Some(_), Format::Backup | Format::Jsonl) => Bar::bytes(),
        _ => Bar::counting("messages"),
    };
    let result = match (options.format, &server) {
        (Format::Parquet, server) => {
            let what = args.select.of(&options.stream, options.account.clone());
            match server {
                Some(server) => live::export_table(server, &args.out, &what, Some(bar.teller())),
                None => export_table(&args.store, &args.out, &what, Some(bar.teller())),
            }
        }
        (Format::Backup, Some(server)) => {
            let name = &options.stream;
            live::backup(server, name, options.no_consumers, &args.out, &mut |bytes| {
                bar.show(name, bytes, bytes);
            })
        }
        (Format::Jsonl, Some(server)) => {
            let name = &options.stream;
            live::export_lines(server, name, options.no_consumers, &args.out, &mut |bytes| {
                bar.show(name, bytes, bytes);
            })
        }
        _ => export(&args.store, &args.out, &options, Some(bar.teller())),
    };
    bar.finish();
    let exported = match result {
        Ok(exported) => exported,
        // Whoever read the lines has enough of them.
        Err(Error::Output { error, .. }) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        Err(error) => return Err(error.into()),
    };
    let told = match args.json {
        true => serde_json::to_string_pretty(&exported)? + "\n",
        false => text(&exported, options.format),
    };
    match options.format == Format::Jsonl && args.out.as_os_str() == "-" {
        true => io::stderr().write_all(told.as_bytes())?,
        false => io::stdout().write_all(told.as_bytes())?,
    }
    Ok(match exported.is_damaged() {
        true => ExitCode::from(DAMAGED),
        false => ExitCode::SUCCESS,
    })
}

fn text(exported: &Exported, format: Format) -> String {
    let messages = words::count(exported.messages, "message");
    let mut text = format!(
        "Exported {}{}: {messages}",
        exported.stream,
        // A client of a server sees one account, and does not know which.
        match exported.account.as_str() {
            "" => String::new(),
            account => format!(" of account {account}"),
        }
    );
    if exported.messages > 0 {
        let all = (exported.first_seq, exported.last_seq);
        text += &format!(", {}", words::numbered("sequence", &[all]));
    }
    text += &match exported.consumers.len() {
        // A table has none.
        0 if format == Format::Parquet => String::new(),
        0 => ", no consumers".to_owned(),
        count => format!(
            ", {}: {}",
            words::count(count as u64, "consumer"),
            exported.consumers.join(", ")
        ),
    };
    text += ".\n";
    if let Some(why) = &exported.offline {
        text += &format!("The stream is offline: {why}. What can be read of it was exported.\n");
    }
    if exported.damaged_messages > 0 {
        let count = words::count(exported.damaged_messages, "message");
        text += &format!(
            "{count} damaged, and gaps in what was exported: {}.\n",
            named(&exported.damaged)
        );
    }
    if exported.lost > 0 {
        let count = words::count(exported.lost, "message");
        text += &format!(
            "{count} of the stream {} lost before: {}. `weir inspect` says why.\n",
            if exported.lost == 1 { "was" } else { "were" },
            named(&exported.lost_ranges)
        );
    }
    text + &weir_compaction::elsewhere::told(exported.elsewhere)
}

/// Ranges of sequences.
fn named(ranges: &[(u64, u64)]) -> String {
    /// As many as a line has room for; --json has more.
    const NAMED_MAX: usize = 100;
    let shown = ranges.iter().take(NAMED_MAX);
    let mut text: Vec<String> = shown.map(|(first, last)| words::range(*first, *last)).collect();
    if ranges.len() > NAMED_MAX {
        text.push("and others".to_owned());
    }
    text.join(", ")
}
