//! `compare`: every scenario on every server, round by round, so that whatever else the machine
//! does hits all servers alike.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::{CompareArgs, LoadArgs};
use crate::error::{LoadError, Result};
use crate::measure::Outcome;
use crate::metric::{Metric, Summary};
use crate::report;
use crate::scenario::{Scenario, Target};
use crate::server::{RunningServer, ServerSpec};
use crate::way::Way;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Version of this generator.
    pub generator: &'static str,
    /// Processors of the machine.
    pub processors: usize,
    /// True when the stores lay in memory, where syncing costs nothing.
    pub store_in_memory: bool,
    /// The load.
    pub load: LoadArgs,
    /// The servers.
    pub servers: Vec<ServerReport>,
    /// One per scenario and way in.
    pub scenarios: Vec<ScenarioReport>,
}

/// A server of a comparison.
#[derive(Debug, Serialize)]
pub struct ServerReport {
    /// Its name on the command line.
    pub name: String,
    /// What was started.
    pub program: String,
    /// With these arguments.
    pub args: Vec<String>,
    /// And this configuration file.
    pub conf: Option<String>,
    /// As it calls itself; empty until it has run.
    pub version: String,
}

/// A scenario of a comparison.
#[derive(Debug, Serialize)]
pub struct ScenarioReport {
    /// Which.
    pub scenario: Scenario,
    /// How clients came in.
    pub over: Way,
    /// What its latency means.
    pub latency_of: Option<&'static str>,
    /// Every server, in the order of the command line.
    pub servers: Vec<ServerRuns>,
    /// The first server over each other one.
    pub ratios: Vec<Ratio>,
}

/// The rounds of one server in one scenario.
#[derive(Debug, Serialize)]
pub struct ServerRuns {
    /// Which server.
    pub server: String,
    /// The version of TLS and its cipher.
    pub security: Option<String>,
    /// Rounds that went well.
    pub runs: Vec<Outcome>,
    /// Why the others did not.
    pub failures: Vec<String>,
    /// Medians and extremes.
    pub figures: BTreeMap<Metric, Summary>,
}

/// A figure of the first server over that of another.
#[derive(Debug, Serialize)]
pub struct Ratio {
    /// The figure.
    pub metric: Metric,
    /// The first server.
    pub of: String,
    /// The other server.
    pub over: String,
    /// Median over median.
    pub ratio: f64,
}

impl Comparison {
    /// True when every run of every server went well.
    pub fn all_went_well(&self) -> bool {
        self.scenarios
            .iter()
            .flat_map(|s| &s.servers)
            .all(|s| s.failures.is_empty())
    }
}

/// Runs everything. A run that fails is noted and the others go on.
///
/// # Errors
/// Only when nothing can be run at all.
pub fn run(args: &CompareArgs) -> Result<Comparison> {
    let mut names: Vec<_> = args.servers.iter().map(|s| &s.name).collect();
    names.sort();
    names.dedup();
    if names.len() != args.servers.len() {
        return Err(LoadError::Usage("two servers have the same name".into()));
    }
    let scenarios = if args.only.is_empty() {
        Scenario::value_variants().to_vec()
    } else {
        args.only.clone()
    };
    args.load.validate(&scenarios)?;
    let mut comparison = empty(args, &scenarios, &args.over);
    for round in 1..=args.rounds {
        for row in &mut comparison.scenarios {
            let (scenario, way) = (row.scenario, row.over);
            for v in order(round, args.servers.len()) {
                let spec = &args.servers[v];
                if !spec.runs(scenario) {
                    continue;
                }
                let title = report::title(scenario, way);
                let label = format!("round {round}/{} {title} {}", args.rounds, spec.name);
                report::progress(&format!("{label} ..."));
                let runs = &mut row.servers[v];
                match run_once(spec, scenario, way, args) {
                    Ok(run) => {
                        runs.security = run.security;
                        report::progress(&format!("{label}: {}", report::one_line(scenario, &run.outcome)));
                        runs.runs.push(run.outcome);
                        comparison.servers[v].version = run.version;
                        comparison.store_in_memory |= run.store_in_memory;
                    }
                    Err(e) => {
                        report::progress(&format!("{label}: FAILED: {e}"));
                        runs.failures.push(format!("round {round}: {e}"));
                    }
                }
            }
        }
    }
    for scenario in &mut comparison.scenarios {
        summarise(scenario);
    }
    Ok(comparison)
}

/// Order of the servers in a round, by index. Every round begins with the next one: what a run
/// leaves behind, such as pages to be written back, must not always hit the same server.
fn order(round: u32, servers: usize) -> impl Iterator<Item = usize> {
    let first = round as usize - 1;
    (0..servers).map(move |i| (first + i) % servers)
}

struct OneRun {
    outcome: Outcome,
    version: String,
    security: Option<String>,
    store_in_memory: bool,
}

fn run_once(spec: &ServerSpec, scenario: Scenario, way: Way, args: &CompareArgs) -> Result<OneRun> {
    let root = args.store_root.as_deref();
    let mut server = RunningServer::start(spec, way, scenario.needs_jetstream(), root)?;
    let (version, store_in_memory) = (server.version(), server.store_in_memory());
    let security = server.security().map(str::to_owned);
    let target = Target {
        entrance: server.entrance().clone(),
        pid: Some(server.pid()),
        patience: args.load.patience(),
    };
    match scenario.run(target, &args.load) {
        Ok(outcome) => {
            server.stop()?;
            Ok(OneRun {
                outcome,
                version,
                security,
                store_in_memory,
            })
        }
        Err(e) => {
            // A server that has crashed explains the error better than the closed connection.
            server.check_alive()?;
            let log = server.log_tail();
            report::progress(&format!("log of {} ends:\n{log}", spec.name));
            Err(e)
        }
    }
}

fn empty(args: &CompareArgs, scenarios: &[Scenario], ways: &[Way]) -> Comparison {
    let servers = args.servers.iter().map(|spec| ServerReport {
        name: spec.name.clone(),
        program: spec.program.display().to_string(),
        args: spec.args.clone(),
        conf: spec.conf.as_ref().map(|path| path.display().to_string()),
        version: String::new(),
    });
    let runs = |spec: &ServerSpec| ServerRuns {
        server: spec.name.clone(),
        security: None,
        runs: Vec::new(),
        failures: Vec::new(),
        figures: BTreeMap::new(),
    };
    let pairs = scenarios
        .iter()
        .flat_map(|&scenario| ways.iter().map(move |&over| (scenario, over)));
    let scenarios = pairs.map(|(scenario, over)| ScenarioReport {
        scenario,
        over,
        latency_of: scenario.latency_of(),
        servers: args.servers.iter().map(runs).collect(),
        ratios: Vec::new(),
    });
    Comparison {
        generator: env!("CARGO_PKG_VERSION"),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        store_in_memory: false,
        load: args.load.clone(),
        servers: servers.collect(),
        scenarios: scenarios.collect(),
    }
}

fn summarise(scenario: &mut ScenarioReport) {
    for server in &mut scenario.servers {
        for metric in Metric::ALL {
            let values = server.runs.iter().filter_map(|run| metric.of(run)).collect();
            server
                .figures
                .extend(Summary::over(values).map(|summary| (metric, summary)));
        }
    }
    let servers: Vec<_> = scenario.servers.iter().filter(|s| s.took_part()).collect();
    let Some((first, others)) = servers.split_first() else {
        return;
    };
    for metric in Metric::ALL {
        for other in others {
            let (Some(of), Some(over)) = (figure(first, metric), figure(other, metric)) else {
                continue;
            };
            if over.median > 0.0 {
                scenario.ratios.push(Ratio {
                    metric,
                    of: first.server.clone(),
                    over: other.server.clone(),
                    ratio: of.median / over.median,
                });
            }
        }
    }
}

impl ServerRuns {
    /// Whether the server took part in the scenario at all.
    pub fn took_part(&self) -> bool {
        !self.runs.is_empty() || !self.failures.is_empty()
    }
}

/// A figure of a server, when it has it.
pub fn figure(server: &ServerRuns, metric: Metric) -> Option<Summary> {
    server.figures.get(&metric).copied()
}

#[cfg(test)]
mod tests;
