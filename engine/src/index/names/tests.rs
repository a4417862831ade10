use super::*;

#[test]
fn names_come_back_whatever_their_length() {
    let mut names = Names::default();
    let lengths = [0, 1, 20, 65_535, 65_535, 0, 1, 30_000, 35_000, 536, 1, 65_535, 3];
    let made: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(n, &len)| vec![n as u8; len]).collect();
    let places: Vec<Place> = made.iter().map(|name| names.add(name).unwrap()).collect();
    for (name, &place) in made.iter().zip(&places) {
        assert_eq!(names.get(place), name.as_slice());
    }
    assert!(names.add(&[0; 65_536]).is_none());
    assert!(!names.is_sparse());
    for &place in &places {
        names.remove(place);
    }
    assert!(names.is_sparse());
}
