//! The only module that writes to standard output and standard error.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::compare::{Comparison, ScenarioReport, ServerRuns, figure};
use crate::error::{LoadError, Result};
use crate::measure::Outcome;
use crate::metric::Metric;
use crate::scenario::Scenario;
use crate::way::Way;

/// The figures of the short table.
const SHORT: [Metric; 4] = [
    Metric::MessagesPerSecond,
    Metric::MessagesPerServerCpuSecond,
    Metric::P99Us,
    Metric::ConnectionKib,
];

/// A line for those who wait, to standard error.
pub fn progress(line: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// What is measured, and how clients come in, if that is not plainly.
pub fn title(scenario: Scenario, way: Way) -> String {
    match way {
        Way::Plain => scenario.name().into(),
        _ => format!("{} over {}", scenario.name(), way.name()),
    }
}

/// The figures of one run in one line.
pub fn one_line(scenario: Scenario, run: &Outcome) -> String {
    let mut parts: Vec<String> = Metric::ALL
        .into_iter()
        .filter_map(|m| {
            m.of(run)
                .map(|value| format!("{} {}", number(value), m.label_of(scenario.unit())))
        })
        .collect();
    parts.push(format!("{:.2} client CPU s", run.client_cpu_seconds));
    if let Some(load) = run.load_average {
        parts.push(format!("load average {load:.1}"));
    }
    parts.join(", ")
}

/// Prints the result of `run`.
///
/// # Errors
/// When standard output is closed.
pub fn print_run(scenario: Scenario, run: &Outcome) -> Result<()> {
    let unit = scenario.unit();
    let mut text = format!(
        "{}: {} {unit} in {:.3} s\n",
        scenario.name(),
        number(run.messages as f64),
        run.seconds
    );
    for metric in Metric::ALL {
        if let Some(value) = metric.of(run) {
            text.push_str(&format!("  {:<22} {:>14}\n", metric.label_of(unit), number(value)));
        }
    }
    text.push_str(&format!("  {:<22} {:>14.2}\n", "client CPU s", run.client_cpu_seconds));
    write_out(&text)
}

/// Prints the tables of a comparison.
///
/// # Errors
/// When standard output is closed.
pub fn print_comparison(comparison: &Comparison) -> Result<()> {
    let mut text = String::from("\n");
    for server in &comparison.servers {
        let args = server.args.join(" ");
        let conf = server.conf.as_ref().map_or(String::new(), |c| format!(" -c {c}"));
        text.push_str(&format!(
            "{}: {} {args}{conf} (version {})\n",
            server.name, server.program, server.version
        ));
    }
    text.push_str(&format!(
        "{} processors, bodies of {} bytes; medians, +- half the range of the rounds\n",
        comparison.processors, comparison.load.size
    ));
    if comparison.store_in_memory {
        text.push_str("WARNING: the stores lay in memory, where syncing costs nothing\n");
    }
    for scenario in &comparison.scenarios {
        text.push_str(&scenario_table(scenario));
    }
    if comparison.scenarios.len() > 1 {
        text.push_str(&short_table(comparison));
    }
    write_out(&text)
}

fn scenario_table(scenario: &ScenarioReport) -> String {
    let servers: Vec<_> = scenario.servers.iter().filter(|s| s.took_part()).collect();
    let Some((first, others)) = servers.split_first() else {
        return String::new();
    };
    let mut text = heading(scenario, &servers);
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(servers.iter().map(|s| s.server.clone()));
    rows[0].extend(others.iter().map(|o| format!("{}/{}", first.server, o.server)));
    for metric in Metric::ALL {
        if servers.iter().all(|s| figure(s, metric).is_none()) {
            continue;
        }
        let better = if metric.larger_is_better() { "more" } else { "less" };
        let mut row = vec![format!(
            "{} ({better} is better)",
            metric.label_of(scenario.scenario.unit())
        )];
        row.extend(servers.iter().map(|server| match figure(server, metric) {
            Some(s) => format!("{} +-{:.0}%", number(s.median), s.spread_percent()),
            None => "-".into(),
        }));
        row.extend(others.iter().map(|other| ratio(scenario, metric, &other.server)));
        rows.push(row);
    }
    text.push_str(&aligned(&rows));
    for server in servers {
        for failure in &server.failures {
            text.push_str(&format!("FAILED {}: {failure}\n", server.server));
        }
    }
    text
}

/// The first server over another one.
fn ratio(scenario: &ScenarioReport, metric: Metric, over: &str) -> String {
    let found = scenario.ratios.iter().find(|r| r.metric == metric && r.over == over);
    found.map_or("-".into(), |r| format!("{:.2}x", r.ratio))
}

/// One line for each scenario and way in, with the medians that matter most.
fn short_table(comparison: &Comparison) -> String {
    let names: Vec<&str> = comparison.servers.iter().map(|s| &*s.name).collect();
    let mut text = String::from("\n");
    for metric in SHORT {
        let has = |s: &&ScenarioReport| s.servers.iter().any(|server| figure(server, metric).is_some());
        let with: Vec<&ScenarioReport> = comparison.scenarios.iter().filter(has).collect();
        if with.is_empty() {
            continue;
        }
        let mut rows = vec![vec![metric.label().into()]];
        rows[0].extend(names.iter().map(|&name| name.to_owned()));
        rows[0].extend(names.iter().skip(1).map(|other| format!("{}/{other}", names[0])));
        for scenario in with {
            let mut row = vec![title(scenario.scenario, scenario.over)];
            row.extend(scenario.servers.iter().map(|server| match figure(server, metric) {
                Some(s) => number(s.median),
                None => "-".into(),
            }));
            row.extend(names.iter().skip(1).map(|other| ratio(scenario, metric, other)));
            rows.push(row);
        }
        text.push_str(&aligned(&rows));
        text.push('\n');
    }
    text
}

/// Name, rounds and messages of a scenario, and what its latency is.
fn heading(scenario: &ScenarioReport, servers: &[&ServerRuns]) -> String {
    let rounds = servers.iter().map(|s| s.runs.len()).max().unwrap_or(0);
    let counts = || servers.iter().flat_map(|s| &s.runs).map(|run| run.messages);
    let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
    let unit = scenario.scenario.unit();
    let messages = match (least, most) {
        (0, 0) => String::new(),
        _ if least == most => format!(", {} {unit}", number(most as f64)),
        _ => format!(", {} to {} {unit}", number(least as f64), number(most as f64)),
    };
    let name = title(scenario.scenario, scenario.over);
    let security: String = servers
        .iter()
        .filter_map(|s| Some(format!("{}: {}\n", s.server, s.security.as_ref()?)))
        .collect();
    let latency = scenario
        .latency_of
        .map_or(String::new(), |what| format!("latency: {what}\n"));
    format!("\n{name} ({rounds} rounds{messages})\n{latency}{security}")
}

/// Columns as wide as their widest cell; the first to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|r| r.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            match column {
                0 => line.push_str(&format!("  {cell:<width$}")),
                _ => line.push_str(&format!("  {cell:>width$}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Two decimals below 100, whole numbers with separators above.
fn number(value: f64) -> String {
    if value < 100.0 && value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes `value` as JSON to a file.
///
/// # Errors
/// [`LoadError::Io`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| LoadError::Usage(format!("writing JSON: {e}")))?;
    text.push('\n');
    fs::write(path, text).map_err(LoadError::io(format!("writing {}", path.display())))
}

fn write_out(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(LoadError::io("writing to standard output"))
}

#[cfg(test)]
mod tests;
