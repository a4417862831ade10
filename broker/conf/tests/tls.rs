//! The `tls` block and the flags for it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use weir_conf::options::{CallingTls, CertificateFiles, First, Ocsp, OcspMode, OcspPeer, Resolver, Tls};
use weir_conf::{Command, ConfError, Options};

fn parse(text: &str) -> Result<Options, ConfError> {
    Options::parse(text, "a.conf", &|_| None)
}

fn block(text: &str) -> Result<Options, ConfError> {
    parse(&format!("tls {{ cert_file: c, key_file: k, {text} }}"))
}

fn tls(text: &str) -> Tls {
    block(text).unwrap().tls.unwrap()
}

fn flags(args: &[&str]) -> Result<Options, ConfError> {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    match Options::load(&args, &|_| None)? {
        Command::Run(options) => Ok(*options),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_key() {
    let pin = "Ab".repeat(32);
    assert_eq!(
        tls(&format!(
            "ca_file: a, verify: true, verify_and_map: true, timeout: 1.5, connection_rate_limit: 7, pinned_certs: [{pin}],
             handshake_first: auto, min_version: \"1.3\", curve_preferences: [CurveP384, X25519],
             cert_match_skip_invalid: false, ocsp_peer: false, insecure: false, verify_cert_and_check_known_urls: false"
        )),
        Tls {
            ca_file: Some("a".into()),
            verify: true,
            map: true,
            timeout: Duration::from_millis(1500),
            rate_limit: Some(7),
            pinned: [pin.to_lowercase()].into(),
            first: First::Within(Duration::from_millis(50)),
            only_1_3: true,
            curves: Some(vec!["CurveP384", "X25519"]),
            ..Tls::of("c", "k")
        }
    );
    let many = parse("tls { certs: [{cert_file: a, key_file: b}, {cert_file: c, key_file: d}] }").unwrap();
    let pair = |certificate: &str, key: &str| CertificateFiles {
        certificate: certificate.into(),
        key: key.into(),
    };
    assert_eq!(many.tls.unwrap().certificates, [pair("a", "b"), pair("c", "d")]);
    assert_eq!(tls("").timeout, Duration::from_secs(2));
    assert_eq!(tls("timeout: \"3s\"").timeout, Duration::from_secs(3));
    for (value, first) in [
        ("true", First::Yes),
        ("\"on\"", First::Yes),
        ("\"off\"", First::No),
        ("\"300ms\"", First::Within(Duration::from_millis(300))),
    ] {
        assert_eq!(tls(&format!("first: {value}")).first, first, "{value}");
    }
}

#[test]
fn what_is_not_there_is_left_out_or_refused() {
    let options = block(
        "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
         curve_preferences: [CurveP521, CurveP256]",
    )
    .unwrap();
    let tls = options.tls.unwrap();
    assert_eq!(tls.suites.unwrap(), ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
    assert_eq!(tls.curves.unwrap(), ["CurveP256"]);
    let warned: Vec<String> = options.warnings.iter().map(ToString::to_string).collect();
    assert!(
        warned[0].contains("cipher_suites: Weir goes without TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: "),
        "{warned:?}"
    );
    assert!(
        warned[1].contains("curve_preferences: Weir goes without CurveP521: "),
        "{warned:?}"
    );
    for (text, why) in [
        (
            "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]",
            "Weir has none of TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        ),
        ("curve_preferences: [CurveP521]", "Weir has none of CurveP521"),
        ("cipher_suites: [TLS_X]", "unrecognized cipher TLS_X"),
        ("cipher_suites: []", "'cipher_suites' cannot be empty"),
        ("curve_preferences: [X]", "unrecognized curve preference X"),
        (
            "cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]",
            "insecure cipher suites configured without 'allow_insecure_cipher_suites' option set: TLS_RSA_WITH_RC4_128_SHA",
        ),
        (
            "cipher_suites: [TLS_RSA_WITH_RC4_128_SHA], allow_insecure_cipher_suites: true",
            "Weir has none of TLS_RSA_WITH_RC4_128_SHA",
        ),
        ("min_version: \"1.1\"", "unsupported TLS version: TLS 1.1"),
        ("min_version: \"2\"", "unknown version: 2"),
        ("pinned_certs: [x]", "does not look like hex-encoded sha256"),
        ("handshake_first: maybe", "is invalid"),
        ("handshake_first: 5", "should be a boolean or a string"),
        (
            "verify_cert_and_check_known_urls: true",
            "not supported in this context",
        ),
        ("cert_store: windowscurrentuser", "for Windows"),
        ("ocsp_peer: true", "requires TLS verify (mTLS) to be enabled"),
        ("verify: true, ocsp_peer: 1", "ocsp_peer must be a { block }"),
        ("verify: true, ocsp_peer { verfy: true }", "did you mean \"verify\""),
        ("verify: true, ocsp_peer { ca_timeout: soon }", "ca_timeout"),
        (
            "certs: [{cert_file: a, key_file: b}]",
            "cannot combine 'cert_file' option with 'certs' option",
        ),
        ("verfy: true", "did you mean \"verify\""),
    ] {
        let error = block(text).unwrap_err().to_string();
        assert!(error.starts_with("a.conf:1:") && error.contains(why), "{text}: {error}");
    }
    for (text, why) in [
        ("tls { cert_file: c }", "missing 'key_file' in TLS configuration"),
        ("tls { key_file: c }", "missing 'cert_file' in TLS configuration"),
        ("tls { verify: true }", "tls needs a certificate"),
        (
            "tls { certs: [{cert_file: a}] }",
            "both 'cert_file' and 'key_file' options are required",
        ),
        ("https: 8222", "TLS cert and key required for HTTPS"),
        (
            "tls { cert_file: c, key_file: k }\nhttp: 8222, https: 8223",
            "can't specify both HTTP (8222) and HTTPs (8223) ports",
        ),
        ("ocsp { mode: sometimes }", "is not one of auto, always, must, never"),
        ("ocsp { url: \"ldap://a\" }", "\"ldap://a\" is no URL of http or https"),
        (
            "ocsp { urls: [\"http://a\", \"b\"] }",
            "\"b\" is no URL of http or https",
        ),
        ("ocsp: 1", "ocsp must be a { block }"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn what_is_asked_about_clients_is_as_the_block_says() {
    let read = |text: &str| tls(&format!("verify: true, {text}")).ocsp_peer;
    let usual = OcspPeer::default();
    assert_eq!(
        (usual.timeout, usual.skew),
        (Duration::from_secs(2), Duration::from_secs(30))
    );
    assert_eq!(read("ocsp_peer: false"), None);
    assert_eq!(read("ocsp_peer { }"), None);
    assert_eq!(read("ocsp_peer { verify: false, warn_only: true }"), None);
    assert_eq!(read("ocsp_peer: true"), Some(usual));
    assert_eq!(read("ocsp_peer { verify: true, ca_timeout: 0 }"), Some(usual));
    assert_eq!(
        read(
            "ocsp_peer { verify: true, ca_timeout: 1.5, allowed_clockskew: \"1m\", warn_only: true, unknown_is_good: true,
             allow_when_ca_unreachable: true, cache_ttl_when_next_update_unset: 60 }"
        ),
        Some(OcspPeer {
            timeout: Duration::from_millis(1500),
            skew: Duration::from_secs(60),
            warn_only: true,
            unknown_is_good: true,
            allow_unreachable: true,
            unsaid: Duration::from_secs(60),
        })
    );
    let keeps = |text: &str| parse(text).unwrap().ocsp_cache;
    assert!(
        keeps("port: 1") && keeps("ocsp_cache: true") && keeps("ocsp_cache { type: LOCAL, preserve_revoked: true }")
    );
    assert!(!keeps("ocsp_cache: false") && !keeps("ocsp_cache { type: none }"));
}

#[test]
fn staples_are_as_the_block_says() {
    let read = |text: &str| parse(text).unwrap().ocsp;
    let of = |mode, urls: &[&str]| {
        let urls = urls.iter().map(|&url| url.to_owned()).collect();
        Some(Ocsp { mode, urls })
    };
    assert_eq!(read("port: 1"), None);
    assert_eq!(read("ocsp: true"), of(OcspMode::Auto, &[]));
    assert_eq!(read("ocsp: false"), of(OcspMode::Never, &[]));
    assert_eq!(read("ocsp { }"), of(OcspMode::Auto, &[]));
    assert_eq!(read("ocsp { mode: Always }"), of(OcspMode::Always, &[]));
    assert_eq!(
        read("ocsp { mode: must, url: \"http://a/\" }"),
        of(OcspMode::Must, &["http://a/"])
    );
    assert_eq!(
        read("ocsp { mode: never, urls: [\"http://a\", \"HTTPS://b/c\"] }"),
        of(OcspMode::Never, &["http://a", "HTTPS://b/c"])
    );
}

#[test]
fn clients_have_longer_for_connect_with_tls_unless_somebody_says_how_long() {
    assert_eq!(parse("").unwrap().auth.timeout, Duration::from_secs(2));
    assert_eq!(block("").unwrap().auth.timeout, Duration::from_secs(3));
    assert_eq!(block("timeout: 5").unwrap().auth.timeout, Duration::from_secs(6));
    let given = parse("tls { cert_file: c, key_file: k }, authorization { user: a, password: b, timeout: 2 }").unwrap();
    assert_eq!(given.auth.timeout, Duration::from_secs(2));
}

#[test]
fn flags_are_in_the_place_of_files_of_the_block() {
    let all = [
        "--tls",
        "--tlscert",
        "c",
        "--tlskey",
        "k",
        "--tlscacert",
        "a",
        "--tlsverify",
    ];
    let options = flags(&all).unwrap();
    assert_eq!(options.auth.timeout, Duration::from_secs(3));
    let wanted = Tls {
        ca_file: Some("a".into()),
        verify: true,
        ..Tls::of("c", "k")
    };
    assert_eq!(options.tls, Some(wanted));
    // Any of them will do.
    assert_eq!(flags(&all[1..5]).unwrap().tls, Some(Tls::of("c", "k")));
    assert_eq!(flags(&["--tls=false", "--tlscert", "c"]).unwrap().tls, None);
    assert_eq!(flags(&["--tlscert", "c", "-tls=false"]).unwrap().tls, None);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.conf");
    std::fs::write(
        &file,
        "tls { cert_file: x, key_file: y, ca_file: z, verify_and_map: true, timeout: 7, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256] }",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let tls = flags(&["-c", file, "--tlscert", "c", "--tlskey", "k", "--tlscacert", "a"])
        .unwrap()
        .tls
        .unwrap();
    let wanted = Tls {
        ca_file: Some("a".into()),
        verify: true,
        map: true,
        timeout: Duration::from_secs(7),
        suites: Some(vec!["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]),
        ..Tls::of("c", "k")
    };
    assert_eq!(tls, wanted);
    let without = flags(&["-c", file, "-tls=false"]).unwrap();
    assert_eq!((without.tls, without.auth.timeout), (None, Duration::from_secs(2)));
    let https = flags(&["-ms", "8223", "--tlscert", "c", "--tlskey", "k"]).unwrap();
    assert_eq!(https.https.unwrap().port, 8223);
}

/// Flags say which files, and that clients need a certificate. Whatever else the file restricts stays restricted.
#[test]
fn flags_open_nothing_that_the_file_shuts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.conf");
    let pin = "ab".repeat(32);
    std::fs::write(
        &file,
        format!(
            "tls {{ cert_file: x, key_file: y, ca_file: z, verify_and_map: true, pinned_certs: [{pin}], min_version: \"1.3\",
             curve_preferences: [CurveP384], connection_rate_limit: 7, handshake_first: true }}"
        ),
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let by_file = flags(&["-c", file]).unwrap().tls.unwrap();
    for more in [
        &["--tls"][..],
        &["--tlsverify"],
        &["--tlsverify=false"],
        &["--tlscert", "c", "--tlskey", "k"],
        &["--tls", "--tlscert", "c", "--tlskey", "k", "--tlscacert", "a"],
    ] {
        // Those that name no files ask for some.
        let Ok(options) = flags(&[&["-c", file], more].concat()) else {
            assert!(!more.contains(&"--tlscert"), "{more:?}");
            continue;
        };
        let tls = options.tls.unwrap();
        let but_for_files = Tls {
            certificates: by_file.certificates.clone(),
            ca_file: by_file.ca_file.clone(),
            ..tls
        };
        assert_eq!(but_for_files, by_file, "{more:?}");
    }
}

/// TLS with where accounts are looked up: what the server shows there, and whom it believes.
#[test]
fn of_a_resolver() {
    let resolver = |block: &str| {
        parse(&format!(
            "resolver: URL(https://a.example/x)\nresolver_tls {{ {block} }}"
        ))
    };
    let options = resolver("ca_file: a, cert_file: c, key_file: k, min_version: \"1.3\", insecure: false").unwrap();
    assert_eq!(
        options.trust.resolver,
        Some(Resolver::Url("https://a.example/x/".to_owned()))
    );
    let found = CallingTls {
        certificate: Some(CertificateFiles {
            certificate: "c".into(),
            key: "k".into(),
        }),
        ca_file: Some("a".into()),
        only_1_3: true,
        ..CallingTls::default()
    };
    assert_eq!(options.trust.resolver_tls, Some(found));
    assert!(options.warnings.is_empty(), "{:?}", options.warnings);
    let warned = resolver("verify: true, timeout: 2").unwrap().warnings;
    assert_eq!(warned.len(), 2, "{warned:?}");
    for (wrong, why) in [
        ("insecure: true", "name who signed its certificate with ca_file"),
        ("cert_file: c", "missing 'key_file'"),
        ("key_file: k", "missing 'cert_file'"),
        ("min_version: \"1.1\"", "unsupported TLS version"),
        ("ca: a", "ca"),
    ] {
        let told = resolver(wrong).unwrap_err().to_string();
        assert!(told.contains(why), "{wrong}: {told}");
    }
}
