//! A store that is encrypted: nothing in its files can be read, and with its key it is what any other is.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::context::Context;
use async_nats::jetstream::{kv, stream};
use futures_util::StreamExt;
use serde_json::{Value, json};
use weir_tests::backups::{ask, backup, restore};
use weir_tests::server::{program, with_server_for};
use weir_tests::tool::{self, text};
use weir_tests::{Backend, Server};

const LIMIT: Duration = Duration::from_secs(300);
/// What must be nowhere: in subjects, bodies, headers, names, configurations, consumers.
const SECRET: &str = "pomegranate";
const MESSAGES: u64 = 300;

async fn go_on(server: &mut Server, text: &str) -> Result<()> {
    server.stop().await?;
    server.configure(text)?;
    server.start_again().await
}

async fn fill(js: &Context, backend: Backend) -> Result<()> {
    let name = format!("{SECRET}-{backend:?}");
    let config = stream::Config {
        description: Some(format!("all about the {SECRET}")),
        ..backend.stream(&name, &[&format!("{SECRET}.{backend:?}.>")])
    };
    let stream = js.create_stream(config).await?;
    for n in 0..MESSAGES {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Kind", format!("{SECRET}-{n}"));
        let subject = format!("{SECRET}.{backend:?}.{}", n % 7);
        js.publish_with_headers(subject, headers, format!("a {SECRET}, number {n}").into())
            .await?
            .await?;
    }
    let config = pull::Config {
        durable_name: Some(format!("{SECRET}-eater")),
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let mut batch = consumer.fetch().max_messages(10).messages().await?;
    while let Some(message) = batch.next().await {
        let message = message.map_err(anyhow::Error::from_boxed)?;
        message.double_ack().await.map_err(anyhow::Error::from_boxed)?;
    }
    Ok(())
}

/// All of it is there, whatever the key was.
async fn check(js: &Context, backend: Backend) -> Result<()> {
    let mut stream = js.get_stream(format!("{SECRET}-{backend:?}")).await?;
    let state = &stream.info().await?.state;
    ensure!(state.messages == MESSAGES, "{state:?}");
    for n in [0, 17, MESSAGES - 1] {
        let message = stream.get_raw_message(n + 1).await?;
        ensure!(message.payload == format!("a {SECRET}, number {n}"), "{message:?}");
        ensure!(message.subject.as_str() == format!("{SECRET}.{backend:?}.{}", n % 7));
        let kind = message.headers.get("Kind").context("no header")?;
        ensure!(kind.as_str() == format!("{SECRET}-{n}"));
    }
    let consumer: async_nats::jetstream::consumer::PullConsumer = stream
        .get_consumer(&format!("{SECRET}-eater"))
        .await
        .map_err(anyhow::Error::from_boxed)?;
    let floor = consumer.cached_info().ack_floor.stream_sequence;
    ensure!(floor == 10, "{floor}");
    Ok(())
}

/// The files in which a text stands as it is. A server that runs may remove some meanwhile.
fn telling(folder: &Path, what: &str, found: &mut Vec<String>) -> Result<()> {
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let entries = match fs::read_dir(folder) {
        Err(error) if is_gone(&error) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            telling(&path, what, found)?;
            continue;
        }
        let bytes = match fs::read(&path) {
            Err(error) if is_gone(&error) => continue,
            bytes => bytes?,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.contains(what) || bytes.windows(what.len()).any(|window| window == what.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    Ok(())
}

fn nothing_is_told(server: &Server) -> Result<()> {
    let mut found = Vec::new();
    telling(&server.store(), SECRET, &mut found)?;
    for key in ["the first key", "the second key"] {
        telling(&server.store(), key, &mut found)?;
        ensure!(!server.log().contains(key), "the log has a key");
    }
    ensure!(found.is_empty(), "it can be read in {found:?}");
    Ok(())
}

/// What a start with that configuration is refused with; nothing in the store is another then.
fn refused(server: &Server, config: &str) -> Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), config)?;
    for check in [true, false] {
        let mut command = Command::new(program());
        command.args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd"]);
        command.arg(server.store()).arg("-c").arg(file.path());
        if check {
            command.arg("-t");
        }
        let output = command.output()?;
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.code() == Some(1), "{:?} {told}", output.status);
        ensure!(
            !told.contains("the first key") && !told.contains("the second key"),
            "{told}"
        );
        if !check {
            return Ok(told);
        }
    }
    Ok(String::new())
}

fn encrypted(cipher: &str, backends: &'static [Backend]) {
    let first = format!("jetstream {{ cipher: {cipher}, key: 'the first key' }}");
    let second = "jetstream { cipher: chacha, key: 'the second key', prev_key: 'the first key' }";
    with_server_for(LIMIT, async |server| {
        server.begin_anew(&first).await?;
        let js = server.jetstream().await?;
        for backend in backends {
            fill(&js, *backend).await?;
        }
        let bucket = js
            .create_key_value(kv::Config {
                bucket: SECRET.to_owned(),
                ..kv::Config::default()
            })
            .await?;
        bucket.put(SECRET, SECRET.into()).await?;
        nothing_is_told(server)?;

        // Out of the journal, and out of the checkpoint.
        server.kill()?;
        nothing_is_told(server)?;
        server.start_again().await?;
        let js = server.jetstream().await?;
        for backend in backends {
            check(&js, *backend).await?;
        }
        for page in ["/varz", "/jsz?accounts=1&streams=1&config=1", "/healthz", "/metrics"] {
            let (status, body) = server.page(page).await?;
            ensure!(status == 200 && !body.contains("the first key"), "{page}: {status}");
        }
        server.stop().await?;
        nothing_is_told(server)?;

        let without = refused(server, "")?;
        ensure!(without.contains("is encrypted, and no key is given"), "{without}");
        let wrong = refused(server, "jetstream { key: 'the second key' }")?;
        ensure!(wrong.contains("is encrypted with another key"), "{wrong}");

        // Another key takes its place.
        server.configure(second)?;
        server.start_again().await?;
        let js = server.jetstream().await?;
        for backend in backends {
            check(&js, *backend).await?;
        }
        let value = js.get_key_value(SECRET).await?.get(SECRET).await?;
        ensure!(value.as_deref() == Some(SECRET.as_bytes()), "{value:?}");
        go_on(server, "jetstream { ek: 'the second key' }").await?;
        let js = server.jetstream().await?;
        for backend in backends {
            check(&js, *backend).await?;
        }
        js.publish(format!("{SECRET}.{:?}.8", backends[0]), "more".into())
            .await?
            .await?;
        server.stop().await?;
        nothing_is_told(server)?;
        let old = refused(server, "jetstream { key: 'the first key' }")?;
        ensure!(old.contains("is encrypted with another key"), "{old}");

        with_tools(server, backends[0])
    });
}

fn with_tools(server: &Server, backend: Backend) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("key");
    fs::write(&key, "the second key\n")?;
    let key = text(&key)?;
    let store = server.store();
    let store = text(&store)?;
    let stream = &format!("{SECRET}-{backend:?}");
    tool::refused(&["verify", store], "is encrypted, and no key is given")?;
    for arguments in [
        &["verify", store][..],
        &["inspect", store, "--stream", stream],
        &["compact", store],
        &["repair", store],
        &["verify", store],
    ] {
        tool::well(&[arguments, &["--key-file", key]].concat())?;
    }
    let seen = tool::well(&["inspect", store, "--key-file", key])?;
    ensure!(seen.contains("format version 3, encrypted, "), "{seen}");
    let dumped = tool::well(&["dump", store, "--stream", stream, "--key-file", key])?;
    ensure!(dumped.contains(&format!("a {SECRET}, number 17")), "{dumped}");
    let out = folder.path().join("copy");
    let out = text(&out)?;
    tool::well(&["convert", store, "--to", "segment", "--out", out, "--key-file", key])?;
    tool::well(&["diff", store, out, "--key-file", key])?;
    let mut found = Vec::new();
    telling(Path::new(out), SECRET, &mut found)?;
    ensure!(found.is_empty(), "{found:?}");
    // What is exported can be read by everybody, and comes into a store of its own under its own key.
    let exported = folder.path().join("exported");
    let exported = text(&exported)?;
    tool::well(&["export", store, "--stream", stream, exported, "--key-file", key])?;
    let other = folder.path().join("other");
    let other = text(&other)?;
    fs::write(folder.path().join("key2"), "a third key")?;
    let third = folder.path().join("key2");
    tool::well(&["import", other, exported, "--key-file", text(&third)?])?;
    tool::refused(&["inspect", other, "--key-file", key], "is encrypted with another key")?;
    let mut found = Vec::new();
    telling(Path::new(other), SECRET, &mut found)?;
    ensure!(found.is_empty(), "{found:?}");
    tool::well(&["verify", other, "--key-file", key, "--key-file", text(&third)?])?;
    Ok(())
}

#[test]
fn segments_are_encrypted() {
    encrypted("chachapoly", &[Backend::Segment]);
}

#[test]
fn rocksdb_is_encrypted() {
    encrypted("aes", &[Backend::Rocksdb, Backend::Segment]);
}

/// Bytes of the files below a folder whose names end like this.
fn bytes_of(folder: &Path, ending: &str) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, about) = (entry.path(), entry.metadata()?);
        bytes += match about.is_dir() {
            true => bytes_of(&path, ending)?,
            false if path.to_string_lossy().ends_with(ending) => about.len(),
            false => 0,
        };
    }
    Ok(bytes)
}

/// A stream that says so is compressed before it is encrypted, also what was there before, and by the tools.
#[test]
fn what_is_encrypted_is_compressed_before() {
    const EACH: usize = 4000;
    with_server_for(LIMIT, async |server| {
        server.begin_anew("jetstream { key: 'the first key' }").await?;
        let js = server.jetstream().await?;
        let config = |compression| stream::Config {
            name: "PLENTY".to_owned(),
            subjects: vec!["plenty".to_owned()],
            compression,
            ..stream::Config::default()
        };
        js.create_stream(config(None)).await?;
        let body = SECRET.repeat(EACH / SECRET.len());
        for _ in 0..MESSAGES {
            js.publish("plenty", body.clone().into()).await?.await?;
        }
        let before = js.get_stream("PLENTY").await?.info().await?.state.clone();
        let with_s2 = Some(stream::Compression::S2);
        js.update_stream(config(with_s2)).await?;
        server.stop().await?;
        let stream = |store: &Path| store.join("weir/segment/logs/0000000000000100");
        let streams = stream(&server.store());
        let folder = tempfile::tempdir()?;
        let key = folder.path().join("key");
        fs::write(&key, "the first key\n")?;
        let key = text(&key)?;
        let store = server.store();
        let store = text(&store)?;

        // Whatever the server has not come to yet is done here.
        tool::well(&["compact", store, "--compression", "lz4", "--key-file", key])?;
        let small = bytes_of(&streams, ".seg")?;
        tool::well(&["compact", store, "--compression", "none", "--key-file", key])?;
        let large = bytes_of(&streams, ".seg")?;
        ensure!(large > MESSAGES * EACH as u64 && small * 4 < large, "{small}, {large}");
        tool::well(&["compact", store, "--compression", "zstd", "--key-file", key])?;
        let smaller = bytes_of(&streams, ".seg")?;
        ensure!(smaller * 4 < large, "{smaller}, {large}");
        let seen = tool::well(&["inspect", store, "--key-file", key])?;
        ensure!(seen.contains("zstd"), "{seen}");
        tool::well(&["verify", store, "--key-file", key])?;
        // Its copies are compressed as it is.
        for command in ["encrypt", "convert"] {
            let out = folder.path().join(command);
            let to: &[&str] = if command == "convert" {
                &["--to", "segment"]
            } else {
                &[]
            };
            tool::well(&[&[command, store, "--out", text(&out)?, "--key-file", key], to].concat())?;
            let copied = bytes_of(&stream(&out), ".seg")?;
            ensure!(copied * 4 < large, "{command}: {copied}, {large}");
            tool::well(&["diff", store, text(&out)?, "--key-file", key])?;
        }

        server.start_again().await?;
        nothing_is_told(server)?;
        let js = server.jetstream().await?;
        let mut stream = js.get_stream("PLENTY").await?;
        let after = stream.info().await?.state.clone();
        ensure!(
            (before.messages, before.bytes) == (after.messages, after.bytes),
            "{before:?}, {after:?}"
        );
        ensure!(stream.get_raw_message(MESSAGES).await?.payload == body, "another body");
        Ok(())
    });
}

/// What is not encrypted stays as it is until somebody makes an encrypted copy of it, which then takes its place.
#[test]
fn a_store_that_is_there_is_encrypted_by_the_tool() {
    let backends = [Backend::Segment, Backend::Rocksdb];
    let key = "jetstream { key: 'the first key' }";
    with_server_for(LIMIT, async |server| {
        let js = server.jetstream().await?;
        for backend in backends {
            fill(&js, backend).await?;
        }
        // What was removed leaves its numbers behind, at both ends.
        let stream = js.get_stream(format!("{SECRET}-{:?}", backends[0])).await?;
        let more = js.publish(format!("{SECRET}.{:?}.8", backends[0]), "more".into());
        let last = more.await?.await?.sequence;
        stream.delete_message(last).await?;
        // Once out of a checkpoint, once out of the journals.
        for is_stopped in [true, false] {
            match is_stopped {
                true => server.stop().await?,
                false => server.kill()?,
            }
            let told = refused(server, key)?;
            ensure!(told.contains("is not encrypted, and a key is given"), "{told}");
            let folder = tempfile::tempdir_in(server.store().parent().context("no folder")?)?;
            let (copy, file) = (folder.path().join("copy"), folder.path().join("key"));
            fs::write(&file, "the first key")?;
            let store = server.store();
            let (store, out, file) = (text(&store)?, text(&copy)?, text(&file)?);
            tool::refused(&["encrypt", store, "--out", out], "no key is given to encrypt with")?;
            tool::well(&["encrypt", store, "--out", out, "--key-file", file])?;
            tool::refused(&["encrypt", store, "--out", out, "--key-file", file], "not empty")?;
            tool::well(&["diff", store, out, "--key-file", file])?;
            tool::well(&["verify", out, "--key-file", file])?;
            let mut found = Vec::new();
            telling(&copy, SECRET, &mut found)?;
            ensure!(found.is_empty(), "{found:?}");
            if !is_stopped {
                fs::remove_dir_all(store)?;
                fs::rename(&copy, store)?;
                server.configure(key)?;
            }
            server.start_again().await?;
        }
        let js = server.jetstream().await?;
        for backend in backends {
            check(&js, backend).await?;
        }
        let more = js.publish(format!("{SECRET}.{:?}.8", backends[0]), "more".into());
        let next = more.await?.await?.sequence;
        ensure!(next == last + 1, "{next} after {last}");
        let (status, health) = server.page("/healthz").await?;
        ensure!(status == 200, "{health}");
        nothing_is_told(server)
    });
}

/// What goes on beside publishers and consumers goes on: copies, scrubbing, what gives back room, a stream that goes over to another
/// backend, backups.
#[test]
fn what_goes_on_in_a_store_goes_on_when_it_is_encrypted() {
    let config = "jetstream { key: 'the first key', cipher: aes, scrub { cycle: 1s } }";
    with_server_for(LIMIT, async |server| {
        server.begin_anew(config).await?;
        let js = server.jetstream().await?;
        fill(&js, Backend::Segment).await?;
        let name = format!("{SECRET}-Segment");
        let mirror = json!({"name": "M", "mirror": {"name": name}, "storage": "file", "compression": "s2"});
        let client = server.connect().await?;
        let made = ask(&client, "STREAM.CREATE.M", &mirror).await?;
        ensure!(made.get("error").is_none(), "{made}");
        let copied = async |server: &Server| -> Result<()> {
            let client = server.connect().await?;
            loop {
                let info = ask(&client, "STREAM.INFO.M", &Value::Null).await?;
                if info["state"]["messages"] == MESSAGES {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        copied(server).await?;
        // A pass over all of it, from a moment on when all of it was there, finds nothing.
        let mut passes = Vec::new();
        while passes.len() < 3 {
            let page: Value = server.page("/varz").await?.1.parse()?;
            let scrub = &page["jetstream"]["weir"]["scrub"];
            ensure!(scrub["findings"] == 0, "{scrub}");
            if !passes.contains(&scrub["last_full"]) {
                passes.push(scrub["last_full"].clone());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (answer, data) = backup(&client, &name).await?;
        let url = server.url().to_owned();
        let (code, told, why) = tool::weir(&["convert", &url, "--to", "rocksdb", "--stream", &name])?;
        ensure!(
            code == Some(0) && told.contains("its messages are in rocksdb"),
            "{told} {why}"
        );
        check(&js, Backend::Segment).await?;
        server.kill()?;
        nothing_is_told(server)?;
        server.start_again().await?;
        let js = server.jetstream().await?;
        check(&js, Backend::Segment).await?;
        js.delete_stream(&name).await?;
        let client = server.connect().await?;
        let restored = restore(&client, &answer["config"], &data).await?;
        ensure!(restored.get("error").is_none(), "{restored}");
        check(&js, Backend::Segment).await?;
        copied(server).await?;
        nothing_is_told(server)
    });
}
