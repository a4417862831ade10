use super::*;

#[test]
fn wakes_those_concerned_until_they_leave() {
    let watches = Watches::default();
    let woken = Arc::new(AtomicUsize::new(0));
    let wake = || {
        let woken = Arc::clone(&woken);
        let wake: Wake = Arc::new(move || {
            woken.fetch_add(1, Ordering::Relaxed);
        });
        wake
    };
    let key = |name: &str| (1, Box::from(name));
    watches.changed(b"a.b");
    watches.add(b"a.b", key("x"), wake());
    watches.add(b"a.b", key("y"), wake());
    watches.add(b"a.b", key("x"), wake());
    watches.add(b"c", key("x"), wake());
    watches.changed(b"a.b");
    assert_eq!(woken.load(Ordering::Relaxed), 2);
    watches.changed(b"a.*");
    assert_eq!(woken.load(Ordering::Relaxed), 4);
    watches.changed(b"d");
    watches.remove(b"a.b", &key("x"));
    watches.remove(b"nothing", &key("x"));
    watches.changed(b">");
    assert_eq!(woken.load(Ordering::Relaxed), 6);
    watches.remove(b"a.b", &key("y"));
    watches.remove(b"c", &key("x"));
    watches.changed(b">");
    assert_eq!(woken.load(Ordering::Relaxed), 6);
}
