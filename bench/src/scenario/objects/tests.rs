use super::*;

#[test]
fn objects_have_all_chunks_and_the_last_one_what_is_left() {
    let all: Vec<_> = parts(2 * OBJECT_CHUNKS + 3).collect();
    assert_eq!(all, [(0, 0..OBJECT_CHUNKS), (1, 0..OBJECT_CHUNKS), (2, 0..3)]);
    assert_eq!(parts(OBJECT_CHUNKS).count(), 1);
    assert_eq!(parts(1).collect::<Vec<_>>(), [(0, 0..1)]);
}
