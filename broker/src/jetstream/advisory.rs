//! Advisories and metrics: what JetStream tells those who listen (js-api, "Advisories and metrics").

use std::sync::Arc;

use serde_json::{Value, json};
use weir_engine::shard::emit::{Event, UnpinReason};
use weir_engine::stream::Abandoned;

use crate::interest::Account;
use crate::jetstream::{ApiRequest, JetStream, now, nuid};

/// The account and the subject of an event.
pub(super) fn subject_of(event: &Event) -> (&str, String) {
    let (consumer, verb) = match event {
        Event::BatchAbandoned { account, stream, .. } => {
            return (account, format!("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.{stream}"));
        }
        // These three are ours: nats-server has no such advisories.
        Event::MessageDamaged { account, stream, .. } => {
            return (account, format!("$JS.EVENT.ADVISORY.STREAM.MESSAGE_DAMAGED.{stream}"));
        }
        Event::StreamOffline { account, stream, .. } => {
            return (account, format!("$JS.EVENT.ADVISORY.STREAM.OFFLINE.{stream}"));
        }
        Event::StreamOnline { account, stream } => {
            return (account, format!("$JS.EVENT.ADVISORY.STREAM.ONLINE.{stream}"));
        }
        Event::ConsumerDeleted { consumer, .. } => (consumer, "ADVISORY.CONSUMER.DELETED"),
        Event::MaxDeliveries { consumer, .. } => (consumer, "ADVISORY.CONSUMER.MAX_DELIVERIES"),
        Event::Nak { consumer, .. } => (consumer, "ADVISORY.CONSUMER.MSG_NAKED"),
        Event::Terminated { consumer, .. } => (consumer, "ADVISORY.CONSUMER.MSG_TERMINATED"),
        Event::Pinned { consumer, .. } => (consumer, "ADVISORY.CONSUMER.PINNED"),
        Event::Unpinned { consumer, .. } => (consumer, "ADVISORY.CONSUMER.UNPINNED"),
        Event::AckSample { consumer, .. } => (consumer, "METRIC.CONSUMER.ACK"),
    };
    let subject = format!("$JS.EVENT.{verb}.{}.{}", consumer.stream, consumer.consumer);
    (&consumer.account, subject)
}

/// What an event says.
pub(super) fn payload_of(event: &Event, domain: Option<&str>) -> Vec<u8> {
    let (consumer, kind, mut fields) = match event {
        Event::BatchAbandoned {
            stream, batch, reason, ..
        } => {
            let fields = json!({"stream": &**stream, "batch": String::from_utf8_lossy(batch), "reason": match reason {
                Abandoned::Timeout => "timeout",
                Abandoned::Large => "large",
                Abandoned::Incomplete => "incomplete",
                Abandoned::Unsupported => "unsupported",
            }});
            return typed("advisory.v1.stream_batch_abandoned", with_domain(fields, domain));
        }
        Event::StreamOffline { stream, reason, .. } => {
            let fields = json!({"stream": &**stream, "reason": &**reason});
            return typed("advisory.v1.stream_offline", with_domain(fields, domain));
        }
        Event::StreamOnline { stream, .. } => {
            return typed(
                "advisory.v1.stream_online",
                with_domain(json!({"stream": &**stream}), domain),
            );
        }
        Event::MessageDamaged { stream, seq, .. } => {
            let fields = json!({"stream": &**stream, "stream_seq": seq});
            return typed("advisory.v1.stream_message_damaged", with_domain(fields, domain));
        }
        Event::ConsumerDeleted { consumer, .. } => {
            (consumer, "advisory.v1.consumer_action", json!({"action": "delete"}))
        }
        Event::MaxDeliveries {
            consumer,
            stream_seq,
            deliveries,
        } => {
            let fields = json!({"stream_seq": stream_seq, "deliveries": deliveries});
            (consumer, "advisory.v1.max_deliver", fields)
        }
        Event::Nak {
            consumer,
            consumer_seq,
            stream_seq,
            deliveries,
        } => {
            let fields = json!({"consumer_seq": consumer_seq, "stream_seq": stream_seq, "deliveries": deliveries});
            (consumer, "advisory.v1.nak", fields)
        }
        Event::Terminated {
            consumer,
            consumer_seq,
            stream_seq,
            deliveries,
            reason,
        } => {
            let mut fields = json!({"consumer_seq": consumer_seq, "stream_seq": stream_seq, "deliveries": deliveries});
            if !reason.is_empty() {
                fields["reason"] = json!(reason);
            }
            (consumer, "advisory.v1.terminated", fields)
        }
        Event::Pinned { consumer, group, id } => {
            let fields = json!({"account": &*consumer.account, "group": group, "pinned_id": &**id});
            (consumer, "advisory.v1.consumer_group_pinned", fields)
        }
        Event::Unpinned {
            consumer,
            group,
            reason,
        } => {
            let reason = match reason {
                UnpinReason::Admin => "admin",
                UnpinReason::Timeout => "timeout",
            };
            let fields = json!({"account": &*consumer.account, "group": group, "reason": reason});
            (consumer, "advisory.v1.consumer_group_unpinned", fields)
        }
        Event::AckSample {
            consumer,
            consumer_seq,
            stream_seq,
            delay,
            deliveries,
        } => {
            let fields = json!({
                "consumer_seq": consumer_seq, "stream_seq": stream_seq,
                "ack_time": delay, "deliveries": deliveries,
            });
            (consumer, "metric.v1.consumer_ack", fields)
        }
    };
    fields["stream"] = json!(&*consumer.stream);
    fields["consumer"] = json!(&*consumer.consumer);
    typed(kind, with_domain(fields, domain))
}

fn with_domain(mut fields: Value, domain: Option<&str>) -> Value {
    if let Some(domain) = domain {
        fields["domain"] = json!(domain);
    }
    fields
}

impl JetStream {
    /// Tells those who listen, if anybody does, that something happened. `subject` is what follows `$JS.EVENT.ADVISORY.`,
    /// `kind` the last part of the advisory's type.
    pub(super) fn advise(&self, account: &Arc<Account>, subject: &str, kind: &str, fields: impl FnOnce() -> Value) {
        let subject = format!("$JS.EVENT.ADVISORY.{subject}");
        if !account.has_interest(subject.as_bytes()) {
            return;
        }
        let mut fields = fields();
        if let Some(domain) = &self.options.domain {
            fields["domain"] = json!(domain);
        }
        let payload = typed(&format!("advisory.v1.{kind}"), fields);
        self.send(account, subject.as_bytes(), b"", &payload);
    }

    /// A stream was created, updated or deleted.
    pub(super) fn advise_stream(&self, account: &Arc<Account>, stream: &str, verb: &str, action: &str) {
        self.advise(
            account,
            &format!("STREAM.{verb}.{stream}"),
            "stream_action",
            || json!({"stream": stream, "action": action}),
        );
    }

    /// Requests of the API were dropped, for too many are under way. Told to the system account, as by nats-server.
    pub(super) fn advise_dropped(&self, dropped: u64) {
        tracing::warn!("JetStream API request limit reached, dropping {dropped} requests");
        let Some(system) = self.account(crate::interest::SYSTEM) else {
            return;
        };
        self.advise(
            &system,
            "API.LIMIT_REACHED",
            "api_limit_reached",
            || json!({"server": self.server_name, "dropped": dropped}),
        );
    }

    /// A request of the API was answered.
    pub(super) fn audit(&self, request: &ApiRequest, response: &[u8]) {
        self.advise(&request.account, "API", "api_audit", || {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let mut fields = json!({
                "server": self.server_name,
                "client": self.describe_client(request),
                "subject": text(&request.subject),
                "response": text(response),
            });
            if !request.payload.is_empty() {
                fields["request"] = json!(text(&request.payload));
            }
            fields
        });
    }

    /// Who made a request.
    pub(super) fn describe_client(&self, request: &ApiRequest) -> Value {
        match &request.from {
            Some(client) => json!(client.client_info()),
            None => json!({"acc": request.account.name, "server": self.server_name, "kind": "JetStream"}),
        }
    }
}

/// An advisory's JSON: its type, an id, the time, and its own fields.
pub(super) fn typed(kind: &str, mut fields: Value) -> Vec<u8> {
    fields["type"] = json!(format!("io.nats.jetstream.{kind}"));
    fields["id"] = json!(nuid());
    fields["timestamp"] = json!(weir_engine::json::format_time(Some(now())));
    fields.to_string().into_bytes()
}
