use super::*;

#[test]
fn each_odd_sequence_is_deleted_once_and_what_was_not_is_an_error() {
    let mut deletions = Deletions {
        subject: "D".into(),
        messages: 50,
    };
    let mut seqs: Vec<u64> = (0..50).map(|number| deletions.seq(number)).collect();
    seqs.sort_unstable();
    assert!(seqs.iter().copied().eq((1..100).step_by(2)));

    let mut out = Vec::new();
    deletions.ask(0, b"r", &mut out);
    assert_eq!(out, b"PUB D r 25\r\n{\"seq\":1,\"no_erase\":true}\r\n");

    let mut check = |body: &str| {
        deletions.check(
            0,
            &Msg {
                subject: b"r",
                sid: 1,
                reply: b"",
                header: b"",
                payload: body.as_bytes(),
            },
        )
    };
    assert!(check(r#"{"type":"io.nats.jetstream.api.v1.stream_msg_delete_response","success":true}"#).is_ok());
    assert!(check(r#"{"error":{"code":400,"err_code":10043},"success":false}"#).is_err());
}
