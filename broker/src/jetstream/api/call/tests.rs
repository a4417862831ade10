use super::*;

#[test]
fn reads_subjects() {
    let (stream, name) = ("S", "C");
    for (subject, call) in [
        ("INFO", Some(Call::Info)),
        ("STREAM.NAMES", Some(Call::StreamNames)),
        ("STREAM.CREATE.S", Some(Call::StreamCreate("S"))),
        ("STREAM.MSG.GET.S", Some(Call::MsgGet("S"))),
        ("STREAM.PEER.REMOVE.S", Some(Call::StreamPeerRemove)),
        ("CONSUMER.NAMES.S", Some(Call::ConsumerNames("S"))),
        (
            "CONSUMER.CREATE.S",
            Some(Call::ConsumerCreate(Target::Ephemeral { stream })),
        ),
        (
            "CONSUMER.CREATE.S.C",
            Some(Call::ConsumerCreate(Target::Named {
                stream,
                name,
                filter: "",
            })),
        ),
        (
            "CONSUMER.CREATE.S.C.a.>",
            Some(Call::ConsumerCreate(Target::Named {
                stream,
                name,
                filter: "a.>",
            })),
        ),
        (
            "CONSUMER.DURABLE.CREATE.S.C",
            Some(Call::ConsumerCreate(Target::Durable { stream, name })),
        ),
        ("CONSUMER.INFO.S.C", Some(Call::ConsumerInfo("S", "C"))),
        ("CONSUMER.LEADER.STEPDOWN.S.C", Some(Call::ConsumerStepdown)),
        ("STREAM.FOO", None),
        ("STREAM.CREATE.a.b", None),
        ("CONSUMER.INFO.S", None),
        ("FOO", None),
    ] {
        assert_eq!(Call::parse(&format!("$JS.API.{subject}")), call, "{subject}");
    }
}
