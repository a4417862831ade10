//! A power cut under load: the store is on an ext4 file system in an image, the image on an XFS that shares blocks, and
//! a copy of the image (`FICLONE`, atomic) is the disk at that instant. What the kernel still held in its cache is not in
//! the copy. A server that starts on the copy has everything that was acknowledged before it was made.
//!
//! The disk of this test has no cache of its own: what the inner file system has written counts as kept, with or without
//! a flush. A missing sync is found, a sync without a flush is not.
//!
//! `WEIR_CUTS` (3) sets how often the power is cut, `WEIR_CUT_SEED` (1) chooses the moments; a failure names both.
//! `WEIR_CUT_KEEP` names a folder for the image of a cut that finds something. It needs root, loop devices and mkfs.xfs,
//! and says that it is skipped where one is missing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{self, context::Context};
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use weir_tests::clients::{acknowledged, lock, number_from, read, sequence_of};
use weir_tests::ledger::{Id, Ledger};
use weir_tests::seed::Seed;
use weir_tests::server::program;
use weir_tests::{Backend, Server};

const STREAM: &str = "CUT";
const CONSUMER: &str = "survivor";
const PUBLISHERS: u32 = 8;
/// Publishes without an ack yet, per publisher.
const OUTSTANDING: usize = 16;
/// How many messages the stream keeps, so that any number of cuts fits onto the disk, and its limit is at work as well.
const KEPT: u64 = 10_000;
/// The power is cut this long after the check of the cut before it, in milliseconds.
const CUT_AFTER: std::ops::RangeInclusive<u64> = 20..=600;
/// Sizes of the two images, in bytes; they are sparse.
const OUTER_SIZE: u64 = 6 << 30;
const INNER_SIZE: u64 = 2 << 30;
/// For one call of mount, mkfs or umount.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// For the start of the load, and for the check of one cut.
const PATIENCE: Duration = Duration::from_secs(120);
/// The loop devices, and the cores, are enough for one disk at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn nothing_acknowledged_is_lost_on_segment() {
    survive(Backend::Segment);
}

#[test]
fn nothing_acknowledged_is_lost_on_rocksdb() {
    survive(Backend::Rocksdb);
}

/// The test of the test: a stream that is never synced loses what it acknowledged.
#[test]
fn what_was_never_synced_is_lost() {
    let Some(result) = on_a_disk(PATIENCE * 3, async |disk| {
        let load = Load::start(disk, Backend::Segment, "os").await?;
        let mut dice = Seed::of(&[number_from("WEIR_CUT_SEED", 1)]);
        let found = load.cut(disk, &mut dice).await?.check(disk).await;
        load.stop().await?;
        let found = found.err().context("the cut took nothing: it is none")?;
        let found = format!("{found:#}");
        ensure!(found.contains("LOST"), "not a loss, but: {found}");
        Ok(())
    }) else {
        return;
    };
    result.unwrap_or_else(|error| panic!("{error:#}"));
}

fn survive(backend: Backend) {
    let cuts = number_from("WEIR_CUTS", 3);
    let seed = number_from("WEIR_CUT_SEED", 1);
    let limit = PATIENCE * 2 + Duration::from_secs(20) * u32::try_from(cuts).unwrap_or(u32::MAX / 64);
    let Some(result) = on_a_disk(limit, async |disk| {
        let load = Load::start(disk, backend, "sync").await?;
        let mut dice = Seed::of(&[seed]);
        let (mut checked, mut slowest, began) = (0, Duration::ZERO, Instant::now());
        for cut in 1..=cuts {
            let begin = Instant::now();
            let one = async { load.cut(disk, &mut dice).await?.check(disk).await };
            checked += one.await.with_context(|| {
                let kept = keep(&disk.outer.path.join("cut.img"));
                format!("{backend:?}, cut {cut} of {cuts}; again with WEIR_CUT_SEED={seed} WEIR_CUTS={cuts}; {kept}")
            })?;
            slowest = slowest.max(begin.elapsed());
        }
        let took = began.elapsed();
        let confirmed = load.shared.confirmed.load(Ordering::Acquire);
        let ledger = load.stop().await?;
        eprintln!(
            "{backend:?}: {cuts} cuts in {took:.1?}, the slowest {slowest:.1?}; {} publishes acknowledged, {checked} \
             checks of one in the copies; acks of a consumer confirmed up to {confirmed}",
            ledger.acked_count(),
        );
        Ok(())
    }) else {
        return;
    };
    result.unwrap_or_else(|error| panic!("{error:#}"));
}

/// Runs `test` on a disk of its own, within `limit`; `None` where there can be none.
fn on_a_disk(limit: Duration, test: impl AsyncFnOnce(&Disk) -> Result<()>) -> Option<Result<()>> {
    if let Some(reason) = missing() {
        eprintln!("skipped, no power cut: {reason}");
        return None;
    }
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("no runtime: {error}"));
    // Before the runtime ends: the load's clients are gone with it, its server and the disk by then.
    Some(runtime.block_on(async {
        let disk = Disk::make()?;
        tokio::time::timeout(limit, test(&disk))
            .await
            .unwrap_or_else(|_| Err(anyhow!("the test took longer than {limit:?}")))
    }))
}

/// Why this machine cannot cut the power, if it cannot.
fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root mounts file systems".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("there are no loop devices".to_owned());
    }
    for tool in ["mkfs.xfs", "mkfs.ext4", "mount", "umount"] {
        let folders = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        if !folders.split(':').any(|folder| Path::new(folder).join(tool).exists()) {
            return Some(format!("there is no {tool} (Debian: xfsprogs, e2fsprogs, mount)"));
        }
    }
    let folder = tempfile::tempdir().and_then(|folder| probe(folder.path()).map(|()| folder));
    match folder {
        Ok(_) => None,
        Err(error) => Some(format!("no XFS can be mounted here: {error}")),
    }
}

/// Mounts a small XFS, as the tools may be there and the kernel not allow it.
fn probe(folder: &Path) -> std::io::Result<()> {
    let image = folder.join("probe.img");
    let made = sparse(&image, 512 << 20)
        .and_then(|()| run("mkfs.xfs", &["-q", "-m", "reflink=1"], &[&image]))
        .and_then(|()| Mount::new(&image, folder.join("probe")));
    made.map(drop)
        .map_err(|error| std::io::Error::other(format!("{error:#}")))
}

/// A disk whose power can be cut, and what was on it be looked at, while it is in use.
///
/// The fields are dropped in their order: the inner file system before the outer.
struct Disk {
    inner: Mount,
    outer: Mount,
    folder: tempfile::TempDir,
}

impl Disk {
    fn make() -> Result<Disk> {
        let folder = tempfile::tempdir()?;
        let image = folder.path().join("outer.img");
        sparse(&image, OUTER_SIZE)?;
        run("mkfs.xfs", &["-q", "-m", "reflink=1"], &[&image])?;
        let outer = Mount::new(&image, folder.path().join("outer"))?;
        let image = outer.path.join("disk.img");
        sparse(&image, INNER_SIZE)?;
        run("mkfs.ext4", &["-q", "-F", "-E", "nodiscard"], &[&image])?;
        let inner = Mount::new(&image, folder.path().join("disk"))?;
        Ok(Disk { inner, outer, folder })
    }

    /// Copies what is on the disk at this instant into an image of that name.
    fn copy(&self, from: &str, to: &str) -> Result<PathBuf> {
        let path = self.outer.path.join(to);
        let (from, copy) = (File::open(self.outer.path.join(from))?, File::create(&path)?);
        rustix::fs::ioctl_ficlone(&copy, &from).context("FICLONE")?;
        Ok(path)
    }
}

/// A mounted image; unmounted, and its loop device let go, when dropped.
struct Mount {
    path: PathBuf,
}

impl Mount {
    fn new(image: &Path, path: PathBuf) -> Result<Mount> {
        fs::create_dir_all(&path)?;
        // The blocks of removed files are given back to what is below.
        run("mount", &["-o", "loop,discard"], &[image, &path])?;
        Ok(Mount { path })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, if something still has a file open: it goes when that is closed.
        let gone = run("umount", &[], &[&self.path]).or_else(|_| run("umount", &["-l"], &[&self.path]));
        if let Err(error) = gone {
            eprintln!("{} stays mounted: {error:#}", self.path.display());
        }
    }
}

fn sparse(path: &Path, size: u64) -> Result<()> {
    Ok(File::create(path)?.set_len(size)?)
}

/// Runs a program to its end, or to [`COMMAND_LIMIT`].
fn run(program: &str, options: &[&str], paths: &[&Path]) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut child = Command::new("env")
        .arg(program)
        .args(options)
        .args(paths)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let deadline = Instant::now() + COMMAND_LIMIT;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            bail!("{program} takes longer than {COMMAND_LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// A server on the disk, and the clients that keep it busy.
struct Load {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<Result<()>>>,
    // Last, for the clients to end before it.
    server: Server,
}

/// What the clients know.
#[derive(Default)]
struct Shared {
    ledger: Mutex<Ledger>,
    /// The ack of this sequence, and so of all before it, was confirmed to the consumer.
    confirmed: AtomicU64,
}

impl Load {
    /// Starts it, and returns when the first publish and the first ack of a consumer were confirmed.
    async fn start(disk: &Disk, backend: Backend, durability: &str) -> Result<Load> {
        let server = Server::start_on(&program(), disk.inner.path.join("store")).await?;
        let mut config = backend.stream(STREAM, &["cut.>"]);
        config.max_messages = i64::try_from(KEPT)?;
        config.metadata.insert("weir.durability".into(), durability.into());
        let stream = server.jetstream().await?.create_stream(config).await?;
        let config = pull::Config {
            durable_name: Some(CONSUMER.into()),
            ack_policy: AckPolicy::All,
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await?;

        let shared = Arc::new(Shared::default());
        let (stop, _) = watch::channel(false);
        let mut tasks = Vec::new();
        for publisher in 0..PUBLISHERS {
            let jetstream = server.jetstream().await?;
            tasks.push(tokio::spawn(publish(
                jetstream,
                publisher,
                Arc::clone(&shared),
                stop.subscribe(),
            )));
        }
        tasks.push(tokio::spawn(consume(consumer, Arc::clone(&shared), stop.subscribe())));
        let load = Load {
            shared,
            stop,
            tasks,
            server,
        };
        let busy = async {
            while load.ledger().acked_count() == 0 || load.shared.confirmed.load(Ordering::Acquire) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, busy)
            .await
            .with_context(|| format!("there is no load; the server's log:\n{}", load.server.log()))?;
        Ok(load)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.shared.ledger)
    }

    /// Waits for a moment that `dice` chooses, and cuts the power for a copy of the disk.
    async fn cut(&self, disk: &Disk, dice: &mut Seed) -> Result<Cut> {
        let moment = Duration::from_millis(dice.between(*CUT_AFTER.start(), *CUT_AFTER.end()));
        tokio::time::sleep(moment).await;
        if let Some(task) = self.tasks.iter().position(tokio::task::JoinHandle::is_finished) {
            let log = self.server.log();
            bail!("client {task} has ended before the cut; the server's log:\n{log}");
        }
        let mut ledger = {
            let mut ledger = self.ledger();
            // Twice as far back as the stream goes, for what it may still hold.
            let forgotten = ledger.last_promised().saturating_sub(2 * KEPT);
            ledger.forget_below(forgotten);
            ledger.clone()
        };
        let confirmed = self.shared.confirmed.load(Ordering::Acquire);
        disk.copy("disk.img", "cut.img")?;
        ledger.excuse_tries_of(&self.ledger());
        Ok(Cut {
            moment,
            ledger,
            confirmed,
        })
    }

    /// Ends the load, and returns what it knew.
    async fn stop(mut self) -> Result<Ledger> {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut self.tasks);
        for task in tokio::time::timeout(PATIENCE, join_all(tasks)).await? {
            task?.with_context(|| format!("the server's log:\n{}", self.server.log()))?;
        }
        Ok(std::mem::take(&mut *self.ledger()))
    }
}

/// The disk as it was, in `cut.img`, and what had been promised by then.
struct Cut {
    moment: Duration,
    ledger: Ledger,
    confirmed: u64,
}

impl Cut {
    /// Starts a server on the copy and compares. Returns how many acknowledged messages it found.
    async fn check(&self, disk: &Disk) -> Result<usize> {
        let image = disk.copy("cut.img", "looked-at.img")?;
        // ext4 replays its own journal here.
        let copy = Mount::new(&image, disk.folder.path().join("cut"))?;
        let server = Server::start_on(&program(), copy.path.join("store")).await?;
        let compared = tokio::time::timeout(PATIENCE, self.compare(&server))
            .await
            .unwrap_or_else(|_| Err(anyhow!("reading the copy takes longer than {PATIENCE:?}")));
        let found = compared.with_context(|| {
            let log = server.log();
            format!(
                "cut {:?} after the check before; the log on the copy:\n{log}\n",
                self.moment
            )
        });
        // The copy is unmounted only when nothing has its files open.
        drop(server);
        found
    }

    async fn compare(&self, server: &Server) -> Result<usize> {
        let jetstream = server.jetstream().await?;
        let info: Value = jetstream.request(format!("STREAM.INFO.{STREAM}"), &json!({})).await?;
        let state = &info["state"];
        let number = |name: &str| state[name].as_u64().with_context(|| format!("no {name} in {info}"));
        let (first, last, count) = (number("first_seq")?, number("last_seq")?, number("messages")?);
        let tried = self.ledger.tried_count();
        ensure!(
            last <= tried,
            "the last sequence is {last}, but only {tried} were tried"
        );

        // Every message that is not below the limit is there, without a gap.
        let from = (last + 1).saturating_sub(KEPT).max(1);
        let stored = read(&jetstream, STREAM, 1).await?;
        self.ledger
            .check_stream(from, &stored)
            .map_err(|report| anyhow!(report))?;
        ensure!(state["lost"].is_null(), "the stream reports a loss: {info}");
        let reported: Vec<String> = server
            .log()
            .lines()
            .filter(|line| alarming(line))
            .map(str::to_owned)
            .collect();
        ensure!(reported.is_empty(), "the server reports {reported:?}");

        let whole = (from, last + 1 - from, (last + 1 - from) as usize);
        ensure!(
            (first, count, stored.len()) == whole,
            "the stream says {count} messages from {first} on, {} are read, {whole:?} are due",
            stored.len()
        );

        let mut stream = jetstream.get_stream(STREAM).await?;
        let consumer = stream
            .consumer_info(CONSUMER)
            .await
            .context("the durable consumer is gone")?;
        let floor = consumer.ack_floor.stream_sequence;
        ensure!(
            floor >= self.confirmed,
            "the ack floor is {floor}, but the ack of {} was confirmed",
            self.confirmed
        );
        // And it goes on from there.
        let next = jetstream.publish("cut.next", "next".into()).await?.await?.sequence;
        ensure!(next == last + 1, "the next message became {next} after {last}");
        ensure!(stream.info().await?.state.last_sequence == next);
        Ok(self.ledger.promised_from(from))
    }
}

/// Whether a line of the server's log says that something is wrong.
fn alarming(line: &str) -> bool {
    // The first is about the machine; the second is what a power cut leaves: nobody was answered for it.
    let expected = ["The limit of open files", "cut an unfinished write off the log"];
    let expected = expected.iter().any(|text| line.contains(text));
    ["[WRN]", "[ERR]", "[FTL]"].iter().any(|level| line.contains(level)) && !expected
}

/// Keeps the image of a failed cut, where `WEIR_CUT_KEEP` asks for it; says so.
fn keep(image: &Path) -> String {
    let Some(folder) = std::env::var_os("WEIR_CUT_KEEP") else {
        return "WEIR_CUT_KEEP=<folder> would keep its image".to_owned();
    };
    let kept = Path::new(&folder).join("cut.img");
    match run("cp", &["--sparse=always"], &[image, &kept]) {
        Ok(()) => format!("its image is {}", kept.display()),
        Err(error) => format!("its image could not be kept: {error:#}"),
    }
}

/// Publishes until it is told to stop, and notes every ack that came.
async fn publish(jetstream: Context, publisher: u32, shared: Arc<Shared>, stop: watch::Receiver<bool>) -> Result<()> {
    let mut outstanding = FuturesUnordered::new();
    loop {
        while outstanding.len() < OUTSTANDING && !*stop.borrow() {
            let id = lock(&shared.ledger).next(publisher);
            let ack = jetstream
                .publish(format!("cut.{publisher}"), id.payload().into())
                .await
                .with_context(|| format!("publish of {id:?}"))?;
            outstanding.push(acknowledged(id, ack));
            // Acks that are there already make room without waiting.
            while let Some(Some(acked)) = outstanding.next().now_or_never() {
                note(acked, &shared)?;
            }
        }
        match outstanding.next().await {
            Some(acked) => note(acked, &shared)?,
            None => return Ok(()),
        }
    }
}

fn note((id, acked): (Id, Result<u64>), shared: &Shared) -> Result<()> {
    let sequence = acked.with_context(|| format!("publish of {id:?}"))?;
    lock(&shared.ledger).published(id, sequence);
    Ok(())
}

/// Consumes until it is told to stop: the last message of each batch is acked, for all before it, and that confirmed.
async fn consume(
    consumer: jetstream::consumer::PullConsumer,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    while !*stop.borrow() {
        let mut batch = consumer
            .batch()
            .max_messages(200)
            .expires(Duration::from_millis(250))
            .messages()
            .await?;
        let mut newest = None;
        while let Some(message) = batch.try_next().await.map_err(anyhow::Error::from_boxed)? {
            newest = Some(message);
        }
        if let Some(message) = newest {
            let sequence = sequence_of(&message)?;
            message.double_ack().await.map_err(anyhow::Error::from_boxed)?;
            shared.confirmed.store(sequence, Ordering::Release);
        }
    }
    Ok(())
}
