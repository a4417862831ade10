use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::limits::{REPLIES_MAX, REPLIES_PRUNE};

fn subjects(allow: &[&str], deny: &[&str]) -> Subjects {
    Subjects {
        allow: (!allow.is_empty()).then(|| allow.iter().map(ToString::to_string).collect()),
        deny: deny.iter().map(ToString::to_string).collect(),
    }
}

fn subscriber(allow: &[&str], deny: &[&str]) -> Rules {
    Rules::new(&Permissions {
        subscribe: subjects(allow, deny),
        ..Permissions::default()
    })
}

fn may(rules: &Rules, filter: &str, queue: &str) -> bool {
    let queue = (!queue.is_empty()).then_some(queue.as_bytes());
    rules.may_subscribe(filter.as_bytes(), queue)
}

#[test]
fn what_is_published() {
    let rules = Rules::new(&Permissions {
        publish: subjects(&["a.*", "b.>"], &["b.c", "*.x"]),
        ..Permissions::default()
    });
    let permitted = |subject: &str| rules.may_publish(subject.as_bytes()).0;
    for subject in ["a.b", "b.d", "b.c.d", "b.x.y"] {
        assert!(permitted(subject), "{subject}");
    }
    for subject in ["a", "a.b.c", "b", "b.c", "a.x", "b.x", "c", "a..b", ""] {
        assert!(!permitted(subject), "{subject}");
    }
}

#[test]
fn what_is_subscribed_to() {
    let rules = subscriber(&["a.*", "b.>"], &["b.c"]);
    for filter in ["a.b", "a.*", "b.*", "b.>", "b.d"] {
        assert!(may(&rules, filter, "") && may(&rules, filter, "q"), "{filter}");
    }
    for filter in ["a.>", ">", "*.*", "b.c", "c", "a"] {
        assert!(!may(&rules, filter, "") && !may(&rules, filter, "q"), "{filter}");
    }
}

#[test]
fn queues_of_subscriptions() {
    let only = subscriber(&["a v1", "a v2.*"], &[]);
    assert!(!may(&only, "a", "") && may(&only, "a", "v1") && may(&only, "a", "v2.x") && !may(&only, "a", "v3"));
    let both = subscriber(&["a", "a v1"], &[]);
    assert!(may(&both, "a", "") && may(&both, "a", "v1") && !may(&both, "a", "v2"));
    let denied = subscriber(&[], &["a v1", "b.* *"]);
    assert!(may(&denied, "a", "") && !may(&denied, "a", "v1") && may(&denied, "a", "v2"));
    assert!(may(&denied, "b.c", "") && !may(&denied, "b.c", "any"));
}

#[test]
fn what_a_wildcard_must_not_hear() {
    let rules = subscriber(&[], &["a.secret", "b.> q"]);
    assert!(rules.must_watch(b"a.*", None) && rules.must_watch(b">", None) && !rules.must_watch(b"c.*", None));
    assert!(!rules.must_watch(b"a.b", None) && rules.must_watch(b"b.x", Some(b"r")));
    assert_eq!(rules.denies(b"a.secret", None), (true, 2));
    assert!(!rules.denies(b"a.other", None).0);
    assert!(rules.denies(b"b.x", Some(b"q")).0 && !rules.denies(b"b.x", Some(b"r")).0 && !rules.denies(b"b.x", None).0);
}

fn answering(max: Option<u64>, expires: Option<Duration>) -> Arc<Rules> {
    Arc::new(Rules::new(&Permissions {
        publish: subjects(&["free"], &[]),
        responses: Some(Responses { max, expires }),
        ..Permissions::default()
    }))
}

#[test]
fn answers_are_counted_and_have_their_time() {
    let second = Duration::from_secs(1);
    let mut replies = Replies::new(&answering(Some(2), Some(second))).unwrap();
    let start = Instant::now();
    replies.asked(b"r", start);
    assert!(!replies.answer(b"other", start));
    assert!(replies.answer(b"r", start) && replies.answer(b"r", start) && !replies.answer(b"r", start));
    replies.asked(b"r", start);
    assert!(replies.answer(b"r", start + second) && !replies.answer(b"r", start + 2 * second));
    replies.asked(b"free", start);
    assert_eq!(replies.len(), 0, "what may be published is not noted");
}

#[test]
fn requests_that_nobody_answers_are_forgotten() {
    let start = Instant::now();
    let mut brief = Replies::new(&answering(Some(1), Some(Duration::from_millis(1)))).unwrap();
    let mut endless = Replies::new(&answering(None, None)).unwrap();
    for number in 0..(2 * REPLIES_MAX) as u64 {
        let reply = format!("r.{number}");
        let now = start + Duration::from_millis(number);
        brief.asked(reply.as_bytes(), now);
        endless.asked(reply.as_bytes(), now);
        assert!(brief.len() <= REPLIES_PRUNE + 1 && endless.len() <= REPLIES_MAX + REPLIES_PRUNE);
    }
    let last = format!("r.{}", 2 * REPLIES_MAX - 1);
    assert!(endless.answer(last.as_bytes(), start));
}
