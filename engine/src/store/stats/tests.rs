use super::*;

#[test]
fn an_account_holds_what_its_streams_do() {
    let pools = Pools::new(Capacity { memory: 10, file: 100 });
    let (a, b) = (pools.stats("A", Storage::File), pools.stats("A", Storage::File));
    let (other, memory) = (pools.stats("B", Storage::File), pools.stats("A", Storage::Memory));
    a.set(1, 10, 0);
    b.set(1, 20, 0);
    other.set(1, 40, 0);
    memory.set(1, 5, 0);
    assert_eq!(
        (a.held_by_account(), other.held_by_account(), memory.held_by_account()),
        (30, 40, 5)
    );
    a.set(0, 4, 0);
    assert_eq!(b.held_by_account(), 24);
    drop(a);
    assert_eq!(b.held_by_account(), 20);
    assert!(!b.is_beyond_capacity());
    b.set(9, 61, 0);
    assert!(b.is_beyond_capacity());
}

/// One that is opened anew is shown by others while somebody still looks at the old ones.
#[test]
fn what_is_released_counts_no_more() {
    let pools = Pools::new(Capacity::default());
    let (old, new) = (pools.stats("A", Storage::File), pools.stats("A", Storage::File));
    old.set(1, 10, 0);
    new.set(1, 10, 0);
    old.release();
    assert_eq!((new.held_by_account(), old.bytes()), (10, 10));
    old.set(1, 12, 0);
    drop(old);
    assert_eq!(new.held_by_account(), 10);
}
