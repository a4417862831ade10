//! What stream metadata chooses: the `weir.*` keys of the README's table.
//! nats-server ignores them, so these tests are for Weir alone.

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Config;
use weir_tests::{Backend, Server, with_server};

const ALL: [Backend; 3] = [Backend::Segment, Backend::Rocksdb, Backend::Memory];

fn with(backend: Backend, key: &str, value: &str) -> Config {
    let mut config = backend.stream("CHOICE", &["choice"]);
    config.metadata.insert(key.to_owned(), value.to_owned());
    config
}

/// The text of the refusal of `config`.
async fn refusal(jetstream: &Context, config: Config) -> Result<String> {
    let metadata = format!("{:?}", config.metadata);
    let error = jetstream
        .create_stream(config)
        .await
        .err()
        .with_context(|| format!("a stream was made with {metadata}"))?;
    Ok(format!("{error} {error:?}"))
}

async fn refuses(server: &Server, key: &str, value: &str, allowed: &[&str]) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let error = refusal(&jetstream, with(Backend::Segment, key, value)).await?;
    for word in allowed.iter().chain([&key]) {
        ensure!(
            error.contains(word),
            "the refusal of {key}={value} does not say {word}: {error}"
        );
    }
    let gone = jetstream.get_stream("CHOICE").await.is_err();
    ensure!(gone, "the stream that was refused is there");
    Ok(())
}

#[test]
fn an_unknown_backend_is_refused_and_the_known_ones_named() {
    with_server(async |server| refuses(server, "weir.backend", "floppy", &["segment", "rocksdb", "memory"]).await);
}

#[test]
fn an_unknown_durability_is_refused_and_the_known_ones_named() {
    with_server(async |server| {
        refuses(server, "weir.durability", "maybe", &["sync", "interval", "os"]).await?;
        refuses(server, "weir.durability", "interval:soon", &["interval"]).await
    });
}

#[test]
fn an_unknown_compression_is_refused_and_the_known_ones_named() {
    with_server(async |server| refuses(server, "weir.compression", "rar", &["none", "lz4", "zstd"]).await);
}

#[test]
fn an_unknown_index_is_refused_and_the_known_ones_named() {
    with_server(async |server| refuses(server, "weir.index", "card", &["resident", "paged"]).await);
}

#[test]
fn each_durability_stores_and_reads_back() {
    with_server(async |server| {
        let jetstream = server.jetstream().await?;
        for backend in [Backend::Segment, Backend::Rocksdb] {
            for level in ["sync", "interval:50ms", "os"] {
                let config = with(backend, "weir.durability", level);
                let stream = jetstream
                    .create_stream(config)
                    .await
                    .with_context(|| format!("{backend:?} with {level}"))?;
                assert_eq!(stream.cached_info().config.metadata["weir.durability"], level);
                let ack = jetstream.publish("choice", level.into()).await?.await?;
                assert_eq!(stream.get_raw_message(ack.sequence).await?.payload, level);
                jetstream.delete_stream("CHOICE").await?;
            }
        }
        Ok(())
    });
}

#[test]
fn a_stream_goes_over_to_another_backend_but_not_to_memory() {
    with_server(async |server| {
        let jetstream = server.jetstream().await?;
        jetstream
            .create_stream(Backend::Segment.stream("CHOICE", &["choice"]))
            .await?;
        let mut config = Backend::Segment.stream("CHOICE", &["choice"]);
        config.metadata.insert("weir.backend".to_owned(), "memory".to_owned());
        let update = jetstream.update_stream(config).await;
        ensure!(update.is_err(), "the stream is said to have moved to memory");
        let stream = jetstream.get_stream("CHOICE").await?;
        assert_eq!(stream.cached_info().config.metadata["weir.backend"], "segment");
        let info = jetstream
            .update_stream(Backend::Rocksdb.stream("CHOICE", &["choice"]))
            .await?;
        assert_eq!(info.config.metadata["weir.backend"], "rocksdb");
        Ok(())
    });
}

#[test]
fn what_was_chosen_is_shown_and_stays_with_an_update() {
    with_server(async |server| {
        let jetstream = server.jetstream().await?;
        for backend in ALL {
            let name = backend.name();
            let config = backend.stream(name, &[name]);
            jetstream.create_stream(config.clone()).await?;
            // The same request again is no error, as with any configuration.
            jetstream.create_stream(config.clone()).await?;
            let mut more = config;
            more.max_messages = 10;
            let info = jetstream.update_stream(more).await?;
            assert_eq!(info.config.metadata["weir.backend"], name);
            assert_eq!(info.config.max_messages, 10);
            // As who edits the metadata and knows nothing of ours.
            let mut edited = info.config;
            edited.metadata = [("team".to_owned(), "eu".to_owned())].into();
            let info = jetstream.update_stream(edited).await?;
            assert_eq!(info.config.metadata["team"], "eu");
            assert_eq!(info.config.metadata["weir.backend"], name);
        }
        Ok(())
    });
}
