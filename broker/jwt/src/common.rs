//! What every token claims, and how its fields are read.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::issues::Issues;

/// What every token claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Common {
    /// Whom it is for.
    #[serde(
        rename = "aud",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub audience: String,
    /// Until when it holds, in seconds since 1970; 0: for ever.
    #[serde(rename = "exp", skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub expires: i64,
    /// A hash of the rest.
    #[serde(
        rename = "jti",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub id: String,
    /// When it was signed, in seconds since 1970.
    #[serde(rename = "iat", skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub issued_at: i64,
    /// The public key that it was signed with.
    #[serde(
        rename = "iss",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub issuer: String,
    /// What people call the subject.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub name: String,
    /// From when on it holds, in seconds since 1970; 0: ever since.
    #[serde(rename = "nbf", skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub not_before: i64,
    /// The public key that it is about.
    #[serde(
        rename = "sub",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_default"
    )]
    pub subject: String,
}

/// The longest time that Go can wait for.
const LONGEST: u64 = i64::MAX.unsigned_abs() / 1_000_000_000;

impl Common {
    /// How long it holds still at this time, in seconds since 1970; `None`: for ever. What ends before 1970 holds no more, nor does what ends
    /// so late that Go, and nats-server with it, cannot count until then.
    #[must_use]
    pub fn left(&self, now: i64) -> Option<Duration> {
        if self.expires == 0 {
            return None;
        }
        let left = u64::try_from(self.expires.saturating_sub(now)).unwrap_or(0);
        Some(Duration::from_secs(if left > LONGEST { 0 } else { left }))
    }

    /// Whether it holds at this time, in seconds since 1970.
    pub fn check(&self, now: i64, issues: &mut Issues) {
        if self.expires > 0 && now > self.expires {
            issues.time("claim is expired");
        }
        if self.not_before > 0 && self.not_before > now {
            issues.time("claim is not yet valid");
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
pub(crate) fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A field that may also be `null`, as Go writes what is empty.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
