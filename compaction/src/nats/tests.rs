#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::io::{Seek, SeekFrom, Write};

use weir_engine::stream::Message;

use super::*;

/// A copy of one stream's folder in a store that a genuine server wrote.
fn copy(store: &str, stream: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    fn copy_into(from: &Path, to: &Path, files: &mut Vec<PathBuf>) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().flatten() {
            let to = to.join(entry.file_name());
            match entry.path().is_dir() {
                true => copy_into(&entry.path(), &to, files),
                false => {
                    fs::copy(entry.path(), &to).unwrap();
                    files.push(to);
                }
            }
        }
    }
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/nats-stores")
        .join(store)
        .join("jetstream/SALES/streams")
        .join(stream);
    let to = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    copy_into(&from, to.path(), &mut files);
    // One consumer is enough.
    for consumer in ["filtered", "pushed", "unused"] {
        let _ = fs::remove_dir_all(to.path().join("obs").join(consumer));
    }
    files.retain(|file| file.exists());
    files.sort();
    (to, files)
}

/// What there is to be known of a stream: from its descriptions and states, or from its messages' files.
#[derive(Debug, PartialEq)]
struct Known {
    consumers: Option<Vec<(String, Option<ConsumerState>)>>,
    description: (String, NanoTime),
    state: State,
    messages: Vec<Message>,
    findings: Vec<Finding>,
}

/// What a file in a stream's folder tells of it; the messages' files are read with the description that was there before.
fn know(folder: &Path, file: &Path, before: &Stream) -> Known {
    let mut findings = Findings::default();
    let mut known = Known {
        consumers: None,
        description: Default::default(),
        state: State::default(),
        messages: Vec::new(),
        findings: Vec::new(),
    };
    if file.parent().unwrap().ends_with("msgs") {
        let mut messages = before.messages().unwrap();
        known.state = messages.state();
        known.messages = messages.by_ref().collect();
        findings.append(&messages.findings());
    } else if let Some(stream) = Stream::read(folder, &before.name, &mut findings).unwrap() {
        let consumers = stream.consumers.into_iter();
        let consumers = consumers.map(|consumer| (consumer.name + &consumer.config_json, consumer.state));
        known.consumers = Some(consumers.collect());
        known.description = (stream.config_json, stream.created);
    }
    known.findings = findings.list().to_vec();
    known
}

fn read(folder: &Path, name: &str) -> Stream {
    Stream::read(folder, name, &mut Findings::default()).unwrap().unwrap()
}

/// Puts one byte into a file. It is not written anew, which file systems take for more than it is.
fn put(file: &Path, at: usize, byte: u8) {
    let mut file = fs::File::options().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[byte]).unwrap();
}

/// Where the lengths of subjects stand in a block: two bytes that no checksum covers.
fn subject_lengths(block: &[u8]) -> Vec<usize> {
    let mut at = 0;
    let mut lengths = Vec::new();
    while at + 22 < block.len() {
        lengths.extend([at + 20, at + 21]);
        let length = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        at += (length & 0x7fff_ffff) as usize;
    }
    lengths
}

/// One bit is flipped in every byte of every file: nothing panics, and what comes out other than before is told.
#[test]
fn no_byte_that_is_wrong_goes_unnoticed() {
    for (store, stream) in [
        ("2.15/stopped", "PLAIN"),
        ("2.10/killed", "TORN"),
        ("2.15/stopped", "CUT"),
    ] {
        let (folder, files) = copy(store, stream);
        let stream = read(folder.path(), stream);
        let (mut flips, mut told) = (0, 0);
        for file in files {
            let whole = fs::read(&file).unwrap();
            let before = know(folder.path(), &file, &stream);
            let is_block = file.extension().is_some_and(|extension| extension == "blk");
            let subject_lengths = if is_block { subject_lengths(&whole) } else { Vec::new() };
            for (at, &byte) in whole.iter().enumerate() {
                put(&file, at, byte ^ 1 << (at % 8));
                let after = know(folder.path(), &file, &stream);
                flips += 1;
                put(&file, at, byte);
                told += usize::from(after.findings != before.findings);
                // The format has no checksum over these.
                if file.ends_with("o.dat") || subject_lengths.contains(&at) {
                    continue;
                }
                assert!(
                    after.findings != before.findings || after == before,
                    "{} at {at}: {after:?}",
                    file.display()
                );
            }
        }
        assert!(told * 10 > flips * 8, "{}: {told} of {flips}", stream.name);
    }
}

/// Every file is cut short at every byte: nothing panics, and messages that are left are as they were.
#[test]
fn a_file_that_is_cut_short_costs_what_was_in_it() {
    for (store, stream) in [("2.15/stopped", "PLAIN"), ("2.10/killed", "TORN")] {
        let (folder, files) = copy(store, stream);
        let stream = read(folder.path(), stream);
        for file in files {
            let whole = fs::read(&file).unwrap();
            let before = know(folder.path(), &file, &stream);
            for len in (0..whole.len()).rev() {
                fs::File::options()
                    .write(true)
                    .open(&file)
                    .unwrap()
                    .set_len(len as u64)
                    .unwrap();
                let after = know(folder.path(), &file, &stream);
                let is_kept = |message: &Message| before.messages.contains(message);
                let is_marks = file.extension().is_some_and(|extension| extension == "blk");
                // Without the marks at a block's end, what they delete is there again.
                assert!(
                    is_marks || after.messages.iter().all(is_kept),
                    "{} at {len}",
                    file.display()
                );
                assert!(
                    !after.findings.is_empty() || after == before || file.ends_with("o.dat"),
                    "{} at {len}",
                    file.display()
                );
            }
            fs::write(&file, &whole).unwrap();
        }
    }
}

/// A message that holds the bytes of a block, and is damaged: its records are not taken for the stream's unless their
/// sequences and checksums fit, and looking for them takes a bounded time.
#[test]
fn looking_for_the_next_record_has_a_bound() {
    let key = HashKey::of_block("S", 1);
    // Heads that look like records of 4,000 bytes, one at every byte that can have one, and no checksum that matches.
    let mut head = Vec::new();
    head.extend_from_slice(&4000u32.to_le_bytes());
    head.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    head.extend_from_slice(&[0; 8]);
    head.extend_from_slice(&[0, 0]);
    let data: Vec<u8> = head.iter().copied().cycle().take(200_000).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.blk");
    fs::write(&path, data).unwrap();
    let block = block::Block::read(&path, key).unwrap();
    let records: Vec<_> = block.walk().collect();
    assert_eq!(records.len(), 1);
    let bad = records[0].as_ref().unwrap_err();
    assert_eq!((bad.at.clone(), bad.is_tail), (0..200_000, true));
}
