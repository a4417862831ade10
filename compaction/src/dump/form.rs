//! A message as text or as a line of JSON, with its body or where that is.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use weir_engine::json::format_time;
use weir_engine::stream::Message;
use weir_engine::words;

/// How bodies are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// As text where it is text, else in base64.
    #[default]
    Text,
    /// In base64.
    Base64,
    /// Not at all.
    None,
}

/// How messages are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// A line of JSON each.
    pub json: bool,
    /// How bodies are shown; of lines of JSON base64 unless [`Body::None`].
    pub body: Body,
    /// A folder in which each body becomes a file, instead of being shown.
    pub out: Option<PathBuf>,
}

impl Form {
    /// Adds a message to `out`.
    ///
    /// # Errors
    /// If its body cannot be written to a file; also if there is a file of that name.
    pub fn put(&self, message: &Message, out: &mut Vec<u8>) -> io::Result<()> {
        let file = match &self.out {
            Some(folder) => Some(write_body(folder, message)?),
            None => None,
        };
        match self.json {
            true => self.put_json(message, file.as_deref(), out),
            false => self.put_text(message, file.as_deref(), out),
        }
        Ok(())
    }

    fn put_json(&self, message: &Message, file: Option<&Path>, out: &mut Vec<u8>) {
        if self.body != Body::None && file.is_none() {
            return weir_backup::lines::put_message(message, out);
        }
        let mut line = Vec::new();
        let without = Message {
            payload: bytes::Bytes::new(),
            ..message.clone()
        };
        weir_backup::lines::put_message(&without, &mut line);
        // What was written as JSON is read as JSON.
        let mut value: serde_json::Value = serde_json::from_slice(&line).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("data");
            fields.insert("bytes".to_owned(), json!(message.payload.len()));
            if let Some(file) = file {
                fields.insert("file".to_owned(), json!(file));
            }
        }
        out.extend_from_slice(value.to_string().as_bytes());
        out.push(b'\n');
    }

    fn put_text(&self, message: &Message, file: Option<&Path>, out: &mut Vec<u8>) {
        let subject = String::from_utf8_lossy(&message.subject);
        let size = words::count(message.payload.len() as u64, "byte");
        let time = format_time(Some(message.time));
        out.extend_from_slice(format!("[{}] {time} {subject}, {size}\n", message.seq).as_bytes());
        let headers = String::from_utf8_lossy(&message.headers);
        let version = |line: &str| line == "NATS/1.0";
        for line in headers.lines().filter(|line| !line.is_empty() && !version(line)) {
            put_line(line, out);
        }
        if let Some(file) = file {
            put_line(&format!("in {}", file.display()), out);
        } else if self.body != Body::None && !message.payload.is_empty() {
            if !headers.is_empty() {
                out.push(b'\n');
            }
            let text = std::str::from_utf8(&message.payload).ok();
            match text.filter(|text| self.body == Body::Text && is_text(text)) {
                Some(text) => text.lines().for_each(|line| put_line(line, out)),
                None => put_line(&format!("base64: {}", BASE64_STANDARD.encode(&message.payload)), out),
            }
        }
        out.push(b'\n');
    }
}

/// A line of what belongs to a message. What a terminal takes for a command is no part of it.
fn put_line(line: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"    ");
    for c in line.chars() {
        match c.is_control() && c != '\t' {
            true => out.extend_from_slice(c.escape_default().to_string().as_bytes()),
            false => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'\n');
}

fn is_text(text: &str) -> bool {
    text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
}

fn write_body(folder: &Path, message: &Message) -> io::Result<PathBuf> {
    let path = folder.join(message.seq.to_string());
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut file = std::fs::File::create_new(&path).map_err(told)?;
    file.write_all(&message.payload).map_err(told)?;
    Ok(path)
}
