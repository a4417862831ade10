//! A server as its keeper sees it: pid file, signals, reload, log file, and what systemd is told.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use weir_tests::server::program;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at a condition that has no event to wait for.
const POLL: Duration = Duration::from_millis(5);

/// A server that tells when it is ready, reloads and stops. Killed when dropped.
struct Kept {
    child: Child,
    folder: tempfile::TempDir,
    told: UnixDatagram,
}

impl Kept {
    /// Starts a server on this file, to which the port, the pid file and the log file are added, and waits until it is ready.
    fn start(text: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let told = UnixDatagram::bind(folder.path().join("notify"))?;
        told.set_read_timeout(Some(PATIENCE))?;
        write(folder.path(), text)?;
        let child = Command::new(program())
            .arg("-c")
            .arg(folder.path().join("a.conf"))
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .stderr(Stdio::null())
            .spawn()?;
        let kept = Self { child, folder, told };
        kept.hears("READY=1")?;
        Ok(kept)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits for what is told next, which is this.
    fn hears(&self, expected: &str) -> Result<()> {
        let mut buffer = [0; 500];
        let len = self
            .told
            .recv(&mut buffer)
            .with_context(|| format!("waiting for {expected}"))?;
        let heard = String::from_utf8_lossy(&buffer[..len]).into_owned();
        ensure!(heard.starts_with(expected), "{heard} instead of {expected}");
        Ok(())
    }

    /// Reloads by `--signal`, and returns what the log says of it.
    fn reload(&self, text: &str) -> Result<String> {
        write(self.folder.path(), text)?;
        let before = self.log()?.len();
        self.signal("reload")?;
        self.hears("RELOADING=1")?;
        self.hears("READY=1")?;
        Ok(self.log()?[before..].to_owned())
    }

    fn signal(&self, command: &str) -> Result<()> {
        let (status, said) = signal(&format!("{command}={}", self.path("pid").display()))?;
        ensure!(status.success(), "{said}");
        Ok(())
    }

    fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path("log"))?)
    }

    fn wait(mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Gone already where the test waited for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(folder: &Path, text: &str) -> Result<()> {
    let path = |name: &str| folder.join(name).display().to_string();
    let whole = format!(
        "listen: \"127.0.0.1:-1\"\npid_file: {:?}\nlog_file: {:?}\n{text}\n",
        path("pid"),
        path("log")
    );
    Ok(fs::write(folder.join("a.conf"), whole)?)
}

fn signal(argument: &str) -> Result<(ExitStatus, String)> {
    let output = Command::new(program()).arg("--signal").arg(argument).output()?;
    Ok((output.status, String::from_utf8_lossy(&output.stderr).into_owned()))
}

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

/// It has no clients to wait for.
#[test]
fn a_lame_duck_ends_with_0() -> Result<()> {
    let server = Kept::start("lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"")?;
    server.signal("ldm")?;
    server.hears("STOPPING=1")?;
    ensure!(server.wait()?.success());
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
