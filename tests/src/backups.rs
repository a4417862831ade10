//! Backups over the JetStream API, as `nats stream backup` and `restore` make them.

use anyhow::{Context as _, Result, ensure};
use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

/// The size of a chunk that is asked for, in bytes.
const CHUNK: usize = 4096;

/// A request of the JetStream API.
///
/// # Errors
/// When it is not answered.
pub async fn ask(client: &Client, call: &str, body: &Value) -> Result<Value> {
    let payload = match body {
        Value::Null => Bytes::new(),
        body => body.to_string().into(),
    };
    let answer = client.request(format!("$JS.API.{call}"), payload).await?;
    Ok(serde_json::from_slice(&answer.payload)?)
}

/// Everything of a backup, and the answer that came before it.
///
/// # Errors
/// When the server refuses it or it breaks off.
pub async fn backup(client: &Client, stream: &str) -> Result<(Value, Vec<u8>)> {
    let inbox = client.new_inbox();
    let chunks = client.subscribe(inbox.clone()).await?;
    let answer = begin_backup(client, stream, &inbox).await?;
    Ok((answer, receive(client, chunks).await?))
}

/// Begins a backup that is sent to a subject; the answer.
///
/// # Errors
/// When the server refuses it.
pub async fn begin_backup(client: &Client, stream: &str, to: &str) -> Result<Value> {
    let request = json!({"deliver_subject": to, "chunk_size": CHUNK});
    let answer = ask(client, &format!("STREAM.SNAPSHOT.{stream}"), &request).await?;
    ensure!(answer.get("error").is_none(), "{answer}");
    Ok(answer)
}

/// The chunks of a backup, each confirmed.
///
/// # Errors
/// When it breaks off.
pub async fn receive(client: &Client, mut chunks: async_nats::Subscriber) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    while let Some(chunk) = chunks.next().await {
        if chunk.payload.is_empty() {
            let status = chunk.status.map(|status| status.as_u16());
            // nats-server says nothing of a backup that fits into one chunk.
            let fine = status == Some(204) || (status.is_none() && data.len() < CHUNK);
            ensure!(fine, "it ended with {status:?}");
            return Ok(data);
        }
        data.extend_from_slice(&chunk.payload);
        if let Some(reply) = chunk.reply {
            client.publish(reply, Bytes::new()).await?;
        }
    }
    anyhow::bail!("the backup did not end")
}

/// Sends a backup; what is answered at its end, or before if it was refused.
///
/// # Errors
/// When nothing is answered.
pub async fn restore(client: &Client, config: &Value, data: &[u8]) -> Result<Value> {
    restore_told(client, config, &json!({}), data).await
}

/// As [`restore`], with what was told of the stream's state when the backup was made.
///
/// # Errors
/// As [`restore`].
pub async fn restore_told(client: &Client, config: &Value, state: &Value, data: &[u8]) -> Result<Value> {
    let name = config["name"].as_str().context("a name")?;
    let begun = ask(
        client,
        &format!("STREAM.RESTORE.{name}"),
        &json!({"config": config, "state": state}),
    )
    .await?;
    let Some(to) = begun["deliver_subject"].as_str().filter(|to| !to.is_empty()) else {
        return Ok(begun);
    };
    for chunk in data.chunks(1000) {
        let answer = client.request(to.to_owned(), Bytes::copy_from_slice(chunk)).await?;
        if !answer.payload.is_empty() {
            return Ok(serde_json::from_slice(&answer.payload)?);
        }
    }
    let answer = client.request(to.to_owned(), Bytes::new()).await?;
    Ok(serde_json::from_slice(&answer.payload)?)
}

/// All that can be told apart from outside, without what a restore has to change.
///
/// # Errors
/// When a request is not answered.
pub async fn look(client: &Client, stream: &str) -> Result<Value> {
    let details = json!({"deleted_details": true, "subjects_filter": ">"});
    let info = ask(client, &format!("STREAM.INFO.{stream}"), &details).await?;
    let state = info["state"].clone();
    let mut messages = Vec::new();
    for seq in state["first_seq"].as_u64().unwrap_or(0)..=state["last_seq"].as_u64().unwrap_or(0) {
        messages.push(ask(client, &format!("STREAM.MSG.GET.{stream}"), &json!({"seq": seq})).await?["message"].clone());
    }
    let consumers = ask(client, &format!("CONSUMER.LIST.{stream}"), &Value::Null).await?;
    let mut told = Vec::new();
    for consumer in consumers["consumers"].as_array().into_iter().flatten() {
        let mut kept = json!({});
        for field in ["name", "num_ack_pending", "num_redelivered", "num_pending"] {
            kept[field] = consumer[field].clone();
        }
        for pair in ["delivered", "ack_floor"] {
            kept[pair] = json!([consumer[pair]["consumer_seq"], consumer[pair]["stream_seq"]]);
        }
        told.push(kept);
    }
    Ok(json!({"state": state, "messages": messages, "consumers": told}))
}
