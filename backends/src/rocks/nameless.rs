//! Records of logs both notes of which are lost: whose they are is told by the records, where there is no doubt.

use std::collections::BTreeSet;

use rocksdb::{DBRawIterator, ReadOptions};
use weir_engine::{Error, LogId, NanoTime, Result, Seq};

use super::keys::{self, Head, Meta};
use super::names;
use super::store::{Blocks, Shared};

/// Records that are looked at from the beginning of a place, and as many from its end.
const LOOKED_AT: usize = 16;

/// Places that are looked at, at most: where there are more, nothing is told.
const PLACES_MAX: usize = 4096;

/// Whether a record of that sequence and time, and with that head, can be one of a log.
pub type Fits = Box<dyn Fn(Seq, NanoTime, &[u8]) -> bool>;

/// A log that somebody has, who knows what its records are like.
pub struct Claim {
    /// The log.
    pub id: LogId,
    /// Its last sequence, if it had no record when that was noted: then none need be found.
    pub empty: Option<Seq>,
    /// Whether a record can be one of it: its sequence, its time, and its head.
    pub fits: Fits,
}

/// What is told of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Its records are at this place.
    Place(u64),
    /// It has none, and its last sequence is this.
    Empty(Seq),
}

/// A record as far as it is looked at.
type Look = (Seq, NanoTime, Vec<u8>);

/// The places of the logs of some claims, where none of the places that have a log already is meant: a place all the records of which that
/// are looked at fit one claim alone, which no other place fits. One that had no record, and that no place fits, is empty.
///
/// # Errors
/// If files cannot be read.
pub(super) fn assign(shared: &Shared, taken: &BTreeSet<u64>, claims: &[&Claim]) -> Result<Vec<(LogId, Told)>> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let mut fitting: Vec<Vec<u64>> = vec![Vec::new(); claims.len()];
    let Some(places) = places(shared, taken)? else {
        return Ok(Vec::new());
    };
    for place in places {
        let looks = looks(shared, place)?;
        let fits =
            |claim: &Claim| !looks.is_empty() && looks.iter().all(|(seq, time, head)| (claim.fits)(*seq, *time, head));
        for (of, _) in fitting.iter_mut().zip(claims).filter(|(_, claim)| fits(claim)) {
            of.push(place);
        }
    }
    let claimed_once = |place: u64| fitting.iter().filter(|of| of.contains(&place)).count() == 1;
    let certain = claims.iter().zip(&fitting).filter_map(|(claim, of)| {
        let told = match of[..] {
            [] => claim.empty.map(Told::Empty),
            [place] if claimed_once(place) => Some(Told::Place(place)),
            _ => None,
        };
        told.map(|told| (claim.id, told))
    });
    Ok(certain.collect())
}

/// That a log is not there which must be, and why that may be.
pub(super) fn missing(shared: &Shared, id: LogId) -> Error {
    let folder = shared.folder().display();
    let others = names::all(shared).and_then(|named| {
        let mut taken: BTreeSet<u64> = named.values().map(|named| named.place).collect();
        shared.each_named(keys::PREFIX_LOG, &mut |id, value| {
            taken.extend(Meta::decode(&keys::named(keys::PREFIX_LOG, id), value).map(|meta| meta.place));
            Ok(())
        })?;
        places(shared, &taken)
    });
    match others {
        Ok(Some(others)) if others.is_empty() => Error::damaged(format!(
            "{folder} has no log {id}, nor records that may be of it: the folder is older than the stream, or that of another store"
        )),
        _ => Error::damaged(format!(
            "{folder} has no log {id}: it has records of which it is not known whose they are, and which may be those of the stream"
        )),
    }
}

/// The places that have records and no log; `None` if not all of them can be found.
fn places(shared: &Shared, taken: &BTreeSet<u64>) -> Result<Option<Vec<u64>>> {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    let mut iter = shared.db.raw_iterator_cf_opt(shared.heads()?, options);
    let mut found = Vec::new();
    iter.seek_to_first();
    while let Some(place) = iter.key().and_then(keys::place_of) {
        if !taken.contains(&place) {
            found.push(place);
        }
        let Some(next) = place.checked_add(1).filter(|_| found.len() <= PLACES_MAX) else {
            return Ok(None);
        };
        iter.seek(keys::record(next, 0));
    }
    // One that is hidden by a damaged block may be another's that is found.
    Ok(iter.status().is_ok().then_some(found))
}

/// A place above all that have records: of a log that is made there none are found.
///
/// # Errors
/// If files cannot be read.
pub(super) fn free(shared: &Shared) -> Result<u64> {
    let mut free = 0;
    for family in std::iter::once(keys::HEADS).chain(keys::BODIES) {
        let mut iter = shared.db.raw_iterator_cf(shared.cf(family)?);
        iter.seek_to_last();
        let last = iter.key().and_then(keys::place_of);
        free = last.map_or(free, |place| free.max(place.saturating_add(1)));
    }
    Ok(free)
}

/// The first and the last records of a place that can be read.
fn looks(shared: &Shared, place: u64) -> Result<Vec<Look>> {
    let all = (0, Seq::MAX);
    let heads = shared.heads()?;
    let records = || shared.records(heads, place, all, None, Blocks::Passing);
    let mut iter = records();
    let mut looks = Vec::new();
    iter.seek_to_first();
    take(&mut iter, &mut looks, DBRawIterator::next);
    let mut iter = records();
    iter.seek_to_last();
    take(&mut iter, &mut looks, DBRawIterator::prev);
    Ok(looks)
}

fn take<'a>(iter: &mut DBRawIterator<'a>, looks: &mut Vec<Look>, step: impl Fn(&mut DBRawIterator<'a>)) {
    for _ in 0..LOOKED_AT {
        let Some((key, value)) = iter.item() else { break };
        if let Some((head, true)) = Head::decode(key, value) {
            looks.push((keys::seq_of(key).unwrap_or(0), head.time, head.head.to_vec()));
        }
        step(iter);
    }
}

#[cfg(test)]
mod tests;
