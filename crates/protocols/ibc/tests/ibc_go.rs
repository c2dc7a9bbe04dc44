//! What two of ibc-go's own chains were told, answered and stored (`tests/vectors/README.md`): our messages are
//! the bytes that they take, their events are read as what happened, and their store as what it holds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use alloy_primitives::hex;
use ibc_proto::{
    google::protobuf::Any,
    ibc::{
        applications::transfer::v1::MsgTransfer,
        core::{
            channel::v1 as channel,
            client::v1::{Height as WireHeight, MsgCreateClient},
            connection::v1 as connection,
        },
    },
};
use postrider_cosmos::{BlockEvents, Event, TxEvents};
use postrider_ibc::{
    Acknowledgement, ChannelEndId, ConnectionId, HandshakeState, Height, IbcEvent, Order, Packet,
    Timeout, acknowledgement_commitment,
    events::{HandshakeStep, SetupEvent, read, read_setup_events},
    messages::{self, NewChannel, Shown, Signer},
    paths,
    state::{ChannelEnd, ClientState, ConnectionEnd, ConsensusState},
    transfer::TransferData,
};
use prost::Message;
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

#[derive(Deserialize)]
struct Vectors {
    transactions: Vec<Transaction>,
    acknowledgements: Vec<Told>,
}

#[derive(Deserialize)]
struct Transaction {
    chain: String,
    name: String,
    messages: Vec<Told>,
    events: Vec<ToldEvent>,
    store: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Told {
    r#type: String,
    value: String,
}

#[derive(Deserialize, Clone)]
struct ToldEvent {
    kind: String,
    attributes: Vec<(String, String)>,
}

impl Transaction {
    fn events(&self) -> Vec<Event> {
        let own = |event: &ToldEvent| Event {
            kind: event.kind.clone(),
            attributes: event.attributes.clone(),
        };
        self.events.iter().map(own).collect()
    }

    fn stored(&self, key: &str) -> Option<Vec<u8>> {
        self.store.get(key).map(|value| hex::decode(value).unwrap())
    }

    /// What our reader makes of it, in a block with no other.
    fn told(&self) -> Vec<IbcEvent> {
        let transaction = TxEvents {
            code: 0,
            codespace: String::new(),
            log: "".into(),
            gas_wanted: 0,
            gas_used: 0,
            idle: false,
            events: self.events(),
        };
        let height = postrider_message::Height(1);
        let told = read(&BlockEvents { height, transactions: vec![transaction], block: vec![] });
        assert_eq!(told.malformed, 0, "{}", self.name);
        told.events.into_iter().map(|seen| seen.event).collect()
    }
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/ibc-go.json")).unwrap()
}

fn named(name: &str) -> Vec<Transaction> {
    // Before a step the test chains are told of each other's newest block.
    let is_meant = |tx: &Transaction| {
        let is_update = tx.messages.iter().any(|told| told.r#type.ends_with("MsgUpdateClient"));
        tx.name == name && is_update == (name == "update_client")
    };
    let found: Vec<_> = vectors().transactions.into_iter().filter(is_meant).collect();
    assert!(!found.is_empty(), "no {name}");
    found
}

fn decode<M: Message + Default>(told: &Told) -> M {
    M::decode(hex::decode(&told.value).unwrap().as_slice()).unwrap()
}

fn height(height: Option<WireHeight>) -> Height {
    let height = height.unwrap_or_default();
    Height { revision_number: height.revision_number, revision_height: height.revision_height }
}

fn shown(proof: Vec<u8>, at: Option<WireHeight>) -> Shown {
    Shown { proof, height: height(at) }
}

fn end(port: &str, channel: &str) -> ChannelEndId {
    format!("{port}/{channel}").parse().unwrap()
}

/// Our message for what ibc-go's own relayer said.
fn ours(told: &Told) -> Option<Any> {
    let kind = told.r#type.rsplit('.').next().unwrap();
    Some(match kind {
        "MsgConnectionOpenInit" => {
            let m: connection::MsgConnectionOpenInit = decode(told);
            let there = m.counterparty.unwrap().client_id.parse().unwrap();
            let delay = Duration::from_nanos(m.delay_period);
            messages::connection_open_init(
                &m.client_id.parse().unwrap(),
                &there,
                delay,
                Signer(&m.signer),
            )
        }
        "MsgConnectionOpenTry" => {
            let m: connection::MsgConnectionOpenTry = decode(told);
            let counterparty = m.counterparty.unwrap();
            let there = ConnectionEnd {
                state: HandshakeState::Init,
                client: counterparty.client_id.parse().unwrap(),
                counterparty_client: m.client_id.parse().unwrap(),
                counterparty: None,
                delay: Duration::from_nanos(m.delay_period),
                prefix: "ibc".into(),
                versions: vec![],
            };
            let id: ConnectionId = counterparty.connection_id.parse().unwrap();
            messages::connection_open_try(
                &there,
                &id,
                &shown(m.proof_init, m.proof_height),
                Signer(&m.signer),
            )
        }
        "MsgConnectionOpenAck" => {
            let m: connection::MsgConnectionOpenAck = decode(told);
            let (here, there) =
                (m.connection_id.parse().unwrap(), m.counterparty_connection_id.parse().unwrap());
            messages::connection_open_ack(
                &here,
                &there,
                &shown(m.proof_try, m.proof_height),
                Signer(&m.signer),
            )
        }
        "MsgConnectionOpenConfirm" => {
            let m: connection::MsgConnectionOpenConfirm = decode(told);
            let here = m.connection_id.parse().unwrap();
            messages::connection_open_confirm(
                &here,
                &shown(m.proof_ack, m.proof_height),
                Signer(&m.signer),
            )
        }
        "MsgTransfer" => {
            let m: MsgTransfer = decode(told);
            let token = m.token.unwrap();
            let timeout =
                Timeout { height: height(m.timeout_height), nanoseconds: m.timeout_timestamp };
            let over = end(&m.source_port, &m.source_channel);
            let token = (token.amount.parse().unwrap(), token.denom.as_str());
            messages::transfer(&over, token, &m.receiver, timeout, &m.memo, Signer(&m.sender))
        }
        _ => return ours_of_channels(kind, told),
    })
}

fn ours_of_channels(kind: &str, told: &Told) -> Option<Any> {
    Some(match kind {
        "MsgChannelOpenInit" => {
            let m: channel::MsgChannelOpenInit = decode(told);
            let of = m.channel.unwrap();
            let new = NewChannel {
                port: m.port_id.parse().unwrap(),
                counterparty_port: of.counterparty.unwrap().port_id.parse().unwrap(),
                order: if of.ordering == 1 { Order::Unordered } else { Order::Ordered },
                version: of.version,
            };
            messages::channel_open_init(
                &new,
                &of.connection_hops[0].parse().unwrap(),
                Signer(&m.signer),
            )
        }
        "MsgChannelOpenTry" => {
            let m: channel::MsgChannelOpenTry = decode(told);
            let of = m.channel.unwrap();
            let counterparty = of.counterparty.unwrap();
            let there = ChannelEnd {
                state: HandshakeState::Init,
                order: if of.ordering == 1 { Order::Unordered } else { Order::Ordered },
                counterparty_port: m.port_id.parse().unwrap(),
                counterparty_channel: None,
                connection: "connection-77".parse().unwrap(),
                version: m.counterparty_version,
            };
            let id = end(&counterparty.port_id, &counterparty.channel_id);
            let over = of.connection_hops[0].parse().unwrap();
            messages::channel_open_try(
                &there,
                &id,
                &over,
                &shown(m.proof_init, m.proof_height),
                Signer(&m.signer),
            )
        }
        "MsgChannelOpenAck" => {
            let m: channel::MsgChannelOpenAck = decode(told);
            let here = end(&m.port_id, &m.channel_id);
            let there = end("transfer", &m.counterparty_channel_id);
            let of = ChannelEnd {
                state: HandshakeState::TryOpen,
                order: Order::Unordered,
                counterparty_port: here.port.clone(),
                counterparty_channel: Some(here.channel.clone()),
                connection: "connection-77".parse().unwrap(),
                version: m.counterparty_version,
            };
            messages::channel_open_ack(
                &here,
                (&there, &of),
                &shown(m.proof_try, m.proof_height),
                Signer(&m.signer),
            )
        }
        "MsgChannelOpenConfirm" => {
            let m: channel::MsgChannelOpenConfirm = decode(told);
            let here = end(&m.port_id, &m.channel_id);
            messages::channel_open_confirm(
                &here,
                &shown(m.proof_ack, m.proof_height),
                Signer(&m.signer),
            )
        }
        "MsgChannelCloseInit" => {
            let m: channel::MsgChannelCloseInit = decode(told);
            messages::channel_close_init(&end(&m.port_id, &m.channel_id), Signer(&m.signer))
        }
        "MsgChannelCloseConfirm" => {
            let m: channel::MsgChannelCloseConfirm = decode(told);
            let here = end(&m.port_id, &m.channel_id);
            messages::channel_close_confirm(
                &here,
                &shown(m.proof_init, m.proof_height),
                Signer(&m.signer),
            )
        }
        _ => return ours_of_packets(kind, told),
    })
}

fn ours_of_packets(kind: &str, told: &Told) -> Option<Any> {
    let packet = |wire: Option<channel::Packet>| Packet::from_wire(wire.unwrap()).unwrap();
    Some(match kind {
        "MsgRecvPacket" => {
            let m: channel::MsgRecvPacket = decode(told);
            messages::receive(
                &packet(m.packet),
                &shown(m.proof_commitment, m.proof_height),
                Signer(&m.signer),
            )
        }
        "MsgAcknowledgement" => {
            let m: channel::MsgAcknowledgement = decode(told);
            let shown = shown(m.proof_acked, m.proof_height);
            messages::acknowledge(&packet(m.packet), &m.acknowledgement, &shown, Signer(&m.signer))
        }
        "MsgTimeout" => {
            let m: channel::MsgTimeout = decode(told);
            let next = m.next_sequence_recv.try_into().unwrap();
            messages::time_out(
                &packet(m.packet),
                next,
                &shown(m.proof_unreceived, m.proof_height),
                Signer(&m.signer),
            )
        }
        "MsgTimeoutOnClose" => {
            let m: channel::MsgTimeoutOnClose = decode(told);
            let next = m.next_sequence_recv.try_into().unwrap();
            let unreceived = shown(m.proof_unreceived, m.proof_height);
            messages::time_out_on_close(
                &packet(m.packet),
                next,
                &unreceived,
                m.proof_close,
                Signer(&m.signer),
            )
        }
        _ => return None,
    })
}

/// The bytes of ibc-go's own relayer, but for two things. It lets the chain choose the connection's version; we name
/// the one there is, so that an end which was begun by us is as wanted on every chain. And Go writes a height down
/// that nobody looks at any more, though it is empty.
#[allow(deprecated, reason = "the message has no other form")]
fn expected(told: &Told) -> String {
    let bytes = match told.r#type.rsplit('.').next().unwrap() {
        "MsgConnectionOpenInit" => {
            let version = connection::Version {
                identifier: "1".to_owned(),
                features: vec!["ORDER_ORDERED".to_owned(), "ORDER_UNORDERED".to_owned()],
            };
            let mut message: connection::MsgConnectionOpenInit = decode(told);
            assert_eq!(message.version.replace(version), None);
            message.encode_to_vec()
        }
        "MsgConnectionOpenTry" => {
            let mut message: connection::MsgConnectionOpenTry = decode(told);
            assert_eq!(message.consensus_height.take(), Some(WireHeight::default()));
            message.encode_to_vec()
        }
        "MsgConnectionOpenAck" => {
            let mut message: connection::MsgConnectionOpenAck = decode(told);
            assert_eq!(message.consensus_height.take(), Some(WireHeight::default()));
            message.encode_to_vec()
        }
        _ => return told.value.clone(),
    };
    hex::encode(bytes)
}

#[test]
fn our_messages_are_the_bytes_of_ibc_gos() {
    let mut kinds: Vec<String> = Vec::new();
    for told in vectors().transactions.iter().flat_map(|tx| &tx.messages) {
        let Some(ours) = ours(told) else { continue };
        assert_eq!(ours.type_url, told.r#type);
        assert_eq!(hex::encode(ours.value), expected(told), "{}", told.r#type);
        kinds.push(told.r#type.rsplit('.').next().unwrap().to_owned());
    }
    kinds.sort();
    kinds.dedup();
    let expected = [
        "MsgAcknowledgement",
        "MsgChannelCloseConfirm",
        "MsgChannelCloseInit",
        "MsgChannelOpenAck",
        "MsgChannelOpenConfirm",
        "MsgChannelOpenInit",
        "MsgChannelOpenTry",
        "MsgConnectionOpenAck",
        "MsgConnectionOpenConfirm",
        "MsgConnectionOpenInit",
        "MsgConnectionOpenTry",
        "MsgRecvPacket",
        "MsgTimeout",
        "MsgTimeoutOnClose",
        "MsgTransfer",
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn handshakes_are_read_as_the_store_has_them() {
    use HandshakeStep::{Ack, Confirm, Init, Try};
    let cases = [
        ("connection_open_init", Init, HandshakeState::Init),
        ("connection_open_try", Try, HandshakeState::TryOpen),
        ("connection_open_ack", Ack, HandshakeState::Open),
        ("connection_open_confirm", Confirm, HandshakeState::Open),
        ("channel_open_init", Init, HandshakeState::Init),
        ("channel_open_try", Try, HandshakeState::TryOpen),
        ("channel_open_ack", Ack, HandshakeState::Open),
        ("channel_open_confirm", Confirm, HandshakeState::Open),
    ];
    for (name, expected, state) in cases {
        let transaction = &named(name)[0];
        let (events, malformed) = read_setup_events(&transaction.events());
        assert_eq!(malformed, 0, "{name}");
        let step = events.iter().find(|e| !matches!(e, SetupEvent::ClientUpdated { .. })).unwrap();
        match step {
            SetupEvent::Connection { step, id, client, counterparty_client, counterparty } => {
                assert_eq!(*step, expected, "{name}");
                let end = transaction.stored(&paths::connection(id)).unwrap();
                let end = ConnectionEnd::decode(&end).unwrap();
                assert!(end.is_standard(), "{end:?}");
                let told = (state, client, counterparty_client, counterparty);
                assert_eq!(
                    (end.state, &end.client, &end.counterparty_client, &end.counterparty),
                    told
                );
            }
            SetupEvent::Channel { step, end: id, connection, counterparty_port, counterparty } => {
                assert_eq!(*step, expected, "{name}");
                let end =
                    ChannelEnd::decode(&transaction.stored(&paths::channel(id)).unwrap()).unwrap();
                let told = (state, connection, counterparty_port, counterparty);
                assert_eq!(
                    (end.state, &end.connection, &end.counterparty_port, &end.counterparty_channel),
                    told
                );
                assert_eq!((end.order, end.version.as_str()), (Order::Unordered, "ics20-1"));
                assert!(
                    matches!(&transaction.told()[..], [IbcEvent::ChannelChanged(told)] if told == id)
                );
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn clients_are_read() {
    for transaction in named("create_client") {
        let (events, _) = read_setup_events(&transaction.events());
        let [SetupEvent::ClientCreated { client, height }] = &events[..] else {
            panic!("{events:?}")
        };
        let state = transaction.stored(&paths::client_state(client)).unwrap();
        let state = ClientState::decode(&state).unwrap();
        assert_eq!((state.latest, state.frozen), (*height, None));
        assert_eq!(Height::on_chain(&state.chain_id, height.revision_height), *height);
        assert!(state.has_known_proofs && state.trusting_period < state.unbonding_period);
        let created: MsgCreateClient = decode(&transaction.messages[0]);
        assert_eq!(ClientState::decode(&created.client_state.unwrap().encode_to_vec()), Ok(state));
        ConsensusState::decode(&created.consensus_state.unwrap().encode_to_vec()).unwrap();
    }
    let updated = &named("update_client")[0];
    let (events, _) = read_setup_events(&updated.events());
    let [SetupEvent::ClientUpdated { client, heights }] = &events[..] else { panic!("{events:?}") };
    let state =
        ClientState::decode(&updated.stored(&paths::client_state(client)).unwrap()).unwrap();
    assert_eq!(heights, &[state.latest]);
}

#[test]
fn packets_are_what_the_store_commits_to() {
    let mut sent = Vec::new();
    for transaction in named("transfer") {
        let [IbcEvent::Sent(packet)] = &transaction.told()[..] else { panic!() };
        let key = paths::commitment(&packet.source, packet.sequence);
        assert_eq!(transaction.stored(&key).as_deref(), Some(packet.commitment().as_slice()));
        assert_eq!(paths::parse_commitment(&key), Ok((packet.source.clone(), packet.sequence)));
        let next = transaction.stored(&paths::next_sequence_send(&packet.source)).unwrap();
        assert_eq!(next, (packet.sequence.get() + 1).to_be_bytes());
        let data = TransferData::parse(&packet.data).unwrap();
        assert_eq!(data.denom.to_string(), "stake");
        sent.push(packet.clone());
    }
    assert_eq!(sent.len(), 3);
    let timeouts: Vec<bool> = sent.iter().map(|packet| packet.timeout.height.is_zero()).collect();
    assert_eq!(timeouts, [false, true, false]);
}

#[test]
fn what_became_of_packets_is_read() {
    let mut refused = Vec::new();
    for transaction in named("receive") {
        let [
            IbcEvent::Received(packet),
            IbcEvent::AcknowledgementWritten { packet: same, acknowledgement },
        ] = &transaction.told()[..]
        else {
            panic!("{:?}", transaction.told())
        };
        assert_eq!(packet, same);
        let (at, number) = (&packet.destination, packet.sequence);
        assert!(transaction.stored(&paths::receipt(at, number)).is_some());
        let committed = transaction.stored(&paths::acknowledgement(at, number)).unwrap();
        assert_eq!(committed, acknowledgement_commitment(acknowledgement).as_slice());
        refused.push(matches!(Acknowledgement::read(acknowledgement), Acknowledgement::Error(_)));
    }
    assert_eq!(refused, [false, true]);
    for transaction in named("acknowledge") {
        let [IbcEvent::Acknowledged(place)] = &transaction.told()[..] else { panic!() };
        assert_eq!(transaction.stored(&paths::commitment(&place.source, place.sequence)), None);
    }
    let [IbcEvent::TimedOut(place)] = &named("timeout")[0].told()[..] else { panic!() };
    assert_eq!(place.sequence.get(), 3);
}

#[test]
fn an_ordered_channel_closes_with_its_first_timeout() {
    for name in ["timeout_ordered", "timeout_on_close"] {
        let transaction = &named(name)[0];
        let told = transaction.told();
        let closed = told.iter().find_map(|event| match event {
            IbcEvent::ChannelChanged(end) => Some(end),
            _ => None,
        });
        let closed = closed.unwrap_or_else(|| panic!("{told:?}"));
        assert!(told.iter().any(|event| matches!(event, IbcEvent::TimedOut(_))), "{told:?}");
        let end =
            ChannelEnd::decode(&transaction.stored(&paths::channel(closed)).unwrap()).unwrap();
        assert_eq!((end.state, end.order), (HandshakeState::Closed, Order::Ordered));
        assert_eq!(
            transaction.stored(&paths::next_sequence_recv(closed)).unwrap(),
            1u64.to_be_bytes()
        );
        assert_eq!(
            transaction.stored(&paths::next_sequence_ack(closed)).unwrap(),
            1u64.to_be_bytes()
        );
    }
    for name in ["channel_close_init", "channel_close_confirm"] {
        let transaction = &named(name)[0];
        let (events, _) = read_setup_events(&transaction.events());
        let is_close = |e: &SetupEvent| {
            matches!(
                e,
                SetupEvent::Channel { step: HandshakeStep::Close, counterparty: Some(_), .. }
            )
        };
        assert!(events.iter().any(is_close), "{events:?}");
    }
}

/// Class (n): each is read, since it is in the one form in which ibc-go writes it.
#[test]
fn class_n_acknowledgements_are_read_as_ibc_go_writes_them() {
    for told in vectors().acknowledgements {
        let written = hex::decode(&told.value).unwrap();
        let expected = match told.r#type.split_once(' ').unwrap() {
            ("error", text) => Acknowledgement::Error(text.to_owned()),
            (_, result) => Acknowledgement::Result(hex::decode(result).unwrap().into()),
        };
        assert_eq!(
            Acknowledgement::read(&written),
            expected,
            "{}",
            String::from_utf8_lossy(&written)
        );
    }
}

/// Both chains took part, and nothing was lost on the way to this file.
#[test]
fn the_vectors_are_of_two_chains() {
    let chains: Vec<String> = vectors().transactions.into_iter().map(|tx| tx.chain).collect();
    assert!(chains.contains(&"a".to_owned()) && chains.contains(&"b".to_owned()));
}
