//! What a verification found, as a person reads it.

use std::fmt::Write;

use humansize::{BINARY, format_size};
use weir_engine::words;

use super::report::{Found, Report, Standing, StreamChecked};

/// Ranges that a line names.
const NAMED_MAX: usize = 16;

impl Report {
    /// Lines, one for each stream and each thing that was found. Ends with a newline.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "Checked {}: {} in {} and {}",
            self.path.display(),
            format_size(self.bytes_read, BINARY),
            words::count(self.streams.len() as u64, "stream"),
            match self.journals.len() as u64 {
                // Of a single stream nothing is told of them.
                0 => "the journals, for what they have of it".to_owned(),
                count => words::count(count, "journal"),
            },
        )?;
        for stream in &self.streams {
            writeln!(out, "  {}", line(stream))?;
        }
        let parts = [
            (Standing::Open, false, "Wrong:"),
            (Standing::Settled, false, "Wrong, and settled:"),
            (Standing::Harmless, false, "Costs nothing:"),
            (Standing::Harmless, true, "What a crash may leave:"),
        ];
        for (standing, of_a_crash, title) in parts {
            let is_of = |found: &&Found| found.standing == standing && found.of_a_crash == of_a_crash;
            let mut of = self.found.iter().filter(is_of).peekable();
            if of.peek().is_some() {
                writeln!(out, "\n{title}")?;
            }
            of.try_for_each(|found| write_found(out, found))?;
        }
        if self.more > 0 {
            writeln!(out, "  and {} more", self.more)?;
        }
        if !self.is_damaged() {
            writeln!(
                out,
                "\nNothing is wrong{}{}.",
                if self.elsewhere > 0 { " with it" } else { "" },
                match self.found.is_empty() {
                    true => "",
                    false => " that is not settled or goes by itself",
                }
            )?;
        }
        out.push_str(&crate::elsewhere::line(self.elsewhere));
        Ok(())
    }
}

fn line(stream: &StreamChecked) -> String {
    let mut line = format!(
        "{} of {} ({}): {}",
        stream.name,
        stream.account,
        stream.backend,
        words::count(stream.messages, "message")
    );
    if stream.messages > 0 {
        let all = (stream.first_seq, stream.last_seq);
        line += &format!(", {}", words::numbered("sequence", &[all]));
    }
    line += &format!(
        ", {}, {}",
        words::count(stream.subjects, "subject"),
        words::count(stream.consumers, "consumer")
    );
    if stream.unreadable > 0 {
        line += &format!(", {} that cannot be read", stream.unreadable);
    }
    line
}

/// A few lines, of one thing that was found.
pub(crate) fn write_found(out: &mut String, found: &Found) -> std::fmt::Result {
    out.push_str("  ");
    if let Some(stream) = &found.stream {
        write!(out, "stream {stream}")?;
        if let Some(account) = found.account.as_ref().filter(|account| *account != "$G") {
            write!(out, " of account {account}")?;
        }
        if let Some(consumer) = &found.consumer {
            write!(out, ", consumer {consumer}")?;
        }
        out.push_str(": ");
    }
    writeln!(out, "{}", found.text)?;
    if let Some(file) = &found.file {
        write!(out, "    file: {}", file.display())?;
        if let Some(offset) = found.offset {
            write!(out, ", offset {offset}")?;
        }
        out.push('\n');
    }
    if !found.lost.is_empty() {
        let named = &found.lost[..found.lost.len().min(NAMED_MAX)];
        write!(out, "    lost: {}", words::numbered("message", named))?;
        if named.len() < found.lost.len() {
            out.push_str(" and others");
        }
        if let Some(subject) = &found.subject {
            write!(out, " ({subject})")?;
        }
        out.push('\n');
    }
    if let (Some(key), Standing::Open) = (&found.key, found.standing) {
        writeln!(out, "    key: {key}")?;
    }
    Ok(())
}
