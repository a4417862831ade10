//! Who may come in by WebSocket, where the options say that for itself.

use std::sync::Arc;

use super::roster::{is_silent, maps};
use super::{Answer, ByOptions, Door, Guest, REDACTED, Verdict, Visitor, password};
use crate::conf::Options;
use crate::conf::options::{ConnectionType, WebSocketAuth};
use crate::context::Context;
use crate::interest::{Account, Accounts};

/// The door that the options describe for WebSocket alone.
pub struct ByWebSocket {
    context: Arc<Context>,
    accounts: Arc<Accounts>,
    /// Users, whatever they come by.
    users: ByOptions,
}

impl ByWebSocket {
    /// A door for those clients; `None`: theirs is that of all.
    #[must_use]
    pub fn new(context: &Arc<Context>, accounts: &Arc<Accounts>) -> Option<Self> {
        auth(&context.live.read()).filter(|auth| auth.overrides())?;
        Some(Self {
            context: Arc::clone(context),
            accounts: Arc::clone(accounts),
            users: ByOptions::new(Arc::clone(context), Arc::clone(accounts)),
        })
    }
}

fn auth(options: &Options) -> Option<&WebSocketAuth> {
    options.websocket.as_ref().map(|websocket| &websocket.auth)
}

impl Door for ByWebSocket {
    fn is_locked(&self) -> bool {
        true
    }

    fn challenges(&self) -> bool {
        self.users.challenges()
    }

    fn ask(&self, visitor: &Visitor<'_>) -> Answer {
        let (options, connect) = (self.context.live.get(), visitor.connect);
        let guest = |user: &str| Guest::new(user.to_owned(), Arc::clone(&self.accounts.global), None);
        let refused = Answer::Now(Verdict::Refused);
        let Some(auth) = auth(&options) else {
            return refused;
        };
        match (&auth.token, &auth.user) {
            (Some(token), _) => password::ask(token, &connect.auth_token, guest(REDACTED)),
            (None, Some((name, secret))) if *name == connect.user => password::ask(secret, &connect.pass, guest(name)),
            (None, Some(_)) => refused,
            // A user for those that say nothing; all others are who they are by any way.
            (None, None) if is_silent(connect) && !maps(&options, ConnectionType::Websocket) => {
                match self.anonymous(ConnectionType::Websocket) {
                    Some(guest) => Answer::Now(Verdict::Welcome(guest)),
                    None => refused,
                }
            }
            (None, None) => self.users.ask(visitor),
        }
    }

    fn has_moved(&self, visitor: &Visitor<'_>, account: &Arc<Account>) -> bool {
        let options = self.context.live.get();
        let is_theirs = auth(&options).is_some_and(|auth| auth.token.is_none() && auth.user.is_none());
        is_theirs && self.users.has_moved(visitor, account)
    }

    fn anonymous(&self, by: ConnectionType) -> Option<Guest> {
        let options = self.context.live.get();
        // Who is whom its certificate names has to say CONNECT.
        if maps(&options, ConnectionType::Websocket) {
            return None;
        }
        self.users.guest(auth(&options)?.no_auth_user.as_deref()?, by)
    }
}
