//! What lets `weir` into a running server that not everybody may enter: a user's JWT and seed (`--creds`), and TLS with a certificate
//! that an authority of one's own has signed (`--tls-ca`).
//!
//! Weir's server has neither yet, so the peer is a genuine `nats-server` 2.15, if there is one, on PATH or named by `NATS_SERVER`.
#![allow(clippy::print_stdout, reason = "that nothing was entered must be seen")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer};
use serde_json::{Value, json};
use weir_tests::genuine::genuine;
use weir_tests::tool::{refused, text, weir, well};

/// Enough for the slowest machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at a file that the server writes when it listens.
const POLL: Duration = Duration::from_millis(5);

/// A stream with three messages, and a gap.
const LINES: &str = r#"{"format":"weir-stream","version":1,"config":{"name":"S","subjects":["s.>"],"retention":"limits","storage":"file","max_msgs":-1,"max_bytes":-1,"max_age":0,"max_msgs_per_subject":-1,"max_msg_size":-1,"max_consumers":-1,"num_replicas":1}}
{"seq":1,"time":"2026-11-27T21:00:00Z","subject":"s.a","data":"b25l"}
{"seq":3,"time":"2026-11-27T21:00:01Z","subject":"s.b","data":"dGhyZWU="}
{"seq":4,"time":"2026-11-27T21:00:02Z","subject":"s.b","data":"Zm91cg=="}
{"end":true}
"#;

/// Claims, signed as nats-server wants them.
fn jwt(by: &KeyPair, of: &KeyPair, name: &str, nats: &Value) -> Result<String> {
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "jti": name, "iat": 1_795_000_000, "iss": by.public_key(), "sub": of.public_key(), "name": name, "nats": nats,
    });
    let signed = format!(
        "{}.{}",
        encode(&json!({"typ": "JWT", "alg": "ed25519-nkey"})),
        encode(&claims)
    );
    let signature = BASE64_URL_SAFE_NO_PAD.encode(by.sign(signed.as_bytes())?);
    Ok(format!("{signed}.{signature}"))
}

/// A file as `nsc` makes it.
fn creds(jwt: &str, user: &KeyPair) -> Result<String> {
    let seed = user.seed()?;
    Ok(format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    ))
}

/// An account with JetStream, or without.
fn account(disk: i64) -> Value {
    json!({
        "type": "account", "version": 2, "default_permissions": {"pub": {}, "sub": {}},
        "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
            "mem_storage": disk, "disk_storage": disk, "streams": -1, "consumer": -1,
        },
    })
}

fn user() -> Value {
    json!({"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1})
}

/// As files have it.
fn pem(of: &str, der: &[u8]) -> String {
    let lines = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = lines
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!("-----BEGIN {of}-----\n{}\n-----END {of}-----\n", lines.join("\n"))
}

/// A certificate for this machine, its key, and the authority that signed it; and an authority that did not.
fn certificates(folder: &Path) -> Result<()> {
    let authority = |name: &str| -> Result<_> {
        let key = rcgen::KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key)?;
        fs::write(
            folder.join(format!("{name}.pem")),
            pem("CERTIFICATE", certificate.der()),
        )?;
        Ok(Issuer::new(params, key))
    };
    authority("other")?;
    let ours = authority("authority")?;
    let key = rcgen::KeyPair::generate()?;
    let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let certificate = params.signed_by(&key, &ours)?;
    fs::write(folder.join("server.pem"), pem("CERTIFICATE", certificate.der()))?;
    fs::write(folder.join("server.key"), pem("PRIVATE KEY", &key.serialize_der()))?;
    Ok(())
}

/// A server that is killed when this is dropped.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it; the port that it chose.
fn start(program: &Path, folder: &Path) -> Result<(Peer, String)> {
    let ports = folder.join("ports");
    fs::create_dir(&ports)?;
    let log = File::create(folder.join("log"))?;
    let child = Command::new(program)
        .args(["-a", "127.0.0.1", "-p", "-1", "-c"])
        .arg(folder.join("server.conf"))
        .arg("--ports_file_dir")
        .arg(&ports)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let mut peer = Peer(child);
    let since = Instant::now();
    loop {
        let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        if let Some(status) = peer.0.try_wait()? {
            bail!("the server exited: {status}: {}", log());
        }
        for entry in fs::read_dir(&ports)? {
            let said: Value = serde_json::from_slice(&fs::read(entry?.path())?).unwrap_or_default();
            let port = said["nats"][0].as_str().and_then(|url| url.rsplit(':').next());
            if let Some(port) = port {
                return Ok((peer, port.to_owned()));
            }
        }
        ensure!(since.elapsed() < LIMIT, "it does not listen: {}", log());
        std::thread::sleep(POLL);
    }
}

/// Makes all that a server needs which only users with a JWT may enter, over TLS; the files of one who may, of one whose account has
/// no JetStream, and of one whom nobody has signed.
fn prepare(folder: &Path) -> Result<[PathBuf; 3]> {
    certificates(folder)?;
    let (operator, system) = (KeyPair::new_operator(), KeyPair::new_account());
    let (ours, bare, stranger) = (KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_account());
    let operator_is = json!({"type": "operator", "version": 2, "system_account": system.public_key()});
    let file = |name: &str, of: &KeyPair| -> Result<PathBuf> {
        let key = KeyPair::new_user();
        let path = folder.join(name);
        fs::write(&path, creds(&jwt(of, &key, name, &user())?, &key)?)?;
        Ok(path)
    };
    let preloaded = [(&system, "SYS", 0), (&ours, "OURS", -1), (&bare, "BARE", 0)];
    let preloaded: Vec<String> = preloaded
        .iter()
        .map(|(key, name, disk)| {
            let signed = jwt(&operator, key, name, &account(*disk))?;
            Ok(format!("  {}: {signed}", key.public_key()))
        })
        .collect::<Result<_>>()?;
    let config = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}\n}}\njetstream {{ store_dir: {:?} }}\ntls {{ \
         cert_file: {:?}, key_file: {:?} }}\n",
        jwt(&operator, &operator, "operator", &operator_is)?,
        system.public_key(),
        preloaded.join("\n"),
        folder.join("store"),
        folder.join("server.pem"),
        folder.join("server.key"),
    );
    fs::write(folder.join("server.conf"), config)?;
    Ok([
        file("ours.creds", &ours)?,
        file("bare.creds", &bare)?,
        file("stranger.creds", &stranger)?,
    ])
}

#[test]
fn a_users_file_and_an_authority_of_ones_own_let_the_tools_in() -> Result<()> {
    let nats_server = match genuine() {
        Ok(path) => path,
        Err(why) => {
            println!("no nats-server was entered: {why}");
            return Ok(());
        }
    };
    let folder = tempfile::tempdir()?;
    let [ours, bare, stranger] = prepare(folder.path())?;
    let (_peer, port) = start(&nats_server, folder.path())?;
    let lines = folder.path().join("lines");
    fs::write(&lines, LINES)?;
    let (ca, other) = (folder.path().join("authority.pem"), folder.path().join("other.pem"));
    let access = ["--creds", text(&ours)?, "--tls-ca", text(&ca)?];
    // Whether the URL says so or not, the server has TLS alone.
    for scheme in ["nats", "tls"] {
        let url = format!("{scheme}://127.0.0.1:{port}");
        let run = |arguments: &[&str]| well(&[arguments, &access[..]].concat());
        let told = run(&["import", &url, text(&lines)?, "--name", scheme])?;
        ensure!(told.contains(&format!("Imported {scheme}: 3 messages")), "{told}");
        let told = run(&["inspect", &url, "--stream", scheme, "--subjects"])?;
        ensure!(told.contains("1 to 4") && told.contains(".b"), "{told}");
        let told = run(&["dump", &url, "--stream", scheme, "--subject", "*.b"])?;
        ensure!(
            told.contains("[3] ") && told.contains("    four") && !told.contains("[1] "),
            "{told}"
        );
        for (format, name) in [("backup", "backup"), ("jsonl", "lines"), ("parquet", "table")] {
            let out = folder.path().join(format!("{scheme}-{name}"));
            let told = run(&["export", &url, text(&out)?, "--stream", scheme, "--format", format])?;
            ensure!(told.contains("3 messages"), "{told}");
        }
        let why = "is no server of Weir's";
        let convert = ["convert", &url, "--to", "rocksdb", "--stream", scheme];
        refused(&[&convert[..], &access[..]].concat(), why)?;
        // Who is not let in is told why.
        let (code, _, told) = weir(&["inspect", &url, "--creds", text(&ours)?])?;
        ensure!(code == Some(1) && told.contains("certificate"), "{told}");
        let (code, _, told) = weir(&["inspect", &url, "--creds", text(&ours)?, "--tls-ca", text(&other)?])?;
        ensure!(code == Some(1) && told.contains("certificate"), "{told}");
        refused(&["inspect", &url, "--tls-ca", text(&ca)?], "authorization violation")?;
        let strange = ["inspect", &url, "--creds", text(&stranger)?, "--tls-ca", text(&ca)?];
        refused(&strange, "authorization violation")?;
        let none = folder.path().join("none");
        refused(
            &["inspect", &url, "--creds", text(&none)?, "--tls-ca", text(&ca)?],
            "none: ",
        )?;
        refused(
            &["inspect", &url, "--creds", text(&ours)?, "--tls-ca", text(&none)?],
            "none",
        )?;
        let without = ["inspect", &url, "--creds", text(&bare)?, "--tls-ca", text(&ca)?];
        let (code, _, told) = weir(&without)?;
        ensure!(code == Some(1) && told.contains("JetStream"), "{told}");
        // Room for the stream of the other.
        fs::write(&lines, LINES.replace("s.", "t."))?;
    }
    Ok(())
}
