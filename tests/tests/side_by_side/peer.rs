//! A server, started in a folder of its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Enough for the slowest machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at a file that the server writes.
const POLL: Duration = Duration::from_millis(2);
/// What both servers log of a reload.
const RELOADED: [&str; 2] = ["Reloaded server configuration", "Failed to reload server configuration"];

/// A server that is killed when this is dropped.
pub struct Peer {
    child: Child,
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
    /// With this configuration in `server.conf`, in the folder that it runs in. `None`: it did not start.
    pub fn start(program: &Path, configuration: &str, flags: &[&str]) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("server.conf"), configuration)?;
        let log = File::create(folder.path().join("log"))?;
        let child = Command::new(program)
            .current_dir(folder.path())
            .args(flags)
            .args(["-c", "server.conf", "--ports_file_dir", "."])
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
                return Ok(None);
            }
            ensure!(since.elapsed() < LIMIT, "it does not listen: {}", peer.log());
            for entry in fs::read_dir(peer.folder.path())? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "ports") {
                    peer.ports = serde_json::from_slice(&fs::read(&path)?).unwrap_or_default();
                }
            }
            std::thread::sleep(POLL);
        }
        Ok(Some(peer))
    }

    /// All that it wrote, to wherever it writes in its folder.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read(self.folder.path().join(name)).unwrap_or_default();
        let (own, file) = (read("log"), read("server.log"));
        format!("{}{}", String::from_utf8_lossy(&own), String::from_utf8_lossy(&file))
    }

    /// Where it listens for this kind of connections.
    pub fn address(&self, kind: &str) -> Result<String> {
        let url = self.ports[kind][0]
            .as_str()
            .with_context(|| format!("no {kind} in {}", self.ports))?;
        Ok(url.rsplit_once("://").map_or(url, |(_, address)| address).to_owned())
    }

    /// Where its folder is.
    pub fn folder(&self) -> String {
        self.folder.path().to_string_lossy().into_owned()
    }

    /// Has it read this configuration, and says what it logs of that.
    pub fn reload(&self, configuration: &str) -> Result<bool> {
        let told = |log: &str, what: &str| log.matches(what).count();
        let before = self.log();
        fs::write(self.folder.path().join("server.conf"), configuration)?;
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::HUP,
        )?;
        let since = Instant::now();
        loop {
            let log = self.log();
            for (what, verdict) in RELOADED.into_iter().zip([true, false]) {
                if told(&log, what) > told(&before, what) {
                    return Ok(verdict);
                }
            }
            ensure!(since.elapsed() < LIMIT, "no word about a reload: {log}");
            std::thread::sleep(POLL);
        }
    }

    /// The status and the body of a page of the monitoring port.
    pub fn page(&self, path: &str) -> Result<(u16, String)> {
        let address = self.address("monitoring")?;
        let mut stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            bail!("no end of the headers: {text:?}");
        };
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    }
}
