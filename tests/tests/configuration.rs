//! Configuration files that `-t` accepts or refuses as the genuine nats-server does, and the few that it does not.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use weir_tests::genuine::genuine;
use weir_tests::server::program;

use Expected::{Accepted, OursAccepts, OursRefuses, Refused};

/// What `-t` says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Both accept it.
    Accepted,
    /// Both refuse it.
    Refused,
    /// The genuine one accepts it.
    OursRefuses,
    /// The genuine one refuses it.
    OursAccepts,
}

/// Beside each file there are these, and the variables of [`ENVIRONMENT`].
const BESIDE: &[(&str, &str)] = &[
    ("sub/part.conf", "max_payload: 4096\ninclude 'deeper.conf'\n"),
    ("sub/deeper.conf", "max_control_line: 2048\n"),
    ("variable.conf", "DEEP: 5\n"),
    ("scope.conf", "ping_max: $OUTER\n"),
    ("loop.conf", "include loop.conf\n"),
    ("broken.conf", "port: [\n"),
    (
        "users.conf",
        "user: a\npassword: $2a$11$UP3xizk94sWF9SHF/wkklOfBT9jphTGNrhZqz2OHoBdk9yO1kvErG\n",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("TEST_PORT", "4333"),
    ("TEST_SIZE", "2mb"),
    ("TEST_NAME", "a"),
    ("TEST_SELF", "$TEST_SELF"),
];

const FILES: &[(&str, Expected)] = &[
    // The language.
    ("port: 4222", Accepted),
    ("port = 4222", Accepted),
    ("port 4222", Accepted),
    ("{ \"port\": 4222, \"debug\": true }", Accepted),
    (
        "{\"cluster\": {\"name\": \"a\", \"port\": 6222}, \"port\": 4222}\n",
        Accepted,
    ),
    ("# a\n// b\nport: 4222 # c\ndebug: true // d\n", Accepted),
    ("port: 4222; debug: true;", Accepted),
    ("port: 4222\r\ndebug: true\r\n", Accepted),
    ("debug: yes\ntrace: off\nlogtime: On\n", Accepted),
    ("debug: maybe", Refused),
    ("debug: 1", Refused),
    ("debug: \"true\"", Refused),
    ("server_name: 'one\\two'", Accepted),
    ("http_base_path: \"one\\two\"", Accepted),
    ("server_name: \"one\\qtwo\"", Refused),
    ("server_name: \"a\\x41\"", Accepted),
    ("server_name: \"a\\xZZ\"", Refused),
    ("server_name: \"has blanks\"", Refused),
    ("server_name: 5", Refused),
    ("server_name: \"unclosed", Refused),
    ("server_tags: [\n  a # one\n  \"b\"\n  'c',\n]\n", Accepted),
    ("server_tags: [a b]", Refused),
    ("server_tags: [1]", Refused),
    ("server_tags: a", Accepted),
    ("server_tags: [a, b", Refused),
    ("port: 4222\nport: 4333\n", Accepted),
    ("port:\n4222", Refused),
    ("port\n4222", Accepted),
    ("port", Refused),
    ("port: ", Refused),
    ("= 4222", Refused),
    ("port: 4222 debug: true", Refused),
    ("port: 4222 }", Accepted),
    ("cluster { name: a", Refused),
    ("server_tags (\nlines\n)\n", Accepted),
    ("server_tags (\nlines\n", Refused),
    ("max_payload: 1k\nmax_pending: 1gb\nmax_control_line: 1KiB\n", Accepted),
    ("max_payload: 1mb\nmax_pending: 2g\n", Accepted),
    ("max_payload: 4g", Refused),
    ("max_payload: 1.5", Refused),
    ("max_payload: 9223372036854775808", Refused),
    ("ping_interval: \"1m30s\"", Accepted),
    ("ping_interval: 10s", Accepted),
    ("ping_interval: 10", Refused),
    ("ping_interval: \"10\"", Refused),
    ("write_deadline: 5", Refused),
    ("", Refused),
    ("# nothing\n", Refused),
    // Variables.
    ("PORT: 4333\nport: $PORT\n", Accepted),
    ("port: $PORT\nPORT: 4333\n", Refused),
    (
        "port: $TEST_PORT\nmax_payload: $TEST_SIZE\nserver_tags: $TEST_NAME\n",
        Accepted,
    ),
    ("port: $TEST_SELF", Refused),
    ("port: $TEST_MISSING", Refused),
    (
        "PORT: 4333\ncluster { PORT: 6222, port: $PORT }\nport: $PORT\n",
        Accepted,
    ),
    ("cluster { INNER: 6222, port: $INNER }\nport: $INNER\n", Refused),
    ("UNUSED: 4333", Refused),
    (
        "authorization { user: a, password: $2a$11$UP3xizk94sWF9SHF/wkklOfBT9jphTGNrhZqz2OHoBdk9yO1kvErG }",
        Accepted,
    ),
    (
        "PASS: $2a$11$UP3xizk94sWF9SHF/wkklOfBT9jphTGNrhZqz2OHoBdk9yO1kvErG\nauthorization { user: a, password: $PASS }",
        Accepted,
    ),
    (
        "authorization { token: $2a$11$UP3xizk94sWF9SHF/wkklOfBT9jphTGNrhZqz2OHoBdk9yO1kvErG }",
        Accepted,
    ),
    // Includes.
    ("include 'sub/part.conf'\nport: 4333\n", Accepted),
    ("include \"sub/part.conf\"", Accepted),
    ("include variable.conf\nping_max: $DEEP\n", Accepted),
    ("authorization { include 'users.conf' }", Accepted),
    ("OUTER: 3\ninclude scope.conf\n", Refused),
    ("include missing.conf", Refused),
    ("include broken.conf", Refused),
    // The top.
    ("prt: 4222", Refused),
    ("Port: 4222\nSERVER_NAME: a\n", Accepted),
    ("listen: \"127.0.0.1:4333\"", Accepted),
    ("listen: 127.0.0.1:4333", Accepted),
    ("listen: \"[::1]:4333\"", Accepted),
    ("listen: localhost:-1", Accepted),
    ("listen: 4333", Accepted),
    ("listen: localhost", Refused),
    ("listen: \"::1:4333\"", Refused),
    ("http: localhost:8222\nhttp_base_path: nats\n", Accepted),
    ("http_port: \"8222\"", Refused),
    ("monitor_port: 8222", Accepted),
    (
        "logtime: true\nlogtime_utc: true\nlog_size_limit: 1mb\nlog_max_num: 5\nmax_traced_msg_len: 100\n",
        Accepted,
    ),
    ("syslog: true\nremote_syslog: \"udp://localhost:514\"\n", Accepted),
    ("trace_headers: true\ntrace_verbose: true\n", Accepted),
    (
        "max_connections: 10\nmax_subscriptions: 10\nmax_sub_tokens: 8\nmax_closed_clients: 5\n",
        Accepted,
    ),
    ("max_sub_tokens: 256", Refused),
    ("max_sub_tokens: 0", Refused),
    (
        "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"5s\"\n",
        Accepted,
    ),
    ("lame_duck_duration: \"29s\"", Refused),
    ("lame_duck_duration: 60", OursAccepts),
    ("write_timeout: close", Accepted),
    ("write_timeout: never", Refused),
    (
        "server_metadata { zone: a }\nfeature_flags { js_ack_fc_v2: false }\n",
        Accepted,
    ),
    ("server_metadata: a", Refused),
    ("feature_flags { a: 1 }", Refused),
    (
        "connect_error_reports: 1\nreconnect_error_reports: 1\nprof_port: 0\nno_sublist_cache: true\n",
        Accepted,
    ),
    (
        "no_fast_producer_stall: true\nno_header_support: false\nproxy_protocol: false\n",
        Accepted,
    ),
    ("system_account: \"$SYS\"", Accepted),
    ("accounts { A { msg_trace: a.b } }", Accepted),
    ("accounts { A { trace_dest: { dest: a, sampling: 5 } } }", Accepted),
    ("accounts { A { msg_trace: { dest: a, sampling: \"25%\" } } }", Accepted),
    ("accounts { A { msg_trace: { sampling: 5 } } }", Refused),
    ("accounts { A { msg_trace: a.* } }", Refused),
    ("accounts { A { msg_trace: { dest: a, sampling: 0 } } }", Refused),
    ("accounts { A { msg_trace: { dest: a, sampling: 101 } } }", Refused),
    ("accounts { A { msg_trace: { dest: a, sampling: x } } }", Refused),
    ("accounts { A { msg_trace: { to: a } } }", Refused),
    ("accounts { A { msg_trace: 5 } }", Refused),
    ("default_js_domain { A: hub }", Accepted),
    // Users.
    ("authorization { user: a, password: b, timeout: 2 }", Accepted),
    ("authorization { token: a }", Accepted),
    (
        "authorization { users: [ { user: a, password: b }, { user: c, password: d } ] }",
        Accepted,
    ),
    ("authorization { user: a, password: b, token: c }", Refused),
    (
        "authorization { users: [ { user: a, password: b }, { user: a, password: d } ] }",
        Refused,
    ),
    ("authorization { usr: a }", Refused),
    ("authorization: a", Refused),
    // JetStream.
    ("jetstream: enabled", Accepted),
    ("jetstream: true", Accepted),
    ("jetstream: maybe", Refused),
    (
        "jetstream { store_dir: \"store\", max_mem: 1G, max_file: \"10G\" }",
        Accepted,
    ),
    ("jetstream { max_mem: \"10X\" }", Refused),
    (
        "jetstream { domain: hub, sync_interval: always, strict: false }",
        Accepted,
    ),
    (
        "jetstream { limits { max_ack_pending: 10, duplicate_window: \"1m\", batch { max_msgs: 10, timeout: \"5s\" } } }",
        Accepted,
    ),
    ("jetstream { limits { max_ack_pendin: 10 } }", Refused),
    ("jetstream { foo: 1 }", Refused),
    ("jetstream { cipher: rot13, key: a }", Refused),
    ("jetstream { cipher: AES, encryption_key: a, prev_ek: \"b\" }", Accepted),
    ("jetstream { cipher: chachapoly, prev_key: a }", Accepted),
    ("jetstream { key: 12345 }", Refused),
    ("jetstream { max_concurrent_io: 3 }", Refused),
    ("store_dir: \"a\"\njetstream { store_dir: \"b\" }", Refused),
    // What Weir does not have: ports that nobody uses.
    ("leafnodes {}", Accepted),
    (
        "leafnodes { listen: \"127.0.0.1:-1\", authorization { user: a, password: b, timeout: 1 } }",
        Accepted,
    ),
    ("leafnodes { prt: 7422 }", Refused),
    ("leafnodes { remotes: { } }", Refused),
    (
        "leafnodes { compression: s2_auto, isolate: true, min_version: 2.8.0 }",
        Accepted,
    ),
    (
        "websocket { port: 8080, no_tls: true, compression: true, user_cookie: a, headers { X: \"y\" } }",
        Accepted,
    ),
    ("websocket { same_origin: 5 }", Refused),
    (
        "websocket { allowed_origins: [\"http://a\"], handshake_timeout: \"5s\" }",
        Accepted,
    ),
    (
        "gateway { name: A, port: 7222, reject_unknown: true, authorization { user: a, password: b } }",
        Accepted,
    ),
    ("gateway { name: \"has blanks\", port: 7222 }", Refused),
    ("gateway: A", Refused),
    ("mqtt { port: 1883, ack_wait: \"30s\", max_ack_pending: 100 }", Accepted),
    ("mqtt { max_ack_pending: 100000 }", Refused),
    ("mqtt { stream_replicas: x }", Refused),
    (
        "cluster { name: c, listen: \"0.0.0.0:6222\", pool_size: 3, compression: { mode: s2_auto, rtts: [ \"10ms\" ] } }",
        Accepted,
    ),
    ("cluster { name: \"has blanks\" }", Refused),
    ("cluster { authorization { users: [] } }", Refused),
    ("cluster { authorization { token: a } }", Refused),
    (
        "cluster { permissions { import: \"a\", export: { allow: [\"b\"] } } }",
        Accepted,
    ),
    ("cluster { tls { cert_fil: a } }", Refused),
    ("cluster { foo: 1 }", Refused),
    ("proxies { trusted: [ { kee: a } ] }", Refused),
    ("ocsp: false\nocsp_cache: false\n", Accepted),
    ("ocsp { mode: always, url: \"http://127.0.0.1:8888\" }", Accepted),
    ("ocsp { mode: sometimes }", Refused),
    ("ocsp_cache { type: local, preserve_revoked: true }", Accepted),
    ("ocsp_cache { type: remote }", Refused),
    // What Weir does not have, and a file asks for: no server is better than another one than was meant.
    (
        "cluster { name: c, port: 6222, routes: [ \"nats://127.0.0.1:6222\" ] }",
        OursRefuses,
    ),
    (
        "gateway { name: A, port: 7222, gateways: [ { name: B, url: \"nats://127.0.0.1:7222\" } ] }",
        OursRefuses,
    ),
    (
        "leafnodes { remotes: [ { url: \"nats://127.0.0.1:7422\" } ] }",
        OursRefuses,
    ),
    ("resolver: MEMORY", Accepted),
    ("websocket { port: 8080, no_tls: true, jwt_cookie: a }", OursRefuses),
    ("proxy_protocol: true", Accepted),
    ("write_timeout: retry", OursRefuses),
    ("prof_block_rate: 10", OursRefuses),
    ("jetstream { key: secret, tpm { keys_file: a } }", OursRefuses),
    // A name goes into the lines of the log.
    ("server_name: \"a\\tb\"", OursRefuses),
    // What a start refuses: -t of nats-server does not look at it.
    ("max_payload: 2mb\nmax_pending: 1mb\n", OursRefuses),
    ("port: 70000", OursRefuses),
    (
        "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"30s\"\n",
        OursRefuses,
    ),
];

/// What `program -t` says of the file: whether it accepts it, and its words.
fn check(program: &Path, file: &Path) -> Result<(bool, String)> {
    let mut command = Command::new(program);
    command.arg("-t").arg("-c").arg(file).envs(ENVIRONMENT.iter().copied());
    let output = command.output().with_context(|| format!("{} -t", program.display()))?;
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

fn prepare(folder: &Path) -> Result<()> {
    for (name, text) in BESIDE {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(path, text)?;
    }
    Ok(())
}

#[test]
fn files_are_accepted_and_refused_as_by_the_genuine_server() -> Result<()> {
    let folder = tempfile::tempdir()?;
    prepare(folder.path())?;
    let genuine = genuine();
    if let Err(why) = &genuine {
        println!("no nats-server was asked: {why}");
    }
    let mut wrong = Vec::new();
    for (number, (text, expected)) in FILES.iter().enumerate() {
        let file = folder.path().join(format!("{number}.conf"));
        fs::write(&file, text)?;
        let (accepts, said) = check(&program(), &file)?;
        if accepts != matches!(expected, Accepted | OursAccepts) {
            wrong.push(format!("{text:?}: {expected:?}, but weir-server said: {}", said.trim()));
        }
        if let Ok(genuine) = &genuine {
            let (accepts, said) = check(genuine, &file)?;
            if accepts != matches!(expected, Accepted | OursRefuses) {
                wrong.push(format!("{text:?}: {expected:?}, but nats-server said: {}", said.trim()));
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        FILES.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// The genuine server has no end with this one.
#[test]
fn a_file_that_includes_itself_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    prepare(folder.path())?;
    let (accepts, said) = check(&program(), &folder.path().join("loop.conf"))?;
    ensure!(!accepts && said.contains("includes itself"), "{said}");
    Ok(())
}
