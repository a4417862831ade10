//! Deletions of single messages, which come many at a time: those of one read go to their storage threads together, and these answer
//! them, with whatever else leaves at the end of the turn. Nobody has to be woken for each.

use std::sync::Arc;

use bytes::Bytes;
use weir_engine::ShardId;
use weir_engine::reject::{self, Rejection};
use weir_engine::shard::{InTurn, Input};

use super::call::Call;
use super::load::UnderWay;
use super::{message, refuse_with, refused, reply, supports_level};
use crate::jetstream::{ApiRequest, JetStream};

/// Whether a request is for the deletion of a message.
pub(in crate::jetstream) fn is_deletion(request: &ApiRequest) -> bool {
    name(request).is_some()
}

/// The stream that a deletion is of.
fn name(request: &ApiRequest) -> Option<&str> {
    match Call::parse(std::str::from_utf8(&request.subject).ok()?)? {
        Call::MsgDelete(name) => Some(name),
        _ => None,
    }
}

/// A deletion for a storage thread.
pub(in crate::jetstream) struct Deletion {
    /// Which one.
    pub shard: ShardId,
    /// What it is to do.
    pub input: Input,
}

impl Deletion {
    /// Of a request that [is one](is_deletion). Where that is refused without a storage thread, it is answered, and there is none.
    pub fn of(js: &Arc<JetStream>, request: ApiRequest, under_way: UnderWay) -> Option<Self> {
        // Before anybody has the answer.
        js.count_request(&request.account);
        let call = name(&request).map(|name| match supports_level(&request.headers) {
            true => message::deletion(js, &request, name),
            false => Err(reject::REQUIRED_API_LEVEL),
        })?;
        let (shard, work) = match call {
            Ok(call) => call,
            Err(rejection) => {
                refuse(js, &request, &rejection);
                return None;
            }
        };
        let answer = Bytes::from(reply::success(Call::MsgDelete("")));
        let (account, to) = (Arc::from(&*request.account.name), request.reply.clone());
        let sent = answer.clone();
        let work = move |shard: &mut InTurn<'_, '_>| {
            work(shard)?;
            if !to.is_empty() {
                shard.send(account, to, sent);
            }
            Ok(())
        };
        let js = Arc::clone(js);
        let done = move |outcome: weir_engine::Result<()>| {
            match outcome {
                Ok(()) => js.audit(&request, &answer),
                Err(error) => refuse(&js, &request, &refused(error, &reject::STREAM_MSG_DELETE_FAILED)),
            }
            drop(under_way);
        };
        Some(Self {
            shard,
            input: Input::calling(work, done),
        })
    }
}

/// Answers why not.
fn refuse(js: &JetStream, request: &ApiRequest, rejection: &Rejection) {
    let answer = refuse_with(js, Call::MsgDelete(""), request, rejection);
    js.respond(request, &answer);
    js.audit(request, &answer);
}
