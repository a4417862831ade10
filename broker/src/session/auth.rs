//! Who may come in: everybody, one user, several users, or whoever knows the token.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use tokio::sync::oneshot;
use weir_wire::Connect;

use crate::conf::options::Auth;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::interest::{Account, Accounts};

/// Length of a bcrypt hash in its usual notation.
const BCRYPT_LEN: usize = 60;

/// Decides whether clients may come in.
pub trait Door: Send + Sync {
    /// Whether CONNECT must come first, and carry credentials.
    fn is_locked(&self) -> bool;

    /// Who CONNECT's credentials belong to. Must not block: what takes time is answered [later](Answer::Later).
    fn ask(&self, connect: &Connect) -> Answer;
}

/// What a door says.
pub enum Answer {
    /// At once.
    Now(Verdict),
    /// Not yet. Nothing of the client's is worked on until then, and nothing more is read.
    Later(Ticket),
}

/// Whether a client may come in.
pub enum Verdict {
    /// As this one.
    Welcome(Guest),
    /// It may not.
    Refused,
}

/// Whoever came in.
pub struct Guest {
    /// The user; empty for a token, or if no credentials are needed.
    pub user: String,
    /// The account that the client is in.
    pub account: Arc<Account>,
}

/// A verdict that is still to come.
pub struct Ticket(oneshot::Receiver<Verdict>);

impl Ticket {
    /// A ticket, and where its verdict is to be put. A sender that is dropped refuses; one that finds the ticket gone need not
    /// go on, for the client is.
    #[must_use]
    pub fn new() -> (oneshot::Sender<Verdict>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }

    /// The verdict, or has the task woken once it is there.
    pub(super) fn poll(&mut self, context: &mut TaskContext<'_>) -> Poll<Verdict> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|verdict| verdict.unwrap_or(Verdict::Refused))
    }
}

/// The door that the options describe.
pub struct ByOptions {
    context: Arc<Context>,
    accounts: Arc<Accounts>,
}

impl ByOptions {
    /// A door for the clients of this server.
    #[must_use]
    pub fn new(context: Arc<Context>, accounts: Arc<Accounts>) -> Self {
        Self { context, accounts }
    }
}

impl Door for ByOptions {
    fn is_locked(&self) -> bool {
        self.context.live.read().auth.required()
    }

    fn ask(&self, connect: &Connect) -> Answer {
        let user = user_of(&self.context.live.read().auth, connect);
        Answer::Now(match user {
            None => Verdict::Refused,
            Some(user) => Verdict::Welcome(Guest {
                user,
                account: Arc::clone(&self.accounts.global),
            }),
        })
    }
}

/// The user that CONNECT's credentials belong to (empty for a token, or if none is needed); `None`: nobody.
fn user_of(auth: &Auth, connect: &Connect) -> Option<String> {
    if !auth.required() {
        return Some(String::new());
    }
    if let Some(token) = &auth.token {
        return equal(token, &connect.auth_token).then(String::new);
    }
    let user = auth.users.iter().find(|user| user.name == connect.user)?;
    equal(&user.password, &connect.pass).then(|| user.name.clone())
}

/// Refuses what is configured but cannot be checked here: better no server than one that lets nobody in, or anybody.
pub(crate) fn check(auth: &Auth) -> Result<()> {
    let mut secrets = auth.users.iter().map(|user| &user.password).chain(&auth.token);
    if secrets.any(|secret| secret.starts_with("$2") && secret.len() == BCRYPT_LEN) {
        return Err(Error::Options(
            "bcrypt hashes are not supported yet: give the password or token in plain text".to_owned(),
        ));
    }
    Ok(())
}

/// Compares secrets in a time that tells nothing but their length.
fn equal(secret: &str, given: &str) -> bool {
    secret.len() == given.len()
        && secret
            .bytes()
            .zip(given.bytes())
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}
