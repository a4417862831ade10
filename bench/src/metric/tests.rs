use super::*;

#[test]
fn medians_of_odd_and_even_rounds() {
    assert_eq!(Summary::over(vec![9.0, 1.0, 5.0]).unwrap().median, 5.0);
    let even = Summary::over(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
    assert_eq!((even.median, even.min, even.max), (2.5, 1.0, 4.0));
    assert!((even.spread_percent() - 60.0).abs() < 1e-9);
    assert_eq!(Summary::over(Vec::new()), None);
}
