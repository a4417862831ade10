use super::*;

fn is_for(filter: &str) -> bool {
    let mut options = Options {
        host: "10.0.0.1".to_owned(),
        server_tags: vec!["eu".to_owned(), "ssd".to_owned()],
        ..Options::default()
    };
    options.jetstream.domain = Some("hub".to_owned());
    let filter: Filter = serde_json::from_str(filter).unwrap();
    filter.is_for("one", &options)
}

#[test]
fn a_request_is_for_the_servers_that_all_of_it_is_true_of() {
    for (filter, wanted) in [
        ("{}", true),
        (r#"{"server_name":"n"}"#, true),
        (r#"{"server_name":"n","exact_match":true}"#, false),
        (r#"{"server_name":"one","host":"10.0.0.1","exact_match":true}"#, true),
        (r#"{"server_name":"two"}"#, false),
        (r#"{"host":"10.0.0.2"}"#, false),
        (r#"{"cluster":"c"}"#, false),
        (r#"{"tags":["eu"]}"#, true),
        (r#"{"tags":["eu","us"]}"#, false),
        (r#"{"domain":"hub"}"#, true),
        (r#"{"domain":"hu"}"#, false),
    ] {
        assert_eq!(is_for(filter), wanted, "{filter}");
    }
}

#[test]
fn options_are_those_of_nats_server() {
    let text = r#"{"state":1,"subscriptions_detail":true,"limit":-3,"acc":"A","unknown":1}"#;
    let asked: Connz = serde_json::from_str(text).unwrap();
    let options = ConnzOptions::from(asked);
    assert_eq!((options.state, options.limit), (State::Closed, 0));
    assert!(options.subscriptions && options.detailed);
    assert_eq!((options.account.as_deref(), options.user), (Some("A"), None));
    assert!(serde_json::from_str::<Connz>(r#"{"limit":"x"}"#).is_err());
}
