//! What is denied is not heard, whatever way it comes (S5).

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use crate::{Fixture, asked, start};

/// Does `pattern` match the literal `subject`? Written anew, to be compared with.
fn matches(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(wanted), Some(token)) if wanted == "*" || wanted == token => {}
            _ => return false,
        }
    }
}

#[derive(Debug)]
struct Rules {
    allow: Vec<String>,
    deny: Vec<String>,
}

impl Rules {
    fn any(random: &mut StdRng) -> Self {
        let list = |random: &mut StdRng| (0..random.random_range(0..3)).map(|_| pattern(random)).collect();
        Self {
            allow: list(random),
            deny: list(random),
        }
    }

    fn permit(&self, subject: &str) -> bool {
        let any = |list: &[String]| list.iter().any(|pattern| matches(pattern, subject));
        (self.allow.is_empty() || any(&self.allow)) && !any(&self.deny)
    }

    fn text(&self) -> String {
        let named = [("allow", &self.allow), ("deny", &self.deny)];
        let lists = named.iter().filter(|(_, list)| !list.is_empty());
        let lists: Vec<String> = lists.map(|(name, list)| format!("{name}: {list:?}")).collect();
        format!("{{ {} }}", lists.join(", "))
    }
}

fn subject(random: &mut StdRng) -> String {
    let tokens: Vec<&str> = (0..random.random_range(1..4))
        .map(|_| *["a", "b", "c"].choose(random).unwrap())
        .collect();
    tokens.join(".")
}

fn pattern(random: &mut StdRng) -> String {
    let mut tokens: Vec<&str> = (0..random.random_range(1..4))
        .map(|_| *["a", "b", "c", "*"].choose(random).unwrap())
        .collect();
    if random.random_bool(0.3) {
        tokens.push(">");
    }
    tokens.join(".")
}

/// A server with a user `one` of these rules, and `all` without any.
fn with(publish: &Rules, subscribe: &Rules) -> Fixture {
    start(&format!(
        "authorization {{ users: [ {{user: all, password: p}}, {{user: one, password: p, permissions: {{ publish: {}, subscribe: {} }} }} ] }}",
        publish.text(),
        subscribe.text()
    ))
}

#[test]
fn what_is_published_is_what_the_rules_permit() {
    let mut random = StdRng::seed_from_u64(5);
    for _ in 0..40 {
        let rules = Rules::any(&mut random);
        let open = Rules {
            allow: vec![],
            deny: vec![],
        };
        let fixture = with(&rules, &open);
        let (mut all, mut one) = (fixture.connect("all"), fixture.connect("one"));
        all.exchange("SUB > 1\r\n", "");
        one.exchange("", "");
        for _ in 0..30 {
            let subject = subject(&mut random);
            let permitted = rules.permit(&subject);
            let told = match permitted {
                true => String::new(),
                false => format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n"),
            };
            one.exchange(format!("PUB {subject} 1\r\nx\r\n"), &told);
            let heard = match permitted {
                true => format!("MSG {subject} 1 1\r\nx\r\n"),
                false => String::new(),
            };
            all.exchange("", &heard);
        }
    }
}

/// A subscription, its queue group, a message that is published, republished by a stream, delivered by a consumer, or the answer to
/// a request: `one` hears on a subject what it may, and nothing else. (What it asks JetStream for is given to it, as is any answer.)
#[test]
fn what_is_heard_is_what_the_rules_permit() {
    let mut random = StdRng::seed_from_u64(6);
    let mut heard_any = 0;
    for round in 0..40 {
        let rules = Rules::any(&mut random);
        let open = Rules {
            allow: vec![],
            deny: vec![],
        };
        let fixture = with(&open, &rules);
        let mut all = fixture.client("all");
        let republished = json!({"name": "S", "storage": "memory", "subjects": ["in.>"], "republish": {"src": "in.>", "dest": "a.>"}});
        let made = asked(&mut all, "$JS.API.STREAM.CREATE.S", &republished);
        assert_eq!(made["did_create"], true, "{made}");
        let mut one = fixture.connect("one");
        one.exchange("", "");
        let pattern = pattern(&mut random);
        let group = ["", "q "][round % 2];
        one.send(format!("SUB {pattern} {group}7\r\nPING\r\n"));
        let line = one.line();
        let accepted = line == "PONG";
        if !accepted {
            assert!(
                line.starts_with("-ERR 'Permissions Violation for Subscription"),
                "{line}"
            );
            assert_eq!(one.line(), "PONG");
        }
        if !pattern.contains(['*', '>']) {
            assert_eq!(accepted, rules.permit(&pattern), "{rules:?} {pattern}");
        }
        for way in 0..60 {
            let subject = subject(&mut random);
            match way % 3 {
                0 => all.exchange(format!("PUB {subject} 0\r\n\r\n"), ""),
                1 => {
                    // The answer comes when it is stored and republished.
                    let stored = asked(&mut all, &format!("in.{subject}"), &json!(1));
                    assert!(stored["seq"].is_number(), "{stored}");
                }
                _ => all.exchange(format!("PUB {subject} {subject} 0\r\n\r\n"), ""),
            }
            one.send("PING\r\n");
            loop {
                let line = one.line();
                if line == "PONG" {
                    break;
                }
                let told = line.split(' ').nth(1).unwrap().to_owned();
                if line.starts_with("MSG ") || line.starts_with("HMSG ") {
                    heard_any += 1;
                    assert!(
                        accepted && rules.permit(&told) && matches(&pattern, &told),
                        "{rules:?} {pattern}: {line}"
                    );
                    let length: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
                    one.take(length + 2);
                } else {
                    panic!("{line}");
                }
            }
        }
    }
    assert!(heard_any > 100, "{heard_any}");
}

/// A schedule has a stream store other messages in its place: on which subject, and with what is said by the newest message of which. Both
/// are held against what the client may do, whichever of several values counts.
#[test]
fn a_schedule_does_no_more_than_its_publisher_may() {
    let fixture = start(
        "authorization { users: [ {user: all, password: p}, {user: one, password: p, permissions: {
            publish: {allow: [\"s.>\"], deny: [\"s.secret\"]}, subscribe: {deny: [\"s.secret\"]} }} ] }",
    );
    let mut all = fixture.client("all");
    let config = json!({"name": "S", "subjects": ["s.>"], "allow_msg_schedules": true});
    assert_eq!(asked(&mut all, "$JS.API.STREAM.CREATE.S", &config)["did_create"], true);
    assert_eq!(asked(&mut all, "s.secret", &json!(1))["seq"], 1);
    all.exchange("UNSUB 1\r\n", "");
    let mut one = fixture.client("one");
    let schedule = |headers: &str| {
        let block = format!("NATS/1.0\r\nNats-Schedule: @at 2100-01-01T00:00:00Z\r\n{headers}\r\n\r\n");
        format!("HPUB s.one r {} {}\r\n{block}x\r\n", block.len(), block.len() + 1)
    };
    let refused = |what: &str| format!("-ERR 'Permissions Violation for {what} \"s.secret\"'\r\n");
    for target in [
        "Nats-Schedule-Target: s.secret",
        "Nats-Schedule-Target:s.secret",
        "Nats-Schedule-Target: \r\nNats-Schedule-Target: s.secret",
        "Nats-Schedule-Target: s.two\r\nNats-Schedule-Target: s.secret",
        "Nats-Schedule-Target: s.secret\r\nNats-Schedule-Target: s.two",
    ] {
        one.exchange(schedule(target), &refused("Publish to"));
        // A reader of headers that does not look at the line's end would find it.
        all.exchange("", "");
    }
    for source in [
        "Nats-Schedule-Target: s.two\r\nNats-Schedule-Source: s.secret",
        "Nats-Schedule-Target: s.two\r\nNats-Schedule-Source: \r\nNats-Schedule-Source: s.secret",
    ] {
        one.exchange(schedule(source), &refused("Subscription to"));
    }
    one.send(schedule("Nats-Schedule-Target: s.two\r\nNats-Schedule-Source: s.three"));
    assert!(crate::answer(&mut one).contains("\"seq\":2"));
}

/// What a mapping makes of a subject is what is held against the rules: it leads nobody to where he may not publish, and what stands in the
/// place of what is denied may be published to.
#[test]
fn mappings_lead_nobody_where_he_may_not_publish() {
    let fixture = start(
        "authorization { users: [ {user: all, password: p}, {user: one, password: p, permissions: {
            publish: {allow: [\"in.>\", \"out.>\"], deny: [\"out.secret\", \"in.old\"]} }} ] }
        mappings { \"in.open\": \"out.secret\", \"in.away\": \"elsewhere\", \"in.old\": \"out.new\", \"in.some.*\": \"out.$1\" }",
    );
    let (mut all, mut one) = (fixture.connect("all"), fixture.connect("one"));
    all.exchange("SUB > 1\r\n", "");
    for (said, becomes, permitted) in [
        ("in.open", "out.secret", false),
        ("in.away", "elsewhere", false),
        ("in.some.secret", "out.secret", false),
        ("in.some.thing", "out.thing", true),
        ("in.old", "out.new", true),
        ("out.secret", "out.secret", false),
    ] {
        let told = match permitted {
            true => String::new(),
            false => format!("-ERR 'Permissions Violation for Publish to \"{becomes}\"'\r\n"),
        };
        one.exchange(format!("PUB {said} 1\r\nx\r\n"), &told);
        let heard = if permitted {
            format!("MSG {becomes} 1 1\r\nx\r\n")
        } else {
            String::new()
        };
        all.exchange("", &heard);
    }
}

/// A request to another account is held against the subject that the client names; what another account's service answers is heard as any
/// answer, and as nothing that the client may not hear.
#[test]
fn imports_do_no_more_than_the_client_may() {
    let fixture = start(
        "accounts {
            A { users: [ {user: all, password: p}, {user: one, password: p, permissions: {
                publish: {deny: [\"svc.secret\", \"$JS.ACK.>\"]}, subscribe: {deny: [\"news.secret\", \"r.secret\"]} }} ]
                imports: [{service: {account: B, subject: \"svc.>\"}}, {stream: {account: B, subject: \"news.>\"}}] }
            B { users: [{user: b, password: p}], exports: [{service: \"svc.>\"}, {stream: \"news.>\"}] }
        }",
    );
    let (mut one, mut b) = (fixture.connect("one"), fixture.connect("b"));
    b.exchange("SUB svc.> 1\r\n", "");
    one.exchange("SUB news.> 1\r\nSUB r.> 2\r\nSUB news.* q 3\r\n", "");
    let refused = |what: &str| format!("-ERR 'Permissions Violation for {what}'\r\n");
    one.exchange("PUB svc.secret r.x 0\r\n\r\n", &refused("Publish to \"svc.secret\""));
    one.exchange("SUB news.secret 4\r\n", &refused("Subscription to \"news.secret\""));
    b.exchange("PUB news.secret 1\r\nx\r\nPUB news.open 1\r\nx\r\n", "");
    one.exchange("", "MSG news.open 1 1\r\nx\r\nMSG news.open 3 1\r\nx\r\n");
    // Whatever the request names as the place of its answer.
    for (reply, heard) in [("r.secret", false), ("r.open", true), ("news.secret", false)] {
        one.exchange(format!("PUB svc.open {reply} 1\r\nx\r\n"), "");
        let line = b.line();
        let answer = line.split(' ').nth(3).unwrap().to_owned();
        let length: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
        b.take(length + 2);
        b.exchange(format!("PUB {answer} 1\r\ny\r\n"), "");
        let told = if heard {
            format!("MSG {reply} 2 1\r\ny\r\n")
        } else {
            String::new()
        };
        one.exchange("", &told);
    }
}
