use super::*;
use serde_json::json;

#[test]
fn a_server_that_counts_them_is_believed_and_another_lists_what_it_can() {
    let listed: Vec<Seq> = (1..=1000).collect();
    let counted = Losses::of(&json!({"lost": {"msgs": listed, "bytes": 0, "total": 5000}}));
    assert_eq!((counted.total, counted.at_least), (5000, false));
    assert_eq!(counted.to_text(), "messages 1 to 1000 and 4000 more (5000 in all)");
    let listed = Losses::of(&json!({"lost": {"msgs": listed, "bytes": 0}}));
    assert_eq!((listed.total, listed.at_least), (1000, true));
    assert_eq!(listed.to_text(), "messages 1 to 1000 and others (1000 at least)");
    let few = Losses::of(&json!({"lost": {"msgs": [3, 7, 8], "bytes": 0}}));
    assert_eq!((few.to_text(), few.are_open()), ("messages 3, 7 to 8".to_owned(), true));
    let settled = Losses::of(&json!({"lost": {"msgs": [3], "bytes": 0, "total": 1, "settled": 1}}));
    assert_eq!(
        (settled.to_text(), settled.are_open()),
        ("message 3; settled".to_owned(), false)
    );
    assert!(!Losses::of(&json!({})).are_open());
}

#[test]
fn what_is_lost_meanwhile_is_told_apart() {
    let before = Losses::of(&json!({"lost": {"msgs": [3, 9], "bytes": 0}}));
    let after = Losses::of(&json!({"lost": {"msgs": [3, 5, 9, 12], "bytes": 0}}));
    assert_eq!(after.newer_than(&before, 1, 10), [5]);
}
