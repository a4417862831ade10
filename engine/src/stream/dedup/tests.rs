use super::*;

#[test]
fn remembers_for_the_window_only() {
    let mut dedup = Dedup::default();
    dedup.insert(b"a", 1, 100);
    dedup.insert(b"b", 2, 150);
    dedup.expire(160, 60);
    assert_eq!(dedup.get(b"a"), None);
    assert_eq!(dedup.get(b"b"), Some(2));
    assert_eq!(dedup.next_deadline(60), Some(210));
    dedup.expire(210, 60);
    assert_eq!(dedup.len(), 0);
    assert_eq!(dedup.last_id(), b"b");
    dedup.set_last(b"");
    assert_eq!(dedup.last_id(), b"");
}

#[test]
fn an_id_taken_again_is_remembered_from_then_on() {
    // As a journal's tail is applied: nothing is forgotten between the two.
    let mut dedup = Dedup::default();
    dedup.insert(b"a", 1, 100);
    dedup.insert(b"a", 9, 200);
    dedup.expire(210, 60);
    assert_eq!(dedup.get(b"a"), Some(9));
    dedup.expire(260, 60);
    assert_eq!(dedup.get(b"a"), None);
}
/// Checkpoints of a window, as keys and values.
#[derive(Default)]
struct Kept(std::collections::BTreeMap<u64, Bytes>);

impl Kept {
    fn checkpoint(&mut self, dedup: &mut Dedup) -> usize {
        let delta = dedup.take_delta();
        for number in delta.gone {
            assert!(self.0.remove(&number).is_some(), "part {number} is there");
        }
        let bytes = delta.new.iter().map(|(_, packed)| packed.len()).sum();
        for (number, packed) in delta.new {
            assert!(self.0.insert(number, packed).is_none(), "part {number} is new");
        }
        bytes
    }

    fn load(&self) -> Dedup {
        let mut dedup = Dedup::default();
        for (number, packed) in &self.0 {
            dedup.load_part(*number, packed, Seq::MAX);
        }
        dedup
    }
}

#[test]
fn checkpoints_write_what_came_and_remove_what_is_too_old() {
    let mut kept = Kept::default();
    let mut dedup = Dedup::default();
    let id = |n: i64| format!("a message id of some length, {n}").into_bytes();
    for n in 0..40_000 {
        dedup.insert(&id(n), n as Seq + 1, n);
        if n % 1000 == 999 {
            dedup.expire(n, 10_000);
            let bytes = kept.checkpoint(&mut dedup);
            assert!(bytes < 1000 * 50, "{bytes} bytes for a thousand ids");
            assert!(kept.0.len() <= 12, "{} parts", kept.0.len());
        }
        if n % 7001 == 0 {
            dedup = kept.load();
            // What came since comes again, as from a journal.
            for again in n / 1000 * 1000..=n {
                dedup.insert(&id(again), again as Seq + 1, again);
            }
        }
    }
    assert_eq!(dedup.len(), 10_000);
    let mut loaded = kept.load();
    for n in 30_001..40_000 {
        assert_eq!(loaded.get(&id(n)), Some(n as Seq + 1));
    }
    loaded.expire(60_000, 10_000);
    kept.checkpoint(&mut loaded);
    assert!(kept.0.is_empty());
}

#[test]
fn a_checkpoint_that_failed_is_written_again() {
    let mut kept = Kept::default();
    let mut dedup = Dedup::default();
    dedup.insert(b"a", 1, 100);
    kept.checkpoint(&mut dedup);
    dedup.insert(b"b", 2, 200);
    // Never written.
    let _ = dedup.take_delta();
    dedup.forget_saved();
    let delta = dedup.take_delta();
    assert_eq!(delta.gone, [0, 1]);
    assert_eq!(delta.new.len(), 1);
    let mut again = Dedup::default();
    again.load_part(delta.new[0].0, &delta.new[0].1, Seq::MAX);
    assert_eq!((again.get(b"a"), again.get(b"b")), (Some(1), Some(2)));
}
