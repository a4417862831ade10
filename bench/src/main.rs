//! `weir-load`: measures NATS servers and checks that nothing was lost.

use std::process::ExitCode;

use clap::Parser;
use weir_bench::cli::{Cli, Command, CompareArgs, RunArgs};
use weir_bench::error::Result;
use weir_bench::scenario::Target;
use weir_bench::{compare, process, report};

fn main() -> ExitCode {
    let cli = Cli::parse();
    process::allow_descriptors();
    let result = match cli.command {
        Command::Compare(args) => compare(&args),
        Command::Run(args) => run(&args).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            report::progress("weir-load: at least one run FAILED");
            ExitCode::FAILURE
        }
        Err(e) => {
            report::progress(&format!("weir-load: {e}"));
            ExitCode::FAILURE
        }
    }
}

/// True when every run went well.
fn compare(args: &CompareArgs) -> Result<bool> {
    let comparison = compare::run(args)?;
    if let Some(path) = &args.json {
        report::write_json(path, &comparison)?;
    }
    report::print_comparison(&comparison)?;
    Ok(comparison.all_went_well())
}

fn run(args: &RunArgs) -> Result<()> {
    args.load.validate(&[args.scenario])?;
    let target = Target {
        entrance: args.url.clone(),
        pid: args.pid,
        patience: args.load.patience(),
    };
    let outcome = args.scenario.run(target, &args.load)?;
    if let Some(path) = &args.json {
        report::write_json(path, &outcome)?;
    }
    report::print_run(args.scenario, &outcome)
}
