//! `weir import`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use weir_compaction::import::{FromNats, Imported, NatsOptions, NatsStream, Options, Wanted, import, import_nats};
use weir_compaction::live::{self, Server};
use weir_engine::embed::GLOBAL_ACCOUNT;
use weir_engine::stream::settings::BackendKind;
use weir_engine::words;

use super::bar::Bar;
use super::server::{AccessArgs, not_of_a_server};
use super::{BackendArg, DAMAGED, Failure, NOT_DONE, print};

/// Import streams into a store: from a backup of nats-server or Weir, from lines of JSON, or all that a nats-server has.
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
  weir import /var/lib/weir --from-nats /var/lib/nats
  weir import nats://localhost:4222 ./orders
  weir import nats://localhost:4222 ./orders.jsonl --name ORDERS-2025
  weir import /var/lib/weir --from-nats /var/lib/nats --from-account SALES --stream ORDERS --account '$G'

Exit code: 0 all is imported; 1 something is not: wrong arguments, no store or nothing to import there, a server has the store open, or
the store does not take the stream; 2 the source is damaged or cut short: then a backup or lines are not imported, and of what a
nats-server has all that can be read is.

With --json an error is an object of JSON on the standard error: error, remedy, exit.")]
pub struct ImportArgs {
    /// The server's store directory (its -sd or store_dir), or the folder `weir` in it; or a running server:
    /// nats://[user:password@|token@]host[:port]
    store: PathBuf,
    #[command(flatten)]
    access: AccessArgs,
    /// A folder with backup.json and stream.tar.s2, that archive alone, or lines of JSON
    #[arg(required_unless_present = "from_nats")]
    source: Option<PathBuf>,
    /// All streams of a nats-server that is not running: its store directory (its -sd or store_dir), or the folder `jetstream` in it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["source", "config"])]
    from_nats: Option<PathBuf>,
    /// Of a nats-server's streams, only those of this account
    #[arg(long, value_name = "NAME", requires = "from_nats")]
    from_account: Option<String>,
    /// Of a nats-server's streams, only those of this name
    #[arg(long, value_name = "NAME", requires = "from_nats")]
    stream: Option<String>,
    /// The account that they come into: $G if not said otherwise, and of a nats-server the one that they were in
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
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

pub fn run(args: ImportArgs) -> Result<ExitCode, Failure> {
    args.access.no_account(&args.store, args.account.as_ref())?;
    if let Some(server) = args.access.connect(&args.store)? {
        return into_server(&server, args);
    }
    let wanted = Wanted {
        name: args.name,
        backend: args.backend.map(BackendKind::from),
    };
    if let Some(from) = &args.from_nats {
        let options = NatsOptions {
            from_account: args.from_account,
            stream: args.stream,
            account: args.account,
            wanted,
        };
        return all_of_nats(&args.store, from, &options, args.json);
    }
    let options = Options {
        account: args.account.unwrap_or_else(|| GLOBAL_ACCOUNT.to_owned()),
        wanted,
        config: args.config,
    };
    // The arguments are refused without either.
    let source = args.source.unwrap_or_default();
    let bar = Bar::bytes();
    let result = import(&args.store, &source, &options, &mut |progress| {
        bar.show("importing", progress.done, progress.of);
    });
    bar.finish();
    let imported = result?;
    let told = made(&imported).to_owned() + &text(&imported) + elsewhere([&*imported.account]);
    print(&imported, args.json, told)?;
    Ok(ExitCode::SUCCESS)
}

/// A backup comes into a running server.
fn into_server(server: &Server, args: ImportArgs) -> Result<ExitCode, Failure> {
    not_of_a_server(&[
        ("--from-nats", args.from_nats.is_some()),
        ("--backend", args.backend.is_some()),
        ("--config", args.config.is_some()),
    ])?;
    // The arguments are refused without either.
    let source = args.source.unwrap_or_default();
    let bar = Bar::bytes();
    let result = live::restore(server, &source, args.name.as_deref(), &mut |done, of| {
        bar.show("importing", done, of);
    });
    bar.finish();
    let info = result?;
    let name = info["config"]["name"].as_str().unwrap_or_default();
    let messages = info["state"]["messages"].as_u64().unwrap_or(0);
    let text = format!("Imported {name}: {}.\n", words::count(messages, "message"));
    print(&info, args.json, text)?;
    Ok(ExitCode::SUCCESS)
}

fn all_of_nats(store: &Path, from: &Path, options: &NatsOptions, json: bool) -> Result<ExitCode, Failure> {
    let bar = Bar::counting("messages");
    let result = import_nats(store, from, options, &mut |name, done, of| bar.show(name, done, of));
    bar.finish();
    let report = result?;
    print(&report, json, text_of_all(&report))?;
    Ok(match (report.damaged, report.any_refused()) {
        (true, _) => ExitCode::from(DAMAGED),
        (false, true) => ExitCode::from(NOT_DONE),
        (false, false) => ExitCode::SUCCESS,
    })
}

fn text_of_all(report: &FromNats) -> String {
    let mut out = String::new();
    let imported = || report.streams.iter().filter_map(|stream| stream.imported.as_ref());
    out += imported().next().map_or("", made);
    for line in &report.findings {
        out += &format!("Found: {line}\n");
    }
    for stream in &report.streams {
        match (&stream.imported, &stream.refused) {
            (Some(imported), _) => {
                out += &match stream.before {
                    true => format!(
                        "There already, from an import before, and left as it is: {}.\n",
                        held(imported, "in")
                    ),
                    false => text(imported),
                };
            }
            (None, why) => {
                let NatsStream { account, stream, .. } = stream;
                let why = why.as_deref().unwrap_or_default();
                out += &format!("Not imported: {stream} of account {account}: {why}\n");
            }
        }
        for line in &stream.findings {
            out += &format!("  found: {line}\n");
        }
    }
    let of = words::count(report.streams.len() as u64, "stream");
    let before = report.streams.iter().filter(|stream| stream.before).count();
    let done = imported().count() - before;
    out += &match before {
        0 => format!("{done} of {of} imported.\n"),
        _ if done == 0 && before == report.streams.len() => format!("Nothing new came: {of} there already.\n"),
        _ => format!("{done} of {of} imported, {before} there already.\n"),
    };
    out + elsewhere(imported().map(|imported| &*imported.account))
}

fn made(imported: &Imported) -> &'static str {
    match imported.new_store {
        true => "Made a new store.\n",
        false => "",
    }
}

/// What is to be known of streams in these accounts.
fn elsewhere<'a>(accounts: impl IntoIterator<Item = &'a str>) -> &'static str {
    match accounts.into_iter().any(|account| account != GLOBAL_ACCOUNT) {
        true => {
            "Clients of an account of that name see it: the configuration has to have one (accounts { NAME { jetstream: enabled } }, or the \
             account's key in operator mode). --account NAME brings streams elsewhere.\n"
        }
        false => "",
    }
}

fn text(imported: &Imported) -> String {
    let mut text = format!("Imported {}.\n", held(imported, "into"));
    let gone = imported.read.saturating_sub(imported.messages);
    if gone > 0 {
        let left_out = words::count(gone, "message");
        text += &format!(
            "{left_out} of the source: removed there, beyond the stream's limits, or at the end of their TTL.\n"
        );
    }
    text
}

/// What the store has of it; `how` it is in its account.
fn held(imported: &Imported, how: &str) -> String {
    let Imported {
        account,
        stream,
        backend,
        read: _,
        messages,
        bytes,
        first_seq,
        last_seq,
        consumers,
        new_store: _,
    } = imported;
    let size = humansize::format_size(*bytes, humansize::DECIMAL);
    let messages_told = words::count(*messages, "message");
    let mut text = format!("{stream} {how} account {account}, backend {backend}: {messages_told} ({size})");
    if *messages > 0 {
        text += &format!(", {}", words::numbered("sequence", &[(*first_seq, *last_seq)]));
    } else if *last_seq > 0 {
        text += &format!(", last sequence {last_seq}");
    }
    text += &match consumers.len() {
        0 => ", no consumers".to_owned(),
        count => format!(", {}: {}", words::count(count as u64, "consumer"), consumers.join(", ")),
    };
    text
}
