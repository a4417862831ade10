use super::*;
use crate::tenancy::{Latency, ResponseType, Sampling};

fn stream(subject: &str, access: Access) -> StreamExport {
    StreamExport {
        subject: subject.to_owned(),
        access,
    }
}

fn service(subject: &str, access: Access) -> ServiceExport {
    ServiceExport {
        subject: subject.to_owned(),
        access,
        ..ServiceExport::default()
    }
}

fn hears(account: &str, subject: &str, prefix: &str, to: &str) -> StreamImport {
    StreamImport {
        account: account.to_owned(),
        subject: subject.to_owned(),
        prefix: prefix.to_owned(),
        to: to.to_owned(),
        ..StreamImport::default()
    }
}

fn asks(account: &str, subject: &str, to: &str) -> ServiceImport {
    ServiceImport {
        account: account.to_owned(),
        subject: subject.to_owned(),
        to: to.to_owned(),
        ..ServiceImport::default()
    }
}

fn exporter() -> Tenancy {
    let to = |names: &[&str]| Access::Accounts(names.iter().map(|name| (*name).to_owned()).collect());
    Tenancy {
        stream_exports: vec![
            stream("open.>", Access::Public),
            stream("shut.>", to(&["B"])),
            stream("of.*.x", Access::Token(2)),
        ],
        service_exports: vec![service("ask.*.*", Access::Public), service("no", to(&["C"]))],
        ..Tenancy::default()
    }
}

fn found(importer: Tenancy) -> Found {
    let (a, c) = (exporter(), Tenancy::default());
    Found::of([("A", &a), ("B", &importer), ("C", &c)])
}

fn streams(imports: Vec<StreamImport>) -> Found {
    found(Tenancy {
        stream_imports: imports,
        ..Tenancy::default()
    })
}

fn services(imports: Vec<ServiceImport>) -> Found {
    found(Tenancy {
        service_imports: imports,
        ..Tenancy::default()
    })
}

#[track_caller]
fn why(found: &Found) -> &str {
    assert_eq!(found.faults.len(), 1, "{:?}", found.faults);
    &found.faults[0].why
}

#[test]
fn what_is_not_for_an_account_it_does_not_get() {
    for (subject, gets) in [
        ("open.>", true),
        ("open.a", true),
        ("shut.a", true),
        ("of.B.x", true),
        ("of.C.x", false),
        ("of.*.x", false),
        ("else", false),
        (">", false),
    ] {
        let found = streams(vec![hears("A", subject, "", "")]);
        assert_eq!(found.faults.is_empty(), gets, "{subject}");
    }
    let denied = services(vec![asks("A", "no", "")]);
    assert_eq!(
        why(&denied),
        "Error adding service import \"no\": service import not authorized"
    );
    let nobody = services(vec![asks("X", "no", "")]);
    assert_eq!(why(&nobody), "\"X\" account not defined for service import");
}

#[test]
fn a_subscription_hears_what_an_import_brings_of_it() {
    let found = streams(vec![
        hears("A", "open.>", "far", ""),
        hears("A", "open.*.b.*", "", "near.$2.$1"),
        hears("A", "open.one", "", "one"),
    ]);
    assert_eq!(found.faults, []);
    let heard = |nth: usize, filter: &str| {
        let heard = found.plans["B"].streams[nth].heard_by(filter.as_bytes());
        heard.map(|filter| String::from_utf8(filter).unwrap())
    };
    assert_eq!(heard(0, "far.open.x").as_deref(), Some("open.x"));
    assert_eq!(heard(0, "far.>").as_deref(), Some("open.>"));
    assert_eq!(heard(0, ">").as_deref(), Some("open.>"));
    assert_eq!(heard(0, "*.open.*").as_deref(), Some("open.*"));
    assert_eq!(heard(0, "open.x"), None);
    assert_eq!(heard(1, "near.x.*").as_deref(), Some("open.*.b.x"));
    assert_eq!(heard(1, "near.x.y").as_deref(), Some("open.y.b.x"));
    assert_eq!(heard(1, "near.>").as_deref(), Some("open.*.b.*"));
    assert_eq!(heard(2, "*").as_deref(), Some("open.one"));
    let streams = &found.plans["B"].streams;
    assert_eq!(streams[1].renaming.apply(b"open.y.b.x").unwrap(), b"near.x.y");
    assert_eq!(streams[0].renaming.apply(b"open.y").unwrap(), b"far.open.y");
}

#[test]
fn requests_go_where_the_export_is() {
    let found = services(vec![asks("A", "ask.*.one", "mine.$1"), asks("A", "ask.a.b", "two")]);
    assert_eq!(found.faults, []);
    let services = &found.plans["B"].services;
    assert_eq!(
        (services[0].from.as_str(), services[0].to.as_str()),
        ("mine.*", "ask.*.one")
    );
    assert_eq!(services[0].renaming.apply(b"mine.x").unwrap(), b"ask.x.one");
    // An ordinary token to who publishes it.
    assert_eq!(services[0].renaming.apply(b"mine.*").unwrap(), b"ask.*.one");
    assert_eq!(services[1].renaming.apply(b"two").unwrap(), b"ask.a.b");
}

#[test]
fn what_leads_back_is_refused() {
    let share = |exports: &str, from: &str| Tenancy {
        service_exports: vec![service(exports, Access::Public)],
        stream_exports: vec![stream(exports, Access::Public)],
        service_imports: vec![asks(from, "x", "")],
        ..Tenancy::default()
    };
    let (a, b, c) = (share("x", "B"), share("x", "C"), share("x", "A"));
    let found = Found::of([("A", &a), ("B", &b), ("C", &c)]);
    assert_eq!(why(&found), "Error adding service import \"x\": import forms a cycle");
    let heard = |from: &str| Tenancy {
        stream_exports: vec![stream("x", Access::Public)],
        stream_imports: vec![hears(from, "x", "", "")],
        ..Tenancy::default()
    };
    let (a, b, c) = (heard("B"), heard("C"), heard("A"));
    let found = Found::of([("A", &a), ("B", &b), ("C", &c)]);
    assert_eq!(why(&found), "Error adding stream import \"x\": import forms a cycle");
}

#[test]
fn renamings_must_be_undone() {
    for (to, error) in [
        ("near", "invalid subject"),
        ("near.>.x", "invalid subject"),
        ("near.{{partition(3)}}.>", "the only mapping function allowed"),
    ] {
        let found = streams(vec![hears("A", "open.>", "", to)]);
        assert!(why(&found).contains(error), "{to}: {:?}", found.faults);
    }
    let found = streams(vec![hears("A", "open.*.*", "", "near.$1")]);
    assert_eq!(
        why(&found),
        "Error adding stream import \"open.*.*\": failed to create mapping transform for stream import subject from \
         \"open.*.*\" to \"near.$1\": invalid mapping destination: not using all of the token wildcard(s) in near.$1"
    );
    let found = streams(vec![hears("A", "open.a", "x.*", "")]);
    assert!(why(&found).ends_with("stream import prefix can not contain wildcard tokens"));
    let found = streams(vec![hears("A", "open.a", "x", ""), hears("A", "open.a", "y", "")]);
    assert!(why(&found).ends_with("stream import already exists"));
}

#[test]
fn measuring_does_not_measure_itself() {
    let measured = |results: &str, response: ResponseType| {
        let tenancy = Tenancy {
            service_exports: vec![ServiceExport {
                latency: Some(Latency {
                    sampling: Sampling::Percent(100),
                    subject: results.to_owned(),
                }),
                response,
                ..service("ask.>", Access::Public)
            }],
            ..Tenancy::default()
        };
        Found::of([("A", &tenancy)]).faults
    };
    assert_eq!(measured("results", ResponseType::Singleton), []);
    assert!(
        measured("ask.x", ResponseType::Singleton)[0]
            .why
            .ends_with("invalid publish subject")
    );
    assert!(
        measured("results.*", ResponseType::Singleton)[0]
            .why
            .ends_with("invalid publish subject")
    );
    assert!(
        measured("results", ResponseType::Stream)[0]
            .why
            .ends_with("bad service response type")
    );
}

/// The plain model: who subscribes to a filter hears what the filter matches once it is renamed.
mod model {
    use proptest::prelude::*;
    use weir_subject::matches;

    use super::*;

    fn token(of: &'static [&'static str]) -> impl Strategy<Value = String> {
        proptest::sample::select(of).prop_map(str::to_owned)
    }

    fn filter(of: &'static [&'static str], max: usize) -> impl Strategy<Value = String> {
        (proptest::collection::vec(token(of), 1..=max), any::<bool>()).prop_map(|(mut tokens, open)| {
            if open {
                tokens.push(">".to_owned());
            }
            tokens.join(".")
        })
    }

    /// An import of `from`: with a prefix, with its wildcards in another order, or as it is.
    fn import(from: &str, way: usize, turn: usize) -> StreamImport {
        let count = from.split('.').filter(|token| *token == "*").count();
        let mut to = String::new();
        if way == 2 {
            let mut tokens = vec!["n".to_owned()];
            tokens.extend((0..count).map(|at| format!("${}", (at + turn) % count + 1)));
            if from.ends_with('>') {
                tokens.push(">".to_owned());
            }
            to = tokens.join(".");
        }
        hears("A", from, if way == 1 { "n" } else { "" }, &to)
    }

    proptest! {
        #[test]
        fn imports_are_heard_as_they_are_renamed(
            from in filter(&["a", "b", "*", "*"], 4),
            (way, turn) in (0usize..3, 0usize..3),
            listens in filter(&["n", "a", "b", "*"], 5),
            fill in proptest::collection::vec(token(&["a", "b", "n"]), 8),
            more in 1usize..3,
        ) {
            let exporter = Tenancy {
                stream_exports: vec![stream(">", Access::Public)],
                ..Tenancy::default()
            };
            let importer = Tenancy {
                stream_imports: vec![import(&from, way, turn)],
                ..Tenancy::default()
            };
            let found = Found::of([("A", &exporter), ("B", &importer)]);
            prop_assert!(found.faults.is_empty(), "{:?}", found.faults);
            let bond = &found.plans["B"].streams[0];
            let mut fill = fill.into_iter();
            let mut subject: Vec<String> = Vec::new();
            for token in from.split('.') {
                let count = match token {
                    ">" => more,
                    "*" => 1,
                    other => {
                        subject.push(other.to_owned());
                        0
                    }
                };
                subject.extend(fill.by_ref().take(count));
            }
            let subject = subject.join(".");
            let renamed = bond.renaming.apply(subject.as_bytes()).unwrap();
            prop_assert!(matches(bond.to.as_bytes(), &renamed));
            let heard = bond.heard_by(listens.as_bytes());
            let hears = heard.as_ref().is_some_and(|filter| matches(filter, subject.as_bytes()));
            prop_assert_eq!(
                hears,
                matches(listens.as_bytes(), &renamed),
                "{} as {} by {} at {:?}: {}", from, bond.to, listens, heard, subject
            );
        }
    }
}
