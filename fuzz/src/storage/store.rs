//! A whole store on a disk in memory: two streams, with what a catalogue and a journal say of them.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use weir_backends::memory::MemoryBackend;
use weir_backends::segment::SegmentBackend;
use weir_backends::segment::disk::SimulatedDisk;
use weir_engine::consumer::{AckPolicy, ConsumerConfig};
use weir_engine::store::OpenBackend;
use weir_engine::stream::settings::{BackendKind, Defaults};
use weir_engine::stream::{StreamConfig, StreamState};
use weir_engine::{Backend, NanoTime, Result, Store, StoreOptions};

pub const FOLDER: &str = "/store";
pub const ACCOUNT: &str = "A";
/// The stream that what is tried is about.
pub const STREAM: &str = "S";
/// The stream that must not notice.
pub const OTHER: &str = "OTHER";
/// What is left of each of the journal's files.
const JOURNAL_BYTES: usize = 8 << 10;
/// What the clock says.
pub const NOW: NanoTime = 1_700_000_000_000_000_000;

/// A disk with the store on it.
pub fn template() -> &'static SimulatedDisk {
    static TEMPLATE: OnceLock<SimulatedDisk> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let disk = Arc::new(SimulatedDisk::new(1));
        let store = open(&disk).expect("a store");
        for (name, subject) in [(STREAM, "s.>"), (OTHER, "other.>")] {
            let config = StreamConfig {
                name: name.into(),
                subjects: vec![subject.into()],
                duplicate_window: 60_000_000_000,
                max_msgs_per_subject: 5,
                allow_msg_ttl: true,
                ..StreamConfig::default()
            };
            let made = store.create_stream(ACCOUNT, config, &Defaults::default());
            let stream = made.expect("a stream");
            let config = ConsumerConfig {
                durable_name: "c".into(),
                ack_policy: AckPolicy::Explicit,
                ..ConsumerConfig::default()
            };
            stream.create_consumer(config).expect("a consumer");
            for number in 0..4 {
                let headers = format!("NATS/1.0\r\nNats-Msg-Id: {number}\r\n\r\n");
                let subject = subject.replace('>', &(number % 3).to_string());
                stream.publish(&subject, &headers, b"payload").expect("a message");
            }
            let messages = stream.fetch("c", 2, Duration::ZERO).expect("messages");
            messages[0].ack().expect("an ack");
        }
        store.close();
        drop(store);
        disk.kill();
        // A journal that is made at its full size is mostly zeros, and they are looked at again and again.
        for file in disk.files(&Path::new(FOLDER).join("logs/0000000000000001")) {
            disk.cut(&file, JOURNAL_BYTES).expect("the journal's file");
        }
        disk.copy()
    })
}

/// Opens the store.
pub fn open(disk: &Arc<SimulatedDisk>) -> Result<Store> {
    disk.boot();
    let disk = disk.clone();
    let open: OpenBackend = Box::new(move |kind| {
        Ok(match kind {
            BackendKind::Segment => Arc::new(SegmentBackend::open_on(&disk, Path::new(FOLDER))?) as Arc<dyn Backend>,
            _ => Arc::new(MemoryBackend::new()),
        })
    });
    let options = StoreOptions {
        shards: 1,
        ..StoreOptions::new(Arc::new(|| NOW))
    };
    Store::embedded(open, options)
}

/// Uses everything that is there; answers what the streams hold then, but for those that are offline.
pub fn used(store: &Store) -> Vec<(String, StreamState)> {
    let mut states = Vec::new();
    for entry in store.catalogue().list(ACCOUNT) {
        let Ok(stream) = store.stream(ACCOUNT, &entry.name) else {
            continue;
        };
        let _ = stream.messages(">", 0, 20, 1 << 20);
        let _ = stream.last_message("s.*");
        for subject in ["s.1", "other.1"] {
            let _ = stream.publish(subject, "NATS/1.0\r\nNats-Msg-Id: new\r\n\r\n", b"more");
        }
        for message in stream.fetch("c", 4, Duration::ZERO).unwrap_or_default() {
            let _ = message.ack();
        }
        let _ = stream.consumer_info("c");
        if entry.offline.is_none()
            && let Ok(state) = stream.state()
        {
            states.push((entry.name.to_string(), state));
        }
    }
    states
}

/// Closes a store, and opens it again: what it held is there, and only that.
pub fn again(disk: &Arc<SimulatedDisk>, store: Store, before: &[(String, StreamState)]) {
    store.close();
    drop(store);
    disk.kill();
    let store = open(disk).expect("a store that was opened and closed opens again");
    for (name, state) in before {
        let entry = store.catalogue().get(ACCOUNT, name).expect("a stream stays");
        assert!(entry.offline.is_none(), "{name}: {:?}", entry.offline);
        let now = store.stream(ACCOUNT, name).and_then(|stream| stream.state());
        assert_eq!(now.ok().as_ref(), Some(state), "{name}");
    }
    store.close();
}
