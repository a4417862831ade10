//! What one client or a full disk does stays with what it happened to: the server goes on, and starts again.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use futures_util::StreamExt;
use serde_json::{Value, json};
use weir_tests::server::{Server, program, with_server_for};
use weir_tests::{Backend, on_each_backend};

const LIMIT: Duration = Duration::from_secs(300);

/// What an API request is answered.
async fn ask(jetstream: &Context, subject: &str, request: Value) -> Result<Value> {
    Ok(jetstream.request(subject.to_owned(), &request).await?)
}

async fn publish(jetstream: &Context, subject: &'static str, payload: Vec<u8>) -> Result<u64> {
    let ack = jetstream.publish(subject, payload.into()).await?.await?;
    Ok(ack.sequence)
}

on_each_backend!(sequences_at_the_end_of_their_type_are_refused);

async fn sequences_at_the_end_of_their_type_are_refused(server: &Server, backend: Backend) -> Result<()> {
    let jetstream = server.jetstream().await?;
    jetstream.create_stream(backend.stream("A", &["a"])).await?;
    publish(&jetstream, "a", b"one".to_vec()).await?;
    for seq in [u64::MAX, u64::MAX - 1, (1 << 62) + 1] {
        let purged = ask(&jetstream, "STREAM.PURGE.A", json!({"seq": seq})).await?;
        ensure!(purged["error"]["err_code"] == 10110, "{purged}");
        let made = json!({"name": "B", "subjects": ["b"], "first_seq": seq});
        let made = ask(&jetstream, "STREAM.CREATE.B", made).await?;
        ensure!(made["error"]["err_code"] == 10052, "{made}");
        let consumer = json!({"stream_name": "A", "config": {
            "name": "c", "durable_name": "c", "ack_policy": "explicit",
            "deliver_policy": "by_start_sequence", "opt_start_seq": seq,
        }});
        let consumer = ask(&jetstream, "CONSUMER.CREATE.A.c", consumer).await?;
        ensure!(consumer["error"]["err_code"] == 10094, "{consumer}");
    }
    ensure!(publish(&jetstream, "a", b"two".to_vec()).await? == 2);
    Ok(())
}

/// The shard was dead after it, and the server did not start again.
#[test]
fn a_purge_to_the_last_sequence_there_is_leaves_a_server_that_starts() {
    with_server_for(LIMIT, async |server| {
        let jetstream = server.jetstream().await?;
        for name in ["A", "B"] {
            let subject = name.to_lowercase();
            jetstream
                .create_stream(Backend::Segment.stream(name, &[&subject]))
                .await?;
        }
        ask(&jetstream, "STREAM.PURGE.A", json!({"seq": u64::MAX})).await?;
        ask(&jetstream, "STREAM.PURGE.B", json!({"seq": 1_u64 << 62})).await?;
        ensure!(publish(&jetstream, "b", Vec::new()).await? == 1 << 62);
        server.kill()?;
        server.start_again().await?;
        let jetstream = server.jetstream().await?;
        ensure!(publish(&jetstream, "a", Vec::new()).await? == 1);
        ensure!(publish(&jetstream, "b", Vec::new()).await? == (1 << 62) + 1);
        Ok(())
    });
}

/// The folders of the streams' logs on the segment backend, in the order in which the streams were made.
fn logs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match u64::from_str_radix(&name, 16) {
                // Below are the journals.
                Ok(id) if name.len() == 16 && id >= 256 => found.push(path),
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

#[test]
fn a_start_with_a_stream_that_cannot_be_opened_serves_the_others() {
    with_server_for(LIMIT, async |server| {
        let jetstream = server.jetstream().await?;
        for name in ["A", "B"] {
            let subject = name.to_lowercase();
            let stream = jetstream
                .create_stream(Backend::Segment.stream(name, &[&subject]))
                .await?;
            stream.create_consumer(durable("c")).await?;
        }
        publish(&jetstream, "a", b"one".to_vec()).await?;
        publish(&jetstream, "b", b"one".to_vec()).await?;
        server.stop().await?;
        let log = logs(&server.store())?.into_iter().next().context("no logs")?;
        let aside = log.with_extension("aside");
        std::fs::rename(&log, &aside)?;
        std::fs::write(&log, "no directory")?;
        server.start_again().await?;
        let jetstream = server.jetstream().await?;
        ensure!(publish(&jetstream, "b", b"two".to_vec()).await? == 2);
        let info = ask(&jetstream, "STREAM.INFO.A", json!({})).await?;
        ensure!(info["error"]["err_code"] == 10194, "{info}");
        let refused = publish(&jetstream, "a", b"two".to_vec()).await;
        ensure!(refused.is_err_and(|error| format!("{error:#}").contains("offline")));
        let list = ask(&jetstream, "STREAM.LIST", json!({})).await?;
        ensure!(list["offline"]["A"].is_string() && list["total"] == 2, "{list}");
        let taken = json!({"name": "A", "subjects": ["x"]});
        let taken = ask(&jetstream, "STREAM.CREATE.A", taken).await?;
        ensure!(taken["error"].is_object(), "{taken}");
        // The cause is gone: the stream comes back by itself, with its consumer.
        std::fs::remove_file(&log)?;
        std::fs::rename(&aside, &log)?;
        while publish(&jetstream, "a", b"two".to_vec()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let stream = jetstream.get_stream("A").await?;
        let consumer: PullConsumer = stream.get_consumer("c").await.map_err(anyhow::Error::from_boxed)?;
        // The consumer's requests are taken as soon as the server has attached it again.
        loop {
            let mut batch = consumer.fetch().max_messages(1).messages().await?;
            if let Some(message) = batch.next().await {
                let message = message.map_err(anyhow::Error::from_boxed)?;
                ensure!(&message.payload[..] == b"one");
                break;
            }
        }
        Ok(())
    });
}

/// It came up empty, and nobody was told.
#[test]
fn a_stream_whose_log_is_missing_is_offline_until_it_is_back() {
    with_server_for(LIMIT, async |server| {
        let jetstream = server.jetstream().await?;
        for name in ["A", "B"] {
            let subject = name.to_lowercase();
            jetstream
                .create_stream(Backend::Segment.stream(name, &[&subject]))
                .await?;
        }
        publish(&jetstream, "a", b"one".to_vec()).await?;
        server.stop().await?;
        let log = logs(&server.store())?.into_iter().next().context("no logs")?;
        let aside = log.with_extension("aside");
        std::fs::rename(&log, &aside)?;
        for _ in 0..2 {
            server.start_again().await?;
            let jetstream = server.jetstream().await?;
            let info = ask(&jetstream, "STREAM.INFO.A", json!({})).await?;
            ensure!(info["error"]["err_code"] == 10194, "{info}");
            ensure!(publish(&jetstream, "a", b"two".to_vec()).await.is_err());
            ensure!(publish(&jetstream, "b", b"one".to_vec()).await.is_ok());
            // Clients go on behind as many as they got: each stream is listed once.
            let page = ask(&jetstream, "STREAM.LIST", json!({"offset": 1})).await?;
            ensure!(
                page["streams"] == json!([]) && page["offline"]["A"].is_string(),
                "{page}"
            );
            let (code, shown, said) = weir_tests::tool::weir(&["inspect", server.url(), "--json"])?;
            ensure!(code == Some(2), "{said}");
            let shown: Value = serde_json::from_str(&shown)?;
            let named = shown["streams"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|stream| &stream["name"]);
            ensure!(named.eq(["B"]) && shown["offline"]["A"].is_string(), "{shown}");
            for command in [
                ["dump", server.url(), "--stream", "A"],
                ["inspect", server.url(), "--stream", "A"],
            ] {
                let (code, _, said) = weir_tests::tool::weir(&command)?;
                ensure!(
                    code == Some(2) && said.contains("weir repair --dry-run"),
                    "{code:?} {said}"
                );
            }
            // A probe is told each time, the log once.
            for _ in 0..3 {
                let (status, health) = server.page("/healthz").await?;
                ensure!(
                    status == 503 && health.contains("stream A of account $G is offline"),
                    "{health}"
                );
            }
            let told = server.log().matches("Healthcheck failed").count();
            ensure!(told == 1, "{told} lines");
            ensure!(server.log().contains("Restored 2 streams, 1 of them offline"));
            let counted = server.page("/jsz").await?.1.parse::<Value>()?["weir"]["streams_offline"].clone();
            ensure!(counted == 1, "{counted}");
            server.stop().await?;
        }
        std::fs::rename(&aside, &log)?;
        server.start_again().await?;
        let stream = server.jetstream().await?.get_stream("A").await?;
        ensure!(&stream.get_raw_message(1).await?.payload[..] == b"one");
        Ok(())
    });
}

/// The stream was gone, and the next new one served its messages.
#[test]
fn a_flipped_bit_in_the_catalogue_costs_nothing() {
    with_server_for(LIMIT, async |server| {
        let jetstream = server.jetstream().await?;
        jetstream.create_stream(Backend::Segment.stream("A", &["a"])).await?;
        publish(&jetstream, "a", b"one".to_vec()).await?;
        server.stop().await?;
        let mut copies: Vec<PathBuf> = files(&server.store())?
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "kv"))
            .collect();
        copies.sort();
        ensure!(copies.len() == 2, "{copies:?}");
        for copy in copies {
            let mut bytes = std::fs::read(&copy)?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&copy, bytes)?;
            server.start_again().await?;
            let jetstream = server.jetstream().await?;
            let stream = jetstream.get_stream("A").await?;
            ensure!(&stream.get_raw_message(1).await?.payload[..] == b"one");
            let new = jetstream
                .get_or_create_stream(Backend::Segment.stream("NEW", &["n"]))
                .await?;
            ensure!(new.cached_info().state.messages == 0);
            server.stop().await?;
        }
        Ok(())
    });
}

/// The stream's messages were missing, and nothing said which.
#[test]
fn a_flipped_bit_in_a_journal_names_the_sequence_until_it_is_settled() {
    with_server_for(LIMIT, async |server| {
        let jetstream = server.jetstream().await?;
        jetstream.create_stream(Backend::Segment.stream("A", &["a"])).await?;
        for n in 1..=5 {
            publish(&jetstream, "a", format!("message {n} of A").into_bytes()).await?;
        }
        server.kill()?;
        // A power cut may take what only the journal had synced.
        for log in logs(&server.store())? {
            std::fs::remove_dir_all(log)?;
        }
        flip(&server.store(), b"message 3 of A")?;
        server.start_again().await?;
        let (status, health) = server.page("/healthz").await?;
        ensure!(
            status == 503 && health.contains("stream A of account $G lost 3"),
            "{health}"
        );
        let page = server.page("/jsz").await?.1.parse::<Value>()?;
        for (number, is) in [("streams_offline", 0), ("findings", 1), ("messages_lost", 1)] {
            ensure!(page["weir"][number] == is, "{number}: {page}");
        }
        let jetstream = server.jetstream().await?;
        let stream = jetstream.get_stream("A").await?;
        ensure!(stream.get_raw_message(3).await.is_err());
        for seq in [1, 2, 4, 5] {
            let text = format!("message {seq} of A");
            ensure!(stream.get_raw_message(seq).await?.payload == text.as_bytes());
        }
        let info = ask(&jetstream, "STREAM.INFO.A", json!({})).await?;
        ensure!(
            info["state"]["lost"] == json!({"msgs": [3], "bytes": 0, "total": 1}),
            "{info}"
        );
        server.stop().await?;
        // Its records are kept, though a checkpoint has them all.
        let (code, report) = inspect(&server.store())?;
        ensure!(code == Some(2));
        let records = |report: &Value| -> Option<u64> {
            report["journals"]
                .as_array()?
                .iter()
                .map(|one| one["records"].as_u64())
                .sum()
        };
        ensure!(records(&report) > Some(0), "{report}");
        let settled = weir(&["settle"], &server.store(), &["--all"])?;
        ensure!(settled.status.success(), "{settled:?}");
        ensure!(inspect(&server.store())?.0 == Some(0));
        server.start_again().await?;
        ensure!(server.page("/healthz").await?.0 == 200);
        let jetstream = server.jetstream().await?;
        let info = ask(&jetstream, "STREAM.INFO.A", json!({})).await?;
        ensure!(info["state"]["lost"]["msgs"] == json!([3]), "{info}");
        // With the next checkpoint they go.
        publish(&jetstream, "a", b"message 6 of A".to_vec()).await?;
        server.stop().await?;
        let (code, report) = inspect(&server.store())?;
        ensure!((code, records(&report)) == (Some(0), Some(0)), "{report}");
        Ok(())
    });
}

/// The offline tool, built beside the server.
fn weir(command: &[&str], store: &Path, arguments: &[&str]) -> Result<std::process::Output> {
    let tool = weir_tests::server::tool();
    let mut run = Command::new(&tool);
    let output = run.args(command).arg(store).args(arguments).output();
    output.with_context(|| {
        format!(
            "running {}: build it with `cargo build --release -p weir-compaction`",
            tool.display()
        )
    })
}

/// How an inspection ends, and what it says.
fn inspect(store: &Path) -> Result<(Option<i32>, Value)> {
    let output = weir(&["inspect"], store, &["--json"])?;
    Ok((output.status.code(), serde_json::from_slice(&output.stdout)?))
}

/// Flips one bit of the only place in the store that says this.
fn flip(store: &Path, says: &[u8]) -> Result<()> {
    let mut flipped = 0;
    for path in files(store)? {
        let mut bytes = std::fs::read(&path)?;
        if let Some(at) = bytes.windows(says.len()).position(|bytes| bytes == says) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes)?;
            flipped += 1;
        }
    }
    ensure!(flipped == 1, "{flipped} places");
    Ok(())
}

/// All files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    Ok(found)
}

fn durable(name: &str) -> pull::Config {
    pull::Config {
        durable_name: Some(name.to_owned()),
        ..pull::Config::default()
    }
}

/// A file system of a size, for as long as it is held.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where that is not allowed.
    fn mount(bytes: u64) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(folder.path())
            .status();
        Ok(mounted.is_ok_and(|status| status.success()).then_some(Self(folder)))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A test that failed may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_stops_publishers_alone_and_only_while_it_is_full() -> Result<()> {
    on_a_small_disk(fill)
}

/// Runs a test of a server whose store is on a small disk of its own, if one can be had.
fn on_a_small_disk(test: impl AsyncFnOnce(&mut Server, &Path) -> Result<()>) -> Result<()> {
    let Some(disk) = SmallDisk::mount(96 << 20)? else {
        eprintln!("skipped: no file system can be mounted here");
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut server = Server::start_in(&program(), disk.path()).await?;
        let outcome = tokio::time::timeout(LIMIT, test(&mut server, disk.path())).await;
        match outcome.context("it took too long").and_then(|outcome| outcome) {
            Ok(()) => Ok(()),
            Err(error) => bail!("{error:#}; the server's log:\n{}", server.log()),
        }
    })
}

async fn fill(server: &mut Server, disk: &Path) -> Result<()> {
    // Streams may hold more than the disk has room for: else that limit is met first, for large bodies are on disk once.
    server.begin_anew("jetstream { max_file_store: 1GB }").await?;
    let jetstream = server.jetstream().await?;
    let segment = Backend::Segment;
    let big = jetstream.create_stream(segment.stream("BIG", &["big"])).await?;
    let small = jetstream.create_stream(segment.stream("SMALL", &["small"])).await?;
    for _ in 0..3 {
        publish(&jetstream, "small", b"x".to_vec()).await?;
    }
    let consumer = small.create_consumer(durable("c")).await?;
    let mut last = 0;
    let refused = loop {
        match publish(&jetstream, "big", vec![7; 256 << 10]).await {
            Ok(seq) => last = seq,
            Err(error) => break format!("{error:#}"),
        }
        ensure!(last < 1000, "96 MiB are not full");
    };
    ensure!(refused.contains("full") || refused.contains("space"), "{refused}");
    // All else goes on.
    ensure!(big.get_raw_message(last).await?.payload.len() == 256 << 10);
    let mut batch = consumer.fetch().max_messages(3).messages().await?;
    let mut fetched = 0;
    while let Some(message) = batch.next().await {
        let message = message.map_err(anyhow::Error::from_boxed)?;
        message.double_ack().await.map_err(anyhow::Error::from_boxed)?;
        fetched += 1;
    }
    ensure!(fetched == 3, "{fetched} messages came");
    ensure!(small.delete_message(2).await?);
    // What was acknowledged is there after a crash on the full disk.
    server.kill()?;
    server.start_again().await?;
    let jetstream = server.jetstream().await?;
    let big = jetstream.get_stream("BIG").await?;
    ensure!(big.cached_info().state.last_sequence >= last, "messages are gone");
    ensure!(big.get_raw_message(last).await?.payload.len() == 256 << 10);
    big.purge().await?;
    // It finds out by itself that there is room.
    let mut last = loop {
        match publish(&jetstream, "big", vec![7; 256 << 10]).await {
            Ok(seq) => break seq,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let small = jetstream.get_stream("SMALL").await?;
    ensure!(small.cached_info().state.messages == 2);
    // Full once more, and nobody made room before the next start: that is as what went before.
    while let Ok(seq) = publish(&jetstream, "big", vec![7; 256 << 10]).await {
        last = seq;
    }
    server.kill()?;
    let filler = disk.join("filler");
    let mut file = std::fs::File::create(&filler)?;
    while file.write_all(&[7; 64 << 10]).is_ok() {}
    // The server's log and its file of ports lie there, too.
    file.set_len(file.metadata()?.len().saturating_sub(128 << 10))?;
    server.start_again().await?;
    let jetstream = server.jetstream().await?;
    let big = jetstream.get_stream("BIG").await?;
    ensure!(big.get_raw_message(last).await?.payload.len() == 256 << 10);
    let mut stored = 0;
    while publish(&jetstream, "big", vec![7; 512 << 10]).await.is_ok() {
        stored += 1;
        ensure!(stored < 200, "96 MiB are not full");
    }
    big.purge().await?;
    std::fs::remove_file(&filler)?;
    while publish(&jetstream, "big", vec![7; 256 << 10]).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A copy that fills the disk would keep all publishers waiting: it is not begun.
#[test]
fn a_stream_does_not_go_over_where_there_is_no_room_for_the_copy() -> Result<()> {
    on_a_small_disk(async |server, _| has_no_room(server).await)
}

async fn has_no_room(server: &mut Server) -> Result<()> {
    let jetstream = server.jetstream().await?;
    jetstream.create_stream(Backend::Segment.stream("S", &["s"])).await?;
    for _ in 0..80 {
        publish(&jetstream, "s", vec![7; 256 << 10]).await?;
    }
    let url = server.url().to_owned();
    let convert = ["convert", &url, "--to", "rocksdb", "--stream", "S"];
    let (code, out, told) = weir_tests::tool::weir(&convert)?;
    ensure!(
        code == Some(1) && told.contains("stays where it was: the disk has too little room for a copy"),
        "{code:?} {out} {told}"
    );
    ensure!(told.contains("tries it again each minute"), "{told}");
    publish(&jetstream, "s", b"goes on".to_vec()).await?;
    let (_, seen, _) = weir_tests::tool::weir(&["inspect", &url])?;
    ensure!(
        seen.contains("and stays where it was: the disk has too little room"),
        "{seen}"
    );
    server.stop().await?;
    let store = server.store();
    let store = store.to_str().context("a path that is text")?;
    let (code, out, told) = weir_tests::tool::weir(&["convert", store, "--to", "rocksdb", "--stream", "S"])?;
    ensure!(
        code == Some(1) && out.contains("S of $G is in segment as before: the disk has too little room"),
        "{code:?} {out} {told}"
    );
    let (code, out, _) = weir_tests::tool::weir(&["verify", store])?;
    ensure!(
        code == Some(0) && out.contains("S of $G (segment): 81 messages"),
        "{out}"
    );
    Ok(())
}
