//! What rots while nobody reads it is found by the server itself, and told as if somebody had met it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use serde_json::Value;
use weir_tests::backups::ask;
use weir_tests::damage::flip;
use weir_tests::{Backend, Server, with_server_for};

/// Enough for the slowest machine.
const LIMIT: Duration = Duration::from_secs(180);
const MESSAGES: u64 = 40;
/// The message that rots.
const ROTTEN: u64 = 17;

fn payload(stream: &str, number: u64) -> String {
    format!("message {number} of {stream} {}", "x".repeat(8 << 10))
}

/// What `/varz` has of the scrubber, once it is so.
async fn once(server: &Server, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    loop {
        let page: Value = server.page("/varz").await?.1.parse()?;
        let scrub = &page["jetstream"]["weir"]["scrub"];
        if is_so(scrub) {
            return Ok(scrub.clone());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn is_found(server: &mut Server, backend: Backend) -> Result<()> {
    let jetstream = server.jetstream().await?;
    for name in ["A", "B"] {
        let subject = name.to_lowercase();
        jetstream.create_stream(backend.stream(name, &[&subject])).await?;
        for number in 1..=MESSAGES {
            let ack = jetstream.publish(subject.clone(), payload(name, number).into()).await?;
            ack.await?;
        }
    }
    // What RocksDB has in memory goes to files.
    server.stop().await?;
    server.configure("jetstream { scrub { cycle: 1s } }")?;
    server.start_again().await?;
    let client = server.connect().await?;
    let mut told = client.subscribe("$JS.EVENT.ADVISORY.STREAM.MESSAGE_DAMAGED.*").await?;
    weir_tests::server::settle(&client).await?;
    // A pass over all of it finds nothing.
    for _ in 0..2 {
        let before = once(server, |_| true).await?["last_full"].clone();
        let pass = once(server, |scrub| scrub["last_full"] != before).await?;
        ensure!(pass["findings"] == 0, "{pass}");
    }
    flip(&server.store(), &format!("message {ROTTEN} of A"))?;
    let advisory = told.next().await.context("the connection ended")?;
    let advisory: Value = serde_json::from_slice(&advisory.payload)?;
    ensure!(advisory["stream"] == "A", "{advisory}");
    once(server, |scrub| scrub["findings"].as_u64() > Some(0)).await?;
    let info = ask(&client, "STREAM.INFO.A", &Value::Null).await?;
    let lost: Vec<u64> = serde_json::from_value(info["state"]["lost"]["msgs"].clone())?;
    // On RocksDB it costs the block.
    ensure!(lost.contains(&ROTTEN) && lost.len() <= 3, "{info}");
    let other = ask(&client, "STREAM.INFO.B", &Value::Null).await?;
    ensure!(other["state"].get("lost").is_none(), "{other}");
    let url = server.url().to_owned();
    let seen = std::process::Command::new(weir_tests::server::tool())
        .args(["inspect", &url])
        .output()
        .context("running weir: build it with `cargo build --release -p weir-compaction`")?;
    ensure!(seen.status.code() == Some(2), "the tool says nothing of it: {seen:?}");
    let jetstream = server.jetstream().await?;
    for name in ["A", "B"] {
        let stream = jetstream.get_stream(name).await?;
        for number in (1..=MESSAGES).filter(|number| name == "B" || !lost.contains(number)) {
            let message = stream.get_raw_message(number).await?;
            ensure!(
                message.payload == payload(name, number).as_bytes(),
                "message {number} of {name}"
            );
        }
    }
    ensure!(
        server.log().contains("a damaged message is passed over"),
        "the log does not say so"
    );
    Ok(())
}

#[test]
fn a_flipped_bit_on_segment_is_found() {
    with_server_for(LIMIT, async |server| is_found(server, Backend::Segment).await);
}

#[test]
fn a_flipped_bit_on_rocksdb_is_found() {
    with_server_for(LIMIT, async |server| is_found(server, Backend::Rocksdb).await);
}

#[test]
fn without_a_scrubber_none_is_shown() {
    with_server_for(LIMIT, async |server| {
        server.stop().await?;
        server.configure("jetstream { scrub: off }")?;
        server.start_again().await?;
        let page: Value = server.page("/varz").await?.1.parse()?;
        ensure!(page["jetstream"]["weir"]["scrub"].is_null(), "{page}");
        Ok(())
    });
}
