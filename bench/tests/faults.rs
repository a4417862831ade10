//! The checks of the generator are only worth something when they fail: a small broker that loses,
//! doubles, swaps or changes one message must be found out.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use clap::Parser;
use weir_bench::cli::{Cli, Command, LoadArgs};
use weir_bench::error::{LoadError, Result};
use weir_bench::measure::Outcome;
use weir_bench::scenario::{Scenario, Target};
use weir_bench::server::{RunningServer, ServerSpec};
use weir_bench::way::{Entrance, Way};

use support::broker::{Fault, start};

fn load(arguments: &[&str]) -> LoadArgs {
    let line = ["weir-load", "run", "pubsub", "--patience", "5"]
        .iter()
        .chain(arguments);
    match Cli::try_parse_from(line).unwrap().command {
        Command::Run(run) => run.load,
        Command::Compare(_) => unreachable!("`run` was asked for"),
    }
}

fn run(fault: Fault, scenario: Scenario, messages: &str) -> Result<Outcome> {
    let load = load(&["--messages", messages, "--subscribers", "3"]);
    let target = Target {
        entrance: Entrance::plain(start(fault)),
        pid: None,
        patience: load.patience(),
    };
    scenario.run(target, &load)
}

#[test]
fn an_honest_broker_passes() {
    assert_eq!(run(Fault::None, Scenario::Pubsub, "5000").unwrap().messages, 5000);
    assert_eq!(run(Fault::None, Scenario::Fanout, "1000").unwrap().messages, 3000);
    let requests = run(Fault::None, Scenario::Request, "200").unwrap();
    assert_eq!(requests.messages, 200);
    assert_eq!(requests.latency.unwrap().samples, 200);
}

#[test]
fn a_broker_with_one_fault_is_found_out() {
    for fault in [Fault::Lose, Fault::Double, Fault::SwapWithNext, Fault::ChangeLastByte] {
        for scenario in [Scenario::Pubsub, Scenario::Fanout] {
            match run(fault, scenario, "5000") {
                Err(LoadError::Verify(_)) => {}
                other => panic!("{fault:?} in {scenario:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_very_last_message_is_missed_too() {
    match run(Fault::Lose, Scenario::Pubsub, "100") {
        Err(LoadError::Verify(text)) => assert!(text.contains("100 were sent"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn idle_without_a_process_is_refused() {
    assert!(matches!(
        run(Fault::None, Scenario::Idle, "1"),
        Err(LoadError::Usage(_))
    ));
}

#[test]
fn a_program_that_is_no_server_is_reported_with_its_output() {
    let spec: ServerSpec = "x=false".parse().unwrap();
    match RunningServer::start(&spec, Way::Plain, false, None) {
        Err(LoadError::Server(text)) => assert!(text.contains("ended by itself"), "{text}"),
        other => panic!("{other:?}"),
    }
}
