//! Configurations that no server starts with: both refuse them, and the lines that nats-server names are named here, too.

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use serde_json::Value;
use weir_tests::genuine::genuine;
use weir_tests::peer::Peer;
use weir_tests::server::program;

use super::AT_ONCE;
use super::play::Wallet;
use super::settled;

const REFUSED: &[&str] = &[
    "foo: 1",
    "debug: false\nfoo: 1\nbar: 2",
    "jetstream {\n  foo: 1\n}",
    "max_payload: 2gb",
    "debug: maybe\nmax_payload: x",
    "listen: a:b:c",
    "http: \"x:y\"",
    "server_name: \"a b\"",
    "ping_interval: abc",
    "lame_duck_duration: 1s",
    "lame_duck_duration: 30s\nlame_duck_grace_period: 40s",
    "max_pending: 10",
    "authorization { user: a, password: b, token: c }",
    "authorization {\n  users: [\n    {password: a}\n    {nkey: UABC}\n  ]\n}",
    "authorization {\n  users: [\n    {user: a, password: b, permissions: {publis: a}}\n  ]\n}",
    "authorization {\n  timeout: x\n}",
    "accounts {\n  $G {}\n}",
    "accounts {\n  A: x\n}",
    "accounts {\n  A { jetstream {\n max_mm: 1 } }\n  B { nonsense: 1 }\n}",
    "system_account: X",
    "no_auth_user: x",
    "tls { cert_file: x }",
    "tls {\n  cert_file: \"@CERTS@/server.pem\", key_file: \"@CERTS@/server.key\"\n  cipher_suites: [X]\n}",
    "https: \"127.0.0.1:-1\"",
    "websocket { port: -1 }",
    "websocket {\n  port: -1, no_tls: true\n  nonsense: 1\n}",
    "jetstream {\n  max_mem: x\n}",
    "jetstream: x",
    "jetstream { store_dir: \"/proc/x\" }",
    "include missing.conf",
    "server_name: $MISSING",
    "server_tags: [",
    "mappings {\n  \"a.*\": \"b.$2\"\n}",
    "mappings { a: [\n  {destination: b, weight: 120}\n] }",
    "proxies { trusted: [\n  {key: x}\n] }",
    "operator: x.jwt",
    "trusted_keys: x",
    "cluster {\n  port: 6222\n  nonsense: 1\n}",
    "pid_file: \"/proc/x/y\"",
    "log_file: \"/proc/x/y\"",
    "client_advertise: \"x:y:z\"",
    "client_advertise: \"x:y\"",
    "write_timeout: x",
];

#[test]
fn starts() -> Result<()> {
    let theirs = match genuine() {
        Ok(theirs) => theirs,
        Err(why) => {
            println!("nothing was compared: {why}");
            return Ok(());
        }
    };
    let wallet = Wallet::make()?;
    let certificates = wallet.certificates.path("").to_string_lossy().into_owned();
    let (queue, wrong) = (Mutex::new(REFUSED.to_vec()), Mutex::new(Vec::new()));
    let refusal = |program: &std::path::Path, configuration: &str| -> Result<Value> {
        let configuration = configuration.replace("@CERTS@/", &certificates);
        let started = Peer::try_start(program, &configuration, &["-a", "127.0.0.1", "-p", "-1"], &[])?;
        Ok(started.map_or_else(|log| settled::refusal(&log), |_| Value::from("it starts")))
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some(configuration) = next else { return };
                    let told = |said: Result<Value>| said.unwrap_or_else(|error| Value::from(format!("{error:#}")));
                    let (there, here) = (
                        told(refusal(&theirs, configuration)),
                        told(refusal(&program(), configuration)),
                    );
                    let places = |said: &Value| said["refused"].as_array().cloned();
                    let named = places(&there).zip(places(&here));
                    // We may name more.
                    if !named.is_some_and(|(there, here)| there.iter().all(|place| here.contains(place))) {
                        let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
                        wrong.push(format!("{configuration:?}: {there} there, {here} here"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
