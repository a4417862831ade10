//! What lets `weir` into a running server that not everybody may enter: a name and a password, a token, an nkey, a user's JWT and seed, a
//! certificate, and whom it trusts in turn; said by arguments, or by the environment as the `nats` tool has it.
//!
//! Each is shown with Weir's server, and with a genuine `nats-server` 2.15, if there is one, on PATH or named by `NATS_SERVER`.
#![allow(clippy::print_stdout, reason = "that nothing was entered must be seen")]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use weir_tests::certificates::Certificates;
use weir_tests::genuine::genuine;
use weir_tests::peer::Peer;
use weir_tests::server::program;
use weir_tests::tool::{refused, text, weir, weir_in, well};

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

/// Both programs, ours first, and whether it is that.
fn programs() -> Vec<(PathBuf, bool)> {
    let mut programs = vec![(program(), true)];
    match genuine() {
        Ok(theirs) => programs.push((theirs, false)),
        Err(why) => println!("no nats-server was entered: {why}"),
    }
    programs
}

/// Users of an operator, in files in `folder`: of one who may enter, of one whose account has no JetStream, and of one whom nobody has signed;
/// and the configuration of a server for them.
fn operators(folder: &Path) -> Result<(String, [PathBuf; 3])> {
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
    let configuration = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}\n}}\n",
        jwt(&operator, &operator, "operator", &operator_is)?,
        system.public_key(),
        preloaded.join("\n"),
    );
    let files = [
        file("ours.creds", &ours)?,
        file("bare.creds", &bare)?,
        file("stranger.creds", &stranger)?,
    ];
    Ok((configuration, files))
}

/// A configuration with JetStream and this in its `tls` block.
fn with_tls(certificates: &Certificates, tls: &str, more: &str) -> String {
    certificates.fill(&format!(
        "jetstream {{ store_dir: \"@STORE@\" }}\ntls {{ cert_file: \"@/server.pem\", key_file: \"@/server.key\"\n{tls} }}\n{more}"
    ))
}

#[test]
fn a_users_file_and_an_authority_of_ones_own_let_the_tools_in() -> Result<()> {
    let certificates = Certificates::make()?;
    let folder = tempfile::tempdir()?;
    let (configuration, [ours, bare, stranger]) = operators(folder.path())?;
    let configuration = with_tls(&certificates, "", &configuration);
    let (ca, other) = (certificates.path("ca.pem"), certificates.path("other.pem"));
    let access = ["--creds", text(&ours)?, "--tlsca", text(&ca)?];
    for (program, is_ours) in programs() {
        let peer = Peer::start(&program, &configuration)?;
        let address = peer.address("nats")?;
        let out = tempfile::tempdir()?;
        let lines = out.path().join("lines");
        fs::write(&lines, LINES)?;
        // Whether the URL says so or not, the server has TLS alone.
        for scheme in ["nats", "tls"] {
            let url = format!("{scheme}://{address}");
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
                let out = out.path().join(format!("{scheme}-{name}"));
                let told = run(&["export", &url, text(&out)?, "--stream", scheme, "--format", format])?;
                ensure!(told.contains("3 messages"), "{told}");
            }
            let compact = ["compact", &url, "--stream", scheme, "--compression", "zstd"];
            match is_ours {
                true => drop(run(&compact)?),
                false => refused(&[&compact[..], &access[..]].concat(), "is no server of Weir's")?,
            }
            // Who is not let in is told why.
            let (code, _, told) = weir(&["inspect", &url, "--creds", text(&ours)?])?;
            ensure!(code == Some(1) && told.contains("certificate"), "{told}");
            // The name that it had before does as well.
            let (code, _, told) = weir(&["inspect", &url, "--creds", text(&ours)?, "--tls-ca", text(&other)?])?;
            ensure!(code == Some(1) && told.contains("certificate"), "{told}");
            refused(&["inspect", &url, "--tlsca", text(&ca)?], "authorization violation")?;
            let strange = ["inspect", &url, "--creds", text(&stranger)?, "--tlsca", text(&ca)?];
            refused(&strange, "authorization violation")?;
            let none = out.path().join("none");
            refused(
                &["inspect", &url, "--creds", text(&none)?, "--tlsca", text(&ca)?],
                "none: ",
            )?;
            refused(
                &["inspect", &url, "--creds", text(&ours)?, "--tlsca", text(&none)?],
                "none: ",
            )?;
            let without = ["inspect", &url, "--creds", text(&bare)?, "--tlsca", text(&ca)?];
            let (code, _, told) = weir(&without)?;
            ensure!(code == Some(1) && told.contains("JetStream"), "{told}");
            // Room for the stream of the other.
            fs::write(&lines, LINES.replace("s.", "t."))?;
        }
    }
    Ok(())
}

#[test]
fn a_server_that_wants_a_certificate_is_shown_one() -> Result<()> {
    let certificates = Certificates::make()?;
    let file = |name: &str| Ok::<_, anyhow::Error>(text(&certificates.path(name))?.to_owned());
    let (ca, pem, key) = (file("ca.pem")?, file("person.pem")?, file("person.key")?);
    let (strange_pem, strange_key) = (file("stranger.pem")?, file("stranger.key")?);
    for first in [false, true] {
        let tls = format!("ca_file: \"@/ca.pem\", verify: true, handshake_first: {first}");
        for (program, is_ours) in programs() {
            let peer = Peer::start(&program, &with_tls(&certificates, &tls, ""))?;
            let url = format!("nats://{}", peer.address("nats")?);
            let first: &[&str] = if first { &["--tlsfirst"] } else { &[] };
            let shown = [&["--tlscert", &pem, "--tlskey", &key, "--tlsca", &ca], first].concat();
            let lines = peer.path("lines");
            fs::write(&lines, LINES)?;
            let told = well(&[&["import", &url, text(&lines)?], &shown[..]].concat())?;
            ensure!(told.contains("Imported S: 3 messages"), "{told}");
            // Whose server it is stands in what that says first, wherever TLS begins.
            let told = well(&[&["inspect", &url], &shown[..]].concat())?;
            ensure!(told.contains(", Weir ") == is_ours && told.contains("1 to 4"), "{told}");
            let compact = ["compact", &url, "--stream", "S", "--compression", "zstd"];
            match is_ours {
                true => drop(well(&[&compact[..], &shown[..]].concat())?),
                false => refused(&[&compact[..], &shown[..]].concat(), "is no server of Weir's")?,
            }
            let environment = [("NATS_CERT", &*pem), ("NATS_KEY", &*key), ("NATS_CA", &*ca)];
            let (code, told, why) = weir_in(&environment, &[&["inspect", &url], first].concat())?;
            ensure!(code == Some(0) && told.contains("1 to 4"), "{told} {why}");
            let (code, _, told) = weir_in(&environment[..1], &[&["inspect", &url], first].concat())?;
            ensure!(code == Some(1) && told.contains("set both"), "{told}");
            let (code, _, told) = weir(&[&["inspect", &url, "--tlsca", &ca], first].concat())?;
            ensure!(code == Some(1) && told.contains("--tlscert with --tlskey"), "{told}");
            let strange = ["--tlscert", &strange_pem, "--tlskey", &strange_key, "--tlsca", &ca];
            let (code, _, told) = weir(&[&["inspect", &url], &strange[..], first].concat())?;
            ensure!(code == Some(1) && told.contains("--tlscert with --tlskey"), "{told}");
            let swapped = ["--tlscert", &key, "--tlskey", &pem];
            refused(
                &[&["inspect", &url], &swapped[..], first].concat(),
                "person.key: it has no certificate",
            )?;
        }
    }
    Ok(())
}

#[test]
fn users_come_by_name_token_and_key() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let key = KeyPair::new_user();
    let (seed, no_seed) = (folder.path().join("seed"), folder.path().join("no-seed"));
    fs::write(
        &seed,
        format!(
            "-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            key.seed()?
        ),
    )?;
    fs::write(&no_seed, key.public_key())?;
    let (seed, no_seed) = (text(&seed)?, text(&no_seed)?);
    let users = format!(
        "authorization {{ users: [{{user: ada, password: \"p@ss\"}}, {{nkey: {}}}] }}",
        key.public_key()
    );
    let jetstream = "jetstream { store_dir: \"@STORE@\" }";
    for (program, _) in programs() {
        let peer = Peer::start(&program, &format!("{jetstream}\n{users}"))?;
        let address = peer.address("nats")?;
        let (url, named) = (format!("nats://{address}"), format!("nats://ada:p%40ss@{address}"));
        let inspect = ["inspect", &url];
        well(&["inspect", &named])?;
        well(&[&inspect[..], &["--user", "ada", "--password", "p@ss"]].concat())?;
        well(&[&inspect[..], &["--nkey", seed]].concat())?;
        let well_in = |environment: &[(&str, &str)], arguments: &[&str]| {
            let (code, _, told) = weir_in(environment, arguments)?;
            ensure!(code == Some(0), "{environment:?} {arguments:?}: {told}");
            Ok(())
        };
        well_in(&[("NATS_USER", "ada"), ("NATS_PASSWORD", "p@ss")], &inspect)?;
        well_in(&[("NATS_PASSWORD", "p@ss")], &["inspect", &url, "--user", "ada"])?;
        well_in(&[("NATS_NKEY", seed)], &inspect)?;
        // What is said counts, and not what the environment has.
        well_in(
            &[("NATS_NKEY", no_seed), ("NATS_CREDS", "/nonexistent")],
            &["inspect", &named],
        )?;
        well_in(
            &[("NATS_USER", "eve"), ("NATS_PASSWORD", "x")],
            &["inspect", &url, "--nkey", seed],
        )?;
        refused(&inspect, "authorization violation")?;
        refused(
            &["inspect", &url, "--user", "ada", "--password", "x"],
            "authorization violation",
        )?;
        refused(&["inspect", &url, "--user", "ada"], "authorization violation")?;
        refused(&["inspect", &url, "--nkey", no_seed], "it has no seed")?;
        refused(&["inspect", &url, "--password", "p@ss"], "whose password it is")?;
        refused(&["inspect", &named, "--nkey", seed], "the URL says who connects")?;
        refused(
            &["inspect", &url, "--user", "ada", "--nkey", seed],
            "cannot be used with",
        )?;
        let peer = Peer::start(&program, &format!("{jetstream}\nauthorization {{ token: hush }}"))?;
        let url = format!("nats://{}", peer.address("nats")?);
        well(&["inspect", &url, "--user", "hush"])?;
        well_in(&[("NATS_USER", "hush")], &["inspect", &url])?;
        refused(&["inspect", &url, "--user", "loud"], "authorization violation")?;
    }
    Ok(())
}

/// Also where the environment of whoever looks into a store has what lets in to a server.
#[test]
fn a_store_is_entered_by_nobody() -> Result<()> {
    let store = tempfile::tempdir()?;
    let store = text(store.path())?;
    let (_, _, told) = weir_in(
        &[("NATS_CREDS", "/nonexistent"), ("NATS_USER", "ada")],
        &["inspect", store],
    )?;
    ensure!(told.contains("is not a Weir store"), "{told}");
    for argument in ["--user", "--password", "--creds", "--nkey", "--tlsca"] {
        refused(
            &["inspect", store, argument, "x"],
            &format!("{argument} is for a running server"),
        )?;
    }
    refused(&["inspect", store, "--tlsfirst"], "--tlsfirst is for a running server")
}
