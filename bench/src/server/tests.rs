use super::*;

#[test]
fn a_spec_has_a_program_arguments_and_a_file() {
    let spec: ServerSpec = "theirs-always=nats-server,conf:a.conf,-D,only:publish,only:idle-js"
        .parse()
        .unwrap();
    assert_eq!(spec.name, "theirs-always");
    assert_eq!(spec.program, Path::new("nats-server"));
    assert_eq!(spec.args, ["-D"]);
    assert_eq!(spec.conf.as_deref(), Some(Path::new("a.conf")));
    assert!(spec.runs(Scenario::Publish) && spec.runs(Scenario::IdleJs));
    assert!(!spec.runs(Scenario::Pubsub));
    assert!("a=b".parse::<ServerSpec>().unwrap().runs(Scenario::Pubsub));
    for bad in ["x", "=y", "x=", "x=y,conf:a,conf:b", "x=y,only:nothing"] {
        assert!(bad.parse::<ServerSpec>().is_err(), "{bad}");
    }
}
