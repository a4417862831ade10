use super::*;

#[test]
fn refusals_are_logged_once_a_second() {
    let refusals = Refusals::default();
    assert_eq!(refusals.add(3, 10 * SECOND), Some(3));
    assert_eq!(refusals.add(4, 10 * SECOND + 5), None);
    assert_eq!(refusals.add(5, 11 * SECOND - 1), None);
    assert_eq!(refusals.add(6, 11 * SECOND), Some(15));
}
