use super::*;

#[test]
fn about_a_thousand_messages_lie_between_two_that_are_known() {
    let mut times = Times::default();
    let time = |at: u16| NanoTime::from(at / 5) * 100;
    for at in 3..60_000 {
        times.push(at, time(at));
    }
    times.seal();
    assert_eq!(times.all().count(), 60);
    assert_eq!(times.first(), Some((3, 0)));
    assert_eq!(times.around(0), (None, Some(3)), "nothing is older");
    assert_eq!(times.around(NanoTime::MAX), (Some(59_999), None), "all are");
    for at in (4..60_000u16).step_by(97) {
        let (below, above) = times.around(time(at));
        let first = (3..=at)
            .find(|other| time(*other) == time(at))
            .expect("it is one itself");
        let (low, high) = (below.map_or(3, |at| at + 1), above.unwrap_or(59_999));
        assert!(
            low <= first && first <= high && high - low <= 1024,
            "{low} to {high} for {first}"
        );
        assert!(times.at(at).contains(&time(at)));
    }
    // What is written of it, and read.
    let read = Times::of(times.all());
    assert!(read.all().eq(times.all()));
    assert_eq!(read.around(time(30_000)), times.around(time(30_000)));
}

#[test]
fn one_message_is_known() {
    let mut times = Times::default();
    times.push(9, 50);
    assert_eq!((times.around(50), times.around(51)), ((None, Some(9)), (Some(9), None)));
    assert_eq!((times.at(9), times.all().count()), (50..=50, 1));
}
