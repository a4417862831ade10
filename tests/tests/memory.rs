//! How much memory many subjects and many message ids take: a stream on rocksdb, whose index is paged, with as many
//! subjects as messages, and a window of ids. The server has a limit that the kernel keeps (a memory control group), where
//! the test may set one (root, cgroup v1 or v2); otherwise what it holds of its own is read from `/proc`.
//!
//! `WEIR_SUBJECTS` (20,000), `WEIR_IDS` (5,000) and `WEIR_MEMORY_MB` (512) say how much; 5,000,000, 1,000,000 and 1,024 is
//! the size that it is meant for, and takes minutes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::context::{Context, PublishAckFuture};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use weir_tests::server::with_server_for;
use weir_tests::{Backend, Server};

/// Publishes without an acknowledgement.
const OUTSTANDING: usize = 2000;

/// For one answer: a slow machine compacts for seconds.
const PATIENCE: Duration = Duration::from_secs(120);

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {text}"))
    })
}

/// A control group with a limit of memory; removed when dropped.
struct Group(PathBuf);

impl Group {
    /// Puts a process in a group of its own; `None` where that cannot be.
    fn limit(pid: u32, bytes: u64) -> Option<Group> {
        let name = format!("weir-test-{pid}");
        for (root, limit) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ] {
            let folder = Path::new(root).join(&name);
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Group(folder);
            let set = fs::write(group.0.join(limit), bytes.to_string())
                .and_then(|()| fs::write(group.0.join("cgroup.procs"), pid.to_string()));
            if set.is_ok() {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It has to be empty: the server is gone by then, or the group stays until the next boot.
        let _ = fs::remove_dir(&self.0);
    }
}

/// What a process holds of its own, and had resident at most, in bytes.
fn memory(pid: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let (own, peak) = (field("RssAnon:"), field("VmHWM:"));
    Ok((own.context("RssAnon")? << 10, peak.context("VmHWM")? << 10))
}

async fn take(outstanding: &mut FuturesUnordered<impl Future<Output = Result<u64>>>, down_to: usize) -> Result<u64> {
    let mut last = 0;
    while outstanding.len() > down_to {
        last = last.max(outstanding.next().await.context("none")??);
    }
    Ok(last)
}

async fn acknowledged(ack: PublishAckFuture) -> Result<u64> {
    Ok(ack.await?.sequence)
}

async fn publish(jetstream: &Context, count: u64, ids: bool) -> Result<u64> {
    let mut outstanding = FuturesUnordered::new();
    let mut last = 0;
    for number in 0..count {
        let subject = format!("m.{}.{number}", number % 1000);
        let ack = match ids {
            false => jetstream.publish(subject, "x".into()).await?,
            true => {
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Msg-Id", format!("the id of message {number:012}").as_str());
                jetstream
                    .publish_with_headers(format!("ids.{}", number % 100), headers, "x".into())
                    .await?
            }
        };
        outstanding.push(acknowledged(ack));
        last = last.max(take(&mut outstanding, OUTSTANDING).await?);
    }
    Ok(last.max(take(&mut outstanding, 0).await?))
}

async fn info(jetstream: &Context, request: Value) -> Result<Value> {
    Ok(jetstream.request("STREAM.INFO.MANY".to_owned(), &request).await?)
}

async fn fill(server: &mut Server, subjects: u64, ids: u64, limit: u64) -> Result<()> {
    let mut group = Group::limit(server.pid(), limit);
    if group.is_none() {
        eprintln!("no control group can be made here: what the server holds is read instead");
    }
    let mut jetstream = server.jetstream().await?;
    jetstream.set_timeout(PATIENCE);
    let mut config = Backend::Rocksdb.stream("MANY", &["m.>", "ids.>"]);
    config.duplicate_window = Duration::from_secs(3600);
    jetstream.create_stream(config).await?;
    let (before, began) = (memory(server.pid())?, Instant::now());
    publish(&jetstream, subjects, false).await?;
    publish(&jetstream, ids, true).await?;
    let took = began.elapsed();
    let filled = memory(server.pid())?;

    // It goes on: ids are known, subjects are found, and so they are after a kill.
    for round in ["filled", "killed"] {
        let mut jetstream = server.jetstream().await?;
        jetstream.set_timeout(PATIENCE);
        let state = info(&jetstream, json!({})).await?["state"].clone();
        ensure!(state["messages"] == subjects + ids, "{round}: {state}");
        ensure!(state["num_subjects"] == subjects + ids.min(100), "{round}: {state}");
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("the id of message {:012}", ids / 2).as_str());
        let again = jetstream
            .publish_with_headers("ids.1", headers, "x".into())
            .await?
            .await?;
        ensure!(again.duplicate, "{round}: an id was forgotten: {again:?}");
        let middle = subjects / 2;
        let request = json!({"last_by_subj": format!("m.{}.{middle}", middle % 1000)});
        let found: Value = jetstream.request("STREAM.MSG.GET.MANY".to_owned(), &request).await?;
        ensure!(found["message"]["seq"] == middle + 1, "{round}: {found}");
        if round == "filled" {
            server.kill()?;
            server.start_again().await?;
            // It starts within it as well.
            drop(group.take());
            group = Group::limit(server.pid(), limit);
        }
    }
    let started = memory(server.pid())?;
    eprintln!(
        "{subjects} subjects and {ids} ids in {took:.0?}: own memory {} MiB before, {} filled (peak with files {}), {} after a kill and a start",
        before.0 >> 20,
        filled.0 >> 20,
        filled.1 >> 20,
        started.0 >> 20,
    );
    for (what, (own, _)) in [("filled", filled), ("started again", started)] {
        if own > limit {
            bail!("{what}: {own} bytes of its own, allowed are {limit}");
        }
    }
    drop(group);
    Ok(())
}

#[test]
fn many_subjects_and_ids_stay_within_their_memory() {
    let (subjects, ids) = (number_from("WEIR_SUBJECTS", 20_000), number_from("WEIR_IDS", 5_000));
    let limit = number_from("WEIR_MEMORY_MB", 512) << 20;
    let patience = PATIENCE + Duration::from_secs((subjects + ids) / 500);
    with_server_for(patience, async |server| fill(server, subjects, ids, limit).await);
}
