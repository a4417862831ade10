use super::*;

#[test]
fn no_secret_is_shown() {
    let given = [
        "weir-server",
        "--user",
        "ada",
        "--pass=s3cret",
        "-auth",
        "t0ken",
        "-p",
        "4222",
    ];
    let shown = without_secrets(given.into_iter().map(str::to_owned)).join(" ");
    assert_eq!(
        shown,
        "weir-server --user [REDACTED] --pass=[REDACTED] -auth [REDACTED] -p 4222"
    );
}
