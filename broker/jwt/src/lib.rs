//! JWTs as NATS has them: operators sign accounts, accounts sign users, with Ed25519 keys in the nkey notation.
//!
//! [`decode`] reads a token of any kind and checks its signature; what it claims is a [`Token`]. What must be true of the claims
//! beside that, at a time, is said by their `check`. All formats are those of nats-io/jwt v2, which reads v1 as well.

mod account;
mod activation;
mod authorization;
mod common;
mod decorated;
mod exchange;
mod issues;
pub mod key;
mod operator;
mod permissions;
mod signature;
mod subject;
mod template;
mod times;
mod token;
mod user;

pub use account::{
    AccountClaims, ExternalAuthorization, Grant, JetStreamLimits, Mapping, OperatorLimits, Scope, SigningKey, Trace,
};
pub use activation::ActivationClaims;
pub use authorization::{
    AuthorizationRequest, AuthorizationRequestClaims, AuthorizationResponseClaims, ClientInformation, ConnectOptions,
    ServerId,
};
pub use common::Common;
pub use decorated::undecorated;
pub use exchange::{Export, Import, Latency, Share};
pub use issues::Issues;
pub use operator::{OperatorClaims, server_version};
pub use permissions::{List, NatsLimits, Permissions, Responses, UserLimits, UserPermissions, limit};
pub use signature::has_signed;
pub use subject::is_subject;
pub use template::{Names, TemplateError, fill};
pub use times::{Presence, contains, presence};
pub use token::{GenericClaims, JwtError, MAX_TOKEN, Token, decode, decode_generic, encode};
pub use user::UserClaims;
