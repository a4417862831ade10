//! `/debug/vars` and `/stacksz`: the process, as far as it can be told without stopping it. From `/proc`; little where there is none.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Reports;
use crate::limits::THREADS_MAX;

/// The process, under the names of Go's `expvar`.
#[derive(Clone, Debug, Serialize)]
pub struct Expvarz {
    cmdline: Vec<String>,
    memstats: MemStats,
}

/// Memory in bytes. Of Go's fields those that mean something here.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MemStats {
    /// Resident: heap, stacks, and pages of files that are mapped.
    alloc: u64,
    /// Address space.
    sys: u64,
    /// Resident, without files that are mapped.
    heap_alloc: u64,
}

/// Flags whose value is a secret, without dashes.
const SECRETS: &[&str] = &["user", "pass", "auth"];
const HIDDEN: &str = "[REDACTED]";

/// Bytes of the process's memory: all that is mapped, what of it is resident, and what of that is files'. From `/proc`; zeros where there
/// is none.
pub(super) fn memory() -> [u64; 3] {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut fields = statm.split_whitespace().map_while(|field| field.parse::<u64>().ok());
    [(); 3].map(|()| fields.next().unwrap_or(0) * rustix::param::page_size() as u64)
}

impl Reports {
    /// The process in numbers.
    #[must_use]
    pub fn expvarz(&self) -> Expvarz {
        let [size, resident, shared] = memory();
        Expvarz {
            cmdline: without_secrets(std::env::args_os().map(|arg| arg.to_string_lossy().into_owned())),
            memstats: MemStats {
                alloc: resident,
                sys: size,
                heap_alloc: resident.saturating_sub(shared),
            },
        }
    }

    /// The threads: what they are called, what they do, where they wait in the kernel, and how long they have run. Their stacks are not
    /// looked at: that would stop them.
    #[must_use]
    pub fn stacksz(&self) -> String {
        let mut text = String::new();
        let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
            return text;
        };
        for thread in threads.flatten().take(THREADS_MAX) {
            let read = |name: &str| std::fs::read_to_string(thread.path().join(name)).unwrap_or_default();
            let (comm, stat, wchan) = (read("comm"), read("stat"), read("wchan"));
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            let state = match state {
                Some('R') => "running",
                Some('S') => "sleeping",
                Some('D') => "waiting for a disk",
                _ => "ending",
            };
            let wait = match wchan.trim() {
                "" | "0" => "",
                wait => wait,
            };
            let id = thread.file_name();
            // Writing to a string has no failure.
            let _ = writeln!(
                text,
                "thread {} {} [{state}] cpu {:.3}s {wait}",
                id.to_string_lossy(),
                comm.trim(),
                ran(&thread.path()).as_secs_f64()
            );
        }
        text
    }
}

/// How long a thread has run so far. From `/proc`; 0 where there is none.
fn ran(thread: &Path) -> Duration {
    let text = std::fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// How long each thread has run so far, by its number, with its name.
fn threads() -> BTreeMap<String, (String, Duration)> {
    let listed = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let told = listed.take(THREADS_MAX).map(|thread| {
        let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let id = thread.file_name().to_string_lossy().into_owned();
        (id, (name.trim().to_owned(), ran(&thread.path())))
    });
    told.collect()
}

impl Reports {
    /// Which threads the processor worked for during `time`, those that it worked most for first; waits for so long.
    #[must_use]
    pub fn cpu_profile(&self, time: Duration) -> String {
        let (began, before) = (Instant::now(), threads());
        std::thread::sleep(time);
        let (after, time) = (threads(), began.elapsed());
        let mut all: Vec<(Duration, String)> = after
            .into_iter()
            .map(|(id, (name, ran))| {
                let was = before.get(&id).map_or(Duration::ZERO, |(_, was)| *was);
                (ran.saturating_sub(was), format!("{name} ({id})"))
            })
            .collect();
        all.sort_by(|a, b| b.cmp(a));
        let total: Duration = all.iter().map(|(ran, _)| *ran).sum();
        let share = |ran: Duration| 100.0 * ran.as_secs_f64() / time.as_secs_f64().max(f64::EPSILON);
        let mut text = format!(
            "{:.3}s in {:.3}s ({:.1}%)\n",
            total.as_secs_f64(),
            time.as_secs_f64(),
            share(total)
        );
        for (ran, thread) in all {
            // Writing to a string has no failure.
            let _ = writeln!(text, "{:>10.3}s {:>6.1}% {thread}", ran.as_secs_f64(), share(ran));
        }
        text
    }
}

/// Arguments as they may be shown.
fn without_secrets(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut shown = Vec::new();
    let mut hide_next = false;
    for argument in arguments {
        if std::mem::take(&mut hide_next) {
            shown.push(HIDDEN.to_owned());
            continue;
        }
        let is_secret = |name: &str| SECRETS.contains(&name.trim_start_matches('-'));
        match argument.split_once('=') {
            Some((name, _)) if name.starts_with('-') && is_secret(name) => shown.push(format!("{name}={HIDDEN}")),
            _ => {
                hide_next = argument.starts_with('-') && is_secret(&argument);
                shown.push(argument);
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests;
