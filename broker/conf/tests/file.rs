//! The configuration language.

use proptest::prelude::*;
use weir_conf::Options;
use weir_conf::file::{self, Map, Value};

fn none(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> Map {
    file::parse(text, "a.conf", &none).unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

fn fails(text: &str) -> String {
    match file::parse(text, "a.conf", &none) {
        Ok(map) => panic!("{text:?} was read as {map:?}"),
        Err(e) => e.to_string(),
    }
}

/// The value as text, without positions.
fn show(value: &Value) -> String {
    match value {
        Value::Str(s) => format!("{s:?}"),
        Value::Int(n) => n.to_string(),
        Value::Float(f) => format!("{f:?}"),
        Value::Bool(b) => b.to_string(),
        Value::Date(d) => format!("date {d}"),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(|n| show(&n.value)).collect::<Vec<_>>().join(",")
        ),
        Value::Map(map) => show_map(map),
    }
}

fn show_map(map: &Map) -> String {
    let entries = map
        .entries
        .iter()
        .map(|e| format!("{}={}", e.key, show(&e.value.value)));
    format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
}

#[test]
fn forms_of_entries() {
    for (text, expected) in [
        ("a: 1\nb = 2\nc 3", "{a=1,b=2,c=3}"),
        ("{ a: 1, b: 2 }", "{a=1,b=2}"),
        ("{\"a\": 1, \"b\": {\"c\": [1, 2,],},}\n", "{a=1,b={c=[1,2]}}"),
        ("a: 1; b: 2;\n", "{a=1,b=2}"),
        ("# c\n// d\na 1 # e\nb 2 // f\r\nc 3//g", "{a=1,b=2,c=\"3//g\"}"),
        ("a{b{c:1}}", "{a={b={c=1}}}"),
        (
            "a = [\n x\n 'y z'\n \"w\" # c\n [1], {k: v}\n]",
            "{a=[\"x\",\"y z\",\"w\",[1],{k=\"v\"}]}",
        ),
        (
            "u: nats://a:b@h:4222\nr [nats://x:1, nats://y:2]",
            "{u=\"nats://a:b@h:4222\",r=[\"nats://x:1\",\"nats://y:2\"]}",
        ),
        ("a: 1\na: 2", "{a=2}"),
        (
            "a: \"x\\n\\t\\\"\\\\\\x41\"\nb: 'x\\n'",
            "{a=\"x\\n\\t\\\"\\\\A\",b=\"x\\\\n\"}",
        ),
        ("a (\n one\n (two)\n)\nb 1", "{a=\"\\n one\\n (two)\\n\",b=1}"),
        ("password: $2a$11$UP3xizk94sWF9", "{password=\"$2a$11$UP3xizk94sWF9\"}"),
        ("", "{}"),
    ] {
        assert_eq!(show_map(&parse(text)), expected, "{text:?}");
    }
}

#[test]
fn words_by_their_look() {
    for (word, expected) in [
        ("true", "true"),
        ("YES", "true"),
        ("off", "false"),
        ("-5", "-5"),
        ("1k", "1000"),
        ("1KB", "1024"),
        ("2ki", "2048"),
        ("2KiB", "2048"),
        ("3m", "3000000"),
        ("3MB", "3145728"),
        ("1g", "1000000000"),
        ("1GiB", "1073741824"),
        ("1t", "1000000000000"),
        ("1eb", "1152921504606846976"),
        ("1.5", "1.5"),
        ("-0.5", "-0.5"),
        ("1.", "\"1.\""),
        ("1.5k", "\"1.5k\""),
        ("127.0.0.1", "\"127.0.0.1\""),
        ("10s", "\"10s\""),
        ("1zz", "\"1zz\""),
        ("-", "\"-\""),
        ("2013-01-02T03:04:05Z", "date 2013-01-02T03:04:05Z"),
        ("2013-01-02", "\"2013-01-02\""),
    ] {
        assert_eq!(
            show_map(&parse(&format!("a: {word}"))),
            format!("{{a={expected}}}"),
            "{word}"
        );
    }
}

/// As nats-server 2.15.1 reads them.
#[test]
fn a_value_may_stand_on_a_later_line() {
    for (text, expected) in [
        ("port\n4222", "{port=4222}"),
        ("port\n\n  : 4222", "{port=4222}"),
        ("port\r\n\t=4222\r\n", "{port=4222}"),
        ("jetstream\n{\n  domain\n  hub\n}\n", "{jetstream={domain=\"hub\"}}"),
        ("users\n[\n  a\n  b\n]", "{users=[\"a\",\"b\"]}"),
        ("name\n\"two words\"\nport: 1", "{name=\"two words\",port=1}"),
        ("text\n(\nlines\n)\n", "{text=\"\\nlines\\n\"}"),
    ] {
        assert_eq!(show_map(&parse(text)), expected, "{text}");
    }
}

#[test]
fn errors_say_where_and_what() {
    for (text, expected) in [
        (
            "port:\n",
            "a.conf:1:6: Parse error: expected a value for \"port\", found the end of the line",
        ),
        (
            "port\n:\n4222",
            "a.conf:2:2: Parse error: expected a value for \"port\", found the end of the line",
        ),
        (
            "port\n",
            "a.conf:1:5: Parse error: expected a value for \"port\", found the end of the file",
        ),
        (
            "a {\n  port:\n}",
            "a.conf:2:8: Parse error: expected a value for \"port\", found the end of the line",
        ),
        (
            "port # of clients\n4222",
            "a.conf:1:6: Parse error: expected a value for \"port\", found '#'",
        ),
        (
            "debug\ntrace: true",
            "a.conf:2:8: Parse error: expected the end of the line, a comma or a } behind the value of \"debug\", found 't'",
        ),
        ("include\n\"x.conf\"", "a.conf:1:1: include takes the name of a file"),
        (
            "x",
            "a.conf:1:2: Parse error: expected a value for \"x\", found the end of the file",
        ),
        (
            "a: 1 b: 2",
            "a.conf:1:6: Parse error: expected the end of the line, a comma or a } behind the value of \"a\", found 'b'",
        ),
        (
            "a = [1 2]",
            "a.conf:1:8: Parse error: expected a comma or a ] in this list, found '2'",
        ),
        ("\n  a: {b: 1", "a.conf:2:6: Parse error: this { is not closed"),
        ("a: [1,", "a.conf:1:4: Parse error: this [ is not closed"),
        (
            "a: \"x\\q\"",
            "a.conf:1:6: Parse error: unknown escape; those known are \\n \\t \\r \\\" \\\\ \\xHH (in '…' nothing is escaped)",
        ),
        ("a: 'x", "a.conf:1:4: Parse error: this string has no closing '"),
        ("a: \"\nx", "a.conf:1:4: Parse error: this string has no closing \""),
        (
            "a: (x)",
            "a.conf:1:4: Parse error: this block has no closing ) on a line of its own",
        ),
        ("a: 1\n}}", "a.conf:2:2: Parse error: expected a key, found '}'"),
        ("{a: 1", "a.conf:1:1: Parse error: the { around the file is not closed"),
        (
            "a: 9223372036854775808",
            "a.conf:1:4: Parse error: 9223372036854775808 does not fit in 64 bits",
        ),
        (
            "a: 9223372036854775807k",
            "a.conf:1:4: Parse error: 9223372036854775807k does not fit in 64 bits",
        ),
        ("= 1", "a.conf:1:1: Parse error: expected a key, found '='"),
        (
            "é: $NO",
            "a.conf:1:4: Parse error: the variable $NO is set neither above this line nor in the environment; quote the value if it is no variable",
        ),
        (
            "include \"nope.conf\"",
            "a.conf:1:1: cannot include nope.conf: No such file or directory (os error 2)",
        ),
    ] {
        assert_eq!(fails(text), expected);
    }
    let deep = format!("a: {}", "[".repeat(100));
    assert!(fails(&deep).contains("nested deeper than 64"));
}

/// What a variable of the environment holds, and what stands behind a key of a secret, is in no error.
#[test]
fn an_error_tells_no_secret() {
    let values = [
        "{ pomegranate: ",
        "{ pomegranate ",
        "pomegranate: x",
        "[pomegranate",
        "$pomegranate",
        "{ pomegranate: 1 }",
        "{ a: [$pomegranate] }",
        "'pomegranate",
        "pomegranate' x",
        "12345678901234567890123",
    ];
    for value in values {
        let env = |name: &str| (name == "KK").then(|| value.to_owned());
        let mut texts = vec![
            "jetstream { key: $KK }".to_owned(),
            "jetstream { ek: $KK\n prev_key: x }".to_owned(),
            "authorization { user: u, password: $KK }".to_owned(),
            "authorization { token: $KK }".to_owned(),
            "accounts { A: { users: [{ user: u, pass: $KK }] } }".to_owned(),
            "jetstream: $KK".to_owned(),
        ];
        texts.push(format!("jetstream {{ key: {value} }}"));
        texts.push(format!("authorization {{ password: {value} }}"));
        for text in texts {
            if let Err(error) = Options::parse(&text, "a.conf", &env) {
                let told = error.to_string();
                assert!(
                    !told.contains("pomegranate") && !told.contains("1234567"),
                    "{text}, {value}: {told}"
                );
            }
        }
    }
}

/// Nor is what a variable of the file holds, nor a seed where a public key belongs, nor a URL with a password in it.
#[test]
fn an_error_tells_no_variable_seed_or_url() {
    const SEED: &str = "SAPOMEGRANATEPOMEGRANATEPOMEGRANATEPOMEGRANATEPOMEGRANATEXX";
    let env = |name: &str| (name == "KK").then(|| "pomegranate".to_owned());
    for text in [
        "PW = pomegranate\nauthorization { timeout: $PW }".to_owned(),
        "PW = 'x:pomegranate\"'\nlisten: $PW".to_owned(),
        "PW = pomegranate\njetstream { backend: $PW }".to_owned(),
        "ping_interval: $KK".to_owned(),
        "ocsp { url: \"htp://u:pomegranate@h/\" }".to_owned(),
        "ocsp { urls: [\"htp://h/?token=pomegranate\"] }".to_owned(),
        "resolver: URL(\"htp://u:pomegranate@h/\")".to_owned(),
        format!("authorization {{ auth_callout {{ issuer: {SEED}, users: [a] }} }}"),
        format!(
            "authorization {{ auth_callout {{ issuer: ACI2FCQLOQ4BLE5E3FDJK6JARETK7SFNQLEIHG3WIQ2ZXHV2TJFTU3RM, xkey: {SEED}, users: [a] }} }}"
        ),
        format!("proxies {{ trusted: [{{ key: {SEED} }}] }}"),
        format!("trusted_keys: [{SEED}]"),
        format!("operator: {SEED}"),
        format!("accounts {{ A {{ nkey: {SEED} }} }}"),
    ] {
        let told = Options::parse(&text, "a.conf", &env).unwrap_err().to_string();
        assert!(
            !told.to_ascii_lowercase().contains("pomegranate") && told.contains("a.conf:"),
            "{text}: {told}"
        );
    }
    // A number is told, and so is what is wrong where the message has nothing of the value.
    let told = |text: &str| Options::parse(text, "a.conf", &env).unwrap_err().to_string();
    assert!(told("P = 70000\nport: $P").contains("70000"));
    assert!(told("P = pomegranate\nport: $P").contains("must be"));
}

#[test]
fn variables_from_the_nearest_scope_then_the_environment() {
    let env = |name: &str| match name {
        "PORT" => Some("4333".to_owned()),
        "LIST" => Some("[1, $PORT]".to_owned()),
        "ME" => Some("$ME".to_owned()),
        "TWO" => Some("a b".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let read = |text: &str| {
        file::parse(text, "a.conf", &env)
            .map(|m| show_map(&m))
            .map_err(|e| e.to_string())
    };
    assert_eq!(read("p: $PORT").unwrap(), "{p=4333}");
    assert_eq!(read("p: $LIST").unwrap(), "{p=[1,4333]}");
    assert_eq!(
        read("PORT: 1\na { PORT: 2, p: $PORT }\np: $PORT").unwrap(),
        "{PORT=1,a={PORT=2,p=2},p=1}"
    );
    assert!(read("p: $ME").unwrap_err().contains("refers to itself"));
    assert!(read("p: $TWO").unwrap_err().contains("is not one value"));
    assert!(read("p: $EMPTY").is_err());
    assert!(
        read("p: $LATER\nLATER: 1")
            .unwrap_err()
            .contains("neither above this line")
    );
    let map = file::parse("V: 1\np: $V", "a.conf", &env).unwrap();
    assert!(map.get("V").unwrap().is_variable && !map.get("p").unwrap().is_variable);
}

#[test]
fn repeated_variables_do_not_explode() {
    let mut text = String::from("a0: [1,1]\n");
    for n in 1..60 {
        text.push_str(&format!("a{n}: [$a{}, $a{}]\n", n - 1, n - 1));
    }
    assert!(fails(&text).contains("more than 1000000 values"));
}

#[test]
fn includes_are_relative_and_finite() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    write(
        "main.conf",
        "a: 1\ninclude sub/b.conf\nx { include 'sub/c.conf' }\ninclude: 5\n",
    );
    write("sub/b.conf", "B: 1\nb: $B\ninclude \"c.conf\"\nd: $c\n");
    write("sub/c.conf", "c: 3");
    write("scope.conf", "a: 1\ninclude sub/scope.conf\n");
    write("sub/scope.conf", "\ne: $a");
    let error = file::parse_file(&path("scope.conf"), &none).unwrap_err().to_string();
    assert!(
        error.contains("sub/scope.conf:2:4: Parse error: the variable $a is set neither"),
        "{error}"
    );
    write("large.conf", &format!("a: \"{}\"", "x".repeat(16 << 20)));
    let error = file::parse_file(&path("large.conf"), &none).unwrap_err().to_string();
    assert!(error.contains("larger than 16777216 bytes"), "{error}");
    write("loop.conf", "include sub/loop2.conf");
    write("sub/loop2.conf", "\ninclude ../loop.conf");
    write("bad.conf", "include sub/bad.conf");
    write("sub/bad.conf", "\n  y: [");
    assert_eq!(
        show_map(&file::parse_file(&path("main.conf"), &none).unwrap()),
        "{a=1,B=1,b=1,c=3,d=3,x={c=3},include=5}"
    );
    let error = file::parse_file(&path("loop.conf"), &none).unwrap_err().to_string();
    assert!(
        error.contains("loop2.conf:2:1: ") && error.contains("includes itself"),
        "{error}"
    );
    let error = file::parse_file(&path("bad.conf"), &none).unwrap_err().to_string();
    assert!(
        error.ends_with("sub/bad.conf:2:6: Parse error: this [ is not closed"),
        "{error}"
    );
    let error = file::parse_file(&path("no.conf"), &none).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the configuration file"), "{error}");
}

proptest! {
    #[test]
    fn random_text_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = file::parse(&String::from_utf8_lossy(&bytes), "a.conf", &none);
    }

    #[test]
    fn random_pieces_never_panic(pieces in proptest::collection::vec(prop::sample::select(vec![
        "a", "b", ":", "=", " ", "\n", "{", "}", "[", "]", "(", ")", "\"", "'", "\\", "\\x4", "$a", "$b", "#", "//", ",", ";", "1", "1k", "-", ".", "include ", "é", "\r",
    ]), 0..60)) {
        let env = |name: &str| (name == "b").then(|| "[$b, {".to_owned());
        let _ = file::parse(&pieces.concat(), "a.conf", &env);
    }

    #[test]
    fn quoted_strings_come_back(text in "\\PC{0,30}") {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        let map = parse(&format!("a: \"{escaped}\""));
        prop_assert_eq!(&map.get("a").unwrap().value.value, &Value::Str(text));
    }
}
