use super::*;

fn sampled(block: &str) -> Option<Value> {
    let block = format!("NATS/1.0\r\n{}\r\n", block.replace('\n', "\r\n"));
    wanted(Sampling::Headers, 0, block.as_bytes()).map(|headers| headers.unwrap_or_default())
}

#[test]
fn headers_ask_for_it() {
    assert_eq!(sampled(""), None);
    assert_eq!(
        sampled("Uber-Trace-Id: 479f:5adb:479f:1\nUberctx-x: y\n"),
        Some(json!({"Uber-Trace-Id": ["479f:5adb:479f:1"], "Uberctx-x": ["y"]}))
    );
    assert_eq!(sampled("Uber-Trace-Id: 479f:5adb:479f:2\n"), None);
    assert_eq!(sampled("X-B3-Sampled: 0\nX-B3-TraceId: a\n"), None);
    assert_eq!(sampled("X-B3-Sampled: 1\n"), Some(json!({"X-B3-Sampled": ["1"]})));
    assert_eq!(sampled("b3: 0\n"), None);
    assert_eq!(sampled("b3: a-b-1-c\n"), Some(json!({"B3": ["a-b-1-c"]})));
    assert_eq!(sampled("traceparent: 00-a-b-00\n"), None);
    assert_eq!(
        sampled("traceparent: 00-a-b-01\n"),
        Some(json!({"Traceparent": ["00-a-b-01"]}))
    );
}

#[test]
fn so_many_of_a_hundred() {
    assert!(wanted(Sampling::Percent(100), 99, b"").is_some());
    assert!(wanted(Sampling::Percent(10), 10, b"").is_some());
    assert!(wanted(Sampling::Percent(10), 50, b"").is_none());
}
