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
        let republished = json!({"name": "S", "subjects": ["in.>"], "republish": {"src": "in.>", "dest": "a.>"}});
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
