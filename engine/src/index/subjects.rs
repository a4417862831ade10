//! The subjects of a stream: name to a small id and what is known of it, and back from the id to the name.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use weir_subject::SubjectTree;

use super::filters::Filters;
use super::names::{Names, Place};
use crate::types::Seq;

/// What is known of a live subject.
#[derive(Debug)]
pub(super) struct Subject {
    /// Where its name lies.
    name: Place,
    /// Live messages; 0 marks an id that is not in use.
    pub count: u64,
    /// No live message of the subject lies below; see [`Subject::stale`].
    pub first: Seq,
    /// The last live message.
    pub last: Seq,
    /// Whether `first` is only a bound: the first message was removed, and the next one has not been looked for yet.
    pub stale: bool,
    /// What it is marked with, if a frame names it that is kept beside the log.
    pub named: u32,
}

/// All live subjects. Ids are used again once their subject is gone.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    tree: SubjectTree<u32>,
    table: Vec<Subject>,
    free: Vec<u32>,
    births: u64,
    /// The subjects themselves, for testing them against filters by their id.
    names: Names,
    /// The latest ids given out, the newest last.
    newborn: VecDeque<u32>,
}

/// How many of the latest ids are remembered.
const NEWBORN: usize = 1024;

impl Subjects {
    /// Those with these names by their ids, each with that mark and without messages; they are to be [found](Self::found), and
    /// then be [completed](Self::complete). `None` if a name is longer than any head, or there is no memory for them.
    pub fn of_names(all: &[Option<&[u8]>], mark: u32) -> Option<Self> {
        let mut subjects = Self::default();
        subjects.table.try_reserve_exact(all.len()).ok()?;
        for name in all {
            let (name, named) = match name {
                Some(name) => (subjects.names.add(name)?, mark),
                None => (Place::default(), 0),
            };
            subjects.table.push(Subject {
                name,
                count: 0,
                first: 0,
                last: 0,
                stale: false,
                named,
            });
        }
        Some(subjects)
    }

    /// Lends the names, which are [given back](Self::give_names) before any is asked for.
    pub fn lend_names(&mut self) -> Names {
        std::mem::take(&mut self.names)
    }

    /// By the ids, the names that are marked, in those that were lent.
    pub fn names_in<'n>(&self, lent: &'n Names) -> Vec<Option<&'n [u8]>> {
        let name = |subject: &Subject| (subject.named != 0).then(|| lent.get(subject.name));
        self.table.iter().map(name).collect()
    }

    /// Takes back what was lent.
    pub fn give_names(&mut self, lent: Names) {
        self.names = lent;
    }

    /// Calls with each live subject and the number of its messages, in the order of the ids.
    pub fn each(&self, mut visit: impl FnMut(u32, &[u8], u64)) {
        for (id, subject) in (0u32..).zip(&self.table) {
            if subject.count > 0 {
                visit(id, self.names.get(subject.name), subject.count);
            }
        }
    }

    /// So many more messages of a subject are there, above all before, from the first to the last one. `None` if it has no name.
    #[inline]
    pub fn found(&mut self, id: u32, count: u64, (first, last): (Seq, Seq)) -> Option<()> {
        let subject = self.table.get_mut(id as usize).filter(|subject| subject.named != 0)?;
        if subject.count == 0 {
            subject.first = first;
        }
        subject.count += count;
        subject.last = last;
        Some(())
    }

    /// All messages were found: with the tree of all names, or of those with messages, those without go. `twins` are not in the tree,
    /// because another has the same name. Answers `false` if two that are left have the same name.
    pub fn complete(&mut self, mut tree: SubjectTree<u32>, twins: &[u32]) -> bool {
        let mut live = 0;
        for (id, subject) in self.table.iter_mut().enumerate() {
            let id = id as u32;
            if subject.count > 0 {
                live += 1;
                continue;
            }
            self.free.push(id);
            if std::mem::take(&mut subject.named) != 0 {
                let name = self.names.get(subject.name);
                if tree.get(name) == Some(&id) {
                    tree.remove(name);
                }
                self.names.remove(subject.name);
            }
        }
        for &id in twins {
            if let Some(subject) = self.table.get(id as usize).filter(|subject| subject.count > 0)
                && tree.insert(self.names.get(subject.name), id).is_some()
            {
                return false;
            }
        }
        self.births = live as u64;
        self.tree = tree;
        self.tidy_names();
        self.tree.len() == live
    }

    /// How many subjects are live.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// How many subjects ever came into being, clearing counted as well: unchanged means that no id means anything
    /// new.
    pub fn births(&self) -> u64 {
        self.births
    }

    /// The ids given out since there were `since` births, oldest first; `None` if that is too long ago.
    pub fn newborn(&self, since: u64) -> Option<impl Iterator<Item = u32>> {
        let missed = usize::try_from(self.births - since).ok()?;
        let skip = self.newborn.len().checked_sub(missed)?;
        Some(self.newborn.range(skip..).copied())
    }

    /// Forgets all, and gives it to the caller. Ids that someone remembers mean nothing any more.
    pub fn clear(&mut self) -> Self {
        // One birth that is not among the newborn makes everyone look anew.
        let empty = Self {
            births: self.births + 1,
            ..Self::default()
        };
        std::mem::replace(self, empty)
    }

    /// One above the highest id ever used.
    pub fn ids(&self) -> usize {
        self.table.len()
    }

    /// The id of a live subject.
    pub fn id(&self, name: &[u8]) -> Option<u32> {
        self.tree.get(name).copied()
    }

    /// What is known of an id in use.
    pub fn get(&self, id: u32) -> &Subject {
        &self.table[id as usize]
    }

    /// The subject with that id, which is in use.
    pub fn name(&self, id: u32) -> &[u8] {
        self.names.get(self.get(id).name)
    }

    /// What is known of an id in use, to be changed.
    pub fn get_mut(&mut self, id: u32) -> &mut Subject {
        &mut self.table[id as usize]
    }

    /// Counts a new message, the last of its subject, and answers the subject's id; `None` if the
    /// subject is longer than any head.
    pub fn add(&mut self, name: &[u8], seq: Seq) -> Option<u32> {
        if let Some(id) = self.id(name) {
            let subject = self.get_mut(id);
            subject.count += 1;
            subject.last = seq;
            return Some(id);
        }
        let subject = Subject {
            name: self.names.add(name)?,
            count: 1,
            first: seq,
            last: seq,
            stale: false,
            named: 0,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.table[id as usize] = subject;
                id
            }
            None => {
                self.table.push(subject);
                (self.table.len() - 1) as u32
            }
        };
        self.tree.insert(name, id);
        self.births += 1;
        if self.newborn.len() == NEWBORN {
            self.newborn.pop_front();
        }
        self.newborn.push_back(id);
        Some(id)
    }

    /// Forgets a subject that has no messages any more.
    pub fn forget(&mut self, id: u32) {
        let subject = &mut self.table[id as usize];
        subject.count = 0;
        self.tree.remove(self.names.get(subject.name));
        self.names.remove(subject.name);
        self.free.push(id);
        self.tidy_names();
    }

    /// Moves the names together if too many are gone.
    fn tidy_names(&mut self) {
        if self.names.is_sparse() {
            let mut names = Names::default();
            for subject in self.table.iter_mut().filter(|subject| subject.count > 0) {
                // What had a place before gets one again.
                subject.name = names.add(self.names.get(subject.name)).unwrap_or_default();
            }
            self.names = names;
        }
    }

    /// Visits each live subject that any of the filters matches, once, until told to stop; no filter matches all. With
    /// one filter at most the order is that of the names' bytes.
    pub fn matching(&self, filters: &Filters, mut visit: impl FnMut(&[u8], u32) -> ControlFlow<()>) -> ControlFlow<()> {
        if filters.is_empty() {
            return self.tree.for_each_match(b">", |name, &id| visit(name, id));
        }
        for (at, filter) in filters.iter().enumerate() {
            if !weir_subject::has_wildcard(filter) {
                // No other one includes it.
                if let Some(id) = self.id(filter) {
                    visit(filter, id)?;
                }
                continue;
            }
            self.tree
                .for_each_match(filter, |name, &id| match filters.is_first(at, name) {
                    true => visit(name, id),
                    false => ControlFlow::Continue(()),
                })?;
        }
        ControlFlow::Continue(())
    }

    /// Visits each live subject that a filter matches and that is behind `after`, in the order of the names' bytes, until
    /// told to stop.
    pub fn matching_after(
        &self,
        filter: &[u8],
        after: &[u8],
        mut visit: impl FnMut(&[u8], u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if weir_subject::has_wildcard(filter) {
            return self
                .tree
                .for_each_match_after(filter, after, |name, &id| visit(name, id));
        }
        match self.id(filter) {
            Some(id) if filter > after => visit(filter, id),
            _ => ControlFlow::Continue(()),
        }
    }

    /// The ids of the matching subjects, or `None` if there are more than `limit`.
    pub fn matching_up_to(&self, filters: &Filters, limit: usize) -> Option<Vec<u32>> {
        let mut ids = Vec::new();
        let ended = self.matching(filters, |_, id| {
            if ids.len() == limit {
                return ControlFlow::Break(());
            }
            ids.push(id);
            ControlFlow::Continue(())
        });
        ended.is_continue().then_some(ids)
    }

    /// Whether the subject with that id is matched by any of the filters.
    pub fn is_match(&self, id: u32, filters: &Filters) -> bool {
        filters.matches(self.name(id))
    }
}
