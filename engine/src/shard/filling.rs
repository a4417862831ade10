//! A replica that is new: streams are copied onto it one by one, each at another moment, while it is told what changes meanwhile. A
//! copy has all up to the record that its snapshot names, and what was told behind that comes over it.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::shard::holes::{covered_key, covered_of, filled_key, filling_key};
use crate::shard::load::saved;
use crate::shard::offline::contained;
use crate::shard::recover::is_deleted;
use crate::shard::{Role, Shard};
use crate::stream::settings::BackendKind;
use crate::types::{NanoTime, Seq, StreamId};

impl Shard {
    /// It has nothing yet, and is told what comes behind that record.
    ///
    /// # Errors
    /// If it has something, or the catalogue cannot be written.
    pub(super) fn fill(&mut self, from: Seq) -> Result<()> {
        let is_new = self.role == Role::Following && self.streams.is_empty() && self.offline.ids().is_empty();
        if !is_new || self.position > from {
            return Err(Error::invalid("only a replica that has nothing can be filled"));
        }
        // A start finds that no record is missing, and that streams are.
        let covered = Bytes::copy_from_slice(&from.to_le_bytes());
        let keys = [covered_key(self.number), filling_key(self.number)];
        let root = self.env.backend(BackendKind::Segment)?;
        root.kv().put_all(&keys.map(|key| (key, Some(covered.clone()))))?;
        root.sync()?;
        self.position = from;
        self.role = Role::Filling { from };
        Ok(())
    }

    /// What a start makes of a replica: one that lacked streams lacks them still.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub(super) fn found_as(&self, role: Role) -> Result<Role> {
        let from = match role {
            Role::Following => self.root_kv()?.get(&filling_key(self.number))?,
            _ => None,
        };
        let from = from.as_deref().and_then(covered_of);
        Ok(from.map_or(role, |from| Role::Filling { from }))
    }

    /// Whether the journal has nothing because all that it would have came with copies: nothing was told since.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub(super) fn is_told_nothing(&self, covered: Seq) -> Result<bool> {
        if !self.role.is_replica() || self.commit.reader().extent().last > 0 {
            return Ok(false);
        }
        let kv = self.root_kv()?;
        for key in [filling_key(self.number), filled_key(self.number)] {
            if kv.get(&key)?.as_deref().and_then(covered_of) == Some(covered) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A copy of a stream is there.
    ///
    /// # Errors
    /// If the replica is not being filled, or has the stream; or storage fails for more than this stream.
    pub(super) fn take_copy(&mut self, id: StreamId, now: NanoTime) -> Result<()> {
        let Role::Filling { from } = self.role else {
            return Err(Error::invalid("a copy comes to a replica that is not being filled"));
        };
        if self.streams.contains_key(&id) {
            return Err(Error::invalid(format!(
                "a copy of stream {id} comes to a replica that has it"
            )));
        }
        let snapshot = saved(&self.env, id)?;
        let up_to = snapshot.as_ref().map_or(0, |snapshot| snapshot.position);
        if up_to < from {
            let text = format!(
                "a copy of stream {id} has all up to record {up_to}, and the replica is told what comes behind {from}"
            );
            return Err(Error::invalid(text));
        }
        self.env.catalogue.seen(id);
        if let Some(snapshot) = &snapshot {
            // It is not asked for again.
            self.env.backend(snapshot.settings.backend)?.sync()?;
            self.env.backend(BackendKind::Segment)?.sync()?;
        }
        if let Some(snapshot) = snapshot
            && is_deleted(self.commit.reader().as_ref(), id)?
        {
            // That was told before the copy came, which is older.
            self.remove_log(id, &snapshot.settings);
            self.checkpoint.deleted(id);
            return Ok(());
        }
        contained(|| self.open_replica(id, None, now))?;
        // Its log was written beside the shard, and is to be synced before the records that it replaces are freed.
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.unsaved = true;
        }
        Ok(())
    }

    /// Whether a copy has more than the replica was told so far.
    pub(crate) fn has_copies_ahead(&self) -> bool {
        self.streams.values().any(|stream| stream.position > self.position)
    }

    /// It lacks nothing any more.
    ///
    /// # Errors
    /// If it is not being filled, or is still to be told what a copy has, or the catalogue cannot be written.
    pub(super) fn filled(&mut self) -> Result<()> {
        let Role::Filling { from } = self.role else {
            return Err(Error::invalid("a replica that is not being filled is said to be full"));
        };
        if self.has_copies_ahead() {
            return Err(Error::invalid(
                "a replica is said to be full that is still to be told what a copy has",
            ));
        }
        let from = Bytes::copy_from_slice(&from.to_le_bytes());
        let root = self.env.backend(BackendKind::Segment)?;
        root.kv()
            .put_all(&[(filling_key(self.number), None), (filled_key(self.number), Some(from))])?;
        root.sync()?;
        self.role = Role::Following;
        Ok(())
    }
}
