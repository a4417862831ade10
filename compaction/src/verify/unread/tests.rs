use super::super::report::What;
use super::*;

fn found(seq: Seq, why: &str, file: Option<&str>) -> Found {
    Found {
        lost: vec![(seq, seq)],
        file: file.map(PathBuf::from),
        offset: file.map(|_| 7),
        subject: Some("s".to_owned()),
        ..Found::new(What::Message, format!("log 1, sequence {seq}: {why}; it is kept"))
    }
}

#[test]
fn what_is_the_same_of_many_messages_is_told_once() {
    let mut unread = Unread::default();
    for seq in [1, 2, 3, 5, 9, 10] {
        unread.add(seq, found(seq, "bad body", None));
    }
    unread.add(11, found(11, "bad head", None));
    unread.add(12, found(12, "bad body", Some("a")));
    unread.add(13, found(13, "bad body", Some("a")));
    unread.add(14, found(14, "bad body", Some("b")));
    let settled = found(15, "bad body", None).settled_if(true);
    unread.add(15, settled);
    let told: Vec<_> = unread
        .into_found()
        .into_iter()
        .map(|found| (found.text, found.lost, found.subject.is_some()))
        .collect();
    let texts: Vec<&str> = told
        .iter()
        .map(|(text, _, _)| text.split("; ").next().unwrap())
        .collect();
    assert_eq!(
        texts,
        [
            "log 1, sequences 1 to 3, 5, 9 to 10: bad body",
            "log 1, sequence 11: bad head",
            "log 1, sequences 12 to 13: bad body",
            "log 1, sequence 14: bad body",
            "log 1, sequence 15: bad body",
        ]
    );
    assert_eq!(told[0].1, [(1, 3), (5, 5), (9, 10)]);
    assert_eq!(
        [told[0].2, told[1].2],
        [false, true],
        "of one message its subject is told"
    );
}

#[test]
fn not_all_of_very_many_are_named() {
    let mut unread = Unread::default();
    for seq in 1..=100 {
        unread.add(seq * 2, found(seq * 2, "bad", None));
    }
    let found = unread.into_found();
    assert_eq!((found.len(), found[0].lost.len()), (1, 100));
    assert!(found[0].text.contains(", 30, 32 and others: bad"), "{}", found[0].text);
}
