//! Going through the frames of a file, and finding the way again behind damage.

use weir_engine::Seq;

use super::format::{ALIGN, DATA_START, EraseRun, FRAME_LEN, FRAME_MAGIC, Frame, Kind};

/// What a walk comes upon.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A frame whose head verifies, and its bytes.
    Frame {
        /// Its offset.
        at: u64,
        /// Its fixed part.
        frame: Frame,
        /// Its bytes, padding included.
        raw: &'a [u8],
    },
    /// Bytes that are no frame, with a frame behind them.
    Gap {
        /// Where they begin.
        from: u64,
        /// Where the next frame begins.
        to: u64,
    },
    /// From here on there is no frame.
    Tail {
        /// Where the last frame ended.
        from: u64,
    },
}

/// A walk through a file's bytes.
pub struct Walk<'a> {
    data: &'a [u8],
    seed: u32,
    at: usize,
    overwritten: &'a [EraseRun],
    /// The last record: in a file each is above the one before.
    last: Seq,
}

impl<'a> Walk<'a> {
    /// Begins behind the header. `data` is the file from its beginning.
    pub fn new(data: &'a [u8], seed: u32) -> Self {
        Self::from(data, seed, DATA_START)
    }

    /// Begins at an offset.
    pub fn from(data: &'a [u8], seed: u32, at: u64) -> Self {
        Self {
            data,
            seed,
            at: at as usize,
            overwritten: &[],
            last: 0,
        }
    }

    /// Takes for overwritten what cannot be read where one of these records was: the power failed in the middle.
    pub fn overwritten(mut self, runs: &'a [EraseRun]) -> Self {
        self.overwritten = runs;
        self
    }

    fn frame(&self, at: usize) -> Option<Frame> {
        Frame::decode(self.data.get(at..)?, self.seed, at as u64)
    }

    /// The next place at which a frame verifies.
    fn resync(&self, mut at: usize) -> Option<usize> {
        let magic = FRAME_MAGIC.to_le_bytes();
        while at + FRAME_LEN <= self.data.len() {
            if self.data[at..at + 4] == magic && self.frame(at).is_some() {
                return Some(at);
            }
            at += ALIGN as usize;
        }
        None
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if self.at >= self.data.len() {
            return None;
        }
        let at = self.at;
        let torn = || {
            let half = Frame::torn_void(self.data.get(at..)?, self.overwritten);
            half.filter(|half| half.seq > self.last)
        };
        if let Some(frame) = self.frame(at).or_else(torn) {
            if matches!(frame.kind, Kind::Record | Kind::Void) {
                self.last = self.last.max(frame.seq);
            }
            let end = at + frame.len() as usize;
            self.at = end;
            return Some(Item::Frame {
                at: at as u64,
                frame,
                raw: &self.data[at..end],
            });
        }
        match self.resync(at + ALIGN as usize) {
            Some(next) => {
                self.at = next;
                Some(Item::Gap {
                    from: at as u64,
                    to: next as u64,
                })
            }
            None => {
                self.at = self.data.len();
                Some(Item::Tail { from: at as u64 })
            }
        }
    }
}
