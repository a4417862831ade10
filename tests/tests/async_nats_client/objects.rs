//! The object store, on each backend.

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::object_store::ObjectStore;
use async_nats::jetstream::stream::DiscardPolicy;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use weir_tests::seed::Seed;
use weir_tests::{Backend, Server, on_each_backend};

on_each_backend!(
    ten_mebibytes_come_back_with_their_digest,
    a_new_version_replaces_the_old_chunks
);

/// A bucket whose stream is made by hand, as ADR-20 says: async-nats cannot
/// put metadata into a bucket's configuration.
async fn bucket(server: &Server, backend: Backend) -> Result<ObjectStore> {
    let jetstream = server.jetstream().await?;
    let mut stream = backend.stream("OBJ_attic", &["$O.attic.C.>", "$O.attic.M.>"]);
    stream.discard = DiscardPolicy::New;
    stream.allow_rollup = true;
    stream.allow_direct = true;
    jetstream.create_stream(stream).await?;
    Ok(jetstream.get_object_store("attic").await?)
}

async fn read(store: &ObjectStore, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store.get(name).await?.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

async fn ten_mebibytes_come_back_with_their_digest(server: &Server, backend: Backend) -> Result<()> {
    let store = bucket(server, backend).await?;
    let bytes = Seed::of(&[10]).bytes(10 * 1024 * 1024);
    let digest = format!("SHA-256={}", URL_SAFE.encode(Sha256::digest(&bytes)));

    let put = store.put("film", &mut bytes.as_slice()).await?;
    assert_eq!(put.size, bytes.len());
    assert_eq!(put.chunks, 80, "chunks of 128 KiB");
    let info = store.info("film").await?;
    assert_eq!(
        info.digest.as_deref().context("no digest")?.trim_end_matches('='),
        digest.trim_end_matches('=')
    );
    ensure!(read(&store, "film").await? == bytes, "other bytes came back");
    Ok(())
}

async fn a_new_version_replaces_the_old_chunks(server: &Server, backend: Backend) -> Result<()> {
    let store = bucket(server, backend).await?;
    let (old, new) = (Seed::of(&[1]).bytes(700_000), Seed::of(&[2]).bytes(300_000));
    store.put("notes", &mut old.as_slice()).await?;
    store.put("notes", &mut new.as_slice()).await?;
    ensure!(read(&store, "notes").await? == new, "not the new version");

    let mut stream = server.jetstream().await?.get_stream("OBJ_attic").await?;
    assert_eq!(
        stream.info().await?.state.messages,
        4,
        "three chunks and their description"
    );
    store.delete("notes").await?;
    assert!(store.get("notes").await.is_err());
    assert_eq!(
        stream.info().await?.state.messages,
        1,
        "only the note that it was deleted"
    );
    Ok(())
}
