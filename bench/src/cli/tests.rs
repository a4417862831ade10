use super::*;

#[test]
fn the_last_count_that_fits_wins() {
    let line = [
        "weir-load",
        "run",
        "pubsub",
        "--messages",
        "7",
        "--messages",
        "pull=1_000",
    ];
    let Command::Run(run) = Cli::try_parse_from(line).unwrap().command else {
        panic!()
    };
    assert_eq!(run.load.messages_of(Scenario::Pull), 1000);
    assert_eq!(run.load.messages_of(Scenario::Publish), 7);
    assert!("publish=0".parse::<MessageCount>().is_err());
    assert!("nothing=1".parse::<MessageCount>().is_err());
}

#[test]
fn a_body_has_room_for_what_is_checked_of_it() {
    let line = ["weir-load", "run", "pub", "--size", "16"];
    let Command::Run(run) = Cli::try_parse_from(line).unwrap().command else {
        panic!()
    };
    assert!(run.load.validate(&[Scenario::Pub]).is_ok());
    assert!(run.load.validate(&[Scenario::Pub, Scenario::Publish]).is_err());
}
