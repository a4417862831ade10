//! Every block of nats-server's is read whole: what nobody knows in it is refused, with what was perhaps meant.

use weir_conf::Options;

fn read(text: &str) -> Result<Options, String> {
    Options::parse(text, "a.conf", &|_| None).map_err(|error| error.to_string())
}

fn warnings(text: &str) -> Vec<String> {
    let options = read(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    options.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_block_that_only_opens_a_port_is_accepted_with_a_warning() {
    for (text, expected) in [
        (
            "leafnodes {}",
            "a.conf:1:1: \"leafnodes\": Weir does not have leaf nodes yet; it has no effect",
        ),
        (
            "leaf { port: -1 }",
            "a.conf:1:1: \"leaf\": Weir does not have leaf nodes yet; nothing listens on port -1",
        ),
        (
            "gateway { name: A, port: 7222 }",
            "a.conf:1:1: \"gateway\": Weir does not have gateways yet; nothing listens on port 7222",
        ),
        (
            "mqtt { port: 1883 }",
            "a.conf:1:1: \"mqtt\": Weir does not have MQTT yet; nothing listens on port 1883",
        ),
        (
            "cluster { name: c, listen: \"0.0.0.0:6222\", routes: [] }",
            "a.conf:1:1: \"cluster\": Weir does not have clusters yet; nothing listens on port 0.0.0.0:6222",
        ),
        (
            "leafnodes { remotes: [ { url: \"nats://a:7422\", disabled: true } ] }",
            "a.conf:1:1: \"leafnodes\": Weir does not have leaf nodes yet; it has no effect",
        ),
    ] {
        assert_eq!(warnings(text), [expected], "{text}");
    }
}

#[test]
fn a_block_that_asks_for_something_is_refused() {
    for (text, expected) in [
        (
            "cluster {\n  routes: [\"nats://a:6222\"]\n}",
            "a.conf:2:3: cluster.routes asks this server to join other servers, and Weir does not have clusters yet: it serves alone; remove routes to run it so",
        ),
        (
            "gateway { name: A, gateways: [ { name: B, url: \"nats://b:7222\" } ] }",
            "a.conf:1:20: gateway.gateways asks this server to connect to other clusters, and Weir does not have gateways yet: it serves alone; remove gateways to run it so",
        ),
        (
            "leafnodes { remotes: [ { url: \"nats://a:7422\" } ] }",
            "a.conf:1:13: leafnodes.remotes asks this server to connect to another server as its leaf node, and Weir does not have leaf nodes yet: it serves alone; remove remotes to run it so",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn a_key_that_nobody_knows_is_refused_in_every_block() {
    for (text, expected) in [
        (
            "max_paylod: 1mb",
            "a.conf:1:1: unknown field \"max_paylod\"; did you mean \"max_payload\"?",
        ),
        (
            "cluster { rotes: [] }",
            "a.conf:1:11: unknown field \"rotes\"; did you mean \"routes\"?",
        ),
        (
            "cluster { tls { cert_fil: x } }",
            "a.conf:1:17: unknown field \"cert_fil\"; did you mean \"cert_file\"?",
        ),
        (
            "cluster { authorization { user: a, pasword: b } }",
            "a.conf:1:36: unknown field \"pasword\"; did you mean \"password\"?",
        ),
        (
            "cluster { compression { mod: off } }",
            "a.conf:1:25: unknown field \"mod\"; did you mean \"mode\"?",
        ),
        (
            "gateway { gateways: [ { nam: b } ] }",
            "a.conf:1:25: unknown field \"nam\"; did you mean \"name\"?",
        ),
        (
            "leafnodes { authorization { users: [ { usr: a } ] } }",
            "a.conf:1:40: unknown field \"usr\"; did you mean \"user\"?",
        ),
        (
            "leafnodes { remotes: [ { proxy { uri: x } } ] }",
            "a.conf:1:34: unknown field \"uri\"; did you mean \"url\"?",
        ),
        (
            "websocket { jwt_cooky: x }",
            "a.conf:1:13: unknown field \"jwt_cooky\"; did you mean \"jwt_cookie\"?",
        ),
        (
            "mqtt { acc_wait: 1s }",
            "a.conf:1:8: unknown field \"acc_wait\"; did you mean \"ack_wait\"?",
        ),
        (
            "jetstream { limits { max_ack_pendin: 1 } }",
            "a.conf:1:22: unknown field \"max_ack_pendin\"; did you mean \"max_ack_pending\"?",
        ),
        (
            "jetstream { tpm { pcrs: 1 } }",
            "a.conf:1:19: unknown field \"pcrs\"; did you mean \"pcr\"?",
        ),
        (
            "proxies { trustd: [] }",
            "a.conf:1:11: unknown field \"trustd\"; did you mean \"trusted\"?",
        ),
        ("ocsp { modus: x }", "a.conf:1:8: unknown field \"modus\""),
    ] {
        assert_eq!(read(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn a_value_of_another_kind_is_refused_in_every_block() {
    for (text, expected) in [
        (
            "cluster: 4333",
            "a.conf:1:10: cluster must be a { block }, not an integer",
        ),
        (
            "cluster { port: x }",
            "a.conf:1:17: port must be an integer, as 1048576 or 1mb, not a string",
        ),
        (
            "leafnodes { remotes { } }",
            "a.conf:1:21: remotes must be a [ list ], not a block",
        ),
        (
            "gateway { gateways: [ a ] }",
            "a.conf:1:23: an entry of gateways must be a { block }, not a string",
        ),
        (
            "websocket { same_origin: 1 }",
            "a.conf:1:26: same_origin must be true or false, not an integer",
        ),
        ("mqtt { listen: x }", "a.conf:1:16: listen: \"x\" is not host:port"),
        (
            "cluster { write_timeout: never }",
            "a.conf:1:26: write_timeout: \"never\" is not one of default, close, retry",
        ),
        (
            "feature_flags { a: 1 }",
            "a.conf:1:20: a must be true or false, not an integer",
        ),
        (
            "server_metadata { a: 1 }",
            "a.conf:1:22: a must be a string (put it in quotes), not an integer",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn a_feature_that_is_not_there_may_be_turned_off() {
    for text in [
        "proxy_protocol: false",
        "https_port: 0",
        "no_system_account: false",
        "proxies { trusted: [] }",
        "jetstream { prev_key: \"\" }",
        "write_timeout: close",
        "connect_error_reports: 10",
        "reconnect_error_reports: 10",
        "default_js_domain { A: hub }",
        "prof_block_rate: 0",
        "ocsp_cache: true",
        "feature_flags { js_api_reply_v2: true, js_snapshot_sources: true, js_raft_delete_range: false }",
        "accounts { A { limits { max_leafnodes: 5 } } }",
        "accounts { A { jetstream { cluster_traffic: owner } } }",
        "accounts { A { nkey: ACI2FCQLOQ4BLE5E3FDJK6JARETK7SFNQLEIHG3WIQ2ZXHV2TJFTU3RM } }",
    ] {
        assert_eq!(warnings(text), [""; 0], "{text}");
    }
    for text in [
        "https_port: 8443",
        "operator: \"op.jwt\"",
        "jetstream { unique_tag: az }",
        "write_timeout: retry",
        "prof_block_rate: 10",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

/// A store that is to be encrypted is not made without that because a text is missing.
#[test]
fn a_key_that_is_empty_is_refused() {
    for key in ["key", "ek", "encryption_key"] {
        for text in [
            format!("jetstream {{ {key}: \"\" }}"),
            format!("none = ''\njetstream {{ {key}: $none }}"),
        ] {
            let told = read(&text).unwrap_err();
            let expected = format!("{key} is empty: leave it out or give it a value");
            assert!(told.ends_with(&expected), "{text}: {told}");
        }
    }
}

#[test]
fn what_has_no_effect_is_said() {
    for text in [
        "ocsp_cache { local_store: a }",
        "ocsp_cache { save_interval: 10 }",
        "ocsp_cache { preserve_revoked: false }",
        "feature_flags { something_else: false }",
        "cluster { port: 6222 }",
        "tls { cert_file: a, key_file: b, insecure: true }",
    ] {
        let said = warnings(text);
        let told = ["has no effect", "nothing listens"];
        assert!(
            said.len() == 1 && told.iter().any(|told| said[0].contains(told)),
            "{text}: {said:?}"
        );
    }
}

#[test]
fn feature_flags_are_as_they_were_set() {
    assert_eq!(
        warnings("feature_flags { js_ack_fc_v2: true, js_raft_delete_range: true }"),
        [""; 0]
    );
    let o = read("feature_flags { js_ack_fc_v2: true, something_else: true }\njetstream: true").unwrap();
    assert!(o.features.long_acks() && o.jetstream.long_acks);
    let told: Vec<(&str, bool)> = o.features.all().iter().map(|(name, on)| (name.as_str(), *on)).collect();
    let expected = [
        ("js_ack_fc_v2", true),
        ("js_api_reply_v2", false),
        ("js_raft_delete_range", true),
        ("js_snapshot_sources", false),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_one_server_can_do_without_is_left_out() {
    let o = read("no_system_account: true\nno_sublist_cache: true\nprof_port: 6060\n").unwrap();
    assert!(o.no_system_account && o.no_match_cache && !o.has_system_account());
    assert_eq!(o.profiling.map(|at| at.port), Some(6060));
    assert!(
        read("no_system_account: true\njetstream: true\n")
            .unwrap()
            .has_system_account()
    );
    assert!(
        read("no_system_account: true\naccounts { S {} }\nsystem_account: S")
            .unwrap()
            .has_system_account()
    );
    assert_eq!(read("prof_port: 0").unwrap().profiling, None);
    assert_eq!(read("prof_port: -1").unwrap().profiling.map(|at| at.port), Some(0));
    assert!(read("prof_port: 65536").is_err());
}

#[test]
fn keys_of_the_top() {
    let o = read(
        "trace_headers: yes\nlogtime_utc: yes\nlog_max_num: 3\nsyslog: true\nremote_syslog: \"udp://h:514\"\nhttp_base_path: \"//nats/\"\n\
         max_sub_tokens: 8\nmax_closed_clients: -1\nno_fast_producer_stall: true\nserver_metadata { zone: a }\n",
    )
    .unwrap();
    assert!(o.log.trace && o.log.trace_headers && o.log.utc && o.log.syslog && o.no_fast_producer_stall);
    assert_eq!(
        (o.log.max_num, o.log.remote_syslog.as_deref()),
        (Some(3), Some("udp://h:514"))
    );
    assert_eq!(
        (o.http_base_path.as_str(), o.max_sub_tokens, o.max_closed_clients),
        ("//nats/", Some(8), 0)
    );
    assert_eq!(o.server_metadata["zone"], "a");
    assert!(read("max_sub_tokens: 0").is_err() && read("max_sub_tokens: 256").is_err());
}

/// As nats-server does, and in the order of the file.
#[test]
fn all_that_is_wrong_is_told() {
    let text = "foo: 1\ndebug: true\nbar: 2\njetstream { baz: 1, qux: 2 }\nauthorization { users: [\n{user: a, pasword: b},\n\
        {user: c, xyz: 1}] }\naccounts { A { users: [{user: x, zzz: 1}],\nunk: 1 },\n B { limits { max_conns: 1 }, yyy: 1 } }\n\
        ping_interval: abc\nport: x\n";
    let told = read(text).unwrap_err();
    let places: Vec<&str> = told
        .lines()
        .map(|line| line.strip_prefix("a.conf:").unwrap().split(": ").next().unwrap())
        .collect();
    let expected = [
        "1:1", "3:1", "4:13", "4:21", "6:11", "7:11", "8:34", "9:1", "10:15", "10:31", "11:16", "12:7",
    ];
    assert_eq!(places, expected, "{told}");
}

#[test]
fn of_very_much_that_is_wrong_some_is_told() {
    let text: String = (0..1000).map(|n| format!("unknown{n}: 1\n")).collect();
    let told = read(&text).unwrap_err();
    assert_eq!(told.lines().count(), 33, "{told}");
    assert!(told.ends_with("\nand 968 more"), "{told}");
    let many: String = (0..40).map(|n| format!("{{user: u{n}, wrong: 1}},\n")).collect();
    let text = format!("unknown: 1\nauthorization {{ users: [\n{many}] }}\nwrong: 1\n");
    let told = read(&text).unwrap_err();
    assert_eq!(told.lines().count(), 33, "{told}");
    assert!(
        told.starts_with("a.conf:1:1: ") && told.ends_with("\nand 10 more"),
        "{told}"
    );
}
