use super::*;

fn window(acks: &[(u64, u64)]) -> Result<Published> {
    let mut window = Window::new(3)?;
    for _ in 0..3 {
        window.send(0);
    }
    for (counter, seq) in acks {
        let subject = format!("in.{counter}");
        let payload = format!("{{\"stream\":\"S\",\"seq\":{seq}}}");
        let msg = Msg {
            subject: subject.as_bytes(),
            sid: 1,
            reply: b"",
            header: b"",
            payload: payload.as_bytes(),
        };
        window.ack(&msg, 3, 5)?;
    }
    assert_eq!(window.outstanding(), 3 - acks.len());
    window.finish()
}

#[test]
fn acks_may_come_in_any_order_but_sequences_must_rise() {
    assert_eq!(window(&[(1, 2), (0, 1), (2, 9)]).unwrap().seqs, [1, 2, 9]);
    assert!(window(&[(0, 2), (1, 1), (2, 3)]).is_err());
    assert!(window(&[(0, 1), (1, 1), (2, 3)]).is_err());
}

#[test]
fn doubled_and_unknown_acks_are_errors() {
    assert!(window(&[(0, 1), (0, 2)]).is_err());
    assert!(window(&[(3, 1)]).is_err());
}

#[test]
fn two_connections_must_share_the_sequences_without_gap_or_overlap() {
    let of = |seqs: &[u64]| Published {
        seqs: seqs.to_vec(),
        latency: latencies().unwrap(),
    };
    assert_eq!(expect_permutation(&[of(&[1, 4]), of(&[2, 3])]).unwrap(), 4);
    assert!(expect_permutation(&[of(&[1, 3]), of(&[2, 3])]).is_err());
    assert!(expect_permutation(&[of(&[1, 2]), of(&[3, 5])]).is_err());
}

#[test]
fn what_is_scattered_comes_once_before_it_comes_again() {
    for many in [1, 10, 1000, 7919, 7907] {
        let mut seen: Vec<u64> = (0..many).map(|number| scattered(number, many)).collect();
        assert_eq!(scattered(many, many), seen[0]);
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..many), "{many}");
    }
}
