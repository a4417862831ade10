use super::*;

#[test]
fn the_newest_put_of_a_key_is_the_last_one_that_had_it() {
    let total = 3 * KEYS + 7;
    for number in [0, 5, 6, 7, 8, KEYS - 1] {
        let last = (0..total)
            .rev()
            .find(|&put| scattered(put, KEYS) == scattered(number, KEYS));
        assert_eq!(last, Some(newest(number, total)), "{number}");
    }
}
