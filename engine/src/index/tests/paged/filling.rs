//! A paged index that is written all at once is the one that comes of adding and removing each message.

use super::*;
use crate::index::fill_paged;

fn both(seed: u64, subjects: u64, at_once: u64) {
    let mut dice = Dice(seed);
    let one_by_one = Arc::new(Store::default());
    let (mut paged, mut resident) = (open(&one_by_one, 4096), Resident::of_size(ChunkSize::small(6)));
    let mut changes = Vec::new();
    let mut live: Vec<(Seq, Vec<u8>)> = Vec::new();
    let mut seq = 70_000 - dice.roll(200);
    for _ in 0..600 {
        let subject = dice.subject(subjects);
        seq += 1 + dice.roll(3) * dice.roll(40);
        paged.add(seq, &subject, size_of(seq), time_of(seq)).unwrap();
        resident.add(seq, &subject, size_of(seq), time_of(seq)).unwrap();
        if dice.roll(4) == 0 {
            paged.add_ending(time_of(seq) + 7, seq);
            resident.add_ending(time_of(seq) + 7, seq);
        }
        changes.push(Change::Add(seq, subject.clone()));
        if dice.roll(3) == 0 && !live.is_empty() {
            let at = dice.roll(live.len() as u64) as usize;
            let (gone, subject) = live.swap_remove(at);
            paged.remove(gone, &subject, Some(size_of(gone))).unwrap();
            resident.remove(gone, &subject).unwrap();
            paged.remove_ending(time_of(gone) + 7, gone);
            resident.remove_ending(time_of(gone) + 7, gone);
            changes.push(Change::Remove(gone));
        }
        live.push((seq, subject));
        let mut writes = Vec::new();
        paged.stage(1);
        paged.take_writes(1, &mut writes);
        one_by_one.put_all(&writes).unwrap();
        one_by_one.apply(&mut changes);
        paged.written(1);
    }
    let at_once_too = Store::default();
    // What an earlier attempt left.
    at_once_too
        .put_all(&[(b"I\0\0\0\0\0\0\0\x09junk".as_slice().into(), Some(Bytes::new()))])
        .unwrap();
    fill_paged(&at_once_too, LOG, &resident, at_once).unwrap();
    assert!(*one_by_one.kv.lock() == *at_once_too.kv.lock());
}

#[test]
fn it_is_the_same_however_many_messages_are_put_in_order_at_a_time() {
    for seed in 0..6 {
        for (subjects, at_once) in [(3, 1), (3, 1 << 20), (40, 50), (400, 1), (400, 1 << 20)] {
            both(seed, subjects, at_once);
        }
    }
}

#[test]
fn of_no_messages_nothing_is_written() {
    let store = Store::default();
    fill_paged(&store, LOG, &Resident::default(), 1).unwrap();
    assert!(store.kv.lock().is_empty());
}
