//! LayerZero V2: its wire formats, its contracts' calls and events, and what a DVN and an executor
//! owe.
//!
//! The crate does no I/O: bytes and logs in, typed values, decisions and call data out. In a
//! message's order: [`wire`] and [`events`] read what was said, [`deployment`] knows who may say
//! it, [`decode`] makes messages and facts of it; [`view`] asks the destination and [`mod@plan`]
//! decides what to do; [`attestation`] and [`dvn`] put a DVN's word in its contract's form.

pub mod attestation;
pub mod contracts;
pub mod decode;
pub mod deployment;
pub mod dvn;
pub mod events;
pub mod plan;
pub mod revert;
pub mod view;
pub mod wire;

pub use attestation::{DvnAttestation, DvnTarget, NotAttestable};
pub use decode::{Delivery, LoggedFact, delivers};
pub use deployment::{Deployment, Deployments, header_of, topics};
pub use plan::{Action, Decision, plan};
pub use view::{Question, View};
