use serde_json::json;

use super::super::schema::{CONSUMER_CREATE, MSG_GET, PAUSE, STREAM_CONFIG};
use super::*;

fn stream(text: &str) -> Result<Value, String> {
    decode(text.as_bytes(), &STREAM_CONFIG, true)
}

#[test]
fn null_empties_what_the_same_field_filled() {
    let twice = r#"{"subjects":["a"],"SUBJECTS":null,"name":"A","Name":null}"#;
    assert_eq!(stream(twice), Ok(json!({"name": "A"})));
}

#[test]
fn texts_are_those_of_nats_server() {
    for (text, expected) in [
        ("{", "unexpected EOF"),
        ("xx", "invalid character 'x' looking for beginning of value at offset 1"),
        (
            "{\"name\":\"T\"} x",
            "invalid character 'x' looking for beginning of value at offset 14",
        ),
        (
            "{\"name\":\"T\",}",
            "invalid character '}' looking for beginning of object key string at offset 13",
        ),
        (
            "{xx",
            "invalid character 'x' looking for beginning of object key string at offset 2",
        ),
        (
            "{\"name\":nul}",
            "invalid character '}' in literal null (expecting 'l') at offset 12",
        ),
        (
            "{\"name\":\"\u{1}\"}",
            "invalid character '\\x01' in string at offset 10",
        ),
        (
            "{\"name\":\"\\x\"}",
            "invalid escape sequence `\\x` in string at offset 11",
        ),
        (
            "{\"max_msgs\":01}",
            "invalid character '1' after object key:value pair at offset 14",
        ),
        (
            "{\"subjects\":[\"a\",]}",
            "invalid character ']' looking for beginning of value at offset 18",
        ),
        (
            "[]",
            "json: cannot unmarshal array into Go value of type server.StreamConfigRequest",
        ),
        (
            "\"x\"",
            "json: cannot unmarshal string into Go value of type server.StreamConfigRequest",
        ),
        (
            "{\"name\":1}",
            "json: cannot unmarshal number into Go struct field StreamConfigRequest.name of type string",
        ),
        (
            "{\"subjects\":\"x\"}",
            "json: cannot unmarshal string into Go struct field StreamConfigRequest.subjects of type []string",
        ),
        (
            "{\"subjects\":[1]}",
            "json: cannot unmarshal number into StreamConfigRequest.subjects.0 of type string",
        ),
        (
            "{\"max_msgs\":\"1\"}",
            "json: cannot unmarshal string into Go struct field StreamConfigRequest.max_msgs of type int64",
        ),
        (
            "{\"max_msgs\":1.5}",
            "json: cannot unmarshal number 1.5 into Go struct field StreamConfigRequest.max_msgs of type int64",
        ),
        (
            "{\"max_msg_size\":3000000000}",
            "json: cannot unmarshal number 3000000000 into Go struct field StreamConfigRequest.max_msg_size of type int32",
        ),
        (
            "{\"first_seq\":-1}",
            "json: cannot unmarshal number -1 into Go struct field StreamConfigRequest.first_seq of type uint64",
        ),
        (
            "{\"no_ack\":1}",
            "json: cannot unmarshal number into Go struct field StreamConfigRequest.no_ack of type bool",
        ),
        (
            "{\"max_age\":\"1s\"}",
            "json: cannot unmarshal string into Go struct field StreamConfigRequest.max_age of type time.Duration",
        ),
        (
            "{\"metadata\":[]}",
            "json: cannot unmarshal array into Go struct field StreamConfigRequest.metadata of type map[string]string",
        ),
        (
            "{\"metadata\":{\"a\":1}}",
            "json: cannot unmarshal number into Go struct field StreamConfigRequest.metadata.a of type string",
        ),
        (
            "{\"placement\":5}",
            "json: cannot unmarshal number into Go struct field StreamConfigRequest.placement of type server.Placement",
        ),
        ("{\"foo\":1}", "json: unknown field \"foo\""),
        ("{\"consumer_limits\":{\"x\":1}}", "json: unknown field \"x\""),
        ("{\"storage\":\"foo\"}", "can not unmarshal \"\\\"foo\\\"\""),
        ("{\"retention\":1}", "can not unmarshal \"1\""),
        ("{\"compression\":\"x\"}", "unknown compression algorithm"),
        ("{\"foo\":1,\"storage\":\"x\"}", "json: unknown field \"foo\""),
    ] {
        assert_eq!(stream(text).unwrap_err(), expected, "{text}");
    }
    let consumer = |text: &str| decode::<Value>(text.as_bytes(), &CONSUMER_CREATE, true).unwrap_err();
    assert_eq!(
        consumer("{\"config\":{\"max_deliver\":\"x\"}}"),
        "json: cannot unmarshal string into Go struct field CreateConsumerRequest.config.max_deliver of type int"
    );
    assert_eq!(
        consumer("{\"config\":{\"priority_policy\":\"x\"}}"),
        "unknown priority policy: \"x\""
    );
    assert_eq!(consumer("{\"action\":\"foo\"}"), "unknown consumer action: \"foo\"");
    assert_eq!(consumer("{\"action\":1}"), "unknown consumer action: 1");
    assert_eq!(
        decode::<Value>(b"{\"pause_until\":\"x\"}", &PAUSE, true).unwrap_err(),
        "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\""
    );
}

#[test]
fn reads_what_go_reads() {
    assert_eq!(stream(""), Ok(json!({})));
    assert_eq!(stream("null"), Ok(json!({})));
    assert_eq!(
        stream("{\"NAME\":\"T\",\"metadata\":null}\n\n "),
        Ok(json!({"name": "T"}))
    );
    assert_eq!(
        stream("{\"name\":\"T\"}{\"max_msgs\":5}"),
        Ok(json!({"name": "T", "max_msgs": 5}))
    );
    let lenient = decode::<Value>(b"{\"seq\":1,\"foo\":{\"a\":[1]}}", &MSG_GET, false);
    assert_eq!(lenient, Ok(json!({"seq": 1})));
    let seq = decode::<Value>(b"{\"seq\":18446744073709551615}", &MSG_GET, true);
    assert_eq!(seq, Ok(json!({"seq": u64::MAX})));
    let undefined = decode::<Value>(
        b"{\"config\":{\"deliver_policy\":\"undefined\"}}",
        &CONSUMER_CREATE,
        true,
    );
    assert_eq!(undefined, Ok(json!({"config": {"deliver_policy": "all"}})));
}
