use super::*;

#[test]
fn what_is_used_stays_and_the_bytes_are_bounded() {
    let mut cache = Cache::new(64 << 10);
    let key = |n: u64| Bytes::from(format!("key{n}"));
    let info = |n| SubjectInfo {
        count: 1,
        first: n,
        last: n,
    };
    for n in 0..10_000 {
        cache.put(key(n), info(n));
        assert_eq!(cache.get(&key(0)), Some(info(0)), "in use at {n}");
        assert!(cache.memory() <= (64 << 10) + 1024, "{} bytes at {n}", cache.memory());
    }
    assert_eq!(cache.get(&key(9_999)), Some(info(9_999)));
    assert_eq!(cache.get(&key(1)), None, "long unused");
    cache.remove(&key(0));
    assert_eq!(cache.get(&key(0)), None);
    let before = cache.young.len() + cache.old.len();
    cache.clear();
    assert_eq!((cache.memory(), cache.get(&key(9_999))), (0, None));
    // Freeing very many at once would take long.
    assert!(cache.forgotten() + LET_GO >= before, "{before}");
    for n in 0..cache.forgotten() / LET_GO + 3 {
        let n = n as u64;
        cache.put(key(n), info(n));
    }
    assert_eq!(cache.forgotten(), 0);
}
