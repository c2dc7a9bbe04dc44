//! IBC classic (ICS-02, 03, 04, 20, 24). Pure: facts and views in, messages and decisions out.
//!
//! [`ids`] and [`packet`] are what is spoken of; [`paths`] says where chains keep it, [`state`] what stands
//! there, and [`events`] what blocks tell of it; [`bank`] says so of tokens. [`acknowledgement`] and [`transfer`] read what applications
//! say. [`plan`] decides what is done about packets, [`handshake`] how a path comes to be; [`messages`] is
//! what a relayer says to a chain.

pub mod acknowledgement;
pub mod bank;
pub mod events;
pub mod handshake;
pub mod ids;
pub mod messages;
pub mod packet;
pub mod paths;
pub mod plan;
pub mod state;
pub mod transfer;

pub use acknowledgement::Acknowledgement;
pub use events::{BlockTold, IbcEvent, PacketPlace, SeenEvent, UsedSequence};
pub use ids::{
    BadId, ChannelEndId, ChannelId, ClientId, ConnectionId, HandshakeState, Height, Order, PortId,
    Sequence,
};
pub use packet::{BadPacket, Packet, Timeout, acknowledgement_commitment, lane};
