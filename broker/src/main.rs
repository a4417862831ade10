//! `weir-server`: the NATS server on Weir's engine, as a program.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use weir_broker::conf::{self, Command, Options};
use weir_broker::logging::{FATAL, Log};
use weir_broker::server::descriptors;
use weir_broker::signals::Signals;
use weir_broker::{Error, Result, Server, WEIR_VERSION, control, notify};

/// Threads for everything but connections, which have their own: accepting, monitoring, requests of the JetStream API.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    match command() {
        Ok(Command::Run(options)) => run(*options),
        Ok(Command::PrintVersion) => {
            complain(&conf::own_version_line(WEIR_VERSION));
            print(conf::version_line())
        }
        Ok(Command::PrintHelp(text)) => print(&text),
        Ok(Command::Signal(signal)) => match control::send(&signal) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("weir-server: {error}"));
                ExitCode::FAILURE
            }
        },
        Ok(Command::CheckConfig { file, options }) => match Server::check(&options) {
            Ok(()) => {
                for warning in &options.warnings {
                    complain(&format!("weir-server: {warning}"));
                }
                complain(&conf::check_message(&file, &options.config_digest));
                ExitCode::SUCCESS
            }
            Err(error) => {
                complain(&format!("weir-server: {error}"));
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            complain(&format!("weir-server: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What the command line, and the file that it names, ask for now.
fn command() -> std::result::Result<Command, conf::ConfError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    Options::load(&args, &|name: &str| std::env::var(name).ok())
}

/// The options that the server was started with, as they are now.
fn load() -> std::result::Result<Options, String> {
    match command() {
        Ok(Command::Run(options)) => Ok(*options),
        Ok(_) => Err("the command line asks for no server".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn run(options: Options) -> ExitCode {
    let log = match Log::open(&options) {
        Ok(log) => log,
        Err(error) => {
            complain(&format!("weir-server: {error}"));
            return ExitCode::FAILURE;
        }
    };
    log.install();
    descriptors::raise_limit();
    match serve(options, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(target: FATAL, "{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: Options, log: &Log) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|source| Error::System {
            doing: "start the threads of the runtime",
            source,
        })?;
    runtime.block_on(async {
        let signals = Signals::install()?;
        let server = Server::start(options).await?;
        notify::tell(notify::State::Ready);
        signals.obey(&server, log, &load).await;
        Ok(())
    })
}

fn print(text: &str) -> ExitCode {
    // Fails when nobody reads it any more.
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(text: &str) {
    // There is no place left to report a failure of this.
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}
