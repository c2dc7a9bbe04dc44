//! What a relayer says to a chain, as protobuf messages of a transaction. Each names who pays.

use crate::{
    ids::{ChannelEndId, ClientId, ConnectionId, Height, Order, PortId, Sequence},
    packet::Packet,
    state::{ChannelEnd, ConnectionEnd, FEATURES, VERSION},
};
use ibc_proto::cosmos::base::v1beta1::Coin;
use ibc_proto::{
    google::protobuf::Any,
    ibc::{
        applications::transfer::v1::MsgTransfer,
        core::{
            channel::v1 as channel,
            client::v1::{
                Height as WireHeight, MsgCreateClient, MsgUpdateClient, MsgUpgradeClient,
            },
            commitment::v1::{MerklePrefix, MerkleRoot},
            connection::v1 as connection,
        },
        lightclients::tendermint::v1 as tendermint,
    },
};
use postrider_cosmos::tx::any;
use postrider_verification::tendermint::{ClaimedBlock, ValidatorSet};
use prost::Message as _;
use std::time::Duration;

/// What chains keep IBC's state under.
const PREFIX: &[u8] = b"ibc";
/// Where chains put what a client needs after an upgrade.
const UPGRADE_PATH: [&str; 2] = ["upgrade", "upgradedIBCState"];

/// A proof, and the height whose root it leads to: that of the header, one above the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// `ibc.core.commitment.v1.MerkleProof` in protobuf.
    pub proof: Vec<u8>,
    /// The height of the header that has the root.
    pub height: Height,
}

/// Who signs a transaction's messages: a bech32 address.
#[derive(Debug, Clone, Copy)]
pub struct Signer<'a>(pub &'a str);

/// What a new client is told of the chain that it is to follow.
#[derive(Debug, Clone)]
pub struct NewClient<'a> {
    /// The block it begins with.
    pub block: &'a ClaimedBlock,
    /// The part of the voting power that must sign, as numerator and denominator.
    pub trust_level: (u64, u64),
    /// How long it believes a header.
    pub trusting_period: Duration,
    /// How long the chain's stake is bound.
    pub unbonding_period: Duration,
    /// How far the chain's clock may be ahead.
    pub max_clock_drift: Duration,
}

fn wire_height(height: Height) -> Option<WireHeight> {
    Some(WireHeight {
        revision_number: height.revision_number,
        revision_height: height.revision_height,
    })
}

fn wire_duration(duration: Duration) -> Option<tendermint_proto::google::protobuf::Duration> {
    Some(tendermint_proto::google::protobuf::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    })
}

/// The height of a block as clients count it.
#[must_use]
pub fn height_of(block: &ClaimedBlock) -> Height {
    let header = block.header();
    Height::on_chain(header.chain_id.as_str(), header.height.value())
}

/// `MsgCreateClient` of a Tendermint client (ICS-07).
#[must_use]
pub fn create_client(new: &NewClient<'_>, signer: Signer<'_>) -> Any {
    let header = new.block.header();
    let (numerator, denominator) = new.trust_level;
    // ibc-go takes these two fields for deprecated, and others for refused if they are set.
    #[allow(deprecated, reason = "the message has no other form")]
    let state = tendermint::ClientState {
        chain_id: header.chain_id.to_string(),
        trust_level: Some(tendermint::Fraction { numerator, denominator }),
        trusting_period: wire_duration(new.trusting_period),
        unbonding_period: wire_duration(new.unbonding_period),
        max_clock_drift: wire_duration(new.max_clock_drift),
        frozen_height: wire_height(Height::default()),
        latest_height: wire_height(height_of(new.block)),
        proof_specs: vec![ics23::iavl_spec(), ics23::tendermint_spec()],
        upgrade_path: UPGRADE_PATH.map(str::to_owned).to_vec(),
        allow_update_after_expiry: false,
        allow_update_after_misbehaviour: false,
    };
    let time: tendermint_proto::google::protobuf::Timestamp = header.time.into();
    let consensus = tendermint::ConsensusState {
        timestamp: Some(time),
        root: Some(MerkleRoot { hash: header.app_hash.as_bytes().to_vec() }),
        next_validators_hash: header.next_validators_hash.as_bytes().to_vec(),
    };
    any(&MsgCreateClient {
        client_state: Some(any(&state)),
        consensus_state: Some(any(&consensus)),
        signer: signer.0.to_owned(),
    })
}

/// A header as a Tendermint client takes it: the block, and the trusted one that leads to it. What the
/// client keeps of the trusted block is the hash of its *next* validators, so those are shown.
fn header(block: &ClaimedBlock, trusted: &Trusted<'_>) -> tendermint::Header {
    tendermint::Header {
        signed_header: Some(block.signed_header().clone().into()),
        validator_set: Some(block.validators().clone().into()),
        trusted_height: wire_height(trusted.height),
        trusted_validators: Some(trusted.next_validators.clone().into()),
    }
}

/// What a client holds of a height, as it is shown to it again with a header.
#[derive(Debug, Clone, Copy)]
pub struct Trusted<'a> {
    /// The height.
    pub height: Height,
    /// The validators of the next block.
    pub next_validators: &'a ValidatorSet,
}

impl<'a> From<&'a ClaimedBlock> for Trusted<'a> {
    fn from(block: &'a ClaimedBlock) -> Self {
        Self { height: height_of(block), next_validators: block.next_validators() }
    }
}

/// `MsgUpdateClient` that leads a client from a height that it holds to a block.
#[must_use]
pub fn update_client(
    client: &ClientId,
    trusted: &Trusted<'_>,
    block: &ClaimedBlock,
    signer: Signer<'_>,
) -> Any {
    client_message(client, any(&header(block, trusted)), signer)
}

/// What a chain committed to for its clients before it stopped to be upgraded.
#[derive(Debug, Clone)]
pub struct Upgrade {
    /// The client's state, as it stands under [`crate::paths::upgraded_client`].
    pub client_state: Any,
    /// The proof of it.
    pub client_proof: Vec<u8>,
    /// What is trusted first, as it stands under [`crate::paths::upgraded_consensus_state`].
    pub consensus_state: Any,
    /// The proof of it.
    pub consensus_proof: Vec<u8>,
}

/// `MsgUpgradeClient`: what a client becomes by its chain's upgrade. The client's newest height must be the
/// one whose root the proofs lead to, the height of the upgrade.
#[must_use]
pub fn upgrade_client(client: &ClientId, upgrade: Upgrade, signer: Signer<'_>) -> Any {
    any(&MsgUpgradeClient {
        client_id: client.to_string(),
        client_state: Some(upgrade.client_state),
        consensus_state: Some(upgrade.consensus_state),
        proof_upgrade_client: upgrade.client_proof,
        proof_upgrade_consensus_state: upgrade.consensus_proof,
        signer: signer.0.to_owned(),
    })
}

/// `MsgUpdateClient` that shows a client two blocks which contradict each other, and so freezes it. Each
/// comes with the block, of those the client holds, that leads to it.
#[must_use]
pub fn show_misbehaviour(
    client: &ClientId,
    first: (&ClaimedBlock, &ClaimedBlock),
    second: (&ClaimedBlock, &ClaimedBlock),
    signer: Signer<'_>,
) -> Any {
    #[allow(deprecated, reason = "the message has no other form")]
    let misbehaviour = tendermint::Misbehaviour {
        client_id: client.to_string(),
        header_1: Some(header(first.0, &first.1.into())),
        header_2: Some(header(second.0, &second.1.into())),
    };
    client_message(client, any(&misbehaviour), signer)
}

fn client_message(client: &ClientId, message: Any, signer: Signer<'_>) -> Any {
    any(&MsgUpdateClient {
        client_id: client.to_string(),
        client_message: Some(message),
        signer: signer.0.to_owned(),
    })
}

/// The one version of connections (ICS-03).
fn version() -> connection::Version {
    connection::Version {
        identifier: VERSION.to_owned(),
        features: FEATURES.map(str::to_owned).to_vec(),
    }
}

fn counterparty(client: &ClientId, id: Option<&ConnectionId>) -> Option<connection::Counterparty> {
    Some(connection::Counterparty {
        client_id: client.to_string(),
        connection_id: id.map(ToString::to_string).unwrap_or_default(),
        prefix: Some(MerklePrefix { key_prefix: PREFIX.to_vec() }),
    })
}

/// `MsgConnectionOpenInit` between two clients.
#[must_use]
pub fn connection_open_init(
    client: &ClientId,
    there: &ClientId,
    delay: Duration,
    signer: Signer<'_>,
) -> Any {
    any(&connection::MsgConnectionOpenInit {
        client_id: client.to_string(),
        counterparty: counterparty(there, None),
        version: Some(version()),
        delay_period: u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX),
        signer: signer.0.to_owned(),
    })
}

/// `MsgConnectionOpenTry`: answers the end `there`, named `id`, which is in `INIT`. What clients say of each
/// other is left empty: ibc-go looks at it no more since version 10.
#[must_use]
pub fn connection_open_try(
    there: &ConnectionEnd,
    id: &ConnectionId,
    shown: &Shown,
    signer: Signer<'_>,
) -> Any {
    #[allow(deprecated, reason = "the message has no other form")]
    let message = connection::MsgConnectionOpenTry {
        client_id: there.counterparty_client.to_string(),
        counterparty: counterparty(&there.client, Some(id)),
        delay_period: u64::try_from(there.delay.as_nanos()).unwrap_or(u64::MAX),
        counterparty_versions: vec![version()],
        proof_height: wire_height(shown.height),
        proof_init: shown.proof.clone(),
        signer: signer.0.to_owned(),
        ..connection::MsgConnectionOpenTry::default()
    };
    any(&message)
}

/// `MsgConnectionOpenAck`: tells the end `here` of the one there, which is in `TRYOPEN`.
#[must_use]
pub fn connection_open_ack(
    here: &ConnectionId,
    there: &ConnectionId,
    shown: &Shown,
    signer: Signer<'_>,
) -> Any {
    #[allow(deprecated, reason = "the message has no other form")]
    let message = connection::MsgConnectionOpenAck {
        connection_id: here.to_string(),
        counterparty_connection_id: there.to_string(),
        version: Some(version()),
        proof_height: wire_height(shown.height),
        proof_try: shown.proof.clone(),
        signer: signer.0.to_owned(),
        ..connection::MsgConnectionOpenAck::default()
    };
    any(&message)
}

/// `MsgConnectionOpenConfirm`: tells the end `here` that the one there is open.
#[must_use]
pub fn connection_open_confirm(here: &ConnectionId, shown: &Shown, signer: Signer<'_>) -> Any {
    any(&connection::MsgConnectionOpenConfirm {
        connection_id: here.to_string(),
        proof_ack: shown.proof.clone(),
        proof_height: wire_height(shown.height),
        signer: signer.0.to_owned(),
    })
}

/// What a new channel is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChannel {
    /// The module here.
    pub port: PortId,
    /// The module there.
    pub counterparty_port: PortId,
    /// Whether packets arrive in order.
    pub order: Order,
    /// What the modules speak, such as `ics20-1`.
    pub version: String,
}

fn wire_order(order: Order) -> i32 {
    match order {
        Order::Unordered => channel::Order::Unordered.into(),
        Order::Ordered => channel::Order::Ordered.into(),
    }
}

/// `MsgChannelOpenInit` over a connection.
#[must_use]
pub fn channel_open_init(new: &NewChannel, over: &ConnectionId, signer: Signer<'_>) -> Any {
    any(&channel::MsgChannelOpenInit {
        port_id: new.port.to_string(),
        channel: Some(channel::Channel {
            state: channel::State::Init.into(),
            ordering: wire_order(new.order),
            counterparty: Some(channel::Counterparty {
                port_id: new.counterparty_port.to_string(),
                channel_id: String::new(),
            }),
            connection_hops: vec![over.to_string()],
            version: new.version.clone(),
            upgrade_sequence: 0,
        }),
        signer: signer.0.to_owned(),
    })
}

/// `MsgChannelOpenTry`: answers the end `id` there, which is in `INIT`, over a connection here.
#[must_use]
pub fn channel_open_try(
    there: &ChannelEnd,
    id: &ChannelEndId,
    over: &ConnectionId,
    shown: &Shown,
    signer: Signer<'_>,
) -> Any {
    #[allow(deprecated, reason = "the message has no other form")]
    let message = channel::MsgChannelOpenTry {
        port_id: there.counterparty_port.to_string(),
        channel: Some(channel::Channel {
            state: channel::State::Tryopen.into(),
            ordering: wire_order(there.order),
            counterparty: Some(channel::Counterparty {
                port_id: id.port.to_string(),
                channel_id: id.channel.to_string(),
            }),
            connection_hops: vec![over.to_string()],
            version: there.version.clone(),
            upgrade_sequence: 0,
        }),
        counterparty_version: there.version.clone(),
        proof_init: shown.proof.clone(),
        proof_height: wire_height(shown.height),
        signer: signer.0.to_owned(),
        ..channel::MsgChannelOpenTry::default()
    };
    any(&message)
}

/// `MsgChannelOpenAck`: tells the end `here` of the one there, which is in `TRYOPEN`.
#[must_use]
pub fn channel_open_ack(
    here: &ChannelEndId,
    (id, there): (&ChannelEndId, &ChannelEnd),
    shown: &Shown,
    signer: Signer<'_>,
) -> Any {
    any(&channel::MsgChannelOpenAck {
        port_id: here.port.to_string(),
        channel_id: here.channel.to_string(),
        counterparty_channel_id: id.channel.to_string(),
        counterparty_version: there.version.clone(),
        proof_try: shown.proof.clone(),
        proof_height: wire_height(shown.height),
        signer: signer.0.to_owned(),
    })
}

/// `MsgChannelOpenConfirm`: tells the end `here` that the one there is open.
#[must_use]
pub fn channel_open_confirm(here: &ChannelEndId, shown: &Shown, signer: Signer<'_>) -> Any {
    any(&channel::MsgChannelOpenConfirm {
        port_id: here.port.to_string(),
        channel_id: here.channel.to_string(),
        proof_ack: shown.proof.clone(),
        proof_height: wire_height(shown.height),
        signer: signer.0.to_owned(),
    })
}

/// `MsgRecvPacket`: shows the destination that a packet was sent.
#[must_use]
pub fn receive(packet: &Packet, shown: &Shown, signer: Signer<'_>) -> Any {
    any(&channel::MsgRecvPacket {
        packet: Some(packet.to_wire()),
        proof_commitment: shown.proof.clone(),
        proof_height: wire_height(shown.height),
        signer: signer.0.to_owned(),
    })
}

/// `MsgAcknowledgement`: shows the source how a packet was taken.
#[must_use]
pub fn acknowledge(
    packet: &Packet,
    acknowledgement: &[u8],
    shown: &Shown,
    signer: Signer<'_>,
) -> Any {
    any(&channel::MsgAcknowledgement {
        packet: Some(packet.to_wire()),
        acknowledgement: acknowledgement.to_vec(),
        proof_acked: shown.proof.clone(),
        proof_height: wire_height(shown.height),
        signer: signer.0.to_owned(),
    })
}

/// `MsgTimeout`: shows the source that a packet was not received in time. `next_receive` is the packet that an
/// ordered channel receives next; over an unordered one it is not looked at.
#[must_use]
pub fn time_out(packet: &Packet, next_receive: Sequence, shown: &Shown, signer: Signer<'_>) -> Any {
    any(&channel::MsgTimeout {
        packet: Some(packet.to_wire()),
        proof_unreceived: shown.proof.clone(),
        proof_height: wire_height(shown.height),
        next_sequence_recv: next_receive.get(),
        signer: signer.0.to_owned(),
    })
}

/// `MsgTimeoutOnClose`: shows the source that the packet's channel is closed at its destination and that it was
/// not received before. Both proofs lead to the header of the same height.
#[must_use]
pub fn time_out_on_close(
    packet: &Packet,
    next_receive: Sequence,
    unreceived: &Shown,
    closed: Vec<u8>,
    signer: Signer<'_>,
) -> Any {
    any(&channel::MsgTimeoutOnClose {
        packet: Some(packet.to_wire()),
        proof_unreceived: unreceived.proof.clone(),
        proof_close: closed,
        proof_height: wire_height(unreceived.height),
        next_sequence_recv: next_receive.get(),
        signer: signer.0.to_owned(),
        ..channel::MsgTimeoutOnClose::default()
    })
}

/// `MsgChannelCloseInit`: closes the end `here`. The module behind it must allow it; token transfers do not.
#[must_use]
pub fn channel_close_init(here: &ChannelEndId, signer: Signer<'_>) -> Any {
    any(&channel::MsgChannelCloseInit {
        port_id: here.port.to_string(),
        channel_id: here.channel.to_string(),
        signer: signer.0.to_owned(),
    })
}

/// `MsgChannelCloseConfirm`: closes the end `here`, since the one there is closed.
#[must_use]
pub fn channel_close_confirm(here: &ChannelEndId, shown: &Shown, signer: Signer<'_>) -> Any {
    any(&channel::MsgChannelCloseConfirm {
        port_id: here.port.to_string(),
        channel_id: here.channel.to_string(),
        proof_init: shown.proof.clone(),
        proof_height: wire_height(shown.height),
        signer: signer.0.to_owned(),
        ..channel::MsgChannelCloseConfirm::default()
    })
}

/// `MsgTransfer` (ICS-20): sends tokens over a channel.
#[must_use]
pub fn transfer(
    over: &ChannelEndId,
    (amount, denom): (u128, &str),
    receiver: &str,
    timeout: crate::packet::Timeout,
    memo: &str,
    signer: Signer<'_>,
) -> Any {
    any(&MsgTransfer {
        source_port: over.port.to_string(),
        source_channel: over.channel.to_string(),
        token: Some(Coin { denom: denom.to_owned(), amount: amount.to_string() }),
        sender: signer.0.to_owned(),
        receiver: receiver.to_owned(),
        timeout_height: wire_height(timeout.height),
        timeout_timestamp: timeout.nanoseconds,
        memo: memo.to_owned(),
    })
}

/// Which of a relayer's messages a message of a transaction is, by its type; for gas and for people.
#[must_use]
pub fn kind(message: &Any) -> &str {
    message.type_url.rsplit('.').next().unwrap_or_default()
}

/// The bytes that a message takes in a transaction, without its frame.
#[must_use]
pub fn size(message: &Any) -> usize {
    message.encoded_len()
}
