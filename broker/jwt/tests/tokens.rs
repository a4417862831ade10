//! Tokens: read back as they were signed, and refused if anything about them is not right.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use weir_jwt::{
    AccountClaims, JwtError, MAX_TOKEN, OperatorClaims, SigningKey, Token, UserClaims, decode, decode_generic, encode,
};

const NOW: i64 = 1_800_000_000;

/// A token of v1 or v2 with these claims, signed whatever they say.
fn signed(claims: &Value, header: &Value, key: &KeyPair, old: bool) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let (header, payload) = (part(header), part(claims));
    let signed = match old {
        true => payload.clone(),
        false => format!("{header}.{payload}"),
    };
    let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap());
    format!("{header}.{payload}.{signature}")
}

fn header() -> Value {
    json!({"typ": "JWT", "alg": "ed25519-nkey"})
}

#[test]
fn what_is_signed_is_read_back() {
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let mut claims = OperatorClaims::new(&operator.public_key());
    claims.nats.signing_keys.push(KeyPair::new_operator().public_key());
    let read = decode(&encode(claims.clone(), &operator, NOW).unwrap())
        .unwrap()
        .operator()
        .unwrap();
    assert_eq!(read.nats.signing_keys, claims.nats.signing_keys);
    assert_eq!(
        (read.common.issuer, read.common.issued_at),
        (operator.public_key(), NOW)
    );

    let claims = AccountClaims::new(&account.public_key());
    let read = decode(&encode(claims.clone(), &operator, NOW).unwrap())
        .unwrap()
        .account()
        .unwrap();
    assert_eq!(read.nats.limits, claims.nats.limits);
    assert!(read.check(NOW).are_none(), "{:?}", read.check(NOW));

    let mut claims = UserClaims::new(&user.public_key());
    claims.nats.rights.permissions.publish.allow.push("a.>".to_owned());
    let read = decode(&encode(claims.clone(), &account, NOW).unwrap())
        .unwrap()
        .user()
        .unwrap();
    assert_eq!(read.nats.rights, claims.nats.rights);
    assert_eq!(read.account(), account.public_key());
    assert!(read.check(NOW).are_none());
    assert!(decode_generic(&encode(claims, &account, NOW).unwrap()).is_ok());
}

#[test]
fn a_token_is_signed_by_who_may_and_not_changed_since() {
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let claims = UserClaims::new(&user.public_key());
    let token = encode(claims.clone(), &account, NOW).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let other = encode(UserClaims::new(&KeyPair::new_user().public_key()), &account, NOW).unwrap();
    let swapped = format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2]);
    assert_eq!(decode(&swapped), Err(JwtError::Signature(2)));
    assert_eq!(
        decode(&encode(claims.clone(), &operator, NOW).unwrap()),
        Err(JwtError::Prefix)
    );
    assert_eq!(decode(&encode(claims, &user, NOW).unwrap()), Err(JwtError::Prefix));
    // An issuer is whoever signed, not whoever is named.
    let forged = json!({"iss": account.public_key(), "sub": user.public_key(), "nats": {"type": "user", "version": 2}});
    assert_eq!(
        decode(&signed(&forged, &header(), &KeyPair::new_account(), false)),
        Err(JwtError::Signature(2))
    );
    // What v1 signs is not enough for v2, nor the other way round.
    assert_eq!(
        decode(&signed(&forged, &header(), &account, true)),
        Err(JwtError::Signature(2))
    );
}

#[test]
fn headers_sizes_and_versions() {
    let account = KeyPair::new_account();
    let claims = json!({"iss": account.public_key(), "sub": "x", "nats": {"type": "user", "version": 2}});
    let with = |header: Value| decode(&signed(&claims, &header, &account, false));
    assert!(with(json!({"typ": "jwt", "alg": "ED25519-nkey"})).is_ok());
    assert!(matches!(
        with(json!({"typ": "JWT", "alg": "none"})),
        Err(JwtError::Algorithm(_))
    ));
    assert!(matches!(
        with(json!({"typ": "JWS", "alg": "ed25519"})),
        Err(JwtError::Type(_))
    ));
    assert_eq!(
        decode(&"a".repeat(MAX_TOKEN + 1)),
        Err(JwtError::TooLarge(MAX_TOKEN + 1))
    );
    assert_eq!(decode("a.b"), Err(JwtError::Chunks));
    assert_eq!(decode("a.b.c.d"), Err(JwtError::Chunks));
    assert_eq!(decode("?.b.c"), Err(JwtError::Base64));
    let version = |version: i64| {
        let claims = json!({"iss": account.public_key(), "nats": {"type": "user", "version": version}});
        decode(&signed(&claims, &header(), &account, version < 2))
    };
    assert_eq!(version(3), Err(JwtError::Newer));
    assert_eq!(version(0), Err(JwtError::Version(0)));
    let kind = json!({"iss": account.public_key(), "nats": {"type": "cluster", "version": 2}});
    assert_eq!(
        decode(&signed(&kind, &header(), &account, false)),
        Err(JwtError::Kind("a known claim"))
    );
}

#[test]
fn what_v1_says_elsewhere() {
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let old = json!({"typ": "jwt", "alg": "ed25519"});
    let claims = json!({
        "iss": account.public_key(), "sub": user.public_key(), "type": "user", "tags": ["a"],
        "issuer_account": account.public_key(),
        "nats": {"pub": {"allow": ["x"]}, "sub": {}, "payload": 5, "src": "10.0.0.0/8, 127.0.0.1/32"},
    });
    let read = decode(&signed(&claims, &old, &account, true)).unwrap().user().unwrap();
    assert_eq!(read.nats.issuer_account, account.public_key());
    assert_eq!(read.nats.tags, ["a"]);
    let rights = read.nats.rights;
    assert_eq!((rights.limits.subs, rights.limits.payload), (-1, 5));
    assert_eq!(rights.user.src, ["10.0.0.0/8", "127.0.0.1/32"]);
    assert_eq!(rights.permissions.publish.allow, ["x"]);
    let claims = json!({
        "iss": operator.public_key(), "sub": account.public_key(), "type": "account",
        "nats": {"limits": {"subs": -1, "conn": 3}, "signing_keys": [account.public_key()]},
    });
    let read = decode(&signed(&claims, &old, &operator, true))
        .unwrap()
        .account()
        .unwrap();
    assert_eq!((read.nats.limits.nats.subs, read.nats.limits.conn), (-1, 3));
    assert_eq!(read.nats.signing_keys, [SigningKey::Plain(account.public_key())]);
    assert!(decode(&signed(&claims, &old, &operator, false)).is_err());
}

#[test]
fn a_scope_says_what_its_users_may() {
    let (operator, account, signer) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let claims = json!({
        "iss": operator.public_key(), "sub": account.public_key(),
        "nats": {"type": "account", "version": 2, "limits": null, "signing_keys": [
            account.public_key(),
            {"kind": "user_scope", "key": signer.public_key(), "role": "r", "description": "",
             "template": {"pub": {"allow": ["{{name()}}"]}, "sub": {}, "payload": 7, "bearer_token": true}},
        ]},
    });
    let read = decode(&signed(&claims, &header(), &operator, false))
        .unwrap()
        .account()
        .unwrap();
    let [SigningKey::Plain(_), SigningKey::Scoped(scope)] = &read.nats.signing_keys[..] else {
        panic!("{:?}", read.nats.signing_keys);
    };
    let template = &scope.template;
    assert_eq!(
        (template.limits.payload, template.limits.subs, template.limits.data),
        (7, -1, -1)
    );
    assert!(template.bearer_token);
    let wrong = json!({
        "iss": operator.public_key(), "sub": account.public_key(),
        "nats": {"type": "account", "version": 2, "signing_keys": [{"kind": "other", "key": signer.public_key()}]},
    });
    assert!(matches!(
        decode(&signed(&wrong, &header(), &operator, false)),
        Err(JwtError::Json(_))
    ));
}

#[test]
fn what_is_wrong_with_claims() {
    let account = KeyPair::new_account().public_key();
    let mut claims = AccountClaims::new(&account);
    claims.common.expires = NOW - 1;
    claims.nats.signing_keys.push(SigningKey::Plain("x".to_owned()));
    claims.nats.default_permissions.publish.allow.push("a q".to_owned());
    claims.nats.authorization.allowed_accounts.push("*".to_owned());
    claims.nats.limits.exports = 0;
    claims.nats.exports = vec![
        serde_json::from_value(json!({"subject": "a.>", "type": "stream"})).unwrap(),
        serde_json::from_value(json!({"subject": "a.b", "type": "stream"})).unwrap(),
    ];
    let issues = claims.check(NOW);
    assert_eq!(issues.times, ["claim is expired"]);
    assert_eq!(issues.errors.len(), 5, "{issues:?}");
    let mut claims = UserClaims::new("U");
    claims.common.not_before = NOW + 1;
    claims.nats.issuer_account = "A".to_owned();
    let issues = claims.check(NOW);
    assert_eq!((issues.times.len(), issues.errors.len()), (1, 1));
}

#[test]
fn users_are_revoked_one_by_one_or_all() {
    let mut claims = AccountClaims::new("A");
    claims.nats.revocations.insert("U1".to_owned(), 10);
    assert!(claims.has_revoked("U1", 10) && !claims.has_revoked("U1", 11) && !claims.has_revoked("U2", 1));
    claims.nats.revocations.insert("*".to_owned(), 5);
    assert!(claims.has_revoked("U2", 5) && !claims.has_revoked("U2", 6) && claims.has_revoked("U1", 9));
}

#[test]
fn an_error_tells_nothing_of_the_token() {
    let account = KeyPair::new_account();
    let claims = json!({"iss": account.public_key(), "exp": "secret", "nats": {"type": "user", "version": 2}});
    let error = decode(&signed(&claims, &header(), &account, false)).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
    assert!(matches!(decode("e30.e30.e30"), Err(JwtError::Type(_))));
    assert!(matches!(
        decode(&encode(UserClaims::new("U"), &account, NOW).unwrap()).map(Token::account),
        Ok(Err(JwtError::Kind("account claim")))
    ));
}
