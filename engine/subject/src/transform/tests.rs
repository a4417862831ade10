use super::*;

fn apply(source: &str, destination: &str, subject: &str) -> Option<String> {
    let transform = Transform::new(source.as_bytes(), destination.as_bytes()).unwrap();
    transform
        .apply(subject.as_bytes(), 0)
        .map(|new| String::from_utf8(new).unwrap())
}

#[track_caller]
fn becomes(source: &str, destination: &str, subject: &str, new: &str) {
    assert_eq!(apply(source, destination, subject).as_deref(), Some(new));
}

#[test]
fn wildcards_are_reordered() {
    becomes("foo", "bar", "foo", "bar");
    becomes("foo.*.*", "bar.$2.{{wildcard(1)}}", "foo.a.b", "bar.b.a");
    becomes("foo.*.*", "bar.{{ Wildcard( 2 ) }}", "foo.a.b", "bar.b");
    becomes("foo.*.*", "bar.$0.$-1", "foo.a.b", "bar.foo.foo");
    becomes("*.x.*", "$JS.$1.$x", "a.x.b", "$JS.a.$x");
    becomes("foo.*", "bar", "foo.a", "bar");
    becomes("foo.*", "x{{wildcard(1)}}.{{}}", "foo.a", "x{{wildcard(1)}}.{{}}");
    assert_eq!(apply("foo.*", "bar.$1", "foo.a.b"), None);
    assert_eq!(apply("foo.*", "bar.$1", "foo.*"), None);
}

#[test]
fn the_rest_is_carried_over() {
    becomes("foo.>", "bar.>", "foo.a.b", "bar.a.b");
    becomes("foo.*.>", "$1.bar.>", "foo.a.b.c", "a.bar.b.c");
    becomes("", "pre.>", "a.b", "pre.a.b");
    becomes("", "", "a.b", "a.b");
    becomes(">", ">", "a.b", "a.b");
    becomes("a.>", ">", "a.b.c", "b.c");
}

#[test]
fn functions() {
    becomes("*", "{{splitfromleft(1,3)}}", "12345", "123.45");
    becomes("*", "{{SplitFromRight(1,3)}}", "12345", "12.345");
    becomes("*", "{{splitfromleft(1,5)}}", "12345", "12345");
    becomes("*", "{{splitfromleft(1,0)}}", "12345", "12345");
    becomes("*", "{{SliceFromLeft(1,2)}}", "12345", "12.34.5");
    becomes("*", "{{slicefromleft(1,2)}}", "1234", "12.34");
    becomes("*", "{{slicefromleft(1,3)}}", "1234567890", "123.456.789.0");
    becomes("*", "{{slicefromright(1,2)}}", "12345", "1.23.45");
    becomes("*", "{{slicefromright(1,2)}}", "1234", "12.34");
    becomes("*", "{{slicefromright(1,9)}}", "1234", "1234");
    becomes("*", "{{split(1,-)}}", "-abc-def--ghi-", "abc.def.ghi");
    becomes("*", "{{split(1,ab)}}.x", "1ab2", "1.2.x");
    becomes("*", "{{left(1,2)}}.{{right(1,2)}}", "12345", "12.45");
    becomes("*", "{{left(1,9)}}.{{right(1,0)}}", "12345", "12345.12345");
    becomes("*", "{{left(1,-2)}}.{{right(1,-2)}}", "12345", "12345.12345");
    becomes("*", "{{split(1, )}}", "aéb", "a.é.b");
    assert_eq!(
        apply("*", "a.{{split(1,-)}}", "--"),
        None,
        "an empty token is no subject"
    );
}

#[test]
fn partitions() {
    // FNV-1a of `foobar` is 0xbf9cf968.
    becomes(
        "*.*",
        "{{partition(10,1,2)}}.$1",
        "foo.bar",
        &format!("{}.foo", 0xbf9c_f968_u32 % 10),
    );
    becomes(
        "*.*",
        "{{Partition(7,1,2)}}",
        "foo.bar",
        &(0xbf9c_f968_u32 % 7).to_string(),
    );
    // As nats-server 2.15.1 answered.
    becomes("foo", "p.{{partition(10)}}", "foo", "p.3");
    becomes("foo.*", "p.{{partition(10)}}", "foo.bar", "p.6");
    becomes("foo.>", "p.{{partition(7)}}.>", "foo.bar.x", "p.0.bar.x");
    becomes("a.*.*", "p.{{partition(10,1,2)}}.$1", "a.foo.bar", "p.0.foo");
    becomes("a.*", "{{partition(0,1)}}", "a.b", "0");
    // Of `a`: 0xe40c292c.
    becomes("a", "{{partition(3,1)}}", "a", "1");
    becomes("a", "{{partition(10)}}", "a", &(0xe40c_292c_u32 % 10).to_string());
    becomes("x.*", "{{partition(7, 1)}}", "x.a", &(0xe40c_292c_u32 % 7).to_string());
}

#[test]
fn random_numbers_come_from_chance() {
    let transform = Transform::new(b"a.*", b"{{random(10)}}.{{Random(7)}}.{{random(0)}}.{{random(-3)}}.$1").unwrap();
    // 10 * (7 * 5 + 4) + 3, where 5 is 2 above a multiple of 3.
    assert_eq!(transform.apply(b"a.b", 393).as_deref(), Some(&b"3.4.0.2.b"[..]));
    let transform = Transform::new(b"a", b"{{random(1000)}}").unwrap();
    assert_eq!(transform.apply(b"a", 12_345).as_deref(), Some(&b"345"[..]));
}

#[test]
fn errors_are_clear() {
    use TransformError::*;
    let error =
        |source: &str, destination: &str| Transform::new(source.as_bytes(), destination.as_bytes()).unwrap_err();
    for (source, destination) in [
        ("a..b", "c"),
        ("a", "c..d"),
        ("a.*", "b.*"),
        ("a.>", "b"),
        ("a", "b.>"),
        ("a", ""),
        ("a", "b c"),
        ("a b", "c"),
        ("a.>", "b.>.c"),
    ] {
        assert_eq!(error(source, destination), BadSubject, "{source} {destination}");
    }
    assert_eq!(error("*", "$2"), WildcardOutOfRange("$2: [2]".into()));
    assert_eq!(error(">", "$1.>"), WildcardOutOfRange("$1: [1]".into()));
    assert_eq!(error("a", "$1"), WildcardOutOfRange("$1".into()));
    assert_eq!(
        error("*", "{{partition(3,2)}}"),
        WildcardOutOfRange("{{partition(3,2)}}: [2]".into())
    );
    for unknown in [
        "{{nope(1)}}",
        "{{wildcard}}",
        "{{ }}",
        "{{wildcard(1}}",
        "{{WildCard(1)}}",
    ] {
        assert_eq!(error("*", unknown), UnknownFunction(unknown.into()));
    }
    for few in ["{{wildcard()}}", "{{split(1)}}", "{{left(1)}}", "{{random(1,2)}}"] {
        assert_eq!(error("*", few), NotEnoughArguments(few.into()));
    }
    for many in ["{{wildcard(1,2)}}", "{{split(1,a,b)}}", "{{right(1,2,3)}}"] {
        assert_eq!(error("*", many), TooManyArguments(many.into()));
    }
    for invalid in [
        "{{wildcard(x)}}",
        "{{random()}}",
        "{{partition()}}",
        "{{partition(3,)}}",
        "{{split(1,- )}}",
        "{{left(1,)}}",
        "{{left(1,99999999999)}}",
    ] {
        assert_eq!(error("*", invalid), InvalidArgument(invalid.into()));
    }
    assert_eq!(
        error("*", "{{wildcard(2)}}").to_string(),
        "invalid mapping destination: wildcard index out of range in {{wildcard(2)}}: [2]"
    );
}

#[test]
fn what_is_imported_goes_back_the_same_way() {
    for (source, destination, back, to) in [
        ("a.*.*", "b.$2.$1", "b.x.y", "a.y.x"),
        ("a.*.*.*", "b.$2.$3.$1", "b.x.y.z", "a.z.x.y"),
        ("a.>", "pre.a.>", "pre.a.x.y", "a.x.y"),
        ("a.*.>", "{{wildcard(1)}}.>", "x.y.z", "a.x.y.z"),
        ("a.*", "b.$1.$1", "b.x.x", "a.x"),
    ] {
        let transform = Transform::for_import(source.as_bytes(), destination.as_bytes()).unwrap();
        let reverse = transform.reverse().unwrap();
        assert_eq!(
            reverse.apply(back.as_bytes(), 0).as_deref(),
            Some(to.as_bytes()),
            "{source}"
        );
        assert_eq!(
            transform.apply(to.as_bytes(), 0).as_deref(),
            Some(back.as_bytes()),
            "{source}"
        );
    }
    let error = |source: &str, destination: &str| {
        Transform::for_import(source.as_bytes(), destination.as_bytes())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error("a.*", "b.{{left(1,2)}}"),
        "invalid mapping destination: the only mapping function allowed for import transforms is {{Wildcard()}} in {{left(1,2)}}"
    );
    assert_eq!(
        error("a.*", "b"),
        "invalid mapping destination: not using all of the token wildcard(s) in b"
    );
}

#[test]
fn filters_are_renamed_with_their_wildcards() {
    let transform = Transform::for_import(b"b.*.*.>", b"a.$2.$1.>").unwrap();
    let renamed = |filter: &str| {
        let renamed = transform.rename_filter(filter.as_bytes());
        renamed.map(|new| String::from_utf8(new).unwrap())
    };
    assert_eq!(renamed("b.*.x.>").as_deref(), Some("a.x.*.>"));
    assert_eq!(renamed("b.y.*.z.*").as_deref(), Some("a.*.y.z.*"));
    assert_eq!(number_wildcards(b"a.*.b.*.>"), b"a.$1.b.$2.>");
    let (filter, found) = placeholders(b"x.$2.{{ wildcard(1) }}.$0.{{partition(1)}}");
    assert_eq!(filter, b"x.*.*.$0.{{partition(1)}}");
    assert_eq!(found, [&b"$2"[..], b"{{ wildcard(1) }}"]);
}
