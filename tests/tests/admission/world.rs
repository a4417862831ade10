//! Keys and tokens of operators, accounts and users, for configurations and for clients.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};
use weir_jwt::{AccountClaims, OperatorClaims, SigningKey, UserClaims, encode};

/// Keys and tokens by the names that cases have for them. Times are of now; all else is the same in every run.
pub struct World(BTreeMap<String, String>);

fn key(kind: KeyPairType, number: u8) -> Result<KeyPair> {
    Ok(KeyPair::new_from_raw(kind, [number; 32])?)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Claims with these fields of `nats` put over those that they have.
fn with<T: serde::Serialize + serde::de::DeserializeOwned>(claims: &T, fields: Value) -> Result<T> {
    let mut whole = serde_json::to_value(claims)?;
    merge(&mut whole, fields);
    Ok(serde_json::from_value(whole)?)
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

impl World {
    pub fn new() -> Result<Self> {
        use KeyPairType::{Account, Operator, User};
        let mut names = BTreeMap::new();
        let now = now();
        let (operator, signing, other) = (key(Operator, 1)?, key(Operator, 2)?, key(Operator, 3)?);
        let mut claims = OperatorClaims::new(&operator.public_key());
        claims.common.name = "op".to_owned();
        claims.nats.signing_keys.push(signing.public_key());
        claims.nats.system_account = key(Account, 10)?.public_key();
        names.insert("op".to_owned(), encode(claims.clone(), &operator, now)?);
        claims.nats.strict_signing_key_usage = true;
        names.insert("strict".to_owned(), encode(claims.clone(), &operator, now)?);
        claims.nats.assert_server_version = "99.0.0".to_owned();
        names.insert("newer".to_owned(), encode(claims, &operator, now)?);
        names.insert("opkey".to_owned(), operator.public_key());
        let scoped = key(Account, 41)?.public_key();
        let scoped_pub =
            json!({"allow": ["{{name()}}.{{tag(team)}}", "{{account-name()}}", "{{subject()}}.>", "{{tag(none)}}"]});
        let user = |number: u8| -> Result<String> { Ok(key(User, number)?.public_key()) };
        let accounts: Vec<(&str, u8, &KeyPair, Value)> = vec![
            ("sys", 10, &operator, json!({})),
            ("a", 11, &operator, json!({"name": "shop"})),
            (
                "b",
                12,
                &signing,
                json!({"nats": {"limits": {"conn": 2, "subs": 2, "payload": 4}}}),
            ),
            (
                "c",
                13,
                &operator,
                json!({"nats": {"default_permissions": {"pub": {"allow": ["x"]}, "sub": {"deny": ["y"]}}}}),
            ),
            (
                "d",
                14,
                &operator,
                json!({"name": "d", "nats": {"signing_keys": [
                    key(Account, 40)?.public_key(),
                    {"kind": "user_scope", "key": scoped, "role": "r", "description": "", "template":
                        {"pub": scoped_pub, "sub": {"allow": ["in.{{name()}}"]}, "subs": 1, "payload": 3}},
                ]}}),
            ),
            (
                "e",
                15,
                &operator,
                json!({"exp": now + 3600, "nats": {"limits": {"disallow_bearer": true},
                "revocations": {(user(60)?): now, (user(61)?): now - 3600}}}),
            ),
            ("old", 16, &operator, json!({"exp": now - 10})),
            ("foreign", 17, &other, json!({})),
            ("ends", 18, &operator, json!({"exp": now + 2})),
            (
                "js",
                19,
                &operator,
                json!({"nats": {"limits":
                {"mem_storage": 1_000_000, "disk_storage": 2_000_000, "streams": 1, "consumer": -1, "max_bytes_required": true}}}),
            ),
            (
                "tiers",
                20,
                &operator,
                json!({"nats": {"limits":
                {"tiered_limits": {"R1": {"mem_storage": -1, "disk_storage": 2_000_000, "streams": 2, "consumer": -1}}}}}),
            ),
            (
                "r3",
                21,
                &operator,
                json!({"nats": {"limits":
                {"tiered_limits": {"R3": {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}}}}}),
            ),
            ("all", 22, &operator, json!({"nats": {"revocations": {"*": now - 5}}})),
            ("minus", 23, &operator, json!({"exp": -1})),
            ("least", 24, &operator, json!({"exp": i64::MIN, "nbf": i64::MIN})),
            ("later", 26, &operator, json!({"nbf": i64::MAX})),
            ("nobody", 27, &operator, json!({"nats": {"limits": {"conn": 0}}})),
            ("deaf", 28, &operator, json!({"nats": {"limits": {"subs": 0}}})),
            ("mute", 29, &operator, json!({"nats": {"limits": {"payload": 0}}})),
            (
                "below",
                30,
                &operator,
                json!({"nats": {"limits": {"subs": -2, "payload": -2}}}),
            ),
            ("less", 31, &operator, json!({"nats": {"limits": {"conn": -2}}})),
            ("bare", 32, &operator, json!({"nats": {"limits": null}})),
        ];
        for (name, number, signer, fields) in accounts {
            let account = key(Account, number)?;
            let claims = with(&AccountClaims::new(&account.public_key()), fields)?;
            names.insert(name.to_owned(), encode(claims, signer, now)?);
            names.insert(format!("{name}key"), account.public_key());
        }
        let system = AccountClaims::new(&key(Account, 10)?.public_key());
        names.insert("strict sys".to_owned(), encode(system, &signing, now)?);
        let mut claims = AccountClaims::new(&key(Account, 14)?.public_key());
        claims
            .nats
            .signing_keys
            .push(SigningKey::Plain(key(Account, 40)?.public_key()));
        names.insert("strict d".to_owned(), encode(claims, &signing, now)?);
        let limits = json!({"subs": -1, "data": -1, "payload": -1});
        let own = |account: u8| key(Account, account);
        let of = |account: u8| -> Result<String> { Ok(key(Account, account)?.public_key()) };
        // A name, the user's key, who signs, what it claims, and when.
        let users: Vec<(&str, u8, KeyPair, Value, i64)> = vec![
            ("u.sys", 50, own(10)?, json!({"name": "sys"}), now),
            ("u.a", 50, own(11)?, json!({"name": "ada"}), now),
            (
                "u.pub",
                51,
                own(11)?,
                json!({"nats": {"pub": {"allow": ["a.*"], "deny": ["a.no"]}, "sub": {"allow": ["b", "c q"]}}}),
                now,
            ),
            (
                "u.resp",
                52,
                own(11)?,
                json!({"nats": {"resp": {"max": 2, "ttl": 60_000_000_000_i64}, "sub": {"allow": ["work"]}}}),
                now,
            ),
            ("u.small", 53, own(11)?, json!({"nats": {"subs": 1, "payload": 3}}), now),
            (
                "u.ws",
                54,
                own(11)?,
                json!({"nats": {"allowed_connection_types": ["WEBSOCKET"]}}),
                now,
            ),
            (
                "u.both",
                54,
                own(11)?,
                json!({"nats": {"allowed_connection_types": ["x", "standard"]}}),
                now,
            ),
            (
                "u.none",
                54,
                own(11)?,
                json!({"nats": {"allowed_connection_types": ["x"]}}),
                now,
            ),
            ("u.far", 55, own(11)?, json!({"nats": {"src": ["10.0.0.0/8"]}}), now),
            (
                "u.near",
                55,
                own(11)?,
                json!({"nats": {"src": ["10.0.0.0/8", "127.0.0.0/8"]}}),
                now,
            ),
            (
                "u.never",
                56,
                own(11)?,
                json!({"nats": {"times": [{"start": "00:00:00", "end": "00:00:00"}]}}),
                now,
            ),
            (
                "u.times",
                56,
                own(11)?,
                json!({"nats": {"times": [{"start": "00:00:00", "end": "12:00:00"}, {"start": "11:59:00", "end": "00:01:00"}],
                "times_location": "America/New_York"}}),
                now,
            ),
            (
                "u.nowhere",
                56,
                own(11)?,
                json!({"nats": {"times_location": "Mars/Olympus"}}),
                now,
            ),
            ("u.bearer", 57, own(11)?, json!({"nats": {"bearer_token": true}}), now),
            ("u.old", 58, own(11)?, json!({"exp": now - 10}), now),
            ("u.new", 58, own(11)?, json!({"nbf": now + 3600}), now),
            ("u.ends", 58, own(11)?, json!({"exp": now + 2}), now),
            ("u.bad", 58, own(11)?, json!({"nats": {"pub": {"allow": ["a q"]}}}), now),
            ("u.b", 50, own(12)?, json!({}), now),
            ("u.c", 50, own(13)?, json!({}), now),
            ("u.c2", 51, own(13)?, json!({"nats": {"pub": {"allow": ["z"]}}}), now),
            (
                "u.d",
                50,
                key(Account, 40)?,
                json!({"nats": {"issuer_account": of(14)?}}),
                now,
            ),
            (
                "u.scoped",
                51,
                key(Account, 41)?,
                json!({"name": "bob", "nats": {"issuer_account": of(14)?, "tags": ["team:x", "team:y"],
                "subs": 0, "data": 0, "payload": 0}}),
                now,
            ),
            (
                "u.overstated",
                52,
                key(Account, 41)?,
                json!({"name": "eve", "nats": {"issuer_account": of(14)?}}),
                now,
            ),
            (
                "u.stranger",
                53,
                key(Account, 42)?,
                json!({"nats": {"issuer_account": of(14)?}}),
                now,
            ),
            ("u.revoked", 60, own(15)?, json!({}), now - 100),
            ("u.signed again", 61, own(15)?, json!({}), now),
            ("u.e bearer", 62, own(15)?, json!({"nats": {"bearer_token": true}}), now),
            ("u.e", 62, own(15)?, json!({}), now),
            ("u.of old", 50, own(16)?, json!({}), now),
            ("u.foreign", 50, own(17)?, json!({}), now),
            ("u.account ends", 50, own(18)?, json!({}), now),
            ("u.js", 50, own(19)?, json!({}), now),
            ("u.tiers", 50, own(20)?, json!({}), now),
            ("u.r3", 50, own(21)?, json!({}), now),
            ("u.all", 50, own(22)?, json!({}), now - 10),
            ("u.all later", 50, own(22)?, json!({}), now),
            ("u.unknown", 50, own(40)?, json!({}), now),
            ("u.minus", 50, own(11)?, json!({"exp": -1}), now),
            ("u.least", 50, own(11)?, json!({"exp": i64::MIN, "nbf": i64::MIN}), now),
            ("u.most", 50, own(11)?, json!({"exp": i64::MAX}), now),
            ("u.far off", 50, own(11)?, json!({"exp": now + 9_000_000_000}), now),
            ("u.later", 50, own(11)?, json!({"nbf": i64::MAX}), now),
            ("u.deaf", 50, own(11)?, json!({"nats": {"subs": 0}}), now),
            ("u.mute", 50, own(11)?, json!({"nats": {"payload": 0}}), now),
            ("u.below", 50, own(11)?, json!({"nats": {"subs": -2}}), now),
            ("u.mute below", 50, own(11)?, json!({"nats": {"payload": -2}}), now),
            ("u.data", 50, own(11)?, json!({"nats": {"data": 0}}), now),
            ("u.of minus", 50, own(23)?, json!({}), now),
            ("u.of least", 50, own(24)?, json!({}), now),
            ("u.of later", 50, own(26)?, json!({}), now),
            ("u.of nobody", 50, own(27)?, json!({}), now),
            ("u.of deaf", 50, own(28)?, json!({}), now),
            ("u.of mute", 50, own(29)?, json!({}), now),
            ("u.of below", 50, own(30)?, json!({}), now),
            ("u.of less", 50, own(31)?, json!({}), now),
            ("u.of bare", 50, own(32)?, json!({}), now),
        ];
        for (name, number, signer, fields, at) in users {
            let mut claims = UserClaims::new(&user(number)?);
            claims = with(&claims, json!({"nats": limits}))?;
            names.insert(name.to_owned(), encode(with(&claims, fields)?, &signer, at)?);
        }
        for number in 50..=62 {
            names.insert(format!("seed{number}"), key(User, number)?.seed()?);
        }
        let all = [
            "sys", "a", "b", "c", "d", "e", "old", "foreign", "ends", "js", "tiers", "r3", "all", "minus", "least",
            "later", "nobody", "deaf", "mute", "below", "less", "bare",
        ];
        let entry = |name: &&str| format!("{}: {}\n", names[&format!("{name}key")], names[*name]);
        let preload = format!(
            "resolver: MEMORY\nresolver_preload {{\n{}}}",
            all.iter().map(entry).collect::<String>()
        );
        names.insert("accounts".to_owned(), preload);
        Ok(Self(names))
    }

    /// One more name.
    #[allow(dead_code, reason = "some tests have names of their own")]
    pub fn name(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), value);
    }

    /// The tokens of the accounts, by their keys.
    #[allow(dead_code, reason = "some tests have nobody look them up")]
    pub fn accounts(&self) -> BTreeMap<String, String> {
        let keys = self
            .0
            .iter()
            .filter_map(|(name, key)| Some((name.strip_suffix("key")?, key)));
        keys.filter_map(|(name, key)| Some((key.clone(), self.0.get(name)?.clone())))
            .collect()
    }

    /// A text with what its names stand for.
    pub fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("@{name}@"), value)
        })
    }
}
