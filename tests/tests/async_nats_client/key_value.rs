//! Key-value buckets, on each backend.

use anyhow::{Context, Result};
use async_nats::jetstream::kv::{CreateErrorKind, Entry, Operation, Store, UpdateErrorKind};
use async_nats::jetstream::stream::DiscardPolicy;
use futures_util::TryStreamExt;
use tokio::time::timeout;
use weir_tests::{Backend, PATIENCE, Server, on_each_backend, with_server};

on_each_backend!(
    put_then_get_gives_the_latest_value,
    history_keeps_as_many_values_as_the_bucket_allows,
    a_watcher_sees_what_is_there_and_then_each_change,
    a_deleted_key_is_gone_but_its_history_tells,
    a_purged_key_loses_its_history,
    create_succeeds_only_where_there_is_no_value,
    update_succeeds_only_at_the_expected_revision,
    keys_are_those_that_have_a_value,
);

/// A bucket of five revisions per key. async-nats cannot put metadata into a
/// bucket's configuration, so its stream is made by hand, as ADR-8 says.
async fn bucket(server: &Server, backend: Backend) -> Result<Store> {
    let jetstream = server.jetstream().await?;
    let mut stream = backend.stream("KV_box", &["$KV.box.>"]);
    stream.max_messages_per_subject = 5;
    stream.discard = DiscardPolicy::New;
    stream.allow_rollup = true;
    stream.deny_delete = true;
    stream.allow_direct = true;
    jetstream.create_stream(stream).await?;
    Ok(jetstream.get_key_value("box").await?)
}

fn brief(entry: &Entry) -> (String, u64, Operation) {
    (
        String::from_utf8_lossy(&entry.value).into_owned(),
        entry.revision,
        entry.operation,
    )
}

#[test]
fn a_bucket_made_by_the_client_works_too() {
    with_server(async |server| {
        let jetstream = server.jetstream().await?;
        let config = async_nats::jetstream::kv::Config {
            bucket: "plain".into(),
            history: 3,
            ..Default::default()
        };
        let store = jetstream.create_key_value(config).await?;
        store.put("key", "value".into()).await?;
        assert_eq!(store.get("key").await?.as_deref(), Some(&b"value"[..]));
        assert_eq!(store.status().await?.history(), 3);
        Ok(())
    });
}

async fn put_then_get_gives_the_latest_value(server: &Server, backend: Backend) -> Result<()> {
    let store = bucket(server, backend).await?;
    assert_eq!(store.put("city.bern", "1".into()).await?, 1);
    assert_eq!(store.put("city.basel", "2".into()).await?, 2);
    assert_eq!(store.put("city.bern", "3".into()).await?, 3);

    let entry = store.entry("city.bern").await?.context("no entry")?;
    assert_eq!(brief(&entry), ("3".into(), 3, Operation::Put));
    let older = store
        .entry_for_revision("city.bern", 1)
        .await?
        .context("no revision 1")?;
    assert_eq!(brief(&older), ("1".into(), 1, Operation::Put));
    assert!(store.entry("city.chur").await?.is_none());
    Ok(())
}

async fn history_keeps_as_many_values_as_the_bucket_allows(server: &Server, backend: Backend) -> Result<()> {
    let store = bucket(server, backend).await?;
    for value in 1..=7 {
        store.put("key", value.to_string().into()).await?;
        store.put("other", "x".into()).await?;
    }
    let history: Vec<Entry> = timeout(PATIENCE, store.history("key").await?.try_collect()).await??;
    let values: Vec<_> = history.iter().map(|e| brief(e).0).collect();
    assert_eq!(values, ["3", "4", "5", "6", "7"]);
    Ok(())
}

async fn a_watcher_sees_what_is_there_and_then_each_change(server: &Server, backend: Backend) -> Result<()> {
    let store = bucket(server, backend).await?;
    store.put("light.hall", "off".into()).await?;
    store.put("light.hall", "on".into()).await?;
    store.put("door", "shut".into()).await?;
    let mut watch = store.watch_with_history("light.*").await?;
    let mut next = async || {
        timeout(PATIENCE, watch.try_next())
            .await?
            .map(|e| e.map(|e| (e.key.clone(), brief(&e))))
            .map_err(anyhow::Error::from)
    };

    assert_eq!(
        next().await?,
        Some(("light.hall".into(), ("on".into(), 2, Operation::Put)))
    );
    store.put("door", "open".into()).await?;
    store.put("light.stairs", "on".into()).await?;
    store.delete("light.hall").await?;
    assert_eq!(
        next().await?,
        Some(("light.stairs".into(), ("on".into(), 5, Operation::Put)))
    );
    assert_eq!(
        next().await?,
        Some(("light.hall".into(), (String::new(), 6, Operation::Delete)))
    );
    Ok(())
}

async fn a_deleted_key_is_gone_but_its_history_tells(server: &Server, backend: Backend) -> Result<()> {
    let store = bucket(server, backend).await?;
    store.put("key", "value".into()).await?;
    store.delete("key").await?;
    assert_eq!(store.get("key").await?, None);
    let history: Vec<Entry> = timeout(PATIENCE, store.history("key").await?.try_collect()).await??;
    let history: Vec<_> = history.iter().map(brief).collect();
    assert_eq!(
        history,
        [("value".into(), 1, Operation::Put), ("".into(), 2, Operation::Delete)]
    );
    Ok(())
}

async fn a_purged_key_loses_its_history(server: &Server, backend: Backend) -> Result<()> {
    let store = bucket(server, backend).await?;
    for value in ["a", "b", "c"] {
        store.put("key", value.into()).await?;
    }
    store.put("kept", "here".into()).await?;
    store.purge("key").await?;
    assert_eq!(store.get("key").await?, None);
    let history: Vec<Entry> = timeout(PATIENCE, store.history("key").await?.try_collect()).await??;
    let history: Vec<_> = history.iter().map(brief).collect();
    assert_eq!(history, [(String::new(), 5, Operation::Purge)]);
    assert_eq!(store.get("kept").await?.as_deref(), Some(&b"here"[..]));
    Ok(())
}

async fn create_succeeds_only_where_there_is_no_value(server: &Server, backend: Backend) -> Result<()> {
    let store = bucket(server, backend).await?;
    assert_eq!(store.create("key", "first".into()).await?, 1);
    let refused = store
        .create("key", "second".into())
        .await
        .err()
        .context("the key has a value")?;
    assert_eq!(refused.kind(), CreateErrorKind::AlreadyExists);
    assert_eq!(store.get("key").await?.as_deref(), Some(&b"first"[..]));
    store.delete("key").await?;
    assert_eq!(store.create("key", "third".into()).await?, 3);
    Ok(())
}

async fn update_succeeds_only_at_the_expected_revision(server: &Server, backend: Backend) -> Result<()> {
    let store = bucket(server, backend).await?;
    let first = store.put("key", "1".into()).await?;
    store.put("other", "x".into()).await?;
    let second = store.update("key", "2".into(), first).await?;
    assert_eq!(second, 3);
    let refused = store
        .update("key", "3".into(), first)
        .await
        .err()
        .context("a stale revision")?;
    assert_eq!(refused.kind(), UpdateErrorKind::WrongLastRevision);
    assert_eq!(store.get("key").await?.as_deref(), Some(&b"2"[..]));
    Ok(())
}

async fn keys_are_those_that_have_a_value(server: &Server, backend: Backend) -> Result<()> {
    let store = bucket(server, backend).await?;
    let none: Vec<String> = timeout(PATIENCE, store.keys().await?.try_collect()).await??;
    assert!(none.is_empty());
    for key in ["a", "b.c", "b.d", "e", "a"] {
        store.put(key, "x".into()).await?;
    }
    store.delete("e").await?;
    let mut keys: Vec<String> = timeout(PATIENCE, store.keys().await?.try_collect()).await??;
    keys.sort();
    assert_eq!(keys, ["a", "b.c", "b.d"]);
    Ok(())
}
