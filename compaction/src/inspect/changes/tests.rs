use super::*;

fn with(last: Seq) -> Changes {
    Changes {
        last,
        ..Changes::default()
    }
}

#[test]
fn what_the_log_has_is_not_counted_again() {
    let mut changes = with(5);
    for seq in 4..=7 {
        changes.publish(seq, seq as i64, b"\0a.b", 3);
    }
    let left: Vec<Seq> = changes.unwritten.keys().copied().collect();
    assert_eq!(left, [6, 7]);
    assert_eq!(&*changes.unwritten[&6].subject, b"a.b");
    assert_eq!(changes.unwritten[&6].bytes, stored_size(Storage::File, 3, 0, 3));
    assert_eq!((changes.last, changes.last_time), (7, Some(7)));
}

#[test]
fn removals_reach_both_the_log_and_the_journal() {
    let mut changes = with(5);
    changes.publish(6, 6, b"\0a", 0);
    changes.publish(7, 7, b"\0a", 0);
    changes.remove(2, &[4, 6]);
    let gone: Vec<Seq> = (1..=5).filter(|seq| changes.is_gone(*seq)).collect();
    assert_eq!(gone, [1, 4]);
    let left: Vec<Seq> = changes.unwritten.keys().copied().collect();
    assert_eq!(left, [7]);
    changes.remove(11, &[]);
    assert!(changes.unwritten.is_empty());
    assert_eq!(changes.last, 10);
}

#[test]
fn a_record_s_size_is_its_message_s() {
    // Flags and subject.
    assert_eq!(record_bytes(1 + 3, 10), stored_size(Storage::File, 3, 0, 10));
    // Flags, length, subject; 12 bytes of headers before 10 of payload.
    assert_eq!(record_bytes(1 + 4 + 3, 22), stored_size(Storage::File, 3, 12, 10));
}
