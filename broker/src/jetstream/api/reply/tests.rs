use weir_engine::reject;

use super::*;

fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap()
}

#[test]
fn documents_are_those_of_nats_server() {
    assert_eq!(
        text(success(Call::StreamDelete("S"))),
        "{\"type\":\"io.nats.jetstream.api.v1.stream_delete_response\",\"success\":true}"
    );
    assert_eq!(
        text(refusal(Call::StreamInfo("S"), &reject::STREAM_NOT_FOUND)),
        "{\"type\":\"io.nats.jetstream.api.v1.stream_info_response\",\"error\":{\"code\":404,\"err_code\":10059,\
         \"description\":\"stream not found\"},\"total\":0,\"offset\":0,\"limit\":0}"
    );
    assert_eq!(
        text(refusal(Call::StreamNames, &reject::REQUIRED_API_LEVEL)),
        "{\"type\":\"io.nats.jetstream.api.v1.stream_names_response\",\"error\":{\"code\":412,\"err_code\":10185,\
         \"description\":\"JetStream minimum api level required\"},\"total\":0,\"offset\":0,\"limit\":0,\"streams\":null}"
    );
    let more = reject::STREAM_INVALID_CONFIG.with("a >= <b> & c");
    assert!(text(refusal(Call::StreamCreate("S"), &more)).contains("a \\u003e= \\u003cb\\u003e \\u0026 c"));
}

#[test]
fn refusals_keep_the_fields_that_answers_always_have() {
    let told = |call| {
        let told = text(refusal(call, &reject::STREAM_NOT_FOUND));
        told.split_once("not found\"}")
            .map(|(_, rest)| rest.to_owned())
            .unwrap_or_default()
    };
    assert_eq!(told(Call::StreamPurge("S")), ",\"purged\":0}");
    assert_eq!(
        told(Call::ConsumerPause("S", "C")),
        ",\"paused\":false,\"pause_until\":\"0001-01-01T00:00:00Z\"}"
    );
    assert_eq!(
        told(Call::ConsumerList("S")),
        ",\"total\":0,\"offset\":0,\"limit\":0,\"consumers\":[]}"
    );
    assert_eq!(told(Call::MsgGet("S")), "}");
}

#[test]
fn pages_stay_within_the_list() {
    let all = || vec![1, 2, 3];
    for (offset, limit, expected, items) in [
        (0, 2, 0, vec![1, 2]),
        (2, 2, 2, vec![3]),
        (9, 2, 3, vec![]),
        (-5, 9, 0, all()),
    ] {
        let (page, found) = page(all(), offset, limit);
        assert_eq!(
            (page.total, page.offset, page.limit, found),
            (3, expected, limit, items)
        );
    }
}
