//! What the interest graph answered, remembered: by subject, and by what subjects have in common.
//!
//! Many subjects are used once: every acknowledgement has its own, and so has the answer to a request. What distinguishes
//! them is in tokens that no subscription names, so one answer holds for all of a [`Family`].

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use crate::interest::{Account, Subscription};
use crate::limits::{MATCH_FAMILIES, MATCH_FAMILY_CHANGE, MATCH_SLOTS_MAX, MATCH_SLOTS_MIN, MATCH_SUBJECT_MAX};
use crate::permissions::Rules;

/// No generation ever reaches this.
const VOID: u64 = u64::MAX;

/// Subjects of accounts and who matches them, valid for one generation of the account. A table with one place per hash: a new subject
/// takes over the place (and the allocations) of an older one.
pub(super) struct MatchCache {
    slots: Box<[Slot]>,
    hasher: FixedState,
    /// Live matches that were overwritten since the table last grew.
    evicted: usize,
    /// At most [`MATCH_FAMILIES`].
    families: Vec<Family>,
    /// Counts what neither the slots nor the families knew.
    unknown: usize,
    /// Up to which generation of which account void matches were dropped.
    refreshed: (usize, u64),
    /// Nothing is remembered.
    off: bool,
}

/// One subject of one account.
struct Slot {
    hash: u64,
    /// The account's number.
    account: usize,
    subject: Vec<u8>,
    generation: u64,
    matched: Matched,
}

/// Subjects of one account with the same first tokens and as many others, which no subscription looks at.
struct Family {
    /// The account's number.
    account: usize,
    /// The tokens that were looked at, each with the dot behind it.
    prefix: Vec<u8>,
    /// How many tokens follow.
    others: usize,
    generation: u64,
    matched: Matched,
}

/// Where a match is remembered, until another one is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Of one subject.
    Slot(usize),
    /// Of subjects that have their first tokens in common.
    Family(usize),
}

/// Who matches.
#[derive(Clone)]
pub(super) struct Matched {
    /// Whether the sender may publish there.
    pub permitted: bool,
    pub plain: SmallVec<[Arc<Subscription>; 1]>,
    /// Other servers that have such as are in no group, one subscription of each.
    pub peers: SmallVec<[Arc<Subscription>; 1]>,
    /// The members of all queue groups, group by group, in each those of other servers at the end.
    pub queued: Vec<Arc<Subscription>>,
    /// Where in `queued` the members of each group that are here end, and where the group does.
    ends: Vec<(usize, usize)>,
    /// Whether other servers have any.
    pub has_peers: bool,
    /// Those that take it into other accounts.
    pub crossings: Vec<Arc<Subscription>>,
}

impl Default for Matched {
    fn default() -> Self {
        Self {
            permitted: true,
            plain: SmallVec::new(),
            peers: SmallVec::new(),
            queued: Vec::new(),
            ends: Vec::new(),
            has_peers: false,
            crossings: Vec::new(),
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            hash: 0,
            account: 0,
            subject: Vec::new(),
            generation: VOID,
            matched: Matched::default(),
        }
    }
}

impl Default for MatchCache {
    fn default() -> Self {
        Self {
            slots: Box::default(),
            hasher: FixedState::default(),
            evicted: 0,
            families: Vec::new(),
            unknown: 0,
            refreshed: (0, VOID),
            off: false,
        }
    }
}

impl MatchCache {
    /// One that remembers nothing if it is `off`.
    pub fn new(off: bool) -> Self {
        Self { off, ..Self::default() }
    }

    /// Who listens on `subject`, and whether a sender with these rules may publish there. The rules must be the same each time.
    pub fn get(&mut self, account: &Account, subject: &[u8], rules: Option<&Rules>) -> &Matched {
        let place = self.find(account, subject, rules);
        self.at(place)
    }

    /// What was found at `place`, which must be what was found last.
    #[inline]
    pub fn at(&self, place: Place) -> &Matched {
        match place {
            Place::Slot(at) => &self.slots[at].matched,
            Place::Family(at) => &self.families[at].matched,
        }
    }

    /// Where it is remembered what [`get`](Self::get) says.
    #[inline]
    pub fn find(&mut self, account: &Account, subject: &[u8], rules: Option<&Rules>) -> Place {
        // The same subject of two accounts should not share a place.
        let hash = self.hasher.hash_one(subject) ^ account.number as u64;
        let at = self.place(hash);
        match self.slots.get(at) {
            Some(slot) if !self.off && slot.is_of(account, subject, hash) => Place::Slot(at),
            _ => self.find_unknown(account, subject, hash, rules),
        }
    }

    /// The same of a subject that is in no slot.
    #[inline(never)]
    fn find_unknown(&mut self, account: &Account, subject: &[u8], hash: u64, rules: Option<&Rules>) -> Place {
        if self.off {
            if self.slots.is_empty() {
                self.resize(1);
            }
            self.slots[0].fill(account, subject, 0, rules);
            return Place::Slot(0);
        }
        let (number, generation) = (account.number, account.generation());
        if self.slots.is_empty() {
            self.resize(MATCH_SLOTS_MIN);
        }
        if let Some(family) = self
            .families
            .iter()
            .position(|family| family.has(number, subject, generation))
        {
            return Place::Family(family);
        }
        let mut at = self.place(hash);
        let slot = &self.slots[at];
        let live = slot.account == number && slot.generation == generation;
        // Whether a match of another account still holds is not looked up: it counts as if.
        if live || slot.account != number && slot.generation != VOID {
            self.evicted += 1;
            if self.evicted > self.slots.len() && self.slots.len() < MATCH_SLOTS_MAX {
                self.resize(self.slots.len() * 2);
                at = self.place(hash);
            }
        }
        let decided = self.slots[at].fill(account, subject, hash, rules);
        self.found_family(at, subject, decided);
        Place::Slot(at)
    }

    /// Remembers the match at `at` for all subjects that have the `decided` first tokens of `subject`, if it has others. Where
    /// all places are taken by families that hold, only now and then, so that many of them cost little.
    fn found_family(&mut self, at: usize, subject: &[u8], decided: usize) {
        let (account, generation) = (self.slots[at].account, self.slots[at].generation);
        let Some((prefix, others)) = split(subject, decided).filter(|_| generation != VOID) else {
            return;
        };
        self.unknown = self.unknown.wrapping_add(1);
        let void = self
            .families
            .iter()
            .position(|family| family.account == account && family.generation != generation);
        let place = match void {
            Some(place) => place,
            None if self.families.len() < MATCH_FAMILIES => self.families.len(),
            None if self.unknown.is_multiple_of(MATCH_FAMILY_CHANGE) => {
                self.unknown / MATCH_FAMILY_CHANGE % self.families.len()
            }
            None => return,
        };
        let family = Family {
            account,
            prefix: prefix.to_vec(),
            others,
            generation,
            matched: self.slots[at].matched.clone(),
        };
        match self.families.get_mut(place) {
            Some(former) => *former = family,
            None => self.families.push(family),
        }
    }

    /// The number of slots is a power of two, or none: then this is no place.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        (hash as usize) & self.slots.len().wrapping_sub(1)
    }

    fn resize(&mut self, slots: usize) {
        self.slots = std::iter::repeat_with(Slot::default).take(slots).collect();
        self.evicted = 0;
    }

    #[cfg(test)]
    pub fn families(&self) -> usize {
        self.families.len()
    }

    #[cfg(test)]
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Drops matches of the account that are void.
    pub fn refresh(&mut self, account: &Account) {
        let (number, generation) = (account.number, account.generation());
        if std::mem::replace(&mut self.refreshed, (number, generation)) == (number, generation) {
            return;
        }
        let is_void = |of: usize, at: u64| of == number && at != generation;
        for slot in self
            .slots
            .iter_mut()
            .filter(|slot| is_void(slot.account, slot.generation))
        {
            slot.generation = VOID;
            slot.matched.clear();
        }
        self.families
            .retain(|family| !is_void(family.account, family.generation));
    }
}

impl Family {
    fn has(&self, account: usize, subject: &[u8], generation: u64) -> bool {
        self.account == account
            && self.generation == generation
            && subject
                .strip_prefix(&self.prefix[..])
                .is_some_and(|others| tokens_in(others) == Some(self.others))
    }
}

/// The first `decided` tokens of `subject`, each with the dot behind it, and how many others there are; `None` if there are
/// none, or if one is empty: such a subject matches nothing.
fn split(subject: &[u8], decided: usize) -> Option<(&[u8], usize)> {
    let end = match decided {
        0 => 0,
        _ => {
            subject
                .iter()
                .enumerate()
                .filter(|&(_, &byte)| byte == b'.')
                .nth(decided - 1)?
                .0
                + 1
        }
    };
    let (prefix, others) = subject.split_at(end);
    Some((prefix, tokens_in(others)?))
}

/// How many tokens these are; `None` if one is empty. Without a way out in the middle, so that it is done many bytes at once.
fn tokens_in(subject: &[u8]) -> Option<usize> {
    let is_whole = !matches!(subject, [] | [b'.', ..] | [.., b'.']);
    let empty = |pair: &[u8]| pair[0] == b'.' && pair[1] == b'.';
    let any_empty = subject.windows(2).fold(false, |any, pair| any | empty(pair));
    let dots: usize = subject.iter().map(|&byte| usize::from(byte == b'.')).sum();
    (is_whole && !any_empty).then_some(dots + 1)
}

impl Slot {
    /// Whether it holds what is true of `subject` now.
    #[inline]
    fn is_of(&self, account: &Account, subject: &[u8], hash: u64) -> bool {
        self.hash == hash
            && self.account == account.number
            && self.generation == account.generation()
            && are_same(&self.subject, subject)
    }

    /// Asks the interest graph. Returns how many tokens of `subject` it looked at.
    fn fill(&mut self, account: &Account, subject: &[u8], hash: u64, rules: Option<&Rules>) -> usize {
        self.hash = hash;
        self.account = account.number;
        self.subject.clear();
        self.generation = VOID;
        let (generation, decided) = self.matched.fill(account, subject, rules);
        // A longer subject stays void: it is used once and overwritten.
        if subject.len() <= MATCH_SUBJECT_MAX {
            self.subject.extend_from_slice(subject);
            self.generation = generation;
        }
        decided
    }
}

/// Whether two subjects are the same: they are short, so that a call to compare them would take longer than to do so.
#[inline]
pub(super) fn are_same(a: &[u8], b: &[u8]) -> bool {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    a.len() == b.len()
        && a_words
            .iter()
            .zip(b_words)
            .all(|(a, b)| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b))
        && a_rest.iter().zip(b_rest).all(|(a, b)| a == b)
}

impl Matched {
    /// Whether nobody listens.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.is_wanted() && self.crossings.is_empty()
    }

    /// Whether somebody listens who is not in another account.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        !self.plain.is_empty() || !self.queued.is_empty() || !self.peers.is_empty()
    }

    fn clear(&mut self) {
        self.plain.clear();
        self.peers.clear();
        self.has_peers = false;
        self.queued.clear();
        self.ends.clear();
        self.crossings.clear();
    }

    /// The members of each queue group: those that are here, and those of other servers. One of them is not empty.
    pub fn groups(&self) -> impl Iterator<Item = (&[Arc<Subscription>], &[Arc<Subscription>])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        starts
            .zip(&self.ends)
            .map(|(start, &(here, end))| (&self.queued[start..here], &self.queued[here..end]))
    }

    /// Asks the interest graph, and the rules of the sender and of receivers. Returns the generation of what it says, and how
    /// many tokens of `subject` all of them looked at.
    fn fill(&mut self, account: &Account, subject: &[u8], rules: Option<&Rules>) -> (u64, usize) {
        self.clear();
        let (permitted, mut looked) = rules.map_or((true, 0), |rules| rules.may_publish(subject));
        self.permitted = permitted;
        let (plain, queued, crossings) = (&mut self.plain, &mut self.queued, &mut self.crossings);
        let (peers, has_peers) = (&mut self.peers, &mut self.has_peers);
        let (generation, decided) = account.matches(subject, |subscription| {
            let (denied, tokens) = subscription.denies(subject);
            looked = looked.max(tokens);
            let is_peer = !denied && subscription.peer().is_some();
            *has_peers |= is_peer;
            match &subscription.queue {
                _ if denied => {}
                _ if subscription.is_crossing() => crossings.push(Arc::clone(subscription)),
                None if is_peer => peers.push(Arc::clone(subscription)),
                None => plain.push(Arc::clone(subscription)),
                Some(_) => queued.push(Arc::clone(subscription)),
            }
        });
        // Stable, and quick with many groups as with many members.
        queued.sort_by(|a, b| {
            a.queue
                .cmp(&b.queue)
                .then_with(|| a.peer().is_some().cmp(&b.peer().is_some()))
        });
        let mut end = 0;
        for group in queued.chunk_by(|a, b| a.queue == b.queue) {
            let here = end + group.partition_point(|member| member.peer().is_none());
            end += group.len();
            self.ends.push((here, end));
        }
        // Filters of one server that overlap bring it one message.
        let number_of = |of: &Arc<Subscription>| of.peer().map(|peer| peer.standing.number);
        peers.sort_by_key(number_of);
        peers.dedup_by_key(|of| number_of(of));
        (generation, decided.max(looked))
    }
}
