//! A service in an account decides who may come in, in the place of users that the server knows itself or beside them.
//!
//! The server asks on [`SUBJECT`] with a token that it signs, and is answered with a token that the account's key signs: the user that
//! the client is from then on, made for a key that the server has thought of for this question alone.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nkeys::{KeyPair, XKey};
use serde_json::json;
use weir_jwt::{
    AuthorizationRequestClaims, ClientInformation, ConnectOptions, ServerId, Token, UserClaims, contains, decode,
    encode,
};
use weir_wire::headers::HeaderBuf;

use super::{Answer, Door, Guest, Ticket, Verdict, Visitor};
use crate::conf::Options;
use crate::conf::options::ConnectionType;
use crate::context::Context;
use crate::interest::{Account, Accounts};
use crate::permissions::Rules;
use crate::routing::ask;
use crate::trust::{Tenant, Trust, Visa, connection_types, rights, until};
use crate::version::NATS_VERSION;

/// Where the service listens.
const SUBJECT: &str = "$SYS.REQ.USER.AUTH";
/// Whom the question is for.
const AUDIENCE: &str = "nats-authorization-request";
/// The header with the key to encrypt the answer for.
const XKEY_HEADER: &str = "Nats-Server-Xkey";
/// What every token begins with.
const TOKEN: &[u8] = b"eyJ";

/// A door behind which a service is asked, where the options or the account say so.
pub struct ByCallout {
    desk: Arc<Desk>,
    inner: Box<dyn Door>,
}

/// Who knows whether a service is to be asked.
struct Desk {
    context: Arc<Context>,
    accounts: Arc<Accounts>,
    trust: Option<Arc<Trust>>,
}

/// A question.
struct Question {
    context: Arc<Context>,
    accounts: Arc<Accounts>,
    /// Operator mode, and the account that the user's token is of.
    tenant: Option<(Arc<Trust>, Arc<Tenant>)>,
    /// The account that the service is in.
    account: Arc<Account>,
    /// The key that signs users; in operator mode the account's.
    issuer: String,
    /// The key to encrypt for; empty: nothing is encrypted.
    xkey: String,
    /// The key that the user is to have.
    user: String,
    claims: AuthorizationRequestClaims,
    patience: Duration,
    /// What the client may be that is welcome.
    by: ConnectionType,
    address: IpAddr,
    /// Whether it must come by a proxy that is trusted, whoever it is then.
    proxy_required: bool,
    /// What it called itself.
    name: String,
    label: String,
}

impl ByCallout {
    /// A door before another one.
    #[must_use]
    pub fn new(
        context: Arc<Context>,
        accounts: Arc<Accounts>,
        trust: Option<Arc<Trust>>,
        inner: Box<dyn Door>,
    ) -> Self {
        let desk = Desk {
            context,
            accounts,
            trust,
        };
        Self {
            desk: Arc::new(desk),
            inner,
        }
    }
}

impl Desk {
    /// The question about a client that the inner door says this of; `None`: none is asked.
    fn question(&self, visitor: &Visitor<'_>, verdict: &Verdict) -> Option<Question> {
        let options = self.context.live.get();
        match &self.trust {
            Some(trust) => {
                let Verdict::Welcome(guest) = verdict else {
                    return None;
                };
                let tenant = trust.known(&guest.account.name)?;
                let held = tenant.held();
                let external = &held.claims.nats.authorization;
                if !external.is_enabled() || external.auth_users.contains(&guest.user) {
                    return None;
                }
                let (account, key) = (Arc::clone(&tenant.account), tenant.key().to_owned());
                let xkey = external.xkey.clone();
                let operator = Some((Arc::clone(trust), tenant));
                let token = guest.credential.as_ref().map(|credential| credential.token.clone());
                let made = self.make(visitor, &options, account, key, xkey, operator, guest.user.clone());
                Some(made.with_token(token, guest))
            }
            None => {
                let callout = options.auth.callout.as_ref()?;
                let welcome = match verdict {
                    Verdict::Welcome(guest) => Some(guest),
                    Verdict::Refused => None,
                };
                if let Some(guest) = welcome
                    && !Arc::ptr_eq(&guest.account, &self.accounts.global)
                    && !callout.decides_about(&guest.account.name)
                {
                    return None;
                }
                let user = named(visitor, welcome);
                if callout.auth_users.contains(&user) {
                    return None;
                }
                let account = self.accounts.get(&callout.account)?;
                let xkey = callout.xkey.clone().unwrap_or_default();
                Some(self.make(visitor, &options, account, callout.issuer.clone(), xkey, None, user))
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are all that a question is made of")]
    fn make(
        &self,
        visitor: &Visitor<'_>,
        options: &Options,
        account: Arc<Account>,
        issuer: String,
        xkey: String,
        tenant: Option<(Arc<Trust>, Arc<Tenant>)>,
        user: String,
    ) -> Question {
        let (connect, link, identity) = (visitor.connect, visitor.link, &self.context.identity);
        let key = KeyPair::new_user().public_key();
        let patience = options.auth.timeout;
        let mut claims = AuthorizationRequestClaims::default();
        claims.common.subject.clone_from(&issuer);
        claims.common.audience = AUDIENCE.to_owned();
        claims.common.expires = crate::trust::now() + i64::try_from(patience.as_secs().max(1)).unwrap_or(i64::MAX);
        let asked = &mut claims.nats;
        asked.user_nkey.clone_from(&key);
        asked.server_id = ServerId {
            name: identity.name.clone(),
            host: options.host.clone(),
            id: identity.id.clone(),
            version: NATS_VERSION.to_owned(),
            tags: options.server_tags.clone(),
            xkey: if xkey.is_empty() {
                String::new()
            } else {
                identity.xkey.public_key()
            },
            ..ServerId::default()
        };
        asked.client_info = ClientInformation {
            host: link.peer().ip().to_string(),
            id: link.id,
            user,
            name: connect.name.clone(),
            kind: "Client".to_owned(),
            by: link.kind.text().to_owned(),
            nonce: if connect.sig.is_empty() {
                String::new()
            } else {
                visitor.nonce.to_owned()
            },
            ..ClientInformation::default()
        };
        asked.connect_opts = ConnectOptions {
            nkey: connect.nkey.clone(),
            sig: connect.sig.clone(),
            auth_token: connect.auth_token.clone(),
            user: connect.user.clone(),
            pass: connect.pass.clone(),
            name: connect.name.clone(),
            lang: connect.lang.clone(),
            version: connect.version.clone(),
            protocol: connect.protocol,
            ..ConnectOptions::default()
        };
        asked.client_tls = link.tls().map(|facts| {
            let mut told = json!({"version": facts.version, "cipher": facts.suite});
            if let Some(own) = visitor.certificate {
                told["verified_chains"] = json!([[pem(own)]]);
            }
            told
        });
        Question {
            context: Arc::clone(&self.context),
            accounts: Arc::clone(&self.accounts),
            tenant,
            account,
            issuer,
            xkey,
            user: key,
            claims,
            patience,
            by: visitor.by,
            address: link.peer().ip(),
            proxy_required: false,
            name: connect.user.clone(),
            label: link.label(),
        }
    }

    /// Whether the service is asked about somebody who comes as this guest without saying who he is.
    fn asks_about(&self, guest: &Guest) -> bool {
        let options = self.context.live.read();
        options.auth.callout.as_ref().is_some_and(|callout| {
            let decides =
                Arc::ptr_eq(&guest.account, &self.accounts.global) || callout.decides_about(&guest.account.name);
            decides && !callout.auth_users.contains(&guest.user)
        })
    }

    /// Whoever is in the account of the service may not pretend to be the server.
    fn guarded(&self, guest: Guest) -> Guest {
        let account = match &self.trust {
            Some(trust) => trust
                .known(&guest.account.name)
                .is_some_and(|tenant| tenant.held().claims.nats.authorization.is_enabled()),
            None => {
                let options = self.context.live.read();
                options
                    .auth
                    .callout
                    .as_ref()
                    .is_some_and(|callout| *callout.account == *guest.account.name)
            }
        };
        match account {
            true => silenced(guest),
            false => guest,
        }
    }

    /// What follows the inner door's verdict.
    async fn decide(&self, visitor: &Visitor<'_>, verdict: Verdict) -> Verdict {
        let Some(question) = self.question(visitor, &verdict) else {
            return self.without(verdict);
        };
        let label = question.label.clone();
        let question = Question {
            proxy_required: matches!(&verdict, Verdict::Welcome(guest) if guest.proxy_required),
            ..question
        };
        match question.ask().await {
            Ok(guest) => Verdict::Welcome(guest),
            Err(why) => {
                tracing::warn!("{label} - {why}");
                Verdict::Refused
            }
        }
    }

    /// The inner door's verdict, where nobody is asked.
    fn without(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Welcome(guest) => Verdict::Welcome(self.guarded(guest)),
            Verdict::Refused => Verdict::Refused,
        }
    }

    fn is_wanted(&self) -> bool {
        self.trust.is_some() || self.context.live.read().auth.callout.is_some()
    }
}

/// A certificate as text.
fn pem(der: &[u8]) -> String {
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in BASE64_STANDARD.encode(der).as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

/// A guest that may not publish where the service listens.
fn silenced(mut guest: Guest) -> Guest {
    let mut permissions = guest
        .rules
        .as_ref()
        .map(|rules| rules.permissions().clone())
        .unwrap_or_default();
    permissions.publish.deny.push(SUBJECT.to_owned());
    guest.rules = Some(Arc::new(Rules::new(&permissions)));
    guest
}

/// Who a client says that it is.
fn named(visitor: &Visitor<'_>, welcome: Option<&Guest>) -> String {
    let connect = visitor.connect;
    let said = [&connect.nkey, &connect.user].into_iter().find(|said| !said.is_empty());
    match (said, welcome) {
        (Some(said), _) => said.clone(),
        (None, _) if !connect.auth_token.is_empty() => "[REDACTED]".to_owned(),
        (None, Some(guest)) => guest.user.clone(),
        (None, None) => String::new(),
    }
}

impl Door for ByCallout {
    fn is_locked(&self) -> bool {
        self.inner.is_locked()
    }

    fn is_guarded(&self) -> bool {
        self.inner.is_guarded()
    }

    fn challenges(&self) -> bool {
        self.inner.challenges()
    }

    fn has_moved(&self, visitor: &Visitor<'_>, account: &Arc<Account>) -> bool {
        // Whom a service lets in it may let in elsewhere.
        !self.desk.is_wanted() && self.inner.has_moved(visitor, account)
    }

    fn anonymous(&self, by: ConnectionType) -> Option<Guest> {
        let guest = self.inner.anonymous(by)?;
        // Who is asked about has to say CONNECT.
        (!self.desk.asks_about(&guest)).then(|| self.desk.guarded(guest))
    }

    fn ask(&self, visitor: &Visitor<'_>) -> Answer {
        let answer = self.inner.ask(visitor);
        if !self.desk.is_wanted() {
            return answer;
        }
        let (mut first, verdict) = match answer {
            Answer::Now(verdict) if self.desk.question(visitor, &verdict).is_none() => {
                return Answer::Now(self.desk.without(verdict));
            }
            Answer::Now(verdict) => (None, verdict),
            Answer::Later(ticket) => (Some(ticket), Verdict::Refused),
        };
        let (to, ticket) = Ticket::new();
        let (connect, nonce) = (visitor.connect.clone(), visitor.nonce.to_owned());
        let certificate = visitor.certificate.map(<[u8]>::to_vec);
        let (desk, link, by) = (Arc::clone(&self.desk), Arc::clone(visitor.link), visitor.by);
        tokio::spawn(async move {
            let verdict = match &mut first {
                Some(first) => poll_fn(|context| first.poll(context)).await,
                None => verdict,
            };
            let visitor = Visitor {
                connect: &connect,
                nonce: &nonce,
                by,
                certificate: certificate.as_deref(),
                link: &link,
            };
            // The client may be gone by now.
            let _ = to.send(desk.decide(&visitor, verdict).await);
        });
        Answer::Later(ticket)
    }
}

impl Question {
    /// With what only users of operator mode have.
    fn with_token(mut self, token: Option<String>, guest: &Guest) -> Self {
        self.claims.nats.connect_opts.jwt = token.unwrap_or_default();
        if let Some(credential) = &guest.credential {
            self.claims.nats.client_info.tags.clone_from(&credential.tags);
            self.claims.nats.client_info.name_tag.clone_from(&credential.name);
        }
        self
    }

    /// Asks, and says whom the client comes in as.
    ///
    /// # Errors
    /// It does not; why, for the log.
    async fn ask(self) -> Result<Guest, String> {
        let account = &self.account.name;
        let identity = &self.context.identity;
        let failed =
            |error: nkeys::error::Error| format!("Error encoding auth request claim on account {account:?}: {error}");
        let token = encode(self.claims.clone(), &identity.key, crate::trust::now()).map_err(failed)?;
        let mut payload = token.into_bytes();
        let mut headers = Vec::new();
        let service = match self.xkey.as_str() {
            "" => None,
            key => Some(XKey::from_public_key(key).map_err(failed)?),
        };
        if let Some(service) = &service {
            payload = identity.xkey.seal(&payload, service).map_err(failed)?;
            headers = HeaderBuf::new().add(XKEY_HEADER, identity.xkey.public_key()).finish();
        }
        let reply = ask(&self.account, SUBJECT.as_bytes(), &headers, &payload, self.patience).await;
        let Some(reply) = reply else {
            return Err(format!(
                "Authorization callout response not received in time on account {account:?}"
            ));
        };
        if reply.payload.is_empty() {
            return Err(format!(
                "Auth callout violation: \"no reason supplied\" on account {account:?}"
            ));
        }
        let mut answer = reply.payload.to_vec();
        let mut sealed = false;
        if let Some(service) = service.filter(|_| !answer.starts_with(TOKEN)) {
            answer = identity
                .xkey
                .open(&answer, &service)
                .map_err(|error| format!("Error decrypting auth callout response on account {account:?}: {error}"))?;
            sealed = true;
        }
        let answer = String::from_utf8(answer).map_err(|_| "auth callout response is no text".to_owned())?;
        let user = self.read(&answer, sealed)?;
        self.admit(user).await
    }

    /// The user that an answer holds.
    fn read(&self, answer: &str, sealed: bool) -> Result<UserClaims, String> {
        let response = decode(answer)
            .and_then(Token::authorization_response)
            .map_err(|error| error.to_string())?;
        if let Some(issue) = response.check(crate::trust::now()).first() {
            return Err(format!("authorization response had validation errors: {issue}"));
        }
        if response.common.subject != self.user {
            return Err("auth callout violation: auth callout response is not for expected user".to_owned());
        }
        if response.common.audience != self.context.identity.id {
            return Err("auth callout violation: auth callout response is not for server".to_owned());
        }
        // As nats-server: what is encrypted is from the service, whoever has signed it. `issuer_account` is what anybody may write.
        if !sealed && !self.may_answer(&response.common.issuer) {
            return Err("auth callout signing key is unknown".to_owned());
        }
        if response.is_refusal() {
            return Err(format!(
                "auth callout service returned an error: {}",
                response.nats.error
            ));
        }
        decode(&response.nats.jwt)
            .and_then(Token::user)
            .map_err(|error| error.to_string())
    }

    /// Whether it is the service who answers with this key's signature.
    fn may_answer(&self, signer: &str) -> bool {
        match &self.tenant {
            Some((_, tenant)) => signer == tenant.key() || tenant.held().signer(signer).is_some(),
            None => signer == self.issuer,
        }
    }

    /// Whom the client comes in as that this user was made for.
    async fn admit(self, mut claims: UserClaims) -> Result<Guest, String> {
        let account = &self.account.name;
        if let Some(issue) = claims.check(crate::trust::now()).first() {
            return Err(format!("Error validating user JWT: {issue}"));
        }
        if claims.common.subject != self.user {
            return Err(format!(
                "Expected authorized user of {:?} but got {:?} on account {account:?}",
                self.user, claims.common.subject
            ));
        }
        let (space, default_rules) = match &self.tenant {
            None => {
                if !claims.nats.issuer_account.is_empty() {
                    return Err(format!(
                        "error non operator mode account {account:?}: attempted to use issuer_account"
                    ));
                }
                if claims.common.issuer != self.issuer {
                    return Err(format!(
                        "wrong issuer for auth callout response on account {account:?}, expected {:?} got {:?}",
                        self.issuer, claims.common.issuer
                    ));
                }
                let placed = &claims.common.audience;
                let space = self.accounts.get(placed).ok_or_else(|| {
                    format!("no valid account {placed:?} for auth callout response on account {account:?}")
                })?;
                (space, None)
            }
            Some((trust, own)) => {
                let placed = claims.account().to_owned();
                if placed != self.issuer && !own.held().claims.nats.authorization.allows(&placed) {
                    return Err(format!(
                        "account {:?} not permitted as valid account option for auth callout for account {account:?}",
                        claims.common.issuer
                    ));
                }
                let tenant = trust.find(&placed).await.map_err(|error| {
                    format!("no valid account {placed:?} for auth callout response on account {account:?}: {error}")
                })?;
                claims.nats.rights = rights(&tenant, &claims)?;
                (Arc::clone(&tenant.account), tenant.held().default_rules.clone())
            }
        };
        let limits = &claims.nats.rights;
        if !contains(&limits.user.src, self.address) {
            return Err("Bad src Ip".to_owned());
        }
        if connection_types(&limits.allowed_connection_types)?.is_some_and(|types| !types.contains(&self.by)) {
            return Err("Connection type not allowed".to_owned());
        }
        let until = until(&claims, limits)?;
        let visa = Visa::new(default_rules, &claims, String::new(), until);
        let user = match claims.common.name.as_str() {
            "" => self.name,
            name => name.to_owned(),
        };
        let same = Arc::ptr_eq(&space, &self.account);
        // As nats-server: its name is that of the user, and nothing beside that.
        let mut credential = visa.credential;
        credential.name.clear();
        let guest = Guest {
            rules: visa.rules,
            until: visa.until,
            credential: Some(Arc::new(credential)),
            proxy_required: visa.proxy_required || self.proxy_required,
            ..Guest::new(user, space, None)
        };
        Ok(if same { silenced(guest) } else { guest })
    }
}
