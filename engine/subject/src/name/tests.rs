use super::*;
use proptest::prelude::*;

#[test]
fn validity_follows_nats_server() {
    for good in [
        "a",
        "a.b",
        "*",
        ">",
        "a.*.c",
        "a.>",
        "a*",
        ">>",
        "a.>b.c",
        "**.a",
        "$JS.API.>",
        "\u{fc}.x",
        "a.*b",
    ] {
        assert!(is_valid_subject(good.as_bytes()), "{good}");
    }
    for bad in [
        "", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "a b", "a.\t", "a\r", "a\n.b", " ", "a.\x0c", "> ",
    ] {
        assert!(!is_valid_subject(bad.as_bytes()), "{bad:?}");
    }
    assert!(is_valid_subject(&[0xff, b'.', 0x00]), "bytes, not text");
}

#[test]
fn wildcards_are_whole_tokens() {
    for wild in ["*", ">", "a.*", "*.a", "a.*.b", "a.>"] {
        assert!(has_wildcard(wild.as_bytes()) && !is_literal(wild.as_bytes()), "{wild}");
    }
    for plain in ["a", "a*.b", "*a", ">>.a", "a.b>", "**"] {
        assert!(
            !has_wildcard(plain.as_bytes()) && is_literal(plain.as_bytes()),
            "{plain}"
        );
    }
    assert!(!is_literal(b"a..b") && !has_wildcard(b""));
    for sent in ["a b", "a.\rb", "\x0c"] {
        assert!(
            is_literal_as_sent(sent.as_bytes()) && !is_literal(sent.as_bytes()),
            "{sent:?}"
        );
    }
    for wrong in ["", "a..b", "a.*", ">", " .>"] {
        assert!(!is_literal_as_sent(wrong.as_bytes()), "{wrong:?}");
    }
}

#[test]
fn tokens_are_counted() {
    assert_eq!(tokens(b"a.bc.d").collect::<Vec<_>>(), [&b"a"[..], b"bc", b"d"]);
    assert_eq!((token_count(b""), token_count(b"a"), token_count(b"a.b.>")), (0, 1, 3));
}

proptest! {
    #[test]
    fn one_pass_agrees_with_the_rules_spelled_out(subject in proptest::collection::vec(proptest::sample::select(&b"ab*>.. \t"[..]), 0..12)) {
        let parts: Vec<&[u8]> = subject.split(|byte| *byte == b'.').collect();
        let last = parts.len() - 1;
        let valid = parts.iter().enumerate().all(|(at, part)| {
            !part.is_empty() && !part.iter().any(|byte| b" \t\r\n\x0c".contains(byte)) && (*part != b">" || at == last)
        });
        let wild = parts.iter().any(|part| *part == b"*" || *part == b">");
        prop_assert_eq!(is_valid_subject(&subject), valid);
        prop_assert_eq!(is_literal(&subject), valid && !wild);
        prop_assert_eq!(has_wildcard(&subject), wild);
        if !subject.is_empty() {
            prop_assert_eq!(token_count(&subject), parts.len());
        }
    }
}
