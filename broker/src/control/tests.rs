use super::*;

#[test]
fn which_process_is_meant() {
    let pids = |wanted: &str, servers: &[i32]| {
        choose(wanted, "weir-server", || servers.to_vec()).map_err(|error| error.to_string())
    };
    assert_eq!(pids("", &[41]), Ok(vec![41]));
    assert_eq!(pids("7", &[41]), Ok(vec![7]), "a number is believed");
    assert_eq!(pids("4*", &[41, 42, 51]), Ok(vec![41, 42]));
    assert_eq!(pids("*", &[41, 42]), Ok(vec![41, 42]));
    assert_eq!(pids("", &[]), Err("no weir-server processes running".into()));
    assert_eq!(
        pids("", &[41, 42]),
        Err("multiple weir-server processes running:\n41\n42".into())
    );
    for wrong in ["x", "x*", "-1", "0", "4.5"] {
        assert!(pids(wrong, &[41]).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_refused_before_anything_is_sent() {
    let said = |signal: &str| send(signal).map_err(|error| error.to_string());
    let own = std::process::id();
    assert_eq!(said(&format!("bogus={own}")), Err("unknown signal \"bogus\"".into()));
    assert_eq!(said("reload=1=2"), Err("invalid signal parameters: [2]".into()));
    assert_eq!(said("reload=nobody"), Err("invalid pid: nobody".into()));
    // No process has a number that large.
    let gone = said(&format!("reopen={}", i32::MAX));
    assert!(
        gone.as_ref()
            .is_err_and(|text| text.contains("\nsignal \"reopen\" 2147483647: ")),
        "{gone:?}"
    );
}
