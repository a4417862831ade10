//! Turns that are decided and written while the journal is synced for those before them.

use weir_backends::segment::disk::Failure;
use weir_engine::conformance::model::Dice;
use weir_engine::shard::Input;
use weir_engine::{SECOND, ShardId};

use crate::named::{SMALL, STREAM, create, publish, restart};
use crate::support::Random;
use crate::world::{Said, Shape, World};

/// Turns in flight, at most.
const MOST: u64 = 8;

/// A store with one stream, whose shard goes on while its journal is synced: that is an errand.
fn hurried(seed: u64) -> World {
    let mut world = World::new(
        seed,
        Shape {
            hurries: true,
            checkpoint_bytes: 1 << 20,
            ..SMALL
        },
    );
    world.open().expect("the store opens");
    create(&world);
    world.turn(ShardId(0));
    assert_eq!(answered(&mut world), [(1, true)]);
    world
}

/// Who was answered since this was last asked, in order, and whether well.
fn answered(world: &mut World) -> Vec<(u64, bool)> {
    let said = world.said();
    let answers = said.iter().filter_map(|(number, _, said)| match said {
        Said::Done(result) => Some((*number, result.is_ok())),
        Said::Published(result) => Some((*number, result.is_ok())),
        Said::Looked(result) => Some((*number, result.is_ok())),
        _ => None,
    });
    answers.collect()
}

/// How many messages others are told that the stream holds.
fn shown(world: &World) -> u64 {
    let entry = world.store().store().catalogue().by_id(STREAM);
    entry.expect("the stream").stats.messages()
}

fn publish_turn(world: &mut World, number: u64) {
    publish(world, number);
    world.turn(ShardId(0));
}

#[test]
fn nobody_sees_anything_of_a_turn_before_it_is_on_disk() {
    let mut world = hurried(1);
    publish_turn(&mut world, 2);
    publish_turn(&mut world, 3);
    assert_eq!((answered(&mut world), shown(&world)), (vec![], 0));
    assert_eq!(world.store().errands(), 1, "one sync for both");
    world.store().step_errand(0);
    assert_eq!((answered(&mut world), shown(&world)), (vec![], 0));
    world.turn(ShardId(0));
    assert_eq!((answered(&mut world), shown(&world)), (vec![(2, true), (3, true)], 2));
    // Power that fails now costs nothing.
    world.disk.lose_power(&mut Dice::new(1));
    restart(&mut world);
    assert_eq!(shown(&world), 2);
}

#[test]
fn a_turn_that_is_written_during_a_sync_waits_for_the_next_one() {
    let mut world = hurried(2);
    publish_turn(&mut world, 2);
    world.store().step_errand(0);
    // Written when that sync was over, and before anybody looked.
    publish_turn(&mut world, 3);
    assert_eq!((answered(&mut world), shown(&world)), (vec![(2, true)], 1));
    world.store().step_errand(0);
    world.turn(ShardId(0));
    assert_eq!((answered(&mut world), shown(&world)), (vec![(3, true)], 2));
}

#[test]
fn a_call_waits_for_all_that_is_in_flight() {
    let mut world = hurried(3);
    publish_turn(&mut world, 2);
    publish_turn(&mut world, 3);
    world.ask(ShardId(0), 4, |shard| shard.stream(STREAM)?.state());
    world.turn(ShardId(0));
    assert_eq!(answered(&mut world), [(2, true), (3, true), (4, true)]);
    assert_eq!(shown(&world), 2);
}

#[test]
fn no_more_turns_are_in_flight_than_may_be() {
    let mut world = hurried(4);
    for number in 2..2 + MOST {
        publish_turn(&mut world, number);
    }
    assert_eq!(answered(&mut world), []);
    publish_turn(&mut world, 2 + MOST);
    let all: Vec<_> = (2..2 + MOST).map(|number| (number, true)).collect();
    assert_eq!(answered(&mut world), all, "one sync was waited for, which covers all");
}

#[test]
fn who_waits_for_a_sync_that_fails_is_told_so() {
    let mut world = hurried(5);
    publish_turn(&mut world, 2);
    publish_turn(&mut world, 3);
    world.disk.fail_at(1, Failure::Io, false);
    world.store().step_errand(0);
    publish(&world, 4);
    world.turn(ShardId(0));
    assert_eq!(answered(&mut world), [(2, false), (3, false), (4, false)]);
    world.pass(60 * SECOND);
    world.settle(&mut Random(5));
    publish(&world, 5);
    world.settle(&mut Random(6));
    assert_eq!(answered(&mut world), [(5, true)]);
}

#[test]
fn what_ends_with_turns_in_flight_answers_nobody() {
    let mut world = hurried(6);
    publish_turn(&mut world, 2);
    world.submit(ShardId(0), Input::Abandon);
    world.turn(ShardId(0));
    assert_eq!(answered(&mut world), []);
    restart(&mut world);
    // A process that is killed takes nothing with it that was written.
    assert_eq!(shown(&world), 1);
}

#[test]
fn a_store_that_closes_lets_out_what_is_in_flight() {
    let mut world = hurried(7);
    publish_turn(&mut world, 2);
    world.close();
    assert_eq!(answered(&mut world), [(2, true)]);
    world.open().expect("the store opens");
    assert_eq!(shown(&world), 1);
}
