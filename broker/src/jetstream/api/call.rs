//! Which call a subject makes.

/// A call of the API, with the names that stand in its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call<'s> {
    Info,
    /// Of the system account: all streams of another one.
    AccountPurge(&'s str),
    StreamCreate(&'s str),
    StreamUpdate(&'s str),
    StreamDelete(&'s str),
    StreamInfo(&'s str),
    StreamNames,
    StreamList,
    StreamPurge(&'s str),
    StreamSnapshot(&'s str),
    StreamRestore(&'s str),
    StreamStepdown,
    StreamPeerRemove,
    StreamPeerEvacuate,
    StreamCancelMove,
    MsgGet(&'s str),
    MsgDelete(&'s str),
    ConsumerCreate(Target<'s>),
    ConsumerInfo(&'s str, &'s str),
    ConsumerNames(&'s str),
    ConsumerList(&'s str),
    ConsumerDelete(&'s str, &'s str),
    ConsumerPause(&'s str, &'s str),
    ConsumerUnpin(&'s str, &'s str),
    ConsumerReset(&'s str, &'s str),
    ConsumerStepdown,
    ConsumerPeerRemove,
    ConsumerPeerEvacuate,
}

/// The three ways to ask for a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'s> {
    /// `CONSUMER.CREATE.<stream>.<consumer>[.<filter>]`.
    Named {
        stream: &'s str,
        name: &'s str,
        /// Empty if there is none.
        filter: &'s str,
    },
    /// `CONSUMER.CREATE.<stream>`: without a durable name.
    Ephemeral { stream: &'s str },
    /// `CONSUMER.DURABLE.CREATE.<stream>.<consumer>`.
    Durable { stream: &'s str, name: &'s str },
}

impl<'s> Call<'s> {
    /// Reads a subject that begins with `$JS.API.`.
    pub fn parse(subject: &'s str) -> Option<Self> {
        let call = subject.strip_prefix("$JS.API.")?;
        if call == "INFO" {
            return Some(Self::Info);
        }
        if let Some(account) = call.strip_prefix("ACCOUNT.PURGE.") {
            return Some(Self::AccountPurge(account)).filter(|_| !account.contains('.'));
        }
        if let Some(rest) = call.strip_prefix("STREAM.") {
            return Self::stream(rest);
        }
        Self::consumer(call.strip_prefix("CONSUMER.")?)
    }

    fn stream(call: &'s str) -> Option<Self> {
        match call {
            "NAMES" => return Some(Self::StreamNames),
            "LIST" => return Some(Self::StreamList),
            _ => {}
        }
        let (verb, name) = call.rsplit_once('.')?;
        Some(match verb {
            "CREATE" => Self::StreamCreate(name),
            "UPDATE" => Self::StreamUpdate(name),
            "DELETE" => Self::StreamDelete(name),
            "INFO" => Self::StreamInfo(name),
            "PURGE" => Self::StreamPurge(name),
            "SNAPSHOT" => Self::StreamSnapshot(name),
            "RESTORE" => Self::StreamRestore(name),
            "MSG.GET" => Self::MsgGet(name),
            "MSG.DELETE" => Self::MsgDelete(name),
            "LEADER.STEPDOWN" => Self::StreamStepdown,
            "PEER.REMOVE" => Self::StreamPeerRemove,
            "PEER.EVACUATE" => Self::StreamPeerEvacuate,
            "CANCEL_MOVE" => Self::StreamCancelMove,
            _ => return None,
        })
    }

    fn consumer(call: &'s str) -> Option<Self> {
        if let Some(rest) = call.strip_prefix("CREATE.") {
            let mut parts = rest.splitn(3, '.');
            let stream = parts.next()?;
            let Some(name) = parts.next() else {
                return Some(Self::ConsumerCreate(Target::Ephemeral { stream }));
            };
            let filter = parts.next().unwrap_or("");
            return Some(Self::ConsumerCreate(Target::Named { stream, name, filter }));
        }
        let one = |verb: &str| call.strip_prefix(verb).filter(|name| !name.contains('.'));
        if let Some(stream) = one("NAMES.") {
            return Some(Self::ConsumerNames(stream));
        }
        if let Some(stream) = one("LIST.") {
            return Some(Self::ConsumerList(stream));
        }
        let (rest, name) = call.rsplit_once('.')?;
        let (verb, stream) = rest.rsplit_once('.')?;
        Some(match verb {
            "INFO" => Self::ConsumerInfo(stream, name),
            "DELETE" => Self::ConsumerDelete(stream, name),
            "PAUSE" => Self::ConsumerPause(stream, name),
            "UNPIN" => Self::ConsumerUnpin(stream, name),
            "RESET" => Self::ConsumerReset(stream, name),
            "DURABLE.CREATE" => Self::ConsumerCreate(Target::Durable { stream, name }),
            "LEADER.STEPDOWN" => Self::ConsumerStepdown,
            "PEER.REMOVE" => Self::ConsumerPeerRemove,
            "PEER.EVACUATE" => Self::ConsumerPeerEvacuate,
            _ => return None,
        })
    }

    /// Whether it tells what is there and changes nothing.
    pub fn only_asks(self) -> bool {
        matches!(
            self,
            Self::Info
                | Self::StreamInfo(_)
                | Self::StreamNames
                | Self::StreamList
                | Self::ConsumerInfo(..)
                | Self::ConsumerNames(_)
                | Self::ConsumerList(_)
        )
    }

    /// Whether only a cluster can do it.
    pub fn needs_cluster(self) -> bool {
        matches!(
            self,
            Self::StreamStepdown
                | Self::StreamPeerRemove
                | Self::StreamPeerEvacuate
                | Self::StreamCancelMove
                | Self::ConsumerStepdown
                | Self::ConsumerPeerRemove
                | Self::ConsumerPeerEvacuate
        )
    }

    /// The `type` of its answers, between `io.nats.jetstream.api.v1.` and `_response`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Info => "account_info",
            Self::AccountPurge(_) => "account_purge",
            Self::StreamCreate(_) => "stream_create",
            Self::StreamUpdate(_) => "stream_update",
            Self::StreamDelete(_) => "stream_delete",
            Self::StreamInfo(_) => "stream_info",
            Self::StreamNames => "stream_names",
            Self::StreamList => "stream_list",
            Self::StreamPurge(_) => "stream_purge",
            Self::StreamSnapshot(_) => "stream_snapshot",
            Self::StreamRestore(_) => "stream_restore",
            Self::StreamStepdown => "stream_leader_stepdown",
            Self::StreamPeerRemove => "stream_remove_peer",
            Self::StreamPeerEvacuate => "stream_evacuate_peer",
            Self::StreamCancelMove => "stream_cancel_move",
            Self::MsgGet(_) => "stream_msg_get",
            Self::MsgDelete(_) => "stream_msg_delete",
            Self::ConsumerCreate(_) => "consumer_create",
            Self::ConsumerInfo(..) => "consumer_info",
            Self::ConsumerNames(_) => "consumer_names",
            Self::ConsumerList(_) => "consumer_list",
            Self::ConsumerDelete(..) => "consumer_delete",
            Self::ConsumerPause(..) => "consumer_pause",
            Self::ConsumerUnpin(..) => "consumer_unpin",
            Self::ConsumerReset(..) => "consumer_reset",
            Self::ConsumerStepdown => "consumer_leader_stepdown",
            Self::ConsumerPeerRemove => "consumer_remove_peer",
            Self::ConsumerPeerEvacuate => "consumer_evacuate_peer",
        }
    }
}

#[cfg(test)]
mod tests;
