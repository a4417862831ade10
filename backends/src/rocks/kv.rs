//! The key-value space, a column family of its own.

use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{IterateBounds, PrefixRange, ReadOptions, WriteBatch};
use weir_engine::{Kv, KvWrite, Result, VisitKey};

use super::store::{Shared, failed};

pub(super) struct RocksKv {
    shared: Arc<Shared>,
}

impl RocksKv {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Kv for RocksKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self
            .shared
            .db
            .get_pinned_cf(self.shared.kv()?, key)
            .map_err(|error| failed("reading a key", &error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn put_all(&self, writes: &[KvWrite]) -> Result<()> {
        let mut batch = WriteBatch::default();
        self.shared.add_kv(&mut batch, writes)?;
        self.shared.write(batch)
    }

    fn scan(&self, prefix: &[u8], from: Option<&[u8]>, visit: VisitKey<'_>) -> Result<()> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(PrefixRange(prefix));
        let mut iter = self.shared.db.raw_iterator_cf_opt(self.shared.kv()?, options);
        iter.seek(from.map_or(prefix, |from| from.max(prefix)));
        while let Some((key, value)) = iter.item() {
            if visit(key, value).is_break() {
                return Ok(());
            }
            iter.next();
        }
        iter.status().map_err(|error| failed("reading keys", &error))
    }

    fn remove_prefix(&self, prefix: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::default();
        let kv = self.shared.kv()?;
        match PrefixRange(prefix).into_bounds() {
            (_, Some(end)) => batch.delete_range_cf(kv, prefix, end.as_slice()),
            // No key is above them all.
            (_, None) => {
                let mut keys = Vec::new();
                self.scan(prefix, None, &mut |key, _| {
                    keys.push((Bytes::copy_from_slice(key), None));
                    std::ops::ControlFlow::Continue(())
                })?;
                self.shared.add_kv(&mut batch, &keys)?;
            }
        }
        self.shared.write(batch)
    }
}
