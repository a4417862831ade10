//! One consumer at a time: a push, a pause, a rate, a list that it began with.

use std::time::{Duration, Instant};

use super::*;

/// A stream with one consumer, and where its deliveries go.
fn one_consumer(config: ConsumerConfig) -> (Bench, Handle, Inbox) {
    let inbox = Inbox::default();
    let (bench, stream) = one_consumer_to(inbox.clone(), config);
    (bench, stream, inbox)
}

/// The same with an outlet of the test's own.
fn one_consumer_to<O: Outlet + Clone + Sync + 'static>(outlet: O, config: ConsumerConfig) -> (Bench, Handle) {
    let mut bench = Bench::with_outlet(Storage::Memory, move || Box::new(outlet.clone()));
    bench.open();
    let stream = bench.create(&StreamConfig {
        name: "S".into(),
        subjects: vec![">".into()],
        ..StreamConfig::default()
    });
    let config = ConsumerConfig {
        durable_name: "c".into(),
        name: "c".into(),
        max_waiting: 10,
        ..config
    };
    let made = stream.call(move |shard, id| shard.create_consumer(id, config));
    made.expect("a consumer");
    (bench, stream)
}

/// How long a shard may take to go on by itself: far longer than it does, on a machine that is at other things as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives the shard time to go on by itself, until so much has come; and no more has.
fn eventually(stream: &Handle, inbox: &Inbox, count: usize) {
    let end = Instant::now() + PATIENCE;
    while inbox.0.lock().len() < count && Instant::now() < end {
        settle(stream);
        std::thread::sleep(Duration::from_millis(1));
    }
    settle(stream);
    assert_eq!(inbox.0.lock().len(), count);
}

#[test]
fn more_than_a_turn_may_send_is_sent_in_the_next() {
    let (_bench, stream, inbox) = one_consumer(ConsumerConfig::default());
    for _ in 0..12 {
        stream.publish("a", "", &vec![0; 1 << 20]).expect("an ack");
    }
    let input = Input::Pull {
        stream: stream.id,
        consumer: Bytes::from_static(b"c"),
        request: PullRequest {
            batch: 12,
            ..PullRequest::default()
        },
        reply: Bytes::from_static(b"inbox"),
    };
    assert!(stream.shard.submit(vec![input]).is_ok());
    eventually(&stream, &inbox, 12);
}

#[test]
fn a_pause_ends_by_itself() {
    let config = ConsumerConfig {
        deliver_subject: "push".into(),
        pause_until: Some(1_700_000_000_000_000_000 + 5 * SECOND),
        ..ConsumerConfig::default()
    };
    let (bench, stream, inbox) = one_consumer(config);
    stream.publish("a", "", b"x").expect("an ack");
    settle(&stream);
    assert!(inbox.0.lock().is_empty());
    bench.advance(5 * SECOND);
    eventually(&stream, &inbox, 1);
}

#[test]
fn a_rate_limit_delays_and_does_not_stop() {
    let config = ConsumerConfig {
        deliver_subject: "push".into(),
        rate_limit_bps: 8 * 1000,
        ..ConsumerConfig::default()
    };
    let (bench, stream, inbox) = one_consumer(config);
    for _ in 0..3 {
        stream.publish("a", "", &[0; 1000]).expect("an ack");
    }
    settle(&stream);
    for sent in 1..=3 {
        eventually(&stream, &inbox, sent);
        bench.advance(2 * SECOND);
    }
}

/// Counts heartbeats.
#[derive(Clone, Default)]
struct Beats(Arc<std::sync::atomic::AtomicUsize>);

impl Outlet for Beats {
    fn has_interest(&mut self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn has_subscriber(&mut self, _: &str, _: &[u8], _: &str) -> bool {
        true
    }

    fn emit(&mut self, emit: Emit) {
        use weir_engine::shard::emit::Status;
        if let Emit::Status {
            status: Status::Heartbeat { .. },
            ..
        } = emit
        {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn flush(&mut self) {}
}

#[test]
fn a_push_consumer_of_an_empty_stream_sends_heartbeats() {
    let beats = Beats::default();
    let config = ConsumerConfig {
        deliver_subject: "push".into(),
        idle_heartbeat: SECOND,
        ..ConsumerConfig::default()
    };
    let (bench, stream) = one_consumer_to(beats.clone(), config);
    for expected in 1..=3 {
        bench.advance(SECOND);
        let end = Instant::now() + PATIENCE;
        while beats.0.load(std::sync::atomic::Ordering::SeqCst) < expected {
            assert!(Instant::now() < end, "no beat {expected}");
            settle(&stream);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A consumer that began with the last message of each subject keeps that list when its filter changes.
#[test]
fn what_a_consumer_began_with_counts_until_it_is_gone() {
    let mut bench = Bench::new(Storage::Memory);
    bench.open();
    let stream = bench.create(&StreamConfig {
        name: "S".into(),
        subjects: vec![">".into()],
        ..StreamConfig::default()
    });
    for subject in SUBJECTS {
        stream.publish(subject, "", b"x").unwrap();
    }
    let config = ConsumerConfig {
        durable_name: "c".into(),
        name: "c".into(),
        ack_policy: AckPolicy::Explicit,
        deliver_policy: DeliverPolicy::LastPerSubject,
        filter_subject: "a.*".into(),
        ..ConsumerConfig::default()
    };
    let other = ConsumerConfig {
        filter_subject: "b.*".into(),
        ..config.clone()
    };
    let pending = || {
        stream
            .call(|shard, id| Ok(shard.consumer_info(id, "c")?.num_pending))
            .unwrap()
    };
    stream.call(|shard, id| shard.create_consumer(id, config)).unwrap();
    assert_eq!(pending(), 2);
    stream.call(|shard, id| shard.update_consumer(id, "c", other)).unwrap();
    assert_eq!(pending(), 2);
    stream.call(|shard, id| shard.delete_message(id, 1, false)).unwrap();
    assert_eq!(pending(), 1);
    let purge = Purge {
        filter: "a.*".into(),
        ..Purge::default()
    };
    stream.call(move |shard, id| shard.purge(id, &purge)).unwrap();
    assert_eq!(pending(), 0);
}
