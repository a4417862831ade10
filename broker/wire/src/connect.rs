//! `CONNECT`: what a client tells of itself and asks for.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

/// The JSON of `CONNECT`.
///
/// It is read as Go reads it, for that is what clients were tested against: names in any case, the last of two equal names
/// wins, `null` leaves a field as it was, unknown names are ignored, and `null` in place of the object changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connect {
    /// Wants `+OK` for every operation. True unless said otherwise.
    pub verbose: bool,
    /// Wants strict checks of subjects. True unless said otherwise.
    pub pedantic: bool,
    /// Wants its own messages back. True unless said otherwise.
    pub echo: bool,
    /// Insists on TLS.
    pub tls_required: bool,
    /// User JWT.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jwt: String,
    /// Public nkey.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nkey: String,
    /// Signature of INFO's nonce, base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sig: String,
    /// Token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth_token: String,
    /// User name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pass: String,
    /// Name of the connection, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Language of the client library.
    pub lang: String,
    /// Version of the client library.
    pub version: String,
    /// 1: understands INFO at any time. Anything but 0 and 1 is refused by nats-server with `invalid client protocol`.
    pub protocol: i64,
    /// Account asked for; nats-server refuses it from clients.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// Whether that account is to be made; refused likewise.
    #[serde(rename = "new_account", skip_serializing_if = "is_false")]
    pub account_new: bool,
    /// Understands HMSG.
    pub headers: bool,
    /// Wants a 503 when a request has no subscriber; needs `headers`.
    pub no_responders: bool,
    /// Signature of a trusted proxy over INFO's nonce.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub proxy_sig: String,
}

fn is_false(b: &bool) -> bool {
    !*b
}

impl Default for Connect {
    /// What holds for a client that has not sent CONNECT, or left a field out: `verbose`, `pedantic` and `echo` are on.
    fn default() -> Self {
        Self {
            verbose: true,
            pedantic: true,
            echo: true,
            tls_required: false,
            jwt: String::new(),
            nkey: String::new(),
            sig: String::new(),
            auth_token: String::new(),
            user: String::new(),
            pass: String::new(),
            name: String::new(),
            lang: String::new(),
            version: String::new(),
            protocol: 0,
            account: String::new(),
            account_new: false,
            headers: false,
            no_responders: false,
            proxy_sig: String::new(),
        }
    }
}

impl Connect {
    /// Reads a first CONNECT: what it does not say has its default.
    ///
    /// # Errors
    /// The text is not one JSON object, or a field has the wrong type. nats-server then closes without an answer.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let mut connect = Self::default();
        connect.apply(json)?;
        Ok(connect)
    }

    /// Reads a further CONNECT: what it does not say stays.
    ///
    /// # Errors
    /// As [`Connect::parse`]; fields before the wrong one are then already changed.
    pub fn apply(&mut self, json: &[u8]) -> Result<(), serde_json::Error> {
        // Go puts U+FFFD in place of bytes that are not UTF-8; serde_json would refuse them.
        let text = String::from_utf8_lossy(json);
        let text = mend_surrogates(&text);
        let mut de = serde_json::Deserializer::from_str(&text);
        Fields(self).deserialize(&mut de)?;
        de.end()
    }

    /// The JSON text (a client's side).
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, numbers and booleans under string keys: serde_json has no failure for these, and a `Vec` none to write to.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Reads an object into the fields of an existing `Connect`.
struct Fields<'c>(&'c mut Connect);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<(), D::Error> {
        de.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the client's options")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let c = self.0;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match key.to_ascii_lowercase().as_str() {
                "verbose" => set(&mut map, &mut c.verbose)?,
                "pedantic" => set(&mut map, &mut c.pedantic)?,
                "echo" => set(&mut map, &mut c.echo)?,
                "tls_required" => set(&mut map, &mut c.tls_required)?,
                "jwt" => set(&mut map, &mut c.jwt)?,
                "nkey" => set(&mut map, &mut c.nkey)?,
                "sig" => set(&mut map, &mut c.sig)?,
                "auth_token" => set(&mut map, &mut c.auth_token)?,
                "user" => set(&mut map, &mut c.user)?,
                "pass" => set(&mut map, &mut c.pass)?,
                "name" => set(&mut map, &mut c.name)?,
                "lang" => set(&mut map, &mut c.lang)?,
                "version" => set(&mut map, &mut c.version)?,
                "protocol" => set(&mut map, &mut c.protocol)?,
                "account" => set(&mut map, &mut c.account)?,
                "new_account" => set(&mut map, &mut c.account_new)?,
                "headers" => set(&mut map, &mut c.headers)?,
                "no_responders" => set(&mut map, &mut c.no_responders)?,
                "proxy_sig" => set(&mut map, &mut c.proxy_sig)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Writes U+FFFD, as Go reads it, in place of each escape for half of a surrogate pair without its other half, which
/// serde_json refuses.
fn mend_surrogates(json: &str) -> Cow<'_, str> {
    let mut mended = Cow::Borrowed(json);
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', json.as_bytes().get(at..).unwrap_or_default()) {
        at += found;
        let Some(unit) = escaped_unit(json, at) else {
            // Another escape; perhaps one for a backslash.
            at += 2;
            continue;
        };
        let pair = (0xD800..0xDC00).contains(&unit)
            && escaped_unit(json, at + ESCAPE).is_some_and(|low| (0xDC00..0xE000).contains(&low));
        if pair {
            at += 2 * ESCAPE;
            continue;
        }
        if (0xD800..0xE000).contains(&unit) {
            // As long as what it stands for.
            mended.to_mut().replace_range(at..at + ESCAPE, "\\uFFFD");
        }
        at += ESCAPE;
    }
    mended
}

/// Length of an escape that names a unit of UTF-16.
const ESCAPE: usize = "\\uFFFD".len();

/// The unit of UTF-16 that an escape at `at` names.
fn escaped_unit(json: &str, at: usize) -> Option<u32> {
    let digits = json.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
    u32::from_str_radix(digits, 16).ok()
}

/// Takes the value of the current key, unless it is `null`.
fn set<'de, A: MapAccess<'de>, T: serde::Deserialize<'de>>(map: &mut A, field: &mut T) -> Result<(), A::Error> {
    if let Some(value) = map.next_value::<Option<T>>()? {
        *field = value;
    }
    Ok(())
}
