//! `weir dump`.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;
use weir_compaction::dump::{Body, Form, Options, Shown, dump};
use weir_compaction::live;
use weir_engine::words;

use super::bar::Bar;
use super::select::Select;
use super::server::AccessArgs;
use super::{DAMAGED, Failure};

/// Show the messages of a stream: sequences, times, subjects, headers and bodies.
///
/// Changes nothing. What is damaged or lost is told on the standard error, and the rest goes on.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weir dump /var/lib/weir --stream ORDERS --limit 10
  weir dump /var/lib/weir --stream ORDERS --subject 'orders.eu.>' --since 2h --body none
  weir dump /var/lib/weir --stream ORDERS --seq 100..200 --json | jq -r '.data | @base64d'
  weir dump /var/lib/weir --stream FILES --seq 17 --out ./bodies
  weir dump nats://localhost:4222 --stream ORDERS --since 2h

Exit code: 0 all that was asked for is shown; 1 it is not: wrong arguments, no store there, no such stream, a server has it open, or the
one message that --seq N asks for is not there; 2 something of it is damaged or lost, and nobody has settled that: the rest is shown.

With --json an error is an object of JSON on the standard error: error, remedy, exit.")]
pub struct DumpArgs {
    /// The server's store directory (its -sd or store_dir), or the folder `weir` in it; or a running server:
    /// nats://[user:password@|token@]host[:port]
    store: PathBuf,
    #[command(flatten)]
    access: AccessArgs,
    /// The stream
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// Its account; needed if several have a stream of that name
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    #[command(flatten)]
    select: Select,
    /// So many messages at most
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// How bodies are shown; lines of JSON have them in base64, or not at all
    #[arg(long, value_enum, default_value = "text")]
    body: BodyArg,
    /// Write each body to a file in this folder, named for its sequence
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print lines of JSON, as `weir export --format jsonl` writes them for messages
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum BodyArg {
    /// As text, in base64 where it is none
    Text,
    /// In base64
    Base64,
    /// Not at all
    None,
}

/// Tells of a message that is not shown, and goes on. If the standard error is closed nobody is there to be told.
fn tell(as_json: bool, text: &str, json: serde_json::Value) {
    drop(match as_json {
        true => writeln!(io::stderr(), "{json}"),
        false => writeln!(io::stderr(), "weir: {text}"),
    });
}

pub fn run(args: DumpArgs) -> Result<ExitCode, Failure> {
    args.access.no_account(&args.store, args.account.as_ref())?;
    let lone = args.select.lone().filter(|_| args.limit != Some(0));
    let options = Options {
        limit: args.limit.unwrap_or(u64::MAX),
        ..args.select.of(&args.stream, args.account)
    };
    let form = Form {
        json: args.json,
        body: match args.body {
            BodyArg::Text => Body::Text,
            BodyArg::Base64 => Body::Base64,
            BodyArg::None => Body::None,
        },
        out: args.out,
    };
    if let Some(folder) = &form.out {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let server = args.access.connect(&args.store)?;
    let bar = Bar::counting("messages");
    let mut out = BufWriter::new(io::stdout().lock());
    let mut failed = None;
    let mut is_told = false;
    let mut text = Vec::new();
    let mut show = |shown: Shown<'_>| {
        bar.finish();
        let written = match shown {
            Shown::Message(message) => {
                text.clear();
                form.put(message, &mut text).and_then(|()| out.write_all(&text))
            }
            // In its place among the others, where both go to one terminal. If the standard error is closed nobody is there to be told.
            Shown::Lost(first, last, why) => out.flush().map(|()| {
                is_told = true;
                let named = words::numbered("message", &[(first, last)]);
                let error = format!("{named} cannot be shown: {why}");
                tell(
                    form.json,
                    &error,
                    json!({"error": error, "first_seq": first, "last_seq": last}),
                );
            }),
            Shown::Offline(why) => {
                let error = format!("the stream is offline: {why}");
                tell(form.json, &error, json!({"error": error}));
                Ok(())
            }
        };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let dumped = match &server {
        Some(server) => live::dump(server, &options, &mut show),
        None => dump(&args.store, &options, Some(bar.teller()), &mut show),
    };
    bar.finish();
    let dumped = dumped?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    out.flush()?;
    if dumped.elsewhere > 0 {
        let line = weir_compaction::elsewhere::told(dumped.elsewhere);
        tell(args.json, line.trim_end(), json!({"elsewhere": dumped.elsewhere}));
    }
    if dumped.damaged {
        return Ok(ExitCode::from(DAMAGED));
    }
    match lone {
        Some(seq) if dumped.messages == 0 && !is_told => Err(Failure::Instead {
            what: format!("{} has no message {seq}", options.stream),
            remedy: "it was removed, or has not come yet; `weir inspect` tells the first and the last that are there"
                .to_owned(),
        }),
        _ => Ok(ExitCode::SUCCESS),
    }
}
