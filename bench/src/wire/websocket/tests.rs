use super::*;

#[test]
fn only_the_right_answer_makes_a_websocket() {
    let head = |status: &str, key: &str| {
        format!("HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n")
    };
    accept(head("101 Switching Protocols", ACCEPT).as_bytes()).unwrap();
    for (status, key) in [
        ("101 Switching Protocols", KEY),
        ("200 OK", ACCEPT),
        ("403 Forbidden", ""),
    ] {
        let error = accept(head(status, key).as_bytes()).unwrap_err();
        assert!(error.to_string().contains(status), "{error}");
    }
}
