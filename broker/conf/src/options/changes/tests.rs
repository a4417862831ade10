use super::*;

fn find(old: &str, new: &str) -> Result<Changes, String> {
    let read = |text: &str| Options::parse(text, "a.conf", &|_| None).unwrap_or_else(|error| panic!("{error}"));
    Changes::find(&read(old), &mut read(new)).map_err(|error| error.to_string())
}

#[test]
fn what_applies_at_once() {
    for (old, new, said) in [
        ("port: 4222", "port: 4222", None),
        ("port: 4333", "port: -1", None),
        ("server_tags: a", "server_tags: [a]", None),
        ("debug: true", "debug: false", Some("debug = false")),
        ("logtime: true", "logtime: false", Some("logtime = false")),
        ("max_payload: 1mb", "max_payload: 2mb", Some("max_payload = 2097152")),
        ("ping_interval: 5s", "ping_interval: 6s", Some("ping_interval = 6s")),
        ("ping_interval: 5s", "port: 4222", Some("ping_interval = 2m0s")),
        ("port: 4222", "max_connections: 50", Some("max_connections = 50")),
        (
            "max_connections: 50",
            "max_connections: -1",
            Some("max_connections = 0"),
        ),
        ("port: 4222", "log_file: \"a b\"", Some("log_file = \"a b\"")),
        ("log_file: a", "port: 4222", Some("log_file = none")),
        (
            "port: 4222",
            "server_metadata: {a: \"1\", b: 'x\"y'}",
            Some("server_metadata = {a: \"1\", b: \"x\\\"y\"}"),
        ),
        (
            "server_tags: a",
            "server_tags: [a, b]",
            Some("server_tags = [\"a\", \"b\"]"),
        ),
        (
            "jetstream { store_dir: a, enabled: false }",
            "jetstream { store_dir: b }",
            Some("jetstream = true"),
        ),
        ("jetstream { store_dir: a, enabled: false }", "port: 4222", None),
        ("jetstream { store_dir: a }", "port: 4222", Some("jetstream = false")),
        (
            "websocket { port: 80, no_tls: true }",
            "websocket { port: -1, no_tls: true }",
            None,
        ),
        (
            "authorization { token: a }",
            "authorization { token: b }",
            Some("authorization"),
        ),
        (
            "authorization { token: a, timeout: 1 }",
            "authorization { token: a, timeout: 3 }",
            Some("authorization timeout = 3s"),
        ),
    ] {
        let found = find(old, new).unwrap_or_else(|error| panic!("{old} -> {new}: {error}"));
        assert_eq!(found.said, said.into_iter().collect::<Vec<_>>(), "{old} -> {new}");
        assert_eq!(found.auth, said == Some("authorization"), "{old} -> {new}");
    }
}

/// As in nats-server 2.15.1.
#[test]
fn what_takes_a_restart() {
    for (old, new, name) in [
        ("port: 4222", "port: 4333", "port: old=4222, new=4333"),
        ("port: 4222", "websocket { port: 80, no_tls: true }", "websocket"),
        (
            "websocket { port: 80, no_tls: true, headers { A: b } }",
            "websocket { port: 80, no_tls: true }",
            "websocket",
        ),
        ("host: a", "host: b", "host: old=\"a\", new=\"b\""),
        ("server_name: a", "server_name: b", "server_name"),
        ("http_port: 1", "http_port: 2", "http: old=1, new=2"),
        ("max_pending: 10mb", "max_pending: 20mb", "max_pending"),
        ("max_subs: 1", "max_subs: 2", "max_subscriptions"),
        (
            "lame_duck_duration: \"60s\"",
            "lame_duck_duration: \"61s\"",
            "lame_duck_duration",
        ),
        ("jetstream { store_dir: a }", "jetstream { store_dir: b }", "store_dir"),
        (
            "jetstream { max_mem: 2m }",
            "jetstream { max_mem: 1m }",
            "max_memory_store",
        ),
        ("jetstream { domain: a }", "jetstream { domain: b }", "jetstream"),
        ("prof_port: 1", "prof_port: 2", "prof_port"),
        ("no_sublist_cache: true", "port: 4222", "no_sublist_cache"),
        ("no_system_account: true", "port: 4222", "no_system_account"),
        (
            "authorization { users: [{user: a, password: p}] }\nno_auth_user: a",
            "authorization { users: [{user: a, password: p}] }",
            "no_auth_user",
        ),
    ] {
        let error = find(old, new).unwrap_err();
        let expected = format!("config reload not supported for {name}");
        assert!(error.starts_with(&expected), "{old} -> {new}: {error}");
    }
}

#[test]
fn no_secret_is_said() {
    let found = find(
        "authorization { user: a, password: first }",
        "authorization { user: a, password: second }",
    );
    let shown = format!("{:?}", found.unwrap_or_default());
    assert!(!shown.contains("first") && !shown.contains("second"), "{shown}");
}
