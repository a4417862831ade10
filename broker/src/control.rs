//! `--signal`: what is sent to a server that runs already.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Error, Result};

/// Sends `command`, or `command=pid`. The process is a number, a file that holds one, or the beginning of one with a `*`
/// behind it; without it the one server there is.
///
/// # Errors
/// There is no such server, or more than one; the command is none; or the system refuses.
pub fn send(signal: &str) -> Result<()> {
    let mut parts = signal.split('=');
    let command = parts.next().unwrap_or_default();
    let wanted = parts.next().map(pid_or_file).unwrap_or_default();
    if let Some(rest) = parts.next() {
        return fail(format!("invalid signal parameters: [{rest}]"));
    }
    let name = own_name();
    let pids = choose(&wanted, &name, || servers(&name))?;
    let Some(signal) = signal_of(command) else {
        return fail(format!("unknown signal {command:?}"));
    };
    let mut failed = String::new();
    for raw in pids {
        let pid = Pid::from_raw(raw).ok_or(rustix::io::Errno::SRCH);
        if let Err(error) = pid.and_then(|pid| kill_process(pid, signal)) {
            failed.push_str(&format!("\nsignal {command:?} {raw}: {error}"));
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => fail(failed),
    }
}

fn fail<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Options(text.into()))
}

/// As in nats-server.
fn signal_of(command: &str) -> Option<Signal> {
    Some(match command {
        "stop" => Signal::KILL,
        "quit" => Signal::INT,
        "term" => Signal::TERM,
        "reopen" => Signal::USR1,
        "reload" => Signal::HUP,
        "ldm" => Signal::USR2,
        _ => return None,
    })
}

/// What a file of that name holds, or the text itself.
fn pid_or_file(text: &str) -> String {
    fs::read_to_string(text).map_or_else(|_| text.to_owned(), |text| text.trim().to_owned())
}

/// The processes that are meant.
fn choose(wanted: &str, name: &str, servers: impl FnOnce() -> Vec<i32>) -> Result<Vec<i32>> {
    let (start, is_open) = match wanted.strip_suffix('*') {
        Some(start) => (start, true),
        None => (wanted, false),
    };
    let number = start.parse::<i32>().ok().filter(|&pid| pid > 0);
    match number {
        None if !start.is_empty() => return fail(format!("invalid pid: {start}")),
        Some(pid) if !is_open => return Ok(vec![pid]),
        _ => {}
    }
    let found = servers();
    if found.is_empty() {
        return fail(format!("no {name} processes running"));
    }
    if found.len() > 1 && !is_open {
        let list: String = found.iter().map(|pid| format!("\n{pid}")).collect();
        return fail(format!("multiple {name} processes running:{list}"));
    }
    Ok(found
        .into_iter()
        .filter(|pid| pid.to_string().starts_with(start))
        .collect())
}

/// What processes of this program are called: by the name that it was started by, a link's perhaps.
fn own_name() -> String {
    let name = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    match name.trim() {
        "" => "weir-server".to_owned(),
        name => name.to_owned(),
    }
}

/// The processes of that name but for this one, in the order of their numbers: what `pgrep` finds for nats-server.
fn servers(name: &str) -> Vec<i32> {
    let own = std::process::id().cast_signed();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_one = |pid: &i32| {
        let theirs = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        *pid != own && theirs.trim() == name && !has_ended(*pid)
    };
    let mut found: Vec<i32> = pids.filter(is_one).collect();
    found.sort_unstable();
    found
}

/// Whether a process is only waited for by the one that started it.
fn has_ended(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

#[cfg(test)]
mod tests;
