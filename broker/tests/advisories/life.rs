//! A credential is good as long as it is, and for whom it is (S7): whoever came in by one that is taken back, or has ended, goes, by whatever
//! kind of connection; and what somebody else signed, or signed for another connection, lets nobody in.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::json;
use weir_jwt::{AccountClaims, OperatorClaims, SigningKey, UserClaims, encode};

use crate::kinds::{Client, Hall, KINDS, Kind};

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// An operator, an account with a key that signs for it, and a user.
struct Keys {
    operator: KeyPair,
    account: KeyPair,
    signing: KeyPair,
    user: KeyPair,
}

impl Keys {
    fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            account: KeyPair::new_account(),
            signing: KeyPair::new_account(),
            user: KeyPair::new_user(),
        }
    }

    fn claims(&self) -> AccountClaims {
        let mut claims = AccountClaims::new(&self.account.public_key());
        claims
            .nats
            .signing_keys
            .push(SigningKey::Plain(self.signing.public_key()));
        claims
    }

    /// A configuration with this account, or with none.
    fn configuration(&self, account: Option<AccountClaims>) -> String {
        let operator = encode(OperatorClaims::new(&self.operator.public_key()), &self.operator, 1).unwrap();
        let preload = account.map_or_else(String::new, |claims| {
            format!(
                "{}: {}",
                self.account.public_key(),
                encode(claims, &self.operator, now()).unwrap()
            )
        });
        format!("operator: {operator}\nresolver: MEMORY\nresolver_preload {{ {preload} }}")
    }

    fn token(&self, change: impl FnOnce(&mut UserClaims)) -> String {
        let mut claims = UserClaims::new(&self.user.public_key());
        claims.nats.issuer_account = self.account.public_key();
        change(&mut claims);
        encode(claims, &self.signing, now() - 10).unwrap()
    }
}

/// A client that shows a token, and has `key` sign what it is to sign, or `other` if that is given.
fn show(hall: &Hall, token: &str, key: &KeyPair, other: Option<&str>) -> Client {
    let (mut client, info) = hall.arrive();
    let nonce = other.unwrap_or_else(|| info["nonce"].as_str().unwrap());
    let sig = BASE64_URL_SAFE_NO_PAD.encode(key.sign(nonce.as_bytes()).unwrap());
    client.send(format!(
        "CONNECT {}\r\n",
        json!({"verbose": false, "jwt": token, "sig": sig})
    ));
    client
}

const REFUSED: &str = "-ERR 'Authorization Violation'\r\n";

/// Somebody who comes in by what ends soon, at the second that is given: later and later, until that is not over before, on a machine that is at
/// other things.
fn brief<T>(come: impl Fn(i64) -> Option<T>) -> T {
    let mut left = 2;
    loop {
        let end = now() + left;
        if let Some(came) = come(end) {
            return came;
        }
        assert!(now() >= end, "it was still good, and let nobody in");
        left *= 2;
    }
}

/// For each kind of connection at once: most of the time is waited for.
fn by_every_way(test: impl Fn(Kind) + Sync) {
    std::thread::scope(|scope| {
        for kind in KINDS {
            let test = &test;
            scope.spawn(move || test(kind));
        }
    });
}

#[test]
fn tokens_end_while_their_clients_are_there() {
    by_every_way(|kind| {
        let keys = Keys::new();
        let hall = Hall::new(kind, &keys.configuration(Some(keys.claims())));
        let come = |token: &str| {
            let mut client = show(&hall, token, &keys.user, None);
            client.exchange("SUB a 1\r\n", "");
            client
        };
        // Its own time.
        let mut late = brief(|end| {
            let token = keys.token(|claims| claims.common.expires = end);
            let mut client = show(&hall, &token, &keys.user, None);
            client.send("SUB a 1\r\nPING\r\n");
            (client.line() == "PONG").then_some(client)
        });
        late.expect_end("-ERR 'User Authentication Expired'\r\n");
        // Taken back by its account: the user, all users, the key that signed it.
        let mut taken_back = keys.claims();
        taken_back.nats.revocations.insert(keys.user.public_key(), now());
        let mut all = keys.claims();
        all.nats.revocations.insert("*".to_owned(), now());
        let mut unsigned = keys.claims();
        unsigned.nats.signing_keys.clear();
        let mut nobody = keys.claims();
        nobody.nats.limits.conn = 0;
        let ends = keys.claims();
        for (claims, told) in [
            (Some(taken_back), "-ERR 'User Authentication Revoked'\r\n"),
            (Some(all), "-ERR 'User Authentication Revoked'\r\n"),
            (Some(unsigned), ""),
            (Some(nobody), "-ERR 'maximum account active connections exceeded'\r\n"),
            (Some(ends), "-ERR 'Account Authentication Expired'\r\n"),
            (None, REFUSED),
        ] {
            hall.reload(&keys.configuration(Some(keys.claims())));
            let token = keys.token(|_| {});
            let mut client = come(&token);
            // From now on.
            let claims = claims.map(|mut claims| {
                if told.contains("Account") {
                    claims.common.expires = now() + 2;
                }
                claims
            });
            hall.reload(&keys.configuration(claims));
            assert_eq!(client.until_end(), told, "{kind:?}");
            // Nor does it come in again.
            let again = show(&hall, &token, &keys.user, None).until_end();
            assert!(again.starts_with("-ERR '"), "{kind:?} {told:?}: {again:?}");
        }
    });
}

#[test]
fn users_of_the_configuration_end_while_their_clients_are_there() {
    let with = |user: &str| format!("accounts {{ A {{ users: [{{user: other, password: p}}, {user}] }}, B {{}} }}");
    let one = with("{user: one, password: p}");
    for kind in KINDS {
        let hall = Hall::new(kind, &one);
        for (then, stays) in [
            (with("{user: one, password: q}"), false),
            (with("{user: two, password: p}"), false),
            (
                with("{user: one, password: p, allowed_connection_types: [MQTT]}"),
                false,
            ),
            (with("{user: one, password: p, proxy_required: true}"), false),
            (
                "accounts { A { users: [{user: other, password: p}] }, B { users: [{user: one, password: p}] } }"
                    .to_owned(),
                false,
            ),
            (with("{user: one, password: p, permissions: {publish: x}}"), true),
        ] {
            hall.reload(&one);
            let (mut client, mut other) = (hall.connect("one"), hall.connect("other"));
            other.exchange("SUB a 1\r\n", "");
            client.exchange("", "");
            hall.reload(&then);
            match stays {
                true => client.exchange(
                    "PUB a 0\r\n\r\n",
                    "-ERR 'Permissions Violation for Publish to \"a\"'\r\n",
                ),
                false => {
                    let told = client.until_end();
                    assert!(told.is_empty() || told == REFUSED, "{kind:?} {then}: {told:?}");
                }
            }
            other.exchange("", "");
        }
    }
}

#[test]
fn a_token_is_good_for_its_own_key_and_this_connection_alone() {
    by_every_way(|kind| {
        let keys = Keys::new();
        let hall = Hall::new(kind, &keys.configuration(Some(keys.claims())));
        let token = keys.token(|_| {});
        let (_waiting, info) = hall.arrive();
        let elsewhere = info["nonce"].as_str().unwrap().to_owned();
        let stranger = KeyPair::new_user();
        for (token, key, nonce) in [
            // By another key; what another connection was to sign; nothing.
            (&token, &stranger, None),
            (&token, &keys.user, Some(elsewhere.as_str())),
            (&token, &keys.user, Some("")),
            // By the account's own keys.
            (&token, &keys.signing, None),
            (&token, &keys.account, None),
        ] {
            assert_eq!(show(&hall, token, key, nonce).until_end(), REFUSED, "{kind:?}");
        }
        // The second CONNECT of somebody who is in has no other rights, and no more time, than the first would have had.
        let mut client = show(&hall, &token, &keys.user, None);
        client.exchange("", "");
        client.send(format!("CONNECT {}\r\n", json!({"jwt": token, "sig": "AAAA"})));
        assert_eq!(client.until_end(), REFUSED, "{kind:?}");
        let mut client = brief(|end| {
            let (mut client, info) = hall.arrive();
            let nonce = info["nonce"].as_str().unwrap();
            let sig = BASE64_URL_SAFE_NO_PAD.encode(keys.user.sign(nonce.as_bytes()).unwrap());
            let connect = |token: &str| {
                let connect = json!({"verbose": false, "jwt": token, "sig": sig});
                format!("CONNECT {connect}\r\nPING\r\n")
            };
            client.send(connect(&token));
            client.expect("PONG\r\n");
            client.send(connect(&keys.token(|claims| claims.common.expires = end)));
            (client.line() == "PONG").then_some(client)
        });
        client.expect_end("-ERR 'User Authentication Expired'\r\n");
    });
}
