//! Mirrors and sources: what they hold is what their origins held, whatever happens to the server meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, RetentionPolicy, Source, SubjectTransform};
use futures_util::{FutureExt as _, StreamExt};
use weir_tests::{Backend, PATIENCE, Server, on_each_backend, settle, with_server_for};

const LIMIT: Duration = Duration::from_secs(300);

fn mirror(backend: Backend, name: &str, of: Source) -> Config {
    Config {
        mirror: Some(of),
        ..backend.stream(name, &[])
    }
}

fn of(name: &str) -> Source {
    Source {
        name: name.to_owned(),
        ..Source::default()
    }
}

async fn publish(jetstream: &Context, subject: &str, from: usize, to: usize) -> Result<()> {
    for number in from..to {
        let subject = format!("{subject}.{}", number % 3);
        jetstream.publish(subject, number.to_string().into()).await?.await?;
    }
    Ok(())
}

/// Sequences, subjects and payloads of a stream.
async fn contents(jetstream: &Context, name: &str) -> Result<Vec<(u64, String, String)>> {
    let mut stream = jetstream.get_stream(name).await?;
    let state = stream.info().await?.state.clone();
    let mut all = Vec::new();
    for seq in state.first_sequence..=state.last_sequence {
        if let Ok(message) = stream.get_raw_message(seq).await {
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            all.push((seq, message.subject.to_string(), text));
        }
    }
    Ok(all)
}

/// Waits until a stream has so many messages.
async fn wait_for(jetstream: &Context, name: &str, messages: u64) -> Result<()> {
    let begun = Instant::now();
    loop {
        let has = jetstream.get_stream(name).await?.info().await?.state.messages;
        if has == messages {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "{name} has {has} messages, not {messages}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_mirror_is_the_same(server: &Server, backend: Backend) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let origin = jetstream.create_stream(backend.stream("O", &["o.>"])).await?;
    publish(&jetstream, "o", 0, 30).await?;
    origin.delete_message(7).await?;
    jetstream.create_stream(mirror(backend, "M", of("O"))).await?;
    publish(&jetstream, "o", 30, 40).await?;
    wait_for(&jetstream, "M", 39).await?;
    ensure!(contents(&jetstream, "M").await? == contents(&jetstream, "O").await?);
    let filtered = Source {
        filter_subject: Some("o.1".into()),
        start_sequence: Some(10),
        ..of("O")
    };
    jetstream.create_stream(mirror(backend, "F", filtered)).await?;
    wait_for(&jetstream, "F", 10).await?;
    let mut expected = contents(&jetstream, "O").await?;
    expected.retain(|(seq, subject, _)| subject == "o.1" && *seq >= 10);
    ensure!(contents(&jetstream, "F").await? == expected);
    Ok(())
}

async fn sources_are_merged(server: &Server, backend: Backend) -> Result<()> {
    let jetstream = server.jetstream().await?;
    jetstream.create_stream(backend.stream("A", &["a.>"])).await?;
    publish(&jetstream, "a", 0, 9).await?;
    let renamed = Source {
        subject_transforms: vec![SubjectTransform {
            source: "a.1".into(),
            destination: "from.a".into(),
        }],
        ..of("A")
    };
    let config = Config {
        // B is made later.
        sources: Some(vec![renamed, of("B")]),
        ..backend.stream("S", &["s"])
    };
    jetstream.create_stream(config).await?;
    wait_for(&jetstream, "S", 3).await?;
    jetstream.create_stream(backend.stream("B", &["b.>"])).await?;
    publish(&jetstream, "b", 0, 2).await?;
    wait_for(&jetstream, "S", 5).await?;
    jetstream.publish("s", "own".into()).await?.await?;
    let mut subjects: Vec<_> = contents(&jetstream, "S")
        .await?
        .into_iter()
        .map(|(_, subject, _)| subject)
        .collect();
    subjects.sort();
    ensure!(
        subjects == ["b.0", "b.1", "from.a", "from.a", "from.a", "s"],
        "{subjects:?}"
    );
    Ok(())
}

async fn a_work_queue_hands_over_to_its_mirror(server: &Server, backend: Backend) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let queue = Config {
        retention: RetentionPolicy::WorkQueue,
        ..backend.stream("Q", &["q.>"])
    };
    jetstream.create_stream(queue).await?;
    publish(&jetstream, "q", 0, 10).await?;
    jetstream.create_stream(mirror(backend, "M", of("Q"))).await?;
    wait_for(&jetstream, "M", 10).await?;
    wait_for(&jetstream, "Q", 0).await?;
    publish(&jetstream, "q", 10, 12).await?;
    wait_for(&jetstream, "M", 12).await?;
    wait_for(&jetstream, "Q", 0).await
}

async fn a_mirror_becomes_a_stream(server: &Server, backend: Backend) -> Result<()> {
    let jetstream = server.jetstream().await?;
    jetstream.create_stream(backend.stream("O", &["o.>"])).await?;
    publish(&jetstream, "o", 0, 5).await?;
    jetstream.create_stream(mirror(backend, "M", of("O"))).await?;
    wait_for(&jetstream, "M", 5).await?;
    jetstream.update_stream(backend.stream("M", &["m.>"])).await?;
    publish(&jetstream, "o", 5, 7).await?;
    let ack = jetstream.publish("m.1", "own".into()).await?.await?;
    ensure!(ack.sequence == 6, "{ack:?}");
    ensure!(contents(&jetstream, "M").await?.len() == 6);
    Ok(())
}

/// A stream that is deleted and made anew under the same name is another one: a source goes on with its first message.
async fn an_origin_made_anew_is_copied_from_its_beginning(server: &Server, backend: Backend) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let origin = || backend.stream("O", &["o.>"]);
    jetstream.create_stream(origin()).await?;
    publish(&jetstream, "o", 0, 5).await?;
    let config = Config {
        sources: Some(vec![of("O")]),
        ..backend.stream("S", &[])
    };
    jetstream.create_stream(config).await?;
    wait_for(&jetstream, "S", 5).await?;
    jetstream.delete_stream("O").await?;
    jetstream.create_stream(origin()).await?;
    publish(&jetstream, "o", 100, 103).await?;
    wait_for(&jetstream, "S", 8).await?;
    let copied: Vec<_> = contents(&jetstream, "S")
        .await?
        .into_iter()
        .map(|(_, _, text)| text)
        .collect();
    ensure!(copied == ["0", "1", "2", "3", "4", "100", "101", "102"], "{copied:?}");
    // Both at once: the source may hear of the new one before it looks for the old one.
    for round in 1..=60_u64 {
        let (gone, _) = tokio::join!(jetstream.delete_stream("O"), jetstream.create_stream(origin()));
        gone?;
        jetstream.get_or_create_stream(origin()).await?;
        publish(&jetstream, "o", 0, 1).await?;
        wait_for(&jetstream, "S", 8 + round).await?;
    }
    Ok(())
}

/// A mirror that may answers direct gets for its origin once that cannot.
async fn a_mirror_answers_in_its_origins_place(server: &Server, backend: Backend) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let origin = Config {
        allow_direct: true,
        ..backend.stream("O", &["o.>"])
    };
    let origin = jetstream.create_stream(origin).await?;
    publish(&jetstream, "o", 0, 3).await?;
    for name in ["M", "N"] {
        let copy = Config {
            mirror_direct: true,
            ..mirror(backend, name, of("O"))
        };
        jetstream.create_stream(copy).await?;
        wait_for(&jetstream, name, 3).await?;
    }
    // Those of these streams that answer; each has answered by the time that it has told of itself.
    let answered = async |there: &[&str]| -> Result<Vec<String>> {
        let client = server.connect().await?;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await?;
        client
            .publish_with_reply("$JS.API.DIRECT.GET.O.o.2", inbox, "".into())
            .await?;
        let mut from = Vec::new();
        let mut all = vec![answers.next().await.context("the connection ended")?];
        for name in there {
            jetstream.get_stream(*name).await?.info().await?;
        }
        settle(&client).await?;
        while let Some(Some(answer)) = answers.next().now_or_never() {
            all.push(answer);
        }
        for answer in all {
            ensure!(&answer.payload[..] == b"2", "{answer:?}");
            let headers = answer.headers.context("headers")?;
            from.push(headers.get("Nats-Stream").context("a stream")?.to_string());
        }
        Ok(from)
    };
    ensure!(answered(&["O", "M", "N"]).await? == ["O"]);
    ensure!(origin.direct_get(1).await?.subject.as_str() == "o.0");
    jetstream.delete_stream("O").await?;
    ensure!(answered(&["M", "N"]).await? == ["M"]);
    jetstream.delete_stream("M").await?;
    ensure!(answered(&["N"]).await? == ["N"]);
    Ok(())
}

on_each_backend!(
    a_mirror_answers_in_its_origins_place,
    an_origin_made_anew_is_copied_from_its_beginning,
    a_mirror_is_the_same,
    sources_are_merged,
    a_work_queue_hands_over_to_its_mirror,
    a_mirror_becomes_a_stream,
);

/// Publishes while the server is killed again and again: the copies miss nothing and have nothing twice.
fn survives_kills(backend: Backend) {
    with_server_for(LIMIT, async |server| {
        let jetstream = server.jetstream().await?;
        jetstream.create_stream(backend.stream("O", &["o.>"])).await?;
        jetstream.create_stream(mirror(backend, "M", of("O"))).await?;
        let config = Config {
            sources: Some(vec![Source {
                filter_subject: Some("o.1".into()),
                ..of("O")
            }]),
            ..backend.stream("S", &[])
        };
        jetstream.create_stream(config).await?;
        let mut sent = 0;
        for round in 0..6 {
            let jetstream = server.jetstream().await?;
            publish(&jetstream, "o", sent, sent + 25).await?;
            sent += 25;
            if round == 2 {
                // What was copied and went away is not copied again.
                jetstream.get_stream("S").await?.delete_message(1).await?;
            }
            server.kill()?;
            server.start_again().await?;
        }
        let jetstream = server.jetstream().await?;
        wait_for(&jetstream, "M", sent as u64).await?;
        let origin = contents(&jetstream, "O").await?;
        ensure!(contents(&jetstream, "M").await? == origin);
        let wanted: Vec<_> = origin
            .iter()
            .filter(|(_, subject, _)| subject == "o.1")
            .map(|(_, _, text)| text.clone())
            .skip(1)
            .collect();
        wait_for(&jetstream, "S", wanted.len() as u64).await?;
        let copied: Vec<_> = contents(&jetstream, "S")
            .await?
            .into_iter()
            .map(|(_, _, text)| text)
            .collect();
        ensure!(copied == wanted, "{copied:?}");
        Ok(())
    });
}

/// A work queue whose messages only a mirror takes: none is lost, none stays, whenever the server is killed.
#[test]
fn a_work_queue_and_its_mirror_survive_kills() {
    with_server_for(LIMIT, async |server| {
        let jetstream = server.jetstream().await?;
        let queue = Config {
            retention: RetentionPolicy::WorkQueue,
            ..Backend::Segment.stream("Q", &["q.>"])
        };
        jetstream.create_stream(queue).await?;
        jetstream.create_stream(mirror(Backend::Segment, "M", of("Q"))).await?;
        for round in 0..6 {
            let jetstream = server.jetstream().await?;
            publish(&jetstream, "q", round * 20, round * 20 + 20).await?;
            server.kill()?;
            server.start_again().await?;
        }
        let jetstream = server.jetstream().await?;
        wait_for(&jetstream, "M", 120).await?;
        wait_for(&jetstream, "Q", 0).await
    });
}

#[test]
fn copies_survive_kills_on_segment() {
    survives_kills(Backend::Segment);
}

#[test]
fn copies_survive_kills_on_rocksdb() {
    survives_kills(Backend::Rocksdb);
}
