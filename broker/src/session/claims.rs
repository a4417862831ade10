//! What becomes of an account's clients when it claims something else.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Hall, Session};
use crate::link::CloseReason;
use crate::permissions::Rules;
use crate::trust::{Held, Tenant};

impl Hall {
    /// The clients of an account, oldest first.
    fn clients_of(&self, tenant: &Tenant) -> Vec<Arc<Session>> {
        let mut all = self.sessions.all();
        all.retain(|session| session.is_connected() && session.link.is_in(tenant.key()));
        all.sort_unstable_by_key(|session| session.link.id);
        all
    }

    /// What an account claims holds no more: its clients go.
    pub(crate) fn account_expired(&self, tenant: &Tenant) {
        for session in self.clients_of(tenant) {
            session
                .link
                .fail("Account Authentication Expired", CloseReason::AuthenticationExpired);
        }
    }

    /// Who looks at its clients once more finds that there is no such account: they go.
    pub(crate) fn account_withdrawn(&self, tenant: &Tenant) {
        for session in self.clients_of(tenant) {
            session
                .link
                .fail("Authorization Violation", CloseReason::AuthenticationFailure);
        }
    }

    /// An account claims something else than `before`. Those that may not be in it any more go; others go on with what they may now.
    pub(crate) fn account_changed(&self, tenant: &Tenant, before: &Held) {
        let held = tenant.held();
        let claims = &held.claims;
        let options = self.context.live.get();
        let max = held.limits().connections.unwrap_or(usize::MAX);
        let mut stay = 0;
        let mut scopes = HashSet::new();
        for session in self.clients_of(tenant) {
            if stay >= max {
                session.link.fail(
                    "maximum account active connections exceeded",
                    CloseReason::MaxAccountConnectionsExceeded,
                );
                continue;
            }
            stay += 1;
            session.follow(&options);
            let Some(credential) = session.link.credential() else {
                continue;
            };
            if credential.bearer && !credential.token.is_empty() && claims.nats.limits.disallow_bearer {
                session
                    .link
                    .fail("Authorization Violation", CloseReason::AuthenticationFailure);
                continue;
            }
            if claims.has_revoked(&credential.key, credential.issued_at) {
                session
                    .link
                    .fail("User Authentication Revoked", CloseReason::Revocation);
                continue;
            }
            if let Some(signer) = &credential.signer {
                let altered = scopes.contains(signer) || held.signer(signer) != before.signer(signer);
                if altered || held.signer(signer).is_none() {
                    scopes.insert(signer.clone());
                    session.close(CloseReason::AuthenticationFailure);
                    continue;
                }
            }
            if credential.by_default {
                session.permit_by_default(held.default_rules.as_ref());
            }
        }
    }
}

impl Session {
    /// Has the client go on with what its account's users may do that say nothing of it.
    fn permit_by_default(&self, rules: Option<&Arc<Rules>>) {
        let told = |rules: Option<&Arc<Rules>>| rules.map(|rules| rules.permissions().clone());
        let mut conversation = self.conversation.lock();
        if told(rules) == told(conversation.router.rules()) {
            return;
        }
        self.link.restrict(rules);
        self.link.permit(rules);
        conversation.router.restrict(rules.cloned());
        conversation.permit_again(self);
        conversation.router.sink.flush();
    }
}
