//! A stream as an Apache Parquet file, read back by the same crate.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use parquet::basic::{LogicalType, TimeUnit};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use support::Fixture;
use weir_compaction::dump::{self, Shown, dump};
use weir_engine::stream::Message;

fn weir(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

fn messages(store: &Path, options: &dump::Options) -> Vec<Message> {
    let mut all = Vec::new();
    dump(store, options, None, &mut |shown| {
        if let Shown::Message(message) = shown {
            all.push(message.clone());
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    all
}

/// Sequence, time, subject, headers, body.
type Row = (i64, i64, String, Option<String>, Vec<u8>);

fn rows(file: &Path) -> (Vec<Row>, usize) {
    let reader = SerializedFileReader::new(File::open(file).unwrap()).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr();
    let is_nanos = |kind: Option<&LogicalType>| match kind {
        Some(LogicalType::Timestamp(kind)) => kind.unit == TimeUnit::NANOS && kind.is_adjusted_to_u_t_c,
        _ => false,
    };
    assert!(is_nanos(schema.column(1).logical_type_ref()), "{schema:?}");
    let rows = reader.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        let fields: Vec<Field> = row.get_column_iter().map(|(_, field)| field.clone()).collect();
        let [
            Field::Long(seq),
            Field::Long(time),
            Field::Str(subject),
            headers,
            Field::Bytes(data),
        ] = &fields[..]
        else {
            panic!("{fields:?}")
        };
        let headers = match headers {
            Field::Null => None,
            Field::Str(text) => Some(text.clone()),
            other => panic!("{other:?}"),
        };
        (*seq, *time, subject.clone(), headers, data.data().to_vec())
    });
    (rows.collect(), reader.metadata().num_row_groups())
}

#[test]
fn a_table_has_what_the_stream_has() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mut fixture = Fixture::new(&store, "segment");
    fixture.work();
    // More than one group of rows.
    fixture.work_monotone(300, 100_000);
    fixture.close();
    let from = store.to_str().unwrap();
    for (stream, groups) in [("ORDERS", 1), ("MUCH", 2), ("EMPTY", 0)] {
        let file = folder.path().join(stream);
        let out = file.to_str().unwrap();
        let command = ["export", from, "--stream", stream, "--format", "parquet", out];
        let (code, text) = weir(&command);
        assert_eq!(code, Some(0), "{text}");
        let all = messages(&store, &dump::Options::of(stream));
        let (rows, there) = rows(&file);
        assert_eq!((rows.len(), there), (all.len(), groups), "{stream}");
        for ((seq, time, subject, headers, data), message) in rows.into_iter().zip(all) {
            assert_eq!((seq as u64, time), (message.seq, message.time));
            assert_eq!(subject.as_bytes(), message.subject);
            assert_eq!(data, message.payload);
            let wanted = (!message.headers.is_empty()).then(|| "{\"A\":[\"b\"]}".to_owned());
            assert_eq!(headers, wanted);
        }
        let (code, text) = weir(&command);
        assert!(code == Some(1) && text.contains("nothing is written over"), "{text}");
    }
}

#[test]
fn no_stream_comes_of_a_table_and_it_is_said_why() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mut fixture = Fixture::new(&store, "segment");
    fixture.work();
    fixture.close();
    let (from, file) = (store.to_str().unwrap(), folder.path().join("table"));
    let out = file.to_str().unwrap();
    let (code, text) = weir(&["export", from, "--stream", "ORDERS", "--format", "parquet", out]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = weir(&["import", from, out, "--name", "AGAIN"]);
    assert!(code == Some(1) && text.contains("is a table (Parquet)"), "{text}");
    assert!(text.contains("--format jsonl"), "{text}");
}

#[test]
fn a_table_has_what_was_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mut fixture = Fixture::new(&store, "segment");
    fixture.work();
    fixture.close();
    let from = store.to_str().unwrap();
    let file = folder.path().join("some");
    let select = ["--subject", "orders.b", "--seq", "10..40"];
    let command = [
        &["export", from, "--stream", "ORDERS", file.to_str().unwrap()],
        &select[..],
        &["--format", "parquet", "--json"],
    ]
    .concat();
    let (code, text) = weir(&command);
    assert_eq!(code, Some(0), "{text}");
    let wanted = messages(
        &store,
        &dump::Options {
            subjects: vec!["orders.b".to_owned()],
            from: 10,
            to: 40,
            ..dump::Options::of("ORDERS")
        },
    );
    let (rows, _) = rows(&file);
    let seqs = |rows: &[Row]| rows.iter().map(|row| row.0 as u64).collect::<Vec<_>>();
    assert_eq!(
        seqs(&rows),
        wanted.iter().map(|message| message.seq).collect::<Vec<_>>()
    );
    assert!(wanted.len() > 3);
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["messages"], wanted.len());
    assert_eq!(told["format"], "parquet");
    // Backups and lines are of whole streams.
    let other = folder.path().join("other");
    let command = [
        &["export", from, "--stream", "ORDERS", other.to_str().unwrap()],
        &select[..],
    ]
    .concat();
    let (code, text) = weir(&command);
    assert!(code == Some(1) && text.contains("--format parquet"), "{text}");
    assert!(!other.exists());
}
