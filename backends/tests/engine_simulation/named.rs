//! What the simulation found, each as short as it can be told.

use std::path::Path;

use bytes::Bytes;

use weir_backends::segment::disk::Failure;
use weir_engine::conformance::model::Dice;
use weir_engine::consumer::{Ack, AckKind, AckPolicy, ConsumerConfig, DeliverPolicy, PullRequest};
use weir_engine::shard::Input;
use weir_engine::store::{AsideSizes, ChunkSize};
use weir_engine::stream::settings::{Defaults, Settings};
use weir_engine::stream::{Retention, StreamConfig};
use weir_engine::{Kind, SECOND, Seq, ShardId, StreamId};

use crate::support::{ACCOUNT, Random};
use crate::world::{Ground, Said, Shape, World};

pub const STREAM: StreamId = StreamId(300);
pub const SMALL: Shape = Shape {
    ground: Ground::Disk,
    shards: 1,
    checkpoint_bytes: 1,
    segment_bytes: 4 << 10,
    chunk_size: ChunkSize::WHOLE,
    aside: AsideSizes::LARGE,
    hurries: false,
};

/// A store with one stream.
fn small(seed: u64) -> World {
    let mut world = World::new(seed, SMALL);
    world.open().expect("the store opens");
    create(&world);
    world
}

pub fn create(world: &World) {
    create_as(world, StreamConfig::default());
}

pub fn create_as(world: &World, config: StreamConfig) {
    let config = StreamConfig {
        name: "S".into(),
        subjects: vec!["s.>".into()],
        // So that the first message is not read together with those behind it.
        first_seq: 1000,
        ..config
    };
    let settings = Settings::of(&config, &Defaults::default()).expect("settings make sense");
    world.ask(ShardId(0), 1, move |shard| {
        shard.create_stream(STREAM, &ACCOUNT.into(), config, settings)
    });
}

pub fn publish(world: &World, number: u64) {
    publish_to(world, number, "s.a");
}

fn publish_to(world: &World, number: u64, subject: &'static str) {
    let input = Input::Publish {
        stream: STREAM,
        subject: subject.into(),
        headers_len: 0,
        body: vec![0; 100].into(),
        ticket: world.ticket(number),
    };
    world.submit(ShardId(0), input);
}

fn pull(world: &World, batch: u64) {
    pull_as(world, "c", batch);
}

fn pull_as(world: &World, consumer: &'static str, batch: u64) {
    let input = Input::Pull {
        stream: STREAM,
        consumer: consumer.into(),
        request: PullRequest {
            batch,
            ..PullRequest::default()
        },
        reply: "_PULL.1".into(),
    };
    world.submit(ShardId(0), input);
}

fn consumer() -> ConsumerConfig {
    consumer_as("c")
}

fn consumer_as(name: &str) -> ConsumerConfig {
    ConsumerConfig {
        durable_name: name.into(),
        name: name.into(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: 30 * SECOND,
        max_waiting: 10,
        ..ConsumerConfig::default()
    }
}

/// The sequences that were delivered since this was last asked.
fn delivered(world: &mut World) -> Vec<Seq> {
    let said = world.said();
    let delivered = said.iter().filter_map(|(_, _, said)| match said {
        Said::Delivered(delivery) => Some(delivery.message.seq),
        _ => None,
    });
    delivered.collect()
}

/// The process is killed, and the next one begins.
pub fn restart(world: &mut World) {
    world.kill();
    world.open().expect("the store opens");
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
        let mut world = small(n);
        publish(&world, 2);
        world.disk.fail_at(n, Failure::Io, false);
        world.turn(ShardId(0));
        if !is_done(&mut world, 2) {
            continue;
        }
        let store = world.store();
        let offline = store.store().catalogue().offline();
        was_offline += offline;
        // The stream comes back, and only then is the checkpoint written.
        world.pass(2 * SECOND);
        world.turn(ShardId(0));
        world.store().step_errand(1);
        world.turn(ShardId(0));
        for _ in 0..4 {
            world.store().step_errand(0);
        }
        world.turn(ShardId(0));
        world.kill();
        world.open().expect("the store opens");
        world.look(ShardId(0), 3, STREAM);
        world.turn(ShardId(0));
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
    let mut world = small(1);
    for number in 1..4 {
        publish(&world, number);
    }
    world.ask(ShardId(0), 4, |shard| shard.create_consumer(STREAM, consumer()));
    world.turn(ShardId(0));
    assert!(is_done(&mut world, 4));
    // So that the newest messages are not in memory.
    world.close();
    world.open().expect("the store opens");
    world.ask(ShardId(0), 5, |shard| shard.delete_message(STREAM, 1001, true));
    pull(&world, 1);
    world.turn(ShardId(0));
    pull(&world, 5);
    world.turn(ShardId(0));
    assert_eq!(delivered(&mut world), [1000, 1002]);
}

/// Seed 35449: the log of a deleted stream could not be removed, and at the next start the stream was there again, offline.
#[test]
fn a_deleted_stream_whose_log_could_not_be_removed_stays_away() {
    for (n, power) in (1..12).flat_map(|n| [(n, false), (n, true)]) {
        let mut world = small(n);
        publish(&world, 2);
        world.turn(ShardId(0));
        world.settle(&mut Random(n));
        world.ask(ShardId(0), 3, |shard| shard.delete_stream(STREAM));
        world.said();
        world.disk.fail_at(n, Failure::Io, false);
        world.turn(ShardId(0));
        if !is_done(&mut world, 3) {
            continue;
        }
        world.disk.fail_at(0, Failure::Io, false);
        world.settle(&mut Random(n));
        if power {
            world.disk.lose_power(&mut Dice::new(n));
        }
        restart(&mut world);
        let catalogue = world.store().store().catalogue().clone();
        assert!(catalogue.all().is_empty(), "call {n} failed: {:?}", catalogue.trouble());
        assert!(
            catalogue.findings().is_empty(),
            "call {n} failed: {:?}",
            catalogue.findings()
        );
    }
}

/// Seed 150 of the twins: what was passed over, because it was gone, stood before what was delivered, and after a restart all
/// of it came again.
#[test]
fn what_a_list_delivered_behind_a_gap_does_not_come_again() {
    let mut world = small(1);
    publish_to(&world, 1, "s.a");
    publish_to(&world, 2, "s.b");
    world.ask(ShardId(0), 3, |shard| {
        let config = ConsumerConfig {
            deliver_policy: DeliverPolicy::LastPerSubject,
            ..consumer()
        };
        shard.create_consumer(STREAM, config)
    });
    world.ask(ShardId(0), 4, |shard| shard.delete_message(STREAM, 1000, false));
    world.turn(ShardId(0));
    pull(&world, 5);
    world.turn(ShardId(0));
    assert_eq!(delivered(&mut world), [1001]);
    restart(&mut world);
    pull(&world, 5);
    world.turn(ShardId(0));
    assert_eq!(delivered(&mut world), [0; 0]);
}

/// Seed 27 of the twins: what a consumer had passed over, because it did not want it, it got after a restart when its filter
/// had been changed meanwhile.
#[test]
fn a_consumer_with_another_filter_keeps_its_place_over_a_restart() {
    let mut world = small(1);
    let wants = |subject: &str| ConsumerConfig {
        filter_subject: subject.into(),
        ..consumer()
    };
    let config = wants("s.a");
    world.ask(ShardId(0), 1, move |shard| shard.create_consumer(STREAM, config));
    publish_to(&world, 2, "s.b");
    pull(&world, 1);
    world.turn(ShardId(0));
    let config = wants("s.b");
    world.ask(ShardId(0), 3, move |shard| shard.update_consumer(STREAM, "c", config));
    world.turn(ShardId(0));
    assert_eq!(delivered(&mut world), [0; 0]);
    restart(&mut world);
    pull(&world, 1);
    publish_to(&world, 4, "s.b");
    world.turn(ShardId(0));
    assert_eq!(delivered(&mut world), [1001]);
}

/// Seed 153 of the damaged files: what a start found missing, the next one did not know any more.
#[test]
fn what_a_start_finds_missing_is_known_to_the_next() {
    for power in [false, true] {
        let mut world = small(1);
        let folder = Path::new("/store/logs").join(STREAM.to_string());
        let segments = |world: &World| {
            let mut files = world.disk.files(&folder);
            files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
            files
        };
        for number in 2..8 {
            publish(&world, number);
            world.turn(ShardId(0));
        }
        world.settle(&mut Random(1));
        world.close();
        world.disk.kill();
        world.disk.erase(&segments(&world)[0]).expect("a file");
        let mut lost = Vec::new();
        for _ in 0..3 {
            world.open().expect("the store opens");
            world.look(ShardId(0), 1000, STREAM);
            world.turn(ShardId(0));
            let said = world.said();
            let Some((_, _, Said::Looked(Ok(look)))) = said.last() else {
                panic!("{said:?}");
            };
            lost.push(look.lost);
            if power {
                world.disk.lose_power(&mut Dice::new(1));
            }
            world.kill();
        }
        assert!(lost[0] > 0 && lost.iter().all(|now| *now == lost[0]), "{lost:?}");
    }
}

/// Seed 114696: the sync of a deletion failed, the shard was opened anew and removed the log, and the power failed: the
/// deletion was not on disk, the stream was there again, and its messages were gone.
#[test]
fn a_deletion_takes_no_log_before_it_is_on_disk() {
    for (n, dice) in (1..8).flat_map(|n| (0..12).map(move |dice| (n, dice))) {
        let mut world = small(dice);
        publish(&world, 2);
        world.turn(ShardId(0));
        world.settle(&mut Random(n));
        world.ask(ShardId(0), 3, |shard| shard.delete_stream(STREAM));
        world.disk.fail_at(n, Failure::Io, false);
        for _ in 0..3 {
            world.turn(ShardId(0));
        }
        world.disk.lose_power(&mut Dice::new(dice));
        restart(&mut world);
        let catalogue = world.store().store().catalogue().clone();
        assert_eq!(catalogue.offline(), 0, "call {n} failed: {:?}", catalogue.trouble());
    }
}

/// Seed 201646: a read failed behind the first of several messages; the first was delivered, and the journal did not say so.
#[test]
fn what_was_delivered_before_a_read_failed_is_in_the_journal() {
    let mut partly = 0;
    for n in 1..8 {
        let mut world = small(n);
        for number in 2..62 {
            publish(&world, number);
            world.turn(ShardId(0));
        }
        world.ask(ShardId(0), 100, |shard| shard.create_consumer(STREAM, consumer()));
        world.turn(ShardId(0));
        world.close();
        world.disk.kill();
        world.open().expect("the store opens");
        // What is written to the newest file has to be mapped again.
        publish(&world, 100);
        world.turn(ShardId(0));
        world.said();
        world.disk.fail_at(n, Failure::Io, false);
        pull(&world, 61);
        world.turn(ShardId(0));
        let sent = delivered(&mut world).len() as u64;
        partly += u64::from(sent > 0 && sent < 61);
        restart(&mut world);
        world.look(ShardId(0), 101, STREAM);
        world.turn(ShardId(0));
        let said = world.said();
        let Some((_, _, Said::Looked(Ok(look)))) = said.last() else {
            panic!("call {n} failed: {said:?}");
        };
        assert!(
            look.consumers[0].delivered.consumer >= sent,
            "call {n} failed: {sent} were sent, {:?}",
            look.consumers
        );
    }
    assert!(partly > 0, "no read failed between two messages");
}

/// Seed 4081481: the sync of a creation failed, the shard was opened anew and made the stream by what the journal said, and
/// the power failed: the journal said nothing of it any more, and a log that no stream had was there, offline.
#[test]
fn a_stream_is_not_made_anew_before_its_creation_is_on_disk() {
    for (n, dice) in (1..20).flat_map(|n| (0..40).map(move |dice| (n, dice))) {
        let mut world = World::new(dice, SMALL);
        world.open().expect("the store opens");
        world.disk.fail_at(n, Failure::Io, false);
        create(&world);
        for _ in 0..3 {
            world.turn(ShardId(0));
        }
        world.disk.lose_power(&mut Dice::new(dice));
        restart(&mut world);
        let catalogue = world.store().store().catalogue().clone();
        assert_eq!(catalogue.offline(), 0, "call {n} failed: {:?}", catalogue.trouble());
        assert_eq!(
            catalogue.finding_count(),
            0,
            "call {n} failed: {:?}",
            catalogue.findings()
        );
    }
}

/// Seed 4088421: nothing could be read for one consumer, and what happened to the others in that turn was not in the journal;
/// nor were any of them served before somebody else came.
#[test]
fn what_cannot_be_read_for_one_consumer_keeps_no_other_waiting() {
    let mut partly = 0;
    for n in 1..8 {
        let mut world = small(n);
        for number in 2..32 {
            publish(&world, number);
            world.turn(ShardId(0));
        }
        for name in ["one", "two"] {
            world.ask(ShardId(0), 100, move |shard| {
                shard.create_consumer(STREAM, consumer_as(name))
            });
        }
        world.turn(ShardId(0));
        // So that nothing is in memory.
        world.close();
        world.disk.kill();
        world.open().expect("the store opens");
        world.begin_twin();
        // What is written to the newest file has to be mapped again.
        publish(&world, 100);
        world.turn(ShardId(0));
        for name in ["one", "two"] {
            pull_as(&world, name, 30);
        }
        world.disk.fail_at(n, Failure::Io, false);
        world.said();
        world.turn(ShardId(0));
        world.check_twin(false, &format!("call {n} failed"));
        let at_once = delivered(&mut world).len();
        if at_once == 0 {
            // The journal failed, or there was nothing to read.
            continue;
        }
        partly += u64::from(at_once < 60);
        world.pass(SECOND);
        world.turn(ShardId(0));
        world.turn(ShardId(0));
        assert_eq!(
            at_once + delivered(&mut world).len(),
            60,
            "call {n} failed, {at_once} came at once"
        );
    }
    assert!(partly > 0, "no read failed");
}

/// Found by reading, beside seed 4088421: an acknowledged message could not be looked at, and stayed in its work queue for good.
#[test]
fn what_is_acknowledged_leaves_a_work_queue_though_a_read_fails() {
    let mut failed = 0;
    for n in 1..6 {
        let mut world = World::new(n, SMALL);
        world.open().expect("the store opens");
        create_as(
            &world,
            StreamConfig {
                retention: Retention::WorkQueue,
                ..StreamConfig::default()
            },
        );
        for number in 2..5 {
            publish(&world, number);
        }
        world.ask(ShardId(0), 100, |shard| shard.create_consumer(STREAM, consumer()));
        pull(&world, 3);
        world.turn(ShardId(0));
        assert_eq!(delivered(&mut world), [1000, 1001, 1002]);
        world.close();
        world.disk.kill();
        world.open().expect("the store opens");
        // What is written to the newest file has to be mapped again.
        publish(&world, 5);
        world.turn(ShardId(0));
        let ack = Ack {
            stream_seq: 1001,
            consumer_seq: 2,
            deliveries: 1,
            kind: AckKind::Ack,
            reply: "".into(),
        };
        let input = Input::Ack {
            stream: STREAM,
            consumer: "c".into(),
            ack,
        };
        world.submit(ShardId(0), input);
        world.disk.fail_at(n, Failure::Io, false);
        world.turn(ShardId(0));
        world.disk.fail_at(0, Failure::Io, false);
        let look = |world: &mut World| {
            world.look(ShardId(0), 101, STREAM);
            world.turn(ShardId(0));
            let mut said = world.said();
            let Some((_, _, Said::Looked(Ok(look)))) = said.pop() else {
                panic!("call {n} failed: {said:?}");
            };
            let left: Vec<Seq> = look.messages.iter().map(|message| message.seq).collect();
            (look.consumers[0].num_ack_pending, left)
        };
        let (pending, _) = look(&mut world);
        if pending != 2 {
            // The journal failed, and the acknowledgement was not taken.
            continue;
        }
        failed += world.disk.injected().io;
        world.pass(SECOND);
        world.turn(ShardId(0));
        world.turn(ShardId(0));
        assert_eq!(look(&mut world), (2, vec![1000, 1002, 1003]), "call {n} failed");
    }
    assert!(failed > 0, "no read failed");
}

/// Seed 360 of the damaged files: the journal's last write, which made a stream, was damaged and passed for one that broke off; the
/// power had taken the name of the stream's log, and the next stream got its id.
#[test]
fn an_id_that_a_damaged_journal_named_is_not_given_out_again() {
    let mut without_log = 0;
    for dice in 0..12 {
        let mut world = World::new(dice, SMALL);
        world.open().expect("the store opens");
        let id = world.store().store().allocate_id();
        assert_ne!(id, STREAM);
        let config = StreamConfig {
            name: "S".into(),
            subjects: vec!["s.>".into()],
            ..StreamConfig::default()
        };
        let settings = Settings::of(&config, &Defaults::default()).expect("settings make sense");
        world.ask(ShardId(0), 1, move |shard| {
            shard.create_stream(id, &ACCOUNT.into(), config, settings)
        });
        world.turn(ShardId(0));
        assert!(is_done(&mut world, 1));
        world.disk.lose_power(&mut Dice::new(dice));
        world.kill();
        let journal = Path::new("/store/logs").join(StreamId(1).to_string());
        let files = world.disk.contents(&journal);
        let written = files.iter().filter_map(|(path, bytes)| {
            let last = bytes.iter().rposition(|byte| *byte != 0)?;
            path.extension().is_some_and(|end| end == "seg").then_some((path, last))
        });
        let (path, last) = written.max().expect("a journal");
        world.disk.flip(path, last, 0).expect("a byte");
        let log = Path::new("/store/logs").join(id.to_string());
        without_log += u64::from(world.disk.files(&log).is_empty());
        world.open().expect("the store opens");
        assert_ne!(world.store().store().allocate_id(), id, "dice {dice}");
    }
    assert!(without_log > 0, "the power never took the log");
}

/// Seed 9310684: a consumer that waited for a disk gave up what was not acknowledged in time, and the journal did not hear of it in that
/// turn: a crash before the disk had answered took it back.
#[test]
fn what_is_given_up_while_a_disk_is_waited_for_is_in_the_journal() {
    let mut world = small(1);
    for number in 2..6 {
        publish(&world, number);
        world.turn(ShardId(0));
    }
    let config = ConsumerConfig {
        max_deliver: 1,
        ack_wait: SECOND,
        ..consumer()
    };
    world.ask(ShardId(0), 100, move |shard| shard.create_consumer(STREAM, config));
    world.turn(ShardId(0));
    pull(&world, 1);
    world.turn(ShardId(0));
    assert_eq!(delivered(&mut world), [1000]);
    // So that nothing is in memory.
    restart(&mut world);
    world.disk.chill();
    world.begin_twin();
    pull(&world, 1);
    world.turn(ShardId(0));
    assert!(delivered(&mut world).is_empty(), "a disk is waited for");
    world.pass(2 * SECOND);
    world.turn(ShardId(0));
    world.check_twin(false, "it was given up");
}

/// On a disk that is full the process is killed, within any call or between two, and the next one begins there: it opens, has all that was
/// acknowledged, refuses what there is no room for, and takes it when there is some.
#[test]
fn a_start_on_a_full_disk_has_all_that_was_acknowledged() {
    let (mut refused, mut torn) = (0, 0);
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut world = small(seed);
        let (mut number, mut acknowledged) = (2, Vec::new());
        let mut go_on = |world: &mut World, random: &mut Random, times: u64| {
            for _ in 0..times {
                number += 1;
                publish(world, number);
                world.turn(ShardId(0));
                for _ in 0..random.below(4) {
                    let mut random = Random(random.next());
                    world.step(&mut random);
                }
                if random.one_in(4) {
                    world.pass(SECOND);
                }
                for (_, _, said) in world.said() {
                    match said {
                        Said::Published(Ok(ack)) => acknowledged.push(ack.seq),
                        Said::Published(Err(error)) if error.kind == Kind::Full => refused += 1,
                        _ => {}
                    }
                }
                if world.disk.is_halted() {
                    break;
                }
            }
            (number, acknowledged.clone())
        };
        go_on(&mut world, &mut random, 5);
        world.disk.limit(Some(world.disk.used() + random.below(6000)));
        for round in 0..3 {
            if random.one_in(2) {
                world.disk.end_at(1 + random.below(60));
            }
            let (_, acknowledged) = go_on(&mut world, &mut random, 30);
            torn += u64::from(world.disk.is_halted());
            restart(&mut world);
            world.look(ShardId(0), 1, STREAM);
            world.turn(ShardId(0));
            let said = world.said();
            let there: Vec<Seq> = match said.iter().find(|(number, ..)| *number == 1) {
                Some((_, _, Said::Looked(Ok(look)))) => look.messages.iter().map(|message| message.seq).collect(),
                _ => panic!("seed {seed}, round {round}: it cannot be looked at"),
            };
            let missing: Vec<&Seq> = acknowledged.iter().filter(|seq| !there.contains(seq)).collect();
            assert!(
                missing.is_empty(),
                "seed {seed}, round {round}: {missing:?} of {acknowledged:?}"
            );
        }
        world.disk.limit(None);
        world.pass(20 * SECOND);
        world.turn(ShardId(0));
        let (_, before) = go_on(&mut world, &mut random, 0);
        let (_, after) = go_on(&mut world, &mut random, 2);
        assert!(after.len() > before.len(), "seed {seed}: there is room again");
    }
    assert!(refused > 100 && torn > 50, "{refused} refused, {torn} ended in a call");
}

/// What a start finds no room for in a stream's log goes there when there is some: the next checkpoint counts on it, and lets go of the journal
/// that has it.
#[test]
fn what_a_start_had_no_room_for_is_in_the_log_before_the_journal_is_freed() {
    let mut without_room = 0;
    for extra in (0..6000).step_by(150) {
        let shape = Shape {
            checkpoint_bytes: 1 << 20,
            ..SMALL
        };
        let mut world = World::new(extra, shape);
        world.open().expect("the store opens");
        create(&world);
        world.turn(ShardId(0));
        world.disk.limit(Some(world.disk.used() + extra));
        let mut acknowledged = 0;
        for number in 2..40 {
            publish(&world, number);
            world.turn(ShardId(0));
            acknowledged += u64::from(is_done(&mut world, number));
        }
        restart(&mut world);
        let trouble = world.store().store().catalogue().trouble().unwrap_or_default();
        let is_unwritten = trouble.contains("stream S: ");
        without_room += u64::from(is_unwritten);
        world.disk.limit(None);
        world.pass(2 * SECOND);
        world.turn(ShardId(0));
        assert_eq!(
            world.store().store().catalogue().trouble(),
            None,
            "{extra}: there is room"
        );
        world.close();
        world.open().expect("the store opens");
        let entry = world.store().store().catalogue().by_id(STREAM);
        let there = entry.expect("the stream").stats.messages();
        assert_eq!(there, acknowledged, "{extra}, {is_unwritten}");
    }
    assert!(without_room > 3, "{without_room} starts without room for a log");
}

/// Seed 6007594 of replicas: an id had left the window for the leader, who looked at the clock, and not for those that follow, when the window
/// became longer.
#[test]
fn an_id_that_left_the_window_before_it_became_longer_is_gone_everywhere() {
    let window = |window| StreamConfig {
        name: "S".into(),
        subjects: vec!["s.>".into()],
        duplicate_window: window,
        ..StreamConfig::default()
    };
    let settings = Settings::of(&window(SECOND), &Defaults::default()).expect("settings make sense");
    let mut world = small(1);
    world.begin_twin();
    let update = |world: &World, number, nanos| {
        world.ask(ShardId(0), number, move |shard| {
            shard.update_stream(STREAM, window(nanos), settings)
        });
    };
    update(&world, 2, SECOND);
    world.turn(ShardId(0));
    let headers = b"NATS/1.0\r\nNats-Msg-Id: a\r\n\r\n";
    let input = Input::Publish {
        stream: STREAM,
        subject: "s.a".into(),
        headers_len: headers.len(),
        body: Bytes::from_static(headers),
        ticket: world.ticket(3),
    };
    world.submit(ShardId(0), input);
    world.turn(ShardId(0));
    world.pass(SECOND);
    world.turn(ShardId(0));
    update(&world, 4, 2 * SECOND);
    world.turn(ShardId(0));
    assert!(is_done(&mut world, 4));
    world.check_twin(true, "an id that left the window");
}

/// Seed 505872: messages had grown too old, some of them went, and the next one could not be read; of those that had gone no consumer
/// was told in that turn, and it counted them as still to be sent.
#[test]
fn what_went_before_a_read_failed_is_counted_no_more() {
    let shape = Shape {
        checkpoint_bytes: 1 << 20,
        segment_bytes: 1 << 20,
        ..SMALL
    };
    let mut partly = 0;
    for n in 1..6 {
        let mut world = World::new(n, shape);
        world.open().expect("the store opens");
        let config = StreamConfig {
            max_age: 10 * SECOND,
            ..StreamConfig::default()
        };
        create_as(&world, config);
        world.ask(ShardId(0), 1, |shard| shard.create_consumer(STREAM, consumer()));
        world.begin_twin();
        for number in 2..32 {
            // As long as that they are not kept in memory for the consumer.
            let input = Input::Publish {
                stream: STREAM,
                subject: "s.a".into(),
                headers_len: 0,
                body: vec![0; 9_000].into(),
                ticket: world.ticket(number),
            };
            world.submit(ShardId(0), input);
            world.turn(ShardId(0));
            if number == 12 {
                // Those so far are read, and no file has to be mapped for them again.
                world.look(ShardId(0), 90, STREAM);
                world.turn(ShardId(0));
            }
        }
        world.settle(&mut Random(n));
        world.pass(20 * SECOND);
        world.disk.fail_at(n, Failure::Io, false);
        for _ in 0..8 {
            world.turn(ShardId(0));
            let entry = world.store().store().catalogue().by_id(STREAM).expect("the stream");
            partly += usize::from((1..30).contains(&entry.stats.messages()));
            world.check_twin(false, &format!("call {n} failed"));
            if world.store().errands() > 0 {
                world.store().step_errand(0);
            }
        }
    }
    assert!(partly > 0, "no call failed between two messages");
}

/// Publishes with a message id, in a turn of its own; answers whether it was a duplicate, if it was answered.
fn publish_id(world: &mut World, number: u64, id: &str, body: usize) -> Option<bool> {
    let headers = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n");
    let headers_len = headers.len();
    let mut bytes = headers.into_bytes();
    bytes.resize(headers_len + body, 0);
    let input = Input::Publish {
        stream: STREAM,
        subject: "s.a".into(),
        headers_len,
        body: bytes.into(),
        ticket: world.ticket(number),
    };
    world.submit(ShardId(0), input);
    world.turn(ShardId(0));
    world.said().into_iter().find_map(|(of, _, said)| match said {
        Said::Published(Ok(ack)) if of == number => Some(ack.duplicate),
        _ => None,
    })
}

/// Gives the stream another duplicate window.
fn widen(world: &mut World, number: u64, window: i64) {
    let config = StreamConfig {
        name: "S".into(),
        subjects: vec!["s.>".into()],
        duplicate_window: window,
        ..StreamConfig::default()
    };
    let settings = Settings::of(&config, &Defaults::default()).expect("settings make sense");
    world.ask(ShardId(0), number, move |shard| {
        shard.update_stream(STREAM, config, settings)
    });
    world.turn(ShardId(0));
    assert!(is_done(world, number));
}

/// Closed, and opened once more.
fn close_and_open(world: &mut World) {
    world.close();
    restart(world);
}

/// Of ids that a checkpoint keeps together, one had left the window before it became longer.
#[test]
fn an_id_that_left_the_window_before_it_became_longer_stays_gone() {
    let mut world = small(1);
    widen(&mut world, 2, SECOND);
    assert_eq!(publish_id(&mut world, 3, "a", 0), Some(false));
    world.pass(SECOND / 2);
    assert_eq!(publish_id(&mut world, 4, "b", 0), Some(false));
    close_and_open(&mut world);
    world.pass(SECOND / 2);
    world.turn(ShardId(0));
    widen(&mut world, 5, 20 * SECOND);
    close_and_open(&mut world);
    assert_eq!(publish_id(&mut world, 6, "b", 0), Some(true));
    assert_eq!(publish_id(&mut world, 7, "a", 0), Some(false));
}

/// Seeds 7001598 and 880001231 of replicas: the process ends in a checkpoint that has written ids and no snapshots.
#[test]
fn an_id_is_no_duplicate_beyond_its_window_after_a_crash_in_a_checkpoint() {
    let shape = Shape {
        checkpoint_bytes: 3000,
        ..SMALL
    };
    for stages in 0..5 {
        let mut world = World::new(1, shape);
        world.open().expect("the store opens");
        create(&world);
        world.turn(ShardId(0));
        widen(&mut world, 2, 2 * SECOND);
        close_and_open(&mut world);
        world.turn(ShardId(0));
        assert_eq!(publish_id(&mut world, 3, "a", 10), Some(false));
        world.pass(3 * SECOND);
        assert_eq!(publish_id(&mut world, 4, "b", 3500), Some(false));
        assert_eq!(world.store().errands(), 1, "a checkpoint");
        for _ in 0..stages {
            world.store().step_errand(0);
        }
        restart(&mut world);
        world.pass(SECOND / 10);
        assert_eq!(
            publish_id(&mut world, 5, "a", 10),
            Some(false),
            "killed behind {stages} stages"
        );
    }
}
