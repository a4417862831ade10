//! What is removed is given back to the file system while the server goes on: whoever deletes nine tenths of a stream has most of the
//! room again, wherever in the stream they lay.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::Client;
use async_nats::jetstream::Context;
use futures_util::future::try_join_all;
use serde_json::json;
use weir_tests::backups::ask;
use weir_tests::{Backend, Server, with_server_for};

/// Enough for the slowest machine.
const LIMIT: Duration = Duration::from_secs(300);
const MESSAGES: u64 = 4000;
const BYTES: usize = 8 << 10;
/// Requests that wait for their answers at a time.
const PORTION: usize = 200;

/// Bytes that the files with messages in a folder take on disk. RocksDB's own, of which one takes 4 MiB from the beginning, are
/// not among them.
fn taken(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let has_messages = path
            .extension()
            .is_some_and(|end| end == "seg" || end == "sst" || end == "tmp");
        // It may be unlinked just now.
        if let Some(metadata) = std::fs::symlink_metadata(&path).ok().filter(|_| has_messages) {
            sum += metadata.blocks() * 512;
        }
    }
    Ok(sum)
}

/// Bytes that all files in a folder take on disk, journals and catalogue too.
fn whole(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    // Of a running server, some may be unlinked just now.
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if let Ok(metadata) = std::fs::symlink_metadata(&path) {
            sum += match metadata.is_dir() {
                true => whole(&path)?,
                false => metadata.blocks() * 512,
            };
        }
    }
    Ok(sum)
}

/// Where the messages of the only stream are.
fn folder_of_stream(server: &Server, backend: Backend) -> Result<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![server.store()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match backend {
                Backend::Rocksdb if name == "rocksdb" => return Ok(path),
                Backend::Segment if name == "logs" => {
                    for log in std::fs::read_dir(&path)? {
                        found.push(log?.path());
                    }
                }
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    // The journals were made before.
    found.into_iter().max().context("a stream's folder")
}

/// What compresses badly.
fn noise(number: u64) -> Vec<u8> {
    let mut state = number;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..BYTES).map(|_| next()).collect()
}

/// What compresses well.
fn text(number: u64) -> Vec<u8> {
    format!("message {number} ")
        .into_bytes()
        .into_iter()
        .cycle()
        .take(BYTES)
        .collect()
}

async fn fill(jetstream: &Context, backend: Backend, body: fn(u64) -> Vec<u8>) -> Result<()> {
    jetstream.create_stream(backend.stream("S", &["s.*"])).await?;
    let mut all = Vec::new();
    for number in 1..=MESSAGES {
        let subject = if number % 10 == 0 { "s.stays" } else { "s.goes" };
        let body = body(number);
        all.push(jetstream.publish(subject, body.into()).await?);
        if all.len() >= PORTION {
            for ack in all.drain(..) {
                ack.await?;
            }
        }
    }
    for ack in all {
        ack.await?;
    }
    Ok(())
}

/// Nine of ten messages, one by one.
async fn delete(client: &Client) -> Result<()> {
    let goes: Vec<u64> = (1..=MESSAGES).filter(|number| number % 10 != 0).collect();
    for portion in goes.chunks(PORTION) {
        let bodies: Vec<_> = portion
            .iter()
            .map(|seq| json!({"seq": seq, "no_erase": true}))
            .collect();
        let calls = bodies.iter().map(|body| ask(client, "STREAM.MSG.DELETE.S", body));
        for answer in try_join_all(calls).await? {
            ensure!(answer["success"] == true, "{answer}");
        }
    }
    Ok(())
}

async fn purge(client: &Client) -> Result<()> {
    let answer = ask(client, "STREAM.PURGE.S", &json!({"filter": "s.goes"})).await?;
    ensure!(answer["purged"] == MESSAGES * 9 / 10, "{answer}");
    Ok(())
}

async fn gives_back(
    server: &mut Server,
    backend: Backend,
    remove: impl AsyncFnOnce(&Client) -> Result<()>,
) -> Result<()> {
    let (client, jetstream) = (server.connect().await?, server.jetstream().await?);
    fill(&jetstream, backend, noise).await?;
    let folder = folder_of_stream(server, backend)?;
    let before = taken(&folder)?;
    // RocksDB has some of it in memory still.
    let before = before.max(MESSAGES * BYTES as u64);
    let whole_before = whole(&server.store())?;
    remove(&client).await?;
    let mut more = 0;
    loop {
        // The stream goes on meanwhile.
        jetstream.publish("s.stays", "more".into()).await?.await?;
        more += 1;
        let now = taken(&folder)?;
        if now * 5 < before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stream = jetstream.get_stream("S").await?;
    let state = stream.get_info().await?.state;
    ensure!(state.messages == MESSAGES / 10 + more, "{state:?}");
    for seq in [10, MESSAGES / 2, MESSAGES, MESSAGES + more] {
        stream
            .get_raw_message(seq)
            .await
            .with_context(|| format!("message {seq}"))?;
    }
    // And once it is stopped, the whole folder: no journal keeps files that the next start has no use for.
    server.stop().await?;
    let now = whole(&server.store())?;
    ensure!(
        now * 5 < whole_before && now * 5 < before,
        "{now} of {whole_before}, and of {before}"
    );
    server.start_again().await?;
    let stream = server.jetstream().await?.get_stream("S").await?;
    let state = stream.get_info().await?.state;
    ensure!(state.messages == MESSAGES / 10 + more, "{state:?}");
    Ok(())
}

#[test]
fn deleted_messages_on_segment() {
    with_server_for(LIMIT, async |server| gives_back(server, Backend::Segment, delete).await);
}

#[test]
fn deleted_messages_on_rocksdb() {
    with_server_for(LIMIT, async |server| gives_back(server, Backend::Rocksdb, delete).await);
}

#[test]
fn purged_subjects_on_segment() {
    with_server_for(LIMIT, async |server| gives_back(server, Backend::Segment, purge).await);
}

#[test]
fn purged_subjects_on_rocksdb() {
    with_server_for(LIMIT, async |server| gives_back(server, Backend::Rocksdb, purge).await);
}

/// An update of `weir.compression` has all messages compressed so in time, while the stream goes on, and over a kill and a stop.
async fn compresses(server: &mut Server, backend: Backend) -> Result<()> {
    let jetstream = server.jetstream().await?;
    fill(&jetstream, backend, text).await?;
    let folder = folder_of_stream(server, backend)?;
    let before = MESSAGES * BYTES as u64;
    let mut config = backend.stream("S", &["s.*"]);
    config.metadata.insert("weir.compression".to_owned(), "zstd".to_owned());
    jetstream.update_stream(config).await?;
    let mut more = 0;
    for end in [Server::kill, |_: &mut Server| Ok(())] {
        server
            .jetstream()
            .await?
            .publish("s.stays", "more".into())
            .await?
            .await?;
        more += 1;
        end(server)?;
        if more == 2 {
            server.stop().await?;
        }
        server.start_again().await?;
    }
    let jetstream = server.jetstream().await?;
    loop {
        jetstream.publish("s.stays", "more".into()).await?.await?;
        more += 1;
        if taken(&folder)? * 5 < before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stream = jetstream.get_stream("S").await?;
    let state = stream.get_info().await?.state;
    ensure!(state.messages == MESSAGES + more, "{state:?}");
    for number in (1..=MESSAGES).step_by(97) {
        let message = stream.get_raw_message(number).await?;
        ensure!(message.payload == text(number), "message {number}");
    }
    Ok(())
}

#[test]
fn compression_on_segment() {
    with_server_for(LIMIT, async |server| compresses(server, Backend::Segment).await);
}

#[test]
fn compression_on_rocksdb() {
    with_server_for(LIMIT, async |server| compresses(server, Backend::Rocksdb).await);
}
