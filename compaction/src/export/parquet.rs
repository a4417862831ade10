//! Messages as a table, for programs that ask questions of many: an Apache Parquet file.
//!
//! | column | type | |
//! | --- | --- | --- |
//! | `seq` | `INT64` | the sequence |
//! | `time` | `INT64`, timestamp in nanoseconds, UTC | when it was stored |
//! | `subject` | `BYTE_ARRAY`, string | |
//! | `headers` | `BYTE_ARRAY`, JSON, or null | an object with a list of values for each name; null if it has none |
//! | `data` | `BYTE_ARRAY` | the body |
//!
//! Headers are text of JSON and no map, for the keys of a map are unique, and a header may come several times.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use serde_json::{Map, Value};
use weir_engine::stream::Message;

use super::output::Output;

/// What a row counts for beside its subject, headers and body.
const ROW_BYTES: usize = 64;
/// Bytes of a group of rows, give or take a message: so much is in memory.
const GROUP_BYTES: usize = 16 << 20;
/// Rows of a group at most.
const GROUP_ROWS: usize = 128 << 10;

const SCHEMA: &str = "message weir {
    required int64 seq;
    required int64 time (TIMESTAMP(NANOS, true));
    required binary subject (STRING);
    optional binary headers (JSON);
    required binary data;
}";

/// A table while it is written.
pub(crate) struct Table {
    writer: SerializedFileWriter<File>,
    file: File,
    output: Output,
    group: Group,
}

/// Rows that are not written yet, by column.
#[derive(Default)]
struct Group {
    bytes: usize,
    seqs: Vec<i64>,
    times: Vec<i64>,
    subjects: Vec<ByteArray>,
    headers: Vec<ByteArray>,
    /// 1 for each row that has headers, 0 for others.
    has_headers: Vec<i16>,
    data: Vec<ByteArray>,
}

impl Table {
    pub fn begin(path: &Path) -> io::Result<Self> {
        let mut output = Output::default();
        let file = output.file(path)?;
        let schema = parse_message_type(SCHEMA).map_err(failed)?;
        let large = [ColumnPath::from("headers"), ColumnPath::from("data")];
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned());
        for column in large {
            // What is nearly always different is not worth a dictionary, and the least of it tells nothing.
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_statistics_enabled(column, EnabledStatistics::None);
        }
        let writer = SerializedFileWriter::new(file.try_clone()?, Arc::new(schema), Arc::new(properties.build()));
        Ok(Self {
            writer: writer.map_err(failed)?,
            file,
            output,
            group: Group::default(),
        })
    }

    pub fn message(&mut self, message: &Message) -> io::Result<()> {
        let group = &mut self.group;
        let headers = headers_of(&message.headers);
        let text = String::from_utf8_lossy(&message.subject);
        group.bytes += ROW_BYTES + text.len() + headers.as_ref().map_or(0, String::len) + message.payload.len();
        // Sequences stay below 2^63.
        group.seqs.push(message.seq as i64);
        group.times.push(message.time);
        group.subjects.push(text.as_bytes().to_vec().into());
        group.has_headers.push(headers.is_some().into());
        group
            .headers
            .extend(headers.map(|headers| ByteArray::from(headers.into_bytes())));
        group.data.push(message.payload.clone().into());
        match group.bytes >= GROUP_BYTES || group.seqs.len() >= GROUP_ROWS {
            true => self.write_group(),
            false => Ok(()),
        }
    }

    fn write_group(&mut self) -> io::Result<()> {
        let group = std::mem::take(&mut self.group);
        let mut rows = self.writer.next_row_group().map_err(failed)?;
        numbers(&mut rows, &group.seqs)?;
        numbers(&mut rows, &group.times)?;
        bytes(&mut rows, &group.subjects, None)?;
        bytes(&mut rows, &group.headers, Some(&group.has_headers))?;
        bytes(&mut rows, &group.data, None)?;
        rows.close().map_err(failed)?;
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<()> {
        if !self.group.seqs.is_empty() {
            self.write_group()?;
        }
        self.writer.close().map_err(failed)?;
        self.file.sync_all()?;
        self.output.finish();
        Ok(())
    }
}

type Rows<'a> = SerializedRowGroupWriter<'a, File>;

fn numbers(rows: &mut Rows<'_>, values: &[i64]) -> io::Result<()> {
    let mut column = rows.next_column().map_err(failed)?.ok_or_else(no_column)?;
    column
        .typed::<Int64Type>()
        .write_batch(values, None, None)
        .map_err(failed)?;
    column.close().map_err(failed)
}

fn bytes(rows: &mut Rows<'_>, values: &[ByteArray], is_there: Option<&[i16]>) -> io::Result<()> {
    let mut column = rows.next_column().map_err(failed)?.ok_or_else(no_column)?;
    column
        .typed::<ByteArrayType>()
        .write_batch(values, is_there, None)
        .map_err(failed)?;
    column.close().map_err(failed)
}

fn no_column() -> io::Error {
    io::Error::other("the table has no such column")
}

fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    }
}

/// A block of headers as JSON; `None` if there are none.
fn headers_of(block: &[u8]) -> Option<String> {
    let mut all = Map::new();
    let text = String::from_utf8_lossy(block);
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else {
            // The first line, or the last.
            continue;
        };
        let values = all.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(Value::from(value.trim()));
        }
    }
    (!all.is_empty()).then(|| Value::Object(all).to_string())
}
