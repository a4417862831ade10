//! Publish and subscribe, request and reply, queue groups.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use async_nats::Subscriber;
use futures_util::StreamExt;
use tokio::time::timeout;
use weir_tests::{PATIENCE, settle, with_server};

/// The subjects that arrive on `subscription` up to the one named `end`.
async fn subjects_until(subscription: &mut Subscriber, end: &str) -> Result<Vec<String>> {
    let mut subjects = Vec::new();
    loop {
        let message = timeout(PATIENCE, subscription.next())
            .await
            .with_context(|| format!("`{end}` never came; so far: {subjects:?}"))?
            .context("the subscription ended")?;
        if message.subject.as_str() == end {
            return Ok(subjects);
        }
        subjects.push(message.subject.to_string());
    }
}

#[test]
fn wildcards_choose_which_messages_arrive() {
    with_server(async |server| {
        let client = server.connect().await?;
        let mut one_token = client.subscribe("shop.*.paid").await?;
        let mut the_rest = client.subscribe("shop.>").await?;
        let mut exact = client.subscribe("shop.7.paid").await?;
        settle(&client).await?;

        let publisher = server.connect().await?;
        let sent = [
            "shop.7.paid",
            "shop.8.paid",
            "shop.7.sent",
            "shop.7.8.paid",
            "shop",
            "shops.7.paid",
        ];
        // The last message matches all three, so that each knows when to stop;
        // for those it is the second `shop.7.paid` or the one after it.
        for subject in sent {
            publisher.publish(subject, subject.into()).await?;
        }
        for end in ["shop.end.paid", "shop.7.paid"] {
            publisher.publish(end, "end".into()).await?;
        }
        publisher.flush().await?;

        assert_eq!(
            subjects_until(&mut one_token, "shop.end.paid").await?,
            ["shop.7.paid", "shop.8.paid"]
        );
        assert_eq!(
            subjects_until(&mut the_rest, "shop.end.paid").await?,
            ["shop.7.paid", "shop.8.paid", "shop.7.sent", "shop.7.8.paid"]
        );
        for expected in ["shop.7.paid", "end"] {
            let message = timeout(PATIENCE, exact.next()).await?.context("ended")?;
            assert_eq!(message.payload, expected);
        }
        Ok(())
    });
}

#[test]
fn headers_and_empty_payloads_arrive_as_they_were_sent() {
    with_server(async |server| {
        let client = server.connect().await?;
        let mut subscription = client.subscribe("parcel").await?;
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Colour", "blue");
        headers.append("Colour", "green");
        client.publish_with_headers("parcel", headers, "".into()).await?;

        let message = timeout(PATIENCE, subscription.next()).await?.context("ended")?;
        let headers = message.headers.context("the headers are gone")?;
        let colours: Vec<_> = headers.get_all("Colour").map(|value| value.as_str()).collect();
        assert_eq!(colours, ["blue", "green"]);
        assert!(message.payload.is_empty());
        Ok(())
    });
}

#[test]
fn a_request_gets_its_own_reply() {
    with_server(async |server| {
        let service = server.connect().await?;
        let mut requests = service.subscribe("double.*").await?;
        settle(&service).await?;
        let answering = tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let number: u32 = std::str::from_utf8(&request.payload)?.parse()?;
                let reply = request.reply.context("a request without a reply subject")?;
                service.publish(reply, (2 * number).to_string().into()).await?;
            }
            anyhow::Ok(())
        });

        let client = server.connect().await?;
        let answers = futures_util::future::join_all(
            (0..50u32).map(|number| client.request("double.it", number.to_string().into())),
        );
        for (number, answer) in timeout(PATIENCE, answers).await?.into_iter().enumerate() {
            assert_eq!(answer?.payload, (2 * number).to_string());
        }
        answering.abort();
        Ok(())
    });
}

#[test]
fn a_request_nobody_serves_fails_at_once() {
    with_server(async |server| {
        let client = server.connect().await?;
        let refused = timeout(PATIENCE, client.request("nobody.home", "".into()))
            .await?
            .err()
            .context("nobody could have answered")?;
        assert_eq!(refused.kind(), async_nats::RequestErrorKind::NoResponders);
        Ok(())
    });
}

#[test]
fn a_queue_group_shares_the_work_and_loses_none() {
    const JOBS: usize = 300;
    with_server(async |server| {
        let (done, mut results) = tokio::sync::mpsc::channel(JOBS);
        for member in 0..3 {
            let client = server.connect().await?;
            let mut jobs = client.queue_subscribe("jobs.>", "workers".to_owned()).await?;
            settle(&client).await?;
            let done = done.clone();
            tokio::spawn(async move {
                // The client must live as long as its subscription.
                let _client = client;
                while let Some(job) = jobs.next().await {
                    if done.send((member, job.payload)).await.is_err() {
                        break;
                    }
                }
            });
        }
        // Somebody outside the group gets everything, whatever the group does.
        let witness = server.connect().await?;
        let mut everything = witness.subscribe("jobs.>").await?;
        settle(&witness).await?;

        let publisher = server.connect().await?;
        for job in 0..JOBS {
            publisher.publish(format!("jobs.{job}"), job.to_string().into()).await?;
        }
        publisher.flush().await?;

        let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
        let mut shares = [0usize; 3];
        for _ in 0..JOBS {
            let (member, job) = timeout(PATIENCE, results.recv()).await?.context("ended")?;
            *taken.entry(std::str::from_utf8(&job)?.parse()?).or_default() += 1;
            shares[member] += 1;
        }
        assert!(
            taken.len() == JOBS && taken.values().all(|&times| times == 1),
            "not each job exactly once: {taken:?}"
        );
        ensure!(
            shares.iter().all(|&share| share > 0),
            "somebody had nothing to do: {shares:?}"
        );
        for job in 0..JOBS {
            let seen = timeout(PATIENCE, everything.next()).await?.context("ended")?;
            assert_eq!(seen.payload, job.to_string());
        }
        assert!(results.try_recv().is_err(), "a job was handed out twice");
        Ok(())
    });
}
