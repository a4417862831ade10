//! The catalogue as a person reads it.

use std::fmt::Write;

use comfy_table::{Cell, Table};

use super::super::catalogue::{CatalogueReport, CatalogueStream, CopyReport, KnownFrom};
use super::super::report::TailReport;
use super::{count, number_of, right, size, table, time};

impl CatalogueReport {
    /// Tables, and whatever deserves a sentence. Ends with a newline.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let version = self
            .format_version
            .map_or("unknown".to_owned(), |version| version.to_string());
        writeln!(
            out,
            "Catalogue of {}\nformat version {version}, {}",
            self.path.display(),
            number_of(self.shards as u64, "shard")
        )?;
        for copy in &self.copies {
            let file = copy.file.strip_prefix(&self.path).unwrap_or(&copy.file);
            writeln!(out, "{}: {}", file.display(), state(copy))?;
        }
        for file in &self.beside {
            let file = file.strip_prefix(&self.path).unwrap_or(file);
            writeln!(
                out,
                "{}: kept from before a start mended a copy, or not finished",
                file.display()
            )?;
        }
        let mut keys = table(&["Key", "Keys", "Bytes"]);
        for kind in &self.keys {
            keys.add_row(vec![
                Cell::new(&kind.kind),
                right(count(kind.keys)),
                right(size(kind.bytes)),
            ]);
        }
        if !keys.is_empty() {
            writeln!(out, "\n{keys}")?;
        }
        if self.streams.is_empty() {
            writeln!(out, "\nNo streams.")?;
        } else {
            writeln!(out, "\nStreams\n{}", self.stream_table())?;
        }
        let consumers = self.consumer_table();
        if !consumers.is_empty() {
            writeln!(out, "\nConsumers\n{consumers}")?;
        }
        if !self.problems.is_empty() {
            writeln!(out, "\nDamaged or missing:")?;
        }
        self.problems
            .iter()
            .try_for_each(|problem| writeln!(out, "  {problem}"))
    }

    fn stream_table(&self) -> Table {
        let mut table = table(&[
            "Account",
            "Stream",
            "Known from",
            "Backend",
            "Log, in folder",
            "Shard",
            "Created",
            "Last message",
            "Up to record",
            "Above it in the journal",
        ]);
        for stream in &self.streams {
            table.add_row(vec![
                Cell::new(&stream.account),
                Cell::new(&stream.name),
                Cell::new(known(stream.known_from)),
                Cell::new(&stream.backend),
                Cell::new(self.place(stream)),
                right(stream.shard.to_string()),
                Cell::new(time(Some(stream.created))),
                right(count(stream.last_seq)),
                right(count(stream.position)),
                Cell::new(tail(stream.journal_tail)),
            ]);
        }
        table
    }

    /// The folder has the log's name, or that of the backend.
    fn place(&self, stream: &CatalogueStream) -> String {
        let folder = stream.folder.strip_prefix(&self.path).unwrap_or(&stream.folder);
        match folder.ends_with(&stream.log) {
            true => folder.display().to_string(),
            false => format!("{} in {}", stream.log, folder.display()),
        }
    }

    fn consumer_table(&self) -> Table {
        let mut table = table(&["Stream", "Consumer", "Known from", "Kind", "Created", "Delivered"]);
        for stream in &self.streams {
            for consumer in &stream.consumers {
                table.add_row(vec![
                    Cell::new(&stream.name),
                    Cell::new(&consumer.name),
                    Cell::new(known(consumer.known_from)),
                    Cell::new(if consumer.durable { "durable" } else { "ephemeral" }),
                    Cell::new(time(Some(consumer.created))),
                    right(count(consumer.delivered)),
                ]);
            }
        }
        table
    }
}

fn state(copy: &CopyReport) -> String {
    let (bytes, good) = (size(copy.bytes.unwrap_or(0)), copy.good_bytes);
    match copy.state {
        "whole" => format!("{bytes}, whole"),
        "missing" => "missing: a start makes it anew of the other".to_owned(),
        "short" => format!("{bytes}, ends at offset {good}: a start adds what the other has"),
        "torn" => format!("{bytes}, with an unfinished write behind offset {good}, which a start sets aside"),
        _ => format!("{bytes}, damaged at offset {good}: what the other copy has there is taken, if it has it"),
    }
}

fn known(from: KnownFrom) -> &'static str {
    match from {
        KnownFrom::Catalogue => "catalogue",
        KnownFrom::Journal => "journal alone",
        KnownFrom::Label => "its log's label alone",
        KnownFrom::Deleted => "catalogue; deleted since",
    }
}

/// What the journal has above a checkpoint.
fn tail(tail: TailReport) -> String {
    let parts = [
        (tail.publishes, "message"),
        (tail.removals, "removal"),
        (tail.progress, "delivery or ack"),
        (tail.configuration, "change"),
    ];
    let mut said = Vec::new();
    for (number, thing) in parts.into_iter().filter(|(number, _)| *number > 0) {
        said.push(match (number, thing) {
            (1, _) => format!("1 {thing}"),
            (_, "delivery or ack") => format!("{} deliveries or acks", count(number)),
            _ => number_of(number, thing),
        });
    }
    match (said.is_empty(), tail.commands) {
        (true, 0) => "-".to_owned(),
        (true, commands) => number_of(commands, "record"),
        _ => said.join(", "),
    }
}
