//! Who decides for a shard. One that has replicas elsewhere leads them, or follows the one that does: then it applies what that one
//! decided, turn by turn, and decides nothing itself, not even that time has passed.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};
use crate::shard::command::Command;
use crate::shard::emit::Emit;
use crate::shard::load::{load_one, saved, saved_position};
use crate::shard::offline::{PULLS_END, contained};
use crate::shard::recover::stops_opening;
use crate::shard::snapshot::StreamSnapshot;
use crate::shard::turn::Turn;
use crate::shard::{Input, Shard, pulls_end};
use crate::types::{Entry, NanoTime, Record, Seq, StreamId};

/// What a shard is among its replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It has none.
    #[default]
    Alone,
    /// It decides, and what it decides is a fact once most have it.
    Leading,
    /// It applies what another one decides.
    Following,
    /// As following, but streams are missing that are still being copied: nobody reads it, and it cannot lead.
    Filling {
        /// It is told all behind this record.
        from: Seq,
    },
}

impl Role {
    /// Whether it decides.
    pub fn decides(self) -> bool {
        matches!(self, Self::Alone | Self::Leading)
    }

    /// Whether others have, or are to have, the same.
    pub fn is_replica(self) -> bool {
        self != Self::Alone
    }
}

/// What those are told who ask a replica for what only the leader may do.
fn not_leading() -> Error {
    Error::new(Kind::NotLeading, "another replica leads this shard: ask that one")
}

impl Shard {
    /// Whether what only a shard without replicas can do may be done; `what` says what cannot.
    ///
    /// # Errors
    /// If it has replicas.
    pub(super) fn check_alone(&self, what: &str) -> Result<()> {
        match self.role.is_replica() {
            false => Ok(()),
            true => {
                let text = format!("shard {} has replicas: {what} yet", self.number);
                Err(Error::unsupported(text))
            }
        }
    }

    /// What a replica that does not decide answers to what only the leader may do; gives back all else.
    pub(super) fn refuse_as_follower(&self, input: Input, turn: &mut Turn<'_>) -> Option<Input> {
        match input {
            Input::Publish { stream, ticket, .. } => {
                if let Some((account, stream)) = self.names(stream) {
                    turn.emits.push(Emit::Published {
                        ticket,
                        result: Err(not_leading()),
                        account,
                        stream,
                    });
                }
            }
            Input::Pull {
                stream,
                consumer,
                reply,
                ..
            } => {
                if let Some((account, stream)) = self.names(stream) {
                    turn.emits.push(pulls_end(account, stream, &consumer, reply));
                }
            }
            // Whoever sent them does it again.
            Input::Ack { .. } | Input::FlowControl { .. } | Input::Wake { .. } | Input::Fetched { .. } => {}
            Input::Call(call) => turn.emits.push(Emit::Done(call(Err(&not_leading())))),
            Input::Ask(call) if matches!(self.role, Role::Filling { .. }) => {
                turn.emits.push(Emit::Done(call(Err(&not_leading()))));
            }
            other => return Some(other),
        }
        None
    }

    /// Takes what the leader decided in one of its turns, or several, and applies it.
    ///
    /// # Errors
    /// If it is none that follows, or these records are not the next ones; or as [`Commit::submit`](super::commit::Commit::submit).
    pub(super) fn apply_records(&mut self, entries: &[Entry], now: NanoTime) -> Result<()> {
        if self.role.decides() {
            return Err(Error::invalid("a shard that decides is told what another decided"));
        }
        let numbers = self.position + 1..;
        if let Some((_, wrong)) = numbers.zip(entries).find(|(number, entry)| *number != entry.seq) {
            let text = format!(
                "record {} of a leader does not come behind {}",
                wrong.seq, self.position
            );
            return Err(Error::invalid(text));
        }
        let records: Vec<Record<'_>> = entries.iter().map(Entry::as_record).collect();
        self.commit.submit(&records)?;
        let mut ids = BTreeSet::new();
        for entry in entries {
            self.position = entry.seq;
            self.checkpoint.grown(entry.head.len() + entry.body.len() + 64);
            let (id, command) = Command::decode(entry.time, &entry.head, &entry.body)?;
            self.env.catalogue.seen(id);
            if command.tells_time() {
                self.time = self.time.max(entry.time);
            }
            let is_shown = matches!(command, Command::CreateStream { .. } | Command::UpdateStream { .. });
            self.replay(entry.seq, id, command, now)?;
            if is_shown && let Some(stream) = self.streams.get_mut(&id) {
                stream.become_replica();
                self.env.catalogue.insert(stream, self.number);
            }
            ids.insert(id);
        }
        for id in ids {
            let written = self.touch(id).map_or(Ok(()), |stream| stream.messages.write(false));
            self.keep_or_note(id, written, now)?;
        }
        Ok(())
    }

    /// Decides from now on, beginning with what is too old by now and what limits take away.
    ///
    /// # Errors
    /// If it lacks streams, or storage cannot be read.
    pub(super) fn lead(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        match self.role {
            Role::Following => self.role = Role::Leading,
            Role::Leading => return Ok(()),
            Role::Alone | Role::Filling { .. } => {
                return Err(Error::invalid(
                    "a shard cannot lead that does not follow, or lacks streams",
                ));
            }
        }
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in ids {
            let Some(stream) = self.touch(id) else { continue };
            let begun = stream
                .begin_to_lead(turn.now)
                .and_then(|()| stream.enforce_all_limits(turn.now, Some(&mut *turn)));
            if stream.is_removing() {
                self.unfinished.push(id);
            }
            if let Err(error) = begun {
                self.stumbled(id, error, Some(turn.now));
            }
        }
        Ok(())
    }

    /// Another one leads: turns that are no facts are as if they had not been, and nobody is answered for them, for they may become
    /// facts all the same. Who waits for more is told.
    ///
    /// # Errors
    /// If storage fails.
    pub(super) fn follow(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        if self.role != Role::Leading {
            return self
                .role
                .is_replica()
                .then_some(())
                .ok_or_else(|| Error::invalid("a shard follows that has no replicas"));
        }
        self.role = Role::Following;
        // Snapshots of it would come over what is opened anew.
        self.checkpointed(turn.now)?;
        self.fetching.stop();
        self.stop_relocation();
        self.tending.stop();
        let landed = self.flights.landed_position().unwrap_or(self.position);
        let mut stale: BTreeSet<StreamId> = self.flights.streams().collect();
        stale.extend(self.touched.drain(..));
        stale.extend(self.faulty.drain(..).map(|(id, _)| id));
        stale.extend(self.doomed.drain(..).map(|(id, _)| id));
        drop(self.flights.give_up());
        self.commit.cut(landed)?;
        self.position = landed;
        self.deadlines.clear();
        self.deadline_of.clear();
        self.sync_due = None;
        self.unfinished.clear();
        self.cold.clear();
        for stream in self.streams.values_mut() {
            stream.end_all_pulls(PULLS_END, turn);
            stream.touched = false;
        }
        let kept: Vec<StreamId> = self.streams.keys().filter(|id| !stale.contains(id)).copied().collect();
        for id in kept {
            let stood_down = self
                .streams
                .get_mut(&id)
                .map_or(Ok(()), |stream| stream.stand_down(turn.now));
            self.keep_or_note(id, stood_down, turn.now)?;
        }
        stale.into_iter().try_for_each(|id| self.roll_back(id, turn.now))
    }

    /// A stream as the facts have it: from the last checkpoint, its log, and what the shard was handed since.
    ///
    /// # Errors
    /// If storage fails for more than this stream.
    fn roll_back(&mut self, id: StreamId, now: NanoTime) -> Result<()> {
        if self.offline.contains(id) {
            return Ok(());
        }
        self.room.forget(id);
        let before = self.streams.remove(&id);
        let known = before
            .as_ref()
            .map(|stream| StreamSnapshot::of(stream, self.number, stream.position));
        // Its log must be closed before it can be opened again.
        drop(before);
        self.open_replica(id, known, now)
    }

    /// Opens a stream as the facts have it; `known` is what is known of it besides.
    ///
    /// # Errors
    /// If storage fails for more than this stream.
    pub(super) fn open_replica(&mut self, id: StreamId, known: Option<StreamSnapshot>, now: NanoTime) -> Result<()> {
        let reader = self.commit.reader();
        let opened = contained(|| load_one(&self.env, reader.as_ref(), id, self.position, now));
        self.checkpoint.not_deleted(id);
        match opened {
            // Turns of replicas leave nothing to logs.
            Ok((Some(mut stream), _)) => {
                stream.become_replica();
                stream.note_stats();
                self.env.catalogue.insert(&stream, self.number);
                self.streams.insert(id, stream);
            }
            Ok((None, _)) => {
                // It was made in a turn that is no fact.
                if let Some(known) = known {
                    self.remove_log(id, &known.settings);
                    let (account, name) = (known.account.into(), known.name.into());
                    self.env.catalogue.remove(&account, &name, id);
                }
            }
            Err(error) => {
                let known = known.map_or_else(|| saved(&self.env, id), |known| Ok(Some(known)))?;
                let mut known = known.ok_or_else(|| error.clone())?;
                if stops_opening(&error, &known.settings) {
                    return Err(error);
                }
                known.position = saved_position(&self.env, id)?;
                self.note_offline(&known, &error, now);
                self.note_behind(id, self.position);
            }
        }
        Ok(())
    }
}
