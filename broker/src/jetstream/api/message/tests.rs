use super::*;

fn get(json: &str) -> Get {
    decode(json.as_bytes(), &schema::MSG_GET, true).unwrap()
}

#[test]
fn tells_requests_that_make_no_sense() {
    assert!(get("{\"batch\":3}").is_vague() && get("{\"multi_last\":[\"x\"]}").is_vague());
    for json in [
        "{\"seq\":1,\"last_by_subj\":\"a\"}",
        "{\"seq\":1,\"start_time\":\"2020-01-01T00:00:00Z\"}",
        "{\"last_by_subj\":\"a\",\"start_time\":\"2020-01-01T00:00:00Z\"}",
        "{\"last_by_subj\":\"a\",\"next_by_subj\":\"a\"}",
    ] {
        assert!(get(json).contradicts_itself(), "{json}");
    }
    let fine = get("{\"next_by_subj\":\"a\",\"seq\":3}");
    assert!(!fine.contradicts_itself() && !fine.is_vague());
    assert_eq!(
        get("{\"start_time\":\"1970-01-01T00:00:01Z\"}").start(),
        Some(1_000_000_000)
    );
    assert_eq!(
        get("{\"start_time\":\"0001-01-01T00:00:00Z\"}").start(),
        Some(NanoTime::MIN)
    );
}
