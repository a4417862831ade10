//! What the simulation found, each as short as it can be told.

use weir_backends::segment::disk::Failure;
use weir_engine::consumer::{AckPolicy, ConsumerConfig, PullRequest};
use weir_engine::shard::Input;
use weir_engine::stream::StreamConfig;
use weir_engine::stream::settings::{Defaults, Settings};
use weir_engine::{LogId, SECOND};

use crate::support::ACCOUNT;
use crate::world::{Said, Shape, World};

const STREAM: LogId = LogId(300);
const SMALL: Shape = Shape {
    shards: 1,
    checkpoint_bytes: 1,
    segment_bytes: 4 << 10,
};

fn create(world: &World) {
    let config = StreamConfig {
        name: "S".into(),
        subjects: vec!["s".into()],
        ..StreamConfig::default()
    };
    let settings = Settings::of(&config, &Defaults::default()).expect("settings make sense");
    world.ask(0, 1, move |shard| {
        shard.create_stream(STREAM, &ACCOUNT.into(), config, settings)
    });
}

fn publish(world: &World, number: u64) {
    let input = Input::Publish {
        stream: STREAM,
        subject: "s".into(),
        headers_len: 0,
        body: vec![0; 100].into(),
        ticket: world.ticket(number),
    };
    world.submit(0, input);
}

fn pull(world: &World, batch: u64) {
    let input = Input::Pull {
        stream: STREAM,
        consumer: "c".into(),
        request: PullRequest {
            batch,
            ..PullRequest::default()
        },
        reply: "_PULL.1".into(),
    };
    world.submit(0, input);
}

/// Whether a request was answered, and well.
fn is_done(world: &mut World, number: u64) -> bool {
    let said = world.said();
    let done = |said: &Said| matches!(said, Said::Done(Ok(())) | Said::Published(Ok(_)));
    said.iter().any(|(of, _, said)| *of == number && done(said))
}

/// Seed 558: a checkpoint that began while a stream was offline has nothing of it; when the stream was back before it was
/// written, the journal was let go of all the same.
#[test]
fn a_stream_that_was_offline_when_a_checkpoint_began_is_not_forgotten() {
    let mut was_offline = 0;
    for n in 1..40 {
        let mut world = World::new(n, SMALL);
        world.open().expect("the store opens");
        create(&world);
        publish(&world, 2);
        world.disk.fail_at(n, Failure::Io, false);
        world.turn(0);
        if !is_done(&mut world, 2) {
            continue;
        }
        let store = world.store();
        let offline = store.store().catalogue().offline();
        was_offline += offline;
        // The stream comes back, and only then is the checkpoint written.
        world.pass(2 * SECOND);
        world.turn(0);
        world.store().step_errand(1);
        world.turn(0);
        for _ in 0..4 {
            world.store().step_errand(0);
        }
        world.turn(0);
        world.kill();
        world.open().expect("the store opens");
        world.look(0, 3, STREAM);
        world.turn(0);
        let said = world.said();
        let Some((_, _, Said::Looked(Ok(look)))) = said.last() else {
            panic!("call {n} failed, {offline} offline: {said:?}");
        };
        assert_eq!(look.messages.len(), 1, "call {n} failed, {offline} offline");
    }
    assert!(was_offline > 0, "no call took the stream offline");
}

/// Seed 255: the turn that removed a message had read it ahead for a consumer, and it was delivered later.
#[test]
fn what_is_removed_in_the_turn_that_reads_ahead_is_not_delivered() {
    let mut world = World::new(1, SMALL);
    world.open().expect("the store opens");
    create(&world);
    for number in 1..4 {
        publish(&world, number);
    }
    world.ask(0, 4, |shard| {
        let config = ConsumerConfig {
            durable_name: "c".into(),
            name: "c".into(),
            ack_policy: AckPolicy::Explicit,
            max_waiting: 10,
            ..ConsumerConfig::default()
        };
        shard.create_consumer(STREAM, config)
    });
    world.turn(0);
    assert!(is_done(&mut world, 4));
    // So that the newest messages are not in memory.
    world.close();
    world.open().expect("the store opens");
    world.ask(0, 5, |shard| shard.delete_message(STREAM, 2, true));
    pull(&world, 1);
    world.turn(0);
    pull(&world, 5);
    world.turn(0);
    let said = world.said();
    let delivered = said.iter().filter_map(|(_, _, said)| match said {
        Said::Delivered(delivery) => Some(delivery.message.seq),
        _ => None,
    });
    assert_eq!(delivered.collect::<Vec<_>>(), [1, 3]);
}
