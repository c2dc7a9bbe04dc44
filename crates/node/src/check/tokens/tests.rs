use super::*;
use crate::check::{Finding, Severity};
use alloy_primitives::{Bytes, U256};
use postrider_evm::CallOutcome;
use postrider_layerzero::wire::Eid;
use postrider_message::{BlockHash, BlockRef, Height};
use postrider_verification::{Answer, QuorumPolicy, quorum::read};

const TOKEN: Address = Address::repeat_byte(1);
const FAR_TOKEN: Address = Address::repeat_byte(2);

fn deployments() -> Deployments {
    let deployment = |eid, contract, shared| Deployment {
        eid: Eid(eid),
        endpoint: Address::repeat_byte(9),
        send_libraries: vec![],
        receive_libraries: vec![],
        dvn: None,
        executor: None,
        batch: None,
        tokens: vec![Token::new(contract, shared, 18).unwrap()],
    };
    let all = [
        ("alpha", deployment(30_101, TOKEN, 6)),
        ("beta", deployment(30_102, FAR_TOKEN, 6)),
        ("gamma", deployment(30_103, FAR_TOKEN, 8)),
    ];
    Deployments::new(all.map(|(name, d)| (name.parse().unwrap(), d)).into()).unwrap()
}

fn words(words: &[U256]) -> CallOutcome {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes::<32>()).collect();
    CallOutcome::Returned(bytes.into())
}

fn word(word: u64) -> CallOutcome {
    words(&[U256::from(word)])
}

fn address(address: Address) -> CallOutcome {
    words(&[address.into_word().into()])
}

/// What alpha's token answers where all is as it should be.
fn good(question: &Question) -> CallOutcome {
    match question {
        Question::SharedDecimals(_) => word(6),
        Question::ConversionRate(_) => word(1_000_000_000_000),
        Question::OftVersion(_) => words(&[U256::from(1) << 250, U256::from(1)]),
        Question::Peer(_, Eid(30_102)) => address(FAR_TOKEN),
        _ => word(0),
    }
}

fn findings(answer: impl Fn(&Question) -> CallOutcome) -> Vec<Finding> {
    let (all, alpha) = (deployments(), "alpha".parse().unwrap());
    let here = all.on(&alpha).unwrap();
    let questions = questions(here, &all);
    let operator = "x".parse().unwrap();
    let answers = [Answer {
        upstream: "a".parse().unwrap(),
        operator: "x".parse().unwrap(),
        value: Some(questions.iter().map(|q| Some(answer(q))).collect::<Vec<_>>()),
    }];
    let policy = QuorumPolicy::new([&operator], 1).unwrap();
    let at = BlockRef { height: Height(1), hash: BlockHash([1; 32].into()) };
    let (reading, _) = read(&policy, at, questions.len(), &answers).unwrap();
    let mut found = Findings::default();
    let view = View::new(questions, &reading);
    judge(&alpha, here, &all, &view, &[TOKEN].into(), &mut found);
    let (none, mut unasked) = (BTreeSet::new(), Findings::default());
    judge(&alpha, here, &all, &view, &none, &mut unasked);
    assert_eq!(unasked.0, [], "what is not there is not judged");
    found.in_order()
}

#[test]
fn nothing_is_found_where_all_agrees() {
    assert_eq!(findings(good), []);
}

/// Classes (e) and (l): other units, another layout, and a counterparty that nobody named.
#[test]
fn class_e_l_each_difference_is_one_finding() {
    let stranger = Address::repeat_byte(7);
    let cases = [
        (Question::SharedDecimals(TOKEN), word(8), "says 8, the file 6", Severity::Error),
        (Question::ConversionRate(TOKEN), word(100), "says 100", Severity::Error),
        (
            Question::OftVersion(TOKEN),
            words(&[U256::ZERO, U256::from(2)]),
            "layout 2",
            Severity::Error,
        ),
        (Question::Peer(TOKEN, Eid(30_102)), address(stranger), "does not name", Severity::Warning),
        (
            Question::Peer(TOKEN, Eid(30_102)),
            words(&[U256::MAX]),
            "does not name",
            Severity::Warning,
        ),
        (Question::Peer(TOKEN, Eid(30_103)), address(FAR_TOKEN), "gamma has 8", Severity::Error),
    ];
    for (question, answer, what, severity) in cases {
        let found = findings(|q| if *q == question { answer.clone() } else { good(q) });
        assert_eq!(found.len(), 1, "{question:?}: {found:?}");
        assert!(found[0].what.contains(what), "{}", found[0].what);
        assert_eq!(found[0].severity, severity);
        assert_eq!(found[0].place, format!("layerzero.alpha.tokens.{TOKEN:#x}"));
    }
}

/// Empty and malformed answers never pass for the expected ones.
#[test]
fn r5_no_usable_answer_is_an_error() {
    let nothing = [
        CallOutcome::Returned(Bytes::new()),
        CallOutcome::Returned(Bytes::from_static(&[0xff; 95])),
        CallOutcome::Reverted(Bytes::new()),
    ];
    for answer in nothing {
        let found = findings(|_| answer.clone());
        let errors = found.iter().filter(|finding| finding.severity == Severity::Error);
        assert_eq!(errors.count(), 3, "{found:?}");
    }
}
