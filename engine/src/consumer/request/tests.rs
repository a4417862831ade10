use super::*;

#[test]
fn reads_every_form() {
    assert_eq!(PullRequest::parse(b"").unwrap().batch, 1);
    assert_eq!(PullRequest::parse(b"25").unwrap().batch, 25);
    assert_eq!(PullRequest::parse(b"-3").unwrap().batch, 0);
    assert_eq!(PullRequest::parse(b"what").unwrap().batch, 1);
    let request = PullRequest::parse(br#"{"batch":3,"expires":1000,"no_wait":true,"other":1}"#).unwrap();
    assert_eq!((request.batch, request.expires, request.no_wait), (3, 1000, true));
    assert!(request.formal && request.group.is_none());
    let nulls = PullRequest::parse(br#"{"batch":null,"group":null,"no_wait":null}"#).unwrap();
    assert_eq!(nulls, PullRequest::parse(b"{}").unwrap());
    let grouped = PullRequest::parse(br#"{"batch":1,"group":"A","id":"pin","priority":3}"#).unwrap();
    let group = grouped.group.unwrap();
    assert_eq!((&*group.group, &*group.id, group.priority), ("A", "pin", 3));
    assert!(PullRequest::parse(b"{").is_err());
    assert_eq!(
        PullRequest::parse(br#"{"idle_heartbeat":10,"expires":15}"#),
        Err("heartbeat value too large".to_owned())
    );
}
