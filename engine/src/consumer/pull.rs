//! Pull requests: what a client asks for, and the queue of those that wait.

use bytes::Bytes;
use serde::Deserialize;

use crate::consumer::Consumer;
use crate::json::nullable;
use crate::shard::emit::{Emit, Status};
use crate::shard::turn::Turn;
use crate::types::{NanoTime, Nanos};

/// A pull request (js-api, "Pull").
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PullRequest {
    /// Messages wanted.
    #[serde(deserialize_with = "nullable")]
    pub batch: u64,
    /// How long to wait for them in nanoseconds; 0 for as long as it takes.
    #[serde(deserialize_with = "nullable")]
    pub expires: Nanos,
    /// Bytes at most; 0 for no limit.
    #[serde(deserialize_with = "nullable")]
    pub max_bytes: u64,
    /// Whether to answer at once when there is nothing.
    #[serde(deserialize_with = "nullable")]
    pub no_wait: bool,
    /// The silence after which a heartbeat is sent, in nanoseconds; 0 for none.
    #[serde(deserialize_with = "nullable")]
    pub idle_heartbeat: Nanos,
    /// The priority group.
    #[serde(deserialize_with = "nullable")]
    pub group: String,
}

impl Default for PullRequest {
    fn default() -> Self {
        Self {
            batch: 1,
            expires: 0,
            max_bytes: 0,
            no_wait: false,
            idle_heartbeat: 0,
            group: String::new(),
        }
    }
}

impl PullRequest {
    /// Reads a request's payload: empty for one message, a number for so many, or JSON; other text counts as one.
    ///
    /// # Errors
    /// The reason, as the client is told, if it is JSON and wrong.
    pub fn parse(payload: &[u8]) -> Result<Self, String> {
        let text = payload.trim_ascii();
        if text.starts_with(b"{") {
            let mut request: Self = serde_json::from_slice(text).map_err(|error| format!("invalid JSON: {error}"))?;
            request.batch = request.batch.max(1);
            if request.idle_heartbeat > 0 && request.expires < request.idle_heartbeat.saturating_mul(2) {
                return Err("heartbeat value too large".to_owned());
            }
            return Ok(request);
        }
        let batch = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        Ok(Self {
            batch: batch.unwrap_or(1).max(1),
            ..Self::default()
        })
    }
}

/// A request in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    pub reply: Bytes,
    /// Messages still wanted.
    pub left: u64,
    /// Bytes still allowed; `None` for no limit.
    pub bytes_left: Option<u64>,
    /// `NanoTime::MAX` for never.
    pub expires: NanoTime,
    pub no_wait: bool,
    pub heartbeat: Nanos,
    /// When the next heartbeat is due; `NanoTime::MAX` for never.
    pub next_heartbeat: NanoTime,
    /// Whether it was sent anything.
    pub served: bool,
}

impl Waiting {
    fn short(&self) -> (u64, u64) {
        (self.left, self.bytes_left.unwrap_or(0))
    }
}

impl Consumer {
    /// Takes a pull request into the queue, or refuses it with a status.
    pub fn pull(&mut self, request: &PullRequest, reply: Bytes, turn: &mut Turn<'_>) {
        if reply.is_empty() {
            return;
        }
        self.idle_since = turn.now;
        if let Some(status) = self.refuse(request) {
            self.tell(reply, status, turn);
            return;
        }
        if self.waiting.len() as i64 >= self.config.max_waiting.max(1) {
            self.drop_dead(turn);
        }
        if self.waiting.len() as i64 >= self.config.max_waiting.max(1) {
            // A client with heartbeats finds out by their absence.
            if request.idle_heartbeat == 0 {
                self.tell(reply, conflict("Exceeded MaxWaiting"), turn);
            }
            return;
        }
        if request.no_wait {
            let available = self.num_pending + self.redeliver.len() as u64;
            if available == 0 && request.expires == 0 {
                self.tell(reply, Status::NoMessages, turn);
                return;
            }
            let promised: u64 = self.waiting.iter().map(|waiting| waiting.left).sum();
            if available > 0 && available < promised {
                self.tell(reply, Status::RequestsPending, turn);
                return;
            }
        }
        let after = |nanos: Nanos| match nanos {
            0 => NanoTime::MAX,
            nanos => turn.now.saturating_add(nanos),
        };
        self.waiting.push_back(Waiting {
            reply,
            left: request.batch,
            bytes_left: (request.max_bytes > 0).then_some(request.max_bytes),
            expires: after(request.expires),
            no_wait: request.no_wait,
            heartbeat: request.idle_heartbeat,
            next_heartbeat: after(request.idle_heartbeat),
            served: false,
        });
    }

    /// Why a request cannot be served at all.
    fn refuse(&self, request: &PullRequest) -> Option<Status> {
        let config = &self.config;
        if config.is_push() {
            return Some(conflict("Consumer is push based"));
        }
        if config.max_batch > 0 && request.batch > config.max_batch as u64 {
            return Some(conflict(format!("Exceeded MaxRequestBatch of {}", config.max_batch)));
        }
        if config.max_expires > 0 && request.expires > config.max_expires {
            let seconds = config.max_expires as f64 / 1e9;
            return Some(conflict(format!("Exceeded MaxRequestExpires of {seconds}s")));
        }
        if config.max_bytes > 0 && request.max_bytes > config.max_bytes as u64 {
            return Some(conflict(format!("Exceeded MaxRequestMaxBytes of {}", config.max_bytes)));
        }
        None
    }

    /// Removes the requests whose client has gone away.
    pub fn drop_dead(&mut self, turn: &mut Turn<'_>) {
        let account = self.name.account.clone();
        self.waiting
            .retain(|waiting| turn.outlet.has_interest(&account, &waiting.reply));
    }

    /// Ends the requests whose time is over, and sends heartbeats.
    pub fn expire_pulls(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        let heartbeat = self.heartbeat(None);
        let mut told = Vec::new();
        self.waiting.retain_mut(|waiting| {
            if waiting.expires <= now {
                let (messages, bytes) = waiting.short();
                told.push((waiting.reply.clone(), Status::RequestTimeout { messages, bytes }));
                return false;
            }
            if waiting.next_heartbeat <= now {
                waiting.next_heartbeat = now.saturating_add(waiting.heartbeat);
                told.push((waiting.reply.clone(), heartbeat.clone()));
            }
            true
        });
        for (to, status) in told {
            self.tell(to, status, turn);
        }
    }

    /// There is nothing more to send: the requests that would not wait and got something are done.
    pub fn end_of_stream(&mut self, turn: &mut Turn<'_>) {
        if !self.waiting.iter().any(|waiting| waiting.no_wait && waiting.served) {
            return;
        }
        let mut told = Vec::new();
        self.waiting.retain(|waiting| {
            let done = waiting.no_wait && waiting.served;
            if done {
                let (messages, bytes) = waiting.short();
                told.push((waiting.reply.clone(), Status::RequestTimeout { messages, bytes }));
            }
            !done
        });
        for (to, status) in told {
            self.tell(to, status, turn);
        }
    }

    /// Ends all requests for that reason.
    pub fn end_pulls(&mut self, text: &str, turn: &mut Turn<'_>) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.tell(waiting.reply, conflict(text), turn);
        }
    }

    /// Chooses the request that gets the next message of so many bytes, and books it there. `checked` counts the
    /// requests at the front of the queue that were seen to be alive in this turn.
    pub(super) fn next_waiting(&mut self, size: u64, checked: &mut usize, turn: &mut Turn<'_>) -> Option<Bytes> {
        loop {
            let waiting = self.waiting.front_mut()?;
            if waiting.expires <= turn.now {
                self.expire_pulls(turn);
                continue;
            }
            if *checked == 0 {
                if !turn.outlet.has_interest(&self.name.account, &waiting.reply) {
                    self.waiting.pop_front();
                    continue;
                }
                *checked = 1;
            }
            if let Some(left) = waiting.bytes_left {
                if size > left {
                    let status = Status::Conflict {
                        text: "Message Size Exceeds MaxBytes".to_owned(),
                        short: Some(waiting.short()),
                    };
                    let reply = waiting.reply.clone();
                    self.waiting.pop_front();
                    *checked = 0;
                    self.tell(reply, status, turn);
                    continue;
                }
                waiting.bytes_left = Some(left - size);
            }
            waiting.left -= 1;
            waiting.served = true;
            if waiting.heartbeat > 0 {
                waiting.next_heartbeat = turn.now.saturating_add(waiting.heartbeat);
            }
            let reply = waiting.reply.clone();
            if waiting.left == 0 || waiting.bytes_left == Some(0) {
                self.waiting.pop_front();
                *checked = 0;
            } else if self.waiting.len() > 1 {
                // In turn: the next message is for the next request.
                self.waiting.rotate_left(1);
                *checked = 0;
            }
            return Some(reply);
        }
    }

    /// Whether the request with that reply subject waits.
    pub(super) fn is_waiting(&self, reply: &[u8]) -> bool {
        self.waiting.iter().any(|waiting| waiting.reply == reply)
    }

    /// Takes the request with that reply subject off the queue.
    pub fn cancel_pull(&mut self, reply: &[u8]) {
        self.waiting.retain(|waiting| waiting.reply != reply);
    }

    /// Whether anybody waits.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When [`Consumer::expire_pulls`] next has something to do.
    pub(super) fn pull_deadline(&self) -> Option<NanoTime> {
        self.waiting
            .iter()
            .map(|waiting| waiting.expires.min(waiting.next_heartbeat))
            .min()
            .filter(|deadline| *deadline != NanoTime::MAX)
    }

    pub(super) fn heartbeat(&self, stalled: Option<u64>) -> Status {
        Status::Heartbeat {
            consumer_seq: self.delivered.consumer,
            stream_seq: self.delivered.stream,
            stalled,
        }
    }

    pub(super) fn tell(&self, to: Bytes, status: Status, turn: &mut Turn<'_>) {
        turn.emits.push(Emit::Status {
            consumer: self.name.clone(),
            to,
            status,
        });
    }
}

/// A 409 without counts.
pub(super) fn conflict(text: impl Into<String>) -> Status {
    Status::Conflict {
        text: text.into(),
        short: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        assert_eq!(PullRequest::parse(b"").unwrap().batch, 1);
        assert_eq!(PullRequest::parse(b"25").unwrap().batch, 25);
        assert_eq!(PullRequest::parse(b"what").unwrap().batch, 1);
        let request = PullRequest::parse(br#"{"batch":3,"expires":1000,"no_wait":true,"other":1}"#).unwrap();
        assert_eq!((request.batch, request.expires, request.no_wait), (3, 1000, true));
        let nulls = PullRequest::parse(br#"{"batch":null,"group":null,"no_wait":null}"#).unwrap();
        assert_eq!(nulls, PullRequest::default());
        assert!(PullRequest::parse(b"{").is_err());
        assert_eq!(
            PullRequest::parse(br#"{"idle_heartbeat":10,"expires":15}"#),
            Err("heartbeat value too large".to_owned())
        );
    }
}
