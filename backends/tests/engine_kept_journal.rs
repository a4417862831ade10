//! A stream that stays offline for long does not make the journal grow for as long: what it needs is moved, and nothing of
//! it is lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use parking_lot::Mutex;
use support::between::{Change, Rules, under};
use support::{Bench, Handle, Storage, Told};
use weir_engine::consumer::ConsumerConfig;
use weir_engine::stream::StreamConfig;
use weir_engine::{Error, Extent, Log, LogId, Result, SECOND};

/// Bytes of the journal between two checkpoints.
const CHECKPOINT: usize = 4000;
/// Messages of a neighbour, many times what makes a journal long.
const MANY: usize = 2000;
/// Messages of the stream that goes offline.
const HELD: u64 = 100;
const JOURNAL: LogId = LogId(1);

/// One log is down; what the journal holds is noted.
#[derive(Default)]
struct Watched {
    down: Mutex<Option<LogId>>,
    journal: Mutex<Extent>,
}

impl Rules for Watched {
    fn open(&self, id: LogId) -> Result<()> {
        match *self.down.lock() == Some(id) {
            true => Err(Error::io("opening a log", "too many open files")),
            false => Ok(()),
        }
    }

    fn change(&self, id: LogId, broken: &mut bool, log: &mut dyn Log, change: Change<'_>) -> Result<()> {
        if matches!(change, Change::Write(_)) && (*broken || *self.down.lock() == Some(id)) {
            *broken = true;
            return Err(Error::io("writing", "a bad sector"));
        }
        change.on(log)?;
        if id == JOURNAL {
            *self.journal.lock() = log.reader().extent();
        }
        Ok(())
    }
}

fn config(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.into(),
        subjects: vec![format!("{name}.>")],
        ..StreamConfig::default()
    }
}

fn wait(told: &Receiver<String>, what: &str) {
    while told.recv().unwrap() != what {}
}

/// First, last, messages, and whether the consumer is there.
fn state(stream: &Handle) -> (u64, u64, u64, bool) {
    let state = stream.call(|shard, id| {
        let stream = shard.stream(id)?;
        let state = stream.state()?;
        let consumer = stream.consumer_names().iter().any(|name| &**name == "c");
        Ok((state.first_seq, state.last_seq, state.messages, consumer))
    });
    state.unwrap()
}

#[test]
fn the_journal_of_a_stream_that_stays_offline_stays_short_and_loses_nothing() {
    let (sender, told) = channel();
    let watched = Arc::<Watched>::default();
    let mut bench = Bench::with_outlet(Storage::Segment, move || Box::new(Told(sender.clone())));
    bench.checkpoint_bytes = CHECKPOINT;
    let rules = watched.clone();
    bench.wrap = Some(Arc::new(move |inner| under(inner, rules.clone())));
    bench.open();
    let (held, busy) = (bench.create(&config("H")), bench.create(&config("B")));
    *watched.down.lock() = Some(held.id.log());
    // All this is in the journal, in one turn, and nowhere else.
    let filled = held.call(|shard, id| {
        for _ in 0..HELD {
            shard.publish(id, "H.a".into(), 0, vec![7; 100].into())?;
        }
        shard.delete_message(id, 3, false)?;
        let consumer = ConsumerConfig {
            name: "c".into(),
            durable_name: "c".into(),
            ..ConsumerConfig::default()
        };
        shard.create_consumer(id, consumer).map(|_| ())
    });
    filled.unwrap();
    wait(&told, "H offline");
    let mut behind = watched.journal.lock().last;
    let mut stored = 0;
    // A neighbour goes on until what is needed was moved: the journal begins behind where that was.
    let mut go_on = |busy: &Handle, behind: u64| {
        for _ in 0..MANY {
            busy.publish("B.a", "", &[7; 500]).unwrap();
            stored += 1;
            if watched.journal.lock().first > behind {
                return stored;
            }
        }
        panic!("the journal begins at {} still", watched.journal.lock().first);
    };
    go_on(&busy, behind);
    behind = watched.journal.lock().last;
    go_on(&busy, behind);
    // Over a start, too.
    bench.kill();
    bench.open();
    let busy = bench.find("B").unwrap();
    behind = watched.journal.lock().last.max(behind);
    let all = go_on(&busy, behind);
    *watched.down.lock() = None;
    bench.advance(120 * SECOND);
    wait(&told, "H online");
    for _ in 0..2 {
        let held = bench.find("H").unwrap();
        assert_eq!(state(&held), (1, HELD, HELD - 1, true));
        assert_eq!(&held.message(HELD).unwrap().payload[..], [7; 100]);
        assert!(held.message(3).is_none());
        assert_eq!(state(&bench.find("B").unwrap()).1, all);
        bench.kill();
        bench.open();
    }
}
