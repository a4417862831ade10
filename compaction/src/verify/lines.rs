//! What backends say of damage, one line each, with file and offset in front.

use std::path::{Path, PathBuf};

use super::report::{Found, What};

/// The file that a line begins with, the offset that it names then, and the rest.
pub(super) fn split<'a>(root: &Path, line: &'a str) -> (Option<PathBuf>, Option<u64>, &'a str) {
    let Some((file, rest)) = line
        .split_once(": ")
        .filter(|(file, _)| Path::new(file).starts_with(root))
    else {
        return (None, None, line);
    };
    let numbered = rest.strip_prefix("offset ").map(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest.split_at(digits)
    });
    let file = Some(PathBuf::from(file));
    match numbered.and_then(|(digits, rest)| Some((digits.parse().ok()?, rest))) {
        // "offset 17: …" says no more than that before the colon; "offset 17 to 40 is …" does.
        Some((offset, behind)) => (file, Some(offset), behind.strip_prefix(": ").unwrap_or(rest)),
        None => (file, None, rest),
    }
}

/// Of a line with "(FILE offset 17)" in it: these, and the rest of the line.
fn split_inside(root: &Path, line: &str) -> Option<(PathBuf, u64, String)> {
    let opens = format!(" ({}", root.display());
    let at = line.find(&opens)?;
    let (inside, behind) = line[at + 2..].split_once(')')?;
    let (file, offset) = inside.rsplit_once(" offset ")?;
    let offset = offset.parse().ok()?;
    Some((PathBuf::from(file), offset, format!("{}{behind}", &line[..at])))
}

/// What a line tells.
pub(super) fn found(what: What, root: &Path, line: &str) -> Found {
    if let Some((file, offset, text)) = split_inside(root, line) {
        return Found {
            file: Some(file),
            offset: Some(offset),
            ..Found::new(what, text)
        };
    }
    let (file, offset, text) = split(root, line);
    Found {
        file,
        offset,
        ..Found::new(what, text)
    }
}
