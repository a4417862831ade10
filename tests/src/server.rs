//! The server under test: started, found, killed, started again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_nats::ConnectOptions;
use async_nats::jetstream::Context;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a server may take until it listens, recovery included: reached by one that hangs, not by one that is slow.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long a server may take to shut down.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How long one ordinary test may take.
const TEST_LIMIT: Duration = Duration::from_secs(180);
/// How long an answer may take, and whatever else is waited for: far more than anything takes, on a machine that has other things to do as well.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a condition that has no event to wait for.
const POLL: Duration = Duration::from_millis(5);
/// How much of the server's log a failed test prints, in bytes.
const LOG_TAIL: usize = 64 * 1024;
/// The configuration file, in the server's directory.
const CONFIGURATION: &str = "server.conf";

/// The program under test: `WEIR_SERVER`, or the release build of this workspace.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("WEIR_SERVER") {
        return PathBuf::from(path);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        PathBuf::from,
    );
    target.join("release/weir-server")
}

/// The offline tool, built beside the server.
pub fn tool() -> PathBuf {
    program().with_file_name("weir")
}

/// A running server with a directory of its own; killed and removed when dropped.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    directory: tempfile::TempDir,
    store: PathBuf,
    child: Child,
    addresses: Addresses,
    starts: u32,
}

/// Where a running server listens.
#[derive(Debug)]
struct Addresses {
    /// `nats://127.0.0.1:PORT`.
    client: String,
    /// `127.0.0.1:PORT`.
    monitor: String,
}

impl Server {
    /// Starts a server on an empty store and waits until it takes connections.
    ///
    /// # Errors
    /// When the program is missing, exits, or does not listen in time; the
    /// error holds its log.
    pub async fn start() -> Result<Server> {
        Server::start_program(&program()).await
    }

    /// As [`Server::start`], with any program that takes nats-server's flags.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_program(program: &Path) -> Result<Server> {
        Server::start_in(program, &std::env::temp_dir()).await
    }

    /// As [`Server::start_program`], with its directory made in `parent`.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_in(program: &Path, parent: &Path) -> Result<Server> {
        let directory = tempfile::tempdir_in(parent).context("no temporary directory")?;
        let store = directory.path().join("store");
        Server::start_with(program, directory, store).await
    }

    /// As [`Server::start_program`], on the store directory `store`, which stays when the server is dropped.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_on(program: &Path, store: PathBuf) -> Result<Server> {
        let directory = tempfile::tempdir().context("no temporary directory")?;
        Server::start_with(program, directory, store).await
    }

    async fn start_with(program: &Path, directory: tempfile::TempDir, store: PathBuf) -> Result<Server> {
        let (child, addresses) = launch(program, directory.path(), &store, 1).await?;
        Ok(Server {
            program: program.to_owned(),
            directory,
            store,
            child,
            addresses,
            starts: 1,
        })
    }

    /// `kill -9`: the process gets no chance to write anything more.
    ///
    /// # Errors
    /// When the server had already exited by itself.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server exited by itself before it was killed: {status}");
        }
        self.child.kill().context("kill -9")?;
        self.child.wait().context("waiting for the killed server")?;
        Ok(())
    }

    /// SIGTERM, and waits until the server has shut down in its own time.
    ///
    /// # Errors
    /// When it had exited already, or does not within a minute.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server exited by itself before it was stopped: {status}");
        }
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        )?;
        let deadline = Instant::now() + STOP_LIMIT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("the server still runs {STOP_LIMIT:?} after SIGTERM");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Starts the server again on the store that it left.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_again(&mut self) -> Result<()> {
        self.starts += 1;
        (self.child, self.addresses) = launch(&self.program, self.directory.path(), &self.store, self.starts).await?;
        Ok(())
    }

    /// Stops the server, and starts it again on an empty store, with a configuration file.
    ///
    /// # Errors
    /// As [`Server::start`]; if what it stored cannot be removed.
    pub async fn begin_anew(&mut self, configuration: &str) -> Result<()> {
        self.stop().await?;
        if self.store.exists() {
            fs::remove_dir_all(&self.store).context("removing a store")?;
        }
        self.configure(configuration)?;
        self.start_again().await
    }

    /// What the configuration file says that it is given from the next start on.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn configure(&self, text: &str) -> Result<()> {
        fs::write(self.directory.path().join(CONFIGURATION), text).context("writing a configuration file")
    }

    /// The store's directory (`-sd`).
    pub fn store(&self) -> PathBuf {
        self.store.clone()
    }

    /// The process; another one after each start.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `nats://127.0.0.1:PORT`; another one after each start.
    pub fn url(&self) -> &str {
        &self.addresses.client
    }

    /// The status and the body of a page of the monitoring port.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn page(&self, path: &str) -> Result<(u16, String)> {
        let address = &self.addresses.monitor;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        let text = self.http(&request).await?;
        let (head, body) = text.split_once("\r\n\r\n").context("no end of the headers")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    /// All that the monitoring port answers to these bytes, up to the end of the connection.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn http(&self, request: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.addresses.monitor).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    /// A new client connection.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn connect(&self) -> Result<async_nats::Client> {
        patient(ConnectOptions::new())
            .connect(self.url())
            .await
            .with_context(|| format!("connecting to {}", self.url()))
    }

    /// A new client connection, as a JetStream context.
    ///
    /// # Errors
    /// As [`Server::connect`].
    pub async fn jetstream(&self) -> Result<Context> {
        Ok(jetstream(self.connect().await?))
    }

    /// The end of what the server wrote since its latest start.
    pub fn log(&self) -> String {
        read_log(self.directory.path(), self.starts)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited or been killed already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server ---\n{}\n--- end of log ---", self.log());
        }
    }
}

/// Options of a client that waits as long as the test does, and not the seconds that its library has for an answer.
pub fn patient(options: ConnectOptions) -> ConnectOptions {
    options.connection_timeout(PATIENCE).request_timeout(Some(PATIENCE))
}

/// JetStream as a client sees it that waits as long as the test does, also for acknowledgements.
pub fn jetstream(client: async_nats::Client) -> Context {
    let mut jetstream = async_nats::jetstream::new(client);
    jetstream.set_timeout(PATIENCE);
    jetstream
}

/// Returns once the server has worked off all that `client` sent before; the client's own `flush` only writes to its socket.
///
/// # Errors
/// When the connection ends.
pub async fn settle(client: &async_nats::Client) -> Result<()> {
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await?;
    client.publish(inbox, "".into()).await?;
    echo.next().await.context("the connection ended")?;
    Ok(())
}

/// Runs `test` against a fresh server, within three minutes.
///
/// # Panics
/// When the test fails, with its error and the server's log.
pub fn with_server(test: impl AsyncFnOnce(&Server) -> Result<()>) {
    with_server_for(TEST_LIMIT, async |server| test(server).await);
}

/// As [`with_server`], for tests that restart their server or take longer.
///
/// # Panics
/// When the test fails or takes longer than `limit`, with its error and the
/// server's log.
pub fn with_server_for(limit: Duration, test: impl AsyncFnOnce(&mut Server) -> Result<()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("no runtime: {error}"));
    runtime.block_on(async {
        let mut server = match Server::start().await {
            Ok(server) => server,
            Err(error) => panic!("{}", explain(&error)),
        };
        // Dropping the server prints its log, when we panic.
        match tokio::time::timeout(limit, test(&mut server)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("{}", explain(&error)),
            Err(_) => panic!("the test took longer than {limit:?}"),
        }
    });
}

/// An error and its causes, a line each; its `Debug` would add a backtrace.
fn explain(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\ncaused by: ")
}

/// Starts a server on `store`, the `start`-th with its ports and log in `directory`, returns it and its address.
async fn launch(program: &Path, directory: &Path, store: &Path, start: u32) -> Result<(Child, Addresses)> {
    if !program.exists() {
        bail!(
            "there is no server at {}: build it with `cargo build --release -p weir-broker`, \
             or name one with WEIR_SERVER",
            program.display()
        );
    }
    // A directory per start: a killed server leaves its ports file behind.
    let ports = directory.join(format!("ports-{start}"));
    fs::create_dir(&ports)?;
    let log = File::create(log_path(directory, start))?;
    let mut child = Command::new(program)
        .args(["-a", "127.0.0.1", "-p", "-1", "-m", "-1", "-js", "-sd"])
        .arg(store)
        .arg("--ports_file_dir")
        .arg(&ports)
        .args(configuration(directory))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    match wait_until_ready(&mut child, &ports).await {
        Ok(addresses) => Ok((child, addresses)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            let log = read_log(directory, start);
            Err(error.context(format!("start {start} of the server failed; its log:\n{log}")))
        }
    }
}

/// The arguments for the configuration file, if there is one.
fn configuration(directory: &Path) -> Vec<PathBuf> {
    let file = directory.join(CONFIGURATION);
    match file.exists() {
        true => vec!["-c".into(), file],
        false => Vec::new(),
    }
}

async fn wait_until_ready(child: &mut Child, ports: &Path) -> Result<Addresses> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("the server exited: {status}");
        }
        if let Some(addresses) = addresses(ports)?
            && patient(ConnectOptions::new()).connect(&addresses.client).await.is_ok()
        {
            return Ok(addresses);
        }
        if Instant::now() > deadline {
            bail!("no connection possible after {START_LIMIT:?}");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Reads the ports file. `None` while it is missing or not fully written.
fn addresses(ports: &Path) -> Result<Option<Addresses>> {
    for entry in fs::read_dir(ports)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "ports") {
            continue;
        }
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(&fs::read(&path)?) else {
            continue;
        };
        let address = |kind: &str| json[kind][0].as_str().context(format!("no {kind} address: {json}"));
        let monitor = address("monitoring")?;
        return Ok(Some(Addresses {
            client: address("nats")?.to_owned(),
            monitor: monitor.strip_prefix("http://").unwrap_or(monitor).to_owned(),
        }));
    }
    Ok(None)
}

fn log_path(directory: &Path, start: u32) -> PathBuf {
    directory.join(format!("server-{start}.log"))
}

fn read_log(directory: &Path, start: u32) -> String {
    match fs::read(log_path(directory, start)) {
        Ok(log) => {
            let tail = log.len().saturating_sub(LOG_TAIL);
            String::from_utf8_lossy(&log[tail..]).into_owned()
        }
        Err(error) => format!("(no log: {error})"),
    }
}
