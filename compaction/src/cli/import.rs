//! `weir import`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use weir_compaction::import::{Imported, Options, Wanted, import};
use weir_engine::embed::GLOBAL_ACCOUNT;
use weir_engine::stream::settings::BackendKind;
use weir_engine::words;

use super::bar::Bar;
use super::{DAMAGED, Failure, NOT_DONE};

/// Import a stream into a store: from a backup of nats-server or Weir, or from lines of JSON.
///
/// Messages keep their sequences, times and headers, gaps stay gaps, consumers go on where they were. A store is made if there is
/// none. Nothing of the stream is in the store before all of it is; whatever goes wrong before leaves the store as it was. What the
/// stream's limits would remove and messages whose TTL is over are left out.
#[derive(Args)]
#[command(after_help = "\
Examples:
  nats stream backup ORDERS ./orders && weir import /var/lib/weir ./orders
  weir import /var/lib/weir ./orders --backend rocksdb
  weir import /var/lib/weir ./orders.jsonl --name ORDERS-2025 --account SALES

Exit code: 0 it is imported; 1 it is not: wrong arguments, no store or nothing to import there, a server has the store open, or the
store does not take the stream; 2 it is not, for the source is damaged or cut short.")]
pub struct ImportArgs {
    /// The server's store directory (its -sd or store_dir), or the folder `weir` in it
    store: PathBuf,
    /// A folder with backup.json and stream.tar.s2, that archive alone, or lines of JSON
    source: PathBuf,
    /// The account that the stream belongs to
    #[arg(long, value_name = "NAME", default_value = GLOBAL_ACCOUNT)]
    account: String,
    /// Another name for the stream
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where its messages are kept, if not where its configuration says
    #[arg(long, value_name = "BACKEND")]
    backend: Option<BackendArg>,
    /// A file with the stream's configuration (JSON) instead of the source's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Backends that outlive the tool.
#[derive(Clone, Copy, ValueEnum)]
enum BackendArg {
    /// Segment files
    Segment,
    /// RocksDB
    Rocksdb,
}

pub fn run(args: ImportArgs) -> Result<ExitCode, Failure> {
    let options = Options {
        account: args.account,
        wanted: Wanted {
            name: args.name,
            backend: args.backend.map(|backend| match backend {
                BackendArg::Segment => BackendKind::Segment,
                BackendArg::Rocksdb => BackendKind::RocksDb,
            }),
        },
        config: args.config,
    };
    let bar = Bar::bytes();
    let result = import(&args.store, &args.source, &options, &mut |progress| {
        bar.show("importing", progress.done, progress.of);
    });
    bar.finish();
    let imported = match result {
        Ok(imported) => imported,
        Err(error) => {
            // If the standard error is closed nobody is there to be told.
            let _ = writeln!(io::stderr(), "weir: {error}");
            return Ok(ExitCode::from(if error.is_damage() { DAMAGED } else { NOT_DONE }));
        }
    };
    let mut out = io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&imported)?)?,
        false => out.write_all(text(&imported).as_bytes())?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn text(imported: &Imported) -> String {
    let Imported {
        account,
        stream,
        backend,
        read,
        messages,
        bytes,
        first_seq,
        last_seq,
        consumers,
        new_store,
    } = imported;
    let size = humansize::format_size(*bytes, humansize::DECIMAL);
    let messages_told = words::count(*messages, "message");
    let mut text = match new_store {
        true => "Made a new store.\n".to_owned(),
        false => String::new(),
    };
    text += &format!("Imported {stream} into account {account}, backend {backend}: {messages_told} ({size})");
    if *messages > 0 {
        text += &format!(", sequences {first_seq} to {last_seq}");
    } else if *last_seq > 0 {
        text += &format!(", last sequence {last_seq}");
    }
    text += &match consumers.len() {
        0 => ", no consumers".to_owned(),
        count => format!(", {}: {}", words::count(count as u64, "consumer"), consumers.join(", ")),
    };
    text += ".\n";
    let gone = read.saturating_sub(*messages);
    if gone > 0 {
        let left_out = words::count(gone, "message");
        text += &format!(
            "{left_out} of the source: removed there, beyond the stream's limits, or at the end of their TTL.\n"
        );
    }
    text
}
