use super::nearest;

#[test]
fn the_nearest_name() {
    let names = [
        "port",
        "host",
        "net",
        "cluster",
        "max_payload",
        "ping_interval",
        "http",
        "https",
    ];
    for (word, expected) in [
        ("prt", Some("port")),
        ("prot", Some("port")),
        ("Clustr", Some("cluster")),
        ("max_paylod", Some("max_payload")),
        ("maxpayload", Some("max_payload")),
        ("ping-interval", Some("ping_interval")),
        ("htp", Some("http")),
        ("x", None),
        ("", None),
        ("something_else", None),
    ] {
        assert_eq!(nearest(word, names.into_iter()), expected, "{word}");
    }
    assert_eq!(nearest(&"x".repeat(1 << 20), names.into_iter()), None);
}
