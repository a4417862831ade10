use super::*;

fn names(of: Vec<Box<str>>) -> Vec<String> {
    of.into_iter().map(String::from).collect()
}

#[test]
fn a_change_concerns_those_that_import_from_it() {
    let mut shares = Shares::default();
    for leaf in ["a", "b", "c"] {
        shares.note(leaf, ["hub", "hub"].into_iter());
    }
    shares.note("d", ["c"].into_iter());
    shares.note("hub", ["ground"].into_iter());

    assert_eq!(
        names(shares.concerned(vec!["a".into()])),
        ["a"],
        "the other leaves do not ask it for anything"
    );
    assert_eq!(names(shares.concerned(vec!["c".into()])), ["d", "c"]);
    assert_eq!(names(shares.concerned(vec!["hub".into()])), ["a", "b", "c", "d", "hub"]);
    assert_eq!(names(shares.concerned(vec!["stranger".into()])), ["stranger"]);

    assert_eq!(names(shares.beneath(&["d".into()])), ["c", "ground", "hub"]);
    assert_eq!(
        names(shares.beneath(&shares.concerned(vec!["c".into()]))),
        ["ground", "hub"]
    );
}

#[test]
fn what_an_account_imported_before_counts_no_more() {
    let mut shares = Shares::default();
    shares.note("a", ["hub"].into_iter());
    shares.note("a", ["other"].into_iter());
    assert_eq!(names(shares.concerned(vec!["hub".into()])), ["hub"]);
    assert_eq!(names(shares.concerned(vec!["other".into()])), ["a", "other"]);
    shares.note("a", std::iter::empty());
    assert!(shares.importers.is_empty() && shares.exporters.is_empty());
}

#[test]
fn a_circle_is_gone_round_once() {
    let mut shares = Shares::default();
    shares.note("a", ["b"].into_iter());
    shares.note("b", ["a"].into_iter());
    assert_eq!(names(shares.concerned(vec!["a".into()])), ["b", "a"]);
    assert!(shares.beneath(&shares.concerned(vec!["a".into()])).is_empty());
}

#[test]
fn the_activation_that_ends_next_is_waited_for() {
    let mut shares = Shares::default();
    assert_eq!(shares.next_end(), None);
    shares.expect_end("a", Some(20));
    shares.expect_end("b", Some(10));
    shares.expect_end("c", Some(30));
    assert_eq!(shares.next_end(), Some(10));
    assert!(shares.due(9).is_empty());
    let mut due = names(shares.due(20));
    due.sort_unstable();
    assert_eq!(due, ["a", "b"]);
    shares.expect_end("b", None);
    shares.expect_end("a", Some(40));
    assert_eq!(shares.next_end(), Some(30));
}
