//! What one run of one scenario yields.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::{LoadError, Result};
use crate::process;

/// Longest latency the histograms tell apart, in ns; longer ones count as this.
const LONGEST_NS: u64 = 600_000_000_000;

/// An empty latency histogram in nanoseconds, three significant digits.
///
/// # Errors
/// None in practice: the bounds are constants.
pub fn latencies() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).map_err(|e| LoadError::Usage(format!("histogram: {e}")))
}

/// Latencies of a run, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Half of them were faster.
    pub p50_us: f64,
    /// One in a hundred was slower.
    pub p99_us: f64,
    /// The slowest.
    pub max_us: f64,
    /// How many were measured.
    pub samples: u64,
}

/// Result of one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outcome {
    /// Messages that went through, as the scenario counts them. 0 for an idle server.
    pub messages: u64,
    /// Wall time of the measured part, seconds.
    pub seconds: f64,
    /// Server processor time of the measured part, seconds; `None` when its pid is not known.
    pub server_cpu_seconds: Option<f64>,
    /// Processor time of this generator in the measured part, seconds.
    pub client_cpu_seconds: f64,
    /// `None` for scenarios without latency.
    pub latency: Option<Latency>,
    /// Resident memory of the server at the end, bytes.
    pub resident_bytes: Option<u64>,
    /// What of that belongs to no file, bytes.
    pub anonymous_bytes: Option<u64>,
    /// Most resident memory of the server since it started, bytes.
    pub peak_bytes: Option<u64>,
    /// Bytes by which resident memory of the server grew, for each connection; only in `connections`.
    pub connection_bytes: Option<f64>,
    /// Load average of the machine when the run began.
    pub load_average: Option<f64>,
}

/// A running measurement.
#[derive(Debug)]
pub struct Meter {
    pid: Option<u32>,
    began: Instant,
    server_cpu: Option<Duration>,
    client_cpu: Duration,
    load_average: Option<f64>,
}

impl Meter {
    /// Starts the clock, now.
    ///
    /// # Errors
    /// When the server process is gone.
    pub fn start(pid: Option<u32>) -> Result<Self> {
        Ok(Self {
            pid,
            load_average: process::load_average(),
            server_cpu: pid.map(process::cpu_time).transpose()?,
            client_cpu: process::cpu_time(std::process::id())?,
            began: Instant::now(),
        })
    }

    /// Stops the clock, now. Memory is read later, by [`Stopped::finish`].
    ///
    /// # Errors
    /// When the server process is gone.
    pub fn stop(self) -> Result<Stopped> {
        let seconds = self.began.elapsed().as_secs_f64();
        let server = match (self.pid, self.server_cpu) {
            (Some(pid), Some(before)) => Some(process::cpu_time(pid)?.saturating_sub(before).as_secs_f64()),
            _ => None,
        };
        let client = process::cpu_time(std::process::id())?.saturating_sub(self.client_cpu);
        Ok(Stopped {
            meter: self,
            seconds,
            server,
            client: client.as_secs_f64(),
        })
    }
}

/// A measurement whose clock has stopped and whose memory has not been read.
#[derive(Debug)]
pub struct Stopped {
    meter: Meter,
    seconds: f64,
    server: Option<f64>,
    client: f64,
}

impl Stopped {
    /// Reads the server's memory and puts the result together.
    ///
    /// # Errors
    /// When the server process is gone.
    pub fn finish(self, messages: u64, latency: Option<&Histogram<u64>>) -> Result<Outcome> {
        let memory = self.meter.pid.map(process::memory).transpose()?;
        Ok(Outcome {
            messages,
            seconds: self.seconds,
            server_cpu_seconds: self.server,
            client_cpu_seconds: self.client,
            latency: latency.filter(|h| !h.is_empty()).map(|h| Latency {
                p50_us: h.value_at_quantile(0.50) as f64 / 1e3,
                p99_us: h.value_at_quantile(0.99) as f64 / 1e3,
                max_us: h.max() as f64 / 1e3,
                samples: h.len(),
            }),
            resident_bytes: memory.map(|m| m.resident),
            anonymous_bytes: memory.map(|m| m.anonymous),
            peak_bytes: memory.map(|m| m.peak),
            connection_bytes: None,
            load_average: self.meter.load_average,
        })
    }
}
