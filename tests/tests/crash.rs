//! `kill -9` under load, many times over the same store: nothing that was
//! acknowledged is lost, doubled or changed, and the consumer goes on from
//! where its confirmed acks were.
//!
//! `WEIR_CRASH_ROUNDS` (20) sets how often the server is killed, and
//! `WEIR_CRASH_SEED` (1) chooses the moments; a failure names both.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::Context;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use weir_tests::clients::{acknowledged, lock, number_from, read, sequence_of};
use weir_tests::ledger::{Id, Ledger};
use weir_tests::seed::Seed;
use weir_tests::server::with_server_for;
use weir_tests::{Backend, PATIENCE, Server, jetstream, patient};

const STREAM: &str = "CRASH";
const CONSUMER: &str = "survivor";
const PUBLISHERS: u32 = 8;
/// Publishes without an ack yet, per publisher.
const OUTSTANDING: usize = 16;
/// Consumer acks without a confirmation yet.
const ACKS_OUTSTANDING: usize = 64;
/// The server is killed this long after the load began, in milliseconds.
const KILL_AFTER: std::ops::RangeInclusive<u64> = 50..=400;
/// What was delivered and not acked comes again after this: longer than a round, on a machine that is at other things as well, so that no copy
/// of a message is on its way to the client while the first one is being acked.
const ACK_WAIT: Duration = Duration::from_secs(3600);
/// The same once the last round is over, where a batch is acked before the next is asked for.
const LAST_ACK_WAIT: Duration = Duration::from_secs(5);

#[test]
fn nothing_acknowledged_is_lost_on_segment() {
    survive(Backend::Segment);
}

#[test]
fn nothing_acknowledged_is_lost_on_rocksdb() {
    survive(Backend::Rocksdb);
}

/// The stream goes over to the other backend and back all the while: each copy that a kill cuts short is begun anew.
#[test]
fn nothing_acknowledged_is_lost_while_the_stream_goes_over() {
    let rounds = number_from("WEIR_CRASH_ROUNDS", 10);
    let seed = number_from("WEIR_CRASH_SEED", 1);
    let limit = PATIENCE + Duration::from_secs(20) * u32::try_from(rounds).unwrap_or(u32::MAX);
    with_server_for(limit, async |server| go_over(server, rounds, seed).await);
}

/// The same where all that comes to the disk is encrypted.
#[test]
fn nothing_acknowledged_is_lost_of_what_is_encrypted() {
    let rounds = number_from("WEIR_CRASH_ROUNDS", 6);
    let seed = number_from("WEIR_CRASH_SEED", 1);
    let limit = PATIENCE + Duration::from_secs(20) * u32::try_from(rounds).unwrap_or(u32::MAX);
    with_server_for(limit, async |server| {
        server.begin_anew("jetstream { key: 'a key' }").await?;
        go_over(server, rounds, seed).await
    });
}

async fn go_over(server: &mut Server, rounds: u64, seed: u64) -> Result<()> {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    create(server, Backend::Segment).await?;
    for round in 1..=rounds {
        let to = [Backend::Segment, Backend::Rocksdb][(round % 2) as usize];
        move_to(server, to).await?;
        // Others are cut short wherever they are.
        if round % 4 == 3 {
            arrived_in_rocksdb(server).await?;
        }
        run_round(server, &ledger, seed, round)
            .await
            .with_context(|| format!("round {round} of {rounds}, seed {seed}"))?;
    }
    move_to(server, Backend::Rocksdb).await?;
    arrived_in_rocksdb(server).await?;
    finish(server, &ledger).await
}

async fn move_to(server: &Server, backend: Backend) -> Result<()> {
    let config = backend.stream(STREAM, &["crash.>"]);
    server.jetstream().await?.update_stream(config).await?;
    Ok(())
}

/// Waits until the stream has left its segment files.
async fn arrived_in_rocksdb(server: &Server) -> Result<()> {
    let logs = server.store().join("weir/segment/logs");
    // The first stream of a store has this log.
    let log = logs.join(format!("{:016x}", 256));
    let waits = async {
        while log.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(logs.exists(), "{} is where logs are", logs.display());
    tokio::time::timeout(PATIENCE, waits)
        .await
        .context("the stream does not arrive")
}

fn survive(backend: Backend) {
    let rounds = number_from("WEIR_CRASH_ROUNDS", 20);
    let seed = number_from("WEIR_CRASH_SEED", 1);
    let limit = PATIENCE + Duration::from_secs(10) * u32::try_from(rounds).unwrap_or(u32::MAX);
    with_server_for(limit, async |server| {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        create(server, backend).await?;
        for round in 1..=rounds {
            run_round(server, &ledger, seed, round).await.with_context(|| {
                format!(
                    "{backend:?}, round {round} of {rounds}; again with \
                     WEIR_CRASH_SEED={seed} WEIR_CRASH_ROUNDS={rounds}"
                )
            })?;
        }
        finish(server, &ledger)
            .await
            .with_context(|| format!("{backend:?}, after {rounds} rounds, seed {seed}"))
    });
}

async fn create(server: &Server, backend: Backend) -> Result<()> {
    let stream = server
        .jetstream()
        .await?
        .create_stream(backend.stream(STREAM, &["crash.>"]))
        .await?;
    stream.create_consumer(configuration(ACK_WAIT)).await?;
    Ok(())
}

fn configuration(ack_wait: Duration) -> pull::Config {
    pull::Config {
        durable_name: Some(CONSUMER.into()),
        ack_policy: AckPolicy::Explicit,
        ack_wait,
        // Room for what one kill after the other leaves behind unacked.
        max_ack_pending: 20_000,
        ..Default::default()
    }
}

/// Load, kill, restart, check.
async fn run_round(server: &mut Server, ledger: &Arc<Mutex<Ledger>>, seed: u64, round: u64) -> Result<()> {
    let mut dice = Seed::of(&[seed, round]);
    let before = lock(ledger).last_promised();
    let acked_before = lock(ledger).acked_count();
    let (killed, _) = watch::channel(false);
    let mut tasks = Vec::new();
    for publisher in 0..PUBLISHERS {
        let client = Connection::open(server).await?;
        tasks.push(tokio::spawn(publish(
            client,
            publisher,
            Arc::clone(ledger),
            killed.subscribe(),
        )));
    }
    let client = Connection::open(server).await?;
    let choices = Seed::of(&[dice.next()]);
    tasks.push(tokio::spawn(consume(
        client,
        choices,
        Arc::clone(ledger),
        killed.subscribe(),
    )));

    // The clock of the kill starts once the load is really there, and that of the first one once the consumer is, too.
    let is_there = || {
        let ledger = lock(ledger);
        ledger.acked_count() > acked_before && ledger.confirmed_count() > 0
    };
    let first_ack = async {
        while !is_there() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, first_ack)
        .await
        .context("no publish was acknowledged, or no ack of the consumer confirmed")?;
    let moment = Duration::from_millis(dice.between(*KILL_AFTER.start(), *KILL_AFTER.end()));
    tokio::time::sleep(moment).await;
    // Before the kill: a client may see its connection end before this task comes to say why.
    killed.send_replace(true);
    server.kill()?;
    for task in join_all(tasks).await {
        task?.with_context(|| format!("a client failed before the kill at {moment:?}"))?;
    }

    server.start_again().await?;
    if dice.between(1, 4) == 1 {
        // Recovery itself must bear being done twice.
        server.kill()?;
        server.start_again().await?;
    }
    let check = async {
        let jetstream = server.jetstream().await?;
        let stored = read(&jetstream, STREAM, before + 1).await?;
        let floor = consumer(&jetstream).await?.cached_info().ack_floor.stream_sequence;
        let mut ledger = lock(ledger);
        ledger
            .check_stream(before + 1, &stored)
            .map_err(|report| anyhow!(report))?;
        for (sequence, payload) in &stored {
            ledger.served(*sequence, payload);
        }
        ledger.check_consumer(floor).map_err(|report| anyhow!(report))
    };
    tokio::time::timeout(PATIENCE, check)
        .await
        .context("reading the stream back takes too long")?
        .with_context(|| format!("killed {moment:?} after the first ack"))
}

/// The last word: the whole stream is checked, and the consumer given what is left.
async fn finish(server: &Server, ledger: &Arc<Mutex<Ledger>>) -> Result<()> {
    let jetstream = server.jetstream().await?;
    let stored = tokio::time::timeout(PATIENCE, read(&jetstream, STREAM, 1)).await??;
    lock(ledger)
        .check_stream(1, &stored)
        .map_err(|report| anyhow!(report))?;
    let last = stored.last().context("nothing was stored at all")?.0;

    // Single reads take another way through the server than a consumer does.
    let stream = jetstream.get_stream(STREAM).await?;
    for sequence in [1, last / 2 + 1, last] {
        let message = stream.get_raw_message(sequence).await?;
        let (_, expected) = stored
            .iter()
            .find(|(at, _)| *at == sequence)
            .with_context(|| format!("sequence {sequence} was not replayed"))?;
        assert!(
            message.payload == expected[..],
            "sequence {sequence} differs when read alone"
        );
    }

    let confirmed = lock(ledger).confirmed_count();
    assert!(confirmed > 0, "no ack was ever confirmed: the test shows nothing");
    stream.update_consumer(configuration(LAST_ACK_WAIT)).await?;
    drain(&jetstream, ledger, last).await?;
    let ledger = lock(ledger);
    ledger.check_all_delivered(last).map_err(|report| anyhow!(report))?;
    eprintln!(
        "{} publishes acknowledged, {} stored; {confirmed} acks confirmed before the last kill",
        ledger.acked_count(),
        stored.len(),
    );
    Ok(())
}

/// A JetStream context, and word of when its connection has ended: everything
/// that the server had sent is handed on by then.
struct Connection {
    jetstream: Context,
    ended: watch::Receiver<bool>,
}

impl Connection {
    async fn open(server: &Server) -> Result<Connection> {
        let (sender, ended) = watch::channel(false);
        let client = patient(async_nats::ConnectOptions::new())
            .max_reconnects(1)
            .event_callback(move |event| {
                if matches!(event, async_nats::Event::Disconnected | async_nats::Event::Closed) {
                    sender.send_replace(true);
                }
                async {}
            })
            .connect(server.url())
            .await?;
        Ok(Connection {
            jetstream: jetstream(client),
            ended,
        })
    }
}

/// Publishes until the connection ends, and notes every ack that came.
async fn publish(
    connection: Connection,
    publisher: u32,
    ledger: Arc<Mutex<Ledger>>,
    killed: watch::Receiver<bool>,
) -> Result<()> {
    let mut ended = connection.ended.clone();
    let mut outstanding = FuturesUnordered::new();
    loop {
        if outstanding.len() < OUTSTANDING && !*connection.ended.borrow() {
            let id = lock(&ledger).next(publisher);
            let subject = format!("crash.{publisher}");
            match connection.jetstream.publish(subject, id.payload().into()).await {
                Ok(ack) => outstanding.push(acknowledged(id, ack)),
                Err(_) if *killed.borrow() || *connection.ended.borrow() => {}
                Err(error) => bail!("publish of {id:?}: {error}"),
            }
            // Acks that are there already make room without waiting.
            while let Some(Some(result)) = outstanding.next().now_or_never() {
                note(result, &ledger, &connection, &killed)?;
            }
            continue;
        }
        tokio::select! {
            biased;
            Some(result) = outstanding.next() => note(result, &ledger, &connection, &killed)?,
            () = raised(&mut ended) => break,
        }
    }
    while let Some(Some(result)) = outstanding.next().now_or_never() {
        note(result, &ledger, &connection, &killed)?;
    }
    Ok(())
}

fn note(
    (id, result): (Id, Result<u64>),
    ledger: &Mutex<Ledger>,
    connection: &Connection,
    killed: &watch::Receiver<bool>,
) -> Result<()> {
    match result {
        Ok(sequence) => lock(ledger).published(id, sequence),
        // An error is only excused by the kill; before it, it is a failure.
        Err(_) if *killed.borrow() || *connection.ended.borrow() => {}
        Err(error) => return Err(error.context(format!("publish of {id:?}"))),
    }
    Ok(())
}

/// Consumes until the connection ends: most messages are acked and confirmed,
/// some acked without waiting, some not at all.
async fn consume(
    connection: Connection,
    mut choices: Seed,
    ledger: Arc<Mutex<Ledger>>,
    killed: watch::Receiver<bool>,
) -> Result<()> {
    let consumer = match consumer(&connection.jetstream).await {
        Ok(consumer) => consumer,
        Err(_) if *killed.borrow() => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut messages = match consumer.stream().max_messages_per_batch(100).messages().await {
        Ok(messages) => messages,
        Err(_) if *killed.borrow() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut ended = connection.ended;
    let mut confirmations = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some((sequence, confirmed)) = confirmations.next() => if confirmed {
                lock(&ledger).ack_confirmed(sequence);
            },
            () = raised(&mut ended) => break,
            next = messages.next(), if confirmations.len() < ACKS_OUTSTANDING => match next {
                Some(Ok(message)) => {
                    let sequence = sequence_of(&message)?;
                    lock(&ledger).delivered(sequence, &message.payload);
                    let choice = choices.between(1, 100);
                    if choice <= 85 {
                        lock(&ledger).ack_sent(sequence);
                        confirmations.push(confirm(sequence, message));
                    } else if choice <= 95 {
                        lock(&ledger).ack_sent(sequence);
                        let _ = message.ack().await;
                    }
                }
                Some(Err(_)) if *killed.borrow() => break,
                Some(Err(error)) => bail!("consuming: {error}"),
                None => break,
            },
        }
    }
    while let Some(Some((sequence, confirmed))) = confirmations.next().now_or_never() {
        if confirmed {
            lock(&ledger).ack_confirmed(sequence);
        }
    }
    Ok(())
}

/// Acks `message`; true when the server said that it has the ack.
async fn confirm(sequence: u64, message: Message) -> (u64, bool) {
    (sequence, message.double_ack().await.is_ok())
}

/// Consumes and acks until the consumer has nothing left up to `last`.
async fn drain(jetstream: &Context, ledger: &Mutex<Ledger>, last: u64) -> Result<()> {
    let mut consumer = consumer(jetstream).await?;
    // What the publishers are ahead by grows with the rounds: it may take long, as long as it goes on.
    let mut went_on = Instant::now();
    loop {
        if went_on.elapsed() > PATIENCE {
            bail!("the consumer does not come to an end");
        }
        let mut batch = consumer
            .batch()
            .max_messages(500)
            .expires(Duration::from_millis(250))
            .messages()
            .await?;
        let mut confirmations = FuturesUnordered::new();
        while let Some(message) = batch.next().await {
            let message = message.map_err(anyhow::Error::from_boxed)?;
            let sequence = sequence_of(&message)?;
            let mut ledger = lock(ledger);
            ledger.delivered(sequence, &message.payload);
            ledger.ack_sent(sequence);
            went_on = Instant::now();
            confirmations.push(confirm(sequence, message));
        }
        while let Some((sequence, confirmed)) = confirmations.next().await {
            if !confirmed {
                bail!("the ack of {sequence} was not confirmed");
            }
            lock(ledger).ack_confirmed(sequence);
        }
        let info = consumer.info().await?;
        if info.num_pending == 0 && info.num_ack_pending == 0 {
            let floor = info.ack_floor.stream_sequence;
            if floor != last {
                bail!("all is acked, but the ack floor is {floor} and not {last}");
            }
            return Ok(());
        }
    }
}

async fn consumer(jetstream: &Context) -> Result<PullConsumer> {
    jetstream
        .get_consumer_from_stream(CONSUMER, STREAM)
        .await
        .context("the durable consumer is gone")
}

/// Waits until `flag` is up, or can no longer be raised.
async fn raised(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|raised| *raised).await;
}
