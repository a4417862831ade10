use super::*;

fn held(messages: u64, bytes: u64) -> Shown {
    Shown {
        messages,
        bytes,
        ..Shown::default()
    }
}

#[test]
fn an_account_holds_what_its_streams_do() {
    let pools = Pools::new(Capacity { memory: 10, file: 100 });
    let (a, b) = (pools.stats("A", Storage::File), pools.stats("A", Storage::File));
    let (other, memory) = (pools.stats("B", Storage::File), pools.stats("A", Storage::Memory));
    a.set(held(1, 10));
    b.set(held(1, 20));
    other.set(held(1, 40));
    memory.set(held(1, 5));
    assert_eq!(
        (a.held_by_account(), other.held_by_account(), memory.held_by_account()),
        (30, 40, 5)
    );
    a.set(held(0, 4));
    assert_eq!(b.held_by_account(), 24);
    drop(a);
    assert_eq!(b.held_by_account(), 20);
    assert!(!b.is_beyond_capacity());
    b.set(held(9, 61));
    assert!(b.is_beyond_capacity());
}

/// One that is opened anew is shown by others while somebody still looks at the old ones.
#[test]
fn what_is_released_counts_no_more() {
    let pools = Pools::new(Capacity::default());
    let (old, new) = (pools.stats("A", Storage::File), pools.stats("A", Storage::File));
    old.set(held(1, 10));
    new.set(held(1, 10));
    old.release();
    assert_eq!((new.held_by_account(), old.bytes()), (10, 10));
    old.set(held(1, 12));
    drop(old);
    assert_eq!(new.held_by_account(), 10);
}
