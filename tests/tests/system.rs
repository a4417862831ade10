//! The system account's services beside the genuine nats-server's, over the same configuration and the same conversation: who is answered,
//! and with which fields of which types; but for what the lists here explain.
#![allow(clippy::print_stdout, reason = "that nothing was compared must be seen")]

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use async_nats::{Client, ConnectOptions, StatusCode};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use weir_tests::genuine::genuine;
use weir_tests::shape::{explained, shape};
use weir_tests::{PATIENCE, Server, jetstream, patient, settle};

const CONFIGURATION: &str = r#"
accounts {
  A { users: [{user: a, password: p}], jetstream: enabled }
  B { users: [{user: b, password: p}] }
  SYS { users: [{user: s, password: p}] }
}
system_account: SYS
no_auth_user: a
"#;

/// What comes of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// An answer, or the word that nobody is there.
    Something,
    /// Nothing at all: of many servers another one may know.
    Nothing,
}
use Comes::{Nothing, Something};

/// Who asks, on which subject (`ID` is the server's), with what, and what comes of it.
const ASKED: &[(&str, &str, &str, Comes)] = &[
    // What `nats server` asks.
    ("s", "$SYS.REQ.SERVER.PING", "", Something),
    ("s", "$SYS.REQ.SERVER.PING.IDZ", "", Something),
    ("s", "$SYS.REQ.SERVER.PING.STATSZ", "", Something),
    ("s", "$SYS.REQ.SERVER.PING.VARZ", "", Something),
    (
        "s",
        "$SYS.REQ.SERVER.PING.SUBSZ",
        r#"{"subscriptions":true,"test":"foo"}"#,
        Something,
    ),
    (
        "s",
        "$SYS.REQ.SERVER.PING.CONNZ",
        r#"{"acc":"B","subscriptions_detail":true,"auth":true}"#,
        Something,
    ),
    ("s", "$SYS.REQ.SERVER.PING.ROUTEZ", "", Something),
    ("s", "$SYS.REQ.SERVER.PING.GATEWAYZ", "", Something),
    ("s", "$SYS.REQ.SERVER.PING.LEAFZ", "", Something),
    ("s", "$SYS.REQ.SERVER.PING.ACCOUNTZ", "", Something),
    ("s", "$SYS.REQ.SERVER.PING.ACCOUNTZ", r#"{"account":"A"}"#, Something),
    ("s", "$SYS.REQ.SERVER.PING.ACCOUNTZ", r#"{"account":"NONE"}"#, Something),
    (
        "s",
        "$SYS.REQ.SERVER.PING.JSZ",
        r#"{"accounts":true,"streams":true,"consumer":true,"config":true}"#,
        Something,
    ),
    ("s", "$SYS.REQ.SERVER.PING.HEALTHZ", "", Something),
    (
        "s",
        "$SYS.REQ.SERVER.PING.HEALTHZ",
        r#"{"account":"A","stream":"NONE"}"#,
        Something,
    ),
    ("s", "$SYS.REQ.SERVER.PING.PROFILEZ", "", Something),
    ("s", "$SYS.REQ.SERVER.PING.PROFILEZ", r#"{"name":"none"}"#, Something),
    ("s", "$SYS.REQ.SERVER.PING.RAFTZ", "", Something),
    (
        "s",
        "$SYS.REQ.SERVER.PING.CONNZ",
        r#"{"server_name":"another"}"#,
        Nothing,
    ),
    ("s", "$SYS.REQ.SERVER.PING.CONNZ", r#"{"tags":["none"]}"#, Nothing),
    ("s", "$SYS.REQ.SERVER.PING.CONNZ", r#"{"x"#, Something),
    ("s", "$SYS.REQ.SERVER.ID.IDZ", "", Something),
    ("s", "$SYS.REQ.SERVER.ID.VARZ", "", Something),
    ("s", "$SYS.REQ.SERVER.ID.HEALTHZ", "", Something),
    ("s", "$SYS.REQ.SERVER.ID.RELOAD", "", Something),
    ("s", "$SYS.REQ.SERVER.ID.KICK", "", Nothing),
    ("s", "$SYS.REQ.SERVER.ID.KICK", r#"{"cid":99999}"#, Something),
    ("s", "$SYS.REQ.SERVER.ID.LDM", r#"{"cid":99999}"#, Something),
    ("s", "$SYS.REQ.SERVER.ID.LDM", r#"{"c"#, Nothing),
    // What `nats account` and others ask.
    ("s", "$SYS.REQ.ACCOUNT.A.CONNZ", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.A.SUBSZ", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.A.INFO", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.A.JSZ", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.A.STATZ", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.A.CONNS", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.A.LEAFZ", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.NONE.CONNZ", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.NONE.INFO", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.NONE.JSZ", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.NONE.STATZ", "", Nothing),
    ("s", "$SYS.REQ.ACCOUNT.NONE.CONNS", "", Nothing),
    ("s", "$SYS.REQ.ACCOUNT.PING.CONNZ", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.PING.SUBSZ", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.PING.JSZ", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.PING.INFO", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.PING.STATZ", "", Something),
    ("s", "$SYS.REQ.ACCOUNT.PING.CONNS", "", Nothing),
    ("s", "$SYS.REQ.ACCOUNT.PING.LEAFZ", "", Something),
    (
        "s",
        "$SYS.REQ.ACCOUNT.NSUBS",
        r#"{"acc":"B","subject":"foo"}"#,
        Something,
    ),
    (
        "s",
        "$SYS.REQ.ACCOUNT.NSUBS",
        r#"{"acc":"B","subject":"foo","queue":"cQ=="}"#,
        Something,
    ),
    (
        "s",
        "$SYS.REQ.ACCOUNT.NSUBS",
        r#"{"acc":"B","subject":"foo.>"}"#,
        Something,
    ),
    (
        "s",
        "$SYS.REQ.ACCOUNT.NSUBS",
        r#"{"acc":"NONE","subject":"foo"}"#,
        Nothing,
    ),
    ("s", "$SYS.REQ.ACCOUNT.NSUBS", "", Nothing),
    ("s", "$SYS.DEBUG.SUBSCRIBERS", "foo", Something),
    ("s", "$SYS.REQ.USER.INFO", "", Something),
    ("s", "$SYS.REQ.USER.A.INFO", "", Something),
    ("s", "$JS.API.INFO", "", Something),
    ("s", "$JS.API.STREAM.NAMES", "", Something),
    ("s", "$JS.API.STREAM.INFO.S", "", Something),
    ("s", "$JS.API.ACCOUNT.PURGE.NONE", "", Something),
    // Others ask of themselves, and nothing else.
    ("a", "$SYS.REQ.ACCOUNT.PING.CONNZ", "", Something),
    ("a", "$SYS.REQ.ACCOUNT.PING.STATZ", "", Something),
    ("a", "$SYS.REQ.SERVER.PING.CONNZ", "", Something),
    ("a", "$SYS.REQ.USER.INFO", "", Something),
    ("b", "$SYS.REQ.USER.INFO", "", Something),
    ("a", "$SYS.REQ.ACCOUNT.PING.INFO", "", Something),
    ("a", "$SYS.REQ.ACCOUNT.PING.JSZ", "", Something),
    ("a", "$SYS.REQ.ACCOUNT.A.CONNZ", "", Something),
    ("a", "$SYS.REQ.ACCOUNT.B.INFO", "", Something),
    ("a", "$SYS.REQ.SERVER.PING", "", Something),
    ("a", "$SYS.REQ.SERVER.PING.VARZ", "", Something),
    ("a", "$SYS.REQ.SERVER.ID.RELOAD", "", Something),
    (
        "a",
        "$SYS.REQ.ACCOUNT.NSUBS",
        r#"{"acc":"B","subject":"foo"}"#,
        Something,
    ),
    ("a", "$SYS.DEBUG.SUBSCRIBERS", "foo", Something),
    ("a", "$SYS.REQ.USER.B.INFO", "", Something),
    ("a", "$JS.API.ACCOUNT.PURGE.B", "", Nothing),
    // Last, for it takes its streams.
    ("s", "$JS.API.ACCOUNT.PURGE.A", "", Something),
    ("a", "$JS.API.STREAM.NAMES", "", Something),
];

/// Fields that only the genuine server has, and why.
const ONLY_GENUINE: &[(&str, &str)] = &[
    ("/data/git_commit", "Weir is no build of that commit"),
    ("/data/jetstream/config/sync_interval", "Weir syncs always: sync_always"),
    (
        "/statsz/jetstream/config/sync_interval",
        "Weir syncs always: sync_always",
    ),
    ("/data/config/sync_interval", "Weir syncs always: sync_always"),
    ("/data/imports", "JetStream and the system's services are no imports"),
    ("/data/exports", "JetStream and the system's services are no exports"),
    (
        "/data/account_detail/imports",
        "JetStream and the system's services are no imports",
    ),
    (
        "/data/account_detail/exports",
        "JetStream and the system's services are no exports",
    ),
];

/// Fields that only Weir has, and why.
const ONLY_WEIR: &[(&str, &str)] = &[
    ("/data/weir_version", "Weir's own version"),
    ("/data/weir", "what is wrong with the store"),
    ("/data/jetstream/weir", "what is wrong with the store"),
    ("/statsz/jetstream/weir", "what is wrong with the store"),
    ("/data/jetstream/config/sync_always", "as the durability is"),
    ("/statsz/jetstream/config/sync_always", "as the durability is"),
    ("/data/config/sync_always", "as the durability is"),
];

async fn user(server: &Server, name: &str) -> Result<Client> {
    let options = patient(ConnectOptions::with_user_and_password(name.to_owned(), "p".to_owned()));
    Ok(options.name(name).connect(server.url()).await?)
}

/// What comes of all requests, in their order. `None`: nothing; a string: nobody is there.
async fn play(program: &Path) -> Result<Vec<Option<Value>>> {
    let mut server = Server::start_program(program).await?;
    server.kill()?;
    server.configure(CONFIGURATION)?;
    server.start_again().await?;
    let (s, a, b) = (
        user(&server, "s").await?,
        user(&server, "a").await?,
        user(&server, "b").await?,
    );
    let jetstream = jetstream(a.clone());
    let stream = json!({"name": "S", "subjects": ["stored"], "storage": "memory"});
    let made: Value = jetstream.request("STREAM.CREATE.S", &stream).await?;
    ensure!(made["error"].is_null(), "{made}");
    let mut heard = Vec::new();
    for filter in ["foo", "foo.*"] {
        heard.push(b.subscribe(filter).await?);
    }
    heard.push(b.queue_subscribe("foo", "q".to_owned()).await?);
    settle(&b).await?;
    let id = s.server_info().server_id;
    let mut came = Vec::new();
    for (who, subject, body, comes) in ASKED {
        let client = match *who {
            "s" => &s,
            "a" => &a,
            _ => &b,
        };
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await?;
        let subject = subject.replace("SERVER.ID.", &format!("SERVER.{id}."));
        client
            .publish_with_reply(subject.clone(), inbox, (*body).into())
            .await?;
        let answer = match comes {
            Something => {
                let answer = tokio::time::timeout(PATIENCE, answers.next()).await;
                Some(
                    answer
                        .with_context(|| format!("{who} {subject} {body}: no answer"))?
                        .context("closed")?,
                )
            }
            // What is answered behind it has overtaken nothing.
            Nothing => {
                s.request("$SYS.REQ.SERVER.PING.IDZ", "".into()).await?;
                settle(client).await?;
                answers.next().now_or_never().flatten()
            }
        };
        came.push(match answer {
            None => None,
            Some(answer) if answer.status == Some(StatusCode::NO_RESPONDERS) => Some(json!("nobody")),
            Some(answer) => Some(serde_json::from_slice(&answer.payload)?),
        });
    }
    drop(heard);
    Ok(came)
}

/// What is different, a line each.
fn compare(asked: &str, theirs: Option<&Value>, ours: Option<&Value>) -> Vec<String> {
    let (Some(theirs), Some(ours)) = (theirs, ours) else {
        return match theirs == ours {
            true => Vec::new(),
            false => vec![format!("{asked}: {theirs:?} there, {ours:?} here")],
        };
    };
    let mut found = Vec::new();
    for told in ["/data/user", "/data/account", "/data/permissions", "/type"] {
        if theirs.pointer(told) != ours.pointer(told) {
            found.push(format!("{asked} {told}: {:?} there", theirs.pointer(told)));
        }
    }
    // Words are the same but where they are Go's about JSON.
    let why = |answer: &Value| answer["error"]["description"].clone();
    if why(theirs) != why(ours) && !asked.contains(r#"{"x"#) {
        found.push(format!("{asked}: {} there, {} here", why(theirs), why(ours)));
    }
    if (theirs.is_number() || theirs.is_string()) && theirs != ours {
        found.push(format!("{asked}: {theirs} there, {ours} here"));
    }
    let (their, our) = (shape(theirs), shape(ours));
    for (path, kind) in &their {
        match our.get(path) {
            Some(here) if here == kind => {}
            Some(here) => found.push(format!("{asked} {path}: {kind} there, {here} here")),
            None if explained(path, ONLY_GENUINE) => {}
            None => found.push(format!("{asked} {path}: {kind} there, nothing here")),
        }
    }
    for (path, kind) in &our {
        if !their.contains_key(path) && !explained(path, ONLY_WEIR) {
            found.push(format!("{asked} {path}: nothing there, {kind} here"));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_system_account_is_told_the_same() -> Result<()> {
    let theirs = match genuine() {
        Ok(path) => path,
        Err(why) => {
            println!("not compared with nats-server: {why}");
            return Ok(());
        }
    };
    let (there, here) = (play(&theirs).await?, play(&weir_tests::server::program()).await?);
    let mut found = Vec::new();
    for ((who, subject, body, _), (theirs, ours)) in ASKED.iter().zip(there.iter().zip(&here)) {
        found.extend(compare(
            &format!("{who} {subject} {body}"),
            theirs.as_ref(),
            ours.as_ref(),
        ));
    }
    ensure!(found.is_empty(), "\n{}", found.join("\n"));
    Ok(())
}
