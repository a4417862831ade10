use super::access::decoded;
use super::*;

#[test]
fn parts_of_urls_are_decoded() {
    for (part, text) in [
        ("al", "al"),
        ("p%40ss", "p@ss"),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("%C3%A4", "ä"),
    ] {
        assert_eq!(decoded(part), text);
    }
}

#[test]
fn a_url_is_no_store() {
    assert_eq!(
        url_of(Path::new("nats://localhost")).as_deref(),
        Some("nats://localhost")
    );
    assert!(url_of(Path::new("tls://a:4222")).is_some());
    assert_eq!(url_of(Path::new("/var/lib/weir")), None);
    assert_eq!(url_of(Path::new("nats")), None);
}

#[test]
fn what_may_not_be_asked_keeps_no_other_answer_away() {
    let forbidden = |said: &str| Hindered::Forbidden(said.to_owned());
    let publish = forbidden("Permissions Violation for Publish to \"$JS.API.STREAM.INFO.A\"");
    assert!(publish.concerns("STREAM.INFO.A"));
    assert!(!publish.concerns("STREAM.INFO") && !publish.concerns("STREAM.INFO.AB") && !publish.concerns("INFO"));
    assert!(forbidden("Permissions Violation for Subscription to \"_INBOX.x.*\"").concerns("INFO"));
    assert!(forbidden("Permissions Violation for Publish to \"$JS.SNAPSHOT.ACK.A\"").concerns("STREAM.SNAPSHOT.A"));
    assert!(Hindered::Broken.concerns("INFO") && !Hindered::No.concerns("INFO"));
}

#[test]
fn of_subjects_that_another_stream_has_it_says_so() {
    let answer = |text: &str| serde_json::json!({"error": {"code": 400, "err_code": 10062, "description": text}});
    let told = |text: &str| refused("the backup", &answer(text)).map(|error| error.with_remedy());
    let overlap = told("subjects overlap with an existing stream").unwrap_or_default();
    assert!(
        overlap.contains("cannot have the same subjects") && !overlap.contains("JetStream for this user"),
        "{overlap}"
    );
    let other = told("restore failed").unwrap_or_default();
    assert!(other.contains("JetStream for this user"), "{other}");
}
