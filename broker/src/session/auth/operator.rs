//! Who may come in where operators say which accounts there are: whoever has a token that one of those signed.

use std::sync::Arc;

use tokio::runtime::Handle;
use weir_jwt::{Token, decode};

use super::{Answer, Door, Guest, Ticket, Verdict, Visitor};
use crate::context::Context;
use crate::trust::{Papers, Tenant, Trust, Visa};

/// The door of operator mode.
pub struct ByOperator {
    context: Arc<Context>,
    trust: Arc<Trust>,
}

impl ByOperator {
    /// A door for the users of these accounts.
    #[must_use]
    pub fn new(context: Arc<Context>, trust: Arc<Trust>) -> Self {
        Self { context, trust }
    }

    /// What a client shows, if it is a user's token that holds now; its own, or the one that is there for those who show none.
    fn papers(&self, visitor: &Visitor<'_>) -> Result<Papers, String> {
        let connect = visitor.connect;
        let user = |token: &str| decode(token).and_then(Token::user);
        let sentinel = self.context.live.read().trust.default_sentinel.clone();
        let (token, claims) = match (user(&connect.jwt), sentinel) {
            (Ok(claims), _) => (connect.jwt.clone(), claims),
            (Err(_), Some(sentinel)) => {
                let claims = user(&sentinel).map_err(|error| format!("User JWT not valid: {error}"))?;
                (sentinel, claims)
            }
            (Err(_), None) => return Err("Authentication requires a user JWT".to_owned()),
        };
        let issues = claims.check(crate::trust::now());
        match issues.first() {
            None => Ok(Papers {
                claims,
                token,
                sig: connect.sig.clone(),
                nonce: visitor.nonce.to_owned(),
                address: visitor.link.peer().ip(),
                by: visitor.by,
            }),
            Some(issue) => Err(format!("User JWT no longer valid: {issue}")),
        }
    }
}

/// The guest that a visa is for.
pub(super) fn guest(tenant: &Tenant, visa: Visa, user: String) -> Guest {
    Guest {
        user,
        account: Arc::clone(&tenant.account),
        rules: visa.rules,
        subscriptions: visa.subscriptions,
        payload: visa.payload,
        until: visa.until,
        credential: Some(Arc::new(visa.credential)),
        proxy_required: visa.proxy_required,
    }
}

fn judge(papers: Papers, tenant: &Tenant, user: &str, label: &str) -> Verdict {
    match papers.check(tenant) {
        Ok(visa) => {
            let user = match user {
                "" => visa.credential.key.clone(),
                user => user.to_owned(),
            };
            Verdict::Welcome(guest(tenant, visa, user))
        }
        Err(why) => {
            tracing::debug!("{label} - {why}");
            Verdict::Refused
        }
    }
}

impl Door for ByOperator {
    fn is_locked(&self) -> bool {
        true
    }

    fn challenges(&self) -> bool {
        true
    }

    fn ask(&self, visitor: &Visitor<'_>) -> Answer {
        let label = visitor.link.label();
        let papers = match self.papers(visitor) {
            Ok(papers) => papers,
            Err(why) => {
                tracing::debug!("{label} - {why}");
                return Answer::Now(Verdict::Refused);
            }
        };
        let key = papers.claims.account().to_owned();
        if !self.trust.is_pinned(&key) {
            self.trust.count_not_pinned();
            tracing::debug!("{label} - Account {key} not listed as operator pinned account");
            return Answer::Now(Verdict::Refused);
        }
        // As nats-server names who comes: by the first of these that was said.
        let connect = visitor.connect;
        let user = match connect.nkey.as_str() {
            "" => connect.user.clone(),
            nkey => nkey.to_owned(),
        };
        if let Some(tenant) = self.trust.known(&key).filter(|tenant| tenant.is_open()) {
            return Answer::Now(judge(papers, &tenant, &user, &label));
        }
        let (to, ticket) = Ticket::new();
        let trust = Arc::clone(&self.trust);
        let seek = async move {
            let verdict = match trust.find(&key).await {
                Ok(tenant) => judge(papers, &tenant, &user, &label),
                Err(error) => {
                    tracing::debug!("{label} - Account JWT lookup error: {error}");
                    Verdict::Refused
                }
            };
            // The client may be gone by now.
            let _ = to.send(verdict);
        };
        // It may be a file that is waited for, which the threads of connections have no time for.
        let runtime: &Handle = self.trust.runtime();
        runtime.spawn(seek);
        Answer::Later(ticket)
    }
}
