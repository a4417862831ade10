use super::*;

#[test]
fn lists_the_most_frequent() {
    let seen = ["b", "a", "c", "a", "b", "a", "d"];
    let mut subjects = Subjects::default();
    for subject in seen {
        subjects.add(subject.as_bytes());
    }
    assert_eq!(subjects.len(), 4);
    for (top, expected) in [(0, vec![]), (2, vec![("a", 3), ("b", 2)])] {
        let mut naming = subjects.naming(top);
        for subject in seen {
            naming.see(subject.as_bytes());
        }
        let found = naming.finish();
        let found: Vec<_> = found.iter().map(|s| (&*s.subject, s.messages)).collect();
        assert_eq!(found, expected);
    }
    let mut naming = subjects.naming(100);
    for subject in seen {
        naming.see(subject.as_bytes());
    }
    assert_eq!(naming.finish().len(), 4);
}
