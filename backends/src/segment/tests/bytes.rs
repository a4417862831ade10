//! The bytes of a small segment, as `docs/format.md` draws them. If this fails, the format changed: raise the
//! version, keep reading the old one, and draw the new one; unless it is a zero that says what it said to nobody before.

use weir_engine::{LogChange, LogOptions, Record};

use super::{open, segment_files};

const EXPECTED: &str = include_str!("segment.hex");

#[test]
fn a_small_segment_has_these_bytes() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (_backend, mut log, _) = open(dir.path(), &LogOptions::default());
        let record = |seq, head, body| Record {
            seq,
            time: 1_000_000 + seq as i64,
            head,
            body,
        };
        log.append(&[record(1, &b"h1"[..], &b"first"[..]), record(2, b"", b"")])
            .unwrap();
        log.sync().unwrap();
        log.write(&LogChange {
            append: &[record(5, b"h5", b"fifth")],
            erase: &[2],
            trim: Some(2),
            ..LogChange::default()
        })
        .unwrap();
        log.sync().unwrap();
    }
    let raw = std::fs::read(&segment_files(dir.path())[0]).unwrap();
    let lines: Vec<String> = raw
        .chunks(16)
        .enumerate()
        .map(|(i, line)| {
            let hex: Vec<String> = line.iter().map(|b| format!("{b:02x}")).collect();
            format!("{:04x}  {}", i * 16, hex.join(" "))
        })
        .collect();
    let made = lines.join("\n");
    assert_eq!(made.trim(), EXPECTED.trim(), "made:\n{made}");
}
