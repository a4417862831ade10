use super::*;

fn message() -> Message {
    Message {
        seq: 7,
        time: 1_700_000_000_123_456_789,
        subject: "a.b".into(),
        headers: "NATS/1.0\r\nA: b\r\n\r\n".into(),
        payload: vec![0, 255, b'"', b'\n'].into(),
    }
}

fn again(message: &Message) -> io::Result<Line> {
    let mut line = Vec::new();
    put_message(message, &mut line);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    parse_line(&line, 2, 1 << 20)
}

#[test]
fn what_is_written_is_read() {
    let plain = message();
    let bare = Message {
        headers: Bytes::new(),
        payload: Bytes::new(),
        subject: Bytes::from_static(b"a.\xff\xfe"),
        time: -5,
        ..plain.clone()
    };
    for message in [plain, bare] {
        assert_eq!(again(&message).unwrap(), Line::Message(message));
    }
    assert_eq!(parse_line(END, 9, 0).unwrap(), Line::End);
    let config = StreamConfig {
        name: "S".into(),
        ..StreamConfig::default()
    };
    let head = Head::new(config, Some(7), BackupState::default(), vec![BackupConsumer::default()]);
    let read = Head::parse(&head.to_line()).unwrap();
    assert_eq!(
        (read.created(), read.config, read.consumers.len()),
        (Some(7), head.config, 1)
    );
}

#[test]
fn a_line_that_makes_no_sense_is_named() {
    for (line, why) in [
        ("{", "line 3: EOF"),
        ("{}", "line 3: parsing time"),
        (r#"{"time":"2026-01-01T00:00:00Z"}"#, "line 3: either subject or"),
        (r#"{"subject":"a","time":"now"}"#, "line 3: parsing time"),
        (
            r#"{"subject":"a","time":"2026-01-01T00:00:00Z"}"#,
            "line 3: a message needs",
        ),
        (
            r#"{"seq":1,"subject":"a","time":"2026-01-01T00:00:00Z","data":"?"}"#,
            "line 3: data:",
        ),
        (
            r#"{"seq":1,"subject":"a..b","time":"2026-01-01T00:00:00Z"}"#,
            "invalid subject",
        ),
        (
            r#"{"seq":1,"subject":"a","time":"2026-01-01T00:00:00Z","headers":"eA=="}"#,
            "header block",
        ),
        (
            r#"{"seq":1,"subject":"a","time":"2026-01-01T00:00:00Z","data":"aGVsbG8="}"#,
            "maximum payload",
        ),
        (
            r#"{"seq":18446744073709551615,"subject":"a","time":"2026-01-01T00:00:00Z"}"#,
            "highest",
        ),
    ] {
        let error = parse_line(line.as_bytes(), 3, 4).unwrap_err().to_string();
        assert!(error.contains(why), "{line}: {error}");
    }
    let mut head = Head::new(StreamConfig::default(), None, BackupState::default(), Vec::new());
    head.version = 2;
    let later = Head::parse(&head.to_line()).unwrap_err();
    assert!(later.to_string().contains("version 2 is not known"), "{later}");
    assert!(Head::parse(b"{\"seq\":1}").is_err());
}
