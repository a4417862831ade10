//! Starts a server on a private port with a private store, and stops it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::certificate;
use crate::conn::{Conn, RECEIVE_LITTLE};
use crate::error::{LoadError, Result};
use crate::jetstream;
use crate::scenario::Scenario;
use crate::way::{Entrance, Way};

/// How long a server may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a server may take to end after it was asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at a server that is starting or ending.
const POLL: Duration = Duration::from_millis(20);
/// Magic of tmpfs in `statfs`, from Linux' `magic.h`.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// A server to compare: `NAME=PROGRAM[,ARGUMENT..][,conf:FILE][,only:SCENARIO..]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSpec {
    /// Name in the report.
    pub name: String,
    /// Path, or name on `PATH`.
    pub program: PathBuf,
    /// Further arguments.
    pub args: Vec<String>,
    /// Configuration file, given with `-c`. Address, port and store still come from flags.
    pub conf: Option<PathBuf>,
    /// Scenarios that this server takes part in; all when empty.
    pub only: Vec<Scenario>,
}

impl ServerSpec {
    /// Whether it takes part in a scenario.
    pub fn runs(&self, scenario: Scenario) -> bool {
        self.only.is_empty() || self.only.contains(&scenario)
    }
}

impl FromStr for ServerSpec {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (name, rest) = text.split_once('=').ok_or("NAME=PROGRAM[,ARGUMENT..] expected")?;
        let mut parts = rest.split(',');
        let program = parts.next().unwrap_or_default();
        if name.is_empty() || program.is_empty() {
            return Err("NAME=PROGRAM[,ARGUMENT..] expected".into());
        }
        let mut spec = Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            conf: None,
            only: Vec::new(),
        };
        for part in parts {
            if let Some(file) = part.strip_prefix("conf:") {
                if spec.conf.replace(file.into()).is_some() {
                    return Err("more than one conf:FILE".into());
                }
            } else if let Some(scenario) = part.strip_prefix("only:") {
                spec.only.push(Scenario::from_str(scenario, true)?);
            } else {
                spec.args.push(part.into());
            }
        }
        Ok(spec)
    }
}

/// A server that was started here; it is killed when this is dropped.
#[derive(Debug)]
pub struct RunningServer {
    child: Child,
    pid: u32,
    entrance: Entrance,
    info: String,
    security: Option<String>,
    log: PathBuf,
    // Last, so that the store is removed after the process has gone.
    dir: TempDir,
}

impl RunningServer {
    /// Starts the server, for clients that come in this way, and waits until it answers them, with JetStream when asked for.
    ///
    /// The store is a fresh folder in `root`, or in the system's folder for temporary files.
    ///
    /// # Errors
    /// When it does not start or does not answer; the end of its log is in the error. When its own configuration file and that of
    /// the way would both be needed.
    pub fn start(spec: &ServerSpec, way: Way, jetstream: bool, root: Option<&Path>) -> Result<Self> {
        if spec.conf.is_some() && way.conf().is_some() {
            let (name, way) = (&spec.name, way.name());
            return Err(LoadError::Usage(format!(
                "{name}: a server has one configuration file, and {way} is one"
            )));
        }
        let dir = match root {
            Some(root) => TempDir::with_prefix_in("weir-load-", root),
            None => TempDir::with_prefix("weir-load-"),
        }
        .map_err(LoadError::io("creating a store folder"))?;
        let port = free_port()?;
        let log = dir.path().join("server.log");
        let pid_file = dir.path().join("server.pid");
        let output = File::create(&log).map_err(LoadError::io("creating the server's log"))?;
        let errors = output.try_clone().map_err(LoadError::io("creating the server's log"))?;

        let mut command = Command::new(&spec.program);
        command
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-P"])
            .arg(&pid_file);
        if jetstream {
            command.arg("-js").arg("-sd").arg(dir.path().join("store"));
        }
        let mut clients = port;
        if let Some(conf) = &spec.conf {
            command.arg("-c").arg(conf);
        }
        if let Some(text) = way.conf() {
            let file = dir.path().join("server.conf");
            fs::write(&file, text).map_err(LoadError::io("writing the server's configuration"))?;
            command.arg("-c").arg(file);
        }
        if matches!(way, Way::Tls | Way::Wss) {
            let (certificate, key) = certificate::write_into(dir.path())?;
            command
                .env("WEIR_LOAD_CERTIFICATE", certificate)
                .env("WEIR_LOAD_KEY", key);
        }
        if matches!(way, Way::Websocket | Way::Wss) {
            clients = free_port()?;
            command.env("WEIR_LOAD_WEBSOCKET_PORT", clients.to_string());
        }
        command
            .args(&spec.args)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let child = command
            .spawn()
            .map_err(LoadError::io(format!("starting {}", spec.program.display())))?;
        let pid = child.id();
        let entrance = way.entrance(SocketAddr::from((Ipv4Addr::LOCALHOST, clients)));
        let mut server = Self {
            child,
            pid,
            entrance,
            info: String::new(),
            security: None,
            log,
            dir,
        };
        server.wait_ready(jetstream)?;
        // A wrapper script may have started the server proper: then the pid file knows better.
        if let Ok(text) = fs::read_to_string(&pid_file)
            && let Ok(pid) = text.trim().parse()
        {
            server.pid = pid;
        }
        Ok(server)
    }

    fn wait_ready(&mut self, jetstream: bool) -> Result<()> {
        let until = Instant::now() + START_PATIENCE;
        loop {
            let answer = Conn::connect(&self.entrance, RECEIVE_LITTLE, Duration::from_secs(5)).and_then(|mut conn| {
                if jetstream {
                    jetstream::account_info(&mut conn)?;
                }
                Ok((conn.info().to_owned(), conn.security()))
            });
            // A dead child means that whoever answered is somebody else.
            self.check_alive()?;
            match answer {
                Ok((info, security)) => {
                    self.info = info;
                    self.security = security;
                    return Ok(());
                }
                Err(e) if Instant::now() > until => {
                    return Err(LoadError::Server(format!(
                        "not ready after {START_PATIENCE:?} ({e}); its log ends:\n{}",
                        self.log_tail()
                    )));
                }
                Err(_) => thread::sleep(POLL),
            }
        }
    }

    /// Fails when the server has ended by itself.
    ///
    /// # Errors
    /// [`LoadError::Server`] with the end of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(LoadError::Server(format!(
                "ended by itself ({status}); its log ends:\n{}",
                self.log_tail()
            ))),
            Err(e) => Err(LoadError::io("looking at the server")(e)),
        }
    }

    /// Where it listens, and how one comes in.
    pub fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    /// The version of TLS and its cipher; `None` without TLS.
    pub fn security(&self) -> Option<&str> {
        self.security.as_deref()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// `version` of its INFO, with Weir's own beside it where there is one.
    pub fn version(&self) -> String {
        let info: serde_json::Value = serde_json::from_str(&self.info).unwrap_or_default();
        let field = |name: &str| info[name].as_str().map(str::to_owned);
        let nats = field("version").unwrap_or_else(|| "unknown".into());
        match field("weir_version").or_else(|| field("weir")) {
            Some(weir) => format!("{nats} (weir {weir})"),
            None => nats,
        }
    }

    /// True when the store lies in memory, so that syncing costs nothing.
    pub fn store_in_memory(&self) -> bool {
        #[allow(clippy::unnecessary_cast, reason = "the type of f_type differs between targets")]
        rustix::fs::statfs(self.dir.path()).is_ok_and(|s| s.f_type as i64 == TMPFS_MAGIC)
    }

    /// The last lines that the server wrote.
    pub fn log_tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Asks the server to end and waits for it; a server that does not end is killed.
    ///
    /// # Errors
    /// When it had ended before, or had to be killed.
    pub fn stop(mut self) -> Result<()> {
        self.check_alive()?;
        self.signal(Signal::TERM);
        let until = Instant::now() + STOP_PATIENCE;
        while Instant::now() < until {
            if let Ok(Some(_)) = self.child.try_wait() {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        Err(LoadError::Server(format!(
            "did not end within {STOP_PATIENCE:?} of SIGTERM"
        )))
    }

    fn signal(&self, signal: Signal) {
        // An error means that it is gone, which is what is wanted.
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // Once the child has been waited for, its pid may belong to somebody else.
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::KILL);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(LoadError::io("looking for a free port"))?;
    Ok(listener
        .local_addr()
        .map_err(LoadError::io("looking for a free port"))?
        .port())
}

#[cfg(test)]
mod tests;
