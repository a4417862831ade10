//! Whether a user is who its token says, and what it may do.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use weir_jwt::{Names, Presence, UserClaims, UserPermissions, contains, fill, has_signed, is_subject, limit, presence};

use super::{Tenant, now};
use crate::conf::options::{ConnectionType, Permissions, Responses, Subjects};
use crate::link::Credential;
use crate::permissions::Rules;

/// What a user shows.
pub(crate) struct Papers {
    /// What its token claims.
    pub claims: UserClaims,
    /// The token.
    pub token: String,
    /// What it signed.
    pub sig: String,
    /// What it was to sign.
    pub nonce: String,
    /// From where it comes.
    pub address: IpAddr,
    /// By what.
    pub by: ConnectionType,
}

/// What a user may do, and for how long.
pub(crate) struct Visa {
    /// What it may publish and subscribe to; `None`: everything.
    pub rules: Option<Arc<Rules>>,
    /// Subscriptions at once.
    pub subscriptions: Option<usize>,
    /// Bytes of one message.
    pub payload: Option<usize>,
    /// Until when it may stay.
    pub until: Option<Timestamp>,
    /// Who it is.
    pub credential: Credential,
    /// Whether it must come by a proxy that is trusted.
    pub proxy_required: bool,
}

/// Answers that a request grants, where nothing else is said.
const RESPONSES: u64 = 1;
/// How long it grants them.
const RESPONSE_TIME: Duration = Duration::from_secs(2 * 60);

/// Permissions as the server has them; `None`: nothing is said.
pub(crate) fn rules(of: &weir_jwt::Permissions) -> Option<Arc<Rules>> {
    if of.are_empty() {
        return None;
    }
    let allowed = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let mut permissions = Permissions {
        publish: Subjects {
            // One with a queue is no subject to publish to: it must not become the subject alone.
            allow: allowed(&of.publish.allow).map(|mut list| {
                list.retain(|subject| is_subject(subject));
                list
            }),
            deny: of.publish.deny.clone(),
        },
        subscribe: Subjects {
            allow: allowed(&of.subscribe.allow),
            deny: of.subscribe.deny.clone(),
        },
        responses: of.responses.map(|responses| Responses {
            max: match responses.max {
                0 => Some(RESPONSES),
                max => u64::try_from(max).ok(),
            },
            expires: match responses.ttl {
                0 => Some(RESPONSE_TIME),
                ttl => u64::try_from(ttl).ok().map(Duration::from_nanos),
            },
        }),
    };
    if permissions.responses.is_some() {
        permissions.publish.allow.get_or_insert_default();
    }
    Some(Arc::new(Rules::new(&permissions)))
}

/// Which types of connections a list allows: `None` is all of them. An error: it names some, and none that is known.
pub(crate) fn connection_types(names: &[String]) -> Result<Option<Vec<ConnectionType>>, &'static str> {
    let known: Vec<_> = names.iter().filter_map(|name| ConnectionType::of(name)).collect();
    match (names.is_empty(), known.is_empty()) {
        (true, _) => Ok(None),
        (false, true) => Err("invalid connection types"),
        (false, false) => Ok(Some(known)),
    }
}

/// What a user may do that this account's keys have signed: what it says, or what the key that signed it does.
pub(crate) fn rights(tenant: &Tenant, claims: &UserClaims) -> Result<UserPermissions, &'static str> {
    let held = tenant.held();
    match held.signer(&claims.common.issuer) {
        None => Err("User JWT issuer is not known"),
        Some(None) => Ok(claims.nats.rights.clone()),
        Some(Some(_)) if !claims.has_empty_permissions() => {
            Err("User JWT is not valid: scoped users require no permissions or limits set")
        }
        Some(Some(scope)) => {
            let names = Names {
                name: &claims.common.name,
                subject: &claims.common.subject,
                account_name: &held.claims.common.name,
                account_subject: &claims.nats.issuer_account,
                tags: &claims.nats.tags,
                account_tags: &held.claims.nats.tags,
            };
            fill(&scope.template, &names).map_err(|_| "User JWT generated invalid permissions")
        }
    }
}

/// Until when a user may stay that may be there now.
///
/// # Errors
/// It may not.
pub(crate) fn until(claims: &UserClaims, rights: &UserPermissions) -> Result<Option<Timestamp>, &'static str> {
    let now = Timestamp::now();
    let Presence::Granted(left) = presence(&rights.user, now) else {
        return Err("Outside connect times");
    };
    let day = left.and_then(|left| now.checked_add(left).ok());
    // No sooner than whole seconds of now, as nats-server counts.
    let expires = claims.common.left(now.as_second());
    let expires = expires.and_then(|left| now.checked_add(left).ok());
    Ok(match (day, expires) {
        (Some(day), Some(expires)) => Some(day.min(expires)),
        (day, expires) => day.or(expires),
    })
}

impl Papers {
    /// Whether the user may come in to the account that its token names, and what it may do there.
    ///
    /// # Errors
    /// It may not; why, for the log.
    pub fn check(self, tenant: &Tenant) -> Result<Visa, &'static str> {
        let held = tenant.held();
        let Self {
            mut claims,
            token,
            sig,
            nonce,
            address,
            by,
        } = self;
        let proxy_required = claims.nats.rights.proxy_required;
        claims.nats.rights = rights(tenant, &claims)?;
        claims.nats.rights.proxy_required |= proxy_required;
        if tenant.is_expired() {
            return Err("Account JWT has expired");
        }
        let rights = &claims.nats.rights;
        if rights.bearer_token && held.claims.nats.limits.disallow_bearer {
            return Err("Account does not allow bearer tokens");
        }
        let types = connection_types(&rights.allowed_connection_types)?;
        if types.is_some_and(|types| !types.contains(&by)) {
            return Err("Connection type not allowed");
        }
        if !rights.bearer_token && !has_signed(&claims.common.subject, &nonce, &sig) {
            return Err("Signature not verified");
        }
        if held.claims.has_revoked(&claims.common.subject, claims.common.issued_at) {
            return Err("User authentication revoked");
        }
        if !contains(&rights.user.src, address) {
            return Err("Bad src Ip");
        }
        let until = until(&claims, rights)?;
        if claims.common.expires > 0 && claims.common.expires < now() {
            return Err("User JWT no longer valid");
        }
        Ok(Visa::new(held.default_rules.clone(), &claims, token, until))
    }
}

impl Visa {
    /// For a user of this account; its rights are those that hold.
    pub fn new(
        default_rules: Option<Arc<Rules>>,
        claims: &UserClaims,
        token: String,
        until: Option<Timestamp>,
    ) -> Self {
        let rights = &claims.nats.rights;
        let own = rules(&rights.permissions);
        let signed_by_key = !claims.nats.issuer_account.is_empty();
        Self {
            subscriptions: limit(rights.limits.subs),
            payload: limit(rights.limits.payload),
            until,
            proxy_required: rights.proxy_required,
            credential: Credential {
                key: claims.common.subject.clone(),
                name: claims.common.name.clone(),
                tags: claims.nats.tags.clone(),
                signer: signed_by_key.then(|| claims.common.issuer.clone()),
                issued_at: claims.common.issued_at,
                bearer: rights.bearer_token,
                by_default: own.is_none(),
                token,
            },
            rules: own.or(default_rules),
        }
    }
}
