use super::*;

fn put(block: &mut Vec<u8>, seq: u64, headers: &[u8], payload: &[u8]) {
    let prefix = if headers.is_empty() { 0 } else { 4 };
    let len = (HEAD + 1 + prefix + headers.len() + payload.len() + CHECKSUM) as u32;
    block.extend((len | if prefix > 0 { HEADERS } else { 0 }).to_le_bytes());
    block.extend(seq.to_le_bytes());
    block.extend((seq as i64 & 0xff).to_le_bytes());
    block.extend(1u16.to_le_bytes());
    block.push(b'a');
    if prefix > 0 {
        block.extend((headers.len() as u32).to_le_bytes());
    }
    block.extend(headers);
    block.extend(payload);
    block.extend([0; CHECKSUM]);
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, *data).unwrap();
    }
    archive.into_inner().unwrap()
}

fn read_all(data: &[u8], first: Seq) -> io::Result<(Vec<Message>, Rest)> {
    let (mut reader, mut unpacked) = (TarReader::new(first, 1 << 20), BytesMut::new());
    let mut all = Vec::new();
    for piece in data.chunks(300) {
        unpacked.extend_from_slice(piece);
        while let Some(messages) = reader.next(&mut unpacked)? {
            all.extend(messages);
        }
    }
    Ok((all, reader.finish()?))
}

#[test]
fn messages_erased_deleted_and_below_the_first() {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    put(&mut one, 1, b"", b"one");
    put(&mut one, 2, b"NATS/1.0\r\n\r\n", b"two");
    put(&mut one, 3 | ERASED, b"", b"");
    put(&mut two, 4, b"", b"four");
    put(&mut two, 2 | TOMBSTONE, b"", b"");
    put(&mut two, 9 | TOMBSTONE, b"", b"");
    let data = archive(&[
        ("meta.inf", br#"{"name":"S"}"#),
        ("msgs/1.blk", &one),
        ("msgs/2.blk", &two),
        ("msgs/index.db", b"anything"),
    ]);
    let (messages, rest) = read_all(&data, 2).unwrap();
    let seen: Vec<_> = messages
        .iter()
        .map(|message| (message.seq, &message.headers[..], &message.payload[..]))
        .collect();
    assert_eq!(seen, [(2, &b"NATS/1.0\r\n\r\n"[..], &b"two"[..]), (4, b"", b"four")]);
    assert_eq!((&*rest.stream, rest.last, rest.last_time), ("S", 9, 9));
    assert_eq!(rest.removed, [2, 9]);
}

#[test]
fn what_is_damaged_is_refused() {
    let mut block = Vec::new();
    put(&mut block, 1, b"", b"one");
    for cut in 1..block.len() {
        let data = archive(&[("meta.inf", br#"{"name":"S"}"#), ("msgs/1.blk", &block[..cut])]);
        let error = read_all(&data, 0).unwrap_err();
        assert_eq!(error.to_string(), "msgs/1.blk: no record at byte 0");
    }
    assert!(read_all(b"not a tar", 0).is_err());
    assert!(read_all(&archive(&[("errors.txt", b"disk")]), 0).is_err());
    assert!(read_all(&archive(&[]), 0).is_err());
    let state = archive(&[("meta.inf", br#"{"name":"S"}"#), ("obs/C/o.dat", &[22, 3, 0])]);
    assert!(read_all(&state, 0).is_err());
    // Without its end it may lack anything.
    let whole = archive(&[("meta.inf", br#"{"name":"S"}"#)]);
    assert!(read_all(&whole, 0).is_ok());
    assert!(read_all(&whole[..1024], 0).is_err());
}

#[test]
fn both_versions_of_a_consumers_state() {
    let mut two = vec![STATE_MAGIC, 2];
    // Floor 5/100, delivered 9/110; one pending, at 103 with delivery 7, two seconds before 1000; 103 sent again once.
    for part in [5, 100, 9, 110, 1, 2000, 3, 2, 4, 1, 3, 1] {
        varint::put(&mut two, part);
    }
    let state = consumer_state(two.into()).unwrap();
    let pending: Vec<_> = state
        .pending
        .iter()
        .map(|(seq, at)| (*seq, at.sequence, at.timestamp))
        .collect();
    assert_eq!(pending, [(103, 7, 998 * SECOND)]);
    assert_eq!(state.redelivered.into_iter().collect::<Vec<_>>(), [(103, 1)]);
    let mut one = vec![STATE_MAGIC, 1];
    for part in [5, 100, 5, 11, 1, 2000, 3, 4, 0] {
        varint::put(&mut one, part);
    }
    let state = consumer_state(one.into()).unwrap();
    let pending: Vec<_> = state.pending.iter().map(|(seq, at)| (*seq, at.timestamp)).collect();
    assert_eq!(pending, [(103, 1002 * SECOND)]);
    let told = serde_json::to_value(&state).unwrap();
    assert_eq!(
        told["delivered"],
        serde_json::json!({"consumer_seq": 9, "stream_seq": 110})
    );
    assert!(consumer_state(Bytes::from_static(&[STATE_MAGIC, 2, 0x80])).is_none());
}
