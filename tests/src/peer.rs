//! A server of either program, ours or the genuine one, on a configuration file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// Enough for the slowest machine: until it listens, and for whatever else is waited for.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at a file that the server writes when it listens.
pub const POLL: Duration = Duration::from_millis(5);

/// A server that is killed when this is dropped.
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
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("server.conf");
        let store = folder.path().join("js");
        fs::write(&file, configuration.replace("@STORE@", &store.to_string_lossy()))?;
        let log = File::create(folder.path().join("log"))?;
        let child = Command::new(program)
            .args(["-a", "127.0.0.1", "-p", "-1", "-c"])
            .arg(file)
            .arg("--ports_file_dir")
            .arg(folder.path())
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
            if let Some(status) = peer.child.try_wait()? {
                bail!("{} exited: {status}\n{}", program.display(), peer.log());
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
        Ok(peer)
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

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
