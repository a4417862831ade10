use super::*;

#[test]
fn only_so_much_waits() {
    let publish = |body: &'static str| Input::Publish {
        stream: StreamId(1),
        subject: Bytes::from_static(b"a"),
        headers_len: 0,
        body: Bytes::from_static(body.as_bytes()),
        ticket: Ticket::None,
    };
    let limits = QueueLimits {
        messages: 2,
        bytes: 100,
    };
    let (handle, inbox, load) = ShardHandle::new(limits);
    let take = |count: usize| {
        let mut taken = std::collections::VecDeque::new();
        inbox.take(&mut taken, std::time::Duration::ZERO);
        assert_eq!(taken.len(), count);
        taken.iter().for_each(|inputs| load.taken(inputs));
    };
    // What is handed over together is taken or refused together.
    let three = || (0..3).map(|_| publish("")).collect();
    assert!(handle.submit(three()).is_ok());
    assert!(matches!(handle.submit(three()), Err(Refused::Busy(refused)) if refused.len() == 3));
    // What must not be lost goes in.
    handle.wake(StreamId(1), Bytes::from_static(b"c"));
    take(2);
    let large =
        publish("................................................................................................");
    assert!(handle.submit(vec![large, publish("....")]).is_ok());
    assert!(handle.submit(vec![publish("")]).is_err(), "more than 100 bytes wait");
    take(1);
    assert!(handle.submit(vec![publish("")]).is_ok());
    drop(inbox);
    assert!(matches!(handle.submit(vec![publish("")]), Err(Refused::Gone(refused)) if refused.len() == 1));
}

#[test]
fn only_what_may_change_something_keeps_others_from_looking() {
    let (handle, inbox, load) = ShardHandle::new(QueueLimits::default());
    let take = || {
        let mut taken = std::collections::VecDeque::new();
        inbox.take(&mut taken, std::time::Duration::ZERO);
        taken.iter().for_each(|inputs| load.taken(inputs));
        taken.len()
    };
    assert!(handle.is_idle());
    handle.ask(|_| Ok(()), |_| {});
    assert!(handle.is_idle() && handle.waiting().0 == 1);
    handle.call(|_| Ok(()), |_| {});
    assert!(!handle.is_idle());
    assert_eq!(take(), 2);
    assert!(handle.is_idle() && handle.waiting().0 == 0);
    handle.wake(StreamId(1), Bytes::from_static(b"c"));
    assert!(!handle.is_idle());
    assert_eq!(take(), 1);
    assert!(handle.is_idle());
}
