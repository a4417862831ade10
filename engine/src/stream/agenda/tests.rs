use super::*;

#[test]
fn each_has_one_deadline() {
    let mut agenda = Agenda::default();
    agenda.set(1, Some(50));
    agenda.set(2, Some(30));
    agenda.set(1, Some(10));
    agenda.set(3, Some(20));
    agenda.set(3, None);
    agenda.set(4, None);
    assert_eq!(agenda.first(), Some(10));
    assert_eq!(agenda.take_due(9), None);
    assert_eq!(agenda.take_due(30), Some(1));
    assert_eq!(agenda.take_due(30), Some(2));
    assert_eq!((agenda.take_due(NanoTime::MAX), agenda.first()), (None, None));
}
