use super::*;
use crate::{
    contracts::{self, EndpointV2},
    deployment::Deployments,
    wire::{Address32, Eid, OptionsBuilder, PacketNonce},
};
use alloy_primitives::U256;
use alloy_sol_types::SolValue;
use postrider_message::{
    BlockHash, BlockRef, Certainty, Height, MessageId, NetworkName, Observation, Payload as Body,
    Subject, TxHash, UnixMillis,
};
use postrider_verification::{Answer, QuorumPolicy, quorum::read};
use std::collections::BTreeMap;

const DVN: Address = Address::repeat_byte(0xd1);
const OTHER_DVN: Address = Address::repeat_byte(0xd2);
const LIBRARY: Address = Address::repeat_byte(0x1b);
const OAPP: Address = Address::repeat_byte(0xa0);
const NONCE: u64 = 5;

fn deployment(eid: u32) -> Deployment {
    Deployment {
        eid: Eid(eid),
        endpoint: Address::repeat_byte(0xee),
        send_libraries: vec![],
        receive_libraries: vec![LIBRARY],
        dvn: Some(DVN),
        executor: Some(Address::repeat_byte(0xec)),
    }
}

fn name(text: &str) -> NetworkName {
    text.parse().unwrap()
}

fn message(options: Bytes) -> Message {
    let deployments = Deployments::new(BTreeMap::from([
        (name("alpha"), deployment(30_901)),
        (name("beta"), deployment(30_902)),
    ]))
    .unwrap();
    let header = PacketHeader {
        nonce: PacketNonce::new(NONCE).unwrap(),
        src_eid: Eid(30_901),
        sender: Address32::from(OAPP),
        dst_eid: Eid(30_902),
        receiver: Address32::from(OAPP),
    };
    let mut bytes = header.guid().0.to_vec();
    bytes.extend_from_slice(b"hello");
    Message {
        lane: deployments.lane(&header).unwrap(),
        nonce: MessageNonce(NONCE),
        payload: Body::Known {
            bytes: bytes.into(),
            hash: postrider_message::PayloadHash(header.payload_hash(b"hello").0),
        },
        options,
        reference: Some(header.guid().0),
    }
}

/// The destination as a test wants it; by default one at which the duty can go.
struct Chain {
    library: Address,
    config: UlnConfig,
    lazy: u64,
    inbound: u64,
    next: u64,
    committed: B256,
    attested: Option<u64>,
    commit: Result<(), Vec<u8>>,
    receive: Result<(), Vec<u8>>,
    silent: bool,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            library: LIBRARY,
            config: UlnConfig {
                confirmations: 3,
                requiredDVNCount: 2,
                optionalDVNCount: 0,
                optionalDVNThreshold: 0,
                requiredDVNs: vec![DVN, OTHER_DVN],
                optionalDVNs: vec![],
            },
            lazy: 4,
            inbound: 4,
            next: 0,
            committed: B256::ZERO,
            attested: None,
            commit: Ok(()),
            receive: Ok(()),
            silent: false,
        }
    }
}

impl Chain {
    fn answer(&self, question: &Question) -> CallOutcome {
        let outcome = |result: &Result<(), Vec<u8>>| match result {
            Ok(()) => CallOutcome::Returned(Bytes::new()),
            Err(data) => CallOutcome::Reverted(data.clone().into()),
        };
        if self.silent {
            return CallOutcome::Returned(Bytes::new());
        }
        CallOutcome::Returned(Bytes::from(match question {
            Question::ReceiveLibrary(_) => (self.library, true).abi_encode_params(),
            Question::Config(..) => self.config.abi_encode(),
            Question::LazyNonce(_) => self.lazy.abi_encode(),
            Question::InboundNonce(_) => self.inbound.abi_encode(),
            Question::NextNonce(_) => self.next.abi_encode(),
            Question::Committed(..) => self.committed.abi_encode(),
            Question::Attested(..) => {
                (self.attested.is_some(), self.attested.unwrap_or(0)).abi_encode_params()
            }
            Question::Commit(..) => return outcome(&self.commit),
            Question::Receive(_) => return outcome(&self.receive),
            Question::Vid(_) => 902u32.abi_encode(),
            Question::Quorum(_) => 2u64.abi_encode(),
            other => panic!("{other:?} is not for planning"),
        }))
    }
}

fn record(fact: Fact) -> FactRecord {
    FactRecord {
        subject: Subject {
            lane: message(Bytes::new()).lane.id(),
            nonce: MessageNonce(NONCE),
            payload: None,
        },
        fact,
        observation: Observation {
            network: name("beta"),
            block: BlockRef { height: Height(1), hash: BlockHash(B256::ZERO) },
            index: 0,
            transaction: TxHash(B256::ZERO),
        },
        certainty: Certainty::Hinted,
        at: UnixMillis(0),
    }
}

fn attested_by(dvn: Address) -> FactRecord {
    record(Fact::Attested { by: text(dvn), confirmations: Confirmations(3) })
}

fn options() -> Bytes {
    OptionsBuilder::new().lz_receive(100_000, 0).build().unwrap()
}

fn decide_with(
    kind: DutyKind,
    depth: u64,
    facts: &[FactRecord],
    options: Bytes,
    chain: &Chain,
) -> Action {
    let message = message(options);
    let duty = Duty {
        message: MessageId(B256::ZERO),
        kind,
        network: name("beta"),
        worker: text(DVN),
        state: DutyState::Waiting(Reason::AwaitingPlan),
        attempts: 0,
        not_before: UnixMillis(0),
    };
    let job = Job {
        duty: &duty,
        message: &message,
        facts,
        depth: Confirmations(depth),
        min_confirmations: Confirmations(2),
    };
    let here = deployment(30_902);
    let asked = questions(&[job], &here);
    let operator = "a".parse().unwrap();
    let policy = QuorumPolicy::new([&operator], 1).unwrap();
    let answers = [Answer {
        upstream: "a".parse().unwrap(),
        operator: "a".parse().unwrap(),
        value: Some(asked.iter().map(|q| Some(chain.answer(q))).collect::<Vec<_>>()),
    }];
    let at = BlockRef { height: Height(9), hash: BlockHash(B256::ZERO) };
    let view = match read(&policy, at, asked.len(), &answers) {
        Ok((reading, _)) => View::new(asked, &reading),
        Err(_) => View::empty(),
    };
    plan(&[job], &view, &here).remove(0).action
}

/// The code of the reason with which a duty does not go now.
fn reason(action: &Action) -> &'static str {
    match action {
        Action::Become(state) => state.reason().map_or("done", Reason::code),
        Action::TryLater(reason) => reason.code(),
        Action::Attest { .. } => "attest",
        Action::Send(_) => "send",
    }
}

fn attest_at(depth: u64, chain: &Chain) -> Action {
    decide_with(DutyKind::Attest, depth, &[], options(), chain)
}

#[test]
fn an_attestation_goes_when_the_receiver_counts_us_and_the_depth_is_there() {
    let expected = Action::Attest {
        target: DvnTarget { vid: Vid(902), library: LIBRARY },
        needed: Confirmations(3),
    };
    assert_eq!(attest_at(3, &Chain::default()), expected);
    for (depth, code) in [(0, "awaiting_confirmations"), (2, "awaiting_confirmations")] {
        assert_eq!(reason(&attest_at(depth, &Chain::default())), code, "{depth}");
    }
    // The operator's floor holds where the receiver asks for less.
    let mut shallow = Chain::default();
    shallow.config.confirmations = 1;
    assert!(matches!(attest_at(2, &shallow), Action::Attest { needed: Confirmations(2), .. }));
}

/// R5, class (m): zero thresholds, the zero address, nobody.
#[test]
fn r5_m_an_unsafe_receive_side_is_not_attested_for() {
    let change: [fn(&mut UlnConfig); 3] = [
        |config| config.confirmations = 0,
        |config| config.requiredDVNs.clear(),
        |config| config.requiredDVNs.push(Address::ZERO),
    ];
    for change in change {
        let mut chain = Chain::default();
        change(&mut chain.config);
        assert_eq!(reason(&attest_at(9, &chain)), "unsafe_configuration", "{:?}", chain.config);
    }
}

/// Class (j): another library version, another verifier.
#[test]
fn j_only_pinned_libraries_and_our_own_dvn() {
    let other = Chain { library: Address::repeat_byte(9), ..Chain::default() };
    assert_eq!(reason(&attest_at(9, &other)), "library_not_pinned");
    let mut stranger = Chain::default();
    stranger.config.requiredDVNs = vec![OTHER_DVN];
    assert_eq!(reason(&attest_at(9, &stranger)), "attester_not_counted");
}

#[test]
fn what_the_destination_has_is_not_sent_again() {
    let hash = B256::from(message(options()).payload.hash().0);
    for chain in [
        Chain { attested: Some(3), ..Chain::default() },
        Chain { committed: hash, ..Chain::default() },
        Chain { lazy: NONCE, ..Chain::default() },
    ] {
        assert_eq!(reason(&attest_at(9, &chain)), "awaiting_finality");
    }
    // Attested less deeply than the receiver asks for by now: again.
    let shallow = Chain { attested: Some(1), ..Chain::default() };
    assert_eq!(reason(&attest_at(9, &shallow)), "attest");
}

/// R5: an empty answer is no answer.
#[test]
fn r5_a_empty_answers_decide_nothing() {
    let silent = Chain { silent: true, ..Chain::default() };
    for kind in [DutyKind::Attest, DutyKind::Execute] {
        let facts = [record(Fact::Committed), attested_by(DVN)];
        let action = decide_with(kind, 9, &facts, options(), &silent);
        assert_eq!(reason(&action), "simulation_failed", "{kind}");
    }
}

#[test]
fn a_commit_waits_for_attestations_and_counts_them() {
    let commit = |facts: &[FactRecord], chain: &Chain| {
        decide_with(DutyKind::Commit, 9, facts, options(), chain)
    };
    assert_eq!(reason(&commit(&[], &Chain::default())), "awaiting_attestations");
    assert_eq!(reason(&commit(&[attested_by(DVN)], &Chain::default())), "send");
    let verifying =
        Chain { commit: Err(ReceiveUln302::LZ_ULN_Verifying {}.abi_encode()), ..Chain::default() };
    let waiting = commit(&[attested_by(DVN), attested_by(Address::repeat_byte(7))], &verifying);
    let expected = Reason::AwaitingAttestations { present: 1, needed: 2 };
    assert_eq!(waiting, Action::Become(DutyState::Waiting(expected)));
    let closed = Chain {
        commit: Err(EndpointV2::LZ_PathNotInitializable {}.abi_encode()),
        ..Chain::default()
    };
    assert_eq!(reason(&commit(&[attested_by(DVN)], &closed)), "lane_not_initialised");
}

#[test]
fn an_execution_waits_for_lower_nonces_and_for_order() {
    let hash = B256::from(message(options()).payload.hash().0);
    let ready = || Chain { committed: hash, inbound: NONCE, ..Chain::default() };
    let execute = |options: Bytes, chain: &Chain| {
        decide_with(DutyKind::Execute, 9, &[record(Fact::Committed)], options, chain)
    };
    assert_eq!(reason(&execute(options(), &ready())), "send");
    let gap = Chain { inbound: 3, ..ready() };
    assert_eq!(
        execute(options(), &gap),
        Action::Become(DutyState::Waiting(Reason::LowerNonceNotCommitted {
            nonce: MessageNonce(4)
        }))
    );
    let ordered_app = Chain { next: 4, ..ready() };
    assert_eq!(reason(&execute(options(), &ordered_app)), "lower_nonce_not_executed");
    let ordered = OptionsBuilder::new().lz_receive(1, 0).ordered().build().unwrap();
    assert_eq!(
        reason(&execute(ordered.clone(), &Chain { lazy: 3, ..ready() })),
        "lower_nonce_not_executed"
    );
    assert_eq!(reason(&execute(ordered, &ready())), "send");
    let nothing = Chain { committed: B256::repeat_byte(0xff), ..ready() };
    assert_eq!(reason(&execute(options(), &nothing)), "awaiting_commit");
    let refusing = Chain { receive: Err(vec![]), ..ready() };
    assert_eq!(reason(&execute(options(), &refusing)), "receiver_reverted");
}

#[test]
fn the_gas_asked_for_reaches_the_receiver() {
    let hash = B256::from(message(options()).payload.hash().0);
    let ready = Chain { committed: hash, inbound: NONCE, ..Chain::default() };
    let action = decide_with(DutyKind::Execute, 9, &[record(Fact::Committed)], options(), &ready);
    let Action::Send(payload) = action else { panic!("{action:?}") };
    let call = contracts::Executor::execute302Call::abi_decode(&payload.data).unwrap();
    let inner = call.executionParams.gasLimit.to::<u64>();
    assert!(inner >= 100_000 * 64 / 63 + 19_000, "{inner}");
    assert!(payload.gas_limit > inner * 64 / 63);
    assert_eq!(payload.value, U256::ZERO);
    assert_eq!(call.executionParams.message, Bytes::from_static(b"hello"));
}

/// Class (e): the value sent is what the options ask for, to the wei.
#[test]
fn e_value_and_native_drops_are_sent_along_to_the_wei() {
    let hash = B256::from(message(options()).payload.hash().0);
    let ready = Chain { committed: hash, inbound: NONCE, ..Chain::default() };
    let options = OptionsBuilder::new()
        .lz_receive(100_000, 7)
        .native_drop(11, Address32::from(OAPP))
        .native_drop(13, Address32::from(DVN))
        .build()
        .unwrap();
    let facts = [record(Fact::Committed)];
    let action = decide_with(DutyKind::Execute, 9, &facts, options, &ready);
    let Action::Send(payload) = action else { panic!("{action:?}") };
    assert_eq!(payload.value, U256::from(31));
    let call = contracts::Executor::nativeDropAndExecute302Call::abi_decode(&payload.data).unwrap();
    let drops: Vec<_> = call.nativeDropParams.iter().map(|d| (d.receiver, d.amount)).collect();
    assert_eq!(drops, [(OAPP, U256::from(11)), (DVN, U256::from(13))]);
}

#[test]
fn what_options_ask_beyond_our_means_is_held_with_the_reason() {
    let compose = OptionsBuilder::new().lz_receive(1, 0).compose(0, 1, 0).build().unwrap();
    let nobody = Address32(B256::repeat_byte(0xff));
    let drop = OptionsBuilder::new().lz_receive(1, 0).native_drop(1, nobody).build().unwrap();
    let huge = OptionsBuilder::new().lz_receive(u128::MAX, 0).build().unwrap();
    for options in [compose, drop, huge, Bytes::new(), Bytes::from_static(&[9, 9, 9])] {
        let facts = [record(Fact::Committed)];
        let action = decide_with(DutyKind::Execute, 9, &facts, options, &Chain::default());
        assert!(matches!(action, Action::Become(DutyState::Held(_))), "{action:?}");
        assert_eq!(reason(&action), "options_not_supported");
    }
}
