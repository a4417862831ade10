//! What is encrypted and signed is what others would read, and for nobody else (S9): known answers, no two ciphertexts the same, no key of
//! zeros, and nothing that was changed on its way.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use nkeys::{KeyPair, XKey};
use serde_json::{Value, json};
use weir_jwt::{AuthorizationRequestClaims, AuthorizationResponseClaims, Token, UserClaims, decode, encode};

use crate::support::Raw;
use crate::{Fixture, start};

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// The key of a service in the examples of Go's library, and what a nats-server 2.15.1 with this key of its own sent it: a question about a
/// client that calls itself `b`.
const SERVICE: &str = "SXAKIYZX2POLIHZ5W5YZEWVTH24NLEUETBW3TKIVYRSS3GNHFXO5D4JJZM";
const SENDER: &str = "XBKKLMRNAUXMP2FXYFVG37CE2YZ6B46QL23VW6A6CB3ULWS7UI6VB5V5";
const SEALED: &str = "\
    eGt2MYYZmnhFe0ef0Fotg6IM/8M4oM85dNi0tH0hM7+BUTW0mL5I1MNqEijAZFniPjlo+0dl1gki3I8OHKNsvbWNwEf5XwlYEk/E1jpr5/PJ1uV85lTxJPh2gVBuKHpRhg\
    88F7uz19Kw+7ETrEcrBBnGXOqw1/vu5PsT3ZZY9IlR9HVN5fteQSBF9H2UXAAwcs4pzTW4/6/bD36zyaZZUM6IGvWb2saT3pHIAl06L/j/JFeBEqDpLmX0CvNqrg9tE3CL\
    alT9ewGhR0x1JRbJXQbHazJxxgVbpgHSIlwubge/eoXl5Luj6PdjEKubhdWYsjpsb8iornemXzbGBZWtcllYn9cO0F3L4HQ8xjggIIxzE2UU+UQS/UIPKYt+pS12rne3kW\
    98n9azCRiSovsSadRR2b+fwuCXObC9az34fh92H0+CTqZJRIsJqBnRsunJM/UV8SLcCmBNG0PanrKBntj3Enz+wC13z+k891OMuc/v/3eAF0n/60onFVLaiS/QRCoIWMdm\
    N0vQpUc5McYNWFNp9e38++WZ0aRtmlREQcnAJSX9I0zpvIlTCtuOSzJ5VaTxW03dDV0jiZViF0PR3olqVfjWOxFL4Ju14RuoaveVk4UdUZtqaNE7FQtaTXVIa33JgUnyI1\
    zQw23aGF6RCPA2s388kDgX6jNzNpnWQiyOaQFLaTCKnhOnOSTphU+fw9Vjl4IA+LlhFKIQVLsHKPEQnYHzXNIVuGhzW6mgBN6QAipCLqwbtJczO4jmIz08KsMEjgzvR+/D\
    LM60MCP+vVy2Yn/vzVKHbNnk2ASJpER+CpwSx0O+wBBKm2uGg/HeRce1Hzsj7pEbliKW8RnTcvWX1+rgMxhunbX9dMx3gjDw4I2LxVkb4/fwfyJDP/mxoeoaInb1e6Hbnw\
    iDTUWPhFhzbqgEzc1GLTvZvFZ+wOoT8Rx2B8AhrM9lFebks86IQKRUcHctoUhc0hCoLG721QmxuO6Pw+Ogvgo1TvJPNKirdnWxNGh95aLn80AYehnm2ubG18SP0hP25nbJ\
    NGiDTgBpO4hpD456gJHGHbIH93eNiadEXsq0eUjZHSA05LtXSvEyR7gGRQpT4R/XE3Q31Wnkgb7abLw9aDhh+/TtxAkGFKty9U6QyyGg1Lp+LJw/DVohuOgleTBYprZvfa\
    iS+pV/XlM937ENUy+LxLGLF5L0+lYkmQc1R2vFzSlcvSWf3MwmyTMDst7An28G+eUHsXYLcfyoXQYerlnGKGgOmDkDAscQpFrpMXXIh7tZDjCrx2uiXUCrk0y9EBEvDfHC\
    pwDnybKXV/QZ5UpPaH7gKRi34XDYrajYjm9yCnnQPV+ndtn4KM+PSCvIEp4OQm5HrqyOtnC5tFVfaiaaQC3HK0W+adyqv+6kFW4IFeG463QO/Zy1zctlo/VGnzRrLiEvrp\
    nBRbNnUbEH/WRVYgWL1A1l/Imr7BmTXAhcSFyMvss8WeLDs1A4XHCV11sJ/4Kc0g3ELkJG7fb1\
";

#[test]
fn a_question_of_nats_server_is_opened_and_its_signature_holds() {
    let sealed = BASE64_STANDARD.decode(SEALED).unwrap();
    let (service, sender) = (
        XKey::from_seed(SERVICE).unwrap(),
        XKey::from_public_key(SENDER).unwrap(),
    );
    assert_eq!(
        service.public_key(),
        "XBUJMZHVOPQ2SK5VD3TY4VNBPVU2YFGRLK6EFPEPSMVDUYEBSROWZCEA"
    );
    let opened = service.open(&sealed, &sender).unwrap();
    let Ok(Token::AuthorizationRequest(request)) = decode(std::str::from_utf8(&opened).unwrap()) else {
        panic!("{opened:?}");
    };
    assert_eq!(request.nats.connect_opts.user, "b");
    assert_eq!(request.nats.server_id.xkey, SENDER);
    // By nobody else, and not if any of it is another.
    assert!(XKey::new().open(&sealed, &sender).is_err());
    assert!(service.open(&sealed, &XKey::new()).is_err());
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(service.open(&changed, &sender).is_err(), "byte {at}");
        assert!(service.open(&sealed[..at], &sender).is_err(), "{at} bytes");
    }
}

/// A service that decides who may come in, and is asked with what it alone can read.
struct Service {
    fixture: Fixture,
    client: Raw,
    issuer: KeyPair,
    xkey: XKey,
}

/// A question: how it was encrypted, by which key, and where the answer goes.
struct Asked {
    sealed: Vec<u8>,
    sender: String,
    reply: String,
    claims: AuthorizationRequestClaims,
}

impl Service {
    fn start() -> Self {
        let (issuer, xkey) = (KeyPair::new_account(), XKey::new());
        let fixture = start(&format!(
            "accounts {{ AUTH {{ users: [{{user: auth, password: p}}] }}, APP {{}} }}
             authorization {{ auth_callout {{ issuer: {}, account: AUTH, auth_users: [auth], xkey: {} }} }}",
            issuer.public_key(),
            xkey.public_key()
        ));
        let mut client = fixture.connect("auth");
        client.exchange("SUB $SYS.REQ.USER.AUTH 1\r\n", "");
        Self {
            fixture,
            client,
            issuer,
            xkey,
        }
    }

    fn asked(&mut self) -> Asked {
        let line = self.client.line();
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<usize>().unwrap();
        let (head, all) = (number(4), number(5));
        let body = self.client.take(all + 2);
        let block = String::from_utf8(body[..head].to_vec()).unwrap();
        let sender = block.split("Nats-Server-Xkey: ").nth(1).unwrap().trim().to_owned();
        let sealed = body[head..all].to_vec();
        let opened = self
            .xkey
            .open(&sealed, &XKey::from_public_key(&sender).unwrap())
            .unwrap();
        let Ok(Token::AuthorizationRequest(claims)) = decode(std::str::from_utf8(&opened).unwrap()) else {
            panic!("no request");
        };
        Asked {
            sealed,
            sender,
            reply: words[3].to_owned(),
            claims: *claims,
        }
    }

    /// What lets whoever was asked about in.
    fn answer(&self, asked: &Asked) -> Vec<u8> {
        let mut user = UserClaims::new(&asked.claims.nats.user_nkey);
        user.common.audience = "APP".to_owned();
        let mut claims = AuthorizationResponseClaims::default();
        claims.common.subject.clone_from(&asked.claims.nats.user_nkey);
        claims.common.audience.clone_from(&asked.claims.nats.server_id.id);
        claims.nats.jwt = encode(user, &self.issuer, now()).unwrap();
        encode(claims, &self.issuer, now()).unwrap().into_bytes()
    }

    fn send(&mut self, asked: &Asked, bytes: &[u8]) {
        self.client.send(format!("PUB {} {}\r\n", asked.reply, bytes.len()));
        self.client.send(bytes);
        self.client.send("\r\n");
    }
}

/// What lets whoever was asked about in, if the key is the service's.
fn sealed(service: &Service, asked: &Asked, by: &XKey) -> Vec<u8> {
    let server = XKey::from_public_key(&asked.sender).unwrap();
    by.seal(&service.answer(asked), &server).unwrap()
}

/// What a question is answered with.
type Answering = dyn Fn(&Service, &Asked) -> Vec<u8>;

/// A client that brings a password nobody else may read.
fn stranger(service: &Service) -> Raw {
    let mut client = service.fixture.server.connect();
    client.send("CONNECT {\"verbose\":false,\"user\":\"bob\",\"pass\":\"a very long password\"}\r\nPING\r\n");
    client
}

#[test]
fn no_question_is_encrypted_as_another_and_no_key_is_known() {
    let (mut one, mut two) = (Service::start(), Service::start());
    let zeros = XKey::new_from_raw([0; 32]).public_key();
    let mut senders = Vec::new();
    for service in [&mut one, &mut two] {
        let _clients = [stranger(service), stranger(service)];
        let (first, second) = (service.asked(), service.asked());
        assert_ne!(first.claims.nats.user_nkey, second.claims.nats.user_nkey);
        for asked in [&first, &second] {
            let shown = String::from_utf8_lossy(&asked.sealed).into_owned();
            assert!(!shown.contains("eyJ") && !shown.contains("password") && !shown.contains("bob"));
            assert_ne!(asked.sender, zeros);
            assert_eq!(asked.claims.nats.connect_opts.pass, "a very long password");
        }
        // The nonce stands in the first 28 bytes, behind the version; it is another each time.
        assert_ne!(first.sealed[..28], second.sealed[..28]);
        let same = first
            .sealed
            .iter()
            .zip(&second.sealed)
            .skip(28)
            .filter(|(a, b)| a == b)
            .count();
        assert!(same < first.sealed.len() / 8, "{same} bytes are the same");
        senders.push(first.sender);
    }
    assert_ne!(senders[0], senders[1], "every server has keys of its own");
}

#[test]
fn an_answer_that_was_changed_or_sealed_by_another_lets_nobody_in() {
    let mut service = Service::start();
    let refused = "-ERR 'Authorization Violation'\r\n";
    let mut seal = |wrong: &Answering| {
        let mut client = stranger(&service);
        let asked = service.asked();
        let bytes = wrong(&service, &asked);
        service.send(&asked, &bytes);
        client.until_end()
    };
    let wrongs: [&Answering; 9] = [
        &|service, asked| sealed(service, asked, &XKey::new()),
        &|service, asked| sealed(service, asked, &XKey::new_from_raw([0; 32])),
        &|service, asked| {
            let mut bytes = sealed(service, asked, &service.xkey);
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            bytes
        },
        &|service, asked| {
            let mut bytes = sealed(service, asked, &service.xkey);
            bytes.truncate(40);
            bytes
        },
        &|service, asked| sealed(service, asked, &service.xkey)[..28].to_vec(),
        &|_, _| b"xkv1".to_vec(),
        &|_, _| vec![0; 64],
        // The question itself, given back.
        &|_, asked| asked.sealed.clone(),
        // Signed by nobody.
        &|service, asked| {
            let token = String::from_utf8(service.answer(asked)).unwrap();
            let (signed, _) = token.rsplit_once('.').unwrap();
            let unsigned = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode([0; 64]));
            let server = XKey::from_public_key(&asked.sender).unwrap();
            service.xkey.seal(unsigned.as_bytes(), &server).unwrap()
        },
    ];
    for (at, wrong) in wrongs.into_iter().enumerate() {
        assert_eq!(seal(wrong), refused, "{at}");
    }
    let mut client = stranger(&service);
    let asked = service.asked();
    let bytes = sealed(&service, &asked, &service.xkey);
    service.send(&asked, &bytes);
    client.expect("PONG\r\n");
}

/// A token that says itself who has signed it: with keys that are none, of other kinds, cut short, or by which anything is signed.
#[test]
fn a_token_whose_issuer_is_no_key_is_none() {
    let account = KeyPair::new_account();
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let public = account.public_key();
    // The points of small order: by those some signature holds of any text.
    let small: Vec<String> = [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }]
    .iter()
    .map(|point| {
        let mut raw = vec![0];
        raw.extend_from_slice(point);
        with_checksum(raw)
    })
    .collect();
    let mut issuers = vec![
        String::new(),
        "A".to_owned(),
        public[..55].to_owned(),
        format!("{public}A"),
        public.to_lowercase(),
        public.replacen('A', "O", 1),
        format!("{}{}", &public[..55], if public.ends_with('A') { 'E' } else { 'A' }),
        "A".repeat(56),
        account.seed().unwrap(),
        XKey::new().public_key(),
        KeyPair::new_user().public_key(),
        KeyPair::new_server().public_key(),
        "\u{e4}".repeat(28),
    ];
    issuers.extend((0..56).map(|length| public[..length].to_owned()));
    issuers.extend(small);
    let header = part(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let user = KeyPair::new_user().public_key();
    for issuer in issuers {
        let claims = part(&json!({"iss": issuer, "sub": user, "iat": 1, "nats": {"type": "user", "version": 2}}));
        let signed = format!("{header}.{claims}");
        let own = account.sign(signed.as_bytes()).unwrap();
        let mut identity = vec![0; 64];
        identity[0] = 1;
        for signature in [
            own,
            vec![0; 64],
            identity,
            vec![0; 63],
            vec![0; 65],
            vec![0xff; 64],
            Vec::new(),
        ] {
            let token = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(&signature));
            assert!(decode(&token).is_err(), "{issuer:?} {signature:?}");
        }
    }
}

/// Bytes in the notation of keys, with their checksum.
fn with_checksum(mut raw: Vec<u8>) -> String {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let crc = raw.iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x1021,
        })
    });
    raw.extend_from_slice(&crc.to_le_bytes());
    let bits: Vec<u8> = raw
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let digit = |bits: &[u8]| DIGITS[bits.iter().fold(0, |sum, &bit| sum << 1 | usize::from(bit))];
    bits.chunks(5).map(|bits| char::from(digit(bits))).collect()
}

#[test]
fn the_notation_of_keys_is_that_of_the_library() {
    let user = KeyPair::new_account();
    let (_, raw) = nkeys::from_public_key(&user.public_key()).unwrap();
    assert_eq!(with_checksum([&[0][..], &raw].concat()), user.public_key());
}
