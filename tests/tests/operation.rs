//! A server as its keeper sees it: pid file, signals, reload, log file, and what systemd is told.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use weir_tests::kept::{Kept, PATIENCE, POLL, signal};
use weir_tests::server::program;

#[test]
fn a_reload_applies_or_says_why_not() -> Result<()> {
    let server = Kept::start("max_payload: 1000")?;
    let said = server.reload("max_payload: 2000\ndebug: true")?;
    ensure!(said.contains("Trapped \"hangup\" signal"), "{said}");
    ensure!(
        said.contains("Reloaded: max_payload = 2000") && said.contains("Reloaded: debug = true"),
        "{said}"
    );
    ensure!(said.contains("Reloaded server configuration"), "{said}");
    let said = server.reload("max_paylod: 3000")?;
    ensure!(
        said.contains("Failed to reload server configuration: ") && said.contains("did you mean \"max_payload\""),
        "{said}"
    );
    let said = server.reload("max_payload: 3000\nserver_name: other")?;
    ensure!(said.contains("config reload not supported for server_name"), "{said}");
    ensure!(!said.contains("Reloaded: "), "{said}");
    let said = server.reload("max_payload: 2000\ndebug: true")?;
    ensure!(
        said.contains("Reloaded server configuration") && !said.contains("Reloaded: "),
        "{said}"
    );
    server.signal("quit")?;
    server.hears("STOPPING=1")?;
    ensure!(server.wait()?.success());
    Ok(())
}

#[test]
fn a_log_that_was_renamed_is_begun_anew() -> Result<()> {
    let server = Kept::start("")?;
    fs::rename(server.path("log"), server.path("old"))?;
    server.signal("reopen")?;
    // Nobody tells of this.
    let end = Instant::now() + PATIENCE;
    while !fs::read_to_string(server.path("log")).is_ok_and(|log| log.contains("File log re-opened")) {
        ensure!(Instant::now() < end, "the log was not begun anew");
        std::thread::sleep(POLL);
    }
    ensure!(fs::read_to_string(server.path("old"))?.contains("Server is ready"));
    server.signal("term")?;
    server.hears("STOPPING=1")?;
    ensure!(server.wait()?.success());
    Ok(())
}

/// It took it away with it, and the server that runs could not be signalled any more.
#[test]
fn a_start_that_fails_leaves_the_pid_file_of_the_server_that_runs() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let server = Kept::start("")?;
    let configuration = server.path("other.conf");
    fs::write(
        &configuration,
        format!(
            "listen: \"127.0.0.1:-1\"\npid_file: {:?}\nhttp: {:?}\n",
            server.path("pid"),
            taken.local_addr()?.to_string()
        ),
    )?;
    let other = Command::new(program()).arg("-c").arg(&configuration).output()?;
    ensure!(other.status.code() == Some(1), "{other:?}");
    ensure!(fs::read_to_string(server.path("pid"))? == server.pid().to_string());
    server.signal("term")?;
    server.hears("STOPPING=1")?;
    ensure!(server.wait()?.success());
    Ok(())
}

/// As with nats-server: whoever else is on the machine reads neither messages nor traces of them.
#[test]
fn what_is_stored_and_logged_is_its_owners() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("new").join("store");
    let server = Kept::start(&format!("jetstream {{ store_dir: {store:?} }}"))?;
    let mode = |path: &Path| -> Result<u32> { Ok(fs::metadata(path)?.permissions().mode() & 0o777) };
    for path in [&store, &store.join("weir")] {
        ensure!(mode(path)? == 0o700, "{}: {:o}", path.display(), mode(path)?);
    }
    let log = mode(&server.path("log"))?;
    ensure!(log & !0o640 == 0, "{log:o}");
    ensure!(server.log()?.contains("Durability:      sync"));
    Ok(())
}

/// It has no clients to wait for.
#[test]
fn a_lame_duck_ends_with_0() -> Result<()> {
    let server = Kept::start("lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"")?;
    server.signal("ldm")?;
    server.hears("STOPPING=1")?;
    ensure!(server.wait()?.success());
    Ok(())
}

/// As Go's runtime: whoever sends it wants to know what stands still.
#[test]
fn quit_ends_with_2_and_tells_of_threads() -> Result<()> {
    let mut server = Kept::start("")?;
    let pid = i32::try_from(server.pid())?;
    let pid = rustix::process::Pid::from_raw(pid).context("no process")?;
    rustix::process::kill_process(pid, rustix::process::Signal::QUIT)?;
    let status = server.ended()?;
    ensure!(status.code() == Some(2), "{status}");
    let said = fs::read_to_string(server.path("stderr"))?;
    ensure!(
        said.starts_with("SIGQUIT: quit\n") && said.contains("thread "),
        "{said}"
    );
    Ok(())
}

#[test]
fn what_cannot_be_signalled() -> Result<()> {
    for (argument, expected) in [
        ("bogus=1", "unknown signal \"bogus\""),
        ("reload=1=2", "invalid signal parameters: [2]"),
        ("reload=nobody", "invalid pid: nobody"),
    ] {
        let (status, said) = signal(argument)?;
        ensure!(
            status.code() == Some(1) && said == format!("weir-server: {expected}\n"),
            "{argument}: {status}, {said}"
        );
    }
    Ok(())
}
