//! The monitoring port beside the genuine nats-server's, with the same flags and the same load: the same fields of the same types on
//! every page, and what was counted is the same; but for what the lists here explain.
#![allow(clippy::print_stdout, reason = "that nothing was compared must be seen")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::Config;
use futures_util::StreamExt as _;
use serde_json::Value;
use weir_tests::genuine::genuine;
use weir_tests::shape::{explained, shape};
use weir_tests::{Server, settle};

/// Pages, each with what is expected of it where that is not 200.
const PAGES: &[&str] = &[
    "/varz",
    "/connz",
    "/connz?subs=1&auth=1",
    "/connz?subs=detail",
    "/connz?state=closed",
    "/connz?state=any&sort=uptime",
    "/connz?acc=$G",
    "/connz?acc=NONE",
    "/connz?user=x",
    "/connz?mqtt_client=x",
    "/connz?cid=999999",
    "/connz?sort=stop",
    "/connz?sort=nonsense",
    "/connz?state=x",
    "/connz?limit=x",
    "/routez",
    "/routez?subs=1",
    "/routez?subs=detail",
    "/gatewayz",
    "/gatewayz?accs=1&subs=1",
    "/leafz",
    "/leafz?subs=1&acc=$G",
    "/subsz",
    "/subsz?subs=1",
    "/subsz?subs=1&test=mon.a",
    "/subsz?subs=1&acc=NONE",
    "/subsz?test=a.*",
    "/subscriptionsz",
    "/accountz",
    "/accountz?acc=$G",
    "/accountz?acc=$SYS",
    "/accountz?acc=NONE",
    "/accstatz",
    "/accstatz?unused=1",
    "/accstatz?unused=x",
    "/jsz",
    "/jsz?accounts=1",
    "/jsz?acc=$G",
    "/jsz?acc=NONE",
    "/jsz?streams=1",
    "/jsz?consumers=1",
    "/jsz?consumers=1&config=1",
    "/jsz?acc=$G&consumers=1&config=1&raft=1",
    "/jsz?raft=1",
    "/jsz?streams=1&raft=1",
    "/jsz?accounts=1&raft=1",
    "/jsz?streams=1&leader-only=1&stream-leader-only=1&direct-consumers=1",
    "/jsz?accounts=1&offset=9",
    "/jsz?streams=x",
    "/healthz",
    "/healthz?js-enabled-only=1",
    "/healthz?js-server-only=1",
    "/healthz?js-meta-only=1",
    "/healthz?account=$G&stream=MON&consumer=C",
    "/healthz?account=$G&stream=NONE",
    "/healthz?account=$G&stream=NONE&details=1",
    "/raftz",
    "/nothing",
];

/// Fields that only the genuine server has, and why. `[]` is any element of a list.
const ONLY_GENUINE: &[(&str, &str)] = &[
    ("/git_commit", "Weir is no build of that commit"),
    ("/jetstream/config/sync_interval", "Weir syncs always: sync_always"),
    ("/config/sync_interval", "Weir syncs always: sync_always"),
    (
        "/account_detail/imports",
        "JetStream and the system's services are no imports",
    ),
    (
        "/account_detail/exports",
        "JetStream and the system's services are no exports",
    ),
];

/// Fields that only Weir has, and why.
const ONLY_WEIR: &[(&str, &str)] = &[
    ("/weir_version", "Weir's own version"),
    ("/weir", "what is wrong with the store"),
    ("/jetstream/weir", "what is wrong with the store"),
    ("/jetstream/config/sync_always", "as the durability is"),
    ("/config/sync_always", "as the durability is"),
];

/// The same for both: a stream with a consumer, subscriptions, messages, a connection that is gone.
async fn load(server: &Server) -> Result<async_nats::Client> {
    let client = server.connect().await?;
    let jetstream = weir_tests::jetstream(client.clone());
    let config = Config {
        name: "MON".to_owned(),
        subjects: vec!["stored.>".to_owned()],
        ..Config::default()
    };
    let stream = jetstream.create_stream(config).await?;
    let consumer = pull::Config {
        durable_name: Some("C".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(consumer).await?;
    for payload in ["one", "two", "three"] {
        jetstream.publish("stored.a", payload.into()).await?.await?;
    }
    let mut some = consumer.fetch().max_messages(1).messages().await?;
    some.next()
        .await
        .context("a message")?
        .map_err(anyhow::Error::from_boxed)?;
    drop(some);
    let mut heard = client.subscribe("mon.*").await?;
    let _queue = client.queue_subscribe("mon.q", "workers".to_owned()).await?;
    client.publish("mon.a", "heard".into()).await?;
    heard.next().await.context("a message")?;
    let gone = server.connect().await?;
    settle(&gone).await?;
    gone.drain().await?;
    drop(gone);
    settle(&client).await?;
    // What is subscribed ends with its subscriber: they stay as long as the client.
    std::mem::forget(heard);
    std::mem::forget(_queue);
    // Until the other connection's end is seen, and that of what was asked for with `fetch`: the client says so in its own time. Answers
    // to requests are what it listens to besides.
    loop {
        let page = async |path: &str| -> Result<Value> { Ok(serde_json::from_str(&server.page(path).await?.1)?) };
        let (closed, open) = (
            page("/connz?state=closed&sort=stop").await?,
            page("/connz?sort=subs").await?,
        );
        let are_gone = closed["connections"].as_array().is_some_and(|all| all.len() >= 2);
        if are_gone && open["connections"][0]["subscriptions"] == 3 {
            return Ok(client);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What is different on a page, a line each.
fn compare(page: &str, theirs: &(u16, String), ours: &(u16, String)) -> Vec<String> {
    let mut found = Vec::new();
    if theirs.0 != ours.0 {
        found.push(format!("{page}: {} there, {} here: {}", theirs.0, ours.0, ours.1));
        return found;
    }
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    let (Some(their), Some(our)) = (parse(&theirs.1), parse(&ours.1)) else {
        if theirs.1 != ours.1 {
            found.push(format!("{page}: {:?} there, {:?} here", theirs.1, ours.1));
        }
        return found;
    };
    let (their, our) = (shape(&their), shape(&our));
    for (path, kind) in &their {
        match our.get(path) {
            Some(here) if here == kind => {}
            Some(here) => found.push(format!("{page} {path}: {kind} there, {here} here")),
            None if explained(path, ONLY_GENUINE) => {}
            None => found.push(format!("{page} {path}: {kind} there, nothing here")),
        }
    }
    for (path, kind) in &our {
        if !their.contains_key(path) && !explained(path, ONLY_WEIR) {
            found.push(format!("{page} {path}: nothing there, {kind} here"));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_have_the_fields_of_nats_server() -> Result<()> {
    let nats_server = match genuine() {
        Ok(path) => path,
        Err(why) => {
            println!("not compared with nats-server: {why}");
            return Ok(());
        }
    };
    let theirs = Server::start_program(&nats_server).await?;
    let ours = Server::start().await?;
    let clients = (load(&theirs).await?, load(&ours).await?);
    let mut found = Vec::new();
    for page in PAGES {
        found.extend(compare(page, &theirs.page(page).await?, &ours.page(page).await?));
    }
    drop(clients);
    ensure!(found.is_empty(), "\n{}", found.join("\n"));
    Ok(())
}

/// What the load of this test amounts to, on both.
const COUNTED: &[(&str, &str)] = &[
    ("/connz?cid=0&sort=subs", "/connections/0/subscriptions"),
    ("/connz?sort=msgs_from", "/connections/0/in_msgs"),
    ("/connz", "/num_connections"),
    ("/accstatz", "/account_statz/0/conns"),
    ("/accstatz", "/account_statz/0/received/msgs"),
    ("/accountz?acc=$G", "/account_detail/client_connections"),
    ("/jsz", "/streams"),
    ("/jsz", "/consumers"),
    ("/jsz", "/messages"),
    ("/jsz", "/bytes"),
    ("/jsz?streams=1", "/account_details/0/stream_detail/0/state/messages"),
    ("/jsz?streams=1", "/account_details/0/stream_detail/0/state/bytes"),
    (
        "/jsz?consumers=1",
        "/account_details/0/stream_detail/0/consumer_detail/0/num_pending",
    ),
    (
        "/jsz?consumers=1",
        "/account_details/0/stream_detail/0/consumer_detail/0/num_ack_pending",
    ),
    ("/jsz?consumers=1&raft=1", "/streams_leader"),
    ("/jsz?consumers=1&raft=1", "/consumers_leader"),
    ("/varz", "/connections"),
    ("/varz", "/in_client_msgs"),
    ("/varz", "/slow_consumers"),
    ("/subsz?subs=1&test=mon.a", "/total"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_count_as_nats_server_does() -> Result<()> {
    let nats_server = match genuine() {
        Ok(path) => path,
        Err(why) => {
            println!("not compared with nats-server: {why}");
            return Ok(());
        }
    };
    let theirs = Server::start_program(&nats_server).await?;
    let ours = Server::start().await?;
    let clients = (load(&theirs).await?, load(&ours).await?);
    let mut found = Vec::new();
    for (page, pointer) in COUNTED {
        let number = async |server: &Server| -> Result<Value> {
            let page: Value = serde_json::from_str(&server.page(page).await?.1)?;
            Ok(page.pointer(pointer).cloned().unwrap_or_default())
        };
        let (there, here) = (number(&theirs).await?, number(&ours).await?);
        if there != here {
            found.push(format!("{page} {pointer}: {there} there, {here} here"));
        }
    }
    drop(clients);
    ensure!(found.is_empty(), "\n{}", found.join("\n"));
    Ok(())
}

/// Paths, parameters and methods that few ask for.
const ODD: &[&str] = &[
    "GET /%68ealthz",
    "GET /healthz/",
    "GET /healthz//",
    "GET //healthz",
    "GET //healthz?a=b&c",
    "GET /x/../varz",
    "GET /./healthz",
    "GET /healthz/..",
    "GET /..",
    "GET /%2e%2e/varz",
    "GET /healthz%2f",
    "GET /healthz%",
    "GET /healthz;x",
    "GET /HEALTHZ",
    "GET /varz/x",
    "GET /varz/",
    "GET /debug/vars/",
    "GET x",
    "GET http://x/healthz",
    "GET /healthz?",
    "GET /healthz?unknown=1",
    "GET /healthz?callback=f",
    "GET /connz?cid=-1",
    "GET /connz?cid=x",
    "GET /connz?cid=1.5",
    "GET /connz?cid=99999999999999999999",
    "GET /connz?cid=%2B1",
    "GET /connz?cid=+1",
    "GET /connz?limit=-1",
    "GET /connz?limit=99999999999999999999",
    "GET /connz?limit=1e3",
    "GET /connz?limit=0x10",
    "GET /connz?limit=010",
    "GET /connz?limit=1_000",
    "GET /connz?limit=%201",
    "GET /connz?limit",
    "GET /connz?limit=1&limit=x",
    "GET /connz?limit=x;y",
    "GET /connz?limit=x%",
    "GET /connz?LIMIT=x",
    "GET /connz?offset=-5",
    "GET /connz?offset=9223372036854775807&limit=9223372036854775807",
    "GET /connz?subs=DETAIL",
    "GET /connz?subs=2",
    "GET /connz?sort=CID",
    "GET /connz?sort=reason",
    "GET /connz?acc=$G&filter_subject=a.>",
    "GET /subsz?offset=-1",
    "GET /subsz?test=a.>",
    "GET /jsz?limit=-1",
    "GET /jsz?offset=x",
    "GET /raftz?acc=NONE",
    "GET /ipqueuesz?all=x",
    "HEAD /healthz",
    "HEAD //healthz",
    "HEAD /nothing",
    "POST /healthz",
    "POST //healthz",
    "OPTIONS /",
    "OPTIONS /healthz",
    "PUT /varz",
    "DELETE /nothing",
    "get /healthz",
];

/// What is told of an answer: its status, where it leads, and its text, if it is one.
fn told(answer: &str) -> Result<(String, Option<String>, Option<String>)> {
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of the headers")?;
    let header = |name: &str| {
        let found = head.lines().filter_map(|line| line.split_once(": "));
        let found = found.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned()).next()
    };
    let status = head.split(' ').nth(1).context("no status")?.to_owned();
    let is_text = status.starts_with('4') && header("content-type").is_some_and(|kind| kind.starts_with("text/plain"));
    Ok((status, header("location"), is_text.then(|| body.to_owned())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_requests_are_answered_as_by_nats_server() -> Result<()> {
    let nats_server = match genuine() {
        Ok(path) => path,
        Err(why) => {
            println!("not compared with nats-server: {why}");
            return Ok(());
        }
    };
    let theirs = Server::start_program(&nats_server).await?;
    let ours = Server::start().await?;
    let mut found = Vec::new();
    let mut requests: Vec<String> = ODD
        .iter()
        .map(|line| format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        .collect();
    for whole in [
        "GET /healthz HTTP/1.0\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n",
        "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        "GET /varz HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nRange: bytes=0-9\r\nConnection: close\r\n\r\n",
    ] {
        requests.push(whole.to_owned());
    }
    for request in &requests {
        let (there, here) = (told(&theirs.http(request).await?)?, told(&ours.http(request).await?)?);
        if there != here {
            found.push(format!("{request:?}: {there:?} there, {here:?} here"));
        }
    }
    ensure!(found.is_empty(), "\n{}", found.join("\n"));
    Ok(())
}
