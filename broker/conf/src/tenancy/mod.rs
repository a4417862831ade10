//! What accounts give to each other, and what each makes of its own subjects: as somebody asks for it (a configuration file, the
//! claims of an account), and as it holds once it was looked at ([`Plan`]).
//!
//! A [`Tenancy`] is what one account asks for. It depends on nobody else; whoever has those of all accounts makes a plan of
//! them, which leaves out what does not go together and says why, in nats-server's words.

mod mapping;
mod plan;

use std::time::Duration;

pub use mapping::{Destination, Mapping, Mappings};
pub use plan::{Fault, Found, Plan, Plans, Renaming, ServiceIn, StreamIn};

/// How long an answer may take, unless its export says otherwise.
pub const THRESHOLD: Duration = Duration::from_secs(120);

/// What an account exports, imports and maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tenancy {
    /// Subjects that others may hear.
    pub stream_exports: Vec<StreamExport>,
    /// Subjects that others may send requests to.
    pub service_exports: Vec<ServiceExport>,
    /// What it hears of others.
    pub stream_imports: Vec<StreamImport>,
    /// What it may ask of others.
    pub service_imports: Vec<ServiceImport>,
    /// What becomes of the subjects that its clients publish to.
    pub mappings: Vec<Mapping>,
}

impl Tenancy {
    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Who may import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    #[default]
    Public,
    /// These accounts, by name.
    Accounts(Vec<String>),
    /// The account whose name is this token (from 1) of the subject that it imports; that token is a `*` of the export.
    Token(usize),
    /// Whoever has an activation: whose import says so ([`StreamImport::activated`]).
    Activation,
}

/// A subject that others may hear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamExport {
    /// The subject, perhaps with wildcards.
    pub subject: String,
    /// Who may import it.
    pub access: Access,
}

/// How many answers a request has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResponseType {
    /// One.
    #[default]
    Singleton,
    /// Any number.
    Stream,
    /// Any number, of which an empty one is the last.
    Chunked,
}

impl ResponseType {
    /// As nats-server's reports call it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Singleton => "Singleton",
            Self::Stream => "Streamed",
            Self::Chunked => "Chunked",
        }
    }
}

/// How often it is measured how long a service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// Of so many requests in a hundred, 1 to 100.
    Percent(u8),
    /// Of those whose headers ask for it.
    Headers,
}

/// Where it is told how long a service takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    /// How often.
    pub sampling: Sampling,
    /// On this subject of the exporting account.
    pub subject: String,
}

/// A subject that others may send requests to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceExport {
    /// The subject, perhaps with wildcards.
    pub subject: String,
    /// Who may import it.
    pub access: Access,
    /// How many answers a request has.
    pub response: ResponseType,
    /// How long an answer, or the next one, may take.
    pub threshold: Duration,
    /// Where it is told how long it took.
    pub latency: Option<Latency>,
    /// Whether the tracing of messages goes on in this account.
    pub allow_trace: bool,
}

impl Default for ServiceExport {
    fn default() -> Self {
        Self {
            subject: String::new(),
            access: Access::Public,
            response: ResponseType::Singleton,
            threshold: THRESHOLD,
            latency: None,
            allow_trace: false,
        }
    }
}

/// What an account hears of another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamImport {
    /// The other account.
    pub account: String,
    /// The subject there, perhaps with wildcards.
    pub subject: String,
    /// Comes before the subject here; empty: nothing.
    pub prefix: String,
    /// The subject here, with `$1` for a wildcard of the other; empty: the same. Does not go together with a prefix.
    pub to: String,
    /// Whether the tracing of messages goes on in this account.
    pub allow_trace: bool,
    /// Whether there is an activation for it that holds.
    pub activated: bool,
}

/// What an account may ask of another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceImport {
    /// The other account.
    pub account: String,
    /// The subject there, perhaps with wildcards.
    pub subject: String,
    /// The subject here; empty: the same.
    pub to: String,
    /// Whether the other account is told who asks.
    pub share: bool,
    /// Whether there is an activation for it that holds.
    pub activated: bool,
}
