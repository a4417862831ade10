//! The users of the options, by name.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use weir_jwt::has_signed;
use weir_wire::Connect;

use super::super::quote::quoted;
use super::certificate::{Distinguished, Names};
use super::{Answer, Door, Guest, REDACTED, Verdict, Visitor, password};
use crate::conf::Options;
use crate::conf::options::{ConnectionType, Permissions, User};
use crate::context::Context;
use crate::interest::{Account, Accounts};
use crate::permissions::Rules;

/// The door that the options describe.
pub struct ByOptions {
    context: Arc<Context>,
    accounts: Arc<Accounts>,
    roster: ArcSwapOption<Roster>,
}

/// Who may come in, by these options.
struct Roster {
    options: Arc<Options>,
    users: HashMap<Box<str>, Entry>,
    has_nkeys: bool,
    /// Users whom a certificate may name by its subject.
    distinguished: Distinguished,
    /// What whoever knows the token may do.
    token_rules: Option<Arc<Rules>>,
    global: Arc<Account>,
}

/// A user.
struct Entry {
    /// A key proves itself by a signature.
    nkey: bool,
    password: Box<str>,
    types: Box<[ConnectionType]>,
    guest: Guest,
}

impl ByOptions {
    /// A door for the clients of this server.
    #[must_use]
    pub fn new(context: Arc<Context>, accounts: Arc<Accounts>) -> Self {
        Self {
            context,
            accounts,
            roster: ArcSwapOption::empty(),
        }
    }

    /// A user who need not say a password, if it may come by this.
    pub(super) fn guest(&self, name: &str, by: ConnectionType) -> Option<Guest> {
        let roster = self.roster();
        let entry = roster.users.get(name).filter(|entry| !entry.nkey)?;
        entry.may_come_by(by).then(|| entry.guest.clone())
    }

    /// Who may come in now; made anew when the options were.
    fn roster(&self) -> Arc<Roster> {
        let options = self.context.live.get();
        if let Some(roster) = self.roster.load_full()
            && Arc::ptr_eq(&roster.options, &options)
        {
            return roster;
        }
        let roster = Arc::new(Roster::new(options, &self.accounts));
        self.roster.store(Some(Arc::clone(&roster)));
        roster
    }
}

impl Door for ByOptions {
    fn is_locked(&self) -> bool {
        self.context.live.read().auth.required()
    }

    fn is_guarded(&self) -> bool {
        let options = self.context.live.read();
        options.auth.required() && options.auth.no_auth_user.is_none()
    }

    fn challenges(&self) -> bool {
        self.roster().has_nkeys
    }

    fn ask(&self, visitor: &Visitor<'_>) -> Answer {
        self.roster().ask(visitor)
    }

    fn has_moved(&self, visitor: &Visitor<'_>, account: &Arc<Account>) -> bool {
        let roster = self.roster();
        let connect = visitor.connect;
        // Who it is its certificate may say, where that is asked.
        if visitor.certificate.is_some() {
            return false;
        }
        let name = match connect.nkey.is_empty() {
            true => &connect.user,
            false => &connect.nkey,
        };
        let entry = roster.users.get(name.as_str());
        !name.is_empty() && entry.is_none_or(|entry| !Arc::ptr_eq(&entry.guest.account, account))
    }

    fn anonymous(&self, by: ConnectionType) -> Option<Guest> {
        let roster = self.roster();
        if roster.options.is_open() {
            return Some(Guest::new(String::new(), Arc::clone(&roster.global), None));
        }
        if maps(&roster.options, by) {
            return None;
        }
        self.guest(roster.options.auth.no_auth_user.as_deref()?, by)
    }
}

impl Roster {
    fn new(options: Arc<Options>, accounts: &Accounts) -> Self {
        let mut shared = Shared::default();
        let entry = |user: &User| {
            let account = match &user.account {
                Some(name) => accounts.open(name),
                None => Arc::clone(&accounts.global),
            };
            let alone = options.auth.single && options.auth.proxy_required;
            let guest = Guest {
                proxy_required: user.proxy_required || alone,
                ..Guest::new(user.name.clone(), account, shared.rules(user.permissions.as_ref()))
            };
            let entry = Entry {
                nkey: user.nkey,
                password: user.password.as_str().into(),
                types: user.connection_types.as_slice().into(),
                guest,
            };
            (user.name.as_str().into(), entry)
        };
        let users = options.auth.users.iter().map(entry).collect();
        let maps = [ConnectionType::Standard, ConnectionType::Websocket]
            .iter()
            .any(|by| maps(&options, *by));
        Self {
            distinguished: match maps {
                true => Distinguished::among(&users),
                false => Distinguished::default(),
            },
            users,
            has_nkeys: options.auth.users.iter().any(|user| user.nkey),
            token_rules: shared.rules(options.auth.permissions.as_ref()),
            global: Arc::clone(&accounts.global),
            options,
        }
    }

    fn ask(&self, visitor: &Visitor<'_>) -> Answer {
        let auth = &self.options.auth;
        let guest = |rules: Option<Arc<Rules>>| Guest::new(String::new(), Arc::clone(&self.global), rules);
        let connect = visitor.connect;
        if !auth.required() {
            // Who it says it is, is told.
            let mut guest = guest(None);
            guest.user.clone_from(&connect.user);
            return Answer::Now(Verdict::Welcome(guest));
        }
        if let Some(token) = &auth.token {
            let mut guest = guest(self.token_rules.clone());
            guest.proxy_required = auth.proxy_required;
            guest.user = REDACTED.to_owned();
            return password::ask(token, &connect.auth_token, guest);
        }
        if self.options.is_open() && is_silent(connect) {
            return Answer::Now(Verdict::Welcome(guest(None)));
        }
        let refused = Answer::Now(Verdict::Refused);
        let anonymous = auth.no_auth_user.as_deref().filter(|_| is_silent(connect));
        let by_key = self.has_nkeys && !connect.nkey.is_empty();
        let anonymous_key = anonymous
            .and_then(|name| self.users.get(name))
            .is_some_and(|entry| entry.nkey);
        if !by_key && !anonymous_key && maps(&self.options, visitor.by) {
            return self.ask_certificate(visitor);
        }
        let name = match anonymous {
            Some(name) => name,
            None if by_key => &connect.nkey,
            None => &connect.user,
        };
        let Some(entry) = self.users.get(name) else {
            return refused;
        };
        if !entry.may_come_by(visitor.by) {
            return refused;
        }
        if anonymous.is_some() {
            return Answer::Now(Verdict::Welcome(entry.guest.clone()));
        }
        // A key is no user name, and a user name no key.
        match (entry.nkey, by_key) {
            (true, true) if is_signed(visitor) => Answer::Now(Verdict::Welcome(entry.guest.clone())),
            // It comes in by its certificate, where those are looked at.
            (false, false) if entry.password.is_empty() && self.may_be_mapped(entry) => refused,
            (false, false) => password::ask(&entry.password, &connect.pass, entry.guest.clone()),
            _ => refused,
        }
    }
}

impl Roster {
    /// Who the client is by its certificate. One with a password has to say that, too.
    fn ask_certificate(&self, visitor: &Visitor<'_>) -> Answer {
        let connect = visitor.connect;
        let find = |name: &str| {
            let entry = self.users.get(name).filter(|entry| !entry.nkey);
            entry.filter(|entry| entry.may_come_by(visitor.by))
        };
        let names = visitor.certificate.and_then(Names::of);
        let Some(entry) = names.and_then(|names| names.user(&self.distinguished, find)) else {
            return Answer::Now(Verdict::Refused);
        };
        if !connect.user.is_empty() {
            let name = quoted(connect.user.as_bytes());
            tracing::warn!("User {name} found in connect proto, but user required from cert");
        }
        password::ask(&entry.password, &connect.pass, entry.guest.clone())
    }

    /// Whether a certificate may name this user, by whatever it comes.
    fn may_be_mapped(&self, entry: &Entry) -> bool {
        let kinds = [ConnectionType::Standard, ConnectionType::Websocket];
        kinds
            .iter()
            .any(|by| maps(&self.options, *by) && entry.may_come_by(*by))
    }
}

impl Entry {
    fn may_come_by(&self, by: ConnectionType) -> bool {
        self.types.is_empty() || self.types.contains(&by)
    }
}

/// Whether who comes by this is whom its certificate names.
pub(super) fn maps(options: &Options, by: ConnectionType) -> bool {
    let tls = match by {
        ConnectionType::Standard => options.tls.as_ref(),
        ConnectionType::Websocket => options.websocket.as_ref().and_then(|websocket| websocket.tls.as_ref()),
        _ => None,
    };
    !options.auth.single && tls.is_some_and(|tls| tls.map)
}

/// Whether a client gives no credentials at all.
pub(super) fn is_silent(connect: &Connect) -> bool {
    connect.user.is_empty() && connect.pass.is_empty() && connect.auth_token.is_empty() && connect.nkey.is_empty()
}

/// Whether the client has signed what it was to sign, with the key that it names.
fn is_signed(visitor: &Visitor<'_>) -> bool {
    has_signed(&visitor.connect.nkey, visitor.nonce, &visitor.connect.sig)
}

/// Rules that are made once for all who have the same permissions.
#[derive(Default)]
struct Shared(HashMap<*const Permissions, Arc<Rules>>);

impl Shared {
    fn rules(&mut self, permissions: Option<&Arc<Permissions>>) -> Option<Arc<Rules>> {
        let permissions = permissions?;
        let made = self
            .0
            .entry(Arc::as_ptr(permissions))
            .or_insert_with(|| Arc::new(Rules::new(permissions)));
        Some(Arc::clone(made))
    }
}
