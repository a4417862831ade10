//! Large bodies that are in a stream's log alone, and what is left of their turns when the process ends or the power goes in the middle.

use std::path::Path;

use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::Failure;
use weir_engine::conformance::model::Dice;
use weir_engine::consumer::ConsumerConfig;
use weir_engine::shard::Input;
use weir_engine::store::AsideSizes;
use weir_engine::stream::settings::{Defaults, Settings};
use weir_engine::stream::{Purge, StreamConfig};
use weir_engine::{Backend, LogId, LogOptions, SECOND, ShardId, StreamId};

use crate::named::{SMALL, STREAM, create_as, restart};
use crate::support::{ACCOUNT, Random};
use crate::world::{Look, Said, Shape, World};

/// Bytes of a body that is in the log alone, and of one that is not.
const BODIES: [usize; 2] = [3_000, 30];
/// More calls of the disk than a turn of these tests makes.
const MANY: u64 = 60;

/// A store whose stream holds one message of each subject; bodies of 1,000 bytes and more are in its log alone.
fn keeping(seed: u64, hurries: bool, durability: &str) -> World {
    keeping_with(seed, hurries, durability, 1 << 20)
}

/// The same, with a checkpoint for each so many bytes of the journal.
fn keeping_with(seed: u64, hurries: bool, durability: &str, checkpoint_bytes: usize) -> World {
    let mut world = World::new(
        seed,
        Shape {
            hurries,
            checkpoint_bytes,
            segment_bytes: 64 << 10,
            aside: AsideSizes { body: 1_000, synced: 0 },
            ..SMALL
        },
    );
    world.open().expect("the store opens");
    let config = StreamConfig {
        max_msgs_per_subject: 1,
        duplicate_window: 120 * SECOND,
        metadata: [("weir.durability".to_owned(), durability.to_owned())].into(),
        ..StreamConfig::default()
    };
    create_as(&world, config);
    world.turn(ShardId(0));
    world
}

/// Publishes a value of the key: so many bytes, each of which is the number.
fn put(world: &World, number: u8, len: usize) {
    put_with(world, number, len, "");
}

/// The same, with these headers.
fn put_with(world: &World, number: u8, len: usize, headers: &str) {
    let input = Input::Publish {
        stream: STREAM,
        subject: "s.key".into(),
        headers_len: headers.len(),
        body: [headers.as_bytes(), &vec![number; len]].concat().into(),
        ticket: world.ticket(u64::from(number)),
    };
    world.submit(ShardId(0), input);
}

/// Whether a publish was answered, and well.
fn is_stored(world: &mut World, number: u8) -> bool {
    let said = world.said();
    said.iter()
        .any(|(of, _, said)| *of == u64::from(number) && matches!(said, Said::Published(Ok(_))))
}

fn look(world: &mut World) -> Box<Look> {
    world.look(ShardId(0), 900, STREAM);
    for _ in 0..4 {
        world.turn(ShardId(0));
    }
    let said = world.said().into_iter();
    let mut looks = said.filter_map(|(_, _, said)| match said {
        Said::Looked(Ok(look)) => Some(look),
        _ => None,
    });
    looks.next().expect("what there is of the stream")
}

/// The value of the key.
fn value(look: &Look) -> (u8, usize) {
    let [message] = &look.messages[..] else {
        panic!("one message, not {}", look.messages.len());
    };
    let body = &message.payload;
    (body[0], body.len())
}

#[test]
fn a_large_body_is_in_the_log_and_not_in_the_journal() {
    let mut world = keeping(1, false, "sync");
    for number in 1..20 {
        put(&world, number, BODIES[0]);
        world.turn(ShardId(0));
        assert!(is_stored(&mut world, number));
    }
    world.kill();
    world.disk.boot();
    let backend = SegmentBackend::open_read_only_on(&world.disk, Path::new("/store")).expect("the backend opens");
    let (journal, _) = backend
        .open(LogId(1), &LogOptions::default())
        .expect("the journal opens");
    let bytes = journal.reader().extent().bytes;
    assert!(bytes < 19 * 200, "{bytes} bytes");
    drop((journal, backend));
    world.open().expect("the store opens");
    let look = look(&mut world);
    assert_eq!((value(&look), look.lost), ((19, BODIES[0]), 0));
}

/// Whatever the process or the disk does in the middle of the turn that stores a new value: what was answered is there, else the new one or
/// the old one, and never neither, for the limit that removes the old one is a part of the same turn.
fn in_the_middle(hurries: bool, durability: &str, power: bool) {
    let mut cut = 0;
    for (first, second) in [(0, 0), (1, 0), (0, 1)] {
        for at in 1..MANY {
            let mut world = keeping(at, hurries, durability);
            put(&world, 1, BODIES[first]);
            world.turn(ShardId(0));
            world.settle(&mut Random(at));
            assert!(is_stored(&mut world, 1));
            if power {
                // What nobody waited for may go: it is to be on the disk.
                restart(&mut world);
                let _ = look(&mut world);
            }
            world.disk.end_at(at);
            put(&world, 2, BODIES[second]);
            world.turn(ShardId(0));
            let is_whole = !world.disk.is_halted();
            world.settle(&mut Random(at));
            let is_answered = is_stored(&mut world, 2);
            if power {
                world.disk.lose_power(&mut Dice::new(at));
            }
            restart(&mut world);
            let look = look(&mut world);
            let what = format!("bodies {first}, {second}, the process ends at call {at}");
            let (number, len) = value(&look);
            assert_eq!(len, BODIES[if number == 1 { first } else { second }], "{what}");
            assert!(number == 2 || !is_answered || durability != "sync" && power, "{what}");
            assert_eq!(look.lost, 0, "{what}");
            cut += u32::from(number == 1 && !is_answered);
            if is_whole {
                break;
            }
        }
    }
    assert!(cut > 0, "the process never ended before the new value was there");
}

#[test]
fn a_killed_process_leaves_the_new_value_or_the_old_one() {
    for hurries in [false, true] {
        for durability in ["sync", "os"] {
            in_the_middle(hurries, durability, false);
        }
    }
}

#[test]
fn a_power_cut_leaves_the_new_value_or_the_old_one() {
    for hurries in [false, true] {
        in_the_middle(hurries, "sync", true);
    }
}

#[test]
fn the_id_of_what_was_given_up_is_free_also_after_the_log_has_its_sequence() {
    const ID: &str = "NATS/1.0\r\nNats-Msg-Id: two\r\n\r\n";
    let mut given_up = 0;
    for at in 1..MANY {
        let mut world = keeping(at, false, "sync");
        put(&world, 1, BODIES[0]);
        world.turn(ShardId(0));
        world.disk.end_at(at);
        put_with(&world, 2, BODIES[0], ID);
        world.turn(ShardId(0));
        let is_whole = !world.disk.is_halted();
        restart(&mut world);
        if value(&look(&mut world)).0 == 1 {
            given_up += 1;
            put(&world, 3, BODIES[0]);
            world.turn(ShardId(0));
            assert!(is_stored(&mut world, 3), "{at}");
            restart(&mut world);
            put_with(&world, 4, BODIES[0], ID);
            world.turn(ShardId(0));
            let said = world.said();
            let is_new = |said: &Said| matches!(said, Said::Published(Ok(ack)) if !ack.duplicate);
            assert!(
                said.iter().any(|(number, _, said)| *number == 4 && is_new(said)),
                "{at}"
            );
            assert_eq!(value(&look(&mut world)), (4, BODIES[0]), "{at}");
        }
        if is_whole {
            break;
        }
    }
    assert!(given_up > 0, "the process never ended between the journal and the log");
}

#[test]
fn where_the_log_cannot_take_the_body_nobody_is_told_that_it_is_stored() {
    for failure in [Failure::Io, Failure::Full] {
        let mut failed = 0;
        for at in 1..MANY {
            let mut world = keeping(at, false, "sync");
            put(&world, 1, BODIES[0]);
            world.turn(ShardId(0));
            assert!(is_stored(&mut world, 1));
            world.disk.fail_at(at, failure, false);
            put(&world, 2, BODIES[0]);
            world.turn(ShardId(0));
            let is_whole = world.disk.calls() < at;
            world.settle(&mut Random(at));
            let is_answered = is_stored(&mut world, 2);
            world.pass(60 * SECOND);
            world.settle(&mut Random(at));
            let seen = look(&mut world);
            let what = format!("{failure:?} at call {at}");
            let (number, len) = value(&seen);
            assert_eq!(len, BODIES[0], "{what}");
            assert!(number == 2 || !is_answered, "{what}");
            assert_eq!(seen.lost, 0, "{what}");
            failed += u32::from(!is_answered);
            if is_whole {
                break;
            }
            restart(&mut world);
            assert_eq!(value(&look(&mut world)).0, number, "{what}");
            // It goes on as if nothing had been.
            put(&world, 3, BODIES[0]);
            world.settle(&mut Random(at));
            assert!(is_stored(&mut world, 3), "{what}");
        }
        assert!(failed > 0, "{failure:?} never came to the turn");
    }
}

#[test]
fn what_a_log_could_not_take_is_there_after_the_journal_was_moved() {
    let mut moved = 0;
    for at in 1..MANY {
        let mut world = keeping_with(at, false, "sync", 500);
        world.disk.fail_at(at, Failure::Io, false);
        put(&world, 1, BODIES[0]);
        world.turn(ShardId(0));
        let is_whole = world.disk.calls() < at;
        let is_answered = is_stored(&mut world, 1);
        // Checkpoints are written, and what the stream needs of the journal goes to its end: no time passes, so that it stays offline.
        let mut dice = Random(at);
        for _ in 0..200 {
            world.step(&mut dice);
        }
        let is_offline = world.store().store().catalogue().offline() > 0;
        moved += u32::from(is_answered && is_offline);
        restart(&mut world);
        if is_answered {
            assert_eq!(value(&look(&mut world)), (1, BODIES[0]), "a call fails, the {at}th");
        }
        if is_whole {
            break;
        }
    }
    assert!(moved > 0, "no log refused what the journal then had");
}

/// Not of large bodies: what is moved has the numbers that it had first, also where the log fails once more.
#[test]
fn what_was_moved_is_there_though_the_next_start_cannot_write_the_log() {
    let offline = |at: u64| {
        let mut world = keeping_with(1, false, "sync", 500);
        world.disk.fail_at(at, Failure::Io, false);
        for number in 1..40 {
            put(&world, number, BODIES[1]);
        }
        world.turn(ShardId(0));
        let is_answered = is_stored(&mut world, 39);
        let mut dice = Random(at);
        for _ in 0..200 {
            world.step(&mut dice);
        }
        (is_answered && world.store().store().catalogue().offline() > 0).then_some(world)
    };
    let broken = (1..MANY).find(|at| offline(*at).is_some()).expect("a call that fails");
    let mut failed = 0;
    for at in 1..4 * MANY {
        let mut world = offline(broken).expect("as before");
        world.kill();
        world.disk.fail_at(at, Failure::Io, false);
        let is_open = world.open().is_ok();
        let is_whole = world.disk.calls() < at;
        if !is_open {
            continue;
        }
        failed += u32::from(world.store().store().catalogue().offline() > 0);
        world.pass(60 * SECOND);
        world.settle(&mut Random(at));
        world.pass(60 * SECOND);
        world.settle(&mut Random(at));
        assert_eq!(value(&look(&mut world)), (39, BODIES[1]), "the {at}th call fails");
        if is_whole {
            break;
        }
    }
    assert!(failed > 0, "no start was without the stream");
}

/// The process ends between the journal and the log, and the next start cannot open the stream: what its log lacks is seen when it is
/// opened anew.
#[test]
fn what_is_opened_anew_is_looked_at_as_well() {
    let mut was_offline = 0;
    for at in 1..MANY {
        let ended = |at: u64| {
            let mut world = keeping(at, false, "sync");
            put(&world, 1, BODIES[0]);
            world.turn(ShardId(0));
            world.disk.end_at(at);
            put(&world, 2, BODIES[0]);
            world.turn(ShardId(0));
            let is_whole = !world.disk.is_halted();
            world.kill();
            (world, is_whole)
        };
        if ended(at).1 {
            break;
        }
        for failing in 1..4 * MANY {
            let (mut world, _) = ended(at);
            world.disk.fail_at(failing, Failure::Io, false);
            let is_open = world.open().is_ok();
            let is_done = world.disk.calls() < failing;
            if is_open && world.store().store().catalogue().offline() > 0 {
                was_offline += 1;
                let what = format!("the process ends at call {at}, the start fails at call {failing}");
                for _ in 0..2 {
                    world.pass(60 * SECOND);
                    world.settle(&mut Random(at));
                }
                let seen = look(&mut world);
                assert_eq!((value(&seen).1, seen.lost), (BODIES[0], 0), "{what}");
                let next = put_and_restart(&mut world, 3, &what);
                assert_eq!(next, (3, BODIES[0]), "{what}");
            }
            if is_done {
                break;
            }
        }
    }
    assert!(was_offline > 0, "no start was without the stream");
}

/// Another stream beside the one of these tests.
const OTHER: StreamId = StreamId(301);

fn create_other(world: &World) {
    let config = StreamConfig {
        name: "T".into(),
        subjects: vec!["t.>".into()],
        metadata: [("weir.durability".to_owned(), "sync".to_owned())].into(),
        ..StreamConfig::default()
    };
    let settings = Settings::of(&config, &Defaults::default()).expect("settings make sense");
    world.ask(ShardId(0), 1, move |shard| {
        shard.create_stream(OTHER, &ACCOUNT.into(), config, settings)
    });
}

/// Publishes to it.
fn put_other(world: &World, len: usize) {
    let input = Input::Publish {
        stream: OTHER,
        subject: "t.key".into(),
        headers_len: 0,
        body: vec![3; len].into(),
        ticket: world.ticket(3),
    };
    world.submit(ShardId(0), input);
}

/// The journal has no room for what says that a turn does not count, when its stream is opened anew: the whole shard was opened anew each
/// second.
#[test]
fn what_does_not_count_and_finds_no_room_in_the_journal_keeps_its_stream_alone_offline() {
    let mut waited = 0;
    for at in (1..MANY).step_by(3) {
        let ended = || {
            let shape = Shape {
                checkpoint_bytes: 1 << 20,
                aside: AsideSizes { body: 1_000, synced: 0 },
                ..SMALL
            };
            let mut world = World::new(at, shape);
            world.open().expect("the store opens");
            let config = StreamConfig {
                metadata: [("weir.durability".to_owned(), "sync".to_owned())].into(),
                ..StreamConfig::default()
            };
            create_as(&world, config);
            create_other(&world);
            (0..900).for_each(|_| put_other(&world, 1));
            put(&world, 1, BODIES[0]);
            world.turn(ShardId(0));
            world.disk.end_at(at);
            put(&world, 2, BODIES[0]);
            world.turn(ShardId(0));
            let is_whole = !world.disk.is_halted();
            world.kill();
            (world, is_whole)
        };
        if ended().1 {
            break;
        }
        let is_offline = |world: &World| world.store().store().catalogue().offline() > 0;
        let offline = (1..4 * MANY).find_map(|failing| {
            let (mut world, _) = ended();
            world.disk.fail_at(failing, Failure::Io, false);
            let is_alone = world.open().is_ok() && is_offline(&world) && !world.store().is_broken(ShardId(0));
            is_alone.then_some(world)
        });
        let Some(mut world) = offline else { continue };
        world.disk.fail_at(0, Failure::Io, false);
        world.disk.limit(Some(world.disk.used()));
        // All that goes on while the disk is full, until that has no room either.
        let before = world.store().openings(ShardId(0));
        for number in 0..40 {
            let config = ConsumerConfig {
                durable_name: format!("c{number}"),
                name: format!("c{number}"),
                description: "d".repeat(300),
                ..ConsumerConfig::default()
            };
            world.ask(ShardId(0), 5, move |shard| shard.create_consumer(OTHER, config));
            world.turn(ShardId(0));
        }
        for seq in 1..900 {
            world.ask(ShardId(0), seq, move |shard| shard.delete_message(OTHER, seq, false));
            world.turn(ShardId(0));
            if world.store().openings(ShardId(0)) > before {
                break;
            }
        }
        let before = world.store().openings(ShardId(0));
        for _ in 0..30 {
            world.pass(SECOND);
            for _ in 0..4 {
                world.turn(ShardId(0));
                (0..world.store().errands()).for_each(|_| world.store().step_errand(0));
            }
        }
        let opened = world.store().openings(ShardId(0)) - before;
        assert_eq!(opened, 0, "the process ends at call {at}");
        waited += usize::from(is_offline(&world));
        world.disk.limit(None);
        world.pass(60 * SECOND);
        world.settle(&mut Random(at));
        assert!(!is_offline(&world), "there is room");
    }
    assert!(waited > 0, "no stream waited for room in the journal");
}

/// A stream that has gone offline has bodies that only its log has, and that is not synced: somebody waits for another stream to be on disk,
/// and the shard goes on meanwhile.
#[test]
fn what_a_stream_left_that_went_offline_is_synced_beside_the_shard() {
    let mut was_offline = 0;
    for failing in 1..20 {
        let mut world = keeping(failing, true, "os");
        create_other(&world);
        put(&world, 1, BODIES[0]);
        world.turn(ShardId(0));
        world.settle(&mut Random(failing));
        world.disk.fail_at(failing, Failure::Io, false);
        put(&world, 2, BODIES[0]);
        world.turn(ShardId(0));
        if world.store().store().catalogue().offline() == 0 {
            continue;
        }
        world.disk.fail_at(0, Failure::Io, false);
        was_offline += 1;
        world.said();
        put_other(&world, BODIES[0]);
        world.turn(ShardId(0));
        let mut steps = 0;
        while !is_stored(&mut world, 3) {
            assert!(steps < 20, "call {failing} failed");
            world.store().step_errand(0);
            steps += 1;
            world.turn(ShardId(0));
        }
        // The journal, and then the logs.
        assert!(steps > 1, "call {failing} failed: {steps}");
    }
    assert!(was_offline > 0, "no call took the stream offline");
}

/// Stores one more value, which must be answered; the process is killed, and this is the value then.
fn put_and_restart(world: &mut World, number: u8, what: &str) -> (u8, usize) {
    put(world, number, BODIES[0]);
    world.settle(&mut Random(1));
    assert!(is_stored(world, number), "{what}");
    restart(world);
    let seen = look(world);
    assert_eq!(seen.lost, 0, "{what}");
    value(&seen)
}

/// Several turns land together, and the log takes the first and not the last: the power goes then, and whoever was answered finds his value.
#[test]
fn of_turns_that_land_together_the_log_may_have_some() {
    let mut refused = 0;
    for at in 1..2 * MANY {
        let mut world = keeping(at, true, "sync");
        world.disk.fail_at(at, Failure::Io, false);
        for number in 1..7 {
            put(&world, number, BODIES[0]);
            world.turn(ShardId(0));
        }
        let mut dice = Random(at);
        for _ in 0..40 {
            world.step(&mut dice);
        }
        let is_whole = world.disk.calls() < at;
        refused += u32::from(world.store().store().catalogue().offline() > 0);
        let said = world.said();
        let answered = said
            .iter()
            .filter(|(_, _, said)| matches!(said, Said::Published(Ok(_))));
        let last = answered.map(|(number, ..)| *number).max().unwrap_or(0);
        world.disk.lose_power(&mut Dice::new(at));
        restart(&mut world);
        world.pass(60 * SECOND);
        world.settle(&mut Random(at));
        let seen = look(&mut world);
        let what = format!("call {at} fails, {last} was answered");
        assert_eq!(seen.lost, 0, "{what}");
        if last > 0 {
            assert!(u64::from(value(&seen).0) >= last, "{what}");
        }
        if is_whole {
            break;
        }
    }
    assert!(refused > 0, "no log refused a turn");
}

/// What a turn stores and removes again never comes to the log: the turn counts all the same.
#[test]
fn what_was_removed_in_its_own_turn_is_not_missed() {
    for hurries in [false, true] {
        let mut world = keeping(1, hurries, "sync");
        put(&world, 1, BODIES[0]);
        world.turn(ShardId(0));
        put(&world, 2, BODIES[0]);
        world.ask(ShardId(0), 500, move |shard| shard.purge(STREAM, &Purge::default()));
        put(&world, 3, BODIES[1]);
        world.turn(ShardId(0));
        world.settle(&mut Random(1));
        assert!(is_stored(&mut world, 3));
        restart(&mut world);
        let seen = look(&mut world);
        assert_eq!((value(&seen), seen.lost), ((3, BODIES[1]), 0));
    }
}

/// Where a log was synced is said of it alone, and goes with its records when the journal is moved: what is damaged later is lost, and told
/// so, and nothing else of the stream is given up.
#[test]
fn what_was_synced_and_is_damaged_later_is_lost_and_not_given_up() {
    let mut world = keeping(1, false, "sync");
    for number in 1..4 {
        put(&world, number, BODIES[0]);
        world.turn(ShardId(0));
    }
    put(&world, 4, BODIES[1]);
    world.turn(ShardId(0));
    world.settle(&mut Random(1));
    world.kill();
    // In front of the third value.
    cut_log(&world, 4 << 10);
    world.open().expect("the store opens");
    let seen = look(&mut world);
    assert!(seen.lost > 0);
    let findings = world.store().store().catalogue().findings();
    assert!(
        findings
            .iter()
            .any(|finding| finding.text.contains("lacks messages that it had")),
        "{findings:?}"
    );
    let next = put_and_restart_with_losses(&mut world);
    assert_eq!(next, (5, BODIES[0]));
    assert_eq!(
        world.store().store().catalogue().findings().len(),
        findings.len(),
        "it is told once"
    );
}

/// The files of the stream's log end after so many bytes.
fn cut_log(world: &World, len: usize) {
    let files = world.disk.files(Path::new("/store")).into_iter();
    let is_of_it = |path: &Path| path.to_string_lossy().contains(&format!("{}/", STREAM.log()));
    let segments = files.filter(|path| is_of_it(path) && path.extension().is_some_and(|extension| extension == "seg"));
    let segments: Vec<_> = segments.collect();
    assert!(!segments.is_empty(), "the log has files");
    for path in segments {
        world.disk.cut(&path, len).expect("the log is cut");
    }
}

/// The same of the very last message that was answered: the log loses it when the process has ended.
#[test]
fn the_last_that_was_answered_is_lost_and_not_given_up() {
    for hurries in [false, true] {
        let mut world = keeping(1, hurries, "sync");
        for number in 1..3 {
            put(&world, number, BODIES[0]);
            world.turn(ShardId(0));
            world.settle(&mut Random(1));
            assert!(is_stored(&mut world, number));
        }
        world.kill();
        cut_log(&world, 5 << 10);
        world.open().expect("the store opens");
        let findings = world.store().store().catalogue().findings();
        assert!(!findings.is_empty(), "it is told");
        assert_eq!(look(&mut world).lost, 1);
        put(&world, 3, BODIES[0]);
        world.settle(&mut Random(1));
        let said = world.said();
        let next = |said: &Said| matches!(said, Said::Published(Ok(ack)) if ack.seq == 1002);
        assert!(
            said.iter().any(|(_, _, said)| next(said)),
            "its sequence is no other's: {said:?}"
        );
    }
}

/// A file in the middle of a log ends too soon, of a stream that no checkpoint had yet: that was counted as lost, and health was good.
#[test]
fn what_a_log_lost_in_the_middle_is_told_before_the_first_checkpoint_too() {
    let shape = Shape {
        checkpoint_bytes: 1 << 20,
        segment_bytes: 8 << 10,
        aside: AsideSizes { body: 1_000, synced: 0 },
        ..SMALL
    };
    let mut world = World::new(1, shape);
    world.open().expect("the store opens");
    let config = StreamConfig {
        metadata: [("weir.durability".to_owned(), "sync".to_owned())].into(),
        ..StreamConfig::default()
    };
    create_as(&world, config);
    for number in 1..12 {
        put(&world, number, BODIES[0]);
        world.settle(&mut Random(1));
        assert!(is_stored(&mut world, number));
    }
    world.kill();
    let folder = Path::new("/store/logs").join(STREAM.log().to_string());
    let mut segments = world.disk.files(&folder);
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    segments.sort();
    assert!(segments.len() > 3, "{segments:?}");
    world.disk.cut(&segments[1], 1 << 10).expect("the log is cut");
    for round in 0..3 {
        world.open().expect("the store opens");
        let seen = look(&mut world);
        assert_eq!(seen.messages.len() as u64 + seen.lost, 11 + round);
        assert!(seen.lost > 0);
        let findings = world.store().store().catalogue().findings();
        assert!(
            matches!(&findings[..], [one] if one.text.contains("lacks messages that it had")),
            "round {round}: {findings:?}"
        );
        put(&world, 100 + round as u8, BODIES[0]);
        world.settle(&mut Random(1));
        world.kill();
    }
}

fn put_and_restart_with_losses(world: &mut World) -> (u8, usize) {
    put(world, 5, BODIES[0]);
    world.settle(&mut Random(1));
    assert!(is_stored(world, 5));
    restart(world);
    value(&look(world))
}

/// What nobody was answered for, and a start finds in a log all the same, is on disk before anybody is told of it: here by the answer to
/// whoever publishes it once more.
#[test]
fn what_a_start_found_in_the_log_is_on_disk_before_a_duplicate_is_answered() {
    const ID: &str = "NATS/1.0\r\nNats-Msg-Id: two\r\n\r\n";
    let mut duplicates = 0;
    for at in 1..MANY {
        for dice in 0..24 {
            let mut world = keeping(at, false, "sync");
            put(&world, 1, BODIES[0]);
            world.turn(ShardId(0));
            world.disk.end_at(at);
            put_with(&world, 2, BODIES[0], ID);
            world.turn(ShardId(0));
            if !world.disk.is_halted() {
                assert!(duplicates > 0, "no start found what nobody was answered for");
                return;
            }
            restart(&mut world);
            put_with(&world, 2, BODIES[0], ID);
            world.turn(ShardId(0));
            let said = world.said();
            let is_known = |said: &Said| matches!(said, Said::Published(Ok(ack)) if ack.duplicate);
            if !said.iter().any(|(number, _, said)| *number == 2 && is_known(said)) {
                continue;
            }
            duplicates += 1;
            world.disk.lose_power(&mut Dice::new(dice));
            restart(&mut world);
            let seen = look(&mut world);
            assert_eq!(
                (value(&seen), seen.lost),
                ((2, BODIES[0]), 0),
                "the process ends at call {at}, dice {dice}"
            );
        }
    }
}

/// The last message of the stream is removed by the turn that stores it, and nothing comes behind it.
#[test]
fn the_last_message_may_be_removed_in_its_own_turn() {
    for hurries in [false, true] {
        for whole in [false, true] {
            let mut world = keeping(1, hurries, "sync");
            put(&world, 1, BODIES[0]);
            world.turn(ShardId(0));
            put(&world, 2, BODIES[0]);
            world.ask(ShardId(0), 500, move |shard| match whole {
                true => shard.purge(STREAM, &Purge::default()).map(|_| ()),
                false => shard.delete_message(STREAM, 1001, true).map(|_| ()),
            });
            world.turn(ShardId(0));
            world.settle(&mut Random(1));
            assert!(is_stored(&mut world, 2));
            for _ in 0..2 {
                restart(&mut world);
                let seen = look(&mut world);
                assert_eq!(
                    (seen.messages.len(), seen.state.last_seq, seen.lost),
                    (0, 1001, 0),
                    "{whole}"
                );
            }
            world.disk.lose_power(&mut Dice::new(1));
            restart(&mut world);
            let seen = look(&mut world);
            assert_eq!((seen.messages.len(), seen.state.last_seq, seen.lost), (0, 1001, 0));
        }
    }
}
/// Of two files that begin a log's first segment, both of which a power cut left without anything in them, neither is in the way of what comes
/// later: what is answered then is found again.
#[test]
fn what_is_left_of_files_that_were_never_finished_takes_nothing_with_it() {
    let folder = Path::new("/store/logs").join(STREAM.log().to_string());
    let segments = |world: &World| {
        let files = world.disk.files(&folder).into_iter();
        files
            .filter(|path| path.extension().is_some_and(|end| end == "seg"))
            .count()
    };
    let mut both = 0;
    for dice in 0..400 {
        let mut world = keeping(1, false, "sync");
        for number in [1, 2] {
            put(&world, number, BODIES[1]);
            world.turn(ShardId(0));
        }
        world.disk.lose_power(&mut Dice::new(dice));
        // The first start comes no further than to take away what is left of the file.
        let was_there = segments(&world) == 1;
        for end in 1..200 {
            world.kill();
            world.disk.end_at(end);
            if world.open().is_ok() && !world.disk.is_halted() || segments(&world) != 1 {
                break;
            }
        }
        if !was_there || segments(&world) > 0 {
            continue;
        }
        world.kill();
        world.disk.end_at(0);
        // The second makes another, of which nothing is left either.
        world.open().expect("the store opens");
        world.disk.lose_power(&mut Dice::new(dice));
        world.kill();
        both += u32::from(segments(&world) == 2);
        world.open().expect("the store opens");
        put(&world, 3, BODIES[0]);
        world.turn(ShardId(0));
        assert!(is_stored(&mut world, 3));
        restart(&mut world);
        let seen = look(&mut world);
        assert_eq!((value(&seen), seen.lost), ((3, BODIES[0]), 0), "{dice}");
    }
    assert!(both > 0, "no power cut left both");
}

/// The catalogue is as it was before there was the stream: its log becomes one again, with what the journal has of it.
#[test]
fn a_log_that_becomes_a_stream_again_has_what_was_answered() {
    let mut cut = 0;
    for at in 1..MANY {
        let mut world = World::new(
            1,
            Shape {
                checkpoint_bytes: 1 << 20,
                segment_bytes: 64 << 10,
                aside: AsideSizes { body: 1_000, synced: 0 },
                ..SMALL
            },
        );
        world.open().expect("the store opens");
        let folders = [Path::new("/store/kv"), Path::new("/store/kv2")];
        let earlier: Vec<_> = folders.iter().map(|folder| world.disk.contents(folder)).collect();
        create_as(
            &world,
            StreamConfig {
                max_msgs_per_subject: 1,
                ..StreamConfig::default()
            },
        );
        world.turn(ShardId(0));
        put(&world, 1, BODIES[0]);
        world.turn(ShardId(0));
        world.close();
        world.disk.kill();
        world.open().expect("the store opens");
        for (number, body) in [(2, 0), (3, 1), (4, 0)] {
            put(&world, number, BODIES[body]);
            world.turn(ShardId(0));
            assert!(is_stored(&mut world, number));
        }
        world.disk.end_at(at);
        put(&world, 5, BODIES[0]);
        world.turn(ShardId(0));
        let is_whole = !world.disk.is_halted();
        world.kill();
        for (folder, earlier) in folders.iter().zip(&earlier) {
            for path in world.disk.files(folder) {
                world.disk.roll_back(&path, earlier).expect("a file that was there");
            }
        }
        world.open().expect("the store opens");
        world.turn(ShardId(0));
        world.ask(ShardId(0), 500, |shard| {
            shard.adopt(weir_engine::LogRef {
                backend: weir_engine::stream::settings::BackendKind::Segment,
                id: STREAM.log(),
            })
        });
        world.turn(ShardId(0));
        world.settle(&mut Random(1));
        let said = world.said();
        let adopted = said
            .iter()
            .any(|(number, _, said)| *number == 500 && matches!(said, Said::Done(Ok(()))));
        assert!(adopted, "{at}: {said:?}");
        let seen = look(&mut world);
        let (number, len) = value(&seen);
        assert_eq!((len, seen.lost), (BODIES[0], 0), "{at}");
        assert!(number == 5 || number == 4 && !is_whole, "{at}: {number}");
        cut += u32::from(number == 4);
        // The journal, whose beginning is gone, has the stream of before and the one that was made of its log.
        restart(&mut world);
        world.turn(ShardId(0));
        assert_eq!(world.store().store().catalogue().offline(), 0, "{at}");
        assert_eq!(value(&look(&mut world)), (number, len), "{at}");
        assert_eq!(put_and_restart(&mut world, 6, "then"), (6, BODIES[0]), "{at}");
        if is_whole {
            break;
        }
    }
    assert!(cut > 0);
}
