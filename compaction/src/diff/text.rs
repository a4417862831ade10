//! A comparison as a person reads it.

use std::fmt::Write;

use weir_engine::words;

use super::report::{Field, Named, Part, Report, StreamDiff, Where};

impl Report {
    /// Lines for each difference. Ends with a newline.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "A {}\nB {}", self.a.display(), self.b.display())?;
        for (which, streams) in [("A", &self.only_in_a), ("B", &self.only_in_b)] {
            for Named { account, name } in streams {
                writeln!(out, "\nStream {name} of account {account} is in {which} alone.")?;
            }
        }
        let (mut same, mut messages) = (0, 0);
        for stream in &self.streams {
            match stream.is_different() {
                true => stream.write(out)?,
                false => {
                    same += 1;
                    messages += stream.same;
                }
            }
        }
        if same > 0 {
            let streams = words::count(same, "stream");
            let messages = words::count(messages, "message");
            writeln!(out, "\n{streams} with {messages}: the same in both.")?;
        }
        for (which, elsewhere) in [("A", self.elsewhere_in_a), ("B", self.elsewhere_in_b)] {
            let line = crate::elsewhere::told(elsewhere);
            if !line.is_empty() {
                write!(out, "\n{which}: {line}")?;
            }
        }
        Ok(())
    }
}

impl StreamDiff {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { account, name, .. } = self;
        writeln!(out, "\nStream {name} of account {account}:")?;
        if let Some(why) = &self.offline {
            writeln!(out, "  {why}")?;
        }
        write_fields(out, "configuration", &self.configuration)?;
        write_fields(out, "state", &self.state)?;
        for consumer in &self.consumers {
            match consumer.what {
                Where::OnlyInA => writeln!(out, "  consumer {}: in A alone", consumer.name)?,
                Where::OnlyInB => writeln!(out, "  consumer {}: in B alone", consumer.name)?,
                _ => write_fields(out, &format!("consumer {}", consumer.name), &consumer.fields)?,
            }
        }
        let counts = [
            (self.only_in_a, "in A alone"),
            (self.only_in_b, "in B alone"),
            (self.different, "not the same"),
            (self.damaged, "damaged"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
        let same = words::count(self.same, "message");
        match counts.is_empty() {
            true => writeln!(out, "  {same} the same")?,
            false => writeln!(out, "  {same} the same, {}", counts.join(", "))?,
        }
        for message in &self.first {
            let what = match message.what {
                Where::OnlyInA => "in A alone".to_owned(),
                Where::OnlyInB => "in B alone".to_owned(),
                Where::Damaged => "damaged".to_owned(),
                Where::Different => {
                    let parts: Vec<&str> = message.parts.iter().map(|part| part.name()).collect();
                    format!("differs in {}", parts.join(", "))
                }
            };
            let of = message.subject.as_ref().map(|subject| format!(" ({subject})"));
            // Of one that is damaged in all that have it the subject is not known.
            writeln!(out, "    message {}{}: {what}", message.seq, of.unwrap_or_default())?;
        }
        let all = self.only_in_a + self.only_in_b + self.different + self.damaged;
        let more = all - self.first.len() as u64;
        if more > 0 {
            writeln!(out, "    and {more} more")?;
        }
        Ok(())
    }
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Subject => "subject",
            Self::Headers => "headers",
            Self::Body => "body",
        }
    }
}

/// The longest value that is printed, in bytes.
const VALUE_MAX: usize = 100;

fn write_fields(out: &mut String, of: &str, fields: &[Field]) -> std::fmt::Result {
    for Field { field, a, b } in fields {
        let cut = |value: &serde_json::Value| words::cut(&value.to_string(), VALUE_MAX);
        writeln!(out, "  {of}: {field} is {} in A, {} in B", cut(a), cut(b))?;
    }
    Ok(())
}
