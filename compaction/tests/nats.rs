//! Directories that genuine nats-servers wrote (`nats-stores/make.py` says how), read and held against what the same
//! servers said of them after a restart.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use weir_backends::root::StoreDir;
use weir_compaction::import::{NatsOptions, import_nats};
use weir_compaction::nats::{Consumer, Error, Finding, Findings, State, Stream, What, open};
use weir_engine::consumer::ConsumerConfig;
use weir_engine::json::parse_time;
use weir_engine::stream::{Message, StreamConfig};
use weir_engine::{NanoTime, SECOND, Seq, Store, StoreOptions};

const STORES: [&str; 6] = [
    "2.10/stopped",
    "2.10/killed",
    "2.12/stopped",
    "2.12/killed",
    "2.15/stopped",
    "2.15/killed",
];

fn folder(store: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/nats-stores")
        .join(store)
}

/// What the server said of a store, by account and stream.
fn facts(store: &str) -> BTreeMap<String, BTreeMap<String, Value>> {
    serde_json::from_slice(&fs::read(format!("{}.json", folder(store).display())).unwrap()).unwrap()
}

/// A copy of a store, to damage.
fn copy(store: &str) -> TempDir {
    fn copy_into(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().flatten() {
            match entry.path().is_dir() {
                true => copy_into(&entry.path(), &to.join(entry.file_name())),
                false => {
                    fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
                }
            }
        }
    }
    let to = tempfile::tempdir().unwrap();
    copy_into(&folder(store), to.path());
    to
}

/// The one stream of this name.
fn stream(store: &Path, name: &str) -> Stream {
    let store = open(store).unwrap();
    let mut streams = store.accounts.into_iter().flat_map(|account| account.streams);
    streams.find(|stream| stream.name == name).unwrap()
}

fn file_of(store: &Path, stream: &str, file: &str) -> PathBuf {
    store.join("jetstream/SALES/streams").join(stream).join(file)
}

fn read(stream: &Stream) -> (State, Vec<Message>, Findings) {
    let mut messages = stream.messages().unwrap();
    let state = messages.state();
    let all = messages.by_ref().collect();
    (state, all, messages.findings())
}

fn damage(findings: &Findings) -> Vec<&Finding> {
    findings.list().iter().filter(|finding| finding.is_damage()).collect()
}

fn seqs(messages: &[Message]) -> Vec<Seq> {
    messages.iter().map(|message| message.seq).collect()
}

fn time(value: &Value) -> NanoTime {
    parse_time(value.as_str().unwrap()).unwrap().unwrap_or(0)
}

/// The state as the server says it. A stream that never had a message has a time of the year 1754 or none.
fn state(fact: &Value) -> State {
    let number = |name: &str| fact[name].as_u64().unwrap();
    State {
        messages: number("messages"),
        bytes: number("bytes"),
        first_seq: number("first_seq"),
        last_seq: number("last_seq"),
        last_time: time(&fact["last_ts"]).max(0),
    }
}

/// What nats-server 2.10 does to a stream with a first sequence whenever it starts: it empties it, unless its first
/// message is gone. Later versions do not.
fn is_emptied_by_2_10(store: &str, stream: &str) -> bool {
    store.starts_with("2.10") && stream == "BEGUN"
}

/// A message as [`facts`] have it.
fn told(message: &Message) -> Value {
    let payload = match message.payload.len() {
        len @ 65.. => {
            let sum = Sha256::digest(&message.payload);
            let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
            serde_json::json!({"len": len, "sha256": sum})
        }
        _ => base64(&message.payload).into(),
    };
    let subject = String::from_utf8(message.subject.to_vec()).unwrap();
    serde_json::json!([message.seq, message.time, subject, base64(&message.headers), payload])
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            match digit <= three.len() {
                true => out.push(char::from(DIGITS[(word >> (18 - 6 * digit) & 63) as usize])),
                false => out.push('='),
            }
        }
    }
    out
}

#[test]
fn what_is_read_is_what_the_server_serves() {
    for name in STORES {
        let store = open(&folder(name)).unwrap();
        assert_eq!(store.findings.list(), [], "{name}");
        let facts = facts(name);
        let accounts: Vec<_> = store.accounts.iter().map(|account| &account.name).collect();
        assert_eq!(accounts, facts.keys().collect::<Vec<_>>());
        for account in &store.accounts {
            let facts = &facts[&account.name];
            let names: Vec<_> = account.streams.iter().map(|stream| &stream.name).collect();
            assert_eq!(names, facts.keys().collect::<Vec<_>>());
            for stream in &account.streams {
                if is_emptied_by_2_10(name, &stream.name) {
                    continue;
                }
                let fact = &facts[&stream.name];
                let (found, messages, findings) = read(stream);
                let at = format!("{name} {}: {:?}", stream.name, findings.list());
                assert_eq!(found, state(&fact["state"]), "{at}");
                assert_eq!(damage(&findings), Vec::<&Finding>::new(), "{at}");
                assert_eq!(stream.created, time(&fact["created"]), "{at}");
                let mut fact_messages = fact["messages"].as_array().unwrap().clone();
                for message in &mut fact_messages {
                    message[1] = time(&message[1]).into();
                }
                assert_eq!(messages.iter().map(told).collect::<Vec<_>>(), fact_messages, "{at}");
                check_consumers(stream, fact, &at);
                if name.ends_with("stopped") {
                    check_config(stream, fact, &at);
                }
            }
        }
    }
}

fn check_consumers(stream: &Stream, fact: &Value, at: &str) {
    let facts = fact["consumers"].as_object().unwrap();
    let names: Vec<_> = stream.consumers.iter().map(|consumer| &consumer.name).collect();
    assert_eq!(names, facts.keys().collect::<Vec<_>>(), "{at}");
    for consumer in &stream.consumers {
        let fact = &facts[&consumer.name];
        let state = consumer.state.clone().unwrap();
        for (pair, fact) in [
            (state.delivered, &fact["delivered"]),
            (state.ack_floor, &fact["ack_floor"]),
        ] {
            assert_eq!(Some(pair.consumer), fact["consumer_seq"].as_u64(), "{at}");
            assert_eq!(Some(pair.stream), fact["stream_seq"].as_u64(), "{at}");
        }
        assert_eq!(
            Some(state.pending.len() as u64),
            fact["num_ack_pending"].as_u64(),
            "{at}"
        );
        assert_eq!(
            Some(state.redelivered.len() as u64),
            fact["num_redelivered"].as_u64(),
            "{at}"
        );
        assert_eq!(consumer.created, time(&fact["created"]), "{at}");
    }
}

/// What the server adds to a description when it tells it is left out.
fn check_config(stream: &Stream, fact: &Value, at: &str) {
    let mut config = stream.config.clone();
    let mut told: StreamConfig = serde_json::from_value(fact["config"].clone()).unwrap();
    let from_json: StreamConfig = serde_json::from_str(&stream.config_json).unwrap();
    assert_eq!(from_json, config);
    for config in [&mut config, &mut told] {
        config.metadata.retain(|key, _| !key.starts_with("_nats."));
    }
    assert_eq!(config, told, "{at}");
    for consumer in &stream.consumers {
        let mut config = consumer.config.clone();
        let told = fact["consumers"][&consumer.name]["config"].clone();
        let mut told: ConsumerConfig = serde_json::from_value(told).unwrap();
        let from_json: ConsumerConfig = serde_json::from_str(&consumer.config_json).unwrap();
        assert_eq!(from_json, config);
        for config in [&mut config, &mut told] {
            config.metadata.retain(|key, _| !key.starts_with("_nats."));
        }
        assert_eq!(config, told, "{at}");
    }
}

#[test]
fn without_an_index_the_blocks_say_it() {
    for name in STORES {
        let copy = copy(name);
        let facts = facts(name);
        for (account, facts) in &facts {
            for stream in facts.keys() {
                let msgs = copy.path().join(format!("jetstream/{account}/streams/{stream}/msgs"));
                let _ = fs::remove_file(msgs.join("index.db"));
            }
        }
        for account in &open(copy.path()).unwrap().accounts {
            for stream in &account.streams {
                if is_emptied_by_2_10(name, &stream.name) {
                    continue;
                }
                let fact = &facts[&account.name][&stream.name]["without_index"];
                let (found, messages, findings) = read(stream);
                let at = format!("{name} {}: {:?}", stream.name, findings.list());
                assert_eq!(found, state(&fact["state"]), "{at}");
                let told: Vec<Seq> = serde_json::from_value(fact["messages"].clone()).unwrap();
                assert_eq!(seqs(&messages), told, "{at}");
            }
        }
    }
}

/// As the script says what it did with them.
#[test]
fn consumers_say_what_is_pending_and_since_when() {
    for version in ["2.10", "2.12", "2.15"] {
        let stream = stream(&folder(&format!("{version}/stopped")), "PLAIN");
        let of = |name: &str| -> &Consumer { stream.consumers.iter().find(|consumer| consumer.name == name).unwrap() };
        let worker = of("worker").state.clone().unwrap();
        let pending: Vec<_> = worker
            .pending
            .iter()
            .map(|(seq, pending)| (*seq, pending.sequence))
            .collect();
        assert_eq!(pending, [(5, 4), (6, 5), (8, 6)]);
        assert_eq!(worker.redelivered, [(5, 1)].into());
        for pending in worker.pending.values() {
            let since = pending.timestamp - of("worker").created;
            assert!((-2 * SECOND..10 * SECOND).contains(&since), "{since}");
        }
        let pushed = of("pushed").state.clone().unwrap();
        assert_eq!(
            pushed.pending.keys().copied().collect::<Vec<_>>(),
            [2, 5, 6, 8, 9, 10, 11]
        );
        assert!(of("pushed").config.is_push());
        assert_eq!(of("filtered").config.filter_subject, "plain.b");
        assert_eq!(of("unused").config.filter_subjects, ["plain.a", "plain.c"]);
    }
}

#[test]
fn a_torn_record_at_the_end_is_no_damage() {
    for version in ["2.10", "2.12", "2.15"] {
        let stream = stream(&folder(&format!("{version}/killed")), "TORN");
        let (_, _, findings) = read(&stream);
        let [no_index, torn] = findings.list() else {
            panic!("{findings:?}");
        };
        assert_eq!(no_index.what, What::NoIndex);
        assert!(matches!(torn.what, What::TornTail { bytes: 1.. }), "{torn}");
        assert!(!findings.any_damage());
    }
}

#[test]
fn a_damaged_record_is_told_and_stepped_over() {
    let copy = copy("2.15/stopped");
    let block = file_of(copy.path(), "PLAIN", "msgs/1.blk");
    let mut data = fs::read(&block).unwrap();
    let (_, whole, _) = read(&stream(copy.path(), "PLAIN"));
    // In the header block of message 6.
    let at = data.windows(7).position(|part| part == b"plain.c").unwrap();
    let at = at + data[at + 7..].windows(7).position(|part| part == b"plain.c").unwrap() + 7;
    data[at + 20] ^= 1;
    fs::write(&block, &data).unwrap();
    for lose_index in [false, true] {
        if lose_index {
            fs::remove_file(block.with_file_name("index.db")).unwrap();
        }
        let (_, messages, findings) = read(&stream(copy.path(), "PLAIN"));
        let [finding] = damage(&findings)[..] else {
            panic!("{findings:?}");
        };
        assert_eq!(finding.what, What::Checksum);
        assert_eq!(finding.file, block);
        let lost = finding.seq.unwrap();
        assert_eq!(finding.lost, Some((lost, lost)));
        let others: Vec<_> = whole.iter().filter(|message| message.seq != lost).cloned().collect();
        assert_eq!(others.len() + 1, whole.len());
        assert_eq!(messages, others);
        assert!(finding.to_string().contains(&format!("message {lost}")), "{finding}");
    }
}

#[test]
fn a_length_that_is_wrong_costs_one_record() {
    let copy = copy("2.15/stopped");
    let block = file_of(copy.path(), "MARKS", "msgs/1.blk");
    let mut data = fs::read(&block).unwrap();
    let (_, whole, _) = read(&stream(copy.path(), "MARKS"));
    let second = u32::from_le_bytes([data[0], data[1], data[2], data[3]]) as usize;
    for (at, bit) in [
        (second, 0x01),
        (second + 2, 0x40),
        (second + 3, 0x80),
        (second + 20, 0x10),
    ] {
        let mut damaged = data.clone();
        damaged[at] ^= bit;
        fs::write(&block, &damaged).unwrap();
        let (_, messages, findings) = read(&stream(copy.path(), "MARKS"));
        assert!(findings.any_damage(), "{at}");
        assert_eq!(messages, whole[1..], "{at}: {findings:?}");
        assert_eq!(damage(&findings)[0].lost, Some((2, 2)), "{findings:?}");
    }
    // The index knows how many messages there were, even where a block ends between two of them.
    data.truncate(second);
    fs::write(&block, &data).unwrap();
    assert!(!read(&stream(copy.path(), "MARKS")).2.list().is_empty());
}

#[test]
fn a_part_of_a_packed_block_that_is_damaged_is_told() {
    let copy = copy("2.15/stopped");
    let block = file_of(copy.path(), "PACKED", "msgs/1.blk");
    let mut data = fs::read(&block).unwrap();
    let (_, whole, _) = read(&stream(copy.path(), "PACKED"));
    let middle = data.len() / 2;
    data[middle] ^= 1;
    fs::write(&block, &data).unwrap();
    let (_, messages, findings) = read(&stream(copy.path(), "PACKED"));
    assert!(matches!(damage(&findings)[0].what, What::Packed(_)), "{findings:?}");
    assert!(!messages.is_empty() && messages.len() < whole.len());
    assert_eq!(messages, whole[whole.len() - messages.len()..]);
}

#[test]
fn a_block_that_is_gone_or_cut_between_records_is_told() {
    let copy = copy("2.15/stopped");
    let block = file_of(copy.path(), "PACKED", "msgs/1.blk");
    let whole = fs::read(&block).unwrap();
    fs::write(&block, b"").unwrap();
    // Nothing in it, and nothing wrong with it, but for what the index says.
    let (_, messages, findings) = read(&stream(copy.path(), "PACKED"));
    assert_eq!(messages[0].seq, 8);
    assert_eq!(damage(&findings)[0].what, What::Missing { messages: 6 }, "{findings:?}");
    fs::remove_file(&block).unwrap();
    let (state, messages, findings) = read(&stream(copy.path(), "PACKED"));
    assert_eq!((messages[0].seq, state.first_seq), (8, 8));
    assert_eq!(findings.list()[0].what, What::StaleIndex);
    // The server wrote the index when it stopped, and no limit took anything since.
    assert_eq!(damage(&findings)[0].what, What::Missing { messages: 6 }, "{findings:?}");
    assert_eq!(damage(&findings)[0].lost, Some((1, 7)));
    assert!(whole.len() > 100);
    // Where something was written since, a limit may have taken it.
    let folder = block.parent().unwrap();
    let last = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u32>().ok();
    let last = last.max_by_key(number).unwrap();
    let more = fs::read(&last).unwrap();
    fs::write(&last, &more[..more.len() - 3]).unwrap();
    let (_, _, findings) = read(&stream(copy.path(), "PACKED"));
    assert!(
        findings
            .list()
            .iter()
            .any(|found| matches!(found.what, What::FrontGone { messages: 6 })),
        "{findings:?}"
    );
    // No purge leaves nothing at all.
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|end| end == "blk") {
            fs::remove_file(path).unwrap();
        }
    }
    let (_, messages, findings) = read(&stream(copy.path(), "PACKED"));
    assert!(messages.is_empty() && !damage(&findings).is_empty(), "{findings:?}");
}

#[test]
fn what_cannot_be_read_is_refused_in_words_that_help() {
    let empty = tempfile::tempdir().unwrap();
    let error = open(empty.path()).unwrap_err();
    assert!(matches!(error, Error::NotAStore { .. }), "{error}");

    for key in ["meta.key", "obs/worker/meta.key"] {
        let encrypted = copy("2.15/stopped");
        fs::write(file_of(encrypted.path(), "PLAIN", key), [0; 80]).unwrap();
        let error = open(encrypted.path()).unwrap_err();
        assert!(matches!(error, Error::Encrypted { .. }), "{error}");
        assert!(error.to_string().contains("nats stream backup"), "{error}");
    }

    let cluster = copy("2.15/stopped");
    for group in ["_meta_", "S-R3F-abcdefgh"] {
        fs::create_dir_all(cluster.path().join("jetstream/$SYS/_js_").join(group)).unwrap();
    }
    let error = open(cluster.path()).unwrap_err();
    assert!(matches!(error, Error::Clustered { groups: 2, .. }), "{error}");

    let old = copy("2.15/stopped");
    fs::write(file_of(old.path(), "PLAIN", "msgs/1.idx"), [0; 80]).unwrap();
    let error = stream(old.path(), "PLAIN").messages().err().unwrap();
    assert!(matches!(error, Error::TooOld { .. }), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_store_that_another_process_has_open_is_refused() {
    let copy = copy("2.15/stopped");
    let block = fs::File::open(file_of(copy.path(), "PLAIN", "msgs/1.blk")).unwrap();
    let mut other = std::process::Command::new("cat")
        .arg("/dev/stdin")
        .stdin(std::process::Stdio::piped())
        .stderr(block)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let error = open(copy.path()).unwrap_err();
    assert!(
        matches!(error, Error::InUse { pid, .. } if pid == other.id()),
        "{error}"
    );
    drop(other.stdin.take());
    other.wait().unwrap();
    open(copy.path()).unwrap();
}

#[test]
fn an_unfinished_purge_counts_as_done() {
    let copy = copy("2.15/stopped");
    let purged = file_of(copy.path(), "PURGED", "msgs");
    let msgs = file_of(copy.path(), "MARKS", "msgs");
    // A block is checked under its stream's name: the mark of another stream's purge says nothing here.
    let new = msgs.with_file_name("__new_msgs__");
    fs::create_dir_all(&new).unwrap();
    let (_, messages, _) = read(&stream(copy.path(), "MARKS"));
    assert_eq!(messages.len(), 7);
    let purge = file_of(copy.path(), "PURGED", "__new_msgs__");
    fs::rename(&purged, &purge).unwrap();
    fs::create_dir_all(&purged).unwrap();
    fs::remove_file(purge.join("index.db")).unwrap();
    let (state, messages, findings) = read(&stream(copy.path(), "PURGED"));
    assert_eq!(
        (state.first_seq, state.last_seq, messages.len()),
        (6, 5, 0),
        "{findings:?}"
    );
    assert_eq!(findings.list()[0].what, What::UnfinishedPurge);
}

#[test]
fn a_batch_that_was_cut_off_is_told() {
    let copy = copy("2.15/stopped");
    let block = file_of(copy.path(), "BATCHES", "msgs/1.blk");
    let data = fs::read(&block).unwrap();
    // Two of three messages of the batch are stored, and the server was killed.
    let length = |at: usize| u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
    let end = (0..2).fold(0, |at, _| at + (length(at) & 0x7fff_ffff) as usize);
    fs::write(&block, &data[..end]).unwrap();
    fs::remove_file(block.with_file_name("index.db")).unwrap();
    let (_, messages, findings) = read(&stream(copy.path(), "BATCHES"));
    assert_eq!(seqs(&messages), [1, 2]);
    assert_eq!(damage(&findings)[0].what, What::UnfinishedBatch, "{findings:?}");
}

/// What a Weir store serves of a stream that was imported, as [`facts`] have it.
#[test]
fn a_whole_store_comes_into_weir() {
    for name in STORES {
        let to = tempfile::tempdir().unwrap();
        let options = NatsOptions::default();
        let report = import_nats(to.path(), &folder(name), &options, &mut |_, _, _| {}).unwrap();
        let refused: Vec<_> = report
            .streams
            .iter()
            .filter(|stream| stream.imported.is_none())
            .collect();
        assert!(refused.is_empty(), "{name}: {refused:?}");
        assert!(!report.damaged, "{name}: {report:?}");
        let dir = StoreDir::new(to.path());
        let options = StoreOptions {
            there: dir.there(),
            still: true,
            ..StoreOptions::new(Arc::new(|| 2_000_000_000 * SECOND))
        };
        let store = Store::embedded(dir.opener(), options).unwrap();
        for (account, facts) in facts(name) {
            for (stream, fact) in facts {
                if is_emptied_by_2_10(name, &stream) {
                    continue;
                }
                let at = format!("{name} {account} {stream}");
                let imported = store.stream(&account, &stream).unwrap();
                let read = imported.messages("", 0, usize::MAX, usize::MAX).unwrap();
                let mut told: Vec<_> = read.iter().map(told).collect();
                let mut wanted = fact["messages"].as_array().unwrap().clone();
                for message in &mut wanted {
                    message[1] = time(&message[1]).into();
                }
                let entry = store.catalogue().get(&account, &stream).unwrap();
                assert_eq!(entry.created, time(&fact["created"]), "{at}");
                let has_lives = entry.config.max_age > 0 || entry.config.allow_msg_ttl;
                if has_lives {
                    // What has ended its life since is left out.
                    wanted.retain(|message| told.contains(message));
                    told.retain(|message| wanted.contains(message));
                }
                assert_eq!(told, wanted, "{at}");
                let state = imported.state().unwrap();
                assert_eq!(state.last_seq, fact["state"]["last_seq"], "{at}");
                if !has_lives {
                    assert_eq!(state.messages, fact["state"]["messages"], "{at}");
                    assert_eq!(state.bytes, fact["state"]["bytes"], "{at}");
                }
                for (consumer, fact) in fact["consumers"].as_object().unwrap() {
                    let asked = consumer.clone();
                    let info = imported.call(move |shard, id| shard.consumer_info(id, &asked)).unwrap();
                    assert_eq!(
                        info.delivered.stream, fact["delivered"]["stream_seq"],
                        "{at} {consumer}"
                    );
                    assert_eq!(
                        info.ack_floor.stream, fact["ack_floor"]["stream_seq"],
                        "{at} {consumer}"
                    );
                    assert_eq!(info.num_ack_pending, fact["num_ack_pending"], "{at} {consumer}");
                    assert_eq!(info.created, time(&fact["created"]), "{at} {consumer}");
                }
            }
        }
    }
}

#[test]
fn one_stream_of_a_store_comes_into_an_account_and_what_is_damaged_is_told() {
    let (from, to) = (copy("2.15/stopped"), tempfile::tempdir().unwrap());
    let options = NatsOptions {
        from_account: Some("SALES".into()),
        stream: Some("PLAIN".into()),
        account: Some("$G".into()),
        ..NatsOptions::default()
    };
    let import = || import_nats(to.path(), from.path(), &options, &mut |_, _, _| {});
    let whole = import().unwrap();
    let [stream] = &whole.streams[..] else {
        panic!("{whole:?}")
    };
    let messages = stream.imported.as_ref().unwrap().messages;
    assert_eq!(stream.imported.as_ref().unwrap().account, "$G");
    assert!(messages > 2 && !whole.damaged, "{whole:?}");
    let again = import().unwrap();
    // As a run that goes on behind one that was killed.
    assert!(!again.any_refused() && again.streams[0].before);

    let block = file_of(from.path(), "PLAIN", "msgs/1.blk");
    let mut bytes = fs::read(&block).unwrap();
    bytes[40] ^= 1;
    fs::write(&block, bytes).unwrap();
    let elsewhere = NatsOptions {
        account: Some("B".into()),
        ..options.clone()
    };
    let damaged = import_nats(to.path(), from.path(), &elsewhere, &mut |_, _, _| {}).unwrap();
    assert!(damaged.damaged, "{damaged:?}");
    assert_eq!(damaged.streams[0].imported.as_ref().unwrap().messages, messages - 1);
    assert!(damaged.streams[0].findings[0].contains("1.blk"), "{damaged:?}");

    // One of which nothing is known but its name is one of them.
    let unknown = copy("2.15/stopped");
    fs::write(file_of(unknown.path(), "PLAIN", "meta.inf"), "{").unwrap();
    let all = NatsOptions {
        account: Some("C".into()),
        ..NatsOptions::default()
    };
    let left = import_nats(to.path(), unknown.path(), &all, &mut |_, _, _| {}).unwrap();
    let refused: Vec<_> = left.streams.iter().filter(|stream| stream.stream == "PLAIN").collect();
    assert!(
        left.damaged && refused.iter().any(|stream| stream.imported.is_none()),
        "{refused:?}"
    );

    let none = NatsOptions {
        stream: Some("NONE".into()),
        ..options
    };
    let none = import_nats(to.path(), from.path(), &none, &mut |_, _, _| {}).unwrap_err();
    assert!(none.to_string().contains("no stream \"NONE\""), "{none}");
}

/// Of each stream in `SALES`, a copy of whose store is damaged, what importing all of it says.
fn imported(from: &Path, to: &Path) -> weir_compaction::import::FromNats {
    import_nats(to, from, &NatsOptions::default(), &mut |_, _, _| {}).unwrap()
}

/// Genuine servers write a consumer's state when they make it: where it is gone, nobody knows how far the consumer was.
#[test]
fn a_consumer_without_its_state_is_told_of() {
    for store in STORES {
        let whole = tempfile::tempdir().unwrap();
        let before = imported(&folder(store), &whole.path().join("to"));
        for empty in [false, true] {
            let copy = copy(store);
            let stream = open(copy.path()).unwrap().accounts.into_iter().find_map(|account| {
                let mut streams = account.streams.into_iter();
                streams.find(|stream| account.name == "SALES" && !stream.consumers.is_empty())
            });
            let stream = stream.unwrap();
            let name = &stream.consumers[0].name;
            let state = file_of(copy.path(), &stream.name, &format!("obs/{name}/o.dat"));
            match empty {
                true => fs::write(&state, b"").unwrap(),
                false => fs::remove_file(&state).unwrap(),
            }
            let to = tempfile::tempdir().unwrap();
            let report = imported(copy.path(), &to.path().join("to"));
            assert!(report.damaged, "{store}");
            let new: Vec<_> = report
                .findings
                .iter()
                .filter(|line| !before.findings.contains(line))
                .collect();
            assert!(
                new.len() == 1
                    && new[0].contains(&format!("obs/{name}/o.dat"))
                    && new[0].contains("how far the consumer was"),
                "{new:?}"
            );
        }
    }
}

/// Blocks are numbered one by one: where the index is gone, and with it a block between others, its messages are missed.
#[test]
fn without_an_index_a_block_between_others_is_missed() {
    let mut tried = 0;
    for store in STORES {
        let copy = copy(store);
        for account in open(copy.path()).unwrap().accounts {
            for stream in account.streams {
                let folder = copy
                    .path()
                    .join("jetstream")
                    .join(&account.name)
                    .join("streams")
                    .join(&stream.name);
                let index = folder.join("msgs/index.db");
                let _ = fs::remove_file(&index);
                let (_, all, findings) = read(&stream);
                assert!(damage(&findings).is_empty(), "{store} {}: {findings:?}", stream.name);
                let mut blocks: Vec<u32> = fs::read_dir(folder.join("msgs"))
                    .unwrap()
                    .filter_map(|entry| {
                        entry
                            .unwrap()
                            .path()
                            .file_name()?
                            .to_str()?
                            .strip_suffix(".blk")?
                            .parse()
                            .ok()
                    })
                    .collect();
                blocks.sort_unstable();
                for middle in blocks.iter().skip(1).rev().skip(1) {
                    let path = folder.join(format!("msgs/{middle}.blk"));
                    let away = folder.join("away");
                    fs::rename(&path, &away).unwrap();
                    let (_, left, findings) = read(&stream);
                    let gone = all.len() - left.len();
                    let told = findings
                        .list()
                        .iter()
                        .filter(|found| matches!(found.what, What::Gap { .. }));
                    let told: Vec<_> = told.collect();
                    if gone > 0 {
                        tried += 1;
                        assert!(
                            !told.is_empty(),
                            "{store} {} {middle}: {gone} gone, {findings:?}",
                            stream.name
                        );
                    }
                    fs::rename(&away, &path).unwrap();
                }
            }
        }
    }
    assert!(tried > 0, "no store has a stream of three blocks");
}

/// An import that was cut short goes on when it is run again: what came in as a whole is left as it is.
#[test]
fn an_import_of_all_streams_can_be_run_again() {
    let store = "2.15/stopped";
    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("to");
    let all = imported(&folder(store), &to);
    assert!(!all.any_refused());
    // As a kill between two streams leaves it: the last one is not there.
    let gone = all.streams.last().unwrap().imported.clone().unwrap();
    let opened = Store::embedded(
        StoreDir::new(&to).opener(),
        StoreOptions::new(Arc::new(|| 1_800_000_000 * SECOND)),
    )
    .unwrap();
    opened.stream(&gone.account, &gone.stream).unwrap().delete().unwrap();
    opened.close();
    let again = imported(&folder(store), &to);
    assert!(
        !again.any_refused(),
        "{:?}",
        again.streams.iter().map(|stream| &stream.refused).collect::<Vec<_>>()
    );
    let (last, others) = again.streams.split_last().unwrap();
    assert!(!last.before && others.iter().all(|stream| stream.before));
    for (one, other) in all.streams.iter().zip(&again.streams) {
        let (one, other) = (one.imported.as_ref().unwrap(), other.imported.as_ref().unwrap());
        assert_eq!(one.consumers, other.consumers);
        // What lived only for a while is gone by now, which takes sequences.
        assert!(one.last_seq <= other.last_seq && other.messages <= one.messages);
    }
    // Another stream of that name is refused as before.
    let opened = Store::embedded(
        StoreDir::new(&to).opener(),
        StoreOptions::new(Arc::new(|| 1_800_000_000 * SECOND)),
    )
    .unwrap();
    opened.stream(&gone.account, &gone.stream).unwrap().delete().unwrap();
    let config = StreamConfig {
        name: gone.stream.clone(),
        subjects: vec!["another".to_owned()],
        ..StreamConfig::default()
    };
    opened
        .create_stream(&gone.account, config, &Default::default())
        .unwrap();
    opened.close();
    let refused = imported(&folder(store), &to);
    assert_eq!(
        refused
            .streams
            .iter()
            .filter(|stream| stream.imported.is_none())
            .count(),
        1
    );
}
