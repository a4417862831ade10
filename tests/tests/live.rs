//! `weir` on a running server: what it shows is what the store has, and it leaves nothing behind.
//!
//! Of a genuine `nats-server` 2.15 it shows the same, if there is one, on PATH or named by `NATS_SERVER`.
#![allow(clippy::print_stdout, reason = "that nothing was compared must be seen")]

use std::time::Duration;

use anyhow::{Result, ensure};
use async_nats::{Client, HeaderMap};
use serde_json::{Value, json};
use weir_tests::backups::ask;
use weir_tests::damage::flip;
use weir_tests::genuine::genuine;
use weir_tests::tool::{refused, text, weir, well};
use weir_tests::{Server, with_server_for};

/// Enough for the slowest machine.
const LIMIT: Duration = Duration::from_secs(300);

/// A stream with gaps and headers, and a consumer in the middle of its work.
async fn fill(client: &Client, metadata: Value) -> Result<()> {
    let config = json!({"name": "ORDERS", "subjects": ["orders.>"], "metadata": metadata});
    let made = ask(client, "STREAM.CREATE.ORDERS", &config).await?;
    ensure!(made.get("error").is_none(), "{made}");
    for number in 0..300_u64 {
        let mut headers = HeaderMap::new();
        if number % 3 == 0 {
            headers.append("Number", number.to_string());
            headers.append("Number", "again");
        }
        let subject = format!("orders.{}", number % 7);
        client
            .request_with_headers(subject, headers, format!("message {number}").into())
            .await?;
    }
    for seq in (20..200).chain([250, 300]) {
        ask(
            client,
            "STREAM.MSG.DELETE.ORDERS",
            &json!({"seq": seq, "no_erase": true}),
        )
        .await?;
    }
    let consumer = json!({"stream_name": "ORDERS", "config": {"durable_name": "billing", "ack_policy": "explicit"}});
    let made = ask(client, "CONSUMER.DURABLE.CREATE.ORDERS.billing", &consumer).await?;
    ensure!(made.get("error").is_none(), "{made}");
    Ok(())
}

/// What any server with that stream shows.
fn looks(url: &str) -> Result<()> {
    let seen: Value = serde_json::from_str(&well(&["inspect", url, "--subjects", "--limit", "3", "--json"])?)?;
    let orders = &seen["streams"][0];
    ensure!(
        orders["name"] == "ORDERS" && orders["messages"] == 118 && orders["subject_count"] == 7,
        "{seen}"
    );
    ensure!(orders["subjects"].as_array().map(Vec::len) == Some(3), "{seen}");
    ensure!(orders["consumers"][0]["name"] == "billing", "{seen}");
    let table = well(&["inspect", url, "--stream", "ORDERS"])?;
    ensure!(table.contains("billing") && table.contains("1 to 300"), "{table}");
    refused(&["inspect", url, "--histogram"], "needs the store itself")?;
    refused(&["inspect", url, "--stream", "NONE"], "stream not found")?;
    refused(&["verify", url], "stop it first")?;
    refused(&["repair", url], "stop it first")?;
    refused(&["settle", url, "--all"], "stop it first")?;
    refused(&["diff", url, url], "stop it first")
}

fn dump(store: &str, more: &[&str]) -> Result<String> {
    well(&[&["dump", store, "--stream", "ORDERS", "--json"], more].concat())
}

#[test]
fn a_running_server_shows_what_its_store_has() {
    with_server_for(LIMIT, async |server: &mut Server| {
        let folder = tempfile::tempdir()?;
        let url = server.url().to_owned();
        let client = server.connect().await?;
        fill(&client, json!({"weir.backend": "segment"})).await?;
        looks(&url)?;
        let told = well(&["inspect", &url])?;
        ensure!(
            told.contains(", Weir ") && told.contains(", as nats-server 2."),
            "{told}"
        );
        let selections: &[&[&str]] = &[
            &[],
            &["--subject", "orders.3"],
            &["--subject", "orders.3", "--subject", "orders.5"],
            &["--seq", "10..210"],
            &["--limit", "5"],
            &["--since", "1h"],
            &["--until", "2020-01-01T00:00:00Z"],
        ];
        let live = selections
            .iter()
            .map(|more| dump(&url, more))
            .collect::<Result<Vec<_>>>()?;
        ensure!(live[0].lines().count() == 118, "{}", live[0]);

        // Out and in again.
        let backup = folder.path().join("backup");
        let told = well(&["export", &url, "--stream", "ORDERS", text(&backup)?])?;
        ensure!(told.contains("118 messages") && told.contains("billing"), "{told}");
        let table = folder.path().join("table");
        let out = ["--format", "parquet", text(&table)?];
        well(&[&["export", &url, "--stream", "ORDERS"], &out[..]].concat())?;
        let lines = folder.path().join("lines");
        let as_lines = ["--stream", "ORDERS", "--format", "jsonl"];
        let told = well(&[&["export", &url, text(&lines)?], &as_lines[..]].concat())?;
        ensure!(told.contains("118 messages") && told.contains("billing"), "{told}");
        let lines_are = std::fs::read_to_string(&lines)?;
        ensure!(
            well(&[&["export", &url, "-"], &as_lines[..]].concat())? == lines_are,
            "the same on the standard output"
        );
        refused(
            &[&["export", &url, text(&lines)?], &as_lines[..]].concat(),
            "it is there",
        )?;
        // Into the server again, under another name and without the subjects of the other.
        refused(&["import", &url, text(&lines)?, "--name", "AGAIN"], "subjects overlap")?;
        ask(&client, "STREAM.DELETE.ORDERS", &Value::Null).await?;
        let told = well(&["import", &url, text(&lines)?, "--name", "AGAIN"])?;
        ensure!(told.contains("Imported AGAIN: 118 messages"), "{told}");
        let dumped = well(&["dump", &url, "--stream", "AGAIN", "--json"])?;
        ensure!(dumped == live[0], "lines bring in what was there");
        let consumers = ask(&client, "CONSUMER.NAMES.AGAIN", &Value::Null).await?;
        ensure!(consumers["consumers"] == json!(["billing"]), "{consumers}");
        ask(&client, "STREAM.DELETE.AGAIN", &Value::Null).await?;
        let told = well(&["import", &url, text(&backup)?])?;
        ensure!(told.contains("Imported ORDERS: 118 messages"), "{told}");
        ensure!(dump(&url, &[])? == live[0], "it is the same again");

        let told = well(&["compact", &url, "--stream", "ORDERS", "--compression", "zstd:3"])?;
        ensure!(told.contains("weir.compression was not set, and is zstd:3"), "{told}");
        refused(
            &[
                "compact",
                &url,
                "--stream",
                "ORDERS",
                "--compression",
                "lz4",
                "--out",
                "x",
            ],
            "--out",
        )?;
        let names = ask(&client, "CONSUMER.NAMES.ORDERS", &Value::Null).await?;
        ensure!(
            names["consumers"] == json!(["billing"]),
            "nothing is left behind: {names}"
        );

        let again = folder.path().join("again");
        well(&[&["export", &url, text(&again)?], &as_lines[..]].concat())?;
        server.stop().await?;
        let store = server.store();
        let stopped = folder.path().join("stopped");
        well(&[&["export", text(&store)?, text(&stopped)?], &as_lines[..]].concat())?;
        ensure!(
            std::fs::read(&again)? == std::fs::read(&stopped)?,
            "lines of a running server are those of its store"
        );
        for (more, live) in selections.iter().zip(live) {
            ensure!(dump(text(&store)?, more)? == live, "{more:?}");
        }
        Ok(())
    });
}

#[test]
fn a_stream_goes_over_and_the_tool_waits_for_it() {
    with_server_for(LIMIT, async |server: &mut Server| {
        let url = server.url().to_owned();
        let client = server.connect().await?;
        fill(&client, json!({"weir.backend": "segment"})).await?;
        let before = dump(&url, &[])?;
        let (code, told, why) = weir(&["convert", &url, "--to", "rocksdb", "--stream", "ORDERS"])?;
        if code == Some(1) && why.contains("without") {
            println!("nothing went over: the server was built without rocksdb");
            return Ok(());
        }
        ensure!(
            code == Some(0) && told.contains("its messages are in rocksdb"),
            "{told} {why}"
        );
        // Said once it is so.
        while !server.log().contains("its messages are in rocksdb now") {
            tokio::task::yield_now().await;
        }
        let info = ask(&client, "STREAM.INFO.ORDERS", &Value::Null).await?;
        ensure!(info.get("moving").is_none(), "{info}");
        ensure!(dump(&url, &[])? == before);
        Ok(())
    });
}

#[test]
fn a_genuine_server_shows_as_much() {
    let nats_server = match genuine() {
        Ok(path) => path,
        Err(why) => {
            println!("no nats-server was asked: {why}");
            return;
        }
    };
    with_server_for(LIMIT, async |server: &mut Server| {
        let folder = tempfile::tempdir()?;
        let theirs = Server::start_program(&nats_server).await?;
        // As it comes with a backup of ours: there it says nothing.
        fill(&theirs.connect().await?, json!({"weir.backend": "segment"})).await?;
        looks(theirs.url())?;
        let seen: Value = serde_json::from_str(&well(&["inspect", theirs.url(), "--json"])?)?;
        let orders = &seen["streams"][0];
        ensure!(orders["storage"] == "file" && orders["backend"].is_null(), "{seen}");
        ensure!(seen.get("weir_version").is_none(), "{seen}");
        let table = well(&["inspect", theirs.url()])?;
        ensure!(table.contains("│ file ") || table.contains("┆ file "), "{table}");
        let there = dump(theirs.url(), &[])?;
        ensure!(there.lines().count() == 118, "{there}");
        let why = "is no server of Weir's";
        let stream = ["--stream", "ORDERS"];
        refused(
            &[&["convert", theirs.url(), "--to", "rocksdb"], &stream[..]].concat(),
            why,
        )?;
        refused(
            &[&["compact", theirs.url(), "--compression", "zstd"], &stream[..]].concat(),
            why,
        )?;
        let backup = folder.path().join("backup");
        well(&[&["export", theirs.url(), text(&backup)?], &stream[..]].concat())?;
        well(&["import", server.url(), text(&backup)?])?;
        ensure!(dump(server.url(), &[])? == there, "it is the same in ours");
        // As lines, out of theirs and in again.
        let lines = folder.path().join("lines");
        let as_lines = ["--format", "jsonl", text(&lines)?];
        well(&[&["export", theirs.url()], &stream[..], &as_lines[..]].concat())?;
        let client = theirs.connect().await?;
        ask(&client, "STREAM.DELETE.ORDERS", &Value::Null).await?;
        well(&["import", theirs.url(), text(&lines)?])?;
        ensure!(dump(theirs.url(), &[])? == there, "it is the same in theirs again");
        let names = ask(&client, "CONSUMER.NAMES.ORDERS", &Value::Null).await?;
        ensure!(names["consumers"] == json!(["billing"]), "{names}");
        Ok(())
    });
}

/// A message that nobody has read since it rotted, in the middle of others: each tool names it, the first time already.
async fn is_named(server: &mut Server, backend: &str, tool: &[&str]) -> Result<()> {
    let client = server.connect().await?;
    let config = json!({"name": "S", "subjects": ["s"], "metadata": {"weir.backend": backend}});
    ask(&client, "STREAM.CREATE.S", &config).await?;
    for number in 1..=40 {
        let body = format!("message {number} of them {}", "x".repeat(8 << 10));
        client.request("s", body.into()).await?;
    }
    // What RocksDB has in memory goes to files.
    server.stop().await?;
    flip(&server.store(), "message 17 of them")?;
    server.configure("jetstream { scrub: off }")?;
    server.start_again().await?;
    let url = server.url().to_owned();
    let arguments: Vec<&str> = tool
        .iter()
        .map(|word| if *word == "URL" { &*url } else { *word })
        .collect();
    let (code, out, told) = weir(&arguments)?;
    ensure!(
        code == Some(2) && (out.clone() + &told).contains("17"),
        "{backend} {tool:?}: {code:?} {out} {told}"
    );
    // From then on all of them know.
    let (code, out, _) = weir(&["inspect", &url])?;
    ensure!(
        code == Some(2) && out.contains("Stream S has lost message") && out.contains("17"),
        "{backend} {tool:?}: {out}"
    );
    Ok(())
}

fn each_backend(tool: impl Fn() -> Result<Vec<String>>) {
    for backend in ["segment", "rocksdb"] {
        with_server_for(LIMIT, async |server: &mut Server| {
            let words = tool()?;
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            is_named(server, backend, &words).await
        });
    }
}

fn words(of: &[&str]) -> Vec<String> {
    of.iter().map(ToString::to_string).collect()
}

#[test]
fn a_backup_of_a_damaged_stream_ends_with_2_and_names_what_is_missing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (format, name) in [("backup", "b"), ("jsonl", "l"), ("parquet", "p")] {
        let number = std::sync::atomic::AtomicU32::new(0);
        each_backend(|| {
            let out = folder.path().join(format!(
                "{name}{}",
                number.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            ));
            Ok(words(&[
                "export",
                "URL",
                text(&out)?,
                "--stream",
                "S",
                "--format",
                format,
            ]))
        });
    }
    Ok(())
}

#[test]
fn a_dump_names_a_damaged_message_the_first_time_that_it_is_met() {
    each_backend(|| Ok(words(&["dump", "URL", "--stream", "S", "--body", "none"])));
}

#[test]
fn a_damaged_stream_that_is_to_go_over_stays_and_the_tool_ends_with_2() {
    with_server_for(LIMIT, async |server: &mut Server| {
        let (code, _, why) = weir(&["convert", server.url(), "--to", "rocksdb", "--stream", "NONE"])?;
        ensure!(code == Some(1) && why.contains("stream not found"), "{why}");
        is_named(
            server,
            "segment",
            &["convert", "URL", "--to", "rocksdb", "--stream", "S", "--json"],
        )
        .await?;
        let (_, seen, _) = weir(&["inspect", server.url()])?;
        let stays =
            "Stream S is to go over to rocksdb, and stays where it was: 1 message cannot be read, the first is 17";
        ensure!(seen.contains(stays) && seen.contains("┆ segment ┆"), "{seen}");
        Ok(())
    });
}

/// Tools that read the store end with 2 for a stream that is offline, and so do those that ask the server.
#[test]
fn tools_end_with_2_where_a_stream_is_offline_and_show_the_others() {
    with_server_for(LIMIT, async |server: &mut Server| {
        let client = server.connect().await?;
        for (name, subject) in [("ORDERS", "orders"), ("JOBS", "jobs")] {
            let config = json!({"name": name, "subjects": [subject], "metadata": {"weir.backend": "segment"}});
            ask(&client, &format!("STREAM.CREATE.{name}"), &config).await?;
            client.request(subject, "one".into()).await?;
        }
        server.stop().await?;
        let logs = server.store().join("weir/segment/logs");
        let mut folders: Vec<_> = std::fs::read_dir(&logs)?
            .map(|log| log.map(|log| log.path()))
            .collect::<Result<_, _>>()?;
        folders.sort();
        // Streams have the highest numbers, in the order that they were made in.
        let orders = folders.len() - 2;
        std::fs::rename(&folders[orders], server.store().join("away"))?;
        server.start_again().await?;
        let folder = tempfile::tempdir()?;
        let (url, out) = (server.url().to_owned(), folder.path().join("out"));
        let tools: [&[&str]; 5] = [
            &["inspect", &url, "--stream", "ORDERS"],
            &["dump", &url, "--stream", "ORDERS"],
            &["export", &url, text(&out)?, "--stream", "ORDERS"],
            &["compact", &url, "--stream", "ORDERS", "--compression", "zstd"],
            &["convert", &url, "--stream", "ORDERS", "--to", "rocksdb"],
        ];
        for tool in tools {
            let (code, out, told) = weir(tool)?;
            ensure!(
                code == Some(2) && told.contains("offline"),
                "{tool:?}: {code:?} {out} {told}"
            );
        }
        let (code, seen, _) = weir(&["inspect", &url])?;
        ensure!(code == Some(2) && seen.contains("Stream ORDERS is offline: "), "{seen}");
        ensure!(seen.contains("JOBS"), "{seen}");
        well(&["inspect", &url, "--stream", "JOBS"])?;
        well(&["dump", &url, "--stream", "JOBS"])?;
        Ok(())
    });
}

/// What is lost of the catalogue is a matter of no stream that is left, and was told by /healthz alone.
#[test]
fn a_running_server_tells_what_is_wrong_with_its_store() {
    with_server_for(LIMIT, async |server: &mut Server| {
        // Each stream is in a record of its own: with one storage thread, as on a machine with one core, both are in one.
        server.begin_anew("jetstream { shards: 2 }").await?;
        let client = server.connect().await?;
        for (name, subject) in [("ORDERS", "orders"), ("JOBS", "jobs")] {
            let config = json!({"name": name, "subjects": [subject], "metadata": {"weir.backend": "segment"}});
            ask(&client, &format!("STREAM.CREATE.{name}"), &config).await?;
            client.request(subject, "one".into()).await?;
        }
        well(&["inspect", server.url()])?;
        server.stop().await?;
        for copy in ["kv", "kv2"] {
            for file in std::fs::read_dir(server.store().join("weir/segment").join(copy))? {
                let path = file?.path();
                let mut raw = std::fs::read(&path)?;
                let name = br#""JOBS""#;
                let at = raw.windows(name.len()).position(|bytes| bytes == name);
                ensure!(at.is_some(), "{} does not name the stream", path.display());
                raw[at.unwrap_or_default()] ^= 1;
                std::fs::write(&path, raw)?;
            }
        }
        server.start_again().await?;
        let (code, seen, _) = weir(&["inspect", server.url()])?;
        ensure!(
            code == Some(2) && seen.contains("Wrong with the server's store, and not settled: "),
            "{code:?} {seen}"
        );
        ensure!(seen.contains("part of the catalogue is lost"), "{seen}");
        let (_, seen, _) = weir(&["inspect", server.url(), "--json"])?;
        let seen: Value = serde_json::from_str(&seen)?;
        ensure!(seen["findings"].as_u64() > Some(0), "{seen}");
        well(&["inspect", server.url(), "--stream", "ORDERS"])?;
        Ok(())
    });
}

#[test]
fn a_stream_that_cannot_go_over_for_want_of_a_folder_is_told_what_helps() {
    with_server_for(LIMIT, async |server: &mut Server| {
        let client = server.connect().await?;
        for (name, backend) in [("ROCKS", "rocksdb"), ("SEGS", "segment")] {
            let config = json!({"name": name, "subjects": [name], "metadata": {"weir.backend": backend}});
            let made = ask(&client, &format!("STREAM.CREATE.{name}"), &config).await?;
            ensure!(made.get("error").is_none(), "{made}");
            client.request(name, "one".into()).await?;
        }
        server.stop().await?;
        std::fs::rename(server.store().join("weir/rocksdb"), server.store().join("away"))?;
        server.start_again().await?;
        let convert = ["convert", server.url(), "--to", "rocksdb", "--stream", "SEGS"];
        let (code, _, told) = weir(&convert)?;
        ensure!(
            code == Some(2) && told.contains("put that folder back") && !told.contains("delete"),
            "{code:?} {told}"
        );
        // As it says.
        server.stop().await?;
        std::fs::rename(server.store().join("away"), server.store().join("weir/rocksdb"))?;
        server.start_again().await?;
        let convert = ["convert", server.url(), "--to", "rocksdb", "--stream", "SEGS"];
        let told = well(&convert)?;
        ensure!(told.contains("in rocksdb"), "{told}");
        Ok(())
    });
}
