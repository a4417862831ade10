//! Users, what they may do, and accounts whose subjects and streams are their own.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream::stream::Config;
use async_nats::{Client, ConnectOptions, Event};
use futures_util::StreamExt;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use weir_tests::{PATIENCE, Server, jetstream, patient, settle, with_server_for};

/// Enough for the slowest machine.
const LIMIT: Duration = Duration::from_secs(180);

const CONFIGURATION: &str = r#"
accounts {
  A { jetstream: enabled, users: [
    {user: ann, password: p}
    {user: guest, password: p, permissions: {publish: "ask.>", subscribe: {allow: ["_INBOX.>", "news.>"], deny: "news.secret"}}}
    {user: helper, password: p, permissions: {subscribe: "ask.>", allow_responses: true}} ] }
  B { jetstream: {max_streams: 1}, users: [{user: bob, password: p}] }
}
no_auth_user: bob
"#;

/// A client, and what its library tells of errors.
async fn connect(server: &Server, user: &str) -> Result<(Client, UnboundedReceiver<String>)> {
    let (told, tells) = unbounded_channel();
    let options = patient(ConnectOptions::with_user_and_password(user.to_owned(), "p".to_owned()));
    let client = options
        .event_callback(move |event| {
            if let Event::ServerError(error) = event {
                // The test may have ended.
                let _ = told.send(error.to_string());
            }
            async {}
        })
        .connect(server.url())
        .await?;
    Ok((client, tells))
}

async fn next<T>(from: impl Future<Output = Option<T>>) -> Result<T> {
    timeout(PATIENCE, from).await?.context("it ended")
}

#[test]
fn users_do_what_they_may() {
    with_server_for(LIMIT, async |server| {
        server.configure(CONFIGURATION)?;
        server.stop().await?;
        server.start_again().await?;
        let wrong = ConnectOptions::with_user_and_password("ann".into(), "wrong".into());
        ensure!(wrong.connect(server.url()).await.is_err(), "a wrong password comes in");

        let (ann, _) = connect(server, "ann").await?;
        let (guest, mut told) = connect(server, "guest").await?;
        let mut news = guest.subscribe("news.>").await?;
        let mut forbidden = guest.subscribe("news.secret").await?;
        ensure!(
            next(told.recv())
                .await?
                .contains("Permissions Violation for Subscription to \"news.secret\"")
        );
        guest.publish("news.x", "".into()).await?;
        ensure!(
            next(told.recv())
                .await?
                .contains("Permissions Violation for Publish to \"news.x\"")
        );
        ann.publish("news.secret", "1".into()).await?;
        ann.publish("news.open", "2".into()).await?;
        ensure!(next(news.next()).await?.subject.as_str() == "news.open");
        if let Ok(Some(message)) = timeout(Duration::ZERO, forbidden.next()).await {
            bail!("what is denied arrives: {}", message.subject);
        }

        // A helper may answer what it is asked, and say nothing else.
        let (helper, mut told) = connect(server, "helper").await?;
        let mut asked = helper.subscribe("ask.>").await?;
        helper.flush().await?;
        let answering = async {
            let request = next(asked.next()).await?;
            let reply = request.reply.context("no reply subject")?;
            helper.publish(reply.clone(), "42".into()).await?;
            helper.publish(reply, "43".into()).await?;
            anyhow::Ok(())
        };
        // Asked once the helper listens, which a client that hears everything of its account shows.
        let (answer, answered) = tokio::join!(
            async {
                loop {
                    match guest.request("ask.me", "".into()).await {
                        Ok(answer) => return anyhow::Ok(answer),
                        Err(error) if error.kind() == async_nats::RequestErrorKind::NoResponders => {}
                        Err(error) => bail!(error),
                    }
                }
            },
            answering
        );
        answered?;
        ensure!(answer?.payload == "42");
        ensure!(
            next(told.recv())
                .await?
                .contains("Permissions Violation for Publish to \"_INBOX.")
        );
        Ok(())
    });
}

#[test]
fn streams_and_subjects_of_accounts_are_their_own() {
    with_server_for(LIMIT, async |server| {
        server.configure(CONFIGURATION)?;
        server.stop().await?;
        server.start_again().await?;
        let (ann, _) = connect(server, "ann").await?;
        // Whoever gives no name is bob.
        let bob = server.connect().await?;
        let (for_ann, for_bob) = (jetstream(ann.clone()), jetstream(bob.clone()));
        let config = |name: &str| Config {
            name: name.to_owned(),
            subjects: vec![format!("{name}.>")],
            ..Config::default()
        };
        for_ann.create_stream(config("S")).await?;
        for_bob.create_stream(config("S")).await?;
        ensure!(for_bob.create_stream(config("T")).await.is_err(), "one stream too many");
        for_ann.create_stream(config("T")).await?;
        let mut heard = bob.subscribe(">").await?;
        settle(&bob).await?;
        for_ann.publish("S.a", "of ann".into()).await?.await?;
        let ack = for_bob.publish("S.b", "of bob".into()).await?.await?;
        ensure!(ack.sequence == 1, "of another's stream: {ack:?}");
        loop {
            let message = next(heard.next()).await?;
            ensure!(message.subject.as_str() != "S.a", "another account's message");
            if message.subject.as_str() == "S.b" {
                break;
            }
        }
        // After a restart as before.
        server.stop().await?;
        server.start_again().await?;
        let (ann, _) = connect(server, "ann").await?;
        let mut stream = jetstream(ann).get_stream("S").await?;
        let message = stream.get_raw_message(1).await?;
        ensure!(message.payload == "of ann", "{message:?}");
        ensure!(stream.info().await?.state.messages == 1);
        Ok(())
    });
}
