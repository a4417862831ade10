use super::*;
use crate::types::SEQ_LIMIT;

fn ranges(ledger: &Ledger) -> Vec<(Seq, Seq, &str)> {
    ledger
        .losses()
        .iter()
        .map(|loss| (loss.first, loss.last, &*loss.why))
        .collect()
}

#[test]
fn ranges_are_merged_and_none_is_noted_twice() {
    let mut ledger = Ledger::default();
    for seq in [5, 7, 6, 5, 20] {
        ledger.note(seq, seq, 0, 1, "damaged");
    }
    assert_eq!(ranges(&ledger), [(5, 7, "damaged"), (20, 20, "damaged")]);
    ledger.note(3, 10, 0, 2, "gone");
    assert_eq!(
        ranges(&ledger),
        [(3, 4, "gone"), (5, 7, "damaged"), (8, 10, "gone"), (20, 20, "damaged")]
    );
    assert_eq!((ledger.messages(), ledger.sequences(3)), (9, vec![3, 4, 5]));
    assert!(ledger.take_changed());
    ledger.note(3, 10, 0, 3, "again");
    assert!(!ledger.take_changed());
    assert_eq!(ledger.losses()[0].found, 2);
}

#[test]
fn beyond_its_bound_it_only_counts() {
    let mut ledger = Ledger::default();
    for n in 0..LEDGER_RANGES as u64 + 10 {
        ledger.note(n * 2 + 1, n * 2 + 1, 0, 1, "damaged");
    }
    assert_eq!(ledger.losses().len(), LEDGER_RANGES);
    assert_eq!(ledger.messages(), LEDGER_RANGES as u64 + 10);
    ledger.settle(Vec::new());
    assert_eq!(ledger.unsettled(), 0);
    ledger.note(NUMBER_MAX, Seq::MAX, 0, 1, "damaged");
    assert_eq!(ledger.unsettled(), 1);
    assert_eq!(ledger.messages(), LEDGER_RANGES as u64 + 11);
}

/// What rots in bodies is found by whoever reads them, after each restart anew.
#[test]
fn what_is_met_again_after_a_restart_counts_once_also_beyond_the_ranges() {
    let mut ledger = Ledger::default();
    let all: Vec<Seq> = (0..LEDGER_RANGES as u64 + 300).map(|n| n * 2 + 1).collect();
    all.iter().for_each(|&seq| ledger.note(seq, seq, 0, 1, "damaged"));
    ledger.settle(Vec::new());
    let mut kept = Ledger::read(&crate::json::to_json(&ledger)).unwrap();
    all.iter().for_each(|&seq| kept.note(seq, seq, 0, 2, "damaged"));
    assert_eq!((kept.messages(), kept.unsettled()), (all.len() as u64, 0));
    assert_eq!(kept.sequences(usize::MAX), all);
    let last = *all.last().unwrap();
    assert!(kept.covers(last, last) && !kept.covers(last - 1, last) && !kept.covers(last + 2, last + 2));
    assert!(kept.is_settled(last) && !kept.is_settled(last - 1));
    // A new one, and one that is there again.
    kept.note(last + 2, last + 2, 0, 3, "damaged");
    kept.take_back(last - 2, last - 1);
    assert_eq!((kept.messages(), kept.unsettled()), (all.len() as u64, 1));
    assert!(!kept.covers(last - 2, last - 2) && !kept.is_settled(last + 2));
    assert_eq!(kept.open_ranges(last + 9), [(last + 2, last + 2)]);
}

#[test]
fn beyond_all_ranges_it_only_counts() {
    let mut ledger = Ledger::default();
    let ranges = (LEDGER_RANGES + beyond::BEYOND_RANGES) as u64;
    for n in 0..ranges + 10 {
        ledger.note(n * 2 + 1, n * 2 + 1, 0, 1, "damaged");
    }
    assert_eq!(ledger.messages(), ranges + 10);
    assert!(ledger.covers(2, 2), "nobody knows");
    assert!(crate::json::to_json(&ledger).len() < 1 << 20);
    ledger.settle(Vec::new());
    assert_eq!(ledger.unsettled(), 0);
}

#[test]
fn what_a_stream_counted_on_to_from_the_limit_is_noted() {
    let mut ledger = Ledger::default();
    ledger.note(SEQ_LIMIT + 1, SEQ_LIMIT + 1, 0, 1, "damaged");
    assert_eq!(ranges(&ledger), [(SEQ_LIMIT + 1, SEQ_LIMIT + 1, "damaged")]);
}

#[test]
fn what_each_start_finds_again_counts_once() {
    let mut ledger = Ledger::default();
    let lost: Vec<Lost> = (0..LEDGER_RANGES as u64 + 10)
        .map(|n| Lost {
            first: n * 2 + 1,
            last: n * 2 + 1,
            bytes: 5,
            why: "damaged",
            head: None,
        })
        .collect();
    assert!(ledger.note_found(&lost, 1));
    assert!(ledger.take_changed());
    for _ in 0..2 {
        assert!(!ledger.note_found(&lost, 2));
        assert!(!ledger.take_changed());
    }
    assert_eq!(ledger.messages(), LEDGER_RANGES as u64 + 10);
    assert_eq!(ledger.bytes(), 5 * LEDGER_RANGES as u64);
    ledger.note(1, 1, 7, 3, "again");
    assert_eq!(ledger.bytes(), 5 * LEDGER_RANGES as u64);
}

#[test]
fn what_was_settled_stays_so_when_more_is_lost() {
    let mut ledger = Ledger::default();
    ledger.note(5, 7, 0, 1, "damaged");
    assert!(!ledger.is_settled(6) && ledger.covers(5, 7) && !ledger.covers(5, 8) && !ledger.covers(4, 5));
    ledger.settle(vec!["a place".to_owned()]);
    ledger.note(8, 9, 0, 2, "damaged");
    assert_eq!(ranges(&ledger), [(5, 7, "damaged"), (8, 9, "damaged")]);
    let json = crate::json::to_json(&ledger);
    let ledger = Ledger::read(&json).unwrap();
    assert_eq!(ledger.places(), ["a place"]);
    assert_eq!((ledger.unsettled(), ledger.open_ranges(20)), (2, vec![(8, 9)]));
    assert!(ledger.is_settled(5) && ledger.is_settled(7) && !ledger.is_settled(8) && !ledger.is_settled(20));
    assert!(ledger.covers(6, 9) && !ledger.covers(6, 10));
    // As earlier versions wrote it.
    let old = br#"{"losses":[{"first":3,"last":3,"found":1,"why":"x"}],"more":0,"settled":1}"#;
    assert!(Ledger::read(old).unwrap().is_settled(3));
    let open = br#"{"losses":[{"first":3,"last":3,"found":1,"why":"x"}],"more":0}"#;
    assert!(!Ledger::read(open).unwrap().is_settled(3));
}

#[test]
fn what_is_there_again_is_taken_off_and_what_is_left_keeps_its_standing() {
    let mut ledger = Ledger::default();
    ledger.note(10, 19, 100, 1, "a file of the log is missing");
    ledger.settle(Vec::new());
    ledger.note(30, 39, 0, 2, "a file of the log is missing");
    assert_eq!((ledger.messages(), ledger.unsettled()), (20, 10));
    // A part in the middle, of one that is settled.
    ledger.take_back(13, 15);
    assert_eq!((ledger.messages(), ledger.unsettled()), (17, 10));
    assert!(ledger.covers(10, 12) && ledger.covers(16, 19) && !ledger.covers(13, 13));
    assert!(ledger.is_settled(10) && ledger.is_settled(19) && !ledger.is_settled(30));
    // One as a whole, and what was never lost.
    ledger.take_back(25, 60);
    assert_eq!((ledger.messages(), ledger.unsettled()), (7, 0));
    let kept = Ledger::read(&crate::json::to_json(&ledger)).unwrap();
    assert_eq!(kept.losses(), ledger.losses());
    assert!(ledger.losses().is_sorted_by(|one, next| one.last < next.first));
}

#[test]
fn ranges_that_are_cut_in_two_beyond_the_most_are_counted() {
    let mut ledger = Ledger::default();
    for n in 0..LEDGER_RANGES as u64 {
        ledger.note(10 * n + 1, 10 * n + 5, 0, 1, "the log has lost its end");
    }
    ledger.take_back(3, 3);
    assert_eq!(ledger.losses().len(), LEDGER_RANGES);
    assert_eq!(ledger.messages(), 5 * LEDGER_RANGES as u64 - 1);
}

#[test]
fn messages_that_are_there_again_explain_what_the_log_has_too_many_until_it_is_written() {
    let mut ledger = Ledger::default();
    assert!(!ledger.explains(0) && !ledger.explains(3));
    ledger.found_again(3);
    assert!(ledger.explains(3) && !ledger.explains(4));
    let mut kept = Ledger::read(&crate::json::to_json(&ledger)).unwrap();
    assert!(kept.explains(3), "also after a restart");
    assert!(!kept.explains(0));
    assert!(!kept.explains(3), "a later write counted them");
}

#[test]
fn what_was_missing_was_not_removed_until_a_purge_or_a_checkpoint_says_so() {
    let mut ledger = Ledger::default();
    ledger.note(10, 19, 0, 1, "a file of the log is missing");
    ledger.note(30, 39, 0, 1, "the log has lost its end");
    assert_eq!(ledger.not_removed(41), [(10, 19), (30, 39)]);
    assert_eq!(ledger.not_removed(35), [(10, 19), (30, 34)]);
    assert_eq!(ledger.not_removed(1), []);
    ledger.take_back(12, 19);
    let mut kept = Ledger::read(&crate::json::to_json(&ledger)).unwrap();
    assert_eq!(
        kept.not_removed(41),
        [(10, 19), (30, 39)],
        "no checkpoint knows that they are back"
    );
    kept.purged(15);
    assert_eq!(kept.not_removed(41), [(15, 19), (30, 39)]);
    kept.drafted();
    assert_eq!(kept.not_removed(41), [(30, 39)]);
    kept.forget_saved();
    assert_eq!(
        kept.not_removed(41),
        [(15, 19), (30, 39)],
        "the checkpoint came to nothing"
    );
    kept.not_purged_from(12);
    assert_eq!(kept.purged_below(), 12);
}
