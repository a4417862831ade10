use proptest::prelude::*;

use super::*;

const BLOCK: &[u8] = b"NATS/1.0\r\nNats-Msg-Id:  a b \r\nX: 1\r\nx-X: no\r\nX:2\r\nE:\r\n\r\n";

#[test]
fn lookup_is_exact_and_takes_the_first() {
    assert_eq!(get(BLOCK, "Nats-Msg-Id"), Some(&b"a b "[..]));
    assert_eq!(get_str(BLOCK, "X"), Some("1"));
    assert_eq!(get(BLOCK, "E"), Some(&b""[..]));
    for missing in ["nats-msg-id", "Msg-Id", "x", "Nats-Msg", "NATS/1.0", ""] {
        assert_eq!(get(BLOCK, missing), None, "{missing}");
    }
    assert_eq!(get(b"", "X"), None);
    assert_eq!(get_str(b"NATS/1.0\r\nX: \xff\r\n\r\n", "X"), None);
    let all: Vec<_> = each(BLOCK)
        .map(|(name, value)| (str::from_utf8(name).unwrap(), str::from_utf8(value).unwrap()))
        .collect();
    let there = [
        ("Nats-Msg-Id", "a b "),
        ("X", "1"),
        ("x-X", "no"),
        ("X", "2"),
        ("E", ""),
    ];
    assert_eq!(all, there);
}

#[test]
fn statuses_are_written_whole() {
    let block = HeaderBuf::with_status(408, "Request Timeout").add_number("Nats-Pending-Messages", 3);
    assert_eq!(
        block.finish(),
        b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\n\r\n"
    );
    assert_eq!(HeaderBuf::with_status(503, "").finish(), b"NATS/1.0 503\r\n\r\n");
    assert_eq!(HeaderBuf::new().finish(), EMPTY);
}

#[test]
fn headers_are_removed() {
    let without = b"NATS/1.0\r\nNats-Msg-Id:  a b \r\nx-X: no\r\nE:\r\n\r\n";
    assert_eq!(remove(BLOCK, "X"), without);
    assert_eq!(remove(BLOCK, "Y"), BLOCK);
    assert_eq!(remove(b"NATS/1.0\r\nA: 1\r\n\r\n", "A"), b"");
    let status = b"NATS/1.0 100\r\nA: 1\r\n\r\n";
    assert_eq!(remove(status, "A"), b"NATS/1.0 100\r\n\r\n");
    let kept = retain(BLOCK, |header| !header.starts_with(b"Nats-"));
    assert_eq!(&*kept, b"NATS/1.0\r\nX: 1\r\nx-X: no\r\nX:2\r\nE:\r\n\r\n");
    assert!(matches!(retain(BLOCK, |_| true), Cow::Borrowed(BLOCK)));
}

#[test]
fn nothing_passes_for_a_header_that_was_scrubbed() {
    let scrubbed = |block: &str| String::from_utf8(scrub(block.as_bytes(), &["Who", "Where"]).into_owned()).unwrap();
    for block in [
        "",
        "NATS/1.0\r\nA: 1\r\n\r\n",
        "NATS/1.0\r\nWhom: 1\r\nA: Who: 1\r\n\r\n",
        "NATS/1.0\r\n\r\n",
    ] {
        assert_eq!(scrubbed(block), block);
    }
    for line in [
        "Who: 1",
        "Who:1",
        "who: 1",
        "WHERE: 1",
        "Who : 1",
        " Who: 1",
        "\tWho\t: 1",
        "B: 2\nWho: 1",
        "B: 2\rWho: 1",
        "B: 2\nC: 3\nwho : 1\nD: 4",
        "Who: 1\r\nWho: 2",
    ] {
        let block = format!("NATS/1.0\r\nA: 1\r\n{line}\r\nZ: 9\r\n\r\n");
        assert_eq!(scrubbed(&block), "NATS/1.0\r\nA: 1\r\nZ: 9\r\n\r\n", "{line:?}");
        assert_eq!(scrubbed(&format!("NATS/1.0\r\n{line}\r\n\r\n")), "", "{line:?}");
        assert_eq!(
            scrubbed(&format!("NATS/1.0\n{line}\r\nA: 1\r\n\r\n")),
            "NATS/1.0\r\nA: 1\r\n\r\n"
        );
        let behind = format!("NATS/1.0\r\nA: 1\r\n\r\n{line}\r\n\r\n");
        assert_eq!(scrubbed(&behind), "NATS/1.0\r\nA: 1\r\n\r\n", "{line:?}");
    }
    assert_eq!(scrubbed("NATS/1.0 503\r\nWho: 1\r\n\r\n"), "NATS/1.0 503\r\n\r\n");
    // What is added is read.
    assert_eq!(scrubbed("NATS/1.0\r\n\r\nA: 1\r\n\r\n"), "");
}

#[test]
fn headers_are_added() {
    assert_eq!(insert(b"", "A", "1"), b"NATS/1.0\r\nA: 1\r\n\r\n");
    assert_eq!(insert(EMPTY, "A", "1"), b"NATS/1.0\r\nA: 1\r\n\r\n");
    let block = insert(b"NATS/1.0\r\nB: 2\r\n\r\n", "A", "1\r\nC: 3");
    assert_eq!(block, b"NATS/1.0\r\nB: 2\r\nA: 1  C: 3\r\n\r\n");
}

#[test]
fn headers_are_set() {
    let block = b"NATS/1.0\r\nB: 2\r\nC:3\r\nD:   4\r\n\r\n";
    assert_eq!(set(block, "B", "44"), b"NATS/1.0\r\nB: 44\r\nC:3\r\nD:   4\r\n\r\n");
    assert_eq!(set(block, "C", "44"), b"NATS/1.0\r\nB: 2\r\nC:44\r\nD:   4\r\n\r\n");
    assert_eq!(set(block, "D", "5"), b"NATS/1.0\r\nB: 2\r\nC:3\r\nD: 5\r\n\r\n");
    assert_eq!(
        set(b"NATS/1.0\r\nB: 2\r\n\r\n", "C", "4"),
        b"NATS/1.0\r\nB: 2\r\nC: 4\r\n\r\n"
    );
    assert_eq!(set(b"", "B", "3"), b"NATS/1.0\r\nB: 3\r\n\r\n");
}

proptest! {
    #[test]
    fn damaged_blocks_never_panic(block in "(NATS/1.0)?[ :\r\nab1-9]{0,60}", name in "[ab:]{0,2}") {
        let block = block.as_bytes();
        let _ = (get(block, &name), each(block).count());
        let _ = remove(block, &name);
        prop_assert!(insert(block, "Zz", "1").ends_with(b"Zz: 1\r\n\r\n"));
        let changed = set(block, &name, "1");
        prop_assert!(get(block, &name).is_none() || get(&changed, &name) == Some(b"1"));
    }
}
