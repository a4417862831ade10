//! What the kernel says about a server process: processor time and memory, from `/proc`.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::error::{LoadError, Result};

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// `VmRSS`: now.
    pub resident: u64,
    /// `RssAnon`: what of that belongs to no file: heap and stacks, without code and mapped segments.
    pub anonymous: u64,
    /// `VmHWM`: the most since the process started.
    pub peak: u64,
}

/// Processor time of all threads of `pid` so far, user and system together. The kernel counts in
/// ticks, usually of 10 ms.
///
/// # Errors
/// [`LoadError::Io`] when there is no such process.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(LoadError::io(&*path))?;
    let ticks = cpu_ticks(&text).ok_or_else(|| LoadError::Server(format!("{path} is not understood: {text:?}")))?;
    Ok(Duration::from_secs_f64(
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
    ))
}

/// `utime + stime` of a `/proc/<pid>/stat` line. The command name stands in brackets and may hold
/// spaces and brackets itself, so fields are counted from the last closing one.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

/// Memory of `pid`.
///
/// # Errors
/// [`LoadError::Io`] when there is no such process.
pub fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(LoadError::io(&*path))?;
    let field = |name| kib_field(&text, name);
    match (field("VmRSS:"), field("RssAnon:"), field("VmHWM:")) {
        (Some(resident), Some(anonymous), Some(peak)) => Ok(Memory {
            resident,
            anonymous,
            peak,
        }),
        _ => Err(LoadError::Server(format!("process {pid} has no memory: it has ended"))),
    }
}

fn kib_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Lets this process, and the servers that it starts, open as many descriptors as an ordinary process may.
pub fn allow_descriptors() {
    let mut limits = getrlimit(Resource::Nofile);
    limits.current = limits.maximum;
    // Who may not is told so by the scenario that needs them.
    let _ = setrlimit(Resource::Nofile, limits);
}

/// The one-minute load average of the machine: how busy it was with anything at all.
pub fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg")
        .ok()?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests;
