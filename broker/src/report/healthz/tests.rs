use super::*;

/// Each probe wrote a line.
#[test]
fn the_log_is_told_once() {
    let told = ToldHealth::default();
    let news = |trouble| told.tell(trouble);
    assert!(!news(None));
    assert!(news(Some("offline")) && !news(Some("offline")));
    assert!(news(Some("offline, and more")));
    assert!(news(None) && !news(None));
}
