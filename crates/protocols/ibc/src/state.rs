//! What stands in the store `ibc`: clients, connections and channels, from protobuf to types of our own.

use crate::ids::{
    BadId, ChannelEndId, ChannelId, ClientId, ConnectionId, HandshakeState, Height, Order, PortId,
};
use crate::paths::STORE;
use alloy_primitives::{B256, Bytes};
use ibc_proto::{
    google::protobuf::Any,
    ibc::{
        core::{channel::v1 as channel, connection::v1 as connection},
        lightclients::tendermint::v1 as tendermint,
    },
};
use postrider_message::{Detail, UnixMillis};
use prost::{Message, Name};
use std::time::Duration;

/// The longest value of the store that is read, in bytes. What stands there by the rules of ibc-go is far shorter.
pub const MAX_STATE_BYTES: usize = 256 << 10;

/// What stands in the store cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadState {
    /// Not the protobuf message it must be.
    #[error("it is no {0}")]
    Form(&'static str),
    /// Longer than anything that stands there.
    #[error("it has {0} bytes, more than {MAX_STATE_BYTES}")]
    TooLong(usize),
    /// A field is missing or out of range.
    #[error("its `{0}` is missing or out of range")]
    Field(&'static str),
    /// A name in it is none.
    #[error(transparent)]
    Id(#[from] BadId),
    /// A client of another kind than 07-tendermint.
    #[error("it is a client of type {0}, and only 07-tendermint is known here")]
    ClientType(Detail),
}

/// What stands for a root that an upgrade cannot know (ibc-go `07-tendermint` `SentinelRoot`).
const SENTINEL_ROOT: &[u8] = b"sentinel_root";

/// The one version of connections (ibc-go `DefaultIBCVersion`).
pub(crate) const VERSION: &str = "1";
/// What it carries, in the order in which ibc-go names it.
pub(crate) const FEATURES: [&str; 2] = ["ORDER_ORDERED", "ORDER_UNORDERED"];

/// A Tendermint light client's state (ICS-07 `ClientState`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientState {
    /// The chain that it follows, as it calls itself.
    pub chain_id: String,
    /// The part of the voting power that must have signed, as numerator and denominator.
    pub trust_level: (u64, u64),
    /// How long a header is believed.
    pub trusting_period: Duration,
    /// How long the other chain's stake is bound, as the client was told.
    pub unbonding_period: Duration,
    /// How far the other chain's clock may be ahead.
    pub max_clock_drift: Duration,
    /// Whether it takes proofs of the two forms that Cosmos chains give (IAVL, and Tendermint's simple tree),
    /// and no others. One that takes other forms may believe what its chain never said.
    pub has_known_proofs: bool,
    /// Where misbehaviour froze it; `None` if nothing did.
    pub frozen: Option<Height>,
    /// The newest height that it holds.
    pub latest: Height,
}

/// What a client holds of one height (ICS-07 `ConsensusState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsensusState {
    /// The block's time.
    pub time: UnixMillis,
    /// The root of the state before it. None where an upgrade of the chain put it there: the first block after
    /// that is known by its validators only, and nothing is proven by it (ibc-go `SentinelRoot`).
    pub root: Option<B256>,
    /// The hash of the validators of the next block.
    pub next_validators: B256,
}

/// One side of a connection (ICS-03).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionEnd {
    /// How far it is open.
    pub state: HandshakeState,
    /// The client here, of the other chain.
    pub client: ClientId,
    /// The client there, of this chain.
    pub counterparty_client: ClientId,
    /// The other side; `None` before it is known.
    pub counterparty: Option<ConnectionId>,
    /// How long a header must stand here before a packet is proven by it.
    pub delay: Duration,
    /// What the other chain keeps IBC's state under.
    pub prefix: Bytes,
    /// What the two sides agreed on, or what this one offers.
    pub versions: Vec<ConnectionVersion>,
}

/// What a connection can carry (ICS-03).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionVersion {
    /// The version's name.
    pub identifier: String,
    /// Orders of channels, such as `ORDER_UNORDERED`.
    pub features: Vec<String>,
}

impl ConnectionEnd {
    /// Whether it is as every connection of ibc-go is: state under `ibc`, and the one version, with both
    /// orders. A handshake over another prefix can be begun by anybody, and never ends.
    #[must_use]
    pub fn is_standard(&self) -> bool {
        let [version] = self.versions.as_slice() else { return false };
        self.prefix.as_ref() == STORE.as_bytes()
            && version.identifier == VERSION
            && version.features == FEATURES
    }
}

/// One side of a channel (ICS-04).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelEnd {
    /// How far it is open.
    pub state: HandshakeState,
    /// Whether packets arrive in order.
    pub order: Order,
    /// The module there.
    pub counterparty_port: PortId,
    /// The other side; `None` before it is known.
    pub counterparty_channel: Option<ChannelId>,
    /// The connection here.
    pub connection: ConnectionId,
    /// What the two modules agreed on.
    pub version: String,
}

impl ChannelEnd {
    /// The other side, if it is known.
    #[must_use]
    pub fn counterparty(&self) -> Option<ChannelEndId> {
        let channel = self.counterparty_channel.clone()?;
        Some(ChannelEndId { port: self.counterparty_port.clone(), channel })
    }
}

fn decode<M: Message + Default>(bytes: &[u8], what: &'static str) -> Result<M, BadState> {
    if bytes.len() > MAX_STATE_BYTES {
        return Err(BadState::TooLong(bytes.len()));
    }
    M::decode(bytes).map_err(|_| BadState::Form(what))
}

/// The message of this kind in an `Any`.
fn of_any<M: Message + Name + Default>(bytes: &[u8], what: &'static str) -> Result<M, BadState> {
    let any: Any = decode(bytes, what)?;
    if any.type_url != M::type_url() {
        return Err(BadState::ClientType(any.type_url.into()));
    }
    decode(&any.value, what)
}

impl From<connection::Version> for ConnectionVersion {
    fn from(version: connection::Version) -> Self {
        Self { identifier: version.identifier, features: version.features }
    }
}

fn height(
    height: Option<ibc_proto::ibc::core::client::v1::Height>,
    field: &'static str,
) -> Result<Height, BadState> {
    let height = height.ok_or(BadState::Field(field))?;
    Ok(Height { revision_number: height.revision_number, revision_height: height.revision_height })
}

fn duration(
    duration: Option<tendermint_proto::google::protobuf::Duration>,
    field: &'static str,
) -> Result<Duration, BadState> {
    let read = || {
        let duration = duration?;
        let nanos = u32::try_from(duration.nanos).ok().filter(|n| *n < 1_000_000_000)?;
        Some(Duration::new(u64::try_from(duration.seconds).ok()?, nanos))
    };
    read().ok_or(BadState::Field(field))
}

fn handshake(state: i32) -> Result<HandshakeState, BadState> {
    Ok(match state {
        1 => HandshakeState::Init,
        2 => HandshakeState::TryOpen,
        3 => HandshakeState::Open,
        4 => HandshakeState::Closed,
        _ => return Err(BadState::Field("state")),
    })
}

impl ClientState {
    /// Reads a client's state.
    ///
    /// # Errors
    /// [`BadState`]; [`BadState::ClientType`] for a client of another kind.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadState> {
        let state: tendermint::ClientState = of_any(bytes, "client state")?;
        let trust = state.trust_level.ok_or(BadState::Field("trust_level"))?;
        // Class (a): a client that asks for no signatures, or for more than there are, is none.
        if trust.numerator == 0 || trust.numerator > trust.denominator {
            return Err(BadState::Field("trust_level"));
        }
        let frozen = height(state.frozen_height, "frozen_height").unwrap_or_default();
        let latest = height(state.latest_height, "latest_height")?;
        if latest.revision_height == 0 {
            return Err(BadState::Field("latest_height"));
        }
        Ok(Self {
            chain_id: state.chain_id,
            trust_level: (trust.numerator, trust.denominator),
            trusting_period: duration(state.trusting_period, "trusting_period")?,
            unbonding_period: duration(state.unbonding_period, "unbonding_period")?,
            max_clock_drift: duration(state.max_clock_drift, "max_clock_drift")?,
            has_known_proofs: state.proof_specs == [ics23::iavl_spec(), ics23::tendermint_spec()],
            frozen: (!frozen.is_zero()).then_some(frozen),
            latest,
        })
    }
}

impl ConsensusState {
    /// Reads what a client holds of a height.
    ///
    /// # Errors
    /// [`BadState`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BadState> {
        let state: tendermint::ConsensusState = of_any(bytes, "consensus state")?;
        let time = state.timestamp.ok_or(BadState::Field("timestamp"))?;
        let millis = u64::try_from(time.seconds)
            .ok()
            .and_then(|seconds| seconds.checked_mul(1000))
            .and_then(|millis| millis.checked_add(u64::try_from(time.nanos).ok()? / 1_000_000))
            .ok_or(BadState::Field("timestamp"))?;
        let root = state.root.ok_or(BadState::Field("root"))?.hash;
        let hash = |bytes: &[u8], field| B256::try_from(bytes).map_err(|_| BadState::Field(field));
        Ok(Self {
            time: UnixMillis(millis),
            root: (root != SENTINEL_ROOT).then(|| hash(&root, "root")).transpose()?,
            next_validators: hash(&state.next_validators_hash, "next_validators_hash")?,
        })
    }
}

impl ConnectionEnd {
    /// Reads a connection's end.
    ///
    /// # Errors
    /// [`BadState`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BadState> {
        let end: connection::ConnectionEnd = decode(bytes, "connection end")?;
        let there = end.counterparty.ok_or(BadState::Field("counterparty"))?;
        let counterparty = match there.connection_id.as_str() {
            "" => None,
            id => Some(id.parse()?),
        };
        Ok(Self {
            state: handshake(end.state)?,
            client: end.client_id.try_into()?,
            counterparty_client: there.client_id.try_into()?,
            counterparty,
            delay: Duration::from_nanos(end.delay_period),
            prefix: there.prefix.map(|prefix| prefix.key_prefix).unwrap_or_default().into(),
            versions: end.versions.into_iter().map(ConnectionVersion::from).collect(),
        })
    }
}

impl ChannelEnd {
    /// Reads a channel's end.
    ///
    /// # Errors
    /// [`BadState`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BadState> {
        let end: channel::Channel = decode(bytes, "channel end")?;
        let there = end.counterparty.ok_or(BadState::Field("counterparty"))?;
        let counterparty_channel = match there.channel_id.as_str() {
            "" => None,
            id => Some(id.parse()?),
        };
        let order = match end.ordering {
            1 => Order::Unordered,
            2 => Order::Ordered,
            _ => return Err(BadState::Field("ordering")),
        };
        let mut hops = end.connection_hops.into_iter();
        let (Some(connection), None) = (hops.next(), hops.next()) else {
            return Err(BadState::Field("connection_hops"));
        };
        Ok(Self {
            state: handshake(end.state)?,
            order,
            counterparty_port: there.port_id.try_into()?,
            counterparty_channel,
            connection: connection.try_into()?,
            version: end.version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_channel_end_is_read() {
        let wire = channel::Channel {
            state: 3,
            ordering: 1,
            counterparty: Some(channel::Counterparty {
                port_id: "transfer".into(),
                channel_id: "channel-7".into(),
            }),
            connection_hops: vec!["connection-1".into()],
            version: "ics20-1".into(),
            upgrade_sequence: 0,
        };
        let end = ChannelEnd::decode(&wire.encode_to_vec()).unwrap();
        assert_eq!((end.state, end.order), (HandshakeState::Open, Order::Unordered));
        assert_eq!(end.counterparty().unwrap().to_string(), "transfer/channel-7");
        let two = vec!["connection-1".to_owned(), "connection-2".to_owned()];
        let cases = [
            (channel::Channel { state: 0, ..wire.clone() }, "state"),
            (channel::Channel { ordering: 0, ..wire.clone() }, "ordering"),
            (channel::Channel { connection_hops: vec![], ..wire.clone() }, "connection_hops"),
            (channel::Channel { connection_hops: two, ..wire.clone() }, "connection_hops"),
            (channel::Channel { counterparty: None, ..wire }, "counterparty"),
        ];
        for (wire, field) in cases {
            assert_eq!(ChannelEnd::decode(&wire.encode_to_vec()), Err(BadState::Field(field)));
        }
    }

    fn client() -> tendermint::ClientState {
        let seconds =
            |seconds| Some(tendermint_proto::google::protobuf::Duration { seconds, nanos: 0 });
        let height = |revision_height| {
            Some(ibc_proto::ibc::core::client::v1::Height { revision_number: 1, revision_height })
        };
        tendermint::ClientState {
            chain_id: "chain-1".into(),
            trust_level: Some(tendermint::Fraction { numerator: 1, denominator: 3 }),
            trusting_period: seconds(20),
            unbonding_period: seconds(30),
            max_clock_drift: seconds(1),
            frozen_height: Some(Default::default()),
            latest_height: height(5),
            proof_specs: vec![ics23::iavl_spec(), ics23::tendermint_spec()],
            ..Default::default()
        }
    }

    fn read(state: &tendermint::ClientState) -> Result<ClientState, BadState> {
        let any =
            Any { type_url: tendermint::ClientState::type_url(), value: state.encode_to_vec() };
        ClientState::decode(&any.encode_to_vec())
    }

    /// Nothing can be proven by what an upgrade put there, and it is there all the same.
    #[test]
    fn an_upgrade_leaves_no_root() {
        let wire = |root: &[u8]| {
            let state = tendermint::ConsensusState {
                timestamp: Some(tendermint_proto::google::protobuf::Timestamp {
                    seconds: 7,
                    nanos: 0,
                }),
                root: Some(ibc_proto::ibc::core::commitment::v1::MerkleRoot {
                    hash: root.to_vec(),
                }),
                next_validators_hash: vec![9; 32],
            };
            let type_url = tendermint::ConsensusState::type_url();
            Any { type_url, value: state.encode_to_vec() }.encode_to_vec()
        };
        let read = |root: &[u8]| ConsensusState::decode(&wire(root)).map(|state| state.root);
        assert_eq!(read(b"sentinel_root"), Ok(None));
        assert_eq!(read(&[5; 32]), Ok(Some(B256::repeat_byte(5))));
        assert_eq!(read(b"sentinel_root_"), Err(BadState::Field("root")));
        assert_eq!(read(b""), Err(BadState::Field("root")));
    }

    /// Class (a): a threshold of nothing, or no height at all, is no client's.
    #[test]
    fn class_a_r5_a_client_has_a_threshold_and_a_height() {
        assert_eq!(read(&client()).unwrap().trust_level, (1, 3));
        let with = |trust| tendermint::ClientState { trust_level: trust, ..client() };
        let level = |numerator, denominator| Some(tendermint::Fraction { numerator, denominator });
        for trust in [None, level(0, 3), level(0, 0), level(1, 0), level(4, 3)] {
            assert_eq!(read(&with(trust)), Err(BadState::Field("trust_level")));
        }
        assert!(read(&with(level(1, 1))).is_ok());
        for latest_height in [None, Some(Default::default())] {
            let state = tendermint::ClientState { latest_height, ..client() };
            assert_eq!(read(&state), Err(BadState::Field("latest_height")));
        }
        let nothing = ClientState::decode(&[]);
        assert!(matches!(nothing, Err(BadState::ClientType(_))), "{nothing:?}");
    }

    /// Class (b): one that takes proofs of another form may be shown what its chain never said.
    #[test]
    fn class_b_proofs_of_other_forms_are_noticed() {
        assert!(read(&client()).unwrap().has_known_proofs);
        let (iavl, simple) = (ics23::iavl_spec(), ics23::tendermint_spec());
        let lax = ics23::ProofSpec { min_depth: 0, max_depth: 0, leaf_spec: None, ..iavl.clone() };
        for proof_specs in [
            vec![],
            vec![iavl.clone()],
            vec![simple.clone(), iavl.clone()],
            vec![lax, simple.clone()],
            vec![iavl, simple.clone(), simple],
        ] {
            let state = tendermint::ClientState { proof_specs, ..client() };
            assert!(!read(&state).unwrap().has_known_proofs);
        }
    }

    #[test]
    fn class_l_a_connection_is_standard_or_leads_nowhere() {
        let version = connection::Version {
            identifier: VERSION.into(),
            features: FEATURES.map(str::to_owned).to_vec(),
        };
        let prefix = |bytes: &[u8]| {
            Some(ibc_proto::ibc::core::commitment::v1::MerklePrefix { key_prefix: bytes.to_vec() })
        };
        let end = |prefix, versions| connection::ConnectionEnd {
            client_id: "07-tendermint-0".into(),
            versions,
            state: 1,
            counterparty: Some(connection::Counterparty {
                client_id: "07-tendermint-1".into(),
                connection_id: String::new(),
                prefix,
            }),
            delay_period: 7,
        };
        let other =
            connection::Version { features: vec!["ORDER_ORDERED".into()], ..version.clone() };
        let cases = [
            (end(prefix(b"ibc"), vec![version.clone()]), true),
            (end(prefix(b"ibc2"), vec![version.clone()]), false),
            (end(prefix(b""), vec![version.clone()]), false),
            (end(None, vec![version.clone()]), false),
            (end(prefix(b"ibc"), vec![]), false),
            (end(prefix(b"ibc"), vec![other]), false),
            (end(prefix(b"ibc"), vec![version.clone(), version]), false),
        ];
        for (wire, expected) in cases {
            let end = ConnectionEnd::decode(&wire.encode_to_vec()).unwrap();
            assert_eq!(end.is_standard(), expected, "{end:?}");
            assert_eq!((end.counterparty, end.delay), (None, Duration::from_nanos(7)));
        }
    }

    #[test]
    fn r10_what_is_too_long_is_not_read() {
        let long = vec![0; MAX_STATE_BYTES + 1];
        assert_eq!(ChannelEnd::decode(&long), Err(BadState::TooLong(long.len())));
    }

    #[test]
    fn a_client_of_another_kind_is_named() {
        let any = Any { type_url: "/ibc.lightclients.wasm.v1.ClientState".into(), value: vec![] };
        let read = ClientState::decode(&any.encode_to_vec());
        assert!(matches!(read, Err(BadState::ClientType(_))), "{read:?}");
    }

    proptest! {
        #[test]
        fn r10_no_bytes_are_too_strange(bytes: Vec<u8>) {
            let _ = ClientState::decode(&bytes);
            let _ = ConsensusState::decode(&bytes);
            let _ = ConnectionEnd::decode(&bytes);
            let _ = ChannelEnd::decode(&bytes);
        }
    }
}
