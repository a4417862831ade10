//! Configuration files, and what is said to a server that has them.

/// A configuration file and a conversation: `A {…}` connects a client with that CONNECT, `A -` without one, and `A> …` has it say
/// something; `A?` waits for a message that may come later than the answer to a PING, `A!` for the end of the connection.
pub struct Case {
    pub name: &'static str,
    pub configuration: &'static str,
    pub script: &'static str,
}

/// What no server starts with.
pub const REFUSED: &[&str] = &[
    "authorization { users: [{user: a, password: b, permissions: {publish: \"a..b\"}}] }",
    "authorization { users: [{user: a, password: b, permissions: {publish: \"a q\"}}] }",
    "authorization { users: [{user: a, password: b, permissions: {subscribe: \"a q r\"}}] }",
    "authorization { users: [{user: a, password: b, permissions: {subscribe: \"a q..r\"}}] }",
    "authorization { users: [{user: a, password: b, permissions: {publis: a}}] }",
    "authorization { users: [{user: a, password: b, permissions: {publish: {alow: a}}}] }",
    "authorization { users: [{user: a, password: b, permissions: {allow_responses: {expires: 5}}}] }",
    "authorization { users: [{user: a, password: b, permissions: {allow_responses: x}}] }",
    "authorization { users: [{user: a, password: b, permissions: a}] }",
    "authorization { users: [{user: a, password: b, allowed_connection_types: [X]}] }",
    "authorization { users: [{user: a}, {user: a}] }",
    "authorization { users: [{password: a}] }",
    "authorization { users: [{nkey: UABC}] }",
    "authorization { users: [{user: a, nkey: UBHZKSHGAYXQN4HBLNRIAOAJMQMJWV664V4M4I36W2F4X4B64ZSFTJCU}] }",
    "authorization { users: [{nkey: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}] }",
    "authorization { user: a, password: b, token: c }",
    "authorization { user: a, password: b, users: [{user: c, password: d}] }",
    "authorization { token: b, users: [{user: c, password: d}] }",
    "authorization { users: a }",
    "accounts { $G {} }",
    "accounts [A, A]",
    "accounts { A { usrs: [] } }",
    "accounts { A: x }",
    "accounts { A { users: [{user: a}] }, B { users: [{user: a}] } }",
    "accounts { A { users: [{user: a}] } }\nauthorization { users: [{user: a}] }",
    "accounts { A { users: [{user: a}] } }\nauthorization { token: t }",
    "accounts { A { users: [{user: a}] } }\nauthorization { user: b, password: p }",
    "accounts { A { jetstream: x } }",
    "accounts { A { jetstream: { max_mm: 1 } } }",
    "accounts { A { limits: { max_con: 1 } } }",
];

pub const CASES: &[Case] = &[
    Case {
        name: "ends of lines in a token",
        configuration: "authorization { token: \"t\" }",
        script: r#"
            A {"auth_token": "t\n"}
            B {"auth_token": "\nt"}
            C {"auth_token": "t\r\n"}
            D {"auth_token": "t"}
        "#,
    },
    Case {
        name: "a token that ends with its line",
        configuration: "authorization { token: \"t\\n\" }",
        script: r#"
            A {"auth_token": "t\n"}
            B {"auth_token": "t"}
        "#,
    },
    Case {
        name: "ends of lines in users, passwords and keys",
        configuration: "authorization { users: [
            {user: a, password: p}
            {nkey: UBHZKSHGAYXQN4HBLNRIAOAJMQMJWV664V4M4I36W2F4X4B64ZSFTJCU}
        ] }",
        script: r#"
            A {"user": "a\n", "pass": "p"}
            B {"user": "a", "pass": "p\n"}
            C {"user": "a", "pass": "p"}
            D {"nkey": "UBHZKSHGAYXQN4HBLNRIAOAJMQMJWV664V4M4I36W2F4X4B64ZSFTJCU\n", "sig": "x"}
        "#,
    },
    Case {
        name: "nobody is asked",
        configuration: "port: 4222",
        script: r#"
            A {}
            A> SUB > 1
            A> PUB a
            B {"user": "whoever", "pass": "x"}
            C {"account": "x"}
            D {"new_account": true}
            E -
            E> PUB a
        "#,
    },
    Case {
        name: "a user",
        configuration: "authorization { user: a, password: b }",
        script: r#"
            A {"user": "a", "pass": "b"}
            B {"user": "a", "pass": "c"}
            C {"user": "b", "pass": "b"}
            D {}
            E {"auth_token": "b"}
            F -
            F> PUB a
            G -
            G> SUB a 1
            A> CONNECT {"user": "a", "pass": "c"}
            H {"user": "a", "pass": "b", "account": "x"}
        "#,
    },
    Case {
        name: "a token",
        configuration: "authorization { token: t }",
        script: r#"
            A {"auth_token": "t"}
            B {"auth_token": "u"}
            C {"user": "t", "pass": "t"}
            D {"auth_token": ""}
        "#,
    },
    Case {
        name: "users",
        configuration: "authorization { users: [{user: a, password: b}, {user: c, pass: d}, {user: none}] }",
        script: r#"
            A {"user": "a", "pass": "b"}
            B {"user": "c", "pass": "d"}
            C {"user": "a", "pass": "d"}
            D {"user": "", "pass": ""}
            E {"user": "none"}
            F {"user": "none", "pass": "x"}
            A> SUB > 1
            B> PUB x
        "#,
    },
    Case {
        name: "hashed secrets",
        configuration: "authorization { users: [
            {user: a, password: \"$2b$04$V8QAZk3NXGsNE4DA2g6Eo.L0cWnAuy.OeWn7LrGojus8VItiFc8OG\"}
            {user: b, password: \"$2x$04$x\"}
            {user: c, password: \"$3a$04$x\"} ] }",
        script: r#"
            A {"user": "a", "pass": "p"}
            D {"user": "a", "pass": "wrong"}
            B {"user": "b", "pass": "$2x$04$x"}
            C {"user": "c", "pass": "$3a$04$x"}
        "#,
    },
    Case {
        name: "keys",
        configuration: "authorization { users: [
            {nkey: UBHZKSHGAYXQN4HBLNRIAOAJMQMJWV664V4M4I36W2F4X4B64ZSFTJCU, permissions: {publish: a}}
            {user: a, password: b} ] }",
        script: r#"
            A {"user": "a", "pass": "b"}
            B {"nkey": "UBHZKSHGAYXQN4HBLNRIAOAJMQMJWV664V4M4I36W2F4X4B64ZSFTJCU", "sig": "x"}
            C {"user": "UBHZKSHGAYXQN4HBLNRIAOAJMQMJWV664V4M4I36W2F4X4B64ZSFTJCU"}
            D {"seed": "SUAILCEVJJNRZ34QPA37PZSW3HY6YQCMGYJB25X6UWSKM6RAIRLQ5EWXTY"}
            D> PUB a
            D> PUB b
        "#,
    },
    Case {
        name: "publishing",
        configuration: "authorization { users: [
            {user: a, password: p, permissions: {publish: [\"a.*\", \"b.>\", c]}}
            {user: d, password: p, permissions: {publish: {allow: \">\", deny: [\"a.*\", \"*.secret\"]}}}
            {user: e, password: p, permissions: {publish: {deny: a}}}
            {user: f, password: p, permissions: {publish: []}}
            {user: g, password: p, permissions: {publish: {}}}
            {user: all, password: p} ] }",
        script: r#"
            Z {"user": "all", "pass": "p"}
            Z> SUB > 1
            A {"user": "a", "pass": "p"}
            A> PUB a
            A> PUB a.b
            A> PUB a.b.c
            A> PUB b
            A> PUB b.c.d
            A> PUB c
            A> PUB c.d
            A> PUB a.*
            A> PUB a.>
            A> PUB a."q
            A> PUB d."q
            A> PUB a..b
            A> PUB a.b reply
            A> PUB $JS.API.INFO reply
            A> PUB a.b $JS.ACK.x
            D {"user": "d", "pass": "p"}
            D> PUB a
            D> PUB a.b
            D> PUB x.secret
            D> PUB x.secret.y
            D> PUB a.b.c
            E {"user": "e", "pass": "p"}
            E> PUB a
            E> PUB b
            F {"user": "f", "pass": "p"}
            F> PUB a
            G {"user": "g", "pass": "p"}
            G> PUB a
        "#,
    },
    Case {
        name: "subscribing",
        configuration: "authorization { users: [
            {user: a, password: p, permissions: {subscribe: [\"a.*\", \"b.>\", c]}}
            {user: d, password: p, permissions: {subscribe: {allow: \">\", deny: [\"a.*\", \"*.secret\"]}}}
            {user: all, password: p} ] }",
        script: r#"
            A {"user": "a", "pass": "p"}
            A> SUB a 1
            A> SUB a.b 2
            A> SUB a.* 3
            A> SUB *.b 4
            A> SUB b.> 5
            A> SUB b.*.c 6
            A> SUB > 7
            A> SUB c q 8
            A> SUB d q 9
            A> SUB c..d 10
            A> SUB a.* q 11
            D {"user": "d", "pass": "p"}
            D> SUB > 1
            D> SUB a.b 2
            D> SUB x.secret 3
            D> SUB a.> 4
            D> SUB x.* q 5
            Z {"user": "all", "pass": "p"}
            Z> PUB a.b |1
            Z> PUB a.b.c |2
            Z> PUB x.secret |3
            Z> PUB x.open |4
            Z> PUB c |5
            Z> PUB b.x.c |6
            Z> SUB a _sys_ 1
        "#,
    },
    Case {
        name: "queues",
        configuration: "authorization { users: [
            {user: a, password: p, permissions: {subscribe: {allow: [\"a\", \"a v1\", \"b v2.*\", \"c *\", \"d.> >\"]}}}
            {user: d, password: p, permissions: {subscribe: {deny: [\"a v1\", \"b v2.*\", \"c.* *.x\"]}}}
            {user: all, password: p} ] }",
        script: r#"
            A {"user": "a", "pass": "p"}
            A> SUB a 1
            A> SUB a v1 2
            A> SUB a v2 3
            A> SUB b 4
            A> SUB b v2.x 5
            A> SUB b v2 6
            A> SUB c any 7
            A> SUB c any.x 8
            A> SUB d.e x.y 9
            D {"user": "d", "pass": "p"}
            D> SUB a 1
            D> SUB a v1 2
            D> SUB a v2 3
            D> SUB b v2.x 4
            D> SUB b v3.x 5
            D> SUB c.d q.x 6
            D> SUB c.d q.y 7
            D> SUB c.> q.x 8
            D> SUB > v1 9
            Z {"user": "all", "pass": "p"}
            Z> PUB c.d |1
            Z> PUB c.d.e |2
            Z> PUB a |3
        "#,
    },
    Case {
        name: "answers",
        configuration: "authorization { users: [
            {user: once, password: p, permissions: {subscribe: work, allow_responses: true}}
            {user: twice, password: p, permissions: {publish: own, subscribe: work, allow_responses: {max: 2, expires: \"1m\"}}}
            {user: always, password: p, permissions: {publish: {deny: r.no}, subscribe: work, allow_responses: {max: -1}}}
            {user: all, password: p} ] }",
        script: r#"
            Z {"user": "all", "pass": "p"}
            Z> SUB r.> 1
            A {"user": "once", "pass": "p"}
            A> PUB r.1
            A> SUB work 1
            Z> PUB work r.1
            A> PUB r.1
            A> PUB r.1
            A> PUB own
            B {"user": "twice", "pass": "p"}
            B> SUB work 1
            Z> PUB work r.2
            B> PUB r.2
            B> PUB r.2
            B> PUB r.2
            B> PUB own
            C {"user": "always", "pass": "p"}
            C> SUB work 1
            Z> PUB work r.no
            C> PUB r.no
            C> PUB r.no
            C> PUB r.no
            C> PUB r.other
        "#,
    },
    Case {
        name: "default permissions",
        configuration: "authorization { default_permissions: {publish: a, subscribe: b}
            users: [ {user: a, password: p}, {user: b, password: p, permissions: {publish: c}} ] }",
        script: r#"
            A {"user": "a", "pass": "p"}
            A> PUB a
            A> PUB c
            A> SUB b 1
            A> SUB c 2
            B {"user": "b", "pass": "p"}
            B> PUB a
            B> PUB c
            B> SUB c 2
        "#,
    },
    Case {
        name: "whoever is nobody",
        configuration: "no_auth_user: a
            authorization { users: [{user: a, password: p, permissions: {publish: a}}, {user: b, password: p}] }",
        script: r#"
            A {}
            A> PUB a
            A> PUB b
            B {"user": "b", "pass": "p"}
            B> PUB b
            C {"user": "b", "pass": "x"}
            D {"user": "a", "pass": "x"}
            E {"auth_token": "x"}
            F -
            F> PUB a
            F> PUB b
            G -
            G> SUB a 1
            H {"pass": "p"}
        "#,
    },
    Case {
        name: "kinds of connections",
        configuration: "authorization { users: [
            {user: a, password: p, allowed_connection_types: [WEBSOCKET, mqtt]}
            {user: b, password: p, allowed_connection_types: [Standard]}
            {user: c, password: p, connection_types: LEAFNODE}
            {user: d, password: p, clients: []} ] }",
        script: r#"
            A {"user": "a", "pass": "p"}
            B {"user": "b", "pass": "p"}
            C {"user": "c", "pass": "p"}
            D {"user": "d", "pass": "p"}
        "#,
    },
    Case {
        name: "the talkative client",
        configuration: "authorization { users: [{user: a, password: p, permissions: {publish: [a, \"$x\"], subscribe: a}}] }",
        script: r#"
            A {"user": "a", "pass": "p", "verbose": true, "pedantic": true}
            A> PUB a
            A> PUB b
            A> PUB a.*
            A> PUB $x
            A> PUB $y
            A> SUB a 1
            A> SUB b 2
            A> UNSUB 1
            A> CONNECT {"user": "a", "pass": "p", "verbose": false}
            A> PUB b
        "#,
    },
    Case {
        name: "permissions and streams",
        configuration: "jetstream { store_dir: \"@STORE@\" }
            authorization { users: [
            {user: a, password: p, permissions: {publish: {allow: [\"$JS.API.>\", \"s.>\"], deny: \"s.no\"}, subscribe: {allow: [\"_INBOX.>\"]}}}
            {user: b, password: p, permissions: {publish: {deny: \"$JS.API.STREAM.DELETE.*\"}}} ] }",
        script: r#"
            A {"user": "a", "pass": "p"}
            A> SUB _INBOX.1 1
            A> PUB $JS.API.STREAM.NAMES _INBOX.1
            A?
            A> PUB s.no _INBOX.1
            A> PUB $JS.ACK.S.C.1.1.1.1.0
            B {"user": "b", "pass": "p"}
            B> PUB $JS.API.STREAM.DELETE.S _INBOX.1
        "#,
    },
    Case {
        name: "accounts",
        configuration: "accounts {
            A { users: [{user: a, password: p}, {user: a2, password: p, permissions: {publish: x}}] }
            B { users: [{user: b, password: p}], default_permissions: {subscribe: {deny: y}} } }
            authorization { users: [{user: g, password: p}] }",
        script: r#"
            A {"user": "a", "pass": "p"}
            A> SUB > 1
            B {"user": "b", "pass": "p"}
            B> SUB > 1
            B> SUB y 2
            G {"user": "g", "pass": "p"}
            G> SUB x 1
            G> SUB y 2
            C {"user": "a2", "pass": "p"}
            C> PUB x |from C
            C> PUB y
            A> PUB y |from A
            B> PUB x |from B
            B> PUB y
            G> PUB x |from G
            D {}
            E {"user": "a", "pass": "x"}
            B> CONNECT {"user": "a", "pass": "p", "verbose": false}
            B> PUB z |from B in A
        "#,
    },
    Case {
        name: "names of accounts alone",
        configuration: "accounts [A, B]\nauthorization { users: [{user: g, password: p}] }",
        script: r#"
            G {"user": "g", "pass": "p"}
            G> SUB a 1
            G> PUB a
        "#,
    },
    Case {
        name: "the system account alone",
        configuration: "accounts { SYS { users: [{user: s, password: p}] } }\nsystem_account: SYS",
        script: r#"
            A {}
            A> SUB a 1
            A> PUB a
            B {"user": "s", "pass": "p"}
            B> SUB a 1
            C {"user": "s", "pass": "x"}
            D -
            D> PUB a |x
            E {"user": "x"}
        "#,
    },
    Case {
        name: "the system account and others",
        configuration: "accounts { SYS { users: [{user: s, password: p}] }, A { users: [{user: a, password: p}] } }
            system_account: SYS\nno_auth_user: a",
        script: r#"
            A {}
            A> SUB a 1
            B {"user": "a", "pass": "p"}
            B> PUB a
            C {"user": "s", "pass": "p"}
            C> PUB a
            D {"user": "x"}
        "#,
    },
    Case {
        name: "limits of accounts",
        configuration: "accounts { A { users: [{user: a, password: p}], limits: {max_conn: 2, max_subs: 2, max_payload: 4} }
            B { users: [{user: b, password: p}] } }",
        script: r#"
            A {"user": "a", "pass": "p"}
            A> SUB a 1
            A> SUB b 2
            A> SUB c 3
            A> PUB a |1234
            B {"user": "a", "pass": "p"}
            C {"user": "a", "pass": "p"}
            D {"user": "b", "pass": "p"}
            D> SUB a 1
            D> SUB b 2
            D> SUB c 3
            B> PUB a |12345
        "#,
    },
    Case {
        name: "streams of accounts",
        configuration: "jetstream { store_dir: \"@STORE@\" }
            accounts {
            A { users: [{user: a, password: p}], jetstream: {max_streams: 1, max_consumers: 1, max_mem: 1M, max_file: 2M, max_bytes_required: true} }
            B { users: [{user: b, password: p}], jetstream: enabled }
            C { users: [{user: c, password: p}] } }
            authorization { users: [{user: g, password: p}] }",
        script: r#"
            A {"user": "a", "pass": "p"}
            A> SUB r 1
            A> PUB $JS.API.STREAM.NAMES r
            A?
            A> PUB $JS.API.STREAM.CREATE.S r |{"name":"S","subjects":["s"]}
            A?
            A> PUB $JS.API.STREAM.CREATE.S r |{"name":"S","subjects":["s"],"max_bytes":3000000}
            A?
            A> PUB $JS.API.STREAM.CREATE.S r |{"name":"S","subjects":["s"],"max_bytes":2000000,"storage":"memory"}
            A?
            B {"user": "b", "pass": "p"}
            B> SUB r 1
            B> PUB $JS.API.STREAM.NAMES r
            B?
            C {"user": "c", "pass": "p"}
            C> SUB r 1
            C> PUB $JS.API.STREAM.NAMES r
            C?
            C> PUB $JS.API.INFO r
            C?
            G {"user": "g", "pass": "p"}
            G> SUB r 1
            G> PUB $JS.API.INFO r
            G?
        "#,
    },
];
