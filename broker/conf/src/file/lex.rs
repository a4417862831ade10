//! A cursor over the text that knows its line and column, and reads words, strings and blocks.

use std::sync::Arc;

use super::value::Pos;
use crate::error::ConfError;

pub(super) struct Lexer<'t> {
    rest: &'t str,
    file: Arc<str>,
    line: u32,
    column: u32,
}

/// Ends a bare word: blanks, line ends, and what separates or closes.
fn ends_word(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | ',' | ';' | ']' | '}')
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str, file: Arc<str>) -> Self {
        // A byte order mark is not text.
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            rest,
            file,
            line: 1,
            column: 1,
        }
    }

    pub fn pos(&self) -> Pos {
        Pos {
            file: Arc::clone(&self.file),
            line: self.line,
            column: self.column,
            brought: None,
        }
    }

    pub fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(c)
    }

    /// Takes `c` if it is next.
    pub fn eat(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        if there {
            self.next();
        }
        there
    }

    fn skip_while(&mut self, f: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&f) {
            self.next();
        }
    }

    /// Spaces and tabs.
    pub fn skip_blanks(&mut self) {
        self.skip_while(|c| c == ' ' || c == '\t');
    }

    /// Spaces, tabs and line ends.
    pub fn skip_space(&mut self) {
        self.skip_while(|c| matches!(c, ' ' | '\t' | '\r' | '\n'));
    }

    pub fn at_comment(&self) -> bool {
        self.rest.starts_with('#') || self.rest.starts_with("//")
    }

    /// Blanks, line ends, comments, and those of `separators`.
    pub fn skip_between(&mut self, separators: &[char]) {
        loop {
            self.skip_while(|c| matches!(c, ' ' | '\t' | '\r' | '\n') || separators.contains(&c));
            if !self.at_comment() {
                return;
            }
            self.skip_while(|c| c != '\n');
        }
    }

    /// What is next, for messages.
    pub fn found(&self) -> String {
        match self.peek() {
            None => "the end of the file".into(),
            Some('\n' | '\r') => "the end of the line".into(),
            Some(c) => format!("{c:?}"),
        }
    }

    /// Characters up to one for which `stop` holds.
    fn take_until(&mut self, stop: impl Fn(char) -> bool) -> &'t str {
        let len = self.rest.find(stop).unwrap_or(self.rest.len());
        let word = &self.rest[..len];
        for _ in word.chars() {
            self.next();
        }
        word
    }

    /// A bare value.
    pub fn word(&mut self) -> &'t str {
        self.take_until(ends_word)
    }

    /// A bare key: it also ends at what introduces a value.
    pub fn key_word(&mut self) -> &'t str {
        self.take_until(|c| ends_word(c) || matches!(c, ':' | '=' | '{' | '[' | '"' | '\''))
    }

    /// `'…'`: nothing has a special meaning inside.
    pub fn single_quoted(&mut self) -> Result<String, ConfError> {
        let open = self.pos();
        self.next();
        let text = self.take_until(|c| c == '\'').to_owned();
        if self.eat('\'') {
            Ok(text)
        } else {
            Err(ConfError::syntax(&open, "this string has no closing '"))
        }
    }

    /// `"…"` with `\n \t \r \" \\ \xHH`.
    pub fn double_quoted(&mut self) -> Result<String, ConfError> {
        let open = self.pos();
        self.next();
        let mut text = String::new();
        loop {
            let at = self.pos();
            match self.next() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape(&at)?),
                Some(c) => text.push(c),
                None => return Err(ConfError::syntax(&open, "this string has no closing \"")),
            }
        }
    }

    fn escape(&mut self, at: &Pos) -> Result<char, ConfError> {
        Ok(match self.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('"') => '"',
            Some('\\') => '\\',
            Some('x') => {
                let mut digit = || self.next().and_then(|c| c.to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) if high < 8 => char::from_u32(high * 16 + low).unwrap_or_default(),
                    _ => {
                        return Err(ConfError::syntax(at, "\\x takes two hexadecimal digits, 00 to 7f"));
                    }
                }
            }
            _ => {
                return Err(ConfError::syntax(
                    at,
                    "unknown escape; those known are \\n \\t \\r \\\" \\\\ \\xHH (in '…' nothing is escaped)",
                ));
            }
        })
    }

    /// `( … )`: text up to a `)` that stands alone on its line.
    pub fn block(&mut self) -> Result<String, ConfError> {
        let open = self.pos();
        self.next();
        let mut text = String::new();
        loop {
            let line = self.take_until(|c| c == '\n');
            // The opening line cannot close the block.
            if self.line > open.line && line.trim() == ")" {
                return Ok(text);
            }
            text.push_str(line);
            match self.next() {
                Some(c) => text.push(c),
                None => {
                    return Err(ConfError::syntax(
                        &open,
                        "this block has no closing ) on a line of its own",
                    ));
                }
            }
        }
    }
}
