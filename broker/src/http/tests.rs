use super::*;

#[test]
fn a_password_is_not_told() {
    assert_eq!(shown("http://a:b@host:1/x/"), "http://host:1/x/");
    assert_eq!(shown("http://host"), "http://host");
    assert_eq!(shown("http://a:b@host/x?token=c@d/e"), "http://host/x");
    assert_eq!(shown("http://host?token=c@d"), "http://host");
}

#[test]
fn a_password_is_what_the_url_says() {
    assert_eq!(plain("a:b%20c%zz%4"), b"a:b c%zz%4");
}

#[test]
fn locations_are_followed_from_where_they_were_said() {
    let base: Uri = "https://a:b@host:1/x/y?z".parse().unwrap();
    let joined = |location: &str| joined(&base, location).map(|uri| uri.to_string());
    for (location, expected) in [
        ("http://other/p", Some("http://other/p")),
        ("//other/p", Some("https://other/p")),
        ("/p?q", Some("https://a:b@host:1/p?q")),
        ("p", Some("https://a:b@host:1/x/p")),
        ("ftp://other/", None),
        ("http:///x", None),
        ("", None),
    ] {
        assert_eq!(joined(location).as_deref(), expected, "{location:?}");
    }
}
