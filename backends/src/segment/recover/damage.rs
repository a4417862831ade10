//! What is damaged in one segment, and which records may be lost with it.

use bytes::Bytes;
use weir_engine::{Seq, words};

use super::super::format::{Frame, Kind};
use super::super::state::{DAMAGED, Suspect};
use super::list::Source;
use super::load::GONE;

/// What may be missing between two records; the next one that is there says where it ends.
struct Gap {
    from: u64,
    to: u64,
    /// The last sequence before it.
    before: Seq,
    /// Bytes of the file that are damaged or gone, as far as is known.
    bytes: u64,
    why: &'static str,
    what: String,
}

/// Collects what is damaged in one segment.
pub(super) struct Damage<'a> {
    source: &'a Source,
    suspects: &'a mut Vec<Suspect>,
    lines: &'a mut Vec<String>,
    open: Option<Gap>,
    any: bool,
}

impl<'a> Damage<'a> {
    pub(super) fn new(source: &'a Source, suspects: &'a mut Vec<Suspect>, lines: &'a mut Vec<String>) -> Self {
        Self {
            source,
            suspects,
            lines,
            open: None,
            any: false,
        }
    }

    /// Whether anything was damaged.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Whether something is missing, and it is not known yet up to where.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn line(&mut self, text: &str) {
        self.any = true;
        self.lines.push(format!("{}: {text}", self.source.path.display()));
    }

    /// Bytes that are no frame, behind the record `last`.
    pub(super) fn bytes(&mut self, from: u64, to: u64, last: Seq) {
        self.any = true;
        match &mut self.open {
            Some(gap) => {
                gap.to = to;
                gap.bytes += to - from;
                gap.what = format!("offset {} to {to} is damaged", gap.from);
            }
            None => {
                self.open = Some(Gap {
                    from,
                    to,
                    before: last,
                    bytes: to - from,
                    why: DAMAGED,
                    what: format!("offset {from} to {to} is damaged"),
                });
            }
        }
    }

    /// Something is missing at an offset, behind the record `last`, and nothing is in its place.
    pub(super) fn missing(&mut self, at: u64, bytes: u64, last: Seq, what: &str) {
        self.any = true;
        match &mut self.open {
            Some(gap) => gap.bytes += bytes,
            None => {
                self.open = Some(Gap {
                    from: at,
                    to: at,
                    before: last,
                    bytes,
                    why: GONE,
                    what: format!("offset {at}: {what}"),
                });
            }
        }
    }

    /// The gap that is open ends below the next record, or with the last that there should be.
    pub(super) fn ends_at(&mut self, high: Seq) {
        if let Some(gap) = self.open.take() {
            self.lost((gap.before + 1, high), gap.bytes, gap.why, None, &gap.what);
        }
    }

    fn lost(&mut self, (low, high): (Seq, Seq), bytes: u64, why: &'static str, head: Option<Bytes>, what: &str) {
        let mut text = what.to_owned();
        if low <= high {
            text += &format!("; {} may be lost", words::numbered("record", &[(low, high)]));
            self.suspects.push(Suspect {
                low,
                high,
                bytes,
                why,
                head,
                note: format!("{}: {text}", self.source.path.display()),
            });
        }
        self.line(&text);
    }

    /// A frame of which one bit flipped still says what it was.
    pub(super) fn one_frame(&mut self, from: u64, to: u64, last: Seq) -> Option<Frame> {
        if self.open.is_some() {
            return None;
        }
        let raw = self.source.map.get(from as usize..to as usize)?;
        let mended = Frame::mended(raw, self.source.identity.seed(), from);
        let (frame, head) = mended.filter(|(frame, _)| frame.len() == to - from)?;
        let what = format!("offset {from} to {to} is damaged");
        match frame.kind {
            Kind::Record | Kind::Void if frame.seq <= last => return None,
            Kind::Record => self.lost((frame.seq, frame.seq), frame.size(), DAMAGED, Some(head), &what),
            _ => self.line(&what),
        }
        Some(frame)
    }
}
