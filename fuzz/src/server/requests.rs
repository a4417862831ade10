//! Requests of the JetStream API, and messages between them.

use super::harness::Harness;

/// Requests at most.
const REQUESTS_MAX: usize = 8;

/// Calls that are answered, whatever is asked, and the names that stand behind them.
const CALLS: [(&str, usize); 18] = [
    ("INFO", 0),
    ("STREAM.NAMES", 0),
    ("STREAM.LIST", 0),
    ("STREAM.CREATE", 1),
    ("STREAM.UPDATE", 1),
    ("STREAM.DELETE", 1),
    ("STREAM.INFO", 1),
    ("STREAM.PURGE", 1),
    ("STREAM.MSG.GET", 1),
    ("STREAM.MSG.DELETE", 1),
    ("CONSUMER.CREATE", 2),
    ("CONSUMER.DURABLE.CREATE", 2),
    ("CONSUMER.INFO", 2),
    ("CONSUMER.NAMES", 1),
    ("CONSUMER.LIST", 1),
    ("CONSUMER.DELETE", 2),
    ("CONSUMER.PAUSE", 2),
    ("CONSUMER.UNPIN", 2),
];

/// Whatever is asked, each call is answered with a document, and all streams can be deleted after it.
///
/// Subjects and payloads in turn, a zero byte behind each. A subject is a call of the API without `$JS.API.`; behind an `=`
/// it is any subject, and what it is answered is no matter.
pub fn requests(harness: &mut Harness, data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0);
    for _ in 0..REQUESTS_MAX {
        let Some(subject) = parts.next() else { break };
        let payload = parts.next().unwrap_or_default();
        if subject.is_empty() || subject.len() > 300 || !subject.iter().all(u8::is_ascii_graphic) {
            continue;
        }
        let text = String::from_utf8_lossy(subject);
        if let Some(any) = text.strip_prefix('=') {
            harness.publish(any.as_bytes(), "_FUZZ.any", payload);
            harness.settle();
        } else if is_answered(&text) {
            harness.ask_api(&text, payload);
        } else {
            harness.publish(format!("$JS.API.{text}").as_bytes(), "_FUZZ.any", payload);
            harness.settle();
        }
    }
    harness.clean();
}

fn is_answered(call: &str) -> bool {
    if call.split('.').any(str::is_empty) {
        return false;
    }
    CALLS.iter().any(|(known, names)| match call.strip_prefix(known) {
        Some("") => *names == 0,
        Some(rest) => rest.starts_with('.') && *names == rest.matches('.').count(),
        None => false,
    })
}
