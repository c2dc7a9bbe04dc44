use super::*;
use crate::check::{Finding, Severity};
use alloy_primitives::Bytes;
use postrider_layerzero::wire::Eid;
use postrider_message::{BlockHash, BlockRef, Height};
use postrider_verification::{QuorumPolicy, quorum::read};

const ENDPOINT: Address = Address::repeat_byte(1);
const SEND: Address = Address::repeat_byte(2);
const RECEIVE: Address = Address::repeat_byte(3);
const DVN: Address = Address::repeat_byte(4);
const EXECUTOR: Address = Address::repeat_byte(5);
const PAYER: Address = Address::repeat_byte(6);
const KEY: Address = Address::repeat_byte(7);

fn deployment() -> Deployment {
    Deployment {
        eid: Eid(30_101),
        endpoint: ENDPOINT,
        send_libraries: vec![SEND],
        receive_libraries: vec![RECEIVE],
        dvn: Some(DVN),
        executor: Some(EXECUTOR),
        batch: None,
        tokens: vec![],
    }
}

fn words(words: &[u64]) -> CallOutcome {
    let bytes: Vec<u8> =
        words.iter().flat_map(|word| U256::from(*word).to_be_bytes::<32>()).collect();
    CallOutcome::Returned(bytes.into())
}

/// What a chain answers where all is as it should be.
fn good(question: &Question) -> CallOutcome {
    match question {
        Question::Eid => words(&[30_101]),
        Question::Version(_) => words(&[3, 0, 2]),
        Question::Vid(_) => words(&[101]),
        _ => words(&[1]),
    }
}

/// The findings where the chain answers `answer`, and `absent` hold no code.
fn findings(absent: &[Address], answer: impl Fn(&Question) -> CallOutcome) -> Vec<Finding> {
    findings_with(absent, &[], answer)
}

/// The same with these peers.
fn findings_with(
    absent: &[Address],
    peers: &[DvnPeer],
    answer: impl Fn(&Question) -> CallOutcome,
) -> Vec<Finding> {
    let all = Deployments::default();
    let (name, key, deployment) = ("alpha".parse().unwrap(), "dvn".parse().unwrap(), deployment());
    let ours = Ours {
        name: &name,
        deployment: &deployment,
        all: &all,
        attests: true,
        executes: true,
        accounts: vec![PAYER],
        keys: 1,
        signers: vec![(&key, KEY)],
        peers,
    };
    let questions = ours.questions();
    let at = BlockRef { height: Height(1), hash: BlockHash([1; 32].into()) };
    let operator = "x".parse().unwrap();
    let answers = [Answer {
        upstream: "a".parse().unwrap(),
        operator: "x".parse().unwrap(),
        value: Some(questions.iter().map(|q| Some(answer(q))).collect::<Vec<_>>()),
    }];
    let policy = QuorumPolicy::new([&operator], 1).unwrap();
    let (reading, _) = read(&policy, at, questions.len(), &answers).unwrap();
    let is_there = ours
        .contracts()
        .into_iter()
        .map(|(_, address)| address)
        .filter(|address| !absent.contains(address))
        .collect();
    let mut findings = Findings::default();
    ours.judge(&is_there, &View::new(questions, &reading), &mut findings);
    findings.in_order()
}

#[test]
fn nothing_is_found_where_all_agrees() {
    assert_eq!(findings(&[], good), []);
}

#[test]
fn each_difference_is_one_finding_at_its_place() {
    let library = |a: Address, setting: &str| format!("layerzero.alpha.{setting}.{a:#x}");
    let cases: Vec<(Question, CallOutcome, String, &str)> = vec![
        (Question::Eid, words(&[60_101]), "layerzero.alpha.eid".into(), "is 60101, not 30101"),
        (Question::Version(SEND), words(&[2, 0, 1]), library(SEND, "send_libraries"), "2.0.1"),
        (
            Question::Version(RECEIVE),
            words(&[3, 0, 1]),
            library(RECEIVE, "receive_libraries"),
            "3.0.1",
        ),
        (Question::Vid(DVN), words(&[7]), "layerzero.alpha.dvn".into(), "vid is 7"),
        (Question::Quorum(DVN), words(&[0]), "layerzero.alpha.dvn".into(), "no signature"),
        (Question::Quorum(DVN), words(&[2]), "layerzero.alpha.dvn".into(), "needs 2 signatures"),
        (
            Question::Signer(DVN, KEY),
            words(&[0]),
            "layerzero.alpha.dvn.keys.dvn".into(),
            "not a signer",
        ),
        (Question::Admin(DVN, PAYER), words(&[0]), "layerzero.alpha.dvn".into(), "ADMIN_ROLE"),
        (
            Question::Admin(EXECUTOR, PAYER),
            words(&[0]),
            "layerzero.alpha.executor".into(),
            "ADMIN_ROLE",
        ),
    ];
    for (question, answer, place, what) in cases {
        let found = findings(&[], |q| if *q == question { answer.clone() } else { good(q) });
        assert_eq!(found.len(), 1, "{question:?}: {found:?}");
        assert_eq!(found[0].place, place);
        assert!(found[0].what.contains(what), "{}", found[0].what);
        let expected = match question {
            Question::Vid(_) => Severity::Warning,
            _ => Severity::Error,
        };
        assert_eq!(found[0].severity, expected);
    }
}

/// Empty and malformed answers never pass for the expected ones.
#[test]
fn r5_no_usable_answer_is_an_error_for_every_contract() {
    let nothing = [
        CallOutcome::Returned(Bytes::new()),
        CallOutcome::Returned(Bytes::from_static(&[0xff; 95])),
        CallOutcome::Reverted(Bytes::new()),
    ];
    for answer in nothing {
        let found = findings(&[], |_| answer.clone());
        let places: Vec<&str> = found.iter().map(|f| f.place.as_str()).collect();
        let expected = [
            "layerzero.alpha.dvn".to_owned(),
            "layerzero.alpha.dvn".to_owned(),
            "layerzero.alpha.endpoint".to_owned(),
            "layerzero.alpha.executor".to_owned(),
            format!("layerzero.alpha.receive_libraries.{RECEIVE:#x}"),
            format!("layerzero.alpha.send_libraries.{SEND:#x}"),
        ];
        assert_eq!(places, expected, "{answer:?}");
    }
}

/// A contract that is not there is one finding, made before; its answers are not judged as well.
#[test]
fn what_is_not_there_is_not_asked_about() {
    let all = [ENDPOINT, SEND, RECEIVE, DVN, EXECUTOR];
    let silent = |_: &Question| CallOutcome::Returned(Bytes::new());
    assert_eq!(findings(&all, silent), []);
}

/// Class (m): who signs with this node is compared with the contract's own list and quorum.
#[test]
fn r5_m_peers_are_compared_with_the_contracts_signers() {
    let peer = |name: &str, byte| DvnPeer {
        name: name.parse().unwrap(),
        signer: Address::repeat_byte(byte),
    };
    let (bern, genf) = (peer("bern", 0xb1), peer("genf", 0xc1));
    let quorum = |quorum: u64| {
        move |question: &Question| match question {
            Question::Quorum(_) => words(&[quorum]),
            _ => good(question),
        }
    };
    let found = |peers: &[DvnPeer], of| {
        let found = findings_with(&[], peers, quorum(of));
        found.into_iter().map(|f| (f.severity, f.what)).collect::<Vec<_>>()
    };
    let one = std::slice::from_ref(&bern);
    let both = [bern.clone(), genf];
    assert_eq!(found(&both, 2), []);
    let [(severity, what)] = &found(one, 2)[..] else { panic!() };
    assert_eq!(*severity, Severity::Note, "{what}");
    let [(severity, what)] = &found(one, 1)[..] else { panic!() };
    assert_eq!(*severity, Severity::Warning, "{what}");
    let [(severity, what)] = &found(one, 3)[..] else { panic!() };
    assert_eq!(*severity, Severity::Error);
    assert!(what.contains("needs 3 signatures") && what.contains("and 1 peers"), "{what}");

    let unknown = findings_with(&[], &both, |question| match question {
        Question::Signer(_, signer) if *signer == bern.signer => words(&[0]),
        Question::Quorum(_) => words(&[2]),
        _ => good(question),
    });
    let [finding] = &unknown[..] else { panic!("{unknown:?}") };
    assert_eq!(finding.severity, Severity::Error);
    assert_eq!(finding.place, "layerzero.alpha.dvn.peers.bern");
    assert!(finding.what.contains("not a signer"), "{}", finding.what);
}
