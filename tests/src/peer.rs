//! A server of either program, ours or the genuine one, on a configuration file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Enough for the slowest machine: until it listens, and for whatever else is waited for.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at a file that the server writes when it listens.
pub const POLL: Duration = Duration::from_millis(2);
/// The name of the configuration, in the folder that a server runs in.
const FILE: &str = "server.conf";
/// What both servers log of a reload: of one that was applied, and of one that was not, in front of the reason.
const RELOADED: &str = "Reloaded server configuration";
const NOT_RELOADED: &str = "Failed to reload server configuration: ";

/// A server that is killed when this is dropped. It runs in a folder of its own.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    /// What it wrote into its ports file.
    ports: Value,
    folder: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    /// Starts a program on this configuration, in which `@STORE@` stands for a folder of its own, and waits until it listens.
    ///
    /// # Errors
    /// When it does not; with what it wrote.
    pub fn start(program: &Path, configuration: &str) -> Result<Self> {
        match Self::try_start(program, configuration, &["-a", "127.0.0.1", "-p", "-1"], &[])? {
            Ok(peer) => Ok(peer),
            Err(log) => bail!("{} exited:\n{log}", program.display()),
        }
    }

    /// The same with other flags, and with files beside the configuration: their names, and what they hold. What it wrote, if it has
    /// ended instead.
    ///
    /// # Errors
    /// It cannot be run, or neither listens nor ends.
    pub fn try_start(
        program: &Path,
        configuration: &str,
        flags: &[&str],
        beside: &[(String, String)],
    ) -> Result<Result<Self, String>> {
        let folder = tempfile::tempdir()?;
        let store = folder.path().join("js");
        let configuration = configuration.replace("@STORE@", &store.to_string_lossy());
        for (name, text) in beside.iter().chain(&[(FILE.to_owned(), configuration)]) {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().context("a folder")?)?;
            fs::write(path, text)?;
        }
        let log = File::create(folder.path().join("log"))?;
        // It runs elsewhere.
        let child = Command::new(std::path::absolute(program)?)
            .current_dir(folder.path())
            .args(flags)
            .args(["-c", FILE, "--ports_file_dir", "."])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut peer = Self {
            child,
            ports: Value::Null,
            folder,
        };
        let since = Instant::now();
        while peer.ports.is_null() {
            if peer.child.try_wait()?.is_some() {
                return Ok(Err(peer.log()));
            }
            ensure!(
                since.elapsed() < LIMIT,
                "{} does not listen: {}",
                program.display(),
                peer.log()
            );
            peer.ports = peer.told()?;
            std::thread::sleep(POLL);
        }
        Ok(Ok(peer))
    }

    /// What its ports file says; null as long as that is not there as a whole.
    fn told(&self) -> Result<Value> {
        for entry in fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "ports") {
                return Ok(serde_json::from_slice(&fs::read(&path)?).unwrap_or_default());
            }
        }
        Ok(Value::Null)
    }

    /// Has it read this configuration. What it says about one that it refuses.
    ///
    /// # Errors
    /// It says nothing about that.
    pub fn reload(&self, configuration: &str) -> Result<Result<(), String>> {
        let before = self.log().len();
        fs::write(self.path(FILE), configuration)?;
        kill_process(Pid::from_child(&self.child), Signal::HUP)?;
        let since = Instant::now();
        loop {
            let log = self.log();
            let new = log.get(before..).unwrap_or_default();
            // A line that is not there as a whole will be.
            let whole = &new[..new.rfind('\n').unwrap_or(0)];
            if whole.contains(RELOADED) {
                return Ok(Ok(()));
            }
            if let Some((_, why)) = whole.split_once(NOT_RELOADED) {
                return Ok(Err(why.to_owned()));
            }
            ensure!(since.elapsed() < LIMIT, "no word about a reload: {log}");
            std::thread::sleep(POLL);
        }
    }

    /// All that its ports file says.
    #[must_use]
    pub fn ports(&self) -> &Value {
        &self.ports
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Host and port of what it listens for: `nats` or `monitoring`.
    ///
    /// # Errors
    /// When it does not.
    pub fn address(&self, kind: &str) -> Result<String> {
        let url = self.ports[kind][0].as_str();
        let url = url.with_context(|| format!("no {kind} in {}", self.ports))?;
        Ok(url.rsplit_once("://").map_or(url, |(_, address)| address).to_owned())
    }

    /// What the URL begins with that it listens on.
    pub fn scheme(&self, kind: &str) -> &str {
        let url = self.ports[kind][0].as_str();
        url.and_then(|url| url.split_once("://"))
            .map_or("", |(scheme, _)| scheme)
    }

    /// All that it wrote, to its outputs and to a `server.log` in its folder.
    #[must_use]
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read(self.path(name)).unwrap_or_default();
        let (own, file) = (read("log"), read("server.log"));
        format!("{}{}", String::from_utf8_lossy(&own), String::from_utf8_lossy(&file))
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
