//! The figures that are compared, and their statistics over rounds.

use serde::Serialize;

use crate::measure::Outcome;

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

/// A figure of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Messages per second of wall time.
    MessagesPerSecond,
    /// Messages per second of server processor time.
    MessagesPerServerCpuSecond,
    /// Server processor seconds.
    ServerCpuSeconds,
    /// Median latency, µs.
    P50Us,
    /// 99th percentile of latency, µs.
    P99Us,
    /// Resident memory of a connection, KiB.
    ConnectionKib,
    /// Resident memory at the end, MiB.
    ResidentMib,
    /// Anonymous resident memory at the end, MiB.
    AnonymousMib,
    /// Peak resident memory, MiB.
    PeakMib,
}

impl Metric {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 9] = [
        Self::MessagesPerSecond,
        Self::MessagesPerServerCpuSecond,
        Self::ServerCpuSeconds,
        Self::P50Us,
        Self::P99Us,
        Self::ConnectionKib,
        Self::ResidentMib,
        Self::AnonymousMib,
        Self::PeakMib,
    ];

    /// Name in the table.
    pub fn label(self) -> &'static str {
        match self {
            Self::MessagesPerSecond => "messages/s",
            Self::MessagesPerServerCpuSecond => "messages/server-CPU-s",
            Self::ServerCpuSeconds => "server CPU s",
            Self::P50Us => "p50 latency us",
            Self::P99Us => "p99 latency us",
            Self::ConnectionKib => "KiB per connection",
            Self::ResidentMib => "resident MiB",
            Self::AnonymousMib => "anonymous MiB",
            Self::PeakMib => "peak resident MiB",
        }
    }

    /// The same where what is counted are these.
    pub fn label_of(self, unit: &str) -> String {
        self.label().replacen("messages", unit, 1)
    }

    /// True when a larger value is the better one.
    pub fn larger_is_better(self) -> bool {
        matches!(self, Self::MessagesPerSecond | Self::MessagesPerServerCpuSecond)
    }

    /// The figure of one run; `None` where the scenario has none.
    pub fn of(self, run: &Outcome) -> Option<f64> {
        let messages = (run.messages > 0).then_some(run.messages as f64);
        let positive = |x: f64| (x > 0.0).then_some(x);
        match self {
            Self::MessagesPerSecond => Some(messages? / positive(run.seconds)?),
            // Less than one tick of processor time is no measurement.
            Self::MessagesPerServerCpuSecond => Some(messages? / positive(run.server_cpu_seconds?)?),
            // An idle server uses a tick or none, which is noise and not a figure.
            Self::ServerCpuSeconds => messages.and(run.server_cpu_seconds),
            Self::P50Us => Some(run.latency?.p50_us),
            Self::P99Us => Some(run.latency?.p99_us),
            Self::ConnectionKib => Some(run.connection_bytes? / KIB),
            Self::ResidentMib => Some(run.resident_bytes? as f64 / MIB),
            Self::AnonymousMib => Some(run.anonymous_bytes? as f64 / MIB),
            Self::PeakMib => Some(run.peak_bytes? as f64 / MIB),
        }
    }
}

/// A figure over the rounds of one server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The median of the rounds.
    pub median: f64,
    /// The smallest of them.
    pub min: f64,
    /// The largest of them.
    pub max: f64,
    /// How many rounds had the figure.
    pub rounds: usize,
}

impl Summary {
    /// Over these values; `None` when there are none.
    pub fn over(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Some(Self {
            median,
            min,
            max,
            rounds: values.len(),
        })
    }

    /// Half the distance between the extremes, in per cent of the median.
    pub fn spread_percent(&self) -> f64 {
        if self.median == 0.0 {
            0.0
        } else {
            (self.max - self.min) / 2.0 / self.median * 100.0
        }
    }
}

#[cfg(test)]
mod tests;
