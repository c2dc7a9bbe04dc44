//! IBC on Cosmos networks: [`follow`] reads blocks and proves what they say, `backlog` finds what state
//! says is pending, [`relay`] brings it to the other network, [`submit`] pays for it. [`path`] makes what all
//! of that travels on; [`supply`] watches the tokens that do.

mod attend;
mod backlog;
pub mod channels;
mod clearing;
pub mod clients;
pub mod direct;
pub mod ends;
mod find;
pub mod follow;
pub mod hear;
mod heights;
pub mod hosted;
pub mod manage;
pub mod path;
pub mod proofs;
mod record;
pub mod relay;
mod shaking;
mod show;
pub mod submit;
pub mod supply;
pub mod survey;
mod tend;
pub mod upgrade;
mod view;
pub mod wallet;
