//! TTLs of messages, delete markers and schedules, over every backend: what is stored, and what restarts, orderly and
//! not, leave of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;

use support::{ACCOUNT, Bench, Handle, Random, Storage, run_seeds};
use weir_engine::stream::{Discard, Message, StreamConfig};
use weir_engine::{MILLISECOND, SECOND, ShardId};

const STORAGES: &[Storage] = &[
    Storage::Memory,
    Storage::Segment,
    Storage::Persistent,
    #[cfg(feature = "rocksdb")]
    Storage::Rocks,
];

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec!["k.>".into(), "s.>".into()],
        allow_msg_ttl: true,
        allow_rollup_hdrs: true,
        max_msgs: -1,
        max_bytes: -1,
        max_msgs_per_subject: -1,
        max_msg_size: -1,
        ..StreamConfig::default()
    }
}

fn ttl(value: &str) -> String {
    format!("NATS/1.0\r\nNats-TTL: {value}\r\n\r\n")
}

/// The sequences, subjects and header blocks of all messages.
fn held(stream: &Handle) -> Vec<(u64, String, String)> {
    let state = stream.call(|shard, id| shard.stream(id).unwrap().state()).unwrap();
    (state.first_seq..=state.last_seq)
        .filter_map(|seq| stream.message(seq))
        .map(|message| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (message.seq, text(&message.subject), text(&message.headers))
        })
        .collect()
}

fn seqs(stream: &Handle) -> Vec<u64> {
    held(stream).into_iter().map(|(seq, ..)| seq).collect()
}

/// Opens the store again, after an orderly close or a crash, where the storage survives that.
fn restart(bench: &mut Bench, stream: &mut Handle, orderly: bool) {
    let name = stream
        .call(|shard, id| Ok(shard.stream(id).unwrap().name().to_string()))
        .unwrap();
    match orderly {
        true => bench.close(),
        false => bench.kill(),
    }
    bench.open();
    *stream = bench.find(&name).unwrap();
}

fn code(result: weir_engine::Result<(u64, bool)>) -> u16 {
    result.unwrap_err().rejection.unwrap().code
}

#[test]
fn messages_end_when_their_ttl_is_over() {
    for &storage in STORAGES {
        let mut bench = Bench::new(storage);
        bench.open();
        bench.begin_twin();
        let mut stream = bench.create(&StreamConfig {
            max_age: 60 * SECOND,
            ..config("S")
        });
        stream.publish("k.a", &ttl("10s"), b"").unwrap();
        stream.publish("k.a", &ttl("5"), b"").unwrap();
        stream.publish("k.b", &ttl("never"), b"").unwrap();
        stream.publish("k.b", "", b"").unwrap();
        // More than fits in a head: the headers tell it.
        stream.publish("k.c", &ttl("1000h"), b"").unwrap();
        stream.publish("k.c", &ttl("400000h"), b"").unwrap();
        assert_eq!(code(stream.publish("k.a", &ttl("999ms"), b"")), 10165);
        bench.advance(5 * SECOND - 1);
        assert_eq!(seqs(&stream), [1, 2, 3, 4, 5, 6], "{storage:?}");
        bench.advance(1);
        assert_eq!(seqs(&stream), [1, 3, 4, 5, 6], "{storage:?}");
        if storage.survives() {
            restart(&mut bench, &mut stream, false);
            assert_eq!(seqs(&stream), [1, 3, 4, 5, 6], "{storage:?}");
            restart(&mut bench, &mut stream, true);
        }
        bench.advance(5 * SECOND);
        assert_eq!(seqs(&stream), [3, 4, 5, 6], "{storage:?}");
        // What never ages does not shield what does.
        bench.advance(50 * SECOND);
        assert_eq!(seqs(&stream), [3], "{storage:?}");
        stream.publish("k.d", "", b"").unwrap();
        bench.advance(61 * SECOND);
        assert_eq!(seqs(&stream), [3], "{storage:?}");
    }
}

#[test]
fn without_permission_there_is_no_ttl() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    bench.begin_twin();
    let stream = bench.create(&StreamConfig {
        allow_msg_ttl: false,
        ..config("S")
    });
    assert_eq!(code(stream.publish("k.a", &ttl("10s"), b"")), 10166);
    assert_eq!(code(stream.publish("k.a", &ttl("never"), b"")), 10166);
    assert_eq!(code(stream.publish("k.a", &ttl("x"), b"")), 10165);
    stream.publish("k.a", &ttl("00"), b"").unwrap();
}

/// nats-server before 2.11 stored the header as any other.
#[test]
fn without_permission_what_is_restored_lives_as_long_as_any_other() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    let config = StreamConfig {
        allow_msg_ttl: false,
        max_age: 100 * SECOND,
        ..config("S")
    };
    let settings = bench.settings(&config);
    let id = bench.store().allocate_id();
    let time = bench.now() - 10 * SECOND;
    let messages = ["1s", "never", "20s"].iter().zip(1..).map(|(life, seq)| Message {
        seq,
        time,
        subject: "k.a".into(),
        headers: ttl(life).into(),
        payload: "x".into(),
    });
    let messages: Vec<_> = messages.collect();
    let restored = bench.store().shard(ShardId(0)).call_blocking(move |shard| {
        shard.begin_restore(id, &ACCOUNT.into(), config, settings, 1)?;
        shard.restore_messages(id, messages, false)?;
        shard.finish_restore(id, 3, Some(time), Vec::new())
    });
    restored.unwrap();
    let stream = bench.find("S").expect("the stream");
    assert_eq!(seqs(&stream), [1, 2, 3]);
    bench.advance(60 * SECOND);
    assert_eq!(seqs(&stream), [1, 2, 3]);
    bench.advance(60 * SECOND);
    assert_eq!(seqs(&stream), [0; 0]);
}

#[test]
fn what_is_due_while_the_server_is_down_is_gone_at_its_start() {
    for &storage in STORAGES.iter().filter(|storage| storage.survives()) {
        for orderly in [true, false] {
            let mut bench = Bench::new(storage);
            bench.open();
            bench.begin_twin();
            let mut stream = bench.create(&config("S"));
            for n in 0..10 {
                stream.publish("k.a", &ttl(&format!("{}", 1 + n)), b"").unwrap();
            }
            match orderly {
                true => bench.close(),
                false => bench.kill(),
            }
            bench.skip(5 * SECOND);
            bench.open();
            stream = bench.find("S").unwrap();
            assert_eq!(seqs(&stream), [6, 7, 8, 9, 10], "{storage:?}");
        }
    }
}

#[test]
fn the_last_of_a_subject_leaves_a_marker() {
    const MARKER: &str = "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: 1m30s\r\nNats-Rollup: sub\r\n\r\n";
    for &storage in STORAGES {
        let mut bench = Bench::new(storage);
        bench.open();
        bench.begin_twin();
        let mut stream = bench.create(&StreamConfig {
            max_age: 1000 * SECOND,
            subject_delete_marker_ttl: 90 * SECOND + SECOND / 2,
            // Markers replace: they need no room.
            max_msgs: 5,
            discard: Discard::New,
            ..config("S")
        });
        stream.publish("k.a", &ttl("100s"), b"one").unwrap();
        stream.publish("k.a", &ttl("5s"), b"two").unwrap();
        stream.publish("k.b", "", b"three").unwrap();
        stream
            .publish("k.c", "NATS/1.0\r\nKV-Operation: PURGE\r\nNats-TTL: 95s\r\n\r\n", b"")
            .unwrap();
        stream
            .publish("k.d", "NATS/1.0\r\nNats-TTL: 5s\r\nX: 1\r\n\r\n", b"")
            .unwrap();
        let raised = &held(&stream)[4].2;
        assert_eq!(raised, "NATS/1.0\r\nX: 1\r\nNats-TTL: 90\r\n\r\n", "{storage:?}");
        stream.call(|shard, id| shard.delete_message(id, 5, false)).unwrap();
        // The second of k.a has older ones: no marker. The purge of k.c is one itself.
        bench.advance(99 * SECOND);
        assert_eq!(seqs(&stream), [1, 3], "{storage:?}");
        bench.advance(SECOND);
        let marker = (6, "k.a".to_owned(), MARKER.to_owned());
        assert_eq!(held(&stream)[1..], [marker], "{storage:?}");
        if storage.survives() {
            restart(&mut bench, &mut stream, false);
        }
        // Markers end without one.
        bench.advance(90 * SECOND);
        assert_eq!(seqs(&stream), [3], "{storage:?}");
        // Age leaves them too.
        bench.advance(900 * SECOND);
        // How old it is may have to be read from the disk.
        stream.settle(2);
        assert_eq!(held(&stream), [(7, "k.b".to_owned(), MARKER.to_owned())], "{storage:?}");
    }
}

#[test]
fn a_crowd_expires_turn_by_turn() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    bench.begin_twin();
    let stream = bench.create(&config("S"));
    let published = stream.call(|shard, id| {
        let block = ttl("1s");
        for _ in 0..20_000 {
            shard.publish(id, "k.a".into(), block.len(), block.clone().into())?;
        }
        Ok(())
    });
    published.unwrap();
    let left = |stream: &Handle| {
        let state = stream.call(|shard, id| shard.stream(id).unwrap().state());
        state.unwrap().messages
    };
    assert_eq!(left(&stream), 20_000);
    bench.advance(2 * SECOND);
    // Nobody has to ask for the turns that follow the first.
    while left(&stream) > 0 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    stream.publish("k.a", "", b"").unwrap();
    assert_eq!(left(&stream), 1);
}

fn schedule(pattern: &str, more: &str) -> String {
    format!("NATS/1.0\r\nNats-Schedule: {pattern}\r\nNats-Schedule-Target: k.t\r\n{more}\r\n")
}

fn schedules(name: &str) -> StreamConfig {
    StreamConfig {
        allow_msg_schedules: true,
        ..config(name)
    }
}

/// The bench's clock begins at 2023-11-14T22:13:20Z.
#[test]
fn schedules_make_messages() {
    for &storage in STORAGES {
        let mut bench = Bench::new(storage);
        bench.open();
        bench.begin_twin();
        let mut stream = bench.create(&schedules("S"));
        let once = schedule("@at 2023-11-14T22:13:30Z", "Nats-Schedule-TTL: 5m\r\nX: 1\r\n");
        stream.publish("s.once", &once, b"hello").unwrap();
        assert!(
            held(&stream)[0].2.ends_with("X: 1\r\nNats-Rollup: sub\r\n\r\n"),
            "{storage:?}"
        );
        stream.publish("s.every", &schedule("@every 1h", ""), b"again").unwrap();
        bench.advance(10 * SECOND);
        let made = "NATS/1.0\r\nX: 1\r\nNats-Scheduler: s.once\r\nNats-Schedule-Next: purge\r\nNats-TTL: 5m\r\n\r\n";
        assert_eq!(
            held(&stream)[1..],
            [(3, "k.t".to_owned(), made.to_owned())],
            "{storage:?}"
        );
        assert_eq!(stream.message(3).unwrap().payload, "hello");
        bench.advance(3590 * SECOND);
        let made = "NATS/1.0\r\nNats-Scheduler: s.every\r\nNats-Schedule-Next: 2023-11-15T00:13:20Z\r\n\r\n";
        assert_eq!(
            held(&stream)[1..],
            [(4, "k.t".to_owned(), made.to_owned())],
            "{storage:?}"
        );
        if storage.survives() {
            restart(&mut bench, &mut stream, false);
            bench.advance(3599 * SECOND);
            assert_eq!(seqs(&stream), [2, 4], "{storage:?}");
            bench.close();
            // Three are missed; they are made up for by one.
            bench.skip(3 * 3600 * SECOND);
            bench.open();
            stream = bench.find("S").unwrap();
            bench.advance(0);
            assert_eq!(seqs(&stream), [2, 4, 5], "{storage:?}");
            restart(&mut bench, &mut stream, false);
            bench.advance(0);
            assert_eq!(seqs(&stream), [2, 4, 5], "{storage:?}");
        }
        // Another message on its subject takes its place.
        stream.publish("s.every", "", b"").unwrap();
        let before = seqs(&stream);
        bench.advance(5 * 3600 * SECOND);
        assert_eq!(seqs(&stream), before, "{storage:?}");
    }
}

#[test]
fn schedules_take_the_last_of_a_source_and_can_be_ended() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    bench.begin_twin();
    let stream = bench.create(&schedules("S"));
    let pattern = schedule(
        "0 15 22 * * *",
        "Nats-Schedule-Source: k.src\r\nNats-Schedule-Rollup: sub\r\n",
    );
    stream.publish("s.a", &pattern, b"own").unwrap();
    bench.advance(100 * SECOND);
    assert_eq!(stream.message(2).unwrap().payload, "own");
    stream
        .publish("k.src", "NATS/1.0\r\nY: 2\r\nNats-Msg-Id: m\r\n\r\n", b"latest")
        .unwrap();
    bench.advance(24 * 3600 * SECOND);
    let made = "NATS/1.0\r\nY: 2\r\nNats-Scheduler: s.a\r\nNats-Schedule-Next: 2023-11-16T22:15:00Z\r\n\
        Nats-Rollup: sub\r\n\r\n";
    assert_eq!(held(&stream)[2], (4, "k.t".to_owned(), made.to_owned()));
    assert_eq!(stream.message(4).unwrap().payload, "latest");
    assert_eq!(seqs(&stream), [1, 3, 4], "the roll-up took the first");
    let end = "NATS/1.0\r\nNats-Schedule-Next: purge\r\nNats-Scheduler: s.a\r\n\r\n";
    assert_eq!(code(stream.publish("s.a", end, b"")), 10212);
    stream.publish("k.t", end, b"over").unwrap();
    assert_eq!(seqs(&stream), [3, 4, 5]);
    bench.advance(48 * 3600 * SECOND);
    assert_eq!(seqs(&stream), [3, 4, 5]);
}

/// Whoever is told what the journal says, and makes nothing by itself, forgets schedules as well.
#[test]
fn a_twin_forgets_schedules_that_are_over() {
    for storage in [Storage::Persistent, Storage::Segment] {
        let mut bench = Bench::new(storage);
        bench.open();
        bench.begin_twin();
        let mut stream = bench.create(&schedules("S"));
        for n in 0..6 {
            let headers = schedule("@every 1h", &format!("Nats-Schedule-Target: k.{n}\r\n"));
            stream.publish(&format!("s.{n}"), &headers, b"").unwrap();
        }
        bench.check_twin("six");
        stream.call(|shard, id| shard.delete_message(id, 2, false)).unwrap();
        bench.check_twin("one is deleted");
        let purge = weir_engine::stream::Purge {
            seq: 4,
            ..Default::default()
        };
        stream.call(move |shard, id| shard.purge(id, &purge)).unwrap();
        bench.check_twin("two are purged");
        bench.fail_over();
        stream = bench.find("S").unwrap();
        assert_eq!(seqs(&stream), [4, 5, 6], "{storage:?}");
        bench.advance(3600 * SECOND);
        assert_eq!(
            seqs(&stream).len(),
            6,
            "{storage:?}: the three that are left have made one each"
        );
    }
}

#[test]
fn bad_schedules_are_refused() {
    let mut bench = Bench::new(Storage::Segment);
    bench.open();
    bench.begin_twin();
    let stream = bench.create(&StreamConfig {
        allow_msg_ttl: false,
        ..schedules("S")
    });
    stream.publish("k.plain", "", b"").unwrap();
    let refused = |headers: &str| code(stream.publish("s.a", &format!("NATS/1.0\r\n{headers}\r\n"), b""));
    let target = "Nats-Schedule: @daily\r\nNats-Schedule-Target:";
    for (headers, expected) in [
        ("Nats-Schedule: x\r\n".to_owned(), 10189),
        (
            "Nats-Schedule: @every 1s\r\nNats-Schedule-Time-Zone: UTC\r\n".to_owned(),
            10189,
        ),
        ("Nats-Schedule: @daily\r\n".to_owned(), 10190),
        (format!("{target} k.*\r\n"), 10190),
        (format!("{target} s.a\r\n"), 10190),
        (format!("{target} other\r\n"), 10190),
        (format!("{target} k.t\r\nNats-Schedule-TTL: x\r\n"), 10191),
        (format!("{target} k.t\r\nNats-Schedule-TTL: 5s\r\n"), 10166),
        (format!("{target} k.t\r\nNats-Rollup: all\r\n"), 10192),
        (format!("{target} k.t\r\nNats-Schedule-Rollup: all\r\n"), 10192),
        (format!("{target} k.t\r\nNats-Schedule-Source: k.t\r\n"), 10203),
        (format!("{target} k.t\r\nNats-Schedule-Source: other\r\n"), 10203),
        (format!("{target} k.t\r\nNats-Schedule-Time-Zone: Mars/Base\r\n"), 10223),
        ("Nats-Schedule-Time-Zone:\r\n".to_owned(), 10223),
        ("Nats-Scheduler: k.x\r\n".to_owned(), 10212),
        ("Nats-Scheduler: k.x\r\nNats-Schedule-Next: soon\r\n".to_owned(), 10212),
        (
            "Nats-Scheduler: k.plain\r\nNats-Schedule-Next: purge\r\n".to_owned(),
            10212,
        ),
    ] {
        assert_eq!(refused(&headers), expected, "{headers}");
    }
    let without = bench.create(&config("T"));
    for headers in [
        "Nats-Schedule: x\r\n",
        "Nats-Schedule: @daily\r\n",
        "Nats-Schedule-Time-Zone: x\r\n",
        "Nats-Scheduler: k.x\r\nNats-Schedule-Next: purge\r\n",
    ] {
        let result = without.publish("s.a", &format!("NATS/1.0\r\n{headers}\r\n"), b"");
        assert_eq!(code(result), 10188, "{headers}");
    }
}

/// What the model knows of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    subject: u64,
    time: i64,
    ends: Option<i64>,
    ageless: bool,
    marker: bool,
}

/// A stream as a plain list.
#[derive(Default)]
struct Model {
    last: u64,
    kept: BTreeMap<u64, Kept>,
}

impl Model {
    fn add(&mut self, kept: Kept) -> u64 {
        self.last += 1;
        self.kept.insert(self.last, kept);
        self.last
    }

    /// Lets time pass to `now`; with markers, for so many seconds each.
    fn expire(&mut self, now: i64, max_age: i64, marker: i64) {
        let old: Vec<u64> = self.due(|kept| max_age > 0 && !kept.ageless && kept.time <= now - max_age);
        self.remove(old, now, marker);
        let ended = self.due(|kept| kept.ends.is_some_and(|at| at <= now));
        self.remove(ended, now, marker);
    }

    fn due(&self, is_due: impl Fn(&Kept) -> bool) -> Vec<u64> {
        let due = self.kept.iter().filter(|(_, kept)| is_due(kept));
        due.map(|(seq, _)| *seq).collect()
    }

    fn remove(&mut self, seqs: Vec<u64>, now: i64, marker: i64) {
        for seq in seqs {
            let gone = self.kept.remove(&seq).unwrap();
            let last = !self.kept.values().any(|kept| kept.subject == gone.subject);
            if marker > 0 && last && !gone.marker {
                self.add(Kept {
                    subject: gone.subject,
                    time: now,
                    ends: Some(now + marker * SECOND),
                    ageless: false,
                    marker: true,
                });
            }
        }
    }
}

fn lives_as_the_model(storage: Storage, seed: u64) {
    let mut random = Random(seed);
    let mut bench = Bench::new(storage);
    bench.checkpoint_bytes = *random.pick(&[1 << 12, 1 << 20]);
    bench.open();
    bench.begin_twin();
    let max_age = *random.pick(&[0, 0, 20 * SECOND]);
    let marker = *random.pick(&[0, 0, 3]);
    let mut stream = bench.create(&StreamConfig {
        max_age,
        subject_delete_marker_ttl: marker * SECOND,
        ..config("S")
    });
    let mut model = Model::default();
    for step in 0..80 {
        match random.below(11) {
            0..6 => {
                let subject = random.below(5);
                let (value, ends, ageless) = match random.below(4) {
                    0 => (String::new(), None, false),
                    1 => ("never".to_owned(), None, true),
                    // Some are too long for a head.
                    2 if random.one_in(4) => ("2000000".to_owned(), Some(2_000_000), false),
                    _ => {
                        let seconds = 1 + random.below(15) as i64;
                        (seconds.to_string(), Some(seconds), false)
                    }
                };
                let headers = if value.is_empty() { value } else { ttl(&value) };
                let (seq, _) = stream.publish(&format!("k.{subject}"), &headers, b"x").unwrap();
                let time = bench.now();
                // At the end of the turn, what is due is gone; nothing can be due before a second.
                let expected = model.add(Kept {
                    subject,
                    time,
                    ends: ends.map(|seconds: i64| time + seconds.max(marker) * SECOND),
                    ageless,
                    marker: false,
                });
                assert_eq!(seq, expected, "step {step}");
            }
            6 => {
                if let Some(&seq) = model
                    .kept
                    .keys()
                    .nth(random.below(model.kept.len().max(1) as u64) as usize)
                {
                    stream
                        .call(move |shard, id| shard.delete_message(id, seq, false))
                        .unwrap();
                    model.kept.remove(&seq);
                }
            }
            7 if storage.survives() => {
                let orderly = random.one_in(2);
                match orderly {
                    true => bench.close(),
                    false => bench.kill(),
                }
                if random.one_in(2) {
                    bench.skip(random.below(4000) as i64 * MILLISECOND);
                }
                bench.open();
                if random.one_in(2) && bench.can_fail_over() {
                    bench.fail_over();
                }
                stream = bench.find("S").unwrap();
                bench.advance(0);
                model.expire(bench.now(), max_age, marker);
            }
            10 if random.one_in(3) => {
                let purge = weir_engine::stream::Purge::default();
                stream.call(move |shard, id| shard.purge(id, &purge)).unwrap();
                model.kept.clear();
            }
            _ => {
                bench.advance(random.below(4000) as i64 * MILLISECOND);
                model.expire(bench.now(), max_age, marker);
            }
        }
        let held: Vec<(u64, String, bool)> = held(&stream)
            .into_iter()
            .map(|(seq, subject, headers)| (seq, subject, headers.contains("Nats-Marker-Reason: MaxAge")))
            .collect();
        let expected: Vec<(u64, String, bool)> = model
            .kept
            .iter()
            .map(|(seq, kept)| (*seq, format!("k.{}", kept.subject), kept.marker))
            .collect();
        assert_eq!(held, expected, "step {step}");
    }
}

#[test]
fn messages_live_as_long_as_a_plain_model_says() {
    for &storage in STORAGES {
        run_seeds(storage, 6, |seed| lives_as_the_model(storage, seed));
    }
}
