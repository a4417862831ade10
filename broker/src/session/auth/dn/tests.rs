#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use super::*;

fn dn(text: &str) -> Dn {
    Dn::parse(text).unwrap()
}

#[test]
fn names_are_read_as_they_are_written() {
    assert_eq!(
        dn("CN=a\\,b , O=c\\20+OU= d e ,DC=x").0,
        [
            vec![("CN".to_owned(), "a,b".to_owned())],
            vec![("O".to_owned(), "c ".to_owned()), ("OU".to_owned(), "d e".to_owned())],
            vec![("DC".to_owned(), "x".to_owned())],
        ]
    );
    for text in [
        "a",
        "CN=a,b",
        "CN=#04",
        "CN=a\\",
        "CN=a\\4",
        "CN=a\\zz",
        ",",
        "CN=a,,O=b",
        "CN=\\ff",
    ] {
        assert!(Dn::parse(text).is_none(), "{text}");
    }
}

#[test]
fn names_are_the_same_by_whole_relative_names_alone() {
    let one = dn("CN=a,OU=b,OU=c,DC=x,DC=y");
    assert!(one.equals(&dn("cn=a, ou=b, ou=c, dc=x, dc=y")));
    assert!(!one.equals(&dn("CN=a,OU=c,OU=b,DC=x,DC=y")));
    assert!(one.has_the_same(&dn("DC=y,CN=a,OU=c,OU=b,DC=x")));
    // One more, one less, one twice, another value, what is one relative name as two: not the same.
    for other in [
        "CN=a,OU=b,OU=c,DC=x",
        "CN=a,OU=b,OU=c,DC=x,DC=y,O=z",
        "CN=a,OU=b,OU=b,DC=x,DC=y",
        "CN=A,OU=b,OU=c,DC=x,DC=y",
        "CN=a,OU=b+OU=c,DC=x,DC=y",
    ] {
        assert!(!one.has_the_same(&dn(other)), "{other}");
        assert!(!dn(other).has_the_same(&one), "{other}");
    }
    assert!(dn("CN=a+O=b").equals(&dn("O=b+CN=a")));
}
