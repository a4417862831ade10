use super::*;
use crate::index::chunk::{Added, Chunk};
use crate::index::digest::Digest;
use crate::index::tests::Dice;

/// Adds a message of that size to a chunk.
fn add(chunk: &mut Option<Chunk>, at: u16, size: u64) {
    let message = Added {
        id: 1,
        size,
        time: 0,
        digest: Digest::default(),
    };
    match chunk {
        Some(chunk) => chunk.push(at, message),
        None => *chunk = Some(Chunk::new(at, message)),
    }
}

fn filled(sizes: impl IntoIterator<Item = (u16, u64)>) -> Chunk {
    let mut chunk = None;
    for (at, size) in sizes {
        add(&mut chunk, at, size);
    }
    chunk.expect("one message at least")
}

#[test]
fn all_alike_take_no_room() {
    let mut chunk = filled((0..=u16::MAX).map(|at| (at, 158)));
    assert_eq!(chunk.sizes.bytes(), 0);
    chunk.seal();
    assert_eq!((chunk.sizes.bytes(), chunk.sizes.get(77)), (0, 158));
}

#[test]
fn a_byte_where_they_differ_by_little() {
    let size = |at: u16| 150 + u64::from(at % 250);
    let mut chunk = filled((0..=u16::MAX).map(|at| (at, size(at))));
    chunk.seal();
    assert_eq!(chunk.sizes.bytes(), 65_536);
    assert!((0..=u16::MAX).all(|at| chunk.sizes.get(at) == size(at)));
}

#[test]
fn ever_smaller_and_ever_larger_ones_are_not_laid_out_each_time() {
    // Else this takes minutes.
    for size in [|at: u16| 1_000_000 - u64::from(at), |at: u16| u64::from(at) * 1000] {
        let chunk = filled((0..=u16::MAX).map(|at| (at, size(at))));
        assert!((0..=u16::MAX).all(|at| chunk.sizes.get(at) == size(at)));
        assert!(chunk.sizes.bytes() <= 4 * 65_536 + 4 * 65_536);
    }
}

#[test]
fn few_far_apart_take_no_room_for_what_lies_between() {
    let chunk = filled([(0, 100), (30_000, 70_000), (65_535, 5)]);
    assert!(chunk.sizes.bytes() < 64, "{}", chunk.sizes.bytes());
    assert_eq!([0, 30_000, 65_535].map(|at| chunk.sizes.get(at)), [100, 70_000, 5]);
    // As when all but a few are removed.
    let size = |at: u16| 100 + u64::from(at % 1000);
    let mut chunk = filled((0..=u16::MAX).map(|at| (at, size(at))));
    chunk.seal();
    for at in (0..=u16::MAX).filter(|at| at % 20_000 != 7) {
        assert!(chunk.remove(at, 1));
        let allowed = 4 * (4 * chunk.len() as usize + SPARE);
        assert!(
            chunk.sizes.bytes() <= allowed,
            "{} for {}",
            chunk.sizes.bytes(),
            chunk.len()
        );
    }
    for at in [7, 20_007, 40_007, 60_007] {
        assert_eq!(chunk.sizes.get(at), size(at));
    }
}

/// Adding, removing, writing and reading in any order, against a list.
#[test]
fn any_changes() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let spread = [1, 3, 300, 70_000, 100_000_000][dice.roll(5) as usize];
        let stride = [1, 1, 2, 900][dice.roll(4) as usize];
        let mut model = std::collections::BTreeMap::new();
        let (mut chunk, mut next) = (None, dice.roll(100));
        for _ in 0..dice.roll(2000) {
            if dice.roll(5) < 3 && next <= u64::from(u16::MAX) {
                let size = 50 + dice.roll(spread);
                add(&mut chunk, next as u16, size);
                model.insert(next as u16, size);
                next += 1 + dice.roll(stride);
            } else if model.len() > 1 {
                let from = [0, dice.roll(next) as u16][dice.roll(2) as usize];
                let Some((&at, _)) = model.range(from..).next() else {
                    continue;
                };
                model.remove(&at);
                assert!(chunk.as_mut().expect("it holds something").remove(at, 1));
            }
        }
        let Some(mut chunk) = chunk else { continue };
        if dice.roll(2) == 0 {
            chunk.seal();
        }
        let mut raw = Vec::new();
        chunk.sizes.write(&mut raw);
        let mut live = crate::index::bits::Bits::new();
        model.keys().for_each(|at| {
            live.insert(*at);
        });
        let live = Live::Bits(live);
        let read = Sizes::read(&raw, &live).expect("as it was written");
        for (&at, &size) in &model {
            assert_eq!(
                (chunk.sizes.get(at), read.get(at)),
                (size, size),
                "seed {seed}, at {at}"
            );
        }
        assert!(
            raw.len() <= 16 + 6 * (4 * model.len() + SPARE),
            "seed {seed}: {} bytes",
            raw.len()
        );
        for cut in 0..raw.len() {
            // It may make sense by chance: then there is one fewer.
            let _ = Sizes::read(&raw[..cut], &live);
        }
    }
}
