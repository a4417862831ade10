use super::*;

fn msg<'a>(reply: &'a str, header: &'a str) -> Msg<'a> {
    Msg {
        subject: b"in.follow",
        sid: 1,
        reply: reply.as_bytes(),
        header: header.as_bytes(),
        payload: b"",
    }
}

fn take(replies: &[&str]) -> Result<Order> {
    let mut order = Order::default();
    for reply in replies {
        order.take(&msg(reply, ""))?;
    }
    Ok(order)
}

#[test]
fn messages_come_in_order_until_none_is_pending() {
    let order = take(&["$JS.ACK.S.C.1.4.1.1700.1", "$JS.ACK.S.C.1.9.2.1700.0"]).unwrap();
    assert!(order.over);
    assert_eq!(order.received, 2);
    assert!(!take(&["$JS.ACK.S.C.1.4.1.1700.1"]).unwrap().over);
}

#[test]
fn gaps_repetitions_and_more_than_there_were_are_errors() {
    for replies in [
        ["$JS.ACK.S.C.1.4.1.1700.2", "$JS.ACK.S.C.1.9.3.1700.0"],
        ["$JS.ACK.S.C.1.4.1.1700.2", "$JS.ACK.S.C.1.4.2.1700.1"],
        ["$JS.ACK.S.C.1.4.1.1700.2", "$JS.ACK.S.C.2.5.2.1700.1"],
        ["$JS.ACK.S.C.1.4.1.1700.0", "$JS.ACK.S.C.1.5.2.1700.0"],
        ["$JS.ACK.S.C.1.4.1.1700.2", ""],
    ] {
        assert!(take(&replies).is_err(), "{replies:?}");
    }
}

#[test]
fn flow_control_is_answered_where_it_asks_to_be() {
    let asked = msg("$JS.FC.S.C.x", "NATS/1.0 100 FlowControl Request\r\n\r\n");
    assert_eq!(resume(100, &asked).unwrap(), Some(&b"$JS.FC.S.C.x"[..]));
    let stalled = msg(
        "",
        "NATS/1.0 100 Idle Heartbeat\r\nNats-Consumer-Stalled: $JS.FC.S.C.y\r\n\r\n",
    );
    assert_eq!(resume(100, &stalled).unwrap(), Some(&b"$JS.FC.S.C.y"[..]));
    let idle = msg("", "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Stream: 4\r\n\r\n");
    assert_eq!(resume(100, &idle).unwrap(), None);
    assert!(resume(409, &idle).is_err());
}
