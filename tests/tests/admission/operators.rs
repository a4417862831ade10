//! Operator mode: tokens in the configuration, and users that show some.
//!
//! What stands between two `@` in a case is a token or a key of a [`World`](super::world::World).

use super::cases::Case;

/// What no server starts with.
pub const NOT_STARTED: &[&str] = &[
    "operator: @op@",
    "operator: @newer@\n@accounts@",
    "operator: @op@\n@accounts@\naccounts { A {} }",
    "operator: @op@\n@accounts@\nauthorization { users: [{user: a, password: b}] }",
    "operator: @op@\n@accounts@\nsystem_account: @akey@",
    "operator: @op@\n@accounts@\ntrusted_keys: @opkey@",
    "operator: @op@\n@accounts@\nno_auth_user: x",
    "operator: @op@\n@accounts@\ndefault_sentinel: x",
    "operator: @op@\n@accounts@\ndefault_sentinel: @u.a@",
    "operator: @op@\n@accounts@\nresolver_pinned_accounts: [x]",
    "operator: @op@\nresolver: MEMORY\nresolver_preload: { @akey@: @a@ }",
    "operator: @op@\nresolver: URL(http://127.0.0.1:9/)",
    "default_sentinel: @u.bearer@",
];

/// What `-t` refuses as well.
pub const REFUSED: &[&str] = &[
    "operator: @a@\n@accounts@",
    "operator: x.jwt\n@accounts@",
    "operator: @op@\nresolver: x",
    "operator: @op@\nresolver: MEMORY\nresolver_preload: { @akey@: x }",
    "operator: @op@\nresolver: MEMORY\nresolver_preload: { @akey@: @u.a@ }",
    "operator: @op@\nresolver: { type: full }",
    "operator: @op@\nresolver: { type: full, dir: a, ttl: \"1s\" }",
    "operator: @op@\nresolver: { type: full, dir: a, hard_delete: true }",
    "operator: @op@\nresolver: { type: cache, dir: a, interval: \"1s\" }",
    "operator: @op@\nresolver: { type: cache, dir: a, allow_delete: true }",
    "operator: @op@\nresolver: { type: other, dir: a }",
    "trusted_keys: @akey@",
];

pub const CASES: &[Case] = &[
    Case {
        name: "users by tokens",
        configuration: "operator: @op@\n@accounts@",
        script: r#"
            A {"jwt": "@u.a@", "seed": "@seed50@"}
            A> SUB > 1
            B {"jwt": "@u.a@"}
            C {"jwt": "@u.a@", "sig": "AAAA"}
            D {"jwt": "@u.a@", "seed": "@seed51@"}
            E {"jwt": "@u.c@", "seed": "@seed50@"}
            E> PUB x |of another account
            F {"jwt": "@u.old@", "seed": "@seed58@"}
            G {"jwt": "@u.new@", "seed": "@seed58@"}
            H {"jwt": "@u.bad@", "seed": "@seed58@"}
            I {"jwt": "@u.unknown@", "seed": "@seed50@"}
            J {"jwt": "@u.foreign@", "seed": "@seed50@"}
            K {"jwt": "@u.of old@", "seed": "@seed50@"}
            L {}
            M {"user": "a", "pass": "b"}
            N {"jwt": "@a@", "seed": "@seed50@"}
            O {"jwt": "nonsense", "seed": "@seed50@"}
            P -
            P> PUB a
            Q {"jwt": "@u.a@", "seed": "@seed50@", "account": "x"}
            R {"jwt": "@u.sys@", "seed": "@seed50@"}
            R> PUB x |of the system account
            S {"seed": "@seed50@"}
            A> CONNECT {"jwt": "@u.bearer@", "verbose": false}
            A> PUB a
        "#,
    },
    Case {
        name: "what users may do by their tokens",
        configuration: "operator: @op@\n@accounts@",
        script: r#"
            A {"jwt": "@u.a@", "seed": "@seed50@"}
            A> SUB a.> 1
            A> SUB r.> 2
            B {"jwt": "@u.pub@", "seed": "@seed51@"}
            B> PUB a.b |1
            B> PUB a.no |2
            B> PUB b |3
            B> SUB b 1
            B> SUB c 2
            B> SUB c q 3
            B> SUB d 4
            C {"jwt": "@u.resp@", "seed": "@seed52@"}
            C> SUB work 1
            C> PUB r.1
            A> PUB work r.1
            C> PUB r.1
            C> PUB r.1
            C> PUB r.1
            D {"jwt": "@u.small@", "seed": "@seed53@"}
            D> SUB a 1
            D> SUB b 2
            D> PUB a.x |123
            D> PUB a.x |1234
        "#,
    },
    Case {
        name: "from where, when and by what users come",
        configuration: "operator: @op@\n@accounts@",
        script: r#"
            A {"jwt": "@u.ws@", "seed": "@seed54@"}
            B {"jwt": "@u.both@", "seed": "@seed54@"}
            C {"jwt": "@u.none@", "seed": "@seed54@"}
            D {"jwt": "@u.far@", "seed": "@seed55@"}
            E {"jwt": "@u.near@", "seed": "@seed55@"}
            F {"jwt": "@u.never@", "seed": "@seed56@"}
            G {"jwt": "@u.times@", "seed": "@seed56@"}
            H {"jwt": "@u.nowhere@", "seed": "@seed56@"}
            I {"jwt": "@u.bearer@"}
            J {"jwt": "@u.bearer@", "sig": "AAAA"}
        "#,
    },
    Case {
        name: "what accounts say of their users",
        configuration: "operator: @op@\n@accounts@",
        script: r#"
            A {"jwt": "@u.b@", "seed": "@seed50@"}
            A> SUB a 1
            A> SUB b 2
            A> SUB c 3
            A> PUB a |1234
            B {"jwt": "@u.b@", "seed": "@seed50@"}
            C {"jwt": "@u.b@", "seed": "@seed50@"}
            B> PUB a |12345
            D {"jwt": "@u.c@", "seed": "@seed50@"}
            D> PUB x
            D> PUB z
            D> SUB y 1
            D> SUB x 2
            E {"jwt": "@u.c2@", "seed": "@seed51@"}
            E> PUB x
            E> PUB z
            E> SUB y 1
            F {"jwt": "@u.revoked@", "seed": "@seed60@"}
            G {"jwt": "@u.signed again@", "seed": "@seed61@"}
            H {"jwt": "@u.e bearer@"}
            I {"jwt": "@u.e@", "seed": "@seed62@"}
            J {"jwt": "@u.all@", "seed": "@seed50@"}
            K {"jwt": "@u.all later@", "seed": "@seed50@"}
        "#,
    },
    Case {
        name: "keys that sign for accounts",
        configuration: "operator: @op@\n@accounts@",
        script: r#"
            A {"jwt": "@u.d@", "seed": "@seed50@"}
            A> SUB > 1
            B {"jwt": "@u.scoped@", "seed": "@seed51@"}
            B> PUB bob.x |1
            B> PUB bob.y |2
            B> PUB bob.z |3
            B> PUB d |4
            B> PUB x |5
            B> PUB d |long
            B> SUB in.bob 1
            B> SUB in.ada 2
            C {"jwt": "@u.scoped@", "seed": "@seed51@"}
            C> SUB in.bob 1
            C> SUB in.bob 2
            D {"jwt": "@u.overstated@", "seed": "@seed52@"}
            E {"jwt": "@u.stranger@", "seed": "@seed53@"}
        "#,
    },
    Case {
        name: "accounts that only their keys sign for",
        configuration: "operator: @strict@\nresolver: MEMORY\nresolver_preload { @syskey@: @strict sys@, @bkey@: @b@, @akey@: @a@, @dkey@: @strict d@ }",
        script: r#"
            A {"jwt": "@u.b@", "seed": "@seed50@"}
            B {"jwt": "@u.a@", "seed": "@seed50@"}
            C {"jwt": "@u.d@", "seed": "@seed50@"}
        "#,
    },
    Case {
        name: "keys without an operator",
        configuration: "trusted_keys: @opkey@\n@accounts@",
        script: r#"
            A {"jwt": "@u.a@", "seed": "@seed50@"}
            B {"jwt": "@u.b@", "seed": "@seed50@"}
            C {}
        "#,
    },
    Case {
        name: "accounts that are pinned",
        configuration: "operator: @op@\n@accounts@\nresolver_pinned_accounts: [@akey@]",
        script: r#"
            A {"jwt": "@u.a@", "seed": "@seed50@"}
            B {"jwt": "@u.c@", "seed": "@seed50@"}
            C {"jwt": "@u.sys@", "seed": "@seed50@"}
        "#,
    },
    Case {
        name: "the token of those who show none",
        configuration: "operator: @op@\n@accounts@\ndefault_sentinel: @u.bearer@",
        script: r#"
            A {}
            A> SUB x 1
            B {"user": "a", "pass": "b"}
            C {"jwt": "nonsense"}
            D {"jwt": "@u.old@", "seed": "@seed58@"}
            E -
            E> PUB x |1
        "#,
    },
    Case {
        name: "users and accounts expire",
        configuration: "operator: @op@\n@accounts@",
        script: r#"
            A {"jwt": "@u.ends@", "seed": "@seed58@"}
            B {"jwt": "@u.account ends@", "seed": "@seed50@"}
            C {"jwt": "@u.a@", "seed": "@seed50@"}
            A> SUB a 1
            A!
            B!
            D {"jwt": "@u.account ends@", "seed": "@seed50@"}
        "#,
    },
    Case {
        name: "times at the ends of numbers",
        configuration: "operator: @op@\n@accounts@",
        script: r#"
            A {"jwt": "@u.minus@", "seed": "@seed50@"}
            A!
            B {"jwt": "@u.least@", "seed": "@seed50@"}
            B!
            C {"jwt": "@u.far off@", "seed": "@seed50@"}
            D {"jwt": "@u.later@", "seed": "@seed50@"}
            E {"jwt": "@u.of minus@", "seed": "@seed50@"}
            F {"jwt": "@u.of least@", "seed": "@seed50@"}
            G {"jwt": "@u.of later@", "seed": "@seed50@"}
            H {"jwt": "@u.most@", "seed": "@seed50@"}
            H> PUB a
        "#,
    },
    Case {
        name: "limits of nothing, and of less",
        configuration: "operator: @op@\n@accounts@",
        script: r#"
            A {"jwt": "@u.deaf@", "seed": "@seed50@"}
            A!
            B {"jwt": "@u.mute@", "seed": "@seed50@"}
            B> SUB a 1
            B> PUB a
            B> PUB a |x
            C {"jwt": "@u.below@", "seed": "@seed50@"}
            C!
            D {"jwt": "@u.mute below@", "seed": "@seed50@"}
            D> SUB a 1
            D> PUB a |x
            E {"jwt": "@u.data@", "seed": "@seed50@"}
            E> PUB a |x
            F {"jwt": "@u.of nobody@", "seed": "@seed50@"}
            G {"jwt": "@u.of deaf@", "seed": "@seed50@"}
            G!
            H {"jwt": "@u.of mute@", "seed": "@seed50@"}
            H> SUB a 1
            H> PUB a
            H> PUB a |x
            I {"jwt": "@u.of below@", "seed": "@seed50@"}
            I!
            J {"jwt": "@u.of less@", "seed": "@seed50@"}
            K {"jwt": "@u.of bare@", "seed": "@seed50@"}
        "#,
    },
    Case {
        name: "ends of lines in tokens and signatures",
        configuration: "operator: @op@\n@accounts@\n",
        script: r#"
            A {"jwt": "@u.a@\n", "seed": "@seed50@"}
            B {"jwt": "\n@u.a@\r\n", "seed": "@seed50@"}
            C {"jwt": "@u.a@ ", "seed": "@seed50@"}
            D {"jwt": "@u.a@", "seed": "@seed50@", "behind": "\n"}
            E {"jwt": "@u.a@", "seed": "@seed50@", "behind": " "}
            F {"jwt": "@u.bearer@\r\n"}
        "#,
    },
    Case {
        name: "streams of accounts that operators have signed",
        configuration: "operator: @op@\n@accounts@\njetstream { store_dir: \"@STORE@\" }",
        script: r#"
            A {"jwt": "@u.js@", "seed": "@seed50@"}
            A> SUB r 1
            A> PUB $JS.API.STREAM.NAMES r
            A?
            A> PUB $JS.API.STREAM.CREATE.S r |{"name":"S","subjects":["s"]}
            A?
            A> PUB $JS.API.STREAM.CREATE.S r |{"name":"S","subjects":["s"],"max_bytes":3000000}
            A?
            B {"jwt": "@u.a@", "seed": "@seed50@"}
            B> SUB r 1
            B> PUB $JS.API.STREAM.NAMES r
            B?
            C {"jwt": "@u.r3@", "seed": "@seed50@"}
            C> SUB r 1
            C> PUB $JS.API.STREAM.CREATE.S r |{"name":"S","subjects":["s"]}
            C?
        "#,
    },
    Case {
        name: "streams by their replicas",
        configuration: "operator: @op@\n@accounts@\njetstream { store_dir: \"@STORE@\" }",
        script: r#"
            D {"jwt": "@u.tiers@", "seed": "@seed50@"}
            D> SUB r 1
            D> PUB $JS.API.INFO r
            D?
            D> PUB $JS.API.STREAM.NAMES r
            D?
        "#,
    },
];
