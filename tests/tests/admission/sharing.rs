//! What accounts share and map, and what is said to a server that has them. See [`Case`].
//!
//! In an operation `@` is the subject that the last message wants its answer on.

use super::cases::Case;

/// What `-t` refuses, with the same words behind the place.
pub const REFUSED: &[&str] = &[
    "accounts { A { exports: [{stream: a}] }, B { imports: [{stream: {account: A, subject: b}}] } }",
    "accounts { A { exports: [{stream: a, accounts: [C]}] }, B { imports: [{stream: {account: A, subject: a}}] }, C {} }",
    "accounts { A { exports: [{stream: a, accounts: [X]}] } }",
    "accounts { A { exports: [{service: a, accounts: [X]}] } }",
    "accounts { A { exports: [{service: a}] }, B { imports: [{service: {account: A, subject: b}}] } }",
    "accounts { A { exports: [{service: a}] }, B { imports: [{service: {account: X, subject: a}}] } }",
    "accounts { A { exports: [{stream: a}] }, B { imports: [{stream: {account: X, subject: a}}] } }",
    "accounts { A { exports: [{stream: \"a.*\", account_token_position: 1}] } }",
    "accounts { A { exports: [{service: \"a.*\", account_token_position: 3}] } }",
    "accounts { A { exports: [{stream: \"a.*\", account_token_position: 2}] }, B { imports: [{stream: {account: A, subject: a.C}}] } }",
    "accounts { A { exports: [{stream: \"a.>\"}] }, B { imports: [{stream: {account: A, subject: \"a.>\"}, prefix: \"x.*\"}] } }",
    "accounts { A { exports: [{stream: \"a.*.*\"}] }, B { imports: [{stream: {account: A, subject: \"a.*.*\"}, to: \"x.$1\"}] } }",
    "accounts { A { exports: [{stream: \"a.*\"}] }, B { imports: [{stream: {account: A, subject: \"a.*\"}, to: \"x.{{left(1,2)}}\"}] } }",
    "accounts { A { exports: [{stream: a}] }, B { imports: [{stream: {account: A, subject: a}}, {stream: {account: A, subject: a}}] } }",
    "accounts { A { exports: [{service: a}] }, B { imports: [{service: {account: A, subject: a}}, {service: {account: A, subject: a}}] } }",
    "accounts { A { exports: [{service: a}], imports: [{service: {account: B, subject: a}}] }, B { exports: [{service: a}], imports: [{service: {account: A, subject: a}}] } }",
    "accounts { A { exports: [{stream: a}], imports: [{stream: {account: B, subject: a}}] }, B { exports: [{stream: a}], imports: [{stream: {account: A, subject: a}}] } }",
    "accounts { A { exports: [{service: a, latency: {sampling: 0, subject: x}}] } }",
    "accounts { A { exports: [{service: a, latency: {sampling: 50%}}] } }",
    "accounts { A { exports: [{service: a, latency: \"a.*\"}] } }",
    "accounts { A { exports: [{service: a, latency: a}] } }",
    "accounts { A { exports: [{service: a, response: stream, latency: x}] } }",
    "accounts { A { exports: [{service: a, response: many}] } }",
    "accounts { A { exports: [{service: a, threshold: soon}] } }",
    "accounts { A { exports: [{stream: a, response: stream}] } }",
    "accounts { A { exports: [{stream: a, latency: x}] } }",
    "accounts { A { exports: [{stream: a, allow_trace: true}] } }",
    "accounts { A { exports: a } }",
    "accounts { A { imports: a } }",
    "accounts { A { exports: [a] } }",
    "accounts { A { imports: [a] } }",
    "accounts { A { imports: [{stream: a}] } }",
    "accounts { A { imports: [{service: a}] } }",
    "accounts { A { imports: [{service: {account: A}}] } }",
    "accounts { A { exports: [{service: a}] }, B { imports: [{service: {account: A, subject: a}, allow_trace: true}] } }",
    "mappings { \"a..b\": c }",
    "mappings { a: \"b.$1\" }",
    "mappings { \"a.*\": \"b.$2\" }",
    "mappings { \"a.*\": \"b.{{nothing(1)}}\" }",
    "mappings { a: [{destination: b, weight: 60}, {destination: c, weight: 60}] }",
    "mappings { a: [{destination: b, weight: 10}, {destination: b, weight: 10}] }",
    "mappings { a: [{destination: b}] }",
    "mappings { a: [{destination: b, weight: 101}] }",
    "mappings { a: [{destination: b, weight: x}] }",
    "mappings { a: [{destination: b, weight: 10, clustr: x}] }",
    "accounts { A { mappings: { \"a.*\": \"b.$2\" } } }",
    "accounts { A { nkey: UBHZKSHGAYXQN4HBLNRIAOAJMQMJWV664V4M4I36W2F4X4B64ZSFTJCU } }",
    "accounts { A { nkey: x } }",
];

const AB: &str = r#"accounts {
    A { users: [{user: a}], exports: [
        {stream: open}
        {stream: "open.>"}
        {stream: "shut.>", accounts: [B]}
        {stream: "of.*.>", account_token_position: 2}
        {service: ask}
        {service: "ask.*.*"}
        {service: many, response: stream}
        {service: parts, response_type: chunked, threshold: "10s"}
        {service: only, accounts: [B]} ] }
    B { users: [{user: b}, {user: d, permissions: {publish: {deny: ask}, subscribe: {deny: ["far.open.x", "open.two"]}}}], imports: [
        {stream: {account: A, subject: "open.>"}, prefix: far}
        {stream: {account: A, subject: "open.*.b.*"}, to: "near.$2.$1"}
        {stream: {account: A, subject: open}}
        {stream: {account: A, subject: "shut.>"}}
        {stream: {account: A, subject: "of.B.x"}, to: mine}
        {service: {account: A, subject: ask}}
        {service: {account: A, subject: "ask.*.one"}, to: "mine.$1"}
        {service: {account: A, subject: "ask.two.two"}, to: two}
        {service: {account: A, subject: many}}
        {service: {account: A, subject: parts}}
        {service: {account: A, subject: only}, share: true} ] }
    C { users: [{user: c}], exports: [{service: chain}] }
}"#;

pub const CASES: &[Case] = &[
    Case {
        name: "subjects are mapped",
        configuration: r#"mappings {
            a: b
            "c.*.*": "d.$2.{{wildcard(1)}}"
            "p.*": "p.{{partition(10,1)}}.$1"
            "s.*": "s.{{SplitFromLeft(1,3)}}.{{SplitFromRight(1,2)}}.{{SliceFromLeft(1,2)}}.{{SliceFromRight(1,2)}}"
            "t.*": "t.{{split(1,-)}}.{{left(1,2)}}.{{right(1,2)}}"
            "rest.>": "all.>"
        }"#,
        script: r#"
            A {}
            A> SUB > 1
            B {}
            B> PUB a|x
            B> PUB b|x
            B> PUB c.1.2|x
            B> PUB c.1|x
            B> PUB p.foo|x
            B> PUB p.bar|x
            B> PUB s.12345|x
            B> PUB t.ab-cd-ef|x
            B> PUB rest.of.it reply|x
            B> PUB unmapped|x
        "#,
    },
    Case {
        name: "mappings have weights and clusters",
        configuration: r#"cluster { name: east, port: -1 }
        mappings {
            a: [{destination: b, weight: 100}]
            c: {destination: d, weight: "100%"}
            e: [{destination: f, weight: 100, cluster: east}, {destination: g, weight: 100}]
            h: [{destination: i, weight: 100, cluster: west}, {destination: j, weight: 100}]
            k: [{destination: l, weight: 100, cluster: west}]
            m: [{destination: m, weight: 0}]
        }"#,
        script: r#"
            A {}
            A> SUB > 1
            B {}
            B> SUB r 1
            B> PUB a|x
            B> PUB c|x
            B> PUB e|x
            B> PUB h|x
            B> PUB k|x
            B> PUB m|x
        "#,
    },
    Case {
        name: "what is not mapped by weight keeps its subject",
        configuration: r#"mappings { a: [{destination: b, weight: 0}], "c.*": [{destination: d, weight: 0}] }"#,
        script: "
            A {}
            A> SUB > 1
            A> PUB a|x
            A> PUB c.1|x
        ",
    },
    Case {
        name: "what is lost has nobody who answers",
        configuration: "mappings { a: [{destination: a, weight: 0}] }",
        script: "
            A {}
            A> SUB a 1
            A> SUB r 2
            A> PUB a r|x
        ",
    },
    Case {
        name: "each account maps for itself",
        configuration: r#"mappings { x: y }
        accounts { A { users: [{user: a}], mappings: { a: b, "n.*": "m.$1" } }, B { users: [{user: b}], maps: { a: c } } }"#,
        script: r#"
            A {"user": "a"}
            A> SUB > 1
            B {"user": "b"}
            B> SUB > 1
            A> PUB a|x
            B> PUB a|x
            A> PUB n.1|x
            B> PUB n.1|x
            A> PUB x|x
        "#,
    },
    Case {
        name: "permissions are of what it is mapped to",
        configuration: r#"mappings { a: b, c: d }
        authorization { users: [{user: u, permissions: {publish: [a, d]}}] }"#,
        script: r#"
            A {"user": "u"}
            A> SUB > 1
            A> PUB a|x
            A> PUB c|x
            A> PUB d|x
        "#,
    },
    Case {
        name: "nobody answers what it is mapped to",
        configuration: r#"mappings { "a.*": "b.$1" }"#,
        script: "
            A {}
            A> SUB r 1
            A> PUB a.1 r|x
            B {}
            B> SUB b.* 1
            A> PUB a.1 r|x
        ",
    },
    Case {
        name: "streams of another account",
        configuration: AB,
        script: r#"
            A {"user": "a"}
            B {"user": "b"}
            B> SUB far.open.x 1
            B> SUB far.> 2
            B> SUB near.*.* 3
            B> SUB near.y.x 4
            B> SUB open 5
            B> SUB shut.a 6
            B> SUB mine 7
            B> SUB open.> 8
            C {"user": "c"}
            C> SUB > 1
            A> PUB open.x|1
            A> PUB open.x.b.y|2
            A> PUB open|3
            A> PUB shut.a|4
            A> PUB shut.b|5
            A> PUB of.B.x|6
            A> PUB of.C.x|7
            A> PUB else|8
            B> PUB far.open.x|9
            A> SUB > 9
            B> PUB open.x|10
        "#,
    },
    Case {
        name: "subscriptions hear a part of what is imported",
        configuration: AB,
        script: r#"
            A {"user": "a"}
            B {"user": "b"}
            B> SUB *.open.* 1
            B> SUB far.*.*.b 2
            B> SUB *.*.x.> 3
            B> SUB near.> 4
            B> SUB *.y.x 5
            A> PUB open.a|1
            A> PUB open.a.b|2
            A> PUB open.x.b|3
            A> PUB open.x.b.y|4
            A> PUB open.x.b.z|5
        "#,
    },
    Case {
        name: "everything heard once for each way",
        configuration: AB,
        script: r#"
            A {"user": "a"}
            B {"user": "b"}
            B> SUB > 1
            A> PUB open.x|1
            A> PUB open.x.b.y|2
            A> PUB open|3
            A> PUB shut.x|4
        "#,
    },
    Case {
        name: "an import ends with the subscription",
        configuration: AB,
        script: r#"
            A {"user": "a"}
            B {"user": "b"}
            B> SUB far.open.* 1
            B> SUB far.open.* 2
            B> UNSUB 2 1
            A> PUB open.x|1
            A> PUB open.x|2
            B> UNSUB 1
            A> PUB open.x|3
            B> SUB far.> 3
            A> PUB open.y|4
            B {"user": "b"}
            A> PUB open.y|5
        "#,
    },
    Case {
        name: "what is denied of an import is not heard",
        configuration: AB,
        script: r#"
            A {"user": "a"}
            D {"user": "d"}
            D> SUB far.open.x 1
            D> SUB far.> 2
            D> SUB near.> 3
            A> PUB open.x|1
            A> PUB open.y|2
            D> PUB ask reply|3
        "#,
    },
    Case {
        name: "a stream's message keeps its reply",
        configuration: AB,
        script: r#"
            A {"user": "a"}
            A> SUB answer 1
            B {"user": "b"}
            B> SUB far.open.x 1
            A> PUB open.x answer|1
            B> PUB answer|2
            A> PUB open.nobody answer|3
            A> PUB open.x answer|4
        "#,
    },
    Case {
        name: "queue groups of two accounts are one",
        configuration: "accounts { A { users: [{user: a}], exports: [{stream: s}] }
            B { users: [{user: b}], imports: [{stream: {account: A, subject: s}, to: t}] } }",
        script: r#"
            A {"user": "a"}
            B {"user": "b"}
            B> SUB t q 1
            A> PUB s|1
            A> PUB s|2
            B> SUB t p 2
            A> PUB s|3
            B> SUB t 3
            A> PUB s|4
        "#,
    },
    Case {
        name: "a client does not hear itself",
        configuration: "accounts { A { users: [{user: a}], exports: [{stream: s}], imports: [{stream: {account: A, subject: s}, to: t}] } }",
        script: r#"
            A {"user": "a", "echo": false}
            B {"user": "a"}
            A> SUB t 1
            A> SUB s 2
            B> SUB t 1
            A> PUB s|1
            B> PUB s|2
        "#,
    },
    Case {
        name: "streams are not handed on",
        configuration: "accounts { A { users: [{user: a}], exports: [{stream: s}] }
            B { users: [{user: b}], exports: [{stream: s}], imports: [{stream: {account: A, subject: s}}] }
            C { users: [{user: c}], imports: [{stream: {account: B, subject: s}}] } }",
        script: r#"
            A {"user": "a"}
            B {"user": "b"}
            C {"user": "c"}
            B> SUB s 1
            C> SUB s 1
            A> PUB s|1
            B> PUB s|2
        "#,
    },
    Case {
        name: "services of another account",
        configuration: AB,
        script: r#"
            A {"user": "a"}
            A> SUB ask.> 1
            A> SUB ask 2
            B {"user": "b"}
            B> SUB r.> 9
            B> PUB ask r.1|one
            A?
            A> PUB @|first
            A> PUB @|second
            B> PUB mine.x r.2|two
            A?
            A> PUB @|third
            B> PUB two r.3|three
            A?
            A> PUB @|fourth
            B> PUB ask.x.y r.4|four
            B> PUB ask|without
            B> PUB only r.5|nobody
            B> PUB ask.> r.6|odd
        "#,
    },
    Case {
        name: "one answer or several",
        configuration: AB,
        script: r#"
            A {"user": "a"}
            A> SUB many 1
            A> SUB parts 2
            B {"user": "b"}
            B> SUB r.> 9
            B> PUB many r.1|one
            A?
            A> PUB @|1
            A> PUB @|2
            A> PUB @|
            A> PUB @|3
            B> PUB parts r.2|two
            A?
            A> PUB @|1
            A> PUB @|2
            A> PUB @|
            A> PUB @|3
        "#,
    },
    Case {
        name: "nobody answers in another account",
        configuration: AB,
        script: r#"
            A {"user": "a"}
            B {"user": "b"}
            B> SUB r.> 9
            B> PUB ask r.1|one
            B> PUB mine.x r.2|two
            A> SUB ask q 1
            B> PUB ask r.3|three
            A> UNSUB 1
            B> PUB ask r.4|four
            B> SUB ask 10
            B> PUB ask r.5|five
        "#,
    },
    Case {
        name: "who asks is told if that is shared",
        configuration: AB,
        script: r#"
            A {"user": "a"}
            A> SUB only 1
            A> SUB ask 2
            B {"user": "b", "name": "who", "lang": "rust", "version": "1"}
            B> SUB r.> 9
            B> PUB only r.1|one
            B> PUB ask r.1|two
            B> HPUB ask r.1 {"A": "x", "Nats-Request-Info": "forged"}|three
            B> HPUB only r.1 {"Nats-Request-Info": "forged"}|four
            E {"user": "a", "headers": false, "no_responders": false}
            E> SUB ask 1
            B> PUB ask r.1|five
        "#,
    },
    Case {
        name: "services are handed on",
        configuration: "accounts {
            A { users: [{user: a}], exports: [{service: \"a.*\"}] }
            B { users: [{user: b}], exports: [{service: \"b.*\"}], imports: [{service: {account: A, subject: \"a.*\"}, to: \"b.$1\", share: true}] }
            C { users: [{user: c}], imports: [{service: {account: B, subject: \"b.*\"}, to: \"c.$1\"}] }
        }",
        script: r#"
            A {"user": "a"}
            A> SUB > 1
            B {"user": "b"}
            C {"user": "c"}
            C> SUB r.> 9
            C> PUB c.x r.1|one
            A?
            A> PUB @|answer
            A> PUB @|again
            B> SUB > 1
            C> PUB c.y r.2|two
            A?
            A> PUB @|answer
            C> PUB c.x|three
            B> PUB b.z|four
        "#,
    },
    Case {
        name: "an answer may be answered",
        configuration: AB,
        script: r#"
            A {"user": "a"}
            A> SUB ask 1
            A> SUB s 2
            B {"user": "b"}
            B> SUB r.> 9
            B> PUB ask r.1|one
            A?
            A> PUB @ s|two
            B?
            B> PUB @|three
            B> PUB @|four
        "#,
    },
    Case {
        name: "who may answer",
        configuration: "accounts {
            A { users: [
                {user: a, permissions: {subscribe: ask, publish: x}}
                {user: r, permissions: {subscribe: ask, publish: x, allow_responses: true}}
                {user: w, permissions: {subscribe: ask, publish: \"_R_.>\"}} ], exports: [{service: ask}] }
            B { users: [{user: b}], imports: [{service: {account: A, subject: ask}}] } }",
        script: r#"
            B {"user": "b"}
            B> SUB r 9
            A {"user": "a"}
            A> SUB ask 1
            B> PUB ask r|one
            A?
            A> PUB @|1
            A> UNSUB 1
            R {"user": "r"}
            R> SUB ask 1
            B> PUB ask r|two
            R?
            R> PUB @|2
            R> PUB @|2
            R> UNSUB 1
            W {"user": "w"}
            W> SUB ask 1
            B> PUB ask r|three
            W?
            W> PUB @|3
            B> PUB ask _R_.x.y|forged
            B> PUB _R_.x.y r|nowhere
        "#,
    },
    Case {
        name: "the exporting account maps what it is asked",
        configuration: "accounts {
            A { users: [{user: a}], exports: [{service: \"ask.*\"}], mappings: { \"ask.*\": \"inner.$1\" } }
            B { users: [{user: b}], imports: [{service: {account: A, subject: \"ask.*\"}}], mappings: { r: q, old: \"ask.old\" } } }",
        script: r#"
            A {"user": "a"}
            A> SUB > 1
            B {"user": "b"}
            B> SUB > 9
            B> PUB ask.x r|one
            A?
            A> PUB @|two
            B> PUB old r|three
        "#,
    },
    Case {
        name: "what was asked is not exported",
        configuration: "accounts {
            A { users: [{user: a}], exports: [{service: ask}, {stream: ask}] }
            B { users: [{user: b}], imports: [{service: {account: A, subject: ask}}] }
            C { users: [{user: c}], imports: [{stream: {account: A, subject: ask}}] } }",
        script: r#"
            C {"user": "c"}
            C> SUB ask 1
            B {"user": "b"}
            B> SUB r 9
            B> PUB ask r|one
            A {"user": "a"}
            A> PUB ask|two
        "#,
    },
    Case {
        name: "an account imports of itself",
        configuration: "accounts { A { users: [{user: a}], exports: [{service: ask}, {stream: s}], imports: [
            {service: {account: A, subject: ask}, to: mine}, {stream: {account: A, subject: s}, prefix: mine}] } }",
        script: r#"
            A {"user": "a"}
            A> SUB > 1
            A> PUB mine r|one
            A?
            A> PUB @|two
            A> PUB s|three
        "#,
    },
    Case {
        name: "two accounts export the same",
        configuration: "accounts {
            A { users: [{user: a}], exports: [{service: ask, response: stream}, {stream: s}] }
            C { users: [{user: c}], exports: [{service: ask, response: stream}, {stream: s}] }
            B { users: [{user: b}], imports: [
                {service: {account: A, subject: ask}}, {service: {account: C, subject: ask}}
                {stream: {account: A, subject: s}}, {stream: {account: C, subject: s}}] } }",
        script: r#"
            A {"user": "a"}
            A> SUB ask 1
            C {"user": "c"}
            C> SUB ask 1
            B {"user": "b"}
            B> SUB > 9
            B> PUB ask r|one
            A?
            A> PUB @|two
            C?
            C> PUB @|three
            A> PUB s|four
            C> PUB s|five
        "#,
    },
    Case {
        name: "an open service and one by token",
        configuration: "accounts {
            A { users: [{user: a}], exports: [{service: \"of.*.ask\", account_token_position: 2}, {stream: \"to.*\", account_token_position: 2}] }
            B { users: [{user: b}], imports: [{service: {account: A, subject: of.B.ask}, to: ask}, {stream: {account: A, subject: to.B}, to: mine}] } }",
        script: r#"
            A {"user": "a"}
            A> SUB of.> 1
            B {"user": "b"}
            B> SUB > 9
            B> PUB ask r|one
            A?
            A> PUB @|two
            A> PUB to.B|three
            A> PUB to.C|four
        "#,
    },
    Case {
        name: "users by default may this",
        configuration: "accounts { A { users: [{user: a}, {user: b, permissions: {publish: y}}], default_permissions: {publish: x}, mappings: {z: x} } }",
        script: r#"
            A {"user": "a"}
            A> PUB x|1
            A> PUB y|2
            A> PUB z|3
            B {"user": "b"}
            B> PUB x|1
            B> PUB y|2
            B> PUB z|3
        "#,
    },
];
