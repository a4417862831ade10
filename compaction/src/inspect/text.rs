//! A report as a person reads it.

use std::collections::BTreeSet;
use std::fmt::Write;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use humansize::{BINARY, format_size};
use weir_engine::json::format_time;
use weir_engine::{NanoTime, words};

use super::report::{ConsumerReport, Position, Report, StreamReport};

impl Report {
    /// Tables, and whatever deserves a sentence. Ends with a newline.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "Store {}", self.path.display())?;
        let version = self
            .format_version
            .map_or("unknown".to_owned(), |version| version.to_string());
        writeln!(
            out,
            "format version {version}, {}{}, {} on disk",
            if self.encrypted { "encrypted, " } else { "" },
            number_of(self.shards as u64, "shard"),
            size(self.disk_bytes)
        )?;
        for journal in &self.journals {
            write!(
                out,
                "journal {}: {} of {}, in files of {} (made at full size, and used again)",
                journal.shard,
                number_of(journal.records, "record"),
                size(journal.bytes),
                size(journal.disk_bytes),
            )?;
            if journal.records > 0 {
                let numbers = [(journal.first, journal.last)];
                write!(out, ", {}", words::numbered("number", &numbers))?;
            }
            if journal.tail > 0 {
                write!(out, ", {} newer than the last checkpoint", count(journal.tail))?;
            }
            if journal.damaged > 0 {
                let damaged = number_of(journal.damaged, "damaged record");
                let cost = if journal.damaged == 1 { "costs" } else { "cost" };
                write!(out, ", {damaged} that {cost} nothing any more")?;
            }
            if journal.torn_bytes > 0 {
                let torn = size(journal.torn_bytes);
                write!(out, ", then an unfinished write of {torn}, which a server cuts off")?;
            }
            writeln!(out)?;
        }
        if self.has_journal_tail {
            writeln!(
                out,
                "The store was not closed: the numbers below count what a server will apply from the journals."
            )?;
        }
        writeln!(out)?;
        if self.streams.is_empty() {
            writeln!(out, "No streams.")?;
        } else {
            writeln!(out, "{}", self.stream_table())?;
            if let Some(table) = self.tail_table() {
                writeln!(out, "\nIn the journals, newer than the last checkpoint\n{table}")?;
            }
            if let Some(table) = self.consumer_table() {
                writeln!(out, "\nConsumers\n{table}")?;
            }
            if let Some(table) = self.subject_table() {
                writeln!(out, "\nSubjects with the most messages\n{table}")?;
            }
            for stream in &self.streams {
                if let Some(histogram) = &stream.histogram {
                    write!(out, "\nMessages of {} by\n{}", self.name(stream), histogram.to_text())?;
                }
                for consumer in &stream.consumers {
                    write_details(out, &self.name(stream), consumer)?;
                }
            }
        }
        for stream in self.streams.iter().filter(|stream| stream.torn_bytes > 0) {
            writeln!(
                out,
                "\n{}: {}",
                self.name(stream),
                crate::unfinished::of_log(&size(stream.torn_bytes), &stream.durability)
            )?;
        }
        for orphan in &self.orphans {
            let held = match orphan.messages {
                Some(messages) => number_of(messages, "message"),
                None => "unreadable".to_owned(),
            };
            let (log, backend) = (&orphan.log, &orphan.backend);
            write!(out, "\nLog {log} of {backend} ({held}) belongs to no stream")?;
            match (&orphan.account, &orphan.stream) {
                (Some(account), Some(stream)) => {
                    writeln!(
                        out,
                        "; by its label it is that of stream {stream} of account {account}."
                    )?;
                }
                _ => writeln!(out, ".")?,
            }
        }
        for stream in &self.streams {
            for loss in &stream.lost {
                let found = format_time(Some(loss.found));
                let (name, account, why) = (&stream.name, &stream.account, &loss.why);
                let lost = words::numbered("message", &[(loss.first, loss.last)]);
                let settled = if loss.settled { "; settled" } else { "" };
                writeln!(
                    out,
                    "\nStream {name} of account {account} has lost {lost}: {why}, found {found}{settled}."
                )?;
            }
            let open = [
                (stream.lost_unsettled, "lost message"),
                (stream.places_to_settle, "damaged place"),
            ];
            let open: Vec<String> = open
                .into_iter()
                .filter(|(number, _)| *number > 0)
                .map(|(number, thing)| number_of(number, thing))
                .collect();
            if !open.is_empty() {
                let key = crate::settle::loss_key(&stream.log);
                let (name, open) = (self.name(stream), open.join(", "));
                writeln!(out, "\nNot settled of {name} ({key}): {open}.")?;
            }
        }
        for stream in self.streams.iter().filter(|stream| stream.damaged > 0) {
            let (name, places) = (self.name(stream), number_of(stream.damaged_places, "place"));
            let lost = number_of(stream.damaged_messages, "message");
            writeln!(
                out,
                "\nThe log of {name} is damaged, or lacks something, at {places}, with {lost} lost; what is there is kept and not served. \
                 `weir verify --stream {}` reads everything, and says where and which.",
                stream.name
            )?;
        }
        for stream in self.streams.iter().filter(|stream| stream.lost_unnoted > 0) {
            let (name, lost) = (self.name(stream), number_of(stream.lost_unnoted, "message"));
            writeln!(
                out,
                "\nOf {name} {lost} {} lost, and no server has noted that: the next start does.",
                if stream.lost_unnoted == 1 { "is" } else { "are" }
            )?;
        }
        for finding in &self.findings {
            writeln!(
                out,
                "\nFound {} ({}): {}",
                format_time(Some(finding.found)),
                finding.key,
                finding.text
            )?;
        }
        if !self.settled.is_empty() {
            writeln!(out, "\nDamaged, and settled:")?;
        }
        for place in &self.settled {
            writeln!(out, "  {place}")?;
        }
        if !self.problems.is_empty() {
            writeln!(out, "\nDamaged or missing:")?;
        }
        for problem in &self.problems {
            writeln!(out, "  {problem}")?;
        }
        out.push_str(&crate::elsewhere::line(self.elsewhere));
        Ok(())
    }

    /// A stream's name, with its account if there are several.
    fn name(&self, stream: &StreamReport) -> String {
        let accounts: BTreeSet<&str> = self.streams.iter().map(|s| &*s.account).collect();
        match accounts.len() {
            0 | 1 => stream.name.clone(),
            _ => format!("{}/{}", stream.account, stream.name),
        }
    }

    fn stream_table(&self) -> Table {
        let damaged = self.streams.iter().any(|stream| stream.damaged > 0);
        let mut header = vec![
            "Stream",
            "Storage",
            "Sequences",
            "Messages",
            "Bytes",
            "On disk",
            "Subjects",
            "Consumers",
            "First message",
            "Last message",
        ];
        header.extend(damaged.then_some("Damaged or lost"));
        let mut table = table(&header);
        for stream in &self.streams {
            let unread = if stream.readable { "" } else { " (unreadable)" };
            let mut row = vec![
                Cell::new(format!("{}{unread}", self.name(stream))),
                Cell::new(storage(stream)),
                right(match stream.messages {
                    0 => format!("none, last {}", stream.last_seq),
                    _ => words::range(stream.first_seq, stream.last_seq),
                }),
                right(count(stream.messages)),
                right(size(stream.bytes)),
                right(size(stream.disk_bytes)),
                right(count(stream.subjects)),
                right(count(stream.consumers.len() as u64)),
                Cell::new(time(stream.first_time)),
                Cell::new(time(stream.last_time)),
            ];
            row.extend(damaged.then(|| right(count(stream.damaged_messages))));
            table.add_row(row);
        }
        table
    }

    fn tail_table(&self) -> Option<Table> {
        let mut table = table(&[
            "Stream",
            "Commands",
            "Messages",
            "Not in its log yet",
            "Removals",
            "Deliveries and acks",
            "Configuration",
        ]);
        for stream in &self.streams {
            let tail = stream.journal_tail;
            if tail.commands > 0 {
                let numbers = [
                    tail.commands,
                    tail.publishes,
                    tail.unwritten,
                    tail.removals,
                    tail.progress,
                    tail.configuration,
                ];
                let mut row = vec![Cell::new(self.name(stream))];
                row.extend(numbers.map(|number| right(count(number))));
                table.add_row(row);
            }
        }
        (!table.is_empty()).then_some(table)
    }

    fn consumer_table(&self) -> Option<Table> {
        let mut table = table(&[
            "Stream",
            "Consumer",
            "Kind",
            "Filter",
            "Delivered",
            "Ack floor",
            "Ack pending",
            "Redelivered",
        ]);
        for stream in &self.streams {
            for consumer in &stream.consumers {
                table.add_row(vec![
                    Cell::new(self.name(stream)),
                    Cell::new(&consumer.name),
                    Cell::new(kind(consumer)),
                    Cell::new(match consumer.filters.is_empty() {
                        true => ">".to_owned(),
                        false => consumer.filters.join(", "),
                    }),
                    right(position(consumer.delivered)),
                    right(position(consumer.ack_floor)),
                    right(count(consumer.ack_pending)),
                    right(count(consumer.redelivered)),
                ]);
            }
        }
        (!table.is_empty()).then_some(table)
    }

    fn subject_table(&self) -> Option<Table> {
        let mut table = table(&["Stream", "Subject", "Messages"]);
        for stream in &self.streams {
            for subject in stream.top_subjects.iter().flatten() {
                table.add_row(vec![
                    Cell::new(self.name(stream)),
                    Cell::new(&subject.subject),
                    right(count(subject.messages)),
                ]);
            }
        }
        (!table.is_empty()).then_some(table)
    }
}

/// Messages that are listed of what a consumer has sent.
const PENDING_SHOWN: usize = 50;

fn write_details(out: &mut String, stream: &str, consumer: &ConsumerReport) -> std::fmt::Result {
    if let Some(config) = &consumer.config {
        writeln!(out, "\nConfiguration of {} of {stream}: {config}", consumer.name)?;
    }
    let Some(pending) = consumer.pending.as_ref().filter(|pending| !pending.is_empty()) else {
        return Ok(());
    };
    let mut table = table(&["Message", "Delivery", "Last sent", "Times sent"]);
    for of in pending.iter().take(PENDING_SHOWN) {
        let sent = Cell::new(time(Some(of.sent)));
        table.add_row(vec![
            right(of.stream_seq.to_string()),
            right(of.consumer_seq.to_string()),
            sent,
            right(of.deliveries.to_string()),
        ]);
    }
    writeln!(out, "\nSent and not acknowledged\n{table}")?;
    if pending.len() > PENDING_SHOWN {
        writeln!(out, "and {} more", count((pending.len() - PENDING_SHOWN) as u64))?;
    }
    Ok(())
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn storage(stream: &StreamReport) -> String {
    let mut text = format!("{}, {}, {}", stream.backend, stream.durability, stream.index);
    if stream.compression != "none" {
        text.push_str(", ");
        text.push_str(&stream.compression);
    }
    text
}

fn kind(consumer: &ConsumerReport) -> String {
    let stays = if consumer.durable { "durable" } else { "ephemeral" };
    match &consumer.deliver_subject {
        None => format!("{stays} pull, ack {}", consumer.ack_policy),
        Some(to) => format!("{stays} push to {to}, ack {}", consumer.ack_policy),
    }
}

fn position(position: Position) -> String {
    format!("{} (stream {})", position.consumer_seq, position.stream_seq)
}

fn size(bytes: u64) -> String {
    format_size(bytes, BINARY)
}

/// To the second, which is what a person wants to know; the JSON form has all digits.
fn time(time: Option<NanoTime>) -> String {
    let Some(nanos) = time else {
        return "-".to_owned();
    };
    let second = nanos.div_euclid(weir_engine::SECOND) * weir_engine::SECOND;
    format_time(Some(second))
}

/// A number with its digits in groups of three.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn number_of(number: u64, thing: &str) -> String {
    format!("{} {}", count(number), words::plural(number, thing))
}

mod catalogue;
mod journal;
#[cfg(test)]
mod tests;
