//! Removing many messages takes many turns: others are served in between, what was decided holds, and a crash in the middle
//! changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use Told::{Now, Then};
use support::between::{Rules, under};
use support::{Bench, Handle, Storage};
use weir_engine::consumer::{AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy, Preparation, PullRequest};
use weir_engine::shard::emit::{Emit, Outlet};
use weir_engine::shard::{InTurn, Input};
use weir_engine::stream::settings::IndexKind;
use weir_engine::stream::{
    Count, Found, LastSeqs, Purge, Purged, Retention, SEARCH_LOOKS, Search, Stream, StreamConfig, SubjectPlace,
};
use weir_engine::{Result, Seq};

/// More than one turn removes.
const MANY: u64 = 5000;

fn config(name: &str, change: impl FnOnce(&mut StreamConfig)) -> StreamConfig {
    let mut config = StreamConfig {
        name: name.into(),
        subjects: vec![format!("{name}.>")],
        ..StreamConfig::default()
    };
    change(&mut config);
    config
}

fn fill(stream: &Handle, name: &str, count: u64) {
    let name = name.to_owned();
    stream
        .call(move |shard, id| {
            for at in 0..count {
                shard.publish(id, format!("{name}.{}", at % 2).into(), 0, "x".into())?;
            }
            Ok(())
        })
        .unwrap();
}

fn messages(stream: &Handle) -> u64 {
    let state = stream.call(|shard, id| shard.stream(id).unwrap().state());
    state.unwrap().messages
}

fn consumer(name: &str, filter: &str) -> ConsumerConfig {
    ConsumerConfig {
        name: name.into(),
        durable_name: name.into(),
        ack_policy: AckPolicy::Explicit,
        filter_subject: filter.into(),
        ..ConsumerConfig::default()
    }
}

fn create_consumer(stream: &Handle, config: ConsumerConfig) {
    stream.call(move |shard, id| shard.create_consumer(id, config)).unwrap();
}

/// What a call answers: a number, or the one that a purge has come to.
enum Told {
    Now(u64),
    Then(Purged),
}

type Work = Box<dyn FnOnce(&mut InTurn<'_, '_>) -> Result<Told> + Send>;

/// Hands all to the shard at once; the numbers of those that are answered come in the order of the answers.
fn submit(stream: &Handle, works: Vec<Work>) -> Receiver<(usize, u64)> {
    let (sender, receiver) = channel();
    let inputs = works.into_iter().enumerate().map(|(at, work)| {
        let sender = sender.clone();
        Input::Call(Box::new(move |shard| {
            let result = work(shard.expect("storage works"));
            Box::new(move |durable| {
                durable.expect("storage works");
                let number = match result.expect("it is done") {
                    Told::Now(number) => number,
                    Told::Then(purged) => purged.count(),
                };
                sender.send((at, number)).unwrap();
            })
        }))
    });
    assert!(stream.shard.submit(inputs.collect()).is_ok());
    receiver
}

/// Lets the store be killed as soon as the turn that does this work is over.
fn kill_after(bench: &mut Bench, stream: &Handle, work: Work) {
    let shard = stream.shard.clone();
    let id = stream.id;
    let (sender, receiver) = channel();
    let first = Input::Call(Box::new(move |shard| {
        work(shard.expect("storage works")).expect("it begins");
        Box::new(|_| {})
    }));
    let second = Input::Call(Box::new(move |own| {
        let left = own
            .expect("storage works")
            .stream(id)
            .unwrap()
            .state()
            .unwrap()
            .messages;
        Box::new(move |_| {
            assert!(shard.submit(vec![Input::Abandon]).is_ok());
            sender.send(left).unwrap();
        })
    }));
    assert!(stream.shard.submit(vec![first, second]).is_ok());
    let left = receiver.recv().unwrap();
    assert!(
        0 < left && left < MANY,
        "{left} messages are left: it is not in the middle"
    );
    bench.kill();
}

fn storages() -> Vec<Storage> {
    vec![
        Storage::Memory,
        Storage::Segment,
        #[cfg(feature = "rocksdb")]
        Storage::Rocks,
    ]
}

/// Where each costs more, a turn removes fewer: it took 1,024 on RocksDB too, which was 17 to 50 ms.
#[test]
fn a_slice_takes_as_long_whatever_the_index() {
    for storage in storages() {
        let mut bench = Bench::new(storage);
        bench.open();
        let many = bench.create(&config("M", |_| {}));
        fill(&many, "M", MANY);
        let id = many.id;
        let purge = Purge {
            filter: "M.*".into(),
            ..Purge::default()
        };
        let look: Work = Box::new(move |shard| Ok(Now(shard.stream(id).unwrap().state()?.messages)));
        let answers = submit(
            &many,
            vec![Box::new(move |shard| shard.purge(id, &purge).map(Then)), look],
        );
        let (at, left) = answers.recv().unwrap();
        let slice = match bench.settings(&config("M", |_| {})).index {
            IndexKind::Paged => 64,
            // To find the two subjects took two looks.
            IndexKind::Resident => 1023,
        };
        assert_eq!((at, MANY - left), (1, slice), "{storage:?}");
    }
}

#[test]
fn others_are_served_while_a_purge_goes_on() {
    for storage in storages() {
        let mut bench = Bench::new(storage);
        bench.open();
        let (many, other) = (bench.create(&config("M", |_| {})), bench.create(&config("O", |_| {})));
        fill(&many, "M", MANY);
        create_consumer(&many, consumer("c", "M.0"));
        let (many_id, other_id) = (many.id, other.id);
        let purge = Purge {
            filter: "M.*".into(),
            ..Purge::default()
        };
        let answers = submit(
            &many,
            vec![
                Box::new(move |shard| shard.purge(many_id, &purge).map(Then)),
                Box::new(move |shard| Ok(Now(shard.publish(other_id, "O.1".into(), 0, "x".into())?.seq))),
                // It came after the purge, and stays.
                Box::new(move |shard| Ok(Now(shard.publish(many_id, "M.0".into(), 0, "x".into())?.seq))),
            ],
        );
        let answers: Vec<_> = (0..3).map(|_| answers.recv().unwrap()).collect();
        assert_eq!(answers, [(1, 1), (2, MANY + 1), (0, MANY)], "{storage:?}");
        assert_eq!(messages(&many), 1);
        let info = many.call(|shard, id| shard.consumer_info(id, "c")).unwrap();
        assert_eq!(info.num_pending, 1);
        assert_eq!(
            info.delivered.stream, MANY,
            "{storage:?}: it stands before the message that is left"
        );
    }
}

#[test]
fn a_purge_that_a_crash_cuts_off_is_finished_at_the_next_start() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let stream = bench.create(&config("M", |_| {}));
    fill(&stream, "M", MANY);
    let id = stream.id;
    let purge = Purge {
        filter: "M.0".into(),
        keep: 3,
        ..Purge::default()
    };
    kill_after(
        &mut bench,
        &stream,
        Box::new(move |shard| shard.purge(id, &purge).map(Then)),
    );
    bench.open();
    let stream = bench.find("M").unwrap();
    fill(&stream, "M", 2);
    // Each look is a turn of its own, and the removal goes on in each.
    let left = (0..MANY)
        .map(|_| messages(&stream))
        .find(|left| *left == MANY / 2 + 3 + 2);
    assert!(left.is_some(), "{} messages are left", messages(&stream));
}

#[test]
fn limits_that_become_tighter_are_enforced_turn_by_turn() {
    for per_subject in [false, true] {
        let limited = move |config: &mut StreamConfig| match per_subject {
            false => config.max_msgs = 10,
            true => config.max_msgs_per_subject = 5,
        };
        let mut bench = Bench::new(Storage::Segment);
        bench.open();
        let (many, other) = (bench.create(&config("M", |_| {})), bench.create(&config("O", |_| {})));
        fill(&many, "M", MANY);
        let (many_id, other_id) = (many.id, other.id);
        let tighter = config("M", limited);
        let settings = bench.settings(&tighter);
        let update: Work = Box::new(move |shard| shard.update_stream(many_id, tighter, settings).map(|()| Now(0)));
        let publish: Work = Box::new(move |shard| Ok(Now(shard.publish(other_id, "O.1".into(), 0, "x".into())?.seq)));
        let answers = submit(&many, vec![update, publish]);
        let answers: Vec<_> = (0..2).map(|_| answers.recv().unwrap()).collect();
        assert_eq!(answers, [(1, 1), (0, 0)]);
        assert_eq!(messages(&many), 10);
        // After a crash in the middle the limits are looked at anew.
        let looser = config("M", |_| {});
        let settings = bench.settings(&looser);
        many.call(move |shard, id| shard.update_stream(id, looser, settings))
            .unwrap();
        fill(&many, "M", MANY - 10);
        let tighter = config("M", limited);
        let settings = bench.settings(&tighter);
        let update: Work = Box::new(move |shard| shard.update_stream(many_id, tighter, settings).map(|()| Now(0)));
        kill_after(&mut bench, &many, update);
        bench.open();
        let many = bench.find("M").unwrap();
        assert!((0..MANY).any(|_| messages(&many) == 10), "{}", messages(&many));
    }
}

/// All subjects were looked at in the turn of the update.
#[test]
fn the_subjects_of_a_tighter_limit_are_looked_at_turn_by_turn() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let (many, other) = (bench.create(&config("M", |_| {})), bench.create(&config("O", |_| {})));
    let (many_id, other_id) = (many.id, other.id);
    many.call(move |shard, id| {
        // The last subject in their order has two messages, all others have one.
        for at in 0..=MANY {
            shard.publish(id, format!("M.{:04}", at.min(MANY - 1)).into(), 0, "x".into())?;
        }
        Ok(())
    })
    .unwrap();
    let tighter = config("M", |config| config.max_msgs_per_subject = 1);
    let settings = bench.settings(&tighter);
    let update: Work = Box::new(move |shard| shard.update_stream(many_id, tighter, settings).map(|()| Now(0)));
    let publish: Work = Box::new(move |shard| Ok(Now(shard.publish(other_id, "O.1".into(), 0, "x".into())?.seq)));
    let answers = submit(&many, vec![update, publish]);
    assert_eq!([answers.recv().unwrap(), answers.recv().unwrap()], [(1, 1), (0, 0)]);
    assert_eq!(messages(&many), MANY);
}

#[test]
fn what_a_consumer_held_goes_turn_by_turn() {
    let interest = |config: &mut StreamConfig| config.retention = Retention::Interest;
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let stream = bench.create(&config("M", interest));
    create_consumer(&stream, consumer("all", ""));
    create_consumer(&stream, consumer("half", "M.0"));
    create_consumer(&stream, consumer("none", "M.x.>"));
    fill(&stream, "M", MANY);
    // What another wants anyway is not looked at: this is over in one turn.
    let id = stream.id;
    let answers = submit(
        &stream,
        vec![
            Box::new(move |shard| shard.delete_consumer(id, "none").map(|()| Now(0))),
            Box::new(move |shard| Ok(Now(shard.stream(id).unwrap().state()?.messages))),
        ],
    );
    assert_eq!(answers.recv().unwrap(), (0, 0));
    assert_eq!(answers.recv().unwrap(), (1, MANY));
    let work: Work = Box::new(move |shard| shard.delete_consumer(id, "all").map(|()| Now(0)));
    kill_after(&mut bench, &stream, work);
    bench.open();
    let stream = bench.find("M").unwrap();
    assert!(
        (0..MANY).any(|_| messages(&stream) == MANY / 2),
        "{}",
        messages(&stream)
    );
    // A filter that becomes narrower.
    let id = stream.id;
    let narrower: Work = Box::new(move |shard| {
        let narrow = consumer("half", "M.none");
        shard.update_consumer(id, "half", narrow).map(|_| Now(0))
    });
    let look: Work = Box::new(move |shard| Ok(Now(shard.stream(id).unwrap().state()?.messages)));
    let answers = submit(&stream, vec![narrower, look]);
    let (at, left) = answers.recv().unwrap();
    assert!(at == 1 && 0 < left && left < MANY / 2, "{left}");
    assert_eq!(answers.recv().unwrap(), (0, 0));
    assert_eq!(messages(&stream), 0);
}

#[test]
fn a_stream_that_goes_takes_all_with_it_at_once() {
    let interest = |config: &mut StreamConfig| config.retention = Retention::Interest;
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let stream = bench.create(&config("M", interest));
    for at in 0..10 {
        create_consumer(&stream, consumer(&format!("c{at}"), ""));
    }
    fill(&stream, "M", MANY);
    let id = stream.id;
    let purge = Purge {
        filter: "M.0".into(),
        ..Purge::default()
    };
    // Somebody who waits for a purge is answered when the stream goes meanwhile.
    let answers = submit(
        &stream,
        vec![
            Box::new(move |shard| shard.purge(id, &purge).map(Then)),
            Box::new(move |shard| shard.delete_stream(id).map(|()| Now(0))),
        ],
    );
    let mut answers = [answers.recv().unwrap(), answers.recv().unwrap()];
    answers.sort_unstable();
    // It has come as far as a slice.
    assert_eq!(answers, [(0, 1024), (1, 0)]);
    bench.kill();
    bench.open();
    assert!(bench.find("M").is_none());
}

/// A purge counted what it would take before it took anything, and so looked at all subjects, twice; to keep the newest of many it
/// looked at them all some twenty times, in one turn.
#[test]
fn a_purge_looks_at_some_messages_in_each_turn_and_counts_as_they_go() {
    for storage in storages() {
        let mut bench = Bench::new(storage);
        bench.open();
        let many = bench.create(&config("M", |_| {}));
        many.call(|shard, id| {
            for at in 0..MANY {
                shard.publish(id, format!("M.{at}.{}", at % 2).into(), 0, "x".into())?;
            }
            Ok(())
        })
        .unwrap();
        let (id, keep) = (many.id, 1000);
        let purge = move |filter: &str, keep| -> Work {
            let purge = Purge {
                filter: filter.to_owned(),
                keep,
                ..Purge::default()
            };
            Box::new(move |shard| shard.purge(id, &purge).map(Then))
        };
        let look = || -> Work { Box::new(move |shard| Ok(Now(shard.stream(id).unwrap().state()?.messages))) };
        let answers = |works| submit(&many, works).iter().collect::<Vec<_>>();
        // All subjects match but for the last token; and of those that match there are no more than are to stay.
        let all = answers(vec![purge("M.*.none", 0), look(), purge("M.*.1", MANY), look()]);
        let mut told = all.clone();
        told.sort_unstable();
        assert_eq!(told, [(0, 0), (1, MANY), (2, 0), (3, MANY)], "{storage:?}");
        if bench.settings(&config("M", |_| {})).index == IndexKind::Paged {
            // In no turn are all looked at: those who came later were answered before.
            assert_eq!(all.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 3, 0, 2]);
        }
        let mut told = answers(vec![purge("M.*.0", keep), purge("M.*.1", 1)]);
        told.sort_unstable();
        assert_eq!(told, [(0, MANY / 2 - keep), (1, MANY / 2 - 1)], "{storage:?}");
        let left = many.call(move |shard, id| {
            let stream = shard.stream(id)?;
            let oldest =
                |stream: &mut Stream, filter: &[u8]| stream.next_message(filter, 1).map(|found| found.unwrap().seq);
            Ok([
                oldest(stream, b"M.*.0")?,
                oldest(stream, b"M.*.1")?,
                stream.state()?.messages,
            ])
        });
        // Those of the one are 1, 3, 5 ..., of the other 2, 4, 6 ...
        assert_eq!(left.unwrap(), [MANY - 2 * keep + 1, MANY, keep + 1], "{storage:?}");
    }
}

/// A single message that is purged counts as deleted: consumers go on as if it had been acknowledged.
#[test]
fn whether_a_purge_takes_a_single_message_is_found_out_on_the_way() {
    for storage in storages() {
        let mut bench = Bench::new(storage);
        bench.open();
        let many = bench.create(&config("M", |_| {}));
        many.call(|shard, id| {
            for at in 0..MANY {
                let last = if at + 10 == MANY { "one" } else { "x" };
                shard.publish(id, format!("M.{at}.{last}").into(), 0, "x".into())?;
            }
            Ok(())
        })
        .unwrap();
        create_consumer(&many, consumer("c", ""));
        let purge = |filter: &str| {
            let purge = Purge {
                filter: filter.to_owned(),
                ..Purge::default()
            };
            let purged = many.call(move |shard, id| shard.purge(id, &purge)).unwrap();
            purged.count()
        };
        let delivered = || {
            let info = many.call(|shard, id| shard.consumer_info(id, "c")).unwrap();
            (info.delivered.stream, info.num_pending)
        };
        assert_eq!(purge("M.*.one"), 1, "{storage:?}");
        assert_eq!(delivered(), (0, MANY - 1), "{storage:?}: it was deleted");
        assert_eq!(purge("M.*.x"), MANY - 1, "{storage:?}");
        assert_eq!(delivered(), (MANY, 0), "{storage:?}: they were purged");
    }
}

/// The next and the newest message of a filter that few of many subjects match were looked for in one turn.
#[test]
fn a_search_goes_some_of_the_way_in_each_turn() {
    for storage in storages() {
        let mut bench = Bench::new(storage);
        bench.open();
        let many = bench.create(&config("M", |_| {}));
        let rare = 3000;
        many.call(move |shard, id| {
            for seq in 1..=MANY {
                let last = if seq == rare { "rare" } else { "x" };
                shard.publish(id, format!("M.{seq}.{last}").into(), 0, "x".into())?;
            }
            Ok(())
        })
        .unwrap();
        let turn = |stream: &Handle, mut search: Search| {
            let turn = stream.call(move |shard, id| {
                let found = shard.stream(id)?.search(&mut search)?;
                Ok((search, found))
            });
            turn.unwrap()
        };
        let is_paged = bench.settings(&config("M", |_| {})).index == IndexKind::Paged;
        for (filter, expected) in [("M.*.rare", Some(rare)), ("M.*.none", None)] {
            for mut search in [Search::from(filter.as_bytes(), 1), Search::newest(filter.as_bytes())] {
                let mut turns = 0;
                let found = loop {
                    let found;
                    (search, found) = turn(&many, search);
                    turns += 1;
                    match found {
                        Found::Message(message) => break Some(message.seq),
                        Found::Nothing => break None,
                        Found::Later | Found::Unread(_) => {}
                    }
                };
                assert_eq!(found, expected, "{storage:?} {filter}");
                assert!(turns > 1, "{storage:?} {filter}: {turns}");
            }
        }
        if !is_paged {
            continue;
        }
        // The index is another one meanwhile.
        let (mut search, found) = turn(&many, Search::from(b"M.*.rare", 1));
        assert!(matches!(found, Found::Later));
        bench.close();
        bench.open();
        let many = bench.find("M").unwrap();
        let found = loop {
            let found;
            (search, found) = turn(&many, search);
            match found {
                Found::Message(message) => break Some(message.seq),
                Found::Nothing => break None,
                Found::Later | Found::Unread(_) => {}
            }
        };
        assert_eq!(found, Some(rare));
    }
}

/// Counts what is looked at in storage.
#[derive(Default)]
struct Looks {
    now: AtomicUsize,
    /// The most in a turn of those that have ended.
    most: AtomicUsize,
}

impl Rules for Looks {
    fn look(&self) {
        self.now.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a turn may look at beside what its searches are allowed: the last of them may just begin, and find out that many subjects
/// match.
const BESIDE: usize = 4096 + 512;

/// A store that counts looks, with a stream of many subjects: `M.1.x`, `M.2.y`, `M.3.x` ...
fn bench_that_counts(storage: Storage, subjects: u64) -> (Bench, Arc<Looks>, Handle) {
    let looks = Arc::new(Looks::default());
    let (rules, told) = (looks.clone(), looks.clone());
    let mut bench = Bench::with_outlet(storage, move || Box::new(Takers(Some(told.clone()))));
    bench.wrap = Some(Arc::new(move |backend| under(backend, rules.clone())));
    bench.open();
    let many = bench.create(&config("M", |_| {}));
    publish_all(&many, 1..=subjects);
    (bench, looks, many)
}

fn subject(seq: Seq) -> String {
    format!("M.{seq}.{}", if seq.is_multiple_of(2) { "y" } else { "x" })
}

fn publish_all(stream: &Handle, seqs: impl Iterator<Item = Seq> + Send + 'static) {
    let published = stream.call(move |shard, id| {
        for seq in seqs {
            shard.publish(id, subject(seq).into(), 0, "x".into())?;
        }
        Ok(())
    });
    published.unwrap();
}

/// Does `work` in turn after turn until it answers; in how many that is, and in each no more is looked at than a turn may.
fn turn_by_turn<S: Send + 'static, T: Send + 'static>(
    stream: &Handle,
    looks: &Looks,
    mut state: S,
    mut between: impl FnMut(usize),
    work: impl Fn(&mut InTurn<'_, '_>, weir_engine::StreamId, &mut S) -> Result<Option<T>> + Clone + Send + 'static,
) -> (usize, T) {
    let mut turns = 0;
    loop {
        // What goes before is told with a turn of its own.
        stream.call(|_, _| Ok(())).unwrap();
        looks.most.store(0, Ordering::Relaxed);
        let work = work.clone();
        let turn = stream.call(move |shard, id| {
            let done = work(shard, id, &mut state)?;
            Ok((state, done))
        });
        let done;
        (state, done) = turn.unwrap();
        // What is told of that turn is told before the next one.
        stream.call(|_, _| Ok(())).unwrap();
        let looked = looks.most.swap(0, Ordering::Relaxed);
        assert!(looked <= SEARCH_LOOKS + BESIDE, "{looked} looks in one turn");
        turns += 1;
        if let Some(done) = done {
            return (turns, done);
        }
        assert!(turns < 10_000, "it comes to no end");
        between(turns);
    }
}

/// Making, changing or resetting a consumer counted, among all subjects, what it has still to send: 40 to 60 ms in one turn for
/// 200,000 of them.
#[test]
fn a_consumer_is_counted_for_in_turns_and_knows_what_changed_meanwhile() {
    /// A multiple of what a turn may look at.
    const SUBJECTS: u64 = 20_000;
    for storage in storages() {
        let (_bench, looks, many) = bench_that_counts(storage, SUBJECTS);
        let mut last = SUBJECTS;
        // While it is counted, messages come and go, of subjects that were counted and of others.
        let mut change = |turn: usize| {
            if turn > 3 {
                return;
            }
            let from = last + 1;
            last += 100;
            publish_all(&many, from..=last);
            let removed = many.call(move |shard, id| {
                let turn = turn as u64;
                let ends = [
                    from,
                    from + 1,
                    from - SUBJECTS / 2,
                    from - SUBJECTS / 4,
                    turn,
                    SUBJECTS - turn,
                ];
                for seq in ends {
                    shard.delete_message(id, seq, false)?;
                }
                Ok(())
            });
            removed.unwrap();
        };
        let mut make = |name: &str, filter: &str, change_config: &dyn Fn(&mut ConsumerConfig)| {
            let mut config = consumer(name, filter);
            change_config(&mut config);
            let work = move |shard: &mut InTurn<'_, '_>, id, preparation: &mut Preparation| {
                if !shard.prepare_consumer(id, &config, preparation)? {
                    return Ok(None);
                }
                match shard.consumer_info(id, &config.name) {
                    Ok(_) => shard.update_consumer(id, &config.name, config.clone()).map(Some),
                    Err(_) => shard.create_consumer(id, config.clone()).map(Some),
                }
            };
            let (turns, info): (_, ConsumerInfo) =
                turn_by_turn(&many, &looks, Preparation::default(), &mut change, work);
            assert!(turns > 1, "{storage:?} {name}: {turns}");
            info.num_pending
        };
        let (middle, all) = (SUBJECTS / 2, |_: &mut ConsumerConfig| {});
        let from_middle = move |config: &mut ConsumerConfig| {
            config.deliver_policy = DeliverPolicy::ByStartSequence;
            config.opt_start_seq = middle;
        };
        let last_per_subject = |config: &mut ConsumerConfig| config.deliver_policy = DeliverPolicy::LastPerSubject;
        let newest = |config: &mut ConsumerConfig| config.deliver_policy = DeliverPolicy::Last;
        let count = |filter: &str, from: Seq| -> u64 {
            let filter = filter.to_owned();
            let counted = many.call(move |shard, id| {
                let (mut messages, mut search) = (0, Search::from(filter.as_bytes(), from));
                loop {
                    match shard.stream(id)?.search(&mut search)? {
                        Found::Message(_) => messages += 1,
                        Found::Later | Found::Unread(_) => {}
                        Found::Nothing => break,
                    }
                }
                Ok(messages)
            });
            counted.unwrap()
        };
        assert_eq!(make("all", "M.*.x", &all), count("M.*.x", 1), "{storage:?}");
        assert_eq!(
            make("middle", "M.*.x", &from_middle),
            count("M.*.x", middle),
            "{storage:?}"
        );
        assert_eq!(
            make("lasts", "M.*.y", &last_per_subject),
            count("M.*.y", 1),
            "{storage:?}"
        );
        assert_eq!(make("newest", "M.*.none", &newest), 0, "{storage:?}");
        assert_eq!(make("all", "M.*.y", &all), count("M.*.y", 1), "{storage:?}");
        // Of its list, too, a consumer that is changed knows what is left.
        let info = many.call(|shard, id| {
            let changed = ConsumerConfig {
                deliver_policy: DeliverPolicy::LastPerSubject,
                description: "changed".into(),
                ..consumer("lasts", "M.*.y")
            };
            shard.update_consumer(id, "lasts", changed)
        });
        assert_eq!(info.unwrap().num_pending, count("M.*.y", 1), "{storage:?}");
        let work = move |shard: &mut InTurn<'_, '_>, id, preparation: &mut Preparation| {
            if !shard.prepare_reset(id, "all", middle, preparation)? {
                return Ok(None);
            }
            shard.reset_consumer(id, "all", middle).map(Some)
        };
        let (turns, (_, info)) = turn_by_turn(&many, &looks, Preparation::default(), |_| {}, work);
        assert!(turns > 1, "{storage:?}: {turns}");
        assert_eq!(info.num_pending, count("M.*.y", middle), "{storage:?}");
    }
}

/// What begins a batch counted all that match; the searches of one turn each looked at as much as a turn may; and subjects that
/// do not match were not counted as looked at.
#[test]
fn the_searches_of_one_turn_share_what_it_may_look_at() {
    const SUBJECTS: u64 = 20_000;
    for storage in storages() {
        let (_bench, looks, many) = bench_that_counts(storage, SUBJECTS);
        let within = |shard: &mut InTurn<'_, '_>, id, work: &mut dyn FnMut(&mut Stream, &mut usize) -> Result<()>| {
            let mut left = shard.search_looks();
            work(shard.stream(id)?, &mut left)?;
            shard.searched(left);
            Ok::<_, weir_engine::Error>(())
        };
        // Two at once have as much as one.
        let work = move |shard: &mut InTurn<'_, '_>, id, counts: &mut [Option<Count>; 2]| {
            let mut done = Some((0, 0));
            for (at, count) in counts.iter_mut().enumerate() {
                let mut found = None;
                within(shard, id, &mut |stream, left| {
                    let count = count.get_or_insert_with(|| Count::of(b"M.*.x"));
                    found = stream.count_within(count, 1 + at as u64 * SUBJECTS / 2, left)?;
                    Ok(())
                })?;
                done = done.zip(found).map(|((_, before), found)| (before, found));
            }
            Ok(done)
        };
        let (turns, counted) = turn_by_turn(&many, &looks, [None, None], |_| {}, work);
        assert_eq!(counted, (SUBJECTS / 2, SUBJECTS / 4), "{storage:?}");
        assert!(turns > 5, "{storage:?}: {turns}");
        // Many gets.
        let work = move |shard: &mut InTurn<'_, '_>, id, gets: &mut (u64, Option<Search>)| {
            within(shard, id, &mut |stream, left| {
                let (done, begun) = gets;
                while *done < 256 && *left > 0 {
                    let mut search = begun.take().unwrap_or_else(|| match *done % 2 {
                        0 => Search::from(b"M.*.x", *done * 70 + 1),
                        _ => Search::newest(format!("M.{done}.*").as_bytes()),
                    });
                    match stream.search_within(&mut search, left)? {
                        Found::Message(message) => {
                            assert_eq!(message.seq, (*done * 70 + 1) * (1 - *done % 2) + *done * (*done % 2))
                        }
                        Found::Nothing => panic!("there is one"),
                        Found::Later | Found::Unread(_) => {
                            *begun = Some(search);
                            return Ok(());
                        }
                    }
                    *done += 1;
                }
                Ok(())
            })?;
            Ok((gets.0 == 256).then_some(()))
        };
        let (turns, ()) = turn_by_turn(&many, &looks, (0, None), |_| {}, work);
        assert!(turns > 5, "{storage:?}: {turns}");
        // The last messages of subjects, and subjects, of which none matches.
        let work = move |shard: &mut InTurn<'_, '_>, id, search: &mut Option<LastSeqs>| {
            let search = search.get_or_insert_with(|| LastSeqs::new([bytes::Bytes::from_static(b"M.*.none")], 10));
            within(shard, id, &mut |stream, left| stream.last_seqs(search, SUBJECTS, left))?;
            Ok(search.is_over().then_some(()))
        };
        let (turns, ()) = turn_by_turn(&many, &looks, None, |_| {}, work);
        assert!(turns > 1, "{storage:?}: {turns}");
        let work = move |shard: &mut InTurn<'_, '_>, id, place: &mut SubjectPlace| {
            let (some, next) = shard.stream(id)?.subjects(b"M.*.none", place, SEARCH_LOOKS)?;
            assert!(some.is_empty());
            *place = next.clone().unwrap_or_default();
            Ok(next.is_none().then_some(()))
        };
        let (turns, ()) = turn_by_turn(&many, &looks, SubjectPlace::default(), |_| {}, work);
        assert!(turns > 1, "{storage:?}: {turns}");
    }
}

/// Clients that take whatever comes, and what is told of each turn.
struct Takers(Option<Arc<Looks>>);

impl Outlet for Takers {
    fn has_interest(&mut self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn has_subscriber(&mut self, _: &str, _: &[u8], _: &str) -> bool {
        true
    }

    fn emit(&mut self, emit: Emit) {
        if let Emit::Done(done) = emit {
            done(Ok(()));
        }
    }

    fn flush(&mut self) {
        if let Some(looks) = &self.0 {
            looks
                .most
                .fetch_max(looks.now.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// What a purge took of what consumers had sent was looked for among all that they had, in each slice, and let go of at its end
/// in one turn.
#[test]
fn what_a_purge_takes_of_what_was_sent_goes_with_each_slice() {
    for storage in storages() {
        let mut bench = Bench::with_outlet(storage, || Box::new(Takers(None)));
        bench.open();
        let many = bench.create(&config("M", |_| {}));
        fill(&many, "M", MANY);
        let unbounded = ConsumerConfig {
            max_ack_pending: -1,
            ..consumer("c", "")
        };
        create_consumer(&many, unbounded);
        let pull = Input::Pull {
            stream: many.id,
            consumer: "c".into(),
            request: PullRequest {
                batch: MANY,
                ..PullRequest::default()
            },
            reply: "inbox".into(),
        };
        assert!(many.shard.submit(vec![pull]).is_ok());
        // That turn sends them.
        many.call(|_, _| Ok(())).unwrap();
        let pending = |id| -> Work { Box::new(move |shard| Ok(Now(shard.consumer_info(id, "c")?.num_ack_pending))) };
        let id = many.id;
        let purge = Purge {
            filter: "M.0".into(),
            ..Purge::default()
        };
        let works = vec![
            pending(id),
            Box::new(move |shard: &mut InTurn<'_, '_>| shard.purge(id, &purge).map(Then)) as Work,
            pending(id),
        ];
        let answers = submit(&many, works);
        let [before, during, after] = [(); 3].map(|()| answers.recv().unwrap());
        assert_eq!((before, after), ((0, MANY), (1, MANY / 2)), "{storage:?}");
        let slice = match bench.settings(&config("M", |_| {})).index {
            IndexKind::Paged => 64,
            IndexKind::Resident => 1024,
        };
        // The first of a slice is held back until there is a second one.
        assert_eq!(during, (2, MANY - slice), "{storage:?}");
        let info = many.call(|shard, id| shard.consumer_info(id, "c")).unwrap();
        // The message behind those that are gone is the second one, and is not acknowledged.
        assert_eq!(
            (info.num_ack_pending, info.ack_floor.stream),
            (MANY / 2, 1),
            "{storage:?}"
        );
        let all = many.call(|shard, id| shard.purge(id, &Purge::default()));
        assert_eq!(all.unwrap().count(), MANY / 2);
        let info = many.call(|shard, id| shard.consumer_info(id, "c")).unwrap();
        assert_eq!(
            (info.num_ack_pending, info.ack_floor),
            (0, info.delivered),
            "{storage:?}"
        );
        assert_eq!(
            (info.delivered.consumer, info.delivered.stream),
            (MANY, MANY),
            "{storage:?}"
        );
    }
}

/// A consumer looked for its next message among all subjects in one turn, however far it is to it.
#[test]
fn a_consumer_looks_for_its_next_message_in_turns() {
    const SUBJECTS: u64 = 20_000;
    for storage in storages() {
        let (_bench, looks, many) = bench_that_counts(storage, SUBJECTS);
        many.call(|shard, id| shard.publish(id, "M.last.rare".into(), 0, "x".into()))
            .unwrap();
        create_consumer(&many, consumer("c", "M.*.rare"));
        many.call(|_, _| Ok(())).unwrap();
        looks.most.store(0, Ordering::Relaxed);
        let pull = Input::Pull {
            stream: many.id,
            consumer: "c".into(),
            request: PullRequest {
                batch: 1,
                ..PullRequest::default()
            },
            reply: "inbox".into(),
        };
        assert!(many.shard.submit(vec![pull]).is_ok());
        let pending = || {
            let info = many.call(|shard, id| shard.consumer_info(id, "c")).unwrap();
            info.num_ack_pending
        };
        assert!((0..1000).any(|_| pending() == 1), "{storage:?}: it is sent");
        let most = looks.most.load(Ordering::Relaxed);
        assert!(most <= SEARCH_LOOKS + BESIDE, "{storage:?}: {most} looks in one turn");
    }
}
