//! `weir`: offline tools for a Weir store directory.

mod cli;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use cli::{Failure, NOT_DONE};

/// Tools for a Weir store directory, and for running servers.
///
/// The server must not be running on the directory; some commands take a server's URL in its place.
#[derive(Parser)]
#[command(name = "weir", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// A file with the key of an encrypted store; also taken from the variable WEIR_KEY. Several are tried in order; a store that is made
    /// is encrypted with the first
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Vec<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    Compact(cli::compact::CompactArgs),
    Completions(cli::completions::CompletionsArgs),
    Convert(cli::convert::ConvertArgs),
    Diff(cli::diff::DiffArgs),
    Dump(cli::dump::DumpArgs),
    Encrypt(cli::encrypt::EncryptArgs),
    Export(cli::export::ExportArgs),
    Import(cli::import::ImportArgs),
    Inspect(cli::inspect::InspectArgs),
    Man(cli::man::ManArgs),
    Repair(cli::repair::RepairArgs),
    Settle(cli::settle::SettleArgs),
    Verify(cli::verify::VerifyArgs),
}

fn main() -> ExitCode {
    weir_backends::allocator::keep_little();
    // Also where the arguments make no sense otherwise. What stands behind `--` is a name.
    let json = std::env::args_os()
        .skip(1)
        .take_while(|argument| argument != "--")
        .any(|argument| argument == "--json");
    if json {
        cli::bar::be_quiet();
    }
    let command = match Cli::try_parse() {
        Ok(cli) => match weir_compaction::key::take(&cli.key_file, std::env::var("WEIR_KEY").ok()) {
            Ok(()) => cli.command,
            Err(error) => {
                let failure = Failure::from(error);
                failure.tell(json);
                return ExitCode::from(failure.code());
            }
        },
        Err(told) if told.use_stderr() && json => {
            let text = told.to_string();
            // What stands below is how the command is used.
            let first = text.split("\n\n").next().unwrap_or_default();
            let first = first.strip_prefix("error: ").unwrap_or(first);
            cli::tell_json(first, "`weir help COMMAND` tells how it is used", NOT_DONE);
            return ExitCode::from(NOT_DONE);
        }
        Err(told) => {
            // If the standard error is closed nobody is there to be told.
            let _ = told.print();
            return match told.use_stderr() {
                true => ExitCode::from(NOT_DONE),
                false => ExitCode::SUCCESS,
            };
        }
    };
    let done = match command {
        Command::Compact(args) => cli::compact::run(args),
        Command::Completions(args) => cli::completions::run(&args, Cli::command()),
        Command::Convert(args) => cli::convert::run(args),
        Command::Diff(args) => cli::diff::run(args),
        Command::Dump(args) => cli::dump::run(args),
        Command::Encrypt(args) => cli::encrypt::run(&args),
        Command::Export(args) => cli::export::run(args),
        Command::Import(args) => cli::import::run(args),
        Command::Inspect(args) => cli::inspect::run(&args),
        Command::Man(args) => cli::man::run(&args, Cli::command()),
        Command::Repair(args) => cli::repair::run(args),
        Command::Settle(args) => cli::settle::run(args),
        Command::Verify(args) => cli::verify::run(args),
    };
    match done {
        Ok(code) => code,
        // Whoever read the output has enough of it.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(json);
            ExitCode::from(failure.code())
        }
    }
}
