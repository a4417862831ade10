use super::*;

#[test]
fn connections_leave_the_others_their_share() {
    assert_eq!(room(1_048_576, true), 1_048_576 - 1_024 - 64 - 64);
    assert_eq!(room(1_024, true), 512);
    assert_eq!(room(1_024, false), 1_024 - 64 - 64);
    assert_eq!(room(100, false), 50);
}
