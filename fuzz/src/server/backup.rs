//! Backups that a client restores: an archive of nats-server 2.15 or Weir, or the tar of an older one.

use std::io::Write;

use super::harness::Harness;

/// How a backup of today begins.
const MAGIC: &[u8] = b"NATSARC1";
/// Streams to restore as.
const CONFIGS: [&str; 8] = [
    r#""subjects":["r.>"]"#,
    r#""subjects":["r.>"],"max_msgs":2"#,
    r#""subjects":["r.>"],"storage":"memory","max_msgs_per_subject":1"#,
    r#""subjects":["r.>"],"retention":"workqueue""#,
    r#""subjects":["r.>"],"retention":"interest","max_consumers":1"#,
    r#""subjects":["r.>"],"max_bytes":300,"max_msg_size":40"#,
    r#""mirror":{"name":"NOBODY"}"#,
    r#""subjects":["r.>"],"allow_msg_counter":true"#,
];
/// What the client says of it.
const STATES: [&str; 4] = [
    "{}",
    r#"{"messages":3,"bytes":100,"first_seq":1,"last_seq":3}"#,
    r#"{"messages":1,"first_seq":4611686018427387904,"last_seq":4611686018427387904}"#,
    r#"{"first_seq":5,"last_seq":2,"last_ts":"2026-01-01T00:00:00Z","consumer_count":7}"#,
];

/// Whatever the backup says, its restore ends with an answer; then the whole stream is there, and takes a message, or
/// nothing of it.
///
/// The first byte chooses the configuration and what is said of the backup (2 bits, and what is told is no matter to most);
/// the second, by its bits: 1 what follows is the S2 stream itself, 2 it is what follows the mark of an archive, 4 it is a tar
/// whose checksums are made right, 8 it comes in small pieces.
pub fn backup(harness: &mut Harness, data: &[u8]) {
    let Some((&[what, how], content)) = data.split_first_chunk::<2>() else {
        return;
    };
    let (config, state) = (CONFIGS[usize::from(what % 8)], STATES[usize::from(what >> 3) % 4]);
    let request = format!(r#"{{"config":{{"name":"R",{config}}},"state":{state}}}"#);
    let begun = harness.ask_api("STREAM.RESTORE.R", request.as_bytes());
    if begun["error"].is_object() {
        return;
    }
    let subject = begun["deliver_subject"]
        .as_str()
        .expect("where the pieces go")
        .to_owned();
    let packed = match how & 1 {
        1 => content.to_vec(),
        _ => pack(how, content),
    };
    let piece = if how & 8 == 0 {
        1 << 20
    } else {
        40.max(packed.len() / 16)
    };
    let mut answer = Vec::new();
    for piece in packed.chunks(piece) {
        answer = harness.ask(subject.as_bytes(), piece);
        if !answer.is_empty() {
            break;
        }
    }
    if answer.is_empty() {
        answer = harness.ask(subject.as_bytes(), b"");
    }
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("the answer is a document");
    let info = harness.ask_api("STREAM.INFO.R", b"");
    if answer["error"].is_object() {
        assert_eq!(info["error"]["err_code"], 10059, "refused, and there: {answer} {info}");
        return;
    }
    assert!(info["error"].is_null(), "restored, and not there: {answer} {info}");
    let state = &info["state"];
    let (first, last) = (state["first_seq"].as_u64(), state["last_seq"].as_u64());
    let (first, last) = (first.unwrap_or(0), last.unwrap_or(0));
    assert!(first <= last + 1, "{state}");
    for seq in [first, last] {
        harness.ask_api("STREAM.MSG.GET.R", format!(r#"{{"seq":{seq}}}"#).as_bytes());
    }
    harness.ask_api("CONSUMER.LIST.R", b"");
    harness.publish(b"r.new", "_FUZZ.any", b"x");
    harness.settle();
    let after = harness.ask_api("STREAM.INFO.R", b"");
    assert!(
        after["error"].is_null() && after["state"]["last_seq"].as_u64() >= Some(last),
        "{after}"
    );
    harness.clean();
}

fn pack(how: u8, content: &[u8]) -> Vec<u8> {
    let mut writer = minlz::Writer::new(Vec::new());
    let mut content = content.to_vec();
    if how & 2 != 0 {
        writer.write_all(MAGIC).expect("memory");
    }
    if how & 4 != 0 {
        mend_tar(&mut content);
    }
    writer
        .write_all(&content)
        .and_then(|()| writer.flush())
        .expect("memory");
    std::mem::take(writer.get_mut())
}

/// Makes the checksums of a tar's headers right: the sum of the bytes, with blanks where it stands itself.
fn mend_tar(tar: &mut [u8]) {
    let mut at = 0;
    while at + 512 <= tar.len() {
        let header = &mut tar[at..at + 512];
        if header.iter().all(|byte| *byte == 0) {
            return;
        }
        header[148..156].fill(b' ');
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let size = String::from_utf8_lossy(&header[124..135])
            .trim_matches(['\0', ' '])
            .to_owned();
        let size = usize::from_str_radix(&size, 8).unwrap_or(0);
        at = at
            .saturating_add(512)
            .saturating_add(size.min(1 << 30).next_multiple_of(512));
    }
}
