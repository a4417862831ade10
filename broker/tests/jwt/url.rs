//! Tokens that are looked up at a URL, by HTTP and by HTTPS.

use super::*;

/// What a server of tokens says.
#[derive(Clone)]
enum Said {
    /// This token.
    Token(String),
    /// That it is there.
    Elsewhere(String),
    /// This, and then the end.
    Bytes(Vec<u8>),
    /// This, and then that again and again, until nobody takes it any more.
    Endless(Vec<u8>, Vec<u8>),
    /// Nothing.
    Silence,
}

/// A server of tokens: one answer to each request, by the last part of its path.
struct Tokens {
    url: String,
    answers: Arc<Mutex<HashMap<String, Said>>>,
}

impl Tokens {
    fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::<Mutex<HashMap<String, Said>>>::default();
        let all = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (tls, all) = (tls.clone(), Arc::clone(&all));
                std::thread::spawn(move || match tls {
                    Some(tls) => serve(
                        StreamOwned::new(ServerConnection::new(tls).unwrap(), stream.unwrap()),
                        &all,
                    ),
                    None => serve(stream.unwrap(), &all),
                });
            }
        });
        let tokens = Self {
            url: format!("{scheme}://localhost:{port}/jwt/v1/accounts/"),
            answers,
        };
        // Asked for at the start, to see whether anybody is there.
        tokens.say("", Said::Token("ok".to_owned()));
        tokens
    }

    fn say(&self, key: &str, said: Said) {
        self.answers.lock().unwrap().insert(key.to_owned(), said);
    }
}

/// Answers one request. Whoever asked may be gone at any time.
fn serve(mut stream: impl Read + Write, answers: &Mutex<HashMap<String, Said>>) {
    let mut request = String::new();
    let mut reader = BufReader::new(&mut stream);
    while !request.ends_with("\r\n\r\n") {
        if !matches!(reader.read_line(&mut request), Ok(1..)) {
            return;
        }
    }
    let key = request.split(' ').nth(1).unwrap().rsplit('/').next().unwrap();
    let said = answers.lock().unwrap().get(key).cloned();
    let head = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\n{more}\r\n").into_bytes();
    let bytes = match said {
        Some(Said::Token(token)) => [
            head("200 OK", &format!("Content-Length: {}\r\n", token.len())),
            token.into_bytes(),
        ]
        .concat(),
        Some(Said::Elsewhere(to)) => head(
            "307 Temporary Redirect",
            &format!("Location: {to}\r\nContent-Length: 0\r\n"),
        ),
        Some(Said::Bytes(bytes)) => bytes,
        Some(Said::Endless(first, again)) => {
            let mut written = stream.write_all(&first);
            while written.is_ok() {
                written = stream.write_all(&again);
            }
            return;
        }
        Some(Said::Silence) => {
            let _ = stream.read(&mut [0]);
            return;
        }
        None => head("404 Not Found", "Content-Length: 0\r\n"),
    };
    let _ = stream.write_all(&bytes);
    let _ = stream.flush();
}

/// Who asks a server of tokens, and `more` in the configuration.
fn asking(keys: &Keys, tokens: &Tokens, more: &str) -> String {
    let operator = encode(OperatorClaims::new(&keys.operator.public_key()), &keys.operator, NOW).unwrap();
    format!("operator: {operator}\nresolver: URL({})\n{more}", tokens.url)
}

/// An account that the operator has signed, and a user of it: their tokens.
fn account_of(keys: &Keys, account: &KeyPair) -> (String, String) {
    let claims = AccountClaims::new(&account.public_key());
    let user = keys.token(account, |claims| claims.nats.issuer_account.clear());
    (encode(claims, &keys.operator, NOW).unwrap(), user)
}

#[test]
fn accounts_are_looked_up_by_http() {
    let (keys, tokens) = (Keys::new(), Tokens::start(None));
    let foreign = KeyPair::new_account();
    let account = encode(keys.claims(), &keys.operator, NOW).unwrap();
    tokens.say(&foreign.public_key(), Said::Token(account.clone()));
    // As it stands in a file.
    tokens.say(&keys.account.public_key(), Said::Token(format!("{account}\n")));
    let server = configured(&asking(&keys, &tokens, ""));
    let mut client = keys.welcome(&server, &keys.token(&keys.account, |_| {}));
    client.exchange("SUB a 1\r\nPUB a 0\r\n\r\n", "MSG a 1 0\r\n\r\n");
    // A token of another account, and none at all.
    for stranger in [foreign, KeyPair::new_account()] {
        let token = keys.token(&stranger, |claims| claims.nats.issuer_account.clear());
        keys.connect(&server, &token)
            .expect_end("-ERR 'Authorization Violation'\r\n");
    }
}

/// How a server of tokens has TLS: with this certificate, and with clients that this authority has signed, if it asks for any.
fn encrypted(authority: &Authority, issued: &Issued, asks: bool) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match asks {
        true => builder.with_client_cert_verifier(verifier.build().unwrap()),
        false => builder.with_no_client_auth(),
    };
    Arc::new(
        builder
            .with_single_cert(vec![issued.der.clone()], issued.private_key())
            .unwrap(),
    )
}

#[test]
fn accounts_are_looked_up_by_https() {
    let keys = Keys::new();
    let (authority, other) = (Authority::new(), Authority::new());
    let (own, shown) = (authority.server("server"), authority.server("shown"));
    let (token, user) = account_of(&keys, &keys.account);
    let ca = |of: &Authority| format!("ca_file: {:?}", of.file());
    let pair = format!("cert_file: {:?}, key_file: {:?}", shown.certificate, shown.key);
    for asks in [false, true] {
        let tokens = Tokens::start(Some(encrypted(&authority, &own, asks)));
        tokens.say(&keys.account.public_key(), Said::Token(token.clone()));
        let trusting = format!("resolver_tls {{ {}, {pair}, min_version: \"1.3\" }}", ca(&authority));
        let server = configured(&asking(&keys, &tokens, &trusting));
        keys.welcome(&server, &user);
        // Nobody is trusted whom nobody vouches for, neither way.
        let mut wrong = vec![format!("resolver_tls {{ {}, {pair} }}", ca(&other))];
        if asks {
            wrong.push(format!("resolver_tls {{ {} }}", ca(&authority)));
        }
        for more in wrong {
            let refused = TestServer::try_start(|options| *options = read(&asking(&keys, &tokens, &more)));
            let why = refused.err().unwrap().to_string();
            assert!(why.contains("could not fetch <\"https://localhost:"), "{more}: {why}");
        }
    }
    // A certificate of somebody else.
    let tokens = Tokens::start(Some(encrypted(
        &authority,
        &authority.named("elsewhere", "example.com"),
        false,
    )));
    let trusting = format!("resolver_tls {{ {} }}", ca(&authority));
    let refused = TestServer::try_start(|options| *options = read(&asking(&keys, &tokens, &trusting)));
    let why = refused.err().unwrap().to_string();
    assert!(why.contains("could not fetch") && why.contains("certificate"), "{why}");
}

/// A client whose account's token is said so is let in, or not.
fn comes_in(keys: &Keys, server: &TestServer, tokens: &Tokens, said: impl FnOnce(String) -> Said) -> bool {
    let account = KeyPair::new_account();
    let (token, user) = account_of(keys, &account);
    tokens.say(&account.public_key(), said(token));
    let mut client = keys.connect(server, &user);
    match client.line().as_str() {
        "PONG" => true,
        line => {
            assert_eq!(line, "-ERR 'Authorization Violation'");
            false
        }
    }
}

#[test]
fn redirects_are_followed_so_often_and_not_out_of_tls() {
    let (keys, authority) = (Keys::new(), Authority::new());
    let plain = Tokens::start(None);
    let secure = Tokens::start(Some(encrypted(&authority, &authority.server("server"), false)));
    let trusting = format!("resolver_tls {{ ca_file: {:?} }}", authority.file());
    let (by_http, by_https) = (
        configured(&asking(&keys, &plain, &trusting)),
        configured(&asking(&keys, &secure, &trusting)),
    );
    for (there, elsewhere) in [(&plain, &plain), (&plain, &secure), (&secure, &secure)] {
        let server = if there.url == plain.url { &by_http } else { &by_https };
        let taken = comes_in(&keys, server, there, |token| {
            elsewhere.say("there", Said::Token(token));
            Said::Elsewhere(format!("{}there", elsewhere.url))
        });
        assert!(taken, "{} to {}", there.url, elsewhere.url);
        let taken = comes_in(&keys, server, there, |token| {
            there.say("beside", Said::Token(token));
            Said::Elsewhere("beside".to_owned())
        });
        assert!(taken, "{} beside", there.url);
    }
    let taken = comes_in(&keys, &by_https, &secure, |token| {
        plain.say("there", Said::Token(token));
        Said::Elsewhere(format!("{}there", plain.url))
    });
    assert!(!taken, "out of TLS");
    for times in [10, 11] {
        let taken = comes_in(&keys, &by_http, &plain, |token| {
            plain.say("0", Said::Token(token));
            for at in 1..times {
                plain.say(&at.to_string(), Said::Elsewhere((at - 1).to_string()));
            }
            Said::Elsewhere((times - 1).to_string())
        });
        assert_eq!(taken, times == 10, "{times} redirects");
    }
    for location in [
        "ftp://localhost/x",
        "http://",
        "\u{1}",
        "file:///etc/passwd",
        "",
        "0/../0",
    ] {
        assert!(
            !comes_in(&keys, &by_http, &plain, |_| Said::Elsewhere(location.to_owned())),
            "{location:?}"
        );
    }
}

/// Whatever a server of tokens answers, and for however long, the client is told no, and others are served.
#[test]
fn answers_have_an_end() {
    let (keys, tokens) = (Keys::new(), Tokens::start(None));
    let server = configured(&asking(&keys, &tokens, ""));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let length = |length: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let zeros = "0".repeat(4096);
    let endless = |first: &str, again: &str| Said::Endless(first.into(), again.into());
    let bytes = |text: String| Said::Bytes(text.into_bytes());
    for said in [
        endless(chunked, "400\r\n"),
        endless(chunked, &format!("1000\r\n{zeros}\r\n")),
        endless(chunked, &format!("1;{zeros}\r\n0\r\n")),
        endless(&format!("{chunked}0\r\n"), "X: y\r\n"),
        endless(&length("18446744073709551615"), &zeros),
        endless("HTTP/1.1 200 OK\r\n", "X: y\r\n"),
        endless("HTTP/1.1 200 OK\r\nX: ", &zeros),
        endless("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"),
        endless("", "\r\n"),
        endless(&length("2000000"), &zeros),
        bytes(format!("{chunked}ffffffffffffffff\r\n{zeros}")),
        bytes(format!("{chunked}10000000000000000\r\n{zeros}")),
        bytes(format!("{chunked}-1\r\n{zeros}\r\n0\r\n\r\n")),
        bytes(format!("{chunked}\r\n\r\n")),
        bytes(format!("{chunked}5\r\nab")),
        bytes(length("-1")),
        bytes(length("18446744073709551616")),
        bytes(length("10")),
        bytes("HTTP/1.1 999 OK\r\n\r\n".to_owned()),
        bytes("HTTP/9.9 200 OK\r\n\r\n".to_owned()),
        bytes("nonsense".to_owned()),
        bytes(String::new()),
        Said::Silence,
    ] {
        let shown = match &said {
            Said::Bytes(first) | Said::Endless(first, _) => String::from_utf8_lossy(first).into_owned(),
            _ => String::new(),
        };
        assert!(!comes_in(&keys, &server, &tokens, |_| said), "{shown:?}");
    }
    assert!(comes_in(&keys, &server, &tokens, Said::Token));
    // In pieces, as servers send what they make.
    assert!(comes_in(&keys, &server, &tokens, |token| {
        let (one, two) = token.split_at(7);
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        bytes(format!("{chunked}{}{}0\r\n\r\n", chunk(one), chunk(two)))
    }));
}
