//! What flags and files mean.

use std::time::Duration;

use weir_conf::options::{Backend, Compression, ConnectionType, Durability, Index, Listen, Scrub, SyncInterval, User};
use weir_conf::{Command, Options, duration};

fn none(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> Options {
    Options::parse(text, "a.conf", &none).unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

fn fails(text: &str) -> String {
    match Options::parse(text, "a.conf", &none) {
        Ok(options) => panic!("{text:?} was read as {options:?}"),
        Err(e) => e.to_string(),
    }
}

fn load(args: &[&str]) -> Result<Command, String> {
    let args: Vec<String> = args.iter().map(|&a| a.to_owned()).collect();
    Options::load(&args, &none).map_err(|e| e.to_string())
}

fn run(args: &[&str]) -> Options {
    match load(args) {
        Ok(Command::Run(options)) => *options,
        other => panic!("{args:?}: {other:?}"),
    }
}

#[test]
fn every_supported_key() {
    let o = parse(
        "listen: \"127.0.0.1:-1\"\nServer_Name: a\nclient_advertise: \"h:1\"\nhttp: \"localhost:8222\"\ndebug: yes\ntrace: on\nlogtime: no\n\
         log_file: l\nlogfile_size_limit: 1mb\npid_file: p\nports_file_dir: d\nmax_payload: 2MB\nmax_control_line: 1k\nmax_pending: 10mb\n\
         max_conn: 10\nmax_subs: 20\nping_interval: \"30s\"\nping_max: 5\nwrite_deadline: 3\nno_header_support: true\n\
         authorization { users: [{user: a, password: b}, {user: c, pass: d}], timeout: 0.5 }\nlame_duck_duration: \"1m30s\"\n\
         lame_duck_grace_period: 5s\nserver_tags: [x, y]\nsystem_account: \"$SYS\"\nmax_traced_msg_len: 64\n\
         jetstream { store_dir: s, max_mem: 1g, max_file: \"2G\", domain: hub, strict: false, sync_interval: \"5s\",\n\
         limits { max_ack_pending: 1, max_ha_assets: 2, default_max_consumers: -1, max_request_batch: 3, duplicate_window: \"1m\",\n\
         batch { max_inflight_per_stream: 4, max_inflight_total: 5, max_msgs: 6, timeout: 7s } }\n\
         max_buffered_msgs: 8, max_buffered_size: \"9M\", request_queue_limit: 10, info_queue_limit: 11\n\
         backend: rocksdb, compression: zstd, index: paged, shards: 4, scrub { cycle: \"24h\", rate: 1M } }\n",
    );
    assert_eq!((o.host.as_str(), o.port), ("127.0.0.1", 0));
    assert_eq!(
        o.http,
        Some(Listen {
            host: "localhost".into(),
            port: 8222
        })
    );
    assert_eq!(
        (o.log.debug, o.log.trace, o.log.time, o.no_header_support),
        (true, true, false, true)
    );
    assert_eq!((o.log.size_limit, o.log.max_traced_msg_len), (Some(1 << 20), Some(64)));
    assert_eq!(
        (o.max_payload, o.max_control_line, o.max_pending),
        (2 << 20, 1000, 10 << 20)
    );
    assert_eq!(
        (o.max_connections, o.max_subscriptions, o.ping_max),
        (Some(10), Some(20), 5)
    );
    assert_eq!(
        (o.ping_interval, o.write_deadline),
        (Duration::from_secs(30), Duration::from_secs(3))
    );
    assert_eq!(
        (o.lame_duck_duration, o.lame_duck_grace_period),
        (Duration::from_secs(90), Duration::from_secs(5))
    );
    assert_eq!(
        o.auth.users[1],
        User {
            name: "c".into(),
            password: "d".into(),
            ..User::default()
        }
    );
    assert_eq!((o.auth.timeout, o.auth.required()), (Duration::from_millis(500), true));
    assert_eq!(
        (o.server_tags, o.server_name, o.client_advertise),
        (vec!["x".into(), "y".into()], Some("a".into()), Some("h:1".into()))
    );
    let js = o.jetstream;
    assert!(js.enabled && !js.strict);
    assert_eq!(
        (js.max_memory, js.max_file, js.domain.as_deref()),
        (Some(1_000_000_000), Some(2 << 30), Some("hub"))
    );
    assert_eq!(
        (js.backend, js.compression, js.index, js.shards),
        (Backend::RocksDb, Compression::Zstd, Some(Index::Paged), Some(4))
    );
    assert_eq!(
        js.scrub,
        Some(Scrub {
            cycle: Duration::from_secs(24 * 3600),
            rate: 1_000_000
        })
    );
    assert_eq!(js.sync_interval, Some(SyncInterval::Every(Duration::from_secs(5))));
    assert_eq!(js.limits.duplicate_window, Some(Duration::from_secs(60)));
    let batch = js.limits.batch;
    assert_eq!(
        (
            batch.max_inflight_per_stream,
            batch.max_inflight_total,
            batch.max_msgs,
            batch.timeout
        ),
        (Some(4), Some(5), Some(6), Some(Duration::from_secs(7)))
    );
    assert_eq!((js.max_buffered_msgs, js.max_buffered_size), (Some(8), Some(9 << 20)));
    assert_eq!((js.request_queue_limit, js.info_queue_limit), (Some(10), Some(11)));
}

#[test]
fn short_forms() {
    assert_eq!(parse("listen: 4555").port, 4555);
    assert_eq!(parse("listen: \"[::1]:4555\"").host, "::1");
    assert_eq!(parse("port: -1").port, 0);
    assert_eq!(
        parse("http_port: 8222").http,
        Some(Listen {
            host: String::new(),
            port: 8222
        })
    );
    assert_eq!(parse("monitor_port: -1").http.unwrap().port, 0);
    assert_eq!(parse("max_payload: -1\nmax_pending: 1g").max_payload, 999_999_999);
    assert_eq!(
        parse("max_payload: 128mb\nmax_pending: 1g\njetstream: on").max_payload,
        weir_conf::options::RECORD_MAX
    );
    assert_eq!(parse("max_connections: -1").max_connections, Some(0));
    assert_eq!(parse("max_connections: 0").max_connections, Some(0));
    assert_eq!(parse("ping_max: 0"), Options::default());
    assert!(parse("jetstream: true").jetstream.enabled && parse("jetstream: enabled").jetstream.enabled);
    assert!(
        !parse("jetstream: disabled").jetstream.enabled && !parse("jetstream { enabled: false }").jetstream.enabled
    );
    assert_eq!(parse("authorization { token: t }").auth.token.as_deref(), Some("t"));
    assert_eq!(
        parse("authorization { user: u, password: $2a$11$x }").auth.users[0].password,
        "$2a$11$x"
    );
    assert_eq!(parse("P: 4333\nport: $P").port, 4333);
}

#[test]
fn durability_comes_from_the_nearest_key() {
    let of = |block: &str| {
        parse(&format!("jetstream {{ {block} }}"))
            .jetstream
            .default_durability()
    };
    let minute = Duration::from_secs(60);
    assert_eq!(of(""), Durability::Sync);
    assert_eq!(of("sync_interval: always"), Durability::Sync);
    assert_eq!(of("sync_interval: \"1m\""), Durability::Interval(minute));
    assert_eq!(of("sync_interval: always, durability: os"), Durability::Os);
    assert_eq!(of("durability: \"interval:1m\""), Durability::Interval(minute));
}

#[test]
fn what_is_wrong_and_where() {
    for (text, expected) in [
        ("foo: 1", "a.conf:1:1: unknown field \"foo\""),
        (
            "client_advertise: \"a:b:c\"",
            "a.conf:1:19: client_advertise: \"a:b:c\" is not host:port",
        ),
        (
            "client_advertise: \"a:b\"",
            "a.conf:1:19: client_advertise: \"a:b\" is not host:port",
        ),
        (
            "client_advertise: \"[::1]4222\"",
            "a.conf:1:19: client_advertise: \"[::1]4222\" is not host:port",
        ),
        (
            "\nauthorization { usr: a }",
            "a.conf:2:17: unknown field \"usr\"; did you mean \"user\"?",
        ),
        ("jetstream { foo: 1 }", "a.conf:1:13: unknown field \"foo\""),
        (
            "\noperator: x",
            "a.conf:2:11: error parsing operator JWT: open \"x\": No such file or directory (os error 2)",
        ),
        (
            "jetstream { unique_tag: x }",
            "a.conf:1:13: \"unique_tag\" is an option of nats-server that Weir does not support yet; remove it to run without",
        ),
        (
            "port: abc",
            "a.conf:1:7: port must be an integer, as 1048576 or 1mb, not a string",
        ),
        (
            "port: 70000",
            "a.conf:1:7: port: 70000 is not a port: use 1 to 65535, or -1 for any free one",
        ),
        ("listen: \"x\"", "a.conf:1:9: listen: \"x\" is not host:port"),
        (
            "server_name: 5",
            "a.conf:1:14: server_name must be a string (put it in quotes), not an integer",
        ),
        (
            "ping_interval: 5x",
            "a.conf:1:16: ping_interval: \"5x\" is not a duration: write a number with a unit, as \"100ms\", \"2s\" or \"1m30s\"",
        ),
        (
            "ping_interval: 1m",
            "a.conf:1:16: ping_interval: 1000000 seconds is not from 0 to 999999; put a duration in quotes (\"1m\" is a minute, a bare 1m is the number 1000000)",
        ),
        (
            "write_deadline: \"-2s\"",
            "a.conf:1:17: write_deadline: the duration \"-2s\" is negative",
        ),
        (
            "max_payload: 1g",
            "a.conf:1:14: max_payload is 1000000000, but must be -1 to 999999999",
        ),
        (
            "max_pending: 1gb\nmax_payload: 134217729\njetstream: on",
            "max_payload (134217729) is more than JetStream can store in one message (134217728): lower max_payload, or turn JetStream off",
        ),
        (
            "max_pending: 1gb\nmax_payload: -1\njetstream: on",
            "max_payload (999999999) is more than JetStream can store in one message (134217728): lower max_payload, or turn JetStream off",
        ),
        (
            "max_pending: 1k\nmax_payload: 1mb",
            "max_payload (1048576) cannot be higher than max_pending (1000): raise max_pending",
        ),
        (
            "lame_duck_duration: \"5s\"",
            "a.conf:1:21: invalid lame_duck_duration of 5s, minimum is 30 seconds",
        ),
        (
            "jetstream: maybe",
            "a.conf:1:12: Expected 'enabled' or 'disabled' for string value, got 'maybe'",
        ),
        (
            "jetstream { max_file: \"1x\" }",
            "a.conf:1:23: max_file sizes defined as strings must end in K, M, G, T",
        ),
        (
            "jetstream { backend: lmdb }",
            "a.conf:1:22: backend: \"lmdb\" is not one of segment, rocksdb, memory",
        ),
        (
            "jetstream { durability: \"interval:0\" }",
            "a.conf:1:25: durability: an interval of 0 is `sync`: write that, or a longer interval",
        ),
        (
            "jetstream { scrub: weekly }",
            "a.conf:1:20: scrub is on, off, or a block: scrub { cycle: 168h, rate: 16M }",
        ),
        (
            "jetstream { scrub { cycle: 10ms } }",
            "a.conf:1:28: cycle is at least 1s",
        ),
        (
            "jetstream { scrub { rate: 10 } }",
            "a.conf:1:27: rate is at least 64K, in bytes per second",
        ),
        (
            "jetstream { scrub { speed: 10 } }",
            "a.conf:1:21: unknown field \"speed\"",
        ),
        (
            "jetstream { shards: 0 }",
            "a.conf:1:21: shards is 0, but must be 1 to 256",
        ),
        (
            "store_dir: a\njetstream { store_dir: b }",
            "a.conf:2:13: store_dir is set twice, at the top of the file and in jetstream { }",
        ),
        (
            "authorization {token: b, user: a, password: c}",
            "a.conf:1:1: authorization has both a token and users: choose one",
        ),
        (
            "authorization {user: a, password: b, users: []}",
            "a.conf:1:1: authorization has both a single user and a users list: put the user into the list",
        ),
        (
            "authorization {users: [{password: a}]}",
            "a.conf:1:24: this entry of users has no user",
        ),
        (
            "authorization {users: [{user: a, password: b, nkey: U}]}",
            "a.conf:1:53: nkey: Not a valid public nkey for a user",
        ),
        (
            "authorization {users: [{user: a, password: b, permissions: {publish: \"a..b\"}}]}",
            "a.conf:1:70: subject \"a..b\" is not a valid subject",
        ),
        (
            "authorization {users: [{user: a, permissions: {publish: \"a q\"}}]}",
            "a.conf:1:57: subject \"a q\" is not a valid subject",
        ),
        (
            "authorization {users: [{user: a, permissions: {publish: {alow: a}}}]}",
            "a.conf:1:58: unknown field \"alow\"; did you mean \"allow\"?",
        ),
        (
            "authorization {users: [{user: a, allowed_connection_types: [STANDARD, X]}]}",
            "a.conf:1:60: allowed_connection_types: \"X\" is not a type of connection",
        ),
        (
            "authorization {users: [{user: a}]}\nno_auth_user: b",
            "no_auth_user: \"b\" not present as user or nkey in authorization block or account configuration",
        ),
        (
            "no_auth_user: b",
            "no_auth_user: \"b\" present, but users/nkeys are not defined",
        ),
        (
            "system_account: ACME",
            "error resolving system account: account \"ACME\" is missing",
        ),
    ] {
        assert_eq!(fails(text), expected);
    }
}

#[test]
fn a_used_variable_may_not_hide_an_unsupported_key() {
    assert!(fails("jetstream { unique_tag: az\ndomain: $unique_tag }").contains("does not support yet"));
}

#[test]
fn passwords_are_not_printed() {
    let shown = format!("{:?}", parse("authorization { user: u, password: hunter2 }"))
        + &format!("{:?}", run(&["--auth", "hunter2"]));
    assert!(!shown.contains("hunter2"));
}

#[test]
fn flags_in_every_form() {
    let o = run(&[
        "-js",
        "-m",
        "8222",
        "--port=-1",
        "-a",
        "h",
        "--name",
        "n",
        "-P",
        "p",
        "-sd=s",
        "-DV",
        "-T=false",
        "--log_size_limit",
        "9",
        "-l",
        "x",
    ]);
    assert!(o.jetstream.enabled && o.log.debug && o.log.trace && !o.log.time && !o.log.trace_verbose);
    assert_eq!((o.host.as_str(), o.port, o.log.size_limit), ("h", 0, Some(9)));
    assert_eq!((o.server_name.as_deref(), o.http.unwrap().port), (Some("n"), 8222));
    assert_eq!(
        (o.pid_file.unwrap().to_str(), o.jetstream.store_dir.unwrap().to_str()),
        (Some("p"), Some("s"))
    );
    assert!(run(&["-DVV"]).log.trace_verbose && run(&["-VV"]).log.trace && run(&["-D"]).log.debug);
    assert_eq!(
        run(&["--user", "u", "--pass", "p"]).auth.users,
        [User {
            name: "u".into(),
            password: "p".into(),
            ..User::default()
        }]
    );
    assert_eq!(run(&["--user=u", "--pass=p=q"]).auth.users[0].password, "p=q");
    assert_eq!(run(&[]), Options::default());
    assert_eq!(run(&["--"]), Options::default());
}

#[test]
fn flags_that_are_wrong() {
    for (args, expected) in [
        (&["-zz"][..], "flag provided but not defined: -zz"),
        (&["-p"], "flag needs an argument: -p"),
        (&["-p", "abc"], "invalid value \"abc\" for flag -p: not a whole number"),
        (
            &["-p", "70000"],
            "flag -port: 70000 is not a port: use 1 to 65535, or -1 for any free one",
        ),
        (
            &["-D=maybe"],
            "invalid boolean value \"maybe\" for -D: write true or false",
        ),
        (&["---p", "1"], "bad flag syntax: ---p"),
        (&["foo"], "unrecognized command: \"foo\""),
        (&["-D", "false"], "unrecognized command: \"false\""),
        (
            &["-t"],
            "must specify [-c, --config] option to check configuration file syntax",
        ),
        (
            &["--routes", "nats://a:6222"],
            "flag -routes asks this server to join other servers, and Weir does not have clusters yet: it serves alone",
        ),
        (
            &["--tls"],
            "TLS Server certificate must be present and valid (-tlscert)",
        ),
        (
            &["--tlscert", "a"],
            "TLS Server private key must be present and valid (-tlskey)",
        ),
        (&["-ms", "8222"], "TLS cert and key required for HTTPS"),
        (&["--user", "a"], "flags -user and -pass go together: give both"),
        (
            &["--auth", "a", "--user", "b"],
            "flag -auth does not go together with -user and -pass",
        ),
    ] {
        assert_eq!(load(args).unwrap_err(), expected);
    }
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.conf");
    std::fs::write(
        &path,
        "port: 4333\ndebug: true\nhttp: \"h:1\"\nauthorization { token: t, timeout: 5 }\nmax_conn: 7\n",
    )
    .unwrap();
    let file = path.to_str().unwrap();
    let o = run(&[
        "-p", "4444", "-D=false", "-m", "2", "--user", "u", "--pass", "p", "-c", file,
    ]);
    assert_eq!(
        (o.port, o.log.debug, o.max_connections, o.config_file),
        (4444, false, Some(7), Some(path.clone()))
    );
    assert_eq!(
        o.http,
        Some(Listen {
            host: "h".into(),
            port: 2
        })
    );
    assert_eq!(
        (o.auth.token, o.auth.users.len(), o.auth.timeout),
        (None, 1, Duration::from_secs(5))
    );
    assert!(matches!(load(&["-c", file, "-t"]), Ok(Command::CheckConfig { file: f, .. }) if f == file));
    assert_eq!(
        weir_conf::check_message("a.conf", "sha256:0"),
        "nats-server: configuration file a.conf is valid (sha256:0)"
    );
    std::fs::write(&path, "# nothing\n").unwrap();
    let warnings = run(&["-c", file]).warnings;
    assert!(
        warnings[0]
            .to_string()
            .ends_with("a.conf: config has no values or is empty")
    );
    assert_eq!(load(&["-c", file, "-t"]).unwrap_err(), warnings[0].to_string());
}

#[test]
fn help_and_version() {
    for args in [&["-h"][..], &["--help"], &["help"], &["-D", "-h"]] {
        let Ok(Command::PrintHelp(text)) = load(args) else {
            panic!("{args:?}")
        };
        assert!(
            text.contains("-sd, --store_dir <dir>") && !text.contains("cluster"),
            "{text}"
        );
    }
    for args in [&["-v"][..], &["--version"], &["version"], &["-D", "-h", "-v"]] {
        assert!(matches!(load(args), Ok(Command::PrintVersion)));
    }
    // Tools compare it as a whole, or take what is behind the last blank.
    assert_eq!(weir_conf::version_line(), "nats-server: v2.15.1");
    assert_eq!(weir_conf::own_version_line("0.1.0"), "weir-server: v0.1.0");
}

#[test]
fn flags_as_go_and_nats_server_read_them() {
    for (args, port) in [
        (&["-p", "0x1000"][..], 4096),
        (&["--p=0b1000"], 8),
        (&["-port=010"], 8),
        (&["-p", "4_222"], 4222),
        (&["-p", "+7"], 7),
    ] {
        assert_eq!(run(args).port, port, "{args:?}");
    }
    for wrong in ["", "4_", "_4", "0x", "4 ", "--4", "4__2"] {
        assert!(load(&["-p", wrong]).is_err(), "{wrong}");
    }
    let o = run(&["-logtime_utc", "-s", "-r", "udp://h:514", "--syslog=true"]);
    assert!(o.log.utc && o.log.syslog);
    assert_eq!(o.log.remote_syslog.as_deref(), Some("udp://h:514"));
    for args in [
        &["-sl", "ldm=1"][..],
        &["--signal=ldm=1"],
        &["--signal", "ldm=1", "-c", "missing"],
    ] {
        assert!(
            matches!(load(args), Ok(Command::Signal(signal)) if signal == "ldm=1"),
            "{args:?}"
        );
    }
    // What opens a port that nobody uses, or is of no meaning to one server.
    for args in [
        &["--cluster", "nats://0.0.0.0:6222"][..],
        &["--cluster_name=x"],
        &["-no_advertise"],
    ] {
        assert!(run(args).warnings[0].to_string().contains("has no effect"), "{args:?}");
    }
    for args in [&["--tls=false"][..], &["--cluster", ""], &["-ms", "0"]] {
        assert_eq!(run(args).warnings, [], "{args:?}");
    }
}

#[test]
fn flag_names_are_unique() {
    let mut names: Vec<_> = weir_conf::flags::FLAGS.iter().flat_map(|f| f.names).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(
        weir_conf::flags::FLAGS
            .iter()
            .all(|f| !f.supported || !f.help.is_empty())
    );
}

#[test]
fn durations_as_go_writes_them() {
    for (text, nanos) in [
        ("0", 0),
        ("100ms", 100_000_000),
        ("1m30s", 90_000_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("1us2ns", 1_002),
        ("+1µs", 1_000),
        ("9223372036854775807ns", i64::MAX as u64),
    ] {
        assert_eq!(duration::parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
    }
    for wrong in [
        "",
        "5",
        "s",
        "1d",
        "1 s",
        "-1s",
        "1.2.3s",
        ".s",
        "9223372036854775808ns",
        "99999999999999999999999999999999999999999999h",
    ] {
        assert!(duration::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn permissions_of_users() {
    let o = parse(
        "authorization {\n  default_permissions: {publish: free}\n  users: [\n\
         {user: a, permissions: {pub: [x, \"y.>\"], sub: {allow: \"q v1\", deny: [\"q.*\"]}, allow_responses: {max: 5, expires: \"1m\"}}}\n\
         {user: b, permissions: {publish: {deny: z}, allow_responses: true}, clients: [standard, MQTT]}\n\
         {nkey: UBHZKSHGAYXQN4HBLNRIAOAJMQMJWV664V4M4I36W2F4X4B64ZSFTJCU}\n\
         {user: c, permissions: {publish: {}, subscribe: [], allow_responses: {max: -1, ttl: \"-1s\"}}}\n] }",
    );
    let of = |at: usize| o.auth.users[at].permissions.as_deref().unwrap();
    let list = |of: &[&str]| of.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(of(0).publish.allow, Some(list(&["x", "y.>"])));
    assert_eq!(
        (of(0).subscribe.allow.clone(), of(0).subscribe.deny.clone()),
        (Some(list(&["q v1"])), list(&["q.*"]))
    );
    let responses = of(0).responses.unwrap();
    assert_eq!(
        (responses.max, responses.expires),
        (Some(5), Some(Duration::from_secs(60)))
    );
    assert_eq!(
        (of(1).publish.allow.clone(), of(1).publish.deny.clone()),
        (Some(Vec::new()), list(&["z"]))
    );
    let responses = of(1).responses.unwrap();
    assert_eq!(
        (responses.max, responses.expires),
        (Some(1), Some(Duration::from_secs(120)))
    );
    assert_eq!(
        o.auth.users[1].connection_types,
        [ConnectionType::Standard, ConnectionType::Mqtt]
    );
    assert!(o.auth.users[2].nkey);
    assert_eq!(of(2).publish.allow, Some(list(&["free"])));
    assert_eq!(
        (of(3).publish.allow.clone(), of(3).subscribe.allow.clone()),
        (Some(Vec::new()), None)
    );
    let responses = of(3).responses.unwrap();
    assert_eq!((responses.max, responses.expires), (None, None));
}

#[test]
fn accounts_and_their_users() {
    let o = parse(
        "accounts {\n  A { users: [{user: a, password: p}, {user: b, permissions: {publish: x}}], default_permissions: {publish: y}\n\
         jetstream: {max_mem: 1M, max_file: -1, max_streams: 5, max_consumers: 0, max_bytes_required: true}\n\
         limits: {max_conn: 3, max_subs: -1, max_payload: 1K} }\n  B { jetstream: enabled }\n  C {}\n  SYS { users: [{user: s}] } }\n\
         system_account: SYS\nauthorization { users: [{user: c, password: p}] }",
    );
    let names: Vec<_> = o.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["A", "B", "C", "SYS"]);
    let a = &o.accounts[0];
    let js = a.jetstream.unwrap();
    assert_eq!(
        (js.max_memory, js.max_store, js.max_streams, js.max_consumers),
        (Some(1_000_000), None, Some(5), None)
    );
    assert!(js.max_bytes_required && o.accounts[1].jetstream.is_some() && o.accounts[2].jetstream.is_none());
    assert_eq!(
        (
            a.limits.max_connections,
            a.limits.max_subscriptions,
            a.limits.max_payload
        ),
        (Some(3), None, Some(1000))
    );
    let users: Vec<_> = o
        .auth
        .users
        .iter()
        .map(|user| (user.name.as_str(), user.account.as_deref()))
        .collect();
    assert_eq!(
        users,
        [("a", Some("A")), ("b", Some("A")), ("s", Some("SYS")), ("c", None)]
    );
    let publish = |at: usize| {
        o.auth.users[at]
            .permissions
            .as_ref()
            .and_then(|of| of.publish.allow.clone())
    };
    assert_eq!(
        (publish(0), publish(1), publish(3)),
        (Some(vec!["y".into()]), Some(vec!["x".into()]), None)
    );
    assert_eq!(parse("accounts [A, B]").accounts.len(), 2);
}

#[test]
fn accounts_that_are_none() {
    for (text, expected) in [
        ("accounts { $G {} }", "a.conf:1:12: \"$G\" is a Reserved Account"),
        ("accounts [A, A]", "a.conf:1:1: Duplicate Account Entry: A"),
        (
            "accounts { A { usrs: [] } }",
            "a.conf:1:16: unknown field \"usrs\"; did you mean \"users\"?",
        ),
        ("accounts { A: x }", "a.conf:1:15: A must be a { block }, not a string"),
        (
            "accounts { A { users: [{user: a}] }, B { users: [{user: a}] } }",
            "a.conf:1:1: the user \"a\" is in the list twice",
        ),
        (
            "accounts { A { users: [{user: a}] } }\nauthorization { users: [{user: a}] }",
            "a.conf:2:1: the user \"a\" is in the list twice",
        ),
        (
            "accounts { A { users: [{user: a}] } }\nauthorization { token: t }",
            "a.conf:2:1: Can not have a single user/pass or a token, and users of accounts",
        ),
        (
            "authorization { token: t }\naccounts { A { users: [{user: a}] } }",
            "Can not have a single user/pass or a token, and users of accounts",
        ),
        (
            "accounts { A { msg_trace: a.* } }",
            "a.conf:1:27: Trace destination \"a.*\" is not valid",
        ),
    ] {
        assert_eq!(fails(text), expected);
    }
}

#[test]
fn an_account_says_where_traces_go() {
    use weir_conf::options::AccountTraces;
    let traces = |text: &str| {
        let read = Options::parse(&format!("accounts {{ A {{ {text} }} }}"), "test.conf", &|_| None);
        read.map(|options| options.accounts[0].traces.clone())
    };
    let to = |dest: &str, sampling| {
        let dest = dest.to_owned();
        Some(AccountTraces { dest, sampling })
    };
    assert_eq!(traces("").unwrap(), None);
    assert_eq!(traces("msg_trace: a.b").unwrap(), to("a.b", 100));
    assert_eq!(traces("trace_dest: {dest: a, sampling: 5}").unwrap(), to("a", 5));
    assert_eq!(traces("msg_trace: {dest: a, sampling: \"25%\"}").unwrap(), to("a", 25));
    assert_eq!(traces("msg_trace: {}").unwrap(), None);
    assert_eq!(traces("msg_trace: {sampling: 5}").unwrap(), None);
    for wrong in [
        "msg_trace: a.*",
        "msg_trace: 5",
        "msg_trace: {dest: \"a b\"}",
        "msg_trace: {dest: a, sampling: 0}",
        "msg_trace: {dest: a, sampling: 101}",
        "msg_trace: {dest: a, sampling: x}",
        "msg_trace: {dest: a, sampling: true}",
        "msg_trace: {destination: a}",
        "msg_trace: []",
    ] {
        assert!(traces(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_flag_of_profiles_is_their_port() {
    let at = |args: &[&str]| run(args).profiling.map(|at| at.port);
    assert_eq!(
        (at(&["--profile", "6060"]), at(&["-profile=0"]), at(&[])),
        (Some(6060), None, None)
    );
}

#[test]
fn a_store_is_encrypted() {
    use weir_conf::options::{Cipher, Secret};
    let read = |text: &str| parse(text).jetstream;
    let key = |text: &str| Some(Secret(text.to_owned()));
    for name in ["key", "ek", "encryption_key"] {
        let js = read(&format!(
            "jetstream {{ cipher: AES, {name}: 'two words', prev_{name}: b }}"
        ));
        assert_eq!(
            (js.cipher, &js.key, &js.prev_key),
            (Cipher::Aes, &key("two words"), &key("b"))
        );
        let shown = format!("{js:?}");
        assert!(!shown.contains("two words"), "{shown}");
    }
    let js = read("jetstream { cipher: chachapoly }");
    assert_eq!((js.cipher, js.key), (Cipher::ChaCha, None));
    let warned = |text: &str| parse(text).warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    let alone = warned("jetstream { prev_key: a }");
    assert!(
        alone.len() == 1 && alone[0].contains("no effect without a key"),
        "{alone:?}"
    );
    let whole = warned("jetstream { key: a, prev_key: b, cipher: aes, compression: lz4 }");
    assert!(whole.is_empty(), "{whole:?}");
    for (text, why) in [
        ("jetstream { key: 12345 }", "put it in quotes"),
        ("jetstream { cipher: rot13 }", "rot13"),
        ("jetstream { key: a, index: paged }", "would tell the subjects"),
        ("jetstream { tpm { keys_file: a } }", "does not support yet"),
    ] {
        let error = fails(text);
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn clients_may_be_told_of_a_host_or_of_a_port_with_it() {
    for at in ["a", "a:4222", "[::1]", "[::1]:4222", ":4222", "a:0"] {
        let options = parse(&format!("client_advertise: {at:?}"));
        assert_eq!(options.client_advertise.as_deref(), Some(at));
    }
}
