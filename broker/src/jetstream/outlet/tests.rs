use super::*;

#[test]
fn names_in_acknowledgements_are_json() {
    let ack = |id: &'static str, stream: &str| PubAck {
        stream: stream.into(),
        seq: 7,
        duplicate: false,
        value: None,
        batch: Some(Box::new(weir_engine::shard::emit::BatchAck {
            id: Bytes::from_static(id.as_bytes()),
            count: 2,
        })),
    };
    for (id, stream) in [
        ("plain", "S"),
        ("a\"b\\c", "\"q\""),
        ("tab\tbell\u{7}nul\0", "\u{1b}[31m"),
        ("ümläut\u{7f}", "é"),
    ] {
        let mut out = Vec::new();
        write_pub_ack(&mut out, Ok(&ack(id, stream)), stream, Some("\u{1}"));
        let told: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            [&told["stream"], &told["batch"], &told["domain"]],
            [stream, id, "\u{1}"]
        );
    }
}
