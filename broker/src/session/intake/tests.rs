use super::*;

/// A socket that always has more: fills all the room there is, with operations of `size` bytes each. Returns how much it was, and what
/// the operations stand in, if that is to be kept.
fn read(intake: &mut Intake, size: usize, keep: bool) -> (usize, Option<Bytes>) {
    intake.make_room();
    let (offered, held) = (intake.room(), intake.buf.len());
    intake.buf.resize(held + offered, b'x');
    intake.adapt(offered, offered);
    let (chunk, _) = intake.take();
    let done = chunk.len() / size * size;
    intake.need = size;
    let kept = keep.then(|| chunk.clone());
    intake.keep_rest(chunk, done);
    (offered, kept)
}

#[test]
fn full_reads_become_as_large_as_they_may_wherever_operations_end() {
    // Some sizes had every read end as the one before it, a little short of what would have asked for more.
    for size in (1..2 * READ_BUFFER_MIN).step_by(8) {
        let mut intake = Intake::default();
        for _ in 0..16 {
            read(&mut intake, size, false);
        }
        let (last, _) = read(&mut intake, size, false);
        assert!(last + size > READ_BUFFER_MAX, "{last} of operations of {size}");
        assert!(last <= READ_BUFFER_MAX && intake.memory == READ_BUFFER_MAX);
    }
}

#[test]
fn the_same_memory_is_read_into_again() {
    let mut intake = Intake::default();
    for _ in 0..16 {
        read(&mut intake, 153, false);
    }
    let start = intake.buf.as_ptr();
    for _ in 0..100 {
        read(&mut intake, 153, false);
        assert_eq!(intake.buf.as_ptr(), start);
    }
    // So are its first bytes by small reads.
    for _ in 0..100 {
        intake.make_room();
        intake.buf.extend_from_slice(&[b'x'; 153]);
        let (chunk, _) = intake.take();
        intake.keep_rest(chunk, 153);
    }
    intake.make_room();
    assert!(intake.room() >= READ_BUFFER_MAX - 153);
}

#[test]
fn what_is_kept_is_not_written_over() {
    let mut intake = Intake::default();
    for _ in 0..20 {
        let (_, kept) = read(&mut intake, 153, true);
        intake.make_room();
        let (held, room) = (intake.buf.len(), intake.room());
        assert!(held + room >= intake.target);
        intake.buf.resize(held + room, b'y');
        assert!(kept.is_some_and(|kept| kept.iter().all(|&byte| byte == b'x')));
        intake.buf.truncate(held);
    }
}

#[test]
fn a_large_operation_has_room_for_all_of_it_and_an_idle_connection_none() {
    let mut intake = Intake::default();
    intake.make_room();
    assert_eq!((intake.room(), intake.memory), (READ_BUFFER_MIN, READ_BUFFER_MIN));
    intake.buf.extend_from_slice(b"PUB a 1000000\r\n");
    intake.need = 1_000_017;
    assert!(!intake.is_enough());
    intake.make_room();
    assert_eq!(intake.room() + intake.buf.len(), 1_000_017);
    assert_eq!(intake.buf, b"PUB a 1000000\r\n"[..]);
    intake.relax();
    assert!(!intake.buf.is_empty());
    intake.buf.clear();
    intake.relax();
    assert_eq!((intake.buf.capacity(), intake.memory), (0, 0));
}

#[test]
fn small_reads_ask_for_less() {
    let mut intake = Intake::default();
    for _ in 0..16 {
        read(&mut intake, 1, false);
    }
    assert_eq!(intake.target, READ_BUFFER_MAX);
    for _ in 0..16 {
        intake.adapt(READ_BUFFER_MAX, 1);
    }
    assert_eq!(intake.target, READ_BUFFER_MIN);
}
