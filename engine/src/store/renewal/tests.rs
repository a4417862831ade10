use super::*;

/// The seconds at which a backend is let go of that fails all the time.
fn renewals(renewal: &mut Renewal, seconds: std::ops::Range<i64>) -> Vec<i64> {
    seconds.filter(|second| renewal.begin(second * SECOND)).collect()
}

#[test]
fn one_that_fails_again_and_again_is_opened_anew_more_and_more_rarely() {
    let mut renewal = Renewal::default();
    assert_eq!(renewals(&mut renewal, 0..200), [0, 2, 6, 14, 30, 62, 122, 182]);
    // After a quiet time it begins anew.
    assert_eq!(renewals(&mut renewal, 1000..1010), [1000, 1002, 1006]);
    // The time of the day went back.
    assert!(renewal.begin(500 * SECOND));
}
