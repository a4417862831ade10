//! A server as its keeper sees it: configuration, pid file, log file, signals, and what systemd is told.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

pub use crate::server::PATIENCE;
use crate::server::program;

/// Between two looks at a condition that has no event to wait for.
pub const POLL: Duration = Duration::from_millis(5);

/// A server that tells when it is ready, reloads and stops. Killed when dropped.
#[derive(Debug)]
pub struct Kept {
    child: Child,
    folder: tempfile::TempDir,
    told: UnixDatagram,
}

impl Kept {
    /// Starts a server on this file, to which the port, the pid file and the log file are added, and waits until it is ready. What it says
    /// on standard error is in the file `stderr`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(text: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let told = UnixDatagram::bind(folder.path().join("notify"))?;
        told.set_read_timeout(Some(PATIENCE))?;
        write(folder.path(), text)?;
        let child = Command::new(program())
            .arg("-c")
            .arg(folder.path().join("a.conf"))
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .stderr(fs::File::create(folder.path().join("stderr"))?)
            .spawn()?;
        let kept = Self { child, folder, told };
        kept.hears("READY=1")?;
        Ok(kept)
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits for what is told next, which is this.
    ///
    /// # Errors
    /// When something else is told, or nothing in time.
    pub fn hears(&self, expected: &str) -> Result<()> {
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
    ///
    /// # Errors
    /// When it does not say that it is done.
    pub fn reload(&self, text: &str) -> Result<String> {
        write(self.folder.path(), text)?;
        let before = self.log()?.len();
        self.signal("reload")?;
        self.hears("RELOADING=1")?;
        self.hears("READY=1")?;
        Ok(self.log()?[before..].to_owned())
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by its name.
    ///
    /// # Errors
    /// When the program refuses.
    pub fn signal(&self, command: &str) -> Result<()> {
        let (status, said) = signal(&format!("{command}={}", self.path("pid").display()))?;
        ensure!(status.success(), "{said}");
        Ok(())
    }

    /// Its whole log.
    ///
    /// # Errors
    /// When there is none.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path("log"))?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(mut self) -> Result<ExitStatus> {
        self.ended()
    }

    /// Waits for its end; its files stay.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn ended(&mut self) -> Result<ExitStatus> {
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

/// `weir-server --signal ARGUMENT`: how it ends, and what it says.
///
/// # Errors
/// When it cannot be run.
pub fn signal(argument: &str) -> Result<(ExitStatus, String)> {
    let output = Command::new(program()).arg("--signal").arg(argument).output()?;
    Ok((output.status, String::from_utf8_lossy(&output.stderr).into_owned()))
}
