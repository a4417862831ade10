//! Going through a [`SubjectTree`](super::SubjectTree) in order: all of it, or what a filter matches.
//!
//! With its place in the filter as the state, following a filter down the bytes of a subject is deterministic: `*`
//! ends at the dot and nowhere else. So no branch is ever entered twice, and a subject is decided in one pass.

use std::ops::ControlFlow;

use super::children::{Child, Inner};
use crate::name::{REST, SEPARATOR, STAR};

/// Visits every leaf below `root`, in order.
pub(super) fn all<V, B>(root: &Child<V>, visit: impl FnMut(&[u8], &V) -> ControlFlow<B>) -> ControlFlow<B> {
    from(root, b"", State::All, b"", visit)
}

/// Visits every leaf below `root` that `filter` matches and that is behind `after`, in order.
pub(super) fn matching<V, B>(
    root: &Child<V>,
    filter: &[u8],
    after: &[u8],
    visit: impl FnMut(&[u8], &V) -> ControlFlow<B>,
) -> ControlFlow<B> {
    from(root, filter, State::token(filter, 0), after, visit)
}

/// How far a subject has come through the filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The filter's byte here is the next one wanted; behind its last, nothing is.
    Byte(usize),
    /// In a `*` that stands here.
    Star { at: usize, begun: bool },
    /// At the `>`, which needs a byte.
    Rest,
    /// Everything matches.
    All,
}

impl State {
    /// At the start of a token of the filter.
    fn token(filter: &[u8], at: usize) -> Self {
        match &filter[at..] {
            [REST] => Self::Rest,
            [STAR] | [STAR, SEPARATOR, ..] => Self::Star { at, begun: false },
            _ => Self::Byte(at),
        }
    }

    /// The state behind `byte`, if the filter can still match there.
    fn step(self, filter: &[u8], byte: u8) -> Option<Self> {
        match self {
            Self::Byte(at) if filter.get(at) != Some(&byte) => None,
            Self::Byte(at) if byte == SEPARATOR => Some(Self::token(filter, at + 1)),
            Self::Byte(at) => Some(Self::Byte(at + 1)),
            Self::Star { at, .. } if byte != SEPARATOR => Some(Self::Star { at, begun: true }),
            Self::Star { at, begun: true } if at + 1 < filter.len() => Some(Self::token(filter, at + 2)),
            Self::Star { .. } => None,
            Self::Rest | Self::All => Some(Self::All),
        }
    }

    /// The state behind all of `bytes`.
    fn run(self, filter: &[u8], bytes: &[u8]) -> Option<Self> {
        let mut state = self;
        for &byte in bytes {
            if state == Self::All {
                break;
            }
            state = state.step(filter, byte)?;
        }
        Some(state)
    }

    /// True if a subject that ends here matches.
    fn accepts(self, filter: &[u8]) -> bool {
        match self {
            Self::Byte(at) => at == filter.len(),
            Self::Star { at, begun } => begun && at + 1 == filter.len(),
            Self::Rest => false,
            Self::All => true,
        }
    }
}

/// A node whose children are being visited.
struct Frame<'a, V> {
    inner: &'a Inner<V>,
    /// The child to look at next, and the one behind the last.
    next: usize,
    until: usize,
    /// Behind the prefix, as is `len`, the length of the subject so far.
    state: State,
    len: usize,
}

impl<'a, V> Frame<'a, V> {
    /// With the prefix put behind `subject`; `None` if the filter does not match it.
    fn enter(inner: &'a Inner<V>, filter: &[u8], state: State, subject: &mut Vec<u8>) -> Option<Self> {
        let state = state.run(filter, inner.prefix())?;
        subject.extend_from_slice(inner.prefix());
        // Where one certain byte must follow, there is only one child to look at.
        let (next, until) = match state {
            State::Byte(at) if at < filter.len() => {
                let next = inner.find(filter[at])?;
                (next, next + 1)
            }
            State::Byte(_) => (0, usize::from(inner.end().is_some())),
            State::Star { .. } | State::Rest | State::All => (0, inner.children.len()),
        };
        Some(Self {
            inner,
            next,
            until,
            state,
            len: subject.len(),
        })
    }
}

fn from<V, B>(
    root: &Child<V>,
    filter: &[u8],
    start: State,
    after: &[u8],
    mut visit: impl FnMut(&[u8], &V) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let mut walk = Walk::new(root, start, after);
    while let Some(value) = walk.next(filter) {
        if after.is_empty() || &walk.subject[..] > after {
            visit(&walk.subject, value)?;
        }
    }
    ControlFlow::Continue(())
}

/// A place in the tree that moves from match to match.
struct Walk<'a, V> {
    /// Where to begin, until it has begun.
    root: Option<(&'a Child<V>, State)>,
    frames: Vec<Frame<'a, V>>,
    /// The subject of the value returned last.
    subject: Vec<u8>,
    /// What lies before this subject need not be looked at.
    after: &'a [u8],
}

impl<'a, V> Walk<'a, V> {
    fn new(root: &'a Child<V>, start: State, after: &'a [u8]) -> Self {
        Self {
            root: Some((root, start)),
            frames: Vec::new(),
            subject: Vec::new(),
            after,
        }
    }

    /// Whether all that begins as `subject` does lies before `after`.
    fn is_before(&self) -> bool {
        let len = self.subject.len().min(self.after.len());
        self.subject[..len] < self.after[..len]
    }

    fn next(&mut self, filter: &[u8]) -> Option<&'a V> {
        if let Some((root, state)) = self.root.take()
            && let Some(value) = self.open(root, filter, state)
        {
            return Some(value);
        }
        while let Some(frame) = self.frames.last_mut() {
            if frame.next >= frame.until {
                self.frames.pop();
                continue;
            }
            let at = frame.next;
            frame.next += 1;
            let (state, len) = (frame.state, frame.len);
            let Some((key, child)) = frame.inner.child(at) else {
                continue;
            };
            let state = match key {
                None => Some(state),
                Some(byte) => state.step(filter, byte),
            };
            let Some(state) = state else { continue };
            self.subject.truncate(len);
            self.subject.extend(key);
            if self.is_before() {
                continue;
            }
            if let Some(value) = self.open(child, filter, state) {
                return Some(value);
            }
        }
        None
    }

    /// Looks at a slot that is reached with `state`: the value of a leaf that matches, or a frame for a node.
    fn open(&mut self, child: &'a Child<V>, filter: &[u8], state: State) -> Option<&'a V> {
        match child {
            Child::Empty => None,
            Child::Leaf(leaf) => {
                let suffix = leaf.suffix.as_slice();
                state.run(filter, suffix).filter(|state| state.accepts(filter))?;
                self.subject.extend_from_slice(suffix);
                Some(&leaf.value)
            }
            Child::Inner(inner) => {
                self.frames
                    .extend(Frame::enter(inner, filter, state, &mut self.subject));
                None
            }
        }
    }
}

/// Every subject with its value, in order.
pub(super) struct Iter<'a, V>(Walk<'a, V>);

impl<'a, V> Iter<'a, V> {
    pub(super) fn new(root: &'a Child<V>) -> Self {
        Self(Walk::new(root, State::All, b""))
    }
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (Vec<u8>, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.0.next(b"")?;
        Some((self.0.subject.clone(), value))
    }
}
