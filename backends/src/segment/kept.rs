//! The index that is kept beside a log: a file of frames that grows at its end, in the log's folder. It is worth time at the next
//! start and nothing else, so that whatever goes wrong with it is no error of the log.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use weir_engine::{Error, KeepStep, KeptIndex, LogId, Result};

use super::files::{File, Mode};
use super::format::{u32_at, u64_at};
use super::handle::Handles;
use super::state::Doing;

/// What the file begins with, and the id of the log behind it.
const MAGIC: [u8; 8] = *b"WeirIdx\n";
/// Bytes before the first frame.
const HEADER: usize = 16;
/// What a frame begins with; then its number in the list (4), its length (4), and the CRC of log, number, length and content (4).
const FRAME_MAGIC: [u8; 4] = *b"wIxF";
/// Bytes of a frame before its content.
const BEFORE: usize = 16;

/// The file, in a log's folder.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("index")
}

/// The one that is being written and not complete.
fn beside(dir: &Path) -> PathBuf {
    dir.join("index.tmp")
}

/// What is known of the file of a log that is open.
#[derive(Default)]
pub(super) struct KeptFile {
    token: u64,
    /// Of the file that is read: where it ends, and how many frames it has; `None` if nothing may be added to it.
    whole: Option<(u64, u32)>,
    /// The same of the one beside it.
    next: Option<(u64, u32)>,
}

fn crc_of(id: LogId, number: u32, content: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&id.0.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &number.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &(content.len() as u32).to_le_bytes());
    crc32c::crc32c_append(crc, content)
}

fn put_frame(out: &mut Vec<u8>, id: LogId, number: u32, content: &[u8]) {
    out.extend_from_slice(&FRAME_MAGIC);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&(content.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc_of(id, number, content).to_le_bytes());
    out.extend_from_slice(content);
}

/// The content of the frame at the beginning of `raw`, if it is whole, and its number.
fn frame_at(raw: &[u8], id: LogId) -> Option<(u32, usize)> {
    let head = raw.get(..BEFORE)?;
    if !head.starts_with(&FRAME_MAGIC) {
        return None;
    }
    let len = u32_at(head, 8) as usize;
    let content = raw.get(BEFORE..BEFORE.checked_add(len)?)?;
    let number = u32_at(head, 4);
    let good = u32_at(head, 12) == crc_of(id, number, content);
    good.then_some((number, len))
}

fn has_header(raw: &[u8], id: LogId) -> bool {
    raw.len() >= HEADER && raw.starts_with(&MAGIC) && u64_at(raw, 8) == id.0
}

/// Where the whole frames lie that follow each other from the beginning on.
fn frames_of(raw: &[u8], id: LogId) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = HEADER;
    if !has_header(raw, id) {
        return found;
    }
    while let Some((number, len)) = raw.get(at..).and_then(|rest| frame_at(rest, id))
        && number as usize == found.len()
    {
        let start = at + BEFORE;
        found.push(start..start + len);
        at = start + len;
    }
    found
}

/// The bytes of the file; `None` if there is none.
fn bytes_of(handles: &Handles, path: &Path) -> io::Result<Option<Bytes>> {
    let read = || -> io::Result<Bytes> {
        let len = usize::try_from(handles.files.len(path)?).unwrap_or(0);
        if len == 0 {
            return Ok(Bytes::new());
        }
        let file = handles.open(path, Mode::Read)?;
        let map = handles.files.map(&file, path, len, len)?;
        Ok(Bytes::from_owner(map).slice(..len))
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The frames of the file that follow each other from the beginning on.
struct Frames<'a> {
    handles: &'a Handles,
    path: &'a Path,
    file: File,
    id: LogId,
    /// The length of the file, in bytes.
    len: u64,
    /// Whether it begins as it should.
    has_header: bool,
    /// Where the next frame would begin, and its number.
    at: u64,
    number: u32,
}

impl<'a> Frames<'a> {
    /// Of a file that is read piece by piece, so that no more of it is in memory than that; `None` if there is none.
    fn open(handles: &'a Handles, path: &'a Path, id: LogId) -> io::Result<Option<Self>> {
        let opened = handles
            .files
            .len(path)
            .and_then(|len| Ok((len, handles.open(path, Mode::Read)?)));
        let (len, file) = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut frames = Self {
            handles,
            path,
            file,
            id,
            len,
            has_header: false,
            at: HEADER as u64,
            number: 0,
        };
        let mut header = [0; HEADER];
        frames.has_header = frames.fill(&mut header, 0)? && has_header(&header, id);
        Ok(Some(frames))
    }

    /// Fills a buffer from an offset on; answers `false` if the file ends before.
    fn fill(&self, into: &mut [u8], at: u64) -> io::Result<bool> {
        let mut filled = 0;
        while filled < into.len() {
            let from = at + filled as u64;
            match self
                .handles
                .files
                .read_at(&self.file, self.path, &mut into[filled..], from)?
            {
                0 => return Ok(false),
                read => filled += read,
            }
        }
        Ok(true)
    }

    /// The content of the next one, in place of what was in the buffer; answers `false` if there is none that is whole.
    fn next(&mut self, content: &mut Vec<u8>) -> io::Result<bool> {
        let mut head = [0; BEFORE];
        let start = self.at + BEFORE as u64;
        if !self.has_header || start > self.len || !self.fill(&mut head, self.at)? {
            return Ok(false);
        }
        let (number, len) = (u32_at(&head, 4), u32_at(&head, 8));
        let is_next = head.starts_with(&FRAME_MAGIC) && number == self.number;
        if !is_next || u64::from(len) > self.len - start {
            return Ok(false);
        }
        content.clear();
        content.resize(len as usize, 0);
        if !self.fill(content, start)? || u32_at(&head, 12) != crc_of(self.id, number, content) {
            return Ok(false);
        }
        (self.at, self.number) = (start + u64::from(len), self.number + 1);
        Ok(true)
    }
}

/// Where the file is damaged, and what is wrong there: what follows is whole, so that it was no write that was broken off.
///
/// # Errors
/// If it cannot be read.
pub(super) fn check(handles: &Handles, dir: &Path, id: LogId) -> Result<(u64, Option<u64>)> {
    let path = path(dir);
    let whole = || -> io::Result<Option<u64>> {
        let Some(mut frames) = Frames::open(handles, &path, id)? else {
            return Ok(Some(0));
        };
        let mut content = Vec::new();
        while frames.next(&mut content)? {}
        Ok(Some(frames.len).filter(|len| frames.has_header && frames.at == *len))
    };
    // What cannot be read reads as zeros through a map.
    if let Ok(Some(len)) = whole() {
        return Ok((len, None));
    }
    let Some(raw) = bytes_of(handles, &path).doing("reading", &path)? else {
        return Ok((0, None));
    };
    let len = raw.len() as u64;
    if !has_header(&raw, id) {
        let is_begun = raw.len() < HEADER || raw.iter().all(|byte| *byte == 0);
        return Ok((len, (!is_begun).then_some(0)));
    }
    let end = frames_of(&raw, id).last().map_or(HEADER, |last| last.end);
    let rest = &raw[end..];
    let has_later = (0..rest.len()).any(|at| frame_at(&rest[at..], id).is_some());
    // One of its full length was written to its end.
    let is_whole_length = rest.len() >= BEFORE && u32_at(rest, 8) as usize == rest.len() - BEFORE;
    Ok((len, (has_later || is_whole_length).then_some(end as u64)))
}

impl KeptFile {
    /// Reads what is kept, as far as it is whole.
    pub fn read(&mut self, handles: &Handles, dir: &Path, id: LogId) -> KeptIndex {
        self.token += 1;
        (self.whole, self.next) = (None, None);
        let path = path(dir);
        let mut found = Vec::new();
        let mut read = || -> io::Result<()> {
            let Some(mut frames) = Frames::open(handles, &path, id)? else {
                return Ok(());
            };
            let mut content = Vec::new();
            while frames.next(&mut content)? {
                found.push(Bytes::from(std::mem::take(&mut content)));
            }
            if frames.at < frames.len {
                tracing::info!("{}: used up to offset {} of {}", path.display(), frames.at, frames.len);
            }
            // Bytes behind the end may be taken for frames once what is before them is written.
            let is_whole = frames.has_header && frames.at == frames.len;
            self.whole = is_whole.then_some((frames.at, frames.number));
            Ok(())
        };
        if let Err(error) = read() {
            tracing::warn!("{}: {error}; the start takes longer", path.display());
        }
        KeptIndex {
            token: self.token,
            frames: found,
            open: self.whole.is_some(),
        }
    }

    /// Writes.
    pub fn keep(&mut self, handles: &Handles, dir: &Path, id: LogId, token: u64, steps: &[KeepStep]) -> Result<()> {
        if token != self.token {
            return Err(Error::invalid("the log was opened anew since"));
        }
        let result = self.take(handles, dir, id, steps);
        if result.is_err() {
            // Only a new list can be relied upon.
            (self.whole, self.next) = (None, None);
        }
        result
    }

    fn take(&mut self, handles: &Handles, dir: &Path, id: LogId, steps: &[KeepStep]) -> Result<()> {
        let mut out = Vec::new();
        let mut count = 0;
        for step in steps {
            match step {
                KeepStep::Begin => {
                    self.flush(handles, dir, &mut out, std::mem::take(&mut count))?;
                    begin(handles, dir, id)?;
                    self.next = Some((HEADER as u64, 0));
                }
                KeepStep::Frame(content) => {
                    let (_, frames) = self.next.or(self.whole).ok_or_else(no_list)?;
                    put_frame(&mut out, id, frames + count, content);
                    count += 1;
                }
                KeepStep::Complete => {
                    self.flush(handles, dir, &mut out, std::mem::take(&mut count))?;
                    let (from, to) = (beside(dir), path(dir));
                    handles.files.rename(&from, &to).doing("renaming", &from)?;
                    self.whole = self.next.take();
                    handles.files.sync_dir(dir).syncing(dir)?;
                }
            }
        }
        self.flush(handles, dir, &mut out, count)
    }

    /// Writes so many frames, and syncs them.
    fn flush(&mut self, handles: &Handles, dir: &Path, out: &mut Vec<u8>, count: u32) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let path = match self.next {
            Some(_) => beside(dir),
            None => path(dir),
        };
        let (end, frames) = self.next.as_mut().or(self.whole.as_mut()).ok_or_else(no_list)?;
        let file = handles.open(&path, Mode::Write).doing("opening", &path)?;
        handles
            .files
            .write_at(&file, &path, out, *end)
            .doing("writing", &path)?;
        handles.files.sync(&file, &path).syncing(&path)?;
        *end += out.len() as u64;
        *frames += count;
        out.clear();
        Ok(())
    }

    /// Removes what is kept.
    pub fn forget(&mut self, handles: &Handles, dir: &Path) -> Result<()> {
        (self.whole, self.next) = (None, None);
        for path in [path(dir), beside(dir)] {
            match handles.files.remove(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.doing("removing", &path)?,
            }
        }
        handles.files.sync_dir(dir).syncing(dir)
    }
}

fn no_list() -> Error {
    Error::invalid("there is no list that frames may be added to")
}

/// Makes the file beside the one that is read, anew.
fn begin(handles: &Handles, dir: &Path, id: LogId) -> Result<()> {
    let path = beside(dir);
    match handles.files.remove(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => other.doing("removing", &path)?,
    }
    let file = handles.open(&path, Mode::Create).doing("making", &path)?;
    let header = [&MAGIC[..], &id.0.to_le_bytes()].concat();
    handles
        .files
        .write_at(&file, &path, &header, 0)
        .doing("writing", &path)?;
    // Frames may follow, or none.
    handles.files.sync(&file, &path).syncing(&path)
}
