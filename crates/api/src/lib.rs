//! What programs see of a node: the documents that commands and HTTP share ([`view`]), and the HTTP
//! side of a running node, which changes nothing ([`server`]). Peers that ask for signatures have a way
//! in of their own ([`peering`]).
//!
//! Every answer is bounded, every parameter checked where it comes in (`query`); what is wrong is
//! said in one form ([`error`]). No key and no URL of an upstream is within reach of a handler's
//! answer: upstreams are known by their names.

mod connection;
pub mod error;
mod handlers;
mod metrics;
pub mod peering;
mod query;
mod ready;
pub mod server;
pub mod view;

pub use error::{ErrorDocument, ServeError};
pub use ready::{NotReady, Readiness};
pub use server::{bind, router, serve};
