use super::*;
use crate::{
    contracts::{EndpointV2, ReceiveUln302, UlnConfig},
    wire::{Address32, Eid},
};
use alloy_primitives::{U256, uint};
use alloy_sol_types::{Revert, SolCall, SolError, SolValue};
use postrider_evm::CallOutcome;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// More than any work costs at the prices here.
const FEE: Quote = Quote::Fee(uint!(1_000_000_000_000_000_U256));
const AT_PAR: Rate = Rate { price_ratio: 100_000_000_000_000_000_000, gas_price: 1_000_000_000 };

fn address(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

const SENDER: u8 = 0x51;
const RECEIVER: u8 = 0x52;

/// A side on which nothing is wrong: the DVNs of two owners, both required; `base` tells the sides'
/// addresses apart.
fn side(network: &str, base: u8, peer: u8) -> Side {
    let (ours, labs, executor) = (address(base + 1), address(base + 2), address(base + 3));
    let known = Known {
        network: network.parse().unwrap(),
        libraries: vec![address(base)],
        dvns: BTreeMap::from([(ours, Owner::Ours), (labs, Owner::LayerZeroLabs)]),
        executors: BTreeMap::from([(executor, Owner::Ours)]),
        finality_depth: Some(10),
        operators: 3,
        quorum: 2,
    };
    Side {
        known,
        library: Some(address(base)),
        library_is_default: Some(false),
        verifiers: Some(Verifiers {
            confirmations: 15,
            required: vec![ours, labs],
            optional: Vec::new(),
            threshold: 0,
        }),
        defaults: Some(Defaults::default()),
        peer: Some(Address32::from(address(peer))),
        code: [ours, labs, executor].map(|worker| (worker, true)).into(),
        quotes: [ours, labs, executor].map(|worker| (worker, FEE)).into(),
        feeds: BTreeMap::new(),
        rates: [ours, executor].map(|worker| (worker, AT_PAR)).into(),
        gas_price: Some(1_000_000_000),
    }
}

fn clean() -> PathwayFacts {
    PathwayFacts {
        ends: Ends {
            src_eid: Eid(1),
            sender: address(SENDER),
            dst_eid: Eid(2),
            receiver: address(RECEIVER),
        },
        source: side("alpha", 0x10, RECEIVER),
        destination: side("beta", 0x20, SENDER),
        execution: Some(Execution { executor: address(0x13), max_message_size: 10_000 }),
        execution_is_default: Some(false),
        is_open: Some(false),
        accepted: Some(true),
        next_nonce: Some(0),
        enforces_order: None,
    }
}

fn verifiers(side: &mut Side) -> &mut Verifiers {
    side.verifiers.as_mut().unwrap()
}

fn exists(side: &mut Side, worker: u8) {
    side.code.insert(address(worker), true);
    side.quotes.insert(address(worker), FEE);
}

fn refuse(side: &mut Side, worker: u8, reason: &str) {
    side.quotes.insert(address(worker), Quote::Refused(reason.to_owned()));
}

fn codes(facts: &PathwayFacts) -> Vec<(Severity, &'static str)> {
    examine(facts).iter().map(|finding| (finding.severity, finding.code)).collect()
}

/// One fact changed, and what is found then.
type Case = (fn(&mut PathwayFacts), &'static [(Severity, &'static str)]);

const D: Severity = Severity::Danger;
const W: Severity = Severity::Warning;
const N: Severity = Severity::Note;

const CASES: &[Case] = &[
    (|_| {}, &[]),
    // Who attests.
    (
        |f| {
            verifiers(&mut f.source).required.pop();
            verifiers(&mut f.destination).required.pop();
        },
        &[(D, "single_dvn")],
    ),
    (
        |f| {
            verifiers(&mut f.source).required.clear();
            verifiers(&mut f.destination).required.clear();
        },
        &[(D, "single_dvn")],
    ),
    // Required and optional at once: still one DVN's word.
    (
        |f| {
            for side in [&mut f.source, &mut f.destination] {
                let verifiers = verifiers(side);
                verifiers.required.pop();
                verifiers.optional = verifiers.required.clone();
                verifiers.threshold = 1;
            }
        },
        &[(D, "single_dvn")],
    ),
    // One of two optional ones is enough.
    (
        |f| {
            for side in [&mut f.source, &mut f.destination] {
                let verifiers = verifiers(side);
                verifiers.optional = std::mem::take(&mut verifiers.required);
                verifiers.threshold = 1;
            }
        },
        &[(D, "single_dvn")],
    ),
    (
        |f| {
            f.source.code.insert(address(0x11), false);
        },
        &[(D, "dead_dvn")],
    ),
    (
        |f| {
            let verifiers = verifiers(&mut f.destination);
            verifiers.optional = std::mem::take(&mut verifiers.required);
            verifiers.threshold = 2;
            f.destination.code.insert(address(0x22), false);
        },
        &[(W, "dead_dvn")],
    ),
    // One more on each side that is nobody's: counts agree.
    (
        |f| {
            for (side, dvn) in [(&mut f.source, 0x1f), (&mut f.destination, 0x2f)] {
                verifiers(side).required.push(address(dvn));
                exists(side, dvn);
            }
        },
        &[(N, "unknown_dvn"), (N, "unknown_dvn")],
    ),
    // The receive side needs one that nobody asks.
    (
        |f| {
            verifiers(&mut f.destination).required.push(address(0x2f));
            exists(&mut f.destination, 0x2f);
        },
        &[(D, "configurations_disagree"), (N, "unknown_dvn")],
    ),
    (
        |f| {
            verifiers(&mut f.source).required.push(address(0x1f));
            exists(&mut f.source, 0x1f);
        },
        &[(W, "configurations_disagree"), (N, "unknown_dvn")],
    ),
    (
        |f| {
            verifiers(&mut f.source).required.remove(0);
        },
        &[(D, "configurations_disagree")],
    ),
    (
        |f| {
            verifiers(&mut f.source).required.remove(0);
            let verifiers = verifiers(&mut f.destination);
            verifiers.optional = std::mem::take(&mut verifiers.required);
            verifiers.threshold = 2;
        },
        &[(W, "configurations_disagree")],
    ),
    (
        |f| {
            verifiers(&mut f.destination).required.remove(0);
        },
        &[(D, "single_dvn"), (W, "configurations_disagree")],
    ),
    // The same number on both sides, and yet not the same ones.
    (
        |f| {
            verifiers(&mut f.source).required = vec![address(0x11), address(0x1f)];
            exists(&mut f.source, 0x1f);
        },
        &[(D, "configurations_disagree"), (W, "configurations_disagree"), (N, "unknown_dvn")],
    ),
    // A DVN that the file knows on one side only is matched by number.
    (
        |f| {
            f.destination.known.dvns.remove(&address(0x22));
        },
        &[(N, "unknown_dvn")],
    ),
    // How deep.
    (|f| verifiers(&mut f.destination).confirmations = 16, &[(D, "confirmations_disagree")]),
    (|f| verifiers(&mut f.destination).confirmations = 10, &[]),
    (|f| verifiers(&mut f.destination).confirmations = 9, &[(W, "confirmations_too_few")]),
    (|f| verifiers(&mut f.destination).confirmations = 0, &[(D, "confirmations_too_few")]),
    (
        |f| verifiers(&mut f.source).confirmations = 0,
        &[(D, "confirmations_too_few"), (D, "confirmations_disagree")],
    ),
    (
        |f| {
            f.source.known.finality_depth = None;
            verifiers(&mut f.destination).confirmations = 1;
        },
        &[],
    ),
    // Who else may change it.
    (|f| f.source.library_is_default = Some(true), &[(W, "default_library")]),
    (|f| f.destination.library_is_default = Some(true), &[(W, "default_library")]),
    (
        |f| f.destination.defaults = Some(Defaults { required: true, ..Defaults::default() }),
        &[(W, "default_configuration")],
    ),
    (
        |f| f.source.defaults = Some(Defaults { optional: true, ..Defaults::default() }),
        &[(N, "default_configuration")],
    ),
    (|f| f.execution_is_default = Some(true), &[(N, "default_configuration")]),
    (|f| f.source.library = Some(address(0x1f)), &[(W, "library_not_pinned")]),
    (|f| f.destination.known.libraries.clear(), &[(W, "library_not_pinned")]),
    // The zero address.
    (|f| f.destination.library = Some(Address::ZERO), &[(D, "zero_address")]),
    (
        |f| {
            for side in [&mut f.source, &mut f.destination] {
                verifiers(side).required.push(Address::ZERO);
            }
        },
        &[(D, "zero_address"), (D, "zero_address")],
    ),
    // Peers.
    (
        |f| {
            f.source.peer = Some(Address32::from(Address::ZERO));
            f.destination.peer = Some(Address32::from(Address::ZERO));
        },
        &[(D, "no_peer")],
    ),
    (|f| f.source.peer = Some(Address32::from(address(9))), &[(D, "one_sided_peer")]),
    (|f| f.destination.peer = Some(Address32::from(address(9))), &[(D, "one_sided_peer")]),
    // Only all 32 bytes name an application.
    (|f| f.destination.peer.as_mut().unwrap().0[0] = 1, &[(D, "one_sided_peer")]),
    (|f| f.accepted = Some(false), &[(D, "one_sided_peer")]),
    // Once a message was delivered, nobody asks that any more.
    (|f| (f.is_open, f.accepted) = (Some(true), Some(false)), &[]),
    (|f| (f.is_open, f.accepted) = (Some(true), None), &[]),
    // Who executes.
    (|f| f.execution.as_mut().unwrap().executor = Address::ZERO, &[(D, "zero_address")]),
    (
        |f| {
            f.execution.as_mut().unwrap().executor = Address::ZERO;
            f.next_nonce = Some(1);
        },
        &[(D, "zero_address"), (W, "ordered_without_executor")],
    ),
    (
        |f| {
            f.source.code.insert(address(0x13), false);
            f.next_nonce = Some(7);
        },
        &[(W, "unknown_executor"), (W, "ordered_without_executor")],
    ),
    (|f| f.next_nonce = Some(7), &[]),
    (|f| f.source.known.executors.clear(), &[(N, "unknown_executor")]),
    (
        |f| {
            f.source.known.executors.clear();
            f.next_nonce = Some(7);
        },
        &[(W, "ordered_without_executor"), (N, "unknown_executor")],
    ),
    (|f| f.enforces_order = Some(true), &[]),
    (
        |f| {
            f.source.known.executors.clear();
            f.enforces_order = Some(true);
        },
        &[(W, "ordered_without_executor"), (N, "unknown_executor")],
    ),
    // The receiver asks for order, and the sender's messages do not tell the executor.
    (
        |f| (f.next_nonce, f.enforces_order) = (Some(7), Some(false)),
        &[(W, "ordered_without_executor")],
    ),
    // What they ask for it.
    (|f| refuse(&mut f.source, 0x13, "Pausable: paused"), &[(D, "executor_refuses")]),
    (|f| refuse(&mut f.source, 0x12, "DVN_EidNotSupported"), &[(D, "dead_dvn")]),
    // At the destination nobody asks a DVN for its fee, so only what says of itself that it is none.
    (|f| refuse(&mut f.destination, 0x22, "DVN_EidNotSupported"), &[]),
    (
        |f| refuse(&mut f.destination, 0x22, "Please set your OApp's DVNs and/or Executor"),
        &[(D, "dead_dvn")],
    ),
    (|f| f.destination.gas_price = Some(10_000_000_000), &[(W, "fees_below_gas")]),
    (|f| f.destination.gas_price = Some(100_000_000_000), &[(W, "fees_below_gas"); 2]),
    (
        |f| {
            let rate = f.source.rates.get_mut(&address(0x11)).unwrap();
            rate.price_ratio = u128::MAX;
        },
        &[(W, "fees_below_gas")],
    ),
    (
        |f| {
            f.source.quotes.insert(address(0x11), Quote::Fee(U256::ZERO));
        },
        &[(W, "fees_below_gas")],
    ),
    (
        |f| {
            f.source.quotes.remove(&address(0x12));
        },
        &[(W, "unreadable")],
    ),
    // Who tells us.
    (|f| f.source.known.operators = 1, &[(W, "same_operator")]),
    (|f| f.destination.known.quorum = 1, &[(W, "same_operator")]),
    // What could not be read.
    (|f| f.source.library = None, &[(W, "unreadable")]),
    (|f| f.source.library_is_default = None, &[(W, "unreadable")]),
    (|f| f.source.verifiers = None, &[(W, "unreadable")]),
    (|f| f.destination.verifiers = None, &[(W, "unreadable")]),
    (|f| f.destination.defaults = None, &[(W, "unreadable")]),
    (|f| f.source.peer = None, &[(W, "unreadable")]),
    (|f| f.execution = None, &[(W, "unreadable")]),
    (|f| f.execution_is_default = None, &[(W, "unreadable")]),
    (|f| f.accepted = None, &[(W, "unreadable")]),
    (|f| f.next_nonce = None, &[(W, "unreadable")]),
    (|f| f.destination.code.clear(), &[(W, "unreadable")]),
    (
        |f| {
            f.source.code.remove(&address(0x13));
        },
        &[(W, "unreadable")],
    ),
    (
        |f| {
            f.source.peer = None;
            f.destination.peer = Some(Address32::from(Address::ZERO));
        },
        &[(D, "one_sided_peer"), (W, "unreadable")],
    ),
];

#[test]
fn each_fault_is_found_and_a_clean_pathway_has_none() {
    for (place, (change, expected)) in CASES.iter().enumerate() {
        let mut facts = clean();
        change(&mut facts);
        assert_eq!(codes(&facts), *expected, "case {place}: {:#?}", examine(&facts));
    }
}

#[test]
fn every_code_is_held_by_a_case_and_documented() {
    let tested: BTreeSet<&str> =
        CASES.iter().flat_map(|(_, expected)| expected.iter().map(|(_, code)| *code)).collect();
    assert_eq!(tested, CODES.iter().copied().collect());
    let document = include_str!("../../../../../docs/operate.md");
    for code in CODES {
        assert!(document.contains(&format!("| `{code}` |")), "docs/operate.md leaves out {code}");
    }
}

#[test]
fn r5_nothing_read_is_unreadable_and_never_fine() {
    let clean = clean();
    let facts = PathwayFacts::unread(clean.ends, clean.source.known, clean.destination.known);
    assert_eq!(codes(&facts), [(W, "unreadable")]);
    let what = &examine(&facts)[0].what;
    for part in ["send library on alpha", "receive configuration on beta", "order"] {
        assert!(what.contains(part), "{what}");
    }
}

fn returned(bytes: Vec<u8>) -> Option<CallOutcome> {
    Some(CallOutcome::Returned(bytes.into()))
}

fn config(required: &[Address], count: u8) -> UlnConfig {
    UlnConfig {
        confirmations: 5,
        requiredDVNCount: count,
        optionalDVNCount: 0,
        optionalDVNThreshold: 0,
        requiredDVNs: required.to_vec(),
        optionalDVNs: Vec::new(),
    }
}

#[test]
fn answers_become_facts() {
    let clean = clean();
    let mut facts = PathwayFacts::unread(clean.ends, clean.source.known, clean.destination.known);
    let end = End::Destination;
    let calls = end.ask_endpoint(&facts.ends, address(1));
    let expected = EndpointV2::getReceiveLibraryCall { receiver: address(RECEIVER), srcEid: 1 };
    assert_eq!((calls.len(), &calls[0].data[..]), (2, &expected.abi_encode()[..]));
    assert!(end.ask_library(&facts).is_empty(), "its library is not known yet");

    end.take_endpoint(&mut facts, &[returned((address(0x20), true).abi_encode_params())]);
    let side = &facts.destination;
    assert_eq!((side.library, side.library_is_default), (Some(address(0x20)), Some(true)));
    let calls = end.ask_library(&facts);
    assert!(calls.iter().all(|call| call.to == address(0x20)));
    let config = |list: &[Address], count| {
        let config = config(list, count);
        returned(ReceiveUln302::getUlnConfigCall::abi_encode_returns(&config))
    };
    end.take_library(&mut facts, &[config(&[address(0x21)], 1), config(&[], 0)]);
    let side = &facts.destination;
    assert_eq!(side.verifiers.as_ref().unwrap().required, [address(0x21)]);
    let expected = Defaults { confirmations: false, required: true, optional: true };
    assert_eq!(side.defaults, Some(expected));
    assert_eq!(end.workers(&facts), [address(0x21)]);

    let one = |value: u64| returned(value.abi_encode());
    end.take_application(&mut facts, &[returned(vec![1; 32]), one(1), one(9)]);
    assert_eq!((facts.accepted, facts.next_nonce), (Some(true), Some(9)));
    assert_eq!(facts.destination.peer.unwrap().0[31], 1);
}

#[test]
fn workers_are_asked_what_they_ask() {
    let mut facts = clean();
    let (source, destination) = (End::Source, End::Destination);
    let calls = source.ask_quotes(&facts);
    let asked: Vec<Address> = calls.iter().map(|call| call.to).collect();
    // Two DVNs and the executor for their fees; then ours for their price feeds.
    assert_eq!(asked, [0x11, 0x12, 0x13, 0x11, 0x13].map(address));
    let execution = crate::contracts::Executor::getFeeCall::abi_decode(&calls[2].data).unwrap();
    let gas = [&[1, 0, 17, 1][..], &200_000u128.to_be_bytes()].concat();
    assert_eq!((execution.dstEid, &execution.options[..]), (2, &gas[..]));
    assert_eq!(destination.ask_quotes(&facts).len(), 2, "DVNs alone, and no feed");

    facts.source.quotes.clear();
    facts.source.rates.clear();
    let reverted = Some(CallOutcome::Reverted(Revert::from("paused").abi_encode().into()));
    let word = |value: u64| returned(U256::from(value).to_be_bytes_vec());
    source.take_quotes(&mut facts, &[word(7), None, reverted, word(8), returned(vec![1; 3])]);
    let quote = |worker| facts.source.quotes.get(&address(worker));
    assert_eq!(quote(0x11), Some(&Quote::Fee(U256::from(7))));
    assert_eq!(quote(0x12), None, "no quorum is no fee");
    assert_eq!(quote(0x13), Some(&Quote::Refused("paused".to_owned())));
    let feed = Address::with_last_byte(8);
    assert_eq!(facts.source.feeds, BTreeMap::from([(address(0x11), feed)]));
    let price = returned((5u128, 6u64, 7u32).abi_encode_params());
    source.take_rates(&mut facts, &[price]);
    let rate = Rate { price_ratio: 5, gas_price: 6 };
    assert_eq!(facts.source.rates, BTreeMap::from([(address(0x11), rate)]));
}

#[test]
fn a_depth_that_the_chain_shows_counts_where_the_file_has_none() {
    let mut facts = clean();
    End::Source.take_chain(&mut facts, Some(64), None);
    assert_eq!(facts.source.known.finality_depth, Some(10), "the file's word counts");
    facts.source.known.finality_depth = None;
    End::Source.take_chain(&mut facts, Some(64), Some(3));
    assert_eq!((facts.source.known.finality_depth, facts.source.gas_price), (Some(64), Some(3)));
    assert_eq!(codes(&facts), [(W, "confirmations_too_few"), (W, "confirmations_too_few")]);
}

#[test]
fn r5_r10_an_answer_that_contradicts_itself_is_none() {
    let a = [address(1), address(2)];
    assert!(Verifiers::parse(&config(&a, 2)).is_some());
    assert_eq!(Verifiers::parse(&config(&a, 1)), None);
    assert_eq!(Verifiers::parse(&config(&[address(1); 128], 128)), None);
    let threshold = UlnConfig { optionalDVNThreshold: 1, ..config(&a, 2) };
    assert_eq!(Verifiers::parse(&threshold), None);
}

proptest! {
    /// Whatever the contracts answer: no panic, and nothing malformed is taken for good news.
    #[test]
    fn r10_foreign_answers_do_no_harm(
        answers in prop::collection::vec(
            prop_oneof![
                Just(None),
                prop::collection::vec(any::<u8>(), 0..200)
                    .prop_map(|b| Some(CallOutcome::Returned(b.into()))),
                prop::collection::vec(any::<u8>(), 0..8)
                    .prop_map(|b| Some(CallOutcome::Reverted(b.into()))),
            ],
            0..5,
        ),
    ) {
        let clean = clean();
        let (source, destination) = (clean.source.known, clean.destination.known);
        let mut facts = PathwayFacts::unread(clean.ends, source, destination);
        for end in End::BOTH {
            end.take_endpoint(&mut facts, &answers);
            end.take_library(&mut facts, &answers);
            end.take_application(&mut facts, &answers);
            end.take_quotes(&mut facts, &answers);
            end.take_rates(&mut facts, &answers);
        }
        prop_assert!(examine(&facts).iter().any(|f| f.code == "unreadable"));
    }
}
