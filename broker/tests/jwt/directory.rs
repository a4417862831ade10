//! Tokens that are kept in a directory, and the services for them.

use super::*;

/// Keys with a system account, whose client asks in it.
struct World {
    keys: Keys,
    system: KeyPair,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            keys: Keys::new(),
            system: KeyPair::new_account(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn configuration(&self, resolver: &str) -> String {
        let mut claims = OperatorClaims::new(&self.keys.operator.public_key());
        claims.nats.system_account = self.system.public_key();
        let operator = encode(claims, &self.keys.operator, NOW).unwrap();
        let folder = self.folder.path().display();
        format!("operator: {operator}\nresolver: {{ dir: \"{folder}\", {resolver} }}")
    }

    /// A cache that has the system account's token: it is not looked for all the time that there is for an answer.
    fn cache(&self) -> String {
        let (key, token) = (self.system.public_key(), self.account(&self.system, |_| {}));
        let configuration = self.configuration("type: cache, ttl: \"1h\", timeout: \"60s\"");
        format!("{configuration}\nresolver_preload {{ {key}: {token} }}")
    }

    fn account(&self, key: &KeyPair, change: impl FnOnce(&mut AccountClaims)) -> String {
        let mut claims = AccountClaims::new(&key.public_key());
        change(&mut claims);
        encode(claims, &self.keys.operator, NOW).unwrap()
    }

    fn user(&self, account: &KeyPair) -> String {
        self.keys.token(account, |claims| claims.nats.issuer_account.clear())
    }

    /// A client in the system account.
    fn system(&self, server: &TestServer) -> Raw {
        let mut client = self.keys.welcome(server, &self.user(&self.system));
        client.exchange("SUB answer 1\r\n", "");
        client
    }

    fn file(&self, key: &KeyPair) -> std::path::PathBuf {
        self.folder.path().join(format!("{}.jwt", key.public_key()))
    }
}

/// What a client is answered in the system account.
fn ask(client: &mut Raw, subject: &str, payload: &str) -> String {
    client.send(format!("PUB {subject} answer {}\r\n{payload}\r\n", payload.len()));
    body(client)
}

fn body(client: &mut Raw) -> String {
    let line = client.line();
    assert!(line.starts_with("MSG "), "{line}");
    let size: usize = line.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
    let body = client.take(size + 2);
    String::from_utf8_lossy(&body[..size]).into_owned()
}

/// Has the server take an account's token.
fn push(system: &mut Raw, token: &str) {
    let told = json_of(&ask(system, "$SYS.REQ.CLAIMS.UPDATE", token));
    assert_eq!(told["data"]["code"], 200, "{told}");
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn accounts_are_pushed_listed_looked_up_and_deleted() {
    let world = World::new();
    let server = configured(&world.configuration("type: full, allow_delete: true, limit: 3"));
    // Nobody has brought the system account's token yet.
    let mut system = world.system(&server);
    let (account, key) = (&world.keys.account, world.keys.account.public_key());
    let token = world.account(account, |_| {});
    let told = json_of(&ask(&mut system, "$SYS.REQ.CLAIMS.UPDATE", &token));
    assert_eq!(
        told["data"],
        json!({"account": key, "code": 200, "message": "jwt updated"})
    );
    assert_eq!(std::fs::read_to_string(world.file(account)).unwrap(), token);
    let mut client = world.keys.welcome(&server, &world.user(account));
    assert_eq!(
        ask(&mut system, &format!("$SYS.REQ.ACCOUNT.{key}.CLAIMS.LOOKUP"), ""),
        token
    );
    assert_eq!(ask(&mut system, "$SYS.REQ.ACCOUNT.nobody.CLAIMS.LOOKUP", ""), "");
    assert_eq!(
        json_of(&ask(&mut system, "$SYS.REQ.CLAIMS.LIST", ""))["data"],
        json!([key])
    );
    assert_eq!(ask(&mut system, "$SYS.REQ.CLAIMS.PACK", ""), format!("{key}|{token}"));
    assert_eq!(body(&mut system), "");
    // Changed while a client is there, under its own subject.
    let limited = world.account(account, |claims| {
        claims.nats.revocations.insert("*".to_owned(), NOW);
    });
    let own = format!("$SYS.REQ.ACCOUNT.{key}.CLAIMS.UPDATE");
    assert_eq!(
        json_of(&ask(&mut system, &own, &limited))["data"]["message"],
        "jwt updated"
    );
    client.expect_end("-ERR 'User Authentication Revoked'\r\n");
    let foreign = world.account(&world.system, |_| {});
    let told = json_of(&ask(&mut system, &own, &foreign));
    assert_eq!(
        told["error"]["description"],
        "jwt update resulted in error - subject does not match jwt content"
    );
    assert_eq!(json_of(&ask(&mut system, &own, "nonsense"))["error"]["account"], "n/a");
    // Only an operator deletes, and not the system account.
    let request = |key: &KeyPair, account: &str| {
        let mut claims = GenericClaims {
            nats: json!({"accounts": [account]}),
            ..GenericClaims::default()
        };
        claims.common.subject = key.public_key();
        encode(claims, key, NOW).unwrap()
    };
    let delete = "$SYS.REQ.CLAIMS.DELETE";
    let wrong = request(&KeyPair::new_operator(), &key);
    let told = json_of(&ask(&mut system, delete, &wrong));
    assert!(
        told["error"]["description"]
            .as_str()
            .unwrap()
            .ends_with("failed - not trusted")
    );
    let own = request(&world.keys.operator, &world.system.public_key());
    let told = json_of(&ask(&mut system, delete, &own));
    assert!(
        told["error"]["description"]
            .as_str()
            .unwrap()
            .ends_with("not allowed to delete system account")
    );
    ask(&mut system, "$SYS.REQ.CLAIMS.UPDATE", &world.account(account, |_| {}));
    let mut client = world.keys.welcome(&server, &world.user(account));
    let told = json_of(&ask(&mut system, delete, &request(&world.keys.operator, &key)));
    assert_eq!(told["data"]["message"], "deleted 1 accounts");
    client.expect_end("-ERR 'Account Authentication Expired'\r\n");
    world
        .keys
        .connect(&server, &world.user(account))
        .expect_end("-ERR 'Authorization Violation'\r\n");
    assert!(!world.file(account).exists());
}

/// An operator who pushes all that it has at once is answered for each.
#[test]
fn many_accounts_may_be_pushed_at_once() {
    let world = World::new();
    let server = configured(&world.configuration("type: full, limit: 150"));
    let mut system = world.system(&server);
    let mut all = String::new();
    for _ in 0..200 {
        let token = world.account(&KeyPair::new_account(), |_| {});
        all += &format!("PUB $SYS.REQ.CLAIMS.UPDATE answer {}\r\n{token}\r\n", token.len());
    }
    system.send(all);
    let answers: Vec<String> = (0..200).map(|_| body(&mut system)).collect();
    let of = |text: &str| answers.iter().filter(|answer| answer.contains(text)).count();
    assert_eq!((of("jwt updated"), of("jwt store is full")), (150, 50));
}

/// What no operator has signed takes nobody's place in a directory, whoever in the system account says it, and however.
#[test]
fn what_no_operator_has_signed_is_not_kept() {
    let world = World::new();
    let (account, stranger) = (&world.keys.account, KeyPair::new_operator());
    let key = account.public_key();
    let good = world.account(account, |_| {});
    // Later than what is there.
    let forged = |signer: &KeyPair| encode(AccountClaims::new(&key), signer, NOW + 10).unwrap();
    let by_nobody = format!(
        "{}.{}",
        good.rsplit_once('.').unwrap().0,
        BASE64_URL_SAFE_NO_PAD.encode([0; 64])
    );
    let all = [
        forged(&stranger),
        forged(account),
        by_nobody,
        "x".to_owned(),
        format!("{good}|{good}"),
    ];
    let server = configured(&world.configuration("type: full, interval: \"100ms\""));
    let mut system = world.system(&server);
    let told = json_of(&ask(&mut system, "$SYS.REQ.CLAIMS.UPDATE", &good));
    assert_eq!(told["data"]["code"], 200, "{told}");
    let mut client = world.keys.welcome(&server, &world.user(account));
    for subject in [
        "$SYS.REQ.CLAIMS.UPDATE".to_owned(),
        format!("$SYS.REQ.ACCOUNT.{key}.CLAIMS.UPDATE"),
    ] {
        for token in &all {
            let told = json_of(&ask(&mut system, &subject, token));
            assert_eq!(told["error"]["code"], 500, "{subject} {token}: {told}");
        }
    }
    // Somebody who says that he has them, when the server asks what others have; and then once more.
    let mut other = world.keys.welcome(&server, &world.user(&world.system));
    other.exchange("SUB $SYS.REQ.CLAIMS.PACK 1\r\n", "");
    for _ in 0..2 {
        let line = other.line();
        let words: Vec<&str> = line.split(' ').collect();
        let (reply, size): (&str, usize) = (words[3], words[4].parse().unwrap());
        other.take(size + 2);
        for token in &all {
            let pack = format!("{key}|{token}");
            other.send(format!("PUB {reply} {}\r\n{pack}\r\n", pack.len()));
        }
        other.send(format!("PUB {reply} 0\r\n\r\n"));
    }
    assert_eq!(std::fs::read_to_string(world.file(account)).unwrap(), good);
    client.exchange("", "");
    world.keys.welcome(&server, &world.user(account));
}

/// A cache keeps none either: the next one who answers is asked.
#[test]
fn a_cache_keeps_nothing_that_no_operator_has_signed() {
    let world = World::new();
    let server = configured(&world.cache());
    let mut system = world.system(&server);
    let account = &world.keys.account;
    let key = account.public_key();
    system.exchange(format!("SUB $SYS.REQ.ACCOUNT.{key}.CLAIMS.LOOKUP 2\r\n"), "");
    let good = world.account(account, |_| {});
    let forged = encode(AccountClaims::new(&key), &KeyPair::new_operator(), NOW + 10).unwrap();
    for (token, may) in [(&forged, false), (&good, true)] {
        let mut client = world.keys.connect(&server, &world.user(account));
        let line = system.line();
        let reply = line.split(' ').nth(3).unwrap().to_owned();
        system.expect("\r\n");
        system.send(format!("PUB {reply} {}\r\n{token}\r\n", token.len()));
        match may {
            true => client.expect("PONG\r\n"),
            false => client.expect_end("-ERR 'Authorization Violation'\r\n"),
        }
        assert_eq!(world.file(account).exists(), may);
    }
}

#[test]
fn a_full_directory_survives_a_restart_and_takes_the_system_account() {
    let world = World::new();
    let configuration = world.configuration("type: full");
    let server = configured(&configuration);
    let mut system = world.system(&server);
    for key in [&world.system, &world.keys.account] {
        let told = json_of(&ask(&mut system, "$SYS.REQ.CLAIMS.UPDATE", &world.account(key, |_| {})));
        assert_eq!(told["data"]["code"], 200);
    }
    drop(system);
    server.run(server.server.shutdown());
    let server = configured(&configuration);
    world.keys.welcome(&server, &world.user(&world.keys.account));
    let mut system = world.system(&server);
    let list = json_of(&ask(&mut system, "$SYS.REQ.CLAIMS.LIST", ""));
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
}

#[test]
fn a_cache_asks_in_the_system_account() {
    let world = World::new();
    let server = configured(&world.cache());
    let mut system = world.system(&server);
    let key = world.keys.account.public_key();
    system.exchange(format!("SUB $SYS.REQ.ACCOUNT.{key}.CLAIMS.LOOKUP 2\r\n"), "");
    let mut client = world.keys.connect(&server, &world.user(&world.keys.account));
    let line = system.line();
    let reply = line.split(' ').nth(3).unwrap().to_owned();
    system.expect("\r\n");
    let token = world.account(&world.keys.account, |_| {});
    system.send(format!("PUB {reply} {}\r\n{token}\r\n", token.len()));
    client.expect("PONG\r\n");
    assert!(world.file(&world.keys.account).exists());
    let told = json_of(&ask(
        &mut system,
        "$SYS.REQ.CLAIMS.UPDATE",
        &world.account(&KeyPair::new_account(), |_| {}),
    ));
    assert_eq!(told["data"]["message"], "jwt update cache skipped");
}

/// Nobody has to do anything for it: no account's claims change meanwhile.
#[test]
fn an_activation_ends_at_its_second() {
    let world = World::new();
    let server = configured(&world.configuration("type: full"));
    let mut system = world.system(&server);
    let (exporter, importer) = (&world.keys.account, KeyPair::new_account());
    let mut push = |token: String| push(&mut system, &token);
    let shared = |kind: &str| json!({"subject": format!("{kind}.>"), "type": kind, "token_req": true});
    push(world.account(exporter, |claims| {
        claims.nats.exports = serde_json::from_value(json!([shared("stream"), shared("service")])).unwrap();
    }));
    let now = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let import = |kind: &str, end: u64| {
        let mut activation = ActivationClaims::default();
        activation.common.subject = importer.public_key();
        activation.common.expires = i64::try_from(end).unwrap();
        activation.nats.subject = format!("{kind}.>");
        activation.nats.share = Some(serde_json::from_value(json!(kind)).unwrap());
        let token = encode(activation, exporter, NOW).unwrap();
        json!({"subject": format!("{kind}.>"), "account": exporter.public_key(), "type": kind, "token": token})
    };
    let mut share_until = |end: u64| {
        push(world.account(&importer, |claims| {
            claims.nats.imports =
                serde_json::from_value(json!([import("stream", end), import("service", end)])).unwrap();
        }));
    };
    share_until(now() + 1000);
    let mut inside = world.keys.welcome(&server, &world.user(&importer));
    let mut outside = world.keys.welcome(&server, &world.user(exporter));
    inside.exchange("SUB stream.x 1\r\n", "");
    outside.exchange("SUB service.x 1\r\n", "");
    // Whether a message of the one is heard by the other.
    let heard = |from: &mut Raw, by: &mut Raw, subject: &str| {
        from.exchange(format!("PUB {subject} 1\r\nb\r\n"), "");
        by.send("PING\r\n");
        match by.line().as_str() {
            "PONG" => false,
            line => {
                assert_eq!(line, format!("MSG {subject} 1 1"));
                by.expect("b\r\nPONG\r\n");
                true
            }
        }
    };
    assert!(heard(&mut outside, &mut inside, "stream.x") && heard(&mut inside, &mut outside, "service.x"));
    // Nothing has to be done before that second, on a machine that is at other things.
    let end = now() + 2;
    share_until(end);
    while heard(&mut outside, &mut inside, "stream.x") {}
    assert!(now() >= end);
    while heard(&mut inside, &mut outside, "service.x") {}
}

#[test]
fn accounts_share_what_their_tokens_say() {
    let world = World::new();
    let server = configured(&world.configuration("type: full"));
    let mut system = world.system(&server);
    let (exporter, importer) = (&world.keys.account, KeyPair::new_account());
    let mut push = |token: String| push(&mut system, &token);
    push(world.account(exporter, |claims| {
        claims.nats.exports = serde_json::from_value(json!([
            {"subject": "news.>", "type": "stream"},
            {"subject": "secret.>", "type": "stream", "token_req": true},
            {"subject": "help", "type": "service"},
        ]))
        .unwrap();
    }));
    let mut activation = ActivationClaims::default();
    activation.common.subject = importer.public_key();
    activation.nats.subject = "secret.>".to_owned();
    activation.nats.share = Some(serde_json::from_value(json!("stream")).unwrap());
    let token = encode(activation, exporter, NOW).unwrap();
    let account = exporter.public_key();
    let imports = move |token: &str| {
        json!([
            {"subject": "news.>", "account": account, "type": "stream", "local_subject": "theirs.>"},
            {"subject": "secret.>", "account": account, "type": "stream", "token": token},
            {"subject": "help", "account": account, "type": "service", "local_subject": "ask"},
        ])
    };
    push(world.account(&importer, |claims| {
        claims.nats.imports = serde_json::from_value(imports(&token)).unwrap();
        claims.nats.mappings = serde_json::from_value(json!({"old": [{"subject": "new"}]})).unwrap();
    }));
    let mut inside = world.keys.welcome(&server, &world.user(&importer));
    let mut outside = world.keys.welcome(&server, &world.user(exporter));
    inside.exchange(
        "SUB theirs.x 1\r\nSUB secret.x 2\r\nSUB new 3\r\nPUB old 1\r\nm\r\n",
        "MSG new 3 1\r\nm\r\n",
    );
    outside.exchange("SUB help 1\r\nPUB news.x 1\r\na\r\nPUB secret.x 1\r\nb\r\n", "");
    inside.expect("MSG theirs.x 1 1\r\na\r\nMSG secret.x 2 1\r\nb\r\n");
    inside.exchange("PUB ask 1\r\n?\r\n", "");
    let line = outside.line();
    assert!(line.starts_with("MSG help 1 "), "{line}");
}
