use super::*;
use crate::{
    batch::BatchDelivery,
    contracts::{self, EndpointV2, ReceiveUln302, UlnConfig},
    decode::text,
    deployment::Deployments,
    dvn::Vid,
    view::Asked,
    wire::{Address32, Eid, OptionsBuilder, PacketNonce},
};
use alloy_primitives::{U256, keccak256};
use alloy_sol_types::{SolCall, SolError, SolValue};
use postrider_evm::{CallOutcome, Sequence, Simulated};
use postrider_message::{
    BlockHash, BlockRef, Certainty, Height, MessageNonce, NetworkName, Observation,
    Payload as Body, Subject, TxHash,
};
use postrider_verification::{Answer, QuorumPolicy, Reading, quorum::read};
use std::collections::BTreeMap;

const DVN: Address = Address::repeat_byte(0xd1);
const OTHER_DVN: Address = Address::repeat_byte(0xd2);
const LIBRARY: Address = Address::repeat_byte(0x1b);
const OAPP: Address = Address::repeat_byte(0xa0);
const ENDPOINT: Address = Address::repeat_byte(0xee);
const COMPOSER: Address = Address::repeat_byte(0xc0);
const NONCE: u64 = 5;

fn deployment(eid: u32) -> Deployment {
    Deployment {
        eid: Eid(eid),
        endpoint: ENDPOINT,
        send_libraries: vec![],
        receive_libraries: vec![LIBRARY],
        dvn: Some(DVN),
        executor: Some(Address::repeat_byte(0xec)),
        batch: None,
        tokens: vec![],
    }
}

fn name(text: &str) -> NetworkName {
    text.parse().unwrap()
}

fn message(options: Bytes) -> Message {
    message_at(NONCE, options)
}

fn message_at(nonce: u64, options: Bytes) -> Message {
    let deployments = Deployments::new(BTreeMap::from([
        (name("alpha"), deployment(30_901)),
        (name("beta"), deployment(30_902)),
    ]))
    .unwrap();
    let header = PacketHeader {
        nonce: PacketNonce::new(nonce).unwrap(),
        src_eid: Eid(30_901),
        sender: Address32::from(OAPP),
        dst_eid: Eid(30_902),
        receiver: Address32::from(OAPP),
    };
    let mut bytes = header.guid().0.to_vec();
    bytes.extend_from_slice(b"hello");
    Message {
        lane: deployments.lane(&header).unwrap(),
        nonce: MessageNonce(nonce),
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
    next: u64,
    composed: B256,
    compose: Result<(), Vec<u8>>,
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
            next: 0,
            composed: B256::ZERO,
            compose: Ok(()),
            committed: B256::ZERO,
            attested: None,
            commit: Ok(()),
            receive: Ok(()),
            silent: false,
        }
    }
}

impl Chain {
    /// The answer to a call, told by its selector as a chain does.
    fn answer(&self, call: &EthCall) -> CallOutcome {
        let outcome = |result: &Result<(), Vec<u8>>| match result {
            Ok(()) => CallOutcome::Returned(Bytes::new()),
            Err(data) => CallOutcome::Reverted(data.clone().into()),
        };
        if self.silent {
            return CallOutcome::Returned(Bytes::new());
        }
        let selector: [u8; 4] = call.data[..4].try_into().unwrap();
        CallOutcome::Returned(Bytes::from(match selector {
            EndpointV2::getReceiveLibraryCall::SELECTOR => (self.library, true).abi_encode_params(),
            ReceiveUln302::getUlnConfigCall::SELECTOR => self.config.abi_encode(),
            EndpointV2::lazyInboundNonceCall::SELECTOR => self.lazy.abi_encode(),
            EndpointV2::inboundNonceCall::SELECTOR => 4u64.abi_encode(),
            contracts::OApp::nextNonceCall::SELECTOR => self.next.abi_encode(),
            EndpointV2::inboundPayloadHashCall::SELECTOR => self.committed.abi_encode(),
            EndpointV2::composeQueueCall::SELECTOR => self.composed.abi_encode(),
            ReceiveUln302::hashLookupCall::SELECTOR => {
                (self.attested.is_some(), self.attested.unwrap_or(0)).abi_encode_params()
            }
            contracts::Dvn::vidCall::SELECTOR => 902u32.abi_encode(),
            contracts::Dvn::quorumCall::SELECTOR => 2u64.abi_encode(),
            ReceiveUln302::verifyCall::SELECTOR => return CallOutcome::Returned(Bytes::new()),
            ReceiveUln302::commitVerificationCall::SELECTOR => return outcome(&self.commit),
            EndpointV2::lzReceiveCall::SELECTOR => return outcome(&self.receive),
            EndpointV2::lzComposeCall::SELECTOR => return outcome(&self.compose),
            other => panic!("{other:?} is not for planning"),
        }))
    }

    fn run(&self, sequences: &[Sequence]) -> Vec<Vec<Option<Simulated>>> {
        let one = |call: &EthCall| Simulated { outcome: self.answer(call), gas_used: 90_000 };
        let row = |s: &Sequence| {
            // What is taken for granted is what the endpoint then says.
            let granted = s.slots.first().map(|slot| Simulated {
                outcome: CallOutcome::Returned(slot.value.to_vec().into()),
                gas_used: 0,
            });
            let rest = s.steps.iter().skip(granted.iter().len());
            granted.into_iter().chain(rest.map(|step| one(&step.call))).map(Some).collect()
        };
        sequences.iter().map(row).collect()
    }
}

/// What a quorum of one read.
fn reading(rows: Vec<Vec<Option<Simulated>>>) -> Reading<Vec<Vec<Option<Simulated>>>> {
    let operator = "a".parse().unwrap();
    let policy = QuorumPolicy::new([&operator], 1).unwrap();
    let value = Some(vec![Some(0u8)]);
    let answers = [Answer { upstream: "a".parse().unwrap(), operator, value }];
    let at = BlockRef { height: Height(9), hash: BlockHash(B256::ZERO) };
    read(&policy, at, 1, &answers).unwrap().0.map(|_| rows)
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

fn duty(message: &Message, kind: DutyKind) -> Duty {
    Duty {
        message: message.id(),
        kind,
        part: 0,
        network: name("beta"),
        worker: text(DVN),
        state: DutyState::Waiting(Reason::AwaitingPlan),
        attempts: 0,
        not_before: UnixMillis(0),
    }
}

fn job<'a>(
    message: &'a Message,
    duties: &'a [Duty],
    facts: &'a [FactRecord],
    depth: u64,
) -> Job<'a> {
    Job {
        message,
        duties,
        facts,
        depth: Confirmations(depth),
        min_confirmations: Confirmations(2),
        transaction_gas: 16_777_216,
        now: UnixMillis(1),
    }
}

fn answered(asked: Asked, chain: &Chain, here: &Deployment) -> View {
    let known = chain.run(&asked.known(here.endpoint));
    let strange = chain.run(&asked.of_strangers(here.endpoint));
    asked.answered(&reading(known), &strange)
}

fn plan_on(jobs: &[Job<'_>], chain: &Chain, here: &Deployment, ahead: &Ahead) -> Vec<MessagePlan> {
    let asked = Asked::new(questions(jobs, here));
    let view = answered(asked, chain, here);
    let courses = Courses::new(jobs, &view, here, ahead);
    let rehearsed = chain.run(courses.sequences());
    courses.conclude(&rehearsed)
}

fn decide_with(
    kind: DutyKind,
    depth: u64,
    facts: &[FactRecord],
    options: Bytes,
    chain: &Chain,
) -> Action {
    let message = message(options);
    let duties = [duty(&message, kind)];
    let jobs = [job(&message, &duties, facts, depth)];
    let mut plans = plan_on(&jobs, chain, &deployment(30_902), &Ahead::default());
    plans.remove(0).decisions.remove(0).action
}

/// The codes of all steps of one message that is to be attested, committed and executed.
fn codes(facts: &[FactRecord], depth: u64, chain: &Chain) -> Vec<&'static str> {
    let message = message(options());
    let kinds = [DutyKind::Attest, DutyKind::Commit, DutyKind::Execute];
    let duties = kinds.map(|kind| duty(&message, kind));
    let jobs = [job(&message, &duties, facts, depth)];
    let mut plans = plan_on(&jobs, chain, &deployment(30_902), &Ahead::default());
    let mut decisions = plans.remove(0).decisions;
    decisions.sort_by_key(|d| duties.iter().position(|duty| duty.id() == d.duty));
    decisions.iter().map(|d| reason(&d.action)).collect()
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

/// The receive side asks for more confirmations than we attested: the commit attests once more, as
/// soon as the message is that deep, and commits and executes nothing on the strength of it yet.
#[test]
fn r5_a_commit_attests_anew_where_more_confirmations_are_asked_for() {
    let message = message(options());
    let kinds = [DutyKind::Attest, DutyKind::Commit, DutyKind::Execute];
    let mut duties = kinds.map(|kind| duty(&message, kind));
    duties[0].state = DutyState::Done;
    let facts = [attested_by(DVN)];
    let verifying = |attested| {
        let mut chain = Chain { attested, ..Chain::default() };
        chain.config.confirmations = 8;
        chain.commit = Err(ReceiveUln302::LZ_ULN_Verifying {}.abi_encode());
        chain
    };
    let decide = |depth, attested| {
        let jobs = [job(&message, &duties, &facts, depth)];
        let here = deployment(30_902);
        plan_on(&jobs, &verifying(attested), &here, &Ahead::default()).remove(0)
    };
    let plan = decide(7, Some(3));
    assert_eq!(reason(&plan.decisions[0].action), "awaiting_confirmations");
    let plan = decide(9, Some(3));
    let [commit, execute] = &plan.decisions[..] else { panic!("{plan:?}") };
    assert_eq!(commit.duty, duties[1].id());
    let expected = DvnTarget { vid: Vid(902), library: LIBRARY };
    assert_eq!(commit.action, Action::Attest { target: expected, needed: Confirmations(8) });
    assert_eq!(commit.step.map(|step| step.kind()), Some(DutyKind::Attest));
    assert_eq!(reason(&execute.action), "awaiting_commit");
    assert_eq!(plan.item, None);
    // What is deep enough waits for the others, and too shallow ones are not counted.
    let plan = decide(9, Some(8));
    let expected = Reason::AwaitingAttestations { present: 0, needed: 2 };
    assert_eq!(plan.decisions[0].action, Action::Become(DutyState::Waiting(expected)));
}

#[test]
fn an_execution_waits_for_lower_nonces_and_for_order() {
    let hash = B256::from(message(options()).payload.hash().0);
    let ready = || Chain { committed: hash, ..Chain::default() };
    let execute = |options: Bytes, chain: &Chain| {
        decide_with(DutyKind::Execute, 9, &[record(Fact::Committed)], options, chain)
    };
    assert_eq!(reason(&execute(options(), &ready())), "send");
    let gap = EndpointV2::LZ_InvalidNonce { nonce: 4 }.abi_encode();
    assert_eq!(
        execute(options(), &Chain { receive: Err(gap), ..ready() }),
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
    let ready = Chain { committed: hash, ..Chain::default() };
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
    let ready = Chain { committed: hash, ..Chain::default() };
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

/// Class (q): drops are paid before the receiver runs; when it fails, they are not paid again.
#[test]
fn q_native_drops_are_paid_once() {
    let hash = B256::from(message(options()).payload.hash().0);
    let ready = Chain { committed: hash, ..Chain::default() };
    let paid = OptionsBuilder::new()
        .lz_receive(100_000, 7)
        .native_drop(11, Address32::from(OAPP))
        .build()
        .unwrap();
    let dropped = |certainty| {
        let mut record = record(Fact::NativeDropped { failed: 0 });
        record.certainty = certainty;
        [crate::plan::tests::record(Fact::Committed), record]
    };
    let decide =
        |facts: &[FactRecord]| decide_with(DutyKind::Execute, 9, facts, paid.clone(), &ready);
    let Action::Send(payload) = decide(&dropped(Certainty::Verified)) else { panic!("not sent") };
    assert_eq!(payload.value, U256::from(7));
    assert!(contracts::Executor::execute302Call::abi_decode(&payload.data).is_ok());
    // Said by one upstream, it is neither believed nor risked.
    assert_eq!(reason(&decide(&dropped(Certainty::Hinted))), "awaiting_finality");
}

#[test]
fn what_options_ask_beyond_our_means_is_held_with_the_reason() {
    let nobody = Address32(B256::repeat_byte(0xff));
    let drop = OptionsBuilder::new().lz_receive(1, 0).native_drop(1, nobody).build().unwrap();
    let huge = OptionsBuilder::new().lz_receive(u128::MAX, 0).build().unwrap();
    // No node takes a transaction of so much gas (EIP-7825), and all after it would wait for it.
    let beyond = OptionsBuilder::new().lz_receive(16_400_000, 0).build().unwrap();
    for options in [drop, huge, beyond, Bytes::new(), Bytes::from_static(&[9, 9, 9])] {
        let facts = [record(Fact::Committed)];
        let action = decide_with(DutyKind::Execute, 9, &facts, options, &Chain::default());
        assert!(matches!(action, Action::Become(DutyState::Held(_))), "{action:?}");
        assert_eq!(reason(&action), "options_not_supported");
    }
}

#[test]
fn what_asks_for_nearly_all_that_a_transaction_may_have_goes() {
    let paid = OptionsBuilder::new().lz_receive(15_800_000, 0).build().unwrap();
    let facts = [record(Fact::Committed)];
    let ready =
        Chain { committed: B256::from(message(options()).payload.hash().0), ..Chain::default() };
    let action = decide_with(DutyKind::Execute, 9, &facts, paid, &ready);
    let Action::Send(payload) = action else { panic!("{action:?}") };
    assert!(payload.gas_limit > 15_800_000 && payload.gas_limit <= 16_777_216, "{payload:?}");
}

#[test]
fn the_steps_of_a_message_go_together_as_far_as_they_were_rehearsed() {
    assert_eq!(codes(&[], 3, &Chain::default()), ["attest", "send", "send"]);
    let others = Chain {
        commit: Err(ReceiveUln302::LZ_ULN_Verifying {}.abi_encode()),
        receive: Err(vec![]),
        ..Chain::default()
    };
    assert_eq!(codes(&[], 3, &others), ["attest", "awaiting_attestations", "awaiting_commit"]);
    let refusing = Chain { receive: Err(vec![]), ..Chain::default() };
    assert_eq!(codes(&[], 3, &refusing), ["attest", "send", "receiver_reverted"]);
    // Without the depth nothing goes, and nothing is asked.
    let waiting = ["awaiting_confirmations", "awaiting_attestations", "awaiting_commit"];
    assert_eq!(codes(&[], 1, &Chain::default()), waiting);
    // The receiver asks for more depth than the operator: others may be enough to commit.
    assert_eq!(codes(&[], 2, &others)[0], "awaiting_confirmations");
}

#[test]
fn lower_nonces_on_their_way_are_taken_for_granted_if_the_endpoint_says_so() {
    let messages = [5, 6].map(|nonce| message_at(nonce, options()));
    let kinds = [DutyKind::Attest, DutyKind::Commit, DutyKind::Execute];
    let duties = messages.each_ref().map(|m| kinds.map(|kind| duty(m, kind)));
    let (chain, here) = (Chain::default(), deployment(30_902));
    let first = [job(&messages[0], &duties[0], &[], 3)];
    let mut ahead = Ahead::default();
    for decision in plan_on(&first, &chain, &here, &ahead).remove(0).decisions {
        ahead.note(decision.duty, decision.step.unwrap());
    }
    let second = [job(&messages[1], &duties[1], &[], 3)];
    let view = answered(Asked::new(questions(&second, &here)), &chain, &here);
    let courses = Courses::new(&second, &view, &here, &ahead);
    let run = courses.sequences().last().unwrap().clone();
    assert_eq!(run.slots[0].value, B256::from(U256::from(5)));
    // None of it can be asked of a node that cannot simulate, but the message's own first step.
    let alone: Vec<bool> = run.steps.iter().map(|step| step.alone).collect();
    assert_eq!(alone, [false, true, false, false]);
    let goes = |plans: Vec<MessagePlan>| {
        let goes = |d: &&Decision| matches!(d.action, Action::Send(_) | Action::Attest { .. });
        plans[0].decisions.iter().filter(goes).count()
    };
    let rehearsed = chain.run(courses.sequences());
    assert_eq!(goes(courses.conclude(&rehearsed)), 3);
    // An endpoint that keeps its nonces elsewhere does not answer accordingly: nothing goes.
    let courses = Courses::new(&second, &view, &here, &ahead);
    let mut other = rehearsed;
    other.last_mut().unwrap()[0] = Some(Simulated {
        outcome: CallOutcome::Returned(U256::from(4).to_be_bytes_vec().into()),
        gas_used: 0,
    });
    assert_eq!(goes(courses.conclude(&other)), 0);
    // Forgotten, nothing is taken for granted.
    ahead.retain(&std::collections::HashSet::new());
    let alone = Courses::new(&second, &view, &here, &ahead);
    assert!(alone.sequences().iter().all(|s| s.slots.is_empty()));
}

#[test]
fn an_ordered_lane_goes_in_order_within_one_round() {
    let ordered = OptionsBuilder::new().lz_receive(1_000, 0).ordered().build().unwrap();
    let messages = [5, 6, 8].map(|nonce| message_at(nonce, ordered.clone()));
    let kinds = [DutyKind::Attest, DutyKind::Commit, DutyKind::Execute];
    let duties = messages.each_ref().map(|m| kinds.map(|kind| duty(m, kind)));
    let jobs: Vec<_> =
        messages.iter().zip(&duties).map(|(m, duties)| job(m, duties, &[], 3)).collect();
    let plans = plan_on(&jobs, &Chain::default(), &deployment(30_902), &Ahead::default());
    let executions: Vec<_> = plans
        .iter()
        .zip(&duties)
        .map(|(plan, duties)| plan.decisions.iter().find(|d| d.duty == duties[2].id()).unwrap())
        .map(|decision| reason(&decision.action))
        .collect();
    assert_eq!(executions, ["send", "send", "lower_nonce_not_executed"]);
    // One that its receiver refuses keeps back those after it.
    let refusing = Chain { receive: Err(vec![]), ..Chain::default() };
    let plans = plan_on(&jobs, &refusing, &deployment(30_902), &Ahead::default());
    let of = |n: usize| plans[n].decisions.iter().find(|d| d.duty == duties[n][2].id()).unwrap();
    assert_eq!(reason(&of(0).action), "receiver_reverted");
    assert_eq!(reason(&of(1).action), "lower_nonce_not_executed");
}

#[test]
fn what_anyone_may_deliver_goes_as_an_item_of_a_batch() {
    let here = Deployment { batch: Some(Address::repeat_byte(0xba)), ..deployment(30_902) };
    let plain = OptionsBuilder::new().lz_receive(100_000, 7).build().unwrap();
    let drop = OptionsBuilder::new()
        .lz_receive(100_000, 0)
        .native_drop(1, Address32::from(OAPP))
        .build()
        .unwrap();
    let item = |options: Bytes| {
        let message = message(options);
        let kinds = [DutyKind::Attest, DutyKind::Commit, DutyKind::Execute];
        let duties = kinds.map(|kind| duty(&message, kind));
        let jobs = [job(&message, &duties, &[], 3)];
        plan_on(&jobs, &Chain::default(), &here, &Ahead::default()).remove(0).item
    };
    let found = item(plain).unwrap();
    assert_eq!((found.value, found.library), (7, LIBRARY));
    assert!(found.commit_gas > 0 && found.receive_gas > 100_000);
    let payload = crate::batch::payload(here.batch.unwrap(), LIBRARY, &[found]);
    assert_eq!(payload.data[..4], BatchDelivery::deliverCall::SELECTOR);
    assert_eq!(item(drop), None, "native drops need the executor");
}

/// A message of which the receiver composed call 0, to be made with value.
fn compose_with(facts: &[FactRecord], chain: &Chain) -> Action {
    let options = OptionsBuilder::new().lz_receive(1, 0).compose(0, 50_000, 11).build().unwrap();
    decide_with(DutyKind::Compose, 9, facts, options, chain)
}

#[test]
fn a_composed_call_goes_with_its_gas_and_value_once_it_is_queued() {
    let data = Bytes::from_static(b"composed");
    let to = text(COMPOSER);
    let facts = [record(Fact::ComposeSent { part: 0, to, message: data.clone() })];
    let queued = || Chain { composed: keccak256(&data), ..Chain::default() };
    let action = compose_with(&facts, &queued());
    let Action::Send(payload) = &action else { panic!("{action:?}") };
    let call = contracts::Executor::compose302Call::abi_decode(&payload.data).unwrap();
    assert_eq!((call.from, call.to, call.index), (OAPP, COMPOSER, 0));
    assert_eq!(call.message, data);
    assert_eq!(payload.value, U256::from(11));
    assert!(call.gasLimit > U256::from(50_000u64 * 64 / 63 + 20_000));

    assert_eq!(reason(&compose_with(&[], &queued())), "awaiting_execution");
    assert_eq!(reason(&compose_with(&facts, &Chain::default())), "awaiting_execution");
    let done = Chain { composed: contracts::COMPOSED_MESSAGE_HASH, ..Chain::default() };
    assert_eq!(reason(&compose_with(&facts, &done)), "awaiting_finality");
    let refusing = Chain { compose: Err(vec![]), ..queued() };
    assert_eq!(reason(&compose_with(&facts, &refusing)), "receiver_reverted");
}

/// R5: of calls that could not be rehearsed nothing is concluded, and nothing that builds on them
/// goes.
#[test]
fn r5_what_was_not_rehearsed_does_not_go() {
    let message = message(options());
    let kinds = [DutyKind::Attest, DutyKind::Commit, DutyKind::Execute];
    let duties = kinds.map(|kind| duty(&message, kind));
    let (chain, here, ahead) = (Chain::default(), deployment(30_902), Ahead::default());
    let jobs = [job(&message, &duties, &[], 3)];
    let asked = Asked::new(questions(&jobs, &here));
    let view = answered(asked, &chain, &here);
    for told in 0..=3 {
        let courses = Courses::new(&jobs, &view, &here, &ahead);
        let mut rehearsed = chain.run(courses.sequences());
        rehearsed[0].truncate(told);
        let decisions = courses.conclude(&rehearsed).remove(0).decisions;
        let goes = |d: &&Decision| matches!(d.action, Action::Send(_) | Action::Attest { .. });
        assert_eq!(decisions.iter().filter(goes).count(), told);
    }
}
