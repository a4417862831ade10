//! What every token claims, and how its fields are read.

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

impl Common {
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
