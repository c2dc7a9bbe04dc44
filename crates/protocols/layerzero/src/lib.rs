//! LayerZero V2: its wire formats, its contracts' calls and events, and what a DVN and an executor
//! owe.
//!
//! The crate does no I/O: bytes and logs in, typed values, decisions and call data out. In a
//! message's order: [`wire`] and [`events`] read what was said, [`deployment`] knows who may say
//! it, [`decode`] makes messages and facts of it; [`view`] asks the destination and [`mod@plan`]
//! decides what to do; [`attestation`] and [`dvn`] put a DVN's word in its contract's form, and
//! [`batch`] puts many deliveries into one call; [`request`] asks another signer of the same DVN.
//! [`tokens`] reads what tokens packets moved. [`pathway`] examines how an application has set up
//! the way of its messages, and
//! [`presets`] holds LayerZero's own contracts on public networks.

pub mod attestation;
pub mod batch;
pub mod contracts;
pub mod decode;
pub mod deployment;
pub mod dvn;
pub mod events;
pub mod pathway;
pub mod plan;
pub mod presets;
pub mod request;
pub mod revert;
pub mod tokens;
pub mod view;
pub mod wire;

pub use attestation::{DvnAttestation, DvnTarget, NotAttestable};
pub use decode::{Delivery, LoggedFact, Packet};
pub use deployment::{Deployment, Deployments, header_of, topics};
pub use plan::{Action, Ahead, Courses, Decision, Job, MessagePlan};
pub use tokens::{LoggedMovement, Token};
pub use view::{Asked, Question, View};
