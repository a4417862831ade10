use super::fnv1a;

#[test]
fn hashes_like_the_reference() {
    // From the test vectors of the hash's authors.
    for (text, hash) in [("", 0x811c_9dc5), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
        assert_eq!(fnv1a([text.as_bytes()].into_iter()), hash);
    }
    assert_eq!(fnv1a([&b"foo"[..], b"bar"].into_iter()), 0xbf9c_f968);
}
