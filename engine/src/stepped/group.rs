//! Several stores that have the same shards: one leads, the others follow. What the leader decides is a fact once the group says so, which
//! whoever steps it chooses, as well as when another one leads and what is lost with that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::SteppedStore;
use super::twin::{TOLD, compare, copy_log};
use crate::backend::LogReader;
use crate::error::{Error, Kind, Result};
use crate::shard::commit::Commit;
use crate::shard::emit::Outlet;
use crate::shard::snapshot::{StreamSnapshot, dedup_writes, stream_key};
use crate::shard::{Input, Role, Runner, ShardHandle};
use crate::store::{OpenBackend, StoreOptions, local_shards};
use crate::stream::messages::TurnNumber;
use crate::stream::settings::BackendKind;
use crate::types::{Entry, Record, Seq, ShardId};

/// How a replica of the whole is opened.
pub struct Replica {
    /// Its backends, which no other one has.
    pub open: OpenBackend,
    /// The same for all.
    pub options: StoreOptions,
    /// The way out of one of its shards.
    pub outlet: Box<dyn FnMut(ShardId) -> Box<dyn Outlet>>,
}

/// The stores.
pub struct Group {
    replicas: Vec<SteppedStore>,
    slots: BTreeMap<ShardId, Arc<Mutex<Slot>>>,
    leader: usize,
}

/// What the replicas of one shard agree upon.
#[derive(Default)]
struct Slot {
    /// Nobody for as long as another one is about to lead.
    leader: Option<usize>,
    /// Records that the leader decided and that are no facts yet, a turn each.
    proposed: VecDeque<Vec<Entry>>,
    /// Those that are facts, from the first of all on, a turn each.
    facts: Vec<Vec<Entry>>,
    /// Turns of which the leader wants to hear, and the last record before the end of each.
    begun: VecDeque<(TurnNumber, Seq)>,
    /// The last turn of which it has heard.
    committed: TurnNumber,
    /// Whether the leader hears of nothing any more: it finds out as soon as it waits.
    is_cut_off: bool,
    /// Who led before, until it knows that another one does.
    deposed: Option<usize>,
}

impl Slot {
    fn last_fact(&self) -> Seq {
        self.facts
            .last()
            .and_then(|turn| turn.last())
            .map_or(0, |entry| entry.seq)
    }

    /// The next turn of the leader is a fact.
    fn commit_one(&mut self) -> bool {
        let Some(entries) = self.proposed.pop_front() else {
            return false;
        };
        self.facts.push(entries);
        true
    }

    /// What turns were begun that are facts by now.
    fn hear(&mut self) -> TurnNumber {
        let last = self.last_fact();
        while let Some((turn, _)) = self.begun.pop_front_if(|(_, end)| *end <= last) {
            self.committed = turn;
        }
        self.committed
    }

    /// Another one is about to lead: what is no fact is lost.
    fn depose(&mut self) {
        self.deposed = self.leader.take();
        self.proposed.clear();
        self.begun.clear();
        (self.committed, self.is_cut_off) = (0, false);
    }
}

/// One replica's end of a slot: its own journal has a copy of all that it knows of.
struct Member {
    own: Box<dyn Commit>,
    slot: Arc<Mutex<Slot>>,
    me: usize,
}

impl Member {
    /// Waits until turns are facts, up to the one `until` says.
    fn wait_until(&mut self, until: impl Fn(&mut Slot) -> bool) -> Result<()> {
        let mut slot = self.slot.lock();
        if slot.deposed == Some(self.me) {
            return Err(deposed());
        }
        if slot.leader != Some(self.me) {
            return Ok(());
        }
        while !until(&mut slot) {
            if slot.is_cut_off {
                return Err(deposed());
            }
            if !slot.commit_one() {
                break;
            }
        }
        Ok(())
    }
}

fn deposed() -> Error {
    Error::new(Kind::NotLeading, "another replica leads by now")
}

impl Commit for Member {
    fn submit(&mut self, records: &[Record<'_>]) -> Result<()> {
        self.own.submit(records)?;
        let mut slot = self.slot.lock();
        if slot.leader == Some(self.me) {
            slot.proposed
                .push_back(records.iter().map(|record| record.to_entry()).collect());
        }
        Ok(())
    }

    fn begin(&mut self, turn: TurnNumber, _: &ShardHandle) -> bool {
        let mut slot = self.slot.lock();
        let last = slot.proposed.iter().rev().find_map(|turn| turn.last());
        let end = last.map_or_else(|| slot.last_fact(), |entry| entry.seq);
        // One that is deposed hears of nothing.
        if slot.leader == Some(self.me) {
            slot.begun.push_back((turn, end));
        }
        true
    }

    fn committed(&self) -> Result<TurnNumber> {
        let mut slot = self.slot.lock();
        match slot.deposed == Some(self.me) {
            true => Err(deposed()),
            false => Ok(slot.hear()),
        }
    }

    fn wait(&mut self, turn: TurnNumber) -> Result<()> {
        self.wait_until(|slot| slot.begun.front().is_none_or(|(begun, _)| *begun > turn) || slot.hear() >= turn)
    }

    fn sync(&mut self) -> Result<()> {
        self.wait_until(|slot| slot.proposed.is_empty())?;
        self.own.sync()
    }

    fn cut(&mut self, behind: Seq) -> Result<()> {
        self.own.cut(behind)
    }

    fn free(&mut self, through: Seq) -> Result<()> {
        self.own.free(through)
    }

    fn reserve(&mut self, bytes: u64) -> Result<()> {
        self.own.reserve(bytes)
    }

    fn tidy(&mut self) -> Result<()> {
        self.own.tidy()
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        self.own.reader()
    }
}

impl Group {
    /// Stores that have nothing yet; the first leads.
    ///
    /// # Errors
    /// As [`SteppedStore::open`].
    pub fn open(replicas: Vec<Replica>) -> Result<Self> {
        let mut group = Self {
            replicas: Vec::new(),
            slots: BTreeMap::new(),
            leader: 0,
        };
        for (me, replica) in replicas.into_iter().enumerate() {
            for shard in local_shards(replica.options.shards) {
                group.slots.entry(shard).or_default();
            }
            let store = group.open_one(me, replica)?;
            group.replicas.push(store);
        }
        for shard in group.shards() {
            group.slots[&shard].lock().leader = Some(0);
            group.tell(0, shard, Input::Lead);
        }
        Ok(group)
    }

    fn open_one(&self, me: usize, replica: Replica) -> Result<SteppedStore> {
        let mut store = SteppedStore::open_as(replica.open, replica.options, replica.outlet, Role::Following)?;
        for (runner, slot) in store.runners.values_mut().zip(self.slots.values()) {
            let slot = slot.clone();
            let member = |own| Box::new(Member { own, slot, me }) as Box<dyn Commit>;
            runner.shard().0.commit_by(member);
        }
        Ok(store)
    }

    /// The one that leads.
    pub fn leader(&self) -> &SteppedStore {
        &self.replicas[self.leader]
    }

    fn shards(&self) -> Vec<ShardId> {
        self.slots.keys().copied().collect()
    }

    /// How many there are.
    pub fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// One of them.
    pub fn replica(&mut self, number: usize) -> &mut SteppedStore {
        &mut self.replicas[number]
    }

    /// Hands an input to a shard of a replica, which has turns until it has taken it.
    fn tell(&mut self, replica: usize, shard: ShardId, input: Input) {
        let store = &mut self.replicas[replica];
        // One that has ended says so when it is looked at.
        let _ = store.store().shard(shard).send(vec![input]);
        while store.turn(shard) && store.runners.get(&shard).is_some_and(Runner::has_inputs) {}
    }

    /// A turn of the leader. Answers whether it leads still.
    pub fn turn(&mut self, shard: ShardId) -> bool {
        self.replicas[self.leader].turn(shard);
        self.role(self.leader, shard) == Some(Role::Leading)
    }

    fn role(&mut self, replica: usize, shard: ShardId) -> Option<Role> {
        let runner = self.replicas[replica].runners.get_mut(&shard)?;
        Some(runner.shard().0.role())
    }

    /// The last record that a replica has.
    fn position(&mut self, replica: usize, shard: ShardId) -> Seq {
        let runner = self.replicas[replica].runners.get_mut(&shard);
        runner.map_or(0, |runner| runner.shard().0.position())
    }

    /// So many of the turns that the leader has decided are facts, of which it hears.
    pub fn commit(&mut self, shard: ShardId, turns: usize) {
        let committed = {
            let mut slot = self.slots[&shard].lock();
            !slot.is_cut_off && (0..turns).take_while(|_| slot.commit_one()).count() > 0 || !slot.begun.is_empty()
        };
        if committed {
            self.tell(self.leader, shard, Input::Committed);
        }
    }

    /// How many turns of the leader are no facts.
    pub fn proposed(&self, shard: ShardId) -> usize {
        self.slots[&shard].lock().proposed.len()
    }

    /// Whether the leader of a shard hears of nothing any more.
    pub fn is_cut_off(&self, shard: ShardId) -> bool {
        self.slots[&shard].lock().is_cut_off
    }

    /// The leader hears of nothing any more.
    pub fn cut_off(&mut self, shard: ShardId) {
        self.slots[&shard].lock().is_cut_off = true;
    }

    /// A replica that follows is told what is a fact and it does not have, `turns` of it at most.
    pub fn follow(&mut self, replica: usize, shard: ShardId, turns: usize) {
        if replica == self.leader {
            return;
        }
        let from = self.position(replica, shard);
        let entries: Vec<Entry> = {
            let slot = self.slots[&shard].lock();
            let has = |turn: &Vec<Entry>| turn.last().is_none_or(|last| last.seq <= from);
            let begin = slot.facts.partition_point(has);
            slot.facts[begin..].iter().take(turns).flatten().cloned().collect()
        };
        // A turn of its own as well, with nothing to do but what it began beside itself.
        match entries.is_empty() {
            true => _ = self.replicas[replica].turn(shard),
            false => self.tell(replica, shard, Input::Apply(entries)),
        }
    }

    /// Another one leads from now on. Of the turns that are no facts, as many as `survive` says of each shard become facts all the same; the
    /// others are lost. Answers in what replicas differ from the new leader, before that decides anything.
    ///
    /// # Errors
    /// If something cannot be read.
    pub fn fail_over(&mut self, to: usize, mut survive: impl FnMut(usize) -> usize) -> Result<Vec<String>> {
        let before = std::mem::replace(&mut self.leader, to);
        for shard in self.shards() {
            let count = survive(self.proposed(shard));
            {
                let mut slot = self.slots[&shard].lock();
                for _ in 0..count {
                    slot.commit_one();
                }
                slot.depose();
            }
            self.tell(before, shard, Input::Follow);
            self.slots[&shard].lock().deposed = None;
        }
        // All have all that is a fact.
        for shard in self.shards() {
            self.leader = self.replicas.len();
            for replica in 0..self.replicas.len() {
                self.follow(replica, shard, usize::MAX);
            }
            self.leader = to;
        }
        let told = self.differences(true)?;
        for shard in self.shards() {
            self.slots[&shard].lock().leader = Some(to);
            self.tell(to, shard, Input::Lead);
        }
        Ok(told)
    }

    /// Which one leads.
    pub fn leading(&self) -> usize {
        self.leader
    }

    /// A replica that follows ends, closed or killed, and is opened once more.
    ///
    /// # Errors
    /// As [`SteppedStore::open`].
    pub fn restart(&mut self, number: usize, closes: bool, replica: impl FnOnce() -> Replica) -> Result<()> {
        let ended = self.replicas.swap_remove(number);
        match closes {
            true => ended.close(),
            false => drop(ended),
        }
        let store = self.open_one(number, replica())?;
        self.replicas.push(store);
        let last = self.replicas.len() - 1;
        self.replicas.swap(number, last);
        Ok(())
    }

    /// A replica that follows is lost with all that it had, and a new one is in its place, which lacks all streams.
    ///
    /// # Errors
    /// As [`SteppedStore::open`].
    pub fn replace(&mut self, number: usize, replica: impl FnOnce() -> Replica) -> Result<()> {
        self.restart(number, false, replica)?;
        // Whoever gives out ids to streams tells it which were.
        let last = self.leader().env.catalogue.last_id();
        self.replicas[number].env.catalogue.seen(last);
        for shard in self.shards() {
            let from = self.slots[&shard].lock().last_fact();
            self.tell(number, shard, Input::Fill(from));
        }
        Ok(())
    }

    /// A replica that is being filled gets a copy of one of the streams that it lacks, as `from` has it now. Answers whether it lacks none of a
    /// shard, and is full then; `None` if another replica is to be asked, which has no turn in flight.
    ///
    /// # Errors
    /// If something cannot be read or written.
    pub fn copy_one(&mut self, number: usize, shard: ShardId, from: usize) -> Result<Option<bool>> {
        let Some(Role::Filling { from: told }) = self.role(number, shard) else {
            return Ok(Some(true));
        };
        let at = self.position(number, shard);
        let Ok([source, to]) = self.replicas.get_disjoint_mut([from, number]) else {
            return Ok(None);
        };
        let env = to.env.clone();
        let (Some(source), Some(to)) = (source.runners.get_mut(&shard), to.runners.get_mut(&shard)) else {
            return Ok(None);
        };
        let (source, to) = (source.shard().0, to.shard().0);
        let position = source.position();
        if !source.has_landed() || matches!(source.role(), Role::Filling { .. }) || position < told {
            return Ok(None);
        }
        let lacking = source.journaled().find(|(id, _)| to.stream_mut(**id).is_none());
        let Some((&id, stream)) = lacking else {
            // Nor may a copy have what it is still to be told.
            if position > at || to.has_copies_ahead() {
                return Ok(None);
            }
            self.tell(number, shard, Input::Filled);
            return Ok(Some(true));
        };
        copy_log(&env, id, stream)?;
        let snapshot = StreamSnapshot {
            // What the log was given back of what it removed is its own business.
            log_change: 0,
            recompressing: None,
            ..StreamSnapshot::of(stream, shard, position)
        };
        let mut writes = vec![(stream_key(id), Some(crate::json::to_json(&snapshot)))];
        let dedup = stream.messages.dedup.copy();
        let mut before = std::mem::replace(&mut stream.messages.dedup, dedup);
        stream.messages.dedup.forget_saved();
        dedup_writes(stream, &mut writes);
        std::mem::swap(&mut stream.messages.dedup, &mut before);
        let root = env.backend(BackendKind::Segment)?;
        root.kv().put_all(&writes)?;
        self.tell(number, shard, Input::Copied(id));
        Ok(Some(false))
    }

    /// What replicas have that is not the same as what the leader has, where both have the same records and nothing is in flight; `whole` if
    /// messages are to be compared as well.
    ///
    /// # Errors
    /// If something cannot be read.
    pub fn differences(&mut self, whole: bool) -> Result<Vec<String>> {
        let mut told = Vec::new();
        let lead = self.leader;
        for other in (0..self.replicas.len()).filter(|other| *other != lead) {
            for shard in self.shards() {
                let at = self.position(lead, shard);
                if self.position(other, shard) != at {
                    continue;
                }
                let Ok([leader, follower]) = self.replicas.get_disjoint_mut([lead, other]) else {
                    continue;
                };
                let now = (leader.env.clock)();
                let (Some(leader), Some(follower)) = (leader.runners.get_mut(&shard), follower.runners.get_mut(&shard))
                else {
                    told.push(format!("shard {shard} has ended"));
                    continue;
                };
                let (leader, follower) = (leader.shard().0, follower.shard().0);
                if !leader.has_landed() || matches!(follower.role(), Role::Filling { .. }) {
                    continue;
                }
                if leader.role() != Role::Leading {
                    // It counts what consumers have still to send when it leads.
                    leader.journaled().try_for_each(|(_, stream)| stream.recount())?;
                }
                let mut ids: Vec<_> = follower.journaled().map(|(id, _)| *id).collect();
                for (id, stream) in leader.journaled() {
                    ids.retain(|other| other != id);
                    let before = told.len();
                    match follower.stream_mut(*id) {
                        Some(copy) => compare(stream, copy, now, whole, &mut told)?,
                        None => told.push("is not there".to_owned()),
                    }
                    for line in &mut told[before..] {
                        *line = format!("replica {other}, record {at}, {}: {line}", stream.name());
                    }
                }
                told.extend(
                    ids.iter()
                        .map(|id| format!("replica {other}: {id} should not be there")),
                );
            }
        }
        told.truncate(TOLD);
        Ok(told)
    }
}
